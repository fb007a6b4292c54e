// Checks, changes and events for the keys of one owner's partition: all of it happens, or nothing.

import { toId } from "./ids.js";
import { integer } from "./numbers.js";
import { encode } from "./utf8.js";

function bytesOf(value) {
  return typeof value === "string" ? encode(value) : value;
}

function life(ms) {
  return ms === null ? null : integer(ms, "a time to live");
}

export class Transaction {
  constructor(owner) {
    this.owner = owner;
    this.checks = [];
    this.mutations = [];
    this.publications = [];
    this.publishedResults = [];
    this.addressed = [];
  }

  wire() {
    const { owner, checks, mutations, publishedResults, addressed } = this;
    const publications = this.publications.map((event) => event.wire());
    return { owner, checks, mutations, publications, publishedResults, addressed };
  }

  check(tag, val) {
    this.checks.push({ tag, val });
    return this;
  }

  mutate(tag, val) {
    this.mutations.push({ tag, val });
    return this;
  }

  /** The key does not exist. */
  absent(key) {
    return this.check("absent", key);
  }

  /** The key exists. */
  present(key) {
    return this.check("present", key);
  }

  /** The key holds exactly this text or these bytes; a counter compares as its decimal text. */
  equals(key, value) {
    return this.check("equals", { key, value: bytesOf(value) });
  }

  /** The field holds this text; `null`: it is missing. */
  fieldEquals(key, field, value) {
    return this.check("field-equals", { key, field, value });
  }

  /** The field is missing, or a number below the limit. */
  fieldBelow(key, field, limit) {
    return this.check("field-below", { key, field, limit: integer(limit, "a limit") });
  }

  /** The member has this score; `null`: it is not in the set. */
  scoreEquals(key, member, score) {
    return this.check("score-equals", { key, member, score: score === null ? null : integer(score, "a score") });
  }

  /** Replaces the key by a text or by bytes. */
  set(key, value, timeToLiveMs = null) {
    return this.mutate("set", { key, value: bytesOf(value), timeToLive: life(timeToLiveMs) });
  }

  delete(key) {
    return this.mutate("delete", key);
  }

  /** Adds to a counter. The new value, which is not below the floor, is a result of the commit. */
  add(key, delta, floor = null) {
    return this.mutate("add", {
      key,
      delta: integer(delta, "a delta"),
      floor: floor === null ? null : integer(floor, "a floor"),
    });
  }

  /** Sets fields of a hash: an object, a Map or a list of pairs. */
  setFields(key, fields) {
    const pairs = typeof fields[Symbol.iterator] === "function" ? Array.from(fields) : Object.entries(fields);
    return this.mutate("set-fields", { key, fields: pairs });
  }

  deleteFields(key, names) {
    return this.mutate("delete-fields", { key, names });
  }

  /** Adds to a number in a field. The new value is a result of the commit. */
  addField(key, field, delta) {
    return this.mutate("add-field", { key, field, delta: integer(delta, "a delta") });
  }

  /** Sets the time to live. */
  expire(key, timeToLiveMs) {
    return this.mutate("expire", { key, timeToLive: life(timeToLiveMs) });
  }

  /** Removes the time to live. */
  persist(key) {
    return this.mutate("persist", key);
  }

  orderedPut(key, member, score) {
    return this.mutate("ordered-put", { key, member, score: integer(score, "a score") });
  }

  orderedRemove(key, member) {
    return this.mutate("ordered-remove", { key, member });
  }

  /**
   * An event for the owner, who must be a user. `results` are members that the store adds to its payload, an object:
   * each name with the place, from zero, among the results of `add` and `addField` of this transaction.
   */
  publish(event, results = {}) {
    const publication = this.publications.push(event) - 1;
    for (const [name, result] of Object.entries(results)) {
      this.publishedResults.push({ publication, name, result: integer(result, "the place of a result") });
    }
    return this;
  }

  /** An event for these users, whoever the owner is: all of them receive it if the transaction is carried out. */
  publishTo(users, event) {
    this.addressed.push({ users: users.map(toId), event: event.wire() });
    return this;
  }
}
