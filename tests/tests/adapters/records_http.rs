//! The records behind HTTP beyond the conformance suite: the fixed form of the traffic, backends that fail in every
//! way, and the real binary with a sample backend.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, Response};
use futures_util::stream;
use roost::config::{BackendConfig, Secret};
use roost::records::{RecordStore, wire};
use roost_core::ids::{ConversationId, MessageId, Seq, UserId};
use roost_core::key::Owner;
use roost_core::port::{
    ChangeRange, Confirmation, ConversationQuery, DirectRequest, DocumentKey, DocumentPut, DocumentScope, Draft, Edit,
    HistoryQuery, MemberChange, MembersQuery, MessagesQuery, NewConversation, Operation, PendingId, PendingQuery,
    Postponement, Records, RecordsError, UnreadRequest,
};
use roost_core::testing::FakeRecords;
use roost_core::time::Timestamp;
use roost_tests::backend::{self, Backend, KEY};
use roost_tests::components;
use roost_tests::eventually::DEADLINE;
use roost_tests::port::closed_port;
use roost_tests::server::{self, Server};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::time::timeout;
use uuid::Uuid;

const ANN: UserId = UserId::from_u128(0xA1);
const BEN: UserId = UserId::from_u128(0xB2);
const CAT: UserId = UserId::from_u128(0xC3);
const CONVERSATION: ConversationId = ConversationId::from_u128(0xD4);
const AT: Timestamp = Timestamp(1_790_000_000_123);

async fn open(config: BackendConfig) -> RecordStore {
    RecordStore::open(&backend::url(config)).await.unwrap()
}

async fn refused(config: BackendConfig) -> String {
    RecordStore::open(&backend::url(config)).await.unwrap_err().to_string()
}

fn draft(id: u128, content: &str) -> Draft {
    let id = Some(MessageId::from_u128(id));
    Draft { conversation: CONVERSATION, sender: ANN, id, kind: "text".into(), content: content.into(), at: AT }
}

/// Uses every operation once, on a conversation of two that a third user joins and leaves.
async fn ask_everything(records: &RecordStore) {
    let service = MemberChange { conversation: CONVERSATION, actor: None, user: CAT, at: AT.plus(4_000) };
    let new = NewConversation { id: Some(CONVERSATION), creator: ANN, members: vec![ANN, BEN], at: AT };
    records.create_conversation(new).await.unwrap();
    let sent = records.append_message(draft(0xE5, "See you at 8?")).await.unwrap().change.message;
    records.append_message(draft(0xE6, "Hm")).await.unwrap();
    let (conversation, message) = (CONVERSATION, sent.id);
    let edit = Edit { conversation, message, editor: ANN, content: "See you at 9?".into(), at: AT.plus(1_000) };
    records.edit_message(edit).await.unwrap();
    records.delete_message(CONVERSATION, MessageId::from_u128(0xE6), Some(ANN), AT.plus(2_000)).await.unwrap();
    records.pending(PendingQuery { limit: 1, ..PendingQuery::untried(AT.plus(5_000)) }).await.unwrap();
    records.unread(vec![UnreadRequest::all(BEN)]).await.unwrap();
    records.mark_read(BEN, CONVERSATION, Some(Seq(1))).await.unwrap();
    records.changes(vec![ChangeRange { conversation, after: Seq(2), up_to: Seq(3) }]).await.unwrap();
    records.last_messages(vec![CONVERSATION]).await.unwrap();
    records.membership(CONVERSATION, BEN).await.unwrap();
    records.conversations(BEN, ConversationQuery::Page { cursor: None, limit: 50 }).await.unwrap();
    records.history(HistoryQuery { user: BEN, conversation, before: None, limit: 50 }).await.unwrap();
    let messages = vec![message, MessageId::from_u128(0xE6)];
    records.messages(MessagesQuery { user: BEN, conversation, messages }).await.unwrap();
    records.add_member(service).await.unwrap();
    records.remove_member(MemberChange { actor: Some(CAT), ..service }).await.unwrap();
    records.members(MembersQuery { conversation, actor: Some(ANN), after: None, limit: 1 }).await.unwrap();
    let confirmations = vec![Confirmation::Change(CONVERSATION, Seq(1)), Confirmation::Member(CONVERSATION, BEN, 1)];
    records.announced(confirmations).await.unwrap();
    let later = |item| Postponement { item, attempts: 1, next_time: AT.plus(7_000) };
    let items = [PendingId::Change(CONVERSATION, Seq(2)), PendingId::Membership(CONVERSATION, CAT)];
    records.postpone(items.map(later).into()).await.unwrap();
    records.pending(PendingQuery { limit: 2, ..PendingQuery::tried(AT.plus(9_000)) }).await.unwrap();
    records.add_contact(ANN, BEN).await.unwrap();
    records.add_contact(BEN, ANN).await.unwrap();
    records.contacts(ANN).await.unwrap();
    records.audience(vec![ANN, CAT]).await.unwrap();
    records.relation(ANN, BEN).await.unwrap();
    let confirmations = vec![Confirmation::Creation(CONVERSATION, 1), Confirmation::Contact(ANN, BEN, 1)];
    records.announced(confirmations).await.unwrap();
    records.remove_contact(BEN, ANN).await.unwrap();
    records.block(BEN, CAT).await.unwrap();
    records.blocks(BEN).await.unwrap();
    records.unblock(BEN, CAT).await.unwrap();
    records.mark_read(CAT, CONVERSATION, None).await.unwrap_err();
    ask_documents(records).await;
    ask_pairs_and_erasing(records).await;
}

