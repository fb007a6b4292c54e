//! Refreshes after an interruption of the bus: only for the users whom it concerns, few at a time, and without delay
//! for what clients ask.

use super::*;
use crate::server::fake::REFRESHES_MAX;

/// A host with one client of each of these users.
async fn connected(users: std::ops::RangeInclusive<u128>) -> (FakeHost, Vec<Client>) {
    let host = FakeHost::start();
    let mut clients = Vec::new();
    for number in users {
        clients.push(connect_as(&host, user(number), Options::default()).await.after_hello().await);
    }
    (host, clients)
}

fn refreshes(host: &FakeHost) -> usize {
    host.functions.names().iter().filter(|name| *name == "sync").count()
}

#[tokio::test(start_paused = true)]
async fn few_refreshes_run_at_a_time_and_clients_are_answered_meanwhile() {
    let (host, mut clients) = connected(1..=40).await;
    host.functions.hold("sync");
    host.store.inner.interrupt();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(refreshes(&host), REFRESHES_MAX);
    for client in &mut clients {
        client.send(r#"{"id":"1","type":"echo"}"#).await;
        assert_eq!(client.frame().await["type"], "ok");
    }
    host.functions.gate.add_permits(40);
    for client in &mut clients {
        assert_eq!(client.frame().await["type"], "sync");
    }
    assert_eq!(refreshes(&host), 40);
}

#[tokio::test(start_paused = true)]
async fn only_the_users_of_the_interruption_are_refreshed() {
    let (host, mut clients) = connected(1..=6).await;
    host.store.inner.interrupt_users(&[user(2), user(5)]);
    for index in [1, 4] {
        assert_eq!(clients[index].frame().await["type"], "sync");
    }
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(refreshes(&host), 2);
}

#[tokio::test(start_paused = true)]
async fn interruptions_before_a_refresh_begins_cause_one_refresh() {
    let (host, mut clients) = connected(1..=3).await;
    host.functions.hold("sync");
    host.store.inner.interrupt_users(&[user(1), user(2)]);
    tokio::time::sleep(Duration::from_secs(1)).await;
    for _ in 0..5 {
        host.store.inner.interrupt_users(&[user(3)]);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    host.functions.gate.add_permits(10);
    assert_eq!(clients[2].frame().await["type"], "sync");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(refreshes(&host), 3);
}

#[tokio::test(start_paused = true)]
async fn sockets_whose_own_sync_waits_hold_no_place_of_a_refresh() {
    let host = FakeHost::with_bounds(|bounds| bounds.users.calls_max = 1);
    let busy = connect_as(&host, user(1), Options::default()).await.after_hello().await;
    let mut waiting = Vec::new();
    for _ in 0..REFRESHES_MAX {
        waiting.push(connect_as(&host, user(1), Options::default()).await.after_hello().await);
    }
    let mut other = connect_as(&host, user(2), Options::default()).await.after_hello().await;
    // It takes the only call of its user; the `sync` frames of the user's other sockets wait for it.
    busy.send(r#"{"id":"1","type":"slow"}"#).await;
    while !host.functions.names().contains(&"slow".to_owned()) {
        tokio::task::yield_now().await;
    }
    for client in &waiting {
        client.send(r#"{"id":"2","type":"sync"}"#).await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    host.store.inner.interrupt_users(&[user(1)]);
    tokio::time::sleep(Duration::from_secs(1)).await;
    host.store.inner.interrupt_users(&[user(2)]);
    assert_eq!(other.frame().await["type"], "sync");
    host.functions.gate.add_permits(1);
    for client in &mut waiting {
        assert_eq!(client.frame().await["id"], "2");
        assert_eq!(client.frame().await["type"], "sync", "the refresh follows the client's own frame");
    }
}

#[tokio::test(start_paused = true)]
async fn sockets_that_nobody_reads_hold_no_place_of_a_refresh() {
    let host = FakeHost::start();
    let held: Vec<_> = (0..REFRESHES_MAX).filter_map(|_| host.state.refreshes.try_begin()).collect();
    let mut unread = Vec::new();
    for _ in 0..REFRESHES_MAX {
        unread.push(connect_as(&host, user(1), Options { capacity: 1, ..Options::default() }).await);
    }
    let mut other = connect_as(&host, user(2), Options::default()).await.after_hello().await;
    host.store.inner.interrupt_users(&[user(1)]);
    tokio::time::sleep(Duration::from_secs(1)).await;
    // Only `hello` fits between the host and these clients.
    host.store.publish(user(1), "a").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    drop(held);
    tokio::time::sleep(Duration::from_secs(1)).await;
    host.store.inner.interrupt_users(&[user(2)]);
    let refreshed = timeout(Duration::from_secs(5), other.frame()).await.expect("the other user is not refreshed");
    assert_eq!(refreshed["type"], "sync");
}
