/**
 * Who is typing in which conversation. Nobody says that they stopped: it ends by itself, or with their message.
 */

/** A client that is typing repeats it more often than this. */
const TYPING_MS = 6_000;
/** Users of whom a conversation shows that they are typing. */
const USERS_MAX = 20;

export class Typing {
  #clock;
  #changed;
  /** @type {Map<string, Map<string, unknown>>} timers by conversation and user */
  #timers = new Map();

  /** @param {(conversation: string) => void} changed somebody has stopped */
  constructor(clock, changed) {
    this.#clock = clock;
    this.#changed = changed;
  }

  /** A user is typing. */
  begin(conversation, user) {
    const users = this.#timers.get(conversation) ?? new Map();
    if (users.size >= USERS_MAX && !users.has(user)) {
      return;
    }
    this.#timers.set(conversation, users);
    this.#clock.clearTimeout(users.get(user));
    const timer = this.#clock.setTimeout(() => {
      this.end(conversation, user);
      this.#changed(conversation);
    }, TYPING_MS);
    users.set(user, timer);
  }

  /** A user has stopped, or has sent their message. */
  end(conversation, user) {
    const users = this.#timers.get(conversation);
    this.#clock.clearTimeout(users?.get(user));
    users?.delete(user);
    if (users?.size === 0) {
      this.#timers.delete(conversation);
    }
  }

  /** Who is typing in this conversation. */
  of(conversation) {
    return [...(this.#timers.get(conversation)?.keys() ?? [])];
  }

  /** Nobody is typing any more, as far as is known. */
  clear() {
    this.#timers.forEach((users) => users.forEach((timer) => this.#clock.clearTimeout(timer)));
    this.#timers.clear();
  }
}
