//! What counting costs where little and where very much is unread: a fill, a mark-read, an edit and a deletion, in a
//! conversation with 10 unread messages and in one with millions, in SQLite and in PostgreSQL.
//!
//! The messages are inserted in bulk, a tenth of them deleted. The measured operations are those of the records, one
//! after the other, alternating between the quiet conversations and the busy one; every figure is a median. `--help`
//! lists the options.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "an unexpected value must end the benchmark"
)]

use std::time::Instant;

use clap::{Parser, value_parser};
use roost::config::{RecordsUrl, SqliteLocation};
use roost::records::RecordStore;
use roost_core::ids::{ConversationId, MessageId, Seq, UserId};
use roost_core::port::{Edit, Records, UnreadRequest};
use roost_core::time::Timestamp;
use roost_tests::postgres::PostgresServer;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, SqliteConnection};

/// The allocator of the shipped binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The members of each conversation. The first one sends every message.
const MEMBERS: u64 = 20;
/// The messages of a quiet conversation, all unread.
const QUIET_MESSAGES: u64 = 10;
/// The number of the busy conversation. The quiet ones have the numbers from 1 on.
const BUSY: u64 = 1_000_000;
const AT: Timestamp = Timestamp(1_790_000_000_000);

/// Measures counting with few and with very many unread messages.
#[derive(Parser)]
struct Arguments {
    /// The number of unread messages in the busy conversation
    #[arg(long, default_value_t = 5_000_000, value_parser = value_parser!(u64).range(20_000..=100_000_000))]
    messages: u64,
    /// The number of measurements of each operation
    #[arg(long, default_value_t = 200, value_parser = value_parser!(u64).range(1..=1_000))]
    rounds: u64,
    /// Only one database: sqlite or postgres
    #[arg(long)]
    only: Option<String>,
    /// Passed by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(run(&arguments));
}

async fn run(arguments: &Arguments) {
    let runs = |name: &str| arguments.only.as_deref().is_none_or(|only| only == name);
    println!("| database | operation | 10 unread, µs | {} unread, µs | ratio |", arguments.messages);
    println!("| --- | --- | ---: | ---: | ---: |");
    if runs("sqlite") {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("records.db");
        let address = format!("sqlite://{}", file.display());
        let records = RecordStore::open(&RecordsUrl::Sqlite(SqliteLocation::File(file))).await.unwrap();
        let mut connection = SqliteConnection::connect(&address).await.unwrap();
        load(&mut connection, &SQLITE, arguments).await;
        measure("SQLite", &records, arguments).await;
    }
    if runs("postgres") {
        let config = PostgresServer::shared().fresh().await;
        let mut connection = PgConnection::connect(&config.url.0).await.unwrap();
        let records = RecordStore::open(&RecordsUrl::Postgres(config)).await.unwrap();
        load(&mut connection, &POSTGRES, arguments).await;
        connection.execute("VACUUM (ANALYZE)").await.unwrap();
        measure("PostgreSQL", &records, arguments).await;
    }
}

/// What differs between the databases in the bulk insert.
struct Dialect {
    /// The query of the numbers `n` from 1 to `{count}`.
    numbers: &'static str,
    /// An id from a number.
    id: &'static str,
    user_column: &'static str,
    true_value: &'static str,
    /// What a change names its message by.
    message_of_change: &'static str,
    begin: &'static str,
    /// The table `l` of the levels of ranges: `level`, and `bits`, by how many a sequence is shifted.
    levels: &'static str,
}

const SQLITE: Dialect = Dialect {
    numbers: "(WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {count}) SELECT n FROM s)",
    id: "unhex(printf('%032x', {number}))",
    user_column: "user",
    true_value: "1",
    message_of_change: "number",
    begin: "BEGIN IMMEDIATE",
    levels: "(SELECT column1 AS level, column2 AS bits FROM (VALUES (1, 6), (2, 12), (3, 18), (4, 24))) AS l",
};

const POSTGRES: Dialect = Dialect {
    numbers: "(SELECT n FROM generate_series(1, {count}::bigint) n)",
    id: "lpad(to_hex({number}), 32, '0')::uuid",
    user_column: "user_id",
    true_value: "true",
    message_of_change: "id",
    // Foreign keys are not checked row by row.
    begin: "SET session_replication_role = replica; BEGIN",
    levels: "(VALUES (1, 6), (2, 12), (3, 18), (4, 24)) AS l (level, bits)",
};

impl Dialect {
    fn numbers(&self, count: u64) -> String {
        self.numbers.replace("{count}", &count.to_string())
    }

    fn id(&self, number: &str) -> String {
        self.id.replace("{number}", number)
    }

