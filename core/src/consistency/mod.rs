//! Compares the live state with the records while hosts are running, and repairs divergences.
//!
//! Running requests are never reported as divergences: counters are compared only if both sides were read at the same
//! positions, and a difference that an announcement in progress explains is *pending*. A difference that several
//! comparisons cannot explain is *inconclusive*. A repair uses the transactions of the live code: it deletes counters
//! and fills them, and never writes a value directly. Presence is not compared, because it expires by itself.

mod rules;
#[cfg(test)]
mod tests;
mod use_cases;

pub use use_cases::{repair, verify};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::Error;
use crate::ids::{ConversationId, Seq, UserId};
use crate::port::Directory;
use crate::time::Timestamp;

/// The number of findings that a report lists; further ones are only counted.
pub const FINDINGS_MAX: usize = 1_000;

/// The kind of value on which the store and the records differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// The key `unread:total` is not the sum of the user's counters.
    Total,
    /// A counter `unread:conv` differs.
    Count,
    /// A counter `unread:conv` is missing.
    Counter,
    /// A position in `unread:seq` is ahead of the records, or behind what was confirmed as announced.
    Position,
    /// A read position in `unread:read` differs.
    Read,
    /// The store holds counters of a conversation that the user is not a member of.
    Membership,
    /// The cached last message differs, or is another version.
    LastMessage,
    /// A key of the user or of the conversation holds a value of another type, so that the state cannot be compared.
    Unreadable,
}

impl FindingKind {
    /// The name in reports and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Total => "total",
            Self::Count => "count",
            Self::Counter => "counter",
            Self::Position => "position",
            Self::Read => "read",
            Self::Membership => "membership",
            Self::LastMessage => "last_message",
            Self::Unreadable => "unreadable",
        }
    }
}

/// One difference between the store and the records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The kind of value that differs.
    #[serde(rename = "what")]
    pub kind: FindingKind,
    /// The user concerned; `None` for a last message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<UserId>,
    /// The conversation concerned; `None` for a total, and for a user whose state cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversation: Option<ConversationId>,
    /// The counter or position in the store; for a last message its version. `None` if the store holds none.
    pub stored: Option<i64>,
    /// The same according to the records.
    pub records: Option<i64>,
    /// Whether it was repaired, and another comparison found no difference.
    #[serde(default)]
    pub repaired: bool,
}

impl Finding {
    fn is_about_the_same(&self, other: &Self) -> bool {
        (self.kind, self.user, self.conversation) == (other.kind, other.user, other.conversation)
    }
}

/// A stored change or move whose announcement keeps failing: recovery has tried it at least
/// [`crate::limits::RECOVERY_ATTEMPTS_REPORTED`] times.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnannouncedItem {
    /// What has to be announced.
    pub kind: UnannouncedKind,
    /// The conversation concerned, of anything but a contact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversation: Option<ConversationId>,
    /// The sequence number of a change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<Seq>,
    /// The member whose read position or membership moved, or the user whose contact or block changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<UserId>,
    /// The user who is the contact, or blocked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other: Option<UserId>,
    /// When it was stored.
    pub since: Timestamp,
    /// How often recovery has tried to announce it.
    pub attempts: u32,
}

/// What an announcement is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UnannouncedKind {
    /// A change of a conversation.
    Change,
    /// A read position that moved.
    Position,
    /// A membership that began or ended.
    Membership,
    /// The creation of a conversation.
    Creation,
    /// A contact or a block.
    Contact,
}

