//! What handlers are given: an HTTP request, a socket frame, a connection, a client that comes back.
//!
//! Reading a part of it either gives the type asked for or the refusal that the caller is told.

use std::fmt::Display;
use std::str::FromStr;

use roost_core::ids::{ConnectionId, ConversationId, UserId};
use roost_core::limits::{PAGE_DEFAULT, PAGE_MAX};
use serde::de::DeserializeOwned;

use crate::failure::Failure;
use crate::json;

/// On whose behalf a call is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// A user, or a service that names one.
    User(UserId),
    /// A service on its own.
    Service,
    /// Nobody showed anything.
    Anonymous,
    /// The host itself.
    Host,
}

/// An HTTP request to one of the function's routes.
#[derive(Clone, Debug)]
pub struct Request {
    /// Who asks.
    pub caller: Caller,
    pub(crate) parameters: Vec<(String, String)>,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// The user asking; a service on its own is told to name one.
    pub fn user(&self) -> Result<UserId, Failure> {
        match self.caller {
            Caller::User(user) => Ok(user),
            Caller::Service | Caller::Anonymous | Caller::Host => Err(Failure::user_required()),
        }
    }

    /// The path's part that the route names so.
    pub fn parameter<T: FromStr<Err: Display>>(&self, name: &str) -> Result<T, Failure> {
        let (_, text) = self
            .parameters
            .iter()
            .find(|(known, _)| known == name)
            .ok_or_else(|| Failure::internal(format!("the route has no parameter {name}")))?;
        text.parse().map_err(|error| Failure::invalid(format!("path parameter `{name}`: {error}")))
    }

    /// The query's value of this name, if there is one.
    pub fn query<T: FromStr<Err: Display>>(&self, name: &str) -> Result<Option<T>, Failure> {
        let mut values = self.query.iter().filter(|(known, _)| known == name).map(|(_, value)| value);
        let Some(text) = values.next() else {
            return Ok(None);
        };
        if values.next().is_some() {
            return Err(Failure::invalid(format!("query parameter `{name}` stands there twice")));
        }
        text.parse().map(Some).map_err(|error| Failure::invalid(format!("query parameter `{name}`: {error}")))
    }

    /// How many entries a page shall have: `limit`, or the default.
    pub fn limit(&self) -> Result<u32, Failure> {
        match self.query::<u32>("limit") {
            Ok(None) => Ok(PAGE_DEFAULT),
            Ok(Some(limit)) if (1..=PAGE_MAX).contains(&limit) => Ok(limit),
            _ => Err(Failure::invalid(format!("query parameter `limit`: expected one number from 1 to {PAGE_MAX}"))),
        }
    }

    /// The body, an object. An empty body is one without fields.
    pub fn body<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        json::object("the body", &self.body)
    }
}

/// A frame that a user's device sent over its socket.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Whose device.
    pub user: UserId,
    /// Which one.
    pub connection: ConnectionId,
    pub(crate) payload: String,
}

impl Frame {
    /// The payload, an object. A frame without one is read as one without fields.
    pub fn payload<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        json::object("the payload", self.payload.as_bytes())
    }
}

/// A user's connection that opened, lives or is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Whose.
    pub user: UserId,
    /// Which.
    pub id: ConnectionId,
}

/// A client that wants to know how things stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sync {
    /// Whose.
    pub user: UserId,
    /// Conversations it missed something in; `None`: unknown.
    pub conversations: Option<Vec<ConversationId>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(query: &[(&str, &str)]) -> Request {
        Request {
            caller: Caller::Service,
            parameters: vec![("user".to_owned(), "somebody".to_owned())],
            query: query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            body: Vec::new(),
        }
    }

    #[test]
    fn a_limit_is_1_to_100_and_50_when_unsaid() {
        assert_eq!(request(&[]).limit(), Ok(50));
        assert_eq!(request(&[("limit", "1")]).limit(), Ok(1));
        assert_eq!(request(&[("limit", "100")]).limit(), Ok(100));
        let refused = [&[("limit", "0")][..], &[("limit", "101")], &[("limit", "-1")], &[("limit", "")]];
        for query in refused.into_iter().chain([&[("limit", "1"), ("limit", "2")][..]]) {
            let failure = request(query).limit().unwrap_err();
            assert_eq!(failure.message, "query parameter `limit`: expected one number from 1 to 100", "{query:?}");
        }
    }

    #[test]
    fn a_path_parameter_that_is_no_id_is_named() {
        let failure = request(&[]).parameter::<UserId>("user").unwrap_err();
        assert!(failure.message.starts_with("path parameter `user`: not a UUID"), "{}", failure.message);
    }

    #[test]
    fn a_query_number_that_is_none_is_named() {
        let failure = request(&[("before", "x")]).query::<u64>("before").unwrap_err();
        assert_eq!(failure.message, "query parameter `before`: invalid digit found in string");
        assert_eq!(request(&[]).query::<u64>("before"), Ok(None));
    }

    #[test]
    fn a_service_on_its_own_is_told_to_name_a_user() {
        let failure = request(&[]).user().unwrap_err();
        assert_eq!(failure.code, "user_required");
        assert!(failure.message.contains("Roost-User"));
    }
}
