//! A user's devices: they connect, send heartbeats and disconnect, with a socket or without.

use roost_core::ids::{ConnectionId, UserId};
use roost_core::limits::HEARTBEAT_INTERVAL_MS;
use roost_core::presence;
use roost_function::{Answer, Connection, Edge, Failure, Reply, Request, SocketMessage, run};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::query::presence_list;

/// The connection id of clients without a socket that do not send one. All of them count as one device.
const DEFAULT_CONNECTION: &str = "http";

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeviceBody {
    /// The client's own id for this device. Clients that send none count as one device.
    connection: Option<ConnectionId>,
}

#[derive(JsonSchema, Serialize)]
pub(crate) struct NextHeartbeat {
    /// The next heartbeat is due after this time.
    beat_interval_ms: u64,
}

pub(crate) fn post(request: &Request) -> Answer {
    let (user, connection) = device(request)?;
    run(presence::client_heartbeat(&Edge, user, &connection))?;
    next_heartbeat()
}

pub(crate) fn socket_heartbeat(message: &SocketMessage) -> Answer {
    run(presence::heartbeat(&Edge, &[(message.user, message.connection.clone())]))?;
    next_heartbeat()
}

fn next_heartbeat() -> Answer {
    Reply::ok(&NextHeartbeat { beat_interval_ms: HEARTBEAT_INTERVAL_MS })
}

pub(crate) fn delete(request: &Request) -> Answer {
    let (user, connection) = device(request)?;
    run(presence::disconnect(&Edge, user, &connection))?;
    Ok(Reply::done())
}

fn device(request: &Request) -> Result<(UserId, ConnectionId), Failure> {
    let DeviceBody { connection } = request.body()?;
    let connection = connection.map_or_else(|| DEFAULT_CONNECTION.parse(), Ok);
    Ok((request.user()?, connection.map_err(|error| Failure::internal(error.to_string()))?))
}

pub(crate) fn connected(connection: &Connection) -> Answer {
    presence_list(&run(presence::connected(&Edge, connection.user, &connection.id))?)
}

pub(crate) fn heartbeats(connections: &[Connection]) -> Answer {
    let devices: Vec<_> = connections.iter().map(|connection| (connection.user, connection.id.clone())).collect();
    run(presence::heartbeat(&Edge, &devices))?;
    Ok(Reply::done())
}

pub(crate) fn disconnected(connection: &Connection) -> Answer {
    run(presence::disconnect(&Edge, connection.user, &connection.id))?;
    Ok(Reply::done())
}
