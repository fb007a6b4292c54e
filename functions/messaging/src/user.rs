//! Erasing users, which services ask for in as many requests as it takes.

use roost_core::ids::UserId;
use roost_core::messaging;
use roost_function::{Answer, Edge, Reply, Request, run};
use schemars::JsonSchema;
use serde::Serialize;

use crate::USER;

/// How far the erasing of a user has come.
#[derive(JsonSchema, Serialize)]
pub(crate) struct Erasing {
    /// The user who is erased.
    user: UserId,
    /// Whether nothing of the user is left but deleted messages. Otherwise the same request again goes on.
    done: bool,
}

pub(crate) fn erase(request: &Request) -> Answer {
    let user = request.path(USER)?;
    let done = run(messaging::erase(&Edge, user))?;
    let erasing = Erasing { user, done };
    if done { Reply::ok(&erasing) } else { Reply::accepted(&erasing) }
}
