//! Reading presence: users see their contacts, services see everybody.

use roost_core::event::{self, PresenceView};
use roost_core::ids::UserId;
use roost_core::limits::LIST_MAX;
use roost_core::presence::{self, Viewer};
use roost_function::{Answer, Caller, Edge, Failure, Reply, Request, SyncRequest, run};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::USER;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UsersBody {
    /// The users whose presence is asked for.
    #[schemars(length(max = LIST_MAX))]
    users: Vec<UserId>,
}

/// The shape of a reply with the presence of several users. [`presence_list`] writes it without this type.
#[derive(JsonSchema, Serialize)]
pub(crate) struct PresenceList {
    /// The presence of each user, in the order in which they were asked for.
    presence: Vec<PresenceView>,
}

pub(crate) fn one(request: &Request) -> Answer {
    let user = request.path(USER)?;
    let found = run(presence::query(&Edge, viewer(request)?, &[user]))?;
    Reply::ok(found.first().ok_or_else(|| Failure::internal("a query for one user returned no presence"))?)
}

pub(crate) fn many(request: &Request) -> Answer {
    let UsersBody { users } = request.body()?;
    presence_list(&run(presence::query(&Edge, viewer(request)?, &users))?)
}

fn viewer(request: &Request) -> Result<Viewer, Failure> {
    match request.caller {
        Caller::Service => Ok(Viewer::Service),
        _ => request.user().map(Viewer::User),
    }
}

pub(crate) fn sync(sync: &SyncRequest) -> Answer {
    presence_list(&run(presence::of_contacts(&Edge, sync.user))?)
}

pub(crate) fn presence_list(views: &[PresenceView]) -> Answer {
    let json = event::presence_list(views).map_err(|_| Failure::internal("a timestamp beyond the year 9999"))?;
    Ok(Reply::json(json))
}
