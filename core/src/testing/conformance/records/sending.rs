//! Storing messages: sequence numbers, repetitions, conflicts.

use super::{ANN, BOB, DAN, NOWHERE, Subject, draft, draft_as};
use crate::ids::Seq;
use crate::port::{ChangeKind, ChangeRange, Draft, Records, RecordsError};
use crate::testing::{BoxFuture, join_all};

/// The first message has number 1. The answer names the members in ascending order.
pub async fn a_message_takes_the_next_sequence_number<R: Records>(subject: &Subject<R>) {
    let conversation = subject.create(&[BOB, ANN]).await;
    let first = subject.append_message(draft_as(1, conversation, ANN, "hello")).await.unwrap();
    let second = subject.append(conversation, BOB, "hi").await;
    assert_eq!((first.change.seq, second.change.seq), (Seq(1), Seq(2)));
    assert_eq!((first.change.kind, first.repeated), (ChangeKind::Sent, false));
    assert_eq!(first.members, [ANN, BOB]);
    let message = first.change.message;
    assert_eq!(
        (message.id, message.conversation, message.seq),
        (draft_as(1, conversation, ANN, "").id.unwrap(), conversation, Seq(1))
    );
    assert_eq!((message.sender, &*message.kind, &*message.content), (ANN, "text", "hello"));
    assert_eq!((message.created_at, message.edited_at, message.deleted), (super::AT, None, false));
}

/// Forty concurrent messages get the numbers 1 to 40, each once.
pub async fn concurrent_messages_leave_no_gap<R: Records>(subject: &Subject<R>) {
    let conversation = subject.create(&[ANN, BOB]).await;
    let sends = (0..40).map(|n| {
        let sender = if n % 2 == 0 { ANN } else { BOB };
        let send: BoxFuture<'_, _> = Box::pin(subject.append_message(draft_as(n + 1, conversation, sender, "at once")));
        send
    });
    let mut sequence_numbers: Vec<u64> =
        join_all(sends.collect()).await.into_iter().map(|sent| sent.unwrap().change.seq.0).collect();
    sequence_numbers.sort_unstable();
    assert_eq!(sequence_numbers, (1..=40).collect::<Vec<u64>>());
    let range = ChangeRange { conversation, after: Seq::ZERO, up_to: Seq(40) };
    assert_eq!(subject.changes(vec![range]).await.unwrap()[0].len(), 40);
}

/// The content of the first message is kept.
pub async fn the_same_id_again_is_a_repetition<R: Records>(subject: &Subject<R>) {
    let conversation = subject.create(&[ANN, BOB]).await;
    let first = subject.append_message(draft_as(1, conversation, ANN, "first")).await.unwrap();
    let again = subject.append_message(draft_as(1, conversation, ANN, "second")).await.unwrap();
    assert!(again.repeated);
    assert_eq!(again.change, first.change);
    assert_eq!(again.members, [ANN, BOB]);
    assert_eq!(subject.counter(BOB, conversation).await.seq, Seq(1));
    assert_eq!(subject.contents(BOB, conversation).await, ["first"]);
}

/// One message is stored, the others are repetitions.
pub async fn concurrent_repetitions_store_one_message<R: Records>(subject: &Subject<R>) {
    let conversation = subject.create(&[ANN, BOB]).await;
    let sends = (0..10).map(|_| {
        let send: BoxFuture<'_, _> = Box::pin(subject.append_message(draft_as(1, conversation, ANN, "once")));
        send
    });
    let answers = join_all(sends.collect()).await;
    let stored = answers.iter().filter(|answer| !answer.as_ref().unwrap().repeated).count();
    assert_eq!(stored, 1);
    assert_eq!(subject.counter(BOB, conversation).await.count, 1);
}

/// The id was used by another sender, or in another conversation.
pub async fn an_id_that_is_taken_is_a_conflict<R: Records>(subject: &Subject<R>) {
    let conversation = subject.create(&[ANN, BOB]).await;
    let other = subject.create(&[ANN, BOB]).await;
    subject.append_message(draft_as(1, conversation, ANN, "mine")).await.unwrap();
    for taken in [draft_as(1, conversation, BOB, "mine"), draft_as(1, other, ANN, "mine")] {
        let answer = subject.append_message(taken).await;
        assert!(matches!(answer, Err(RecordsError::Conflict(_))), "{answer:?}");
    }
    assert_eq!(subject.counter(BOB, conversation).await.seq, Seq(1));
    assert_eq!(subject.counter(BOB, other).await.seq, Seq(0));
}

/// A message without an id gets a generated one.
pub async fn generated_message_ids_differ<R: Records>(subject: &Subject<R>) {
    let conversation = subject.create(&[ANN, BOB]).await;
    let first = subject.send(conversation, ANN, "same").await;
    let second = subject.send(conversation, ANN, "same").await;
    assert_ne!(first.id, second.id);
    assert_eq!(subject.counter(BOB, conversation).await.count, 2);
}

/// Neither to a conversation of others, nor to one that does not exist.
pub async fn non_members_cannot_send<R: Records>(subject: &Subject<R>) {
    let conversation = subject.create(&[ANN, BOB]).await;
    for conversation in [conversation, NOWHERE] {
        assert_eq!(subject.append_message(draft(conversation, DAN, "let me in")).await, Err(RecordsError::NotAMember));
    }
    assert_eq!(subject.counter(ANN, conversation).await.seq, Seq(0));
}

/// Sending a message does not mark earlier messages as read.
pub async fn the_senders_read_position_does_not_move<R: Records>(subject: &Subject<R>) {
    let conversation = subject.create(&[ANN, BOB]).await;
    subject.send(conversation, BOB, "question").await;
    subject.send(conversation, ANN, "answer").await;
    let counter = subject.counter(ANN, conversation).await;
    assert_eq!((counter.read, counter.count, counter.seq), (Seq(0), 1, Seq(2)));
}

/// Any text is answered as it was sent.
pub async fn content_is_stored_unchanged<R: Records>(subject: &Subject<R>) {
    let conversation = subject.create(&[ANN, BOB]).await;
    let long = "ü".repeat(8 * 1024);
    let contents = ["", "a\0b", "\u{feff}'; DROP TABLE messages; --", "👩‍👩‍👧‍👦 %_\\\"", &long];
    for content in contents {
        assert_eq!(subject.send(conversation, ANN, content).await.content, content);
    }
    assert_eq!(subject.contents(BOB, conversation).await, contents);
    let strange = Draft { kind: "x/\0ü".into(), ..draft(conversation, ANN, "") };
    let stored = subject.append_message(strange).await.unwrap();
    let last = subject.last_messages(vec![conversation]).await.unwrap().remove(0);
    assert_eq!(last.message, Some(stored.change.message));
}

/// The sender learns that the message was stored once, and that it is deleted now.
pub async fn sending_a_deleted_message_again_is_a_repetition<R: Records>(subject: &Subject<R>) {
    let conversation = subject.create(&[ANN, BOB]).await;
    let sent = subject.append_message(draft_as(1, conversation, ANN, "oops")).await.unwrap().change.message;
    subject.delete(&sent).await;
    let again = subject.append_message(draft_as(1, conversation, ANN, "oops")).await.unwrap();
    assert!(again.repeated && again.change.message.deleted);
    assert_eq!((again.change.seq, again.change.kind), (Seq(1), ChangeKind::Sent));
    assert_eq!(subject.counter(BOB, conversation).await.seq, Seq(2));
}
