//! Cases about who deletes whose messages: the creator of a group and services delete anybody's, also of people who
//! left.

use super::{ANN, AT, BOB, CAT, DAN, NOWHERE, Subject, by, edit};
use crate::ids::{ConversationId, MessageId, UserId};
use crate::port::{Changed, DirectRequest, Edit, Message, Records, RecordsError};

async fn delete_as<R: Records>(
    subject: &Subject<R>,
    actor: Option<UserId>,
    message: &Message,
) -> Result<Changed, RecordsError> {
    subject.delete_message(message.conversation, message.id, actor, AT).await
}

/// Whoever is neither its sender nor the creator may not.
pub async fn the_creator_of_a_group_deletes_messages_of_others<R: Records>(subject: &Subject<R>) {
    let group = subject.create(&[ANN, BOB, CAT]).await;
    let message = subject.send(group, BOB, "spam").await;
    let refused = delete_as(subject, Some(CAT), &message).await;
    assert!(matches!(refused, Err(RecordsError::Forbidden(_))), "{refused:?}");
    assert_eq!(delete_as(subject, Some(DAN), &message).await, Err(RecordsError::NotAMember));
    let deleted = delete_as(subject, Some(ANN), &message).await.unwrap();
    assert!(deleted.change.message.deleted && !deleted.repeated);
    assert_eq!(deleted.change.message.sender, BOB);
    assert!(delete_as(subject, Some(ANN), &message).await.unwrap().repeated);
    assert!(delete_as(subject, Some(BOB), &message).await.unwrap().repeated, "its sender");
    assert_eq!(subject.counter(CAT, group).await.count, 0);
}

/// What a removed member has written can go.
pub async fn messages_of_former_members_are_deleted<R: Records>(subject: &Subject<R>) {
    let group = subject.create(&[ANN, BOB, CAT]).await;
    let messages = [subject.send(group, BOB, "one").await, subject.send(group, BOB, "two").await];
    subject.remove_member(by(ANN, group, BOB)).await.unwrap();
    assert_eq!(delete_as(subject, Some(BOB), &messages[0]).await, Err(RecordsError::NotAMember));
    let deleted = delete_as(subject, Some(ANN), &messages[0]).await.unwrap();
    assert_eq!(deleted.members, [ANN, CAT]);
    assert!(delete_as(subject, None, &messages[1]).await.unwrap().change.message.deleted);
    assert_eq!(subject.counter(CAT, group).await.count, 0);
    assert!(subject.contents(ANN, group).await.is_empty());
}

/// A creator who has left is a stranger, and one who has joined again sees only what came after.
pub async fn a_creator_deletes_only_as_a_member<R: Records>(subject: &Subject<R>) {
    let group = subject.create(&[ANN, BOB]).await;
    let message = subject.send(group, BOB, "hello").await;
    subject.remove_member(by(ANN, group, ANN)).await.unwrap();
    assert_eq!(delete_as(subject, Some(ANN), &message).await, Err(RecordsError::NotAMember));
    subject.add_member(by(BOB, group, ANN)).await.unwrap();
    let unseen = delete_as(subject, Some(ANN), &message).await;
    assert!(matches!(unseen, Err(RecordsError::NotFound(_))), "{unseen:?}");
    let later = subject.send(group, BOB, "again").await;
    assert!(delete_as(subject, Some(ANN), &later).await.unwrap().change.message.deleted);
}

/// A service deletes every message, and only a service learns that there is none.
pub async fn services_delete_every_message<R: Records>(subject: &Subject<R>) {
    let group = subject.create(&[ANN, BOB]).await;
    let message = subject.send(group, BOB, "hello").await;
    let deleted = delete_as(subject, None, &message).await.unwrap();
    assert!(deleted.change.message.deleted && !deleted.repeated);
    assert_eq!(deleted.positions.len(), 2);
    assert!(delete_as(subject, None, &message).await.unwrap().repeated);
    let other = subject.create(&[ANN, CAT]).await;
    let wrong: [(ConversationId, MessageId); 3] =
        [(NOWHERE, message.id), (other, message.id), (group, MessageId::from_u128(77))];
    for (conversation, id) in wrong {
        let answer = subject.delete_message(conversation, id, None, AT).await;
        assert!(matches!(answer, Err(RecordsError::NotFound(_))), "{answer:?}");
    }
}

/// Whoever has asked for a pair first moderates nobody.
pub async fn nobody_moderates_a_pair<R: Records>(subject: &Subject<R>) {
    let request = DirectRequest { user: ANN, other: BOB, may_create: true, at: AT };
    let pair = subject.create_direct(request).await.unwrap().conversation.id;
    let message = subject.send(pair, BOB, "mine").await;
    let refused = delete_as(subject, Some(ANN), &message).await;
    assert!(matches!(refused, Err(RecordsError::Forbidden(_))), "{refused:?}");
    assert!(delete_as(subject, Some(BOB), &message).await.unwrap().change.message.deleted);
}

/// The creator may delete a message of another member, not rewrite it.
pub async fn only_the_sender_edits_a_message<R: Records>(subject: &Subject<R>) {
    let group = subject.create(&[ANN, BOB]).await;
    let message = subject.send(group, BOB, "mine").await;
    let edited = subject.edit_message(Edit { editor: ANN, ..edit(&message, "rewritten") }).await;
    assert!(matches!(edited, Err(RecordsError::Forbidden(_))), "{edited:?}");
    assert_eq!(subject.contents(ANN, group).await, ["mine"]);
}
