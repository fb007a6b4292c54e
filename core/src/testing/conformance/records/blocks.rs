//! Conversations of two users of whom one has blocked the other, groups that exist already, where a block has no
//! effect, and who is put into a conversation with whom.

use super::{ANN, AT, BOB, CAT, DAN, Subject, by, by_service, draft, draft_as, edit};
use crate::ids::{ConversationId, Seq, UserId};
use crate::port::{ConversationQuery, MembersQuery, NewConversation, Records, RecordsError};

async fn refused<R: Records>(subject: &Subject<R>, conversation: ConversationId, sender: UserId) -> bool {
    match subject.append_message(draft(conversation, sender, "hello")).await {
        Ok(_) => false,
        Err(RecordsError::Blocked) => true,
        Err(other) => panic!("{other}"),
    }
}

/// Neither user can send until the block ends.
pub async fn a_block_in_either_direction_stops_two_users<R: Records>(subject: &Subject<R>) {
    let conversation = subject.create(&[ANN, BOB]).await;
    for (user, blocked) in [(ANN, BOB), (BOB, ANN)] {
        subject.block(user, blocked).await.unwrap();
        assert!(refused(subject, conversation, ANN).await && refused(subject, conversation, BOB).await);
        subject.unblock(user, blocked).await.unwrap();
        assert!(!refused(subject, conversation, ANN).await && !refused(subject, conversation, BOB).await);
    }
    subject.block(ANN, CAT).await.unwrap();
    assert!(!refused(subject, conversation, ANN).await);
    assert_eq!(subject.counter(ANN, conversation).await.seq, Seq(5));
}

/// In a conversation of three members that existed before, a block has no effect.
pub async fn a_block_does_not_stop_a_group<R: Records>(subject: &Subject<R>) {
    let group = subject.create(&[ANN, BOB, CAT]).await;
    subject.block(ANN, BOB).await.unwrap();
    let message = subject.send(group, BOB, "still here").await;
    subject.edit_message(edit(&message, "still there")).await.unwrap();
    assert!(!refused(subject, group, ANN).await);
    assert_eq!(subject.counter(ANN, group).await.count, 1);
    assert!(!subject.membership(group, ANN).await.unwrap().blocked);
}

/// The present number of members decides.
pub async fn a_block_stops_a_group_of_which_two_members_are_left<R: Records>(subject: &Subject<R>) {
    let group = subject.create(&[ANN, BOB, CAT]).await;
    subject.block(ANN, BOB).await.unwrap();
    subject.remove_member(by(CAT, group, CAT)).await.unwrap();
    assert!(refused(subject, group, BOB).await);
    subject.add_member(by_service(group, CAT)).await.unwrap();
    assert!(!refused(subject, group, BOB).await);
}

