// Questions about the live state. Each knows how its answer is read; `null` stands for a missing key.

import { integer } from "./numbers.js";
import { decode } from "./utf8.js";

const RANGE_MAX = 1000;

function question(tag, val, read) {
  return { wire: { tag, val }, read: (value) => (value.tag === "missing" ? null : read(value.val)) };
}

/** The bytes of a key, as a Uint8Array. */
export function bytes(key) {
  return question("bytes", key, (found) => Uint8Array.from(found));
}

/** The bytes of a key as text. */
export function text(key) {
  return question("bytes", key, decode);
}

/** The number of a counter. A missing counter is not zero. */
export function counter(key) {
  return question("counter", key, (number) => integer(number, "a counter"));
}

/** All fields of a hash: a Map from names to texts. */
export function fields(key) {
  return question("plain-fields", key, (pairs) => new Map(pairs));
}

/** The same fields of several hashes: an array for each key, with `null` for a field that is missing. */
export function namedFields(keys, names) {
  return question("plain-named-fields", { keys, names }, (found) => found);
}

/** The milliseconds that are left: a number, or "unlimited" for a key that does not expire. */
export function timeToLive(key) {
  return question("time-to-live", key, (left) => left ?? "unlimited");
}

/** The members of an ordered set with their scores, lowest first: an array of pairs. */
export function orderedRange(key, { minimum, maximum, limit = RANGE_MAX }) {
  const range = { key, minimum: integer(minimum, "minimum"), maximum: integer(maximum, "maximum"), limit };
  return question("ordered-range", range, (members) => members);
}

/** Whether the key exists. */
export function presence(key) {
  return question("presence", key, (present) => present);
}

/** The counters of a space whose items are the fields of a hash: a Map from items to numbers. */
export function indexedCounters(index, space) {
  return question("plain-indexed-counters", { index, space }, (pairs) => new Map(pairs));
}
