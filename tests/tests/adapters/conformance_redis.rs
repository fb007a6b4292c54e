//! The contract of the store, checked on Redis: every case of the suite on one server, on a Cluster of three primaries,
//! and from a compiled function; and on Valkey where it is installed. All cases share one server of each kind.

use std::sync::Arc;
use std::time::Duration;

use roost::runtime::{Engine, HostWorld};
use roost::store::Store;
use roost::store::redis::RedisStore;
use roost_core::each_store_case;
use roost_core::testing::conformance::key_value::Harness;
use roost_tests::fixture::{case_in_guest, conformance_guest, empty_records};
use roost_tests::redis::store::{fresh_user, open, wait_for_deliveries};
use roost_tests::redis::{RedisCluster, RedisServer};
use tokio::sync::OnceCell;

static SERVER: OnceCell<RedisServer> = OnceCell::const_new();
static VALKEY: OnceCell<Option<RedisServer>> = OnceCell::const_new();
static CLUSTER: OnceCell<RedisCluster> = OnceCell::const_new();

/// A store on a server that other cases use too. Its time passes by itself.
struct Real {
    store: RedisStore,
    app_items_beyond_max: u32,
}

impl Real {
    async fn standalone() -> Self {
        let server = SERVER.get_or_init(RedisServer::start).await;
        Self { store: open(&server.url()).await, app_items_beyond_max: 0 }
    }

    /// A store on Valkey; `None` if that is not installed.
    async fn valkey() -> Option<Self> {
        let server = VALKEY.get_or_init(RedisServer::start_valkey).await.as_ref()?;
        Some(Self { store: open(&server.url()).await, app_items_beyond_max: 0 })
    }

    async fn cluster() -> Self {
        let cluster = CLUSTER.get_or_init(RedisCluster::start_without_failovers).await;
        // What is taken in other slots becomes known shortly after it was written.
        Self { store: open(&cluster.url()).await, app_items_beyond_max: 20 }
    }
}

impl Harness for Real {
    type Store = RedisStore;

    fn store(&self) -> &RedisStore {
        &self.store
    }

    fn fresh(&self) -> u128 {
        fresh_user().as_u128()
    }

    async fn advance(&self, span_ms: u64) {
        // Redis expires a key in the millisecond after its last one.
        tokio::time::sleep(Duration::from_millis(span_ms + 2)).await;
    }

    fn advance_max_ms(&self) -> u64 {
        1_000
    }

    fn app_items_beyond_max(&self) -> u32 {
        self.app_items_beyond_max
    }

    async fn wait_for_deliveries(&self) {
        wait_for_deliveries(&self.store).await;
    }
}

macro_rules! tests {
    ([$make:ident] $($group:ident::$case:ident)*) => {
        $(
            #[tokio::test]
            async fn $case() {
                roost_core::testing::conformance::key_value::$group::$case(&Real::$make().await).await;
            }
        )*
    };
}

mod standalone {
    use super::*;

    each_store_case!(tests, standalone);
}

mod cluster {
    use super::*;

    each_store_case!(tests, cluster);
}

macro_rules! tests_if_installed {
    ([$make:ident] $($group:ident::$case:ident)*) => {
        $(
            #[tokio::test]
            async fn $case() {
                if let Some(real) = Real::$make().await {
                    roost_core::testing::conformance::key_value::$group::$case(&real).await;
                }
            }
        )*
    };
}

mod valkey {
    use super::*;

    each_store_case!(tests_if_installed, valkey);
}

/// Not the cases of deliveries and of who is followed, which functions do not have, of expiry, which functions cannot
/// wait for, and of other functions and of quotas, which a function cannot name.
fn is_for_functions(group: &str, case: &str) -> bool {
    let others = [
        "an_invalid_publication_is_refused",
        "a_refused_call_changes_nothing",
        "a_transaction_beyond_a_limit_fails_alone",
        "functions_do_not_see_each_others_items",
    ];
    let deliveries = ["feeds", "feed_bytes", "followed", "bus", "published_results", "addressed"];
    !deliveries.contains(&group) && !matches!(group, "expiry" | "quota") && !others.contains(&case)
}

macro_rules! names {
    ([] $($group:ident::$case:ident)*) => {
        [$((stringify!($group), stringify!($case))),*]
    };
}

#[tokio::test]
async fn a_compiled_function_sees_the_same_contract() {
    let server = SERVER.get_or_init(RedisServer::start).await;
    let store = Store::Redis(Arc::new(open(&server.url()).await));
    let world = HostWorld::new(store, empty_records().await);
    let functions = conformance_guest(Engine::new().unwrap(), world).await;
    let mut held = 0;
    for (number, (group, case)) in (1_u64..).zip(each_store_case!(names)) {
        if is_for_functions(group, case) {
            let answer = case_in_guest(&functions, &format!("/v1/conformance/{case}/{number}")).await;
            assert!(answer.contains("it holds"), "{group}::{case}: {answer}");
            held += 1;
        }
    }
    assert!(held > 30, "{held}");
}
