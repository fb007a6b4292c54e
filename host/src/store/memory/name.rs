//! Keys as the memory store files them: no text where a number does.

use roost_core::key::{Key, Owner, Space};
use uuid::Uuid;

/// A key without its spelling. UUIDs, which nearly all items are, need no allocation.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Name {
    owner: Owner,
    space: Space,
    item: Item,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Item {
    None,
    Uuid(u128),
    Text(Box<str>),
}

impl Name {
    pub(super) fn of(key: &Key) -> Self {
        let item = key.item.as_deref().map_or(Item::None, Item::of);
        Self { owner: key.owner, space: key.space, item }
    }

    /// The key of `space` and this owner that a hash's field names. It exists only if the field is a valid item.
    pub(super) fn indexed(owner: Owner, space: Space, field: &str) -> Self {
        Self { owner, space, item: Item::of(field) }
    }

    /// Bytes beside the name itself.
    pub(super) fn heap_bytes(&self) -> usize {
        match &self.item {
            Item::None | Item::Uuid(_) => 0,
            Item::Text(text) => text.len(),
        }
    }
}

impl Item {
    fn of(text: &str) -> Self {
        match canonical_uuid(text) {
            Some(bits) => Self::Uuid(bits),
            None => Self::Text(text.into()),
        }
    }
}

/// One text for one UUID: two spellings of the same must stay two items.
fn canonical_uuid(text: &str) -> Option<u128> {
    let canonical = text.len() == 36 && !text.bytes().any(|b| b.is_ascii_uppercase());
    canonical.then(|| Uuid::try_parse(text).ok().map(|uuid| uuid.as_u128())).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_canonical_spelling_of_a_uuid_is_a_number() {
        let text = "6f1c1fd4-3c5b-4a8e-9d1a-0c6a2f1b7e55";
        assert!(matches!(Item::of(text), Item::Uuid(_)));
        assert!(matches!(Item::of(&text.to_uppercase()), Item::Text(_)));
        assert!(matches!(Item::of(&text.replace('-', "")), Item::Text(_)));
        assert!(matches!(Item::of("cursor"), Item::Text(_)));
    }
}
