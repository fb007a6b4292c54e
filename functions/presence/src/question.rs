//! Who asks for presence: users, who see their contacts, and services, who see everybody.

use roost_core::event::{self, PresenceView};
use roost_core::ids::UserId;
use roost_core::presence::{self, Viewer};
use roost_function::{Answer, Caller, Edge, Failure, Reply, Request, Schema, Sync, run};
use serde::Deserialize;

pub(crate) const USERS: Schema = Schema::Object(&[("users", Schema::List(&Schema::Id))]);
pub(crate) const PRESENCE: Schema = Schema::Object(&[("presence", Schema::List(&Schema::PRESENCE))]);

pub(crate) fn one(request: &Request) -> Answer {
    let user = request.parameter("user")?;
    let found = run(presence::query(&Edge, viewer(request)?, &[user]))?;
    Reply::ok(found.first().ok_or_else(|| Failure::internal("a query of one user without an answer"))?)
}

pub(crate) fn many(request: &Request) -> Answer {
    #[derive(Deserialize)]
    struct Users {
        users: Vec<UserId>,
    }
    let Users { users } = request.body()?;
    told(run(presence::query(&Edge, viewer(request)?, &users))?)
}

fn viewer(request: &Request) -> Result<Viewer, Failure> {
    match request.caller {
        Caller::Service => Ok(Viewer::Service),
        _ => request.user().map(Viewer::User),
    }
}

pub(crate) fn sync(sync: &Sync) -> Answer {
    told(run(presence::of_contacts(&Edge, sync.user))?)
}

pub(crate) fn told(views: Vec<PresenceView>) -> Answer {
    let json = event::presence_list(&views).map_err(|_| Failure::internal("a moment beyond the year 9999"))?;
    Ok(Reply::json(json))
}
