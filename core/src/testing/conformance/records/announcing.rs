//! The outbox: what is stored is pending until it is confirmed.

use super::{ANN, AT, BOB, CAT, DAN, LATER, NOWHERE, Subject, by, by_service, draft_as, edit};
use crate::ids::{ConversationId, Seq};
use crate::port::{
    Change, Changed, Confirmation, DirectRequest, Draft, NewConversation, Pending, PendingId, PendingQuery, Records,
};
use crate::time::Timestamp;

async fn confirm<R: Records>(subject: &Subject<R>, confirmation: Confirmation) {
    subject.announced(vec![confirmation]).await.unwrap();
    subject.flush().await;
}

fn change(conversation: ConversationId, seq: u64) -> Confirmation {
    Confirmation::Change(conversation, Seq(seq))
}

fn sequence_numbers(pending: &[Pending]) -> Vec<u64> {
    pending
        .iter()
        .map(|pending| match pending {
            Pending::Change(changed) => changed.change.seq.0,
            _ => 0,
        })
        .collect()
}

/// Messages, edits and deletions are pending.
pub async fn a_change_is_pending_until_it_is_confirmed<R: Records>(subject: &Subject<R>) {
    let conversation = subject.create(&[ANN, BOB]).await;
    let sent = subject.append(conversation, ANN, "one").await;
    assert_eq!(subject.unconfirmed().await, [Pending::Change(sent.clone())]);
    let edited = subject.edit_message(edit(&sent.change.message, "uno")).await.unwrap();
    let deleted = subject.delete(&edited.change.message).await;
    // A pending change has the message as it is now, and no positions.
    let with_present_message = |changed: &Changed| {
        let change = Change { message: deleted.change.message.clone(), ..changed.change.clone() };
        Pending::Change(Changed::without_positions(change, changed.members.clone(), false))
    };
    let all = [with_present_message(&sent), with_present_message(&edited), with_present_message(&deleted)];
    assert_eq!(subject.unconfirmed().await, all);
    confirm(subject, change(conversation, 2)).await;
    assert_eq!(sequence_numbers(&subject.unconfirmed().await), [1, 3]);
    confirm(subject, change(conversation, 1)).await;
    confirm(subject, change(conversation, 3)).await;
    assert!(subject.unconfirmed().await.is_empty());
}

/// The counter's `announced` is the sequence number below the first unconfirmed change.
pub async fn announced_moves_only_over_confirmed_changes_without_a_gap<R: Records>(subject: &Subject<R>) {
    let conversation = subject.create(&[ANN, BOB]).await;
    assert_eq!(subject.counter(BOB, conversation).await.announced, Seq(0));
    for content in ["1", "2", "3"] {
        subject.send(conversation, ANN, content).await;
    }
    for (confirmed, mark) in [(2, 0), (1, 2), (3, 3)] {
        confirm(subject, change(conversation, confirmed)).await;
        assert_eq!(subject.counter(BOB, conversation).await.announced, Seq(mark));
        assert_eq!(subject.counters(ANN).await[0].announced, Seq(mark));
    }
    subject.send(conversation, ANN, "4").await;
    assert_eq!(subject.mark_read(BOB, conversation, None).await.unwrap().counter.announced, Seq(3));
}

/// A mark that did not move the position is not pending.
pub async fn a_moved_read_position_is_pending_until_it_is_confirmed<R: Records>(subject: &Subject<R>) {
    let conversation = subject.create(&[ANN, BOB]).await;
    subject.send(conversation, ANN, "1").await;
    confirm(subject, change(conversation, 1)).await;
    subject.read_to(BOB, conversation, 1).await;
    assert_eq!(subject.unconfirmed().await, [Pending::Member(conversation, BOB, 1)]);
    confirm(subject, Confirmation::Member(conversation, BOB, 1)).await;
    assert!(subject.unconfirmed().await.is_empty());
    assert!(!subject.read_to(BOB, conversation, 1).await.moved);
    assert!(subject.unconfirmed().await.is_empty());
}

/// A member is one item, which names the number of its moves.
pub async fn a_member_that_moved_often_is_one_item<R: Records>(subject: &Subject<R>) {
    let conversation = subject.create(&[ANN, BOB]).await;
    for position in 1..=3 {
        subject.send(conversation, ANN, "hello").await;
        confirm(subject, change(conversation, position)).await;
        subject.read_to(BOB, conversation, position).await;
    }
    assert_eq!(subject.unconfirmed().await, [Pending::Member(conversation, BOB, 3)]);
    confirm(subject, Confirmation::Member(conversation, BOB, 2)).await;
    assert_eq!(subject.unconfirmed().await, [Pending::Member(conversation, BOB, 1)]);
    confirm(subject, Confirmation::Member(conversation, BOB, 3)).await;
    assert!(subject.unconfirmed().await.is_empty());
}

