//! Documents: small JSON texts that a function keeps for a user, a conversation or itself.

use crate::key::Owner;

/// The documents of one function for one owner.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DocumentScope {
    /// The function that keeps the documents. No function chooses it: the host puts the name of the function that calls
    /// here, so that functions do not see each other's documents. It is empty in a function and in its tests.
    pub function: String,
    /// What the documents are about. The records do not check that it exists; they tell messages apart by their own
    /// ids, whatever the conversation. Documents about nobody in particular belong to a shard; a function that needs
    /// only one shard uses `Owner::Shard(0)`.
    pub owner: Owner,
}

impl DocumentScope {
    /// The calling function's documents for this owner.
    pub const fn new(owner: Owner) -> Self {
        Self { function: String::new(), owner }
    }
}

/// Names one document.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DocumentKey {
    /// The function and the owner.
    pub scope: DocumentScope,
    /// Tells the documents of a scope apart: 1 to [`NAME_BYTES_MAX`](crate::limits::NAME_BYTES_MAX) bytes of UTF-8
    /// without control characters. Names are compared byte by byte.
    pub name: String,
}

impl DocumentKey {
    /// The calling function's document of this owner and name.
    pub fn new(owner: Owner, name: impl Into<String>) -> Self {
        Self { scope: DocumentScope::new(owner), name: name.into() }
    }
}

/// A document as it is stored now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// 1 for a new document; each put adds 1. A document that is created again after its deletion begins with 1.
    pub version: u64,
    /// A JSON text of at most [`DOCUMENT_BYTES_MAX`](crate::limits::DOCUMENT_BYTES_MAX) bytes, exactly as it was put.
    pub json: String,
}

/// A document to create or to replace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentPut {
    /// The document to create or to replace.
    pub key: DocumentKey,
    /// The JSON text from now on.
    pub json: String,
    /// The version that the document has now; `None`: it does not exist.
    pub expected: Option<u64>,
    /// How many bytes all documents of the function may have afterwards, over all owners; `None`: there is no bound. No
    /// function chooses it: the host puts the bound of the function that calls here.
    pub bytes_max: Option<u64>,
}

impl DocumentPut {
    /// A document to put. The host adds the bound.
    pub const fn new(key: DocumentKey, json: String, expected: Option<u64>) -> Self {
        Self { key, json, expected, bytes_max: None }
    }
}
