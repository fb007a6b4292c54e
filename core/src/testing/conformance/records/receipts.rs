//! Who is told that a member has read messages.

use super::{ANN, BOB, CAT, DAN, Subject, by};
use crate::ids::{ConversationId, Seq, UserId};
use crate::limits::{DURABLE_RECEIPT_MEMBERS_MAX, RECEIPT_AUTHORS_MAX, RECEIPT_MESSAGES_MAX};
use crate::port::Records;

/// Ann, Bob, Cat, Dan and invented users.
fn crowd(count: usize) -> Vec<UserId> {
    [ANN, BOB, CAT, DAN].into_iter().chain((0x1000..).map(UserId::from_u128)).take(count).collect()
}

async fn audience<R: Records>(subject: &Subject<R>, reader: UserId, conversation: ConversationId) -> Vec<UserId> {
    subject.mark_read(reader, conversation, None).await.unwrap().audience
}

/// In ascending order, and also when the position has not moved, because an announcement may have been lost.
pub async fn everybody_else_in_a_small_conversation_is_notified<R: Records>(subject: &Subject<R>) {
    for count in [2, 3, DURABLE_RECEIPT_MEMBERS_MAX] {
        let conversation = subject.create(&crowd(count)).await;
        subject.send(conversation, BOB, "hello").await;
        let reader = CAT.min(crowd(count)[count - 1]);
        let mark = subject.mark_read(reader, conversation, None).await.unwrap();
        assert_eq!((mark.member_count as usize, mark.moved), (count, true));
        let others: Vec<UserId> = crowd(count).into_iter().filter(|user| *user != reader).collect();
        assert_eq!(mark.audience, others, "{count} members");
        let again = subject.mark_read(reader, conversation, Some(Seq::ZERO)).await.unwrap();
        assert_eq!((again.moved, again.audience), (false, others));
    }
}

/// Those with the newest messages first; neither the reader, nor authors of what was read before, nor of what was
/// deleted.
pub async fn authors_of_what_was_newly_read_are_notified_in_a_larger_conversation<R: Records>(subject: &Subject<R>) {
    let members = crowd(DURABLE_RECEIPT_MEMBERS_MAX + 1);
    let conversation = subject.create(&members).await;
    subject.send(conversation, CAT, "read before").await;
    assert_eq!(audience(subject, ANN, conversation).await, [CAT]);
    for (sender, content) in [(BOB, "1"), (DAN, "2"), (ANN, "3"), (BOB, "4")] {
        subject.send(conversation, sender, content).await;
    }
    let deleted = subject.send(conversation, members[5], "5").await;
    subject.delete(&deleted).await;
    let mark = subject.mark_read(ANN, conversation, None).await.unwrap();
    assert_eq!((mark.member_count as usize, mark.audience), (members.len(), vec![BOB, DAN]));
    assert_eq!(audience(subject, ANN, conversation).await, [], "nothing was newly read");
    let part = subject.mark_read(CAT, conversation, Some(Seq(3))).await.unwrap();
    assert_eq!(part.audience, [DAN, BOB], "up to the position only");
}

/// Neither the reader by whom they blocked, nor the other way around.
pub async fn nobody_is_notified_across_a_block<R: Records>(subject: &Subject<R>) {
    for count in [2, 4, 12] {
        let conversation = subject.create(&crowd(count)).await;
        for (user, blocked) in [(ANN, BOB), (BOB, ANN)] {
            subject.block(user, blocked).await.unwrap();
            if count > 2 {
                subject.send(conversation, BOB, "hello").await;
                subject.send(conversation, CAT, "hello").await;
            }
            let notified = audience(subject, ANN, conversation).await;
            assert!(
                !notified.contains(&BOB) && notified.contains(&CAT) == (count > 2),
                "{count} members: {notified:?}"
            );
            subject.unblock(user, blocked).await.unwrap();
        }
        assert_eq!(subject.block(DAN, CAT).await, Ok(()));
        subject.send(conversation, BOB, "a block between others").await;
        assert!(audience(subject, ANN, conversation).await.contains(&BOB));
        subject.unblock(DAN, CAT).await.unwrap();
    }
}

/// They see nothing of the conversation any more.
pub async fn authors_who_have_left_are_not_notified<R: Records>(subject: &Subject<R>) {
    let conversation = subject.create(&crowd(DURABLE_RECEIPT_MEMBERS_MAX + 2)).await;
    subject.send(conversation, BOB, "bye").await;
    subject.send(conversation, CAT, "hello").await;
    subject.remove_member(by(BOB, conversation, BOB)).await.unwrap();
    assert_eq!(audience(subject, ANN, conversation).await, [CAT]);
}

/// However much is newly read, the answer and the work are bounded.
pub async fn at_most_100_authors_of_the_newest_messages_are_notified<R: Records>(subject: &Subject<R>) {
    let members = crowd(RECEIPT_AUTHORS_MAX + 20);
    let conversation = subject.create(&members).await;
    for author in &members[1..] {
        subject.send(conversation, *author, "hello").await;
    }
    let notified = audience(subject, ANN, conversation).await;
    let newest: Vec<UserId> = members[1..].iter().rev().take(RECEIPT_AUTHORS_MAX).copied().collect();
    assert_eq!(notified, newest);
    subject.send(conversation, BOB, "too far back").await;
    for _ in 0..RECEIPT_MESSAGES_MAX {
        subject.send(conversation, CAT, "newer").await;
    }
    assert_eq!(audience(subject, ANN, conversation).await, [CAT]);
}
