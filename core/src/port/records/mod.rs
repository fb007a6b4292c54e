//! The records port: the contract of the system of record, which holds messages, conversations, read positions,
//! contacts and the documents of functions. What is stored here survives the loss of the whole store.
//!
//! # How to add an operation
//!
//! Every operation is declared once, in [`records_operations!`](crate::records_operations) below: its variant of
//! [`Operation`], its name in manifests and metrics, and its method with arguments and answer. The trait [`Records`],
//! the enum [`Operation`], and every implementation that only hands operations on to other records follow from that
//! list. Write by hand what says something new:
//!
//! 1. here: the declaration; in `types.rs` or `documents.rs` new arguments and answers, in `bounds.rs` their bounds;
//! 2. the contract `wit/records.wit`, and one conversion on each side: `edge/records.rs` of the function SDK, and
//!    `runtime/imports/records.rs` with `runtime/conversions` of the host;
//! 3. the fake in `testing/records`, and a case in `testing/conformance/records`;
//! 4. each technology in the host's `records`: `sql` with the statements of SQLite and PostgreSQL, and `http` with its
//!    description in `docs/records-http.md` and the sample backend of the tests.
//!
//! The compiler names whatever is still missing.

pub mod bounds;
mod direct;
mod directory;
mod documents;
mod erasing;
mod error;
mod operation;
mod pending;
mod types;

pub use direct::DirectRequest;
pub use directory::Directory;
pub use documents::{Document, DocumentKey, DocumentPut, DocumentScope};
pub use erasing::{Erased, NOBODY};
pub use error::RecordsError;
pub use operation::Operation;
pub use pending::{Pending, PendingCursor, PendingId, PendingItem, PendingPage, PendingQuery, Postponement};
pub use types::{
    Answer, Change, ChangeKind, ChangeRange, Changed, Confirmation, ContactAudience, Conversation, ConversationPage,
    ConversationQuery, Counter, Created, Draft, Edit, HistoryPage, HistoryQuery, LastMessage, Member, MemberChange,
    MembersPage, MembersQuery, Membership, Message, MessagesQuery, NewConversation, ReadMark, ReadPosition, Relation,
    UnreadRequest, UnreadSnapshot,
};

