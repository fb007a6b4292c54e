//! Compares every message of the records with `tests/golden/messages/records.txt`: the reasons why they cannot be
//! opened, why an operation failed, and why an operation is refused.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use roost_core::ids::{ConversationId, MessageId, UserId};
use roost_core::key::Owner;
use roost_core::port::{
    Answer, DocumentKey, DocumentPut, HistoryQuery, MessagesQuery, RecordsError, records_bounds as bounds,
};
use roost_core::time::Timestamp;
use sqlx::migrate::MigrateError;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Executor, PgConnection, SqliteConnection};

use super::http::{BackendError, BackendOpenError};
use super::sql::{QueryError, SqlConnection, describe, describe_migration};
use super::sqlite;
use crate::config::SqliteLocation;
use crate::golden::Messages;

async fn add_sqlite(messages: &mut Messages) {
    messages.group("Opening an SQLite database");
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::create_dir(path("folder.db")).unwrap();
    std::fs::write(path("text.db"), "no database, but long enough that SQLite reads a header".repeat(4)).unwrap();
    sqlite::open(&SqliteLocation::File(path("newer.db"))).await.unwrap().close().await;
    let mut connection = SqliteConnectOptions::new().filename(path("newer.db")).connect().await.unwrap();
    let later = "INSERT INTO _sqlx_migrations VALUES (99, 'later', 0, true, x'00', 0)";
    connection.execute(later).await.unwrap();
    for (situation, file) in [
        ("The path is a folder", "folder.db"),
        ("The file is no database", "text.db"),
        ("The folder of the file cannot be created", "text.db/records.db"),
        ("A newer Roost wrote the schema", "newer.db"),
    ] {
        let error = sqlite::open(&SqliteLocation::File(path(file))).await.expect_err(situation);
        messages.add(situation, error.to_string().replace(&*folder.path().to_string_lossy(), "/data"));
    }
}

/// What an operator reads after the database's own words, by error code.
fn add_advice<C: SqlConnection>(messages: &mut Messages, database: &str, codes: &[(&str, &str)]) {
    messages.group(&format!("Errors of {database}: its own words, and then"));
    for (situation, code) in codes {
        let advice = C::advice(code).unwrap_or_else(|| panic!("no advice for {code}"));
        messages.add(&format!("{situation} ({} {code})", C::CODE_NAME), advice);
    }
}

fn add_failures(messages: &mut Messages) {
    messages.group("Errors of the connection to a database");
    let refused = sqlx::Error::Io(io::ErrorKind::ConnectionRefused.into());
    messages.add("The server cannot be reached", describe::<PgConnection>(&refused));
    let untrusted = sqlx::Error::Tls("invalid peer certificate: UnknownIssuer".into());
    messages.add("The certificate is not trusted", describe::<PgConnection>(&untrusted));
    messages.add("The host is stopping", describe::<PgConnection>(&sqlx::Error::PoolClosed));
    let reason = || "the server did not answer in time".to_owned();
    for (situation, error) in [
        ("Every connection is in use", QueryError::NoConnection),
        ("The database does not answer", QueryError::TimedOut),
        (
            "An earlier call could not reach the server",
            QueryError::Unreachable { reason: reason(), retry_after: Duration::ZERO },
        ),
        ("The server accepts no changes", QueryError::ReadOnly),
    ] {
        messages.add(situation, error.problem::<PgConnection>());
    }
    let changed = MigrateError::VersionMismatch(1);
    messages.add("The schema was changed", describe_migration::<SqliteConnection>(&changed, 1));
}

fn add_backend(messages: &mut Messages) {
    messages.group("The HTTP backend");
    let url = || reqwest::Url::parse("https://chat.example.com/roost/v1").unwrap();
    let problem = "no certificate".to_owned();
    for (situation, error) in [
        ("A file of `records_ca`", BackendOpenError::Certificates { file: PathBuf::from("/ca.pem"), problem }),
        ("The backend refuses the key at the start", BackendOpenError::Unauthenticated(url())),
        ("Another server answers", BackendOpenError::NotABackend { url: url(), problem: "status 404".into() }),
    ] {
        messages.add(situation, error);
    }
    for (situation, error) in [
        ("Status 503", BackendError::Failed { status: 503, retry_after: None }),
        ("The backend refuses the key", BackendError::Unauthenticated),
        ("The answer is not as described", BackendError::Malformed("its answer is not as described".into())),
        ("The answer is late", BackendError::TimedOut),
        ("The backend cannot be reached", BackendError::Unreachable("connection refused".into())),
        ("The host is stopping", BackendError::Closed),
    ] {
        messages.add(situation, error);
    }
}

