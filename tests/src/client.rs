//! An HTTP client for tests: requests with JSON bodies, and answers with assertions about status and content.

use std::net::SocketAddr;
use std::time::Duration;

use reqwest::header::{ALLOW, CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::{Method, RequestBuilder};
use serde_json::Value;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::eventually::{DEADLINE, retry_until_ok};

/// The longest pause before a refused request is repeated.
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(5);

/// A client of one listener, which sends the same credentials with every request.
#[derive(Clone, Debug)]
pub struct Client {
    address: SocketAddr,
    bearer: Option<String>,
    client: reqwest::Client,
}

/// An HTTP answer, read to its end.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The headers of the answer.
    pub headers: HeaderMap,
    /// The body as text.
    pub text: String,
    /// Method and URL of the request, for assertion messages.
    asked: String,
}

impl Client {
    /// A client of this listener. `bearer` is the token or key that it sends.
    pub fn new(address: SocketAddr, bearer: Option<&str>) -> Self {
        // Listeners of tests speak plain HTTP. To read the certificates of the system would take longer than most
        // requests.
        let builder = reqwest::Client::builder().no_proxy().timeout(DEADLINE).tls_built_in_root_certs(false);
        let client = builder.build().expect("a client");
        Self { address, bearer: bearer.map(str::to_owned), client }
    }

    /// A request with the client's credentials, which the caller can extend.
    pub fn request(&self, method: &str, path: &str) -> RequestBuilder {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let request = self.client.request(method, format!("http://{}{path}", self.address));
        match &self.bearer {
            Some(bearer) => request.bearer_auth(bearer),
            None => request,
        }
    }

    /// Sends a GET request without a body.
    pub async fn get(&self, path: &str) -> Answer {
        send(self.request("GET", path)).await
    }

    /// Sends a DELETE request without a body.
    pub async fn delete(&self, path: &str) -> Answer {
        send(self.request("DELETE", path)).await
    }

    /// Sends a PUT request without a body.
    pub async fn put(&self, path: &str) -> Answer {
        send(self.request("PUT", path)).await
    }

    /// Sends a POST request with a JSON body.
    pub async fn post(&self, path: &str, body: Value) -> Answer {
        send(self.request("POST", path).json(&body)).await
    }

    /// Sends a PATCH request with a JSON body.
    pub async fn patch(&self, path: &str, body: Value) -> Answer {
        send(self.request("PATCH", path).json(&body)).await
    }

    /// Deletes the cached counters of a user. Only a client with the service key may do so.
    pub async fn delete_counters(&self, user: Uuid) -> Answer {
        send(self.request("DELETE", "/v1/unread").header("roost-user", user.to_string())).await
    }

    /// Erases a user to the end, as [`Client::erase_user_within`] twice the usual deadline.
    pub async fn erase_user(&self, user: Uuid) -> u32 {
        self.erase_user_within(user, 2 * DEADLINE).await
    }

    /// Erases a user to the end; returns how many calls were not refused. Only a client with the service key may do so.
    /// A call that is refused for the moment is repeated after the time that its answer names, and goes on.
    ///
    /// # Panics
    /// If a call is refused for good, or the erasing does not end within this time.
    pub async fn erase_user_within(&self, user: Uuid, within: Duration) -> u32 {
        let (path, deadline) = (format!("/v1/users/{user}"), Instant::now() + within);
        let mut calls = 0;
        while Instant::now() < deadline {
            let answer = self.delete(&path).await;
            if let Some(pause) = answer.retry_after() {
                sleep(pause.min(RETRY_PAUSE_MAX)).await;
                continue;
            }
            calls += 1;
            let is_done = answer.status == 200;
            let body = answer.json(if is_done { 200 } else { 202 });
            assert_eq!(body, serde_json::json!({ "user": user, "done": is_done }), "{}", answer.asked);
            if is_done {
                return calls;
            }
        }
        panic!("the erasing of {user} does not end within {within:?}; {calls} calls were answered")
    }

    /// Creates a conversation with these members and returns its id. What is refused for the moment is asked again.
    pub async fn conversation(&self, members: &[Uuid]) -> String {
        let id = Uuid::new_v4();
        let conversation = serde_json::json!({ "id": id, "members": members });
        let created = retry_until_ok(DEADLINE, async || {
            let answer = self.post("/v1/conversations", conversation.clone()).await;
            if answer.status == 503 { Err(answer) } else { Ok(answer) }
        });
        let answer = created.await.unwrap_or_else(|answer| answer);
        assert!(matches!(answer.status, 200 | 201), "{}: {}", answer.asked, answer.text);
        id.to_string()
    }
}

/// Sends a request and reads the whole answer.
pub async fn send(request: RequestBuilder) -> Answer {
    let built = request.try_clone().and_then(|request| request.build().ok());
    let asked = built.map_or_else(String::new, |request| format!("{} {}", request.method(), request.url()));
    let response = request.send().await.unwrap_or_else(|error| panic!("{asked}: {error:?}"));
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let text = response.text().await.unwrap_or_else(|error| panic!("{asked}: {error:?}"));
    Answer { status, headers, text, asked }
}

impl Answer {
    /// Asserts the status and returns the JSON body.
    pub fn json(&self, status: u16) -> Value {
        self.expect(status, "application/json");
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("{}: no JSON: {}", self.asked, self.text))
    }

    /// Asserts a 204 answer without a body.
    pub fn done(&self) {
        assert_eq!((self.status, self.text.as_str()), (204, ""), "{}", self.asked);
    }

    /// Asserts a problem document with this status and code, and returns it.
    pub fn problem(&self, status: u16, code: &str) -> Value {
        self.expect(status, "application/problem+json");
        let problem: Value = serde_json::from_str(&self.text).unwrap_or_default();
        assert_eq!(problem["code"], code, "{}: {problem}", self.asked);
        assert_eq!(problem["status"], status, "{}: {problem}", self.asked);
        assert_eq!(problem["type"], format!("urn:roost:error:{code}"), "{}: {problem}", self.asked);
        for member in ["title", "detail", "trace"] {
            assert!(problem[member].as_str().is_some_and(|text| !text.is_empty()), "{}: {problem}", self.asked);
        }
        assert!(problem["retry"].is_boolean(), "{}: {problem}", self.asked);
        problem
    }

    /// The value of the header `Allow`.
    pub fn allow(&self) -> &str {
        self.headers.get(ALLOW).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The time after which the same request can succeed, if the answer is a 503 that says so.
    fn retry_after(&self) -> Option<Duration> {
        if self.status != 503 {
            return None;
        }
        let problem: Value = serde_json::from_str(&self.text).ok()?;
        let named = self.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let seconds: u64 = named.and_then(|text| text.parse().ok()).unwrap_or(1);
        (problem["retry"] == true).then_some(Duration::from_secs(seconds))
    }

    fn expect(&self, status: u16, media_type: &str) {
        assert_eq!(self.status, status, "{}: {}", self.asked, self.text);
        let found = self.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        assert!(found.starts_with(media_type), "{}: {found}: {}", self.asked, self.text);
    }
}
