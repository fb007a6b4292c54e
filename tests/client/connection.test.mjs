/**
 * The life of a connection: losses, refusals, tokens, resuming, duplicates, and the other transport.
 */

import assert from "node:assert/strict";
import { test } from "node:test";

import { Liveness } from "../../host/web/client/src/liveness.js";
import { decide } from "../../host/web/client/src/outcome.js";
import { RoostError } from "../../host/web/client/roost-client.js";
import { FakeClock, quiet } from "./fake-clock.mjs";
import { FakeHost, OTHER, counters, message, problem, tokenOf } from "./fake-host.mjs";

test("a socket shows its token as the second subprotocol, and never in its address", async () => {
  const host = new FakeHost();
  const client = await host.connected();
  assert.deepEqual(host.socket.protocols, ["roost.v1", host.tokens[0]]);
  assert.equal(host.socket.url.href, "ws://host.test/v1/socket");
  assert.deepEqual([client.status, client.transport, client.position], ["online", "socket", "e:0"]);
  await client.close();
});

test("a token in the first frame is sent before anything else", async () => {
  const host = new FakeHost();
  const client = await host.connected({ authentication: "first_frame" });
  assert.deepEqual(host.socket.protocols, ["roost.v1"]);
  assert.deepEqual(host.socket.sent[0], { id: "token-1", type: "token", payload: { token: host.tokens[0] } });
  await client.close();
});

test("a lost connection is opened again at the position of the last event", async () => {
  const host = new FakeHost();
  const client = await host.connected();
  const received = [];
  client.on("message.new", ({ seq }) => received.push(seq));
  host.socket.push("message.new", message(1), { epoch: "e", offset: 1 });
  host.socket.end(1006);
  assert.equal(client.status, "waiting");
  // Half of the first bound, because the random number is 0.5.
  assert.equal(host.clock.nextInMs, 250);
  await host.clock.advance(250);
  assert.equal(host.socket.url.searchParams.get("since"), "e:1");
  host.socket.hello({ offset: 1 });
  host.socket.push("message.new", message(1), { epoch: "e", offset: 1 });
  host.socket.push("message.new", message(2), { epoch: "e", offset: 2 });
  assert.deepEqual(received, [1, 2]);
  await client.close();
});

test("a change of the epoch is accepted, and a resync names the position to go on from", async () => {
  const host = new FakeHost();
  const client = await host.connected({}, { epoch: "n1", offset: 0 });
  host.socket.push("message.new", message(1), { epoch: "k", offset: 1 });
  assert.equal(client.position, "k:1");
  host.socket.push("resync", { reason: "gap", epoch: "m", offset: 7 });
  assert.equal(client.position, "m:7");
  host.socket.push("resync", { reason: "behind" }, { epoch: "m", offset: 9 });
  assert.equal(client.position, "m:9");
  await client.close();
});

test("waits double, are bounded, and are never shorter than what the host asks for", async () => {
  const host = new FakeHost();
  const client = host.client({ transport: "socket", backoffLastMs: 4_000 });
  client.connect();
  await quiet();
  const waits = [];
  for (let attempt = 0; attempt < 6; attempt += 1) {
    host.socket.end(1006);
    waits.push(host.clock.nextInMs);
    await host.clock.advance(host.clock.nextInMs);
  }
  assert.deepEqual(waits, [250, 500, 1_000, 2_000, 2_000, 2_000]);
  host.socket.end(1013, "too_many_connects retry_after_ms=9000");
  assert.ok(host.clock.nextInMs >= 9_000, String(host.clock.nextInMs));
  await client.close();
});

test("the first wait is short again after a connection that lasted", async () => {
  const host = new FakeHost();
  const client = await host.connected({ transport: "socket" });
  host.socket.end(1006);
  await host.clock.advance(250);
  host.socket.hello();
  host.socket.end(1006);
  assert.equal(host.clock.nextInMs, 500, "a connection that ends at once is no success");
  await host.clock.advance(500);
  host.socket.hello();
  await host.clock.advance(10_000);
  host.socket.end(1006);
  assert.equal(host.clock.nextInMs, 250);
  await client.close();
});

