//! A mark: where an entry of the outbox is or is going to be. Its text is the member of an ordered set.

use uuid::Uuid;

use crate::key::{Key, Owner};
use crate::limits::OUTBOX_SHARDS;
use crate::spread;

/// The place and the size of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OutboxMark {
    /// The owner that names the partition: never a message, which is in the partition of its conversation.
    pub(super) owner: Owner,
    pub(super) id: Uuid,
    /// The size of the entry's text, which the mark needs for its removal even if the entry was never written.
    pub(super) bytes: u64,
}

impl OutboxMark {
    pub(super) fn to_text(self) -> String {
        let (kind, owner) = match self.owner.partition() {
            Owner::User(user) => ('u', user.to_string()),
            Owner::Conversation(conversation) | Owner::Message { conversation, .. } => ('c', conversation.to_string()),
            Owner::Shard(shard) => ('s', shard.to_string()),
        };
        format!("{kind}.{owner}.{}.{}", self.id, self.bytes)
    }

    /// Reads a mark; `None` for any other text.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let (kind, owner) = (parts.next()?, parts.next()?);
        let owner = match kind {
            "u" => Owner::User(owner.parse().ok()?),
            "c" => Owner::Conversation(owner.parse().ok()?),
            "s" => Owner::Shard(owner.parse().ok()?),
            _ => return None,
        };
        let mark = Self { owner, id: Uuid::try_parse(parts.next()?).ok()?, bytes: parts.next()?.parse().ok()? };
        parts.next().is_none().then_some(mark)
    }

    /// The shard that holds the mark.
    pub(super) fn shard(self) -> Owner {
        spread::shard(&self.id.to_string(), OUTBOX_SHARDS)
    }

    pub(super) fn entry(self) -> Key {
        Key::of_host(self.owner, format!("outbox.{}", self.id))
    }

    /// Exists if the entry must not be written any more.
    pub(super) fn void(self) -> Key {
        Key::of_host(self.owner, format!("void.{}", self.id))
    }
}

/// The marks of a shard, scored by the time from which recovery takes care of them.
pub(super) fn marks(shard: Owner) -> Key {
    Key::of_host(shard, "outbox.marks".to_owned())
}

/// The number of marks of a shard, and of the bytes of their entries.
pub(super) fn size(shard: Owner) -> Key {
    Key::of_host(shard, "outbox.size".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{ConversationId, UserId};
    use crate::limits::NAME_BYTES_MAX;

    #[test]
    fn a_mark_is_restored_from_its_text() {
        let id = Uuid::from_u128(u128::MAX);
        for owner in [
            Owner::User(UserId::from_u128(u128::MAX)),
            Owner::Conversation(ConversationId::from_u128(2)),
            Owner::Shard(u32::MAX),
        ] {
            let mark = OutboxMark { owner, id, bytes: 10_000_000 };
            assert_eq!(OutboxMark::parse(&mark.to_text()), Some(mark));
            assert!(mark.to_text().len() <= NAME_BYTES_MAX);
            assert!(mark.entry().validate().is_ok() && mark.void().validate().is_ok());
            assert!(matches!(mark.shard(), Owner::Shard(shard) if shard < OUTBOX_SHARDS));
        }
    }

    #[test]
    fn any_other_text_is_no_mark() {
        let id = Uuid::from_u128(7);
        for text in ["", "u", "x.1.2.3", "s.1.2", "s.a.b.c", &format!("s.1.{id}"), &format!("s.1.{id}.5.6")] {
            assert_eq!(OutboxMark::parse(text), None, "{text}");
        }
    }
}
