//! Cases about the creation of conversations: repetitions, conflicts and blocks.

use super::{ANN, AT, BOB, CAT, Subject};
use crate::ids::{ConversationId, Seq, UserId};
use crate::port::{NewConversation, Records, RecordsError};
use crate::testing::{BoxFuture, join_all};

fn new(id: u128, creator: UserId, members: &[UserId]) -> NewConversation {
    NewConversation { id: Some(ConversationId::from_u128(id)), creator, members: members.to_vec(), at: AT }
}

/// Members are in ascending order. A conversation may have one member.
pub async fn a_conversation_has_its_creator_and_every_member_once<R: Records>(subject: &Subject<R>) {
    let created = subject.create_conversation(new(1, BOB, &[CAT, ANN, CAT])).await.unwrap();
    assert!(!created.repeated);
    let conversation = created.conversation;
    assert_eq!(conversation.id, ConversationId::from_u128(1));
    assert_eq!(conversation.members, [ANN, BOB, CAT]);
    assert_eq!((conversation.joined, conversation.updated_at), (Seq(0), AT));
    let alone = subject.create_conversation(new(2, ANN, &[])).await.unwrap();
    assert_eq!(alone.conversation.members, [ANN]);
    let membership = subject.membership(conversation.id, CAT).await.unwrap();
    assert_eq!((membership.joined, membership.members), (Seq(0), conversation.members));
}

/// The order of the members does not matter.
pub async fn creating_again_is_a_repetition<R: Records>(subject: &Subject<R>) {
    let first = subject.create_conversation(new(1, ANN, &[BOB, CAT])).await.unwrap();
    subject.send(first.conversation.id, BOB, "hello").await;
    let later = NewConversation { at: AT.plus(9), ..new(1, ANN, &[CAT, ANN, BOB]) };
    let again = subject.create_conversation(later).await.unwrap();
    assert!(again.repeated);
    assert_eq!(again.conversation, first.conversation);
    assert_eq!(subject.contents(ANN, first.conversation.id).await, ["hello"]);
}

/// Another creator, fewer members, or more members.
pub async fn the_same_id_with_other_members_is_a_conflict<R: Records>(subject: &Subject<R>) {
    subject.create_conversation(new(1, ANN, &[BOB])).await.unwrap();
    for other in [new(1, BOB, &[ANN]), new(1, ANN, &[]), new(1, ANN, &[BOB, CAT]), new(1, CAT, &[ANN, BOB])] {
        let answer = subject.create_conversation(other).await;
        assert!(matches!(answer, Err(RecordsError::Conflict(_))), "{answer:?}");
    }
    assert_eq!(subject.membership(ConversationId::from_u128(1), ANN).await.unwrap().members, [ANN, BOB]);
}

/// A conversation without an id gets a generated one.
pub async fn generated_conversation_ids_differ<R: Records>(subject: &Subject<R>) {
    let first = subject.create(&[ANN, BOB]).await;
    let second = subject.create(&[ANN, BOB]).await;
    assert_ne!(first, second);
}

/// One call creates the conversation, the others are repetitions.
pub async fn concurrent_creations_of_one_id_make_one<R: Records>(subject: &Subject<R>) {
    let creations = (0..10).map(|_| {
        let create: BoxFuture<'_, _> = Box::pin(subject.create_conversation(new(1, ANN, &[BOB])));
        create
    });
    let answers = join_all(creations.collect()).await;
    assert_eq!(answers.iter().filter(|answer| !answer.as_ref().unwrap().repeated).count(), 1);
}
