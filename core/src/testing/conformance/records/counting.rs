//! Read positions, counters and last messages.

use super::{ANN, BOB, CAT, DAN, NOWHERE, Subject};
use crate::ids::{ConversationId, Seq};
use crate::limits::{COUNTERS_MAX, LIST_MAX};
use crate::port::{Records, RecordsError, UnreadRequest};

/// The user's own messages are not counted.
pub async fn only_messages_of_others_count<R: Records>(subject: &Subject<R>) {
    let conversation = subject.create(&[ANN, BOB, CAT]).await;
    for (sender, content) in [(ANN, "1"), (BOB, "2"), (ANN, "3")] {
        subject.send(conversation, sender, content).await;
    }
    let counts = [
        subject.counter(ANN, conversation).await.count,
        subject.counter(BOB, conversation).await.count,
        subject.counter(CAT, conversation).await.count,
    ];
    assert_eq!(counts, [1, 2, 3]);
}

/// An earlier position changes nothing.
pub async fn marking_moves_forward_only<R: Records>(subject: &Subject<R>) {
    let conversation = subject.create(&[ANN, BOB]).await;
    for content in ["1", "2", "3"] {
        subject.send(conversation, ANN, content).await;
    }
    let two = subject.read_to(BOB, conversation, 2).await;
    assert_eq!((two.moved, two.counter.read, two.counter.count, two.counter.seq), (true, Seq(2), 1, Seq(3)));
    assert_eq!(two.member_count, 2);
    for earlier in [0, 1, 2] {
        let mark = subject.read_to(BOB, conversation, earlier).await;
        assert_eq!((mark.moved, mark.counter), (false, two.counter));
    }
    assert_eq!(subject.counter(BOB, conversation).await, two.counter);
}

/// Messages that are sent later stay unread.
pub async fn marking_never_passes_the_newest<R: Records>(subject: &Subject<R>) {
    let conversation = subject.create(&[ANN, BOB]).await;
    subject.send(conversation, ANN, "1").await;
    for beyond in [2, u64::MAX] {
        assert_eq!(subject.read_to(BOB, conversation, beyond).await.counter.read, Seq(1));
    }
    subject.send(conversation, ANN, "2").await;
    assert_eq!(subject.counter(BOB, conversation).await.count, 1);
}

/// The newest change may be one that is no message.
pub async fn marking_without_a_position_reads_everything<R: Records>(subject: &Subject<R>) {
    let conversation = subject.create(&[ANN, BOB]).await;
    let empty = subject.mark_read(BOB, conversation, None).await.unwrap();
    assert_eq!((empty.moved, empty.counter.read), (false, Seq(0)));
    subject.send(conversation, ANN, "1").await;
    let gone = subject.send(conversation, ANN, "2").await;
    subject.delete(&gone).await;
    let all = subject.mark_read(BOB, conversation, None).await.unwrap();
    assert_eq!((all.moved, all.counter.read, all.counter.count), (true, Seq(3), 0));
    assert!(!subject.mark_read(BOB, conversation, None).await.unwrap().moved);
}

/// Neither in a conversation of others, nor in one that does not exist.
pub async fn non_members_cannot_mark_as_read<R: Records>(subject: &Subject<R>) {
    let conversation = subject.create(&[ANN, BOB]).await;
    for conversation in [conversation, NOWHERE] {
        assert_eq!(subject.mark_read(DAN, conversation, None).await, Err(RecordsError::NotAMember));
    }
}

/// Users are in the order asked, and their conversations in ascending order, without conversations of others.
pub async fn counters_are_answered_in_the_order_asked<R: Records>(subject: &Subject<R>) {
    let both = subject.create(&[ANN, BOB]).await;
    let anns = subject.create(&[ANN, CAT]).await;
    let quiet = subject.create(&[ANN, DAN]).await;
    subject.send(both, BOB, "1").await;
    subject.send(anns, CAT, "2").await;
    subject.send(anns, CAT, "3").await;
    let request = |user, conversations| UnreadRequest { user, conversations, after: None };
    let asked = vec![
        request(BOB, None),
        request(ANN, Some(vec![anns, NOWHERE, both, anns])),
        request(ANN, None),
        request(BOB, Some(vec![anns])),
        request(ANN, Some(Vec::new())),
    ];
    let answers = subject.unread(asked).await.unwrap();
    let found = |index: usize| -> Vec<(ConversationId, u64)> {
        answers[index].counters.iter().map(|counter| (counter.conversation, counter.count)).collect()
    };
    let sorted = |mut counts: Vec<(ConversationId, u64)>| {
        counts.sort_unstable();
        counts
    };
    assert_eq!(answers.iter().map(|answer| answer.user).collect::<Vec<_>>(), [BOB, ANN, ANN, BOB, ANN]);
    assert_eq!(found(0), [(both, 0)]);
    assert_eq!(found(1), sorted(vec![(both, 1), (anns, 2)]));
    assert_eq!(found(2), sorted(vec![(both, 1), (anns, 2), (quiet, 0)]));
    assert!(found(3).is_empty() && found(4).is_empty());
    assert!(subject.unread(Vec::new()).await.unwrap().is_empty());
}

