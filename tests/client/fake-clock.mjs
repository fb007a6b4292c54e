/**
 * A clock that stands still until a test moves it. Random numbers are 0.5 unless a test sets them.
 */

export class FakeClock {
  #now = 1_700_000_000_000;
  #timers = new Map();
  #made = 0;
  nextRandom = 0.5;

  now = () => this.#now;
  random = () => this.nextRandom;

  setTimeout = (callback, ms) => {
    this.#made += 1;
    this.#timers.set(this.#made, { at: this.#now + Math.max(0, ms), callback });
    return this.#made;
  };

  clearTimeout = (timer) => {
    this.#timers.delete(timer);
  };

  /** In how many milliseconds the next timer is due; `null` without one. */
  get nextInMs() {
    const times = [...this.#timers.values()].map(({ at }) => at);
    return times.length === 0 ? null : Math.min(...times) - this.#now;
  }

  /** Moves the time, and runs what becomes due, in order. */
  async advance(ms) {
    const until = this.#now + ms;
    await quiet();
    for (;;) {
      const due = [...this.#timers].filter(([, { at }]) => at <= until).sort(([, one], [, other]) => one.at - other.at)[0];
      if (!due) {
        break;
      }
      const [timer, { at, callback }] = due;
      this.#timers.delete(timer);
      this.#now = Math.max(this.#now, at);
      callback();
      await quiet();
    }
    this.#now = until;
  }
}

/** Lets everything run that waits for nothing but other promises. */
export async function quiet() {
  for (let turn = 0; turn < 20; turn += 1) {
    await new Promise((resolve) => setImmediate(resolve));
  }
}
