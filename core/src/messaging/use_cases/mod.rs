//! The use cases of messaging: they change the records, announce the change, and recover announcements that failed.

mod announce;
mod announcement_queue;
mod conversations;
mod inbox;
mod messages;
mod read;
mod recover;

#[cfg(test)]
pub(super) use announce::announce_or_delay;
pub use conversations::{add_member, create, members, remove_member};
pub use inbox::{InboxEntry, InboxPage, inbox, sync};
pub use messages::{DeletedMessage, StoredMessage, delete, edit, history, send};
pub use read::{ReadReply, mark_read};
pub use recover::{recover, retry};
