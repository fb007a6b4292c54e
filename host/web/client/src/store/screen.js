/**
 * The whole screen: conversations, members, badges, presence, positions and the messages of open conversations. Events and
 * answers of the host go in, and what is shown comes out. It asks nothing by itself: it names what has to be asked again.
 */

import {
  byActivity,
  lacksMembers,
  withEdit,
  withLaterReads,
  withMembers,
  withMessage,
  withOwnRead,
  withRead,
} from "./conversation.js";
import { Counters } from "./counters.js";
import { Presence } from "./presence.js";
import { Timeline, isEditedAfter } from "./timeline.js";
import { Typing } from "./typing.js";

export class Screen {
  user = null;
  presence = new Presence();
  counters = new Counters();
  typing;
  contacts = [];
  blocked = [];
  nextCursor = null;
  #limits;
  /** @type {Map<string, object>} */
  #conversations = new Map();
  /** @type {Map<string, Timeline>} */
  #timelines = new Map();
  /** Read positions of this device that no event has confirmed. */
  #localReads = new Map();
  /** Conversations that an event has left incomplete: only the host knows the rest. */
  #incomplete = new Set();
  /** The changes that the host has not acknowledged, by conversation. */
  #queued = new Map();
  #views = new Map();
  #openViews = new Map();
  /** What was shown last. */
  #shown = { conversations: [], open: {} };

  /** @param {{conversationsMax: number, messagesMax: number, openMax: number}} limits */
  constructor(limits, clock, changed) {
    this.#limits = limits;
    this.typing = new Typing(clock, (conversation) => {
      this.invalidate(conversation);
      changed();
    });
  }

  /** The conversation as the host has described it. */
  conversation(id) {
    return this.#conversations.get(id);
  }

  /** The messages of an open conversation. */
  timeline(id) {
    return this.#timelines.get(id);
  }

