/**
 * A position in the feed of a user: an epoch, and the offset of an event in it.
 */

/** The position that a frame or the payload of `hello` carries; `null` if it carries none. */
export function positionOf(value) {
  return typeof value?.epoch === "string" && Number.isSafeInteger(value.offset)
    ? { epoch: value.epoch, offset: value.offset }
    : null;
}

/** `<epoch>:<offset>`, as the host reads it. */
export function formatPosition(position) {
  return `${position.epoch}:${position.offset}`;
}

/** Parses `<epoch>:<offset>`; `null` for any other text. */
export function parsePosition(text) {
  const match = /^([^:]+):(\d+)$/.exec(text ?? "");
  return match && Number.isSafeInteger(Number(match[2])) ? { epoch: match[1], offset: Number(match[2]) } : null;
}

/** Whether two positions are the same one. */
export function isSamePosition(one, other) {
  return one !== null && other !== null && one.epoch === other.epoch && one.offset === other.offset;
}

/** Whether an event at `position` is known to a client that has received everything up to `known`. */
export function isKnown(position, known) {
  return known !== null && position.epoch === known.epoch && position.offset <= known.offset;
}
