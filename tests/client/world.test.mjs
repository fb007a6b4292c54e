/**
 * Random histories: whatever happens to the connection and in whatever order answers and events arrive, once things are quiet
 * the store shows what the host answers. A failing seed is printed, and `ROOST_CLIENT_SEED` repeats it.
 */

import assert from "node:assert/strict";
import { test } from "node:test";

import { RoostStore } from "../../host/web/client/roost-client.js";
import { quiet } from "./fake-clock.mjs";
import { FakeHost, USER, problem } from "./fake-host.mjs";
import { World, userId } from "./world.mjs";

const SEEDS = 60;
const STEPS = 120;

/** Random numbers that a seed repeats. */
function generator(seed) {
  let state = seed * 2_654_435_761 + 1;
  return (bound) => {
    state = (Math.imul(state ^ (state >>> 15), 2_246_822_519) + 0x9e3779b9) >>> 0;
    return ((state ^ (state >>> 13)) >>> 0) % bound;
  };
}

/** One client of one world. */
class History {
  constructor(seed) {
    this.random = generator(seed);
    // In every third history, the host names only some of the unread counters.
    this.world = new World(seed % 3 === 0 ? 1 : Infinity);
    this.host = new FakeHost();
    this.late = [];
    this.delivered = 0;
    this.host.fetch = (address, request) => this.#http(new URL(address), request);
    this.client = this.host.client({ transport: "socket", idleMs: 100_000_000 });
    this.store = new RoostStore(this.client, { clock: this.host.clock });
    for (let number = 0; number < 3; number += 1) {
      this.world.create([USER, userId(1), userId(2)]);
    }
  }

  pick(list) {
    return list[this.random(list.length)];
  }

  /** One step: something happens in the world, on the connection, or on the user's device. */
  async step() {
    const { world } = this;
    const conversation = this.pick([...world.conversations.values()]);
    const member = this.pick([...conversation.members.keys(), userId(1)]);
    const message = this.pick(conversation.messages);
    const steps = [
      () => conversation.members.has(member) && world.send(conversation, member),
      () => conversation.members.has(member) && world.send(conversation, member),
      () => message && world.edit(conversation, message),
      () => message && world.remove(conversation, message),
      () => world.read(conversation, member, this.random(conversation.seq + 1)),
      () => world.join(conversation, userId(this.random(12))),
      () => world.leave(conversation, member),
      () => this.random(4) === 0 && world.create([USER, userId(1 + this.random(3))]),
      () => this.#userActs(),
      () => this.deliver(1 + this.random(3)),
      () => this.deliver(100),
      () => this.answerLate(),
      () => this.#lose(),
      () => this.host.clock.advance(this.random(1_000)),
    ];
    await this.pick(steps)();
    this.#serve();
    await quiet();
  }

  /** Sends events of the feed that the connection has not carried yet. */
  deliver(count) {
    const { socket } = this.host;
    if (!socket?.greeted || socket.ended) {
      return;
    }
    for (const event of this.world.feed.slice(this.delivered, this.delivered + count)) {
      this.delivered += 1;
      const { type, payload, epoch, offset } = event;
      socket.push(type, payload, { epoch, offset });
    }
  }

  /** Lets the oldest answer arrive. */
  answerLate() {
    this.late.shift()?.();
  }

  /** Everything arrives, until nothing is left to do. */
  async becomeQuiet() {
    for (let round = 0; round < 40; round += 1) {
      this.#serve();
      this.deliver(1_000);
      while (this.late.length > 0) {
        this.answerLate();
        await quiet();
      }
      await this.host.clock.advance(1_500);
    }
  }

