//! Holds every statement of the PostgreSQL adapter to the indexes, with 400,000 messages: no plan reads a big table
//! from end to end, neither the plan for these parameters nor the one for any. Prints how long each takes. Counters are
//! exact, and what they cost does not follow the number of unread messages.

use std::collections::BTreeMap;

use roost::config::RecordsUrl;
use roost::records::{RecordStore, postgres_statements};
use roost_core::limits::RECEIPT_MESSAGES_MAX;
use roost_tests::postgres::PostgresServer;
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row};
use uuid::Uuid;

/// Makes ids of a kind (1 conversations, 2 users, 3 messages) and a number.
const MAKERS: &str = "
    CREATE FUNCTION an_id(kind int, number bigint) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
        SELECT (lpad(to_hex(kind), 8, '0') || '-0000-4000-8000-' || lpad(to_hex(number), 12, '0'))::uuid $$;
    CREATE FUNCTION ids(kind int, count int) RETURNS uuid[] LANGUAGE sql IMMUTABLE AS $$
        SELECT array_agg(an_id(kind, n)) FROM generate_series(1, count) n $$;
    CREATE FUNCTION first_members(count int) RETURNS uuid[] LANGUAGE sql IMMUTABLE AS $$
        SELECT array_agg(an_id(2, 1 + n * 7 % 4000)) FROM generate_series(1, count) n $$;
    CREATE FUNCTION numbers(number bigint, count int) RETURNS bigint[] LANGUAGE sql IMMUTABLE AS $$
        SELECT array_agg(number) FROM generate_series(1, count) $$;";

/// 4,000 conversations of 8 among 4,000 users, 100 messages in each. Foreign keys are not checked row by row.
const LOAD: &str = "
    SET session_replication_role = replica;
    INSERT INTO conversations SELECT an_id(1, c), an_id(2, c), 100, c, 100, 100 FROM generate_series(1, 4000) c;
    INSERT INTO members SELECT an_id(1, c), an_id(2, 1 + (c * 7 + n * 501) % 4000), 0, 40,
            40, (40 - n) / 8 + (n > 0)::int
        FROM generate_series(1, 4000) c, generate_series(0, 7) n;
    INSERT INTO messages SELECT an_id(3, (c - 1) * 100 + s), an_id(1, c), s,
            an_id(2, 1 + (c * 7 + s % 8 * 501) % 4000), 'text', 'as long as what people say', s, NULL, s % 50 = 0, s,
            (s + 7) / 8
        FROM generate_series(1, 4000) c, generate_series(1, 100) s;
    INSERT INTO changes SELECT conversation, seq, 0, id, seq FROM messages;
    INSERT INTO unannounced_changes SELECT an_id(1, c), s, c, s % 2, c
        FROM generate_series(1, 4000, 4) c, generate_series(91, 100) s;
    INSERT INTO unannounced_moves SELECT 0, conversation, user_id, 1, 1, get_byte(uuid_send(user_id), 15) % 2, 1
        FROM members;
    INSERT INTO pairs SELECT least(an_id(2, c), an_id(2, c + 4000)), greatest(an_id(2, c), an_id(2, c + 4000)), an_id(1, c)
        FROM generate_series(1, 4000) c;
    INSERT INTO contacts SELECT an_id(2, u), an_id(2, 1 + (u + n + 4000) % 4000)
        FROM generate_series(1, 4000) u, generate_series(-10, 10) n WHERE n <> 0;
    INSERT INTO blocks SELECT an_id(2, u), an_id(2, 1 + (u + n) % 4000)
        FROM generate_series(1, 4000) u, generate_series(1, 3) n;
    INSERT INTO documents SELECT 0, an_id(2, u), convert_to(kept.function_name, 'UTF8'),
            convert_to('settings ' || n, 'UTF8'), 1, '{}'
        FROM generate_series(1, 4000) u, (VALUES ('polls'), ('reminders')) kept(function_name), generate_series(1, 5) n;
    INSERT INTO function_documents SELECT convert_to('function ' || f, 'UTF8'), 1000 FROM generate_series(1, 1000) f;
    INSERT INTO user_conversations SELECT user_id, count(*) FROM members GROUP BY user_id;
    RESET session_replication_role;";

