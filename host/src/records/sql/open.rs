//! Opening a database for the records: its schema's migrations, and why it cannot be used.

use std::path::PathBuf;

use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::{AssertSqlSafe, SqlSafeStr};

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

/// Why the database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder of the file.
    #[error("cannot create the folder {}: {source}", folder.display())]
    Folder {
        /// Which one.
        folder: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file or the server itself, or its use as a database.
    #[error("cannot open the records in {place}: {source}")]
    Open {
        /// A file, memory, or a database of a server; without a password.
        place: String,
        /// Why.
        source: sqlx::Error,
    },
    /// Its schema: a newer Roost wrote it, or somebody else did.
    #[error("cannot bring the records in {place} up to date: {source}")]
    Migrate {
        /// As in [`OpenError::Open`].
        place: String,
        /// Why.
        source: MigrateError,
    },
}
