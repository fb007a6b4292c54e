//! PostgreSQL with several hosts at once: contention, restarts, time limits, and the texts of its errors. The
//! conformance suite of the port is in `conformance_records.rs`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use roost::config::{PostgresConfig, RecordsUrl, Secret};
use roost::records::RecordStore;
use roost_core::documents;
use roost_core::error::Error;
use roost_core::ids::{ConversationId, MessageId, Seq, UserId};
use roost_core::key::Owner;
use roost_core::port::{
    Change, ChangeRange, Confirmation, DocumentKey, Draft, HistoryQuery, MemberChange, NewConversation, Records,
    RecordsError, UnreadRequest,
};
use roost_core::time::Timestamp;
use roost_tests::eventually::DEADLINE;
use roost_tests::postgres::{PASSWORD, PostgresServer};
use sqlx::{Connection, Executor, PgConnection};
use tokio::sync::watch;
use tokio::time::timeout;

const ANN: UserId = UserId::from_u128(1);
const BOB: UserId = UserId::from_u128(2);
const CONVERSATION: ConversationId = ConversationId::from_u128(3);
const OTHER: ConversationId = ConversationId::from_u128(4);
const AT: Timestamp = Timestamp(1_790_000_000_000);

async fn open(config: &PostgresConfig) -> RecordStore {
    RecordStore::open(&RecordsUrl::Postgres(config.clone())).await.unwrap()
}

/// Two hosts that share a conversation of two members.
async fn two_hosts(config: &PostgresConfig) -> [RecordStore; 2] {
    let hosts = [open(config).await, open(config).await];
    create(&hosts[0], CONVERSATION).await;
    hosts
}

async fn create(records: &RecordStore, id: ConversationId) {
    let new = NewConversation { id: Some(id), creator: ANN, members: vec![BOB], at: AT };
    records.create_conversation(new).await.unwrap();
}

fn draft(id: Option<u128>) -> Draft {
    let id = id.map(MessageId::from_u128);
    Draft { conversation: CONVERSATION, sender: ANN, id, kind: "text".into(), content: "at once".into(), at: AT }
}

