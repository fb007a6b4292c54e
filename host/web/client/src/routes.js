/**
 * Frames that have an HTTP route as well. A client without a socket uses the route.
 */

const message = ({ conversation, id }) => `${messages(conversation)}/${id}`;
const messages = (conversation) => `v1/conversations/${conversation}/messages`;

/** The HTTP request that does the same as a frame; `null` for a frame without a route. */
export function routeOf(type, payload) {
  switch (type) {
    case "message.send": {
      const { conversation, ...body } = payload;
      return { method: "POST", path: messages(conversation), body };
    }
    case "message.edit":
      return { method: "PATCH", path: message(payload), body: { content: payload.content } };
    case "message.delete":
      return { method: "DELETE", path: message(payload), answer: { conversation: payload.conversation, id: payload.id } };
    case "conversation.read": {
      const { conversation, ...body } = payload;
      return { method: "POST", path: `v1/conversations/${conversation}/read`, body };
    }
    case "presence.beat":
      return { method: "POST", path: "v1/presence", body: payload ?? {} };
    case "sync":
      return { method: "GET", path: "v1/sync", query: payload };
    default:
      return null;
  }
}
