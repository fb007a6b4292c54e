//! Timestamps in milliseconds and their wire form, RFC 3339 in UTC. This module never reads a clock.

use std::borrow::Cow;
use std::fmt;

use ::time::OffsetDateTime;
use ::time::format_description::well_known::Rfc3339;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Milliseconds since the Unix epoch. Its wire form is RFC 3339 in UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// The timestamp so many milliseconds later; saturates.
    pub const fn plus(self, span_ms: u64) -> Self {
        Self(self.0.saturating_add(span_ms))
    }

    /// The timestamp so many milliseconds earlier, but not before the Unix epoch.
    pub const fn minus(self, span_ms: u64) -> Self {
        Self(self.0.saturating_sub(span_ms))
    }

    /// Whole seconds since the Unix epoch.
    pub const fn seconds(self) -> u64 {
        self.0 / 1_000
    }

    /// Creates a timestamp from whole seconds since the Unix epoch.
    pub const fn from_seconds(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1_000))
    }

    /// The timestamp as the score of an ordered set.
    pub fn score(self) -> i64 {
        i64::try_from(self.0).unwrap_or(i64::MAX)
    }

    /// Parses RFC 3339; `None` for any other text and for a time before the Unix epoch.
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        let parsed = OffsetDateTime::parse(text, &Rfc3339).ok()?;
        let seconds = u64::try_from(parsed.unix_timestamp()).ok()?;
        Some(Self(seconds.checked_mul(1_000)?.checked_add(u64::from(parsed.millisecond()))?))
    }

    /// The wire form; `None` after the year 9999. Nanoseconds are avoided, because their 128 bits are slow to divide on
    /// a 32-bit machine.
    pub(crate) fn rfc3339(self) -> Option<String> {
        let second = OffsetDateTime::from_unix_timestamp(i64::try_from(self.seconds()).ok()?).ok()?;
        let precise = second.replace_millisecond(u16::try_from(self.0 % 1_000).ok()?).ok()?;
        let mut text = Vec::with_capacity("2026-09-21T14:13:20.123Z".len());
        precise.format_into(&mut text, &Rfc3339).ok()?;
        String::from_utf8(text).ok()
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.rfc3339().ok_or(fmt::Error)?)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // `collect_str` would panic on a formatting error; years after 9999 have no RFC 3339 form.
        let text = self.rfc3339().ok_or_else(|| serde::ser::Error::custom("a timestamp after the year 9999"))?;
        serializer.serialize_str(&text)
    }
}

impl JsonSchema for Timestamp {
    fn schema_name() -> Cow<'static, str> {
        "Timestamp".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "date-time" })
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse_rfc3339(&text).ok_or_else(|| {
            serde::de::Error::custom("expected a timestamp in RFC 3339 since 1970, such as 2026-09-21T14:13:20.123Z")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_survives_its_wire_form() {
        let timestamp = Timestamp(1_790_000_000_123);
        assert_eq!(timestamp.to_string(), "2026-09-21T14:13:20.123Z");
        assert_eq!(Timestamp::parse_rfc3339(&timestamp.to_string()), Some(timestamp));
        assert_eq!(serde_json::to_string(&timestamp).unwrap(), "\"2026-09-21T14:13:20.123Z\"");
        assert_eq!(serde_json::from_str::<Timestamp>("\"2026-09-21T16:13:20.123+02:00\"").unwrap(), timestamp);
        assert_eq!(Timestamp::parse_rfc3339("yesterday"), None);
        assert_eq!(Timestamp(1_790_000_000_000).to_string(), "2026-09-21T14:13:20Z");
        assert!(serde_json::to_string(&Timestamp(u64::MAX)).is_err());
        assert!(serde_json::from_str::<Timestamp>("\"1969-12-31T23:59:59Z\"").is_err());
    }

    #[test]
    fn a_score_is_the_time_in_milliseconds() {
        assert_eq!((Timestamp(0).score(), Timestamp(1_790).score()), (0, 1_790));
        assert_eq!(Timestamp(u64::MAX).score(), i64::MAX);
    }
}
