//! The hub on a bus that loses events: order, gaps, resync, bounds, and when the bus is joined and left.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use roost_core::ids::{ConnectionId, UserId};
use tokio::time::timeout;

use roost_core::feed::Position;
use roost_core::port::{Event, Feeds, PubSub, Publication};

use super::hub::*;
use super::outbox::OutboxClosed;
use super::*;
use crate::config::SocketConfig;
use crate::ops::supervisor::TaskHealth;
use crate::server::fake::{LossyStore, socket_config, user};
use crate::server::problem::ErrorCode;

struct Client {
    registration: Registration<LossyStore>,
    connection: Arc<Connection>,
    position: Position,
}

async fn connect(hub: &Arc<Hub<LossyStore>>, user: UserId, name: &str) -> Client {
    let mut registration = hub.register(user).unwrap();
    let (connection, position) = registration.join(name.parse::<ConnectionId>().unwrap()).await.unwrap();
    Client { registration, connection, position }
}

impl Client {
    /// The next items, each as its payload's text, `resync`, or `refresh`.
    async fn next(&self) -> Vec<String> {
        let batch =
            timeout(Duration::from_secs(60), self.connection.outbox.take()).await.expect("no item within a minute");
        let OutboxBatch { items, usage } = batch.unwrap();
        self.connection.outbox.release(usage);
        items.into_iter().map(|item| label(&item)).collect()
    }

    /// This many items, in as many batches as it takes.
    async fn take(&self, count: usize) -> Vec<String> {
        let mut items = Vec::new();
        while items.len() < count {
            items.extend(self.next().await);
        }
        items
    }

    fn is_quiet(&self) -> bool {
        matches!(self.connection.outbox.try_take(), Ok(None))
    }
}

fn label(item: &OutboxItem) -> String {
    let OutboxItem::Frame(frame) = item else { return "refresh".into() };
    let frame: serde_json::Value = serde_json::from_str(&frame.encode_text()).unwrap();
    match frame["payload"]["text"].as_str() {
        Some(text) => text.to_owned(),
        None => frame["type"].as_str().unwrap().to_owned(),
    }
}

fn hub(store: &Arc<LossyStore>) -> Arc<Hub<LossyStore>> {
    Hub::start(store.clone(), &socket_config(), TaskHealth::default())
}

