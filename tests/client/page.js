/**
 * The script of a page that uses the client from another origin than that of the host. `query` and `report` come from the test.
 *
 * The page is loaded twice: what the first one queues without a connection, the second one sends.
 */

import { RoostClient, RoostStore, indexedDbStorage } from "/client/roost-client.js";

const [host, token, user, conversation] = ["host", "token", "user", "conversation"].map((name) => query.get(name));
const url = `http://${host}`;

/** Resolves once the store shows something. */
function until(store, holds) {
  return new Promise((resolve) => {
    const check = () => {
      if (holds(store.getSnapshot())) {
        remove();
        resolve(store.getSnapshot());
      }
    };
    const remove = store.subscribe(check);
    check();
  });
}

async function queueOffline() {
  const client = new RoostClient({ url: "http://127.0.0.1:1", token, user, storage: indexedDbStorage() });
  client.connect().catch(() => {});
  client.sendMessage(conversation, "written offline");
  client.sendMessage(conversation, "and one more");
  // Another storage of the same page sees what is kept. It takes nothing over: the lock of the first one is held.
  const other = indexedDbStorage();
  await other.open(user);
  const database = await new Promise((resolve, reject) => {
    const request = indexedDB.open("roost-client");
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  const kept = () =>
    new Promise((resolve) => {
      const request = database.transaction("queue").objectStore("queue").getAll();
      request.onsuccess = () => resolve(request.result);
    });
  while ((await kept()).length < 2) {
    await new Promise(requestAnimationFrame);
  }
  database.close();
  await report("queued", { taken_over: (await other.open(user)).length });
  await other.close();
  sessionStorage.setItem("queued", "yes");
  location.reload();
}

async function sendOnline() {
  const client = new RoostClient({ url, token, storage: indexedDbStorage() });
  const store = new RoostStore(client);
  await client.connect();
  await store.open(conversation);
  const shown = await until(store, ({ open }) => open[conversation].messages.filter(({ status }) => status === "sent").length === 2);
  await report("sent", {
    transport: client.transport,
    contents: shown.open[conversation].messages.map(({ content }) => content),
    queue: client.queue.length,
  });
  const streaming = new RoostClient({ url, token, transport: "events" });
  const other = new RoostStore(streaming);
  await streaming.connect();
  await until(other, ({ ready }) => ready);
  await report("streaming", { transport: streaming.transport });
  const { total } = await until(other, (snapshot) => snapshot.total === 1);
  const [{ last_message: last }] = (await until(store, (snapshot) => snapshot.total === 1)).conversations;
  await report("received", { total, last: last.content });
  store.read(conversation);
  await until(other, (snapshot) => snapshot.total === 0);
  await Promise.all([client.close(), streaming.close()]);
  await report("done");
}

await (sessionStorage.getItem("queued") ? sendOnline() : queueOffline());
