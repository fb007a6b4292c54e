//! The outbox of the records: what is stored and not announced yet, how often recovery has tried to announce it, and
//! when recovery tries again.

use std::fmt;

use super::{Answer, Changed, RecordsError};
use crate::ids::{ConversationId, Seq, UserId};
use crate::time::Timestamp;

/// A stored change or move whose announcement is not confirmed.
#[allow(clippy::large_enum_variant, reason = "most items of a page are changes")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pending {
    /// A change of a conversation.
    Change(Changed),
    /// The read position of this user moved, so many times since the last confirmation.
    Member(ConversationId, UserId, u64),
    /// This user became a member or stopped being one, so many times since the last confirmation.
    Membership(ConversationId, UserId, u64),
    /// The conversation was created. The number is 1.
    Creation(ConversationId, u64),
    /// What the first user has said about the second changed, as a contact or by a block, so many times since the last
    /// confirmation.
    Contact(UserId, UserId, u64),
}

/// Identifies an item of the outbox. A member has one item of each kind in each conversation, however often the member
/// moved; two users have one for each direction. The order of the variants is the order of the items of one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PendingId {
    /// A change of a conversation.
    Change(ConversationId, Seq),
    /// The moves of a member's read position.
    Member(ConversationId, UserId),
    /// The moves of a membership.
    Membership(ConversationId, UserId),
    /// The creation of a conversation.
    Creation(ConversationId),
    /// The changes of what the first user has said about the second.
    Contact(UserId, UserId),
}

impl PendingId {
    /// The conversation that the item is about; `None` for one about two users.
    pub const fn conversation(self) -> Option<ConversationId> {
        match self {
            Self::Change(conversation, _)
            | Self::Member(conversation, _)
            | Self::Membership(conversation, _)
            | Self::Creation(conversation) => Some(conversation),
            Self::Contact(..) => None,
        }
    }
}

impl From<&Pending> for PendingId {
    fn from(pending: &Pending) -> Self {
        match pending {
            Pending::Change(changed) => Self::Change(changed.change.message.conversation, changed.change.seq),
            Pending::Member(conversation, user, _) => Self::Member(*conversation, *user),
            Pending::Membership(conversation, user, _) => Self::Membership(*conversation, *user),
            Pending::Creation(conversation, _) => Self::Creation(*conversation),
            Pending::Contact(user, other, _) => Self::Contact(*user, *other),
        }
    }
}

/// Which items of the outbox to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingQuery {
    /// `false`: the items that recovery has never tried, oldest first. `true`: the items that it has tried, those with
    /// the earliest next time first.
    pub tried: bool,
    /// Only items that were stored before this time; of tried items only those whose next time is before it.
    pub before: Timestamp,
    /// The [`PendingPage::next`] of the page before; `None`: the first page.
    pub cursor: Option<String>,
    /// 1 to [`crate::limits::PENDING_PAGE`].
    pub limit: u32,
}

impl PendingQuery {
    /// The longest first page of the items that were stored before this time and never tried.
    pub const fn untried(before: Timestamp) -> Self {
        Self { tried: false, before, cursor: None, limit: crate::limits::PENDING_PAGE }
    }

    /// The longest first page of the items that were tried and whose next time is before this time.
    pub const fn tried(before: Timestamp) -> Self {
        Self { tried: true, before, cursor: None, limit: crate::limits::PENDING_PAGE }
    }
}

/// An item of the outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingItem {
    /// What has to be announced.
    pub pending: Pending,
    /// When it was stored; of several moves of a member, the first.
    pub since: Timestamp,
    /// How often recovery has tried to announce it.
    pub attempts: u32,
}

/// A page of the outbox.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PendingPage {
    /// In the order of the query.
    pub items: Vec<PendingItem>,
    /// The cursor of the next page, which may be empty; `None`: this was the last. Callers do not interpret it.
    pub next: Option<String>,
}

/// When recovery tries to announce an item again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Postponement {
    /// The item that is pending.
    pub item: PendingId,
    /// How often recovery has tried it from now on; 0 makes it an item that was never tried.
    pub attempts: u32,
    /// Recovery leaves a tried item alone until this time.
    pub next_time: Timestamp,
}

