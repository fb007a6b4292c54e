//! Converts the types of the WIT interface `handler` to and from those of this crate. All of these conversions are
//! here.

use roost_core::error::ErrorKind;
use roost_core::ids::ConnectionId;
use roost_core::recipients::Recipients;

use crate::bindings::exports::roost::edge::handler;
use crate::edge::list;
use crate::failure::Failure;
use crate::grants::Grants;
use crate::input::{Caller, Connection, Published, Request, SocketMessage, SyncRequest};
use crate::reply::Reply;

/// What the host calls the function for.
pub(crate) enum FunctionCall {
    Http { route: u32, request: Request },
    SocketMessage { name: String, message: SocketMessage },
    Connected(Connection),
    Heartbeat(Vec<Connection>),
    Disconnected(Connection),
    Sync(SyncRequest),
    Tick { schedule: String, shard: u32 },
    Publication(Published),
}

pub(crate) fn read(invocation: handler::Invocation) -> Result<FunctionCall, Failure> {
    let caller = caller(&invocation.caller);
    Ok(match invocation.request {
        handler::Request::Http(http) => FunctionCall::Http {
            route: http.route,
            request: Request {
                caller,
                parameters: http.parameters.unwrap_or_default(),
                query: http.query.unwrap_or_default(),
                body: http.body,
            },
        },
        handler::Request::Message(message) => {
            let Caller::User(user) = caller else {
                return Err(Failure::user_required());
            };
            let connection = connection_id(&message.connection)?;
            let payload = message.payload;
            FunctionCall::SocketMessage { name: message.name, message: SocketMessage { user, connection, payload } }
        }
        handler::Request::Connected(opened) => FunctionCall::Connected(connection(&opened)?),
        handler::Request::Heartbeat(all) => {
            FunctionCall::Heartbeat(all.iter().map(connection).collect::<Result<_, _>>()?)
        }
        handler::Request::Disconnected(closed) => FunctionCall::Disconnected(connection(&closed)?),
        handler::Request::Sync(sync) => {
            FunctionCall::Sync(SyncRequest { user: sync.user.into(), conversations: sync.conversations.map(list) })
        }
        handler::Request::Tick(tick) => FunctionCall::Tick { schedule: tick.schedule, shard: tick.shard },
        handler::Request::Publication(published) => FunctionCall::Publication(Published {
            id: published.id,
            name: published.name,
            users: list(published.users),
            attempt: published.attempt,
            payload: published.payload,
        }),
    })
}

fn caller(caller: &handler::Caller) -> Caller {
    match caller {
        handler::Caller::User(user) => Caller::User((*user).into()),
        handler::Caller::Service => Caller::Service,
        handler::Caller::Anonymous => Caller::Anonymous,
        handler::Caller::Host => Caller::Host,
    }
}

fn connection(connection: &handler::Connection) -> Result<Connection, Failure> {
    Ok(Connection { user: connection.user.into(), id: connection_id(&connection.id)? })
}

fn connection_id(text: &str) -> Result<ConnectionId, Failure> {
    text.parse().map_err(|error| Failure::internal(format!("the host sent an invalid connection id {text:?}: {error}")))
}

pub(crate) fn reply(reply: Reply) -> handler::Reply {
    handler::Reply { status: reply.status, body: reply.body }
}

pub(crate) fn failure(failure: Failure) -> handler::Failure {
    handler::Failure {
        kind: match failure.kind {
            ErrorKind::Invalid => handler::FailureKind::Invalid,
            ErrorKind::Forbidden => handler::FailureKind::Forbidden,
            ErrorKind::NotFound => handler::FailureKind::NotFound,
            ErrorKind::Conflict => handler::FailureKind::Conflict,
            ErrorKind::TooLarge => handler::FailureKind::TooLarge,
            ErrorKind::RateLimited => handler::FailureKind::RateLimited,
            ErrorKind::Unavailable => handler::FailureKind::Unavailable,
            ErrorKind::Internal => handler::FailureKind::Internal,
        },
        code: failure.code.into_owned(),
        message: failure.message,
        retry: failure.retry,
        retry_after_ms: failure.retry_after_ms,
    }
}

const fn recipients(recipients: Recipients) -> handler::Recipients {
    match recipients {
        Recipients::Nobody => handler::Recipients::Nobody,
        Recipients::Caller => handler::Recipients::Caller,
        Recipients::Members => handler::Recipients::Members,
        Recipients::Anyone => handler::Recipients::Anyone,
    }
}

pub(crate) fn grants(grants: &Grants) -> handler::Grants {
    handler::Grants {
        read: list(grants.read.to_vec()),
        write: list(grants.write.to_vec()),
        publish: recipients(grants.publish),
        records: list(grants.records.to_vec()),
    }
}
