//! Structured keys and their physical names. No other module builds a physical key.
//!
//! An owner belongs to a partition: one transaction changes the keys of one partition only. Keys of the space `app`
//! also belong to a function, whose name the host fills in, so that functions do not see each other's items.

mod escape;
mod owner;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

pub use owner::Owner;

use crate::ids::{ConversationId, UserId};
use crate::limits::NAME_BYTES_MAX;

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
    /// Hash: `swept_at` and `held_until` in ms, by which sweeps notice an outage of the store.
    PresenceSweep,
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
    /// Bytes: somebody may resume, so the durable events of this user are kept.
    Followed,
    /// Bytes: the other members of a large conversation, which is the item, were told a moment ago what the user has
    /// read.
    ReadReceipt,
    /// Any type: what a function keeps for a user, a conversation, a message or itself, and no other function sees.
    /// Live state, which is lost with the store; what must not be lost goes into [documents](crate::documents).
    App,
    /// Any type: what the host keeps for itself, such as the entries of the outbox. No function is granted this space.
    Host,
}

impl Space {
    /// All spaces that functions can be granted, in the order of the contract.
    pub const ALL: [Self; 14] = [
        Self::Online,
        Self::Presence,
        Self::Devices,
        Self::PresenceDue,
        Self::PresenceSweep,
        Self::UnreadTotal,
        Self::UnreadConversation,
        Self::UnreadSequence,
        Self::UnreadRead,
        Self::UnreadLease,
        Self::LastMessage,
        Self::Followed,
        Self::ReadReceipt,
        Self::App,
    ];

    /// The name of the space in manifests, configuration and errors.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Presence => "presence",
            Self::Devices => "devices",
            Self::PresenceDue => "presence-due",
            Self::PresenceSweep => "presence-sweep",
            Self::UnreadTotal => "unread-total",
            Self::UnreadConversation => "unread-conversation",
            Self::UnreadSequence => "unread-sequence",
            Self::UnreadRead => "unread-read",
            Self::UnreadLease => "unread-lease",
            Self::LastMessage => "last-message",
            Self::Followed => "followed",
            Self::ReadReceipt => "read-receipt",
            Self::App => "app",
            Self::Host => "host",
        }
    }

    const fn physical_prefix(self) -> &'static str {
        match self {
            Self::Online => "online:",
            Self::Presence => "presence:",
            Self::Devices => "devices:",
            Self::PresenceDue => "presence_due:",
            Self::PresenceSweep => "presence_sweep:",
            Self::UnreadTotal => "unread:total:",
            Self::UnreadConversation => "unread:conv:",
            Self::UnreadSequence => "unread:seq:",
            Self::UnreadRead => "unread:read:",
            Self::UnreadLease => "unread:lease:",
            Self::LastMessage => "last_msg:",
            Self::Followed => "followed:",
            Self::ReadReceipt => "read_receipt:",
            Self::App => "app:",
            Self::Host => "host:",
        }
    }

    /// Whether keys of this space have an item.
    pub const fn has_item(self) -> bool {
        matches!(self, Self::UnreadConversation | Self::ReadReceipt | Self::App | Self::Host)
    }
}

impl fmt::Display for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One key of the live state.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// The kind of data.
    pub space: Space,
    /// What the key is about.
    pub owner: Owner,
    /// The function whose item this is; only in the space [`Space::App`]. No function chooses it: the host puts the
    /// name of the function that calls here. It is `None` in a function and in its tests.
    pub function: Option<Arc<str>>,
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
    /// The item is empty or too long.
    #[error("an item of the space app is 1 to {NAME_BYTES_MAX} bytes of UTF-8, not {0}")]
    ItemLength(usize),
    /// Only keys of the space `app` can be about a message.
    #[error("a key of the space {0} cannot be about a message; only keys of the space app can")]
    MessageRefused(Space),
}

impl Key {
    /// Creates a key of a space without items.
    pub const fn new(space: Space, owner: Owner) -> Self {
        Self { space, owner, function: None, item: None }
    }

    /// Creates a user's key of a space without items.
    pub const fn of_user(space: Space, user: UserId) -> Self {
        Self::new(space, Owner::User(user))
    }

