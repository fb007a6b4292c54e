//! The bodies of questions and answers between Roost and a records backend, as `docs/records-http.md` describes them,
//! and their conversion into the port's types and back.
//!
//! Both directions are here, so that a backend in Rust can be built on them, like the sample backend of the tests.
//! Names are those of the public API. A backend may add fields, and may answer lists of users in any order.

mod conversations;
mod documents;
mod erasing;
mod messages;
mod outbox;
mod users;

use roost_core::ids::UserId;
use roost_core::port::RecordsError;
use serde::{Deserialize, Deserializer, Serialize};

pub use conversations::{
    Conversation, ConversationIds, ConversationPage, CreateConversation, CreateDirect, Created, HistoryPage,
    ListConversations, ListMembers, Member, MemberChange, Members, MembersPage, Membership, ReadHistory, ReadIds,
    ReadMembership, Users,
};
pub use documents::{
    DeleteDocument, Document, DocumentKey, DocumentNames, DocumentScope, DocumentVersion, Documents, Owner,
    PutDocument, ReadDocuments,
};
pub use erasing::{EraseUser, Erased};
pub use messages::{
    AppendMessage, Change, ChangeKind, ChangeLists, ChangeRange, Changed, DeleteMessage, EditMessage, LastMessage,
    LastMessages, Message, Messages, ReadChanges, ReadLastMessages, ReadMessages, ReadPosition,
};
pub use outbox::{
    Announced, Confirmation, Pending, PendingId, PendingItem, PendingPage, Postpone, Postponement, ReadPending,
};
pub use users::{
    Audience, Audiences, Blocked, BlockedUsers, Contact, Contacts, Counter, MarkRead, ReadAudience, ReadBlocks,
    ReadContacts, ReadMark, ReadRelation, ReadUnread, Relation, UnreadRequest, UnreadSnapshot, UnreadSnapshots,
};

/// The answer to `GET <records_url>/v1`: the protocol that the backend speaks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Greeting {
    /// The name of the protocol, always [`Greeting::PROTOCOL`].
    pub protocol: String,
    /// The version of the protocol, always [`Greeting::VERSION`].
    pub version: u32,
}

impl Greeting {
    /// The protocol's name.
    pub const PROTOCOL: &'static str = "roost.records";
    /// The version that `/v1/` stands for.
    pub const VERSION: u32 = 1;

    /// The greeting of this version.
    pub fn current() -> Self {
        Self { protocol: Self::PROTOCOL.to_owned(), version: Self::VERSION }
    }
}

/// The answer of an operation that answers nothing: an empty object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {}

/// Implements the conversions between a wire type and a type of the port, field by field in both directions.
macro_rules! both_ways {
    ($wire:ident, $domain:ty { $($field:ident: $of:ident),* $(,)? }) => {
        impl From<$domain> for $wire {
            fn from(domain: $domain) -> Self {
                Self { $($field: domain.$of.into()),* }
            }
        }

        impl From<$wire> for $domain {
            fn from(wire: $wire) -> Self {
                Self { $($of: wire.$field.into()),* }
            }
        }
    };
}
use both_ways;

/// Converts each entry of a list.
pub fn list<T, U: From<T>>(items: Vec<T>) -> Vec<U> {
    items.into_iter().map(U::from).collect()
}

/// Reads users into ascending order, each once, as the port promises. A backend need not sort them.
fn in_order<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<UserId>, D::Error> {
    let mut users = Vec::<UserId>::deserialize(deserializer)?;
    users.sort_unstable();
    users.dedup();
    Ok(users)
}

/// Reads a text of at most so many bytes.
fn bounded<'de, D: Deserializer<'de>, const BYTES_MAX: usize>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.len() > BYTES_MAX {
        let problem = format!("a text of {} bytes, at most {BYTES_MAX} are allowed", text.len());
        return Err(serde::de::Error::custom(problem));
    }
    Ok(text)
}

/// The reason for a refusal. Each code has one HTTP status, which tells proxies and logs the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "named after the variants of `RecordsError`")]
pub enum ProblemCode {
    Invalid,
    NotAMember,
    Forbidden,
    Blocked,
    NotFound,
    Conflict,
    DirectConversation,
    VersionMismatch,
    TooLarge,
    TooManyConversations,
    QuotaExceeded,
    Denied,
    Unauthenticated,
    Unavailable,
}

