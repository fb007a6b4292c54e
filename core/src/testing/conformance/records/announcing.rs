//! The outbox: what is stored is pending until it is confirmed.

use super::{ANN, AT, BOB, CAT, DAN, LATER, NOWHERE, Subject, by, by_service, draft_as, edit};
use crate::ids::{ConversationId, Seq};
use crate::port::{Changed, Confirmation, Draft, Pending, Records};

async fn confirm<R: Records>(subject: &Subject<R>, confirmation: Confirmation) {
    subject.announced(vec![confirmation]).await.unwrap();
    subject.settle().await;
}

fn change(conversation: ConversationId, seq: u64) -> Confirmation {
    Confirmation::Change(conversation, Seq(seq))
}

fn places(pending: &[Pending]) -> Vec<u64> {
    pending
        .iter()
        .map(|pending| match pending {
            Pending::Change(changed) => changed.change.seq.0,
            Pending::Member(..) => 0,
        })
        .collect()
}

/// Messages, edits and deletions alike.
pub async fn a_change_is_pending_until_it_is_confirmed<R: Records>(subject: &Subject<R>) {
    let talk = subject.talk(&[ANN, BOB]).await;
    let sent = subject.send(talk, ANN, "one").await;
    assert_eq!(subject.unconfirmed().await, [Pending::Change(sent.clone())]);
    let edited = subject.edit_message(edit(&sent.change.message, "uno")).await.unwrap();
    let deleted = subject.delete(&edited.change.message).await;
    let as_it_stands = |changed: &Changed| {
        let mut changed = changed.clone();
        changed.change.message = deleted.change.message.clone();
        Pending::Change(changed)
    };
    let all = [as_it_stands(&sent), as_it_stands(&edited), as_it_stands(&deleted)];
    assert_eq!(subject.unconfirmed().await, all);
    confirm(subject, change(talk, 2)).await;
    assert_eq!(places(&subject.unconfirmed().await), [1, 3]);
    confirm(subject, change(talk, 1)).await;
    confirm(subject, change(talk, 3)).await;
    assert!(subject.unconfirmed().await.is_empty());
}

/// It moves only over what is confirmed without a hole.
pub async fn announced_is_a_low_water_mark<R: Records>(subject: &Subject<R>) {
    let talk = subject.talk(&[ANN, BOB]).await;
    assert_eq!(subject.counter(BOB, talk).await.announced, Seq(0));
    for content in ["1", "2", "3"] {
        subject.say(talk, ANN, content).await;
    }
    for (confirmed, mark) in [(2, 0), (1, 2), (3, 3)] {
        confirm(subject, change(talk, confirmed)).await;
        assert_eq!(subject.counter(BOB, talk).await.announced, Seq(mark));
        assert_eq!(subject.counters(ANN).await[0].announced, Seq(mark));
    }
    subject.say(talk, ANN, "4").await;
    assert_eq!(subject.mark_read(BOB, talk, None).await.unwrap().counter.announced, Seq(3));
}

/// A mark that moved nothing is not.
pub async fn a_moved_reader_is_pending_until_confirmed<R: Records>(subject: &Subject<R>) {
    let talk = subject.talk(&[ANN, BOB]).await;
    subject.say(talk, ANN, "1").await;
    confirm(subject, change(talk, 1)).await;
    subject.read_to(BOB, talk, 1).await;
    assert_eq!(subject.unconfirmed().await, [Pending::Member(talk, BOB)]);
    confirm(subject, Confirmation::Member(talk, BOB)).await;
    assert!(subject.unconfirmed().await.is_empty());
    assert!(!subject.read_to(BOB, talk, 1).await.moved);
    assert!(subject.unconfirmed().await.is_empty());
}

/// As often as it is listed it can be confirmed, and then it is done.
pub async fn a_member_that_moved_often_is_pending_at_most_as_often<R: Records>(subject: &Subject<R>) {
    let talk = subject.talk(&[ANN, BOB]).await;
    for content in ["1", "2", "3"] {
        subject.say(talk, ANN, content).await;
    }
    for position in 1..=3 {
        confirm(subject, change(talk, position)).await;
        subject.read_to(BOB, talk, position).await;
    }
    let mut confirmed = 0;
    loop {
        let pending = subject.unconfirmed().await;
        if pending.is_empty() {
            break;
        }
        assert!(pending.iter().all(|pending| *pending == Pending::Member(talk, BOB)), "{pending:?}");
        confirmed += pending.len();
        subject.announced(vec![Confirmation::Member(talk, BOB); pending.len()]).await.unwrap();
        subject.settle().await;
        assert!(confirmed <= 3, "three moves were listed {confirmed} times");
    }
    assert_eq!(confirmed, 3);
}

/// A slow announcer of the first move does not confirm the second.
pub async fn each_move_needs_its_own_confirmation<R: Records>(subject: &Subject<R>) {
    let talk = subject.talk(&[ANN, BOB]).await;
    for (position, content) in [(1, "1"), (2, "2")] {
        subject.say(talk, ANN, content).await;
        confirm(subject, change(talk, position)).await;
        subject.read_to(BOB, talk, position).await;
    }
    confirm(subject, Confirmation::Member(talk, BOB)).await;
    assert_eq!(subject.unconfirmed().await, [Pending::Member(talk, BOB)]);
    let twice = vec![Confirmation::Member(talk, BOB), Confirmation::Member(talk, BOB)];
    subject.announced(twice).await.unwrap();
    subject.settle().await;
    assert!(subject.unconfirmed().await.is_empty());
    subject.say(talk, ANN, "3").await;
    confirm(subject, change(talk, 3)).await;
    subject.read_to(BOB, talk, 3).await;
    assert_eq!(subject.unconfirmed().await, [Pending::Member(talk, BOB)]);
}

