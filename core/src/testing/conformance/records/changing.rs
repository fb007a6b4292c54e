//! Edits and deletions, and the changes that they are stored as.

use super::{ANN, AT, BOB, CAT, DAN, NOWHERE, Subject, draft, edit};
use crate::ids::{ConversationId, MessageId, Seq};
use crate::limits::{CHANGES_ANSWER_MAX, CHANGES_BYTES_MAX, CHANGES_MAX, CONTENT_BYTES_MAX};
use crate::port::{ChangeKind, ChangeRange, Edit, Records, RecordsError};
use crate::testing::{BoxFuture, join_all};

fn range(conversation: ConversationId, after: u64, up_to: u64) -> ChangeRange {
    ChangeRange { conversation, after: Seq(after), up_to: Seq(up_to) }
}

async fn kinds_of_changes<R: Records>(subject: &Subject<R>, range: ChangeRange) -> Vec<(u64, ChangeKind)> {
    let changes = subject.changes(vec![range]).await.unwrap().remove(0);
    changes.into_iter().map(|change| (change.seq.0, change.kind)).collect()
}

/// The message keeps its sequence number, the change has its own.
pub async fn an_edit_takes_a_sequence_number_and_keeps_that_of_the_message<R: Records>(subject: &Subject<R>) {
    let conversation = subject.create(&[ANN, BOB]).await;
    let first = subject.send(conversation, ANN, "helo").await;
    subject.send(conversation, BOB, "what?").await;
    let edited = subject.edit_message(edit(&first, "hello")).await.unwrap();
    assert_eq!((edited.change.seq, edited.change.kind, edited.repeated), (Seq(3), ChangeKind::Edited, false));
    assert_eq!(edited.members, [ANN, BOB]);
    let message = edited.change.message;
    assert_eq!((message.seq, &*message.content, message.edited_at), (Seq(1), "hello", Some(AT.plus(1))));
    assert_eq!(message.created_at, AT);
    assert_eq!(subject.contents(BOB, conversation).await, ["hello", "what?"]);
}

/// The answer is the change that set the content: the message itself or an edit.
pub async fn the_same_content_again_is_a_repetition<R: Records>(subject: &Subject<R>) {
    let conversation = subject.create(&[ANN, BOB]).await;
    let message = subject.send(conversation, ANN, "one").await;
    let unchanged = subject.edit_message(edit(&message, "one")).await.unwrap();
    assert_eq!((unchanged.change.seq, unchanged.change.kind), (Seq(1), ChangeKind::Sent));
    assert!(unchanged.repeated && unchanged.change.message == message);
    let edited = subject.edit_message(edit(&message, "two")).await.unwrap();
    subject.send(conversation, BOB, "in between").await;
    let again = subject.edit_message(Edit { at: AT.plus(9), ..edit(&message, "two") }).await.unwrap();
    assert!(again.repeated);
    assert_eq!(again.change, edited.change);
    assert_eq!(subject.counter(ANN, conversation).await.seq, Seq(3));
}

/// Nothing of the text remains, also not in its steps.
pub async fn a_deletion_empties_the_message_and_takes_a_sequence_number<R: Records>(subject: &Subject<R>) {
    let conversation = subject.create(&[ANN, BOB]).await;
    let message = subject.send(conversation, ANN, "secret").await;
    let deleted = subject.delete(&message).await;
    assert_eq!((deleted.change.seq, deleted.change.kind, deleted.repeated), (Seq(2), ChangeKind::Deleted, false));
    assert_eq!(deleted.members, [ANN, BOB]);
    assert!(deleted.change.message.deleted && deleted.change.message.content.is_empty());
    assert_eq!(deleted.change.message.seq, Seq(1));
    assert_eq!(subject.contents(ANN, conversation).await, Vec::<String>::new());
    let changes = subject.changes(vec![range(conversation, 0, 2)]).await.unwrap().remove(0);
    assert!(changes.iter().all(|change| change.message == deleted.change.message));
}

/// Answered with the first deletion.
pub async fn deleting_again_is_a_repetition<R: Records>(subject: &Subject<R>) {
    let conversation = subject.create(&[ANN, BOB]).await;
    let message = subject.send(conversation, ANN, "oops").await;
    let deleted = subject.delete(&message).await;
    subject.send(conversation, ANN, "in between").await;
    let again = subject.delete(&message).await;
    assert!(again.repeated);
    assert_eq!(again.change, deleted.change);
    assert_eq!(subject.counter(BOB, conversation).await.seq, Seq(3));
}

