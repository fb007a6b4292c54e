/**
 * One WebSocket connection: opens it with the token and the position, and turns what arrives into frames.
 *
 * It knows no retry: after its end it reports how it ended, once.
 */

import { RoostError } from "./errors.js";
import { formatPosition } from "./position.js";

const SUBPROTOCOL = "roost.v1";
/** The longest frame that the host accepts. */
export const FRAME_BYTES_MAX = 65_536;

/**
 * Opens a socket.
 * @param {{url: URL, token: string, since: import("../roost-client.js").Position | null, firstFrame: boolean,
 *   WebSocket: new (address: string, subprotocols: string[]) => any}} request
 * @param {import("./connection.js").LinkEvents} events
 */
export function openSocket({ url, token, since, firstFrame, WebSocket }, events) {
  const address = new URL("v1/socket", url);
  address.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  if (since) {
    address.searchParams.set("since", formatPosition(since));
  }
  const socket = new WebSocket(address.href, firstFrame ? [SUBPROTOCOL] : [SUBPROTOCOL, token]);
  let opened = false;
  let ended = false;
  const end = (ending) => {
    if (!ended) {
      ended = true;
      events.ended({ opened, ...ending });
    }
  };
  socket.onopen = () => {
    opened = true;
    if (firstFrame) {
      socket.send(JSON.stringify({ id: "token-1", type: "token", payload: { token } }));
    }
  };
  socket.onmessage = ({ data }) => {
    if (ended) {
      return;
    }
    events.activity();
    const frame = parse(data);
    if (frame) {
      events.frame(frame);
    }
  };
  // A browser gives no reason. The socket of Node names the status and the problem document of a refusal.
  socket.onerror = (event) => {
    if (event?.status) {
      end({ error: RoostError.ofProblem(event.status, event.problem, event.retryAfter) });
    }
  };
  // Only the socket of Node shows the host's pings.
  socket.onping = () => events.activity();
  socket.onclose = ({ code, reason }) => end({ code, reason });
  return {
    kind: "socket",
    send: (text) => socket.send(text),
    close: (ending = { code: 1000, reason: "" }) => {
      end(ending);
      socket.close(1000);
    },
  };
}

function parse(data) {
  try {
    const frame = JSON.parse(data);
    return frame !== null && typeof frame === "object" && typeof frame.type === "string" ? frame : null;
  } catch {
    return null;
  }
}
