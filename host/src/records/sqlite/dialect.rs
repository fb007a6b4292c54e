//! SQLite's own types: ids are blobs of 16 bytes, lists go in as JSON and come out as one hexadecimal text.

use serde_json::json;
use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Row, SqliteConnection, ValueRef};

use super::super::sql::{Columns, Read, Sql, Statements, Stored, Value, decode};
use super::statements::STATEMENTS;

impl Sql for SqliteConnection {
    type Row = SqliteRow;

    const STATEMENTS: &'static Statements = &STATEMENTS;

    async fn rows(&mut self, statement: &'static str, values: Vec<Value>) -> Stored<Vec<SqliteRow>> {
        let query = values.into_iter().fold(sqlx::query(statement), bind);
        Ok(query.fetch_all(self).await?)
    }
}

type SqliteQuery<'q> = Query<'q, sqlx::Sqlite, SqliteArguments>;

fn bind(query: SqliteQuery<'_>, value: Value) -> SqliteQuery<'_> {
    let hex = |bits: u128| format!("{bits:032x}");
    let list: Vec<serde_json::Value> = match value {
        Value::Id(bits) => return query.bind(bits.to_be_bytes().to_vec()),
        Value::Number(number) => return query.bind(number),
        Value::Text(text) => return query.bind(text),
        Value::Ids(ids) => ids.into_iter().map(|id| json!(hex(id))).collect(),
        Value::Pairs(pairs) => pairs.into_iter().map(|(one, other)| json!([hex(one), hex(other)])).collect(),
        Value::Steps(steps) => steps.into_iter().map(|(id, seq)| json!([hex(id), seq])).collect(),
        Value::Moves(moves) => {
            moves.into_iter().map(|(one, other, moves)| json!([hex(one), hex(other), moves])).collect()
        }
    };
    query.bind(serde_json::Value::Array(list).to_string())
}

impl Columns for SqliteRow {
    fn bits(&self, column: usize) -> Read<u128> {
        let bytes: &[u8] = self.try_get(column)?;
        Ok(u128::from_be_bytes(bytes.try_into().map_err(decode)?))
    }

    fn all_bits(&self, column: usize) -> Read<Vec<u128>> {
        let text: Option<&str> = self.try_get(column)?;
        let digits = text.unwrap_or_default().as_bytes().chunks(32);
        let read = |digits| {
            let digits = std::str::from_utf8(digits).map_err(decode)?;
            u128::from_str_radix(digits, 16).map_err(decode)
        };
        let mut ids = digits.map(read).collect::<Read<Vec<u128>>>()?;
        ids.sort_unstable();
        Ok(ids)
    }

    fn number(&self, column: usize) -> Read<i64> {
        self.try_get(column)
    }

    fn text(&self, column: usize) -> Read<String> {
        self.try_get(column)
    }

    fn flag(&self, column: usize) -> Read<bool> {
        self.try_get(column)
    }

    fn is_null(&self, column: usize) -> Read<bool> {
        Ok(self.try_get_raw(column)?.is_null())
    }
}
