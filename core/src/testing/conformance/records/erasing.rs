//! Cases about erasing a user: what goes, what remains, and that it can be repeated and resumed.

use std::collections::BTreeSet;

use super::{ANN, AT, BOB, CAT, DAN, Subject, by, by_service, draft};
use crate::ids::{ConversationId, Seq, UserId};
use crate::key::Owner;
use crate::limits::{ERASED_CONVERSATIONS, ERASED_MESSAGES, ERASED_RELATIONS};
use crate::port::{
    ChangeKind, ChangeRange, ConversationQuery, DirectRequest, DocumentKey, DocumentPut, DocumentScope, Erased,
    NewConversation, Pending, Records, RecordsError,
};

/// Erases the user to the end. Answers the steps.
async fn erase<R: Records>(subject: &Subject<R>, user: UserId) -> Vec<Erased> {
    let mut steps = Vec::new();
    loop {
        let step = subject.erase_user(user, AT.plus(5)).await.unwrap();
        let done = step.done;
        steps.push(step);
        assert!(steps.len() < 1_000, "the erasing does not end");
        if done {
            return steps;
        }
    }
}

async fn pair<R: Records>(subject: &Subject<R>, user: UserId, other: UserId) -> ConversationId {
    let request = DirectRequest { user, other, may_create: true, at: AT };
    subject.create_direct(request).await.unwrap().conversation.id
}

/// Messages become deleted ones, which others no longer count; what others have written stays.
pub async fn an_erased_user_leaves_nothing_but_deleted_messages<R: Records>(subject: &Subject<R>) {
    let group = subject.create(&[ANN, BOB, CAT]).await;
    let own = subject.send(group, ANN, "of Ann").await;
    subject.send(group, BOB, "of Bob").await;
    assert_eq!(subject.counter(CAT, group).await.count, 2);
    let steps = erase(subject, ANN).await;
    let deleted: Vec<_> = steps.iter().flat_map(|step| &step.deleted).collect();
    assert_eq!(deleted.len(), 1);
    assert_eq!((deleted[0].change.kind, deleted[0].change.seq), (ChangeKind::Deleted, Seq(3)));
    assert_eq!((deleted[0].change.message.id, &*deleted[0].change.message.content), (own.id, ""));
    assert_eq!(deleted[0].members, [BOB, CAT]);
    assert_eq!(deleted[0].positions.iter().map(|position| position.user).collect::<Vec<_>>(), [BOB, CAT]);
    assert_eq!(steps.iter().flat_map(|step| &step.left).collect::<Vec<_>>(), [&group]);
    assert_eq!(subject.membership(group, ANN).await, Err(RecordsError::NotAMember));
    assert_eq!(subject.membership(group, BOB).await.unwrap().members, [BOB, CAT]);
    assert_eq!(subject.contents(CAT, group).await, ["of Bob"]);
    assert_eq!(subject.counter(CAT, group).await.count, 1);
    assert!(subject.counters(ANN).await.is_empty());
    let page = subject.conversations(ANN, ConversationQuery::Page { cursor: None, limit: 10 }).await.unwrap();
    assert!(page.conversations.is_empty());
    let range = ChangeRange { conversation: group, after: Seq(0), up_to: Seq(9) };
    assert_eq!(subject.changes(vec![range]).await.unwrap()[0].len(), 3, "no number is lost");
}

/// Messages in conversations that the user has left before go, too.
pub async fn messages_in_conversations_left_before_are_deleted<R: Records>(subject: &Subject<R>) {
    let group = subject.create(&[ANN, BOB]).await;
    subject.send(group, BOB, "of Bob").await;
    subject.remove_member(by(BOB, group, BOB)).await.unwrap();
    erase(subject, BOB).await;
    assert!(subject.contents(ANN, group).await.is_empty());
    assert_eq!(subject.counter(ANN, group).await.count, 0);
}

/// Those of the user, and those of others towards the user.
pub async fn contacts_and_blocks_are_erased_in_both_directions<R: Records>(subject: &Subject<R>) {
    for (one, other) in [(ANN, BOB), (BOB, ANN), (CAT, ANN), (BOB, CAT)] {
        subject.add_contact(one, other).await.unwrap();
    }
    subject.block(ANN, CAT).await.unwrap();
    subject.block(DAN, ANN).await.unwrap();
    let related: BTreeSet<UserId> = erase(subject, ANN).await.iter().flat_map(|step| step.related.clone()).collect();
    assert_eq!(related, BTreeSet::from([BOB, CAT, DAN]));
    assert!(subject.contacts(ANN).await.unwrap().is_empty());
    assert_eq!(subject.contacts(BOB).await.unwrap(), [CAT]);
    assert!(subject.contacts(CAT).await.unwrap().is_empty());
    for user in [ANN, DAN] {
        assert!(subject.blocks(user).await.unwrap().is_empty());
    }
    // Without their blocks all three may be in one conversation.
    subject.create(&[ANN, CAT, DAN]).await;
}

