/**
 * The queue of the user's changes: messages, edits, deletions and read positions that the host has not acknowledged.
 *
 * Changes of one conversation are sent one after the other, in the order in which they were made; each is sent again until
 * it is acknowledged or refused. The host knows a message by its id, so sending it again is harmless. The storage keeps the
 * queue; what it cannot keep is sent all the same.
 */

import { Backoff } from "./backoff.js";
import { RoostError, closedError } from "./errors.js";

/** How many conversations are worked on at the same time. */
const CONVERSATIONS_AT_ONCE_MAX = 8;
/** A storage that takes longer to open holds nothing up any more. */
const STORAGE_MS_MAX = 5_000;
/** Errors, beside those of the token, that say nothing about the change that was to be sent. */
const NOT_ABOUT_THE_CHANGE = new Set(["no_token", "user_changed", "closed"]);

/**
 * One change. Its `key` orders the entries, and its `type` is that of the frame.
 * @typedef {import("../roost-client.js").QueueEntry} Entry
 */

export class Outbox {
  #settings;
  #clock;
  #events;
  #storage;
  /** @type {Map<string, Entry>} */
  #entries = new Map();
  /** Conversations in which an entry is in flight, or waits for its next attempt. */
  #busy = new Map();
  #waiters = new Map();
  /** The storage is being opened: entries that were dropped meanwhile, and whether the others wait for it. */
  #opening = null;
  #user = null;
  #made = 0;
  #online = false;
  #closed = false;

  /**
   * @param {{entriesMax: number, ageMsMax: number, backoffFirstMs: number, backoffLastMs: number}} settings
   * @param {import("../roost-client.js").Clock} clock
   * @param {import("../roost-client.js").QueueStorage} storage
   * @param {{perform: (entry: Entry) => Promise<object>, changed: Function, acknowledged: Function, refused: Function,
   *   storageFailed: Function}} events
   */
  constructor(settings, clock, storage, events) {
    this.#settings = settings;
    this.#clock = clock;
    this.#storage = storage;
    this.#events = events;
  }

