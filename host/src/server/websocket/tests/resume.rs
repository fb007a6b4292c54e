//! What a client gets that connects again or missed something: the missed events, the current state, or a `resync`.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_client_that_reconnects_gets_the_missed_events_and_then_new_ones() {
    let (host, mut client) = start().await;
    host.store.publish(user(1), "a").await;
    let since = format!("{}:1", epoch(&client.frame().await));
    for text in ["b", "c"] {
        host.store.publish(user(1), text).await;
    }
    let since: &'static str = Box::leak(since.into_boxed_str());
    let mut reconnected = connect(&host, Options { since: Some(since), ..Options::default() }).await;
    assert_eq!(reconnected.frame().await["payload"]["offset"], 1);
    host.store.publish(user(1), "d").await;
    for text in ["b", "c", "d"] {
        assert_eq!(reconnected.frame().await["payload"]["text"], text);
    }
}

#[tokio::test(start_paused = true)]
async fn a_position_that_the_feed_no_longer_has_gets_a_resync_and_no_events() {
    let host = FakeHost::start();
    host.store.publish(user(1), "a").await;
    for since in ["zzz:5", "zzz:0"] {
        let mut client = connect(&host, Options { since: Some(since), ..Options::default() }).await;
        let hello = client.frame().await;
        let resync = client.frame().await;
        assert_eq!((&resync["type"], &resync["payload"]["reason"]), (&json!("resync"), &json!("gap")));
        assert_eq!(resync["payload"]["offset"], hello["payload"]["offset"]);
        drop(client);
    }
}

#[tokio::test(start_paused = true)]
async fn a_position_that_the_feed_never_reached_gets_a_resync() {
    let (host, mut client) = start().await;
    host.store.publish(user(1), "a").await;
    let since = format!("{}:99", epoch(&client.frame().await));
    let since: &'static str = Box::leak(since.into_boxed_str());
    let mut reconnected =
        connect(&host, Options { since: Some(since), ..Options::default() }).await.after_hello().await;
    assert_eq!(reconnected.frame().await["type"], "resync");
    host.store.publish(user(1), "b").await;
    assert_eq!(reconnected.frame().await["payload"]["text"], "b");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_ahead_of_this_host_gets_no_event_twice() {
    let (host, mut client) = start().await;
    host.store.publish(user(1), "a").await;
    let since: &'static str = Box::leak(format!("{}:2", epoch(&client.frame().await)).into_boxed_str());
    host.store.lose(3);
    for text in ["b", "c", "d"] {
        host.store.publish(user(1), text).await;
    }
    let mut reconnected =
        connect(&host, Options { since: Some(since), ..Options::default() }).await.after_hello().await;
    host.store.publish(user(1), "e").await;
    for text in ["c", "d", "e"] {
        assert_eq!(reconnected.frame().await["payload"]["text"], text);
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_gap_the_current_state_is_pushed() {
    let (host, mut client) = start().await;
    host.functions.answer("sync", reply(200, r#"{"presence":[]}"#));
    host.store.lose(1);
    host.store.publish(user(1), "a").await;
    host.store.publish(user(1), "b").await;
    assert_eq!(client.frame().await["payload"]["text"], "a");
    assert_eq!(client.frame().await["payload"]["text"], "b");
    let state = client.frame().await;
    assert_eq!((&state["type"], &state["payload"]["presence"]), (&json!("sync"), &json!([])));
}

#[tokio::test(start_paused = true)]
async fn a_resync_names_the_position_that_the_client_has_by_then() {
    let (host, mut client) = start().await;
    host.functions.answer("sync", failure(FailureKind::Unavailable, "store_unavailable"));
    host.functions.hold("sync");
    host.store.lose(1);
    for text in ["a", "b"] {
        host.store.publish(user(1), text).await;
    }
    for text in ["a", "b"] {
        assert_eq!(client.frame().await["payload"]["text"], text);
    }
    while !host.functions.names().contains(&"sync".to_owned()) {
        tokio::task::yield_now().await;
    }
    host.store.publish(user(1), "c").await;
    assert_eq!(client.frame().await["offset"], 3);
    host.functions.gate.add_permits(1);
    let resync = client.frame().await;
    assert_eq!((&resync["type"], &resync["payload"]["reason"]), (&json!("resync"), &json!("interrupted")));
    assert_eq!(resync["payload"]["offset"], 3, "events after the position of the resync would come again: {resync}");
    host.store.publish(user(1), "d").await;
    assert_eq!(client.frame().await["offset"], 4);
}

#[tokio::test(start_paused = true)]
async fn sync_answers_with_position_state_and_missed_events() {
    let (host, mut client) = start().await;
    host.functions.answer("sync", reply(200, r#"{"unread":{"total":2}}"#));
    host.store.publish(user(1), "a").await;
    host.store.publish(user(1), "b").await;
    let since = format!("{}:1", epoch(&client.frame().await));
    client.frame().await;
    client.send(&format!(r#"{{"id":"s","type":"sync","payload":{{"since":"{since}"}}}}"#)).await;
    let answer = client.frame().await;
    let payload = &answer["payload"];
    assert_eq!((&payload["offset"], &payload["unread"]["total"]), (&json!(2), &json!(2)));
    assert_eq!(payload["events"][0]["payload"]["text"], "b");
    client.send(r#"{"id":"s","type":"sync","payload":{"since":"zzz:1"}}"#).await;
    assert_eq!(client.frame().await["payload"]["resync"]["reason"], "gap");
    host.functions.answer("sync", failure(FailureKind::Unavailable, "records_unavailable"));
    client.send(r#"{"id":"s","type":"sync"}"#).await;
    assert_eq!(client.frame().await["error"]["code"], "records_unavailable");
}
