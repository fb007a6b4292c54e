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
  #writes = new Set();
  #release = () => {};

  constructor(name, indexedDB, locks) {
    this.#name = name;
    this.#indexedDB = indexedDB;
    this.#locks = locks;
  }

  async open(user) {
    this.#held ??= this.#holdLock();
    const held = this.#held;
    await held;
    if (this.#held !== held) {
      // The storage was closed meanwhile.
      return [];
    }
    const found = await this.#entriesOf(user, "readonly");
    const entries = [];
    for (const owner of new Set(found.map((entry) => entry.owner))) {
      entries.push(...(await this.#takeOver(user, owner)));
    }
    return entries.map(({ owner, ...entry }) => entry).sort((one, other) => (one.key < other.key ? -1 : 1));
  }

  put(entry) {
    return this.#write((store) => store.put({ ...entry, owner: this.#owner }));
  }

  remove(entry) {
    return this.#write((store) => store.delete([entry.user, entry.key]));
  }

  async close() {
    const [database, release] = [this.#database, this.#release];
    // At once: the storage may be opened again before this is done.
    this.#database = null;
    this.#held = null;
    this.#release = () => {};
    await Promise.allSettled(this.#writes);
    release();
    (await database)?.close();
  }

  /** A change of the database. It is remembered until it is done: the database is not closed before. */
  #write(change) {
    const write = this.#carryOut(this.#connect(), this.#held, change);
    this.#writes.add(write);
    const forget = () => this.#writes.delete(write);
    write.then(forget, forget);
    return write;
  }

  async #carryOut(connecting, held, change) {
    // A tab without its lock counts as closed: another one would take the entry over.
    const [database] = await Promise.all([connecting, held]);
    const transaction = database.transaction(ENTRIES, "readwrite");
    change(transaction.objectStore(ENTRIES));
    await completed(transaction);
  }

  /** The database. One that could not be opened, or that the browser has closed, is opened again by the next call. */
  #connect() {
    if (!this.#database) {
      const ended = () => {
        if (this.#database === opening) {
          this.#database = null;
        }
      };
      const opening = this.#openDatabase(ended);
      opening.catch(ended);
      this.#database = opening;
    }
    return this.#database;
  }

  #openDatabase(ended) {
    return new Promise((resolve, reject) => {
      const request = this.#indexedDB.open(this.#name, 1);
      request.onupgradeneeded = () => request.result.createObjectStore(ENTRIES, { keyPath: ["user", "key"] });
      request.onerror = () => reject(request.error);
      request.onblocked = () => reject(new Error("another tab holds an older version of the database"));
      request.onsuccess = () => {
        const database = request.result;
        database.onclose = ended;
        database.onversionchange = () => {
          // Another tab deletes or upgrades the database, and waits for this one.
          ended();
          database.close();
        };
        resolve(database);
      };
    });
  }

  /** The entries of a user, with their owners. With `owner`, those of this tab replace them, in one transaction. */
  async #entriesOf(user, mode, owner) {
    const transaction = (await this.#connect()).transaction(ENTRIES, mode);
    const store = transaction.objectStore(ENTRIES);
    const all = await result(store.getAll(globalThis.IDBKeyRange.bound([user, ""], [user, "\uffff"])));
    if (owner === undefined) {
      return all;
    }
    const entries = all.filter((entry) => entry.owner === owner);
    entries.forEach((entry) => store.put({ ...entry, owner: this.#owner }));
    await completed(transaction);
    return entries;
  }

  /** Entries of a tab that is no longer open become those of this one; of a tab that is open, none. */
  async #takeOver(user, owner) {
    // Read again under the lock: another tab may have been faster.
    const take = () => this.#entriesOf(user, "readwrite", owner);
    if (!this.#locks || owner === this.#owner) {
      return take();
    }
    return this.#locks.request(lockOf(owner), { ifAvailable: true }, (lock) => (lock ? take() : []));
  }

  async #holdLock() {
    if (!this.#locks) {
      return;
    }
    /** @type {Promise<void>} */
    const holding = new Promise((held, failed) => {
      /** @type {Promise<void>} */
      const untilClosed = new Promise((release) => {
        this.#release = release;
      });
      const request = this.#locks.request(lockOf(this.#owner), () => {
        held();
        return untilClosed;
      });
      request.catch(failed);
    });
    await holding;
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
