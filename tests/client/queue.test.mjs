/**
 * The queue of unsent changes: acknowledgements, retries, order, bounds, and what survives a reload.
 */

import assert from "node:assert/strict";
import { test } from "node:test";

import { RoostError, memoryStorage } from "../../host/web/client/roost-client.js";
import { quiet } from "./fake-clock.mjs";
import { CONVERSATION, FakeHost, OTHER, SECOND, USER, counters, message, messageId, problem, tokenOf } from "./fake-host.mjs";

test("a message without an answer is sent again with the same id", async () => {
  const host = new FakeHost();
  const client = await host.connected();
  const sending = client.sendMessage(CONVERSATION, "hello");
  await host.clock.advance(11_000);
  const [first, second] = host.socket.ofType("message.send");
  assert.deepEqual(first.payload, second.payload);
  assert.notEqual(first.id, second.id);
  // The answer to the first frame comes too late and is dropped; the second one counts.
  host.socket.answer(first, message(1, { id: first.payload.id }));
  assert.equal(client.queue.length, 1);
  host.socket.answer(second, message(1, { id: first.payload.id }));
  assert.equal((await sending).id, first.payload.id);
  assert.deepEqual(client.queue, []);
  await client.close();
});

test("messages of one conversation are sent one after the other, those of others do not wait", async () => {
  const host = new FakeHost();
  const client = await host.connected();
  client.sendMessage(CONVERSATION, "one");
  client.sendMessage(CONVERSATION, "two");
  client.sendMessage(SECOND, "three");
  await quiet();
  const contents = () => host.socket.ofType("message.send").map(({ payload }) => payload.content);
  assert.deepEqual(contents(), ["one", "three"]);
  const [one] = host.socket.ofType("message.send");
  host.socket.refuse(one, { code: "busy", message: "later", retry: true, retry_after_ms: 2_000 });
  await host.clock.advance(1_000);
  assert.deepEqual(contents(), ["one", "three"], "the second message does not overtake the first one");
  await host.clock.advance(2_000);
  const again = host.socket.ofType("message.send").at(-1);
  assert.equal(again.payload.content, "one");
  host.socket.answer(again, message(1, { id: again.payload.id }));
  await quiet();
  assert.deepEqual(contents(), ["one", "three", "one", "two"]);
  await client.close();
});

test("what was in flight when the connection was lost is sent over the next one", async () => {
  const host = new FakeHost();
  const client = await host.connected();
  const sending = client.sendMessage(CONVERSATION, "hello");
  await quiet();
  const { id } = host.socket.ofType("message.send")[0].payload;
  host.socket.end(1006);
  await host.clock.advance(250);
  host.socket.hello();
  await quiet();
  const [again] = host.socket.ofType("message.send");
  assert.equal(again.payload.id, id);
  host.socket.answer(again, message(1, { id }));
  await sending;
  await client.close();
});

test("the event of a message acknowledges it, whatever becomes of the answer", async () => {
  const host = new FakeHost();
  const client = await host.connected();
  const sending = client.sendMessage(CONVERSATION, "hello");
  await quiet();
  const { id } = host.socket.ofType("message.send")[0].payload;
  host.socket.push("message.new", message(1, { id, sender_id: USER }), { epoch: "e", offset: 1 });
  assert.equal((await sending).seq, 1);
  host.socket.end(1006);
  await host.clock.advance(250);
  host.socket.hello({ offset: 1 });
  await quiet();
  assert.deepEqual(host.socket.ofType("message.send"), []);
  await client.close();
});