    /// Inserts conversations with these numbers, of so many messages each.
    fn insert(&self, first: u64, conversations: u64, messages: u64) -> Vec<String> {
        let conversation = self.id(&format!("({first} + c.n)"));
        let user = |member: &str| self.id(&format!("(({first} + c.n) * 100 + {member})"));
        let message = self.id(&format!("(({first} + c.n) * 1000000000 + m.n)"));
        let (all, members, sent) = (self.numbers(conversations), self.numbers(MEMBERS), self.numbers(messages));
        let (creator, user_column) = (user("1"), self.user_column);
        let deleted = format!("m.n % 10 = 0 AND {messages} > {QUIET_MESSAGES}");
        let last_deleted = if messages > QUIET_MESSAGES { messages / 10 * 10 } else { 0 };
        vec![
            format!(
                "INSERT INTO conversations (id, creator, seq, updated_at, sent, last_deleted)
                 SELECT {conversation}, {creator}, {messages}, 1, {messages}, {last_deleted} FROM {all} c"
            ),
            format!(
                "INSERT INTO members (conversation, {user_column}, joined, read)
                 SELECT {conversation}, {}, 0, 0 FROM {all} c CROSS JOIN {members} m",
                user("m.n")
            ),
            format!(
                "INSERT INTO messages
                    (id, conversation, seq, sender, kind, content, created_at, deleted, changed, sender_ordinal)
                 SELECT {message}, {conversation}, m.n, {creator}, 'text', 'See you at eight', 1, {deleted}, m.n, m.n
                 FROM {all} c CROSS JOIN {sent} m"
            ),
        ]
    }

    /// Inserts what follows from the messages: the changes, and the ranges of deleted messages.
    fn derive(&self) -> Vec<String> {
        let ranges = |table: &str, key: &str| {
            format!(
                "INSERT INTO {table} ({key}, level, number, deleted)
                 SELECT {key}, l.level, seq >> l.bits, count(*) FROM messages CROSS JOIN {}
                 WHERE deleted = {} GROUP BY {key}, l.level, seq >> l.bits",
                self.levels, self.true_value
            )
        };
        vec![
            format!(
                "INSERT INTO changes (conversation, seq, kind, message, sent)
                 SELECT conversation, seq, 0, {}, seq FROM messages",
                self.message_of_change
            ),
            ranges("deleted_ranges", "conversation"),
            ranges("deleted_ranges_of_senders", "sender, conversation"),
        ]
    }
}

/// Inserts the quiet conversations and the busy one.
async fn load<C>(connection: &mut C, dialect: &Dialect, arguments: &Arguments)
where
    C: Connection,
    for<'c> &'c mut C: Executor<'c, Database = C::Database>,
{
    let mut statements = vec![dialect.begin.to_owned()];
    statements.extend(dialect.insert(0, arguments.rounds, QUIET_MESSAGES));
    statements.extend(dialect.insert(BUSY - 1, 1, arguments.messages));
    statements.extend(dialect.derive());
    statements.push("COMMIT".to_owned());
    for statement in statements {
        connection.execute(sqlx::raw_sql(AssertSqlSafe(statement))).await.unwrap();
    }
}

fn conversation(number: u64) -> ConversationId {
    ConversationId::from_u128(number.into())
}

fn member(conversation: u64, number: u64) -> UserId {
    UserId::from_u128((conversation * 100 + number).into())
}

fn message(conversation: u64, number: u64) -> MessageId {
    MessageId::from_u128((conversation * 1_000_000_000 + number).into())
}

/// An operation of the records that counts, or that changes what is counted.
#[derive(Clone, Copy)]
enum Measured {
    Fill,
    Mark,
    Edit,
    Delete,
}

/// Measures every operation in the quiet conversations and in the busy one.
async fn measure(database: &str, records: &RecordStore, arguments: &Arguments) {
    // Marking comes last: until then everything is unread.
    let operations = [
        ("fill", Measured::Fill),
        ("edit", Measured::Edit),
        ("delete", Measured::Delete),
        ("mark-read", Measured::Mark),
    ];
    for (name, operation) in operations {
        let (mut quiet, mut busy) = (Vec::new(), Vec::new());
        for round in 0..arguments.rounds {
            quiet.push(time(records, operation, (round + 1, 5)).await);
            // Every tenth message is deleted already, and these are not.
            let spread = (round + 1) * (arguments.messages / (arguments.rounds + 1)) / 10 * 10 + 5;
            busy.push(time(records, operation, (BUSY, spread)).await);
        }
        let (quiet, busy) = (median(quiet), median(busy));
        println!("| {database} | {name} | {quiet:.0} | {busy:.0} | {:.2} |", busy / quiet);
    }
}

/// The time of an operation about this message of the conversation, in µs.
async fn time(records: &RecordStore, operation: Measured, (number, seq): (u64, u64)) -> f64 {
    let (id, reader) = (conversation(number), member(number, 2 + seq % (MEMBERS - 1)));
    let (sender, message) = (member(number, 1), message(number, seq));
    let began = Instant::now();
    match operation {
        Measured::Fill => {
            let request = UnreadRequest::all(reader);
            let snapshots = records.unread(vec![request]).await.unwrap();
            assert_eq!(snapshots[0].counters.len(), 1);
        }
        Measured::Mark => drop(records.mark_read(reader, id, Some(Seq(seq))).await.unwrap()),
        Measured::Edit => {
            let edit = Edit { conversation: id, message, editor: sender, content: "At nine".into(), at: AT };
            assert!(!records.edit_message(edit).await.unwrap().repeated);
        }
        Measured::Delete => assert!(!records.delete_message(id, message, Some(sender), AT).await.unwrap().repeated),
    }
    began.elapsed().as_secs_f64() * 1e6
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
