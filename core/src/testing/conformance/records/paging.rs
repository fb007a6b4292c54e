//! Pages of conversations and of history.

use super::{ANN, AT, BOB, CAT, NOWHERE, Subject, by, draft, edit};
use crate::ids::{ConversationId, Seq, UserId};
use crate::limits::{MEMBERS_SHOWN_MAX, READS_SHOWN_MAX};
use crate::port::{
    ConversationPage, ConversationQuery, Draft, HistoryQuery, MemberChange, NewConversation, Records, RecordsError,
};

async fn page<R: Records>(subject: &Subject<R>, cursor: Option<String>, limit: u32) -> ConversationPage {
    subject.conversations(ANN, ConversationQuery::Page { cursor, limit }).await.unwrap()
}

fn ids(page: &ConversationPage) -> Vec<ConversationId> {
    page.conversations.iter().map(|conversation| conversation.id).collect()
}

/// Creates conversations of Ann and Bob, each a little later than the one before.
async fn conversations<R: Records>(subject: &Subject<R>, count: u64) -> Vec<ConversationId> {
    let mut conversations = Vec::new();
    for n in 0..count {
        let new = NewConversation { id: None, creator: ANN, members: vec![BOB], at: AT.plus(n) };
        conversations.push(subject.create_conversation(new).await.unwrap().conversation.id);
    }
    conversations
}

/// Only new messages are activity: edits, deletions, members and reading are not.
pub async fn conversations_come_newest_message_first<R: Records>(subject: &Subject<R>) {
    let conversations = conversations(subject, 4).await;
    let at = |conversation, delay| Draft { at: AT.plus(delay), ..draft(conversation, ANN, "hello") };
    assert_eq!(
        ids(&page(subject, None, 10).await),
        [conversations[3], conversations[2], conversations[1], conversations[0]]
    );
    let first = subject.append_message(at(conversations[0], 100)).await.unwrap().change.message;
    subject.append_message(at(conversations[1], 200)).await.unwrap();
    subject.mark_read(BOB, conversations[3], None).await.unwrap();
    let found = page(subject, None, 10).await;
    assert_eq!(ids(&found), [conversations[1], conversations[0], conversations[3], conversations[2]]);
    assert_eq!(found.next, None);
    let top = &found.conversations[0];
    assert_eq!((&*top.members, top.joined, top.updated_at), (&[ANN, BOB][..], Seq(0), AT.plus(200)));
    let late = crate::port::Edit { at: AT.plus(300), ..edit(&first, "changed") };
    subject.edit_message(late).await.unwrap();
    subject.delete_message(conversations[0], first.id, Some(ANN), AT.plus(400)).await.unwrap();
    subject.add_member(MemberChange { at: AT.plus(500), ..by(ANN, conversations[0], CAT) }).await.unwrap();
    assert_eq!(
        page(subject, None, 10).await.conversations.iter().map(|found| found.updated_at).collect::<Vec<_>>(),
        [AT.plus(200), AT.plus(100), AT.plus(3), AT.plus(2)]
    );
    subject.append_message(at(conversations[2], 600)).await.unwrap();
    assert_eq!(ids(&page(subject, None, 2).await), [conversations[2], conversations[1]]);
}

/// This holds for conversations with the same timestamp, and for any size of the page.
pub async fn pages_list_every_conversation_once<R: Records>(subject: &Subject<R>) {
    let mut all = Vec::new();
    for n in 0..12 {
        let new = NewConversation { id: None, creator: ANN, members: vec![BOB], at: AT.plus(n / 4) };
        all.push(subject.create_conversation(new).await.unwrap().conversation.id);
    }
    subject.create(&[BOB, CAT]).await;
    all.sort_unstable();
    for limit in [1, 3, 5, 12] {
        let (mut found, mut cursor) = (Vec::new(), None);
        loop {
            let next = page(subject, cursor, limit).await;
            found.extend(ids(&next));
            cursor = next.next;
            if cursor.is_none() {
                break;
            }
            assert_eq!(next.conversations.len(), limit as usize);
        }
        found.sort_unstable();
        assert_eq!(found, all, "pages of {limit}");
    }
}

/// A conversation with new activity moves to the front; the next page continues where the page before ended.
pub async fn a_cursor_remains_valid_while_conversations_get_new_activity<R: Records>(subject: &Subject<R>) {
    let conversations = conversations(subject, 5).await;
    let first = page(subject, None, 2).await;
    assert_eq!(ids(&first), [conversations[4], conversations[3]]);
    for (conversation, delay) in [(conversations[4], 10), (conversations[0], 20)] {
        subject.append_message(Draft { at: AT.plus(delay), ..draft(conversation, BOB, "hello") }).await.unwrap();
    }
    let second = page(subject, first.next.clone(), 2).await;
    assert_eq!((ids(&second), second.next), (vec![conversations[2], conversations[1]], None));
    assert_eq!(ids(&page(subject, first.next, 1).await), [conversations[2]]);
}

/// A caller whose clock is behind does not move a conversation back.
pub async fn activity_never_steps_back<R: Records>(subject: &Subject<R>) {
    let conversations = conversations(subject, 2).await;
    subject.append_message(Draft { at: AT.plus(100), ..draft(conversations[0], ANN, "now") }).await.unwrap();
    subject.append_message(Draft { at: AT.minus(100), ..draft(conversations[0], BOB, "then") }).await.unwrap();
    let found = page(subject, None, 10).await;
    assert_eq!(ids(&found), [conversations[0], conversations[1]]);
    assert_eq!(found.conversations[0].updated_at, AT.plus(100));
}

