/**
 * Where the queue of unsent changes is kept: in memory, or in IndexedDB, where it survives a reload of the page.
 *
 * A storage has `open(user)`, which resolves to the entries of this user in the order of their keys, `put(entry)`,
 * `remove(entry)` and `close()`.
 */

const DATABASE = "roost-client";
const ENTRIES = "queue";

/** A storage that ends with the page. Clients of one process can share it, one after the other. */
export function memoryStorage() {
  const entries = new Map();
  return {
    open: async (user) => [...entries.values()].filter((entry) => entry.user === user).map((entry) => ({ ...entry })),
    put: async (entry) => void entries.set(entry.key, { ...entry }),
    remove: async (entry) => void entries.delete(entry.key),
    close: async () => {},
  };
}

/**
 * A storage in IndexedDB. Tabs of one page share the database: each sends what it has queued itself, and takes over what a
 * tab has left behind that is no longer open, where the browser has Web Locks.
 * @param {{name?: string, indexedDB?: IDBFactory, locks?: LockManager}} [options]
 */
export function indexedDbStorage(options = {}) {
  const { name = DATABASE, indexedDB = globalThis.indexedDB, locks = globalThis.navigator?.locks } = options;
  if (!indexedDB) {
    throw new TypeError("there is no IndexedDB here; use memoryStorage()");
  }
  return new IndexedDbStorage(name, indexedDB, locks);
}

class IndexedDbStorage {
  #name;
  #indexedDB;
  #locks;
  #database = null;
  /** The name of this tab in the database. A lock with this name is held while the tab is open. */
  #owner = globalThis.crypto.getRandomValues(new Uint32Array(4)).join("-");
  #held = null;
  #release = () => {};

  constructor(name, indexedDB, locks) {
    this.#name = name;
    this.#indexedDB = indexedDB;
    this.#locks = locks;
  }

  async open(user) {
    this.#held ??= this.#holdLock();
    await this.#held;
    const transaction = (await this.#connect()).transaction(ENTRIES, "readonly");
    const range = globalThis.IDBKeyRange.bound([user, ""], [user, "\uffff"]);
    const found = await result(transaction.objectStore(ENTRIES).getAll(range));
    const entries = [];
    for (const owner of new Set(found.map((entry) => entry.owner))) {
      const ofOwner = found.filter((entry) => entry.owner === owner);
      entries.push(...(await this.#takeOver(owner, ofOwner)));
    }
    return entries.sort((one, other) => (one.key < other.key ? -1 : 1));
  }

  async put(entry) {
    const transaction = (await this.#connect()).transaction(ENTRIES, "readwrite");
    transaction.objectStore(ENTRIES).put({ ...entry, owner: this.#owner });
    await completed(transaction);
  }

  async remove(entry) {
    const transaction = (await this.#connect()).transaction(ENTRIES, "readwrite");
    transaction.objectStore(ENTRIES).delete([entry.user, entry.key]);
    await completed(transaction);
  }

  async close() {
    this.#release();
    this.#held = null;
    (await this.#database)?.close();
    this.#database = null;
  }

  #connect() {
    this.#database ??= new Promise((resolve, reject) => {
      const request = this.#indexedDB.open(this.#name, 1);
      request.onupgradeneeded = () => request.result.createObjectStore(ENTRIES, { keyPath: ["user", "key"] });
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
      request.onblocked = () => reject(new Error("another tab holds an older version of the database"));
    });
    return this.#database;
  }

  /** Entries of a tab that is no longer open become those of this one; of a tab that is open, none. */
  async #takeOver(owner, entries) {
    const take = async () => {
      await Promise.all(entries.map((entry) => this.put(entry)));
      return entries;
    };
    if (!this.#locks || owner === this.#owner) {
      return take();
    }
    return this.#locks.request(lockOf(owner), { ifAvailable: true }, (lock) => (lock ? take() : []));
  }

  async #holdLock() {
    if (!this.#locks) {
      return;
    }
    await new Promise((held) => {
      const untilClosed = new Promise((release) => {
        this.#release = release;
      });
      this.#locks.request(lockOf(this.#owner), () => {
        held();
        return untilClosed;
      });
    });
  }
}

function lockOf(owner) {
  return `roost-client-${owner}`;
}

function result(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

function completed(transaction) {
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve();
    transaction.onerror = () => reject(transaction.error);
    transaction.onabort = () => reject(transaction.error);
  });
}
