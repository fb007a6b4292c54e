// Reactions to messages: counts them, tells the members of the conversation, and lets a backend choose which reactions a
// conversation allows. The same function in Rust is ../reactions, in Python ../reactions-py.

import { Failure, conversation, defineFunction, query, records, store } from "../roost-function/index.js";
import * as rules from "./rules.js";

const BASE = "/v1/conversations/{conversation}";
const MESSAGE = `${BASE}/messages/{message}/reactions-js`;
const reaction = { type: "string", minLength: 1, maxLength: rules.REACTION_BYTES_MAX };

export const handler = defineFunction({
  name: "reactions-js",
  version: "0.1.0",
  routes: [
    { method: "GET", path: MESSAGE, access: "user", summary: "The reactions to a message.", handle: list },
    {
      method: "PUT",
      path: `${MESSAGE}/{reaction}`,
      access: "user",
      summary: "Reacts to a message. Doing so again changes nothing.",
      parameters: { reaction },
      handle: add,
    },
    {
      method: "DELETE",
      path: `${MESSAGE}/{reaction}`,
      access: "user",
      summary: "Takes a reaction back.",
      parameters: { reaction },
      handle: remove,
    },
    {
      method: "PUT",
      path: `${BASE}/reactions-js`,
      access: "service",
      summary: "Chooses which reactions a conversation allows.",
      handle: allow,
    },
  ],
  socket: {
    events: {
      "reaction.changed": {
        summary: "To every member: somebody has reacted, or taken it back.",
        durable: true,
        payload: rules.CHANGED,
      },
    },
  },
  grants: {
    read: ["app"],
    write: ["app"],
    publish: "members",
    records: ["messages", "membership", "read-documents", "put-document"],
  },
});

function list(request) {
  requireMessage(request);
  return rules.summary(read(request), request.user);
}

function add(request) {
  const chosen = records.document(conversation(request.parameters.conversation), "allowed");
  rules.checkAllowed(request.parameters.reaction, chosen?.value);
  return change(request, true);
}

function remove(request) {
  return change(request, false);
}

function allow(request) {
  const allowed = rules.allowedBody(request.json());
  records.updateDocument(conversation(request.parameters.conversation), "allowed", () => allowed);
}

function change(request, added) {
  const reaction = { ...request.parameters, user: request.user };
  requireMessage(request);
  const { members, blocked } = records.membership(reaction.conversation, reaction.user);
  if (blocked) throw new Failure("forbidden", "blocked", "one of the two users has blocked the other");
  // The members are read before the hash, so that a lost race does not read them again.
  const hash = query.fields(rules.key(reaction));
  return store.update([hash], (before) => rules.change(reaction, added, before ?? new Map(), members)).reply;
}

function read({ parameters }) {
  return store.readOne(query.fields(rules.key(parameters))) ?? new Map();
}

function requireMessage({ parameters, user }) {
  const [found] = records.messages(user, parameters.conversation, [parameters.message]);
  if (found === null) throw new Failure("not-found", "not_found", "no such message");
}
