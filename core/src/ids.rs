//! Typed identifiers, so that a user id cannot be used as a conversation id by mistake.
//!
//! Users, conversations and messages are UUIDs. The host chooses the text of a connection id. A sequence number counts
//! the changes of one conversation from 1.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use uuid::Uuid;

use crate::limits::CONNECTION_ID_BYTES_MAX;

/// The length of a UUID's text with hyphens.
pub const UUID_BYTES: usize = uuid::fmt::Hyphenated::LENGTH;

/// The error for a text that is no identifier.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The text is no UUID.
    #[error("not a UUID: expected 32 hexadecimal digits with hyphens, such as 6f1c1fd4-3c5b-4a8e-9d1a-0c6a2f1b7e55")]
    NotAUuid,
    /// The text is no connection id.
    #[error("a connection id is 1 to {CONNECTION_ID_BYTES_MAX} bytes of letters, digits, '-', '_' and '.'")]
    NotAConnection,
    /// Not a sequence number.
    #[error("not a sequence number: expected a whole number from 0 to {}", u64::MAX)]
    NotASequence,
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, JsonSchema, Serialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// Creates an id from the 128 bits of a UUID.
            pub const fn from_u128(bits: u128) -> Self {
                Self(Uuid::from_u128(bits))
            }

            /// The UUID's 128 bits.
            pub const fn as_u128(self) -> u128 {
                self.0.as_u128()
            }

            /// Writes the UUID in lower case with hyphens into a buffer of the caller.
            pub fn format_into(self, buffer: &mut [u8; UUID_BYTES]) -> &str {
                self.0.hyphenated().encode_lower(buffer)
            }
        }

        impl From<Uuid> for $name {
            fn from(uuid: Uuid) -> Self {
                Self(uuid)
            }
        }

        impl From<$name> for Cow<'static, str> {
            fn from(id: $name) -> Self {
                Self::Owned(id.format_into(&mut [0; UUID_BYTES]).to_owned())
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                Uuid::try_parse(text).map(Self).map_err(|_| IdError::NotAUuid)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str(UuidVisitor).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }
    };
}

/// Reads a UUID from text; its errors say what a UUID looks like.
struct UuidVisitor;

impl Visitor<'_> for UuidVisitor {
    type Value = Uuid;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a UUID such as \"6f1c1fd4-3c5b-4a8e-9d1a-0c6a2f1b7e55\"")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Uuid, E> {
        Uuid::try_parse(text).map_err(|_| E::custom(IdError::NotAUuid))
    }
}

uuid_id!(
    /// The id of a user: the `sub` of the user's token.
    UserId
);
uuid_id!(
    /// The id of a conversation.
    ConversationId
);
uuid_id!(
    /// The id of a message. A client can choose it, so that sending the message again is harmless.
    MessageId
);

/// The connection of one device; unique over all hosts.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct ConnectionId(String);

impl ConnectionId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ConnectionId {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        let fits = !text.is_empty() && text.len() <= CONNECTION_ID_BYTES_MAX;
        let clean = text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
        if fits && clean { Ok(Self(text)) } else { Err(IdError::NotAConnection) }
    }
}

impl FromStr for ConnectionId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        text.to_owned().try_into()
    }
}

impl JsonSchema for ConnectionId {
    fn schema_name() -> Cow<'static, str> {
        "ConnectionId".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "minLength": 1,
            "maxLength": CONNECTION_ID_BYTES_MAX,
            "pattern": "^[A-Za-z0-9._-]+$",
        })
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The sequence number of a change in its conversation: 1 for the first change, without gaps. 0 is before all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, JsonSchema, Serialize)]
#[serde(transparent)]
pub struct Seq(#[schemars(range(max = u64::MAX))] pub u64);

impl Seq {
    /// The number before the first change.
    pub const ZERO: Self = Self(0);

    /// The number before this one; zero stays zero.
    pub const fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }

    /// The number after this one.
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl<'de> Deserialize<'de> for Seq {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_u64(SeqVisitor)
    }
}

/// Reads a whole number. In JSON `7.0` is the same number as `7`, and some clients write it so.
struct SeqVisitor;

impl Visitor<'_> for SeqVisitor {
    type Value = Seq;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a whole number from 0 to {}", u64::MAX)
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Seq, E> {
        Ok(Seq(number))
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Seq, E> {
        /// Every whole number below 2^53 has a floating-point number of its own.
        const EXACT_BELOW: f64 = 9_007_199_254_740_992.0;
        if number.fract() == 0.0 && (0.0..EXACT_BELOW).contains(&number) {
            Ok(Seq(number as u64))
        } else {
            Err(E::invalid_value(Unexpected::Float(number), &self))
        }
    }
}

impl FromStr for Seq {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        text.parse().map(Self).map_err(|_| IdError::NotASequence)
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sequence_number_is_read_from_every_form_of_a_whole_number() {
        for (json, number) in [("0", 0), ("7", 7), ("7.0", 7), ("7e2", 700), ("18446744073709551615", u64::MAX)] {
            assert_eq!(serde_json::from_str::<Seq>(json).unwrap(), Seq(number), "{json}");
        }
        for json in ["-1", "-1.0", "7.5", "1e300", "18446744073709551616", "\"7\"", "null"] {
            let error = serde_json::from_str::<Seq>(json).unwrap_err().to_string();
            assert!(error.contains("expected a whole number from 0 to 18446744073709551615"), "{json}: {error}");
        }
    }

    #[test]
    fn a_sequence_number_in_a_path_or_query_has_only_digits() {
        assert_eq!("7".parse(), Ok(Seq(7)));
        for text in ["", "-1", "7.0", "18446744073709551616"] {
            assert_eq!(text.parse::<Seq>(), Err(IdError::NotASequence), "{text}");
        }
    }

    #[test]
    fn a_connection_id_is_short_and_plain() {
        for text in ["a", "A-z_0.9", &"c".repeat(CONNECTION_ID_BYTES_MAX)] {
            let id: ConnectionId = text.parse().unwrap();
            assert_eq!((id.as_str(), id.to_string()), (text, text.to_owned()));
        }
        for text in ["", "a b", "a:b", "ü", &"c".repeat(CONNECTION_ID_BYTES_MAX + 1)] {
            assert_eq!(text.parse::<ConnectionId>(), Err(IdError::NotAConnection), "{text}");
        }
    }

    #[test]
    fn a_sequence_number_is_parsed_from_its_text() {
        assert_eq!("12".parse(), Ok(Seq(12)));
        assert_eq!("-1".parse::<Seq>(), Err(IdError::NotASequence));
        assert_eq!((Seq(12).previous(), Seq(12).next(), Seq::ZERO.previous()), (Seq(11), Seq(13), Seq::ZERO));
    }

    #[test]
    fn an_id_is_a_uuid_in_json_and_another_value_is_explained() {
        let id = UserId::from_u128(0x6f1c_1fd4_3c5b_4a8e_9d1a_0c6a_2f1b_7e55);
        let json = serde_json::to_string(&id).unwrap();
        assert_eq!(json, "\"6f1c1fd4-3c5b-4a8e-9d1a-0c6a2f1b7e55\"");
        assert_eq!(serde_json::from_str::<UserId>(&json).unwrap(), id);
        for wrong in ["7", "\"nobody\""] {
            let error = serde_json::from_str::<UserId>(wrong).unwrap_err().to_string();
            assert!(error.contains("UUID"), "{error}");
        }
    }
}
