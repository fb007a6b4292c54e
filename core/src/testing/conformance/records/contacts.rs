//! Contacts and blocks, and who may see whose presence.

use super::{ANN, BOB, CAT, DAN, Subject};
use crate::ids::UserId;
use crate::port::{ContactAudience, Records, RecordsError, Relation};

async fn mutual<R: Records>(subject: &Subject<R>, one: UserId, other: UserId) {
    subject.add_contact(one, other).await.unwrap();
    subject.add_contact(other, one).await.unwrap();
}

async fn visible<R: Records>(subject: &Subject<R>, user: UserId) -> Vec<UserId> {
    subject.audience(vec![user]).await.unwrap().remove(0).visible
}

/// Adding a contact does not make the user a contact of the other.
pub async fn contacts_are_directed_and_in_order<R: Records>(subject: &Subject<R>) {
    for contact in [CAT, BOB, DAN] {
        subject.add_contact(ANN, contact).await.unwrap();
    }
    assert_eq!(subject.contacts(ANN).await.unwrap(), [BOB, CAT, DAN]);
    assert!(subject.contacts(BOB).await.unwrap().is_empty());
    subject.block(ANN, CAT).await.unwrap();
    assert_eq!(subject.contacts(ANN).await.unwrap(), [BOB, CAT, DAN]);
}

/// Neither a contact nor the block of the other side is one of them.
pub async fn blocks_are_directed_and_in_order<R: Records>(subject: &Subject<R>) {
    for blocked in [CAT, BOB, DAN] {
        subject.block(ANN, blocked).await.unwrap();
    }
    subject.add_contact(BOB, CAT).await.unwrap();
    assert_eq!(subject.blocks(ANN).await.unwrap(), [BOB, CAT, DAN]);
    assert!(subject.blocks(BOB).await.unwrap().is_empty());
    subject.unblock(ANN, CAT).await.unwrap();
    assert_eq!(subject.blocks(ANN).await.unwrap(), [BOB, DAN]);
}

/// Users are in the order asked, and the users who see them in ascending order.
pub async fn only_mutual_contacts_see_each_other<R: Records>(subject: &Subject<R>) {
    mutual(subject, ANN, CAT).await;
    mutual(subject, ANN, BOB).await;
    subject.add_contact(ANN, DAN).await.unwrap();
    subject.add_contact(DAN, BOB).await.unwrap();
    let of = |user, visible: &[UserId]| ContactAudience { user, visible: visible.to_vec() };
    let asked = vec![DAN, ANN, BOB, ANN, CAT];
    let expected = [of(DAN, &[]), of(ANN, &[BOB, CAT]), of(BOB, &[ANN]), of(ANN, &[BOB, CAT]), of(CAT, &[ANN])];
    assert_eq!(subject.audience(asked).await.unwrap(), expected);
    subject.remove_contact(BOB, ANN).await.unwrap();
    assert_eq!(visible(subject, ANN).await, [CAT]);
    assert!(visible(subject, BOB).await.is_empty());
    assert!(subject.audience(Vec::new()).await.unwrap().is_empty());
}

/// The direction of the block does not matter, and nobody else is affected.
pub async fn a_block_hides_both_from_each_other<R: Records>(subject: &Subject<R>) {
    mutual(subject, ANN, BOB).await;
    mutual(subject, ANN, CAT).await;
    for (user, blocked) in [(ANN, BOB), (BOB, ANN)] {
        subject.block(user, blocked).await.unwrap();
        assert_eq!(visible(subject, ANN).await, [CAT]);
        assert!(visible(subject, BOB).await.is_empty());
        assert_eq!(visible(subject, CAT).await, [ANN]);
        subject.unblock(user, blocked).await.unwrap();
        assert_eq!(visible(subject, ANN).await, [BOB, CAT]);
        assert_eq!(visible(subject, BOB).await, [ANN]);
    }
}

/// A user cannot be their own contact, and cannot block themselves.
pub async fn repeated_additions_and_removals_of_contacts_and_blocks_are_harmless<R: Records>(subject: &Subject<R>) {
    for _ in 0..2 {
        subject.add_contact(ANN, BOB).await.unwrap();
        subject.block(ANN, CAT).await.unwrap();
    }
    assert_eq!(subject.contacts(ANN).await.unwrap(), [BOB]);
    for _ in 0..2 {
        subject.remove_contact(ANN, BOB).await.unwrap();
        subject.unblock(ANN, CAT).await.unwrap();
    }
    assert!(subject.contacts(ANN).await.unwrap().is_empty());
    for answer in [subject.add_contact(ANN, ANN).await, subject.block(ANN, ANN).await] {
        assert!(matches!(answer, Err(RecordsError::Invalid(_))), "{answer:?}");
    }
    subject.remove_contact(ANN, ANN).await.unwrap();
    subject.unblock(ANN, ANN).await.unwrap();
}

/// Each side sees what it has said itself, and what the other has said.
pub async fn a_relation_shows_both_sides<R: Records>(subject: &Subject<R>) {
    assert_eq!(subject.relation(ANN, BOB).await.unwrap(), Relation::default());
    subject.add_contact(ANN, BOB).await.unwrap();
    subject.block(BOB, ANN).await.unwrap();
    subject.add_contact(ANN, CAT).await.unwrap();
    let of_ann = Relation { contact: true, blocked_by: true, ..Relation::default() };
    assert_eq!(subject.relation(ANN, BOB).await.unwrap(), of_ann);
    let of_bob = Relation { contact_of: true, blocked: true, ..Relation::default() };
    assert_eq!(subject.relation(BOB, ANN).await.unwrap(), of_bob);
    subject.unblock(BOB, ANN).await.unwrap();
    subject.add_contact(BOB, ANN).await.unwrap();
    assert!(subject.relation(ANN, BOB).await.unwrap().is_visible());
    assert_eq!(visible(subject, ANN).await, [BOB]);
}
