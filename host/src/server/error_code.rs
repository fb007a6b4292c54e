//! The error codes of the host, in one table. A code is stable once it is published; titles and details are for people.

/// What clients are told about an error code.
#[derive(Clone, Copy, Debug)]
pub struct ErrorSpec {
    /// The code that clients branch on.
    pub code: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// A title, the same for every occurrence.
    pub title: &'static str,
    /// What is allowed and what to do next, where an occurrence has nothing more precise to say.
    pub detail: &'static str,
    /// Whether trying the same again can help.
    pub retry: bool,
}

macro_rules! error_codes {
    ($($name:ident = $status:literal $code:literal, retry $retry:literal, $title:literal, $detail:literal;)+) => {
        /// Every error that the host itself reports.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[allow(missing_docs, reason = "the table says what each means")]
        pub enum ErrorCode {
            $($name,)+
        }

        impl ErrorCode {
            #[cfg(test)]
            pub(crate) const ALL: &[Self] = &[$(Self::$name),+];

            /// What clients are told about this code.
            pub(crate) const fn spec(self) -> ErrorSpec {
                match self {
                    $(Self::$name => {
                        ErrorSpec { code: $code, status: $status, title: $title, detail: $detail, retry: $retry }
                    })+
                }
            }
        }
    };
}

