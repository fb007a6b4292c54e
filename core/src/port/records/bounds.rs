//! The bounds of the records port. Every adapter checks them before it touches its data.
//!
//! These functions check the arguments of a call. They do not read stored data: the adapter counts members, contacts
//! and documents itself and checks the count here. The same holds for the version of a document.

use serde::de::IgnoredAny;

use super::{
    Answer, Change, ChangeRange, ConversationQuery, DirectRequest, DocumentKey, DocumentPut, DocumentScope, Draft,
    Edit, HistoryQuery, MembersQuery, MessagesQuery, NewConversation, PendingQuery, Postponement, RecordsError,
    UnreadRequest,
};
use crate::ids::UserId;
use crate::limits::{
    CHANGES_ANSWER_MAX, CHANGES_BYTES_MAX, CONTACTS_MAX, CONTENT_BYTES_MAX, CONVERSATIONS_MAX, COUNTERS_MAX,
    DOCUMENT_BYTES_MAX, DOCUMENT_KEYS_MAX, DOCUMENT_OVERHEAD_BYTES, DOCUMENTS_MAX, FUNCTION_NAME_BYTES_MAX,
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
    let named = || requests.iter().filter_map(|request| request.conversations.as_deref());
    named().try_for_each(list)?;
    at_most("conversations named in all requests", named().map(<[_]>::len).sum(), COUNTERS_MAX)
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
pub fn pending(query: &PendingQuery) -> Answer<()> {
    page(query.limit, PENDING_PAGE)
}

/// Checks the number of postponed announcements, and their times.
pub fn postponements(postponements: &[Postponement]) -> Answer<()> {
    list(postponements)?;
    postponements.iter().try_for_each(|postponement| timestamp(postponement.next_time))
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

/// Checks a query of members.
pub fn members_page(query: &MembersQuery) -> Answer<()> {
    page(query.limit, PAGE_MAX)
}

/// Checks the number of conversations that a user would be in.
pub fn conversation_count(user: UserId, count: u64) -> Answer<()> {
    if count > CONVERSATIONS_MAX as u64 {
        return Err(too_many_conversations(user));
    }
    Ok(())
}

/// The refusal of a conversation that would be one too many for this user.
pub fn too_many_conversations(user: UserId) -> RecordsError {
    RecordsError::TooManyConversations(format!(
        "user {user} is in {CONVERSATIONS_MAX} conversations, and no more are allowed; the user must leave one first"
    ))
}

/// What is left of an answer with changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChangesLeft {
    /// So many changes.
    count: usize,
    /// So many bytes of their contents.
    bytes: usize,
}

impl ChangesLeft {
    /// A whole answer.
    pub const ALL: Self = Self { count: CHANGES_ANSWER_MAX, bytes: CHANGES_BYTES_MAX };

    /// Whether nothing is left.
    pub const fn is_used_up(&self) -> bool {
        self.count == 0 || self.bytes == 0
    }

    /// Takes the newest of these changes that fit; they are oldest first. If not all of them fit, nothing is left for
    /// the ranges behind.
    pub fn take_newest(&mut self, mut changes: Vec<Change>) -> Vec<Change> {
        if self.is_used_up() {
            return Vec::new();
        }
        let too_many = changes.iter().rposition(|change| {
            let left = self.count.checked_sub(1).zip(self.bytes.checked_sub(change.message.content.len()));
            (self.count, self.bytes) = left.unwrap_or_default();
            left.is_none()
        });
        if let Some(last) = too_many {
            changes.drain(..=last);
        }
        changes
    }
}

/// Checks the number of contacts or of blocked users that a user would have.
pub fn contact_count(count: usize) -> Answer<()> {
    at_most("contacts or blocked users", count, CONTACTS_MAX)
}

/// Checks a request for the pair of two users.
pub fn direct(request: &DirectRequest) -> Answer<()> {
    timestamp(request.at)?;
    if request.user == request.other {
        return Err(RecordsError::Invalid("a direct conversation is with another user; name another user".into()));
    }
    Ok(())
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

/// What a document counts in the bytes of all documents of its function.
pub const fn document_bytes(name: &str, json_bytes: u64) -> u64 {
    DOCUMENT_OVERHEAD_BYTES.saturating_add(name.len() as u64).saturating_add(json_bytes)
}

/// Checks the bytes that all documents of the function would have after the put, which changes them by `growth`. A
/// function that has more than it may have, because the bound was lowered, can still shrink.
pub fn documents_bytes(put: &DocumentPut, after: u64, growth: i64) -> Answer<()> {
    let Some(bytes_max) = put.bytes_max.filter(|bytes_max| growth > 0 && after > *bytes_max) else { return Ok(()) };
    let function = &put.key.scope.function;
    Err(RecordsError::QuotaExceeded(format!(
        "the documents would take {after} bytes, but documents_bytes_max allows {bytes_max}; delete documents, or let the \
         operator raise function.{function}.documents_bytes_max"
    )))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{ConversationId, MessageId, Seq};
    use crate::key::Owner;
    use crate::port::{ChangeKind, Message};

    fn change(seq: u64, bytes: usize) -> Change {
        let message = Message {
            id: MessageId::from_u128(1),
            conversation: ConversationId::from_u128(2),
            seq: Seq(seq),
            sender: UserId::from_u128(3),
            kind: "text".into(),
            content: "x".repeat(bytes),
            created_at: Timestamp(1),
            edited_at: None,
            deleted: false,
        };
        Change { seq: Seq(seq), kind: ChangeKind::Sent, message }
    }

    #[test]
    fn the_newest_changes_that_fit_are_kept() {
        let kept = |sizes: &[usize], left: &mut ChangesLeft| -> Vec<u64> {
            let changes = (1..).zip(sizes).map(|(seq, bytes)| change(seq, *bytes)).collect();
            left.take_newest(changes).iter().map(|change| change.seq.0).collect()
        };
        let mut left = ChangesLeft { count: 100, bytes: 10 };
        assert_eq!((kept(&[4, 0, 2], &mut left), left.bytes), (vec![1, 2, 3], 4));
        assert_eq!((kept(&[1, 3, 2, 2], &mut left), left.bytes), (vec![3, 4], 0), "the next one is too large");
        assert_eq!(kept(&[1, 0], &mut left), [0; 0], "nothing is left");
        let mut more = ChangesLeft { count: 100, bytes: 5 };
        assert_eq!((kept(&[], &mut more), kept(&[9], &mut more), more.is_used_up()), (vec![], vec![], true));
        let mut few = ChangesLeft { count: 3, bytes: 100 };
        assert_eq!((kept(&[0], &mut few), few.count), (vec![1], 2));
        assert_eq!((kept(&[0, 0, 0], &mut few), few.is_used_up()), (vec![2, 3], true), "too many");
        assert_eq!(kept(&[0], &mut few), [0; 0], "nothing is left");
    }

    #[test]
    fn only_a_put_that_grows_beyond_the_bound_is_refused() {
        let mut key = DocumentKey::new(Owner::Shard(0), "name");
        key.scope.function = "polls".into();
        let mut put = DocumentPut::new(key, "1".into(), None);
        assert_eq!(documents_bytes(&put, u64::MAX, 1), Ok(()), "no bound");
        put.bytes_max = Some(1_000);
        for (after, growth) in [(1_000, 1), (5_000, 0), (5_000, -1)] {
            assert_eq!(documents_bytes(&put, after, growth), Ok(()), "{after} {growth}");
        }
        let RecordsError::QuotaExceeded(text) = documents_bytes(&put, 1_001, 1).unwrap_err() else { panic!("a quota") };
        assert!(text.contains("would take 1001 bytes, but documents_bytes_max allows 1000"), "{text}");
        assert!(text.contains("function.polls.documents_bytes_max"), "{text}");
        assert_eq!(document_bytes("name", 10), 526);
    }

    #[test]
    fn a_user_is_in_at_most_20000_conversations() {
        let user = UserId::from_u128(7);
        assert_eq!(conversation_count(user, CONVERSATIONS_MAX as u64), Ok(()));
        let RecordsError::TooManyConversations(text) = conversation_count(user, 20_001).unwrap_err() else {
            panic!("another error")
        };
        assert!(text.contains(&user.to_string()) && text.contains("20000"), "{text}");
    }
}
