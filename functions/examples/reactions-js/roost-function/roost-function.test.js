import assert from "node:assert/strict";
import test from "node:test";

import { Event, Publisher } from "./events.js";
import { Failure } from "./failure.js";
import { Reply, componentOf } from "./function.js";
import { parseUuid, toId, toUuid } from "./ids.js";
import { app, conversation, shard, user } from "./keys.js";
import * as query from "./query.js";
import { Records } from "./records.js";
import { Decision, Store, TRIES_MAX } from "./store.js";
import { Transaction } from "./transaction.js";
import { decode, encode } from "./utf8.js";

const ID = "6f1c1fd4-ffff-4a8e-9d1a-0c6a2f1b7e55";
const KEY = app(shard(0), "votes");

test("an id keeps its bits, with and without the signs that the engine gives its parts", () => {
  const id = toId(ID.toUpperCase());
  assert.deepEqual(id, { first: 0x6f1c1fd4, second: 0xffff4a8e | 0, third: 0x9d1a0c6a | 0, fourth: 0x2f1b7e55 });
  assert.equal(toUuid(id), ID);
  assert.equal(toUuid({ ...id, second: 0xffff4a8e, third: 0x9d1a0c6a }), ID);
  assert.equal(parseUuid("6f1c1fd4"), null);
  assert.throws(() => toId("ada"), TypeError);
});

test("texts are bytes of UTF-8", () => {
  for (const text of ["", "a%41", "é🐈\u0000", "日本"]) {
    assert.deepEqual(encode(text), Uint8Array.from(new TextEncoder().encode(text)));
    assert.equal(decode(encode(text)), text);
  }
  assert.throws(() => decode(Uint8Array.of(0xff)), URIError);
  assert.throws(() => encode("\ud83d"), URIError);
});

test("answers are read in the plain form, and a missing key is null", () => {
  const answers = [
    { tag: "plain-fields", val: [["n", "🐈"]] },
    { tag: "plain-named-fields", val: [["x", null]] },
    { tag: "missing" },
    { tag: "time-to-live", val: null },
    { tag: "bytes", val: [0x68, 0x69] },
  ];
  const store = new Store({
    read(queries) {
      assert.deepEqual(queries.map(({ tag }) => tag), ["plain-fields", "plain-named-fields", "counter", "time-to-live", "bytes"]);
      return answers;
    },
  });
  const asked = [query.fields(KEY), query.namedFields([KEY], ["a", "b"]), query.counter(KEY), query.timeToLive(KEY)];
  const [fields, named, counter, left, text] = store.read(...asked, query.text(KEY));
  assert.equal(fields.get("n"), "🐈");
  assert.deepEqual([named, counter, left, text], [[["x", null]], null, "unlimited", "hi"]);
});

test("a transaction is written as the contract has it", () => {
  const transaction = new Transaction(user(ID)).absent(KEY).set(KEY, "é", 5).setFields(KEY, { a: "1" });
  const event = Event.durable("votes.changed", { n: 1 });
  const both = transaction.setFields(KEY, new Map([["b", "2"]])).publish(event).publishTo([ID], event);
  const wire = both.publish(event, { sum: 1, left: 0 }).wire();
  assert.deepEqual(wire.mutations[0].val, { key: KEY, value: Uint8Array.of(0xc3, 0xa9), timeToLive: 5 });
  assert.deepEqual(wire.mutations.slice(1).map(({ val }) => val.fields), [[["a", "1"]], [["b", "2"]]]);
  const published = { name: "votes.changed", payload: '{"n":1}', durable: true };
  assert.deepEqual(wire.publications, [published, published]);
  assert.deepEqual(wire.addressed, [{ users: [toId(ID)], event: published }]);
  assert.deepEqual(wire.publishedResults, [
    { publication: 1, name: "sum", result: 1 },
    { publication: 1, name: "left", result: 0 },
  ]);
  assert.throws(() => transaction.publish(event, { sum: 0.5 }), RangeError);
  assert.throws(() => transaction.add(KEY, 0.5), RangeError);
  assert.throws(() => transaction.add(KEY, 2 ** 53), RangeError);
});

/** A store whose first commits lose a race. */
function racing(races) {
  let tries = 0;
  const store = new Store({
    read: () => [{ tag: "counter", val: tries }],
    commit() {
      tries += 1;
      return [tries > races ? { tag: "committed", val: [7] } : { tag: "refused", val: 0 }];
    },
  });
  return { store, tries: () => tries };
}

test("an update reads again after a lost race, a bounded number of times", () => {
  const rule = (present) => new Decision(new Transaction(shard(0)).equals(KEY, String(present)).add(KEY, 1), present);
  const won = racing(2);
  assert.deepEqual(won.store.update([query.counter(KEY)], rule), { reply: 2, results: [7] });
  const lost = racing(1000);
  assert.throws(() => lost.store.update([query.counter(KEY)], rule), { code: "contended", retry: true });
  assert.equal(lost.tries(), TRIES_MAX);
});

test("an error of the store is a failure, whether thrown or an outcome, bare or wrapped", () => {
  const error = { tag: "unavailable", val: 250 };
  const broken = (thrown) => new Store({ read() { throw thrown; }, commit: () => [{ tag: "failed", val: error }] });
  for (const thrown of [error, Object.assign(new Error("x"), { payload: error })]) {
    const expected = { code: "store_unavailable", retryAfterMs: 250, retry: true };
    assert.throws(() => broken(thrown).read(query.counter(KEY)), expected);
  }
  assert.throws(() => broken(error).commit(new Transaction(shard(0))), { code: "store_unavailable" });
  assert.throws(() => broken(new TypeError("a bug")).read(), TypeError);
});

