//! Event streams: what a client keeps that is refused, what one that reads nothing holds, and the last event.

use super::*;
use crate::delivery::disconnect::DisconnectReason;
use crate::server::fake::REFRESHES_MAX;

#[tokio::test(start_paused = true)]
async fn a_refusal_repeats_the_position_of_the_client() {
    let host = FakeHost::start();
    host.store.set_down(true);
    let by_header = || get("/v1/events?since=abc:3").header("last-event-id", "abc:7");
    for (request, expected) in [
        (by_header(), "retry: 10\nid: abc:7\nevent: error\ndata: {"),
        (get("/v1/events?since=abc:3"), "retry: 10\nid: abc:3\nevent: error\ndata: {"),
        (get("/v1/events"), "retry: 10\nevent: error\ndata: {"),
    ] {
        let refused = events(&mut stream(&host, request).await, 2).await;
        assert_eq!(refused.len(), 1, "the stream ends: {refused:?}");
        assert!(refused[0].starts_with(expected), "{refused:?}");
    }
    let service = HttpService::<FakeFunctions, LossyStore>::new(host.state.clone());
    let refusal = crate::server::problem::ErrorCode::TooManyConnections.into();
    let refused = text(service.refuse(&empty(by_header()), &refusal, "t-1")).await;
    assert!(refused.starts_with("retry: 2000\nid: abc:7\n"), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_nobody_reads_holds_no_place_of_a_refresh() {
    let host = FakeHost::start();
    let begin_all = || (0..REFRESHES_MAX).filter_map(|_| host.state.refreshes.try_begin()).collect::<Vec<_>>();
    let held = begin_all();
    let mut body = stream(&host, get("/v1/events")).await;
    host.store.inner.interrupt_users(&[user(1)]);
    tokio::time::sleep(Duration::from_secs(1)).await;
    // Only `hello` fits between the host and this client.
    host.store.publish(user(1), "a").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    drop(held);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let free = begin_all();
    assert_eq!(free.len(), REFRESHES_MAX);
    drop(free);
    let received = events(&mut body, 3).await;
    assert!(received[1].contains("\"text\":\"a\""), "{received:?}");
    assert!(received[2].starts_with("event: sync\n"), "{received:?}");
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_kept_alive_while_its_refresh_waits() {
    let host = FakeHost::start();
    let held: Vec<_> = (0..REFRESHES_MAX).filter_map(|_| host.state.refreshes.try_begin()).collect();
    let mut body = stream(&host, get("/v1/events")).await;
    events(&mut body, 1).await;
    host.store.inner.interrupt_users(&[user(1)]);
    assert_eq!(events(&mut body, 1).await, [":"]);
    drop(held);
    assert!(events(&mut body, 1).await[0].starts_with("event: sync\n"));
}

#[tokio::test(start_paused = true)]
async fn the_reason_of_the_end_waits_until_the_connection_has_taken_what_came_before() {
    let host = FakeHost::start();
    let mut body = stream(&host, get("/v1/events")).await;
    let mut blocked = stream(&host, get("/v1/events")).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    events(&mut body, 1).await;
    // It fits into one connection, and waits for the other, which has not taken `hello`.
    host.store.publish(user(1), "a").await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    host.hub.disconnect(user(1), &DisconnectReason::of("banned").unwrap()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    for (body, before) in [(&mut body, "event: message.new\n"), (&mut blocked, "event: hello\n")] {
        let received = events(body, 3).await;
        assert_eq!(received.len(), 2, "the stream ends: {received:?}");
        assert!(received[0].contains(before), "{received:?}");
        assert!(received[1].starts_with("event: error\ndata: {\"code\":\"disconnected\""), "{received:?}");
        assert!(received[1].contains("banned"), "{received:?}");
    }
}
