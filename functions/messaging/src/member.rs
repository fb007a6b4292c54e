//! Adding and removing members, by one of them or by a service on its own.

use roost_core::ids::UserId;
use roost_core::messaging;
use roost_core::port::{Clock, MemberChange};
use roost_function::{Answer, Caller, Edge, Failure, Reply, Request, Schema, run};
use serde::Serialize;

pub(crate) const MEMBERS: Schema = Schema::Object(&[("members", Schema::List(&Schema::Id))]);

pub(crate) fn add(request: &Request) -> Answer {
    #[derive(Serialize)]
    struct Members {
        members: Vec<UserId>,
    }
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
    let (conversation, user) = (request.parameter("id")?, request.parameter("user")?);
    Ok(MemberChange { conversation, actor, user, at: Edge.now() })
}
