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
/// The description of the HTTP routes.
pub(crate) const OPENAPI: &str = "/v1/openapi.json";
/// The description of the socket's frames and events.
pub(crate) const ASYNCAPI: &str = "/v1/asyncapi.json";
/// Where a backend closes the connections of a user.
pub(crate) const CONNECTIONS: &str = "/v1/users/{user}/connections";

/// All of them.
pub(crate) const ALL: [&str; 6] = [SOCKET, EVENTS, SYNC, OPENAPI, ASYNCAPI, CONNECTIONS];

/// The host's path that a request with this path, or a route with this template, is for.
pub(crate) fn find(path: &str) -> Option<&'static str> {
    ALL.into_iter().find(|own| fits(own, path))
}

/// The method of one of these paths. Every `GET` is answered as `HEAD` too.
pub(crate) fn method(own: &str) -> &'static str {
    if own == CONNECTIONS { "DELETE" } else { "GET" }
}

fn fits(own: &str, path: &str) -> bool {
    let (mut own, mut path) = (own.split('/'), path.split('/'));
    loop {
        match (own.next(), path.next()) {
            (None, None) => return true,
            (Some(own), Some(part)) if own == part || (own.starts_with('{') && !part.is_empty()) => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_templates_of_the_host_are_found() {
        for path in ALL {
            assert_eq!(find(path), Some(path));
        }
        for path in ["/v1/users/7/connections", "/v1/users/{id}/connections"] {
            assert_eq!(find(path), Some(CONNECTIONS), "{path}");
        }
        for path in ["", "/", "/v1/users/7", "/v1/users//connections", "/v1/users/7/connections/", "/v1/sync/7"] {
            assert_eq!(find(path), None, "{path}");
        }
    }
}
