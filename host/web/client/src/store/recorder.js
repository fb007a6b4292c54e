/**
 * Remembers the events that arrive while an answer is on the way, so that they can be applied to it.
 */

import { RoostError } from "../errors.js";

/** More events than this are not remembered: the answer is not used then. */
const EVENTS_MAX = 2_000;

export class Recorder {
  #recordings = new Set();

  /**
   * Asks for something and applies the answer. The events that arrive meanwhile are in the list that `ask` is given.
   * @param {(events: object[]) => Promise<void>} ask
   */
  async during(ask) {
    const events = [];
    this.#recordings.add(events);
    try {
      await ask(events);
      if (events.length > EVENTS_MAX) {
        throw new RoostError("too_many_events", "too many events arrived while the host was asked", { retry: true });
      }
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
