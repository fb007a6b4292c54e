/**
 * How long to wait before the next attempt: full jitter below a bound that doubles, and never less than the host asks for.
 */

export class Backoff {
  #clock;
  #firstMs;
  #lastMs;
  #failures = 0;

  /** @param {import("../roost-client.js").Clock} clock */
  constructor(clock, firstMs, lastMs) {
    this.#clock = clock;
    this.#firstMs = firstMs;
    this.#lastMs = lastMs;
  }

  /** How many attempts have failed since the last success. */
  get failures() {
    return this.#failures;
  }

  /** The next attempt begins with the shortest wait again. */
  reset() {
    this.#failures = 0;
  }

  /** Notes a failure; returns how long to wait. `retryAfterMs` is what the host asked for. */
  next(retryAfterMs) {
    const bound = Math.min(this.#lastMs, this.#firstMs * 2 ** Math.min(this.#failures, 30));
    this.#failures += 1;
    const jitter = this.#clock.random() * bound;
    if (retryAfterMs === undefined) {
      return jitter;
    }
    // Clients that were refused together must not come back together: the wait is spread beyond the time.
    return Math.max(jitter, retryAfterMs + this.#clock.random() * Math.min(bound, retryAfterMs / 2));
  }
}
