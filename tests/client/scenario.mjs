/**
 * A store over a host that a test plays by hand.
 */

import assert from "node:assert/strict";

import { RoostStore } from "../../host/web/client/roost-client.js";
import { quiet } from "./fake-clock.mjs";
import { CONVERSATION, FakeHost, conversation, counters } from "./fake-host.mjs";

/** A store whose client is connected and whose state is loaded. */
export class Scenario {
  host = new FakeHost();
  offset = 0;

  async begin(state = {}) {
    const { conversations = [conversation()], unread = counters(), presence = [], options = {}, client = {} } = state;
    await this.connect({ options, client });
    this.host.socket.hello({ unread, presence });
    await this.synchronise({ conversations, unread, presence, next_cursor: state.nextCursor ?? null });
    return this;
  }

  /** Makes the client and the store, and opens a socket, on which the test says hello. */
  async connect({ options = {}, client = {} } = {}) {
    this.client = this.host.client(client);
    this.store = new RoostStore(this.client, { clock: this.host.clock, ...options });
    this.client.connect();
    await quiet();
    return this;
  }

  /** Answers the `sync` that the store asks for. */
  async synchronise(changes = {}) {
    await quiet();
    const frame = this.host.socket.ofType("sync").at(-1);
    assert.ok(frame, "the store asks for the state");
    const state = { epoch: "e", offset: this.offset, presence: [], conversations: [], next_cursor: null };
    this.host.socket.answer(frame, { ...state, unread: counters(), ...changes });
    await quiet();
  }

  async push(type, payload) {
    this.offset += 1;
    this.host.socket.push(type, payload, { epoch: "e", offset: this.offset });
    await quiet();
  }

  get shown() {
    return this.store.getSnapshot();
  }

  async open(messages = [], nextBefore = null) {
    this.host.routes.set(`GET v1/conversations/${CONVERSATION}/messages`, { messages, next_before: nextBefore });
    await this.store.open(CONVERSATION);
  }

  get messages() {
    return this.shown.open[CONVERSATION].messages;
  }

  async end() {
    this.store.destroy();
    await this.client.close();
  }
}
