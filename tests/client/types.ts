/**
 * What the types of the client accept and refuse. `tests/tests/end_to_end/javascript/client_types.rs` compiles this file, and
 * nothing runs it: a line below `@ts-expect-error` must have an error, and no other line may have one.
 */

import { NodeSocket } from "roost-client/node-socket.js";
import { RoostClient, RoostError, RoostStore, indexedDbStorage, memoryStorage, newId } from "roost-client";
import type { Hello, Id, Message, Position, QueueEntry, Snapshot } from "roost-client";

/** Whether two types are the same one. `any` is the same as `any` alone. */
type Same<One, Other> =
  (<T>() => T extends One ? 1 : 2) extends (<T>() => T extends Other ? 1 : 2) ? true : false;
const same = <One, Other>(_: Same<One, Other>): void => {};

const url = "https://chat.example";
const storage = memoryStorage();
const client = new RoostClient({ url, token: async ({ reason }) => reason, WebSocket: NodeSocket, storage });
const store = new RoostStore(client, { pageSize: 20 });

// Options.
new RoostClient({ url: new URL(url), token: "token", storage: indexedDbStorage({ name: "queue" }) });
new RoostClient({ url, token: "token", transport: "events", since: null });
// @ts-expect-error `token` is missing
new RoostClient({ url });
// @ts-expect-error no such option
new RoostClient({ url, token: "token", timeout: 5 });
// @ts-expect-error no such transport
new RoostClient({ url, token: "token", transport: "polling" });
// @ts-expect-error a number is no token
new RoostClient({ url, token: () => 1 });
// @ts-expect-error no such option
new RoostStore(client, { messages: 5 });

// Events of the host: payloads are known.
client.on("message.new", (message, position) => {
  same<typeof message, Message>(true);
  same<typeof position, Position | null>(true);
  const content: string = message.content;
  // @ts-expect-error no such field
  message.text;
  // @ts-expect-error `seq` is a number
  const seq: string = message.seq;
  return [content, seq];
});
client.on("unread.update", ({ total, read, seq }) => total + read + seq);
client.on("user.online", ({ last_seen: lastSeen }) => lastSeen?.slice(0, 10));
client.on("conversation.members", ({ added, member_count: count }) => added.length === count);
// @ts-expect-error the payload is a message
client.on("message.new", (message: number) => message);
// @ts-expect-error the payload is a message, and not a conversation
client.on("message.new", ({ members }) => members);
// @ts-expect-error `up_to` is a number
client.on("message.read_update", ({ up_to: upTo }: { up_to: string }) => upTo);
// @ts-expect-error the event has no counter
client.on("typing", ({ unread }) => unread);
// @ts-expect-error a listener is a function
client.on("message.new", "listener");

// The client's own events.
client.on("hello", (hello, { resumed }) => {
  same<typeof hello, Hello>(true);
  same<typeof resumed, boolean>(true);
});
client.on("status", (status, { error, waitMs }) => [status === "waiting", error?.retry, waitMs?.toFixed(0)]);
client.on("queue", (queue) => same<typeof queue, QueueEntry[]>(true));
client.on("closed", (error) => same<typeof error, RoostError>(true));
// @ts-expect-error there is no such status
client.on("status", (status) => status === "offline");
// @ts-expect-error the argument is an error
client.on("closed", (reason: string) => reason);

// Events of the operator's functions.
const remove: () => void = client.on("votes.cast", (payload, position) => {
  same<typeof position, Position | null>(true);
  return payload.option;
});
client.on("votes.cast", (payload: { option: number }) => payload.option);
const listener = () => {};
client.off("votes.cast", listener);
remove();
// @ts-expect-error the position is no number
client.on("votes.cast", (payload: object, position: number) => [payload, position]);

// Calls.
const conversation: Id = newId();
const sent: Promise<Message> = client.sendMessage(conversation, "hello", { id: newId(), type: "text" });
const missed = client.sync({ since: "e:5" }).then(({ unread, events }) => [unread.next_cursor, events?.length]);
const listed: Promise<unknown> = client.http("GET", "v1/conversations", { query: { limit: 5, cursor: undefined } });
// @ts-expect-error a message has content
client.sendMessage(conversation);
// @ts-expect-error a position is a number
client.markRead(conversation, "5");
// @ts-expect-error no such option
client.http("GET", "v1/contacts", { retries: 5 });
// @ts-expect-error it is read only
client.status = "online";

// The store has the form that `useSyncExternalStore` expects.
declare function useSyncExternalStore<T>(subscribe: (changed: () => void) => () => void, getSnapshot: () => T): T;
const snapshot = useSyncExternalStore(store.subscribe, store.getSnapshot);
same<typeof snapshot, Snapshot>(true);
snapshot.conversations.map(({ unread, typing, failed }) => [unread.toFixed(0), typing[0]?.length, failed]);
snapshot.open[conversation]?.messages.filter(({ status, seq }) => status === "read" && seq !== null);
// @ts-expect-error no such part
snapshot.unread;
// @ts-expect-error the `seq` of a message that is on its way is `null`
snapshot.open[conversation]?.messages.map(({ seq }) => seq + 1);

export { listed, missed, sent };
