//! The item of a key, or the field that names it, as a value travels: a UUID, which nearly all are, as its bits.

use std::fmt;

use uuid::Uuid;

/// An item. UUIDs come first, by their bits; then texts.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Item {
    /// The 128 bits of a UUID that is spelt in lower case with hyphens.
    Uuid(u128),
    /// Anything else.
    Text(String),
}

impl Item {
    /// As an identifier; `None`: no UUID.
    pub fn id<T: From<Uuid>>(&self) -> Option<T> {
        match self {
            Self::Uuid(bits) => Some(Uuid::from_u128(*bits).into()),
            Self::Text(_) => None,
        }
    }

    /// The bits of a text that is the one spelling of a UUID: two spellings of the same must stay two items.
    pub fn uuid(text: &str) -> Option<u128> {
        let canonical = text.len() == 36 && !text.bytes().any(|byte| byte.is_ascii_uppercase());
        canonical.then(|| Uuid::try_parse(text).ok().map(|uuid| uuid.as_u128())).flatten()
    }
}

impl From<&str> for Item {
    fn from(text: &str) -> Self {
        Self::uuid(text).map_or_else(|| Self::Text(text.to_owned()), Self::Uuid)
    }
}

impl From<String> for Item {
    fn from(text: String) -> Self {
        Self::uuid(&text).map_or(Self::Text(text), Self::Uuid)
    }
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uuid(bits) => Uuid::from_u128(*bits).fmt(f),
            Self::Text(text) => f.write_str(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_canonical_spelling_of_a_uuid_is_one() {
        let text = "6f1c1fd4-3c5b-4a8e-9d1a-0c6a2f1b7e55";
        assert!(matches!(Item::from(text), Item::Uuid(_)));
        for other in [&text.to_uppercase(), &text.replace('-', ""), "cursor", ""] {
            assert_eq!(Item::from(other), Item::Text(other.to_owned()));
        }
    }

    #[test]
    fn an_item_keeps_its_spelling() {
        for text in ["6f1c1fd4-3c5b-4a8e-9d1a-0c6a2f1b7e55", "6F1C1FD4-3C5B-4A8E-9D1A-0C6A2F1B7E55", "a.b"] {
            assert_eq!(Item::from(text.to_owned()).to_string(), text);
        }
    }
}