/// What was compared, and what was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Users whose counters were compared.
    pub users: u64,
    /// Users without counters in the store; the next read fills them.
    pub cold: u64,
    /// Cached last messages that were compared.
    pub conversations: u64,
    /// Conversations without a cached last message; the next read fills it.
    pub uncached: u64,
    /// Positions that are behind the records because an announcement is in progress or waits for recovery. They are no
    /// divergences.
    pub pending: u64,
    /// Differences that nothing explains.
    #[serde(rename = "drift")]
    pub divergences: Vec<Finding>,
    /// Differences that kept changing during the comparisons.
    #[serde(rename = "unsettled")]
    pub inconclusive: Vec<Finding>,
    /// The number of findings beyond [`FINDINGS_MAX`].
    pub unlisted: u64,
    /// The announcements that recovery has tried several times without success.
    #[serde(default)]
    pub unannounced: Vec<UnannouncedItem>,
}

impl Report {
    /// Adds the report of another part.
    pub fn add(&mut self, part: Self) {
        self.users += part.users;
        self.cold += part.cold;
        self.conversations += part.conversations;
        self.uncached += part.uncached;
        self.pending += part.pending;
        self.unlisted += part.unlisted;
        for (list, more) in [(&mut self.divergences, part.divergences), (&mut self.inconclusive, part.inconclusive)] {
            let room = FINDINGS_MAX.saturating_sub(list.len());
            self.unlisted += more.len().saturating_sub(room) as u64;
            list.extend(more.into_iter().take(room));
        }
        let room = FINDINGS_MAX.saturating_sub(self.unannounced.len());
        self.unlisted += part.unannounced.len().saturating_sub(room) as u64;
        self.unannounced.extend(part.unannounced.into_iter().take(room));
    }
}

/// The kind of subject that is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SubjectKind {
    /// Users: their counters and positions.
    Users,
    /// Conversations: their cached last messages.
    Conversations,
    /// Announcements: those in the outbox that keep failing.
    Announcements,
}

/// The users or conversations whose state is compared; at most [`crate::limits::LIST_MAX`] at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subjects {
    /// Users: their counters and positions.
    Users(Vec<UserId>),
    /// Conversations: their cached last messages.
    Conversations(Vec<ConversationId>),
    /// The outbox as a whole: its announcements that keep failing.
    Announcements,
}

impl Subjects {
    /// The subjects with these ids.
    pub fn named(kind: SubjectKind, ids: &[Uuid]) -> Self {
        match kind {
            SubjectKind::Users => Self::Users(ids.iter().map(|id| UserId::from_u128(id.as_u128())).collect()),
            SubjectKind::Conversations => {
                Self::Conversations(ids.iter().map(|id| ConversationId::from_u128(id.as_u128())).collect())
            }
            SubjectKind::Announcements => Self::Announcements,
        }
    }

    /// The next page of all subjects, and the id after which the following page begins; `None` if this is the last
    /// page.
    pub async fn page<D: Directory>(
        directory: &D,
        kind: SubjectKind,
        after: Option<Uuid>,
        limit: u32,
    ) -> Result<(Self, Option<Uuid>), Error> {
        let after = after.map(|id| id.as_u128());
        let ids: Vec<u128> = match kind {
            SubjectKind::Users => {
                let users = directory.users(after.map(UserId::from_u128), limit).await?;
                users.into_iter().map(|user| user.as_u128()).collect()
            }
            SubjectKind::Conversations => {
                let found = directory.conversation_ids(after.map(ConversationId::from_u128), limit).await?;
                found.into_iter().map(|conversation| conversation.as_u128()).collect()
            }
            SubjectKind::Announcements => return Ok((Self::Announcements, None)),
        };
        let ids: Vec<Uuid> = ids.into_iter().map(Uuid::from_u128).collect();
        let next = ids.last().copied().filter(|_| ids.len() == limit as usize);
        Ok((Self::named(kind, &ids), next))
    }

    /// The number of subjects. The outbox counts as one.
    pub const fn len(&self) -> usize {
        match self {
            Self::Users(users) => users.len(),
            Self::Conversations(conversations) => conversations.len(),
            Self::Announcements => 1,
        }
    }

    /// Whether there is no subject.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The subjects that a finding is about.
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
            Self::Announcements => Self::Announcements,
        }
    }
}
