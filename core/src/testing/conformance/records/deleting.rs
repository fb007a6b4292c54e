//! Counters where messages are deleted, before and behind read positions, by members who come and go; and what edits
//! and deletions answer so that they are announced without snapshots.

use super::{ANN, BOB, CAT, Subject, by, edit};
use crate::ids::{ConversationId, Seq, UserId};
use crate::port::{Changed, Message, ReadPosition, Records};

/// Sends as many messages, by Ann and Bob in turn.
async fn in_turn<R: Records>(subject: &Subject<R>, conversation: ConversationId, count: usize) -> Vec<Message> {
    let mut messages = Vec::new();
    for number in 0..count {
        let sender = if number % 2 == 0 { ANN } else { BOB };
        messages.push(subject.send(conversation, sender, "in turn").await);
    }
    messages
}

/// The counts of Ann, Bob and Cat.
async fn counts<R: Records>(subject: &Subject<R>, conversation: ConversationId) -> [u64; 3] {
    [
        subject.counter(ANN, conversation).await.count,
        subject.counter(BOB, conversation).await.count,
        subject.counter(CAT, conversation).await.count,
    ]
}

/// Whoever wrote a message never counted it, so its deletion takes nothing from them.
pub async fn a_deleted_message_of_ones_own_changes_no_count<R: Records>(subject: &Subject<R>) {
    let conversation = subject.create(&[ANN, BOB, CAT]).await;
    let messages = in_turn(subject, conversation, 6).await;
    assert_eq!(counts(subject, conversation).await, [3, 3, 6]);
    subject.delete(&messages[0]).await;
    assert_eq!(counts(subject, conversation).await, [3, 2, 5]);
    subject.delete(&messages[3]).await;
    assert_eq!(counts(subject, conversation).await, [2, 2, 4]);
    subject.read_to(BOB, conversation, 2).await;
    assert_eq!(counts(subject, conversation).await, [2, 2, 4], "behind Bob's position are 3 and 5 of Ann");
}

/// Deletions of what was read, at the position itself, and behind it, in any order.
pub async fn deletions_before_and_behind_a_position_count_once<R: Records>(subject: &Subject<R>) {
    let conversation = subject.create(&[ANN, BOB, CAT]).await;
    let messages = in_turn(subject, conversation, 10).await;
    subject.read_to(CAT, conversation, 4).await;
    assert_eq!(subject.counter(CAT, conversation).await.count, 6);
    for (deleted, left) in [(3, 6), (0, 6), (4, 5), (9, 4), (7, 3)] {
        subject.delete(&messages[deleted]).await;
        subject.delete(&messages[deleted]).await;
        assert_eq!(subject.counter(CAT, conversation).await.count, left, "after the deletion of {deleted}");
    }
    for (read, left) in [(5, 3), (6, 2), (8, 1), (9, 0), (12, 0)] {
        assert_eq!(subject.read_to(CAT, conversation, read).await.counter.count, left, "read up to {read}");
    }
}

/// A new member counts from there on, whatever was sent and deleted before.
pub async fn members_who_join_count_only_later_messages<R: Records>(subject: &Subject<R>) {
    let conversation = subject.create(&[ANN, BOB]).await;
    let early = in_turn(subject, conversation, 4).await;
    subject.delete(&early[1]).await;
    subject.add_member(by(ANN, conversation, CAT)).await.unwrap();
    assert_eq!(subject.counter(CAT, conversation).await.count, 0);
    subject.delete(&early[0]).await;
    assert_eq!(subject.counter(CAT, conversation).await.count, 0);
    let late = in_turn(subject, conversation, 3).await;
    subject.delete(&early[2]).await;
    assert_eq!(counts(subject, conversation).await, [2, 2, 3]);
    subject.delete(&late[0]).await;
    assert_eq!(counts(subject, conversation).await, [2, 1, 2]);
}

/// Messages of an earlier membership, own ones too, count no more; what comes after does.
pub async fn members_who_rejoin_count_only_later_messages<R: Records>(subject: &Subject<R>) {
    let conversation = subject.create(&[ANN, BOB, CAT]).await;
    let early = in_turn(subject, conversation, 5).await;
    subject.read_to(BOB, conversation, 1).await;
    subject.remove_member(by(BOB, conversation, BOB)).await.unwrap();
    let missed = subject.send(conversation, ANN, "missed").await;
    subject.add_member(by(ANN, conversation, BOB)).await.unwrap();
    assert_eq!(counts(subject, conversation).await, [2, 0, 6]);
    let late = in_turn(subject, conversation, 4).await;
    assert_eq!(counts(subject, conversation).await, [4, 2, 10]);
    subject.delete(&missed).await;
    subject.delete(&early[2]).await;
    assert_eq!(counts(subject, conversation).await, [4, 2, 8]);
    subject.delete(&late[1]).await;
    assert_eq!(counts(subject, conversation).await, [3, 2, 7]);
    assert_eq!(subject.read_to(BOB, conversation, late[2].seq.0).await.counter.count, 0);
    let last = subject.send(conversation, ANN, "last").await;
    assert_eq!(counts(subject, conversation).await, [3, 1, 8]);
    subject.delete(&last).await;
    assert_eq!(counts(subject, conversation).await, [3, 0, 7]);
}