/// Conversation $1 of three members with $2 messages. Users 4002 and 4003 send in turn, and half of the messages of
/// each are deleted. User 4001 has read nothing.
const LOAD_ONE: &str = "
    INSERT INTO conversations VALUES (an_id(1, $1), an_id(2, 4002), $2, 1, $2, $2 / 4 * 4);
    INSERT INTO members SELECT an_id(1, $1), an_id(2, u), 0, 0 FROM generate_series(4001, 4003) u;
    INSERT INTO messages SELECT an_id(5, $1::bigint * 1000000 + s), an_id(1, $1), s, an_id(2, 4003 - s % 2), 'text', 'hello', s,
            NULL, s % 4 < 2, s, (s + 1) / 2
        FROM generate_series(1, $2) s;
    INSERT INTO changes SELECT conversation, seq, 0, id, seq FROM messages WHERE conversation = an_id(1, $1);";

/// Sums up the deleted messages in ranges, as the migration does.
const RANGES: &str = "
    INSERT INTO deleted_ranges SELECT conversation, level, seq >> bits, count(*)
        FROM messages, (VALUES (1, 6), (2, 12), (3, 18), (4, 24)) l (level, bits) WHERE deleted GROUP BY 1, 2, 3;
    INSERT INTO deleted_ranges_of_senders SELECT sender, conversation, level, seq >> bits, count(*)
        FROM messages, (VALUES (1, 6), (2, 12), (3, 18), (4, 24)) l (level, bits) WHERE deleted GROUP BY 1, 2, 3, 4;";

/// A conversation with 12 messages, and one with 60,000.
const QUIET: (i64, i64) = (5001, 12);
const BUSY: (i64, i64) = (5002, 60_000);

/// The adapter forbids sequential scans on its connections. Confirmations and postponements, for which no request
/// waits, need that; everything else must do without.
fn settings(name: &str, mode: &str) -> String {
    let scans = if name.starts_with("announced") || name.starts_with("postpone") { "off" } else { "on" };
    format!("SET jit = off; SET enable_seqscan = {scans}; SET plan_cache_mode = {mode}")
}

