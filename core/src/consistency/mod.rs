//! Compares the live state with the records while hosts serve, and mends what does not agree.
//!
//! Traffic never looks like drift: counts are compared only where both sides were seen at the same positions, and what
//! an announcement under way explains is *pending*. Whatever a few looks cannot tell is *unsettled*. Mending goes the
//! way of the live code: forget and fill, never a blind write. Presence is not looked at: it ends by itself.

mod rules;
#[cfg(test)]
mod tests;
mod use_cases;

pub use use_cases::{repair, verify};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::Error;
use crate::ids::{ConversationId, UserId};
use crate::port::Directory;

/// Findings that a report lists; further ones are only counted.
pub const FINDINGS_MAX: usize = 1_000;

/// Of what the store and the records disagree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// `unread:total` is not the sum of the user's counters.
    Total,
    /// `unread:conv` is another number.
    Count,
    /// `unread:conv` is missing.
    Counter,
    /// `unread:seq` is ahead of the records, or behind what was announced.
    Position,
    /// `unread:read` is another position.
    Read,
    /// The store knows a conversation of which the user is no member.
    Membership,
    /// `last_msg` is another message, or another state of it.
    LastMessage,
}

impl What {
    /// As it stands in reports and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Total => "total",
            Self::Count => "count",
            Self::Counter => "counter",
            Self::Position => "position",
            Self::Read => "read",
            Self::Membership => "membership",
            Self::LastMessage => "last_message",
        }
    }
}

/// One disagreement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Of what.
    pub what: What,
    /// Whose; none for a last message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<UserId>,
    /// Where; none for a total.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversation: Option<ConversationId>,
    /// A count or a sequence as the store holds it; for a last message its version. `None`: nothing is there.
    pub stored: Option<i64>,
    /// The same by the records.
    pub records: Option<i64>,
    /// It was mended, and another look found it right.
    #[serde(default)]
    pub repaired: bool,
}

impl Finding {
    fn is_about_the_same(&self, other: &Self) -> bool {
        (self.what, self.user, self.conversation) == (other.what, other.user, other.conversation)
    }
}

/// What was looked at and what was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Users whose counters were compared.
    pub users: u64,
    /// Users without counters in the store: the next read fills them.
    pub cold: u64,
    /// Cached last messages that were compared.
    pub conversations: u64,
    /// Conversations without one: the next read fills it.
    pub uncached: u64,
    /// Positions behind the records whose announcement is under way or waits for recovery: no drift.
    pub pending: u64,
    /// Disagreements.
    pub drift: Vec<Finding>,
    /// What kept changing while it was looked at.
    pub unsettled: Vec<Finding>,
    /// Findings beyond [`FINDINGS_MAX`].
    pub unlisted: u64,
}

impl Report {
    /// Adds another part's report.
    pub fn add(&mut self, part: Self) {
        self.users += part.users;
        self.cold += part.cold;
        self.conversations += part.conversations;
        self.uncached += part.uncached;
        self.pending += part.pending;
        self.unlisted += part.unlisted;
        for (list, more) in [(&mut self.drift, part.drift), (&mut self.unsettled, part.unsettled)] {
            let room = FINDINGS_MAX.saturating_sub(list.len());
            self.unlisted += more.len().saturating_sub(room) as u64;
            list.extend(more.into_iter().take(room));
        }
    }
}

/// Kinds of subjects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Their counters and positions.
    Users,
    /// Their cached last messages.
    Conversations,
}

/// Whose state is compared; at most [`crate::limits::LIST_MAX`] at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subjects {
    /// Their counters and positions.
    Users(Vec<UserId>),
    /// Their cached last messages.
    Conversations(Vec<ConversationId>),
}

impl Subjects {
    /// Those with these ids.
    pub fn named(kind: Kind, ids: &[Uuid]) -> Self {
        match kind {
            Kind::Users => Self::Users(ids.iter().map(|id| UserId::from_u128(id.as_u128())).collect()),
            Kind::Conversations => {
                Self::Conversations(ids.iter().map(|id| ConversationId::from_u128(id.as_u128())).collect())
            }
        }
    }

    /// The next of all, and where the page after them begins; `None`: there is no further one.
    pub async fn page<D: Directory>(
        directory: &D,
        kind: Kind,
        after: Option<Uuid>,
        limit: u32,
    ) -> Result<(Self, Option<Uuid>), Error> {
        let after = after.map(|id| id.as_u128());
        let ids: Vec<u128> = match kind {
            Kind::Users => {
                let users = directory.users(after.map(UserId::from_u128), limit).await?;
                users.into_iter().map(|user| user.as_u128()).collect()
            }
            Kind::Conversations => {
                let found = directory.conversation_ids(after.map(ConversationId::from_u128), limit).await?;
                found.into_iter().map(|conversation| conversation.as_u128()).collect()
            }
        };
        let ids: Vec<Uuid> = ids.into_iter().map(Uuid::from_u128).collect();
        let next = ids.last().copied().filter(|_| ids.len() == limit as usize);
        Ok((Self::named(kind, &ids), next))
    }

    /// How many.
    pub const fn len(&self) -> usize {
        match self {
            Self::Users(users) => users.len(),
            Self::Conversations(conversations) => conversations.len(),
        }
    }

    /// Nobody.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Those of these whom a finding is about.
    fn concerned(&self, findings: &[&Finding]) -> Self {
        match self {
            Self::Users(users) => {
                let found = |user: &&UserId| findings.iter().any(|finding| finding.user == Some(**user));
                Self::Users(users.iter().filter(found).copied().collect())
            }
            Self::Conversations(all) => {
                let found = |id: &&ConversationId| findings.iter().any(|finding| finding.conversation == Some(**id));
                Self::Conversations(all.iter().filter(found).copied().collect())
            }
        }
    }
}
