//! Conversations and messages: what the records store, and what is announced to the members.
//!
//! The records decide what a user may do, and number every change. The announcement follows. If it fails, the change
//! is stored nevertheless; it stays pending in the records until [`recover`] or [`retry`] announces it.

mod rules;
mod use_cases;

pub use use_cases::{
    DeletedMessage, InboxEntry, InboxPage, ReadReply, StoredMessage, add_member, announce_membership, conversation,
    create, create_direct, delete, edit, erase, history, inbox, mark_read, members, recover, remove_member, retry,
    send, sync,
};

#[cfg(test)]
mod tests;
