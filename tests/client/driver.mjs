/**
 * A client and its store that a test of another language drives: commands come as JSON lines, and so do their answers.
 *
 * `{"id":1,"on":"client","method":"sendMessage","arguments":[…]}` calls a method and answers with its result; with
 * `"wait":false` the answer comes at once, and the outcome is a part of the state. `on` is `client`, `store` or, for the
 * state, `driver`. The token is read from a file whenever the client asks for one, so that the test can replace it.
 */

import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";

import { NodeSocket } from "../../host/web/client/node-socket.js";
import { RoostClient, RoostStore } from "../../host/web/client/roost-client.js";

const tokens = [];
const token = () => {
  tokens.push(readFileSync(process.env.ROOST_TOKEN_FILE, "utf8").trim());
  return tokens.at(-1);
};
const options = JSON.parse(process.env.ROOST_CLIENT_OPTIONS ?? "{}");
const client = new RoostClient({ url: process.env.ROOST_URL, token, WebSocket: NodeSocket, ...options });
const store = new RoostStore(client);

/** What happened, in order. */
const seen = { hellos: [], messages: [], resyncs: 0, errors: [], closed: null, outcomes: [] };
client.on("hello", ({ connection }, { resumed }) => seen.hellos.push({ connection, resumed, transport: client.transport }));
client.on("message.new", ({ id, seq, content }) => seen.messages.push({ id, seq, content }));
client.on("resync", () => {
  seen.resyncs += 1;
});
client.on("error", ({ code }) => seen.errors.push(code));
client.on("closed", ({ code, message }) => {
  seen.closed = { code, message };
});

const driver = {
  state: () => ({
    status: client.status,
    transport: client.transport,
    queue: client.queue,
    tokens: tokens.length,
    shown: store.getSnapshot(),
    ...seen,
  }),
};
const parts = { client, store, driver };

async function carryOut({ id, on, method, arguments: values = [], wait = true }) {
  const result = Promise.resolve().then(() => parts[on][method](...values));
  const outcome = result.then(
    (value) => ({ id, ok: value ?? null }),
    ({ code = "error", message }) => ({ id, error: { code, message } }),
  );
  if (wait) {
    return outcome;
  }
  outcome.then((ended) => seen.outcomes.push(ended));
  return { id, ok: null };
}

// A promise that nobody waits for must not end a program that uses the client.
process.on("unhandledRejection", (error) => {
  process.stdout.write(`${JSON.stringify({ unhandled: String(error?.stack ?? error) })}\n`);
});
for await (const line of createInterface({ input: process.stdin })) {
  carryOut(JSON.parse(line)).then((answer) => process.stdout.write(`${JSON.stringify(answer)}\n`));
}
await client.close();
process.exit(0);
