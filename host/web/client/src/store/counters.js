/**
 * The unread counters as the host has counted them: of each conversation, and their sum.
 *
 * A counter comes with the `seq` up to which changes are included in it: a message above it counts. Events can be older than
 * the state that was loaded before they arrived; they take a counter back, and those that follow count again. For the same
 * reason the sum moves by the differences, and not to the `total` of an event.
 */

const NONE = { unread: 0, seq: 0 };

export class Counters {
  total = 0;
  #counters = new Map();

  /** The counters of `hello` or `sync` replace everything. Conversations without anything unread are not named. */
  replace({ total, ...page }) {
    this.total = total;
    this.#counters.clear();
    this.extend(page);
  }

  /** More counters of the same answer, whose total includes them already. */
  extend({ conversations, seqs = {} }) {
    for (const [id, unread] of Object.entries(conversations)) {
      if (!this.#counters.has(id)) {
        this.#counters.set(id, { unread, seq: seqs[id] ?? 0 });
      }
    }
  }

  /** The counter of one conversation. */
  of(conversation) {
    return this.#known(conversation).unread;
  }

  /** A new message; one of the user is not unread for them. */
  message(conversation, seq, isOwn) {
    const known = this.#known(conversation);
    if (seq > known.seq) {
      this.#set(conversation, { seq, unread: known.unread + (isOwn ? 0 : 1) });
    }
  }

  /** `unread.update`: the host has counted again. */
  update(conversation, { unread, seq = this.#known(conversation).seq }) {
    this.#set(conversation, { unread, seq });
  }

  /** A conversation was added. It was described before its event was published: later events may have changed it since. */
  added({ id, unread, seq }) {
    if (seq >= this.#known(id).seq) {
      this.#set(id, { unread, seq });
    }
  }

  /** The user is no member any more. */
  remove(conversation) {
    this.total -= this.of(conversation);
    this.#counters.delete(conversation);
  }

  #known(conversation) {
    return this.#counters.get(conversation) ?? NONE;
  }

  #set(conversation, counter) {
    this.total += counter.unread - this.of(conversation);
    this.#counters.set(conversation, counter);
  }
}
