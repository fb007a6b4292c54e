//! The records in a PostgreSQL database, which any number of hosts may share.
//!
//! A change locks its conversation's row first, so that sequence numbers have no gaps, however many hosts write. An
//! acknowledged write is committed. When the answer to a commit is lost, the write may have happened: the caller learns
//! that the records are unavailable, and repeating the write is harmless.

mod dialect;
mod pool;

use std::str::FromStr;
use std::sync::LazyLock;
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, PgConnection};
use tokio::time::timeout;

use self::pool::ConnectionPool;
use super::sql::{
    Database, DatabaseOpenError, Queries, QueryResult, SqlConnection, SqlRecords, Statements, describe,
    describe_migration, migrator,
};
use crate::config::PostgresConfig;

/// The newest migration.
const SCHEMA_VERSION: i64 = 1;

/// All migrations, embedded, so that the binary brings its database up to date by itself.
static MIGRATIONS: LazyLock<Migrator> = LazyLock::new(|| {
    migrator(&[(SCHEMA_VERSION, "records", include_str!("../../../migrations/postgres/0001_records.sql"))])
});

/// The name of the connections in the server's list.
const APPLICATION: &str = "roost";

/// Every statement that a request may run, for a test of their plans.
pub const fn statements() -> &'static Statements {
    &dialect::STATEMENTS
}

/// A PostgreSQL database. Clones share its connections.
#[derive(Clone, Debug)]
pub struct Postgres(ConnectionPool);

/// Connects, after creating or updating the schema where needed. Hosts that start at once wait for each other. Needs a
/// tokio runtime.
pub(super) async fn open(config: &PostgresConfig) -> Result<SqlRecords<Postgres>, DatabaseOpenError> {
    let place = |options: &PgConnectOptions| {
        let database = options.get_database().unwrap_or_else(|| options.get_username());
        format!("the PostgreSQL database {database} at {}:{}", options.get_host(), options.get_port())
    };
    let open_error = |place: String, error: &sqlx::Error| DatabaseOpenError::Open {
        place,
        problem: describe::<PgConnection>(error),
    };
    let options = options(&config.url.0).map_err(|error| open_error("a PostgreSQL database".to_owned(), &error))?;
    let connection = connect(&options, config.acquire_timeout).await;
    let connection = connection.map_err(|error| open_error(place(&options), &error))?;
    migrate(connection).await.map_err(|error| DatabaseOpenError::Migrate {
        place: place(&options),
        problem: describe_migration::<PgConnection>(&error, SCHEMA_VERSION),
    })?;
    let database = Postgres(ConnectionPool::new(&options, config));
    Ok(SqlRecords::new(database))
}

fn options(url: &str) -> Result<PgConnectOptions, sqlx::Error> {
    Ok(PgConnectOptions::from_str(url)?.application_name(APPLICATION).disable_statement_logging())
}

async fn connect(options: &PgConnectOptions, within: Duration) -> Result<PgConnection, sqlx::Error> {
    let timed_out = |_| sqlx::Error::Io(std::io::ErrorKind::TimedOut.into());
    timeout(within, options.connect()).await.map_err(timed_out)?
}

/// Brings the schema up to date, on a connection without time limits: building an index may take long, and so may
/// waiting for another host that builds it.
async fn migrate(mut connection: PgConnection) -> Result<(), MigrateError> {
    MIGRATIONS.run(&mut connection).await?;
    Ok(connection.close().await?)
}

impl Database for Postgres {
    type Connection = PgConnection;

    async fn read<T: Send>(&self, queries: impl Queries<PgConnection, T>) -> QueryResult<T> {
        self.0.read(&queries).await
    }

    async fn write<T: Send>(&self, queries: impl Queries<PgConnection, T>) -> QueryResult<T> {
        self.0.write(&queries).await
    }

    async fn probe(&self) -> QueryResult<()> {
        self.0.read(&move |sql| Box::pin(probe(sql))).await
    }

    async fn close(&self) {
        self.0.close().await;
    }
}

async fn probe(sql: &mut PgConnection) -> QueryResult<()> {
    sql.rows(dialect::STATEMENTS.probe, Vec::new()).await.map(|_| ())
}
