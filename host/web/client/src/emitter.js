/**
 * Listeners by event type. A listener that throws stops no other: its error is reported as an uncaught one.
 */

export class Emitter {
  #listeners = new Map();

  /** Adds a listener; returns the function that removes it. */
  on(type, listener) {
    if (typeof listener !== "function") {
      throw new TypeError(`the listener of "${type}" must be a function`);
    }
    const listeners = this.#listeners.get(type) ?? new Set();
    this.#listeners.set(type, listeners);
    listeners.add(listener);
    return () => this.off(type, listener);
  }

  /** Removes a listener. */
  off(type, listener) {
    const listeners = this.#listeners.get(type);
    listeners?.delete(listener);
    if (listeners?.size === 0) {
      this.#listeners.delete(type);
    }
  }

  /** Calls the listeners of a type, in the order in which they were added. */
  emit(type, ...values) {
    for (const listener of [...(this.#listeners.get(type) ?? [])]) {
      try {
        listener(...values);
      } catch (error) {
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  }
}
