/**
 * A WebSocket for Node, whose versions before 22 have none: the client side of RFC 6455, over the modules of Node.
 *
 * It has the part of the browser's interface that the client uses, shows pings (`onping`), and names the status and the
 * problem document of a refused handshake in the event `error`. It offers no extensions and sends text only.
 */

import { createHash, randomBytes } from "node:crypto";
import { request as httpRequest } from "node:http";
import { request as httpsRequest } from "node:https";

import { FrameReader, OPCODE, closePayload, encodeFrame, parseClose } from "./src/frames.js";

const GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const HANDSHAKE_MS_MAX = 30_000;
/** How long the host may take to answer a close frame. */
const CLOSE_MS_MAX = 2_000;
const PROBLEM_BYTES_MAX = 65_536;
/** Data that the network has not taken. Beyond this, the connection is given up. */
const UNSENT_BYTES_MAX = 4 * 1_024 * 1_024;

/** A WebSocket over `node:http`. */
export class NodeSocket {
  onopen = null;
  onmessage = null;
  onerror = null;
  onclose = null;
  onping = null;
  #socket = null;
  #reader = new FrameReader();
  #request;
  #closing = null;
  #closed = false;

  constructor(url, protocols = []) {
    const address = new URL(url);
    const secure = address.protocol === "wss:";
    address.protocol = secure ? "https:" : "http:";
    const key = randomBytes(16).toString("base64");
    const headers = {
      connection: "Upgrade",
      upgrade: "websocket",
      "sec-websocket-version": "13",
      "sec-websocket-key": key,
    };
    if (protocols.length > 0) {
      headers["sec-websocket-protocol"] = protocols.join(", ");
    }
    this.#request = (secure ? httpsRequest : httpRequest)(address, { headers, timeout: HANDSHAKE_MS_MAX });
    this.#request.on("timeout", () => this.#request.destroy(new Error("the handshake took too long")));
    this.#request.on("upgrade", (response, socket, head) => this.#upgraded({ response, socket, head, key, protocols }));
    this.#request.on("response", (response) => this.#refused(response));
    this.#request.on("error", (error) => this.#end(1006, error.message, { message: error.message }));
    this.#request.end();
  }

  /** Sends a text frame. */
  send(text) {
    if (!this.#socket || this.#closed || this.#closing) {
      throw new Error("the socket is not open");
    }
    this.#write(OPCODE.text, Buffer.from(text));
  }

  /** Sends a close frame and waits a short time for that of the host. */
  close(code = 1000, reason = "") {
    if (this.#closed || this.#closing) {
      return;
    }
    if (!this.#socket) {
      this.#request.destroy();
      this.#end(1006, "closed before the handshake");
      return;
    }
    this.#write(OPCODE.close, closePayload(code, reason));
    this.#closing = setTimeout(() => this.#end(1006, "the host did not answer the close frame"), CLOSE_MS_MAX);
  }

  #upgraded({ response, socket, head, key, protocols }) {
    const accept = createHash("sha1").update(key + GUID).digest("base64");
    const chosen = response.headers["sec-websocket-protocol"];
    if (response.headers["sec-websocket-accept"] !== accept || (chosen && !protocols.includes(chosen))) {
      socket.destroy();
      this.#end(1006, "the handshake is not valid", { message: "the handshake is not valid" });
      return;
    }
    this.#socket = socket;
    socket.setTimeout(0);
    socket.setNoDelay(true);
    socket.on("data", (data) => this.#received(data));
    socket.on("error", (error) => this.#end(1006, error.message));
    socket.on("close", () => this.#end(1006, "the connection was lost"));
    this.onopen?.({});
    if (head.length > 0) {
      this.#received(head);
    }
  }

  /** The host answered the handshake with a status: the error carries it. */
  #refused(response) {
    const pieces = [];
    let bytes = 0;
    response.on("data", (piece) => {
      bytes += piece.length;
      if (bytes <= PROBLEM_BYTES_MAX) {
        pieces.push(piece);
      }
    });
    const finish = () => {
      const refusal = { status: response.statusCode, problem: null, retryAfter: response.headers["retry-after"] };
      try {
        refusal.problem = JSON.parse(Buffer.concat(pieces).toString());
      } catch {
        // A proxy answers without a problem document.
      }
      this.#end(1006, `refused with ${response.statusCode}`, refusal);
    };
    response.on("end", finish);
    response.on("error", finish);
  }

  #received(data) {
    if (this.#closed) {
      return;
    }
    try {
      for (const frame of this.#reader.push(data)) {
        this.#handle(frame);
      }
    } catch (error) {
      if (!this.#closing) {
        this.#write(OPCODE.close, closePayload(error.closeCode ?? 1002, error.message));
      }
      this.#end(1006, error.message);
    }
  }

  #handle({ opcode, payload }) {
    if (this.#closed) {
      return;
    }
    if (opcode === OPCODE.text) {
      this.onmessage?.({ data: payload });
    } else if (opcode === OPCODE.ping) {
      if (!this.#closing) {
        this.#write(OPCODE.pong, payload);
      }
      this.onping?.({});
    } else if (opcode === OPCODE.close) {
      const { code, reason } = parseClose(payload);
      if (!this.#closing) {
        this.#write(OPCODE.close, payload.subarray(0, 2));
      }
      this.#end(code, reason);
    }
  }

  #write(opcode, payload) {
    this.#socket.write(encodeFrame(opcode, payload, randomBytes(4)));
    if (this.#socket.writableLength > UNSENT_BYTES_MAX) {
      this.#end(1006, "the network takes no more data");
    }
  }

  #end(code, reason, error) {
    if (this.#closed) {
      return;
    }
    this.#closed = true;
    clearTimeout(this.#closing);
    // What has been written, such as a close frame, is still sent.
    this.#socket?.end();
    this.#socket?.setTimeout(CLOSE_MS_MAX, () => this.#socket.destroy());
    if (error) {
      this.onerror?.(error);
    }
    this.onclose?.({ code, reason, wasClean: code !== 1006 });
  }
}
