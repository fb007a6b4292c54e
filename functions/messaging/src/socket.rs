//! What the function says of its frames and events for `/v1/asyncapi.json`.

use roost_core::event::{
    ConversationView, DeletedPayload, ErasedPayload, MembersPayload, MessageView, ReadUpdatePayload, RemovedPayload,
    UnreadUpdatePayload,
};
use roost_core::messaging::ReadReply;
use roost_core::source::Sourced;
use roost_function::SocketDescription;

use crate::{conversation, message, position};

pub(crate) fn describe(socket: SocketDescription) -> SocketDescription {
    events(frames(socket)).sync::<Sourced<conversation::ConversationPage<'_>>>()
}

fn frames(socket: SocketDescription) -> SocketDescription {
    socket
        .frame::<message::NewMessagePayload, message::Stored<MessageView<'_>>>(
            "message.send",
            "Sends a message. The same id again: the message as it is now.",
        )
        .frame::<message::EditPayload, message::Stored<MessageView<'_>>>(
            "message.edit",
            "Changes the content of one of the user's own messages.",
        )
        .frame::<message::DeletePayload, message::Stored<message::DeletedMessage>>(
            "message.delete",
            "Deletes a message: the user's own, or as the creator of a group anybody's.",
        )
        .frame::<position::ReadPayload, Sourced<ReadReply>>(
            "conversation.read",
            "Marks everything up to a sequence number as read; without one, everything.",
        )
}

fn events(socket: SocketDescription) -> SocketDescription {
    socket
        .durable::<MessageView<'_>>(
            "message.new",
            "To every member, the sender's devices included: a new message. The device that sent it receives the event, \
             too, usually before the answer to `message.send`.",
        )
        .durable::<MessageView<'_>>("message.updated", "To every member: a message was edited.")
        .durable::<DeletedPayload>("message.deleted", "To every member: a message was deleted.")
        .durable::<ReadUpdatePayload>(
            "message.read_update",
            "To other members: a member's read position has moved. Ephemeral in conversations of more than 8 members.",
        )
        .durable::<UnreadUpdatePayload>(
            "unread.update",
            "To the user's devices: a counter has changed by anything but a `message.new`.",
        )
        .durable::<ConversationView<'_>>(
            "conversation.added",
            "To whoever became a member: the conversation as in a page.",
        )
        .durable::<MembersPayload<'_>>(
            "conversation.members",
            "To the other members, where there are at most 100: who was added or removed.",
        )
        .durable::<RemovedPayload>("conversation.removed", "To whoever is no member any more.")
        .durable::<ErasedPayload>("user.erased", "To the devices of a user who is erased, and to functions.")
}
