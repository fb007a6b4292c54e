/**
 * Asks the host again about conversations that an event has left incomplete. What cannot be asked without a connection is
 * asked with the next one.
 *
 * An answer and the events travel apart. An answer counts only if no event of its conversation arrived while it was on the
 * way; otherwise the host is asked again, later and later.
 */

/** How long a conversation is quiet before it is asked for. Events mostly come several at a time. */
const QUIET_MS = 300;
/** The longest time between two attempts for a busy conversation. */
const QUIET_MS_MAX = 10_000;
/** How many conversations are asked for at the same time, and may wait for it. */
const AT_ONCE_MAX = 4;
const WAITING_MAX = 100;

export class Refresh {
  #clock;
  #actions;
  /** @type {Map<string, {timer: unknown, tries: number, eventful: boolean, parked: boolean}>} */
  #work = new Map();
  #running = 0;

  /**
   * `isNeeded` is asked once the conversation is quiet: later events may have completed it.
   * @param {import("../../roost-client.js").Clock} clock
   * @param {{isNeeded: (id: string) => boolean, canAsk: () => boolean, ask: (id: string) => Promise<object | null>,
   *   apply: (id: string, answer: object | null) => void, overflow: () => void}} actions
   */
  constructor(clock, actions) {
    this.#clock = clock;
    this.#actions = actions;
  }

  /** An event of this conversation arrived: an answer that is on the way may be older. */
  eventOf(id) {
    const work = this.#work.get(id);
    if (work) {
      work.eventful = true;
    }
  }

  /** Asks about a conversation soon. */
  request(id) {
    if (this.#work.has(id)) {
      this.eventOf(id);
    } else if (this.#work.size >= WAITING_MAX) {
      this.clear();
      this.#actions.overflow();
    } else {
      const work = { timer: null, tries: 0, eventful: false, parked: false };
      this.#work.set(id, work);
      this.#schedule(id, work);
    }
  }

  /** There is a connection again: what waits for it is asked now. */
  resume() {
    for (const [id, work] of this.#work) {
      if (work.parked) {
        work.parked = false;
        work.tries = 0;
        this.#schedule(id, work);
      }
    }
  }

  /** Forgets what was to be asked. */
  clear() {
    this.#work.forEach(({ timer }) => this.#clock.clearTimeout(timer));
    this.#work.clear();
  }

  #schedule(id, work) {
    const waitMs = Math.min(QUIET_MS * 2 ** Math.min(work.tries, 10), QUIET_MS_MAX);
    work.timer = this.#clock.setTimeout(() => this.#run(id, work), waitMs);
  }

  async #run(id, work) {
    if (this.#running >= AT_ONCE_MAX) {
      this.#schedule(id, work);
      return;
    }
    work.eventful = false;
    if (!this.#actions.isNeeded(id)) {
      this.#work.delete(id);
      return;
    }
    if (!this.#actions.canAsk()) {
      work.parked = true;
      return;
    }
    this.#running += 1;
    const { answer, error } = await outcomeOf(this.#actions.ask(id));
    this.#running -= 1;
    if (this.#work.get(id) !== work) {
      return;
    }
    if (error ? error.retry : work.eventful) {
      work.tries += 1;
      this.#schedule(id, work);
      return;
    }
    this.#work.delete(id);
    // A refusal leaves the conversation as it is, until the whole state is loaded again.
    if (!error) {
      this.#actions.apply(id, answer);
    }
  }
}

/**
 * The answer, or the error.
 * @param {Promise<object | null>} asked
 * @returns {Promise<{answer?: object | null, error?: import("../errors.js").RoostError}>}
 */
function outcomeOf(asked) {
  return asked.then((answer) => ({ answer }), (error) => ({ error }));
}
