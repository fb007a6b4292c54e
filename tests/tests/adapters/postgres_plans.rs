//! Holds every statement of the PostgreSQL adapter to the indexes, with a million messages: no plan reads a big table
//! from end to end, neither the plan for these parameters nor the one for any. Prints how long each takes.

use std::collections::BTreeMap;

use roost::config::RecordsUrl;
use roost::records::{RecordStore, postgres_statements};
use roost_tests::postgres::PostgresServer;
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row};

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

/// 4,000 conversations of 8 among 4,000 users, 250 messages in each. Foreign keys are not checked row by row.
const LOAD: &str = "
    SET session_replication_role = replica;
    INSERT INTO conversations SELECT an_id(1, c), an_id(2, c), 250, c FROM generate_series(1, 4000) c;
    INSERT INTO members SELECT an_id(1, c), an_id(2, 1 + (c * 7 + n * 501) % 4000), 0, 100
        FROM generate_series(1, 4000) c, generate_series(0, 7) n;
    INSERT INTO messages SELECT an_id(3, (c - 1) * 250 + s), an_id(1, c), s,
            an_id(2, 1 + (c * 7 + s % 8 * 501) % 4000), 'text', 'as long as what people say', s, NULL, s % 50 = 0, s
        FROM generate_series(1, 4000) c, generate_series(1, 250) s;
    INSERT INTO changes SELECT conversation, seq, 0, id FROM messages;
    INSERT INTO unannounced_changes SELECT an_id(1, c), s, c
        FROM generate_series(1, 4000, 4) c, generate_series(241, 250) s;
    INSERT INTO unannounced_members SELECT conversation, user_id, 1, 1 FROM members;
    INSERT INTO contacts SELECT an_id(2, u), an_id(2, 1 + (u + n + 4000) % 4000)
        FROM generate_series(1, 4000) u, generate_series(-10, 10) n WHERE n <> 0;
    INSERT INTO blocks SELECT an_id(2, u), an_id(2, 1 + (u + n) % 4000)
        FROM generate_series(1, 4000) u, generate_series(1, 3) n;
    INSERT INTO documents SELECT 0, an_id(2, u), convert_to(kept.function_name, 'UTF8'),
            convert_to('settings ' || n, 'UTF8'), 1, '{}'
        FROM generate_series(1, 4000) u, (VALUES ('polls'), ('reminders')) kept(function_name), generate_series(1, 5) n;
    RESET session_replication_role;";

/// The adapter forbids sequential scans on its connections. Confirmations, for which no request waits, need that;
/// everything else must do without.
fn settings(name: &str, mode: &str) -> String {
    let scans = if name.starts_with("announced") { "off" } else { "on" };
    format!("SET jit = off; SET enable_seqscan = {scans}; SET plan_cache_mode = {mode}")
}

/// Parameters of each statement, of everyday size. Conversation 7 has users 50 and 551.
const PARAMETERS: &[(&str, &str)] = &[
    ("lock_conversation", "an_id(1, 7)"),
    ("lock_member", "an_id(1, 7), an_id(2, 50)"),
    ("lock_user", "an_id(2, 50)"),
    ("lock_pair", "an_id(2, 50), an_id(2, 551)"),
    ("conversation_state", "an_id(1, 7), an_id(2, 50)"),
    ("message", "an_id(3, 1600)"),
    ("append", "an_id(1, 7), 251, 9999, an_id(4, 1), an_id(2, 50), 'text', 'hello'"),
    ("edit", "an_id(1, 7), 251, 9999, an_id(3, 1600), 'hello'"),
    ("delete", "an_id(1, 7), 251, 9999, an_id(3, 1600)"),
    ("mark_read", "an_id(1, 7), an_id(2, 50), 9999, 200"),
    ("counters_of_users", "ids(2, 20)"),
    ("counters_of_members", "ids(1, 50), first_members(50)"),
    ("changes", "an_id(1, 7), 10, 200, 256"),
    ("last_messages", "ids(1, 50)"),
    ("history", "an_id(1, 7), an_id(2, 50), 9223372036854775807, 51"),
    ("messages", "an_id(1, 7), an_id(2, 50), ids(3, 50)"),
    ("conversations", "an_id(2, 50), 9223372036854775807, 'ffffffff-ffff-ffff-ffff-ffffffffffff', 51"),
    ("conversations_named", "an_id(2, 50), ids(1, 50)"),
    ("users", "an_id(2, 50), 500"),
    ("conversation_ids", "an_id(1, 7), 500"),
    ("create_conversation", "an_id(1, 9000), an_id(2, 50), 1, ids(2, 20)"),
    ("add_member", "an_id(1, 7), an_id(2, 4001), 1, 250"),
    ("remove_member", "an_id(1, 7), an_id(2, 50), 1"),
    ("contacts", "an_id(2, 50)"),
    ("audience", "ids(2, 50)"),
    ("contact_count", "an_id(2, 50), an_id(2, 551)"),
    ("add_contact", "an_id(2, 50), an_id(2, 4001)"),
    ("remove_contact", "an_id(2, 50), an_id(2, 551)"),
    ("block_count", "an_id(2, 50), an_id(2, 551)"),
    ("block", "an_id(2, 50), an_id(2, 4001)"),
    ("unblock", "an_id(2, 50), an_id(2, 551)"),
    ("is_blocked", "an_id(2, 50), an_id(2, 551)"),
    ("pending_changes", "9999, 100"),
    ("pending_members", "9999, 100"),
    ("announced_changes", "ids(1, 50), numbers(245, 50)"),
    ("announced_members", "ids(1, 50), first_members(50), numbers(1, 50)"),
    ("lock_documents", "0, an_id(2, 50), 'polls'"),
    ("document_state", "0, an_id(2, 50), 'polls', 'settings 3'"),
    (
        "documents",
        "numbers(0, 50), ids(2, 50), array_fill('polls'::bytea, '{50}'), array_fill('settings 3'::bytea, '{50}')",
    ),
    ("document_names", "0, an_id(2, 50), 'polls'"),
    ("put_document", "0, an_id(2, 50), 'polls', 'settings 3', '[]'"),
    ("delete_document", "0, an_id(2, 50), 'polls', 'settings 3'"),
    ("probe", ""),
];

async fn loaded() -> PgConnection {
    let config = PostgresServer::shared().fresh().await;
    let records = RecordStore::open(&RecordsUrl::Postgres(config.clone())).await.unwrap();
    records.close().await;
    let mut connection = PgConnection::connect(&config.url.0).await.unwrap();
    for text in [MAKERS, LOAD, "VACUUM (ANALYZE)"] {
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
            if name.starts_with("counters") {
                let counting = plan_nodes(&plan["Plan"])
                    .into_iter()
                    .find(|plan_node| plan_node["Index Name"] == "messages_standing");
                assert_eq!(counting.unwrap()["Node Type"], "Index Only Scan", "{name}");
            }
        }
    }
}
