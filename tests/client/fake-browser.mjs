/**
 * As much of IndexedDB and Web Locks as the client uses: one object store, in memory, whose events come later.
 */

globalThis.IDBKeyRange ??= { bound: (lower, upper) => ({ lower, upper }) };

const pathOf = ({ user, key }) => JSON.stringify([user, key]);

function later(action) {
  setImmediate(action);
}

class FakeTransaction {
  #rows;
  #pending = 0;

  constructor(rows) {
    this.#rows = rows;
    this.#completeLater();
  }

  objectStore() {
    return {
      getAll: ({ lower }) => this.#request(() => [...this.#rows.values()].filter(({ user }) => user === lower[0])),
      put: (row) => this.#request(() => void this.#rows.set(pathOf(row), row)),
      delete: ([user, key]) => this.#request(() => void this.#rows.delete(pathOf({ user, key }))),
    };
  }

  #request(action) {
    if (this.complete) {
      throw new Error("the transaction has ended");
    }
    const request = {};
    this.#pending += 1;
    later(() => {
      request.result = structuredClone(action());
      request.onsuccess?.();
      this.#pending -= 1;
      this.#completeLater();
    });
    return request;
  }

  /** A transaction ends when it has no request left, after the promises that wait for the last one. */
  #completeLater() {
    later(() => {
      if (this.#pending === 0 && !this.complete) {
        this.complete = true;
        this.oncomplete?.();
      }
    });
  }
}

export class FakeIndexedDB {
  failing = false;
  #rows = new Map();
  #open = new Set();

  /** How many connections are open. */
  get connections() {
    return this.#open.size;
  }

  open() {
    const request = {};
    later(() => {
      if (this.failing) {
        request.error = new Error("the disk is full");
        request.onerror();
        return;
      }
      const database = {
        transaction: () => {
          if (!this.#open.has(database)) {
            throw new Error("the database is closed");
          }
          return new FakeTransaction(this.#rows);
        },
        close: () => this.#open.delete(database),
      };
      this.#open.add(database);
      request.result = database;
      request.onsuccess();
    });
    return request;
  }

  /** The browser closes every connection, as it does when the user deletes the data of a page. */
  closeAll() {
    for (const database of this.#open) {
      this.#open.delete(database);
      database.onclose?.();
    }
  }
}

export class FakeLocks {
  #queues = new Map();

  /** How many locks are held or waited for. */
  get held() {
    return this.#queues.size;
  }

  async request(name, options, callback = options) {
    const before = this.#queues.get(name);
    if (before && options.ifAvailable) {
      return callback(null);
    }
    let release;
    const mine = new Promise((resolve) => {
      release = resolve;
    });
    this.#queues.set(name, mine);
    await before;
    try {
      return await callback({ name });
    } finally {
      if (this.#queues.get(name) === mine) {
        this.#queues.delete(name);
      }
      release();
    }
  }
}
