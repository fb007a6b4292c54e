//! A server that publishes a JWKS document, as an issuer of tokens does. Tests change what it answers, and count the
//! requests.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A running server. It ends when the value is dropped.
#[derive(Debug)]
pub struct KeyServer {
    address: SocketAddr,
    published: Arc<Published>,
    serving: JoinHandle<()>,
}

#[derive(Debug)]
struct Published {
    /// `None`: requests are not answered.
    answer: Mutex<Option<(u16, String)>>,
    asked: AtomicUsize,
}

impl KeyServer {
    /// Starts a server that answers with this text.
    pub async fn start(text: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let answer = Mutex::new(Some((200, text.to_owned())));
        let published = Arc::new(Published { answer, asked: AtomicUsize::new(0) });
        let router = Router::new().route("/keys", get(answer_keys)).with_state(published.clone());
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.expect("it serves") });
        Self { address, published, serving }
    }

    /// The `token_jwks_url` of a host that uses this server.
    pub fn url(&self) -> String {
        format!("http://{}/keys", self.address)
    }

    /// Answers with this status and text from now on.
    pub fn publish(&self, status: u16, text: &str) {
        *self.published.answer.lock().unwrap() = Some((status, text.to_owned()));
    }

    /// Answers nothing from now on, and keeps connections open.
    pub fn fall_silent(&self) {
        *self.published.answer.lock().unwrap() = None;
    }

    /// How often the document was asked for.
    pub fn asked(&self) -> usize {
        self.published.asked.load(Ordering::SeqCst)
    }
}

impl Drop for KeyServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn answer_keys(State(published): State<Arc<Published>>) -> (StatusCode, String) {
    published.asked.fetch_add(1, Ordering::SeqCst);
    let answer = published.answer.lock().unwrap().clone();
    match answer {
        Some((status, text)) => (StatusCode::from_u16(status).expect("a status"), text),
        None => std::future::pending().await,
    }
}
