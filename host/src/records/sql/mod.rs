//! The records in any SQL database: what each operation reads, checks and writes.
//!
//! A database supplies its statements, its types and its connections in a folder of its own beside this one, by
//! implementing [`Database`] and [`SqlConnection`]. The operations rely on the guarantees stated there.

mod contacts;
mod conversations;
mod counter_pages;
mod counters;
mod documents;
mod erasing;
mod error;
mod fragments;
mod messages;
mod outbox;
mod pairs;
mod port;
mod receipts;
mod statements;
mod values;

use std::future::Future;
use std::pin::Pin;

use roost_core::port::{Answer, Operation};
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{AssertSqlSafe, SqlSafeStr};

pub use self::error::DatabaseOpenError;
pub(super) use self::error::{QueryError, QueryResult, describe, describe_migration, describe_publicly};
pub(super) use self::fragments::{message, sent_by};
use self::outbox::ConfirmationQueue;
pub use self::statements::Statements;
pub(super) use self::values::{ColumnResult, Columns, ListedDocument, Parameter, decode_error};

/// A query that is running on a connection.
pub(super) type RunningQuery<'a, T> = Pin<Box<dyn Future<Output = QueryResult<T>> + Send + 'a>>;

/// Statements to run on a connection. They may be run again, when a transaction is repeated.
pub(super) trait Queries<C, T>: for<'a> Fn(&'a mut C) -> RunningQuery<'a, T> + Send + Sync {}

impl<C, T, F: for<'a> Fn(&'a mut C) -> RunningQuery<'a, T> + Send + Sync> Queries<C, T> for F {}

/// A connection to a database.
///
/// Each statement sees one consistent snapshot. In [`Database::write`] a statement sees everything that was committed
/// before it began, and after [`Statements::lock_conversation`] nobody else changes that conversation or its list of
/// members until the transaction ends. The same holds for documents after [`Statements::lock_documents`].
pub(super) trait SqlConnection: Send {
    /// A row of an answer.
    type Row: Columns + Send + Sync;

    /// The texts of all statements in the database's dialect.
    const STATEMENTS: &'static Statements;

    /// What the database calls its error codes.
    const CODE_NAME: &'static str;

    /// What an operator can do about an error with this code; `None`: nothing in particular.
    fn advice(code: &str) -> Option<&'static str>;

    /// Runs a statement of [`SqlConnection::STATEMENTS`] with its parameters in order.
    fn rows(
        &mut self,
        statement: &'static str,
        parameters: Vec<Parameter>,
    ) -> impl Future<Output = QueryResult<Vec<Self::Row>>> + Send;
}

/// A database with the schema of the records.
pub(super) trait Database: Clone + Send + Sync + 'static {
    /// A connection to it.
    type Connection: SqlConnection;

    /// Runs queries that change nothing, on any connection.
    fn read<T: Send>(&self, queries: impl Queries<Self::Connection, T>) -> impl Future<Output = QueryResult<T>> + Send;

    /// Runs queries in one transaction. Queries that fail leave nothing behind. Queries that lose a race against
    /// another transaction are repeated.
    fn write<T: Send>(&self, queries: impl Queries<Self::Connection, T>)
    -> impl Future<Output = QueryResult<T>> + Send;

    /// Checks that the database answers.
    fn probe(&self) -> impl Future<Output = QueryResult<()>> + Send;

    /// Closes every connection. Every later query fails.
    fn close(&self) -> impl Future<Output = ()> + Send;
}

/// Records in a database. Clones share its connections.
#[derive(Clone, Debug)]
pub struct SqlRecords<D> {
    database: D,
    confirmations: ConfirmationQueue,
}

#[allow(private_bounds, reason = "the databases are private to this folder")]
impl<D: Database> SqlRecords<D> {
    /// Starts the task that writes confirmations. Needs a tokio runtime.
    pub(super) fn new(database: D) -> Self {
        let confirmations = ConfirmationQueue::start(database.clone());
        Self { database, confirmations }
    }

    /// Writes every confirmation that was accepted so far.
    pub async fn flush(&self) {
        self.confirmations.flush().await;
    }

    /// Checks that the database answers.
    pub async fn ready(&self) -> Answer<()> {
        Self::answer("ready", self.database.probe().await)
    }

    /// Checks that the database answers and accepts changes. The error says what is wrong, and contains no secret.
    pub async fn readiness(&self) -> Result<(), String> {
        let probed = self.database.probe().await;
        probed.map_err(|error| {
            let problem = error.public_problem::<D::Connection>();
            // Logs what everybody must not read.
            let _ = error.into_records_error::<D::Connection>("ready");
            problem
        })
    }

    /// Writes the waiting confirmations and closes the connections. Every later operation is
    /// [`roost_core::port::RecordsError::Unavailable`].
    pub async fn close(&self) {
        self.flush().await;
        self.database.close().await;
    }

    async fn read<T: Send>(&self, operation: Operation, queries: impl Queries<D::Connection, T>) -> Answer<T> {
        Self::answer(operation.name(), self.database.read(queries).await)
    }

    async fn write<T: Send>(&self, operation: Operation, queries: impl Queries<D::Connection, T>) -> Answer<T> {
        Self::answer(operation.name(), self.database.write(queries).await)
    }

    fn answer<T>(operation: &str, result: QueryResult<T>) -> Answer<T> {
        result.map_err(|error| error.into_records_error::<D::Connection>(operation))
    }
}

/// Migrations from their version, description and text, in ascending order of version.
///
/// The macro `sqlx::migrate!` would do the same, but it compiles every database driver a second time, for the compiler.
pub(in crate::records) fn migrator(migrations: &[(i64, &'static str, &'static str)]) -> Migrator {
    let migration = |(version, description, text): &(i64, &'static str, &'static str)| {
        let text = AssertSqlSafe(*text).into_sql_str();
        Migration::new(*version, (*description).into(), MigrationType::Simple, text, false)
    };
    Migrator::with_migrations(migrations.iter().map(migration).collect())
}

/// Runs a locking statement. Its text is empty for a database that does without the lock.
async fn lock<C: SqlConnection>(sql: &mut C, statement: &'static str, parameters: Vec<Parameter>) -> QueryResult<()> {
    if statement.is_empty() {
        return Ok(());
    }
    run(sql, statement, parameters).await
}

/// Runs a statement whose rows nobody needs.
async fn run<C: SqlConnection>(sql: &mut C, statement: &'static str, parameters: Vec<Parameter>) -> QueryResult<()> {
    sql.rows(statement, parameters).await.map(|_| ())
}
