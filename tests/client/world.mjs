/**
 * A small host that is right by construction: conversations, counters and the feed of one user. Its answers are taken when
 * they are asked for and arrive when the test lets them, so that events overtake them.
 */

import { USER } from "./fake-host.mjs";

const id = (kind, number) => `00000000-0000-4000-8000-${kind}${String(number).padStart(11, "0")}`;
export const userId = (number) => (number === 0 ? USER : id("0", number + 1));

export class World {
  conversations = new Map();
  feed = [];
  #made = 0;
  #unreadPage;

  /** `unreadPage` is how many unread counters an answer names. */
  constructor(unreadPage = Infinity) {
    this.#unreadPage = unreadPage;
  }

  /** What the user is a member of, newest activity first. */
  get mine() {
    const mine = [...this.conversations.values()].filter(({ members }) => members.has(USER));
    return mine.sort((one, other) => other.activity - one.activity);
  }

  get offset() {
    return this.feed.length;
  }

  create(members) {
    this.#made += 1;
    const conversation = { id: id("c", this.#made), members: new Map(), messages: [], deleted: new Map(), seq: 0 };
    conversation.activity = this.#tick();
    this.conversations.set(conversation.id, conversation);
    members.forEach((member) => conversation.members.set(member, { joined: 0, read: 0 }));
    if (members.includes(USER)) {
      this.#publish("conversation.added", this.describe(conversation));
    }
  }

  send(conversation, sender, message = undefined) {
    conversation.seq += 1;
    conversation.activity = this.#tick();
    const { seq, activity } = conversation;
    const made = { id: message ?? id("e", this.#made), content: `message ${this.#made}`, created_at: timeOf(activity) };
    conversation.messages.push({ conversation: conversation.id, seq, sender_id: sender, type: "text", ...made });
    this.#toUser(conversation, "message.new", conversation.messages.at(-1));
    return conversation.messages.at(-1);
  }

  /** The message with this id as it is now: a deleted one is a tombstone. */
  stored({ messages, deleted }, message) {
    return messages.find((known) => known.id === message) ?? deleted.get(message);
  }

  edit(conversation, message) {
    conversation.seq += 1;
    message.content = `${message.content}, edited`;
    if (this.#sees(conversation, message)) {
      this.#toUser(conversation, "message.updated", message);
    }
  }

  remove(conversation, message) {
    conversation.seq += 1;
    const sees = this.#sees(conversation, message);
    const before = this.unread(conversation);
    conversation.messages = conversation.messages.filter((other) => other !== message);
    conversation.deleted.set(message.id, { ...message, content: "", deleted: true });
    if (sees) {
      this.#toUser(conversation, "message.deleted", { conversation: conversation.id, id: message.id, seq: message.seq });
      if (this.unread(conversation) !== before) {
        this.#counted(conversation);
      }
    }
  }

  read(conversation, reader, upTo = conversation.seq) {
    const member = conversation.members.get(reader);
    if (!member || upTo <= member.read) {
      return;
    }
    member.read = upTo;
    if (reader === USER) {
      this.#counted(conversation);
    } else if (conversation.members.size <= 8) {
      this.#toUser(conversation, "message.read_update", { conversation: conversation.id, reader, up_to: upTo });
    }
  }

  join(conversation, user) {
    if (conversation.members.has(user)) {
      return;
    }
    const { seq } = conversation;
    conversation.members.set(user, { joined: seq, read: seq });
    if (user === USER) {
      this.#publish("conversation.added", this.describe(conversation));
    } else {
      this.#membersChanged(conversation, [user], []);
      if (conversation.members.size <= 8) {
        this.#toUser(conversation, "message.read_update", { conversation: conversation.id, reader: user, up_to: seq });
      }
    }
  }

  leave(conversation, user) {
    if (!conversation.members.delete(user)) {
      return;
    }
    if (user === USER) {
      this.#publish("conversation.removed", { conversation: conversation.id, total: this.total });
    } else {
      this.#membersChanged(conversation, [], [user]);
    }
  }

  unread({ members, messages }) {
    const { read, joined } = members.get(USER) ?? { read: Infinity, joined: Infinity };
    return messages.filter(({ seq, sender_id: sender }) => seq > Math.max(read, joined) && sender !== USER).length;
  }

  get total() {
    return this.mine.reduce((sum, conversation) => sum + this.unread(conversation), 0);
  }

  /** The conversation as in a page. */
  describe(conversation) {
    const members = [...conversation.members.keys()].sort();
    const isSmall = members.length <= 8;
    const { id: name, seq, activity } = conversation;
    const last = this.history(conversation)[0] ?? null;
    return {
      id: name,
      direct: false,
      members: members.slice(0, 20),
      member_count: members.length,
      reads: isSmall ? Object.fromEntries(members.map((user) => [user, conversation.members.get(user).read])) : {},
      last_message: last && { ...last },
      unread: this.unread(conversation),
      read: conversation.members.get(USER).read,
      seq,
      updated_at: timeOf(activity),
    };
  }

  /** What the user sees of it, newest first. */
  history({ members, messages }) {
    const { joined } = members.get(USER);
    return messages.filter(({ seq }) => seq > joined).reverse();
  }

  get counters() {
    const unread = this.mine.filter((conversation) => this.unread(conversation) > 0);
    unread.sort((one, other) => (one.id < other.id ? -1 : 1));
    const named = unread.slice(0, this.#unreadPage);
    const by = (value) => Object.fromEntries(named.map((conversation) => [conversation.id, value(conversation)]));
    return {
      ...(named.length < unread.length && { next_cursor: named.at(-1)?.id ?? "" }),
      total: this.total,
      conversations: by((conversation) => this.unread(conversation)),
      reads: by(({ members }) => members.get(USER).read),
      seqs: by(({ seq }) => seq),
    };
  }

  get state() {
    const conversations = this.mine.map((conversation) => this.describe(conversation));
    return { epoch: "e", offset: this.offset, presence: [], unread: this.counters, conversations, next_cursor: null };
  }

  #sees({ members }, { seq }) {
    return seq > (members.get(USER)?.joined ?? Infinity);
  }

  #counted(conversation) {
    const { read } = conversation.members.get(USER);
    const { id: name, seq } = conversation;
    const update = { conversation: name, unread: this.unread(conversation), total: this.total, read, seq };
    this.#toUser(conversation, "unread.update", update);
  }

  #membersChanged(conversation, added, removed) {
    const change = { conversation: conversation.id, added, removed, member_count: conversation.members.size };
    this.#toUser(conversation, "conversation.members", change);
  }

  #toUser(conversation, type, payload) {
    if (conversation.members.has(USER)) {
      this.#publish(type, payload);
    }
  }

  #publish(type, payload) {
    this.feed.push({ type, payload: structuredClone(payload), epoch: "e", offset: this.feed.length + 1 });
  }

  #tick() {
    this.#made += 1;
    return this.#made;
  }
}

function timeOf(activity) {
  return new Date(1_700_000_000_000 + activity * 1_000).toISOString();
}
