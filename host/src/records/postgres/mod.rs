//! The records in a PostgreSQL database, which any number of hosts may share.
//!
//! A change locks its conversation's row first, so that sequence numbers have no gaps, however many hosts write. An
//! acknowledged write is committed. When the answer to a commit is lost, the write may have happened: the caller learns
//! that the records are unavailable, and repeating the write is harmless.

#[macro_use]
mod fragments;

mod circuit;
mod dialect;
mod pool;
mod pooling;
mod session;

use std::str::FromStr;
use std::sync::LazyLock;
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, Executor, PgConnection};
use tokio::time::timeout;

use self::pool::{ConnectionPool, Kept, connect_timeout};
use self::session::PgSession;
use super::sql::{
    Columns, Database, DatabaseOpenError, Queries, QueryError, QueryResult, SqlConnection, SqlRecords, Statements,
    describe, describe_migration, migrator,
};
use crate::config::{Pooling, PostgresConfig};

/// The newest migration.
const SCHEMA_VERSION: i64 = 7;

/// All migrations, embedded, so that the binary brings its database up to date by itself. They take no lock of their
/// own, because it would belong to a session.
static MIGRATIONS: LazyLock<Migrator> = LazyLock::new(|| {
    let mut migrator = migrator(&[
        (1, "records", include_str!("../../../migrations/postgres/0001_records.sql")),
        (2, "counting", include_str!("../../../migrations/postgres/0002_counting.sql")),
        (3, "outbox", include_str!("../../../migrations/postgres/0003_outbox.sql")),
        (4, "user conversations", include_str!("../../../migrations/postgres/0004_user_conversations.sql")),
        (5, "pairs", include_str!("../../../migrations/postgres/0005_pairs.sql")),
        (6, "function documents", include_str!("../../../migrations/postgres/0006_function_documents.sql")),
        (SCHEMA_VERSION, "moves", include_str!("../../../migrations/postgres/0007_moves.sql")),
    ]);
    migrator.set_locking(false);
    migrator
});

/// Begins the transaction of the migrations. Hosts that start at once wait here for each other. Statements that an
/// earlier client has prepared in this session of a pooler would stand in the way.
const BEGIN_MIGRATIONS: &str = "BEGIN; SELECT pg_advisory_xact_lock(8245919053817460); DEALLOCATE ALL";

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
    let within = connect_timeout(config);
    let connection = connect(&options, within).await;
    let mut connection = connection.map_err(|error| open_error(place(&options), &error))?;
    let kept = match config.pooling {
        Pooling::Session => Kept::Session,
        Pooling::Transaction => Kept::Transaction,
        Pooling::Auto => pooling::find_out(&mut connection, &options, within).await,
    };
    migrate(connection).await.map_err(|error| DatabaseOpenError::Migrate {
        place: place(&options),
        problem: describe_migration::<PgConnection>(&error, SCHEMA_VERSION),
    })?;
    let database = Postgres(ConnectionPool::new(&options, config, kept));
    Ok(SqlRecords::new(database))
}

fn options(url: &str) -> Result<PgConnectOptions, sqlx::Error> {
    // Poolers refuse connections with parameters that they do not know, so everything else is set later.
    let options = PgConnectOptions::from_str(url)?.application_name(APPLICATION).extra_float_digits(None);
    Ok(options.disable_statement_logging())
}

async fn connect(options: &PgConnectOptions, within: Duration) -> Result<PgConnection, sqlx::Error> {
    let timed_out = |_| sqlx::Error::Io(std::io::ErrorKind::TimedOut.into());
    timeout(within, options.connect()).await.map_err(timed_out)?
}

/// Brings the schema up to date, on a connection without time limits: building an index may take long, and so may
/// waiting for another host that builds it. Everything is one transaction, which works behind every pooler.
async fn migrate(mut connection: PgConnection) -> Result<(), MigrateError> {
    let mut transaction = connection.begin_with(BEGIN_MIGRATIONS).await?;
    MIGRATIONS.run(&mut *transaction).await?;
    transaction.execute("DEALLOCATE ALL").await?;
    transaction.commit().await?;
    Ok(connection.close().await?)
}

impl Database for Postgres {
    type Connection = PgSession;

    async fn read<T: Send>(&self, queries: impl Queries<PgSession, T>) -> QueryResult<T> {
        self.0.read(&queries).await
    }

    async fn write<T: Send>(&self, queries: impl Queries<PgSession, T>) -> QueryResult<T> {
        self.0.write(&queries).await
    }

    async fn probe(&self) -> QueryResult<()> {
        let is_read_only = self.0.read(&move |sql| Box::pin(probe(sql))).await?;
        if is_read_only {
            // Another connection may lead to the server that accepts changes now.
            self.0.replace_read_only();
            return Err(QueryError::ReadOnly);
        }
        Ok(())
    }

    async fn close(&self) {
        self.0.close().await;
    }
}

/// Whether the server accepts no changes.
async fn probe(sql: &mut PgSession) -> QueryResult<bool> {
    let rows = sql.rows(dialect::STATEMENTS.probe, Vec::new()).await?;
    Ok(rows.first().ok_or(sqlx::Error::RowNotFound)?.flag(0)?)
}
