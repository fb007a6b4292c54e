/**
 * The WebSocket for Node against a server that a test plays by hand on raw bytes, and the parser of event streams.
 */

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { createServer } from "node:http";
import { test } from "node:test";

import { NodeSocket } from "../../host/web/client/node-socket.js";
import { EventParser } from "../../host/web/client/src/event-stream.js";
import { FrameReader, OPCODE, closePayload, encodeFrame } from "../../host/web/client/src/frames.js";

/** A server that accepts handshakes; `connected` resolves to the first raw connection. */
async function server(answer = {}) {
  const http = createServer((request, response) => {
    response.writeHead(401, { "content-type": "application/problem+json", "retry-after": "3" });
    response.end(JSON.stringify({ code: "token_invalid", retry: false }));
  });
  const connected = new Promise((resolve) => {
    http.on("upgrade", (request, raw) => {
      const accept = createHash("sha1")
        .update(`${request.headers["sec-websocket-key"]}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
        .digest("base64");
      const headers = { accept, protocol: "roost.v1", ...answer };
      raw.write(`HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ${headers.accept}\r\nSec-WebSocket-Protocol: ${headers.protocol}\r\n\r\n`);
      resolve(raw);
    });
  });
  await new Promise((resolve) => http.listen(0, "127.0.0.1", resolve));
  const address = `127.0.0.1:${http.address().port}`;
  return { address, connected, http, stop: () => http.close() };
}

/** An unmasked frame, as a server sends it. */
function frame(first, payload) {
  const bytes = Buffer.from(payload);
  const length = bytes.length < 126 ? [bytes.length] : [126, bytes.length >> 8, bytes.length & 0xff];
  return Buffer.concat([Buffer.from([first, ...length]), bytes]);
}

/** What the client has sent: the payloads of its frames, without their masks. */
function unmask(bytes) {
  const frames = [];
  for (let at = 0; at < bytes.length; ) {
    const length = bytes[at + 1] & 0x7f;
    const [start, size] = length === 126 ? [at + 4, bytes.readUInt16BE(at + 2)] : [at + 2, length];
    const mask = bytes.subarray(start, start + 4);
    const payload = bytes.subarray(start + 4, start + 4 + size).map((byte, index) => byte ^ mask[index % 4]);
    frames.push({ opcode: bytes[at] & 0x0f, payload: Buffer.from(payload), masked: bytes[at + 1] >= 0x80 });
    at = start + 4 + size;
  }
  return frames;
}

/** The frames that a raw connection receives until there are this many. */
function received(raw, count) {
  const pieces = [];
  return new Promise((resolve) => {
    raw.on("data", (piece) => {
      pieces.push(piece);
      const frames = unmask(Buffer.concat(pieces));
      if (frames.length >= count) {
        resolve(frames);
      }
    });
  });
}

function events(socket) {
  const seen = [];
  const closed = new Promise((resolve) => {
    socket.onmessage = ({ data }) => seen.push(data);
    socket.onping = () => seen.push("ping");
    socket.onerror = (error) => seen.push(error);
    socket.onclose = ({ code, reason }) => resolve([code, reason]);
  });
  return { seen, closed };
}

test("messages in parts, with a ping in between, arrive whole; the ping is answered", async () => {
  const { address, connected, stop } = await server();
  const socket = new NodeSocket(`ws://${address}/v1/socket`, ["roost.v1", "token"]);
  const { seen, closed } = events(socket);
  const raw = await connected;
  const answers = received(raw, 2);
  const euro = Buffer.from("€");
  raw.write(frame(0x01, euro.subarray(0, 1)));
  raw.write(frame(0x89, "x"));
  raw.write(frame(0x80, euro.subarray(1)));
  raw.write(frame(0x81, "y".repeat(300)));
  raw.write(frame(0x88, closePayload(4008, "slow_client")));
  assert.deepEqual(await closed, [4008, "slow_client"]);
  assert.deepEqual(seen, ["ping", "€", "y".repeat(300)]);
  const [pong, close] = await answers;
  assert.deepEqual([pong.opcode, pong.payload.toString(), pong.masked], [OPCODE.pong, "x", true]);
  assert.deepEqual([close.opcode, close.payload.readUInt16BE(0)], [OPCODE.close, 4008]);
  stop();
});

test("texts of every length are sent masked, and a close waits for that of the host", async () => {
  const { address, connected, stop } = await server();
  const socket = new NodeSocket(`ws://${address}/`, ["roost.v1"]);
  const { closed } = events(socket);
  const texts = ["a", "b".repeat(200), ""];
  socket.onopen = () => {
    texts.forEach((text) => socket.send(text));
    socket.close(1000, "done");
  };
  const raw = await connected;
  const frames = await received(raw, 4);
  assert.deepEqual(frames.slice(0, 3).map(({ payload }) => payload.toString()), texts);
  assert.ok(frames.every(({ masked }) => masked));
  assert.throws(() => socket.send("late"), /not open/);
  raw.write(frame(0x88, closePayload(1000, "")));
  assert.deepEqual(await closed, [1000, ""]);
  stop();
});

test("a refusal carries its status and its problem document", async () => {
  const { address, http, stop } = await server();
  http.removeAllListeners("upgrade");
  const { seen, closed } = events(new NodeSocket(`ws://${address}/`, ["roost.v1"]));
  assert.deepEqual(await closed, [1006, "refused with 401"]);
  assert.deepEqual(seen, [{ status: 401, problem: { code: "token_invalid", retry: false }, retryAfter: "3" }]);
  stop();
});

test("a handshake with a wrong answer, and a host that is not there, end the socket", async () => {
  for (const wrong of [{ accept: "AAAA" }, { protocol: "other" }]) {
    const { address, stop } = await server(wrong);
    const { closed } = events(new NodeSocket(`ws://${address}/`, ["roost.v1"]));
    assert.deepEqual(await closed, [1006, "the handshake is not valid"]);
    stop();
  }
  const { address, http } = await server();
  await new Promise((resolve) => http.close(resolve));
  const { closed } = events(new NodeSocket(`ws://${address}/`, ["roost.v1"]));
  assert.equal((await closed)[0], 1006);
});

test("whatever violates the protocol is refused with the code that says so", () => {
  const code = (bytes) => {
    try {
      new FrameReader().push(Buffer.from(bytes));
      return null;
    } catch (error) {
      return error.closeCode;
    }
  };
  assert.equal(code([0xc1, 0]), 1002, "reserved bits");
  assert.equal(code([0x81, 0x80, 0, 0, 0, 0]), 1002, "masked");
  assert.equal(code([0x80, 0]), 1002, "a continuation of nothing");
  assert.equal(code([0x01, 1, 97, 0x81, 0]), 1002, "a message within a message");
  assert.equal(code([0x09, 0]), 1002, "a control frame in parts");
  assert.equal(code([0x89, 126, 0, 126, ...Array(126).fill(0)]), 1002, "a long control frame");
  assert.equal(code([0x8b, 0]), 1002, "an unknown control frame");
  assert.equal(code([0x82, 0]), 1003, "binary");
  assert.equal(code([0x81, 1, 0xff]), 1007, "not UTF-8");
  assert.equal(code([0x81, 127, 0, 0, 0, 1, 0, 0, 0, 0]), 1009, "too large");
  assert.equal(code([0x81, 126, 0]), null, "incomplete");
});

test("frames of 64 KiB and more have an eight-byte length, and a long reason is cut between characters", () => {
  const payload = Buffer.alloc(70_000, "z");
  const encoded = encodeFrame(OPCODE.text, payload, Buffer.from([1, 2, 3, 4]));
  assert.deepEqual([encoded[1], encoded.readBigUInt64BE(2), encoded.length], [0xff, 70_000n, 70_014]);
  assert.equal(encoded[14] ^ 1, "z".charCodeAt(0));
  const reason = closePayload(1000, "€".repeat(60)).subarray(2);
  assert.ok(reason.length <= 123 && /^€+$/.test(reason.toString()));
});

test("events are parsed wherever the stream is cut", () => {
  const stream = ":\n\nretry: 1500\nid: e:1\nevent: a\r\ndata: 1\rdata: 2\n\ndata\n\nevent: none\n\nevent: b\ndata:{}\n\n";
  const expected = [{ type: "a", data: "1\n2", id: "e:1" }, { type: "message", data: "", id: null }, { type: "b", data: "{}", id: null }];
  for (let size = 1; size <= stream.length; size += 1) {
    const parser = new EventParser();
    const events = [];
    for (let at = 0; at < stream.length; at += size) {
      events.push(...parser.push(stream.slice(at, at + size)));
    }
    assert.deepEqual(events, expected, `in pieces of ${size}`);
    assert.equal(parser.retryMs, 1_500);
  }
  assert.throws(() => new EventParser().push(`data: ${"x".repeat(5_000_000)}`), { code: "event_too_large" });
});
