//! What handlers receive: an HTTP request, a socket message, a connection, a client's request to synchronise, the
//! publication of an event.
//!
//! Each accessor parses one part of the input and returns it in the requested type, or the failure that the caller
//! gets.

use std::fmt::Display;
use std::str::FromStr;

use roost_core::ids::{ConnectionId, ConversationId, UserId};
use serde::de::DeserializeOwned;

use crate::failure::Failure;
use crate::json;
use crate::parameter::{LIMIT, Limit, PathParameter, QueryParameter};

/// On whose behalf a call is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// A user, or a service that acts for one.
    User(UserId),
    /// A service that acts for itself.
    Service,
    /// A caller without credentials; only public routes have such callers.
    Anonymous,
    /// The host itself: hooks, schedules and publications.
    Host,
}

/// An HTTP request to one of the function's routes.
#[derive(Clone, Debug)]
pub struct Request {
    /// Who sent the request.
    pub caller: Caller,
    pub(crate) parameters: Vec<(String, String)>,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// The user on whose behalf the request is made. A service that acts for itself is told to name a user.
    pub fn user(&self) -> Result<UserId, Failure> {
        match self.caller {
            Caller::User(user) => Ok(user),
            Caller::Service | Caller::Anonymous | Caller::Host => Err(Failure::user_required()),
        }
    }

    /// A parameter of the route's path.
    pub fn path<T: FromStr<Err: Display>>(&self, parameter: PathParameter<T>) -> Result<T, Failure> {
        let name = parameter.name;
        let (_, text) = self
            .parameters
            .iter()
            .find(|(known, _)| known == name)
            .ok_or_else(|| Failure::internal(format!("the route has no path parameter {name}")))?;
        text.parse().map_err(|error| Failure::invalid(format!("path parameter `{name}`: {error}")))
    }

    /// A parameter of the query string; `None` if the caller left it out.
    pub fn query<T: FromStr<Err: Display>>(&self, parameter: QueryParameter<T>) -> Result<Option<T>, Failure> {
        let name = parameter.name;
        let mut values = self.query.iter().filter(|(known, _)| known == name).map(|(_, value)| value);
        let Some(text) = values.next() else {
            return Ok(None);
        };
        if values.next().is_some() {
            return Err(Failure::invalid(format!("query parameter `{name}` is given more than once; send it once")));
        }
        text.parse().map(Some).map_err(|error| Failure::invalid(format!("query parameter `{name}`: {error}")))
    }

    /// How many entries a page has at most: the query parameter `limit`, or the default.
    pub fn limit(&self) -> Result<u32, Failure> {
        let Limit(limit) = self.query(LIMIT)?.unwrap_or_default();
        Ok(limit)
    }

    /// The body, a JSON object. An empty body is read as an object without fields.
    pub fn body<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        let body = if self.body.is_empty() { b"{}" } else { self.body.as_slice() };
        json::object("the body", body)
    }
}

/// A message that a client sent over its socket.
#[derive(Clone, Debug)]
pub struct SocketMessage {
    /// The user whose token opened the socket.
    pub user: UserId,
    /// The connection that the message came from.
    pub connection: ConnectionId,
    pub(crate) payload: String,
}

impl SocketMessage {
    /// The payload, a JSON object. A message without a payload is read as one with an object without fields.
    pub fn payload<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        let payload = if self.payload == "null" { "{}" } else { &self.payload };
        json::object("the payload", payload.as_bytes())
    }
}

/// A user's connection: a socket or an event stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// The user whose token opened the connection.
    pub user: UserId,
    /// The connection's id, unique over all hosts.
    pub id: ConnectionId,
}

/// A client's request for the present state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncRequest {
    /// The client's user.
    pub user: UserId,
    /// The conversations in which the client missed events; `None` if that is unknown.
    pub conversations: Option<Vec<ConversationId>>,
}

/// The publication of an event by another function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// The same whenever the function is called for this publication: a call can be repeated. For a change of a
    /// conversation it is `<conversation>.<sequence>`.
    pub id: String,
    /// The type of the event.
    pub name: String,
    /// The users to whom the event was published; for a change of a conversation its present members.
    pub users: Vec<UserId>,
    /// The number of this attempt, from 1.
    pub attempt: u32,
    pub(crate) payload: String,
}

impl Published {
    /// The payload, a JSON object. An event with another payload, or without a field that is needed, is a failure that
    /// is not repeated.
    pub fn payload<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        json::object("the payload", self.payload.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USER: PathParameter<UserId> = PathParameter::new("user");
    const BEFORE: QueryParameter<u64> = QueryParameter::new("before");

    fn request(query: &[(&str, &str)]) -> Request {
        Request {
            caller: Caller::Service,
            parameters: vec![("user".to_owned(), "somebody".to_owned())],
            query: query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            body: Vec::new(),
        }
    }

    #[test]
    fn a_limit_is_1_to_100_and_50_by_default() {
        assert_eq!(request(&[]).limit(), Ok(50));
        assert_eq!(request(&[("limit", "1")]).limit(), Ok(1));
        assert_eq!(request(&[("limit", "100")]).limit(), Ok(100));
        for value in ["0", "101", "-1", ""] {
            let failure = request(&[("limit", value)]).limit().unwrap_err();
            assert_eq!(failure.message, "query parameter `limit`: expected a number from 1 to 100", "{value}");
        }
    }

    #[test]
    fn a_query_parameter_given_twice_is_refused() {
        let failure = request(&[("limit", "1"), ("limit", "2")]).limit().unwrap_err();
        assert_eq!(failure.message, "query parameter `limit` is given more than once; send it once");
    }

    #[test]
    fn an_invalid_path_parameter_is_named() {
        let failure = request(&[]).path(USER).unwrap_err();
        assert!(failure.message.starts_with("path parameter `user`: not a UUID"), "{}", failure.message);
    }

    #[test]
    fn an_invalid_query_parameter_is_named() {
        let failure = request(&[("before", "x")]).query(BEFORE).unwrap_err();
        assert_eq!(failure.message, "query parameter `before`: invalid digit found in string");
        assert_eq!(request(&[]).query(BEFORE), Ok(None));
    }

    #[test]
    fn an_empty_body_and_a_missing_payload_are_objects_without_fields() {
        #[derive(Debug, PartialEq, serde::Deserialize)]
        struct Empty {}
        let with_body = |body: &str| Request { body: body.into(), ..request(&[]) };
        assert_eq!(request(&[]).body(), Ok(Empty {}));
        assert!(with_body("null").body::<Empty>().is_err(), "null is not an object");
        let message = |payload: &str| SocketMessage {
            user: UserId::from_u128(7),
            connection: "c1".parse().unwrap(),
            payload: payload.to_owned(),
        };
        assert_eq!(message("null").payload(), Ok(Empty {}));
        assert!(message("[]").payload::<Empty>().is_err());
    }

    #[test]
    fn a_service_that_acts_for_itself_is_asked_to_name_a_user() {
        let failure = request(&[]).user().unwrap_err();
        assert_eq!(failure.code, "user_required");
        assert!(failure.message.contains("Roost-User"));
    }
}
