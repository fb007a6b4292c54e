/**
 * Remembers the events that arrive while an answer is on the way, so that they can be applied to it.
 */

import { RoostError } from "../errors.js";

/** More events than this are not remembered: the answer is not used then. */
const EVENTS_MAX = 2_000;

export class Recorder {
  #recordings = new Set();

  /**
   * Asks for something and applies the answer. The function that `ask` is given returns the events that have arrived meanwhile,
   * and throws if they are too many.
   * @template T
   * @param {(arrived: () => object[]) => Promise<T>} ask
   * @returns {Promise<T>}
   */
  async during(ask) {
    const events = [];
    this.#recordings.add(events);
    const arrived = () => {
      if (events.length > EVENTS_MAX) {
        throw new RoostError("too_many_events", "too many events arrived while the host was asked", { retry: true });
      }
      return events;
    };
    try {
      return await ask(arrived);
    } finally {
      this.#recordings.delete(events);
    }
  }

  /** An event arrived. */
  record(event) {
    for (const events of this.#recordings) {
      if (events.length <= EVENTS_MAX) {
        events.push(event);
      }
    }
  }
}