/// A late confirmation of the first move does not confirm the second.
pub async fn each_move_needs_its_own_confirmation<R: Records>(subject: &Subject<R>) {
    let conversation = subject.create(&[ANN, BOB]).await;
    for (position, content) in [(1, "1"), (2, "2")] {
        subject.send(conversation, ANN, content).await;
        confirm(subject, change(conversation, position)).await;
        subject.read_to(BOB, conversation, position).await;
    }
    confirm(subject, Confirmation::Member(conversation, BOB, 1)).await;
    assert_eq!(subject.unconfirmed().await, [Pending::Member(conversation, BOB, 1)]);
    let twice = vec![Confirmation::Member(conversation, BOB, 1), Confirmation::Member(conversation, BOB, 1)];
    subject.announced(twice).await.unwrap();
    subject.flush().await;
    assert!(subject.unconfirmed().await.is_empty());
    subject.send(conversation, ANN, "3").await;
    confirm(subject, change(conversation, 3)).await;
    subject.read_to(BOB, conversation, 3).await;
    assert_eq!(subject.unconfirmed().await, [Pending::Member(conversation, BOB, 1)]);
}

/// Joining and leaving are pending. A call that changes nothing is not.
pub async fn memberships_are_pending_until_they_are_confirmed<R: Records>(subject: &Subject<R>) {
    let conversation = subject.create(&[ANN, BOB]).await;
    assert!(subject.unconfirmed().await.is_empty());
    subject.add_member(by(ANN, conversation, CAT)).await.unwrap();
    assert_eq!(subject.unconfirmed().await, [Pending::Membership(conversation, CAT, 1)]);
    confirm(subject, Confirmation::Membership(conversation, CAT, 1)).await;
    subject.remove_member(by(CAT, conversation, CAT)).await.unwrap();
    assert_eq!(subject.unconfirmed().await, [Pending::Membership(conversation, CAT, 1)]);
    confirm(subject, Confirmation::Membership(conversation, CAT, 1)).await;
    subject.add_member(by(ANN, conversation, BOB)).await.unwrap();
    subject.remove_member(by(ANN, conversation, CAT)).await.unwrap();
    assert!(subject.unconfirmed().await.is_empty());
}

/// A conversation is pending from its creation on, and so is a pair. Creating it again is not.
pub async fn creations_are_pending_until_they_are_confirmed<R: Records>(subject: &Subject<R>) {
    let new = NewConversation { id: Some(NOWHERE), creator: ANN, members: vec![BOB], at: AT };
    subject.create_conversation(new.clone()).await.unwrap();
    assert_eq!(subject.unconfirmed().await, [Pending::Creation(NOWHERE, 1)]);
    subject.create_conversation(new.clone()).await.unwrap();
    assert_eq!(subject.unconfirmed().await, [Pending::Creation(NOWHERE, 1)]);
    confirm(subject, Confirmation::Creation(NOWHERE, 1)).await;
    subject.create_conversation(new).await.unwrap();
    assert!(subject.unconfirmed().await.is_empty());
    let request = DirectRequest { user: ANN, other: CAT, may_create: true, at: AT };
    let pair = subject.create_direct(request).await.unwrap().conversation.id;
    subject.create_direct(request).await.unwrap();
    assert_eq!(subject.unconfirmed().await, [Pending::Creation(pair, 1)]);
}

/// What a user says about another is one item, whichever of contact and block changes. A call that changes nothing is
/// not.
pub async fn contacts_and_blocks_are_pending_until_they_are_confirmed<R: Records>(subject: &Subject<R>) {
    subject.add_contact(ANN, BOB).await.unwrap();
    subject.add_contact(ANN, BOB).await.unwrap();
    assert_eq!(subject.unconfirmed().await, [Pending::Contact(ANN, BOB, 1)]);
    subject.block(ANN, BOB).await.unwrap();
    subject.block(ANN, BOB).await.unwrap();
    subject.unblock(ANN, BOB).await.unwrap();
    subject.unblock(ANN, BOB).await.unwrap();
    subject.remove_contact(ANN, BOB).await.unwrap();
    subject.remove_contact(ANN, BOB).await.unwrap();
    assert_eq!(subject.unconfirmed().await, [Pending::Contact(ANN, BOB, 4)]);
    confirm(subject, Confirmation::Contact(BOB, ANN, 4)).await;
    confirm(subject, Confirmation::Contact(ANN, BOB, 3)).await;
    assert_eq!(subject.unconfirmed().await, [Pending::Contact(ANN, BOB, 1)]);
    confirm(subject, Confirmation::Contact(ANN, BOB, 1)).await;
    assert!(subject.unconfirmed().await.is_empty());
}

