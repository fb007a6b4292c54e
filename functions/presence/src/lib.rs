//! Presence over HTTP, sockets and hooks: who beats, who leaves, who asks. Also sweeps for those whose beats stopped.

use roost_core::event::PresenceView;
use roost_core::ids::{ConnectionId, UserId};
use roost_core::key::Space;
use roost_core::limits::{BEAT_INTERVAL_MS, PRESENCE_SHARDS, SWEEP_INTERVAL_MS};
use roost_core::port::Operation;
use roost_core::presence::{self, Viewer};
use roost_function::{
    Access, Answer, Caller, Connection, Edge, Failure, Frame, Grants, Hook, Reply, Request, Route, Schedule, Schema,
    Sync, run,
};
use serde::{Deserialize, Serialize};

const DEVICE: Schema = Schema::Object(&[("connection", Schema::Optional(&Schema::Text))]);
const USERS: Schema = Schema::Object(&[("users", Schema::List(&Schema::Id))]);
const NEXT_BEAT: Schema = Schema::Object(&[("beat_interval_ms", Schema::Number)]);
const PRESENCE: Schema = Schema::Object(&[("presence", Schema::List(&Schema::PRESENCE))]);
const SPACES: &[Space] = &[Space::Online, Space::Presence, Space::Devices, Space::PresenceDue];

roost_function::function! {
    routes: &[
        Route::post("/v1/presence", Access::User, beat)
            .about("A sign of life from a client without a socket.")
            .takes(DEVICE)
            .gives(&[(200, Some(NEXT_BEAT))]),
        Route::delete("/v1/presence", Access::User, leave)
            .about("A client without a socket says goodbye.")
            .takes(DEVICE)
            .gives(&[(204, None)]),
        Route::get("/v1/presence/{user}", Access::ServiceOrUser, one)
            .about("A user's presence. Somebody who may not be seen looks offline.")
            .gives(&[(200, Some(Schema::PRESENCE))]),
        Route::post("/v1/presence/query", Access::ServiceOrUser, many)
            .about("The presence of up to 500 users, in the order asked.")
            .takes(USERS)
            .gives(&[(200, Some(PRESENCE))]),
    ],
    frames: &[("presence.beat", beat_of_frame)],
    hooks: &[
        Hook::Connected(connected),
        Hook::Beat(beats),
        Hook::Disconnected(disconnected),
        Hook::Sync(sync),
    ],
    schedules: &[Schedule { name: "sweep", every_ms: SWEEP_INTERVAL_MS, shards: PRESENCE_SHARDS, handler: sweep }],
    grants: Grants { read: SPACES, write: SPACES, publish: true, records: &[Operation::Audience] },
}

/// Names one of several clients without a socket; those that give no name count as one.
#[derive(Deserialize)]
struct Device {
    connection: Option<ConnectionId>,
}

fn device(request: &Request) -> Result<(UserId, ConnectionId), Failure> {
    let device: Device = request.body()?;
    let connection = device.connection.map_or_else(|| "http".parse(), Ok);
    Ok((request.user()?, connection.map_err(|error| Failure::internal(error.to_string()))?))
}

fn beat(request: &Request) -> Answer {
    run(presence::beat(&Edge, &[device(request)?]))?;
    #[derive(Serialize)]
    struct NextBeat {
        beat_interval_ms: u64,
    }
    Reply::ok(&NextBeat { beat_interval_ms: BEAT_INTERVAL_MS })
}

fn leave(request: &Request) -> Answer {
    let (user, connection) = device(request)?;
    run(presence::leave(&Edge, user, &connection))?;
    Ok(Reply::done())
}

fn one(request: &Request) -> Answer {
    let user = request.parameter("user")?;
    let found = run(presence::query(&Edge, viewer(request)?, &[user]))?;
    Reply::ok(found.first().ok_or_else(|| Failure::internal("a query of one user without an answer"))?)
}

#[derive(Deserialize)]
struct Users {
    users: Vec<UserId>,
}

fn many(request: &Request) -> Answer {
    let Users { users } = request.body()?;
    told(run(presence::query(&Edge, viewer(request)?, &users))?)
}

fn viewer(request: &Request) -> Result<Viewer, Failure> {
    match request.caller {
        Caller::Service => Ok(Viewer::Service),
        _ => request.user().map(Viewer::User),
    }
}

fn beat_of_frame(frame: &Frame) -> Answer {
    run(presence::beat(&Edge, &[(frame.user, frame.connection.clone())]))?;
    Ok(Reply::empty())
}

fn connected(connection: &Connection) -> Answer {
    told(run(presence::connected(&Edge, connection.user, &connection.id))?)
}

fn beats(connections: &[Connection]) -> Answer {
    let beats: Vec<_> = connections.iter().map(|connection| (connection.user, connection.id.clone())).collect();
    run(presence::beat(&Edge, &beats))?;
    Ok(Reply::done())
}

fn disconnected(connection: &Connection) -> Answer {
    run(presence::leave(&Edge, connection.user, &connection.id))?;
    Ok(Reply::done())
}

fn sync(sync: &Sync) -> Answer {
    told(run(presence::of_contacts(&Edge, sync.user))?)
}

fn sweep(shard: &u32) -> Answer {
    run(presence::sweep(&Edge, *shard))?;
    Ok(Reply::done())
}

fn told(presence: Vec<PresenceView>) -> Answer {
    #[derive(Serialize)]
    struct Presence {
        presence: Vec<PresenceView>,
    }
    Reply::ok(&Presence { presence })
}