test("every way in which the host ends a connection has its own answer", () => {
  const next = (ending) => {
    const { next: what, token = false, forget = false, blame = false, error } = decide(ending);
    return [what, error.code, token, forget, blame];
  };
  assert.deepEqual(next({ code: 1012, reason: "server_draining" }), ["now", "connection_lost", false, false, false]);
  assert.deepEqual(next({ code: 4008, reason: "slow_client" }), ["now", "connection_lost", false, false, false]);
  assert.deepEqual(next({ code: 4002, reason: "idle_timeout" }), ["backoff", "connection_lost", false, false, false]);
  assert.deepEqual(next({ code: 4001, reason: "token_expired" }), ["now", "token_expired", true, false, false]);
  assert.deepEqual(next({ code: 4004, reason: "unauthenticated" }), ["backoff", "unauthenticated", true, false, false]);
  assert.deepEqual(next({ code: 4003, reason: "banned" }), ["stop", "disconnected", false, false, false]);
  assert.deepEqual(next({ code: 1009, reason: "frame_too_large" }), ["backoff", "frame_too_large", false, false, true]);
  assert.deepEqual(next({ code: 1006 }), ["backoff", "connection_lost", false, false, false]);
  const refused = (status, code, retry) => next({ error: RoostError.ofProblem(status, { code, retry }) });
  assert.deepEqual(refused(401, "token_invalid", false), ["backoff", "token_invalid", true, false, false]);
  assert.deepEqual(refused(401, "token_not_yet_valid", true), ["backoff", "token_not_yet_valid", false, false, false]);
  assert.deepEqual(refused(400, "invalid_since", false), ["now", "invalid_since", false, true, false]);
  assert.deepEqual(refused(403, "origin_not_allowed", false), ["stop", "origin_not_allowed", false, false, false]);
  assert.deepEqual(refused(503, "busy", true), ["backoff", "busy", false, false, false]);
  const ended = (code, retry) => next({ error: RoostError.ofFrame({ code, retry }) });
  assert.deepEqual(ended("draining", true), ["now", "draining", false, false, false]);
  assert.deepEqual(ended("disconnected", false), ["stop", "disconnected", false, false, false]);
  assert.deepEqual(ended("token_expired", false), ["backoff", "token_expired", true, false, false]);
});

test("a connection that a service closed is not opened again", async () => {
  const host = new FakeHost();
  const client = await host.connected();
  const closed = [];
  client.on("closed", (error) => closed.push(error.code, error.message));
  host.socket.end(4003, "banned for a day");
  await host.clock.advance(600_000);
  assert.deepEqual([client.status, host.sockets.length], ["closed", 1]);
  assert.deepEqual(closed, ["disconnected", "banned for a day"]);
});

test("an expired token is replaced, and two refused ones in a row end the client", async () => {
  const host = new FakeHost();
  const client = await host.connected();
  host.socket.end(4001, "token_expired");
  await host.clock.advance(1_000);
  assert.equal(host.tokens.length, 2);
  host.socket.hello();
  for (let refusal = 0; refusal < 3; refusal += 1) {
    assert.notEqual(client.status, "closed");
    host.socket.end(4001, "token_expired");
    await host.clock.advance(10_000);
  }
  assert.equal(client.status, "closed");
  await client.close();
});

test("a client whose only token is refused stops at once", async () => {
  const host = new FakeHost();
  const client = await host.connected({ token: "opaque" });
  const closed = new Promise((resolve) => client.on("closed", resolve));
  host.socket.end(4001, "token_expired");
  assert.equal((await closed).code, "token_expired");
});

test("a source without a token, and a token of another user, end the client", async () => {
  for (const [token, code] of [[() => "", "no_token"], [(host) => tokenOf(host.clock, 3_600_000, OTHER), "user_changed"]]) {
    const host = new FakeHost();
    let given = 0;
    const first = tokenOf(host.clock);
    const client = await host.connected({ token: () => (given++ === 0 ? first : token(host)) });
    const closed = new Promise((resolve) => client.on("closed", resolve));
    host.socket.end(4001, "token_expired");
    await host.clock.advance(1_000);
    assert.equal((await closed).code, code);
  }
});

