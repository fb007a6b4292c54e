/**
 * The store: what it shows after `hello`, events, answers, losses and a `resync`, and what it asks for again.
 */

import assert from "node:assert/strict";
import { test } from "node:test";

import { quiet } from "./fake-clock.mjs";
import { CONVERSATION, OTHER, SECOND, THIRD, USER, conversation, counters, message, messageId, problem } from "./fake-host.mjs";
import { Scenario } from "./scenario.mjs";

const FOURTH = "00000000-0000-4000-8000-000000000004";

test("hello and one answer make the whole screen", async () => {
  const presence = [{ user: OTHER, online: true, last_seen: null, generation: 3 }];
  const unread = counters({ [CONVERSATION]: 5 });
  const conversations = [conversation({ unread: 5, last_message: message(5) })];
  const scenario = await new Scenario().begin({ conversations, unread, presence });
  const { ready, status, user, total, conversations: shown, presence: online } = scenario.shown;
  assert.deepEqual([ready, status, user, total], [true, "online", USER, 5]);
  assert.deepEqual([shown[0].unread, shown[0].last_message.seq, online[OTHER].online], [5, 5, true]);
  assert.equal(scenario.shown, scenario.shown, "the same object as long as nothing changes");
  await scenario.end();
});

test("a new message moves its conversation to the top and counts once", async () => {
  const second = conversation({ id: SECOND, updated_at: new Date(1_700_000_500_000).toISOString() });
  const scenario = await new Scenario().begin({ conversations: [second, conversation()] });
  const before = scenario.shown.conversations;
  await scenario.push("message.new", message(700));
  await scenario.push("message.new", message(700));
  await scenario.push("message.new", message(701, { sender_id: USER }));
  const { total, conversations } = scenario.shown;
  assert.deepEqual(conversations.map(({ id, unread }) => [id, unread]), [[CONVERSATION, 1], [SECOND, 0]]);
  assert.equal(total, 1);
  assert.equal(conversations[1], before[0], "what did not change is the same object");
  await scenario.end();
});

test("changes are announced once, after everything that arrived together", async () => {
  const scenario = await new Scenario().begin();
  let changes = 0;
  const remove = scenario.store.subscribe(() => {
    changes += 1;
  });
  scenario.host.socket.push("message.new", message(1), { epoch: "e", offset: 1 });
  scenario.host.socket.push("message.new", message(2), { epoch: "e", offset: 2 });
  await quiet();
  assert.equal(changes, 1);
  remove();
  scenario.host.socket.push("message.new", message(3), { epoch: "e", offset: 3 });
  await quiet();
  assert.equal(changes, 1);
  await scenario.end();
});

test("a message is shown at once, then as stored, then as read by all", async () => {
  const scenario = await new Scenario().begin();
  await scenario.open([message(1)]);
  const sending = scenario.store.send(CONVERSATION, "hello", { id: messageId(9) });
  await quiet();
  assert.deepEqual(scenario.messages.map(({ content, status }) => [content, status]), [["message 1", "sent"], ["hello", "sending"]]);
  assert.equal(scenario.shown.conversations[0].sending, 1);
  const stored = message(2, { id: messageId(9), sender_id: USER, content: "hello" });
  // The event comes before the answer, as it mostly does.
  await scenario.push("message.new", stored);
  scenario.host.socket.answer(scenario.host.socket.ofType("message.send")[0], stored);
  await sending;
  assert.deepEqual(scenario.messages.map(({ seq, status }) => [seq, status]), [[1, "sent"], [2, "sent"]]);
  await scenario.push("message.read_update", { conversation: CONVERSATION, reader: OTHER, up_to: 2 });
  await scenario.push("message.read_update", { conversation: CONVERSATION, reader: OTHER, up_to: 1 });
  assert.deepEqual([scenario.messages[1].status, scenario.messages[1].read_by], ["read", [OTHER]]);
  await scenario.end();
});

