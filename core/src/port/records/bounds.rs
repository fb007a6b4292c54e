//! The bounds of the records port. Every adapter checks them before it touches its data.
//!
//! These functions check the arguments of a call. They do not read stored data: the adapter counts members, contacts and
//! documents itself and checks the count here. The same holds for the version of a document.

use serde::de::IgnoredAny;

use super::{
    Answer, ChangeRange, ConversationQuery, DocumentKey, DocumentPut, DocumentScope, Draft, Edit, HistoryQuery,
    MessagesQuery, NewConversation, RecordsError, UnreadRequest,
};
use crate::ids::UserId;
use crate::limits::{
    CONTACTS_MAX, CONTENT_BYTES_MAX, DOCUMENT_BYTES_MAX, DOCUMENT_KEYS_MAX, DOCUMENTS_MAX, FUNCTION_NAME_BYTES_MAX,
    KIND_BYTES_MAX, LIST_MAX, MEMBERS_MAX, NAME_BYTES_MAX, PAGE_MAX, PENDING_PAGE,
};
use crate::time::Timestamp;

/// The last timestamp that has an RFC 3339 form: the end of the year 9999.
pub const TIMESTAMP_MAX: Timestamp = Timestamp(253_402_300_799_999);

/// Checks a message to store.
pub fn draft(draft: &Draft) -> Answer<()> {
    if draft.kind.is_empty() {
        return Err(RecordsError::Invalid("a message's kind is empty".into()));
    }
    at_most("bytes of a message's kind", draft.kind.len(), KIND_BYTES_MAX)?;
    at_most("bytes of content", draft.content.len(), CONTENT_BYTES_MAX)?;
    timestamp(draft.at)
}

/// Checks new content of a message.
pub fn edit(edit: &Edit) -> Answer<()> {
    at_most("bytes of content", edit.content.len(), CONTENT_BYTES_MAX)?;
    timestamp(edit.at)
}

/// Checks a timestamp that a caller gives.
pub fn timestamp(at: Timestamp) -> Answer<()> {
    if at > TIMESTAMP_MAX {
        return Err(RecordsError::Invalid(
            "the timestamp is after the year 9999; the last one allowed is the end of 9999".into(),
        ));
    }
    Ok(())
}

/// Checks a request for unread counters.
pub fn unread(requests: &[UnreadRequest]) -> Answer<()> {
    list(requests)?;
    requests.iter().filter_map(|request| request.conversations.as_deref()).try_for_each(list)
}

/// Checks a request for changes.
pub fn changes(ranges: &[ChangeRange]) -> Answer<()> {
    list(ranges)
}

/// Checks the length of any list in a call.
pub fn list<T>(items: &[T]) -> Answer<()> {
    at_most("entries of a list", items.len(), LIST_MAX)
}

/// Checks a query of a user's conversations.
pub fn conversations(query: &ConversationQuery) -> Answer<()> {
    match query {
        ConversationQuery::Page { limit, .. } => page(*limit, PAGE_MAX),
        ConversationQuery::Named(ids) => list(ids),
    }
}

/// Checks a query of messages.
pub fn history(query: &HistoryQuery) -> Answer<()> {
    page(query.limit, PAGE_MAX)
}

/// Checks the number of messages that are asked for by their ids.
pub fn messages(query: &MessagesQuery) -> Answer<()> {
    at_most("messages to read", query.messages.len(), PAGE_MAX as usize)
}

/// Checks the length of a page of unconfirmed announcements.
pub fn pending(limit: u32) -> Answer<()> {
    page(limit, PENDING_PAGE)
}

/// Checks the length of a page of the directory.
pub fn directory(limit: u32) -> Answer<()> {
    page(limit, LIST_MAX as u32)
}

/// Checks a conversation to create. Answers its members with the creator, in ascending order, each once.
pub fn members(conversation: &NewConversation) -> Answer<Vec<UserId>> {
    timestamp(conversation.at)?;
    let mut members = conversation.members.clone();
    members.push(conversation.creator);
    members.sort_unstable();
    members.dedup();
    member_count(members.len())?;
    Ok(members)
}

/// Checks the number of members that a conversation would have.
pub fn member_count(count: usize) -> Answer<()> {
    at_most("members of a conversation", count, MEMBERS_MAX)
}

/// Checks the number of contacts or of blocked users that a user would have.
pub fn contact_count(count: usize) -> Answer<()> {
    at_most("contacts or blocked users", count, CONTACTS_MAX)
}

/// Checks that a contact or a block is between two different users.
pub fn two_users(user: UserId, other: UserId) -> Answer<()> {
    if user == other {
        return Err(RecordsError::Invalid("a user cannot add or block themselves; name another user".into()));
    }
    Ok(())
}

/// Checks the keys of documents to read.
pub fn document_keys(keys: &[DocumentKey]) -> Answer<()> {
    at_most("documents to read", keys.len(), DOCUMENT_KEYS_MAX)?;
    keys.iter().try_for_each(document_key)
}

/// Checks the key of a document.
pub fn document_key(key: &DocumentKey) -> Answer<()> {
    document_scope(&key.scope)?;
    if key.name.is_empty() || key.name.contains(char::is_control) {
        return Err(RecordsError::Invalid(format!(
            "a document's name has 1 to {NAME_BYTES_MAX} bytes of UTF-8 without control characters"
        )));
    }
    at_most("bytes of a document's name", key.name.len(), NAME_BYTES_MAX)
}

/// Checks the function of documents. The host fills in its name.
pub fn document_scope(scope: &DocumentScope) -> Answer<()> {
    at_most("bytes of a function's name", scope.function.len(), FUNCTION_NAME_BYTES_MAX)
}

/// Checks a document to put: its key, its size, and that it is one JSON value.
pub fn document_put(put: &DocumentPut) -> Answer<()> {
    document_key(&put.key)?;
    at_most("bytes of a document", put.json.len(), DOCUMENT_BYTES_MAX)?;
    serde_json::from_str::<IgnoredAny>(&put.json)
        .map(|_| ())
        .map_err(|error| RecordsError::Invalid(format!("the document is not JSON: {error}; put one JSON value")))
}

/// Checks that a document has the version that the caller expects. `None` stands for a document that does not exist.
pub fn document_version(present: Option<u64>, expected: Option<u64>) -> Answer<()> {
    if present == expected { Ok(()) } else { Err(RecordsError::VersionMismatch { present }) }
}

/// Checks the number of documents that a function would have for an owner.
pub fn document_count(count: usize) -> Answer<()> {
    at_most("documents of a function for one owner", count, DOCUMENTS_MAX)
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
