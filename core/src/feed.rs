//! Positions in a user's feed, and what a reader does with an event at one.
//!
//! A position needs an epoch, or lost data looks like "nothing new". The reader's rule is pure: the host's hub and
//! the simulator both follow it.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::limits::FEED_TTL_MS;
use crate::time::Timestamp;

const EPOCH_BYTES_MAX: usize = 32;
/// An epoch of no feed: this letter and the moment in ms. Real epochs never begin with it.
const NOWHERE: char = 'n';

/// A place in one user's feed. Text form: `<epoch>:<offset>`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    /// Names one life of the feed; 1 to 32 bytes of `a-z` and `0-9`.
    pub epoch: Arc<str>,
    /// 1 for the feed's first event, without gaps; 0 stands before it.
    pub offset: u64,
}

/// Why a text is no position.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a position is <epoch>:<offset>, as `hello` and every durable event carry it")]
pub struct PositionError;

impl Position {
    /// The place of somebody who looked at this moment and found no feed.
    pub fn nowhere(now: Timestamp) -> Self {
        Self { epoch: format!("{NOWHERE}{}", now.0).into(), offset: 0 }
    }

    /// When [`Position::nowhere`] was taken; `None` for a place in a real feed.
    pub fn nowhere_since(&self) -> Option<Timestamp> {
        self.epoch.strip_prefix(NOWHERE)?.parse().ok().map(Timestamp)
    }

    /// Whether a feed that begins now could still tell everything since this place was taken. Not if the moment is still
    /// to come: then the clock was set back, and nobody knows how long ago it was.
    pub fn nowhere_is_recent(&self, now: Timestamp) -> bool {
        self.nowhere_since().is_some_and(|moment| now.minus(FEED_TTL_MS) < moment && moment <= now)
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

/// What a reader at one position does with an event at another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// The next one: deliver it and move on.
    Next,
    /// Delivered before: drop it.
    Duplicate,
    /// Some are missing: replay from the reader's position before anything newer.
    Hole,
}

/// Decides about an event that arrives live at `event` for a reader who delivered everything up to `reader`.
///
/// A new epoch is a new feed. Its first event simply goes on, because a bus that was cut off says so; a later one
/// shows that something is missing.
pub fn admit(reader: &Position, event: &Position) -> Admission {
    if reader.epoch != event.epoch {
        return if event.offset == 1 { Admission::Next } else { Admission::Hole };
    }
    match event.offset {
        offset if offset <= reader.offset => Admission::Duplicate,
        offset if offset == reader.offset + 1 => Admission::Next,
        _ => Admission::Hole,
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
        assert_eq!(admit(&at("a:4"), &at("a:6")), Admission::Hole);
        assert_eq!(admit(&at("a:4"), &at("b:1")), Admission::Next);
        assert_eq!(admit(&at("a:4"), &at("b:2")), Admission::Hole);
    }

    #[test]
    fn nowhere_remembers_its_moment() {
        let position = Position::nowhere(Timestamp(1_000_000));
        assert_eq!(at(&position.to_string()), position);
        assert!(position.nowhere_is_recent(Timestamp(1_000_000 + FEED_TTL_MS - 1)));
        assert!(!position.nowhere_is_recent(Timestamp(1_000_000 + FEED_TTL_MS)));
        assert!(!position.nowhere_is_recent(Timestamp(999_999)));
        assert_eq!(at("a:4").nowhere_since(), None);
    }
}
