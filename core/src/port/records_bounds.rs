//! The bounds of the records port, checked alike by every adapter before it touches its data.
//!
//! Only what a call says by itself is judged here; what needs stored rows (members, contacts) is the adapter's.

use super::records::{
    Answer, ChangeRange, ConversationQuery, Draft, Edit, HistoryQuery, NewConversation, RecordsError, UnreadRequest,
};
use crate::ids::UserId;
use crate::limits::{CONTACTS_MAX, CONTENT_BYTES_MAX, KIND_BYTES_MAX, LIST_MAX, MEMBERS_MAX, PAGE_MAX, PENDING_PAGE};
use crate::time::Timestamp;

/// The last moment that has an RFC 3339 form: the end of the year 9999.
pub const MOMENT_MAX: Timestamp = Timestamp(253_402_300_799_999);

/// A message to store.
pub fn draft(draft: &Draft) -> Answer<()> {
    if draft.kind.is_empty() {
        return Err(RecordsError::Invalid("a message's kind is empty".into()));
    }
    at_most("bytes of a message's kind", draft.kind.len(), KIND_BYTES_MAX)?;
    at_most("bytes of content", draft.content.len(), CONTENT_BYTES_MAX)?;
    moment(draft.at)
}

/// New content.
pub fn edit(edit: &Edit) -> Answer<()> {
    at_most("bytes of content", edit.content.len(), CONTENT_BYTES_MAX)?;
    moment(edit.at)
}

/// A moment that a caller gives.
pub fn moment(at: Timestamp) -> Answer<()> {
    if at > MOMENT_MAX {
        return Err(RecordsError::Invalid("a moment after the year 9999".into()));
    }
    Ok(())
}

/// Standings asked for.
pub fn unread(requests: &[UnreadRequest]) -> Answer<()> {
    list(requests)?;
    requests.iter().filter_map(|request| request.conversations.as_deref()).try_for_each(list)
}

/// Ranges of changes.
pub fn changes(ranges: &[ChangeRange]) -> Answer<()> {
    list(ranges)
}

/// Any list in a call.
pub fn list<T>(items: &[T]) -> Answer<()> {
    at_most("entries of a list", items.len(), LIST_MAX)
}

/// A user's conversations.
pub fn conversations(query: &ConversationQuery) -> Answer<()> {
    match query {
        ConversationQuery::Page { limit, .. } => page(*limit, PAGE_MAX),
        ConversationQuery::Named(ids) => list(ids),
    }
}

/// A page of messages.
pub fn history(query: &HistoryQuery) -> Answer<()> {
    page(query.limit, PAGE_MAX)
}

/// A page of unconfirmed work.
pub fn pending(limit: u32) -> Answer<()> {
    page(limit, PENDING_PAGE)
}

/// A page of the directory.
pub fn directory(limit: u32) -> Answer<()> {
    page(limit, LIST_MAX as u32)
}

/// A conversation to create: its members in ascending order, the creator among them, each once.
pub fn members(conversation: &NewConversation) -> Answer<Vec<UserId>> {
    moment(conversation.at)?;
    let mut members = conversation.members.clone();
    members.push(conversation.creator);
    members.sort_unstable();
    members.dedup();
    member_count(members.len())?;
    Ok(members)
}

/// So many members a conversation would have.
pub fn member_count(count: usize) -> Answer<()> {
    at_most("members of a conversation", count, MEMBERS_MAX)
}

/// So many contacts or blocked users a user would have.
pub fn contact_count(count: usize) -> Answer<()> {
    at_most("contacts or blocked users", count, CONTACTS_MAX)
}

/// A relation needs two people.
pub fn two_people(user: UserId, other: UserId) -> Answer<()> {
    if user == other {
        return Err(RecordsError::Invalid("nobody is their own contact, and nobody blocks themselves".into()));
    }
    Ok(())
}

fn page(limit: u32, max: u32) -> Answer<()> {
    if limit == 0 || limit > max {
        return Err(RecordsError::Invalid(format!("a page has 1 to {max} entries, not {limit}")));
    }
    Ok(())
}

fn at_most(what: &str, found: usize, allowed: usize) -> Answer<()> {
    if found > allowed {
        return Err(RecordsError::TooLarge(format!("{found} {what}, at most {allowed} are allowed")));
    }
    Ok(())
}
