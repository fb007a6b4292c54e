/**
 * What to do after a connection ended or was refused: a pure decision for every close code and every status.
 */

import { RoostError, connectionLost } from "./errors.js";

/** Codes of refusals after which another token may be accepted. */
const TOKEN_CODES = new Set(["token_expired", "token_invalid", "unauthenticated", "token_audience", "token_issuer"]);
/** Codes after which connecting again makes no sense: a service closed the connection, or there is no token of this user. */
const STOP_CODES = new Set(["disconnected", "no_token", "user_changed"]);
/** Close codes by which the host reports a mistake of this client: what it sent last is not to be sent again. */
const CLIENT_ERRORS = new Map([
  [1002, "protocol_error"],
  [1003, "binary_refused"],
  [1007, "not_utf8"],
  [1009, "frame_too_large"],
]);

/**
 * The end of a connection.
 * @typedef {object} Ending
 * @property {number} [code] the close code of a socket
 * @property {string} [reason] the reason of the close
 * @property {RoostError} [error] why it was refused or ended, if that is known
 * @property {number} [retryMs] when an event stream asks its client to come back
 */

/**
 * What to do: `stop`, or connect again `now` or after a `backoff`. `token` asks for a new token first, `forget` drops the
 * position, and `blame` rejects the requests in flight instead of sending them again.
 * @typedef {object} Decision
 * @property {"stop" | "now" | "backoff"} next
 * @property {RoostError} error
 * @property {number} [retryAfterMs]
 * @property {boolean} [token]
 * @property {boolean} [forget]
 * @property {boolean} [blame]
 */

/** @param {Ending} ending @returns {Decision} */
export function decide({ code, reason = "", error, retryMs }) {
  if (error) {
    return afterRefusal(error, retryMs);
  }
  const named = reason.split(" ", 1)[0];
  const ended = (text) => connectionLost(`${text} (close code ${code ?? "none"})`);
  switch (code) {
    case 1012:
      return { next: "now", error: ended("the host is stopping") };
    case 1013:
      return {
        next: "backoff",
        error: new RoostError(named || "try_later", "the host refuses connections for a while", { retry: true }),
        retryAfterMs: retryAfterOf(reason),
      };
    case 4001:
      return { next: "now", token: true, error: new RoostError("token_expired", "the token has expired", { status: 401 }) };
    case 4003:
      return { next: "stop", error: new RoostError("disconnected", reason || "a service closed the connection") };
    case 4008:
      return { next: "now", error: ended("the host was faster than this client") };
    default:
      if (CLIENT_ERRORS.has(code)) {
        const text = `the host refused what this client sent: ${reason || CLIENT_ERRORS.get(code)}`;
        return { next: "backoff", blame: true, error: new RoostError(CLIENT_ERRORS.get(code), text) };
      }
      return TOKEN_CODES.has(named)
        ? { next: "backoff", token: true, error: new RoostError(named, "the host refused the token", { status: 401 }) }
        : { next: "backoff", error: ended(named || "the connection was lost") };
  }
}

/** @returns {Decision} */
function afterRefusal(error, retryMs) {
  const retryAfterMs = error.retryAfterMs ?? retryMs;
  if (TOKEN_CODES.has(error.code) || (error.status === 401 && !error.retry)) {
    return { next: "backoff", token: true, error };
  }
  if (STOP_CODES.has(error.code)) {
    return { next: "stop", error };
  }
  if (error.code === "invalid_since") {
    return { next: "now", forget: true, error };
  }
  if (error.code === "draining" || error.code === "slow_client") {
    return { next: "now", error };
  }
  if (error.retry || error.status === undefined) {
    return { next: "backoff", retryAfterMs, error };
  }
  return { next: "stop", error };
}

/** The time in the reason of a close with 1013: `<code> retry_after_ms=<n>`. */
function retryAfterOf(reason) {
  const match = /(?:^| )retry_after_ms=(\d{1,9})(?: |$)/.exec(reason);
  return match ? Number(match[1]) : undefined;
}
