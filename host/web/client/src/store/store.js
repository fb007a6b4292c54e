/**
 * The store on top of a client: it keeps the whole screen and tells a user interface when it has changed, so that the
 * interface only renders. `subscribe` and `getSnapshot` have the form that React's `useSyncExternalStore` expects.
 */

import { Backoff } from "../backoff.js";
import { systemClock } from "../clock.js";
import { RoostError } from "../errors.js";
import { checkId } from "../ids.js";
import { isKnown, positionOf } from "../position.js";
import { Recorder } from "./recorder.js";
import { Refresh } from "./refresh.js";
import { Screen } from "./screen.js";

const DEFAULTS = { conversationsMax: 1_000, messagesMax: 500, openMax: 20, pageSize: 50, clock: systemClock };
const LOAD_FIRST_MS = 500;
const LOAD_LAST_MS = 30_000;
/** Events that change the screen. */
const EVENTS = new Set([
  "message.new",
  "message.updated",
  "message.deleted",
  "message.read_update",
  "unread.update",
  "conversation.added",
  "conversation.members",
  "conversation.removed",
  "contact.update",
  "user.online",
  "user.offline",
  "typing",
]);

export class RoostStore {
  #client;
  #settings;
  #screen;
  #recorder = new Recorder();
  #refresh;
  #backoff;
  #listeners = new Set();
  #snapshot = null;
  #announced = false;
  #ready = false;
  #load = { running: false, due: false, timer: null, count: 0 };
  #destroyed = false;
  #removeListeners;

