/**
 * A client for Roost, for browsers and for Node 20 or newer. It has no dependencies. `README.md` shows how it is used.
 */

export { RoostClient } from "./src/client.js";
export { RoostError } from "./src/errors.js";
export { newId } from "./src/ids.js";
export { indexedDbStorage, memoryStorage } from "./src/storage.js";
export { RoostStore } from "./src/store/store.js";
