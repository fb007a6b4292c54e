//! Adding and removing members, and who may do it.

use super::{ANN, BOB, CAT, DAN, NOWHERE, Subject, by, by_service, draft, edit};
use crate::ids::{ConversationId, Seq, UserId};
use crate::port::{ConversationQuery, HistoryQuery, Member, MembersQuery, Records, RecordsError};

fn history(user: UserId, conversation: ConversationId) -> HistoryQuery {
    HistoryQuery { user, conversation, before: None, limit: 10 }
}

/// The same holds for history, counters, membership and the list of conversations.
pub async fn members_see_what_comes_after_they_joined<R: Records>(subject: &Subject<R>) {
    let conversation = subject.create(&[ANN, BOB]).await;
    let early = subject.send(conversation, ANN, "early").await;
    subject.send(conversation, BOB, "earlier than Cat").await;
    assert_eq!(subject.add_member(by(BOB, conversation, CAT)).await.unwrap(), [ANN, BOB, CAT]);
    let fresh = subject.counter(CAT, conversation).await;
    assert_eq!((fresh.count, fresh.seq, fresh.joined, fresh.read), (0, Seq(2), Seq(2), Seq(2)));
    assert!(subject.contents(CAT, conversation).await.is_empty());
    let late = subject.send(conversation, ANN, "late").await;
    subject.delete(&early).await;
    assert_eq!(subject.contents(CAT, conversation).await, ["late"]);
    assert_eq!(subject.contents(BOB, conversation).await, ["earlier than Cat", "late"]);
    assert_eq!(subject.counter(CAT, conversation).await.count, 1);
    assert_eq!(subject.membership(conversation, CAT).await.unwrap().joined, Seq(2));
    let page = subject.conversations(CAT, ConversationQuery::Named(vec![conversation])).await.unwrap();
    assert_eq!((page.conversations[0].joined, &*page.conversations[0].members), (Seq(2), &[ANN, BOB, CAT][..]));
    let marked = subject.read_to(CAT, conversation, 1).await;
    assert_eq!((marked.moved, marked.counter.read), (false, Seq(2)));
    assert_eq!(subject.read_to(CAT, conversation, late.seq.0).await.counter.count, 0);
}

/// Every operation on the conversation is refused.
pub async fn former_members_see_nothing<R: Records>(subject: &Subject<R>) {
    let conversation = subject.create(&[ANN, BOB]).await;
    let message = subject.send(conversation, BOB, "bye").await;
    subject.send(conversation, ANN, "see you").await;
    assert_eq!(subject.remove_member(by(BOB, conversation, BOB)).await.unwrap(), [ANN]);
    let refused = [
        subject.history(history(BOB, conversation)).await.map(|_| ()),
        subject.membership(conversation, BOB).await.map(|_| ()),
        subject.mark_read(BOB, conversation, None).await.map(|_| ()),
        subject.append_message(draft(conversation, BOB, "me again")).await.map(|_| ()),
        subject.edit_message(edit(&message, "hello")).await.map(|_| ()),
        subject.delete_message(conversation, message.id, Some(BOB), super::AT).await.map(|_| ()),
        subject.add_member(by(BOB, conversation, BOB)).await.map(|_| ()),
        subject.remove_member(by(BOB, conversation, BOB)).await.map(|_| ()),
    ];
    assert!(refused.iter().all(|answer| *answer == Err(RecordsError::NotAMember)), "{refused:?}");
    assert!(subject.counters(BOB).await.is_empty());
    let all = ConversationQuery::Page { cursor: None, limit: 10 };
    assert!(subject.conversations(BOB, all).await.unwrap().conversations.is_empty());
    assert_eq!(subject.append(conversation, ANN, "alone").await.members, [ANN]);
    assert_eq!(subject.contents(ANN, conversation).await, ["bye", "see you", "alone"]);
}

/// They see neither the messages of their earlier membership, nor those that they missed.
pub async fn members_who_rejoin_see_only_what_comes_after<R: Records>(subject: &Subject<R>) {
    let conversation = subject.create(&[ANN, BOB]).await;
    let own = subject.send(conversation, BOB, "first time").await;
    subject.remove_member(by(BOB, conversation, BOB)).await.unwrap();
    subject.send(conversation, ANN, "missed").await;
    subject.add_member(by(ANN, conversation, BOB)).await.unwrap();
    subject.send(conversation, ANN, "welcome back").await;
    assert_eq!(subject.contents(BOB, conversation).await, ["welcome back"]);
    let counter = subject.counter(BOB, conversation).await;
    assert_eq!((counter.joined, counter.read, counter.count), (Seq(2), Seq(2), 1));
    let edited = subject.edit_message(edit(&own, "second time")).await;
    let deleted = subject.delete_message(conversation, own.id, Some(BOB), super::AT).await;
    for answer in [edited, deleted] {
        assert!(matches!(answer, Err(RecordsError::NotFound(_))), "{answer:?}");
    }
}