/// Answers are in the order asked, with the conversation's newest sequence number.
pub async fn last_messages_are_the_newest_that_are_not_deleted<R: Records>(subject: &Subject<R>) {
    let conversation = subject.create(&[ANN, BOB]).await;
    let empty = subject.create(&[ANN, BOB]).await;
    let first = subject.send(conversation, ANN, "first").await;
    let second = subject.send(conversation, BOB, "second").await;
    let answers = subject.last_messages(vec![empty, conversation, NOWHERE, conversation]).await.unwrap();
    let named: Vec<_> = answers.iter().map(|last| (last.conversation, last.version.0)).collect();
    assert_eq!(named, [(empty, 0), (conversation, 2), (NOWHERE, 0), (conversation, 2)]);
    assert_eq!((&answers[0].message, &answers[1].message, &answers[2].message), (&None, &Some(second.clone()), &None));
    subject.delete(&second).await;
    let fallen = subject.last_messages(vec![conversation]).await.unwrap().remove(0);
    assert_eq!((fallen.version, fallen.message), (Seq(3), Some(first.clone())));
    subject.delete(&first).await;
    let nothing = subject.last_messages(vec![conversation]).await.unwrap().remove(0);
    assert_eq!((nothing.version, nothing.message), (Seq(4), None));
}

/// Conversations are in ascending order; named ones are not affected.
pub async fn counters_of_all_conversations_go_on_after_the_last_one<R: Records>(subject: &Subject<R>) {
    let mut all = Vec::new();
    for _ in 0..5 {
        all.push(subject.create(&[ANN, BOB]).await);
    }
    subject.create(&[BOB]).await;
    all.sort_unstable();
    for (at, after) in all.iter().enumerate() {
        let request = UnreadRequest { after: Some(*after), ..UnreadRequest::all(ANN) };
        let answers = subject.unread(vec![request, UnreadRequest::named(BOB, vec![all[0]])]).await.unwrap();
        let ids: Vec<_> = answers[0].counters.iter().map(|counter| counter.conversation).collect();
        assert_eq!((ids.as_slice(), answers[0].more), (&all[at + 1..], false));
        assert_eq!((answers[1].counters.len(), answers[1].more), (1, false));
    }
    let beyond = UnreadRequest { after: Some(ConversationId::from_u128(u128::MAX)), ..UnreadRequest::all(ANN) };
    assert!(subject.unread(vec![beyond]).await.unwrap()[0].counters.is_empty());
}

/// The first requests are answered whole, the next one in part, and those behind it with nothing yet. Named
/// conversations do not count.
pub async fn an_answer_has_at_most_4000_counters_of_all_conversations<R: Records>(subject: &Subject<R>) {
    let mut all = Vec::new();
    for _ in 0..9 {
        all.push(subject.create(&[ANN, BOB]).await);
    }
    all.sort_unstable();
    let mut asked = vec![UnreadRequest::all(ANN); LIST_MAX - 1];
    asked.push(UnreadRequest::named(BOB, all.clone()));
    let answers = subject.unread(asked).await.unwrap();
    let whole = COUNTERS_MAX / 9;
    let rest = COUNTERS_MAX - whole * 9;
    for (index, answer) in answers.iter().enumerate() {
        let expected = match index {
            _ if index < whole => (9, false),
            _ if index == whole => (rest, true),
            _ if index == LIST_MAX - 1 => (9, false),
            _ => (0, true),
        };
        assert_eq!((answer.counters.len(), answer.more), expected, "{index}");
    }
    let last = answers[whole].counters.last().map(|counter| counter.conversation);
    let next = UnreadRequest { after: last, ..UnreadRequest::all(ANN) };
    let others = subject.unread(vec![next]).await.unwrap().remove(0);
    let ids: Vec<_> = others.counters.iter().map(|counter| counter.conversation).collect();
    assert_eq!((ids.as_slice(), others.more), (&all[rest..], false));
}
