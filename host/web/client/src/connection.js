/**
 * The life of the connection: opens a socket or an event stream, and opens another one after it ended, for as long as the
 * client is not closed.
 */

import { Backoff } from "./backoff.js";
import { closedError, connectionLost } from "./errors.js";
import { openEventStream } from "./event-stream.js";
import { Liveness } from "./liveness.js";
import { decide } from "./outcome.js";
import { openSocket } from "./socket.js";

/** The longest wait for `hello`. The host admits connections at a bounded rate. */
const HELLO_MS_MAX = 30_000;
/** A connection that lasted this long begins with the shortest wait again after its end. */
const STABLE_MS = 10_000;
/** Clients that are to connect again at once are spread over this time. */
const AT_ONCE_MS_MAX = 250;
/** After this many sockets that could not be opened, an event stream is tried. */
const SOCKET_FAILURES_MAX = 2;
/** While an event stream is used, a socket is tried again after this time, and later after twice that. */
const SOCKET_AGAIN_MS = 300_000;
const SOCKET_AGAIN_MS_MAX = 3_600_000;
/** How many tokens in a row may be refused. */
const REFUSED_TOKENS_MAX = 2;

/**
 * What a link reports.
 * @typedef {object} LinkEvents
 * @property {(frame: object) => void} frame
 * @property {() => void} activity
 * @property {(ending: import("./outcome.js").Ending & {opened?: boolean}) => void} ended
 */

export class Connection {
  #settings;
  #clock;
  #tokens;
  #events;
  #backoff;
  #liveness;
  #status = "idle";
  #link = null;
  /** Counts attempts: what an earlier one still reports is ignored. */
  #attempt = 0;
  #token = null;
  #upSince = null;
  #waiting = null;
  #hello = null;
  #switching = null;
  #socketFailures = 0;
  #socketAgainMs = SOCKET_AGAIN_MS;
  #refusedTokens = 0;
  /** The host has asked not to be called before this time. */
  #notBefore = 0;

