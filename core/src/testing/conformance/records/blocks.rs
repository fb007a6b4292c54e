//! Two people of whom one has blocked the other, and groups, which go on.

use super::{ANN, AT, BOB, CAT, Subject, by, by_service, draft, draft_as, edit};
use crate::ids::{ConversationId, Seq, UserId};
use crate::port::{NewConversation, Records, RecordsError};

async fn refused<R: Records>(subject: &Subject<R>, conversation: ConversationId, sender: UserId) -> bool {
    match subject.append_message(draft(conversation, sender, "hello")).await {
        Ok(_) => false,
        Err(RecordsError::Blocked) => true,
        Err(other) => panic!("{other}"),
    }
}

/// Neither the blocked one writes nor the one who blocks, until the block ends.
pub async fn a_block_in_either_direction_stops_two_people<R: Records>(subject: &Subject<R>) {
    let talk = subject.talk(&[ANN, BOB]).await;
    for (user, blocked) in [(ANN, BOB), (BOB, ANN)] {
        subject.block(user, blocked).await.unwrap();
        assert!(refused(subject, talk, ANN).await && refused(subject, talk, BOB).await);
        subject.unblock(user, blocked).await.unwrap();
        assert!(!refused(subject, talk, ANN).await && !refused(subject, talk, BOB).await);
    }
    subject.block(ANN, CAT).await.unwrap();
    assert!(!refused(subject, talk, ANN).await);
    assert_eq!(subject.counter(ANN, talk).await.seq, Seq(5));
}

/// With a third person a block stops nobody.
pub async fn groups_go_on<R: Records>(subject: &Subject<R>) {
    let group = subject.talk(&[ANN, BOB, CAT]).await;
    subject.block(ANN, BOB).await.unwrap();
    let message = subject.say(group, BOB, "still here").await;
    subject.edit_message(edit(&message, "still there")).await.unwrap();
    assert!(!refused(subject, group, ANN).await);
    assert_eq!(subject.counter(ANN, group).await.count, 1);
    assert!(!subject.membership(group, ANN).await.unwrap().blocked);
    let new = NewConversation { id: None, creator: BOB, members: vec![ANN, CAT], at: AT };
    subject.create_conversation(new).await.unwrap();
}

/// What counts is who is there now.
pub async fn a_group_of_which_two_are_left_obeys_blocks<R: Records>(subject: &Subject<R>) {
    let group = subject.talk(&[ANN, BOB, CAT]).await;
    subject.block(ANN, BOB).await.unwrap();
    subject.remove_member(by(CAT, group, CAT)).await.unwrap();
    assert!(refused(subject, group, BOB).await);
    subject.add_member(by_service(group, CAT)).await.unwrap();
    assert!(!refused(subject, group, BOB).await);
}

/// Whoever asks, whoever blocks; one that exists is found.
pub async fn blocked_people_open_no_conversation<R: Records>(subject: &Subject<R>) {
    let id = Some(ConversationId::from_u128(1));
    let new = |id, creator, other| NewConversation { id, creator, members: vec![other], at: AT };
    subject.create_conversation(new(id, ANN, BOB)).await.unwrap();
    subject.block(BOB, ANN).await.unwrap();
    for (creator, other) in [(ANN, BOB), (BOB, ANN)] {
        assert_eq!(subject.create_conversation(new(None, creator, other)).await, Err(RecordsError::Blocked));
    }
    assert!(subject.create_conversation(new(id, ANN, BOB)).await.unwrap().repeated);
    subject.create_conversation(new(None, ANN, CAT)).await.unwrap();
}

/// In either direction. Services may, and others may.
pub async fn nobody_adds_somebody_with_whom_they_have_a_block<R: Records>(subject: &Subject<R>) {
    let group = subject.talk(&[ANN, CAT]).await;
    for (user, blocked) in [(ANN, BOB), (BOB, ANN)] {
        subject.block(user, blocked).await.unwrap();
        assert_eq!(subject.add_member(by(ANN, group, BOB)).await, Err(RecordsError::Blocked));
        assert_eq!(subject.add_member(by(CAT, group, BOB)).await.unwrap(), [ANN, BOB, CAT]);
        assert_eq!(subject.add_member(by(ANN, group, BOB)).await.unwrap(), [ANN, BOB, CAT]);
        subject.remove_member(by_service(group, BOB)).await.unwrap();
        subject.add_member(by_service(group, BOB)).await.unwrap();
        subject.remove_member(by_service(group, BOB)).await.unwrap();
        subject.unblock(user, blocked).await.unwrap();
    }
    assert_eq!(subject.add_member(by(ANN, group, BOB)).await.unwrap(), [ANN, BOB, CAT]);
}

/// To both of them.
pub async fn membership_tells_a_block_between_two<R: Records>(subject: &Subject<R>) {
    let talk = subject.talk(&[ANN, BOB]).await;
    assert!(!subject.membership(talk, ANN).await.unwrap().blocked);
    subject.block(ANN, BOB).await.unwrap();
    for user in [ANN, BOB] {
        assert!(subject.membership(talk, user).await.unwrap().blocked);
    }
}

/// The message went through before.
pub async fn a_repetition_passes_a_block<R: Records>(subject: &Subject<R>) {
    let talk = subject.talk(&[ANN, BOB]).await;
    let sent = subject.append_message(draft_as(1, talk, ANN, "hello")).await.unwrap();
    subject.block(BOB, ANN).await.unwrap();
    let again = subject.append_message(draft_as(1, talk, ANN, "hello")).await.unwrap();
    assert!(again.repeated && again.change == sent.change);
    assert!(subject.edit_message(edit(&sent.change.message, "hello")).await.unwrap().repeated);
}

/// New content is a new message to the other, a deletion is none.
pub async fn what_was_said_before_a_block_can_be_taken_back_but_not_rewritten<R: Records>(subject: &Subject<R>) {
    let talk = subject.talk(&[ANN, BOB]).await;
    let message = subject.say(talk, ANN, "hello").await;
    subject.block(BOB, ANN).await.unwrap();
    assert_eq!(subject.edit_message(edit(&message, "worse")).await, Err(RecordsError::Blocked));
    assert!(subject.delete(&message).await.change.message.deleted);
    assert!(subject.mark_read(BOB, talk, None).await.unwrap().moved);
}