/// Parameters of each statement, of everyday size. Conversation 7 has users 50 and 551.
const PARAMETERS: &[(&str, &str)] = &[
    ("lock_conversation", "an_id(1, 7)"),
    ("lock_conversations", "ids(1, 50)"),
    ("lock_member", "an_id(1, 7), an_id(2, 50)"),
    ("lock_user", "an_id(2, 50)"),
    ("lock_pair", "an_id(2, 50), an_id(2, 551)"),
    ("conversation_state", "an_id(1, 7), an_id(2, 50)"),
    ("message", "an_id(3, 640)"),
    ("append", "an_id(1, 7), 101, 9999, an_id(4, 1), an_id(2, 50), 'text', 'hello'"),
    ("edit", "an_id(1, 7), 101, 9999, an_id(3, 640), 'hello'"),
    ("delete", "an_id(1, 7), 101, 9999, an_id(3, 640)"),
    ("read_positions", "an_id(1, 7)"),
    ("mark_read", "an_id(1, 7), an_id(2, 50), 9999, 90"),
    ("authors", "an_id(1, 7), 10, 90, 500"),
    ("blocked_with", "an_id(2, 50), ids(2, 20)"),
    ("counters_of_users", "ids(1, 20), ids(2, 20), 4001"),
    ("counters_of_members", "ids(1, 50), first_members(50)"),
    ("changes", "an_id(1, 7), 10, 90, 256"),
    ("last_messages", "ids(1, 50)"),
    ("history", "an_id(1, 7), an_id(2, 50), 9223372036854775807, 51"),
    ("messages", "an_id(1, 7), an_id(2, 50), ids(3, 50)"),
    ("conversations", "an_id(2, 50), 9223372036854775807, 'ffffffff-ffff-ffff-ffff-ffffffffffff', 51"),
    ("conversations_named", "an_id(2, 50), ids(1, 50)"),
    ("users", "an_id(2, 50), 500"),
    ("conversation_ids", "an_id(1, 7), 500"),
    ("create_conversation", "an_id(1, 9000), an_id(2, 50), 1, ids(2, 20)"),
    ("pair", "an_id(2, 50), an_id(2, 551)"),
    ("make_direct", "an_id(1, 5001), an_id(2, 50), an_id(2, 551)"),
    ("add_member", "an_id(1, 7), an_id(2, 4001), 1, 100"),
    ("remove_member", "an_id(1, 7), an_id(2, 50), 1"),
    ("contacts", "an_id(2, 50)"),
    ("blocks", "an_id(2, 50)"),
    ("audience", "ids(2, 50)"),
    ("contact_count", "an_id(2, 50), an_id(2, 551)"),
    ("add_contact", "an_id(2, 50), an_id(2, 4001), 1"),
    ("remove_contact", "an_id(2, 50), an_id(2, 551), 1"),
    ("block_count", "an_id(2, 50), an_id(2, 551)"),
    ("block", "an_id(2, 50), an_id(2, 4001), 1"),
    ("unblock", "an_id(2, 50), an_id(2, 551), 1"),
    ("relation", "an_id(2, 50), an_id(2, 551)"),
    ("pending_changes", "9999, 100, 5, an_id(1, 5), 91"),
    ("pending_moves", "9999, 100, -1, 0, an_id(1, 0), an_id(2, 0)"),
    ("tried_changes", "9999, 100, 5, an_id(1, 5), 91"),
    ("tried_moves", "9999, 100, -1, 0, an_id(1, 0), an_id(2, 0)"),
    ("postpone_changes", "ids(1, 50), numbers(95, 50), numbers(1, 50), numbers(9999, 50)"),
    ("postpone_moves", "0, ids(1, 50), first_members(50), numbers(1, 50), numbers(9999, 50)"),
    ("announced_changes", "ids(1, 50), numbers(95, 50)"),
    ("announced_moves", "0, ids(1, 50), first_members(50), numbers(1, 50)"),
    ("lock_documents", "0, an_id(2, 50), 'polls'"),
    ("document_state", "0, an_id(2, 50), 'polls', 'settings 3'"),
    (
        "documents",
        "numbers(0, 50), ids(2, 50), array_fill('polls'::bytea, '{50}'), array_fill('settings 3'::bytea, '{50}')",
    ),
    ("document_names", "0, an_id(2, 50), 'polls'"),
    ("put_document", "0, an_id(2, 50), 'polls', 'settings 3', '[]'"),
    ("delete_document", "0, an_id(2, 50), 'polls', 'settings 3'"),
    ("count_document_bytes", "'function 7', -520"),
    ("erase_documents", "0, an_id(2, 50)"),
    ("join_conversation", "ids(2, 20), 20000"),
    ("leave_conversation", "an_id(2, 50)"),
    ("leave_conversations", "ids(1, 50), an_id(2, 50), 1"),
    ("lock_counts", "an_id(2, 50), an_id(2, 551)"),
    ("is_any_blocked", "ids(2, 50)"),
    ("is_blocked_with_any", "an_id(2, 50), ids(2, 50)"),
    ("membership", "an_id(1, 7), an_id(2, 50)"),
    ("members", "an_id(1, 7), an_id(2, 50), 101, an_id(2, 50)"),
    ("lock_relations", "an_id(2, 50), ids(2, 20)"),
    ("erase_own_relations", "an_id(2, 50)"),
    ("added_by", "an_id(2, 50), 500"),
    ("blocked_by", "an_id(2, 50), 500"),
    ("erase_from_relations", "an_id(2, 50), ids(2, 20), 1"),
    ("conversations_of_user", "an_id(2, 50), 100"),
    ("forget_pairs", "ids(1, 50)"),
    ("kept_messages", "an_id(2, 50), 20"),
    ("created_by", "an_id(2, 50), 500"),
    ("set_creator", "ids(1, 50), an_id(2, 50)"),
    ("forget_count", "an_id(2, 50)"),
    ("probe", ""),
];