  #userActs() {
    const { conversations } = this.store.getSnapshot();
    const shown = this.pick(conversations);
    if (!shown) {
      return;
    }
    const actions = [
      () => this.store.open(shown.id).catch(() => {}),
      () => this.store.open(shown.id).catch(() => {}),
      () => this.store.read(shown.id),
      () => this.store.send(shown.id, "from this device").catch(() => {}),
      () => this.random(4) === 0 && this.store.close(shown.id),
    ];
    this.pick(actions)();
  }

  /** The connection is lost; sometimes for longer than the feed reaches back. */
  #lose() {
    const { socket } = this.host;
    if (socket?.greeted && !socket.ended) {
      socket.ended = true;
      this.tooLate = this.random(3) === 0;
      this.late = this.late.filter((answer) => answer.isHttp);
      socket.end(1006);
    }
  }

  /** Accepts a new socket, and takes what the client asks. */
  #serve() {
    const { socket } = this.host;
    if (!socket || socket.ended) {
      return;
    }
    if (!socket.greeted) {
      socket.greeted = true;
      const since = socket.url.searchParams.get("since");
      const known = since === null || this.tooLate ? this.world.offset : Number(since.split(":")[1]);
      this.delivered = known;
      socket.hello({ offset: known, unread: this.world.counters });
      if (since !== null && this.tooLate) {
        socket.push("resync", { reason: "gap", epoch: "e", offset: known });
      }
      this.tooLate = false;
    }
    for (const frame of socket.sent.splice(0)) {
      const answer = this.#carryOut(frame);
      this.late.push(() => {
        if (!socket.ended) {
          answer(socket);
        }
      });
    }
  }

  #carryOut(frame) {
    const { type, payload } = frame;
    if (type === "sync") {
      const state = structuredClone(this.world.state);
      return (socket) => socket.answer(frame, state);
    }
    const conversation = this.world.conversations.get(payload.conversation);
    if (!conversation.members.has(USER)) {
      return (socket) => socket.refuse(frame, { code: "not_a_member", message: "no member", retry: false });
    }
    if (type === "message.send") {
      const stored = this.world.stored(conversation, payload.id) ?? this.world.send(conversation, USER, payload.id);
      const answer = structuredClone(stored);
      return (socket) => socket.answer(frame, answer);
    }
    this.world.read(conversation, USER, Math.min(payload.up_to, conversation.seq));
    const answer = { conversation: conversation.id, unread: this.world.unread(conversation), total: this.world.total };
    return (socket) => socket.answer(frame, { ...answer, up_to: conversation.members.get(USER)?.read ?? 0 });
  }

  #http(url) {
    const [, , , id, part] = url.pathname.split("/");
    const conversation = this.world.conversations.get(id);
    let answer = { contacts: [], blocked: [] };
    if (id && !conversation?.members.has(USER)) {
      answer = null;
    } else if (part === "messages") {
      const before = Number(url.searchParams.get("before") ?? Infinity);
      const messages = this.world.history(conversation).filter(({ seq }) => seq < before).slice(0, 50);
      answer = { messages, next_before: null };
    } else if (id) {
      answer = this.world.describe(conversation);
    }
    const taken = structuredClone(answer);
    return new Promise((resolve) => {
      const arrive = () => resolve(taken === null ? problem(403, "not_a_member", { retry: false }) : Response.json(taken));
      this.late.push(Object.assign(arrive, { isHttp: true }));
    });
  }
}

/** What the host answers and the store shows, in the same words. */
function compare(history) {
  const { world, store } = history;
  const essence = ({ id, members, member_count, reads, last_message, unread, read }) => {
    return { id, members, member_count, reads, last: last_message?.content ?? null, unread, read };
  };
  const { total, conversations, open } = store.getSnapshot();
  const positions = (list) => list.map(essence).map((shown) => (shown.member_count > 8 ? { ...shown, reads: {} } : shown));
  assert.deepEqual(positions(conversations), positions(world.state.conversations));
  assert.equal(total, world.total);
  for (const [id, { messages }] of Object.entries(open)) {
    const sent = messages.filter(({ status }) => status === "sent" || status === "read");
    const stored = world.history(world.conversations.get(id)).reverse();
    assert.deepEqual(sent.map(({ content }) => content), stored.map(({ content }) => content));
  }
}

const chosen = process.env.ROOST_CLIENT_SEED;
const seeds = chosen ? [Number(chosen)] : Array.from({ length: SEEDS }, (_, index) => index + 1);

test("whatever happens, the store shows what the host answers once things are quiet", async () => {
  for (const seed of seeds) {
    const history = new History(seed);
    history.client.connect();
    await quiet();
    try {
      for (let step = 0; step < STEPS; step += 1) {
        await history.step();
      }
      await history.becomeQuiet();
      compare(history);
    } catch (error) {
      error.message = `ROOST_CLIENT_SEED=${seed}: ${error.message}`;
      throw error;
    }
    history.store.destroy();
    await history.client.close();
  }
});
