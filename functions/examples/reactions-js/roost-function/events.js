// Events, which clients receive as {"type": name, "payload": payload}.

import { failureOf } from "./failure.js";
import { toId } from "./ids.js";

const PUBLICATIONS_MAX = 1024;

export class Event {
  constructor(name, payload, durable) {
    this.name = name;
    this.payload = JSON.stringify(payload);
    this.durable = durable;
  }

  /** Kept in the feed of each user, for clients that reconnect. */
  static durable(name, payload) {
    return new Event(name, payload, true);
  }

  /** Reaches only the clients that are connected. */
  static ephemeral(name, payload) {
    return new Event(name, payload, false);
  }

  wire() {
    return { name: this.name, payload: this.payload, durable: this.durable };
  }
}

export class Publisher {
  constructor(pubSub) {
    this.pubSub = pubSub;
  }

  publish(users, event) {
    const publications = users.map((user) => ({ user: toId(user), event: event.wire() }));
    for (let first = 0; first < publications.length; first += PUBLICATIONS_MAX) {
      const some = publications.slice(first, first + PUBLICATIONS_MAX);
      failureOf.store(() => this.pubSub.publish(some));
    }
  }
}
