//! Joining, leaving, joining again, and who may decide it.

use super::{ANN, BOB, CAT, DAN, NOWHERE, Subject, by, by_service, draft, edit};
use crate::ids::{ConversationId, Seq, UserId};
use crate::port::{ConversationQuery, HistoryQuery, Records, RecordsError};

fn history(user: UserId, conversation: ConversationId) -> HistoryQuery {
    HistoryQuery { user, conversation, before: None, limit: 10 }
}

/// In history, counters, membership and the list of conversations.
pub async fn members_see_what_comes_after_they_joined<R: Records>(subject: &Subject<R>) {
    let talk = subject.talk(&[ANN, BOB]).await;
    let early = subject.say(talk, ANN, "early").await;
    subject.say(talk, BOB, "earlier than Cat").await;
    assert_eq!(subject.add_member(by(BOB, talk, CAT)).await.unwrap(), [ANN, BOB, CAT]);
    let fresh = subject.counter(CAT, talk).await;
    assert_eq!((fresh.count, fresh.seq, fresh.joined, fresh.read), (0, Seq(2), Seq(2), Seq(2)));
    assert!(subject.contents(CAT, talk).await.is_empty());
    let late = subject.say(talk, ANN, "late").await;
    subject.delete(&early).await;
    assert_eq!(subject.contents(CAT, talk).await, ["late"]);
    assert_eq!(subject.contents(BOB, talk).await, ["earlier than Cat", "late"]);
    assert_eq!(subject.counter(CAT, talk).await.count, 1);
    assert_eq!(subject.membership(talk, CAT).await.unwrap().joined, Seq(2));
    let page = subject.conversations(CAT, ConversationQuery::Named(vec![talk])).await.unwrap();
    assert_eq!((page.conversations[0].joined, &*page.conversations[0].members), (Seq(2), &[ANN, BOB, CAT][..]));
    let marked = subject.read_to(CAT, talk, 1).await;
    assert_eq!((marked.moved, marked.counter.read), (false, Seq(2)));
    assert_eq!(subject.read_to(CAT, talk, late.seq.0).await.counter.count, 0);
}

/// Nothing of the conversation answers any more.
pub async fn those_who_left_see_nothing<R: Records>(subject: &Subject<R>) {
    let talk = subject.talk(&[ANN, BOB]).await;
    let message = subject.say(talk, BOB, "bye").await;
    subject.say(talk, ANN, "see you").await;
    assert_eq!(subject.remove_member(by(BOB, talk, BOB)).await.unwrap(), [ANN]);
    let refused = [
        subject.history(history(BOB, talk)).await.map(|_| ()),
        subject.membership(talk, BOB).await.map(|_| ()),
        subject.mark_read(BOB, talk, None).await.map(|_| ()),
        subject.append_message(draft(talk, BOB, "me again")).await.map(|_| ()),
        subject.edit_message(edit(&message, "hello")).await.map(|_| ()),
        subject.delete_message(talk, message.id, BOB, super::AT).await.map(|_| ()),
        subject.add_member(by(BOB, talk, BOB)).await.map(|_| ()),
        subject.remove_member(by(BOB, talk, BOB)).await.map(|_| ()),
    ];
    assert!(refused.iter().all(|answer| *answer == Err(RecordsError::NotAMember)), "{refused:?}");
    assert!(subject.counters(BOB).await.is_empty());
    let all = ConversationQuery::Page { cursor: None, limit: 10 };
    assert!(subject.conversations(BOB, all).await.unwrap().conversations.is_empty());
    assert_eq!(subject.send(talk, ANN, "alone").await.members, [ANN]);
    assert_eq!(subject.contents(ANN, talk).await, ["bye", "see you", "alone"]);
}

/// Not what they saw in their first time, and not what they missed.
pub async fn those_who_rejoin_see_only_what_comes_after<R: Records>(subject: &Subject<R>) {
    let talk = subject.talk(&[ANN, BOB]).await;
    let own = subject.say(talk, BOB, "first time").await;
    subject.remove_member(by(BOB, talk, BOB)).await.unwrap();
    subject.say(talk, ANN, "missed").await;
    subject.add_member(by(ANN, talk, BOB)).await.unwrap();
    subject.say(talk, ANN, "welcome back").await;
    assert_eq!(subject.contents(BOB, talk).await, ["welcome back"]);
    let counter = subject.counter(BOB, talk).await;
    assert_eq!((counter.joined, counter.read, counter.count), (Seq(2), Seq(2), 1));
    let edited = subject.edit_message(edit(&own, "second time")).await;
    let deleted = subject.delete_message(talk, own.id, BOB, super::AT).await;
    for answer in [edited, deleted] {
        assert!(matches!(answer, Err(RecordsError::NotFound(_))), "{answer:?}");
    }
}

