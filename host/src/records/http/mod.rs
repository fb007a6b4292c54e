//! The records in somebody else's backend, asked over HTTP as `docs/records-http.md` describes.
//!
//! One call is one request: nothing is cached and nothing is tried twice, for whether a retry helps is known only where
//! the call came from. Time, calls in flight and the size of an answer are bounded. Whatever is no proper answer is told
//! as unavailable and logged with what was wrong with it.

mod answer;
mod directory;
mod fault;
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

use self::fault::Fault;
use self::wire::{Greeting, Problem};
use crate::config::BackendConfig;
use crate::ops::trace;

/// A pooled connection is given up before the servers that people use give it up, so that no call meets a closed one.
const POOL_IDLE: Duration = Duration::from_secs(30);
/// The call's trace id, as in Roost's own answers.
const TRACE_HEADER: &str = "roost-trace";
/// How many milliseconds the backend has left to answer.
const TIMEOUT_HEADER: &str = "roost-timeout-ms";

/// Why the backend cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A file of certificates.
    #[error("records_ca: {} holds no PEM certificates: {problem}", file.display())]
    Certificates {
        /// Which one.
        file: PathBuf,
        /// Why.
        problem: String,
    },
    /// The HTTP client itself.
    #[error("no HTTP client can be made: {0}")]
    Client(reqwest::Error),
    /// The key is wrong, or there is none.
    #[error("the records' backend at {0} refuses records_key")]
    Unauthenticated(Url),
    /// Something else answers there.
    #[error("what answers at {place} is no records backend: {problem}")]
    Stranger {
        /// Where.
        place: Url,
        /// What was wrong with its answer.
        problem: String,
    },
}

/// Records behind HTTP. Clones share the connections.
#[derive(Clone, Debug)]
pub struct HttpRecords(Arc<Backend>);

/// What stands behind `/v1/`.
#[derive(Clone, Copy, Debug)]
struct Name(&'static str);

impl From<Operation> for Name {
    fn from(operation: Operation) -> Self {
        Self(operation.name())
    }
}

#[derive(Debug)]
struct Backend {
    client: Client,
    /// Ends with `/v1`.
    base: Url,
    timeout: Duration,
    /// Calls in flight. Whoever waits is bounded by what bounds calls of functions.
    turns: Semaphore,
}

impl HttpRecords {
    /// Greets the backend. One that cannot be reached may come up later; one that refuses the key, or is none, is an error.
    pub async fn open(config: &BackendConfig) -> Result<Self, OpenError> {
        let backend = Backend {
            client: client(config)?,
            base: config.url.clone(),
            timeout: config.timeout,
            turns: Semaphore::new(config.calls_max),
        };
        match backend.greet().await {
            Ok(()) => {}
            Err(Fault::Unauthenticated) => return Err(OpenError::Unauthenticated(backend.base)),
            Err(Fault::Malformed(problem)) => return Err(OpenError::Stranger { place: backend.base, problem }),
            Err(fault) => tracing::warn!(backend = %backend.base, %fault, "the records' backend does not answer yet"),
        }
        Ok(Self(Arc::new(backend)))
    }

    /// Whether the backend answers, and with which refusal if it does not let this host in.
    pub async fn ready(&self) -> Answer<()> {
        self.0.greet().await.map_err(|fault| match fault {
            Fault::Unauthenticated => RecordsError::Denied("the records' backend refuses records_key".into()),
            fault => fault.told("ready"),
        })
    }

    /// Confirmations are sent at once: there is nothing to wait for.
    #[allow(clippy::unused_async, reason = "as the other records")]
    pub async fn flush(&self) {}

    /// Asks nothing any more.
    #[allow(clippy::unused_async, reason = "as the other records")]
    pub async fn close(&self) {
        self.0.turns.close();
    }

    async fn ask<A: DeserializeOwned>(&self, name: impl Into<Name>, question: impl Serialize + Send) -> Answer<A> {
        let name = name.into();
        let answer = self.0.ask(name, &question).await;
        answer.map_err(|fault| fault.told(name.0))
    }
}

impl Backend {
    async fn greet(&self) -> Result<(), Fault> {
        let greeting: Greeting = self.exchange(self.client.get(self.base.clone())).await?;
        if greeting == Greeting::current() {
            return Ok(());
        }
        Err(Fault::Malformed(format!(
            "it speaks `{}` version {}, this is `{}` version {}",
            fault::short(&greeting.protocol),
            greeting.version,
            Greeting::PROTOCOL,
            Greeting::VERSION
        )))
    }

    async fn ask<A: DeserializeOwned>(&self, name: Name, question: &impl Serialize) -> Result<A, Fault> {
        let body = serde_json::to_vec(question).map_err(|error| Fault::Malformed(format!("the question: {error}")))?;
        let url = format!("{}/{}", self.base, name.0);
        self.exchange(self.client.post(url).header(CONTENT_TYPE, answer::JSON).body(body)).await
    }

    /// Waits for a turn and for the answer, together no longer than the timeout.
    async fn exchange<A: DeserializeOwned>(&self, request: RequestBuilder) -> Result<A, Fault> {
        let deadline = Instant::now() + self.timeout;
        let exchange = async {
            let _turn = self.turns.acquire().await.map_err(|_| Fault::Closed)?;
            let left_ms = deadline.saturating_duration_since(Instant::now()).as_millis();
            let mut request = request.header(TIMEOUT_HEADER, left_ms.to_string());
            if let Some(trace) = trace::current() {
                request = request.header(TRACE_HEADER, trace.as_ref());
            }
            answer::read(request.send().await?).await
        };
        timeout_at(deadline, exchange).await.unwrap_or(Err(Fault::Slow))
    }
}

fn client(config: &BackendConfig) -> Result<Client, OpenError> {
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
        // The key goes to the backend and to nobody that it names.
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .http1_only()
        .tcp_nodelay(true)
        .connect_timeout(config.timeout)
        .pool_idle_timeout(POOL_IDLE)
        .pool_max_idle_per_host(config.calls_max);
    for file in &config.ca {
        for certificate in certificates(file.clone())? {
            builder = builder.add_root_certificate(certificate);
        }
    }
    builder.build().map_err(OpenError::Client)
}

fn certificates(file: PathBuf) -> Result<Vec<Certificate>, OpenError> {
    let bytes = std::fs::read(&file).map_err(|error| error.to_string());
    let found = bytes.and_then(|bytes| match Certificate::from_pem_bundle(&bytes) {
        Ok(found) if found.is_empty() => Err("there is none".to_owned()),
        found => found.map_err(|error| error.to_string()),
    });
    found.map_err(|problem| OpenError::Certificates { file, problem })
}
