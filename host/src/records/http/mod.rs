//! The records in the operator's own backend, asked over HTTP as `docs/records-http.md` describes.
//!
//! One call is one request. Nothing is cached, and nothing is tried twice, because only the caller knows whether a
//! retry helps. Time, calls in flight and the size of an answer are bounded. An answer that cannot be used is logged
//! with the reason, and the caller learns that the records are unavailable.

mod answer;
mod port;
pub mod wire;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Certificate, Client, RequestBuilder, Url};
use roost_core::port::{Answer, Operation, RecordsError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

pub(super) use self::answer::BackendError;
use self::wire::{Greeting, Problem};
use crate::config::BackendConfig;
use crate::http_answer::excerpt;
use crate::ops::trace;

/// An idle connection is closed before common servers close it, so that no call meets a closed connection.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// The header with the call's trace id, as in Roost's own answers.
const TRACE_HEADER: &str = "roost-trace";
/// The header with the milliseconds that are left for the answer.
const TIMEOUT_HEADER: &str = "roost-timeout-ms";

/// The reason why the backend cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BackendOpenError {
    /// A file of `records_ca` cannot be used.
    #[error("records_ca: {} holds no PEM certificates: {problem}; name a file with certificates", file.display())]
    Certificates {
        /// The file with the certificate authorities.
        file: PathBuf,
        /// What was wrong with the file.
        problem: String,
    },
    /// The HTTP client cannot be built.
    #[error("the HTTP client for the records backend cannot be built: {0}")]
    Client(String),
    /// The backend refuses the key, or the lack of one.
    #[error("the records backend at {0} refuses records_key; set the key that the backend expects")]
    Unauthenticated(Url),
    /// What answers there does not speak the protocol.
    #[error(
        "the server at {url} is no records backend of this version: {problem}; \
         correct records_url, or the backend as docs/records-http.md describes"
    )]
    NotABackend {
        /// The URL that was asked.
        url: Url,
        /// What was wrong with its answer.
        problem: String,
    },
}

/// Records behind HTTP. Clones share the connections.
#[derive(Clone, Debug)]
pub struct HttpRecords(Arc<BackendClient>);

/// The name of an operation, which follows `/v1/` in the URL.
#[derive(Clone, Copy, Debug)]
struct OperationName(&'static str);

impl From<Operation> for OperationName {
    fn from(operation: Operation) -> Self {
        Self(operation.name())
    }
}

#[derive(Debug)]
struct BackendClient {
    client: Client,
    /// Ends with `/v1`.
    base: Url,
    timeout: Duration,
    /// One permit for each call in flight. The number of waiting calls is bounded by the number of function calls.
    permits: Semaphore,
}

impl HttpRecords {
    /// Asks the backend for its protocol. A backend that cannot be reached is no error, because it may start later. A
    /// server that refuses the key, or speaks another protocol, is one.
    pub async fn open(config: &BackendConfig) -> Result<Self, BackendOpenError> {
        let backend = BackendClient {
            client: client(config)?,
            base: config.url.clone(),
            timeout: config.timeout,
            permits: Semaphore::new(config.calls_max),
        };
        match backend.greet().await {
            Ok(()) => {}
            Err(BackendError::Unauthenticated) => return Err(BackendOpenError::Unauthenticated(backend.base)),
            Err(BackendError::Malformed(problem)) => {
                return Err(BackendOpenError::NotABackend { url: backend.base, problem });
            }
            Err(error) => {
                tracing::warn!(backend = %backend.base, problem = %error, "the records backend does not answer yet");
            }
        }
        Ok(Self(Arc::new(backend)))
    }

    /// Checks that the backend answers, and accepts the key of this host.
    pub async fn ready(&self) -> Answer<()> {
        self.0.greet().await.map_err(|error| match error {
            BackendError::Unauthenticated => RecordsError::Denied("the records backend refuses records_key".into()),
            error => error.into_records_error("ready"),
        })
    }

    /// Returns at once, because confirmations are sent at once.
    #[allow(clippy::unused_async, reason = "the other technologies wait here")]
    pub async fn flush(&self) {}

    /// Refuses every later call.
    #[allow(clippy::unused_async, reason = "the other technologies wait here")]
    pub async fn close(&self) {
        self.0.permits.close();
    }

    async fn ask<A: DeserializeOwned>(
        &self,
        name: impl Into<OperationName>,
        question: impl Serialize + Send,
    ) -> Answer<A> {
        let name = name.into();
        let answer = self.0.ask(name, &question).await;
        answer.map_err(|error| error.into_records_error(name.0))
    }
}

impl BackendClient {
    async fn greet(&self) -> Result<(), BackendError> {
        let greeting: Greeting = self.exchange(self.client.get(self.base.clone())).await?;
        if greeting == Greeting::current() {
            return Ok(());
        }
        Err(BackendError::Malformed(format!(
            "it speaks `{}` version {}, this is `{}` version {}",
            excerpt(&greeting.protocol),
            greeting.version,
            Greeting::PROTOCOL,
            Greeting::VERSION
        )))
    }

    async fn ask<A: DeserializeOwned>(
        &self,
        name: OperationName,
        question: &impl Serialize,
    ) -> Result<A, BackendError> {
        let body = serde_json::to_vec(question)
            .map_err(|error| BackendError::Malformed(format!("the question cannot be encoded: {error}")))?;
        let url = format!("{}/{}", self.base, name.0);
        self.exchange(self.client.post(url).header(CONTENT_TYPE, answer::JSON).body(body)).await
    }

    /// Waits for a permit and for the answer, together no longer than the timeout.
    async fn exchange<A: DeserializeOwned>(&self, request: RequestBuilder) -> Result<A, BackendError> {
        let deadline = Instant::now() + self.timeout;
        let exchange = async {
            let _permit = self.permits.acquire().await.map_err(|_| BackendError::Closed)?;
            let left_ms = deadline.saturating_duration_since(Instant::now()).as_millis();
            let mut request = request.header(TIMEOUT_HEADER, left_ms.to_string());
            if let Some(trace) = trace::current() {
                request = request.header(TRACE_HEADER, trace.as_ref());
            }
            answer::read(request.send().await?).await
        };
        timeout_at(deadline, exchange).await.unwrap_or(Err(BackendError::TimedOut))
    }
}

fn client(config: &BackendConfig) -> Result<Client, BackendOpenError> {
    let mut headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(answer::JSON))]);
    if let Some(key) = &config.key
        && let Ok(mut bearer) = HeaderValue::from_str(&format!("Bearer {}", key.0))
    {
        bearer.set_sensitive(true);
        headers.insert(AUTHORIZATION, bearer);
    }
    let mut builder = Client::builder()
        .default_headers(headers)
        .user_agent(concat!("roost/", env!("CARGO_PKG_VERSION")))
        // A redirect would send the key to another server.
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .http1_only()
        .tcp_nodelay(true)
        .connect_timeout(config.timeout)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(config.calls_max);
    for file in &config.ca {
        for certificate in certificates(file.clone())? {
            builder = builder.add_root_certificate(certificate);
        }
    }
    builder.build().map_err(|error| BackendOpenError::Client(error.to_string()))
}

fn certificates(file: PathBuf) -> Result<Vec<Certificate>, BackendOpenError> {
    let bytes = std::fs::read(&file).map_err(|error| error.to_string());
    let found = bytes.and_then(|bytes| match Certificate::from_pem_bundle(&bytes) {
        Ok(found) if found.is_empty() => Err("there is no certificate in it".to_owned()),
        found => found.map_err(|error| error.to_string()),
    });
    found.map_err(|problem| BackendOpenError::Certificates { file, problem })
}
