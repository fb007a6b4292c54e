//! A key set behind a URL of the test's own server: the first reading, rotation, outages, floods of unknown keys, and
//! answers that cannot be used.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::*;
use crate::server::auth::crypto::encode;

const KEY_SET: &str = include_str!("../testdata/jwks.json");
/// The tokens of a flood.
const FLOOD: usize = 200;
/// How long any outcome may take.
const DEADLINE: Duration = Duration::from_secs(30);

/// An ES256 token that names this key.
fn token(kid: &str) -> String {
    let header = Header { kid: Some(kid.to_owned()), ..Header::new(Algorithm::ES256) };
    let key = EncodingKey::from_ec_pem(include_bytes!("../testdata/p256.pem")).unwrap();
    encode(&header, &serde_json::json!({}), &key).unwrap()
}

/// What the server answers next, and how often it was asked.
#[derive(Debug, Default)]
struct Published {
    answer: Mutex<(u16, String)>,
    asked: AtomicUsize,
    /// How many requests are being answered, and whether there were ever two at a time.
    open: AtomicUsize,
    overlapped: AtomicBool,
    /// Requests are not answered.
    silent: AtomicBool,
}

impl Published {
    fn publish(&self, status: u16, text: impl Into<String>) {
        *self.answer.lock().unwrap() = (status, text.into());
    }

    async fn answer(self: Arc<Self>) -> (StatusCode, String) {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if self.open.fetch_add(1, Ordering::SeqCst) > 0 {
            self.overlapped.store(true, Ordering::SeqCst);
        }
        // Long enough that two requests at a time would meet.
        tokio::time::sleep(Duration::from_millis(5)).await;
        self.open.fetch_sub(1, Ordering::SeqCst);
        if self.silent.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        let (status, text) = self.answer.lock().unwrap().clone();
        (StatusCode::from_u16(status).unwrap(), text)
    }
}

/// A server, the key set that reads it, and the task that does.
struct Fixture {
    published: Arc<Published>,
    keys: Arc<(KeySetUrl, KeyRing)>,
    server: JoinHandle<()>,
    reading: Option<JoinHandle<()>>,
}

impl Fixture {
    /// A server that publishes this. The keys are read only because of unknown keys.
    async fn start(status: u16, text: &str) -> Self {
        crate::app::install_crypto();
        let published = Arc::new(Published::default());
        published.publish(status, text);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/keys", listener.local_addr().unwrap());
        let shared = published.clone();
        let router = Router::new().route("/keys", get(move || shared.clone().answer()));
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let day = Duration::from_secs(86_400);
        let (pause, timeout) = (Duration::from_millis(50), Duration::from_secs(2));
        let times = KeySetTimes { refresh: day, retry: day, pause, timeout };
        let url = KeySetUrl::new(&url, 0, times).unwrap();
        let keys = Arc::new((url, KeyRing::new(vec![Vec::new()])));
        Self { published, keys, server, reading: None }
    }

    /// Starts the task that reads the keys.
    fn run(mut self) -> Self {
        let keys = self.keys.clone();
        self.reading = Some(tokio::spawn(async move { keys.0.run(&keys.1).await }));
        self
    }

    async fn learn(&self, kid: &str) -> Result<bool, ApiError> {
        self.learn_key_of(&token(kid)).await
    }

    async fn learn_key_of(&self, token: &str) -> Result<bool, ApiError> {
        let (url, ring) = &*self.keys;
        let learned = url.learn(|| !ring.lacks_key_of(token));
        timeout(DEADLINE, learned).await.expect("an answer in time")
    }

    fn has(&self, kid: &str) -> bool {
        !self.keys.1.lacks_key_of(&token(kid))
    }

    fn asked(&self) -> usize {
        self.published.asked.load(Ordering::SeqCst)
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        self.server.abort();
        if let Some(reading) = &self.reading {
            reading.abort();
        }
    }
}