/// A confirmation of one kind leaves the others.
pub async fn moves_of_different_kinds_are_items_of_their_own<R: Records>(subject: &Subject<R>) {
    let conversation = subject.create(&[ANN, BOB]).await;
    subject.add_member(by(ANN, conversation, CAT)).await.unwrap();
    subject.send(conversation, ANN, "1").await;
    confirm(subject, change(conversation, 1)).await;
    subject.read_to(CAT, conversation, 1).await;
    let mut all = subject.unconfirmed().await;
    all.sort_by_key(|pending| PendingId::from(pending));
    assert_eq!(all, [Pending::Member(conversation, CAT, 1), Pending::Membership(conversation, CAT, 1)]);
    confirm(subject, Confirmation::Member(conversation, CAT, 1)).await;
    assert_eq!(subject.unconfirmed().await, [Pending::Membership(conversation, CAT, 1)]);
}

/// Entries stored at `before` or later are left out, and so are entries beyond the limit.
pub async fn pending_is_answered_oldest_first_and_only_before_the_timestamp<R: Records>(subject: &Subject<R>) {
    let conversation = subject.create(&[ANN, BOB]).await;
    let other = subject.create(&[ANN, BOB]).await;
    let at = |id: u128, conversation, delay| Draft { at: AT.plus(delay), ..draft_as(id, conversation, ANN, "now") };
    subject.append_message(at(1, conversation, 30)).await.unwrap();
    subject.append_message(at(2, other, 10)).await.unwrap();
    subject.add_member(crate::port::MemberChange { at: AT.plus(20), ..by_service(other, CAT) }).await.unwrap();
    // A clock that steps back does not date a change before an earlier one of its conversation.
    subject.append_message(at(3, conversation, 0)).await.unwrap();
    let all = subject.unconfirmed().await;
    assert_eq!(sequence_numbers(&all), [1, 0, 1, 2]);
    assert_eq!(all[1], Pending::Membership(other, CAT, 1));
    assert!(matches!(&all[2], Pending::Change(changed) if changed.change.message.conversation == conversation));
    let pending = async |before, limit| {
        let page = subject.pending(PendingQuery { limit, ..PendingQuery::untried(before) }).await.unwrap();
        page.items.into_iter().map(|item| item.pending).collect::<Vec<_>>()
    };
    assert_eq!(pending(LATER, 3).await, all[..3]);
    assert_eq!(pending(AT.plus(20), 100).await, all[..1]);
    assert_eq!(pending(AT.plus(21), 100).await, all[..2]);
    assert!(pending(AT, 100).await.is_empty());
    assert_eq!(pending(Timestamp(u64::MAX), 100).await, all);
}

/// Users who joined since are named, users who left are not.
pub async fn pending_changes_name_the_present_members<R: Records>(subject: &Subject<R>) {
    let conversation = subject.create(&[ANN, BOB]).await;
    subject.send(conversation, ANN, "1").await;
    subject.add_member(by(ANN, conversation, DAN)).await.unwrap();
    subject.remove_member(by(ANN, conversation, BOB)).await.unwrap();
    let pending = subject.unconfirmed().await;
    let changed = pending.iter().find_map(|pending| match pending {
        Pending::Change(changed) => Some(changed),
        _ => None,
    });
    assert_eq!(changed.unwrap().members, [ANN, DAN]);
}

/// Unknown changes and members, and repeated confirmations, are ignored.
pub async fn confirming_what_is_not_pending_is_harmless<R: Records>(subject: &Subject<R>) {
    let conversation = subject.create(&[ANN, BOB]).await;
    subject.send(conversation, ANN, "1").await;
    let strange = vec![
        change(NOWHERE, 1),
        change(conversation, 2),
        change(conversation, u64::MAX),
        Confirmation::Member(conversation, BOB, 1),
        Confirmation::Member(NOWHERE, DAN, 1),
    ];
    subject.announced(strange).await.unwrap();
    subject.announced(Vec::new()).await.unwrap();
    subject.flush().await;
    assert_eq!(sequence_numbers(&subject.unconfirmed().await), [1]);
    confirm(subject, change(conversation, 1)).await;
    confirm(subject, change(conversation, 1)).await;
    assert!(subject.unconfirmed().await.is_empty());
    subject.send(conversation, ANN, "2").await;
    assert_eq!(sequence_numbers(&subject.unconfirmed().await), [2]);
}

/// A repetition changes nothing, so nothing has to be announced.
pub async fn a_repetition_is_not_pending_again<R: Records>(subject: &Subject<R>) {
    let conversation = subject.create(&[ANN, BOB]).await;
    let message = subject.append_message(draft_as(1, conversation, ANN, "one")).await.unwrap().change.message;
    confirm(subject, change(conversation, 1)).await;
    subject.append_message(draft_as(1, conversation, ANN, "one")).await.unwrap();
    subject.edit_message(edit(&message, "one")).await.unwrap();
    subject.delete(&message).await;
    confirm(subject, change(conversation, 2)).await;
    subject.delete(&message).await;
    assert!(subject.unconfirmed().await.is_empty());
}
