//! The item of a key in the answer to a query. Nearly all items are UUIDs and are represented by their bits.

use std::fmt;

use uuid::Uuid;

/// An item. UUIDs are sorted before other texts, by their bits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Item {
    /// The 128 bits of a UUID whose text is in lower case with hyphens.
    Uuid(u128),
    /// Any other text.
    Text(String),
}

impl Item {
    /// The item as an identifier; `None` if it is not a UUID.
    pub fn id<T: From<Uuid>>(&self) -> Option<T> {
        match self {
            Self::Uuid(bits) => Some(Uuid::from_u128(*bits).into()),
            Self::Text(_) => None,
        }
    }

    /// The bits of a text that is a UUID in lower case with hyphens. Any other form of the same UUID is another item.
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
    fn only_the_canonical_form_of_a_uuid_is_a_uuid_item() {
        let text = "6f1c1fd4-3c5b-4a8e-9d1a-0c6a2f1b7e55";
        assert!(matches!(Item::from(text), Item::Uuid(_)));
        for other in [&text.to_uppercase(), &text.replace('-', ""), "cursor", ""] {
            assert_eq!(Item::from(other), Item::Text(other.to_owned()));
        }
    }

    #[test]
    fn an_item_keeps_its_text() {
        for text in ["6f1c1fd4-3c5b-4a8e-9d1a-0c6a2f1b7e55", "6F1C1FD4-3C5B-4A8E-9D1A-0C6A2F1B7E55", "a.b"] {
            assert_eq!(Item::from(text.to_owned()).to_string(), text);
        }
    }
}