fn add_refusals(messages: &mut Messages) {
    messages.group("Refusals");
    let text = || "…".to_owned();
    for error in [
        RecordsError::Denied(text()),
        RecordsError::NotFound(text()),
        RecordsError::NotAMember,
        RecordsError::Forbidden(text()),
        RecordsError::Blocked,
        RecordsError::Conflict(text()),
        RecordsError::Direct,
        RecordsError::VersionMismatch { present: Some(3) },
        RecordsError::VersionMismatch { present: None },
        RecordsError::TooLarge(text()),
        RecordsError::TooManyConversations(text()),
        RecordsError::QuotaExceeded(text()),
        RecordsError::Invalid(text()),
        RecordsError::Unavailable { retry_after_ms: 200 },
    ] {
        let debug = format!("{error:?}");
        let situation = debug.split_once('(').filter(|_| !debug.contains('{')).map_or(&*debug, |(name, _)| name);
        messages.add(situation, error);
    }
    let (ann, conversation) = (UserId::from_u128(1), ConversationId::from_u128(2));
    let history = HistoryQuery { user: ann, conversation, before: None, limit: 101 };
    let key = |name: &str| DocumentKey::new(Owner::User(ann), name);
    let put = |json: &str| DocumentPut::new(key("settings"), json.to_owned(), None);
    let by_id = MessagesQuery { user: ann, conversation, messages: vec![MessageId::from_u128(3); 101] };
    let refused: [(&str, Answer<()>); 12] = [
        ("A page is too long", bounds::history(&history)),
        ("Too many messages are asked for", bounds::messages(&by_id)),
        ("A list is too long", bounds::list(&[(); 501])),
        ("A timestamp is too late", bounds::timestamp(Timestamp(u64::MAX))),
        ("A user adds themselves", bounds::two_users(ann, ann)),
        ("A conversation has too many members", bounds::member_count(1_001)),
        ("A document has no name", bounds::document_key(&key(""))),
        ("A document's name is too long", bounds::document_key(&key(&"n".repeat(129)))),
        ("A document is not JSON", bounds::document_put(&put("{\"color\":red}"))),
        ("A document is too large", bounds::document_put(&put(&" ".repeat(16_385)))),
        ("A function has too many documents", bounds::document_count(101)),
        ("Too many documents are read", bounds::document_keys(&vec![key("settings"); 101])),
    ];
    for (situation, answer) in refused {
        messages.add(situation, answer.unwrap_err());
    }
}

#[tokio::test]
async fn every_message_of_the_records_is_in_the_golden_file() {
    let mut messages = Messages::new("Messages of the records");
    add_sqlite(&mut messages).await;
    let sqlite_codes = [
        ("The file is read-only", "8"),
        ("Another process holds the lock", "5"),
        ("Reading or writing failed", "10"),
        ("The file is damaged", "11"),
        ("The disk is full", "13"),
        ("The file cannot be opened", "14"),
        ("The file is no database", "26"),
    ];
    add_advice::<SqliteConnection>(&mut messages, "SQLite", &sqlite_codes);
    let postgres_codes = [
        ("Wrong user or password", "28P01"),
        ("The database is missing", "3D000"),
        ("The user lacks a right", "42501"),
        ("Tables of another application", "42P07"),
        ("A table is missing", "42P01"),
        ("The server is read-only", "25006"),
        ("The disk is full", "53100"),
        ("Too many connections", "53300"),
        ("A lock was not granted in time", "55P03"),
        ("A statement took too long", "57014"),
        ("The server is stopping", "57P01"),
        ("A pooler keeps no sessions", "26000"),
    ];
    add_advice::<PgConnection>(&mut messages, "PostgreSQL", &postgres_codes);
    add_failures(&mut messages);
    add_backend(&mut messages);
    add_refusals(&mut messages);
    messages.check("records");
}
