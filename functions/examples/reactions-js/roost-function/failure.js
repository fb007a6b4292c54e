// Failures: what a handler answers when it refuses, or cannot do what it was asked. The codes of errors of the store and of
// the records are those of functions in Rust.

import { byteLength } from "./utf8.js";

/** The host refuses a longer message. */
const MESSAGE_BYTES_MAX = 1024;
const INTERNAL = "the function could not do this; the operator's log has the reason";

export class Failure extends Error {
  /** The kind decides the HTTP status; the code consists of `a-z` and `_`; the message says what is allowed. */
  constructor(kind, code, message, { retryAfterMs = null, cause = null } = {}) {
    super(message);
    this.name = "Failure";
    this.kind = kind;
    this.code = code;
    this.retryAfterMs = retryAfterMs;
    /** For the operator's log, not for the caller. */
    this.cause = cause;
  }

  /** The request is not valid; the message says what is allowed. */
  static invalid(message) {
    return new Failure("invalid", "invalid", message);
  }

  /** The request needs a user, and a service sent it for itself. */
  static userRequired() {
    const message = "this request needs a user: send a user's token, or send `Roost-User` with the service key";
    return new Failure("invalid", "user_required", message);
  }

  /** Another caller was faster, again and again. */
  static contended() {
    return new Failure("unavailable", "contended", "other callers changed the same at the same time; try again");
  }

  /** The function is at fault. */
  static internal(cause, code = "internal") {
    return new Failure("internal", code, INTERNAL, { cause });
  }

  get retry() {
    return this.kind === "unavailable";
  }

  wire() {
    const { kind, code, retry, retryAfterMs } = this;
    return { kind, code, message: cut(this.message), retry, retryAfterMs };
  }
}

/** The beginning of a message that is too long: a character takes at most four bytes. */
function cut(message) {
  if (byteLength(message) <= MESSAGE_BYTES_MAX) return message;
  return Array.from(message).slice(0, MESSAGE_BYTES_MAX / 4).join("");
}

/** The error of the contract in what an import threw; `null` if it is something else. */
export function wireError(thrown) {
  const error = thrown?.payload ?? thrown;
  return typeof error?.tag === "string" ? error : null;
}

/** What an error of the store means for the caller. */
export function storeFailure({ tag, val }) {
  switch (tag) {
    case "unavailable":
      return new Failure("unavailable", "store_unavailable", "the store did not answer", { retryAfterMs: val });
    case "denied":
      return Failure.internal(`denied: ${val}`, "denied");
    case "quota-exceeded":
      return Failure.internal(`quota exceeded: ${val}`, "quota_exceeded");
    default:
      return Failure.internal(`${tag}: ${val}`);
  }
}

/** What an error of the records means for the caller. */
export function recordsFailure({ tag, val }) {
  switch (tag) {
    case "not-found":
      return new Failure("not-found", "not_found", val);
    case "not-a-member":
      return new Failure("forbidden", "not_a_member", "the user is not a member of the conversation");
    case "forbidden":
      return new Failure("forbidden", "forbidden", val);
    case "blocked":
      return new Failure("forbidden", "blocked", "one of the two users has blocked the other");
    case "conflict":
      return new Failure("conflict", "conflict", val);
    case "version-mismatch":
      return new Failure("conflict", "version_mismatch", "the document was changed by another caller");
    case "too-large":
      return new Failure("too-large", "too_large", val);
    case "invalid":
      return Failure.invalid(val);
    case "unavailable":
      return new Failure("unavailable", "records_unavailable", "the records did not answer", { retryAfterMs: val });
    case "quota-exceeded":
      return Failure.internal(`quota exceeded: ${val}`, "quota_exceeded");
    default:
      return Failure.internal(`${tag}: ${val}`, "denied");
  }
}

function translated(translate) {
  return (call) => {
    try {
      return call();
    } catch (thrown) {
      const error = wireError(thrown);
      throw error === null ? thrown : translate(error);
    }
  };
}

/** Calls an import, and throws a Failure for an error of the contract. */
export const failureOf = { store: translated(storeFailure), records: translated(recordsFailure) };