/// A deleted message is not found, for its sender and for others.
pub async fn a_deleted_message_cannot_be_edited<R: Records>(subject: &Subject<R>) {
    let conversation = subject.create(&[ANN, BOB]).await;
    let message = subject.send(conversation, ANN, "oops").await;
    subject.delete(&message).await;
    for editor in [ANN, BOB] {
        let answer = subject.edit_message(Edit { editor, ..edit(&message, "back") }).await;
        assert!(matches!(answer, Err(RecordsError::NotFound(_))), "{answer:?}");
    }
    assert_eq!(subject.counter(BOB, conversation).await.seq, Seq(2));
}

/// Other members are forbidden to, non-members are refused, and a message of another conversation is not found.
pub async fn only_the_sender_changes_a_message<R: Records>(subject: &Subject<R>) {
    let conversation = subject.create(&[ANN, BOB]).await;
    let other = subject.create(&[ANN, BOB]).await;
    let message = subject.send(conversation, ANN, "mine").await;
    let wrong = [
        (conversation, message.id, BOB, RecordsError::Forbidden(String::new())),
        (conversation, message.id, DAN, RecordsError::NotAMember),
        (NOWHERE, message.id, ANN, RecordsError::NotAMember),
        (other, message.id, ANN, RecordsError::NotFound(String::new())),
        (conversation, MessageId::from_u128(77), ANN, RecordsError::NotFound(String::new())),
    ];
    for (conversation, id, user, expected) in wrong {
        let content = "not yours".into();
        let edited = subject.edit_message(Edit { conversation, message: id, editor: user, content, at: AT }).await;
        let deleted = subject.delete_message(conversation, id, Some(user), AT).await;
        for answer in [edited, deleted] {
            let error = answer.unwrap_err();
            assert_eq!(std::mem::discriminant(&error), std::mem::discriminant(&expected), "{error:?}");
        }
    }
    assert_eq!(subject.counter(BOB, conversation).await.seq, Seq(1));
}

/// Bob has read the message, Cat has not.
pub async fn a_deletion_lowers_counts_only_of_those_who_had_not_read_it<R: Records>(subject: &Subject<R>) {
    let conversation = subject.create(&[ANN, BOB, CAT]).await;
    let first = subject.send(conversation, ANN, "one").await;
    subject.read_to(BOB, conversation, 1).await;
    subject.send(conversation, ANN, "two").await;
    subject.delete(&first).await;
    let (bob, cat) = (subject.counter(BOB, conversation).await, subject.counter(CAT, conversation).await);
    assert_eq!((bob.count, bob.read, bob.seq), (1, Seq(1), Seq(3)));
    assert_eq!((cat.count, cat.read, cat.seq), (1, Seq(0), Seq(3)));
}

/// An edited message is not counted again.
pub async fn editing_changes_no_count<R: Records>(subject: &Subject<R>) {
    let conversation = subject.create(&[ANN, BOB]).await;
    let first = subject.send(conversation, ANN, "one").await;
    subject.send(conversation, ANN, "two").await;
    subject.read_to(BOB, conversation, 1).await;
    subject.edit_message(edit(&first, "uno")).await.unwrap();
    let counter = subject.counter(BOB, conversation).await;
    assert_eq!((counter.count, counter.read, counter.seq), (1, Seq(1), Seq(3)));
}

/// Concurrent messages, edits and deletions share one sequence.
pub async fn concurrent_changes_of_all_kinds_leave_no_gap<R: Records>(subject: &Subject<R>) {
    let conversation = subject.create(&[ANN, BOB]).await;
    let mut there = Vec::new();
    for _ in 0..20 {
        there.push(subject.send(conversation, ANN, "there").await);
    }
    let changes = there.iter().enumerate().map(|(n, message)| {
        let change: BoxFuture<'_, _> = match n % 3 {
            0 => Box::pin(subject.append_message(draft(conversation, BOB, "new"))),
            1 => Box::pin(subject.edit_message(edit(message, "edited"))),
            _ => Box::pin(subject.delete_message(conversation, message.id, Some(ANN), AT)),
        };
        change
    });
    let mut sequence_numbers: Vec<u64> =
        join_all(changes.collect()).await.into_iter().map(|changed| changed.unwrap().change.seq.0).collect();
    sequence_numbers.sort_unstable();
    assert_eq!(sequence_numbers, (21..=40).collect::<Vec<u64>>());
}