impl ProblemCode {
    /// Every code that a backend may answer with.
    pub const ALL: [Self; 14] = [
        Self::Invalid,
        Self::NotAMember,
        Self::Forbidden,
        Self::Blocked,
        Self::NotFound,
        Self::Conflict,
        Self::DirectConversation,
        Self::VersionMismatch,
        Self::TooLarge,
        Self::TooManyConversations,
        Self::QuotaExceeded,
        Self::Denied,
        Self::Unauthenticated,
        Self::Unavailable,
    ];

    /// The HTTP status of the code.
    pub const fn status(self) -> u16 {
        match self {
            Self::Invalid => 400,
            Self::Unauthenticated => 401,
            Self::NotAMember | Self::Forbidden | Self::Blocked | Self::Denied => 403,
            Self::NotFound => 404,
            Self::Conflict
            | Self::DirectConversation
            | Self::VersionMismatch
            | Self::TooManyConversations
            | Self::QuotaExceeded => 409,
            Self::TooLarge => 413,
            Self::Unavailable => 503,
        }
    }
}

/// The body of a refusal: a problem document (RFC 9457), of which `code` decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The status of the answer once more; `None`: the backend left it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The reason for the refusal.
    pub code: ProblemCode,
    /// Only with [`ProblemCode::VersionMismatch`]: the version that the document has; `None`: it does not exist.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// What was wrong. It may reach the client that caused it.
    #[serde(default)]
    pub detail: String,
}

impl Problem {
    /// A refusal with the status of its code.
    pub fn new(code: ProblemCode, detail: impl Into<String>) -> Self {
        Self { status: Some(code.status()), code, version: None, detail: detail.into() }
    }

    /// The error of the port; `None`: the backend refuses to be asked at all.
    pub fn refusal(self) -> Option<RecordsError> {
        Some(match self.code {
            ProblemCode::Invalid => RecordsError::Invalid(self.detail),
            ProblemCode::NotAMember => RecordsError::NotAMember,
            ProblemCode::Forbidden => RecordsError::Forbidden(self.detail),
            ProblemCode::Blocked => RecordsError::Blocked,
            ProblemCode::NotFound => RecordsError::NotFound(self.detail),
            ProblemCode::Conflict => RecordsError::Conflict(self.detail),
            ProblemCode::DirectConversation => RecordsError::Direct,
            ProblemCode::VersionMismatch => RecordsError::VersionMismatch { present: self.version },
            ProblemCode::TooLarge => RecordsError::TooLarge(self.detail),
            ProblemCode::TooManyConversations => RecordsError::TooManyConversations(self.detail),
            ProblemCode::QuotaExceeded => RecordsError::QuotaExceeded(self.detail),
            ProblemCode::Denied => RecordsError::Denied(self.detail),
            ProblemCode::Unauthenticated | ProblemCode::Unavailable => return None,
        })
    }
}

impl From<RecordsError> for Problem {
    fn from(error: RecordsError) -> Self {
        let (code, detail) = match error {
            RecordsError::Invalid(detail) => (ProblemCode::Invalid, detail),
            RecordsError::NotAMember => (ProblemCode::NotAMember, String::new()),
            RecordsError::Forbidden(detail) => (ProblemCode::Forbidden, detail),
            RecordsError::Blocked => (ProblemCode::Blocked, String::new()),
            RecordsError::NotFound(detail) => (ProblemCode::NotFound, detail),
            RecordsError::Conflict(detail) => (ProblemCode::Conflict, detail),
            RecordsError::Direct => (ProblemCode::DirectConversation, String::new()),
            RecordsError::VersionMismatch { present } => {
                return Self { version: present, ..Self::new(ProblemCode::VersionMismatch, String::new()) };
            }
            RecordsError::TooLarge(detail) => (ProblemCode::TooLarge, detail),
            RecordsError::TooManyConversations(detail) => (ProblemCode::TooManyConversations, detail),
            RecordsError::QuotaExceeded(detail) => (ProblemCode::QuotaExceeded, detail),
            RecordsError::Denied(detail) => (ProblemCode::Denied, detail),
            RecordsError::Unavailable { retry_after_ms } => {
                (ProblemCode::Unavailable, format!("retry after {retry_after_ms} ms"))
            }
        };
        Self::new(code, detail)
    }
}