/// The list of all operations of the records, in the order of the contract `wit/records.wit`.
///
/// Calls `$callback!` with one entry for each operation:
///
/// ```text
/// <doc comment> <variant of Operation> <name> <method>(<arguments>) -> <answer>;
/// ```
///
/// A callback that implements [`Records`](crate::port::Records) by handing every operation on looks like this:
///
/// ```
/// use roost_core::port::{Answer, Records};
///
/// struct Wrapper<R>(R);
///
/// macro_rules! delegate {
///     ($($(#[$doc:meta])* $operation:ident $name:literal
///         $method:ident($($argument:ident: $type:ty),*) -> $answer:ty;)*) => {
///         impl<R: Records> Records for Wrapper<R> {
///             $(async fn $method(&self, $($argument: $type),*) -> Answer<$answer> {
///                 self.0.$method($($argument),*).await
///             })*
///         }
///     };
/// }
/// roost_core::records_operations!(delegate);
/// ```
#[macro_export]
macro_rules! records_operations {
    ($callback:ident) => {
        $callback! {
            /// Stores a message. Non-members are refused, and so is a message between two members of whom one has
            /// blocked the other. The same id by the same sender in the same conversation again is a repetition,
            /// whatever its content; the id of any other message is a conflict. The sender's own read position does
            /// not move.
            AppendMessage "append-message" append_message(draft: $crate::port::Draft) -> $crate::port::Changed;

            /// Changes the content of a message. Only the sender may, while a member. The same content again is a
            /// repetition, answered with the change that set it. A deleted message is not found. New content between
            /// two members of whom one has blocked the other is refused, like a message. Answers the positions of all
            /// members and the newest message, if the records know them.
            EditMessage "edit-message" edit_message(edit: $crate::port::Edit) -> $crate::port::Changed;

            /// Deletes a message, also between two members of whom one has blocked the other. The sender may, and the
            /// creator of a conversation that is no pair, both while a member; a service (`None`) may always. The
            /// sender need not be a member any more. Deleting a message again is a repetition. Answers positions and
            /// the newest message, like an edit.
            DeleteMessage "delete-message" delete_message(
                conversation: $crate::ids::ConversationId,
                message: $crate::ids::MessageId,
                actor: Option<$crate::ids::UserId>,
                at: $crate::time::Timestamp
            ) -> $crate::port::Changed;

            /// Moves the read position forward: never back, and not past the newest sequence number. `None` moves it
            /// to the newest. The answer names the users who are told.
            MarkRead "mark-read" mark_read(
                user: $crate::ids::UserId,
                conversation: $crate::ids::ConversationId,
                up_to: Option<$crate::ids::Seq>
            ) -> $crate::port::ReadMark;

            /// Answers counters, in the order asked. Each request is answered from one consistent snapshot. All
            /// requests without named conversations are together answered with at most
            /// [`COUNTERS_MAX`](crate::limits::COUNTERS_MAX) counters: the first requests whole, the next one in part,
            /// and those behind it with nothing yet; the other requests together name at most as many. The caller goes
            /// on with [`UnreadRequest::after`](crate::port::UnreadRequest::after). What a counter costs depends
            /// neither on the number of unread messages nor on that of deleted ones.
            Unread "unread" unread(requests: Vec<$crate::port::UnreadRequest>) -> Vec<$crate::port::UnreadSnapshot>;

            /// Answers the changes of each range, in the order asked, oldest change first. Of more than
            /// [`CHANGES_MAX`](crate::limits::CHANGES_MAX) changes the newest are answered. A whole answer has at most
            /// [`CHANGES_ANSWER_MAX`](crate::limits::CHANGES_ANSWER_MAX) changes, whose contents take at most
            /// [`CHANGES_BYTES_MAX`](crate::limits::CHANGES_BYTES_MAX): of the first range that exceeds this the newest
            /// changes that fit, of those behind it nothing.
            Changes "changes" changes(ranges: Vec<$crate::port::ChangeRange>) -> Vec<Vec<$crate::port::Change>>;

            /// Answers the newest message of each conversation, in the order asked.
            LastMessages "last-messages" last_messages(
                conversations: Vec<$crate::ids::ConversationId>
            ) -> Vec<$crate::port::LastMessage>;

            /// Answers what a member sees of a conversation's members.
            /// [`RecordsError::NotAMember`](crate::port::RecordsError::NotAMember) also for unknown conversations.
            Membership "membership" membership(
                conversation: $crate::ids::ConversationId,
                user: $crate::ids::UserId
            ) -> $crate::port::Membership;

            /// Answers the user's conversations.
            Conversations "conversations" conversations(
                user: $crate::ids::UserId,
                query: $crate::port::ConversationQuery
            ) -> $crate::port::ConversationPage;

            /// Answers a page of the messages that a member may see: those after joining.
            History "history" history(query: $crate::port::HistoryQuery) -> $crate::port::HistoryPage;

            /// Answers messages of one conversation by their ids, in the order asked; `None` for one that history does
            /// not show the member: it is deleted, of another conversation, from before the member joined, or does not
            /// exist. [`RecordsError::NotAMember`](crate::port::RecordsError::NotAMember) as for history. At most
            /// [`PAGE_MAX`](crate::limits::PAGE_MAX) ids.
            Messages "messages" messages(query: $crate::port::MessagesQuery) -> Vec<Option<$crate::port::Message>>;

            /// Creates a conversation. With two users of whom one has blocked the other it is
            /// [`RecordsError::Blocked`](crate::port::RecordsError::Blocked), however many members there are. An id
            /// that exists with the same creator and, now, the same members is a repetition; with others it is a
            /// [`RecordsError::Conflict`](crate::port::RecordsError::Conflict). A user is in at most
            /// [`CONVERSATIONS_MAX`](crate::limits::CONVERSATIONS_MAX) conversations: one more is
            /// [`RecordsError::TooManyConversations`](crate::port::RecordsError::TooManyConversations).
            CreateConversation "create-conversation" create_conversation(
                conversation: $crate::port::NewConversation
            ) -> $crate::port::Created;

            /// Answers the pair of two different users, and creates it if there is none. Two users have one pair,
            /// whoever asks first, and however many ask at once. A pair that exists is a repetition, also if one of the
            /// two has blocked the other. One that does not exist is not created if one of them has blocked the other
            /// ([`RecordsError::Blocked`](crate::port::RecordsError::Blocked)), or if the request may not create it
            /// ([`RecordsError::NotFound`](crate::port::RecordsError::NotFound)). Too many conversations as for a
            /// creation. Its members do not change: adding and removing them is
            /// [`RecordsError::Direct`](crate::port::RecordsError::Direct), also for a service.
            CreateDirect "create-direct" create_direct(request: $crate::port::DirectRequest) -> $crate::port::Created;

            /// Adds a member, who sees what comes after. A member or a service may. Nobody is added, by whomever, when
            /// one of the members has blocked them or is blocked by them:
            /// [`RecordsError::Blocked`](crate::port::RecordsError::Blocked). Too many conversations as for a creation.
            /// Adding a member again changes nothing. Answers the members afterwards.
            AddMember "add-member" add_member(change: $crate::port::MemberChange) -> Vec<$crate::ids::UserId>;

            /// Removes a member, who sees nothing any more. Members may leave; the creator and services may remove
            /// others. Removing a non-member changes nothing. A member of a pair whose other member was erased may
            /// leave. Answers the members that remain.
            RemoveMember "remove-member" remove_member(change: $crate::port::MemberChange) -> Vec<$crate::ids::UserId>;

            /// Answers a page of a conversation's members, in ascending order.
            /// [`RecordsError::NotAMember`](crate::port::RecordsError::NotAMember) for a user who is none; only a
            /// service learns that there is no such conversation.
            Members "members" members(query: $crate::port::MembersQuery) -> $crate::port::MembersPage;

            /// Answers the users that the user has added as contacts, in ascending order.
            Contacts "contacts" contacts(user: $crate::ids::UserId) -> Vec<$crate::ids::UserId>;

            /// Answers the users that the user has blocked, in ascending order.
            Blocks "blocks" blocks(user: $crate::ids::UserId) -> Vec<$crate::ids::UserId>;

            /// Answers the mutual contacts of each user without those where one has blocked the other, in the order
            /// asked.
            Audience "audience" audience(users: Vec<$crate::ids::UserId>) -> Vec<$crate::port::ContactAudience>;

            /// Answers what two users have said about each other.
            Relation "relation" relation(user: $crate::ids::UserId, other: $crate::ids::UserId) -> $crate::port::Relation;

            /// Adds a contact. Nobody is their own contact. A user has at most
            /// [`CONTACTS_MAX`](crate::limits::CONTACTS_MAX) contacts.
            AddContact "add-contact" add_contact(user: $crate::ids::UserId, contact: $crate::ids::UserId) -> ();

            /// Removes a contact, if there is one.
            RemoveContact "remove-contact" remove_contact(user: $crate::ids::UserId, contact: $crate::ids::UserId) -> ();

            /// Blocks a user. Nobody blocks themselves. A user blocks at most
            /// [`CONTACTS_MAX`](crate::limits::CONTACTS_MAX) others.
            Block "block" block(user: $crate::ids::UserId, blocked: $crate::ids::UserId) -> ();

            /// Ends a block, if there is one.
            Unblock "unblock" unblock(user: $crate::ids::UserId, blocked: $crate::ids::UserId) -> ();

            /// Carries out one bounded step of erasing a user. The caller repeats it until nothing is left: contacts
            /// and blocks in both directions, the documents of the user, memberships with their read positions, pairs,
            /// and the content of the user's messages, which are deleted. Removed memberships and deleted messages are
            /// pending like any others. Conversations that the user has created remain; their creator is
            /// [`NOBODY`](crate::port::NOBODY). Erasing a user of whom nothing is left changes nothing.
            EraseUser "erase-user" erase_user(
                user: $crate::ids::UserId,
                at: $crate::time::Timestamp
            ) -> $crate::port::Erased;

            /// Answers a page of what is stored and not confirmed. Changes name the present members. A read mark and a
            /// change of a contact or block have no timestamp of their own; the records give them one. A member is one
            /// item of each kind, however often it moved. A walk through all pages answers every item that remains as
            /// it is once.
            Pending "pending" pending(query: $crate::port::PendingQuery) -> $crate::port::PendingPage;

            /// Confirms announcements. A confirmation is a hint: it may take effect late or be lost. Then the
            /// announcement is repeated, which is harmless.
            Announced "announced" announced(confirmations: Vec<$crate::port::Confirmation>) -> ();

            /// Sets how often recovery has tried items of the outbox, and when it tries them again. It takes effect
            /// before it is answered. Items that are not pending any more are ignored.
            Postpone "postpone" postpone(postponements: Vec<$crate::port::Postponement>) -> ();

            /// Answers the documents, in the order asked; `None` for one that does not exist. Each document is answered
            /// as it is at one point in time, several of them not at the same one. At most
            /// [`DOCUMENT_KEYS_MAX`](crate::limits::DOCUMENT_KEYS_MAX) keys.
            ReadDocuments "read-documents" read_documents(
                keys: Vec<$crate::port::DocumentKey>
            ) -> Vec<Option<$crate::port::Document>>;

            /// Creates or replaces a document, and answers its new version. A document that does not have the expected
            /// version is not changed:
            /// [`RecordsError::VersionMismatch`](crate::port::RecordsError::VersionMismatch), which names the present
            /// version. Of several puts with the same expected version one succeeds. So the repetition of a put that
            /// succeeded is refused. A function has at most [`DOCUMENTS_MAX`](crate::limits::DOCUMENTS_MAX) documents
            /// for each owner. A put after which all documents of the function would have more bytes than
            /// [`DocumentPut::bytes_max`](crate::port::DocumentPut::bytes_max), and more than before, is
            /// [`RecordsError::QuotaExceeded`](crate::port::RecordsError::QuotaExceeded). A document counts
            /// [`DOCUMENT_OVERHEAD_BYTES`](crate::limits::DOCUMENT_OVERHEAD_BYTES), its name and its JSON text, in the
            /// transaction that stores or deletes it.
            PutDocument "put-document" put_document(put: $crate::port::DocumentPut) -> u64;

            /// Deletes a document, if there is one. A document of another version is not deleted:
            /// [`RecordsError::VersionMismatch`](crate::port::RecordsError::VersionMismatch).
            DeleteDocument "delete-document" delete_document(key: $crate::port::DocumentKey, expected: u64) -> ();

            /// Answers the names of all documents of a function for an owner, in ascending order of their bytes.
            DocumentNames "document-names" document_names(scope: $crate::port::DocumentScope) -> Vec<String>;
        }
    };
}