#[tokio::test]
async fn a_rotated_key_is_learned_when_a_token_names_it() {
    let fixture = Fixture::start(200, KEY_SET).await;
    assert!(fixture.keys.0.ready().is_err());
    fixture.keys.0.read(&fixture.keys.1).await;
    assert!(fixture.has("ec-1") && fixture.keys.0.ready().is_ok());
    let fixture = fixture.run();
    fixture.published.publish(200, KEY_SET.replace("ec-1", "ec-2"));
    assert_eq!(fixture.learn("ec-2").await, Ok(true));
    assert!(fixture.has("ec-2") && !fixture.has("ec-1"), "a key that is not published any more verifies nothing");
    assert_eq!(fixture.learn("ec-3").await, Ok(false), "the server has answered: there is no such key");
}

#[tokio::test]
async fn while_the_server_fails_the_last_good_keys_remain_and_unknown_ones_can_be_tried_again() {
    let fixture = Fixture::start(200, KEY_SET).await.run();
    assert_eq!(fixture.learn("ec-1").await, Ok(true));
    let huge = format!("{{\"keys\":[],\"padding\":\"{}\"}}", "x".repeat(2 * KEY_SET_BYTES_MAX));
    let answers = [
        (500, ""),
        (302, ""),
        (200, "garbage"),
        (200, "{\"keys\":[]}"),
        (200, ""),
        (404, KEY_SET),
        (200, huge.as_str()),
    ];
    for (status, text) in answers {
        fixture.published.publish(status, text);
        let error = fixture.learn("ec-2").await.unwrap_err();
        assert!(error.is(ErrorCode::TokenKeysUnavailable) && error.retry && error.retry_after.is_some(), "{error:?}");
        assert!(fixture.has("ec-1") && fixture.keys.0.ready().is_ok(), "after {status} {text:.20}");
    }
    fixture.published.publish(200, KEY_SET.replace("ec-1", "ec-2"));
    assert_eq!(fixture.learn("ec-2").await, Ok(true));
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_given_up() {
    let fixture = Fixture::start(200, KEY_SET).await;
    fixture.published.silent.store(true, Ordering::SeqCst);
    timeout(DEADLINE, fixture.keys.0.read(&fixture.keys.1)).await.expect("the request is given up");
    let problem = fixture.keys.0.ready().unwrap_err();
    assert!(problem.contains("did not answer within 2000 ms"), "{problem}");
    fixture.server.abort();
    fixture.keys.0.read(&fixture.keys.1).await;
    assert!(fixture.keys.0.ready().is_err());
}

#[tokio::test]
async fn a_flood_of_unknown_keys_causes_few_requests_one_at_a_time() {
    let fixture = Fixture::start(200, KEY_SET).await.run();
    assert_eq!(fixture.learn("ec-1").await, Ok(true));
    // Signing takes longer than everything else.
    let tokens: Vec<String> = (0..FLOOD).map(|number| token(&format!("made-up-{number}"))).collect();
    let (began, before) = (Instant::now(), fixture.asked());
    let answers = futures_util::future::join_all(tokens.iter().map(|token| fixture.learn_key_of(token))).await;
    let refused = answers.iter().filter(|answer| answer.is_err()).count();
    assert!(answers.iter().all(|answer| *answer != Ok(true)));
    assert!(refused >= FLOOD - 2 * WAITING_MAX, "only so many wait: {refused} were refused at once");
    // One for each pause that has passed, and those at both ends.
    let pauses = began.elapsed().as_millis() / fixture.keys.0.times.pause.as_millis();
    let asked = fixture.asked() - before;
    assert!(asked > 0 && asked as u128 <= pauses + 2, "{asked} requests in {pauses} pauses");
    assert!(!fixture.published.overlapped.load(Ordering::SeqCst), "two requests at a time");
}

#[tokio::test]
async fn a_waiting_request_that_is_given_up_does_not_stop_the_reading() {
    let fixture = Fixture::start(200, KEY_SET).await.run();
    assert_eq!(fixture.learn("ec-1").await, Ok(true));
    fixture.published.publish(200, KEY_SET.replace("ec-1", "ec-2"));
    drop(timeout(Duration::ZERO, fixture.learn("ec-2")).await);
    let deadline = Instant::now() + DEADLINE;
    while !fixture.has("ec-2") {
        assert!(Instant::now() < deadline, "the new key was never read");
        tokio::task::yield_now().await;
    }
}
