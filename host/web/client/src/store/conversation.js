/**
 * One conversation of the list, and how events change it.
 */

/** The members that a conversation names, and up to how many members it has their read positions. */
const MEMBERS_SHOWN_MAX = 20;
const READS_SHOWN_MAX = 8;
/** Readers of whom a larger conversation remembers positions: they come only as events. */
const READERS_MAX = 100;

/** Returns the conversation after a message; `user` is the user of this client. */
export function withMessage(conversation, message) {
  const last = conversation.last_message;
  const isNewer = !last || message.seq > last.seq;
  return {
    ...conversation,
    last_message: isNewer || last.id === message.id ? message : last,
    updated_at: isNewer ? message.created_at : conversation.updated_at,
  };
}

/** Returns the conversation after an edit of a message. */
export function withEdit(conversation, message) {
  return conversation.last_message?.id === message.id ? { ...conversation, last_message: message } : conversation;
}

/** Returns the conversation after `conversation.members`. */
export function withMembers(conversation, { added, removed, member_count: count }) {
  const members = [...new Set([...conversation.members, ...added])].filter((user) => !removed.includes(user)).sort();
  const reads = Object.fromEntries(Object.entries(conversation.reads).filter(([user]) => !removed.includes(user)));
  return {
    ...conversation,
    members: members.slice(0, MEMBERS_SHOWN_MAX),
    member_count: count,
    reads: count <= READS_SHOWN_MAX ? reads : {},
  };
}

/** Whether events about members have left a conversation incomplete: only the host knows the rest. */
export function lacksMembers({ members, member_count: count, reads }) {
  return members.length !== Math.min(count, MEMBERS_SHOWN_MAX)
    || (count <= READS_SHOWN_MAX && members.some((user) => !(user in reads)));
}

/** Returns the conversation after a reader's position moved; it never moves back. */
export function withRead(conversation, reader, upTo) {
  if ((conversation.reads[reader] ?? -1) >= upTo) {
    return conversation;
  }
  const { [reader]: _, ...others } = conversation.reads;
  const kept = Object.entries(others).slice(-(READERS_MAX - 1));
  return { ...conversation, reads: { ...Object.fromEntries(kept), [reader]: upTo } };
}

/**
 * Returns a conversation as the host describes it, with the later of each position there and the one known: what is
 * described may be older than events that came before it.
 */
export function withLaterReads(described, known) {
  const later = ([user, read]) => [user, Math.max(read, known?.reads[user] ?? 0)];
  const reads = Object.fromEntries(Object.entries(described.reads).map(later));
  return { ...described, reads, read: Math.max(described.read, known?.read ?? 0) };
}

/** Returns the conversation after the user's own position moved; it never moves back. */
export function withOwnRead(conversation, upTo, user) {
  const read = Math.max(conversation.read, upTo);
  const moved = user && conversation.member_count <= READS_SHOWN_MAX ? withRead(conversation, user, upTo) : conversation;
  return moved.read === read ? moved : { ...moved, read };
}

/** Newest activity first, as in a page of the host. */
export function byActivity(one, other) {
  const later = Date.parse(other.updated_at) - Date.parse(one.updated_at);
  return later === 0 ? (one.id < other.id ? 1 : -1) : later;
}
