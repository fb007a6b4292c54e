import assert from "node:assert/strict";
import test from "node:test";

import { toId } from "../roost-function/ids.js";
import * as rules from "./rules.js";

const reaction = {
  conversation: "6f1c1fd4-3c5b-4a8e-9d1a-0c6a2f1b7e55",
  message: "00000000-0000-4000-8000-00000000000a",
  user: "00000000-0000-4000-8000-00000000000b",
  reaction: "👍",
};

test("a summary counts what is there and names the caller's own", () => {
  const fields = new Map([
    ["all", "3"],
    ["count 👍", "2"],
    ["count 😂", "0"],
    [`by ${reaction.user} 👍`, "1"],
    ["by someone-else 👍", "1"],
  ]);
  assert.deepEqual(rules.summary(fields, reaction.user), { counts: { "👍": 2 }, mine: ["👍"] });
});

/** The parts of a transaction that the tests compare. */
function partsOf({ transaction }) {
  const { checks, mutations, addressed } = transaction.wire();
  const deltas = mutations.filter(({ tag }) => tag === "add-field").map(({ val }) => [val.field, val.delta]);
  return { checks: checks.map(({ tag, val }) => [tag, val.field, val.value]), deltas, mutations, addressed };
}

test("the first reaction is added, on the condition that nothing has changed", () => {
  const decision = rules.change(reaction, true, new Map(), [reaction.user]);
  const { checks, deltas, addressed } = partsOf(decision);
  assert.deepEqual(checks, [["field-equals", "changes", null]]);
  assert.deepEqual(deltas, [["count 👍", 1], ["changes", 1], ["all", 1]]);
  assert.deepEqual(addressed.map(({ users }) => users), [[toId(reaction.user)]]);
  assert.deepEqual(decision.reply, { counts: { "👍": 1 }, mine: ["👍"] });
});

test("a reaction is taken back, and the event has the count after the change", () => {
  const before = new Map([["all", "3"], ["changes", "6"], ["count 👍", "3"], [`by ${reaction.user} 👍`, "1"]]);
  const decision = rules.change(reaction, false, before, [reaction.user]);
  const { checks, deltas, addressed } = partsOf(decision);
  assert.deepEqual(checks, [["field-equals", "changes", "6"]]);
  assert.deepEqual(deltas, [["count 👍", -1], ["changes", 1], ["all", -1]]);
  const payload = JSON.parse(addressed[0].event.payload);
  const { count, change, added, reaction: name } = payload;
  assert.deepEqual([count, change, added, name, addressed[0].event.durable], [2, 7, false, "👍", true]);
  assert.deepEqual(Object.keys(payload), rules.CHANGED.required);
  assert.deepEqual(Object.keys(payload), Object.keys(rules.CHANGED.properties));
  assert.deepEqual(decision.reply, { counts: { "👍": 2 }, mine: [] });
  assert.equal(before.size, 4, "the rule may be asked again with what was read");
});

test("a repetition changes nothing and notifies nobody", () => {
  const there = new Map([["all", "1"], ["changes", "1"], ["count 👍", "1"], [`by ${reaction.user} 👍`, "1"]]);
  for (const [added, before] of [[true, there], [false, new Map()]]) {
    const decision = rules.change(reaction, added, before, [reaction.user]);
    assert.deepEqual(partsOf(decision), { checks: [], deltas: [], mutations: [], addressed: [] });
    assert.deepEqual(decision.reply, rules.summary(before, reaction.user));
  }
});

test("a message has a bounded number of reactions", () => {
  const full = new Map([["all", "1000"], ["changes", "1000"]]);
  assert.throws(() => rules.change(reaction, true, full, [reaction.user]), { code: "invalid" });
});

test("a backend's choice is checked", () => {
  assert.deepEqual(rules.allowedBody({ allowed: ["🐈", "ok"] }), ["🐈", "ok"]);
  const refused = [null, {}, { allowed: [] }, { allowed: ["a".repeat(33)] }, { allowed: [" a"] }, { allowed: [7] }];
  for (const body of [...refused, { allowed: ["a\n"] }, { allowed: ["a"], more: 1 }, { allowed: ["\ud83d"] }]) {
    assert.throws(() => rules.allowedBody(body), { code: "invalid" }, JSON.stringify(body));
  }
  assert.throws(() => rules.checkAllowed("🐈", undefined), /allows only 👍/);
  rules.checkAllowed("🐈", ["🐈"]);
});
