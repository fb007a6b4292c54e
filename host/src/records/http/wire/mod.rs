//! What goes between Roost and a records backend, as `docs/records-http.md` describes it: the body of each operation
//! and of its answer, and the one place where they are turned into the port's types and back.
//!
//! Both directions are here, so that a backend in Rust can be built on them; the sample backend of the tests is. The
//! names are the public API's. A backend may add fields and answer lists of users in any order.

mod conversation;
mod directory;
mod message;
mod outbox;
mod people;
mod problem;
mod standing;

use roost_core::ids::UserId;
use serde::{Deserialize, Deserializer};

pub use conversation::{
    Conversation, ConversationPage, CreateConversation, Created, HistoryPage, ListConversations, MemberChange, Members,
    Membership, ReadHistory,
};
pub use directory::{ConversationIds, ReadIds, Users};
pub use message::{
    AppendMessage, Change, ChangeKind, Changed, DeleteMessage, EditMessage, LastMessage, LastMessages, Message,
    ReadLastMessages,
};
pub use outbox::{Announced, Confirmation, Pending, PendingPage, ReadPending};
pub use people::{Audience, Audiences, Blocked, Contact, Contacts, ReadAudience};
pub use problem::{Problem, ProblemCode};
pub use standing::{
    ChangeLists, ChangeRange, Counter, MarkRead, OfMember, OfUser, ReadChanges, ReadMark, ReadUnread, UnreadRequest,
    UnreadSnapshot, UnreadSnapshots,
};

/// What the backend answers to a question without a question: which protocol it speaks.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, Deserialize)]
pub struct Greeting {
    /// Always [`Greeting::PROTOCOL`].
    pub protocol: String,
    /// Always [`Greeting::VERSION`].
    pub version: u32,
}

impl Greeting {
    /// The protocol's name.
    pub const PROTOCOL: &'static str = "roost.records";
    /// The version that `/v1/` stands for.
    pub const VERSION: u32 = 1;

    /// Of this version.
    pub fn current() -> Self {
        Self { protocol: Self::PROTOCOL.to_owned(), version: Self::VERSION }
    }
}

/// An answer that says nothing but that it was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, Deserialize)]
pub struct Done {}

/// Field by field in both directions, so that none can be forgotten in one of them.
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

/// Each entry of a list turned.
pub fn list<T, U: From<T>>(items: Vec<T>) -> Vec<U> {
    items.into_iter().map(U::from).collect()
}

/// In ascending order, each once, as the port promises; a backend need not sort.
fn in_order<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<UserId>, D::Error> {
    let mut users = Vec::<UserId>::deserialize(deserializer)?;
    users.sort_unstable();
    users.dedup();
    Ok(users)
}

/// At most so many bytes, as everything that comes after relies on.
fn bounded<'de, D: Deserializer<'de>, const BYTES_MAX: usize>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.len() > BYTES_MAX {
        let problem = format!("a text of {} bytes, at most {BYTES_MAX} are allowed", text.len());
        return Err(serde::de::Error::custom(problem));
    }
    Ok(text)
}
