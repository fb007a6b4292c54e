/**
 * One event stream: Server-Sent Events over `fetch`, which can send the token as a header and sees the status of a refusal,
 * unlike `EventSource`. It knows no retry: after its end it reports how it ended, once.
 */

import { RoostError } from "./errors.js";
import { formatPosition, parsePosition } from "./position.js";

/** The longest event that is read: the payload of an event, of `hello` or of `sync`. */
const EVENT_CHARACTERS_MAX = 4 * 1_024 * 1_024;

/**
 * Parses Server-Sent Events from pieces of text.
 */
export class EventParser {
  #rest = "";
  #event = blank();
  /** When the host asks the client to come back, in milliseconds. */
  retryMs;

  /** Adds a piece of the stream; returns the events that are complete. */
  push(text) {
    const events = [];
    // A line ends at CR, LF or both. A CR at the end of the piece may be the first half of both.
    const lines = (this.#rest + text).split(/\r\n|\n|\r(?!$)/);
    this.#rest = lines.pop();
    for (const line of lines) {
      const event = this.#line(line);
      if (event) {
        events.push(event);
      }
    }
    if (this.#rest.length + this.#event.characters > EVENT_CHARACTERS_MAX) {
      throw new RoostError("event_too_large", "the host sent an event that is too large", { retry: true });
    }
    return events;
  }

  #line(line) {
    if (line === "") {
      const { type, data, id } = this.#event;
      this.#event = blank();
      return data.length > 0 ? { type: type || "message", data: data.join("\n"), id } : null;
    }
    const colon = line.indexOf(":");
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (name === "data") {
      this.#event.data.push(value);
      this.#event.characters += value.length;
    } else if (name === "event") {
      this.#event.type = value;
    } else if (name === "id") {
      this.#event.id = value;
    } else if (name === "retry" && /^\d{1,9}$/.test(value)) {
      this.retryMs = Number(value);
    }
    return null;
  }
}

function blank() {
  return { type: "", data: [], id: null, characters: 0 };
}

/**
 * Opens an event stream.
 * @param {{url: URL, token: string, since: object | null, fetch: typeof fetch}} request
 * @param {import("./connection.js").LinkEvents} events
 */
export function openEventStream({ url, token, since, fetch }, events) {
  const abort = new AbortController();
  let ended = false;
  const end = (ending) => {
    if (!ended) {
      ended = true;
      events.ended(ending);
      abort.abort();
    }
  };
  const stream = {
    receive(event) {
      if (event.type === "error") {
        end({ error: RoostError.ofFrame(json(event.data)), retryMs: stream.retryMs });
      } else if (!ended) {
        const payload = json(event.data);
        const position = event.type === "hello" ? null : parsePosition(event.id);
        events.frame({ type: event.type, payload, ...position });
      }
    },
  };
  const headers = { accept: "text/event-stream", authorization: `Bearer ${token}` };
  if (since) {
    headers["last-event-id"] = formatPosition(since);
  }
  const address = new URL("v1/events", url);
  read(fetch, address, { headers, cache: "no-store", signal: abort.signal }, stream, events)
    .then(() => end({ reason: "the event stream ended", retryMs: stream.retryMs }))
    .catch((error) => end(error instanceof RoostError ? { error } : { reason: `${error?.message ?? error}` }));
  return { kind: "events", close: (ending = { reason: "closed" }) => end(ending) };
}

async function read(fetch, address, request, stream, events) {
  const response = await fetch(address.href, request);
  if (response.status !== 200) {
    const problem = json(await response.text());
    throw RoostError.ofProblem(response.status, problem, response.headers.get("retry-after"));
  }
  const parser = new EventParser();
  const decoder = new TextDecoder();
  const reader = response.body.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) {
      return;
    }
    events.activity();
    const complete = parser.push(decoder.decode(value, { stream: true }));
    stream.retryMs = parser.retryMs;
    complete.forEach((event) => stream.receive(event));
  }
}

function json(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
