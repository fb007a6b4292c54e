//! Listing, adding and removing members of a conversation: by a member, or by a service that acts for itself.

use roost_core::ids::{Seq, UserId};
use roost_core::messaging;
use roost_core::port::{Clock, Member, MemberChange, MembersQuery};
use roost_function::{Answer, Caller, Edge, Failure, QueryParameter, Reply, Request, run};
use schemars::JsonSchema;
use serde::Serialize;

use crate::{CONVERSATION, USER};

/// The `next_cursor` of an earlier page.
pub(crate) const AFTER: QueryParameter<UserId> = QueryParameter::new("cursor");

#[derive(JsonSchema, Serialize)]
pub(crate) struct Members {
    /// The members of the conversation after the change.
    members: Vec<UserId>,
}

#[derive(JsonSchema, Serialize)]
pub(crate) struct MembersPage {
    /// The members, ordered by id.
    members: Vec<MemberView>,
    /// The cursor of the next page. `null` if this is the last page.
    next_cursor: Option<UserId>,
}

#[derive(JsonSchema, Serialize)]
struct MemberView {
    /// The user who is a member.
    user: UserId,
    /// The member's read position: every message up to this sequence number is read. If there is a block between the
    /// member and the caller, it is `joined`.
    read: Seq,
    /// The member sees the messages after this sequence number.
    joined: Seq,
}

pub(crate) fn list(request: &Request) -> Answer {
    let (actor, after) = (actor(request)?, request.query(AFTER)?);
    let query = MembersQuery { conversation: request.path(CONVERSATION)?, actor, after, limit: request.limit()? };
    let page = run(messaging::members(&Edge, query))?;
    let view = |Member { user, joined, read }| MemberView { user, read, joined };
    Reply::ok(&MembersPage { members: page.members.into_iter().map(view).collect(), next_cursor: page.next })
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
    let (conversation, user) = (request.path(CONVERSATION)?, request.path(USER)?);
    Ok(MemberChange { conversation, actor: actor(request)?, user, at: Edge.now() })
}

/// The user who asks; `None` for a service that acts for itself.
pub(crate) fn actor(request: &Request) -> Result<Option<UserId>, Failure> {
    match request.caller {
        Caller::Service => Ok(None),
        _ => request.user().map(Some),
    }
}