/// The member's position stays where it was.
pub async fn adding_a_member_again_changes_nothing<R: Records>(subject: &Subject<R>) {
    let conversation = subject.create(&[ANN, BOB]).await;
    subject.send(conversation, ANN, "hello").await;
    for again in [by(ANN, conversation, BOB), by(BOB, conversation, BOB), by_service(conversation, BOB)] {
        assert_eq!(subject.add_member(again).await.unwrap(), [ANN, BOB]);
    }
    let counter = subject.counter(BOB, conversation).await;
    assert_eq!((counter.joined, counter.count), (Seq(0), 1));
}

/// Any member may add; a service may add even when no member is left.
pub async fn members_and_services_add<R: Records>(subject: &Subject<R>) {
    let conversation = subject.create(&[ANN, BOB]).await;
    assert_eq!(subject.add_member(by(BOB, conversation, CAT)).await.unwrap(), [ANN, BOB, CAT]);
    assert_eq!(subject.add_member(by(DAN, conversation, DAN)).await, Err(RecordsError::NotAMember));
    for user in [ANN, BOB, CAT] {
        subject.remove_member(by(user, conversation, user)).await.unwrap();
    }
    assert_eq!(subject.add_member(by_service(conversation, DAN)).await.unwrap(), [DAN]);
    subject.send(conversation, DAN, "mine").await;
}

/// Services may remove any member.
pub async fn members_leave_and_only_the_creator_removes_others<R: Records>(subject: &Subject<R>) {
    let conversation = subject.create(&[ANN, BOB, CAT, DAN]).await;
    for wrong in [by(BOB, conversation, CAT), by(BOB, conversation, ANN)] {
        let answer = subject.remove_member(wrong).await;
        assert!(matches!(answer, Err(RecordsError::Forbidden(_))), "{answer:?}");
    }
    assert_eq!(subject.remove_member(by(ANN, conversation, BOB)).await.unwrap(), [ANN, CAT, DAN]);
    assert_eq!(subject.remove_member(by(CAT, conversation, CAT)).await.unwrap(), [ANN, DAN]);
    assert_eq!(subject.remove_member(by_service(conversation, ANN)).await.unwrap(), [DAN]);
    assert_eq!(subject.remove_member(by(ANN, conversation, DAN)).await, Err(RecordsError::NotAMember));
    assert_eq!(subject.remove_member(by(DAN, conversation, DAN)).await.unwrap(), Vec::<UserId>::new());
}

/// The answer is the present members.
pub async fn removing_a_non_member_changes_nothing<R: Records>(subject: &Subject<R>) {
    let conversation = subject.create(&[ANN, BOB]).await;
    for change in [by(ANN, conversation, DAN), by_service(conversation, DAN)] {
        assert_eq!(subject.remove_member(change).await.unwrap(), [ANN, BOB]);
    }
    let answer = subject.remove_member(by(BOB, conversation, DAN)).await;
    assert!(matches!(answer, Err(RecordsError::Forbidden(_))), "{answer:?}");
}

/// Only a service learns that a conversation does not exist.
pub async fn a_non_member_cannot_tell_whether_a_conversation_exists<R: Records>(subject: &Subject<R>) {
    let conversation = subject.create(&[ANN, BOB]).await;
    for conversation in [conversation, NOWHERE] {
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

/// In ascending order, each once, with what they may see and what they have read.
pub async fn members_are_listed_in_pages_with_their_positions<R: Records>(subject: &Subject<R>) {
    let conversation = subject.create(&[ANN, BOB, DAN]).await;
    subject.send(conversation, ANN, "one").await;
    subject.send(conversation, ANN, "two").await;
    subject.add_member(by(ANN, conversation, CAT)).await.unwrap();
    subject.read_to(BOB, conversation, 1).await;
    let member = |user, joined, read| Member { user, joined: Seq(joined), read: Seq(read) };
    let all = [member(ANN, 0, 0), member(BOB, 0, 1), member(CAT, 2, 2), member(DAN, 0, 0)];
    for limit in 1..=5 {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let query = MembersQuery { conversation, actor: Some(BOB), after, limit };
            let page = subject.members(query).await.unwrap();
            assert!(page.members.len() <= limit as usize);
            found.extend(page.members);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(found, all, "pages of {limit}");
    }
}

/// Others do not learn whether there is such a conversation. A page has 1 to 100 entries.
pub async fn only_members_and_services_list_members<R: Records>(subject: &Subject<R>) {
    let conversation = subject.create(&[ANN]).await;
    let query = |actor, conversation| MembersQuery { conversation, actor, after: None, limit: 10 };
    for (actor, of) in [(BOB, conversation), (BOB, NOWHERE), (ANN, NOWHERE)] {
        assert_eq!(subject.members(query(Some(actor), of)).await, Err(RecordsError::NotAMember));
    }
    assert_eq!(subject.members(query(None, conversation)).await.unwrap().members.len(), 1);
    let nowhere = subject.members(query(None, NOWHERE)).await;
    assert!(matches!(nowhere, Err(RecordsError::NotFound(_))), "{nowhere:?}");
    for limit in [0, 101] {
        let answer = subject.members(MembersQuery { limit, ..query(None, conversation) }).await;
        assert!(matches!(answer, Err(RecordsError::Invalid(_))), "{answer:?}");
    }
}
