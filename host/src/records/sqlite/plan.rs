//! Holds every statement to the indexes: none reads a table from end to end.

use sqlx::{Connection, Executor, Row, SqliteConnection};

use super::MIGRATIONS;
use super::statements::STATEMENTS;

/// What a plan may read whole: the caller's list, the page just selected, the three rows of a count.
const SMALL: [&str; 5] = ["SCAN json_each", "SCAN pair", "SCAN page", "SCAN few", "SCAN CONSTANT ROW"];

async fn plan(connection: &mut SqliteConnection, statement: &str) -> Vec<String> {
    let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}"));
    let rows = connection.fetch_all(explain).await.unwrap_or_else(|error| panic!("{error} in {statement}"));
    rows.iter().map(|row| row.get::<String, _>("detail")).collect()
}

async fn plans() -> Vec<(&'static str, Vec<String>)> {
    let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
    MIGRATIONS.run(&mut connection).await.unwrap();
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
    for (name, steps) in plans().await {
        for step in &steps {
            // The smallest question takes the first row that there is.
            let whole =
                name != "probe" && step.starts_with("SCAN") && !SMALL.iter().any(|small| step.starts_with(small));
            assert!(!whole, "{name}: {step} in {steps:#?}");
        }
    }
}

#[tokio::test]
async fn counting_unread_touches_only_an_index() {
    let plans = plans().await;
    let counts = plans.iter().filter(|(name, _)| name.starts_with("counters"));
    for (name, steps) in counts {
        let counting = "SEARCH s USING COVERING INDEX messages_standing (conversation=? AND seq>?)";
        assert!(steps.iter().any(|step| step == counting), "{name}: {steps:#?}");
    }
}

#[tokio::test]
async fn history_and_changes_stop_at_their_limit() {
    for (name, steps) in plans().await {
        let sorts = steps.iter().any(|step| step.contains("TEMP B-TREE"));
        assert!(!sorts || name.starts_with("conversations"), "{name}: {steps:#?}");
    }
}
