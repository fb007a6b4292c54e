// Ids: UUIDs as text for functions, four numbers of 32 bits for the host.
//
// componentize-qjs 0.4.5 passes numbers of 32 bits with a sign in both directions: `| 0` gives a number its sign, and
// `>>> 0` takes it away. The test `other_languages` of Roost fails if another version passes them differently.

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/** The UUID in lower case; `null` if the text is none. */
export function parseUuid(text) {
  const lower = String(text).toLowerCase();
  return UUID.test(lower) ? lower : null;
}

/** The id of the contract for a UUID. */
export function toId(uuid) {
  const text = parseUuid(uuid);
  if (text === null) throw new TypeError(`${JSON.stringify(uuid)} is no UUID`);
  const digits = text.replaceAll("-", "");
  const part = (index) => parseInt(digits.slice(index * 8, index * 8 + 8), 16) | 0;
  return { first: part(0), second: part(1), third: part(2), fourth: part(3) };
}

/** The UUID for an id of the contract. */
export function toUuid(id) {
  const part = (number) => (number >>> 0).toString(16).padStart(8, "0");
  const digits = [id.first, id.second, id.third, id.fourth].map(part).join("");
  return digits.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}