test("a message that is too long is cut between two characters", () => {
  const { message } = Failure.invalid("🐈".repeat(1000)).wire();
  assert.equal(message, "🐈".repeat(256));
});

test("publications are sent in calls of at most 1,024", () => {
  const sizes = [];
  new Publisher({ publish: (some) => sizes.push(some.length) }).publish(Array(2000).fill(ID), Event.ephemeral("a", 1));
  assert.deepEqual(sizes, [1024, 976]);
});

test("a document is changed without losing the change of another caller", () => {
  let version = 4;
  let lost = 1;
  const records = new Records({
    readDocuments: () => [{ version, json: `[${version}]` }],
    putDocument({ json, expected }) {
      if (lost > 0) {
        lost -= 1;
        version += 1;
        throw { tag: "version-mismatch", val: version };
      }
      assert.equal(expected, 5);
      assert.equal(json, "[5,0]");
      return 6;
    },
  });
  const updated = records.updateDocument(conversation(ID), "allowed", (value) => [...value, 0]);
  assert.deepEqual(updated, { version: 6, value: [5, 0] });
});

const definition = {
  name: "votes",
  version: "1.0.0",
  routes: [
    {
      method: "PUT",
      path: "/v1/votes/{poll}/{choice}",
      access: "user",
      summary: "Votes.",
      parameters: { choice: { type: "string" } },
      handle: (request) => new Reply(201, { ...request.parameters, user: request.user, body: request.json() }),
    },
    { method: "DELETE", path: "/v1/votes", access: "service", handle: () => undefined },
    { method: "GET", path: "/v1/votes", access: "public", handle: () => null.length },
  ],
  messages: { vote: (payload, call) => ({ payload, from: call.user }) },
  socket: { messages: { vote: { summary: "Votes." } } },
  hooks: { connected: ({ user, id }) => ({ votes: [user, id] }) },
  schedules: { sweep: { everyMs: 1000, shards: 2, run: (shard) => ({ shard }) } },
  publications: { "message.new": ({ id, payload, users, attempt }) => ({ id, payload, users, attempt }) },
  grants: { read: ["app"] },
};

function call(request, caller = { tag: "user", val: toId(ID) }) {
  const lines = [];
  const component = componentOf(definition, (message) => lines.push(message));
  const answer = () => component.handle({ caller, trace: "t", deadline: 1, request });
  return { answer, lines };
}

function http(route, parameters, body = "") {
  return { tag: "http", val: { route, parameters, query: null, body: encode(body) } };
}

test("the manifest lists what the function offers", () => {
  const described = componentOf(definition, () => {}).describe();
  assert.deepEqual([described.messages, described.hooks], [["vote"], ["connected"]]);
  assert.deepEqual(JSON.parse(described.socket), { messages: { vote: { summary: "Votes." } } });
  assert.deepEqual(described.schedules, [{ name: "sweep", everyMs: 1000, shards: 2 }]);
  assert.deepEqual(described.publications, ["message.new"]);
  assert.deepEqual(described.grants, { read: ["app"], write: [], publish: "nobody", records: [] });
  const [poll, choice] = JSON.parse(described.routes[0].operation).parameters;
  assert.deepEqual([poll.name, poll.schema.format, choice.schema], ["poll", "uuid", { type: "string" }]);
});

test("a call reaches its handler, and its value becomes the reply", () => {
  const put = call(http(0, [["poll", ID.toUpperCase()], ["choice", "🐈"]], '{"n":1}')).answer();
  assert.equal(put.status, 201);
  assert.deepEqual(JSON.parse(put.body), { poll: ID, choice: "🐈", user: ID, body: { n: 1 } });
  assert.deepEqual(call(http(1, null)).answer(), { status: 204, body: "" });
  const frame = { tag: "message", val: { connection: "c", name: "vote", payload: "[1]" } };
  assert.deepEqual(JSON.parse(call(frame).answer().body), { payload: [1], from: ID });
  const connected = { tag: "connected", val: { user: toId(ID), id: "c" } };
  assert.deepEqual(JSON.parse(call(connected).answer().body), { votes: [ID, "c"] });
  const tick = { tag: "tick", val: { schedule: "sweep", shard: 1 } };
  assert.deepEqual(JSON.parse(call(tick).answer().body), { shard: 1 });
  const publication = { id: "c.1", name: "message.new", payload: '{"n":1}', users: [toId(ID)], attempt: 2 };
  const answered = JSON.parse(call({ tag: "publication", val: publication }).answer().body);
  assert.deepEqual(answered, { id: "c.1", payload: { n: 1 }, users: [ID], attempt: 2 });
});

test("a refusal is a failure, and a fault is logged and not shown", () => {
  const invalid = { kind: "invalid", code: "invalid", retry: false, retryAfterMs: null };
  const thrown = (made) => {
    try {
      made.answer();
    } catch (error) {
      return error;
    }
    throw new Error("nothing was thrown");
  };
  const { message, ...rest } = thrown(call(http(0, [["poll", "x"], ["choice", "a"]])));
  assert.deepEqual([rest, message], [invalid, 'poll must be a UUID, not "x"']);
  assert.match(thrown(call(http(0, [["poll", ID], ["choice", "a"]], "{"))).message, /^the body is not JSON/);
  const service = call(http(0, [["poll", ID], ["choice", "a"]], "1"), { tag: "service" });
  assert.equal(thrown(service).code, "user_required");
  const fault = call(http(2, null));
  assert.equal(thrown(fault).code, "internal");
  assert.match(fault.lines[0], /TypeError/);
});
