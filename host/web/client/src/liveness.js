/**
 * Notices that a connection is dead although nobody closed it, and keeps the user online over an event stream.
 *
 * A socket that is quiet is probed with a frame. An event stream is never quiet: the host sends a comment every 15 seconds.
 */

/** A socket whose probe has shown nothing is looked at again after this time. */
const RECHECK_MS = 1_000;
/** An event stream without any bytes for this long is dead. */
const STREAM_QUIET_MS_MAX = 45_000;

export class Liveness {
  #clock;
  #idleMs;
  #actions;
  #kind = null;
  #heardAt = 0;
  #watch = null;
  #heartbeat = null;
  #probing = false;

  /**
   * @param {import("../roost-client.js").Clock} clock
   * @param {number} idleMs how long a socket may be quiet before it is probed
   * @param {{probe: () => Promise<unknown>, heartbeat: () => Promise<unknown>, dead: () => void}} actions
   */
  constructor(clock, idleMs, actions) {
    this.#clock = clock;
    this.#idleMs = idleMs;
    this.#actions = actions;
  }

  /** Begins to watch a connection of this kind, which has just been opened. */
  start(kind, heartbeatIntervalMs) {
    this.stop();
    this.#kind = kind;
    this.activity();
    this.#schedule();
    if (kind === "events" && heartbeatIntervalMs > 0) {
      this.#scheduleHeartbeat(heartbeatIntervalMs);
    }
  }

  /** Ends watching. */
  stop() {
    this.#kind = null;
    this.#probing = false;
    this.#clock.clearTimeout(this.#watch);
    this.#clock.clearTimeout(this.#heartbeat);
  }

  /** Something arrived. */
  activity() {
    this.#heardAt = this.#clock.now();
  }

  /** Probes at once: the device woke up, or its network changed. */
  async probe() {
    const kind = this.#kind;
    if (kind !== "socket" || this.#probing) {
      return;
    }
    this.#probing = true;
    const asked = this.#clock.now();
    try {
      await this.#actions.probe();
    } catch (error) {
      // An answer of any kind is a sign of life, a refusal as well. A probe that was not sent shows nothing.
      if (this.#probing && this.#heardAt < asked && error?.code !== "too_many_requests") {
        this.#actions.dead();
      }
    }
    this.#probing = false;
  }

  get #quietMax() {
    return this.#kind === "events" ? STREAM_QUIET_MS_MAX : this.#idleMs;
  }

  #schedule(waitMsMin = 1) {
    const due = this.#heardAt + this.#quietMax - this.#clock.now();
    this.#watch = this.#clock.setTimeout(() => this.#check(), Math.max(due, waitMsMin));
  }

  #check() {
    if (this.#clock.now() - this.#heardAt < this.#quietMax) {
      this.#schedule();
    } else if (this.#kind === "events") {
      this.#actions.dead();
    } else {
      this.probe().finally(() => {
        if (this.#kind !== null) {
          this.#schedule(RECHECK_MS);
        }
      });
    }
  }

  #scheduleHeartbeat(intervalMs) {
    this.#heartbeat = this.#clock.setTimeout(() => {
      this.#scheduleHeartbeat(intervalMs);
      // The next heartbeat makes up for one that failed.
      this.#actions.heartbeat().catch(() => {});
    }, intervalMs);
  }
}
