// The package on the imports of the host. Everything else in it is plain JavaScript that a test can run without a host.

import clock from "roost:edge/clock@0.1.0";
import keyValue from "roost:edge/key-value@0.1.0";
import pubSub from "roost:edge/pub-sub@0.1.0";
import wireRecords from "roost:edge/records@0.1.0";
import telemetry from "roost:edge/telemetry@0.1.0";

import { Publisher } from "./events.js";
import { componentOf } from "./function.js";
import { Records } from "./records.js";
import { Store } from "./store.js";

export { Event } from "./events.js";
export { Failure } from "./failure.js";
export { Reply } from "./function.js";
export { app, conversation, key, message, shard, user } from "./keys.js";
export * as query from "./query.js";
export { Decision } from "./store.js";
export { Transaction } from "./transaction.js";

/** The live state. It is lost with the store. */
export const store = new Store(keyValue);

/** The system of record, and the documents of this function. */
export const records = new Records(wireRecords);

const publisher = new Publisher(pubSub);

/** Publishes an event to each of these users. It is a step of its own: `Transaction.publish` is atomic with a change. */
export function publish(users, event) {
  publisher.publish(users, event);
}

/** Milliseconds since the Unix epoch, on the clock of the store. */
export function now() {
  return clock.now();
}

/** Writes a line to the operator's log. The values of the fields are texts. */
export function log(level, message, fields = {}) {
  telemetry.log(level, message, Object.entries(fields));
}

/** Adds to the counter `roost_function_<name>_total`. */
export function count(name, labels = {}, amount = 1) {
  telemetry.count(name, Object.entries(labels), amount);
}

/** Makes what a function's module exports as `handler`. */
export function defineFunction(definition) {
  return componentOf(definition, (message, fields) => log("error", message, fields));
}
