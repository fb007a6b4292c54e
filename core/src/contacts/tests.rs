//! Contacts and blocks on the fake records.

use super::*;
use crate::error::Error;
use crate::ids::UserId;
use crate::port::Records;
use crate::testing::{FakeRecords, block_on};

const ANN: UserId = UserId::from_u128(1);
const BOB: UserId = UserId::from_u128(2);
const EVE: UserId = UserId::from_u128(3);

fn visible(records: &FakeRecords, user: UserId) -> Vec<UserId> {
    block_on(records.audience(vec![user])).unwrap().remove(0).visible
}

#[test]
fn contacts_are_listed_once_in_ascending_order() {
    let records = FakeRecords::new(1);
    for contact in [EVE, BOB, EVE] {
        block_on(add(&records, ANN, contact)).unwrap();
    }
    assert_eq!(block_on(list(&records, ANN)), Ok(vec![BOB, EVE]));
    block_on(remove(&records, ANN, EVE)).unwrap();
    block_on(remove(&records, ANN, EVE)).unwrap();
    assert_eq!(block_on(list(&records, ANN)), Ok(vec![BOB]));
    assert_eq!(block_on(list(&records, BOB)), Ok(vec![]), "contacts are directed");
}

#[test]
fn nobody_adds_or_blocks_themselves() {
    let records = FakeRecords::new(1);
    assert!(matches!(block_on(add(&records, ANN, ANN)), Err(Error::Invalid(_))));
    assert!(matches!(block_on(block(&records, ANN, ANN)), Err(Error::Invalid(_))));
    assert_eq!(block_on(list(&records, ANN)), Ok(vec![]));
}

#[test]
fn a_block_hides_both_until_it_ends() {
    let records = FakeRecords::new(1);
    block_on(add(&records, ANN, BOB)).unwrap();
    block_on(add(&records, BOB, ANN)).unwrap();
    block_on(block(&records, ANN, BOB)).unwrap();
    assert_eq!((visible(&records, ANN), visible(&records, BOB)), (vec![], vec![]));
    block_on(unblock(&records, ANN, BOB)).unwrap();
    assert_eq!((visible(&records, ANN), visible(&records, BOB)), (vec![BOB], vec![ANN]));
}
