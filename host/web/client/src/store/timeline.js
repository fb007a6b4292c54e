/**
 * The messages of one open conversation: a window of the history that is bounded, with what is queued at its end, the line
 * above the first new message, and how far each own message has come.
 */

export class Timeline {
  #messagesMax;
  /** @type {Map<string, object>} messages by id */
  #messages = new Map();
  /** Ids of messages that were deleted while the timeline is open: a late event must not bring them back. */
  #deleted = new Set();
  /** The newest messages are in the window. Otherwise the user has scrolled far back. */
  #atEnd = true;
  #nextBefore = null;
  /** The read position when the conversation was opened: the line is above the first message after it. */
  newAfter;
  #loading = 0;
  /** How many loads have begun, and the number of the one that last replaced the window. */
  #begun = 0;
  #replacedBy = 0;

  constructor(messagesMax, newAfter) {
    this.#messagesMax = messagesMax;
    this.newAfter = newAfter;
  }

  /** The `seq` below which the next page begins; `null` at the beginning of the conversation. */
  get nextBefore() {
    return this.#nextBefore;
  }

  /** A page is asked for. Returns the number of the load. */
  beginLoad() {
    this.#loading += 1;
    this.#begun += 1;
    return this.#begun;
  }

  /** A page has arrived, or has not. */
  endLoad() {
    this.#loading -= 1;
  }

  /** A page is on the way. */
  get loading() {
    return this.#loading > 0;
  }

  /** The newest page replaces the window. Returns whether it does: the page of a later load is newer. */
  replace({ messages, next_before: nextBefore }, load) {
    if (load < this.#replacedBy) {
      return false;
    }
    this.#replacedBy = load;
    this.#messages = new Map(messages.map((message) => [message.id, message]));
    this.#deleted.clear();
    this.#nextBefore = nextBefore;
    this.#atEnd = true;
    return true;
  }

  /**
   * An older page. If the window becomes too large, its newest messages leave it. Returns whether the page is used: it does not
   * join a window that was replaced meanwhile.
   */
  prepend({ messages, next_before: nextBefore }, load) {
    if (load < this.#replacedBy) {
      return false;
    }
    for (const message of messages) {
      if (!this.#messages.has(message.id) && !this.#deleted.has(message.id)) {
        this.#messages.set(message.id, message);
      }
    }
    this.#nextBefore = nextBefore;
    const sorted = this.#sorted();
    if (sorted.length > this.#messagesMax) {
      sorted.slice(this.#messagesMax).forEach(({ id }) => this.#messages.delete(id));
      this.#atEnd = false;
    }
    return true;
  }

  /** A message arrived: as an event or as an answer. */
  add(message) {
    if (this.#deleted.has(message.id)) {
      return;
    }
    if (message.deleted) {
      this.remove(message.id);
      return;
    }
    const isOlder = this.#nextBefore !== null && message.seq < this.#nextBefore;
    if (!this.#messages.has(message.id) && (isOlder || !this.#atEnd)) {
      return;
    }
    this.#messages.set(message.id, message);
    if (this.#messages.size > this.#messagesMax) {
      const [oldest] = this.#sorted();
      this.#messages.delete(oldest.id);
      this.#nextBefore = this.#sorted()[0].seq;
    }
  }

  /** A message that the host acknowledged, unless it is known already, as it may be by now. */
  addMissing(message) {
    if (!this.#messages.has(message.id)) {
      this.add(message);
    }
  }

  /** A message has a new content. */
  update(message) {
    if (this.#messages.has(message.id)) {
      this.#messages.set(message.id, message);
    }
  }

  /** The host acknowledged an edit. The event of a later one may have arrived before. */
  acknowledgeEdit(message) {
    const known = this.#messages.get(message.id);
    if (known && !isEditedAfter(known, message)) {
      this.#messages.set(message.id, message);
    }
  }

  /** A message was deleted. */
  remove(id) {
    this.#messages.delete(id);
    if (this.#deleted.size >= this.#messagesMax) {
      this.#deleted.delete(this.#deleted.values().next().value);
    }
    this.#deleted.add(id);
  }

  /**
   * What is shown.
   * `members` is the number of members, `queued` are the entries of the queue for this conversation.
   * @param {{user: string | null, reads: Record<string, number>, members: number, queued: object[]}} context
   */
  view({ user, reads, members, queued }) {
    const edits = new Map(queued.filter(({ type }) => type === "message.edit").map((entry) => [entry.id, entry]));
    const deletions = new Set(queued.filter(({ type }) => type === "message.delete").map(({ id }) => id));
    const others = Object.entries(reads).filter(([reader]) => reader !== user);
    const confirmed = this.#sorted()
      .filter(({ id }) => !deletions.has(id))
      .map((message) => {
        const content = edits.get(message.id)?.payload.content ?? message.content;
        const shown = { ...message, content, status: "sent", read_by: [] };
        if (message.sender_id === user) {
          shown.read_by = others.filter(([, upTo]) => upTo >= message.seq).map(([reader]) => reader);
          shown.status = shown.read_by.length > 0 && shown.read_by.length >= members - 1 ? "read" : "sent";
        }
        return shown;
      });
    const sends = this.#atEnd ? queued.filter((entry) => entry.type === "message.send") : [];
    const pending = sends.filter((entry) => !this.#messages.has(entry.id)).map((entry) => pendingMessage(entry, user));
    return {
      messages: [...confirmed, ...pending],
      first_new: confirmed.find(({ seq, sender_id: sender }) => seq > this.newAfter && sender !== user)?.id ?? null,
      has_older: this.#nextBefore !== null,
      has_newer: !this.#atEnd,
      loading: this.loading,
      loaded: this.#replacedBy > 0,
    };
  }

  /** The newest message in the window. */
  get last() {
    return this.#atEnd ? (this.#sorted().at(-1) ?? null) : null;
  }

  #sorted() {
    return [...this.#messages.values()].sort((one, other) => one.seq - other.seq);
  }
}

/** Whether the edit of one message is later than that of the other. */
export function isEditedAfter(one, other) {
  return Date.parse(one.edited_at ?? one.created_at) > Date.parse(other.edited_at ?? other.created_at);
}

/** A message of the queue, in the form of one of the host. */
function pendingMessage({ conversation, id, payload, created_at: createdAt, failed }, user) {
  return {
    id,
    conversation,
    seq: null,
    sender_id: user,
    type: payload.type ?? "text",
    content: payload.content,
    created_at: new Date(createdAt).toISOString(),
    status: failed ? "failed" : "sending",
    error: failed,
    read_by: [],
  };
}