/// Joining and leaving move somebody; whatever changes nothing does not.
pub async fn memberships_are_pending_and_creations_are_not<R: Records>(subject: &Subject<R>) {
    let talk = subject.talk(&[ANN, BOB]).await;
    assert!(subject.unconfirmed().await.is_empty());
    subject.add_member(by(ANN, talk, CAT)).await.unwrap();
    assert_eq!(subject.unconfirmed().await, [Pending::Member(talk, CAT)]);
    confirm(subject, Confirmation::Member(talk, CAT)).await;
    subject.remove_member(by(CAT, talk, CAT)).await.unwrap();
    assert_eq!(subject.unconfirmed().await, [Pending::Member(talk, CAT)]);
    confirm(subject, Confirmation::Member(talk, CAT)).await;
    subject.add_member(by(ANN, talk, BOB)).await.unwrap();
    subject.remove_member(by(ANN, talk, CAT)).await.unwrap();
    assert!(subject.unconfirmed().await.is_empty());
}

/// What is stored at `before` or later is left out; so is what is beyond the limit.
pub async fn pending_is_oldest_first_and_only_what_is_older<R: Records>(subject: &Subject<R>) {
    let talk = subject.talk(&[ANN, BOB]).await;
    let other = subject.talk(&[ANN, BOB]).await;
    let at = |id: u128, conversation, delay| Draft { at: AT.plus(delay), ..draft_as(id, conversation, ANN, "now") };
    subject.append_message(at(1, talk, 30)).await.unwrap();
    subject.append_message(at(2, other, 10)).await.unwrap();
    subject.add_member(crate::port::MemberChange { at: AT.plus(20), ..by_service(other, CAT) }).await.unwrap();
    // A clock that steps back does not put a change before an earlier one of its conversation.
    subject.append_message(at(3, talk, 0)).await.unwrap();
    let all = subject.pending(LATER, 100).await.unwrap();
    assert_eq!(places(&all), [1, 0, 1, 2]);
    assert_eq!(all[1], Pending::Member(other, CAT));
    assert!(matches!(&all[2], Pending::Change(changed) if changed.change.message.conversation == talk));
    assert_eq!(subject.pending(LATER, 3).await.unwrap(), all[..3]);
    assert_eq!(subject.pending(AT.plus(20), 100).await.unwrap(), all[..1]);
    assert_eq!(subject.pending(AT.plus(21), 100).await.unwrap(), all[..2]);
    assert!(subject.pending(AT, 100).await.unwrap().is_empty());
    assert_eq!(subject.pending(crate::time::Timestamp(u64::MAX), 100).await.unwrap(), all);
}

/// Those who joined in between are told, those who left are not.
pub async fn pending_changes_name_the_members_of_now<R: Records>(subject: &Subject<R>) {
    let talk = subject.talk(&[ANN, BOB]).await;
    subject.say(talk, ANN, "1").await;
    subject.add_member(by(ANN, talk, DAN)).await.unwrap();
    subject.remove_member(by(ANN, talk, BOB)).await.unwrap();
    let pending = subject.unconfirmed().await;
    let changed = pending.iter().find_map(|pending| match pending {
        Pending::Change(changed) => Some(changed),
        Pending::Member(..) => None,
    });
    assert_eq!(changed.unwrap().members, [ANN, DAN]);
}

/// Unknown ones, and the same again.
pub async fn confirming_what_is_not_pending_is_harmless<R: Records>(subject: &Subject<R>) {
    let talk = subject.talk(&[ANN, BOB]).await;
    subject.say(talk, ANN, "1").await;
    let strange = vec![
        change(NOWHERE, 1),
        change(talk, 2),
        change(talk, u64::MAX),
        Confirmation::Member(talk, BOB),
        Confirmation::Member(NOWHERE, DAN),
    ];
    subject.announced(strange).await.unwrap();
    subject.announced(Vec::new()).await.unwrap();
    subject.settle().await;
    assert_eq!(places(&subject.unconfirmed().await), [1]);
    confirm(subject, change(talk, 1)).await;
    confirm(subject, change(talk, 1)).await;
    assert!(subject.unconfirmed().await.is_empty());
    subject.say(talk, ANN, "2").await;
    assert_eq!(places(&subject.unconfirmed().await), [2]);
}

/// Nothing was changed, so nothing has to be announced.
pub async fn a_repetition_is_not_pending_again<R: Records>(subject: &Subject<R>) {
    let talk = subject.talk(&[ANN, BOB]).await;
    let message = subject.append_message(draft_as(1, talk, ANN, "one")).await.unwrap().change.message;
    confirm(subject, change(talk, 1)).await;
    subject.append_message(draft_as(1, talk, ANN, "one")).await.unwrap();
    subject.edit_message(edit(&message, "one")).await.unwrap();
    subject.delete(&message).await;
    confirm(subject, change(talk, 2)).await;
    subject.delete(&message).await;
    assert!(subject.unconfirmed().await.is_empty());
}