test("a refused message is kept until the user sends it again or discards it", async () => {
  const host = new FakeHost();
  const client = await host.connected();
  const sending = client.sendMessage(CONVERSATION, "hello", { id: messageId(1) });
  client.sendMessage(CONVERSATION, "next", { id: messageId(2) }).catch(() => {});
  await quiet();
  host.socket.refuse(host.socket.sent.at(-1), { code: "blocked", message: "you are blocked", retry: false });
  await assert.rejects(sending, (error) => error instanceof RoostError && error.code === "blocked");
  await quiet();
  assert.deepEqual(client.queue[0].failed, { code: "blocked", message: "you are blocked" });
  assert.equal(host.socket.sent.at(-1).payload.content, "next", "a refused message does not hold up others");
  host.socket.refuse(host.socket.sent.at(-1), { code: "blocked", message: "you are blocked", retry: false });
  assert.equal(client.retry(messageId(1)), true);
  await quiet();
  assert.equal(host.socket.sent.at(-1).payload.id, messageId(1));
  assert.equal(client.discard(messageId(2)), true);
  assert.equal(client.discard(messageId(2)), false);
  assert.deepEqual(client.queue.map(({ id }) => id), [messageId(1)]);
  await client.close();
});

test("a later read position replaces one that was not sent yet, and an earlier one does not", async () => {
  const host = new FakeHost();
  const client = host.client();
  const first = client.markRead(CONVERSATION, 3);
  client.markRead(CONVERSATION, 5);
  client.markRead(CONVERSATION, 4);
  assert.equal(await first, null);
  assert.deepEqual(client.queue.map(({ payload }) => payload.up_to), [5, 4]);
  await client.close();
});

test("the queue is bounded, in number and in time", async () => {
  const host = new FakeHost();
  const client = host.client({ queueMax: 1, queueAgeMsMax: 60_000 });
  const expired = client.sendMessage(CONVERSATION, "one");
  await assert.rejects(client.sendMessage(CONVERSATION, "two"), { code: "queue_full", retry: true });
  await host.clock.advance(61_000);
  client.connect();
  await quiet();
  host.socket.hello();
  await assert.rejects(expired, { code: "expired" });
  await client.close();
});

test("what is queued without a connection is sent by a later client, once and in order", async () => {
  const host = new FakeHost();
  const storage = memoryStorage();
  const first = host.client({ storage, user: USER });
  first.connect().catch(() => {});
  await quiet();
  const lost = first.sendMessage(CONVERSATION, "one");
  first.sendMessage(CONVERSATION, "two");
  await quiet();
  await first.close();
  await assert.rejects(lost, { code: "closed" });

  const second = host.client({ storage });
  second.connect();
  await quiet();
  assert.deepEqual(second.queue.map(({ payload }) => payload.content), ["one", "two"]);
  host.socket.hello();
  await quiet();
  for (const content of ["one", "two"]) {
    const frame = host.socket.sent.at(-1);
    assert.equal(frame.payload.content, content);
    host.socket.answer(frame, message(1, { id: frame.payload.id }));
    await quiet();
  }
  assert.deepEqual([second.queue, await storage.open(USER)], [[], []]);
  await second.close();
});

test("a storage that fails is reported, and the messages are sent all the same", async () => {
  const host = new FakeHost();
  const broken = () => Promise.reject(new Error("the disk is full"));
  const storage = { open: broken, put: broken, remove: broken, close: broken };
  const client = await host.connected({ storage });
  const errors = [];
  client.on("error", ({ code }) => errors.push(code));
  const sending = client.sendMessage(CONVERSATION, "hello");
  await quiet();
  const [frame] = host.socket.ofType("message.send");
  host.socket.answer(frame, message(1, { id: frame.payload.id }));
  await sending;
  await quiet();
  assert.deepEqual(new Set(errors), new Set(["storage"]));
  await client.close();
});

test("a frame that the host calls a mistake of the client is not sent again", async () => {
  const host = new FakeHost();
  const client = await host.connected();
  const sending = client.sendMessage(CONVERSATION, "hello");
  await quiet();
  host.socket.end(1009, "frame_too_large");
  await assert.rejects(sending, { code: "frame_too_large" });
  await client.close();
});