/// Their place stays where it was.
pub async fn adding_a_member_again_changes_nothing<R: Records>(subject: &Subject<R>) {
    let talk = subject.talk(&[ANN, BOB]).await;
    subject.say(talk, ANN, "hello").await;
    for again in [by(ANN, talk, BOB), by(BOB, talk, BOB), by_service(talk, BOB)] {
        assert_eq!(subject.add_member(again).await.unwrap(), [ANN, BOB]);
    }
    let counter = subject.counter(BOB, talk).await;
    assert_eq!((counter.joined, counter.count), (Seq(0), 1));
}

/// Any member, and services also where nobody is left.
pub async fn members_and_services_add<R: Records>(subject: &Subject<R>) {
    let talk = subject.talk(&[ANN, BOB]).await;
    assert_eq!(subject.add_member(by(BOB, talk, CAT)).await.unwrap(), [ANN, BOB, CAT]);
    assert_eq!(subject.add_member(by(DAN, talk, DAN)).await, Err(RecordsError::NotAMember));
    for user in [ANN, BOB, CAT] {
        subject.remove_member(by(user, talk, user)).await.unwrap();
    }
    assert_eq!(subject.add_member(by_service(talk, DAN)).await.unwrap(), [DAN]);
    subject.say(talk, DAN, "mine").await;
}

/// Services remove anybody.
pub async fn members_leave_and_only_the_creator_removes_others<R: Records>(subject: &Subject<R>) {
    let talk = subject.talk(&[ANN, BOB, CAT, DAN]).await;
    for wrong in [by(BOB, talk, CAT), by(BOB, talk, ANN)] {
        let answer = subject.remove_member(wrong).await;
        assert!(matches!(answer, Err(RecordsError::Forbidden(_))), "{answer:?}");
    }
    assert_eq!(subject.remove_member(by(ANN, talk, BOB)).await.unwrap(), [ANN, CAT, DAN]);
    assert_eq!(subject.remove_member(by(CAT, talk, CAT)).await.unwrap(), [ANN, DAN]);
    assert_eq!(subject.remove_member(by_service(talk, ANN)).await.unwrap(), [DAN]);
    assert_eq!(subject.remove_member(by(ANN, talk, DAN)).await, Err(RecordsError::NotAMember));
    assert_eq!(subject.remove_member(by(DAN, talk, DAN)).await.unwrap(), Vec::<UserId>::new());
}

/// The answer is who is there.
pub async fn removing_somebody_who_is_not_there_changes_nothing<R: Records>(subject: &Subject<R>) {
    let talk = subject.talk(&[ANN, BOB]).await;
    for change in [by(ANN, talk, DAN), by_service(talk, DAN)] {
        assert_eq!(subject.remove_member(change).await.unwrap(), [ANN, BOB]);
    }
    let answer = subject.remove_member(by(BOB, talk, DAN)).await;
    assert!(matches!(answer, Err(RecordsError::Forbidden(_))), "{answer:?}");
}

/// Only a service learns that there is no conversation.
pub async fn strangers_and_unknown_conversations_look_alike<R: Records>(subject: &Subject<R>) {
    let talk = subject.talk(&[ANN, BOB]).await;
    for conversation in [talk, NOWHERE] {
        let answers = [
            subject.membership(conversation, DAN).await.map(|_| ()),
            subject.history(history(DAN, conversation)).await.map(|_| ()),
            subject.add_member(by(DAN, conversation, ANN)).await.map(|_| ()),
            subject.remove_member(by(DAN, conversation, ANN)).await.map(|_| ()),
        ];
        assert!(answers.iter().all(|answer| *answer == Err(RecordsError::NotAMember)), "{answers:?}");
    }
    let added = subject.add_member(by_service(NOWHERE, ANN)).await;
    let removed = subject.remove_member(by_service(NOWHERE, ANN)).await;
    for answer in [added, removed] {
        assert!(matches!(answer, Err(RecordsError::NotFound(_))), "{answer:?}");
    }
}
