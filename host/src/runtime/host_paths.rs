//! The paths of the public listener that the host itself answers. A function cannot declare a route with one of them.
//!
//! The listener's routes, the OpenAPI document, the metric label `route` and `docs/api.md` all follow this table; tests
//! in `server` hold them together.

/// Where clients open WebSockets.
pub(crate) const SOCKET: &str = "/v1/socket";
/// The same events as Server-Sent Events.
pub(crate) const EVENTS: &str = "/v1/events";
/// The current state, and what a client missed.
pub(crate) const SYNC: &str = "/v1/sync";
/// The description of the API.
pub(crate) const OPENAPI: &str = "/v1/openapi.json";

/// All of them.
pub(crate) const ALL: [&str; 4] = [SOCKET, EVENTS, SYNC, OPENAPI];