test("a refused message is shown as failed", async () => {
  const scenario = await new Scenario().begin();
  await scenario.open();
  scenario.store.send(CONVERSATION, "hello").catch(() => {});
  await quiet();
  scenario.host.socket.refuse(scenario.host.socket.ofType("message.send")[0], { code: "blocked", message: "no", retry: false });
  await quiet();
  assert.deepEqual([scenario.messages[0].status, scenario.messages[0].error.code], ["failed", "blocked"]);
  assert.equal(scenario.shown.conversations[0].failed, 1);
  await scenario.end();
});

test("edits and deletions change open conversations and the list", async () => {
  const scenario = await new Scenario().begin({ conversations: [conversation({ last_message: message(2) })] });
  await scenario.open([message(2), message(1)]);
  await scenario.push("message.updated", message(2, { content: "changed" }));
  assert.equal(scenario.messages[1].content, "changed");
  assert.equal(scenario.shown.conversations[0].last_message.content, "changed");
  scenario.host.routes.set(`GET v1/conversations/${CONVERSATION}`, conversation({ last_message: message(1) }));
  await scenario.push("message.deleted", { conversation: CONVERSATION, id: messageId(2), seq: 2 });
  await scenario.push("message.new", message(2));
  assert.deepEqual(scenario.messages.map(({ seq }) => seq), [1], "a late event does not bring a message back");
  await scenario.host.clock.advance(3_000);
  assert.equal(scenario.shown.conversations[0].last_message.seq, 1);
  await scenario.end();
});

test("reading removes the badge at once, and the host's number replaces it", async () => {
  const unread = counters({ [CONVERSATION]: 4, [SECOND]: 5 });
  const conversations = [conversation({ unread: 4, last_message: message(4) }), conversation({ id: SECOND, unread: 5 })];
  const scenario = await new Scenario().begin({ conversations, unread });
  const shown = () => {
    const { total, conversations: list } = scenario.shown;
    return [list.find(({ id }) => id === CONVERSATION).unread, total];
  };
  scenario.store.read(CONVERSATION);
  assert.deepEqual(shown(), [0, 5]);
  await quiet();
  const [frame] = scenario.host.socket.ofType("conversation.read");
  assert.deepEqual(frame.payload, { conversation: CONVERSATION, up_to: 4 });
  scenario.host.socket.answer(frame, { conversation: CONVERSATION, unread: 0, total: 5, up_to: 4 });
  await quiet();
  assert.deepEqual(shown(), [0, 5], "the badge does not flicker between the answer and the event");
  await scenario.push("message.new", message(5));
  assert.equal(shown()[0], 5, "something newer is unread, and only the host can count what is left");
  await scenario.push("unread.update", { conversation: CONVERSATION, unread: 1, total: 6, read: 4, seq: 5 });
  assert.deepEqual(shown(), [1, 6]);
  assert.equal(scenario.shown.conversations[0].read, 4);
  await scenario.end();
});

test("the line of new messages remains where it was when the conversation was opened", async () => {
  const scenario = await new Scenario().begin({ conversations: [conversation({ read: 1, last_message: message(3) })] });
  await scenario.open([message(3), message(2, { sender_id: USER }), message(1)]);
  assert.equal(scenario.shown.open[CONVERSATION].first_new, messageId(3));
  scenario.store.read(CONVERSATION);
  await scenario.push("unread.update", { conversation: CONVERSATION, unread: 0, total: 0, read: 3, seq: 3 });
  await scenario.push("message.new", message(4));
  assert.equal(scenario.shown.open[CONVERSATION].first_new, messageId(3));
  scenario.store.clearNewLine(CONVERSATION);
  assert.equal(scenario.shown.open[CONVERSATION].first_new, null);
  await scenario.end();
});

test("a repeated event moves no read position back", async () => {
  const scenario = await new Scenario().begin({ conversations: [conversation({ reads: { [USER]: 0, [OTHER]: 0 } })] });
  await scenario.push("message.read_update", { conversation: CONVERSATION, reader: OTHER, up_to: 5 });
  await scenario.push("conversation.added", conversation({ reads: { [USER]: 0, [OTHER]: 2 } }));
  assert.equal(scenario.shown.conversations[0].reads[OTHER], 5, "it was described before the receipt");
  await scenario.push("conversation.added", conversation({ reads: { [USER]: 0, [OTHER]: 6 } }));
  assert.equal(scenario.shown.conversations[0].reads[OTHER], 6);
  await scenario.end();
});

