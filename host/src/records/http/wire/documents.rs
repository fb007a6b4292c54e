//! Documents of functions. Their content travels as a text, so that no side parses and rewrites it.

use roost_core::ids::{ConversationId, MessageId, UserId};
use roost_core::limits::DOCUMENT_BYTES_MAX;
use roost_core::{key, port};
use serde::de::{Error as _, IgnoredAny};
use serde::{Deserialize, Deserializer, Serialize};

use super::{both_ways, bounded};

/// What documents are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "as `roost_core::key::Owner`")]
pub enum Owner {
    User(UserId),
    Conversation(ConversationId),
    Message { conversation: ConversationId, message: MessageId },
    Shard(u32),
}

impl From<key::Owner> for Owner {
    fn from(owner: key::Owner) -> Self {
        match owner {
            key::Owner::User(user) => Self::User(user),
            key::Owner::Conversation(conversation) => Self::Conversation(conversation),
            key::Owner::Message { conversation, message } => Self::Message { conversation, message },
            key::Owner::Shard(shard) => Self::Shard(shard),
        }
    }
}

impl From<Owner> for key::Owner {
    fn from(owner: Owner) -> Self {
        match owner {
            Owner::User(user) => Self::User(user),
            Owner::Conversation(conversation) => Self::Conversation(conversation),
            Owner::Message { conversation, message } => Self::Message { conversation, message },
            Owner::Shard(shard) => Self::Shard(shard),
        }
    }
}

/// The documents of one function for one owner; the question of `document-names`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "as `roost_core::port::DocumentScope`")]
pub struct DocumentScope {
    pub function: String,
    pub owner: Owner,
}

both_ways!(DocumentScope, port::DocumentScope { function: function, owner: owner });

/// The key of one document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "as `roost_core::port::DocumentKey`")]
pub struct DocumentKey {
    #[serde(flatten)]
    pub scope: DocumentScope,
    pub name: String,
}

both_ways!(DocumentKey, port::DocumentKey { scope: scope, name: name });

/// The question of `read-documents`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "as the argument of `Records::read_documents`")]
pub struct ReadDocuments {
    pub keys: Vec<DocumentKey>,
}

/// The answer to `read-documents`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "in the order asked")]
pub struct Documents {
    pub documents: Vec<Option<Document>>,
}

/// A document as it is stored now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "as `roost_core::port::Document`, described in docs/records-http.md")]
pub struct Document {
    pub version: u64,
    #[serde(deserialize_with = "json_text")]
    pub json: String,
}

both_ways!(Document, port::Document { version: version, json: json });

/// Reads a text that is itself JSON, of at most the size of a document.
fn json_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = bounded::<D, DOCUMENT_BYTES_MAX>(deserializer)?;
    match serde_json::from_str::<IgnoredAny>(&text) {
        Ok(_) => Ok(text),
        Err(error) => Err(D::Error::custom(format!("the text of a document is not JSON: {error}"))),
    }
}

/// The question of `put-document`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "as `roost_core::port::DocumentPut`")]
pub struct PutDocument {
    #[serde(flatten)]
    pub key: DocumentKey,
    pub json: String,
    pub expected: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_max: Option<u64>,
}

both_ways!(PutDocument, port::DocumentPut { key: key, json: json, expected: expected, bytes_max: bytes_max });

/// The answer to `put-document`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "as the answer of `Records::put_document`")]
pub struct DocumentVersion {
    pub version: u64,
}

/// The question of `delete-document`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "as the arguments of `Records::delete_document`")]
pub struct DeleteDocument {
    #[serde(flatten)]
    pub key: DocumentKey,
    pub expected: u64,
}

/// The answer to `document-names`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "of the scope asked, in any order")]
pub struct DocumentNames {
    pub names: Vec<String>,
}
