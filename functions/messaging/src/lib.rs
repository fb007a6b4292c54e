//! Conversations and messages over HTTP and sockets: the table of what the function offers. Each module has the
//! handlers for one noun.

mod conversation;
mod member;
mod message;
mod position;
mod socket;
mod user;

use roost_core::event::{ConversationView, MessageView};
use roost_core::ids::{ConversationId, UserId};
use roost_core::key::Space;
use roost_core::limits::RECOVERY_INTERVAL_MS;
use roost_core::messaging::{self, ReadReply};
use roost_core::port::Operation;
use roost_core::source::Sourced;
use roost_function::{Access, Edge, Grants, Hook, LIMIT, PathParameter, Recipients, Reply, Route, Schedule, run};

const CONVERSATION: PathParameter<ConversationId> = PathParameter::new("id");
const USER: PathParameter<UserId> = PathParameter::new("user");
const SPACES: &[Space] = &[
    Space::UnreadTotal,
    Space::UnreadConversation,
    Space::UnreadSequence,
    Space::UnreadRead,
    Space::UnreadLease,
    Space::LastMessage,
    Space::Followed,
    Space::ReadReceipt,
    // Of users who are erased.
    Space::Online,
    Space::Presence,
    Space::Devices,
    Space::PresenceDue,
];

roost_function::function! {
    routes: &[
        Route::post("/v1/conversations", Access::User, conversation::create).described(|route| {
            route
                .summary(
                    "Creates a conversation, or the one pair of two users. The same id with the same members, or a pair that \
                     exists: 200 instead of 201.",
                )
                .body::<conversation::NewConversationBody>()
                .reply::<ConversationView<'_>>(201)
                .reply::<ConversationView<'_>>(200)
        }),
        Route::get("/v1/conversations", Access::User, conversation::page).described(|route| {
            route
                .summary("The caller's conversations, newest message first.")
                .query(conversation::CURSOR)
                .query(LIMIT)
                .reply::<Sourced<conversation::ConversationPage<'_>>>(200)
        }),
        Route::get("/v1/conversations/{id}", Access::User, conversation::get).described(|route| {
            route
                .summary("One of the caller's conversations.")
                .path(CONVERSATION)
                .reply::<Sourced<ConversationView<'_>>>(200)
        }),
        Route::get("/v1/conversations/{id}/members", Access::ServiceOrUser, member::list).described(|route| {
            route
                .summary("The members of a conversation with their read positions, ordered by id.")
                .path(CONVERSATION)
                .query(member::AFTER)
                .query(LIMIT)
                .reply::<member::MembersPage>(200)
        }),
        Route::put("/v1/conversations/{id}/members/{user}", Access::ServiceOrUser, member::add).described(|route| {
            route
                .summary("Adds a member, who sees the messages that follow.")
                .path(CONVERSATION)
                .path(USER)
                .reply::<member::Members>(200)
        }),
        Route::delete("/v1/conversations/{id}/members/{user}", Access::ServiceOrUser, member::remove).described(
            |route| route.summary("Leaves a conversation, or removes a member.").path(CONVERSATION).path(USER).no_content(),
        ),
        Route::post("/v1/conversations/{id}/messages", Access::User, message::post).described(|route| {
            route
                .summary("Sends a message. The same id again: 200 and the message as it is now.")
                .path(CONVERSATION)
                .body::<message::NewMessageBody>()
                .reply::<message::Stored<MessageView<'_>>>(201)
                .reply::<message::Stored<MessageView<'_>>>(200)
        }),
        Route::get("/v1/conversations/{id}/messages", Access::User, message::history).described(|route| {
            route
                .summary("Messages below the sequence number `before`, newest first.")
                .path(CONVERSATION)
                .query(message::BEFORE)
                .query(LIMIT)
                .reply::<message::History<'_>>(200)
        }),
        Route::patch("/v1/conversations/{id}/messages/{message}", Access::User, message::patch).described(|route| {
            route
                .summary("Changes the content of one of the caller's own messages.")
                .path(CONVERSATION)
                .path(message::MESSAGE)
                .body::<message::NewContentBody>()
                .reply::<message::Stored<MessageView<'_>>>(200)
        }),
        Route::delete("/v1/conversations/{id}/messages/{message}", Access::ServiceOrUser, message::remove).described(|route| {
            route
                .summary(
                    "Deletes a message: one of the caller's own, as the creator of a group or as a service anybody's. 200 if the \
                     members are notified later.",
                )
                .path(CONVERSATION)
                .path(message::MESSAGE)
                .no_content()
                .reply::<message::Stored<message::Deleted>>(200)
        }),
        Route::post("/v1/conversations/{id}/read", Access::User, position::post).described(|route| {
            route
                .summary("Marks everything up to a sequence number as read; without one, everything.")
                .path(CONVERSATION)
                .body::<position::ReadBody>()
                .reply::<Sourced<ReadReply>>(200)
        }),
        Route::delete("/v1/users/{user}", Access::Service, user::erase).described(|route| {
            route
                .summary("Erases a user. 202: there is more to erase; the same request again goes on.")
                .path(USER)
                .reply::<user::Erasing>(200)
                .reply::<user::Erasing>(202)
        }),
    ],
    frames: &[
        ("message.send", message::send),
        ("message.edit", message::edit),
        ("message.delete", message::delete),
        ("conversation.read", position::read),
    ],
    socket: socket::describe,
    hooks: &[Hook::Sync(conversation::sync)],
    schedules: &[
        Schedule {
            name: "recover",
            every_ms: RECOVERY_INTERVAL_MS,
            shards: 1,
            handler: |_| {
                run(messaging::recover(&Edge))?;
                Ok(Reply::done())
            },
        },
        // A schedule of its own, so that announcements that keep failing never delay the others.
        Schedule {
            name: "retry",
            every_ms: RECOVERY_INTERVAL_MS,
            shards: 1,
            handler: |_| {
                run(messaging::retry(&Edge))?;
                Ok(Reply::done())
            },
        },
    ],
    grants: Grants {
        read: SPACES,
        write: SPACES,
        publish: Recipients::Anyone,
        records: &[
            Operation::AppendMessage,
            Operation::EditMessage,
            Operation::DeleteMessage,
            Operation::MarkRead,
            Operation::Unread,
            Operation::Changes,
            Operation::LastMessages,
            Operation::Membership,
            Operation::Conversations,
            Operation::History,
            Operation::CreateConversation,
            Operation::CreateDirect,
            Operation::AddMember,
            Operation::RemoveMember,
            Operation::Members,
            Operation::Audience,
            Operation::Relation,
            Operation::EraseUser,
            Operation::Pending,
            Operation::Announced,
            Operation::Postpone,
        ],
    },
}
