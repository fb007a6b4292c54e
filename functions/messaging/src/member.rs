//! Adding and removing members of a conversation: by a member, or by a service that acts for itself.

use roost_core::ids::UserId;
use roost_core::messaging;
use roost_core::port::{Clock, MemberChange};
use roost_function::{Answer, Caller, Edge, Failure, Reply, Request, run};
use schemars::JsonSchema;
use serde::Serialize;

use crate::{CONVERSATION, USER};

#[derive(JsonSchema, Serialize)]
pub(crate) struct Members {
    /// The members of the conversation after the change.
    members: Vec<UserId>,
}

pub(crate) fn add(request: &Request) -> Answer {
    let members = run(messaging::add_member(&Edge, change(request)?))?;
    Reply::ok(&Members { members })
}

pub(crate) fn remove(request: &Request) -> Answer {
    run(messaging::remove_member(&Edge, change(request)?))?;
    Ok(Reply::done())
}

fn change(request: &Request) -> Result<MemberChange, Failure> {
    let actor = match request.caller {
        Caller::Service => None,
        _ => Some(request.user()?),
    };
    let (conversation, user) = (request.path(CONVERSATION)?, request.path(USER)?);
    Ok(MemberChange { conversation, actor, user, at: Edge.now() })
}
