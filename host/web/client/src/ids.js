/**
 * Ids that the client makes, and those that it is given.
 */

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/** A random UUID. `crypto.randomUUID` exists only on pages of secure origins. */
export function newId() {
  const crypto = globalThis.crypto;
  if (typeof crypto.randomUUID === "function") {
    return crypto.randomUUID();
  }
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}

/** Returns a UUID in lower case; throws for anything else. */
export function checkId(name, value) {
  const id = typeof value === "string" ? value.toLowerCase() : "";
  if (!UUID.test(id)) {
    throw new TypeError(`${name} must be a UUID, not ${JSON.stringify(value)}`);
  }
  return id;
}
