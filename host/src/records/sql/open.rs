//! Why a database cannot be used for the records.

use std::path::PathBuf;

use sqlx::migrate::MigrateError;

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