test("conversations appear, change their members and disappear", async () => {
  const scenario = await new Scenario().begin({ conversations: [] });
  await scenario.push("conversation.added", conversation({ unread: 0 }));
  assert.deepEqual(scenario.shown.conversations.map(({ id }) => id), [CONVERSATION]);
  const changed = conversation({ members: [USER, OTHER, THIRD], member_count: 3, reads: { [USER]: 0, [OTHER]: 0, [THIRD]: 7 } });
  scenario.host.routes.set(`GET v1/conversations/${CONVERSATION}`, changed);
  await scenario.push("conversation.members", { conversation: CONVERSATION, added: [THIRD], removed: [], member_count: 3 });
  assert.deepEqual(scenario.shown.conversations[0].members, [USER, OTHER, THIRD]);
  await scenario.host.clock.advance(1_000);
  assert.equal(scenario.shown.conversations[0].reads[THIRD], 7, "the position of the new member was asked for");
  const asked = scenario.host.requests.length;
  await scenario.push("conversation.members", { conversation: CONVERSATION, added: [FOURTH], removed: [], member_count: 4 });
  await scenario.push("message.read_update", { conversation: CONVERSATION, reader: FOURTH, up_to: 8 });
  await scenario.host.clock.advance(2_000);
  assert.equal(scenario.host.requests.length, asked, "the position came as an event: nothing has to be asked for");
  await scenario.push("conversation.members", { conversation: CONVERSATION, added: [], removed: [FOURTH], member_count: 3 });
  await scenario.push("conversation.members", { conversation: CONVERSATION, added: [], removed: [THIRD], member_count: 2 });
  assert.deepEqual(scenario.shown.conversations[0].reads, { [USER]: 0, [OTHER]: 0 });
  await scenario.open();
  await scenario.push("conversation.removed", { conversation: CONVERSATION, total: 0 });
  assert.deepEqual([scenario.shown.conversations, scenario.shown.open], [[], {}]);
  await scenario.end();
});

test("presence follows the generations, and contacts the events", async () => {
  const presence = [{ user: OTHER, online: false, last_seen: null, generation: 4 }];
  const scenario = await new Scenario().begin({ presence });
  const online = () => scenario.shown.presence[OTHER].online;
  scenario.host.socket.push("user.online", { user: OTHER, last_seen: null, generation: 6 });
  scenario.host.socket.push("user.offline", { user: OTHER, last_seen: null, generation: 5 });
  assert.equal(online(), true, "a late offline never hides a newer online");
  await scenario.push("contact.update", { user: OTHER, contact: true, blocked: false });
  assert.deepEqual(scenario.shown.contacts, [OTHER]);
  await scenario.push("contact.update", { user: OTHER, contact: true, blocked: true });
  assert.deepEqual([scenario.shown.blocked, online()], [[OTHER], false]);
  await scenario.end();
});

test("whom the user has blocked is loaded with the state, and follows the events", async () => {
  const scenario = new Scenario();
  scenario.host.routes.set("GET v1/blocks", { blocked: [THIRD, OTHER] });
  await scenario.begin();
  assert.deepEqual(scenario.shown.blocked, [OTHER, THIRD]);
  await scenario.push("contact.update", { user: THIRD, contact: false, blocked: false });
  assert.deepEqual(scenario.shown.blocked, [OTHER]);
  scenario.host.routes.set("GET v1/blocks", { blocked: [FOURTH] });
  scenario.host.socket.push("resync", { reason: "gap", epoch: "e", offset: 9 });
  await scenario.synchronise({ offset: 9, conversations: [conversation()] });
  assert.deepEqual(scenario.shown.blocked, [FOURTH]);
  await scenario.end();
});

