// The rules of reactions: what is kept for a message, how it changes, and which event the members receive. Nothing here reads
// or writes.
//
// Each message has one hash in the space `app`. A member's reaction is the field `by <user> <reaction>`; `count <reaction>` is
// how many members chose it, `all` the sum of the counts, and `changes` grows with every change.

import { Event } from "../roost-function/events.js";
import { Failure } from "../roost-function/failure.js";
import { app, message as messageOwner } from "../roost-function/keys.js";
import { Decision } from "../roost-function/store.js";
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

/**
 * Adds a reaction or takes it back: from the hash that was read to what is committed, with the event for the members, and the
 * reply. If another caller changes the hash in between, the transaction is refused and the rule is asked again.
 */
export function change(reaction, added, before, members) {
  const hash = key(reaction);
  const transaction = new Transaction(hash.owner);
  if (before.has(by(reaction)) === added) return new Decision(transaction, summary(before, reaction.user));
  if (added && number(before, "all") >= REACTIONS_MAX) {
    throw Failure.invalid(`a message has at most ${REACTIONS_MAX} reactions; take one back first`);
  }
  const difference = added ? 1 : -1;
  const after = changed(reaction, added, before);
  transaction
    .fieldEquals(hash, "changes", before.get("changes") ?? null)
    .addField(hash, count(reaction), difference)
    .addField(hash, "changes", 1)
    .addField(hash, "all", difference)
    .expire(hash, KEPT_MS)
    .publishTo(members, event(reaction, added, after));
  if (added) transaction.setFields(hash, { [by(reaction)]: "1" });
  else transaction.deleteFields(hash, [by(reaction)]);
  return new Decision(transaction, summary(after, reaction.user));
}

/** The hash after the change. */
function changed(reaction, added, before) {
  const difference = added ? 1 : -1;
  const fields = new Map(before);
  const add = (name, amount) => fields.set(name, String(number(before, name) + amount));
  add(count(reaction), difference);
  add("changes", 1);
  add("all", difference);
  if (added) fields.set(by(reaction), "1");
  else fields.delete(by(reaction));
  return fields;
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
 * The event for every member. It has the count after the change and not the difference, so that a client which misses one
 * shows the right number after the next one; of two events, the one with the greater `change` is newer.
 */
function event(reaction, added, after) {
  const { conversation, message, user, reaction: name } = reaction;
  return Event.durable("reaction.changed", {
    conversation,
    message,
    user,
    reaction: name,
    added,
    count: number(after, count(reaction)),
    change: number(after, "changes"),
  });
}

const UUID = { type: "string", format: "uuid" };

/** The JSON Schema of the event's payload. */
export const CHANGED = {
  type: "object",
  properties: {
    conversation: UUID,
    message: UUID,
    user: { ...UUID, description: "Who has reacted, or has taken a reaction back." },
    reaction: { type: "string", minLength: 1, maxLength: REACTION_BYTES_MAX },
    added: { type: "boolean", description: "Whether the reaction was added; otherwise it was taken back." },
    count: { type: "integer", minimum: 0, description: "How many users have reacted so now." },
    change: { type: "integer", minimum: 1, description: "Grows with every change of the message's reactions." },
  },
  required: ["conversation", "message", "user", "reaction", "added", "count", "change"],
};

/** A number of the hash; zero if it is missing. */
function number(fields, name) {
  return Number(fields.get(name) ?? 0);
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