/// Answers are in the order asked. A range beyond the newest change, or of an unknown conversation, is empty.
pub async fn changes_are_answered_by_range<R: Records>(subject: &Subject<R>) {
    use ChangeKind::{Deleted, Edited, Sent};
    let conversation = subject.create(&[ANN, BOB]).await;
    let message = subject.send(conversation, ANN, "one").await;
    subject.edit_message(edit(&message, "uno")).await.unwrap();
    subject.send(conversation, BOB, "two").await;
    subject.delete(&message).await;
    assert_eq!(
        kinds_of_changes(subject, range(conversation, 0, 4)).await,
        [(1, Sent), (2, Edited), (3, Sent), (4, Deleted)]
    );
    assert_eq!(kinds_of_changes(subject, range(conversation, 1, 3)).await, [(2, Edited), (3, Sent)]);
    assert_eq!(kinds_of_changes(subject, range(conversation, 3, u64::MAX)).await, [(4, Deleted)]);
    let empty = [range(conversation, 4, 9), range(conversation, 3, 3), range(conversation, 3, 1), range(NOWHERE, 0, 9)];
    let answers =
        subject.changes([empty[0], range(conversation, 2, 3), empty[1], empty[2], empty[3]].to_vec()).await.unwrap();
    assert_eq!(answers.iter().map(Vec::len).collect::<Vec<_>>(), [0, 1, 0, 0, 0]);
    assert!(subject.changes(Vec::new()).await.unwrap().is_empty());
}

/// An old change shows the present content of its message.
pub async fn changes_show_messages_as_they_are_now<R: Records>(subject: &Subject<R>) {
    let conversation = subject.create(&[ANN, BOB]).await;
    let message = subject.send(conversation, ANN, "one").await;
    let edited = subject.edit_message(edit(&message, "two")).await.unwrap().change.message;
    let changes = subject.changes(vec![range(conversation, 0, 2)]).await.unwrap().remove(0);
    assert_eq!(changes.iter().map(|change| &change.message).collect::<Vec<_>>(), [&edited, &edited]);
}

/// The oldest changes are left out. The number in a whole answer is bounded, too: of the first list that exceeds it the
/// newest changes, and nothing of the lists behind it.
pub async fn too_many_changes_are_cut_to_the_newest<R: Records>(subject: &Subject<R>) {
    let conversation = subject.create(&[ANN, BOB]).await;
    let total = CHANGES_MAX as u64 + 10;
    for _ in 0..total {
        subject.send(conversation, ANN, "much").await;
    }
    let found: Vec<u64> =
        kinds_of_changes(subject, range(conversation, 0, total)).await.into_iter().map(|(seq, _)| seq).collect();
    assert_eq!(found, (11..=total).collect::<Vec<u64>>());
    let found: Vec<u64> =
        kinds_of_changes(subject, range(conversation, 0, total - 5)).await.into_iter().map(|(seq, _)| seq).collect();
    assert_eq!(found, (6..=total - 5).collect::<Vec<u64>>());
    let whole = CHANGES_ANSWER_MAX / CHANGES_MAX;
    let mut ranges = vec![range(conversation, 0, 10)];
    ranges.resize(whole + 2, range(conversation, 0, total));
    let found = subject.changes(ranges).await.unwrap();
    let lengths: Vec<usize> = found.iter().map(Vec::len).collect();
    assert_eq!((lengths[0], &lengths[whole..]), (10, &[CHANGES_MAX - 10, 0][..]));
    assert!(lengths[1..whole].iter().all(|length| *length == CHANGES_MAX), "{lengths:?}");
    assert_eq!(found[whole].last().map(|change| change.seq), Some(Seq(total)));
}

/// The contents of a whole answer are bounded: of the first list that exceeds it the newest changes, and nothing of the
/// lists behind it.
pub async fn too_many_bytes_of_changes_are_cut_to_the_newest<R: Records>(subject: &Subject<R>) {
    let (large, small) = (subject.create(&[ANN, BOB]).await, subject.create(&[ANN, BOB]).await);
    let content = "x".repeat(CONTENT_BYTES_MAX);
    let most = CHANGES_BYTES_MAX / CONTENT_BYTES_MAX;
    for _ in 0..=most {
        subject.send(large, ANN, &content).await;
    }
    subject.send(small, ANN, "hello").await;
    let range = |conversation, after| range(conversation, after, 1_000);
    let lengths = async |ranges: Vec<ChangeRange>| -> Vec<usize> {
        subject.changes(ranges).await.unwrap().iter().map(Vec::len).collect()
    };
    assert_eq!(lengths(vec![range(small, 0), range(large, 2), range(small, 0)]).await, [1, most - 1, 1]);
    assert_eq!(lengths(vec![range(large, 0), range(small, 0)]).await, [most, 0]);
    let changes = subject.changes(vec![range(large, 0)]).await.unwrap().remove(0);
    assert_eq!((changes[0].seq, changes[most - 1].seq), (Seq(2), Seq(most as u64 + 1)));
}