test("typing ends by itself, and with the message", async () => {
  const scenario = await new Scenario().begin();
  const typing = () => scenario.shown.conversations[0].typing;
  scenario.host.socket.push("typing", { conversation: CONVERSATION, user: OTHER });
  assert.deepEqual(typing(), [OTHER]);
  await scenario.host.clock.advance(6_500);
  assert.deepEqual(typing(), []);
  scenario.host.socket.push("typing", { conversation: CONVERSATION, user: OTHER });
  await scenario.push("message.new", message(1));
  assert.deepEqual(typing(), []);
  await scenario.end();
});

test("after a loss, missed messages count although hello has counted them already", async () => {
  const scenario = await new Scenario().begin();
  await scenario.push("message.new", message(1));
  scenario.host.socket.end(1006);
  await scenario.host.clock.advance(250);
  const unread = counters({ [CONVERSATION]: 3 });
  scenario.host.socket.hello({ offset: scenario.offset, unread });
  await scenario.push("message.new", message(2));
  await scenario.push("message.new", message(3));
  assert.equal(scenario.shown.total, 3);
  assert.deepEqual(scenario.host.socket.ofType("sync"), [], "nothing has to be asked for");
  await scenario.end();
});

test("after a resync everything is asked for again, and later events are applied to the answer", async () => {
  const scenario = await new Scenario().begin();
  await scenario.open([message(1)]);
  const history = `GET v1/conversations/${CONVERSATION}/messages`;
  scenario.host.routes.set(history, { messages: [message(8), message(7)], next_before: 7 });
  scenario.host.socket.push("resync", { reason: "gap", epoch: "e", offset: 50 });
  scenario.offset = 50;
  await quiet();
  const frame = scenario.host.socket.ofType("sync").at(-1);
  await scenario.push("message.new", message(8));
  await scenario.push("message.new", message(9));
  const unread = counters({ [CONVERSATION]: 2 }, { [CONVERSATION]: 8 });
  const conversations = [conversation({ unread: 2, last_message: message(8) })];
  scenario.host.socket.answer(frame, { epoch: "e", offset: 51, presence: [], unread, conversations, next_cursor: null });
  await quiet();
  assert.deepEqual([scenario.shown.total, scenario.shown.conversations[0].last_message.seq], [3, 9]);
  assert.deepEqual(scenario.messages.map(({ seq }) => seq), [7, 8]);
  assert.equal(scenario.shown.open[CONVERSATION].has_older, true);
  await scenario.end();
});

test("a message that the state of hello or of an answer includes is not counted again", async () => {
  const scenario = await new Scenario().connect();
  scenario.host.socket.hello({ unread: counters({ [CONVERSATION]: 2 }, { [CONVERSATION]: 4 }) });
  await scenario.push("message.new", message(4));
  assert.equal(scenario.shown.total, 2, "hello includes it");
  await scenario.push("message.new", message(5));
  assert.equal(scenario.shown.total, 3, "hello does not include it");
  await scenario.synchronise({ unread: counters({ [CONVERSATION]: 3 }, { [CONVERSATION]: 6 }) });
  await scenario.push("message.new", message(6));
  assert.equal(scenario.shown.total, 3, "the answer includes it");
  await scenario.end();
});

test("events that are older than the loaded state end where the state is", async () => {
  const unread = {
    total: 3,
    conversations: { [CONVERSATION]: 1, [SECOND]: 2 },
    reads: { [CONVERSATION]: 9, [SECOND]: 0 },
    seqs: { [CONVERSATION]: 10, [SECOND]: 4 },
  };
  const scenario = await new Scenario().begin({ unread });
  const shown = () => [scenario.shown.conversations[0].unread, scenario.shown.total];
  await scenario.push("unread.update", { conversation: CONVERSATION, unread: 0, total: 0, read: 9, seq: 9 });
  // Its total does not include a message of the first conversation that comes after it, but is a part of the state.
  await scenario.push("unread.update", { conversation: SECOND, unread: 1, total: 1, read: 1, seq: 4 });
  await scenario.push("message.new", message(10));
  assert.deepEqual(shown(), [1, 2]);
  await scenario.end();
});

