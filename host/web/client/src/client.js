/**
 * The client of a Roost host: one connection that is always renewed, events in order and each once, and calls that are
 * acknowledged. It keeps no state of conversations: `RoostStore` does.
 */

import { Backoff } from "./backoff.js";
import { Connection, notConnected } from "./connection.js";
import { Emitter } from "./emitter.js";
import { RoostError, closedError, connectionLost } from "./errors.js";
import { Http } from "./http.js";
import { checkId, newId } from "./ids.js";
import { completeOptions } from "./options.js";
import { Outbox } from "./outbox.js";
import { formatPosition, isKnown, isSamePosition, parsePosition, positionOf } from "./position.js";
import { Requests } from "./requests.js";
import { routeOf } from "./routes.js";
import { Tokens } from "./tokens.js";

/** The longest content of a message. */
const CONTENT_BYTES_MAX = 16_384;
/** The host is told at most this often that the user is typing. */
const TYPING_MS_MIN = 3_000;
/** How often a call that changes nothing, or can be repeated, is attempted. */
const ATTEMPTS_MAX = 4;
/** The longest wait for the answer to a probe. */
const PROBE_MS_MAX = 10_000;
/** Events of the client itself. An event of the host with such a name is only shown by the event `event`. */
const OWN_EVENTS = new Set(["event", "status", "closed", "queue", "acknowledged", "refused"]);
/** Waits between attempts to renew the token of an open socket. */
const RENEW_FIRST_MS = 2_000;
const RENEW_LAST_MS = 60_000;

export class RoostClient {
  #options;
  #clock;
  #emitter = new Emitter();
  #tokens;
  #connection;
  #requests;
  #http;
  #outbox;
  #position;
  #hello = null;
  #user;
  #connected = null;
  #renewing = null;
  #renewBackoff;
  #typedAt = new Map();
  #stopWatching = () => {};

