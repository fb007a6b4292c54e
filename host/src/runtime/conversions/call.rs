//! Translates manifests, invocations, replies and failures.

use std::time::Duration;

use roost_core::recipients::Recipients;

use super::super::bindings::handler as wit;
use super::super::call::{Caller, Connection, Failure, FailureKind, HttpRequest, PublishedEvent, Reply, Request};
use super::super::grants::Grants;
use super::super::manifest::{Access, Hook, RawManifest, RawRoute, RawSchedule};
use super::list;

impl From<wit::Manifest> for RawManifest {
    fn from(manifest: wit::Manifest) -> Self {
        Self {
            name: manifest.name,
            version: manifest.version,
            routes: list(manifest.routes),
            messages: manifest.messages,
            socket: manifest.socket,
            hooks: list(manifest.hooks),
            schedules: list(manifest.schedules),
            publications: manifest.publications,
            asks: manifest.grants.into(),
        }
    }
}

impl From<wit::Route> for RawRoute {
    fn from(route: wit::Route) -> Self {
        Self {
            method: route.method,
            path: route.path,
            access: match route.access {
                wit::Access::User => Access::User,
                wit::Access::ServiceOrUser => Access::ServiceOrUser,
                wit::Access::Service => Access::Service,
                wit::Access::Public => Access::Public,
            },
            operation: route.operation,
        }
    }
}

impl From<wit::Hook> for Hook {
    fn from(hook: wit::Hook) -> Self {
        match hook {
            wit::Hook::Connected => Self::Connected,
            wit::Hook::Heartbeat => Self::Heartbeat,
            wit::Hook::Disconnected => Self::Disconnected,
            wit::Hook::Sync => Self::Sync,
        }
    }
}

impl From<wit::Schedule> for RawSchedule {
    fn from(schedule: wit::Schedule) -> Self {
        Self { name: schedule.name, every_ms: schedule.every_ms, shards: schedule.shards }
    }
}

impl From<wit::Recipients> for Recipients {
    fn from(recipients: wit::Recipients) -> Self {
        match recipients {
            wit::Recipients::Nobody => Self::Nobody,
            wit::Recipients::Caller => Self::Caller,
            wit::Recipients::Members => Self::Members,
            wit::Recipients::Anyone => Self::Anyone,
        }
    }
}

impl From<wit::Grants> for Grants {
    fn from(grants: wit::Grants) -> Self {
        Self {
            read: grants.read.into_iter().map(Into::into).collect(),
            write: grants.write.into_iter().map(Into::into).collect(),
            publish: grants.publish.into(),
            // The list of publications asks for it.
            subscribe: false,
            records: grants.records.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<Caller> for wit::Caller {
    fn from(caller: Caller) -> Self {
        match caller {
            Caller::User(user) | Caller::ServiceFor(user) => Self::User(user.into()),
            Caller::Service => Self::Service,
            Caller::Anonymous => Self::Anonymous,
            Caller::Host => Self::Host,
        }
    }
}

impl From<Connection> for wit::Connection {
    fn from(connection: Connection) -> Self {
        Self { user: connection.user.into(), id: connection.id.as_str().to_owned() }
    }
}

impl From<HttpRequest> for wit::HttpRequest {
    fn from(request: HttpRequest) -> Self {
        Self {
            route: request.route,
            parameters: Some(request.parameters).filter(|parameters| !parameters.is_empty()),
            query: Some(request.query).filter(|query| !query.is_empty()),
            body: request.body.into(),
        }
    }
}

impl From<PublishedEvent> for wit::Published {
    fn from(published: PublishedEvent) -> Self {
        Self {
            id: published.id,
            name: published.event.name.as_ref().to_owned(),
            payload: published.event.payload.as_ref().to_owned(),
            users: list(published.users),
            attempt: published.attempt,
        }
    }
}

impl From<Request> for wit::Request {
    fn from(request: Request) -> Self {
        match request {
            Request::Http(request) => Self::Http(request.into()),
            Request::Message { connection, name, payload } => {
                Self::Message(wit::SocketMessage { connection: connection.as_str().to_owned(), name, payload })
            }
            Request::Connected(connection) => Self::Connected(connection.into()),
            Request::Heartbeat(connections) => Self::Heartbeat(list(connections)),
            Request::Disconnected(connection) => Self::Disconnected(connection.into()),
            Request::Sync { user, conversations } => {
                Self::Sync(wit::Sync { user: user.into(), conversations: conversations.map(list) })
            }
            Request::Tick { schedule, shard } => Self::Tick(wit::Tick { schedule, shard }),
            Request::Publication(published) => Self::Publication(published.into()),
        }
    }
}

impl From<wit::Reply> for Reply {
    fn from(reply: wit::Reply) -> Self {
        Self { status: reply.status, body: reply.body }
    }
}

impl From<wit::Failure> for Failure {
    fn from(failure: wit::Failure) -> Self {
        Self {
            kind: match failure.kind {
                wit::FailureKind::Invalid => FailureKind::Invalid,
                wit::FailureKind::Forbidden => FailureKind::Forbidden,
                wit::FailureKind::NotFound => FailureKind::NotFound,
                wit::FailureKind::Conflict => FailureKind::Conflict,
                wit::FailureKind::TooLarge => FailureKind::TooLarge,
                wit::FailureKind::RateLimited => FailureKind::RateLimited,
                wit::FailureKind::Unavailable => FailureKind::Unavailable,
                wit::FailureKind::Internal => FailureKind::Internal,
            },
            code: failure.code,
            message: failure.message,
            retry: failure.retry,
            retry_after: failure.retry_after_ms.map(|ms| Duration::from_millis(u64::from(ms))),
        }
    }
}