test("a source of tokens that fails is asked again later", async () => {
  const host = new FakeHost();
  let asked = 0;
  const client = host.client({
    token: () => {
      asked += 1;
      return asked < 3 ? Promise.reject(new Error("no network")) : tokenOf(host.clock);
    },
  });
  const connecting = client.connect();
  await host.clock.advance(5_000);
  assert.equal(asked, 3);
  host.socket.hello();
  await connecting;
  await client.close();
});

test("a token is renewed over the open socket before it ends", async () => {
  const host = new FakeHost();
  const client = await host.connected({ idleMs: 10_000_000 });
  await host.clock.advance(3_600_000 - 61_000);
  assert.equal(host.socket.ofType("token").length, 0);
  await host.clock.advance(2_000);
  const [renewal] = host.socket.ofType("token");
  assert.deepEqual(renewal.payload, { token: host.tokens[1] });
  host.socket.refuse(renewal, { code: "busy", message: "later", retry: true, retry_after_ms: 1_000 });
  await host.clock.advance(3_000);
  const again = host.socket.ofType("token").at(-1);
  assert.deepEqual(again.payload, { token: host.tokens[2] });
  host.socket.answer(again, { expires_at: "2030-01-01T00:00:00Z" });
  assert.equal(host.sockets.length, 1, "the socket remains");
  await client.close();
});

test("a quiet socket is probed, and given up without an answer", async () => {
  const host = new FakeHost();
  const client = await host.connected();
  await host.clock.advance(45_000);
  const [probe] = host.socket.ofType("presence.beat");
  host.socket.answer(probe, {});
  await host.clock.advance(44_000);
  assert.equal(client.status, "online");
  await host.clock.advance(12_000);
  assert.equal(host.sockets[0].closedWith, 1000);
  assert.ok(["waiting", "connecting"].includes(client.status));
  assert.equal(host.sockets.length, 2);
  await client.close();
});

test("an event stream shows why sockets cannot be opened", async () => {
  const host = new FakeHost();
  host.routes.set("GET v1/events", () => problem(401, "token_invalid", { retry: false }));
  const client = host.client();
  const closed = new Promise((resolve) => client.on("closed", resolve));
  client.connect();
  await quiet();
  for (let attempt = 0; attempt < 12 && client.status !== "closed"; attempt += 1) {
    if (host.socket.closedWith === null && client.status === "connecting") {
      host.socket.end(1006);
    }
    await host.clock.advance(31_000);
  }
  assert.equal((await closed).code, "token_invalid");
});

test("where no socket opens, the client uses an event stream and HTTP, and tries a socket again", async () => {
  const host = new FakeHost();
  let stream;
  host.routes.set("GET v1/events", () => {
    const body = new ReadableStream({
      start(controller) {
        stream = controller;
      },
    });
    return new Response(body, { headers: { "content-type": "text/event-stream" } });
  });
  host.routes.set("POST v1/presence", { beat_interval_ms: 25_000 });
  const write = (text) => stream.enqueue(new TextEncoder().encode(text));
  const client = host.client();
  const received = [];
  client.on("message.new", ({ seq }, position) => received.push([seq, position.offset]));
  client.connect();
  await quiet();
  host.socket.end(1006);
  await host.clock.advance(500);
  host.socket.end(1006);
  await host.clock.advance(1_000);
  const hello = { connection: "c", user: null, epoch: "e", offset: 4, beat_interval_ms: 25_000, unread: counters() };
  write(`retry: 2000\nid: e:4\nevent: hello\ndata: ${JSON.stringify(hello)}\n\nid: e:5\nevent: message.new\r\ndata: ${JSON.stringify(message(5))}\r\n\r\n`);
  await quiet();
  assert.deepEqual([client.transport, received], ["events", [[5, 5]]]);
  const request = host.requests.find(({ path }) => path === "v1/events");
  assert.equal(request.headers.authorization, `Bearer ${host.tokens.at(-1)}`);
  assert.equal(request.url.search, "");
  await host.clock.advance(25_000);
  assert.ok(host.requests.some(({ path, method }) => path === "v1/presence" && method === "POST"));
  const { id } = message(6);
  host.routes.set(`POST v1/conversations/${message(6).conversation}/messages`, message(6));
  assert.equal((await client.sendMessage(message(6).conversation, "message 6", { id })).seq, 6);
  for (let passed = 0; passed < 300_000; passed += 15_000) {
    write(":\n\n");
    await host.clock.advance(15_000);
  }
  assert.equal(host.sockets.length, 3, "a socket is tried again");
  assert.equal(host.socket.url.searchParams.get("since"), "e:5");
  await client.close();
});

