//! What the ledger promises, on one host with everything embedded.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "test")]

use roost_tests::fleet::Fleet;
use roost_tests::ledger::Ledger;

#[tokio::test]
async fn a_host_that_is_killed_and_comes_back_without_its_live_state_loses_no_message() {
    let mut fleet = Fleet::start(vec![Vec::new()]).await;
    let ledger = Ledger::open("one host killed and restarted", fleet.addresses()).await;
    fleet.kill(0).await;
    fleet.revive(0).await;
    ledger.flows().await;
    let tally = ledger.settle(&mut ()).await;
    assert!(tally.resyncs > 0 && tally.recovered > 0, "{tally}");
}
