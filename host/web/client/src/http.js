/**
 * Calls of the HTTP interface: the token, a time limit, and attempts where trying again is harmless.
 */

import { Backoff } from "./backoff.js";
import { wait } from "./clock.js";
import { RoostError, connectionLost } from "./errors.js";

const BACKOFF_FIRST_MS = 300;
const BACKOFF_LAST_MS = 10_000;
/** A call waits no longer than this for the host to take it again. */
const RETRY_AFTER_MS_MAX = 60_000;

export class Http {
  #url;
  #fetch;
  #tokens;
  #clock;
  #timeoutMs;
  #authorize;
  /** What aborts the calls that are under way. */
  #running = new Set();

  /** `authorize` throws if the present token is not one of the client's user. */
  constructor({ url, fetch, tokens, clock, timeoutMs, authorize }) {
    this.#authorize = authorize;
    this.#url = url;
    this.#fetch = fetch;
    this.#tokens = tokens;
    this.#clock = clock;
    this.#timeoutMs = timeoutMs;
  }

  /**
   * Calls a route and returns the JSON of its answer; `null` for an answer without a body.
   * @param {string} method
   * @param {string} path such as `v1/conversations`
   * @param {{query?: object, body?: object, attempts?: number, signal?: AbortSignal}} [request]
   */
  async call(method, path, { signal, ...request } = {}) {
    const running = new AbortController();
    const forward = () => running.abort(signal.reason);
    signal?.addEventListener("abort", forward, { once: true });
    if (signal?.aborted) {
      forward();
    }
    this.#running.add(running);
    try {
      return await this.#attempt(method, path, { ...request, signal: running.signal });
    } finally {
      this.#running.delete(running);
      signal?.removeEventListener("abort", forward);
    }
  }

  /** Ends the calls that are under way, those that wait for another attempt as well. */
  abandon(error) {
    this.#running.forEach((running) => running.abort(error));
  }

  /**
   * @param {string} method
   * @param {string} path
   * @param {{query?: object, body?: object, attempts?: number, signal: AbortSignal}} request
   */
  async #attempt(method, path, { query, body, attempts = 1, signal }) {
    const backoff = new Backoff(this.#clock, BACKOFF_FIRST_MS, BACKOFF_LAST_MS);
    let refreshed = false;
    for (;;) {
      try {
        return await this.#once(method, path, { query, body, signal });
      } catch (error) {
        if (error.status === 401 && !error.retry && this.#tokens.canRefresh && !refreshed) {
          refreshed = true;
          continue;
        }
        const failures = backoff.failures + 1;
        if (!(error instanceof RoostError) || !error.retry || failures >= attempts || signal.aborted) {
          throw error;
        }
        await wait(this.#clock, backoff.next(limited(error.retryAfterMs)), signal);
      }
    }
  }

  async #once(method, path, { query, body, signal }) {
    const address = new URL(path, this.#url);
    if (!address.href.startsWith(this.#url.href)) {
      throw new TypeError(`the path must be one of the host, such as v1/conversations, not ${JSON.stringify(path)}`);
    }
    for (const [name, value] of Object.entries(query ?? {})) {
      if (value !== undefined && value !== null) {
        address.searchParams.set(name, value);
      }
    }
    const token = await this.#tokens.get();
    this.#authorize();
    const headers = { accept: "application/json", authorization: `Bearer ${token}` };
    if (body !== undefined) {
      headers["content-type"] = "application/json";
    }
    const request = { method, headers, body: body === undefined ? undefined : JSON.stringify(body), cache: "no-store" };
    const { status, text, retryAfter } = await this.#answer(address, request, signal);
    if (status >= 200 && status < 300) {
      return text === "" ? null : parse(text);
    }
    const error = RoostError.ofProblem(status, problemOf(text), retryAfter);
    if (status === 401) {
      this.#tokens.invalidate(token);
    }
    throw error;
  }

  /** The whole answer. A call without an answer in time may have been carried out. */
  async #answer(address, request, signal) {
    const abort = new AbortController();
    const forward = () => abort.abort(signal.reason);
    signal.addEventListener("abort", forward, { once: true });
    const late = new RoostError("timeout", "the host did not answer in time", { retry: true });
    const timer = this.#clock.setTimeout(() => abort.abort(late), this.#timeoutMs);
    try {
      signal.throwIfAborted();
      const response = await this.#fetch(address.href, { ...request, signal: abort.signal });
      const text = await response.text();
      return { status: response.status, text, retryAfter: response.headers.get("retry-after") };
    } catch (error) {
      if (signal.aborted) {
        throw signal.reason;
      }
      throw abort.signal.aborted ? late : connectionLost(`the host cannot be reached: ${error?.message}`, error);
    } finally {
      this.#clock.clearTimeout(timer);
      signal.removeEventListener("abort", forward);
    }
  }
}

function limited(retryAfterMs) {
  return retryAfterMs === undefined ? undefined : Math.min(retryAfterMs, RETRY_AFTER_MS_MAX);
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new RoostError("invalid_answer", "the answer is not JSON; is there a proxy in between?", { cause });
  }
}

function problemOf(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
