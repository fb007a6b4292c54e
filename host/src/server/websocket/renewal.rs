//! The frame `token`: a new token for an open socket, so that a client with short tokens need not connect again. It
//! must be the same user's and must not end earlier; otherwise the socket goes on with the token that it has.

use std::time::{SystemTime, UNIX_EPOCH};

use roost_core::port::{Bus, Feeds};
use roost_core::time::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::frame::{self, ClientFrame};
use super::pending::{PendingAnswer, SocketAnswer};
use crate::ops::metrics;
use crate::runtime::dispatcher::Dispatcher;
use crate::server::auth::{Credentials, Identity};
use crate::server::problem::{ApiError, ErrorCode, encode};
use crate::server::session::ClientSession;
use crate::server::state::AppState;

/// The type of the frame.
pub(crate) const TOKEN: &str = "token";
/// The end of the year 9999, the last one that timestamps can express.
const LATEST: Timestamp = Timestamp(253_402_300_799_000);

/// The payload of `token`.
#[derive(Deserialize, JsonSchema)]
pub(crate) struct TokenPayload {
    /// A token of the socket's user that ends later than the one in use.
    token: String,
}

/// The payload of the answer.
#[derive(Debug, JsonSchema, Serialize)]
pub(crate) struct TokenAnswer {
    /// The time at which the host closes the socket if no other token is sent: `exp`, and the clock difference that is
    /// tolerated.
    expires_at: Timestamp,
}

/// A verified token, or why it was refused. The session decides whether it may replace the token in use, because other
/// renewals may have come before.
#[derive(Debug)]
pub(super) struct TokenRenewal {
    /// The id of the client's frame.
    pub(super) id: String,
    pub(super) trace: String,
    pub(super) offered: Result<Identity, ApiError>,
}

/// Verifies the token of a frame. It takes no place among the calls of the user: while another device of the user reads
/// nothing, and its answers keep these places, a socket must not end whose client renews the token in time.
pub(super) fn answer<F, S>(client: &ClientSession<F, S>, frame: &ClientFrame, trace: String) -> PendingAnswer
where
    F: Dispatcher,
    S: Bus + Feeds + 'static,
{
    let state = client.state.clone();
    let (id, payload) = (frame.id.clone(), frame.payload.clone());
    Box::pin(async move {
        metrics::FRAMES_IN.of([TOKEN]).inc();
        let offered = identify(&state, &payload).await;
        SocketAnswer::Renewal(TokenRenewal { id, trace, offered })
    })
}

/// The identity that the payload of a frame `token` proves.
pub(super) async fn identify<F, S>(state: &AppState<F, S>, payload: &str) -> Result<Identity, ApiError>
where
    F: Dispatcher,
    S: Bus + Feeds + 'static,
{
    // The text of serde's error could repeat the token.
    let detail = "the payload of `token` must be `{\"token\":\"<token>\"}`";
    let payload: TokenPayload =
        serde_json::from_str(payload).map_err(|_| ApiError::new(ErrorCode::InvalidPayload, detail))?;
    state.identify_credentials(&Credentials::of_frame(payload.token)).await
}

/// The identity after a renewal. An error if the offered one may not replace the current one.
pub(super) fn renewed(current: &Identity, offered: Identity) -> Result<Identity, ApiError> {
    if offered.user() != current.user() {
        return Err(ErrorCode::TokenOfAnotherUser.into());
    }
    match (current.expires_at(), offered.expires_at()) {
        (Some(current), Some(offered)) if offered >= current => {}
        (None, _) => {
            let detail = "the socket was opened with a service key and has no end; it needs no token";
            return Err(ApiError::new(ErrorCode::TokenEndsEarlier, detail));
        }
        _ => return Err(ErrorCode::TokenEndsEarlier.into()),
    }
    Ok(offered)
}

/// The frame that answers a `token` with this identity.
pub(super) fn ok_frame(id: &str, identity: &Identity) -> String {
    let expires_at = identity.expires_at().map_or(LATEST, timestamp).min(LATEST);
    frame::ok(id, &encode(&TokenAnswer { expires_at }))
}

fn timestamp(time: SystemTime) -> Timestamp {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::server::fake::user;

    fn identity(number: u128, seconds: u64) -> Identity {
        Identity::User { user: user(number), expires_at: UNIX_EPOCH + Duration::from_secs(seconds) }
    }

    #[test]
    fn a_token_of_the_same_user_that_does_not_end_earlier_replaces_the_current_one() {
        let current = identity(1, 100);
        for end in [100, 101] {
            assert_eq!(renewed(&current, identity(1, end)), Ok(identity(1, end)));
        }
        let code = |offered| renewed(&current, offered).unwrap_err().code.into_owned();
        assert_eq!(code(identity(1, 99)), "token_ends_earlier");
        assert_eq!(code(identity(2, 101)), "token_of_another_user");
        assert_eq!(code(Identity::Anonymous), "token_of_another_user");
        let service = Identity::Service { acting_for: Some(user(1)) };
        assert!(renewed(&service, identity(1, 101)).unwrap_err().is(ErrorCode::TokenEndsEarlier));
    }

    #[test]
    fn the_answer_names_the_end_even_if_it_is_very_late() {
        let answered = |seconds| ok_frame("7", &identity(1, seconds));
        let expected = r#"{"id":"7","type":"ok","payload":{"expires_at":"2026-09-21T14:13:20Z"}}"#;
        assert_eq!(answered(1_790_000_000), expected);
        assert!(answered(1 << 40).contains("9999-12-31T23:59:59Z"));
    }
}