test("an answer is not used if an event overtook it", async () => {
  const scenario = await new Scenario().begin({ conversations: [] });
  let answer;
  let asked = 0;
  scenario.host.routes.set(`GET v1/conversations/${CONVERSATION}`, () => {
    asked += 1;
    return new Promise((resolve) => {
      answer = resolve;
    });
  });
  await scenario.push("message.new", message(1));
  await scenario.host.clock.advance(400);
  await scenario.push("message.new", message(2));
  answer(conversation({ unread: 1, seq: 1, last_message: message(1) }));
  await quiet();
  assert.equal(scenario.shown.total, 2);
  await scenario.host.clock.advance(700);
  answer(conversation({ unread: 2, seq: 2, last_message: message(2) }));
  await quiet();
  assert.deepEqual([asked, scenario.shown.total, scenario.shown.conversations[0].last_message.seq], [2, 2, 2]);
  await scenario.end();
});

test("a load that fails is attempted again, and a loss in between does not spoil it", async () => {
  const scenario = await new Scenario().connect();
  scenario.host.socket.hello();
  await quiet();
  const [first] = scenario.host.socket.ofType("sync");
  scenario.host.socket.refuse(first, { code: "store_unavailable", message: "later", retry: true });
  await scenario.host.clock.advance(1_000);
  assert.equal(scenario.host.socket.ofType("sync").length, 2);
  scenario.host.socket.end(1006);
  await scenario.host.clock.advance(1_000);
  scenario.host.socket.hello();
  await scenario.synchronise({ conversations: [conversation()] });
  assert.deepEqual([scenario.shown.ready, scenario.shown.conversations.length], [true, 1]);
  await scenario.end();
});

test("windows are bounded: older messages push out the newest, and showNewest() returns to them", async () => {
  const scenario = await new Scenario().begin({ options: { messagesMax: 3, pageSize: 2 } });
  await scenario.open([message(6), message(5)], 5);
  const route = `GET v1/conversations/${CONVERSATION}/messages`;
  scenario.host.routes.set(route, ({ url }) => {
    assert.equal(url.searchParams.get("before"), "5");
    return { messages: [message(4), message(3)], next_before: null };
  });
  assert.equal(await scenario.store.loadOlder(CONVERSATION), false);
  await scenario.push("message.new", message(7));
  const view = () => {
    const { messages, has_newer: newer, has_older: older } = scenario.shown.open[CONVERSATION];
    return [messages.map(({ seq }) => seq), newer, older];
  };
  assert.deepEqual(view(), [[3, 4, 5], true, false]);
  scenario.host.routes.set(route, { messages: [message(7), message(6)], next_before: 6 });
  await scenario.store.showNewest(CONVERSATION);
  await scenario.push("message.new", message(8));
  await scenario.push("message.new", message(9));
  assert.deepEqual(view(), [[7, 8, 9], false, true]);
  await scenario.end();
});

test("more conversations are loaded page by page, up to the bound", async () => {
  const scenario = await new Scenario().connect({ options: { conversationsMax: 2 } });
  scenario.host.socket.hello();
  await scenario.synchronise({ conversations: [conversation()], next_cursor: "n" });
  assert.equal(scenario.shown.has_more, true);
  scenario.host.routes.set("GET v1/conversations", ({ url }) => {
    assert.equal(url.searchParams.get("cursor"), "n");
    return { conversations: [conversation({ id: SECOND })], next_cursor: "m" };
  });
  assert.equal(await scenario.store.loadMore(), false);
  assert.equal(scenario.shown.conversations.length, 2);
  await scenario.end();
});

/** More unread conversations than an answer names: one is, and has one unread message. */
const manyUnread = (total) => {
  const [conversations, reads, seqs] = [1, 0, 1].map((value) => ({ [CONVERSATION]: value }));
  return { total, conversations, reads, seqs, next_cursor: "n" };
};

