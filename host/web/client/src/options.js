/**
 * The options of a client: what may be set, what is used otherwise, and a clear error for everything else.
 */

import { systemClock } from "./clock.js";
import { memoryStorage } from "./storage.js";

const DEFAULTS = {
  transport: "auto",
  authentication: "subprotocol",
  ackTimeoutMs: 10_000,
  httpTimeoutMs: 20_000,
  idleMs: 45_000,
  backoffFirstMs: 500,
  backoffLastMs: 30_000,
  queueMax: 500,
  queueAgeMsMax: 7 * 86_400_000,
  user: null,
  since: null,
};
const CHOICES = { transport: ["auto", "socket", "events"], authentication: ["subprotocol", "first_frame"] };
const PARTS = ["url", "token", "WebSocket", "fetch", "storage", "clock"];

/** Checks the options of a client and completes them. */
export function completeOptions(options) {
  const known = [...Object.keys(DEFAULTS), ...PARTS];
  for (const name of Object.keys(options ?? {})) {
    if (!known.includes(name)) {
      throw new TypeError(`unknown option "${name}"; the options are ${known.join(", ")}`);
    }
  }
  const complete = { ...DEFAULTS, ...options };
  for (const [name, choices] of Object.entries(CHOICES)) {
    if (!choices.includes(complete[name])) {
      throw new TypeError(`\`${name}\` must be one of ${choices.join(", ")}, not ${JSON.stringify(complete[name])}`);
    }
  }
  for (const name of Object.keys(DEFAULTS).filter((key) => typeof DEFAULTS[key] === "number")) {
    if (!Number.isSafeInteger(complete[name]) || complete[name] <= 0) {
      throw new TypeError(`\`${name}\` must be a whole number above zero, not ${JSON.stringify(complete[name])}`);
    }
  }
  complete.url = baseOf(complete.url);
  complete.clock ??= systemClock;
  complete.storage ??= memoryStorage();
  complete.fetch ??= (address, request) => globalThis.fetch(address, request);
  complete.WebSocket ??= globalThis.WebSocket;
  if (complete.transport === "socket" && !complete.WebSocket) {
    throw new TypeError("there is no WebSocket here; give `WebSocket: NodeSocket` of `node-socket.js`");
  }
  return complete;
}

/** The address of the host with a slash at its end, so that paths are appended to it. */
function baseOf(url) {
  let base;
  try {
    base = new URL(url, globalThis.location?.href);
  } catch {
    base = null;
  }
  if (!base || !["http:", "https:"].includes(base.protocol)) {
    throw new TypeError(`\`url\` must be the address of the host, such as https://chat.example, not ${JSON.stringify(url)}`);
  }
  base.search = "";
  base.hash = "";
  base.pathname = base.pathname.replace(/\/*$/, "/");
  return base;
}
