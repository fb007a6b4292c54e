//! Positions in a user's feed, and the rule by which a reader admits an event.
//!
//! A position has an epoch, because without one the loss of a feed would look like "nothing new". The rule is pure: the
//! host's delivery and the simulation both use it.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::limits::WITHOUT_FEED_TTL_MS;
use crate::time::Timestamp;

const EPOCH_BYTES_MAX: usize = 32;
/// The epoch of a position without a feed is this letter and a timestamp in ms. The epoch of a feed never begins with
/// it.
const WITHOUT_FEED: char = 'n';

/// A position in one user's feed. Its text form is `<epoch>:<offset>`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    /// Identifies one feed from its first event to its expiry; 1 to 32 bytes of `a-z` and `0-9`.
    pub epoch: Arc<str>,
    /// 1 for the first event of the feed, without gaps; 0 is the position before the first event.
    pub offset: u64,
}

/// The error for a text that is no position.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a position is <epoch>:<offset>, as `hello` and every durable event carry it")]
pub struct PositionError;

impl Position {
    /// The position of a client that connected at this time, when its user had no feed.
    pub fn without_feed(now: Timestamp) -> Self {
        Self { epoch: format!("{WITHOUT_FEED}{}", now.0).into(), offset: 0 }
    }

    /// The time at which [`Position::without_feed`] was taken; `None` for a position in a feed.
    pub fn without_feed_since(&self) -> Option<Timestamp> {
        self.epoch.strip_prefix(WITHOUT_FEED)?.parse().ok().map(Timestamp)
    }

    /// Whether this is a [`Position::without_feed`] so recent that its user was followed all the time, so that no feed
    /// can have begun and ended since. It is not recent if it lies in the future: then the clock was set back, and its
    /// age is unknown.
    pub fn is_recent_without_feed(&self, now: Timestamp) -> bool {
        self.without_feed_since().is_some_and(|taken| now.minus(WITHOUT_FEED_TTL_MS) < taken && taken <= now)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.epoch, self.offset)
    }
}

impl FromStr for Position {
    type Err = PositionError;

    fn from_str(text: &str) -> Result<Self, PositionError> {
        let (epoch, offset) = text.split_once(':').ok_or(PositionError)?;
        let clean = epoch.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        let digits = !offset.is_empty() && offset.bytes().all(|b| b.is_ascii_digit());
        if epoch.is_empty() || epoch.len() > EPOCH_BYTES_MAX || !clean || !digits {
            return Err(PositionError);
        }
        Ok(Self { epoch: epoch.into(), offset: offset.parse().map_err(|_| PositionError)? })
    }
}

impl JsonSchema for Position {
    fn schema_name() -> Cow<'static, str> {
        "Position".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        // An offset of 20 digits can exceed its type, and no feed gets that far.
        json_schema!({ "type": "string", "pattern": "^[a-z0-9]{1,32}:[0-9]{1,19}$" })
    }
}

/// What a reader does with an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// The next event: deliver it and advance the position.
    Next,
    /// The event was delivered before: drop it.
    Duplicate,
    /// Events are missing: replay from the reader's position before anything newer is delivered.
    Gap,
}

/// Decides about a live event at the position `event` for a reader who has delivered everything up to `reader`.
///
/// A new epoch means a new feed. Its first event is the next one, because an interrupted bus reports the interruption;
/// a later event of a new feed shows that events are missing.
pub fn admit(reader: &Position, event: &Position) -> Admission {
    if reader.epoch != event.epoch {
        return if event.offset == 1 { Admission::Next } else { Admission::Gap };
    }
    match event.offset {
        offset if offset <= reader.offset => Admission::Duplicate,
        offset if offset == reader.offset + 1 => Admission::Next,
        _ => Admission::Gap,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Position {
        text.parse().unwrap()
    }

    #[test]
    fn a_position_survives_its_text() {
        assert_eq!(at("k3f:17").to_string(), "k3f:17");
        for bad in ["", ":", "k3f", "k3f:", ":1", "K3F:1", "k3f:-1", "k3f:+1", "k3f:1:2", "k3f:99999999999999999999"] {
            assert_eq!(bad.parse::<Position>(), Err(PositionError), "{bad}");
        }
    }

    #[test]
    fn only_the_next_event_is_delivered() {
        assert_eq!(admit(&at("a:4"), &at("a:5")), Admission::Next);
        assert_eq!(admit(&at("a:4"), &at("a:4")), Admission::Duplicate);
        assert_eq!(admit(&at("a:4"), &at("a:6")), Admission::Gap);
        assert_eq!(admit(&at("a:4"), &at("b:1")), Admission::Next);
        assert_eq!(admit(&at("a:4"), &at("b:2")), Admission::Gap);
    }

    #[test]
    fn a_position_without_a_feed_is_recent_for_as_long_as_its_user_was_certainly_followed() {
        let position = Position::without_feed(Timestamp(1_000_000));
        assert_eq!(at(&position.to_string()), position);
        assert!(position.is_recent_without_feed(Timestamp(1_000_000 + WITHOUT_FEED_TTL_MS - 1)));
        assert!(!position.is_recent_without_feed(Timestamp(1_000_000 + WITHOUT_FEED_TTL_MS)));
        assert!(!position.is_recent_without_feed(Timestamp(999_999)));
        assert_eq!(at("a:4").without_feed_since(), None);
    }

    #[test]
    fn an_epoch_has_at_most_32_bytes() {
        let position = |length: usize| format!("{}:1", "e".repeat(length)).parse::<Position>();
        assert_eq!([1, EPOCH_BYTES_MAX].map(|length| position(length).is_ok()), [true, true]);
        assert_eq!([0, EPOCH_BYTES_MAX + 1].map(|length| position(length).is_ok()), [false, false]);
        assert_eq!(position(EPOCH_BYTES_MAX + 2), Err(PositionError));
    }
}