test("with more unread conversations than an answer names, the total is that of the last event", async () => {
  const conversations = [conversation({ unread: 1, seq: 1 })];
  const scenario = await new Scenario().begin({ conversations, unread: manyUnread(20_000) });
  await scenario.push("unread.update", { conversation: SECOND, unread: 0, total: 19_999, read: 9, seq: 9 });
  assert.equal(scenario.shown.total, 19_999, "the difference to an unknown counter is unknown");
  await scenario.push("message.new", message(2));
  await scenario.push("message.new", message(10, { conversation: SECOND, id: messageId(10) }));
  await scenario.push("message.new", message(11, { conversation: SECOND, id: messageId(11), sender_id: USER }));
  assert.deepEqual([scenario.shown.total, scenario.shown.conversations[0].unread], [20_001, 2]);
  await scenario.push("conversation.added", conversation({ id: THIRD, unread: 3, seq: 3 }));
  assert.equal(scenario.shown.total, 20_001, "the total comes with the next event");
  await scenario.push("unread.update", { conversation: THIRD, unread: 3, total: 20_004, read: 0, seq: 3 });
  const { total, conversations: shown } = scenario.shown;
  assert.deepEqual([total, shown.find(({ id }) => id === THIRD).unread], [20_004, 3]);
  await scenario.push("conversation.removed", { conversation: FOURTH, total: 15_000 });
  assert.equal(scenario.shown.total, 15_000);
  assert.ok(!scenario.host.requests.some(({ path }) => path === "v1/unread"), "no further page of counters is needed");
  await scenario.end();
});

test("with more unread conversations than an answer names, an event right after the answer has the total", async () => {
  const scenario = new Scenario();
  scenario.host.routes.set("GET v1/unread", () => new Promise(() => {}));
  await scenario.begin({ conversations: [conversation({ unread: 1, seq: 1 })], unread: manyUnread(4) });
  await scenario.push("unread.update", { conversation: SECOND, unread: 0, total: 1, read: 5, seq: 5 });
  assert.deepEqual([scenario.shown.ready, scenario.shown.total, scenario.shown.conversations[0].unread], [true, 1, 1]);
  await scenario.end();
});

test("badges of conversations that are loaded later are right although their counters were not named", async () => {
  const conversations = [conversation({ unread: 1, seq: 1 })];
  const scenario = await new Scenario().begin({ conversations, unread: manyUnread(20_000), nextCursor: "n" });
  let answer;
  scenario.host.routes.set("GET v1/conversations", () => {
    return new Promise((resolve) => {
      answer = resolve;
    });
  });
  const loading = scenario.store.loadMore();
  await quiet();
  // It overtakes the page, which does not include it.
  await scenario.push("message.new", message(9, { conversation: THIRD, id: messageId(9) }));
  const later = [conversation({ id: SECOND, unread: 7, seq: 8 }), conversation({ id: THIRD, unread: 2, seq: 8 })];
  answer({ conversations: later, next_cursor: null });
  await loading;
  const badges = () => Object.fromEntries(scenario.shown.conversations.map(({ id, unread }) => [id, unread]));
  assert.deepEqual([badges()[CONVERSATION], badges()[SECOND], scenario.shown.total], [1, 7, 20_001]);
  const newer = conversation({ id: THIRD, unread: 3, seq: 9, last_message: message(9, { conversation: THIRD }) });
  scenario.host.routes.set(`GET v1/conversations/${THIRD}`, newer);
  await scenario.host.clock.advance(1_000);
  assert.equal(badges()[THIRD], 3);
  await scenario.push("message.new", message(9, { conversation: SECOND, id: messageId(19) }));
  await scenario.push("message.new", message(10, { conversation: THIRD, id: messageId(20) }));
  assert.deepEqual([badges()[SECOND], badges()[THIRD], scenario.shown.total], [8, 4, 20_003]);
  await scenario.end();
});

test("a conversation that the user is no member of disappears, and cannot be opened", async () => {
  const scenario = await new Scenario().begin();
  scenario.host.routes.set(`GET v1/conversations/${SECOND}`, () => problem(403, "not_a_member", { retry: false }));
  await assert.rejects(scenario.store.open(SECOND), { code: "not_a_member" });
  assert.deepEqual(Object.keys(scenario.shown.open), []);
  await scenario.end();
});
