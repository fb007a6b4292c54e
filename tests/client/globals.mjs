/**
 * What the example in the client's README expects to be there: the address, the conversation, a source of tokens, and a user
 * interface that remembers what it has rendered last.
 */

import { NodeSocket } from "roost-client/node-socket.js";

globalThis.WebSocket ??= NodeSocket;
globalThis.url = process.env.ROOST_URL;
globalThis.conversation = process.env.ROOST_CONVERSATION;
globalThis.fetchToken = async () => process.env.ROOST_TOKEN;
globalThis.rendered = null;
globalThis.render = (snapshot) => {
  globalThis.rendered = snapshot;
};