  /**
   * @param {{url: URL, transport: string, firstFrame: boolean, WebSocket?: new (...values: any[]) => any, fetch: typeof fetch,
   *   idleMs: number, backoffFirstMs: number, backoffLastMs: number}} settings
   * @param {import("../roost-client.js").Clock} clock
   * @param {import("./tokens.js").Tokens} tokens
   * @param {{frame: Function, down: Function, stopped: Function, status: Function, since: Function, forget: Function,
   *   probe: () => Promise<unknown>, heartbeat: () => Promise<unknown>, authorize: Function}} events
   */
  constructor(settings, clock, tokens, events) {
    this.#settings = settings;
    this.#clock = clock;
    this.#tokens = tokens;
    this.#events = events;
    this.#backoff = new Backoff(clock, settings.backoffFirstMs, settings.backoffLastMs);
    this.#liveness = new Liveness(clock, settings.idleMs, {
      probe: events.probe,
      heartbeat: events.heartbeat,
      dead: () => this.#link?.close({ reason: "the host does not answer" }),
    });
  }

  /** `idle`, `connecting`, `online`, `waiting` (for the next attempt) or `closed`. */
  get status() {
    return this.#status;
  }

  /** The link, once the host has sent `hello`. */
  get link() {
    return this.#status === "online" ? this.#link : null;
  }

  /** The token that the host has of this connection. */
  get token() {
    return this.#token;
  }

  /** The host has accepted another token for this connection. */
  renewed(token) {
    this.#token = token;
  }

  /** Connects, unless the client is connected or connecting. */
  start() {
    if (this.#status === "idle" || this.#status === "closed") {
      this.#backoff.reset();
      this.#refusedTokens = 0;
      this.#socketFailures = 0;
      this.#connect();
    }
  }

  /** The network is back, or the page is shown again: does not wait any longer than the host asks for. */
  wake() {
    if (this.#status === "waiting") {
      if (this.#clock.now() >= this.#notBefore) {
        this.#connect();
      }
    } else if (this.#status === "online") {
      this.#liveness.probe();
    }
  }

  /** Closes the connection for good. */
  stop(error = closedError()) {
    if (this.#status === "closed") {
      return;
    }
    const link = this.#release();
    this.#setStatus("closed");
    link?.close();
    this.#events.down({ next: "stop", error });
    this.#events.stopped(error);
  }

  /** Replaces the link by another one; nothing is missed, because the next one begins at the position. */
  reconnect(reason) {
    this.#link?.close({ code: 1012, reason });
  }

  async #connect() {
    this.#release();
    const attempt = this.#attempt;
    this.#setStatus("connecting");
    if (attempt !== this.#attempt) {
      // A listener has closed the client.
      return;
    }
    try {
      const token = await this.#tokens.get();
      if (attempt === this.#attempt) {
        this.#events.authorize();
        this.#open(token, attempt);
      }
    } catch (error) {
      this.#ended(attempt, { error });
    }
  }

  #open(token, attempt) {
    const { url, firstFrame, WebSocket, fetch } = this.#settings;
    const since = this.#events.since();
    const kind = this.#kind();
    this.#token = token;
    this.#hello = this.#clock.setTimeout(() => this.#link?.close({ reason: "the host sent no hello" }), HELLO_MS_MAX);
    const events = {
      activity: () => this.#liveness.activity(),
      frame: (frame) => {
        if (attempt === this.#attempt) {
          this.#received(frame, kind);
        }
      },
      ended: (ending) => {
        this.#noteTransport(kind, ending, attempt);
        this.#ended(attempt, ending);
      },
    };
    const open = kind === "socket" ? openSocket : openEventStream;
    const link = open({ url, token, since, firstFrame, WebSocket, fetch }, events);
    if (attempt === this.#attempt) {
      this.#link = link;
    }
  }

  #received(frame, kind) {
    if (frame.type === "hello") {
      this.#clock.clearTimeout(this.#hello);
      this.#upSince = this.#clock.now();
      this.#refusedTokens = 0;
      this.#liveness.start(kind, frame.payload?.beat_interval_ms);
      if (kind === "socket") {
        this.#socketFailures = 0;
        this.#socketAgainMs = SOCKET_AGAIN_MS;
      } else if (this.#settings.transport === "auto" && this.#settings.WebSocket) {
        this.#switching = this.#clock.setTimeout(() => this.reconnect("a socket is tried again"), this.#socketAgainMs);
        this.#socketAgainMs = Math.min(this.#socketAgainMs * 2, SOCKET_AGAIN_MS_MAX);
      }
      this.#setStatus("online");
      if (this.#status !== "online") {
        // A listener has closed the client.
        return;
      }
    }
    this.#events.frame(frame);
  }

  /** Which kind of connection is opened next. */
  #kind() {
    const { transport, WebSocket } = this.#settings;
    if (transport !== "auto") {
      return transport;
    }
    return WebSocket && this.#socketFailures < SOCKET_FAILURES_MAX ? "socket" : "events";
  }

  /** A page does not learn why a socket cannot be opened. An event stream shows it, or works where sockets do not. */
  #noteTransport(kind, { opened, error }, attempt) {
    if (attempt !== this.#attempt) {
      return;
    }
    if (kind === "events") {
      // The next attempt is a socket; if that fails too, an event stream comes next.
      this.#socketFailures = SOCKET_FAILURES_MAX - 1;
    } else if (!opened && !error) {
      this.#socketFailures += 1;
    } else {
      this.#socketFailures = 0;
    }
  }

  #ended(attempt, ending) {
    if (attempt !== this.#attempt) {
      return;
    }
    const decision = this.#aboutToken(decide(ending));
    const lasted = this.#upSince === null ? 0 : this.#clock.now() - this.#upSince;
    this.#release();
    if (lasted >= STABLE_MS) {
      this.#backoff.reset();
    }
    if (decision.forget) {
      this.#events.forget();
    }
    if (decision.next === "stop") {
      this.#setStatus("closed");
      this.#events.down(decision);
      this.#events.stopped(decision.error);
      return;
    }
    // A host that closes connections as soon as they are open is not asked without a pause.
    const atOnce = decision.next === "now" && lasted >= STABLE_MS;
    const waitMs = atOnce ? this.#clock.random() * AT_ONCE_MS_MAX : this.#backoff.next(decision.retryAfterMs);
    this.#notBefore = this.#clock.now() + (decision.retryAfterMs ?? 0);
    this.#setStatus("waiting", { error: decision.error, waitMs });
    this.#events.down(decision);
    if (this.#status === "waiting") {
      this.#waiting = this.#clock.setTimeout(() => this.#connect(), waitMs);
    }
  }

  /** A refused token is replaced; after several refusals, or without a source of tokens, the client stops. */
  #aboutToken(decision) {
    if (!decision.token) {
      return decision;
    }
    this.#tokens.invalidate(this.#token);
    this.#refusedTokens += 1;
    if (this.#tokens.canRefresh && this.#refusedTokens <= REFUSED_TOKENS_MAX) {
      return decision;
    }
    return { ...decision, next: "stop" };
  }

  /** Forgets the current link and every timer. Returns the link. */
  #release() {
    const link = this.#link;
    this.#attempt += 1;
    this.#link = null;
    this.#upSince = null;
    this.#liveness.stop();
    for (const timer of [this.#waiting, this.#hello, this.#switching]) {
      this.#clock.clearTimeout(timer);
    }
    return link;
  }

  #setStatus(status, details = {}) {
    if (status !== this.#status || details.error) {
      this.#status = status;
      this.#events.status(status, details);
    }
  }
}

/** The error of a request that was made without a connection. */
export function notConnected(status) {
  return status === "closed" ? closedError() : connectionLost();
}
