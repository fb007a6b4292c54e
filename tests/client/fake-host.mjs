/**
 * A host that a test plays by hand: sockets that it opens, answers and closes, and HTTP routes that it answers.
 */

import { FakeClock, quiet } from "./fake-clock.mjs";
import { RoostClient } from "../../host/web/client/roost-client.js";

export const USER = "00000000-0000-4000-8000-000000000001";
export const OTHER = "00000000-0000-4000-8000-000000000002";
export const THIRD = "00000000-0000-4000-8000-000000000003";
export const CONVERSATION = "00000000-0000-4000-8000-0000000000c1";
export const SECOND = "00000000-0000-4000-8000-0000000000c2";

/** A token of the user that begins now and ends after this time. */
export function tokenOf(clock, lifeMs = 3_600_000, user = USER) {
  const seconds = Math.floor(clock.now() / 1_000);
  const claims = { sub: user, iat: seconds, exp: seconds + lifeMs / 1_000 };
  return `e30.${Buffer.from(JSON.stringify(claims)).toString("base64url")}.signature`;
}

/** An id of a message. */
export function messageId(number) {
  return `00000000-0000-4000-8000-${String(number).padStart(12, "0")}`;
}

export class FakeHost {
  clock = new FakeClock();
  /** Every socket that a client has made, oldest first. */
  sockets = [];
  /** Every HTTP request. */
  requests = [];
  /** Answers by method and path: a value, a `Response`, or a function of the request. */
  routes = new Map([
    ["GET v1/contacts", { contacts: [] }],
    ["GET v1/blocks", { blocked: [] }],
  ]);
  tokens = [];

  constructor() {
    const host = this;
    this.WebSocket = class {
      sent = [];
      closedWith = null;

      constructor(url, protocols) {
        Object.assign(this, { url: new URL(url), protocols });
        host.sockets.push(this);
      }

      send(text) {
        this.sent.push(JSON.parse(text));
      }

      close(code) {
        this.closedWith = code;
      }

      /** The frames of a type that the client has sent. */
      ofType(type) {
        return this.sent.filter((frame) => frame.type === type);
      }

      /** Sends a frame to the client. */
      push(type, payload, position = {}) {
        this.onmessage({ data: JSON.stringify({ type, payload, ...position }) });
      }

      /** Answers a frame of the client. */
      answer(frame, payload) {
        this.onmessage({ data: JSON.stringify({ id: frame.id, type: "ok", payload }) });
      }

      refuse(frame, error) {
        this.onmessage({ data: JSON.stringify({ id: frame?.id ?? null, type: "error", error }) });
      }

      /** Opens the socket and says hello. */
      hello(changes = {}) {
        this.onopen({});
        const hello = { connection: "c1", user: USER, epoch: "e", offset: 0, beat_interval_ms: 25_000, presence: [] };
        this.push("hello", { ...hello, unread: counters(), ...changes });
      }

      end(code, reason = "") {
        this.onclose({ code, reason });
      }
    };
  }

  /** The newest socket. */
  get socket() {
    return this.sockets.at(-1);
  }

  fetch = async (address, request) => {
    const url = new URL(address);
    const path = url.pathname.slice(1);
    this.requests.push({ url, path, ...request });
    const route = this.routes.get(`${request.method ?? "GET"} ${path}`);
    const answer = typeof route === "function" ? await route({ url, ...request }) : route;
    if (answer === undefined) {
      throw new TypeError("fetch failed");
    }
    return answer instanceof Response ? answer : Response.json(answer);
  };

  /** A client of this host, with a source of tokens. */
  client(options = {}) {
    const token = () => {
      this.tokens.push(tokenOf(this.clock));
      return this.tokens.at(-1);
    };
    const { clock, fetch, WebSocket } = this;
    return new RoostClient({ url: "http://host.test", token, clock, fetch, WebSocket, ...options });
  }

  /** A client that is connected. */
  async connected(options = {}, hello = {}) {
    const client = this.client(options);
    const connecting = client.connect();
    await quiet();
    this.socket.hello(hello);
    await connecting;
    await quiet();
    return client;
  }
}

/** A problem document. */
export function problem(status, code, more = {}) {
  return Response.json({ status, code, detail: code, ...more }, { status });
}

/** A message as the host sends it. */
export function message(seq, changes = {}) {
  return {
    id: messageId(seq),
    conversation: CONVERSATION,
    seq,
    sender_id: OTHER,
    type: "text",
    content: `message ${seq}`,
    created_at: new Date(1_700_000_000_000 + seq * 1_000).toISOString(),
    ...changes,
  };
}

/**
 * The counters of `hello` and of an answer to `sync`, with nothing read: of each conversation, how many messages are unread,
 * and the `seq` up to which changes are counted, which is the same number if only messages were sent.
 */
export function counters(conversations = {}, seqs = conversations) {
  const total = Object.values(conversations).reduce((sum, unread) => sum + unread, 0);
  const reads = Object.fromEntries(Object.keys(conversations).map((id) => [id, 0]));
  return { total, conversations, reads, seqs };
}

/** A conversation as the host sends it. */
export function conversation(changes = {}) {
  return {
    id: CONVERSATION,
    direct: false,
    members: [USER, OTHER],
    member_count: 2,
    reads: { [USER]: 0, [OTHER]: 0 },
    last_message: null,
    unread: 0,
    read: 0,
    seq: 0,
    updated_at: new Date(1_700_000_000_000).toISOString(),
    ...changes,
  };
}