/// Two of three of 210 messages are deleted, with edits in between. Every position has the right count.
pub async fn many_deletions_are_counted_exactly<R: Records>(subject: &Subject<R>) {
    let conversation = subject.create(&[ANN, BOB, CAT]).await;
    let mut messages = in_turn(subject, conversation, 105).await;
    for message in &messages[..5] {
        subject.edit_message(edit(message, "edited")).await.unwrap();
    }
    messages.extend(in_turn(subject, conversation, 105).await);
    // Not in the order of the messages: 67 has no factor in common with 210.
    for number in 0..140 {
        let index = number * 67 % 210;
        messages[index].deleted = true;
        subject.delete(&messages[index]).await;
    }
    let unread = |user: UserId, read: u64| {
        let behind = messages.iter().filter(|message| message.seq.0 > read && !message.deleted);
        behind.filter(|message| message.sender != user).count() as u64
    };
    assert_eq!(counts(subject, conversation).await, [unread(ANN, 0), unread(BOB, 0), unread(CAT, 0)]);
    for read in [1, 2, 62, 63, 64, 65, 100, 105, 107, 127, 128, 129, 191, 192, 209, 214, 215, 216, 300, 355] {
        for user in [BOB, CAT] {
            let marked = subject.read_to(user, conversation, read).await.counter;
            assert_eq!((marked.read, marked.count), (Seq(read), unread(user, read)), "{user} read up to {read}");
        }
    }
    assert_eq!(subject.counter(ANN, conversation).await.count, unread(ANN, 0));
}

fn positions(changed: &Changed) -> Vec<(UserId, u64, u64)> {
    changed.positions.iter().map(|ReadPosition { user, joined, read }| (*user, joined.0, read.0)).collect()
}

/// Repetitions too. A new message and a pending change have none.
pub async fn edits_and_deletions_answer_positions_and_the_newest_message<R: Records>(subject: &Subject<R>) {
    let conversation = subject.create(&[ANN, BOB]).await;
    let first = subject.send(conversation, ANN, "one").await;
    subject.add_member(by(ANN, conversation, CAT)).await.unwrap();
    let second = subject.append(conversation, BOB, "two").await;
    assert_eq!((positions(&second), &second.last), (Vec::new(), &None));
    let second = second.change.message;
    subject.read_to(BOB, conversation, 2).await;

    let edited = subject.edit_message(edit(&first, "uno")).await.unwrap();
    let members = vec![(ANN, 0, 0), (BOB, 0, 2), (CAT, 1, 1)];
    let last = edited.last.clone().unwrap();
    assert_eq!(positions(&edited), members);
    assert_eq!((last.conversation, last.version, last.message), (conversation, Seq(3), Some(second.clone())));

    let deleted = subject.delete(&second).await;
    let last = deleted.last.clone().unwrap();
    assert_eq!(positions(&deleted), members);
    assert_eq!((last.version, last.message.as_ref()), (Seq(4), Some(&edited.change.message)));

    subject.read_to(CAT, conversation, 4).await;
    subject.remove_member(by(BOB, conversation, BOB)).await.unwrap();
    subject.append(conversation, ANN, "three").await;
    subject.add_member(by(ANN, conversation, BOB)).await.unwrap();
    let again = subject.edit_message(edit(&first, "uno")).await.unwrap();
    let last = again.last.clone().unwrap();
    assert!(again.repeated);
    assert_eq!(positions(&again), [(ANN, 0, 0), (BOB, 5, 5), (CAT, 1, 4)]);
    assert_eq!((last.version, last.message.map(|message| message.seq)), (Seq(5), Some(Seq(5))));
    for pending in subject.unconfirmed().await {
        if let crate::port::Pending::Change(changed) = pending {
            assert!(changed.positions.is_empty() && changed.last.is_none(), "{changed:?}");
        }
    }
}

/// The newest message of a conversation whose messages are all deleted is none.
pub async fn the_last_deletion_answers_no_newest_message<R: Records>(subject: &Subject<R>) {
    let conversation = subject.create(&[ANN, BOB]).await;
    let only = subject.send(conversation, ANN, "only").await;
    let last = subject.delete(&only).await.last.unwrap();
    assert_eq!((last.conversation, last.version, last.message), (conversation, Seq(2), None));
    let again = subject.delete(&only).await;
    assert!(again.repeated && again.last.unwrap().version == Seq(2));
    assert_eq!(positions(&subject.delete(&only).await), [(ANN, 0, 0), (BOB, 0, 0)]);
}
