import assert from "node:assert/strict";
import test from "node:test";

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

test("adding and taking back check what they rely on", () => {
  const [added, removed] = [rules.add(reaction).wire(), rules.remove(reaction).wire()];
  assert.deepEqual(added.checks.map(({ tag }) => tag), ["field-equals", "field-below"]);
  assert.equal(added.checks[0].val.value, null);
  assert.equal(removed.checks[0].val.value, "1");
  const changes = removed.mutations.filter(({ tag }) => tag === "add-field").map(({ val }) => [val.field, val.delta]);
  assert.deepEqual(changes, [["count 👍", -1], ["changes", 1], ["all", -1]]);
});

test("an event has the count after the change", () => {
  const event = rules.changed(reaction, true, new Map([["count 👍", "2"], ["changes", "7"]]));
  const { count, change, reaction: name } = JSON.parse(event.payload);
  assert.deepEqual([count, change, name, event.durable], [2, 7, "👍", true]);
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
