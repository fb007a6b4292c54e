//! Cases about pairs: the one conversation of two users, which is made once, and whose members do not change.

use super::{ANN, AT, BOB, CAT, Subject, by, by_service};
use crate::ids::{Seq, UserId};
use crate::port::{ConversationQuery, Created, DirectRequest, MembersQuery, Records, RecordsError};
use crate::testing::{BoxFuture, join_all};

fn request(user: UserId, other: UserId) -> DirectRequest {
    DirectRequest { user, other, may_create: true, at: AT }
}

async fn pair<R: Records>(subject: &Subject<R>, user: UserId, other: UserId) -> Created {
    subject.create_direct(request(user, other)).await.unwrap()
}

/// Whoever asks first is its creator; the other one gets the same one.
pub async fn two_users_have_one_pair_whoever_asks<R: Records>(subject: &Subject<R>) {
    let made = pair(subject, BOB, ANN).await;
    assert!(!made.repeated && made.conversation.direct);
    assert_eq!(made.conversation.members, [ANN, BOB]);
    assert_eq!((made.conversation.member_count, made.conversation.updated_at), (2, AT));
    assert_eq!((made.conversation.read, made.conversation.reads), (Seq(0), vec![Seq(0), Seq(0)]));
    for (user, other) in [(ANN, BOB), (BOB, ANN)] {
        let again = pair(subject, user, other).await;
        assert!(again.repeated && again.conversation.direct);
        assert_eq!(again.conversation.id, made.conversation.id);
    }
    let other = pair(subject, ANN, CAT).await;
    assert!(!other.repeated && other.conversation.id != made.conversation.id);
}

/// A group of two is no pair, and a pair is listed as one.
pub async fn a_group_of_two_is_no_pair<R: Records>(subject: &Subject<R>) {
    let group = subject.create(&[ANN, BOB]).await;
    let made = pair(subject, ANN, BOB).await;
    assert!(!made.repeated && made.conversation.id != group);
    let page = subject.conversations(ANN, ConversationQuery::Page { cursor: None, limit: 10 }).await.unwrap();
    let mut listed: Vec<_> = page.conversations.iter().map(|found| (found.id, found.direct)).collect();
    let mut expected = vec![(group, false), (made.conversation.id, true)];
    listed.sort_unstable();
    expected.sort_unstable();
    assert_eq!(listed, expected);
    let named = subject.conversations(BOB, ConversationQuery::Named(vec![made.conversation.id])).await.unwrap();
    assert!(named.conversations[0].direct);
}

/// Ten requests of each side at once make one.
pub async fn concurrent_requests_of_both_sides_make_one_pair<R: Records>(subject: &Subject<R>) {
    let requests = (0..20).map(|number| {
        let (user, other) = if number % 2 == 0 { (ANN, BOB) } else { (BOB, ANN) };
        let create: BoxFuture<'_, _> = Box::pin(subject.create_direct(request(user, other)));
        create
    });
    let answers = join_all(requests.collect()).await;
    let created: Vec<&Created> = answers.iter().map(|answer| answer.as_ref().unwrap()).collect();
    assert_eq!(created.iter().filter(|created| !created.repeated).count(), 1);
    assert!(created.iter().all(|other| other.conversation.id == created[0].conversation.id));
    let page = subject.conversations(ANN, ConversationQuery::Page { cursor: None, limit: 10 }).await.unwrap();
    assert_eq!(page.conversations.len(), 1);
}

/// The pair stays as it was; only a new one is refused, on either side.
pub async fn a_block_stops_a_new_pair_and_not_an_existing_one<R: Records>(subject: &Subject<R>) {
    let made = pair(subject, ANN, BOB).await;
    subject.block(BOB, ANN).await.unwrap();
    subject.block(CAT, ANN).await.unwrap();
    for (user, other) in [(ANN, BOB), (BOB, ANN)] {
        let again = pair(subject, user, other).await;
        assert!(again.repeated && again.conversation.id == made.conversation.id);
    }
    for (user, other) in [(ANN, CAT), (CAT, ANN)] {
        assert_eq!(subject.create_direct(request(user, other)).await, Err(RecordsError::Blocked));
    }
    let sent = subject.append_message(super::draft(made.conversation.id, ANN, "hello")).await;
    assert_eq!(sent, Err(RecordsError::Blocked));
    subject.unblock(CAT, ANN).await.unwrap();
    assert!(!pair(subject, ANN, CAT).await.repeated);
}

/// The host says so for a user who may not add the other one.
pub async fn a_request_that_may_not_create_answers_only_a_pair_that_exists<R: Records>(subject: &Subject<R>) {
    let only = |user, other| DirectRequest { may_create: false, ..request(user, other) };
    let answer = subject.create_direct(only(ANN, BOB)).await;
    assert!(matches!(answer, Err(RecordsError::NotFound(_))), "{answer:?}");
    let made = pair(subject, ANN, BOB).await;
    let found = subject.create_direct(only(BOB, ANN)).await.unwrap();
    assert!(found.repeated && found.conversation.id == made.conversation.id);
}

/// Nobody is in a pair with themselves.
pub async fn a_pair_is_of_two_users<R: Records>(subject: &Subject<R>) {
    let answer = subject.create_direct(request(ANN, ANN)).await;
    assert!(matches!(answer, Err(RecordsError::Invalid(_))), "{answer:?}");
}

/// Neither is anybody added, nor does anybody leave, whoever asks.
pub async fn the_members_of_a_pair_do_not_change<R: Records>(subject: &Subject<R>) {
    let conversation = pair(subject, ANN, BOB).await.conversation.id;
    let changes = [
        subject.add_member(by(ANN, conversation, CAT)).await,
        subject.add_member(by_service(conversation, CAT)).await,
        subject.add_member(by(ANN, conversation, BOB)).await,
        subject.remove_member(by(ANN, conversation, BOB)).await,
        subject.remove_member(by(BOB, conversation, BOB)).await,
        subject.remove_member(by_service(conversation, ANN)).await,
        subject.remove_member(by_service(conversation, CAT)).await,
    ];
    assert!(changes.iter().all(|answer| *answer == Err(RecordsError::Direct)), "{changes:?}");
    assert_eq!(subject.remove_member(by(CAT, conversation, CAT)).await, Err(RecordsError::NotAMember));
    let query = MembersQuery { conversation, actor: None, after: None, limit: 10 };
    let members: Vec<UserId> = subject.members(query).await.unwrap().members.iter().map(|member| member.user).collect();
    assert_eq!(members, [ANN, BOB]);
}

/// A pair counts like every other conversation.
pub async fn a_pair_counts_as_a_conversation_of_both<R: Records>(subject: &Subject<R>) {
    let made = pair(subject, ANN, BOB).await;
    subject.send(made.conversation.id, ANN, "hello").await;
    assert_eq!(subject.counter(BOB, made.conversation.id).await.count, 1);
    assert_eq!(subject.counters(ANN).await.len(), 1);
}
