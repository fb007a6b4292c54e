//! Keys as the memory store files them: no text where a number does.

use roost_core::key::{Key, Owner, Space};
use roost_core::port::Item;

/// A key without its spelling. UUIDs, which nearly all items are, need no allocation.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Name {
    owner: Owner,
    space: Space,
    item: Option<Item>,
}

impl Name {
    pub(super) fn of(key: &Key) -> Self {
        Self { owner: key.owner, space: key.space, item: key.item.as_deref().map(Item::from) }
    }

    /// The key of `space` and this owner that a hash's field names. It exists only if the field is a valid item.
    pub(super) fn indexed(owner: Owner, space: Space, field: &Item) -> Self {
        Self { owner, space, item: Some(field.clone()) }
    }

    /// Bytes beside the name itself.
    pub(super) fn heap_bytes(&self) -> usize {
        match &self.item {
            None | Some(Item::Uuid(_)) => 0,
            Some(Item::Text(text)) => text.len(),
        }
    }
}
