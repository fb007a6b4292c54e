// The system of record, with UUIDs as text: what most functions need. The other operations are in the module
// `roost:edge/records@0.1.0`, with ids as in `ids.js`.

import { Failure, failureOf, wireError } from "./failure.js";
import { toId, toUuid } from "./ids.js";
import { TRIES_MAX } from "./store.js";

function readMessage(message) {
  const { id, conversation, sender } = message;
  return { ...message, id: toUuid(id), conversation: toUuid(conversation), sender: toUuid(sender) };
}

export class Records {
  constructor(records) {
    this.records = records;
  }

  /** Messages by id, as one member may see them; `null` for one that the member may not see. */
  messages(user, conversation, ids) {
    const query = { user: toId(user), conversation: toId(conversation), messages: ids.map(toId) };
    const found = failureOf.records(() => this.records.messages(query));
    return found.map((message) => message && readMessage(message));
  }

  /** The members of a conversation, and whether two members block each other. Throws `not_a_member` for other users. */
  membership(conversation, user) {
    const view = failureOf.records(() => this.records.membership(toId(conversation), toId(user)));
    return { ...view, members: view.members.map(toUuid) };
  }

  /** A document of this function: `{ version, value }`, or `null`. */
  document(owner, name) {
    const [found] = failureOf.records(() => this.records.readDocuments([{ owner, name }]));
    return found && { version: found.version, value: JSON.parse(found.json) };
  }

  /** Puts a document that has this version now, or does not exist (`null`). Answers the new version. */
  putDocument(owner, name, value, expected) {
    return failureOf.records(() => this.put(owner, name, value, expected));
  }

  /** Deletes a document of this version. */
  deleteDocument(owner, name, expected) {
    failureOf.records(() => this.records.deleteDocument({ owner, name }, expected));
  }

  /** The names of all documents of this function for an owner. */
  documentNames(owner) {
    return failureOf.records(() => this.records.documentNames(owner));
  }

  /** Reads a document, and puts what `change` makes of its value, again if another caller was faster. */
  updateDocument(owner, name, change) {
    for (let attempt = 0; attempt < TRIES_MAX; attempt += 1) {
      const present = this.document(owner, name);
      const value = change(present && present.value);
      const version = this.tryPut(owner, name, value, present && present.version);
      if (version !== null) return { version, value };
    }
    throw Failure.contended();
  }

  put(owner, name, value, expected) {
    return this.records.putDocument({ key: { owner, name }, json: JSON.stringify(value), expected });
  }

  /** The new version; `null` if the document has another version than expected. */
  tryPut(owner, name, value, expected) {
    return failureOf.records(() => {
      try {
        return this.put(owner, name, value, expected);
      } catch (thrown) {
        if (wireError(thrown)?.tag === "version-mismatch") return null;
        throw thrown;
      }
    });
  }
}
