/**
 * Requests over a socket and their answers, which have the same id. Each is answered, times out, or is rejected when the
 * connection ends.
 */

import { RoostError, connectionLost } from "./errors.js";
import { FRAME_BYTES_MAX } from "./socket.js";

/** How many requests may wait for an answer at the same time. */
const PENDING_MAX = 64;

export class Requests {
  #clock;
  #timeoutMs;
  #pending = new Map();
  #asked = 0;

  constructor(clock, timeoutMs) {
    this.#clock = clock;
    this.#timeoutMs = timeoutMs;
  }

  /** Sends a request over this link; resolves to the payload of the answer. */
  send(link, type, payload, timeoutMs = this.#timeoutMs) {
    if (this.#pending.size >= PENDING_MAX) {
      return Promise.reject(
        new RoostError("too_many_requests", `${PENDING_MAX} requests wait for an answer already`, { retry: true }),
      );
    }
    this.#asked += 1;
    const id = String(this.#asked);
    const text = JSON.stringify({ id, type, payload });
    const bytes = new TextEncoder().encode(text).length;
    if (bytes > FRAME_BYTES_MAX) {
      const allowed = `at most ${FRAME_BYTES_MAX} are allowed`;
      return Promise.reject(new RoostError("too_large", `the frame has ${bytes} bytes; ${allowed}`));
    }
    return new Promise((resolve, reject) => {
      const late = new RoostError("timeout", "the host did not answer in time", { retry: true });
      const timer = this.#clock.setTimeout(() => this.#take(id)?.reject(late), timeoutMs);
      this.#pending.set(id, { resolve, reject, timer });
      try {
        link.send(text);
      } catch (error) {
        this.#take(id)?.reject(connectionLost("the frame could not be sent", error));
      }
    });
  }

  /** Takes an answer of the host in. An answer that came too late is dropped. */
  answer(frame) {
    const request = this.#take(frame.id);
    if (frame.type === "ok") {
      request?.resolve(frame.payload);
    } else {
      request?.reject(RoostError.ofFrame(frame.error));
    }
  }

  /** Rejects everything that waits: the connection has ended. */
  abandon(error) {
    for (const id of [...this.#pending.keys()]) {
      this.#take(id)?.reject(error);
    }
  }

  #take(id) {
    const request = this.#pending.get(id);
    if (request) {
      this.#pending.delete(id);
      this.#clock.clearTimeout(request.timer);
    }
    return request;
  }
}
