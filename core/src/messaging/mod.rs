//! Conversations and messages: what is stored in the records and announced to everybody it concerns.
//!
//! The records decide who may do what and number every change; the announcement follows. A change whose
//! announcement fails is stored all the same, stays pending in the records, and is announced by [`recover`].

mod rules;
mod use_cases;

pub use use_cases::{
    Deleted, InboxEntry, InboxPage, ReadReply, Sent, add_member, create, delete, edit, history, inbox, mark_read,
    recover, remove_member, send,
};

#[cfg(test)]
mod tests;
