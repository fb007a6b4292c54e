/**
 * What the store makes of losses, of answers that are not final, and of what happens while an answer is on the way.
 */

import assert from "node:assert/strict";
import { test } from "node:test";

import { Recorder } from "../../host/web/client/src/store/recorder.js";
import { quiet } from "./fake-clock.mjs";
import { CONVERSATION, OTHER, SECOND, THIRD, conversation, counters, message, problem } from "./fake-host.mjs";
import { Scenario } from "./scenario.mjs";

const day = (number) => new Date(1_700_000_000_000 + number * 86_400_000).toISOString();

test("an answer of the records is shown, and asked for again until the store of the host is back", async () => {
  const scenario = await new Scenario().begin({ conversations: [] });
  const answer = { conversations: [conversation()], presence: undefined, source: "records" };
  scenario.host.socket.push("resync", { reason: "interrupted" });
  await scenario.synchronise(answer);
  assert.equal(scenario.shown.conversations.length, 1, "it is shown");
  await scenario.host.clock.advance(1_000);
  assert.equal(scenario.host.socket.ofType("sync").length, 3);
  await scenario.synchronise({ conversations: [conversation(), conversation({ id: SECOND })] });
  await scenario.host.clock.advance(40_000);
  assert.deepEqual([scenario.shown.conversations.length, scenario.host.socket.ofType("sync").length], [2, 3]);
  await scenario.end();
});

test("what an event left open is asked with the next connection if the first one was lost", async () => {
  const scenario = await new Scenario().begin({ conversations: [] });
  await scenario.push("message.new", message(1));
  scenario.host.socket.end(1006);
  // All attempts fail.
  await scenario.host.clock.advance(10_000);
  assert.deepEqual(scenario.shown.conversations, []);
  scenario.host.routes.set(`GET v1/conversations/${CONVERSATION}`, conversation({ last_message: message(1) }));
  scenario.host.socket.hello({ offset: 1 });
  await scenario.host.clock.advance(1_000);
  assert.equal(scenario.shown.conversations[0]?.last_message.seq, 1);
  assert.equal(scenario.host.socket.ofType("sync").length, 0, "the client has resumed");
  await scenario.end();
});

test("what could not be asked for a while is asked again", async () => {
  const scenario = await new Scenario().begin({ conversations: [] });
  const route = `GET v1/conversations/${CONVERSATION}`;
  scenario.host.routes.set(route, () => problem(503, "store_unavailable", { retry: true }));
  await scenario.push("message.new", message(1));
  await scenario.host.clock.advance(5_000);
  assert.deepEqual(scenario.shown.conversations, []);
  scenario.host.routes.set(route, conversation({ last_message: message(1) }));
  for (let passed = 0; passed < 20_000; passed += 1_000) {
    scenario.host.socket.push("server.note", {});
    await scenario.host.clock.advance(1_000);
  }
  assert.equal(scenario.shown.conversations.length, 1);
  await scenario.end();
});

test("presence that changes while the state is loaded is not hidden by the older answer", async () => {
  const scenario = await new Scenario().begin();
  scenario.host.socket.push("resync", { reason: "gap", epoch: "e", offset: 1 });
  await quiet();
  await scenario.push("contact.update", { user: OTHER, contact: false, blocked: false });
  await scenario.push("contact.update", { user: OTHER, contact: true, blocked: false });
  scenario.host.socket.push("user.online", { user: OTHER, last_seen: null, generation: 7 });
  scenario.host.socket.push("user.online", { user: THIRD, last_seen: null, generation: 2 });
  const presence = [{ user: OTHER, online: true, last_seen: null, generation: 7 }];
  await scenario.synchronise({ presence, conversations: [conversation()] });
  const { presence: shown, contacts } = scenario.shown;
  assert.deepEqual([shown[OTHER].online, shown[THIRD].online, contacts], [true, true, [OTHER]]);
  await scenario.end();
});

test("a conversation that is older than all of a full list can be opened", async () => {
  const list = [conversation({ updated_at: day(3) }), conversation({ id: SECOND, updated_at: day(2) })];
  const scenario = await new Scenario().begin({ conversations: list, options: { conversationsMax: 2 } });
  const old = "00000000-0000-4000-8000-0000000000c3";
  scenario.host.routes.set(`GET v1/conversations/${old}`, conversation({ id: old, updated_at: day(1) }));
  scenario.host.routes.set(`GET v1/conversations/${old}/messages`, { messages: [], next_before: null });
  await scenario.store.open(old);
  assert.deepEqual(scenario.shown.conversations.map(({ id }) => id), [CONVERSATION, old]);
  assert.equal(scenario.shown.open[old].loaded, true);
  await scenario.end();
});

test("lists of the snapshot remain the same objects when something else changes", async () => {
  const scenario = await new Scenario().begin();
  await scenario.open([message(1)]);
  const before = scenario.shown;
  scenario.host.socket.push("user.online", { user: OTHER, last_seen: null, generation: 1 });
  const after = scenario.shown;
  assert.notEqual(after.presence, before.presence);
  assert.equal(after.conversations, before.conversations);
  assert.equal(after.open, before.open);
  await scenario.end();
});

test("a wrong read position changes nothing, and one that does not fit into the queue is taken back", async () => {
  const unread = counters({ [CONVERSATION]: 2 });
  const conversations = [conversation({ unread: 2, last_message: message(2) })];
  const scenario = await new Scenario().begin({ conversations, unread, client: { queueMax: 1 } });
  assert.throws(() => scenario.store.read(CONVERSATION, "all"), /read position/);
  assert.deepEqual([scenario.shown.total, scenario.shown.conversations[0].read], [2, 0]);
  scenario.store.send(SECOND, "fills the queue").catch(() => {});
  scenario.store.read(CONVERSATION);
  await quiet();
  assert.deepEqual([scenario.shown.total, scenario.shown.conversations[0].unread], [2, 2]);
  await scenario.end();
});

test("a store that was ended asks for nothing more", async () => {
  const scenario = await new Scenario().begin();
  scenario.host.socket.push("resync", { reason: "gap", epoch: "e", offset: 1 });
  await quiet();
  scenario.store.destroy();
  const frame = scenario.host.socket.ofType("sync").at(-1);
  scenario.host.socket.refuse(frame, { code: "store_unavailable", message: "later", retry: true });
  await scenario.host.clock.advance(40_000);
  assert.equal(scenario.host.socket.ofType("sync").length, 2);
  await scenario.client.close();
});

test("more events than are remembered do not go by unnoticed", async () => {
  const recorder = new Recorder();
  let applied = false;
  const asking = recorder.during(async (arrived) => {
    await quiet();
    arrived();
    applied = true;
  });
  for (let event = 0; event < 2_001; event += 1) {
    recorder.record({ type: "message.new" });
  }
  await assert.rejects(asking, { code: "too_many_events", retry: true });
  assert.equal(applied, false, "an answer without them is not applied");
});
