//! Each bound: the largest value that is accepted, and the first one that is refused.

use super::{ANN, AT, BOB, NOWHERE, Subject, by, by_service, draft, edit};
use crate::ids::{ConversationId, Seq, UserId};
use crate::limits::{
    CONTACTS_MAX, CONTENT_BYTES_MAX, COUNTERS_MAX, KIND_BYTES_MAX, LIST_MAX, MEMBERS_MAX, PAGE_MAX, PENDING_PAGE,
};
use crate::port::{
    Answer, ChangeRange, Confirmation, ConversationQuery, Draft, Edit, HistoryQuery, NewConversation, PendingQuery,
    Records, RecordsError, UnreadRequest,
};
use crate::time::Timestamp;

fn too_large<T: std::fmt::Debug>(answer: Answer<T>) {
    assert!(matches!(answer, Err(RecordsError::TooLarge(_))), "{answer:?}");
}

fn invalid<T: std::fmt::Debug>(answer: Answer<T>) {
    assert!(matches!(answer, Err(RecordsError::Invalid(_))), "{answer:?}");
}

fn users(count: usize) -> Vec<UserId> {
    (1..=count as u128).map(|n| UserId::from_u128(n << 32)).collect()
}

/// The bound counts bytes, not characters, and applies to edits too.
pub async fn content_is_bounded_in_bytes<R: Records>(subject: &Subject<R>) {
    let conversation = subject.create(&[ANN, BOB]).await;
    let fits = "é".repeat(CONTENT_BYTES_MAX / 2);
    let beyond = format!("{fits}!");
    too_large(subject.append_message(draft(conversation, ANN, &beyond)).await);
    let message = subject.send(conversation, ANN, &fits).await;
    too_large(subject.edit_message(edit(&message, &beyond)).await);
    let other = "e".repeat(CONTENT_BYTES_MAX);
    assert_eq!(subject.edit_message(edit(&message, &other)).await.unwrap().change.message.content, other);
    assert_eq!(subject.counter(BOB, conversation).await.seq, Seq(2));
}

/// An empty kind is invalid, a longer one is too large.
pub async fn kinds_have_1_to_32_bytes<R: Records>(subject: &Subject<R>) {
    let conversation = subject.create(&[ANN, BOB]).await;
    let of_kind = |kind: String| Draft { kind, ..draft(conversation, ANN, "hello") };
    invalid(subject.append_message(of_kind(String::new())).await);
    too_large(subject.append_message(of_kind("k".repeat(KIND_BYTES_MAX + 1))).await);
    let longest = "k".repeat(KIND_BYTES_MAX);
    let stored = subject.append_message(of_kind(longest.clone())).await.unwrap();
    assert_eq!(stored.change.message.kind, longest);
}

/// The bound applies to every list of every call.
pub async fn lists_have_at_most_500_entries<R: Records>(subject: &Subject<R>) {
    let conversation = subject.create(&[ANN, BOB]).await;
    for (count, fits) in [(LIST_MAX, true), (LIST_MAX + 1, false)] {
        let conversations = vec![conversation; count];
        let range = ChangeRange { conversation, after: Seq::ZERO, up_to: Seq(1) };
        let all = UnreadRequest::all(ANN);
        let named = UnreadRequest::named(ANN, conversations.clone());
        let answers = [
            subject.unread(vec![all; count]).await.map(|_| ()),
            subject.unread(vec![named]).await.map(|_| ()),
            subject.changes(vec![range; count]).await.map(|_| ()),
            subject.last_messages(conversations.clone()).await.map(|_| ()),
            subject.conversations(ANN, ConversationQuery::Named(conversations)).await.map(|_| ()),
            subject.audience(vec![ANN; count]).await.map(|_| ()),
            subject.announced(vec![Confirmation::Change(NOWHERE, Seq(1)); count]).await,
        ];
        for answer in answers {
            if fits { answer.unwrap() } else { too_large(answer) }
        }
    }
    let many = |requests| vec![UnreadRequest::named(ANN, vec![conversation; LIST_MAX]); requests];
    subject.unread(many(COUNTERS_MAX / LIST_MAX)).await.unwrap();
    too_large(subject.unread(many(COUNTERS_MAX / LIST_MAX + 1)).await);
}

