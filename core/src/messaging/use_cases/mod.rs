//! The use cases of messaging: they change the records, announce the change, and recover announcements that failed.

mod announce;
mod announcement_queue;
mod conversations;
mod erase;
mod inbox;
mod membership;
mod messages;
mod read;
mod recover;

#[cfg(test)]
pub(super) use announce::announce_or_delay;
pub use conversations::{add_member, create, create_direct, members, remove_member};
pub use erase::erase;
pub use inbox::{InboxEntry, InboxPage, conversation, inbox, sync};
pub use membership::announce_membership;
pub use messages::{DeletedMessage, StoredMessage, delete, edit, history, send};
pub use read::{ReadReply, mark_read};
pub use recover::{recover, retry};
