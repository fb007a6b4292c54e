//! Presence over HTTP, sockets and hooks: the table of what the function offers. `device` has the handlers of those
//! whose presence is shown, `query` has the handlers of those who look at it.

mod device;
mod query;

use roost_core::event::{PresencePayload, PresenceView};
use roost_core::ids::UserId;
use roost_core::key::Space;
use roost_core::limits::{PRESENCE_SHARDS, SWEEP_INTERVAL_MS};
use roost_core::port::Operation;
use roost_core::presence;
use roost_function::{Access, Edge, Grants, Hook, PathParameter, Recipients, Reply, Route, Schedule, run};

const USER: PathParameter<UserId> = PathParameter::new("user");
const SPACES: &[Space] =
    &[Space::Online, Space::Presence, Space::Devices, Space::PresenceDue, Space::PresenceSweep, Space::Followed];

roost_function::function! {
    routes: &[
        Route::post("/v1/presence", Access::User, device::post).described(|route| {
            route
                .summary("A heartbeat from a client without a socket.")
                .body::<device::DeviceBody>()
                .reply::<device::NextHeartbeat>(200)
        }),
        Route::delete("/v1/presence", Access::User, device::delete).described(|route| {
            route.summary("A client without a socket disconnects.").body::<device::DeviceBody>().no_content()
        }),
        Route::get("/v1/presence/{user}", Access::ServiceOrUser, query::one).described(|route| {
            route
                .summary("The presence of one user. A user whom the caller may not see is shown as offline.")
                .path(USER)
                .reply::<PresenceView>(200)
        }),
        Route::post("/v1/presence/query", Access::ServiceOrUser, query::many).described(|route| {
            route
                .summary("The presence of up to 500 users, in the order in which they are asked for.")
                .body::<query::UsersBody>()
                .reply::<query::PresenceList>(200)
        }),
    ],
    frames: &[("presence.beat", device::socket_heartbeat)],
    socket: |socket| {
        socket
            .frame::<(), device::NextHeartbeat>(
                "presence.beat",
                "A heartbeat. Not needed: the host sends heartbeats for every socket that answers pings.",
            )
            .ephemeral::<PresencePayload>("user.online", "A contact is online, or may be seen from now on.")
            .ephemeral::<PresencePayload>("user.offline", "A contact is offline, or may not be seen any more.")
            .hello::<query::PresenceList>()
            .sync::<query::PresenceList>()
    },
    hooks: &[
        Hook::Connected(device::connected),
        Hook::Heartbeat(device::heartbeats),
        Hook::Disconnected(device::disconnected),
        Hook::Sync(query::sync),
    ],
    schedules: &[Schedule {
        name: "sweep",
        every_ms: SWEEP_INTERVAL_MS,
        shards: PRESENCE_SHARDS,
        handler: |shard| {
            run(presence::sweep(&Edge, *shard))?;
            Ok(Reply::done())
        },
    }],
    grants: Grants {
        read: SPACES,
        write: SPACES,
        publish: Recipients::Anyone,
        // The documents hold the note of hosts that are cut off from the store.
        records: &[Operation::Audience, Operation::ReadDocuments, Operation::PutDocument],
    },
}
