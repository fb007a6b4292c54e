//! Structured keys and their physical spelling. No other place spells a key.
//!
//! An owner is a partition: whatever changes together belongs to one owner.

use std::borrow::Cow;
use std::fmt;

use crate::ids::{ConversationId, UserId};
use crate::limits::{NAME_BYTES_MAX, PRESENCE_SHARDS};

/// What a key is about. Types and lives stand in the contract, `wit/key-value.wit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Space {
    /// Bytes: Unix seconds of the last beat.
    Online,
    /// Hash: `status`, `generation`, `last_seen`, `announced`.
    Presence,
    /// Hash: connection id -> deadline in ms.
    Devices,
    /// Ordered set: users by deadline in ms.
    PresenceDue,
    /// Counter: sum over conversations.
    UnreadTotal,
    /// Counter: one conversation, the item.
    UnreadConversation,
    /// Hash: conversation -> highest sequence counted.
    UnreadSequence,
    /// Hash: conversation -> highest read position applied.
    UnreadRead,
    /// Bytes: who fills a cold user's counters.
    UnreadLease,
    /// Hash: the newest message.
    LastMessage,
    /// Anything: for functions of the operator's own.
    App,
}

impl Space {
    /// Every space, in the order of the contract.
    pub const ALL: [Self; 11] = [
        Self::Online,
        Self::Presence,
        Self::Devices,
        Self::PresenceDue,
        Self::UnreadTotal,
        Self::UnreadConversation,
        Self::UnreadSequence,
        Self::UnreadRead,
        Self::UnreadLease,
        Self::LastMessage,
        Self::App,
    ];

    /// The name in manifests, configuration and errors.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Presence => "presence",
            Self::Devices => "devices",
            Self::PresenceDue => "presence-due",
            Self::UnreadTotal => "unread-total",
            Self::UnreadConversation => "unread-conversation",
            Self::UnreadSequence => "unread-sequence",
            Self::UnreadRead => "unread-read",
            Self::UnreadLease => "unread-lease",
            Self::LastMessage => "last-message",
            Self::App => "app",
        }
    }

    const fn physical_prefix(self) -> &'static str {
        match self {
            Self::Online => "online:",
            Self::Presence => "presence:",
            Self::Devices => "devices:",
            Self::PresenceDue => "presence_due:",
            Self::UnreadTotal => "unread:total:",
            Self::UnreadConversation => "unread:conv:",
            Self::UnreadSequence => "unread:seq:",
            Self::UnreadRead => "unread:read:",
            Self::UnreadLease => "unread:lease:",
            Self::LastMessage => "last_msg:",
            Self::App => "app:",
        }
    }

    /// Keys of this space carry an item.
    pub const fn has_item(self) -> bool {
        matches!(self, Self::UnreadConversation | Self::App)
    }
}

impl fmt::Display for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The partition of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Owner {
    /// What belongs to one user.
    User(UserId),
    /// What belongs to one conversation.
    Conversation(ConversationId),
    /// A share of what belongs to nobody.
    Shard(u32),
}

impl Owner {
    /// The presence shard that this user's deadline stands in: the same on every host.
    pub fn presence_shard(user: UserId) -> Self {
        let bits = user.as_u128();
        // Both halves, because some UUID versions keep one of them nearly constant.
        let mixed = (bits ^ (bits >> 64)) as u64;
        let shard = mixed.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        Self::Shard((shard % u64::from(PRESENCE_SHARDS)) as u32)
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(user) => user.fmt(f),
            Self::Conversation(conversation) => conversation.fmt(f),
            Self::Shard(shard) => shard.fmt(f),
        }
    }
}

/// One key of the live state.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// What it is about.
    pub space: Space,
    /// Its partition.
    pub owner: Owner,
    /// Which one of several; only where [`Space::has_item`] says so.
    pub item: Option<String>,
}

/// Why a key is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// A space with items got none.
    #[error("a key of the space {0} needs an item")]
    ItemMissing(Space),
    /// A space without items got one.
    #[error("a key of the space {0} takes no item")]
    ItemRefused(Space),
    /// The item's spelling.
    #[error("an item of the space {0} is 1 to {NAME_BYTES_MAX} bytes of 'a-z', '0-9', '.', '_' and '-'")]
    ItemSpelling(Space),
}

impl Key {
    /// A key of a space without items.
    pub const fn new(space: Space, owner: Owner) -> Self {
        Self { space, owner, item: None }
    }

    /// A user's key of a space without items.
    pub const fn of_user(space: Space, user: UserId) -> Self {
        Self::new(space, Owner::User(user))
    }

    /// A user's unread counter of one conversation.
    pub fn unread_conversation(user: UserId, conversation: ConversationId) -> Self {
        let item = Some(Cow::from(conversation).into_owned());
        Self { space: Space::UnreadConversation, owner: Owner::User(user), item }
    }

    /// A conversation's cached last message.
    pub const fn last_message(conversation: ConversationId) -> Self {
        Self::new(Space::LastMessage, Owner::Conversation(conversation))
    }

    /// The ordered set of deadlines that this user stands in.
    pub fn presence_due(user: UserId) -> Self {
        Self::new(Space::PresenceDue, Owner::presence_shard(user))
    }

    /// Checks a key that came from outside.
    pub fn validate(&self) -> Result<(), KeyError> {
        match (&self.item, self.space.has_item()) {
            (None, true) => Err(KeyError::ItemMissing(self.space)),
            (Some(_), false) => Err(KeyError::ItemRefused(self.space)),
            (Some(item), true) if !is_item(item) => Err(KeyError::ItemSpelling(self.space)),
            _ => Ok(()),
        }
    }

    /// The key's spelling in a standalone Redis, without an operator's prefix.
    pub fn physical(&self) -> String {
        self.spell(&self.owner.to_string())
    }

    /// The key's spelling in a Redis Cluster: the owner is the hash tag.
    pub fn physical_in_cluster(&self) -> String {
        self.spell(&format!("{{{}}}", self.owner))
    }

    fn spell(&self, owner: &str) -> String {
        let prefix = self.space.physical_prefix();
        match &self.item {
            Some(item) => format!("{prefix}{owner}:{item}"),
            None => format!("{prefix}{owner}"),
        }
    }
}

fn is_item(item: &str) -> bool {
    !item.is_empty()
        && item.len() <= NAME_BYTES_MAX
        && item.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-'))
}

/// The physical key of a user's feed; functions have no key for it.
pub fn feed_physical(user: UserId) -> String {
    format!("feed:{user}")
}

/// The channel that a user's events are published on.
pub fn channel(user: UserId) -> String {
    format!("chat:user:{user}")
}