error_codes! {
    Unauthenticated = 401 "unauthenticated", retry false, "The request shows no token",
        "send the header `Authorization: Bearer <token>`";
    TokenInvalid = 401 "token_invalid", retry false, "The token is not valid",
        "the token cannot be verified; sign in again for a new one";
    TokenExpired = 401 "token_expired", retry false, "The token has expired",
        "the token has expired; sign in again, and use the new token";
    TokenNotYetValid = 401 "token_not_yet_valid", retry true, "The token is not valid yet",
        "the token's `nbf` lies in the future; use the token later, and check the clock of its issuer";
    TokenAudience = 401 "token_audience", retry false, "The token is meant for somebody else",
        "the token's `aud` does not name this service; ask the issuer for a token that does";
    TokenIssuer = 401 "token_issuer", retry false, "The token comes from somebody else",
        "the token's `iss` is not the issuer that this service trusts; use a token of that issuer";
    TokenKeysUnavailable = 503 "token_keys_unavailable", retry true, "The keys that verify tokens cannot be read",
        "the token names a key that is not known, and the issuer's keys cannot be read at present; try again later";
    TokenOfAnotherUser = 403 "token_of_another_user", retry false, "The token is another user's",
        "a socket belongs to one user; send a token of that user, or open another socket";
    TokenEndsEarlier = 409 "token_ends_earlier", retry false, "The token ends before the one in use",
        "a socket is only prolonged; send a token whose `exp` is later";
    UserRequired = 400 "user_required", retry false, "The request needs a user",
        "this route needs a user: send a user's token, or `Roost-User: <user id>` with the service key";
    UserHeaderInvalid = 400 "user_header_invalid", retry false, "The header Roost-User is no user id",
        "`Roost-User` must be a user's UUID, such as 6f1c1fd4-3c5b-4a8e-9d1a-0c6a2f1b7e55";
    UserHeaderRefused = 403 "user_header_refused", retry false, "Only a service may name a user",
        "a user's token names its user already; send `Roost-User` only with a service key";
    ServiceOnly = 403 "service_only", retry false, "Only a service may do this",
        "this route is for backends; send a service key instead of a user's token";
    OriginNotAllowed = 403 "origin_not_allowed", retry false, "The page's origin is not allowed",
        "pages of this origin may not connect; the operator lists the allowed ones in `allowed_origins`";
    NotFound = 404 "route_not_found", retry false, "No such route",
        "no route has this path; GET /v1/openapi.json lists the routes";
    MethodNotAllowed = 405 "method_not_allowed", retry false, "The route has other methods",
        "the header `Allow` lists the methods of this path";
    UpgradeRequired = 426 "upgrade_required", retry false, "The route speaks WebSocket",
        "connect with a WebSocket client; GET /v1/events streams the same events without one";
    InvalidHost = 400 "invalid_host", retry false, "The request must name its host once",
        "send exactly one header `Host`, as HTTP/1.1 requires";
    InvalidUpgrade = 400 "invalid_upgrade", retry false, "The WebSocket handshake is not valid",
        "the WebSocket handshake is not complete; connect with a WebSocket client";
    InvalidPath = 400 "invalid_path", retry false, "The path is not valid",
        "a part of the path does not have the form that the route needs";
    InvalidQuery = 400 "invalid_query", retry false, "The query is not valid",
        "the query must be `name=value` pairs, percent-encoded, with `&` between them";
    InvalidSince = 400 "invalid_since", retry false, "The position is not valid",
        "a position is `<epoch>:<offset>`, as `hello` and every durable event carry it";
    InvalidBody = 400 "invalid_body", retry false, "The body cannot be read",
        "the body ended early; send the request again with its whole body";
    UnsupportedMediaType = 415 "unsupported_media_type", retry false, "Bodies are JSON",
        "send JSON with `Content-Type: application/json`";
    BodyTooLarge = 413 "body_too_large", retry false, "The body is too large",
        "send a smaller body";
    ReadTimeout = 408 "read_timeout", retry true, "The request took too long to arrive",
        "the body did not arrive in time; send the request again";
    InvalidFrame = 400 "invalid_frame", retry false, "The frame is not valid",
        "a frame is one JSON object, such as {\"id\":\"7\",\"type\":\"sync\"}";
    IdRequired = 400 "id_required", retry false, "The frame needs an id",
        "`id` must be a string; the answer to the frame repeats it";
    TypeRequired = 400 "type_required", retry false, "The frame needs a type",
        "`type` must be a string, such as `message.send`";
    UnknownType = 404 "unknown_type", retry false, "No function answers frames of this type",
        "check the spelling of `type`, and that the function which answers it is deployed";
    InvalidPayload = 400 "invalid_payload", retry false, "The frame's payload is not valid",
        "the payload does not have the form that frames of this type need";
    TooManyRequests = 503 "too_many_requests", retry true, "The host has all the requests it can take",
        "the host works on as many requests as it can; send the request again later";
    TooManyConnections = 503 "too_many_connections", retry true, "The host has all the connections it can take",
        "the host has as many connections as it can; connect again later";
    TooManyConnectionsOfUser = 429 "too_many_connections_of_user", retry true, "The user has too many connections",
        "close another connection of this user first";
    SlowClient = 503 "slow_client", retry true, "The client does not read what it is sent",
        "too many events waited for the client; connect again with its last position, and read faster";
    Disconnected = 403 "disconnected", retry false, "A service has closed the connections of this user",
        "a service has closed the connections of this user; do not connect again before the user does so";
    Draining = 503 "draining", retry true, "The host is stopping",
        "the host is stopping; connect again with the last position";
    StoreUnavailable = 503 "store_unavailable", retry true, "The store does not answer",
        "the store does not answer; try again later";
    Busy = 503 "busy", retry true, "The function has all the calls it can take",
        "the function works on as many calls as it can; try again later";
    FunctionFailed = 502 "function_failed", retry false, "The function failed",
        "the function failed; the operator's log has the reason under the id in `trace`";
    FunctionTimeout = 504 "function_timeout", retry true, "The function took too long",
        "the function did not answer in time; try again, or ask for less at once";
    ReplyTooLarge = 502 "reply_too_large", retry false, "The function's reply was too large",
        "the function's reply was larger than the host allows; ask for less at once";
    RateLimited = 429 "rate_limited", retry true, "The user asks too much at once",
        "wait for the time that `retry_after_ms` says, and ask less often";
    TooManyConnects = 503 "too_many_connects", retry true, "More clients connect at once than the host admits",
        "connect again after the time that `retry_after_ms` says, with the last position";
    Internal = 500 "internal", retry false, "Something went wrong",
        "the host could not do this; the operator's log has the reason under the id in `trace`";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_code_is_in_the_table_once() {
        let codes: BTreeSet<&str> = ErrorCode::ALL.iter().map(|code| code.spec().code).collect();
        assert_eq!(codes.len(), ErrorCode::ALL.len());
        assert!(codes.iter().all(|code| code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')));
    }
}
