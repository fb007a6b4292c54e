//! Checks how SQLite carries out the statements: every one uses the indexes, and none counts unread or deleted messages
//! one by one.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use roost_core::limits::RECEIPT_MESSAGES_MAX;
use sqlx::{AssertSqlSafe, Connection, Executor, Row, SqliteConnection};

use super::super::sql::{Columns, Parameter, SqlConnection};
use super::MIGRATIONS;
use super::dialect::STATEMENTS;

/// What a plan may scan: the caller's list, the page just selected, the three rows of a count, the levels of ranges.
const SMALL_SCANS: [&str; 9] = [
    "SCAN json_each",
    "SCAN pair",
    "SCAN asked",
    "SCAN page",
    "SCAN few",
    "SCAN shown",
    "SCAN one",
    "SCAN CONSTANT ROW",
    "SCAN 4-ROW VALUES CLAUSE",
];

async fn connection() -> SqliteConnection {
    let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
    MIGRATIONS.run(&mut connection).await.unwrap();
    connection
}

/// A step of a plan. Of several loops with one parent, each is inside those before it.
#[derive(Debug)]
struct PlanStep {
    parent: i64,
    detail: String,
}

async fn plan(connection: &mut SqliteConnection, statement: &str) -> Vec<PlanStep> {
    let explain = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}"));
    let rows = connection.fetch_all(explain).await.unwrap_or_else(|error| panic!("{error} in {statement}"));
    rows.iter().map(|row| PlanStep { parent: row.get("parent"), detail: row.get("detail") }).collect()
}

async fn all_plans() -> Vec<(&'static str, Vec<PlanStep>)> {
    let mut connection = connection().await;
    let mut plans = Vec::new();
    for (name, sql) in STATEMENTS.all() {
        for statement in sql.split(';') {
            plans.push((name, plan(&mut connection, statement).await));
        }
    }
    plans
}

#[tokio::test]
async fn no_statement_scans_a_table() {
    for (name, steps) in all_plans().await {
        for PlanStep { detail: step, .. } in &steps {
            // The probe reads the first row only.
            let scans =
                name != "probe" && step.starts_with("SCAN") && !SMALL_SCANS.iter().any(|small| step.starts_with(small));
            assert!(!scans, "{name}: {step} in {steps:#?}");
        }
    }
}

/// Inside another loop, a list would be read again for each of its rows, and those may be all rows of a table that have
/// one column in common.
#[tokio::test]
async fn a_list_of_the_caller_is_read_once() {
    let mut lists = 0;
    for (name, steps) in all_plans().await {
        let mut outer_loops = BTreeSet::new();
        for PlanStep { parent, detail } in &steps {
            let is_list = detail.starts_with("SCAN") && detail.contains("VIRTUAL TABLE");
            lists += usize::from(is_list);
            assert!(!is_list || !outer_loops.contains(parent), "{name}: {detail} is inside another loop of {steps:#?}");
            if detail.starts_with("SCAN") || detail.starts_with("SEARCH") {
                outer_loops.insert(*parent);
            }
        }
    }
    assert!(lists > 20, "{lists} lists were found");
}

/// Of the messages behind a position, a counter looks up the newest own one, and reads the deleted ones of one range.
#[tokio::test]
async fn counting_reads_no_messages_but_the_newest_own_one_and_the_deleted_ones_of_a_range() {
    let allowed = [
        "SEARCH s USING COVERING INDEX messages_of_sender (sender=? AND conversation=?)",
        "SEARCH s USING COVERING INDEX messages_deleted (conversation=? AND seq>? AND seq<?)",
    ];
    let plans = all_plans().await;
    let counts: Vec<_> = plans.iter().filter(|(name, _)| name.starts_with("counters")).collect();
    assert_eq!(counts.len(), 2);
    for (name, steps) in counts {
        let details = || steps.iter().map(|step| &step.detail);
        let of_messages: Vec<&String> = details().filter(|step| step.contains(" s ")).collect();
        assert_eq!(of_messages, allowed, "{name}: {steps:#?}");
        let ranges = details().filter(|step| step.starts_with("SEARCH d USING PRIMARY KEY"));
        let bounded = ranges.filter(|step| step.ends_with("conversation=? AND level=? AND number>? AND number<?)"));
        assert_eq!(bounded.count(), 2, "{name}: {steps:#?}");
    }
}