/// Documents about the user go, those about others stay.
pub async fn documents_about_the_user_are_erased<R: Records>(subject: &Subject<R>) {
    let scope = |user| DocumentScope { function: "polls".into(), owner: Owner::User(user) };
    for user in [ANN, BOB] {
        let key = DocumentKey { scope: scope(user), name: "settings".into() };
        subject.put_document(DocumentPut::new(key, "{}".to_owned(), None)).await.unwrap();
    }
    erase(subject, ANN).await;
    assert!(subject.document_names(scope(ANN)).await.unwrap().is_empty());
    assert_eq!(subject.document_names(scope(BOB)).await.unwrap(), ["settings"]);
}

/// Announced like any other removal or deletion. A contact and a block of the same user end in one move.
pub async fn what_is_erased_is_pending<R: Records>(subject: &Subject<R>) {
    let group = subject.create(&[BOB, ANN]).await;
    subject.send(group, ANN, "of Ann").await;
    subject.add_contact(BOB, ANN).await.unwrap();
    subject.block(BOB, ANN).await.unwrap();
    erase(subject, ANN).await;
    let pending = subject.unconfirmed().await;
    let is_removal = |item: &Pending| matches!(item, Pending::Membership(of, user, _) if (*of, *user) == (group, ANN));
    assert!(pending.iter().any(is_removal), "{pending:?}");
    let is_deletion =
        |item: &Pending| matches!(item, Pending::Change(changed) if changed.change.kind == ChangeKind::Deleted);
    assert!(pending.iter().any(is_deletion), "{pending:?}");
    assert!(pending.contains(&Pending::Contact(BOB, ANN, 3)), "{pending:?}");
}

/// Nobody has created the conversations of an erased user, not even a user who comes back under the same id.
pub async fn conversations_of_an_erased_creator_have_none<R: Records>(subject: &Subject<R>) {
    let group = subject.create(&[ANN, BOB, CAT]).await;
    let message = subject.send(group, BOB, "hello").await;
    erase(subject, ANN).await;
    subject.add_member(by(BOB, group, ANN)).await.unwrap();
    let removed = subject.remove_member(by(ANN, group, CAT)).await;
    assert!(matches!(removed, Err(RecordsError::Forbidden(_))), "{removed:?}");
    let later = subject.send(group, BOB, "again").await;
    let deleted = subject.delete_message(group, later.id, Some(ANN), AT).await;
    assert!(matches!(deleted, Err(RecordsError::Forbidden(_))), "{deleted:?}");
    assert!(subject.delete_message(group, message.id, None, AT).await.is_ok());
    assert_eq!(subject.remove_member(by_service(group, CAT)).await.unwrap(), [ANN, BOB]);
}

/// The other one may leave what is left of the pair, and has a new one with a user who comes back.
pub async fn a_pair_ends_with_an_erased_user<R: Records>(subject: &Subject<R>) {
    let old = pair(subject, ANN, BOB).await;
    erase(subject, ANN).await;
    assert_eq!(subject.membership(old, BOB).await.unwrap().members, [BOB]);
    assert_eq!(subject.add_member(by_service(old, ANN)).await, Err(RecordsError::Direct));
    let new = pair(subject, BOB, ANN).await;
    assert_ne!(new, old);
    assert_eq!(subject.remove_member(by(BOB, old, BOB)).await.unwrap(), Vec::<UserId>::new());
    assert_eq!(subject.remove_member(by(BOB, new, BOB)).await, Err(RecordsError::Direct));
}

/// Also a user of whom nothing was ever known.
pub async fn erasing_again_changes_nothing<R: Records>(subject: &Subject<R>) {
    let group = subject.create(&[ANN, BOB]).await;
    subject.send(group, ANN, "of Ann").await;
    erase(subject, ANN).await;
    let seq = subject.counter(BOB, group).await.seq;
    for user in [ANN, DAN] {
        let nothing = Erased { done: true, ..Erased::default() };
        assert_eq!(subject.erase_user(user, AT.plus(9)).await.unwrap(), nothing);
    }
    assert_eq!(subject.counter(BOB, group).await.seq, seq);
}

/// More than one step of each kind: each is bounded, and none is left out.
pub async fn erasing_goes_on_step_by_step<R: Records>(subject: &Subject<R>) {
    let group = subject.create(&[BOB, ANN]).await;
    for number in 0..ERASED_MESSAGES * 2 + 1 {
        subject.append_message(draft(group, ANN, &format!("number {number}"))).await.unwrap();
    }
    for number in 0..=ERASED_CONVERSATIONS {
        let id = Some(ConversationId::from_u128(0x5000 + number as u128));
        let new = NewConversation { id, creator: BOB, members: vec![ANN], at: AT };
        subject.create_conversation(new).await.unwrap();
    }
    let steps = erase(subject, ANN).await;
    for Erased { left, deleted, related, .. } in &steps {
        assert!(left.len() <= ERASED_CONVERSATIONS && deleted.len() <= ERASED_MESSAGES);
        assert!(related.len() <= ERASED_RELATIONS);
    }
    assert_eq!(steps.iter().map(|step| step.left.len()).sum::<usize>(), ERASED_CONVERSATIONS + 2);
    assert_eq!(steps.iter().map(|step| step.deleted.len()).sum::<usize>(), ERASED_MESSAGES * 2 + 1);
    assert!(subject.counters(ANN).await.is_empty());
    assert!(subject.contents(BOB, group).await.is_empty());
}
