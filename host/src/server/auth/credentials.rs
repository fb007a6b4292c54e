//! Reads credentials from the headers and the query of a request. Nothing here checks whether they are valid.

use std::fmt;

use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL};

use crate::server::problem::{ApiError, ErrorCode};

/// The name of the socket protocol, as a WebSocket subprotocol.
pub(crate) const SUBPROTOCOL: &str = "roost.v1";
const USER_HEADER: &str = "roost-user";

/// The credentials of a request, not yet checked.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    /// From `Authorization: Bearer …`: a token or a service key.
    pub bearer: Option<String>,
    /// From `?token=` or the second subprotocol: a token. Never a service key, because addresses end up in logs.
    pub stream_token: Option<String>,
    /// From `Roost-User`: the user for whom a service acts.
    pub user_header: Option<String>,
}

impl fmt::Debug for Credentials {
    /// Shows which credentials there are and nothing of their content, so that they cannot reach a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |credential: &Option<String>| if credential.is_some() { "given" } else { "none" };
        f.debug_struct("Credentials")
            .field("bearer", &shown(&self.bearer))
            .field("stream_token", &shown(&self.stream_token))
            .field("user_header", &self.user_header)
            .finish()
    }
}

impl Credentials {
    /// A token from a frame of a socket. It is never taken for a service key.
    pub(crate) fn of_frame(token: String) -> Self {
        Self { stream_token: Some(token), ..Self::default() }
    }

    /// Reads the headers of a request.
    pub fn of_headers(headers: &HeaderMap) -> Result<Self, ApiError> {
        Ok(Self {
            bearer: single(headers, AUTHORIZATION.as_str())?.map(parse_bearer).transpose()?,
            stream_token: None,
            user_header: single(headers, USER_HEADER)?.map(str::to_owned),
        })
    }

    /// Reads the headers and the query of a request that opens a socket or a stream: a page cannot set headers there.
    pub(crate) fn of_stream(headers: &HeaderMap, query: &[(String, String)]) -> Result<Self, ApiError> {
        let mut credentials = Self::of_headers(headers)?;
        let queried = query.iter().find(|(name, _)| name == "token").map(|(_, token)| token.clone());
        credentials.stream_token = queried.or_else(|| subprotocol_token(headers));
        Ok(credentials)
    }

    /// The token to verify. The header takes precedence.
    pub(crate) fn token(&self) -> Option<&str> {
        self.bearer.as_deref().or(self.stream_token.as_deref())
    }
}

/// Parses an `Authorization` header. Public for the parser tests.
pub fn parse_bearer(value: &str) -> Result<String, ApiError> {
    let refused = || ApiError::new(ErrorCode::TokenInvalid, "the header `Authorization` must be `Bearer <token>`");
    let (scheme, token) = value.split_once(' ').ok_or_else(refused)?;
    let token = token.trim();
    if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() || token.contains(' ') {
        return Err(refused());
    }
    Ok(token.to_owned())
}

/// Whether the offered subprotocols name `roost.v1`, and the token that follows it. Public for the parser tests.
pub fn parse_subprotocols(value: &str) -> (bool, Option<String>) {
    let mut offered = value.split(',').map(str::trim).filter(|name| !name.is_empty());
    let named = offered.by_ref().any(|name| name == SUBPROTOCOL);
    (named, offered.next().map(str::to_owned))
}

fn subprotocol_token(headers: &HeaderMap) -> Option<String> {
    // A client may send the list in several header lines.
    let lines = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    parse_subprotocols(&lines.collect::<Vec<_>>().join(",")).1
}

/// The value of a header that may occur once: with two of them, a proxy and this host could see different callers.
fn single<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, ApiError> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let text = value.to_str().ok().filter(|_| values.next().is_none());
    let detail = || format!("the header `{name}` must be sent once, in ASCII");
    text.map(Some).ok_or_else(|| ApiError::new(ErrorCode::TokenInvalid, detail()))
}