/// The order of the counters is that of the lists that are walked: nothing sorts them.
#[tokio::test]
async fn counters_are_read_in_the_order_of_the_users_and_their_conversations() {
    let plans = all_plans().await;
    let (_, steps) = plans.iter().find(|(name, _)| *name == "counters_of_users").unwrap();
    let walks: Vec<&str> =
        steps.iter().map(|step| step.detail.as_str()).filter(|step| !step.contains(" s ")).take(2).collect();
    assert!(walks[0].starts_with("SCAN pair"), "{steps:#?}");
    assert_eq!(walks[1], "SEARCH m USING INDEX members_by_user (user=? AND conversation>?)", "{steps:#?}");
}

#[tokio::test]
async fn history_and_changes_need_no_sorting() {
    for (name, steps) in all_plans().await {
        let sorts = steps.iter().any(|step| step.detail.contains("TEMP B-TREE"));
        assert!(!sorts || name.starts_with("conversations"), "{name}: {steps:#?}");
    }
}

/// The driver binds the parameters of several statements in one text by their numbers. But a statement that leaves out
/// a number counts as having one more without a number, and once these are more than the values, the driver stops.
#[test]
fn no_text_of_several_statements_leaves_out_more_parameters_than_it_has() {
    let uses = |statement: &str, number: usize| statement.contains(&format!("?{number}"));
    for (name, text) in STATEMENTS.all() {
        let values = (1..10).filter(|number| uses(text, *number)).max().unwrap_or(0);
        let mut left_out = 0;
        for statement in text.split(';') {
            let highest = (1..10).filter(|number| uses(statement, *number)).max().unwrap_or(0);
            left_out += (1..highest).filter(|number| !uses(statement, *number)).count();
            assert!(left_out <= values, "{name}: {statement}");
        }
    }
}

const READER: u128 = 1;
const SENDER: u128 = 2;
const OTHER_SENDER: u128 = 3;

/// A conversation of three members. Two of them send messages in turn, and half of the messages of each are deleted.
fn load(conversation: u128, count: u128) -> String {
    let id = |number: u128| format!("x'{number:032x}'");
    let (reader, one, other) = (id(READER), id(SENDER), id(OTHER_SENDER));
    let (whole, conversation) = (conversation * 1_000_000, id(conversation));
    format!(
        "INSERT INTO conversations (id, creator, seq, updated_at, sent, last_deleted)
            VALUES ({conversation}, {one}, {count}, 1, {count}, {count} / 4 * 4);
        INSERT INTO members (conversation, user, joined, read)
            VALUES ({conversation}, {reader}, 0, 0), ({conversation}, {one}, 0, 0), ({conversation}, {other}, 0, 0);
        INSERT INTO messages
            (id, conversation, seq, sender, kind, content, created_at, deleted, changed, sender_ordinal)
            WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {count})
            SELECT unhex(printf('%032x', {whole} + n)), {conversation}, n,
                CASE n % 2 WHEN 1 THEN {one} ELSE {other} END, 'text', 'hello', 1, n % 4 < 2, n, (n + 1) / 2 FROM n;
        INSERT INTO changes (conversation, seq, kind, message, sent)
            SELECT conversation, seq, 0, number, seq FROM messages WHERE conversation = {conversation};
        INSERT INTO deleted_ranges (conversation, level, number, deleted)
            SELECT conversation, l.column1, seq >> l.column2, count(*)
            FROM messages CROSS JOIN (VALUES (1, 6), (2, 12), (3, 18), (4, 24)) AS l
            WHERE conversation = {conversation} AND deleted = 1 GROUP BY 1, 2, 3;
        INSERT INTO deleted_ranges_of_senders (sender, conversation, level, number, deleted)
            SELECT sender, conversation, l.column1, seq >> l.column2, count(*)
            FROM messages CROSS JOIN (VALUES (1, 6), (2, 12), (3, 18), (4, 24)) AS l
            WHERE conversation = {conversation} AND deleted = 1 GROUP BY 1, 2, 3, 4;"
    )
}

async fn loaded(conversations: &[(u128, u128)]) -> SqliteConnection {
    let mut connection = connection().await;
    for (conversation, count) in conversations {
        connection.execute(AssertSqlSafe(load(*conversation, *count))).await.unwrap();
    }
    connection
}

fn member(conversation: u128, user: u128) -> Vec<Parameter> {
    vec![Parameter::Members(vec![(conversation, user)])]
}

fn mark(conversation: u128, user: u128, read: u64) -> Vec<Parameter> {
    vec![Parameter::Id(conversation), Parameter::Id(user), Parameter::Number(1), read.into()]
}