#[tokio::test(start_paused = true)]
async fn events_reach_every_connection_of_the_user_in_order_and_no_other_user() {
    let store = LossyStore::new();
    let hub = hub(&store);
    let (phone, laptop) = (connect(&hub, user(1), "phone").await, connect(&hub, user(1), "laptop").await);
    let other = connect(&hub, user(2), "other").await;
    store.publish(user(1), "a").await;
    store.publish_ephemeral(user(1), "typing").await;
    store.publish(user(1), "b").await;
    for client in [&phone, &laptop] {
        assert_eq!(client.take(3).await, ["a", "typing", "b"]);
    }
    assert!(other.is_quiet());
    assert_eq!(store.joins.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn a_frame_is_encoded_once_for_all_connections() {
    let store = LossyStore::new();
    let hub = hub(&store);
    let (phone, laptop) = (connect(&hub, user(1), "phone").await, connect(&hub, user(1), "laptop").await);
    store.publish(user(1), "a").await;
    let frame = |client: &Client| match client.connection.outbox.try_take().unwrap().unwrap().items.remove(0) {
        Some(OutboxItem::Frame(frame)) => frame,
        other => panic!("{other:?}"),
    };
    let (one, two) = (frame(&phone), frame(&laptop));
    assert!(Arc::ptr_eq(&one, &two));
    assert_eq!(one.text().as_str().as_ptr(), two.text().as_str().as_ptr());
}

#[tokio::test(start_paused = true)]
async fn a_gap_is_filled_once_and_before_newer_events_are_delivered() {
    let store = LossyStore::new();
    let hub = hub(&store);
    let client = connect(&hub, user(1), "phone").await;
    store.publish(user(1), "a").await;
    store.lose(2);
    for text in ["b", "c", "d", "e"] {
        store.publish(user(1), text).await;
    }
    assert_eq!(client.take(6).await, ["a", "b", "c", "d", "e", "refresh"]);
    store.publish(user(1), "f").await;
    assert_eq!(client.take(1).await, ["f"]);
}

#[tokio::test(start_paused = true)]
async fn ephemeral_events_wait_until_the_gap_is_filled() {
    let store = LossyStore::new();
    let hub = hub(&store);
    let client = connect(&hub, user(1), "phone").await;
    store.lose(1);
    store.publish(user(1), "a").await;
    store.publish(user(1), "b").await;
    store.publish_ephemeral(user(1), "typing").await;
    assert_eq!(client.take(4).await, ["a", "b", "typing", "refresh"]);
}

#[tokio::test(start_paused = true)]
async fn a_lost_last_event_is_found_by_the_regular_check() {
    let store = LossyStore::new();
    let hub = hub(&store);
    let client = connect(&hub, user(1), "phone").await;
    store.lose(1);
    store.publish(user(1), "a").await;
    assert!(client.is_quiet());
    assert_eq!(client.take(2).await, ["a", "refresh"]);
}

#[tokio::test(start_paused = true)]
async fn a_gap_that_the_feed_no_longer_covers_becomes_one_resync() {
    let store = LossyStore::new();
    let hub = hub(&store);
    let client = connect(&hub, user(1), "phone").await;
    store.publish(user(1), "seen").await;
    assert_eq!(client.take(1).await, ["seen"]);
    store.lose(300);
    for number in 0..300 {
        store.publish(user(1), &number.to_string()).await;
    }
    store.publish(user(1), "last").await;
    assert_eq!(client.take(1).await, ["resync"]);
    store.publish(user(1), "next").await;
    assert_eq!(client.take(1).await, ["next"]);
}

#[tokio::test(start_paused = true)]
async fn an_interruption_without_loss_repeats_and_loses_no_event() {
    let store = LossyStore::new();
    let hub = hub(&store);
    let client = connect(&hub, user(1), "phone").await;
    store.publish(user(1), "a").await;
    store.inner.interrupt();
    store.publish(user(1), "b").await;
    let mut items = client.take(3).await;
    items.retain(|item| item != "refresh");
    assert_eq!(items, ["a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn an_interruption_concerns_only_its_users() {
    let store = LossyStore::new();
    let hub = hub(&store);
    let (concerned, other) = (connect(&hub, user(1), "concerned").await, connect(&hub, user(2), "other").await);
    store.set_down(true);
    store.inner.interrupt_users(&[user(1), user(3)]);
    store.publish(user(1), "a").await;
    store.publish(user(2), "b").await;
    assert_eq!(other.take(1).await, ["b"], "delivered while the positions of the other user cannot be read");
    assert!(concerned.is_quiet());
    store.set_down(false);
    assert_eq!(concerned.take(2).await, ["a", "refresh"]);
    assert!(other.is_quiet(), "no refresh");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_delivered_between_the_loss_of_a_subscription_and_the_end_of_the_interruption() {
    let store = LossyStore::new();
    let hub = hub(&store);
    let client = connect(&hub, user(1), "phone").await;
    store.publish(user(1), "a").await;
    assert_eq!(client.take(1).await, ["a"]);
    store.inner.suspend_users(&[user(1)]);
    store.lose(1);
    store.publish(user(1), "lost").await;
    // A server that took over begins a new feed, whose first event looks like the next one.
    store.clock.advance(1_000);
    store.inner.wipe_feeds();
    store.publish(user(1), "first of a new feed").await;
    assert!(client.is_quiet());
    store.inner.interrupt_users(&[user(1)]);
    assert_eq!(client.take(1).await, ["resync"]);
}

#[tokio::test(start_paused = true)]
async fn a_user_whose_subscription_never_returns_is_served_from_the_feed() {
    let store = LossyStore::new();
    let hub = hub(&store);
    let client = connect(&hub, user(1), "phone").await;
    store.inner.suspend_users(&[user(1)]);
    store.publish(user(1), "a").await;
    assert!(client.is_quiet());
    assert_eq!(client.take(2).await, ["a", "refresh"]);
}

#[tokio::test(start_paused = true)]
async fn after_an_interruption_no_newer_event_overtakes_a_lost_one() {
    let store = LossyStore::new();
    let hub = hub(&store);
    let client = connect(&hub, user(1), "phone").await;
    store.publish(user(1), "a").await;
    assert_eq!(client.take(1).await, ["a"]);
    store.lose(1);
    store.publish(user(1), "lost").await;
    store.set_down(true);
    store.inner.interrupt();
    store.publish(user(1), "newer").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(client.is_quiet());
    store.set_down(false);
    assert_eq!(client.take(3).await, ["lost", "newer", "refresh"]);
}

#[tokio::test(start_paused = true)]
async fn clients_get_a_resync_when_the_store_lost_its_feeds() {
    let store = LossyStore::new();
    let hub = hub(&store);
    let client = connect(&hub, user(1), "phone").await;
    store.publish(user(1), "a").await;
    assert_eq!(client.take(1).await, ["a"]);
    store.clock.advance(1_000);
    store.inner.wipe();
    assert_eq!(client.take(1).await, ["resync"]);
    store.publish(user(1), "b").await;
    assert_eq!(client.take(1).await, ["b"]);
}

#[tokio::test(start_paused = true)]
async fn a_slow_client_is_cut_off_and_does_not_delay_others() {
    let store = LossyStore::new();
    let hub = hub(&store);
    let (slow, quick) = (connect(&hub, user(1), "slow").await, connect(&hub, user(1), "quick").await);
    for number in 0..20 {
        store.publish(user(1), &number.to_string()).await;
        assert_eq!(quick.take(1).await, [number.to_string()]);
    }
    assert_eq!(slow.connection.outbox.take().await.unwrap_err(), OutboxClosed::Overflowed);
}

#[tokio::test(start_paused = true)]
async fn a_connection_gets_the_events_after_its_position() {
    let store = LossyStore::new();
    let hub = hub(&store);
    store.publish(user(1), "before").await;
    let first = connect(&hub, user(1), "first").await;
    store.publish(user(1), "between").await;
    let second = connect(&hub, user(1), "second").await;
    store.publish(user(1), "after").await;
    assert_eq!((first.position.offset, second.position.offset), (1, 2));
    assert_eq!(first.take(2).await, ["between", "after"]);
    assert_eq!(second.take(1).await, ["after"]);
}

#[tokio::test(start_paused = true)]
async fn the_last_connection_leaves_the_bus_and_the_next_joins_again() {
    let store = LossyStore::new();
    let hub = hub(&store);
    let (first, second) = (connect(&hub, user(1), "first").await, connect(&hub, user(1), "second").await);
    drop(first);
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(store.leaves.load(Ordering::SeqCst), 0);
    drop(second);
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!((store.leaves.load(Ordering::SeqCst), hub.connections()), (1, 0));
    let third = connect(&hub, user(1), "third").await;
    store.publish(user(1), "a").await;
    assert_eq!(third.take(1).await, ["a"]);
    assert_eq!(store.joins.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn a_join_during_a_leave_still_receives_events() {
    let store = LossyStore::new();
    let hub = hub(&store);
    for round in 0..50 {
        let client = connect(&hub, user(1), &format!("client-{round}")).await;
        store.publish(user(1), "a").await;
        assert_eq!(client.take(1).await, ["a"], "round {round}");
        // This requests the leave, which races with the join of the next round.
        drop(client);
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_join_is_unregistered() {
    let store = LossyStore::new();
    let hub = hub(&store);
    store.set_down(true);
    let mut registration = hub.register(user(1)).unwrap();
    assert!(registration.join("phone".parse().unwrap()).await.is_err());
    drop(registration);
    assert_eq!(hub.connections(), 0);
    store.set_down(false);
    let client = connect(&hub, user(1), "phone").await;
    store.publish(user(1), "a").await;
    assert_eq!(client.take(1).await, ["a"]);
}

#[tokio::test(start_paused = true)]
async fn connections_are_bounded_for_each_user_and_for_the_host() {
    let config = SocketConfig { connections_max: 3, connections_per_user_max: 2, ..socket_config() };
    let hub = Hub::start(LossyStore::new(), &config, TaskHealth::default());
    let first = hub.register(user(1)).unwrap();
    let _second = hub.register(user(1)).unwrap();
    assert!(hub.register(user(1)).unwrap_err().is(ErrorCode::TooManyConnectionsOfUser));
    let _third = hub.register(user(2)).unwrap();
    assert!(hub.register(user(3)).unwrap_err().is(ErrorCode::TooManyConnections));
    drop(first);
    assert!(hub.register(user(3)).is_ok());
}

#[tokio::test(start_paused = true)]
async fn heartbeats_name_only_connections_with_a_sign_of_life() {
    let hub = hub(&LossyStore::new());
    let (phone, _laptop) = (connect(&hub, user(1), "phone").await, connect(&hub, user(1), "laptop").await);
    phone.connection.mark_alive();
    let alive = hub.take_alive();
    assert_eq!(alive.iter().map(|connection| connection.id.as_str()).collect::<Vec<_>>(), ["phone"]);
    assert_eq!(hub.take_alive(), []);
    hub.restore_alive(&alive);
    assert_eq!(hub.take_alive(), alive);
}

#[tokio::test(start_paused = true)]
async fn a_drain_notifies_every_client_refuses_new_ones_and_waits_for_the_last() {
    let hub = hub(&LossyStore::new());
    let mut client = connect(&hub, user(1), "phone").await;
    let spread = Duration::from_secs(3);
    hub.drain(spread);
    assert_eq!(client.registration.draining().await, Drain { spread });
    assert!(hub.register(user(2)).unwrap_err().is(ErrorCode::Draining));
    assert!(timeout(Duration::from_secs(5), hub.drained()).await.is_err());
    drop(client);
    hub.drained().await;
}

#[tokio::test(start_paused = true)]
async fn the_events_of_a_connected_user_are_kept_although_the_client_sends_no_heartbeats() {
    let store = LossyStore::new();
    let hub = hub(&store);
    let _client = connect(&hub, user(1), "stream").await;
    for _ in 0..20 {
        store.clock.advance(60_000);
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
    let event = Event { name: "message.new".into(), payload: "{}".into(), durable: true };
    store.inner.publish(vec![Publication { user: user(1), event }]).await.unwrap();
    assert_eq!(store.inner.positions(&[user(1)]).await.unwrap()[0].offset, 1);
}