test("wrong arguments and options are refused with what is allowed", async () => {
  const host = new FakeHost();
  const client = host.client();
  assert.throws(() => client.sendMessage("general", "hello"), /the conversation must be a UUID, not "general"/);
  assert.throws(() => client.sendMessage(CONVERSATION, ""), /1 to 16384 bytes, not 0/);
  assert.throws(() => client.sendMessage(CONVERSATION, "x".repeat(16_385)), /not 16385/);
  assert.throws(() => client.markRead(CONVERSATION), /read position/);
  assert.throws(() => host.client({ transprot: "socket" }), /unknown option "transprot"; the options are transport/);
  assert.throws(() => host.client({ transport: "carrier" }), /one of auto, socket, events/);
  assert.throws(() => host.client({ queueMax: 0 }), /above zero/);
  assert.throws(() => host.client({ url: "chat" }), /`url` must be the address/);
  await assert.rejects(client.call("votes.cast"), { code: "connection_lost", retry: true });
  await client.close();
});

test("frames at the same time are bounded, and none is larger than the host accepts", async () => {
  const host = new FakeHost();
  const client = await host.connected();
  await assert.rejects(client.call("app.note", { text: "x".repeat(65_536) }), { code: "too_large" });
  const calls = Array.from({ length: 64 }, () => client.call("app.note"));
  await assert.rejects(client.call("app.note"), { code: "too_many_requests", retry: true });
  host.socket.end(1006);
  const outcomes = await Promise.allSettled(calls);
  assert.ok(outcomes.every(({ reason }) => reason.code === "connection_lost"));
  await client.close();
});

test("HTTP calls are attempted again where that is harmless, with a new token if it was refused", async () => {
  const host = new FakeHost();
  const client = host.client();
  let asked = 0;
  const answers = [
    () => problem(401, "token_expired", { retry: false }),
    () => problem(503, "busy", { retry: true, retry_after_ms: 1_000 }),
    () => Response.json({ conversations: [], next_cursor: null }),
  ];
  host.routes.set("GET v1/conversations", () => answers[asked++]());
  host.routes.set("POST v1/conversations", () => answers[1]());
  const page = client.http("GET", "/v1/conversations", { query: { limit: 5 } });
  await host.clock.advance(5_000);
  assert.deepEqual(await page, { conversations: [], next_cursor: null });
  assert.deepEqual([asked, host.tokens.length], [3, 2]);
  assert.equal(host.requests[0].url.search, "?limit=5");
  await assert.rejects(client.http("POST", "v1/conversations", { body: {} }), { code: "busy", status: 503 });
  await assert.rejects(client.http("POST", "v1/unknown"), { code: "connection_lost" });
  const sent = host.requests.length;
  await assert.rejects(client.http("GET", "https://elsewhere.test/v1/unread"), /the path must be one of the host/);
  assert.equal(host.requests.length, sent, "the token is sent nowhere else");
  await client.close();
});

/** A storage that opens when the test lets it, with what an earlier page has left behind. */
class SlowStorage {
  entries = new Map();

  constructor(left) {
    left.forEach((entry) => this.entries.set(entry.key, entry));
    this.opened = new Promise((resolve) => {
      this.letOpen = resolve;
    });
  }

  async open() {
    const found = [...this.entries.values()];
    await this.opened;
    return found;
  }

  async put(entry) {
    this.entries.set(entry.key, { ...entry });
  }

  async remove(entry) {
    this.entries.delete(entry.key);
  }

  async close() {}
}

function leftBehind(content, number) {
  const payload = { conversation: CONVERSATION, id: messageId(number), content };
  const times = { key: `0000-${number}`, created_at: 1_700_000_000_000 };
  return { ...times, type: "message.send", conversation: CONVERSATION, id: payload.id, payload, user: USER, failed: null };
}

