//! Presence over HTTP, sockets and hooks: this table, and a file for those who are seen and one for those who look.

mod device;
mod question;

use roost_core::key::Space;
use roost_core::limits::{PRESENCE_SHARDS, SWEEP_INTERVAL_MS};
use roost_core::port::Operation;
use roost_core::presence;
use roost_function::{Access, Edge, Grants, Hook, Reply, Route, Schedule, Schema, run};

const SPACES: &[Space] = &[Space::Online, Space::Presence, Space::Devices, Space::PresenceDue];

roost_function::function! {
    routes: &[
        Route::post("/v1/presence", Access::User, device::post)
            .about("A sign of life from a client without a socket.")
            .takes(device::DEVICE)
            .gives(&[(200, Some(device::NEXT_BEAT))]),
        Route::delete("/v1/presence", Access::User, device::delete)
            .about("A client without a socket says goodbye.")
            .takes(device::DEVICE)
            .gives(&[(204, None)]),
        Route::get("/v1/presence/{user}", Access::ServiceOrUser, question::one)
            .about("A user's presence. Somebody who may not be seen looks offline.")
            .gives(&[(200, Some(Schema::PRESENCE))]),
        Route::post("/v1/presence/query", Access::ServiceOrUser, question::many)
            .about("The presence of up to 500 users, in the order asked.")
            .takes(question::USERS)
            .gives(&[(200, Some(question::PRESENCE))]),
    ],
    frames: &[("presence.beat", device::frame)],
    hooks: &[
        Hook::Connected(device::connected),
        Hook::Beat(device::beat),
        Hook::Disconnected(device::disconnected),
        Hook::Sync(question::sync),
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
    grants: Grants { read: SPACES, write: SPACES, publish: true, records: &[Operation::Audience] },
}