async fn counted_one_by_one(connection: &mut SqliteConnection, user: u128, read: i64) -> i64 {
    let text = "SELECT count(*) FROM messages WHERE seq > ?1 AND deleted = 0 AND sender <> ?2";
    let query = sqlx::query_scalar(text).bind(read).bind(user.to_be_bytes().to_vec());
    query.fetch_one(connection).await.unwrap()
}

#[tokio::test]
async fn counters_over_several_levels_of_ranges_are_exact() {
    let mut connection = loaded(&[(7, 20_000)]).await;
    let positions =
        [0, 1, 2, 62, 63, 64, 65, 127, 128, 1_000, 4_094, 4_095, 4_096, 4_097, 8_191, 8_192, 19_999, 20_000];
    for read in positions {
        for user in [READER, SENDER, OTHER_SENDER] {
            if read > 0 {
                connection.rows(STATEMENTS.mark_read, mark(7, user, read)).await.unwrap();
            }
            let rows = connection.rows(STATEMENTS.counters_of_members, member(7, user)).await.unwrap();
            let counted = counted_one_by_one(&mut connection, user, i64::try_from(read).unwrap()).await;
            assert_eq!(rows[0].number(5).unwrap(), counted, "user {user} read up to {read}");
        }
    }
}

/// The number of loops that SQLite's virtual machine makes for a statement.
async fn loops(connection: &mut SqliteConnection, statement: &'static str, parameters: Vec<Parameter>) -> u64 {
    let loops = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&loops);
    let count = move || {
        counted.fetch_add(1, Ordering::Relaxed);
        true
    };
    connection.lock_handle().await.unwrap().set_progress_handler(1, count);
    connection.rows(statement, parameters).await.unwrap();
    connection.lock_handle().await.unwrap().remove_progress_handler();
    loops.load(Ordering::Relaxed)
}

/// The ranges of four levels and one range of messages, for all senders and for one, with some room.
const LOOPS_MAX: u64 = 2_000;

#[tokio::test]
async fn no_statement_reads_more_where_more_is_unread() {
    const QUIET: u128 = 7;
    const BUSY: u128 = 8;
    let mut connection = loaded(&[(QUIET, 12), (BUSY, 60_000)]).await;
    let message = |conversation: u128, number: u128| Parameter::Id(conversation * 1_000_000 + number);
    for (conversation, newest, middle) in [(QUIET, 12, 6), (BUSY, 60_000, 30_000)] {
        let change = |seq: u64, number: u128| {
            vec![Parameter::Id(conversation), seq.into(), Parameter::Number(1), message(conversation, number)]
        };
        let mut edited = change(newest + 1, 2);
        edited.push("edited".into());
        let named = |id: u128| vec![Parameter::Ids(vec![id])];
        let cases = [
            ("counters", STATEMENTS.counters_of_members, member(conversation, READER)),
            ("counters of a sender", STATEMENTS.counters_of_members, member(conversation, SENDER)),
            ("edit", STATEMENTS.edit, edited),
            ("delete", STATEMENTS.delete, change(newest + 2, 3)),
            ("state", STATEMENTS.conversation_state, vec![Parameter::Id(conversation), Parameter::Id(READER)]),
            ("positions", STATEMENTS.read_positions, vec![Parameter::Id(conversation)]),
            ("last message", STATEMENTS.last_messages, named(conversation)),
            (
                "authors",
                STATEMENTS.authors,
                vec![Parameter::Id(conversation), 0_u64.into(), newest.into(), u64::from(RECEIPT_MESSAGES_MAX).into()],
            ),
            ("mark", STATEMENTS.mark_read, mark(conversation, READER, middle)),
            ("counters behind the mark", STATEMENTS.counters_of_members, member(conversation, READER)),
        ];
        for (name, statement, parameters) in cases {
            let loops = loops(&mut connection, statement, parameters).await;
            assert!(loops < LOOPS_MAX, "{name} makes {loops} loops with {newest} messages");
        }
    }
    // A fill counts every conversation of the user.
    let everything = vec![Parameter::Members(vec![(0, READER)]), Parameter::Number(100)];
    let filled = loops(&mut connection, STATEMENTS.counters_of_users, everything).await;
    assert!(filled < 2 * LOOPS_MAX, "a fill makes {filled} loops");
    let one_by_one = loops(&mut connection, "SELECT count(*) FROM messages WHERE deleted = 0", Vec::new()).await;
    assert!(one_by_one > 10 * LOOPS_MAX, "counting one by one makes {one_by_one} loops only");
}
