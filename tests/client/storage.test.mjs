/**
 * The storage in IndexedDB: tabs that share it, what a closed tab has left behind, and databases that end.
 */

import assert from "node:assert/strict";
import { test } from "node:test";

import { indexedDbStorage } from "../../host/web/client/roost-client.js";
import { FakeIndexedDB, FakeLocks } from "./fake-browser.mjs";
import { CONVERSATION, OTHER, USER } from "./fake-host.mjs";

function entry(number, user = USER) {
  const payload = { conversation: CONVERSATION, content: `message ${number}` };
  const type = "message.send";
  return { key: `key-${number}`, type, conversation: CONVERSATION, id: null, payload, created_at: 0, user, failed: null };
}

/** Tabs of one browser. */
class Browser {
  indexedDB = new FakeIndexedDB();
  locks = new FakeLocks();

  tab() {
    return indexedDbStorage({ indexedDB: this.indexedDB, locks: this.locks });
  }
}

const keys = (entries) => entries.map(({ key }) => key);

test("what a page has left behind is loaded by the next one, in order, as it was", async () => {
  const browser = new Browser();
  const first = browser.tab();
  assert.deepEqual(await first.open(USER), []);
  await Promise.all([first.put(entry(2)), first.put(entry(1)), first.put(entry(3)), first.put(entry(4, OTHER))]);
  await first.remove(entry(3));
  await first.close();
  const second = browser.tab();
  assert.deepEqual(await second.open(USER), [entry(1), entry(2)]);
  await second.close();
});

test("an open tab keeps its entries, and those of a closed one go to one tab only", async () => {
  const browser = new Browser();
  const [open, closed] = [browser.tab(), browser.tab()];
  await Promise.all([open.open(USER), closed.open(USER)]);
  await Promise.all([open.put(entry(1)), closed.put(entry(2)), closed.put(entry(3))]);
  await closed.close();
  const third = browser.tab();
  const opening = third.open(USER);
  // The fourth tab has seen the entries of the closed one, but gets its lock only after the third one.
  const request = async (name, options, callback) => {
    await (options.ifAvailable && opening);
    return browser.locks.request(name, options, callback);
  };
  const fourth = indexedDbStorage({ indexedDB: browser.indexedDB, locks: { request } });
  const found = await Promise.all([opening, fourth.open(USER)]);
  assert.deepEqual(found.map(keys), [["key-2", "key-3"], []]);
  await Promise.all([open, third, fourth].map((tab) => tab.close()));
});

test("a storage that is closed and opened again at once works, and what was being written is kept", async () => {
  const browser = new Browser();
  const tab = browser.tab();
  await tab.open(USER);
  const writing = tab.put(entry(1));
  const closing = tab.close();
  assert.deepEqual(keys(await tab.open(USER)), ["key-1"]);
  await Promise.all([writing, closing, tab.put(entry(2))]);
  assert.deepEqual(keys(await tab.open(USER)), ["key-1", "key-2"]);
  await tab.close();
  assert.deepEqual([browser.indexedDB.connections, browser.locks.held], [0, 0]);
});

test("a database that the browser closes or cannot open is opened again", async () => {
  const browser = new Browser();
  const tab = browser.tab();
  browser.indexedDB.failing = true;
  await assert.rejects(tab.open(USER), /the disk is full/);
  browser.indexedDB.failing = false;
  await tab.open(USER);
  browser.indexedDB.closeAll();
  await tab.put(entry(1));
  assert.deepEqual(keys(await tab.open(USER)), ["key-1"]);
  await tab.close();
});

test("a lock that is refused fails the storage, and does not hang it", async () => {
  const browser = new Browser();
  browser.locks.request = () => Promise.reject(new Error("no locks here"));
  const tab = browser.tab();
  await assert.rejects(tab.open(USER), /no locks here/);
  await tab.close();
});
