//! The outbox of the records: the requests and answers of the interface `records` about what is not announced yet.

use roost_core::port::{Confirmation, Pending, PendingId, PendingItem, PendingPage, Postponement};
use roost_core::time::Timestamp;

use crate::bindings::roost::edge::records as wire;

impl From<wire::PendingItem> for Pending {
    fn from(item: wire::PendingItem) -> Self {
        match item {
            wire::PendingItem::Change(changed) => Self::Change(changed.into()),
            wire::PendingItem::Member((conversation, user, moves)) => {
                Self::Member(conversation.into(), user.into(), moves)
            }
            wire::PendingItem::Membership((conversation, user, moves)) => {
                Self::Membership(conversation.into(), user.into(), moves)
            }
            wire::PendingItem::Creation((conversation, moves)) => Self::Creation(conversation.into(), moves),
            wire::PendingItem::Contact((user, other, moves)) => Self::Contact(user.into(), other.into(), moves),
        }
    }
}

impl From<wire::PendingPage> for PendingPage {
    fn from(page: wire::PendingPage) -> Self {
        let item = |entry: wire::PendingEntry| PendingItem {
            pending: entry.item.into(),
            since: Timestamp(entry.since),
            attempts: entry.attempts,
        };
        Self { items: page.entries.into_iter().map(item).collect(), next: page.next }
    }
}

impl From<PendingId> for wire::PendingId {
    fn from(id: PendingId) -> Self {
        match id {
            PendingId::Change(conversation, seq) => Self::Change((conversation.into(), seq.0)),
            PendingId::Member(conversation, user) => Self::Member((conversation.into(), user.into())),
            PendingId::Membership(conversation, user) => Self::Membership((conversation.into(), user.into())),
            PendingId::Creation(conversation) => Self::Creation(conversation.into()),
            PendingId::Contact(user, other) => Self::Contact((user.into(), other.into())),
        }
    }
}

impl From<Postponement> for wire::Postponement {
    fn from(postponement: Postponement) -> Self {
        Self { item: postponement.item.into(), attempts: postponement.attempts, next_time: postponement.next_time.0 }
    }
}

impl From<Confirmation> for wire::Confirmation {
    fn from(confirmation: Confirmation) -> Self {
        match confirmation {
            Confirmation::Change(conversation, seq) => Self::Change((conversation.into(), seq.0)),
            Confirmation::Member(conversation, user, moves) => Self::Member((conversation.into(), user.into(), moves)),
            Confirmation::Membership(conversation, user, moves) => {
                Self::Membership((conversation.into(), user.into(), moves))
            }
            Confirmation::Creation(conversation, moves) => Self::Creation((conversation.into(), moves)),
            Confirmation::Contact(user, other, moves) => Self::Contact((user.into(), other.into(), moves)),
        }
    }
}
