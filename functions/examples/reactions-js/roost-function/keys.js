// Keys of the live state, and what they are about.

import { toId } from "./ids.js";

/** What is about a user. */
export function user(id) {
  return { tag: "user", val: toId(id) };
}

/** What is about a conversation. */
export function conversation(id) {
  return { tag: "conversation", val: toId(id) };
}

/** What is about a message. It is in the partition of the conversation. */
export function message(conversationId, id) {
  return { tag: "message", val: { conversation: toId(conversationId), message: toId(id) } };
}

/** What is about neither. */
export function shard(number) {
  return { tag: "shard", val: number };
}

/** A key of any space; only the spaces `app` and `unread-conversation` have items. */
export function key(space, owner, item = null) {
  return { space, owner, item };
}

/** A key of the function's own, which is lost with the store. The item is any text of 1 to 128 bytes. */
export function app(owner, item) {
  return key("app", owner, item);
}