async fn all_changes(records: &RecordStore) -> Vec<Change> {
    let mut all: Vec<Change> = Vec::new();
    loop {
        let after = all.last().map_or(Seq::ZERO, |change| change.seq);
        let range = ChangeRange { conversation: CONVERSATION, after, up_to: Seq(after.0 + 200) };
        let page = records.changes(vec![range]).await.unwrap().remove(0);
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
}

fn unavailable<T>(answer: &Result<T, RecordsError>) -> bool {
    matches!(answer, Err(RecordsError::Unavailable { .. }))
}

#[tokio::test(flavor = "multi_thread")]
async fn thirty_two_writers_on_two_hosts_leave_no_gap() {
    const EACH: u64 = 10;
    let hosts = two_hosts(&PostgresServer::shared().fresh().await).await;
    let writers = (0..32).map(|writer| {
        let records = hosts[writer % 2].clone();
        tokio::spawn(async move {
            let mut sequence_numbers = Vec::new();
            for _ in 0..EACH {
                sequence_numbers.push(records.append_message(draft(None)).await.unwrap().change.seq.0);
            }
            sequence_numbers
        })
    });
    let mut sequence_numbers: Vec<u64> = join_all(writers).await.into_iter().flat_map(Result::unwrap).collect();
    sequence_numbers.sort_unstable();
    assert_eq!(sequence_numbers, (1..=32 * EACH).collect::<Vec<_>>());
    let counters = hosts[1].unread(vec![UnreadRequest::all(BOB)]).await.unwrap();
    assert_eq!(counters[0].counters[0].count, 32 * EACH);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_message_at_two_hosts_at_once_is_stored_once() {
    let hosts = two_hosts(&PostgresServer::shared().fresh().await).await;
    for id in 1..=50 {
        let both = hosts.each_ref().map(|records| records.append_message(draft(Some(id))));
        let answers: Vec<_> = join_all(both).await.into_iter().map(Result::unwrap).collect();
        assert_eq!(answers.iter().filter(|answer| answer.repeated).count(), 1);
        assert_eq!(answers[0].change, answers[1].change);
        assert_eq!(answers[0].change.seq, Seq(u64::try_from(id).unwrap()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_id_in_two_conversations_at_once_is_a_conflict_for_one() {
    let hosts = two_hosts(&PostgresServer::shared().fresh().await).await;
    create(&hosts[0], OTHER).await;
    for id in 1..=50 {
        let elsewhere = Draft { conversation: OTHER, ..draft(Some(id)) };
        let (here, there) = tokio::join!(hosts[0].append_message(draft(Some(id))), hosts[1].append_message(elsewhere));
        let conflicts = [&here, &there].map(|answer| matches!(answer, Err(RecordsError::Conflict(_))));
        assert_eq!(conflicts.iter().filter(|conflict| **conflict).count(), 1, "{here:?} {there:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_update_of_a_document_by_two_hosts_is_lost() {
    const EACH: u64 = 60;
    let config = PostgresServer::shared().fresh().await;
    let hosts = [open(&config).await, open(&config).await];
    let key = || DocumentKey::new(Owner::Conversation(CONVERSATION), "votes");
    let voting = hosts.clone().map(|records| {
        tokio::spawn(async move {
            for _ in 0..EACH {
                let vote = |votes: Option<&str>| {
                    let votes: u64 = votes.map_or(0, |votes| votes.parse().unwrap());
                    Ok((votes + 1).to_string())
                };
                // An update that lost every one of its attempts has changed nothing, and its caller may repeat it.
                let mut updated = Err(Error::Contended);
                while updated == Err(Error::Contended) {
                    updated = documents::update(&records, key(), vote).await;
                }
                updated.unwrap();
            }
        })
    });
    join_all(voting).await.into_iter().for_each(|voted| voted.unwrap());
    let votes = documents::read(&hosts[0], key()).await.unwrap().unwrap();
    assert_eq!((votes.version, votes.json), (2 * EACH, (2 * EACH).to_string()));
}

/// Ann sends every message and none is deleted, so every message after Bob's position is unread for Bob.
#[tokio::test(flavor = "multi_thread")]
async fn a_mark_that_races_messages_answers_an_exact_snapshot() {
    let hosts = two_hosts(&PostgresServer::shared().fresh().await).await;
    let writer = hosts[0].clone();
    let writing = tokio::spawn(async move {
        for _ in 0..150 {
            writer.append_message(draft(None)).await.unwrap();
        }
    });
    let (mut up_to, mut marks) = (None, 0);
    while !writing.is_finished() {
        let counter = hosts[1].mark_read(BOB, CONVERSATION, up_to).await.unwrap().counter;
        assert_eq!(counter.count, counter.seq.0 - counter.read.0, "{counter:?}");
        up_to = Some(counter.seq);
        marks += 1;
    }
    writing.await.unwrap();
    assert!(marks > 1, "{marks} marks while messages were written");
    let counter = hosts[1].mark_read(BOB, CONVERSATION, None).await.unwrap().counter;
    assert_eq!((counter.count, counter.read), (0, Seq(150)));
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_that_start_at_once_share_one_schema() {
    let config = PostgresServer::shared().fresh().await;
    let url = RecordsUrl::Postgres(config);
    for opened in join_all((0..6).map(|_| RecordStore::open(&url))).await {
        opened.unwrap().ready().await.unwrap();
    }
}

/// Each host changes everything about two conversations, in a different order.
#[tokio::test(flavor = "multi_thread")]
async fn concurrent_changes_of_all_kinds_never_deadlock() {
    let server = PostgresServer::start();
    let hosts = two_hosts(&server.fresh().await).await;
    create(&hosts[0], OTHER).await;
    let mixing = (0..8_usize).map(|worker| {
        let records = hosts[worker % 2].clone();
        tokio::spawn(async move {
            for round in 0..30 {
                mix(&records, worker, round).await;
            }
        })
    });
    join_all(mixing).await.into_iter().for_each(Result::unwrap);
    hosts[0].flush().await;
    hosts[1].flush().await;
    assert!(!server.log().contains("deadlock detected"), "{}", server.log());
}

async fn mix(records: &RecordStore, worker: usize, round: usize) {
    let conversation = if (worker + round).is_multiple_of(2) { CONVERSATION } else { OTHER };
    let third = UserId::from_u128(9);
    let change = MemberChange { conversation, actor: None, user: third, at: AT };
    let confirmations = [
        Confirmation::Member(CONVERSATION, BOB, 1),
        Confirmation::Contact(BOB, ANN, 1),
        Confirmation::Membership(OTHER, third, 1),
        Confirmation::Member(OTHER, BOB, 1),
    ];
    let answer = match (worker + round) % 7 {
        0 => records.add_member(change).await.map(|_| ()),
        1 => records.remove_member(change).await.map(|_| ()),
        2 => records.block(BOB, ANN).await,
        3 => records.unblock(BOB, ANN).await,
        4 => records.mark_read(BOB, conversation, None).await.map(|_| ()),
        5 => records.announced(confirmations.into()).await,
        _ => records.append_message(Draft { conversation, ..draft(None) }).await.map(|_| ()),
    };
    assert!(!unavailable(&answer), "{worker} {round}");
}

/// A client that repeats writes that were not acknowledged. Sends the numbers of acknowledged and refused writes.
async fn write_until(
    records: RecordStore,
    writer: u128,
    stop: watch::Receiver<bool>,
    progress: Arc<watch::Sender<(u64, u64)>>,
) -> BTreeSet<(MessageId, Seq)> {
    let mut acknowledged = BTreeSet::new();
    for number in 0.. {
        let id = writer << 64 | number;
        loop {
            match records.append_message(draft(Some(id))).await {
                Ok(changed) => {
                    acknowledged.insert((MessageId::from_u128(id), changed.change.seq));
                    progress.send_modify(|(stored, _)| *stored += 1);
                    break;
                }
                Err(RecordsError::Unavailable { retry_after_ms }) => {
                    progress.send_modify(|(_, refused)| *refused += 1);
                    tokio::time::sleep(Duration::from_millis(retry_after_ms.into())).await;
                }
                Err(other) => panic!("{other}"),
            }
        }
        if *stop.borrow() {
            break;
        }
    }
    acknowledged
}

/// Waits until so many writes are acknowledged and so many refused.
async fn wait_for_progress(progress: &mut watch::Receiver<(u64, u64)>, stored: u64, refused: u64) -> (u64, u64) {
    let enough = progress.wait_for(|now| now.0 >= stored && now.1 >= refused);
    *timeout(DEADLINE, enough).await.expect("in time").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_dies_under_load_loses_nothing_acknowledged() {
    let server = PostgresServer::start();
    let config = PostgresConfig { acquire_timeout: Duration::from_secs(2), ..server.fresh().await };
    let hosts = two_hosts(&config).await;
    let (stop, stopped) = watch::channel(false);
    let (progress, mut seen_progress) = watch::channel((0, 0));
    let progress = Arc::new(progress);
    let writers: Vec<_> = (0..8_usize)
        .map(|writer| {
            let records = hosts[writer % 2].clone();
            tokio::spawn(write_until(records, 1 + writer as u128, stopped.clone(), progress.clone()))
        })
        .collect();
    wait_for_progress(&mut seen_progress, 100, 0).await;
    server.stop_immediately();
    let (before, _) = wait_for_progress(&mut seen_progress, 100, 1).await;
    server.start_again();
    wait_for_progress(&mut seen_progress, before + 100, 1).await;
    stop.send_replace(true);
    let acknowledged: BTreeSet<_> = join_all(writers).await.into_iter().flat_map(Result::unwrap).collect();

    let stored = all_changes(&hosts[0]).await;
    let sequence_numbers: Vec<u64> = stored.iter().map(|change| change.seq.0).collect();
    assert_eq!(sequence_numbers, (1..=stored.len() as u64).collect::<Vec<_>>());
    let stored: BTreeSet<_> = stored.iter().map(|change| (change.message.id, change.seq)).collect();
    assert_eq!(stored, acknowledged);
}

/// A connection of no host, with an open transaction in which it has run this statement.
async fn open_transaction(config: &PostgresConfig, statement: &'static str) -> PgConnection {
    let mut connection = PgConnection::connect(&config.url.0).await.unwrap();
    connection.execute("BEGIN").await.unwrap();
    connection.execute(statement).await.unwrap();
    connection
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_waits_too_long_is_unavailable_and_succeeds_later() {
    let config = PostgresServer::shared().fresh().await;
    create(&open(&config).await, CONVERSATION).await;
    let hasty = open(&PostgresConfig { statement_timeout: Duration::from_millis(200), ..config.clone() }).await;

    let mut holding = open_transaction(&config, "SELECT 1 FROM conversations FOR UPDATE").await;
    assert!(unavailable(&hasty.append_message(draft(Some(1))).await));
    holding.execute("ROLLBACK; BEGIN; LOCK TABLE messages IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let history = HistoryQuery { user: ANN, conversation: CONVERSATION, before: None, limit: 10 };
    assert!(unavailable(&hasty.history(history).await));
    holding.close().await.unwrap();

    let deadline = async { while unavailable(&hasty.append_message(draft(Some(1))).await) {} };
    timeout(DEADLINE, deadline).await.expect("in time");
    assert_eq!(all_changes(&open(&config).await).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_without_a_free_connection_is_unavailable_in_time() {
    let config = PostgresServer::shared().fresh().await;
    create(&open(&config).await, CONVERSATION).await;
    // Long enough to connect on a busy machine.
    let short = Duration::from_secs(2);
    let narrow = open(&PostgresConfig { connections_max: 1, acquire_timeout: short, ..config.clone() }).await;
    let holding = open_transaction(&config, "SELECT 1 FROM conversations FOR UPDATE").await;
    let waiting = tokio::spawn({
        let records = narrow.clone();
        async move { records.append_message(draft(Some(1))).await }
    });
    let refused = async { while !unavailable(&narrow.contacts(ANN).await) {} };
    timeout(DEADLINE, refused).await.expect("in time");
    holding.close().await.unwrap();
    waiting.await.unwrap().unwrap();
    narrow.contacts(ANN).await.unwrap();
}

/// The problem that the operator reads, with the server's port replaced by `PORT`.
async fn problem(url: String) -> String {
    let server = PostgresServer::shared();
    let config = PostgresConfig { url: Secret(url), ..server.fresh().await };
    let error = RecordStore::open(&RecordsUrl::Postgres(config.clone())).await.unwrap_err();
    let shown = format!("{error} {error:?} {config:?}");
    for secret in [PASSWORD, "wr0ng-passw0rd"] {
        assert!(!shown.contains(secret), "{shown}");
    }
    let causes = std::iter::successors(std::error::Error::source(&error), |error| error.source());
    assert_eq!(causes.count(), 0, "a cause would be printed a second time: {error:?}");
    error.to_string().replace(&server.port().to_string(), "PORT")
}

/// A database on which these statements were run.
async fn prepared(statements: &'static str) -> String {
    let url = PostgresServer::shared().database().await;
    PgConnection::connect(&url).await.unwrap().execute(statements).await.unwrap();
    url
}

/// The text after the name of the database, which differs from run to run.
fn after_place(problem: &str) -> &str {
    let (place, problem) = problem.split_once(" at 127.0.0.1:PORT ").expect("the place of the server");
    assert!(place.contains("the records in the PostgreSQL database case_"), "{place}");
    problem
}

#[tokio::test]
async fn a_server_that_cannot_be_used_is_explained_in_one_sentence_without_the_password() {
    let server = PostgresServer::shared();
    let wrong = problem(server.url("postgres").replace(PASSWORD, "wr0ng-passw0rd")).await;
    assert_eq!(
        wrong,
        "cannot open the records in the PostgreSQL database postgres at 127.0.0.1:PORT: password authentication \
         failed for user \"roost\"; check the user and the password in records_url, and pg_hba.conf on the server"
    );
    assert_eq!(
        problem(server.url("no_such_database")).await,
        "cannot open the records in the PostgreSQL database no_such_database at 127.0.0.1:PORT: database \
         \"no_such_database\" does not exist; create it with CREATE DATABASE, or name an existing database in \
         records_url"
    );
    let unreachable = server.url("postgres").replace(&server.port().to_string(), "1");
    assert_eq!(
        problem(unreachable).await,
        "cannot open the records in the PostgreSQL database postgres at 127.0.0.1:1: the connection failed: \
         Connection refused (os error 111); check host and port in records_url, and that the server is running"
    );
}

#[tokio::test]
async fn a_database_whose_schema_cannot_be_updated_is_explained_in_one_sentence() {
    let foreign = problem(prepared("CREATE TABLE conversations (title text)").await).await;
    assert_eq!(
        after_place(&foreign),
        "up to date: relation \"conversations\" already exists; the database belongs to another application; name an \
         empty database in records_url"
    );
    let newer = PostgresServer::shared().database().await;
    let config = PostgresConfig { url: Secret(newer.clone()), ..PostgresServer::shared().fresh().await };
    open(&config).await.close().await;
    let later = "INSERT INTO _sqlx_migrations VALUES (99, 'later', now(), true, '', 0)";
    PgConnection::connect(&newer).await.unwrap().execute(later).await.unwrap();
    assert_eq!(
        after_place(&problem(newer).await),
        "up to date: the schema has migration 99, but this version of Roost knows migrations up to 7; start the newer \
         version that wrote the schema"
    );
    let read_only = "DO $$ BEGIN
        EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = on', current_database()); END $$";
    let standby = problem(prepared(read_only).await).await;
    assert_eq!(
        after_place(&standby),
        "up to date: cannot execute CREATE TABLE in a read-only transaction; the server is read-only; name the primary \
         server in records_url, not a standby"
    );
}