/// Makes the pair of Ann and Cat, and erases Ben.
async fn ask_pairs_and_erasing(records: &RecordStore) {
    let pair = DirectRequest { user: ANN, other: CAT, may_create: true, at: AT.plus(10_000) };
    let conversation = records.create_direct(pair).await.unwrap().conversation.id;
    let leave = MemberChange { conversation, actor: Some(CAT), user: CAT, at: AT.plus(11_000) };
    assert_eq!(records.remove_member(leave).await, Err(RecordsError::Direct));
    let mut steps = 1;
    while !records.erase_user(BEN, AT.plus(12_000)).await.unwrap().done {
        steps += 1;
    }
    assert_eq!(steps, 3, "Ann's contact, the membership, and nothing more");
}

/// Uses every operation on documents, those of a function `polls` about Ann.
async fn ask_documents(records: &RecordStore) {
    let scope = DocumentScope { function: "polls".to_owned(), owner: Owner::User(ANN) };
    let key = DocumentKey { scope: scope.clone(), name: "Lunch 🍜".to_owned() };
    let put = |json: &str, expected| DocumentPut::new(key.clone(), json.to_owned(), expected);
    records.put_document(put(r#"{"soup":1}"#, None)).await.unwrap();
    records.put_document(put(r#"{"soup":2}"#, Some(1))).await.unwrap();
    records.put_document(put(r#"{"soup":3}"#, Some(1))).await.unwrap_err();
    let bounded = DocumentPut { bytes_max: Some(520), ..put(r#"{"soup":10}"#, Some(2)) };
    records.put_document(bounded).await.unwrap_err();
    let missing = DocumentKey { name: "Dinner".to_owned(), ..key.clone() };
    records.read_documents(vec![key.clone(), missing]).await.unwrap();
    records.document_names(scope).await.unwrap();
    records.delete_document(key.clone(), 2).await.unwrap();
    let conversation = DocumentScope { function: "polls".to_owned(), owner: Owner::Conversation(CONVERSATION) };
    records.document_names(conversation).await.unwrap();
    records.document_names(DocumentScope { function: "polls".to_owned(), owner: Owner::Shard(0) }).await.unwrap();
}

/// A change of these lines breaks every existing backend; the documentation shows each of them.
#[tokio::test]
async fn traffic_keeps_its_form_and_is_documented() {
    let backend = Backend::start(FakeRecords::new(1)).await;
    ask_everything(&open(backend.config()).await).await;
    let traffic = backend.traffic();
    let line = |exchange: &backend::Exchange| {
        format!("{}\n> {}\n< {}\n", exchange.operation, exchange.question, exchange.answer)
    };
    let found: String = traffic.iter().map(line).collect();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let expected = fs::read_to_string(root.join("golden/records-http/traffic.txt")).unwrap_or_default();
    assert_eq!(found, expected, "tests/golden/records-http/traffic.txt should hold:\n{found}");

    let page = |name: &str| fs::read_to_string(root.join("../docs").join(name)).unwrap();
    let documentation = page("records-http.md") + &page("records-http-documents.md");
    for operation in Operation::ALL.map(Operation::name) {
        let exchange = traffic.iter().find(|exchange| exchange.operation == operation);
        let shown = line(exchange.unwrap_or_else(|| panic!("{operation} was not asked for")));
        assert!(documentation.contains(&shown), "docs/records-http.md does not show\n{shown}");
    }
    for code in wire::ProblemCode::ALL {
        let name = serde_json::to_string(&code).unwrap().replace('"', "`");
        let row = format!("| {name} | {} |", code.status());
        assert!(documentation.contains(&row), "docs/records-http.md does not show {row}");
    }
}

/// A server that gives the same answer to everything, but greets as a backend does unless told otherwise.
async fn stub(answer: impl Fn() -> Response<Body> + Clone + Send + Sync + 'static) -> SocketAddr {
    let respond = move |request: Request<Body>| {
        let greeting = serde_json::to_string(&wire::Greeting::current()).unwrap();
        let response = if request.method() == Method::GET { Response::new(greeting.into()) } else { answer() };
        std::future::ready(response)
    };
    serve(Router::new().fallback(respond)).await
}

async fn serve(router: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

fn respond(status: u16, body: impl Into<Body>) -> Response<Body> {
    Response::builder().status(status).body(body.into()).unwrap()
}

#[track_caller]
fn is_unavailable<T: std::fmt::Debug>(answer: Result<T, RecordsError>) -> u32 {
    match answer {
        Err(RecordsError::Unavailable { retry_after_ms }) => retry_after_ms,
        other => panic!("not unavailable: {other:?}"),
    }
}

#[tokio::test]
async fn a_backend_that_is_down_is_unavailable_until_it_is_up() {
    let (socket, address) = closed_port();
    let records = open(backend::config(address)).await;
    is_unavailable(records.ready().await);
    is_unavailable(records.append_message(draft(1, "hello")).await);
    let backend = Backend::serve(socket.listen(16).unwrap(), FakeRecords::new(1));
    records.ready().await.unwrap();
    assert_eq!(records.contacts(ANN).await, Ok(vec![]));
    drop(backend);
}

#[tokio::test]
async fn a_slow_backend_is_unavailable_in_bounded_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    // The server accepts connections and never answers. The second call waits for the first one to time out.
    let config = BackendConfig {
        timeout: Duration::from_millis(50),
        calls_max: 1,
        ..backend::config(listener.local_addr().unwrap())
    };
    let asked = async {
        let records = open(config).await;
        tokio::join!(records.contacts(ANN), records.append_message(draft(1, "hello")), records.ready())
    };
    let (first, second, ready) = timeout(DEADLINE, asked).await.expect("the call ends in time");
    is_unavailable(first);
    is_unavailable(second);
    is_unavailable(ready);
}

#[tokio::test]
async fn a_giant_answer_is_refused() {
    let announced = || {
        let zeros = stream::repeat_with(|| Ok::<_, std::io::Error>(vec![b' '; 65_536]));
        let body = Body::from_stream(zeros);
        Response::builder().header("content-length", "1099511627776").body(body).unwrap()
    };
    let endless =
        || respond(200, Body::from_stream(stream::repeat_with(|| Ok::<_, std::io::Error>(vec![b' '; 65_536]))));
    for address in [stub(announced).await, stub(endless).await] {
        let records = open(backend::config(address)).await;
        is_unavailable(timeout(DEADLINE, records.contacts(ANN)).await.expect("the answer is cut off in time"));
    }
}

#[tokio::test]
async fn an_invalid_answer_counts_as_unavailable() {
    let nonsense: [(u16, &'static str); 10] = [
        (200, "<html>"),
        (200, ""),
        (200, r#"{"last_messages":[]}"#),
        (
            200,
            r#"{"last_messages":[{"conversation":"00000000-0000-0000-0000-0000000000ff","version":1,"message":null}]}"#,
        ),
        (
            200,
            r#"{"last_messages":[{"conversation":"00000000-0000-0000-0000-0000000000d4","version":-1,"message":null}]}"#,
        ),
        (204, ""),
        (302, ""),
        (404, "not found"),
        (409, r#"{"code":"something_else"}"#),
        (500, "{}"),
    ];
    for (status, body) in nonsense {
        let address = stub(move || respond(status, body)).await;
        let records = open(backend::config(address)).await;
        is_unavailable(records.last_messages(vec![CONVERSATION]).await);
    }
}

/// A document that is too long or no JSON, a list of another length, a version that does not follow, too many names.
#[tokio::test]
async fn an_invalid_answer_about_documents_counts_as_unavailable() {
    let key = DocumentKey::new(Owner::User(ANN), "settings");
    let document = |json: &str| json!({ "documents": [{ "version": 1, "json": json }] });
    let answers = [document("{"), document(&format!("\"{}\"", "x".repeat(16 * 1_024))), json!({ "documents": [] })];
    for answer in answers.map(|answer| answer.to_string()) {
        let records = open(backend::config(stub(move || respond(200, answer.clone())).await)).await;
        is_unavailable(records.read_documents(vec![key.clone()]).await);
    }
    let records = open(backend::config(stub(|| respond(200, r#"{"version":3}"#)).await)).await;
    for (expected, answer) in [(None, None), (Some(1), None), (Some(2), Some(3)), (Some(u64::MAX), None)] {
        let answered = records.put_document(DocumentPut::new(key.clone(), "1".to_owned(), expected)).await;
        match answer {
            Some(version) => assert_eq!(answered, Ok(version)),
            None => drop(is_unavailable(answered)),
        }
    }
    let names: Vec<_> = (0..101).map(|number| number.to_string()).collect();
    let names = json!({ "names": names }).to_string();
    let records = open(backend::config(stub(move || respond(200, names.clone())).await)).await;
    is_unavailable(records.document_names(key.scope.clone()).await);
    let unsorted = open(backend::config(stub(|| respond(200, r#"{"names":["é","a","Z"]}"#)).await)).await;
    assert_eq!(unsorted.document_names(key.scope).await.unwrap(), ["Z", "a", "é"]);
}

/// Too many entries, entries that were not asked for or are in another order, and pages that do not go on.
#[tokio::test]
async fn an_invalid_page_counts_as_unavailable() {
    let other = ConversationId::from_u128(0xFF);
    let message = |&(conversation, seq): &(ConversationId, u64)| {
        let id = Uuid::from_u128(seq.into());
        json!({
            "id": id, "conversation": conversation, "seq": seq, "sender_id": ANN, "type": "text", "content": "hello",
            "created_at": AT,
        })
    };
    let history = HistoryQuery { user: ANN, conversation: CONVERSATION, before: Some(Seq(5)), limit: 2 };
    let own = |seqs: &[u64]| seqs.iter().map(|seq| (CONVERSATION, *seq)).collect::<Vec<_>>();
    let pages = [
        (own(&[4, 2]), Some(2), true),
        (own(&[]), None, true),
        (own(&[5]), None, false),
        (own(&[2, 4]), None, false),
        (own(&[4, 4]), None, false),
        (own(&[4, 3, 2]), None, false),
        (own(&[4, 2]), Some(4), false),
        (own(&[]), Some(5), false),
        (vec![(other, 4)], None, false),
    ];
    for (messages, next, is_valid) in pages {
        let messages: Vec<_> = messages.iter().map(message).collect();
        let page = json!({ "messages": messages, "next_before": next }).to_string();
        let records = open(backend::config(stub(move || respond(200, page.clone())).await)).await;
        assert_eq!(records.history(history).await.is_ok(), is_valid, "{messages:?} {next:?}");
    }

    let conversation = |id: &ConversationId| json!({ "id": id, "members": [ANN], "member_count": 1, "read": 0, "joined": 0, "updated_at": AT });
    let first = ConversationQuery::Page { cursor: Some("a".to_owned()), limit: 1 };
    let named = ConversationQuery::Named(vec![CONVERSATION]);
    let pages = [
        (&first, vec![other], Some("b"), true),
        (&first, vec![other, CONVERSATION], None, false),
        (&first, vec![other], Some("a"), false),
        (&named, vec![CONVERSATION], None, true),
        (&named, vec![other], None, false),
    ];
    for (query, ids, next, is_valid) in pages {
        let conversations: Vec<_> = ids.iter().map(conversation).collect();
        let page = json!({ "conversations": conversations, "next_cursor": next }).to_string();
        let records = open(backend::config(stub(move || respond(200, page.clone())).await)).await;
        assert_eq!(records.conversations(ANN, query.clone()).await.is_ok(), is_valid, "{query:?} {ids:?} {next:?}");
    }
}

#[tokio::test]
async fn counters_of_another_conversation_count_as_unavailable() {
    let other = ConversationId::from_u128(0xFF);
    let counter = json!({ "conversation": other, "count": 0, "seq": 0, "joined": 0, "read": 0, "announced": 0 });
    let snapshots = json!({ "snapshots": [{ "user": ANN, "counters": [counter] }] }).to_string();
    let records = open(backend::config(stub(move || respond(200, snapshots.clone())).await)).await;
    is_unavailable(records.unread(vec![UnreadRequest::named(ANN, vec![CONVERSATION])]).await);
    let mark = json!({ "counter": counter, "moved": true, "member_count": 2, "audience": [] }).to_string();
    let records = open(backend::config(stub(move || respond(200, mark.clone())).await)).await;
    is_unavailable(records.mark_read(ANN, CONVERSATION, None).await);
}

#[tokio::test]
async fn a_long_detail_of_a_refusal_is_cut() {
    let body = serde_json::to_string(&wire::Problem::new(wire::ProblemCode::Conflict, "é".repeat(100_000))).unwrap();
    let records = open(backend::config(stub(move || respond(409, body.clone())).await)).await;
    assert_eq!(records.contacts(ANN).await, Err(RecordsError::Conflict("é".repeat(1_000))));
}

#[tokio::test]
async fn content_beyond_the_bound_is_refused() {
    let message = json!({
        "id": Uuid::nil(), "conversation": Uuid::nil(), "seq": 1, "sender_id": Uuid::nil(), "type": "text",
        "content": "x".repeat(16 * 1_024 + 1), "created_at": AT,
    });
    let page = json!({ "messages": [message], "next_before": null }).to_string();
    let records = open(backend::config(stub(move || respond(200, page.clone())).await)).await;
    is_unavailable(
        records.history(HistoryQuery { user: ANN, conversation: CONVERSATION, before: None, limit: 1 }).await,
    );
}

#[tokio::test]
async fn each_error_code_maps_to_its_refusal() {
    let text = || "why".to_owned();
    let unavailable = RecordsError::Unavailable { retry_after_ms: 1_000 };
    let table = [
        (wire::ProblemCode::Invalid, RecordsError::Invalid(text())),
        (wire::ProblemCode::NotAMember, RecordsError::NotAMember),
        (wire::ProblemCode::Forbidden, RecordsError::Forbidden(text())),
        (wire::ProblemCode::Blocked, RecordsError::Blocked),
        (wire::ProblemCode::NotFound, RecordsError::NotFound(text())),
        (wire::ProblemCode::Conflict, RecordsError::Conflict(text())),
        (wire::ProblemCode::VersionMismatch, RecordsError::VersionMismatch { present: None }),
        (wire::ProblemCode::TooLarge, RecordsError::TooLarge(text())),
        (wire::ProblemCode::TooManyConversations, RecordsError::TooManyConversations(text())),
        (wire::ProblemCode::QuotaExceeded, RecordsError::QuotaExceeded(text())),
        (wire::ProblemCode::DirectConversation, RecordsError::Direct),
        (wire::ProblemCode::Denied, RecordsError::Denied(text())),
        (wire::ProblemCode::Unauthenticated, unavailable.clone()),
        (wire::ProblemCode::Unavailable, unavailable),
    ];
    assert_eq!(table.len(), wire::ProblemCode::ALL.len());
    for (code, expected) in table {
        let body = serde_json::to_string(&wire::Problem::new(code, "why")).unwrap();
        let records = open(backend::config(stub(move || respond(code.status(), body.clone())).await)).await;
        assert_eq!(records.contacts(ANN).await, Err(expected));
    }
}

#[tokio::test]
async fn a_backend_can_set_the_retry_time() {
    for (answer, understood) in [("7", 7_000), ("86400", 60_000), ("Sun, 06 Nov 1994 08:49:37 GMT", 1_000)] {
        let busy = move || Response::builder().status(503).header("retry-after", answer).body(Body::empty()).unwrap();
        let records = open(backend::config(stub(busy).await)).await;
        assert_eq!(is_unavailable(records.contacts(ANN).await), understood, "{answer}");
    }
}

#[tokio::test]
async fn a_wrong_key_is_reported_at_start_and_by_readiness() {
    let backend = Backend::start(FakeRecords::new(1)).await;
    for key in [None, Some(Secret("another-key-altogether".to_owned()))] {
        let message = refused(BackendConfig { key, ..backend.config() }).await;
        assert!(message.contains("refuses records_key") && !message.contains("another-key"), "{message}");
    }
    let accepts_key = Arc::new(AtomicBool::new(true));
    let accepted = accepts_key.clone();
    let greet = move || {
        let greeting = serde_json::to_string(&wire::Greeting::current()).unwrap();
        let response = if accepted.load(Ordering::Acquire) { respond(200, greeting) } else { respond(401, "") };
        std::future::ready(response)
    };
    let records = open(backend::config(serve(Router::new().fallback(greet)).await)).await;
    records.ready().await.unwrap();
    accepts_key.store(false, Ordering::Release);
    let message = records.ready().await.unwrap_err().to_string();
    assert!(message.contains("refuses records_key"), "{message}");
}

#[tokio::test]
async fn a_server_that_is_not_a_records_backend_is_reported_at_start() {
    let page = Router::new().fallback(async || "<html>");
    let message = refused(backend::config(serve(page).await)).await;
    assert!(message.contains("is no records backend"), "{message}");
    let newer = Router::new().fallback(async || r#"{"protocol":"roost.records","version":2}"#);
    let message = refused(backend::config(serve(newer).await)).await;
    assert!(message.contains("version 2, this is `roost.records` version 1"), "{message}");
}

#[tokio::test]
async fn a_host_on_an_http_backend_sends_marks_read_and_lists_history() {
    let backend = Backend::start(FakeRecords::new(1)).await;
    let (url, key) = (backend.url(), KEY);
    let server = Server::start(&[("records_url", &url), ("records_key", key), ("records_timeout_ms", "5000")]).await;
    let (ann, ben) = (Uuid::now_v7(), Uuid::now_v7());
    let (ann, ben_id, ben) = (server.user(ann), ben, server.user(ben));
    let conversation = ann.conversation(&[ben_id]).await;
    let messages = format!("/v1/conversations/{conversation}/messages");
    let sent = ann.post(&messages, json!({ "content": "hello" })).await;
    let traces: Vec<_> =
        backend.traffic().into_iter().filter(|exchange| exchange.operation == "append-message").collect();
    assert_eq!(traces[0].trace.as_deref(), sent.headers.get("roost-trace").and_then(|trace| trace.to_str().ok()));
    let sent = sent.json(201);
    let read = ben.post(&format!("/v1/conversations/{conversation}/read"), json!({})).await.json(200);
    assert_eq!((&read["unread"], &read["up_to"]), (&json!(0), &sent["seq"]));
    assert_eq!(ben.get(&messages).await.json(200)["messages"], json!([sent]));
    assert!(!server.log().contains(key), "the key is in the log");

    drop(backend);
    ann.post(&messages, json!({ "content": "anybody?" })).await.problem(503, "records_unavailable");
    assert_eq!(server.operator().get("/readyz").await.status, 503);
}

#[tokio::test]
async fn a_host_does_not_start_on_a_backend_that_refuses_its_key() {
    let backend = Backend::start(FakeRecords::new(1)).await;
    let folder = tempfile::tempdir().unwrap();
    let mut command = server::command(folder.path());
    command.args(["serve", "--functions-dir"]).arg(components()).args(["--records-url", &backend.url()]);
    command.args(["--set", "records_key=another-key-altogether"]).kill_on_drop(true);
    let ended = timeout(DEADLINE, command.stderr(std::process::Stdio::piped()).output()).await.unwrap().unwrap();
    let message = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1), "{message}");
    assert!(message.contains("refuses records_key") && !message.contains("another-key"), "{message}");
}
