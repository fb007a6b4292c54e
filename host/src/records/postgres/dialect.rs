//! PostgreSQL's own types: ids are `uuid`, lists are arrays, texts are bytes in UTF-8.

use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::{PgConnection, Row, ValueRef};
use uuid::Uuid;

use super::super::sql::{Columns, Read, Sql, Statements, Stored, Value, decode};
use super::statements::STATEMENTS;

impl Sql for PgConnection {
    type Row = PgRow;

    const STATEMENTS: &'static Statements = &STATEMENTS;

    async fn rows(&mut self, statement: &'static str, values: Vec<Value>) -> Stored<Vec<PgRow>> {
        let query = values.into_iter().fold(sqlx::query(statement), bind);
        Ok(query.fetch_all(self).await?)
    }
}

type PgQuery<'q> = Query<'q, sqlx::Postgres, PgArguments>;

/// Lists of several columns are as many parameters, one array for each.
fn bind(query: PgQuery<'_>, value: Value) -> PgQuery<'_> {
    match value {
        Value::Id(bits) => query.bind(Uuid::from_u128(bits)),
        Value::Number(number) => query.bind(number),
        Value::Text(text) => query.bind(text.into_bytes()),
        Value::Ids(ids) => query.bind(uuids(ids)),
        Value::Pairs(pairs) => {
            let (conversations, users): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
            query.bind(uuids(conversations)).bind(uuids(users))
        }
        Value::Steps(steps) => {
            let (conversations, seqs): (Vec<_>, Vec<_>) = steps.into_iter().unzip();
            query.bind(uuids(conversations)).bind(seqs)
        }
        Value::Moves(moves) => {
            let (conversations, users): (Vec<_>, Vec<_>) = moves.iter().map(|(one, other, _)| (*one, *other)).unzip();
            let moves: Vec<i64> = moves.into_iter().map(|(_, _, moves)| moves).collect();
            query.bind(uuids(conversations)).bind(uuids(users)).bind(moves)
        }
    }
}

fn uuids(ids: Vec<u128>) -> Vec<Uuid> {
    ids.into_iter().map(Uuid::from_u128).collect()
}

impl Columns for PgRow {
    fn bits(&self, column: usize) -> Read<u128> {
        Ok(self.try_get::<Uuid, _>(column)?.as_u128())
    }

    fn all_bits(&self, column: usize) -> Read<Vec<u128>> {
        let ids: Vec<Uuid> = self.try_get(column)?;
        Ok(ids.iter().map(Uuid::as_u128).collect())
    }

    fn number(&self, column: usize) -> Read<i64> {
        self.try_get(column)
    }

    fn text(&self, column: usize) -> Read<String> {
        String::from_utf8(self.try_get(column)?).map_err(decode)
    }

    fn flag(&self, column: usize) -> Read<bool> {
        self.try_get(column)
    }

    fn is_null(&self, column: usize) -> Read<bool> {
        Ok(self.try_get_raw(column)?.is_null())
    }
}