  /** All entries, oldest first. */
  get entries() {
    return [...this.#entries.values()];
  }

  /** Loads what an earlier page has left behind for this user, and keeps what is queued from now on. */
  async open(user) {
    if (this.#user !== null) {
      return;
    }
    this.#user = user;
    const early = this.entries;
    early.forEach((entry) => Object.assign(entry, { user }));
    const opening = this.#waitForStorage();
    const stored = (await this.#keep(() => this.#storage.open(user))) ?? [];
    this.#clock.clearTimeout(opening.timer);
    if (this.#opening !== opening) {
      return;
    }
    this.#opening = null;
    // What the user does while the storage is opened comes after what is stored.
    const queued = this.entries;
    const left = stored.filter(({ key }) => !this.#entries.has(key) && !opening.dropped.has(key));
    const entries = [...left.map((entry) => ({ ...entry, user })), ...queued];
    this.#entries = new Map(entries.map((entry) => [entry.key, entry]));
    early.filter(({ key }) => this.#entries.has(key)).forEach((entry) => this.#keep(() => this.#storage.put(entry)));
    this.#events.changed();
    this.#pump();
  }

  /** Queues a change; resolves to the answer of the host, and rejects when the host refuses it. */
  add(type, payload) {
    if (this.#closed) {
      return rejected(closedError());
    }
    if (type === "conversation.read") {
      this.#replaceEarlierRead(payload);
    }
    if (this.#entries.size >= this.#settings.entriesMax) {
      const text = `${this.#settings.entriesMax} changes wait to be sent already`;
      return rejected(new RoostError("queue_full", text, { retry: true }));
    }
    const now = this.#clock.now();
    this.#made += 1;
    const random = Math.floor(this.#clock.random() * 2 ** 32);
    const key = [String(now).padStart(15, "0"), String(this.#made).padStart(9, "0"), random.toString(16)].join("-");
    const { conversation, id = null } = payload;
    const entry = { key, type, conversation, id, payload, created_at: now, user: this.#user, failed: null };
    this.#entries.set(key, entry);
    if (this.#user !== null) {
      this.#keep(() => this.#storage.put(entry));
    }
    const answered = new Promise((resolve, reject) => this.#waiters.set(key, { resolve, reject }));
    // Whoever shows the queue learns of refusals by events, and does not have to wait for each answer.
    answered.catch(() => {});
    this.#events.changed();
    this.#pump();
    return answered;
  }

  /** The host takes changes now, or it does not. */
  setOnline(online) {
    this.#online = online;
    // What waits for its next attempt waits for the next connection instead.
    for (const [conversation, work] of this.#busy) {
      if (work.timer !== null) {
        this.#clock.clearTimeout(work.timer);
        this.#busy.delete(conversation);
      }
    }
    this.#pump();
  }

  /** A message arrived as an event: it is acknowledged, whatever becomes of the answer. */
  confirm(message) {
    const entry = this.entries.find((queued) => queued.type === "message.send" && queued.id === message.id);
    if (entry) {
      this.#acknowledge(entry, message);
    }
  }

  /** Sends a refused message again. */
  retry(id) {
    const entry = this.#refused(id);
    if (entry) {
      entry.failed = null;
      entry.created_at = this.#clock.now();
      this.#keep(() => this.#storage.put(entry));
      this.#events.changed();
      this.#pump();
    }
    return entry !== undefined;
  }

  /** Drops a refused message. */
  discard(id) {
    const entry = this.#refused(id);
    if (entry) {
      this.#drop(entry);
      this.#events.changed();
    }
    return entry !== undefined;
  }

  /** Rejects what waits; the storage keeps the entries for the next `open`. */
  async close() {
    this.#closed = true;
    this.#online = false;
    this.#clock.clearTimeout(this.#opening?.timer);
    this.#opening = null;
    this.#busy.forEach(({ timer }) => this.#clock.clearTimeout(timer));
    this.#busy.clear();
    const waiters = [...this.#waiters.values()];
    this.#waiters.clear();
    waiters.forEach(({ reject }) => reject(closedError("the client was closed before the host answered")));
    this.#entries.clear();
    this.#user = null;
    await this.#keep(() => this.#storage.close());
  }

  /** Ready for another connection, after the client was closed by the host. */
  reopen() {
    this.#closed = false;
  }

  #refused(id) {
    return this.entries.find((entry) => entry.id === id && entry.failed !== null);
  }

  /** Only the newest read position of a conversation is sent. */
  #replaceEarlierRead({ conversation, up_to: upTo }) {
    const inFlight = this.#busy.get(conversation)?.entry;
    for (const entry of this.entries) {
      const isRead = entry.type === "conversation.read" && entry.conversation === conversation;
      if (isRead && entry !== inFlight && entry.payload.up_to <= upTo) {
        this.#waiters.get(entry.key)?.resolve(null);
        this.#drop(entry);
      }
    }
  }

  /** Sends the first entry of every conversation that has none in flight. */
  #pump() {
    if (!this.#online || this.#closed || this.#opening?.holdsUp) {
      return;
    }
    for (const entry of this.entries) {
      if (this.#busy.size >= CONVERSATIONS_AT_ONCE_MAX) {
        return;
      }
      if (entry.failed === null && !this.#busy.has(entry.conversation)) {
        this.#busy.set(entry.conversation, { entry, timer: null });
        this.#send(entry, new Backoff(this.#clock, this.#settings.backoffFirstMs, this.#settings.backoffLastMs));
      }
    }
  }

  async #send(entry, backoff) {
    const work = this.#busy.get(entry.conversation);
    let answer;
    try {
      if (this.#clock.now() - entry.created_at > this.#settings.ageMsMax) {
        throw new RoostError("expired", "the change could not be sent in time");
      }
      answer = await this.#events.perform(entry);
    } catch (error) {
      if (this.#busy.get(entry.conversation) === work) {
        this.#failed(entry, error, backoff);
      }
      return;
    }
    this.#acknowledge(entry, answer);
  }

  #failed(entry, error, backoff) {
    if (!this.#entries.has(entry.key)) {
      this.#next(entry);
    } else if (isRefusal(error)) {
      this.#refuse(entry, error);
    } else if (!this.#online) {
      // The next connection begins with it.
      this.#busy.delete(entry.conversation);
    } else {
      const work = this.#busy.get(entry.conversation);
      work.timer = this.#clock.setTimeout(() => {
        work.timer = null;
        this.#send(entry, backoff);
      }, backoff.next(error.retryAfterMs));
    }
  }

  #acknowledge(entry, answer) {
    if (this.#entries.has(entry.key)) {
      const waiter = this.#waiters.get(entry.key);
      this.#drop(entry);
      this.#events.acknowledged(entry, answer);
      waiter?.resolve(answer);
      this.#events.changed();
    }
    this.#next(entry);
  }

  #refuse(entry, error) {
    const waiter = this.#waiters.get(entry.key);
    if (entry.type === "message.send") {
      // The text is the user's: it is kept until they send it again or discard it.
      entry.failed = { code: error.code ?? "internal", message: error.message };
      this.#waiters.delete(entry.key);
      this.#keep(() => this.#storage.put(entry));
    } else {
      this.#drop(entry);
    }
    this.#events.refused(entry, error);
    waiter?.reject(error);
    this.#events.changed();
    this.#next(entry);
  }

  #next(entry) {
    const work = this.#busy.get(entry.conversation);
    if (work?.entry === entry) {
      this.#clock.clearTimeout(work.timer);
      this.#busy.delete(entry.conversation);
    }
    this.#pump();
  }

  /** Nothing is sent before what is stored, but a storage that does not answer is not waited for. */
  #waitForStorage() {
    const opening = { holdsUp: true, dropped: new Set() };
    opening.timer = this.#clock.setTimeout(() => {
      opening.holdsUp = false;
      this.#events.storageFailed(new Error("the storage did not open in time"));
      this.#pump();
    }, STORAGE_MS_MAX);
    this.#opening = opening;
    return opening;
  }

  #drop(entry) {
    this.#opening?.dropped.add(entry.key);
    this.#entries.delete(entry.key);
    this.#waiters.delete(entry.key);
    if (this.#user !== null) {
      this.#keep(() => this.#storage.remove(entry));
    }
  }

  async #keep(action) {
    try {
      return await action();
    } catch (error) {
      this.#events.storageFailed(error);
      return undefined;
    }
  }
}

/** Whether the host refuses the change for good. A token that it refuses, or that is missing, says nothing about the change. */
function isRefusal(error) {
  const isAboutTheToken = error.status === 401 || NOT_ABOUT_THE_CHANGE.has(error.code);
  return !(error instanceof RoostError) || !(error.retry || isAboutTheToken);
}

/** A promise that is rejected, also if nobody waits for it. */
function rejected(error) {
  const promise = Promise.reject(error);
  promise.catch(() => {});
  return promise;
}
