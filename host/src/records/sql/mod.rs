//! The records in any SQL database: what every operation reads, judges and writes, told once.
//!
//! A database brings its statements, its values and its connections ([`Database`], [`Sql`]) in a folder of its own
//! beside this one. What it promises there is what makes the operations right here.

mod conversations;
mod directory;
mod fault;
mod messages;
mod open;
mod outbox;
mod people;
mod port;
mod reading;
mod rows;
mod standing;
mod statements;
mod talk;
mod values;

use std::future::Future;
use std::pin::Pin;

use roost_core::port::{Answer, Operation};

pub(super) use self::fault::{Fault, Stored, answer};
pub use self::open::OpenError;
pub(super) use self::open::migrator;
use self::outbox::Confirmations;
pub(super) use self::rows::{Columns, Read, decode};
pub use self::statements::Statements;
pub(super) use self::values::Value;

/// A question or a change under way on a connection.
pub(super) type Running<'a, T> = Pin<Box<dyn Future<Output = Stored<T>> + Send + 'a>>;

/// What is done on a connection; it may be done again.
pub(super) trait Work<C, T>: for<'a> Fn(&'a mut C) -> Running<'a, T> + Send + Sync {}

impl<C, T, F: for<'a> Fn(&'a mut C) -> Running<'a, T> + Send + Sync> Work<C, T> for F {}

/// A connection.
///
/// Each statement sees one moment. In [`Database::write`] a statement sees everything that was committed before it
/// began, and after [`Statements::lock_conversation`] nobody else changes that conversation or its members' list until
/// the end.
pub(super) trait Sql: Send {
    /// A row of an answer.
    type Row: Columns + Send + Sync;

    /// What this database is asked.
    const STATEMENTS: &'static Statements;

    /// Runs a statement of [`Sql::STATEMENTS`] with its parameters in order.
    fn rows(
        &mut self,
        statement: &'static str,
        values: Vec<Value>,
    ) -> impl Future<Output = Stored<Vec<Self::Row>>> + Send;
}

/// A database with the schema of the records.
pub(super) trait Database: Clone + Send + Sync + 'static {
    /// Its connections.
    type Connection: Sql;

    /// Asks, on any connection.
    fn read<T: Send>(&self, question: impl Work<Self::Connection, T>) -> impl Future<Output = Stored<T>> + Send;

    /// Changes, in one transaction: a change that fails leaves nothing behind, and one that lost a race is begun anew.
    fn write<T: Send>(&self, change: impl Work<Self::Connection, T>) -> impl Future<Output = Stored<T>> + Send;

    /// Whether it answers.
    fn probe(&self) -> impl Future<Output = Stored<()>> + Send;

    /// Closes every connection; whatever is asked afterwards is broken.
    fn close(&self) -> impl Future<Output = ()> + Send;
}

/// Records in a database. Clones share its connections.
#[derive(Clone, Debug)]
pub struct SqlRecords<D> {
    database: D,
    confirmations: Confirmations,
}

#[allow(private_bounds, reason = "the databases are this folder's own affair")]
impl<D: Database> SqlRecords<D> {
    /// Needs a tokio runtime.
    pub(super) fn new(database: D) -> Self {
        let confirmations = Confirmations::start(database.clone());
        Self { database, confirmations }
    }

    /// Makes every confirmation accepted so far take effect.
    pub async fn flush(&self) {
        self.confirmations.flush().await;
    }

    /// Whether the database answers.
    pub async fn ready(&self) -> Answer<()> {
        answer("ready", self.database.probe().await)
    }

    /// Writes what waits and closes. Whatever is asked afterwards is [`roost_core::port::RecordsError::Unavailable`].
    pub async fn close(&self) {
        self.flush().await;
        self.database.close().await;
    }

    async fn read<T: Send>(&self, operation: Operation, question: impl Work<D::Connection, T>) -> Answer<T> {
        answer(operation.name(), self.database.read(question).await)
    }

    async fn write<T: Send>(&self, operation: Operation, change: impl Work<D::Connection, T>) -> Answer<T> {
        answer(operation.name(), self.database.write(change).await)
    }
}

/// Runs a statement that some databases do without.
async fn lock<C: Sql>(sql: &mut C, statement: &'static str, values: Vec<Value>) -> Stored<()> {
    if statement.is_empty() {
        return Ok(());
    }
    run(sql, statement, values).await
}

/// Runs a statement whose answer says nothing.
async fn run<C: Sql>(sql: &mut C, statement: &'static str, values: Vec<Value>) -> Stored<()> {
    sql.rows(statement, values).await.map(|_| ())
}
