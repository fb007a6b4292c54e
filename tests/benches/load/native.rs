//! The native server for comparison: an axum server that runs the core natively on the same kind of store and records,
//! with the host's authentication and the same JSON. It runs in its own process, as the host does.

use std::net::SocketAddr;
use std::path::Path as FilePath;
use std::process::Stdio;
use std::sync::Arc;
use std::time::SystemTime;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{FromRequest, Path, Request};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use roost::config::{Sources, environment};
use roost::records::RecordStore;
use roost::runtime::{Access, Caller};
use roost::server::auth::{Authenticator, Credentials};
use roost::store::Store;
use roost_core::ids::{ConversationId, UserId};
use roost_tests::native::{self, NativeWorld};
use roost_tests::scenario::ApiRoute;
use roost_tests::server::configured;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::Child;

/// The argument that makes this program run as the server.
pub const COMMAND: &str = "serve-natively";

/// A native server in its own process, which is killed when the value is dropped.
pub struct Native {
    pub listen: SocketAddr,
    child: Child,
}

impl Native {
    /// Starts the server with this data folder and these keys of the host's configuration.
    pub async fn start(folder: &FilePath, set: &[(&str, &str)]) -> Self {
        let program = std::env::current_exe().expect("this program has a path");
        let mut command = configured(&program, folder);
        for (key, value) in set {
            command.env(format!("ROOST_{}", key.to_uppercase()), value);
        }
        command.arg(COMMAND).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().expect("the native server starts");
        let mut lines = BufReader::new(child.stdout.take().expect("its output is piped")).lines();
        let line = lines.next_line().await.expect("it can be read").expect("the native server serves");
        Self { listen: line.parse().expect("an address"), child }
    }

    pub fn id(&self) -> u32 {
        self.child.id().expect("the native server runs")
    }
}

/// Runs the server until it is killed.
pub fn serve() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let config = Sources { environment: environment(), needs_keys: true, ..Sources::default() }.load()?;
        let store = Store::open(config.store).await?;
        let records = RecordStore::open(&config.records).await?;
        let auth = Authenticator::new(&config.auth)?;
        let listener = TcpListener::bind(config.listen).await?;
        println!("{}", listener.local_addr()?);
        Ok(axum::serve(listener, router(Application { auth, world: native::world(store, records) })).await?)
    })
}

/// The state of the server.
struct Application {
    auth: Authenticator,
    world: NativeWorld,
}

fn router(rival: Application) -> Router {
    Router::new()
        .route("/v1/presence", post(|asked: Asked| asked.answer(ApiRoute::Heartbeat)))
        .route("/v1/presence/query", post(|asked: Asked| asked.answer(ApiRoute::PresenceOf)))
        .route("/v1/presence/{user}", get(|Path(id): Path<UserId>, asked: Asked| asked.answer(ApiRoute::Presence(id))))
        .route("/v1/unread", get(|asked: Asked| asked.answer(ApiRoute::Unread)))
        .route(
            "/v1/unread/{id}",
            get(|Path(id): Path<ConversationId>, asked: Asked| asked.answer(ApiRoute::UnreadOf(id))),
        )
        .route(
            "/v1/conversations/{id}/read",
            post(|Path(id): Path<ConversationId>, asked: Asked| asked.answer(ApiRoute::Read(id))),
        )
        .route(
            "/v1/conversations/{id}/messages",
            post(|Path(id): Path<ConversationId>, asked: Asked| asked.answer(ApiRoute::Send(id))),
        )
        .route("/v1/conversations", get(|asked: Asked| asked.answer(ApiRoute::Inbox)))
        .with_state(Arc::new(rival))
}

/// A request with an authenticated caller.
struct Asked {
    rival: Arc<Application>,
    caller: Caller,
    body: Bytes,
}

impl FromRequest<Arc<Application>> for Asked {
    type Rejection = Response;

    async fn from_request(request: Request, rival: &Arc<Application>) -> Result<Self, Response> {
        let caller = Credentials::of_headers(request.headers())
            .and_then(|credentials| rival.auth.identify(&credentials, SystemTime::now()))
            .and_then(|identity| identity.authorize(Access::ServiceOrUser))
            .map_err(|error| error.response(""))?;
        let body = Bytes::from_request(request, rival).await.map_err(IntoResponse::into_response)?;
        Ok(Self { rival: Arc::clone(rival), caller, body })
    }
}

impl Asked {
    async fn answer(self, question: ApiRoute) -> Response {
        match native::answer(&self.rival.world, self.caller, question, &self.body).await {
            Ok(json) => ([(CONTENT_TYPE, "application/json")], json).into_response(),
            Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
        }
    }
}
