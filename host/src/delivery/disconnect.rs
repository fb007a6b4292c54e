//! The order to close every connection of a user. It is an event on the user's channel, so that it reaches every host
//! with a connection of the user; hosts carry it out, and no client receives it.

use std::sync::Arc;

use roost_core::port::Event;
use serde::{Deserialize, Serialize};

use crate::server::problem::encode;

/// The name of the event. Its first part is reserved, so that only the host publishes it.
pub(super) const DISCONNECT: &str = "server.disconnect";
/// The most bytes of a reason: it has to fit into a close frame.
pub(crate) const REASON_BYTES_MAX: usize = 100;
/// The reason if none is given.
const DEFAULT_REASON: &str = "disconnected";

/// Why a service closes the connections of a user: a short text, which their clients receive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DisconnectReason(Arc<str>);

#[derive(Deserialize, Serialize)]
struct DisconnectPayload<'a> {
    #[serde(borrow)]
    reason: std::borrow::Cow<'a, str>,
}

impl DisconnectReason {
    /// A reason of 1 to [`REASON_BYTES_MAX`] bytes without control characters.
    pub(crate) fn of(text: &str) -> Option<Self> {
        let is_allowed = (1..=REASON_BYTES_MAX).contains(&text.len()) && !text.chars().any(char::is_control);
        is_allowed.then(|| Self(text.into()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The order with this reason.
    pub(super) fn event(&self) -> Event {
        let payload = encode(&DisconnectPayload { reason: self.as_str().into() });
        Event { name: DISCONNECT.into(), payload: payload.into(), durable: false }
    }

    /// The reason of an order. One that cannot be read is carried out all the same.
    pub(super) fn of_payload(payload: &str) -> Self {
        let read = serde_json::from_str::<DisconnectPayload<'_>>(payload).ok();
        read.and_then(|payload| Self::of(&payload.reason)).unwrap_or_default()
    }
}

impl Default for DisconnectReason {
    fn default() -> Self {
        Self(DEFAULT_REASON.into())
    }
}

#[cfg(test)]
mod tests {
    use roost_core::event::is_reserved;

    use super::*;

    #[test]
    fn a_reason_survives_the_channel_and_is_bounded() {
        for text in ["banned", "Zum \"Ausschluß\" \\ geführt", &"x".repeat(REASON_BYTES_MAX)] {
            let reason = DisconnectReason::of(text).unwrap();
            assert_eq!(DisconnectReason::of_payload(&reason.event().payload), reason);
        }
        for text in ["", "two\nlines", &"x".repeat(REASON_BYTES_MAX + 1), &"ß".repeat(REASON_BYTES_MAX / 2 + 1)] {
            assert_eq!(DisconnectReason::of(text), None, "{text}");
        }
    }

    #[test]
    fn an_order_that_cannot_be_read_has_the_default_reason_and_no_function_publishes_one() {
        for payload in ["", "{}", "{\"reason\":7}", "{\"reason\":\"\"}"] {
            assert_eq!(DisconnectReason::of_payload(payload), DisconnectReason::default(), "{payload}");
        }
        assert!(is_reserved(DISCONNECT));
    }
}