/// The error is the caller's, and the first page is not answered again.
pub async fn text_that_is_no_cursor_is_refused<R: Records>(subject: &Subject<R>) {
    let one_more = conversations(subject, 2).await.len() as u32;
    let cursor = page(subject, None, one_more - 1).await.next.unwrap();
    let cut = cursor[..cursor.len() - 1].to_owned();
    for text in ["", "x", "é\0", "1", "-1", "{}", "9".repeat(200).as_str(), cut.as_str()] {
        let query = ConversationQuery::Page { cursor: Some(text.to_owned()), limit: 1 };
        let answer = subject.conversations(ANN, query).await;
        assert!(matches!(answer, Err(RecordsError::Invalid(_))), "{text:?}: {answer:?}");
    }
}

/// Conversations are in order of their newest activity, each once, without conversations of others.
pub async fn named_conversations_are_those_of_the_user<R: Records>(subject: &Subject<R>) {
    let conversations = conversations(subject, 3).await;
    let others = subject.create(&[BOB, CAT]).await;
    let named = vec![conversations[0], others, conversations[2], NOWHERE, conversations[0]];
    let found = subject.conversations(ANN, ConversationQuery::Named(named)).await.unwrap();
    assert_eq!((ids(&found), found.next), (vec![conversations[2], conversations[0]], None));
    let none = subject.conversations(ANN, ConversationQuery::Named(Vec::new())).await.unwrap();
    assert!(none.conversations.is_empty());
}

/// Newest first, until there is no more.
pub async fn history_goes_back_in_pages<R: Records>(subject: &Subject<R>) {
    let conversation = subject.create(&[ANN, BOB]).await;
    for n in 1..=5 {
        subject.send(conversation, ANN, &n.to_string()).await;
    }
    let query = |before, limit| HistoryQuery { user: BOB, conversation, before, limit };
    type Case<'a> = (Option<u64>, u32, &'a [u64], Option<u64>);
    let expected: [Case<'_>; 7] = [
        (None, 2, &[5, 4], Some(4)),
        (Some(4), 2, &[3, 2], Some(2)),
        (Some(2), 2, &[1], None),
        (None, 5, &[5, 4, 3, 2, 1], None),
        (Some(u64::MAX), 1, &[5], Some(5)),
        (Some(1), 1, &[], None),
        (Some(0), 1, &[], None),
    ];
    for (before, limit, sequence_numbers, next) in expected {
        let page = subject.history(query(before.map(Seq), limit)).await.unwrap();
        let found: Vec<u64> = page.messages.iter().map(|message| message.seq.0).collect();
        assert_eq!(
            (&*found, page.next_before),
            (sequence_numbers, next.map(Seq)),
            "before {before:?}, at most {limit}"
        );
    }
}

/// A page is filled with messages that are not deleted, and announces a next page only when there is one.
pub async fn history_leaves_out_deleted_messages<R: Records>(subject: &Subject<R>) {
    let conversation = subject.create(&[ANN, BOB]).await;
    let mut messages = Vec::new();
    for n in 1..=5 {
        messages.push(subject.send(conversation, ANN, &n.to_string()).await);
    }
    for gone in [0, 3] {
        subject.delete(&messages[gone]).await;
    }
    let query = |before, limit| HistoryQuery { user: BOB, conversation, before, limit };
    let page = subject.history(query(None, 2)).await.unwrap();
    assert_eq!(page.messages, [messages[4].clone(), messages[2].clone()]);
    let rest = subject.history(query(page.next_before, 1)).await.unwrap();
    assert_eq!((rest.messages, rest.next_before), (vec![messages[1].clone()], None));
}

/// The first members in ascending order, and the number of all. This holds for pages, named conversations and
/// creations.
pub async fn conversations_carry_at_most_20_members_and_the_positions_of_8<R: Records>(subject: &Subject<R>) {
    for count in [1, READS_SHOWN_MAX, READS_SHOWN_MAX + 1, MEMBERS_SHOWN_MAX, MEMBERS_SHOWN_MAX + 1, 50] {
        let others: Vec<UserId> = (1..count as u128).map(|n| UserId::from_u128(n << 32)).collect();
        let id = Some(ConversationId::from_u128(count as u128));
        let new = NewConversation { id, creator: ANN, members: others.clone(), at: AT };
        let created = subject.create_conversation(new.clone()).await.unwrap().conversation;
        subject.send(created.id, ANN, "hello").await;
        subject.mark_read(ANN, created.id, None).await.unwrap();
        let shown: Vec<UserId> = std::iter::once(ANN).chain(others).take(MEMBERS_SHOWN_MAX).collect();
        assert_eq!((&created.members, created.member_count, created.read), (&shown, count as u64, Seq(0)));
        let are_shown = count <= READS_SHOWN_MAX;
        assert_eq!(created.reads, if are_shown { vec![Seq(0); count] } else { Vec::new() });
        let named = subject.conversations(ANN, ConversationQuery::Named(vec![created.id])).await.unwrap();
        let paged = page(subject, None, 1).await;
        let repeated = subject.create_conversation(new).await.unwrap().conversation;
        for found in [&named.conversations[0], &paged.conversations[0], &repeated] {
            assert_eq!((&found.members, found.member_count, found.read), (&shown, count as u64, Seq(1)));
            let reads = std::iter::once(Seq(1)).chain(std::iter::repeat_n(Seq(0), count - 1));
            assert_eq!(found.reads, if are_shown { reads.collect() } else { Vec::new() });
        }
    }
}
