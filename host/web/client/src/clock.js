/**
 * The time, timers and random numbers of the client. Tests replace them.
 */

/** Timers of browsers and Node take at most this long. */
const TIMER_MS_MAX = 2_147_483_647;

/**
 * The clock of the platform. Each platform has a type of its own for timers.
 * @type {import("../roost-client.js").Clock & {clearTimeout: (timer: any) => void}}
 */
export const systemClock = {
  now: () => Date.now(),
  random: () => Math.random(),
  setTimeout: (callback, ms) => globalThis.setTimeout(callback, Math.min(Math.max(ms, 0), TIMER_MS_MAX)),
  clearTimeout: (timer) => globalThis.clearTimeout(timer),
};

/** Resolves after a time, or rejects when the signal is aborted. */
export function wait(clock, ms, signal) {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(signal.reason);
      return;
    }
    const abort = () => {
      clock.clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = clock.setTimeout(() => {
      signal?.removeEventListener("abort", abort);
      resolve();
    }, ms);
    signal?.addEventListener("abort", abort, { once: true });
  });
}
