/**
 * Frames of RFC 6455 as the client side writes and reads them. Pure functions of bytes, for `NodeSocket`.
 */

/** The kinds of frames. */
export const OPCODE = { continuation: 0x0, text: 0x1, binary: 0x2, close: 0x8, ping: 0x9, pong: 0xa };
/** The longest message that is read: `hello`, or an answer to `sync`. */
const MESSAGE_BYTES_MAX = 4 * 1_024 * 1_024;
const CONTROL_BYTES_MAX = 125;
const REASON_BYTES_MAX = 123;

/** One whole frame, masked as every frame of a client is. */
export function encodeFrame(opcode, payload, mask) {
  const length = payload.length;
  const extended = length < 126 ? 0 : length < 65_536 ? 2 : 8;
  const frame = Buffer.alloc(2 + extended + 4 + length);
  frame[0] = 0x80 | opcode;
  frame[1] = 0x80 | (extended === 0 ? length : extended === 2 ? 126 : 127);
  if (extended === 2) {
    frame.writeUInt16BE(length, 2);
  } else if (extended === 8) {
    frame.writeBigUInt64BE(BigInt(length), 2);
  }
  const start = 2 + extended + 4;
  mask.copy(frame, start - 4);
  for (let index = 0; index < length; index += 1) {
    frame[start + index] = payload[index] ^ mask[index % 4];
  }
  return frame;
}

/** The payload of a close frame. */
export function closePayload(code, reason) {
  let text = Buffer.from(reason);
  if (text.length > REASON_BYTES_MAX) {
    // Cut between characters: the reason must remain UTF-8.
    let end = REASON_BYTES_MAX;
    while ((text[end] & 0xc0) === 0x80) {
      end -= 1;
    }
    text = text.subarray(0, end);
  }
  const payload = Buffer.alloc(2 + text.length);
  payload.writeUInt16BE(code, 0);
  text.copy(payload, 2);
  return payload;
}

/** The code and the reason of a close frame. 1005 stands for a frame without a code. */
export function parseClose(payload) {
  if (payload.length === 1) {
    throw violation(1002, "a close frame has a payload of one byte");
  }
  return payload.length === 0
    ? { code: 1005, reason: "" }
    : { code: payload.readUInt16BE(0), reason: utf8(payload.subarray(2)) };
}

/** Collects bytes into messages and control frames. */
export class FrameReader {
  #buffer = Buffer.alloc(0);
  #parts = [];
  #partBytes = 0;

  /** Adds bytes; returns the messages (with their text) and control frames (with their bytes) that are complete. */
  push(data) {
    this.#buffer = this.#buffer.length === 0 ? data : Buffer.concat([this.#buffer, data]);
    const complete = [];
    for (let frame = this.#next(); frame; frame = this.#next()) {
      const message = this.#take(frame);
      if (message) {
        complete.push(message);
      }
    }
    return complete;
  }

  #next() {
    const buffer = this.#buffer;
    if (buffer.length < 2) {
      return null;
    }
    if (buffer[0] & 0x70) {
      throw violation(1002, "a frame has reserved bits");
    }
    if (buffer[1] & 0x80) {
      throw violation(1002, "a frame of the host is masked");
    }
    const short = buffer[1] & 0x7f;
    const start = short < 126 ? 2 : short === 126 ? 4 : 10;
    if (buffer.length < start) {
      return null;
    }
    const length = short < 126 ? short : short === 126 ? buffer.readUInt16BE(2) : Number(buffer.readBigUInt64BE(2));
    if (length > MESSAGE_BYTES_MAX - this.#partBytes) {
      throw violation(1009, "a message of the host is too large");
    }
    if (buffer.length < start + length) {
      return null;
    }
    this.#buffer = buffer.subarray(start + length);
    return { final: (buffer[0] & 0x80) !== 0, opcode: buffer[0] & 0x0f, payload: buffer.subarray(start, start + length) };
  }

  #take({ final, opcode, payload }) {
    if (opcode >= OPCODE.close) {
      if (opcode > OPCODE.pong || !final || payload.length > CONTROL_BYTES_MAX) {
        throw violation(1002, "a control frame is not valid");
      }
      return { opcode, payload };
    }
    if (opcode === OPCODE.binary) {
      throw violation(1003, "the host sent a binary message");
    }
    const expected = this.#parts.length === 0 ? OPCODE.text : OPCODE.continuation;
    if (opcode !== expected) {
      throw violation(1002, "the parts of a message are out of order");
    }
    this.#parts.push(payload);
    this.#partBytes += payload.length;
    if (!final) {
      return null;
    }
    const text = utf8(Buffer.concat(this.#parts));
    this.#parts = [];
    this.#partBytes = 0;
    return { opcode: OPCODE.text, payload: text };
  }
}

function utf8(bytes) {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw violation(1007, "the host sent text that is not UTF-8");
  }
}

function violation(closeCode, message) {
  return Object.assign(new Error(message), { closeCode });
}
