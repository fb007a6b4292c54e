//! Conversations and messages over HTTP and sockets: this table, and a file for each noun in it.

mod conversation;
mod member;
mod message;
mod position;

use roost_core::key::Space;
use roost_core::limits::RECOVERY_INTERVAL_MS;
use roost_core::messaging;
use roost_core::port::Operation;
use roost_function::{Access, Edge, Grants, Hook, Reply, Route, Schedule, Schema, run};

const SPACES: &[Space] = &[
    Space::UnreadTotal,
    Space::UnreadConversation,
    Space::UnreadSequence,
    Space::UnreadRead,
    Space::UnreadLease,
    Space::LastMessage,
];

roost_function::function! {
    routes: &[
        Route::post("/v1/conversations", Access::User, conversation::create)
            .about("Creates a conversation; the caller becomes a member. The same id and members again: 200.")
            .takes(conversation::NEW)
            .gives(&[(201, Some(conversation::CREATED)), (200, Some(conversation::CREATED))]),
        Route::get("/v1/conversations", Access::User, conversation::page)
            .about("The caller's conversations, newest activity first.")
            .queries(&[("cursor", Schema::Text), ("limit", Schema::Limit)])
            .gives(&[(200, Some(conversation::PAGE))]),
        Route::put("/v1/conversations/{id}/members/{user}", Access::ServiceOrUser, member::add)
            .about("Adds a member, who sees what comes after.")
            .gives(&[(200, Some(member::MEMBERS))]),
        Route::delete("/v1/conversations/{id}/members/{user}", Access::ServiceOrUser, member::remove)
            .about("Leaves, or removes a member.")
            .gives(&[(204, None)]),
        Route::post("/v1/conversations/{id}/messages", Access::User, message::post)
            .about("Sends a message. The same id again: 200 and the message as it stands.")
            .takes(message::DRAFT)
            .gives(&[(201, Some(message::STORED)), (200, Some(message::STORED))]),
        Route::get("/v1/conversations/{id}/messages", Access::User, message::history)
            .about("Messages, newest first, below the sequence number `before`.")
            .queries(&[("before", Schema::Number), ("limit", Schema::Limit)])
            .gives(&[(200, Some(message::HISTORY))]),
        Route::patch("/v1/conversations/{id}/messages/{message}", Access::User, message::patch)
            .about("Changes the content of a message of one's own.")
            .takes(message::CONTENT)
            .gives(&[(200, Some(message::STORED))]),
        Route::delete("/v1/conversations/{id}/messages/{message}", Access::User, message::remove)
            .about("Takes a message of one's own back. 200 if the members are told later.")
            .gives(&[(204, None), (200, Some(message::LATER))]),
        Route::post("/v1/conversations/{id}/read", Access::User, position::post)
            .about("Marks everything up to a sequence number as read; without one, everything.")
            .takes(position::UP_TO)
            .gives(&[(200, Some(position::READ))]),
    ],
    frames: &[
        ("message.send", message::send),
        ("message.edit", message::edit),
        ("message.delete", message::delete),
        ("conversation.read", position::read),
    ],
    hooks: &[Hook::Sync(conversation::sync)],
    schedules: &[Schedule {
        name: "recover",
        every_ms: RECOVERY_INTERVAL_MS,
        shards: 1,
        handler: |_| {
            run(messaging::recover(&Edge))?;
            Ok(Reply::done())
        },
    }],
    grants: Grants {
        read: SPACES,
        write: SPACES,
        publish: true,
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
            Operation::AddMember,
            Operation::RemoveMember,
            Operation::Pending,
            Operation::Announced,
        ],
    },
}