  /** @param {import("../roost-client.js").RoostClientOptions} options */
  constructor(options) {
    this.#options = completeOptions(options);
    const { clock, url, fetch, backoffFirstMs, backoffLastMs } = this.#options;
    this.#clock = clock;
    this.#user = this.#options.user === null ? null : checkId("`user`", this.#options.user);
    this.#position = parsePosition(this.#options.since);
    this.#tokens = new Tokens(this.#options.token, clock);
    this.#requests = new Requests(clock, this.#options.ackTimeoutMs);
    const authorize = () => this.#authorize();
    this.#http = new Http({ url, fetch, tokens: this.#tokens, clock, timeoutMs: this.#options.httpTimeoutMs, authorize });
    this.#renewBackoff = new Backoff(clock, RENEW_FIRST_MS, RENEW_LAST_MS);
    const { queueMax: entriesMax, queueAgeMsMax: ageMsMax, storage } = this.#options;
    this.#outbox = new Outbox({ entriesMax, ageMsMax, backoffFirstMs, backoffLastMs }, clock, storage, {
      perform: ({ type, payload }) => this.call(type, payload),
      changed: () => this.#emitter.emit("queue", this.queue),
      acknowledged: (entry, answer) => this.#emitter.emit("acknowledged", entry, answer),
      refused: (entry, error) => this.#emitter.emit("refused", entry, error),
      storageFailed: (cause) => this.#emitter.emit("error", new RoostError("storage", `${cause?.message}`, { cause })),
    });
    this.#connection = this.#makeConnection();
  }

  /** `idle`, `connecting`, `online`, `waiting` (for the next attempt) or `closed`. */
  get status() {
    return this.#connection.status;
  }

  /** The user whom the token names. `null` as long as neither the token nor the host has named one. */
  get user() {
    return this.#user;
  }

  /** The payload of the last `hello`. */
  get hello() {
    return this.#hello;
  }

  /** `<epoch>:<offset>` of the last event, for the option `since` of a later client; `null` before the first `hello`. */
  get position() {
    return this.#position && formatPosition(this.#position);
  }

  /** `socket` or `events` while connected, `null` otherwise. */
  get transport() {
    return this.#connection.link?.kind ?? null;
  }

  /** The changes that the host has not acknowledged, oldest first. */
  get queue() {
    return this.#outbox.entries.map((entry) => ({ ...entry }));
  }

  /** Adds a listener for an event of the host or of the client; returns the function that removes it. */
  on(type, listener) {
    return this.#emitter.on(type, listener);
  }

  /** Removes a listener. */
  off(type, listener) {
    this.#emitter.off(type, listener);
  }

  /** Connects, and connects again whenever the connection is lost. Resolves to the payload of the first `hello`. */
  connect() {
    if (this.#connection.link) {
      return Promise.resolve(this.#hello);
    }
    if (this.#connected) {
      return this.#connected.promise;
    }
    const connected = deferred();
    this.#connected = connected;
    this.#outbox.reopen();
    this.#watchNetwork();
    if (this.#user) {
      this.#outbox.open(this.#user);
    }
    this.#connection.start();
    return connected.promise;
  }

  /** Closes the connection and ends every call. What is queued remains in the storage, and is sent by a later client. */
  async close() {
    this.#connection.stop(closedError());
    const closing = this.#outbox.close();
    this.#http.abandon(closedError());
    this.#tokens.abandon(closedError());
    await closing;
  }

  /**
   * Queues a message; resolves to the message as the host has stored it.
   * @param {string} conversation
   * @param {string} content
   * @param {{id?: string, type?: string}} [options]
   */
  sendMessage(conversation, content, { id = newId(), type } = {}) {
    const payload = { conversation: checkId("the conversation", conversation), id: checkId("`id`", id) };
    return this.#outbox.add("message.send", { ...payload, ...(type && { type }), content: checkContent(content) });
  }

  /** Queues a new content of one of the user's messages; resolves to the message. */
  editMessage(conversation, id, content) {
    const payload = { conversation: checkId("the conversation", conversation), id: checkId("the message", id) };
    return this.#outbox.add("message.edit", { ...payload, content: checkContent(content) });
  }

  /** Queues the deletion of a message. */
  deleteMessage(conversation, id) {
    const payload = { conversation: checkId("the conversation", conversation), id: checkId("the message", id) };
    return this.#outbox.add("message.delete", payload);
  }

  /** Queues a read position: the user has seen everything up to this sequence number. */
  markRead(conversation, upTo) {
    if (!Number.isSafeInteger(upTo) || upTo < 0) {
      throw new TypeError(`the read position must be the \`seq\` of a message, not ${JSON.stringify(upTo)}`);
    }
    return this.#outbox.add("conversation.read", { conversation: checkId("the conversation", conversation), up_to: upTo });
  }

  /** Sends a refused message of the queue again. */
  retry(id) {
    return this.#outbox.retry(id);
  }

  /** Drops a refused message of the queue. */
  discard(id) {
    return this.#outbox.discard(id);
  }

  /** Tells the members that the user is typing, unless they learnt it a short time ago. Nothing is repeated. */
  typing(conversation) {
    const id = checkId("the conversation", conversation);
    const now = this.#clock.now();
    if (this.transport !== "socket" || now - (this.#typedAt.get(id) ?? -Infinity) < TYPING_MS_MIN) {
      return;
    }
    this.#typedAt = new Map([...this.#typedAt].filter(([, at]) => now - at < TYPING_MS_MIN)).set(id, now);
    // It is out of date soon: a failure changes nothing.
    this.call("typing", { conversation: id }).catch(() => {});
  }

  /**
   * The present state, and what was missed after `since`.
   * @param {{since?: string}} [options]
   */
  sync({ since } = {}) {
    return this.call("sync", since === undefined ? {} : { since });
  }

  /**
   * Sends a frame and resolves to the payload of its answer; over HTTP if there is no socket. Nothing is repeated.
   * @param {string} type
   * @param {object} [payload]
   * @param {{timeoutMs?: number}} [options]
   */
  async call(type, payload = {}, { timeoutMs } = {}) {
    const link = this.#connection.link;
    if (link?.kind === "socket") {
      return this.#requests.send(link, type, payload, timeoutMs);
    }
    const route = routeOf(type, payload);
    if (!link) {
      throw notConnected(this.status);
    }
    if (!route) {
      throw new RoostError("socket_required", `frames of the type "${type}" need a socket`);
    }
    const { method, path, ...request } = route;
    return (await this.#http.call(method, path, request)) ?? route.answer ?? {};
  }

  /**
   * Calls a route of the HTTP interface, with the token. What changes nothing is attempted several times.
   * @param {string} method
   * @param {string} path such as `v1/conversations`
   */
  http(method, path, request = {}) {
    const attempts = ["GET", "PUT", "DELETE"].includes(method) ? ATTEMPTS_MAX : 1;
    return this.#http.call(method, path.replace(/^\//, ""), { attempts, ...request });
  }

  #makeConnection() {
    const { url, transport, authentication, WebSocket, fetch, idleMs, backoffFirstMs, backoffLastMs } = this.#options;
    const firstFrame = authentication === "first_frame";
    const settings = { url, transport, firstFrame, WebSocket, fetch, idleMs, backoffFirstMs, backoffLastMs };
    return new Connection(settings, this.#clock, this.#tokens, {
      frame: (frame) => this.#receive(frame),
      down: (decision) => this.#down(decision),
      stopped: (error) => this.#stopped(error),
      status: (status, details) => this.#emitter.emit("status", status, details),
      since: () => this.#position,
      forget: () => {
        this.#position = null;
      },
      authorize: () => this.#checkUser(this.#tokens.user),
      probe: () => this.call("presence.beat", {}, { timeoutMs: PROBE_MS_MAX }),
      heartbeat: () => this.call("presence.beat", { connection: this.#hello?.connection }),
    });
  }

  #receive(frame) {
    const { type, payload, id, error } = frame;
    if (type === "ok" || type === "error") {
      if (typeof id === "string") {
        this.#requests.answer(frame);
      } else {
        this.#emitter.emit("error", RoostError.ofFrame(error));
      }
      return;
    }
    if (type === "hello") {
      this.#welcome(payload);
      return;
    }
    const position = positionOf(frame);
    if (position && isKnown(position, this.#position)) {
      return;
    }
    // The payload of a `resync` that has no position of its own names the one to go on from.
    this.#position = position ?? (type === "resync" ? positionOf(payload) : null) ?? this.#position;
    if (type === "message.new") {
      this.#outbox.confirm(payload);
    }
    if (!OWN_EVENTS.has(type)) {
      this.#emitter.emit(type, payload, position);
    }
    this.#emitter.emit("event", { type, payload, position });
  }

  /** The first frame of a connection. `resumed`: everything that was missed follows. */
  #welcome(hello) {
    const position = positionOf(hello);
    const resumed = this.#hello !== null && isSamePosition(position, this.#position);
    this.#position = position ?? this.#position;
    this.#hello = hello;
    try {
      this.#checkUser(hello.user);
    } catch (error) {
      this.#connection.stop(error);
      return;
    }
    this.#scheduleRenewal();
    this.#emitter.emit("hello", hello, { resumed });
    this.#connected?.resolve(hello);
    // A listener may have closed the client.
    this.#outbox.setOnline(this.status === "online");
  }

  /** A client belongs to one user: the queue of one must not be sent by another. */
  #checkUser(user) {
    if (typeof user !== "string" || user === this.#user) {
      return;
    }
    if (this.#user !== null) {
      throw new RoostError("user_changed", "the token names another user; make a new client for another user");
    }
    this.#user = user;
    this.#outbox.open(user);
  }

  /** Before a call over HTTP: a token of another user ends the client. */
  #authorize() {
    if (this.#user === null) {
      return;
    }
    try {
      this.#checkUser(this.#tokens.user);
    } catch (error) {
      this.#connection.stop(error);
      throw error;
    }
  }

  #down({ error, blame }) {
    this.#clock.clearTimeout(this.#renewing);
    this.#outbox.setOnline(false);
    this.#requests.abandon(blame ? error : connectionLost(`the connection was lost: ${error.message}`, error));
  }

  #stopped(error) {
    this.#stopWatching();
    const connected = this.#connected;
    this.#connected = null;
    this.#emitter.emit("closed", error);
    connected?.reject(error);
  }

  /** A socket goes on with a new token. An event stream has no frames: it is opened again when its token has ended. */
  #scheduleRenewal() {
    this.#clock.clearTimeout(this.#renewing);
    const due = this.#tokens.renewInMs;
    if (due !== null && this.transport === "socket") {
      // A token that arrived while this socket was opened is unknown to the host.
      const isCurrent = this.#connection.token === this.#tokens.text;
      this.#renewing = this.#clock.setTimeout(() => this.#renew(), isCurrent ? due : 0);
    }
  }

  async #renew() {
    const hello = this.#hello;
    try {
      const token = await this.#tokens.refresh("expiring");
      this.#checkUser(this.#tokens.user);
      if (hello !== this.#hello || this.transport !== "socket") {
        return;
      }
      await this.call("token", { token });
      this.#connection.renewed(token);
      this.#renewBackoff.reset();
      this.#scheduleRenewal();
    } catch (error) {
      if (error.code === "user_changed" || error.code === "no_token") {
        this.#connection.stop(error);
      } else if (hello === this.#hello && this.transport === "socket") {
        this.#emitter.emit("error", error);
        this.#renewing = this.#clock.setTimeout(() => this.#renew(), this.#renewBackoff.next(error.retryAfterMs));
      }
    }
  }

  /** Connects again as soon as the browser is online or the page is shown. */
  #watchNetwork() {
    const wake = () => this.#connection.wake();
    const shown = () => globalThis.document?.visibilityState === "visible" && wake();
    globalThis.window?.addEventListener?.("online", wake);
    globalThis.document?.addEventListener?.("visibilitychange", shown);
    this.#stopWatching = () => {
      globalThis.window?.removeEventListener?.("online", wake);
      globalThis.document?.removeEventListener?.("visibilitychange", shown);
    };
  }
}

function checkContent(content) {
  const bytes = typeof content === "string" ? new TextEncoder().encode(content).length : 0;
  if (bytes === 0 || bytes > CONTENT_BYTES_MAX) {
    throw new TypeError(`the content must be a text of 1 to ${CONTENT_BYTES_MAX} bytes, not ${bytes}`);
  }
  return content;
}

function deferred() {
  let resolve;
  let reject;
  const promise = new Promise((onResolve, onReject) => {
    resolve = onResolve;
    reject = onReject;
  });
  // The event `closed` tells the same to whoever does not wait.
  promise.catch(() => {});
  return { promise, resolve, reject };
}
