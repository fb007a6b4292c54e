// The live state: reading, committing, and changing it without losing the change of another caller.

import { Failure, failureOf, storeFailure } from "./failure.js";

/** How often `update` reads and asks again after a lost race. */
export const TRIES_MAX = 8;

/** What the rule of an update makes of the values that were read. */
export class Decision {
  constructor(transaction, reply) {
    this.transaction = transaction;
    this.reply = reply;
  }
}

export class Store {
  constructor(keyValue) {
    this.keyValue = keyValue;
  }

  /** Answers queries in one round trip, in order. */
  read(...queries) {
    const values = failureOf.store(() => this.keyValue.read(queries.map((query) => query.wire)));
    return queries.map((query, index) => query.read(values[index]));
  }

  /** The answer to one query. */
  readOne(query) {
    return this.read(query)[0];
  }

  /**
   * Commits one transaction: `{ results }` with the numbers of `add` and `addField` if it happened, or `{ refused }` with
   * the index of the check that did not hold.
   */
  commit(transaction) {
    const [outcome] = failureOf.store(() => this.keyValue.commit([transaction.wire()]));
    switch (outcome.tag) {
      case "committed":
        return { results: outcome.val ?? [] };
      case "refused":
        return { refused: outcome.val };
      default:
        throw storeFailure(outcome.val);
    }
  }

  /**
   * Reads, asks the rule for a Decision, and commits it. If a check of its transaction does not hold, because another
   * caller was faster, it reads again and asks again. Answers the reply of the decision, and the results.
   */
  update(queries, rule) {
    for (let attempt = 0; attempt < TRIES_MAX; attempt += 1) {
      const { transaction, reply } = rule(...this.read(...queries));
      const { results } = this.commit(transaction);
      if (results !== undefined) return { reply, results };
    }
    throw Failure.contended();
  }
}
