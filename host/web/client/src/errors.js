/**
 * The one error type of the client: what the host refused, and what failed on the way to it.
 */

/** An error with a stable code. `retry` tells whether the same may succeed later. */
export class RoostError extends Error {
  /**
   * @param {string} code
   * @param {string} message
   * @param {{retry?: boolean, retryAfterMs?: number, status?: number, trace?: string, cause?: unknown}} [details]
   */
  constructor(code, message, details = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = "RoostError";
    this.code = code;
    this.retry = details.retry ?? false;
    this.retryAfterMs = details.retryAfterMs;
    this.status = details.status;
    this.trace = details.trace;
  }

  /** The error in a frame of the host, or in the event `error` of an event stream. */
  static ofFrame(error) {
    return new RoostError(text(error?.code, "internal"), text(error?.message, "the host gave no reason"), {
      retry: error?.retry === true,
      retryAfterMs: milliseconds(error?.retry_after_ms),
      trace: error?.trace,
    });
  }

  /** The error of a problem document, or of an answer that has none, such as that of a proxy. */
  static ofProblem(status, problem, retryAfterHeader) {
    const seconds = Number.parseFloat(retryAfterHeader ?? "");
    const retryAfterMs = milliseconds(problem?.retry_after_ms) ?? milliseconds(seconds * 1_000);
    const passing = status === 408 || status === 429 || status >= 500;
    return new RoostError(text(problem?.code, `http_${status}`), text(problem?.detail, `the answer is ${status}`), {
      retry: typeof problem?.retry === "boolean" ? problem.retry : passing,
      retryAfterMs,
      status,
      trace: problem?.trace,
    });
  }
}

/** The connection was lost or is not there. What was asked may have been done or not. */
export function connectionLost(message = "there is no connection to the host", cause) {
  return new RoostError("connection_lost", message, { retry: true, cause });
}

/** The client was closed, by its owner or for good by the host. */
export function closedError(message = "the client is closed") {
  return new RoostError("closed", message);
}

function text(value, otherwise) {
  return typeof value === "string" && value !== "" ? value : otherwise;
}

function milliseconds(value) {
  return typeof value === "number" && Number.isFinite(value) && value >= 0 ? value : undefined;
}
