//! What keys and documents are about, and the partition that each belongs to.

use std::fmt;

use crate::ids::{ConversationId, MessageId, UserId};
use crate::limits::PRESENCE_SHARDS;

/// What a key is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Owner {
    /// What concerns one user.
    User(UserId),
    /// What concerns one conversation.
    Conversation(ConversationId),
    /// What concerns one message. It is in the partition of its conversation, so that one transaction can change what
    /// is about both.
    Message {
        /// The conversation of the message.
        conversation: ConversationId,
        /// The id of the message.
        message: MessageId,
    },
    /// A shard of data that is about no single user or conversation, such as what a function keeps for itself.
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

    /// The partition: its keys are answered at one instant, and one transaction changes them.
    #[must_use]
    pub const fn partition(self) -> Self {
        match self {
            Self::Message { conversation, .. } => Self::Conversation(conversation),
            other => other,
        }
    }

    /// The word for the kind of owner in physical keys.
    pub const fn kind(self) -> &'static str {
        match self {
            Self::User(_) => "user",
            Self::Conversation(_) => "conversation",
            Self::Message { .. } => "message",
            Self::Shard(_) => "shard",
        }
    }
}

/// The id; that of a message follows that of its conversation.
impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(user) => user.fmt(f),
            Self::Conversation(conversation) => conversation.fmt(f),
            Self::Message { conversation, message } => write!(f, "{conversation}:{message}"),
            Self::Shard(shard) => shard.fmt(f),
        }
    }
}
