//! Tells the other members of a conversation that somebody is typing.
//!
//! This is the example of the README: a whole function, from the frame to the answer. It keeps nothing and decides
//! nothing; who is told is a rule of `roost-core`.

use roost_core::ids::ConversationId;
use roost_core::port::Operation;
use roost_core::typing;
use roost_function::{Answer, Edge, Frame, Grants, Reply, run};
use serde::Deserialize;

// What the host is told when the function is deployed: a frame `{"type":"typing",…}` from any socket comes to `typing`
// below, which may ask the records for a conversation's members, and may tell users something. Anything else that it
// tried would be denied. Routes, hooks and schedules would stand here too.
roost_function::function! {
    frames: &[("typing", typing)],
    grants: Grants { publish: true, records: &[Operation::Membership], ..Grants::NONE },
}

/// The frame's payload. A field that is missing, unknown or no UUID is refused, by name.
#[derive(Deserialize)]
struct Typing {
    conversation: ConversationId,
}

/// The frame's user is who the socket's token says, not who the frame says.
fn typing(frame: &Frame) -> Answer {
    let Typing { conversation } = frame.payload()?;
    run(typing::typing(&Edge, frame.user, conversation))?;
    Ok(Reply::empty())
}