test("what is queued while the storage opens is kept, and comes after what is stored", async () => {
  const host = new FakeHost();
  const storage = new SlowStorage([leftBehind("stored", 1)]);
  const client = await host.connected({ storage, user: USER });
  client.sendMessage(CONVERSATION, "new", { id: messageId(2) });
  client.markRead(CONVERSATION, 3);
  client.markRead(CONVERSATION, 4);
  await quiet();
  assert.deepEqual(host.socket.ofType("message.send"), [], "nothing overtakes what is stored");
  storage.letOpen();
  await quiet();
  assert.deepEqual(client.queue.map(({ payload }) => payload.content ?? payload.up_to), ["stored", "new", 4]);
  assert.deepEqual([...storage.entries.values()].map(({ payload }) => payload.content ?? payload.up_to), ["stored", "new", 4]);
  assert.equal(host.socket.ofType("message.send")[0].payload.content, "stored");
  await client.close();
});

test("a storage that does not open holds nothing up, and a client that was closed meanwhile stays empty", async () => {
  const host = new FakeHost();
  const storage = new SlowStorage([leftBehind("stored", 1)]);
  const client = await host.connected({ storage, user: USER });
  const errors = [];
  client.on("error", ({ code }) => errors.push(code));
  client.sendMessage(CONVERSATION, "new", { id: messageId(2) });
  await host.clock.advance(5_000);
  assert.deepEqual([errors, host.socket.ofType("message.send")[0].payload.content], [["storage"], "new"]);
  await client.close();
  storage.letOpen();
  await quiet();
  assert.deepEqual([client.queue, host.clock.nextInMs], [[], null]);
});

test("a message that waits for its next attempt is no refused one when the host ends the client", async () => {
  const host = new FakeHost();
  const client = await host.connected();
  client.sendMessage(CONVERSATION, "hello");
  await quiet();
  const [frame] = host.socket.ofType("message.send");
  host.socket.refuse(frame, { code: "busy", message: "later", retry: true, retry_after_ms: 5_000 });
  await quiet();
  host.socket.end(4003, "banned");
  await host.clock.advance(60_000);
  assert.deepEqual([client.status, client.queue.map(({ failed }) => failed)], ["closed", [null]]);
  await client.close();
});

test("a refused token is no refused message, and nothing is sent as another user", async () => {
  const host = new FakeHost();
  const body = () => new ReadableStream({
    start(controller) {
      const hello = { connection: "c1", user: USER, epoch: "e", offset: 0, unread: counters() };
      controller.enqueue(new TextEncoder().encode(`event: hello\ndata: ${JSON.stringify(hello)}\n\n`));
    },
  });
  host.routes.set("GET v1/events", () => new Response(body()));
  const path = `v1/conversations/${CONVERSATION}/messages`;
  host.routes.set(`POST ${path}`, () => problem(401, "token_invalid", { retry: false }));
  const tokens = Array.from({ length: 3 }, (_, at) => tokenOf(host.clock, 3_600_000 + at * 1_000));
  const ofOther = tokenOf(host.clock, 3_600_000, OTHER);
  const client = host.client({ transport: "events", token: () => tokens.shift() ?? ofOther });
  const closed = new Promise((resolve) => client.on("closed", resolve));
  await client.connect();
  client.sendMessage(CONVERSATION, "hello");
  await host.clock.advance(2_000);
  assert.equal((await closed).code, "user_changed");
  assert.deepEqual(client.queue.map(({ failed }) => failed), [null]);
  assert.ok(host.requests.every(({ headers }) => headers.authorization !== `Bearer ${ofOther}`));
  await client.close();
});

test("closing ends the calls that are under way, and leaves no timer", async () => {
  const host = new FakeHost();
  const client = await host.connected();
  const hang = ({ signal }) => new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
  host.routes.set("GET v1/conversations", hang);
  host.routes.set("GET v1/unread", () => problem(503, "busy", { retry: true, retry_after_ms: 9_000 }));
  const calls = [client.http("GET", "v1/conversations"), client.http("GET", "v1/unread"), client.call("app.note")];
  await quiet();
  await client.close();
  const outcomes = await Promise.allSettled(calls);
  assert.deepEqual(outcomes.map(({ reason }) => reason.code), ["closed", "closed", "connection_lost"]);
  assert.equal(host.clock.nextInMs, null);
});
