/**
 * The token of the user: where it comes from, when it ends, and when a new one is due.
 *
 * The client reads `sub`, `iat` and `exp` of a token and verifies nothing: the host does.
 */

import { RoostError } from "./errors.js";

/** The source of a token has this long to answer. */
const SOURCE_MS_MAX = 30_000;
/** A token is renewed this long before it ends, or after 80 % of its life if that is later. */
const MARGIN_MS = 60_000;
/** A token is renewed at most this often before its end. */
const RENEWAL_MS_MIN = 5_000;

export class Tokens {
  #source;
  #clock;
  #current = null;
  #pending = null;
  /** Rejects what waits for the source. */
  #giveUp = null;

  /**
   * @param {string | ((request: {reason: string}) => string | Promise<string>)} source
   * @param {import("../roost-client.js").Clock} clock
   */
  constructor(source, clock) {
    if (typeof source !== "function" && (typeof source !== "string" || source === "")) {
      throw new TypeError("`token` must be a token or a function that returns one");
    }
    this.#source = source;
    this.#clock = clock;
  }

  /** The user whom the current token names; `null` without a token or for an opaque one. */
  get user() {
    return this.#current?.claims.sub ?? null;
  }

  /** The current token; `null` without one. */
  get text() {
    return this.#current?.text ?? null;
  }

  /** Whether a refused token can be replaced by another one. */
  get canRefresh() {
    return typeof this.#source === "function";
  }

  /** A token that is valid, as far as this clock knows. */
  async get() {
    const current = this.#current;
    if (current && (!this.canRefresh || !isOver(current, this.#clock.now()))) {
      return current.text;
    }
    return this.refresh(current ? "expiring" : "first");
  }

  /** Asks for a new token. Calls at the same time share one request to the source. */
  refresh(reason) {
    this.#pending ??= this.#ask(reason).finally(() => {
      this.#pending = null;
    });
    return this.#pending;
  }

  /** Does not wait for the source any longer. */
  abandon(error) {
    this.#giveUp?.(error);
  }

  /** The host refused this token: the next call of `get` asks for another one. */
  invalidate(text) {
    if (this.canRefresh && this.#current?.text === text) {
      this.#current = null;
    }
  }

  /** In how many milliseconds a new token is due; `null` if never. */
  get renewInMs() {
    const { claims, receivedAt } = this.#current ?? {};
    if (!this.canRefresh || typeof claims?.exp !== "number") {
      return null;
    }
    const now = this.#clock.now();
    const life = typeof claims.iat === "number" ? (claims.exp - claims.iat) * 1_000 : claims.exp * 1_000 - receivedAt;
    const margin = Math.min(MARGIN_MS, Math.max(life, 0) * 0.2);
    // With a clock that is wrong, the end may seem to be past for a token that has just been issued.
    return Math.max(claims.exp * 1_000 - margin - now, receivedAt + RENEWAL_MS_MIN - now, 0);
  }

  async #ask(reason) {
    const text = await this.#fromSource(reason);
    if (typeof text !== "string" || text === "") {
      throw new RoostError("no_token", "the source of the token returned none; sign in again");
    }
    this.#current = { text, claims: claimsOf(text), receivedAt: this.#clock.now() };
    return text;
  }

  async #fromSource(reason) {
    const source = this.#source;
    if (typeof source === "string") {
      return source;
    }
    let timer;
    const late = new Promise((_, reject) => {
      this.#giveUp = reject;
      const error = new RoostError("token_timeout", "the source of the token did not answer in time", { retry: true });
      timer = this.#clock.setTimeout(() => reject(error), SOURCE_MS_MAX);
    });
    try {
      return await Promise.race([Promise.resolve().then(() => source({ reason })), late]);
    } catch (error) {
      throw error instanceof RoostError
        ? error
        : new RoostError("token_source_failed", `the source of the token failed: ${error?.message}`, {
            retry: true,
            cause: error,
          });
    } finally {
      this.#clock.clearTimeout(timer);
      this.#giveUp = null;
    }
  }
}

/** Whether a token has ended. A token that has just been received is used, whatever this clock shows. */
function isOver({ claims, receivedAt }, now) {
  return typeof claims.exp === "number" && claims.exp * 1_000 <= now && now - receivedAt > RENEWAL_MS_MIN;
}

/** The claims of a JSON Web Token; none for any other token. */
function claimsOf(text) {
  try {
    const base64 = text.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
    const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
    const claims = JSON.parse(new TextDecoder().decode(bytes));
    return claims !== null && typeof claims === "object" ? claims : {};
  } catch {
    return {};
  }
}