async fn loaded() -> PgConnection {
    let config = PostgresServer::shared().fresh().await;
    let records = RecordStore::open(&RecordsUrl::Postgres(config.clone())).await.unwrap();
    records.close().await;
    let mut connection = PgConnection::connect(&config.url.0).await.unwrap();
    for text in [MAKERS, LOAD] {
        connection.execute(text).await.unwrap();
    }
    for (conversation, count) in [QUIET, BUSY] {
        let text = LOAD_ONE.replace("$1", &conversation.to_string()).replace("$2", &count.to_string());
        connection.execute(AssertSqlSafe(text)).await.unwrap();
    }
    for text in [RANGES, "VACUUM (ANALYZE)"] {
        connection.execute(text).await.unwrap();
    }
    connection
}

/// The plan that the statement was run by, which leaves nothing behind.
async fn plan(connection: &mut PgConnection, settings: String, text: &str, parameters: &str) -> Value {
    let execute =
        if parameters.is_empty() { "EXECUTE statement".to_owned() } else { format!("EXECUTE statement({parameters})") };
    let prepare = AssertSqlSafe(format!("{settings}; PREPARE statement AS {text}; BEGIN"));
    connection.execute(prepare).await.unwrap();
    let explain = AssertSqlSafe(format!("EXPLAIN (ANALYZE, FORMAT JSON) {execute}"));
    let row = sqlx::raw_sql(explain).fetch_one(&mut *connection).await.unwrap();
    let plans: Vec<Value> = serde_json::from_str(row.get_unchecked(0)).unwrap();
    connection.execute("ROLLBACK; DEALLOCATE statement").await.unwrap();
    plans[0].clone()
}

/// Every step of a plan.
fn plan_nodes(plan: &Value) -> Vec<&Value> {
    let below = plan["Plans"].as_array().into_iter().flatten().flat_map(plan_nodes);
    std::iter::once(plan).chain(below).collect()
}

/// Reads a table, or an index, from one end.
fn is_full_scan(plan_node: &Value) -> bool {
    let kind = plan_node["Node Type"].as_str().unwrap();
    kind == "Seq Scan" || (kind.contains("Index") && plan_node["Index Cond"].is_null())
}

fn check(name: &str, plan: &Value) {
    for plan_node in plan_nodes(&plan["Plan"]) {
        // The smallest question takes the first row that there is.
        assert!(name == "probe" || !is_full_scan(plan_node), "{name}: {plan_node:#}");
    }
}

#[tokio::test]
async fn no_statement_scans_a_large_table() {
    let parameters: BTreeMap<_, _> = PARAMETERS.iter().copied().collect();
    let mut connection = loaded().await;
    for (name, text) in postgres_statements().all() {
        let parameters = parameters.get(name).unwrap_or_else(|| panic!("{name} has no parameters here"));
        for mode in ["force_custom_plan", "force_generic_plan"] {
            let plan = plan(&mut connection, settings(name, mode), text, parameters).await;
            println!("{name:20} {mode:18} {:8.3} ms", plan["Execution Time"].as_f64().unwrap());
            check(name, &plan);
        }
    }
    no_statement_reads_more_where_more_is_unread(&mut connection).await;
    counters_over_several_levels_of_ranges_are_exact(&mut connection).await;
}