  /** The ids of the open conversations. */
  get openConversations() {
    return [...this.#timelines.keys()];
  }

  /** What is shown of this conversation has changed. */
  invalidate(id) {
    this.#views.delete(id);
    this.#openViews.delete(id);
  }

  /** The queue has changed. */
  setQueue(queue) {
    this.#queued.forEach((_, id) => this.invalidate(id));
    this.#queued = grouped(queue);
    for (const { payload } of queue.filter(({ type }) => type === "conversation.read")) {
      this.readLocally(payload.conversation, payload.up_to);
    }
    this.#queued.forEach((_, id) => this.invalidate(id));
  }

  /** Opens a conversation. The one that was opened longest ago is closed if there are too many. */
  openTimeline(id) {
    const existing = this.#timelines.get(id);
    if (existing) {
      this.#timelines.delete(id);
      this.#timelines.set(id, existing);
      return existing;
    }
    if (this.#timelines.size >= this.#limits.openMax) {
      this.closeTimeline(this.#timelines.keys().next().value);
    }
    const timeline = new Timeline(this.#limits.messagesMax, this.readOf(id));
    this.#timelines.set(id, timeline);
    return timeline;
  }

  /** Closes a conversation: its messages are dropped. */
  closeTimeline(id) {
    this.#timelines.delete(id);
    this.invalidate(id);
  }

  /** The read position that the user sees: the host's, or that of this device. */
  readOf(id) {
    return Math.max(this.#conversations.get(id)?.read ?? 0, this.#localReads.get(id) ?? 0);
  }

  /** The user has read up to here on this device; the host will be notified. */
  readLocally(id, upTo) {
    this.#localReads.set(id, Math.max(upTo, this.#localReads.get(id) ?? 0));
    this.invalidate(id);
  }

  /** The host refused a read position. */
  forgetLocalRead(id) {
    this.#localReads.delete(id);
    this.invalidate(id);
  }

  /** The counters of `hello` or `sync`. */
  replaceCounters(unread) {
    this.counters.replace(unread);
    this.#views.clear();
  }

  /** The first page of conversations replaces the list. The counters were replaced by those of the same answer before. */
  replaceConversations({ conversations, next_cursor: nextCursor }) {
    this.#conversations.clear();
    this.#incomplete.clear();
    conversations.slice(0, this.#limits.conversationsMax).forEach((conversation) => this.correct(conversation));
    this.nextCursor = nextCursor;
    this.#views.clear();
    this.#openViews.clear();
  }

  /** Another page of conversations. What is known already was kept up to date by events. */
  appendConversations({ conversations, next_cursor: nextCursor }) {
    for (const conversation of conversations) {
      if (!this.#conversations.has(conversation.id) && this.#conversations.size < this.#limits.conversationsMax) {
        this.correct(conversation);
      }
    }
    this.nextCursor = nextCursor;
  }

  /**
   * A conversation as the host describes it now. Its counter is taken only where `hello` and `sync` have not named all of
   * them, because an answer may be ahead of the events.
   */
  correct(conversation) {
    this.counters.learn(conversation);
    this.#put(withLaterReads(conversation, this.#conversations.get(conversation.id)));
    this.#incomplete.delete(conversation.id);
  }

  /** Only the host knows the whole state of this conversation. */
  markIncomplete(id) {
    this.#incomplete.add(id);
  }

  /** Whether the host has to be asked for this conversation. */
  needsRefresh(id) {
    const known = this.#conversations.get(id);
    return !known || this.#incomplete.has(id) || lacksMembers(known);
  }

  /** The user is no member any more. The event has the total of all unread messages; an answer has none. */
  removeConversation(id, total) {
    this.#conversations.delete(id);
    this.#localReads.delete(id);
    this.#incomplete.delete(id);
    this.counters.remove(id, total);
    this.closeTimeline(id);
  }

  /**
   * Applies an event. Returns the id of a conversation that has to be asked for again, because the event left it
   * incomplete; `null` otherwise.
   */
  apply(type, payload) {
    this.invalidate(payload?.conversation);
    switch (type) {
      case "message.new":
        return this.#newMessage(payload);
      case "message.updated":
        this.#timelines.get(payload.conversation)?.update(payload);
        return this.#change(payload.conversation, (conversation) => withEdit(conversation, payload));
      case "message.deleted":
        return this.#deletedMessage(payload);
      case "message.read_update":
        return this.#change(payload.conversation, (known) => withRead(known, payload.reader, payload.up_to));
      case "unread.update":
        return this.#countedAgain(payload);
      case "conversation.added":
        this.correct(payload);
        this.counters.added(payload);
        return null;
      case "conversation.members":
        this.#change(payload.conversation, (conversation) => withMembers(conversation, payload));
        return this.#lacks(payload.conversation);
      case "conversation.removed":
        this.removeConversation(payload.conversation, payload.total);
        return null;
      case "contact.update":
        this.setContact(payload);
        if (!payload.contact || payload.blocked) {
          this.presence.hide(payload.user);
        }
        return null;
      case "user.online":
      case "user.offline":
        this.presence.transition(type === "user.online", payload);
        return null;
      case "typing":
        this.typing.begin(payload.conversation, payload.user);
        return null;
      default:
        return null;
    }
  }

  /** A message that the host acknowledged, edited or deleted for this device. */
  acknowledge({ type, conversation, id }, answer) {
    this.invalidate(conversation);
    const timeline = this.#timelines.get(conversation);
    if (type === "message.send" && answer.deleted !== true) {
      timeline?.addMissing(answer);
      this.#change(conversation, (known) => (known.last_message?.id === id ? known : withMessage(known, answer)));
    } else if (type === "message.edit") {
      timeline?.acknowledgeEdit(answer);
      const isOlder = (known) => known.last_message !== null && isEditedAfter(known.last_message, answer);
      this.#change(conversation, (known) => (isOlder(known) ? known : withEdit(known, answer)));
    } else if (type === "message.delete" || type === "message.send") {
      timeline?.remove(id);
    } else if (type === "conversation.read" && this.counters.of(conversation) === 0) {
      // With something unread, the position moves with the event that has the new counter.
      this.#change(conversation, (known) => withOwnRead(known, answer.up_to, this.user));
      this.#confirmRead(conversation, answer.up_to);
    }
  }

  /** What the user has set for another user. It changes no presence. */
  setContact({ user, contact, blocked }) {
    const others = (list) => list.filter((known) => known !== user);
    this.contacts = contact ? [...others(this.contacts), user].sort() : others(this.contacts);
    this.blocked = blocked ? [...others(this.blocked), user].sort() : others(this.blocked);
  }

  /** What is shown. An object in it remains the same one as long as nothing happens to what it shows. */
  view() {
    const open = {};
    for (const id of this.#timelines.keys()) {
      open[id] = this.#openViewOf(id);
    }
    const conversations = [...this.#conversations.values()].sort(byActivity).map((known) => this.#viewOf(known));
    this.#shown = {
      conversations: isSame(this.#shown.conversations, conversations) ? this.#shown.conversations : conversations,
      open: isSame(this.#shown.open, open) ? this.#shown.open : open,
    };
    return {
      ...this.#shown,
      total: this.#shownTotal(),
      has_more: this.nextCursor !== null && this.#conversations.size < this.#limits.conversationsMax,
      presence: this.presence.view(),
      contacts: this.contacts,
      blocked: this.blocked,
    };
  }

  #newMessage(message) {
    const { conversation: id, sender_id: sender, seq } = message;
    this.typing.end(id, sender);
    this.#timelines.get(id)?.add(message);
    this.counters.message(id, seq, sender === this.user);
    this.#change(id, (conversation) => withMessage(conversation, message));
    // It belongs to the top of the list now.
    return this.#conversations.has(id) ? null : id;
  }

  #deletedMessage({ conversation: id, id: message }) {
    this.#timelines.get(id)?.remove(message);
    const known = this.#conversations.get(id);
    if (known?.last_message?.id !== message) {
      return null;
    }
    // Only the host knows which message is the last one now; until it answers, the newest one here is shown.
    this.#conversations.set(id, { ...known, last_message: this.#timelines.get(id)?.last ?? null });
    this.#incomplete.add(id);
    return id;
  }

  #countedAgain(update) {
    const { conversation: id, read } = update;
    this.counters.update(id, update);
    this.#confirmRead(id, read);
    return this.#change(id, (known) => withOwnRead(known, read, this.user));
  }

  /** The host knows that the user has read up to here. */
  #confirmRead(id, upTo) {
    if ((this.#localReads.get(id) ?? 0) <= upTo) {
      this.#localReads.delete(id);
    }
  }

  #lacks(id) {
    const conversation = this.#conversations.get(id);
    return conversation && lacksMembers(conversation) ? id : null;
  }

  /** Changes a conversation, if it is in the list. An older one is loaded with its page, as it is then. */
  #change(id, change) {
    const known = this.#conversations.get(id);
    if (known) {
      this.#conversations.set(id, change(known));
      this.invalidate(id);
    }
    return null;
  }

  #put(conversation) {
    this.#conversations.set(conversation.id, conversation);
    this.invalidate(conversation.id);
    if (this.#conversations.size > this.#limits.conversationsMax) {
      // The one that was just asked for is not dropped, however old it is: it may be about to be opened.
      const isKept = ({ id }) => id === conversation.id || this.#timelines.has(id);
      const oldest = [...this.#conversations.values()].filter((known) => !isKept(known)).sort(byActivity).at(-1);
      this.#conversations.delete(oldest?.id);
      this.#views.delete(oldest?.id);
    }
  }

  /** The counter that the user sees: nothing is unread where this device has read everything. */
  #shownUnread(id) {
    const local = this.#localReads.get(id);
    const conversation = this.#conversations.get(id);
    const isRead = local !== undefined && local > (conversation?.read ?? 0) && (conversation?.last_message?.seq ?? 0) <= local;
    return isRead ? 0 : this.counters.of(id);
  }

  #shownTotal() {
    const hidden = [...this.#localReads.keys()].map((id) => this.counters.of(id) - this.#shownUnread(id));
    return Math.max(0, this.counters.total - hidden.reduce((sum, unread) => sum + unread, 0));
  }

  #viewOf(conversation) {
    const { id } = conversation;
    if (!this.#views.has(id)) {
      const sends = (this.#queued.get(id) ?? []).filter(({ type }) => type === "message.send");
      const failed = sends.filter((entry) => entry.failed !== null).length;
      const own = { unread: this.#shownUnread(id), read: this.readOf(id), typing: this.typing.of(id) };
      this.#views.set(id, { ...conversation, ...own, sending: sends.length - failed, failed });
    }
    return this.#views.get(id);
  }

  #openViewOf(id) {
    if (!this.#openViews.has(id)) {
      const known = this.#conversations.get(id);
      const context = { user: this.user, reads: known?.reads ?? {}, members: known?.member_count ?? 0 };
      const view = this.#timelines.get(id).view({ ...context, queued: this.#queued.get(id) ?? [] });
      this.#openViews.set(id, view);
    }
    return this.#openViews.get(id);
  }
}

/** Whether two lists, or two objects, have the same parts in the same order. */
function isSame(one, other) {
  const parts = Object.entries(one);
  const others = Object.entries(other);
  return parts.length === others.length && parts.every(([key, part], at) => key === others[at][0] && part === others[at][1]);
}

function grouped(queue) {
  const groups = new Map();
  for (const entry of queue) {
    groups.set(entry.conversation, [...(groups.get(entry.conversation) ?? []), entry]);
  }
  return groups;
}