    /// The calling function's item of this owner and name. The name is 1 to [`NAME_BYTES_MAX`] bytes of any text, which
    /// [`Key::validate`] checks.
    pub fn app(owner: Owner, item: impl Into<String>) -> Self {
        Self { item: Some(item.into()), ..Self::new(Space::App, owner) }
    }

    /// The key of a user's unread counter of one conversation.
    pub fn unread_conversation(user: UserId, conversation: ConversationId) -> Self {
        let item = Some(Cow::from(conversation).into_owned());
        Self { item, ..Self::of_user(Space::UnreadConversation, user) }
    }

    /// The key whose existence means that somebody may resume this user's events.
    pub const fn followed(user: UserId) -> Self {
        Self::of_user(Space::Followed, user)
    }

    /// The key that exists for a moment after the others were told what this user has read in a large conversation.
    pub fn read_receipt(user: UserId, conversation: ConversationId) -> Self {
        let item = Some(Cow::from(conversation).into_owned());
        Self { item, ..Self::of_user(Space::ReadReceipt, user) }
    }

    /// The key of a conversation's cached last message.
    pub const fn last_message(conversation: ConversationId) -> Self {
        Self::new(Space::LastMessage, Owner::Conversation(conversation))
    }

    /// The key of the ordered set that holds this user's deadline.
    pub fn presence_due(user: UserId) -> Self {
        Self::new(Space::PresenceDue, Owner::presence_shard(user))
    }

    /// A key of the host's own.
    pub const fn of_host(owner: Owner, item: String) -> Self {
        Self { space: Space::Host, owner, function: None, item: Some(item) }
    }

    /// The key of another space that this owner, and in the space `app` this function, has under this item.
    pub fn sibling(&self, space: Space, item: String) -> Self {
        Self { space, owner: self.owner, function: self.function.clone(), item: Some(item) }
    }

    /// The name of the function in the space `app`; empty where none was filled in, and in every other space.
    pub fn function_name(&self) -> &str {
        match self.space {
            Space::App => self.function.as_deref().unwrap_or_default(),
            _ => "",
        }
    }

    /// The bytes of the item.
    pub(crate) fn bytes(&self) -> usize {
        self.item.as_ref().map_or(0, String::len)
    }

    /// Validates a key that came from outside of the core.
    pub fn validate(&self) -> Result<(), KeyError> {
        match (&self.item, self.space) {
            (Some(item), Space::App) if item.is_empty() || item.len() > NAME_BYTES_MAX => {
                Err(KeyError::ItemLength(item.len()))
            }
            (Some(_), Space::App) => Ok(()),
            (_, space) if matches!(self.owner, Owner::Message { .. }) && space != Space::App => {
                Err(KeyError::MessageRefused(space))
            }
            (None, space) if space.has_item() => Err(KeyError::ItemMissing(space)),
            (Some(_), space) if !space.has_item() => Err(KeyError::ItemRefused(space)),
            (Some(item), space) if !is_plain_item(item) => Err(KeyError::ItemFormat(space)),
            _ => Ok(()),
        }
    }

    /// The physical key in a standalone Redis, without the operator's prefix.
    pub fn physical(&self) -> String {
        self.format_with("", "")
    }

    /// The physical key in a Redis Cluster, where the id of the partition is the hash tag.
    pub fn physical_in_cluster(&self) -> String {
        self.format_with("{", "}")
    }

    /// `open` and `close` enclose the id of the partition.
    fn format_with(&self, open: &str, close: &str) -> String {
        let (prefix, partition) = (self.space.physical_prefix(), self.owner.partition());
        let item = self.item.as_deref();
        if self.space != Space::App {
            return match item {
                Some(item) => format!("{prefix}{open}{partition}{close}:{item}"),
                None => format!("{prefix}{open}{partition}{close}"),
            };
        }
        let (function, kind) = (self.function_name(), self.owner.kind());
        let item = escape::item(item.unwrap_or_default());
        match self.owner {
            Owner::Message { message, .. } => {
                format!("{prefix}{function}:{kind}:{open}{partition}{close}:{message}:{item}")
            }
            _ => format!("{prefix}{function}:{kind}:{open}{partition}{close}:{item}"),
        }
    }
}

/// The items of spaces other than `app` appear in physical keys as they are.
fn is_plain_item(item: &str) -> bool {
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