/// The rows that the steps of a plan have read, also those that they left out.
fn rows_read(plan: &Value) -> f64 {
    let number = |node: &Value, name: &str| node[name].as_f64().unwrap_or(0.0);
    let of = |node: &&Value| {
        let left_out = number(node, "Rows Removed by Filter") + number(node, "Rows Removed by Index Recheck");
        (number(node, "Actual Rows") + left_out) * number(node, "Actual Loops")
    };
    plan_nodes(&plan["Plan"]).iter().map(of).sum()
}

/// The ranges of four levels and one range of messages, for all senders and for one, with some room. Counting one by
/// one would read 30,000.
const ROWS_MAX: f64 = 1_500.0;

async fn no_statement_reads_more_where_more_is_unread(connection: &mut PgConnection) {
    let texts: BTreeMap<_, _> = postgres_statements().all().collect();
    for (conversation, newest) in [QUIET, BUSY] {
        let (middle, next) = (newest / 2, newest + 1);
        let conversation_id = format!("an_id(1, {conversation})");
        let message = |number: i64| format!("an_id(5, {})", conversation * 1_000_000 + number);
        let changed = |number| format!("{conversation_id}, {next}, 1, {}", message(number));
        let cases = [
            ("counters_of_users", "ARRAY[an_id(1, 0)], ARRAY[an_id(2, 4001)], 4001".to_owned()),
            ("counters_of_members", format!("ARRAY[{conversation_id}], ARRAY[an_id(2, 4001)]")),
            ("counters_of_members", format!("ARRAY[{conversation_id}], ARRAY[an_id(2, 4002)]")),
            ("conversation_state", format!("{conversation_id}, an_id(2, 4001)")),
            ("mark_read", format!("{conversation_id}, an_id(2, 4001), 1, {middle}")),
            ("edit", format!("{}, 'edited'", changed(2))),
            ("delete", changed(3)),
            ("read_positions", conversation_id.clone()),
            ("last_messages", format!("ARRAY[{conversation_id}]")),
            ("authors", format!("{conversation_id}, 0, {newest}, {RECEIPT_MESSAGES_MAX}")),
        ];
        for (name, parameters) in cases {
            for mode in ["force_custom_plan", "force_generic_plan"] {
                let plan = plan(connection, settings(name, mode), texts[name], &parameters).await;
                let rows = rows_read(&plan);
                println!("{name:20} {mode:18} {rows:6} rows with {newest} messages");
                // A plan without rows is about something that does not exist.
                assert!((1.0..ROWS_MAX).contains(&rows), "{name} reads {rows} rows with {newest} messages: {plan:#}");
            }
        }
    }
}

async fn counters_over_several_levels_of_ranges_are_exact(connection: &mut PgConnection) {
    let id =
        |kind: u128, number: i64| Uuid::from_u128((kind << 96) | (0x4000_8000 << 48) | u128::try_from(number).unwrap());
    let conversation = id(1, BUSY.0);
    for read in [0_i64, 1, 62, 63, 64, 65, 4_094, 4_095, 4_096, 30_000, 59_998, 59_999, 60_000] {
        for user in [4001, 4002, 4003].map(|number| id(2, number)) {
            let mark = sqlx::query(postgres_statements().mark_read).bind(conversation).bind(user).bind(1_i64);
            if read > 0 {
                mark.bind(read).execute(&mut *connection).await.unwrap();
            }
            let counters = sqlx::query(postgres_statements().counters_of_members);
            let row = counters.bind(vec![conversation]).bind(vec![user]).fetch_one(&mut *connection).await.unwrap();
            let one_by_one = "SELECT count(*) FROM messages
                WHERE conversation = $1 AND seq > $2 AND NOT deleted AND sender <> $3";
            let counted = sqlx::query_scalar(one_by_one).bind(conversation).bind(read).bind(user);
            let counted: i64 = counted.fetch_one(&mut *connection).await.unwrap();
            assert_eq!(row.get::<i64, _>(5), counted, "user {user} read up to {read}");
        }
    }
}