  /**
   * @param {import("../client.js").RoostClient} client
   * @param {import("../../roost-client.js").RoostStoreOptions} [options]
   */
  constructor(client, options = {}) {
    this.#settings = { ...DEFAULTS, ...options };
    this.#client = client;
    const { clock } = this.#settings;
    this.#screen = new Screen(this.#settings, clock, () => this.#changed());
    this.#backoff = new Backoff(clock, LOAD_FIRST_MS, LOAD_LAST_MS);
    this.#refresh = new Refresh(clock, {
      isNeeded: (id) => this.#screen.needsRefresh(id),
      canAsk: () => client.status === "online",
      ask: (id) => this.#ask(id),
      apply: (id, answer) => this.#corrected(id, answer),
      overflow: () => this.#reload(),
    });
    this.#removeListeners = [
      client.on("hello", (hello, { resumed }) => this.#welcome(hello, resumed)),
      client.on("event", (event) => this.#receive(event)),
      client.on("queue", (queue) => this.#queueChanged(queue)),
      client.on("acknowledged", (entry, answer) => this.#acknowledged(entry, answer)),
      client.on("refused", (entry) => this.#refused(entry)),
      client.on("status", () => this.#changed()),
    ];
    this.#screen.user = client.user;
    this.#screen.setQueue(client.queue);
    if (client.status === "online") {
      this.#welcome(client.hello, false);
    }
  }

  /** Calls a function after every change, until the returned function is called. */
  subscribe = (listener) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  /** What is shown now. The same object as long as nothing changes. */
  getSnapshot = () => {
    this.#snapshot ??= {
      status: this.#client.status,
      user: this.#screen.user,
      ready: this.#ready,
      ...this.#screen.view(),
    };
    return this.#snapshot;
  };

  /** Opens a conversation: loads its newest messages, and keeps them up to date until it is closed. */
  async open(conversation) {
    const id = checkId("the conversation", conversation);
    if (!this.#screen.conversation(id)) {
      await this.#learn(id);
    }
    if (!this.#screen.conversation(id)) {
      throw new RoostError("not_a_member", "the user is no member of the conversation", { status: 403 });
    }
    await this.#loadPage(id, this.#screen.openTimeline(id));
  }

  /** Closes a conversation: its messages are dropped. */
  close(conversation) {
    this.#screen.closeTimeline(checkId("the conversation", conversation));
    this.#changed();
  }

  /** Loads older messages of an open conversation. Resolves to whether there are still older ones. */
  async loadOlder(conversation) {
    const id = checkId("the conversation", conversation);
    const timeline = this.#screen.timeline(id);
    if (!timeline || timeline.loading || timeline.nextBefore === null) {
      return false;
    }
    const before = timeline.nextBefore;
    await this.#loadPage(id, timeline, before);
    return timeline.nextBefore !== null;
  }

  /** Shows the newest messages again, after the window has left them. */
  async showNewest(conversation) {
    const id = checkId("the conversation", conversation);
    const timeline = this.#screen.timeline(id);
    if (timeline) {
      await this.#loadPage(id, timeline);
    }
  }

  /** Loads more conversations. Resolves to whether there are still more. */
  async loadMore() {
    const cursor = this.#screen.nextCursor;
    if (cursor === null || !this.getSnapshot().has_more) {
      return false;
    }
    const loaded = this.#load.count;
    await this.#recorder.during(async (arrived) => {
      const query = { cursor, limit: this.#settings.pageSize };
      const page = await this.#client.http("GET", "v1/conversations", { query });
      const events = arrived();
      if (this.#load.count === loaded && this.#screen.nextCursor === cursor) {
        this.#screen.appendConversations(page);
        page.conversations.forEach(({ id }) => this.#refreshIfOvertaken(id, events));
        this.#changed();
      }
    });
    return this.getSnapshot().has_more;
  }

  /** Shows a message at once and sends it. Resolves to the stored message, and rejects when the host refuses it. */
  send(conversation, content, options) {
    return this.#client.sendMessage(conversation, content, options);
  }

  /** The user has seen everything up to this message: without one, everything that is there. */
  read(conversation, upTo) {
    const id = checkId("the conversation", conversation);
    const position = upTo ?? this.#screen.timeline(id)?.last?.seq ?? this.#screen.conversation(id)?.last_message?.seq ?? 0;
    if (position <= this.#screen.readOf(id)) {
      return;
    }
    const queued = this.#client.markRead(id, position);
    this.#screen.readLocally(id, position);
    this.#changed();
    queued.catch((error) => {
      if (error.code === "queue_full") {
        this.#screen.forgetLocalRead(id);
        this.#changed();
      }
    });
  }

  /** Puts the line of new messages after everything that is there. */
  clearNewLine(conversation) {
    const id = checkId("the conversation", conversation);
    const timeline = this.#screen.timeline(id);
    if (timeline) {
      timeline.newAfter = timeline.last?.seq ?? timeline.newAfter;
      this.#screen.invalidate(id);
      this.#changed();
    }
  }

  /** Ends the store. The client remains connected. */
  destroy() {
    this.#destroyed = true;
    this.#removeListeners.forEach((remove) => remove());
    this.#refresh.clear();
    this.#screen.typing.clear();
    this.#settings.clock.clearTimeout(this.#load.timer);
    this.#listeners.clear();
  }

  #welcome(hello, resumed) {
    this.#screen.user = hello.user;
    this.#screen.presence.replace(hello.presence ?? []);
    if (resumed && this.#ready) {
      // What was missed follows as events; the counters of this `hello` include it already.
      this.#backoff.reset();
      this.#refresh.resume();
      if (this.#load.due) {
        this.#reload();
      }
    } else {
      this.#screen.replaceCounters(hello.unread);
      this.#reload();
    }
    this.#changed();
  }

  #receive({ type, payload, position }) {
    if (type === "resync") {
      this.#reload();
    } else if (type === "sync") {
      this.#pushed(payload);
    } else if (EVENTS.has(type)) {
      this.#recorder.record({ type, payload, position });
      this.#applyEvent(type, payload);
    } else {
      return;
    }
    this.#changed();
  }

  #applyEvent(type, payload) {
    const incomplete = this.#screen.apply(type, payload);
    this.#refresh.eventOf(payload.conversation ?? payload.id);
    if (incomplete !== null) {
      this.#refresh.request(incomplete);
    }
  }

  /** The host may have missed ephemeral events, and sends the state. Durable events have been kept: only presence is taken. */
  #pushed({ presence }, events = []) {
    // An answer of the records, while the store is away, has none.
    if (presence) {
      const transitions = events.filter(({ type }) => type === "user.online" || type === "user.offline");
      this.#screen.presence.learn(presence, transitions.map(({ payload }) => payload.user));
    }
  }

  #queueChanged(queue) {
    this.#screen.setQueue(queue);
    this.#changed();
  }

  #acknowledged(entry, answer) {
    this.#screen.acknowledge(entry, answer);
    this.#recorder.record({ acknowledged: entry, answer });
    this.#changed();
  }

  #refused(entry) {
    if (entry.type === "conversation.read") {
      this.#screen.forgetLocalRead(entry.conversation);
    }
    this.#changed();
  }

  /** Loads the whole state: now, or when the client is connected. */
  #reload() {
    this.#load.due = true;
    if (!this.#load.running) {
      this.#settings.clock.clearTimeout(this.#load.timer);
      this.#loadState();
    }
  }

  async #loadState() {
    this.#load.running = true;
    this.#load.due = false;
    let isFinal = false;
    let retryAfterMs;
    try {
      isFinal = await this.#replaceState();
    } catch (error) {
      retryAfterMs = error.retryAfterMs;
    }
    this.#load.running = false;
    if (this.#destroyed) {
      return;
    }
    this.#changed();
    if (isFinal) {
      this.#backoff.reset();
      if (this.#load.due) {
        this.#reload();
      }
      return;
    }
    this.#load.due = true;
    // Without a connection, the next `hello` begins again.
    if (this.#client.status === "online") {
      const waitMs = this.#backoff.next(retryAfterMs);
      this.#load.timer = this.#settings.clock.setTimeout(() => this.#reload(), waitMs);
    }
  }

  /** Resolves to whether the answer is final: while the store of the host is away, an answer is shown and asked for again. */
  async #replaceState() {
    const isFinal = await this.#recorder.during(async (arrived) => {
      const list = (name) => this.#client.http("GET", `v1/${name}`);
      const all = [this.#client.sync(), list("contacts"), list("blocks")];
      const [answer, { contacts }, { blocked }] = await Promise.all(all);
      const { unread, conversations, next_cursor: nextCursor } = answer;
      const events = arrived();
      if (this.#destroyed) {
        return true;
      }
      this.#load.count += 1;
      this.#pushed(answer, events);
      this.#refresh.clear();
      this.#screen.replaceCounters(unread);
      this.#screen.replaceConversations({ conversations, next_cursor: nextCursor ?? null });
      this.#screen.contacts = [...contacts].sort();
      this.#screen.blocked = [...blocked].sort();
      this.#repeat(events, positionOf(answer));
      return answer.source === undefined;
    });
    this.#ready = true;
    this.#changed();
    await Promise.all(this.#screen.openConversations.map((id) => this.#reopen(id)));
    return isFinal;
  }

  /** Events that arrived while an answer was on the way are applied to it, unless it includes them. */
  #repeat(events, position) {
    // The event of what was acknowledged is a part of the answer, or follows.
    for (const { type, payload, position: at } of events.filter(({ acknowledged }) => !acknowledged)) {
      if (type === "contact.update") {
        // The contacts and the blocks are answers of their own, which may be older. Presence is as the last event says.
        this.#screen.setContact(payload);
      } else if (!(at && isKnown(at, position))) {
        this.#applyEvent(type, payload);
      }
    }
  }

  async #reopen(id) {
    if (!this.#screen.conversation(id)) {
      await this.#learn(id);
    }
    const timeline = this.#screen.timeline(id);
    if (!this.#screen.conversation(id)) {
      this.#screen.closeTimeline(id);
    } else if (timeline) {
      await this.#loadPage(id, timeline);
    }
  }

  /** Asks for a conversation that is not in the list. */
  async #learn(id) {
    await this.#recorder.during(async (arrived) => {
      const conversation = await this.#ask(id);
      const events = arrived();
      // An event may have added it meanwhile.
      if (conversation && !this.#screen.conversation(id)) {
        this.#screen.correct(conversation);
        this.#refreshIfOvertaken(id, events);
      }
    });
  }

  /** Events that arrived before the answer, of a conversation that was not in the list, may not be a part of it. */
  #refreshIfOvertaken(id, events) {
    if (events.some(({ payload }) => payload?.conversation === id)) {
      this.#screen.markIncomplete(id);
      this.#refresh.request(id);
    }
  }

  /** Loads the newest page, or the one below a `seq`. */
  async #loadPage(id, timeline, before) {
    const show = () => {
      this.#screen.invalidate(id);
      this.#changed();
    };
    const load = timeline.beginLoad();
    show();
    try {
      await this.#recorder.during(async (arrived) => {
        const query = { before, limit: this.#settings.pageSize };
        const page = await this.#client.http("GET", `v1/conversations/${id}/messages`, { query });
        const events = arrived();
        if (before === undefined ? timeline.replace(page, load) : timeline.prepend(page, load)) {
          events.forEach((event) => repeatInTimeline(timeline, id, event));
        }
      });
    } finally {
      timeline.endLoad();
      show();
    }
  }

  /** The conversation as the host describes it; `null` if the user is no member of it. */
  async #ask(id) {
    try {
      return await this.#client.http("GET", `v1/conversations/${id}`);
    } catch (error) {
      if (error.code === "not_a_member" || error.code === "not_found") {
        return null;
      }
      throw error;
    }
  }

  #corrected(id, conversation) {
    if (conversation) {
      this.#screen.correct(conversation);
    } else {
      this.#screen.removeConversation(id);
    }
    this.#changed();
  }

  #changed() {
    this.#snapshot = null;
    if (!this.#announced) {
      this.#announced = true;
      queueMicrotask(() => {
        this.#announced = false;
        this.#listeners.forEach((listener) => listener());
      });
    }
  }
}

/** Applies an event that arrived while the page was on the way: the page may be older or newer than it. */
function repeatInTimeline(timeline, id, { type, payload, acknowledged, answer }) {
  if (acknowledged?.type === "message.send" && acknowledged.conversation === id) {
    // Shown until its event arrives. What the page says of it is newer.
    timeline.addMissing(answer);
  } else if (payload?.conversation !== id) {
    return;
  } else if (type === "message.new") {
    timeline.add(payload);
  } else if (type === "message.updated") {
    timeline.update(payload);
  } else if (type === "message.deleted") {
    timeline.remove(payload.id);
  }
}
