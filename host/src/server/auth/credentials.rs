//! Where credentials stand in a request. Reads headers and query; judges nothing.

use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL};

use crate::server::problem::{ApiError, Code};

/// The socket protocol's name, as subprotocol.
pub const SUBPROTOCOL: &str = "roost.v1";
const USER_HEADER: &str = "roost-user";

/// What a request shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    /// From `Authorization: Bearer …`: a token or a service key.
    pub header: Option<String>,
    /// From `?token=` or the second subprotocol: a token. Never a service key: addresses end in logs.
    pub elsewhere: Option<String>,
    /// From `Roost-User`.
    pub user_header: Option<String>,
}

impl Credentials {
    /// From a request's headers.
    pub fn of_headers(headers: &HeaderMap) -> Result<Self, ApiError> {
        Ok(Self {
            header: single(headers, AUTHORIZATION.as_str())?.map(parse_bearer).transpose()?,
            elsewhere: None,
            user_header: single(headers, USER_HEADER)?.map(str::to_owned),
        })
    }

    /// From the headers of a request that opens a stream, where a page cannot set headers.
    pub fn of_stream(headers: &HeaderMap, query: &[(String, String)]) -> Result<Self, ApiError> {
        let mut credentials = Self::of_headers(headers)?;
        let queried = query.iter().find(|(name, _)| name == "token").map(|(_, token)| token.clone());
        credentials.elsewhere = queried.or_else(|| subprotocol_token(headers));
        Ok(credentials)
    }

    /// The token to verify: the header's before any other.
    pub fn token(&self) -> Option<&str> {
        self.header.as_deref().or(self.elsewhere.as_deref())
    }
}

/// The token of an `Authorization` header.
pub fn parse_bearer(value: &str) -> Result<String, ApiError> {
    let refused = || ApiError::new(Code::TokenInvalid, "the header Authorization is `Bearer <token>`");
    let (scheme, token) = value.split_once(' ').ok_or_else(refused)?;
    let token = token.trim();
    if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() || token.contains(' ') {
        return Err(refused());
    }
    Ok(token.to_owned())
}

/// Whether the offered subprotocols name `roost.v1`, and the token that stands after it.
pub fn parse_subprotocols(value: &str) -> (bool, Option<String>) {
    let mut offered = value.split(',').map(str::trim).filter(|name| !name.is_empty());
    let named = offered.by_ref().any(|name| name == SUBPROTOCOL);
    (named, offered.next().map(str::to_owned))
}

fn subprotocol_token(headers: &HeaderMap) -> Option<String> {
    // A client may spread the list over several header lines; it is one list.
    let lines = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    parse_subprotocols(&lines.collect::<Vec<_>>().join(",")).1
}

/// A header that may stand once; two of them would let two readers see two different callers.
fn single<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, ApiError> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let text = value.to_str().ok().filter(|_| values.next().is_none());
    text.map(Some).ok_or_else(|| ApiError::new(Code::TokenInvalid, format!("the header {name} stands once, in ASCII")))
}