/// A position in the outbox, for the cursors of adapters that are written in Rust: the time by which the items are
/// ordered, then the item. Changes come before everything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PendingCursor {
    /// The time at which the item was stored; of a tried item its next time.
    pub at: Timestamp,
    /// The last item of the page.
    pub item: PendingId,
}

impl PendingCursor {
    /// Reads the text of a cursor.
    ///
    /// # Errors
    /// [`RecordsError::Invalid`] for any other text.
    pub fn parse(text: &str) -> Answer<Self> {
        let parse = || {
            let mut parts = text.split('.');
            let at = parts.next()?.parse().ok().filter(|at| i64::try_from(*at).is_ok())?;
            let (kind, first) = (parts.next()?, parts.next()?);
            let conversation = || first.parse().ok();
            let mut last = || parts.next();
            let item = match kind {
                "change" => PendingId::Change(conversation()?, Seq(last()?.parse().ok()?)),
                "member" => PendingId::Member(conversation()?, last()?.parse().ok()?),
                "membership" => PendingId::Membership(conversation()?, last()?.parse().ok()?),
                "creation" => PendingId::Creation(conversation()?),
                "contact" => PendingId::Contact(first.parse().ok()?, last()?.parse().ok()?),
                _ => return None,
            };
            parts.next().is_none().then_some(Self { at: Timestamp(at), item })
        };
        parse().ok_or_else(|| {
            RecordsError::Invalid("the cursor is not one of an earlier page; leave it out for the first page".into())
        })
    }
}

impl fmt::Display for PendingCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.item {
            PendingId::Change(conversation, seq) => write!(f, "{}.change.{conversation}.{}", self.at.0, seq.0),
            PendingId::Member(conversation, user) => write!(f, "{}.member.{conversation}.{user}", self.at.0),
            PendingId::Membership(conversation, user) => write!(f, "{}.membership.{conversation}.{user}", self.at.0),
            PendingId::Creation(conversation) => write!(f, "{}.creation.{conversation}", self.at.0),
            PendingId::Contact(user, other) => write!(f, "{}.contact.{user}.{other}", self.at.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONVERSATION: ConversationId = ConversationId::from_u128(7);
    const USER: UserId = UserId::from_u128(8);

    #[test]
    fn a_cursor_is_parsed_from_its_own_text() {
        for item in [
            PendingId::Change(CONVERSATION, Seq(u64::MAX)),
            PendingId::Member(CONVERSATION, USER),
            PendingId::Membership(CONVERSATION, USER),
            PendingId::Creation(CONVERSATION),
            PendingId::Contact(USER, UserId::from_u128(9)),
        ] {
            let cursor = PendingCursor { at: Timestamp(1_790_000_000_123), item };
            assert_eq!(PendingCursor::parse(&cursor.to_string()), Ok(cursor));
        }
    }

    #[test]
    fn text_that_is_no_cursor_is_refused() {
        for text in [
            "".to_owned(),
            "1".to_owned(),
            format!("1.change.{CONVERSATION}"),
            format!("1.change.{CONVERSATION}.{USER}"),
            format!("1.member.{CONVERSATION}.1"),
            format!("1.creation.{CONVERSATION}.{USER}"),
            format!("1.contact.{USER}"),
            format!("1.other.{CONVERSATION}.1"),
            format!("1.change.{CONVERSATION}.1.1"),
            format!("-1.change.{CONVERSATION}.1"),
            format!("{}.change.{CONVERSATION}.1", u64::MAX),
        ] {
            assert!(matches!(PendingCursor::parse(&text), Err(RecordsError::Invalid(_))), "{text}");
        }
    }

    #[test]
    fn changes_come_before_everything_else_of_the_same_time() {
        let at = |at, item| PendingCursor { at: Timestamp(at), item };
        let change = PendingId::Change(ConversationId::from_u128(9), Seq(9));
        let member = PendingId::Member(ConversationId::from_u128(1), USER);
        assert!(at(1, change) < at(1, member) && at(1, member) < at(2, change));
        let later = [
            PendingId::Membership(ConversationId::from_u128(1), USER),
            PendingId::Creation(ConversationId::from_u128(1)),
            PendingId::Contact(UserId::from_u128(1), USER),
        ];
        assert!(member < later[0] && later.is_sorted());
        assert_eq!(change.conversation(), Some(ConversationId::from_u128(9)));
        assert_eq!(later.map(|id| id.conversation().is_some()), [true, true, false]);
    }
}