test("the network comes back: the client does not wait any longer", async () => {
  const host = new FakeHost();
  const listeners = {};
  globalThis.window = {
    addEventListener: (type, listener) => {
      listeners[type] = listener;
    },
    removeEventListener: (type) => delete listeners[type],
  };
  try {
    const client = await host.connected();
    host.socket.end(1006);
    assert.equal(client.status, "waiting");
    listeners.online();
    await quiet();
    assert.equal(host.sockets.length, 2);
    await client.close();
    assert.deepEqual(listeners, {});
  } finally {
    delete globalThis.window;
  }
});

test("a page that is shown again does not hurry a host that has named a time", async () => {
  const host = new FakeHost();
  const listeners = {};
  globalThis.window = { addEventListener: (type, listener) => Object.assign(listeners, { [type]: listener }), removeEventListener() {} };
  try {
    const client = await host.connected({ transport: "socket" });
    host.socket.end(1013, "too_many_connects retry_after_ms=9000");
    listeners.online();
    await quiet();
    assert.deepEqual([client.status, host.sockets.length], ["waiting", 1]);
    await host.clock.advance(20_000);
    assert.equal(host.sockets.length, 2);
    await client.close();
  } finally {
    delete globalThis.window;
  }
});

test("a client that a listener closes stays closed", async () => {
  for (const when of ["connecting", "online"]) {
    const host = new FakeHost();
    const client = host.client();
    client.on("status", (status) => status === when && client.close());
    client.connect();
    await quiet();
    host.socket?.hello();
    await host.clock.advance(60_000);
    assert.equal(client.status, "closed");
    assert.ok(host.sockets.every(({ closedWith }) => closedWith === 1000), when);
    assert.equal(host.clock.nextInMs, null, when);
  }
});

test("an event of an operator's function with the name of an event of the client is shown by `event` only", async () => {
  const host = new FakeHost();
  const client = await host.connected();
  const seen = [];
  client.on("queue", (queue) => seen.push(queue));
  client.on("event", ({ type, payload }) => seen.push([type, payload]));
  host.socket.push("queue", "of the operator", { epoch: "e", offset: 1 });
  assert.deepEqual([seen, client.position], [[["queue", "of the operator"]], "e:1"]);
  await client.close();
});

test("a probe that is under way is no sign of life", async () => {
  const clock = new FakeClock();
  let dead = false;
  const probe = () => new Promise((_, reject) => clock.setTimeout(() => reject(new RoostError("timeout", "late")), 10_000));
  const liveness = new Liveness(clock, 45_000, { probe, heartbeat: probe, dead: () => (dead = true) });
  liveness.start("socket", 25_000);
  await clock.advance(40_000);
  liveness.probe();
  await clock.advance(9_000);
  assert.equal(dead, false);
  await clock.advance(1_500);
  assert.equal(dead, true);
  liveness.stop();
});

test("a token that arrives while another socket is opened is renewed over that socket", async () => {
  const host = new FakeHost();
  let arrive;
  const tokens = [tokenOf(host.clock), new Promise((resolve) => (arrive = resolve)), "third"];
  const client = await host.connected({ token: () => tokens.shift(), idleMs: 10_000_000 });
  await host.clock.advance(3_600_000 - 59_000);
  host.socket.end(1006);
  await host.clock.advance(250);
  assert.equal(host.sockets.length, 2, "the old token has not ended");
  arrive(tokenOf(host.clock));
  await quiet();
  host.socket.hello();
  await host.clock.advance(10_000);
  assert.equal(host.socket.ofType("token").length, 1);
  host.socket.answer(host.socket.ofType("token")[0], {});
  await host.clock.advance(10_000);
  assert.equal(host.socket.ofType("token").length, 1, "once");
  await client.close();
});
