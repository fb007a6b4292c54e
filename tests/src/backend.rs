//! A sample records backend: the protocol of `docs/records-http.md`, over any implementation of the records port, on a
//! free port. It is what a team would write in front of its own message database, kept as short as possible. It
//! remembers the requests and answers for assertions. The server ends when the value is dropped.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use roost::config::{BackendConfig, RecordsUrl, Secret};
use roost::records::wire::{self, Problem, ProblemCode};
use roost_core::port::{Directory, Records};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::eventually::DEADLINE;

/// The key that the backend accepts.
pub const KEY: &str = "a-key-for-the-records";

/// A running backend.
#[derive(Debug)]
pub struct Backend {
    /// The address that the backend listens on.
    pub address: SocketAddr,
    traffic: Arc<Mutex<Vec<Exchange>>>,
    serving: JoinHandle<()>,
}

/// A request and its answer, as they were sent over HTTP.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// The operation's name.
    pub operation: String,
    /// The trace id of the request.
    pub trace: Option<String>,
    /// The body of the request.
    pub question: String,
    /// The body of the answer.
    pub answer: String,
}

struct Shared<R> {
    records: R,
    traffic: Arc<Mutex<Vec<Exchange>>>,
}

impl Backend {
    /// Starts a backend on these records, on a free port.
    pub async fn start<R: Records + Directory + 'static>(records: R) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        Self::serve(listener, records)
    }

    /// Starts a backend on these records on an existing listener.
    pub fn serve<R: Records + Directory + 'static>(listener: TcpListener, records: R) -> Self {
        let address = listener.local_addr().expect("an address");
        let traffic = Arc::<Mutex<Vec<Exchange>>>::default();
        let shared = Arc::new(Shared { records, traffic: traffic.clone() });
        let router = Router::new()
            .route("/chat/v1", get(greet))
            .route("/chat/v1/{operation}", post(answer::<R>))
            .with_state(shared);
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.expect("it serves") });
        Self { address, traffic, serving }
    }

    /// The `records_url` of a host that uses this backend.
    pub fn url(&self) -> String {
        format!("http://{}/chat", self.address)
    }

    /// The configuration of a host that uses this backend.
    pub fn config(&self) -> BackendConfig {
        config(self.address)
    }

    /// All requests and answers so far, in order.
    pub fn traffic(&self) -> Vec<Exchange> {
        self.traffic.lock().unwrap().clone()
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// The configuration of a backend at this address that accepts [`KEY`].
pub fn config(address: SocketAddr) -> BackendConfig {
    BackendConfig {
        url: format!("http://{address}/chat/v1").parse().expect("a URL"),
        key: Some(Secret(KEY.to_owned())),
        timeout: DEADLINE,
        calls_max: 64,
        ca: Vec::new(),
    }
}

/// The same as a records URL.
pub fn url(config: BackendConfig) -> RecordsUrl {
    RecordsUrl::Http(config)
}

async fn greet(headers: HeaderMap) -> Response {
    match admit(&headers) {
        Ok(()) => json(StatusCode::OK, encode(&wire::Greeting::current())),
        Err(problem) => refuse(&problem),
    }
}

async fn answer<R: Records + Directory>(
    State(shared): State<Arc<Shared<R>>>,
    Path(operation): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if let Err(problem) = admit(&headers) {
        return refuse(&problem);
    }
    let answer = perform(&shared.records, &operation, &body).await;
    let (response, answer_text) = match answer {
        Ok(answer) => (json(StatusCode::OK, answer.clone()), answer),
        Err(problem) => (refuse(&problem), encode(&problem)),
    };
    let trace = headers.get("roost-trace").and_then(|trace| trace.to_str().ok()).map(str::to_owned);
    let question = String::from_utf8_lossy(&body).into_owned();
    shared.traffic.lock().unwrap().push(Exchange { operation, trace, question, answer: answer_text });
    response
}

fn admit(headers: &HeaderMap) -> Result<(), Problem> {
    let shown = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    if shown == Some(&format!("Bearer {KEY}")) {
        return Ok(());
    }
    Err(Problem::new(ProblemCode::Unauthenticated, "this is not the key"))
}

/// Performs one operation: parses the request, calls the records, formats the answer.
async fn perform<R: Records + Directory>(records: &R, operation: &str, body: &[u8]) -> Result<String, Problem> {
    macro_rules! reply {
        ($wire:ty: $answer:expr) => {
            Ok(encode(&<$wire>::from($answer.await?)))
        };
    }
    match operation {
        "append-message" => {
            reply!(wire::Changed: records.append_message(question::<wire::AppendMessage>(body)?.into()))
        }
        "edit-message" => reply!(wire::Changed: records.edit_message(question::<wire::EditMessage>(body)?.into())),
        "delete-message" => {
            let wire::DeleteMessage { conversation, id, actor, at } = question(body)?;
            reply!(wire::Changed: records.delete_message(conversation, id, actor, at))
        }
        "mark-read" => {
            let wire::MarkRead { user, conversation, up_to } = question(body)?;
            reply!(wire::ReadMark: records.mark_read(user, conversation, up_to))
        }
        "membership" => {
            let wire::ReadMembership { conversation, user } = question(body)?;
            reply!(wire::Membership: records.membership(conversation, user))
        }
        "conversations" => {
            let (user, query) = question::<wire::ListConversations>(body)?.into();
            reply!(wire::ConversationPage: records.conversations(user, query))
        }
        "history" => reply!(wire::HistoryPage: records.history(question::<wire::ReadHistory>(body)?.into())),
        "messages" => {
            let messages = records.messages(question::<wire::ReadMessages>(body)?.into()).await?;
            Ok(encode(&wire::Messages { messages: messages.into_iter().map(|found| found.map(Into::into)).collect() }))
        }
        "create-direct" => {
            reply!(wire::Created: records.create_direct(question::<wire::CreateDirect>(body)?.into()))
        }
        "erase-user" => {
            let wire::EraseUser { user, at } = question(body)?;
            reply!(wire::Erased: records.erase_user(user, at))
        }
        "create-conversation" => {
            reply!(wire::Created: records.create_conversation(question::<wire::CreateConversation>(body)?.into()))
        }
        "members" => reply!(wire::MembersPage: records.members(question::<wire::ListMembers>(body)?.into())),
        _ => list(records, operation, body).await,
    }
}

/// As [`perform`], for operations that answer with a list.
async fn list<R: Records + Directory>(records: &R, operation: &str, body: &[u8]) -> Result<String, Problem> {
    Ok(match operation {
        "unread" => {
            let snapshots = records.unread(wire::list(question::<wire::ReadUnread>(body)?.requests)).await?;
            encode(&wire::UnreadSnapshots { snapshots: wire::list(snapshots) })
        }
        "changes" => {
            let changes = records.changes(wire::list(question::<wire::ReadChanges>(body)?.ranges)).await?;
            encode(&wire::ChangeLists { changes: changes.into_iter().map(wire::list).collect() })
        }
        "last-messages" => {
            let asked = question::<wire::ReadLastMessages>(body)?.conversations;
            let last_messages = wire::list(records.last_messages(asked).await?);
            encode(&wire::LastMessages { last_messages })
        }
        "add-member" => {
            let members = records.add_member(question::<wire::MemberChange>(body)?.into()).await?;
            encode(&wire::Members { members })
        }
        "remove-member" => {
            let members = records.remove_member(question::<wire::MemberChange>(body)?.into()).await?;
            encode(&wire::Members { members })
        }
        "audience" => {
            let audiences = records.audience(question::<wire::ReadAudience>(body)?.users).await?;
            encode(&wire::Audiences { audiences: wire::list(audiences) })
        }
        "users" => {
            let wire::ReadIds { after, limit } = question(body)?;
            encode(&wire::Users { users: records.users(after, limit).await? })
        }
        "conversation-ids" => {
            let wire::ReadIds { after, limit } = question(body)?;
            encode(&wire::ConversationIds { conversations: records.conversation_ids(after, limit).await? })
        }
        "pending" => {
            let page = records.pending(question::<wire::ReadPending>(body)?.into()).await?;
            encode(&wire::PendingPage::from(page))
        }
        _ => return relate(records, operation, body).await,
    })
}

/// As [`perform`], for contacts and blocks, and for operations that answer with nothing.
async fn relate<R: Records + Directory>(records: &R, operation: &str, body: &[u8]) -> Result<String, Problem> {
    match operation {
        "contacts" => {
            let contacts = records.contacts(question::<wire::ReadContacts>(body)?.user).await?;
            return Ok(encode(&wire::Contacts { contacts }));
        }
        "blocks" => {
            let blocked = records.blocks(question::<wire::ReadBlocks>(body)?.user).await?;
            return Ok(encode(&wire::BlockedUsers { blocked }));
        }
        "relation" => {
            let wire::ReadRelation { user, other } = question(body)?;
            return Ok(encode(&wire::Relation::from(records.relation(user, other).await?)));
        }
        "add-contact" => {
            let wire::Contact { user, contact } = question(body)?;
            records.add_contact(user, contact).await?;
        }
        "remove-contact" => {
            let wire::Contact { user, contact } = question(body)?;
            records.remove_contact(user, contact).await?;
        }
        "block" => {
            let wire::Blocked { user, blocked } = question(body)?;
            records.block(user, blocked).await?;
        }
        "unblock" => {
            let wire::Blocked { user, blocked } = question(body)?;
            records.unblock(user, blocked).await?;
        }
        "announced" => {
            records.announced(wire::list(question::<wire::Announced>(body)?.confirmations)).await?;
        }
        "postpone" => {
            records.postpone(wire::list(question::<wire::Postpone>(body)?.postponements)).await?;
        }
        _ => return document(records, operation, body).await,
    }
    Ok(encode(&wire::Done {}))
}

/// As [`perform`], for documents of functions.
async fn document<R: Records + Directory>(records: &R, operation: &str, body: &[u8]) -> Result<String, Problem> {
    Ok(match operation {
        "read-documents" => {
            let keys = wire::list(question::<wire::ReadDocuments>(body)?.keys);
            let documents = records.read_documents(keys).await?;
            encode(&wire::Documents { documents: documents.into_iter().map(|found| found.map(Into::into)).collect() })
        }
        "put-document" => {
            let version = records.put_document(question::<wire::PutDocument>(body)?.into()).await?;
            encode(&wire::DocumentVersion { version })
        }
        "delete-document" => {
            let wire::DeleteDocument { key, expected } = question(body)?;
            records.delete_document(key.into(), expected).await?;
            encode(&wire::Done {})
        }
        "document-names" => {
            let names = records.document_names(question::<wire::DocumentScope>(body)?.into()).await?;
            encode(&wire::DocumentNames { names })
        }
        other => return Err(Problem::new(ProblemCode::Invalid, format!("there is no operation {other}"))),
    })
}

fn question<Q: DeserializeOwned>(body: &[u8]) -> Result<Q, Problem> {
    serde_json::from_slice(body).map_err(|error| Problem::new(ProblemCode::Invalid, error.to_string()))
}

fn encode(answer: &impl Serialize) -> String {
    serde_json::to_string(answer).expect("answers encode")
}

fn json(status: StatusCode, body: String) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

fn refuse(problem: &Problem) -> Response {
    let status = StatusCode::from_u16(problem.code.status()).expect("a status");
    (status, [(header::CONTENT_TYPE, "application/problem+json")], encode(problem)).into_response()
}
