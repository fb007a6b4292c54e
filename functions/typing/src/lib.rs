//! Tells the other members of a conversation that a user is typing.
//!
//! This is the example of the README: a whole function, from the socket message to the answer. It keeps no state and
//! contains no rule; `roost-core` decides who is notified.

use roost_core::event::TypingPayload;
use roost_core::ids::ConversationId;
use roost_core::port::Operation;
use roost_core::typing;
use roost_function::{Answer, Edge, EmptyReply, Grants, Recipients, Reply, SocketMessage, run};
use schemars::JsonSchema;
use serde::Deserialize;

// The manifest that the host reads when the function is deployed. A message `{"type":"typing",…}` from any socket calls
// `typing` below. The function may ask the records for the members of a conversation, and may publish events to users;
// any other call of the host is denied. `socket` describes the messages and the events for `/v1/asyncapi.json`. Routes,
// hooks and schedules are declared here too.
roost_function::function! {
    frames: &[("typing", typing)],
    socket: |socket| {
        socket
            .frame::<Typing, EmptyReply>("typing", "Tells the other members of a conversation that the user is typing.")
            .ephemeral::<TypingPayload>("typing", "Another member of a conversation is typing.")
    },
    grants: Grants { publish: Recipients::Anyone, records: &[Operation::Membership], ..Grants::NONE },
}

/// The payload of the message. A missing field, an unknown field and a value that is not a UUID are refused by name.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Typing {
    /// The conversation in which the user is typing.
    conversation: ConversationId,
}

/// The user comes from the token that opened the socket, never from the message.
fn typing(message: &SocketMessage) -> Answer {
    let Typing { conversation } = message.payload()?;
    run(typing::typing(&Edge, message.user, conversation))?;
    Ok(Reply::empty())
}
