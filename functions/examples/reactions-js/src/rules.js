// The rules of reactions: what is kept for a message, how it changes, and what is told to whom. Nothing here reads or writes.
//
// Each message has one hash in the space `app`. A member's reaction is the field `by <user> <reaction>`; `count <reaction>` is
// how many members chose it, `all` the sum of the counts, and `changes` grows with every change.

import { Event } from "../roost-function/events.js";
import { Failure } from "../roost-function/failure.js";
import { app, message as messageOwner } from "../roost-function/keys.js";
import { Transaction } from "../roost-function/transaction.js";
import { byteLength } from "../roost-function/utf8.js";

export const REACTION_BYTES_MAX = 32;
const ALLOWED_BY_DEFAULT = ["👍", "❤️", "😂", "😮", "😢"];
const ALLOWED_MAX = 20;
const REACTIONS_MAX = 1000;
const KEPT_MS = 30 * 86_400_000;

/** The key of a message's hash. Another layout of the hash would get another name. */
export function key({ conversation, message }) {
  return app(messageOwner(conversation, message), "v1");
}

/** Adds a reaction, on the condition that it is not there. */
export function add(reaction) {
  const hash = key(reaction);
  return new Transaction(hash.owner)
    .fieldEquals(hash, by(reaction), null)
    .fieldBelow(hash, "all", REACTIONS_MAX)
    .addField(hash, count(reaction), 1)
    .addField(hash, "changes", 1)
    .addField(hash, "all", 1)
    .setFields(hash, { [by(reaction)]: "1" })
    .expire(hash, KEPT_MS);
}

/** Takes a reaction back, on the condition that it is there. */
export function remove(reaction) {
  const hash = key(reaction);
  return new Transaction(hash.owner)
    .fieldEquals(hash, by(reaction), "1")
    .addField(hash, count(reaction), -1)
    .addField(hash, "changes", 1)
    .addField(hash, "all", -1)
    .deleteFields(hash, [by(reaction)])
    .expire(hash, KEPT_MS);
}

export function tooMany() {
  return Failure.invalid(`a message has at most ${REACTIONS_MAX} reactions; take one back first`);
}

/** What a member sees of a message's hash. */
export function summary(fields, user) {
  const own = `by ${user} `;
  const counts = {};
  const mine = [];
  for (const [name, text] of fields) {
    if (name.startsWith("count ") && Number(text) > 0) counts[name.slice("count ".length)] = Number(text);
    if (name.startsWith(own)) mine.push(name.slice(own.length));
  }
  return { counts, mine };
}

/**
 * The event for every member. It has the count after the change and not the difference, so that a client which gets it twice,
 * or misses one, shows the right number; of two events, the one with the greater `change` is newer.
 */
export function changed(reaction, added, fields) {
  const { conversation, message, user, reaction: name } = reaction;
  const number = (field) => Number(fields.get(field) ?? 0);
  return Event.durable("reaction.changed", {
    conversation,
    message,
    user,
    reaction: name,
    added,
    count: number(count(reaction)),
    change: number("changes"),
  });
}

/** Refuses a reaction that the conversation does not allow. */
export function checkAllowed(name, chosen) {
  const allowed = chosen ?? ALLOWED_BY_DEFAULT;
  if (!allowed.includes(name)) throw Failure.invalid(`this conversation allows only ${allowed.join(" ")}`);
}

/** Checks the body with which a backend chooses reactions. */
export function allowedBody(body) {
  const allowed = body?.allowed;
  if (!Array.isArray(allowed) || Object.keys(body).length !== 1) {
    throw Failure.invalid("the body must be {\"allowed\": [reactions]}");
  }
  if (allowed.length < 1 || allowed.length > ALLOWED_MAX) {
    throw Failure.invalid(`a conversation allows 1 to ${ALLOWED_MAX} reactions, not ${allowed.length}`);
  }
  const wrong = allowed.find((name) => !isReaction(name));
  if (wrong !== undefined) {
    throw Failure.invalid(
      `${JSON.stringify(wrong)} is no reaction: it has 1 to ${REACTION_BYTES_MAX} bytes without control characters and no space around them`,
    );
  }
  return allowed;
}

function isReaction(name) {
  if (typeof name !== "string" || name.trim() !== name || /\p{Cc}/u.test(name) || !name.isWellFormed()) return false;
  const bytes = byteLength(name);
  return bytes >= 1 && bytes <= REACTION_BYTES_MAX;
}

function by({ user, reaction }) {
  return `by ${user} ${reaction}`;
}

function count({ reaction }) {
  return `count ${reaction}`;
}
