//! Structured keys and their physical names. No other module builds a physical key.
//!
//! An owner is a partition: one transaction changes the keys of one owner only.

use std::borrow::Cow;
use std::fmt;

use crate::ids::{ConversationId, UserId};
use crate::limits::{NAME_BYTES_MAX, PRESENCE_SHARDS};

/// The kind of data that a key holds. Types and times to live are defined in the contract, `wit/key-value.wit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Space {
    /// Bytes: Unix seconds of the last heartbeat.
    Online,
    /// Hash: `status`, `generation`, `last_seen`, `announced`.
    Presence,
    /// Hash: connection id -> deadline in ms.
    Devices,
    /// Ordered set: user scored by deadline in ms.
    PresenceDue,
    /// Counter: unread messages over all conversations.
    UnreadTotal,
    /// Counter: unread messages in one conversation, which is the item.
    UnreadConversation,
    /// Hash: conversation -> highest sequence number counted and published.
    UnreadSequence,
    /// Hash: conversation -> highest read position applied.
    UnreadRead,
    /// Bytes: the token of the caller that fills an uncached user's counters.
    UnreadLease,
    /// Hash: the newest message of a conversation.
    LastMessage,
    /// Any type: for the operator's own functions. Live state, which is lost with the store; what must not be lost goes
    /// into [documents](crate::documents).
    App,
}

impl Space {
    /// All spaces, in the order of the contract.
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

    /// The name of the space in manifests, configuration and errors.
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

    /// Whether keys of this space have an item.
    pub const fn has_item(self) -> bool {
        matches!(self, Self::UnreadConversation | Self::App)
    }
}

impl fmt::Display for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The partition that a key belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Owner {
    /// The keys of one user.
    User(UserId),
    /// The keys of one conversation.
    Conversation(ConversationId),
    /// A shard of data that belongs to no single user or conversation.
    Shard(u32),
}

impl Owner {
    /// The presence shard that holds this user's deadline; every host computes the same one.
    pub fn presence_shard(user: UserId) -> Self {
        let bits = user.as_u128();
        // Both halves are mixed, because one of them is nearly constant in some UUID versions.
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
    /// The kind of data.
    pub space: Space,
    /// The partition that the key belongs to.
    pub owner: Owner,
    /// Tells several keys of one space and owner apart; present exactly if [`Space::has_item`] is true.
    pub item: Option<String>,
}

/// The error for an invalid key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The space needs an item and there is none.
    #[error("a key of the space {0} needs an item")]
    ItemMissing(Space),
    /// The space takes no item and there is one.
    #[error("a key of the space {0} takes no item")]
    ItemRefused(Space),
    /// The item contains a character that is not allowed, or has a wrong length.
    #[error("an item of the space {0} is 1 to {NAME_BYTES_MAX} bytes of 'a-z', '0-9', '.', '_' and '-'")]
    ItemFormat(Space),
}

impl Key {
    /// Creates a key of a space without items.
    pub const fn new(space: Space, owner: Owner) -> Self {
        Self { space, owner, item: None }
    }

    /// Creates a user's key of a space without items.
    pub const fn of_user(space: Space, user: UserId) -> Self {
        Self::new(space, Owner::User(user))
    }

    /// A function's own key in the space `app`. The item is 1 to [`NAME_BYTES_MAX`] bytes of `a-z`, `0-9`, `.`, `_` and
    /// `-`, which [`Key::validate`] checks.
    pub fn app(owner: Owner, item: impl Into<String>) -> Self {
        Self { space: Space::App, owner, item: Some(item.into()) }
    }

    /// The key of a user's unread counter of one conversation.
    pub fn unread_conversation(user: UserId, conversation: ConversationId) -> Self {
        let item = Some(Cow::from(conversation).into_owned());
        Self { space: Space::UnreadConversation, owner: Owner::User(user), item }
    }

    /// The key of a conversation's cached last message.
    pub const fn last_message(conversation: ConversationId) -> Self {
        Self::new(Space::LastMessage, Owner::Conversation(conversation))
    }

    /// The key of the ordered set that holds this user's deadline.
    pub fn presence_due(user: UserId) -> Self {
        Self::new(Space::PresenceDue, Owner::presence_shard(user))
    }

    /// Validates a key that came from outside of the core.
    pub fn validate(&self) -> Result<(), KeyError> {
        match (&self.item, self.space.has_item()) {
            (None, true) => Err(KeyError::ItemMissing(self.space)),
            (Some(_), false) => Err(KeyError::ItemRefused(self.space)),
            (Some(item), true) if !is_item(item) => Err(KeyError::ItemFormat(self.space)),
            _ => Ok(()),
        }
    }

    /// The physical key in a standalone Redis, without the operator's prefix.
    pub fn physical(&self) -> String {
        self.format_with(&self.owner.to_string())
    }

    /// The physical key in a Redis Cluster, where the owner is the hash tag.
    pub fn physical_in_cluster(&self) -> String {
        self.format_with(&format!("{{{}}}", self.owner))
    }

    fn format_with(&self, owner: &str) -> String {
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

/// The physical key of a user's feed. Functions have no structured key for it.
pub fn feed_physical(user: UserId) -> String {
    format!("feed:{user}")
}

/// The channel that a user's events are published on.
pub fn channel(user: UserId) -> String {
    format!("chat:user:{user}")
}

#[cfg(test)]
mod tests;
