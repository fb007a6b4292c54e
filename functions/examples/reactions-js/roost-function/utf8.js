// Texts as bytes. The engine in a component has no TextEncoder.

/** The bytes of a text in UTF-8. */
export function encode(text) {
  const escaped = encodeURIComponent(text);
  const bytes = [];
  for (let index = 0; index < escaped.length; index += 1) {
    if (escaped[index] === "%") {
      bytes.push(parseInt(escaped.slice(index + 1, index + 3), 16));
      index += 2;
    } else {
      bytes.push(escaped.charCodeAt(index));
    }
  }
  return Uint8Array.from(bytes);
}

/** The text of bytes in UTF-8; throws a URIError if they are something else. */
export function decode(bytes) {
  return decodeURIComponent(Array.from(bytes, (byte) => `%${byte.toString(16).padStart(2, "0")}`).join(""));
}

/** The number of bytes that a text takes. */
export function byteLength(text) {
  return encode(text).length;
}
