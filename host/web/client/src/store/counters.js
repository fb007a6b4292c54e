/**
 * The unread counters as the host has counted them: of each conversation, and their sum.
 *
 * A counter comes with the `seq` up to which changes are included in it: a message above it counts. An event can be older
 * than the loaded state. It sets the counter back, and the events after it count again. For the same reason the sum moves by
 * the differences, and not to the `total` of an event.
 *
 * With more than 1,400 unread conversations, the host names only a part of them. A counter that was not named may have any
 * value, so that the differences are not known: the total is that of the last event that has one, plus the messages since.
 * The counter itself is taken from the first event or answer that has it.
 */

const NONE = { unread: 0, seq: 0 };

export class Counters {
  total = 0;
  /** @type {Map<string, {unread: number, seq: number}>} */
  #counters = new Map();
  /** Whether the host has named only some of the conversations with something unread. */
  #partial = false;

  /** The counters of `hello` or `sync` replace everything. Conversations without anything unread are not named. */
  replace({ total, conversations, seqs, next_cursor: nextCursor = null }) {
    this.total = total;
    this.#partial = nextCursor !== null;
    this.#counters.clear();
    for (const [id, unread] of Object.entries(conversations)) {
      this.#counters.set(id, { unread, seq: seqs[id] ?? 0 });
    }
  }

  /** The counter of one conversation. */
  of(conversation) {
    return this.#known(conversation).unread;
  }

  /**
   * A conversation as an answer describes it. Its counter is taken only where the host has not named all of them: an answer
   * may be ahead of the events. The total remains what it is, because it includes this counter already.
   */
  learn({ id, unread, seq }) {
    if (this.#partial && (!this.#counters.has(id) || seq > this.#known(id).seq)) {
      this.#counters.set(id, { unread, seq });
    }
  }

  /** A new message; one of the user is not unread for them. */
  message(conversation, seq, isOwn) {
    const known = this.#known(conversation);
    if (seq <= known.seq) {
      return;
    }
    const more = isOwn ? 0 : 1;
    if (this.#partial) {
      this.total += more;
    }
    // One more than an unknown number is unknown.
    if (!this.#partial || this.#counters.has(conversation)) {
      this.#set(conversation, { seq, unread: known.unread + more });
    }
  }

  /** `unread.update`: the host has counted again. */
  update(conversation, { unread, total, seq }) {
    this.#set(conversation, { unread, seq });
    this.#setTotal(total);
  }

  /**
   * A conversation was added. It was described before its event was published: later events may have changed it since.
   * Where the host has not named all counters, the total comes with the `unread.update` that follows.
   */
  added({ id, unread, seq }) {
    if (seq >= this.#known(id).seq) {
      this.#set(id, { unread, seq });
    }
  }

  /** The user is no member any more. An event has the total, an answer has none. */
  remove(conversation, total) {
    this.#set(conversation, NONE);
    this.#counters.delete(conversation);
    this.#setTotal(total);
  }

  #known(conversation) {
    return this.#counters.get(conversation) ?? NONE;
  }

  #set(conversation, counter) {
    if (!this.#partial) {
      this.total += counter.unread - this.of(conversation);
    }
    this.#counters.set(conversation, counter);
  }

  #setTotal(total) {
    if (this.#partial && total !== undefined) {
      this.total = total;
    }
  }
}
