//! Buckets, calls and replays of users, with time that is paused.

use std::time::SystemTime;

use tokio::time::Instant;

use super::*;
use crate::server::fake::{connects_config, user, users_config};

fn limits(change: impl FnOnce(&mut UsersConfig)) -> UserLimits {
    let mut users = users_config();
    change(&mut users);
    UserLimits::new(&users, &connects_config())
}

fn identity(number: u128) -> Identity {
    Identity::User { user: user(number), expires_at: SystemTime::now() }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_names_the_limit_and_the_time() {
    let limits = limits(|users| (users.sends_per_second_max, users.sends_burst_max) = (2, 3));
    for _ in 0..3 {
        limits.count(user(1), Limited::Sends).unwrap();
    }
    let error = limits.count(user(1), Limited::Sends).unwrap_err();
    assert!(error.is(ErrorCode::RateLimited) && error.retry, "{error:?}");
    assert!(error.retry_after.is_some_and(|after| !after.is_zero() && after <= Duration::from_millis(500)));
    assert!(error.detail.starts_with("a user may have 2 messages a second, and 3 at once"), "{}", error.detail);
    assert!(limits.count(user(1), Limited::Frames).is_ok(), "each kind has a bucket of its own");
}

#[tokio::test(start_paused = true)]
async fn services_are_exempt() {
    let limits = limits(|users| {
        users.requests_burst_max = 1;
        users.calls_max = 1;
    });
    let service = Identity::Service { acting_for: Some(user(1)) };
    for _ in 0..10 {
        limits.count_request(&service, [Limited::Requests]).await.unwrap();
        assert!(limits.begin_call(&service).await.unwrap().is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn a_user_who_goes_on_in_spite_of_refusals_is_answered_later() {
    let limits = limits(|users| (users.requests_per_second_max, users.requests_burst_max) = (1, 2));
    let began = Instant::now();
    let mut refused = 0;
    for _ in 0..4 {
        refused += usize::from(limits.count_request(&identity(1), [Limited::Requests]).await.is_err());
    }
    assert!(refused == 2 && began.elapsed() < REFUSAL_PAUSE, "the first refusals come at once");
    assert!(limits.count_request(&identity(1), [Limited::Requests]).await.is_err());
    assert!(began.elapsed() >= REFUSAL_PAUSE);
}

#[tokio::test(start_paused = true)]
async fn calls_of_a_user_wait_for_each_other_and_not_for_those_of_others() {
    let limits = Arc::new(limits(|users| users.calls_max = 1));
    let first = limits.begin_call(&identity(1)).await.unwrap();
    assert!(limits.begin_call(&identity(2)).await.unwrap().is_some());
    let waiting = tokio::spawn({
        let limits = limits.clone();
        async move { limits.begin_call(&identity(1)).await.is_ok() }
    });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished(), "the first call has not ended");
    drop(first);
    assert!(waiting.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_request_does_not_wait_for_ever() {
    let limits = limits(|users| users.calls_max = 1);
    let _first = limits.begin_call(&identity(1)).await.unwrap();
    let error = limits.begin_call(&identity(1)).await.unwrap_err();
    assert!(error.is(ErrorCode::RateLimited) && error.retry_after == Some(RETRY_AFTER));
}

#[tokio::test(start_paused = true)]
async fn replays_of_one_user_wait_for_each_other_within_a_bound() {
    let limits = Arc::new(limits(|users| users.replays_max = 1));
    let first = limits.begin_replay(user(1)).await.unwrap();
    assert!(limits.begin_replay(user(2)).await.is_ok());
    let waiting: Vec<_> = (0..WAITING_FOR_EACH_REPLAY)
        .map(|_| {
            let limits = limits.clone();
            tokio::spawn(async move { limits.begin_replay(user(1)).await.is_ok() })
        })
        .collect();
    // The scheduler comes back to this task before it has polled very many others.
    for _ in &waiting {
        tokio::task::yield_now().await;
    }
    assert!(limits.begin_replay(user(1)).await.unwrap_err().is(ErrorCode::RateLimited));
    drop(first);
    for waited in waiting {
        assert!(waited.await.unwrap());
    }
}

#[test]
fn messages_are_counted_however_they_are_sent() {
    let messages = "/v1/conversations/{id}/messages";
    assert_eq!(Limited::of_request("POST", messages), Some(Limited::Sends));
    assert_eq!(Limited::of_request("PATCH", "/v1/conversations/{id}/messages/{message}"), Some(Limited::Sends));
    assert_eq!(Limited::of_request("GET", messages), None);
    assert_eq!(Limited::of_request("HEAD", messages), None);
    let reaction = "/v1/conversations/{conversation}/messages/{message}/reactions/{reaction}";
    assert_eq!(Limited::of_request("PUT", reaction), None, "a function's own route");
    assert_eq!(Limited::of_request("POST", "/v1/conversations/{id}/read"), None);
    assert_eq!(Limited::of_frame("message.send"), Some(Limited::Sends));
    assert_eq!(Limited::of_frame("typing"), Some(Limited::Typing));
    assert_eq!(Limited::of_frame("conversation.read"), None);
}
