//! Read positions, counters and last messages.

use super::{ANN, BOB, CAT, DAN, NOWHERE, Subject};
use crate::ids::{ConversationId, Seq};
use crate::port::{Records, RecordsError, UnreadRequest};

/// Own ones, deleted ones and read ones do not.
pub async fn only_messages_of_others_count<R: Records>(subject: &Subject<R>) {
    let talk = subject.talk(&[ANN, BOB, CAT]).await;
    for (sender, content) in [(ANN, "1"), (BOB, "2"), (ANN, "3")] {
        subject.say(talk, sender, content).await;
    }
    let counts = [
        subject.counter(ANN, talk).await.count,
        subject.counter(BOB, talk).await.count,
        subject.counter(CAT, talk).await.count,
    ];
    assert_eq!(counts, [1, 2, 3]);
}

/// A position in the past changes nothing.
pub async fn marking_moves_forward_only<R: Records>(subject: &Subject<R>) {
    let talk = subject.talk(&[ANN, BOB]).await;
    for content in ["1", "2", "3"] {
        subject.say(talk, ANN, content).await;
    }
    let two = subject.read_to(BOB, talk, 2).await;
    assert_eq!((two.moved, two.counter.read, two.counter.count, two.counter.seq), (true, Seq(2), 1, Seq(3)));
    assert_eq!(two.members, [ANN, BOB]);
    for earlier in [0, 1, 2] {
        let mark = subject.read_to(BOB, talk, earlier).await;
        assert_eq!((mark.moved, mark.counter), (false, two.counter));
    }
    assert_eq!(subject.counter(BOB, talk).await, two.counter);
}

/// What was not said yet is not read yet.
pub async fn marking_never_passes_the_newest<R: Records>(subject: &Subject<R>) {
    let talk = subject.talk(&[ANN, BOB]).await;
    subject.say(talk, ANN, "1").await;
    for beyond in [2, u64::MAX] {
        assert_eq!(subject.read_to(BOB, talk, beyond).await.counter.read, Seq(1));
    }
    subject.say(talk, ANN, "2").await;
    assert_eq!(subject.counter(BOB, talk).await.count, 1);
}

/// Also when the newest step is no message.
pub async fn marking_without_a_position_reads_everything<R: Records>(subject: &Subject<R>) {
    let talk = subject.talk(&[ANN, BOB]).await;
    let empty = subject.mark_read(BOB, talk, None).await.unwrap();
    assert_eq!((empty.moved, empty.counter.read), (false, Seq(0)));
    subject.say(talk, ANN, "1").await;
    let gone = subject.say(talk, ANN, "2").await;
    subject.delete(&gone).await;
    let all = subject.mark_read(BOB, talk, None).await.unwrap();
    assert_eq!((all.moved, all.counter.read, all.counter.count), (true, Seq(3), 0));
    assert!(!subject.mark_read(BOB, talk, None).await.unwrap().moved);
}

/// Neither where they are not, nor where nothing is.
pub async fn strangers_mark_nothing<R: Records>(subject: &Subject<R>) {
    let talk = subject.talk(&[ANN, BOB]).await;
    for conversation in [talk, NOWHERE] {
        assert_eq!(subject.mark_read(DAN, conversation, None).await, Err(RecordsError::NotAMember));
    }
}

/// Users in the order asked, conversations in ascending order, without those of others.
pub async fn standings_are_answered_as_asked<R: Records>(subject: &Subject<R>) {
    let both = subject.talk(&[ANN, BOB]).await;
    let anns = subject.talk(&[ANN, CAT]).await;
    let quiet = subject.talk(&[ANN, DAN]).await;
    subject.say(both, BOB, "1").await;
    subject.say(anns, CAT, "2").await;
    subject.say(anns, CAT, "3").await;
    let request = |user, conversations| UnreadRequest { user, conversations };
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

/// With the conversation's sequence, in the order asked.
pub async fn last_messages_are_the_newest_that_stand<R: Records>(subject: &Subject<R>) {
    let talk = subject.talk(&[ANN, BOB]).await;
    let empty = subject.talk(&[ANN, BOB]).await;
    let first = subject.say(talk, ANN, "first").await;
    let second = subject.say(talk, BOB, "second").await;
    let answers = subject.last_messages(vec![empty, talk, NOWHERE, talk]).await.unwrap();
    let named: Vec<_> = answers.iter().map(|last| (last.conversation, last.version.0)).collect();
    assert_eq!(named, [(empty, 0), (talk, 2), (NOWHERE, 0), (talk, 2)]);
    assert_eq!((&answers[0].message, &answers[1].message, &answers[2].message), (&None, &Some(second.clone()), &None));
    subject.delete(&second).await;
    let fallen = subject.last_messages(vec![talk]).await.unwrap().remove(0);
    assert_eq!((fallen.version, fallen.message), (Seq(3), Some(first.clone())));
    subject.delete(&first).await;
    let nothing = subject.last_messages(vec![talk]).await.unwrap().remove(0);
    assert_eq!((nothing.version, nothing.message), (Seq(4), None));
}