/// The direction of the block does not matter. A conversation that exists already is a repetition.
pub async fn blocked_users_create_no_conversation<R: Records>(subject: &Subject<R>) {
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

/// However many members there are, whoever creates it, and in whichever direction the block is.
pub async fn nobody_is_put_into_a_group_with_whoever_blocked_them<R: Records>(subject: &Subject<R>) {
    let many: Vec<UserId> = (1..=40).map(|n| UserId::from_u128(n << 32)).collect();
    let new = |creator, members: &[UserId]| NewConversation { id: None, creator, members: members.to_vec(), at: AT };
    let crowd = [&many[..], &[ANN, BOB]].concat();
    for (user, blocked) in [(ANN, BOB), (BOB, ANN)] {
        subject.block(user, blocked).await.unwrap();
        for new in [new(ANN, &[BOB, CAT]), new(BOB, &[ANN, CAT]), new(CAT, &[ANN, BOB]), new(CAT, &crowd)] {
            assert_eq!(subject.create_conversation(new).await, Err(RecordsError::Blocked));
        }
        subject.create_conversation(new(CAT, &[ANN, DAN])).await.unwrap();
        subject.create_conversation(new(CAT, &many)).await.unwrap();
        subject.unblock(user, blocked).await.unwrap();
    }
    subject.block(DAN, ANN).await.unwrap();
    subject.create_conversation(new(CAT, &crowd)).await.unwrap();
}

/// The direction of the block does not matter, and neither does who adds: the actor, another member or a service.
pub async fn nobody_is_added_to_a_group_with_whoever_blocked_them<R: Records>(subject: &Subject<R>) {
    let group = subject.create(&[ANN, CAT]).await;
    for (user, blocked) in [(ANN, BOB), (BOB, ANN)] {
        subject.block(user, blocked).await.unwrap();
        for change in [by(ANN, group, BOB), by(CAT, group, BOB), by_service(group, BOB)] {
            assert_eq!(subject.add_member(change).await, Err(RecordsError::Blocked));
        }
        assert_eq!(subject.membership(group, ANN).await.unwrap().members, [ANN, CAT]);
        subject.unblock(user, blocked).await.unwrap();
    }
    assert_eq!(subject.add_member(by(ANN, group, BOB)).await.unwrap(), [ANN, BOB, CAT]);
    subject.block(ANN, BOB).await.unwrap();
    assert_eq!(subject.add_member(by(CAT, group, BOB)).await.unwrap(), [ANN, BOB, CAT], "a member already");
    subject.remove_member(by(ANN, group, ANN)).await.unwrap();
    assert_eq!(subject.add_member(by(BOB, group, ANN)).await, Err(RecordsError::Blocked), "a return, too");
}

/// Both members see it.
pub async fn membership_shows_a_block_between_two_users<R: Records>(subject: &Subject<R>) {
    let conversation = subject.create(&[ANN, BOB]).await;
    assert!(!subject.membership(conversation, ANN).await.unwrap().blocked);
    subject.block(ANN, BOB).await.unwrap();
    for user in [ANN, BOB] {
        assert!(subject.membership(conversation, user).await.unwrap().blocked);
    }
}

/// The read positions of the members of the user's only conversation, as the user is shown them.
async fn shown_positions<R: Records>(subject: &Subject<R>, user: UserId, conversation: ConversationId) -> Vec<u64> {
    let query = MembersQuery { conversation, actor: Some(user), after: None, limit: 10 };
    let members = subject.members(query).await.unwrap().members;
    let positions: Vec<Seq> = members.iter().map(|member| member.read).collect();
    for query in [ConversationQuery::Page { cursor: None, limit: 10 }, ConversationQuery::Named(vec![conversation])] {
        let found = subject.conversations(user, query).await.unwrap().conversations.remove(0);
        assert_eq!((found.reads, found.read), (positions.clone(), Seq(2)));
    }
    positions.into_iter().map(|position| position.0).collect()
}

/// Two users who have a block, in either direction, see where the other one joined. Others and services see everything.
pub async fn read_positions_are_not_shown_across_a_block<R: Records>(subject: &Subject<R>) {
    let group = subject.create(&[ANN, BOB, DAN]).await;
    subject.send(group, ANN, "one").await;
    subject.add_member(by(ANN, group, CAT)).await.unwrap();
    subject.send(group, ANN, "two").await;
    for reader in [ANN, BOB, CAT, DAN] {
        subject.read_to(reader, group, 2).await;
    }
    for (user, blocked) in [(ANN, CAT), (CAT, ANN)] {
        subject.block(user, blocked).await.unwrap();
        assert_eq!(shown_positions(subject, ANN, group).await, [2, 2, 1, 2]);
        assert_eq!(shown_positions(subject, CAT, group).await, [0, 2, 2, 2]);
        assert_eq!(shown_positions(subject, BOB, group).await, [2; 4]);
        let query = MembersQuery { conversation: group, actor: None, after: None, limit: 10 };
        assert!(subject.members(query).await.unwrap().members.iter().all(|member| member.read == Seq(2)));
        subject.unblock(user, blocked).await.unwrap();
        assert_eq!(shown_positions(subject, ANN, group).await, [2; 4]);
    }
}

/// The message had been stored before the block.
pub async fn a_repetition_succeeds_in_spite_of_a_block<R: Records>(subject: &Subject<R>) {
    let conversation = subject.create(&[ANN, BOB]).await;
    let sent = subject.append_message(draft_as(1, conversation, ANN, "hello")).await.unwrap();
    subject.block(BOB, ANN).await.unwrap();
    let again = subject.append_message(draft_as(1, conversation, ANN, "hello")).await.unwrap();
    assert!(again.repeated && again.change == sent.change);
    assert!(subject.edit_message(edit(&sent.change.message, "hello")).await.unwrap().repeated);
}

/// An edit would show new content to the other user; a deletion does not.
pub async fn messages_from_before_a_block_can_be_deleted_but_not_edited<R: Records>(subject: &Subject<R>) {
    let conversation = subject.create(&[ANN, BOB]).await;
    let message = subject.send(conversation, ANN, "hello").await;
    subject.block(BOB, ANN).await.unwrap();
    assert_eq!(subject.edit_message(edit(&message, "worse")).await, Err(RecordsError::Blocked));
    assert!(subject.delete(&message).await.change.message.deleted);
    assert!(subject.mark_read(BOB, conversation, None).await.unwrap().moved);
}
