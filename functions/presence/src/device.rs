//! A user's devices: they connect, beat and leave, with a socket or without.

use roost_core::ids::{ConnectionId, UserId};
use roost_core::limits::BEAT_INTERVAL_MS;
use roost_core::presence;
use roost_function::{Answer, Connection, Edge, Failure, Frame, Reply, Request, Schema, run};
use serde::{Deserialize, Serialize};

use crate::question::told;

pub(crate) const DEVICE: Schema = Schema::Object(&[("connection", Schema::Optional(&Schema::Text))]);
pub(crate) const NEXT_BEAT: Schema = Schema::Object(&[("beat_interval_ms", Schema::Number)]);

/// Clients without a socket that give themselves no name count as one device.
const NAMELESS: &str = "http";

pub(crate) fn post(request: &Request) -> Answer {
    beat_one(named(request)?)
}

pub(crate) fn frame(frame: &Frame) -> Answer {
    beat_one((frame.user, frame.connection.clone()))
}

fn beat_one(device: (UserId, ConnectionId)) -> Answer {
    #[derive(Serialize)]
    struct NextBeat {
        beat_interval_ms: u64,
    }
    run(presence::heartbeat(&Edge, &[device]))?;
    Reply::ok(&NextBeat { beat_interval_ms: BEAT_INTERVAL_MS })
}

pub(crate) fn delete(request: &Request) -> Answer {
    let (user, connection) = named(request)?;
    run(presence::disconnect(&Edge, user, &connection))?;
    Ok(Reply::done())
}

fn named(request: &Request) -> Result<(UserId, ConnectionId), Failure> {
    #[derive(Deserialize)]
    struct Device {
        connection: Option<ConnectionId>,
    }
    let Device { connection } = request.body()?;
    let connection = connection.map_or_else(|| NAMELESS.parse(), Ok);
    Ok((request.user()?, connection.map_err(|error| Failure::internal(error.to_string()))?))
}

pub(crate) fn connected(connection: &Connection) -> Answer {
    told(run(presence::connected(&Edge, connection.user, &connection.id))?)
}

pub(crate) fn beat(connections: &[Connection]) -> Answer {
    let devices: Vec<_> = connections.iter().map(|connection| (connection.user, connection.id.clone())).collect();
    run(presence::heartbeat(&Edge, &devices))?;
    Ok(Reply::done())
}

pub(crate) fn disconnected(connection: &Connection) -> Answer {
    run(presence::disconnect(&Edge, connection.user, &connection.id))?;
    Ok(Reply::done())
}
