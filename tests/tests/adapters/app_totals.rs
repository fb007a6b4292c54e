//! What the items of a function take on a Cluster, where each slot counts for itself: hosts learn from each other, and
//! what expires in slots that nobody uses is given back.

use roost::store::redis::RedisStore;
use roost_core::key::{Key, Owner};
use roost_core::port::{AppBound, ITEM_BYTES, KeyValue, Mutation, Outcome, StoreError, Transaction};
use roost_tests::eventually::eventually;
use roost_tests::redis::RedisCluster;
use roost_tests::redis::store::{fresh_user, open};

/// The bound of the function in items.
const ITEMS: u64 = 20;

/// Whether an item for a new owner, most likely in another slot, is accepted.
async fn fits(store: &RedisStore, function: &str, life_ms: Option<u64>) -> bool {
    let owner = Owner::User(fresh_user());
    let key = Key { function: Some(function.into()), ..Key::app(owner, "item") };
    let app_bound = Some(AppBound(ITEMS * ITEM_BYTES));
    let transaction = Transaction { app_bound, ..Transaction::new(owner) };
    let outcome = store.commit(vec![transaction.mutate(Mutation::Set(key, vec![], life_ms))]).await.unwrap().remove(0);
    match outcome {
        Outcome::Committed(_) => true,
        Outcome::Failed(StoreError::QuotaExceeded(_)) => false,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn hosts_of_a_cluster_share_the_bound_of_a_function() {
    let cluster = RedisCluster::start_without_failovers().await;
    let (one, other) = (open(&cluster.url()).await, open(&cluster.url()).await);
    for number in 0..ITEMS {
        assert!(fits(&one, "shared", None).await, "{number}");
    }
    assert!(fits(&other, "alone", None).await, "each function has its own bound");
    let mut beyond = 0;
    eventually("the other host knows what was written", async || {
        let refused = !fits(&other, "shared", None).await;
        beyond += u32::from(!refused);
        refused
    })
    .await;
    // The first transaction of a host is sent before it knows anything.
    assert!(beyond <= 10, "{beyond} items were accepted beyond the bound");
    eventually("the first host knows it, too", async || !fits(&one, "shared", None).await).await;
    // A host that starts later learns it with its first transactions.
    let late = open(&cluster.url()).await;
    eventually("a new host knows it", async || !fits(&late, "shared", None).await).await;
}

#[tokio::test]
async fn what_expires_in_slots_that_nobody_uses_is_given_back() {
    let cluster = RedisCluster::start_without_failovers().await;
    let store = open(&cluster.url()).await;
    for number in 0..ITEMS {
        assert!(fits(&store, "brief", Some(1_000)).await, "{number}");
    }
    assert!(!fits(&store, "brief", None).await || !fits(&store, "brief", None).await, "the bound is reached");
    let mut accepted = 0;
    eventually("expired items were given back", async || {
        accepted += u64::from(fits(&store, "brief", None).await);
        accepted >= ITEMS - 5
    })
    .await;
}