macro_rules! define_port {
    ($($(#[$doc:meta])* $operation:ident $name:literal $method:ident($($argument:ident: $type:ty),*) -> $answer:ty;)*) => {
        /// The system of record.
        ///
        /// - A conversation's changes are numbered 1, 2, 3 … without gaps, in the transaction that stores them.
        /// - A write that was acknowledged is never lost. After [`RecordsError::Unavailable`] a write may have
        ///   happened. Repeating it is harmless: appends, edits, deletions, marks and memberships are idempotent, and
        ///   a repeated put of a document is refused by its version.
        /// - A change is *pending* from the moment it is stored until [`Records::announced`] confirms it, and so are
        ///   moves: of a member's read position, of a membership, the creation of a conversation (which moves no
        ///   member), and of what a user has said about another, as a contact or by a block. A repetition that changes
        ///   nothing is no move. A confirmation names the number of moves, so that a slow announcer never confirms a
        ///   move that it did not know of.
        /// - What a member may not see does not exist for them: a message from before they joined is not found, even
        ///   if it is their own from an earlier membership.
        /// - [`bounds`] checks the bounds of every call before anything else.
        pub trait Records: Send + Sync {
            $($(#[$doc])*
            fn $method(&self, $($argument: $type),*) -> impl Future<Output = Answer<$answer>> + Send;)*
        }
    };
}

crate::records_operations!(define_port);
