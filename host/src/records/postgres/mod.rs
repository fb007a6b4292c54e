//! The records in a PostgreSQL database, which any number of hosts may share.
//!
//! A change locks its conversation's row first, so that sequences have no gaps whatever the hosts do. What was
//! acknowledged is committed. When a commit's answer does not come, the write may have happened: the caller is told
//! that the records are unavailable, and repeating it is harmless.

mod dialect;
mod pool;
mod statements;

use std::str::FromStr;
use std::sync::LazyLock;
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, PgConnection};
use tokio::time::timeout;

use self::pool::Pool;
use super::sql::{Database, OpenError, Sql, SqlRecords, Statements, Stored, Work, migrator};
use crate::config::PostgresConfig;

/// The schema's history; embedded, so that the binary brings its database up to date by itself.
static MIGRATIONS: LazyLock<Migrator> =
    LazyLock::new(|| migrator(&[(1, "records", include_str!("../../../migrations/postgres/0001_records.sql"))]));

/// How the server lists its connections.
const APPLICATION: &str = "roost";

/// Every statement that a request leads to, for those who look at their plans.
pub const fn statements() -> &'static Statements {
    &statements::STATEMENTS
}

/// A PostgreSQL database. Clones share its connections.
#[derive(Clone, Debug)]
pub struct Postgres(Pool);

/// Connects, and creates or updates the schema first where needed. Hosts that start at once take turns. Needs a tokio
/// runtime.
pub(super) async fn open(config: &PostgresConfig) -> Result<SqlRecords<Postgres>, OpenError> {
    let place = |options: &PgConnectOptions| {
        let database = options.get_database().unwrap_or_else(|| options.get_username());
        format!("the PostgreSQL database {database} at {}:{}", options.get_host(), options.get_port())
    };
    let options = options(&config.url.0)
        .map_err(|source| OpenError::Open { place: "a PostgreSQL database".to_owned(), source })?;
    let failed = |source| OpenError::Open { place: place(&options), source };
    let connection = connect(&options, config.acquire_timeout).await.map_err(failed)?;
    migrate(connection).await.map_err(|source| OpenError::Migrate { place: place(&options), source })?;
    let database = Postgres(Pool::new(&options, config));
    Ok(SqlRecords::new(database))
}

fn options(url: &str) -> Result<PgConnectOptions, sqlx::Error> {
    Ok(PgConnectOptions::from_str(url)?.application_name(APPLICATION).disable_statement_logging())
}

async fn connect(options: &PgConnectOptions, within: Duration) -> Result<PgConnection, sqlx::Error> {
    let late = |_| sqlx::Error::Io(std::io::ErrorKind::TimedOut.into());
    timeout(within, options.connect()).await.map_err(late)?
}

/// On a connection without time limits: building an index takes as long as it takes, and so does waiting for a host
/// that does it.
async fn migrate(mut connection: PgConnection) -> Result<(), MigrateError> {
    MIGRATIONS.run(&mut connection).await?;
    Ok(connection.close().await?)
}

impl Database for Postgres {
    type Connection = PgConnection;

    async fn read<T: Send>(&self, question: impl Work<PgConnection, T>) -> Stored<T> {
        self.0.read(&question).await
    }

    async fn write<T: Send>(&self, change: impl Work<PgConnection, T>) -> Stored<T> {
        self.0.write(&change).await
    }

    async fn probe(&self) -> Stored<()> {
        self.0.read(&move |sql| Box::pin(probe(sql))).await
    }

    async fn close(&self) {
        self.0.close().await;
    }
}

async fn probe(sql: &mut PgConnection) -> Stored<()> {
    sql.rows(statements::STATEMENTS.probe, Vec::new()).await.map(|_| ())
}