/// The bound applies to conversations, messages and pending announcements.
pub async fn pages_have_1_to_100_entries<R: Records>(subject: &Subject<R>) {
    let conversation = subject.create(&[ANN, BOB]).await;
    let history = |limit| HistoryQuery { user: ANN, conversation, before: None, limit };
    let page = |limit| ConversationQuery::Page { cursor: None, limit };
    for limit in [0, PAGE_MAX + 1, u32::MAX] {
        invalid(subject.history(history(limit)).await);
        invalid(subject.conversations(ANN, page(limit)).await);
    }
    for limit in [1, PAGE_MAX] {
        subject.history(history(limit)).await.unwrap();
        subject.conversations(ANN, page(limit)).await.unwrap();
    }
    for limit in [0, PENDING_PAGE + 1] {
        invalid(subject.pending(PendingQuery { limit, ..PendingQuery::untried(AT) }).await);
    }
    subject.pending(PendingQuery { limit: PENDING_PAGE, ..PendingQuery::untried(AT) }).await.unwrap();
}

/// The creator counts as a member, and a member that is named twice counts once.
pub async fn a_conversation_has_at_most_1000_members<R: Records>(subject: &Subject<R>) {
    let others = users(MEMBERS_MAX);
    let of = |members: &[UserId]| NewConversation { id: None, creator: ANN, members: members.to_vec(), at: AT };
    too_large(subject.create_conversation(of(&others)).await);
    let mut twice = others[..MEMBERS_MAX - 1].to_vec();
    twice.extend([ANN, others[0]]);
    let full = subject.create_conversation(of(&twice)).await.unwrap().conversation;
    assert_eq!(full.member_count, MEMBERS_MAX as u64);
    let all = subject.membership(full.id, ANN).await.unwrap().members;
    assert_eq!(all.len(), MEMBERS_MAX);
    too_large(subject.add_member(by(ANN, full.id, BOB)).await);
    too_large(subject.add_member(by_service(full.id, BOB)).await);
    assert_eq!(subject.add_member(by(ANN, full.id, others[0])).await.unwrap().len(), MEMBERS_MAX);
    assert_eq!(subject.append(full.id, ANN, "hello all").await.members, all);
    subject.remove_member(by(ANN, full.id, others[0])).await.unwrap();
    subject.add_member(by(ANN, full.id, BOB)).await.unwrap();
}

/// One more is refused; one that exists already is not.
pub async fn users_have_at_most_1000_contacts_and_blocks<R: Records>(subject: &Subject<R>) {
    let others = users(CONTACTS_MAX);
    for &other in &others {
        subject.add_contact(ANN, other).await.unwrap();
        subject.block(ANN, other).await.unwrap();
    }
    too_large(subject.add_contact(ANN, BOB).await);
    too_large(subject.block(ANN, BOB).await);
    subject.add_contact(ANN, others[0]).await.unwrap();
    subject.block(ANN, others[0]).await.unwrap();
    assert_eq!(subject.contacts(ANN).await.unwrap(), others);
    subject.add_contact(BOB, others[0]).await.unwrap();
    subject.remove_contact(ANN, others[7]).await.unwrap();
    subject.unblock(ANN, others[7]).await.unwrap();
    subject.add_contact(ANN, BOB).await.unwrap();
    subject.block(ANN, BOB).await.unwrap();
}

/// A later timestamp has no form on the wire.
pub async fn timestamps_end_with_the_year_9999<R: Records>(subject: &Subject<R>) {
    let last = Timestamp(253_402_300_799_999);
    let conversation = subject.create(&[ANN, BOB]).await;
    let message = subject.send(conversation, ANN, "hello").await;
    for at in [last.plus(1), Timestamp(u64::MAX)] {
        let new = NewConversation { id: Some(ConversationId::from_u128(1)), creator: ANN, members: vec![BOB], at };
        let change = crate::port::MemberChange { at, ..by(ANN, conversation, BOB) };
        invalid(subject.append_message(Draft { at, ..draft(conversation, ANN, "hello") }).await);
        invalid(subject.edit_message(Edit { at, ..edit(&message, "hi") }).await);
        invalid(subject.delete_message(conversation, message.id, Some(ANN), at).await);
        invalid(subject.create_conversation(new).await);
        invalid(subject.add_member(change).await);
        invalid(subject.remove_member(change).await);
    }
    subject.append_message(Draft { at: last, ..draft(conversation, ANN, "hello") }).await.unwrap();
}
