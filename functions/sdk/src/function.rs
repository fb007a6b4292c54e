//! A function as a table: the routes, socket messages, hooks, schedules and publications that it offers to answer, each
//! with its handler.

use crate::Answer;
use crate::api_operation::ApiOperation;
use crate::bindings::exports::roost::edge::handler;
use crate::failure::Failure;
use crate::grants::Grants;
use crate::input::{Connection, Published, Request, SocketMessage, SyncRequest};
use crate::invocation::{self, FunctionCall};
use crate::log::{Level, log};
use crate::panic::report_panics;
use crate::socket_description::SocketDescription;

/// Everything that a function offers and asks for. Declared with [`crate::function!`].
pub struct Function {
    /// 1 to 64 bytes of `a-z`, `0-9` and `-`; the package's name.
    pub name: &'static str,
    /// The package's version.
    pub version: &'static str,
    /// The HTTP routes that the function answers.
    pub routes: &'static [Route],
    /// Messages that clients send over sockets, by their `type`.
    pub frames: &'static [(&'static str, Handler<SocketMessage>)],
    /// Describes the frames, and the events that the function publishes, for `/v1/asyncapi.json`.
    pub socket: fn(SocketDescription) -> SocketDescription,
    /// Events in the life of a connection.
    pub hooks: &'static [Hook],
    /// Work that is repeated at an interval.
    pub schedules: &'static [Schedule],
    /// Types of durable events for whose publication by another function this one is called, such as `message.new`:
    /// once for each publication, at least once.
    pub publications: &'static [(&'static str, Handler<Published>)],
    /// What the function asks to be allowed.
    pub grants: Grants,
}

/// Answers an input of this type.
pub type Handler<T> = fn(&T) -> Answer;

/// Who may call a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// A user, or a service that acts for a user.
    User,
    /// As `User`, or a service that acts for itself.
    ServiceOrUser,
    /// Only a service. One that acts for a user is seen as this user.
    Service,
    /// Anybody, without credentials.
    Public,
}

/// One HTTP route.
pub struct Route {
    method: &'static str,
    path: &'static str,
    access: Access,
    handler: Handler<Request>,
    describe: fn(ApiOperation) -> ApiOperation,
}

impl Route {
    /// A route that reads and changes nothing.
    pub const fn get(path: &'static str, access: Access, handler: Handler<Request>) -> Self {
        Self::new("GET", path, access, handler)
    }

    /// A route that creates something, or that needs a body to read something.
    pub const fn post(path: &'static str, access: Access, handler: Handler<Request>) -> Self {
        Self::new("POST", path, access, handler)
    }

    /// A route that creates or replaces; calling it again changes nothing more.
    pub const fn put(path: &'static str, access: Access, handler: Handler<Request>) -> Self {
        Self::new("PUT", path, access, handler)
    }

    /// A route that changes a part of something.
    pub const fn patch(path: &'static str, access: Access, handler: Handler<Request>) -> Self {
        Self::new("PATCH", path, access, handler)
    }

    /// A route that removes something; calling it again changes nothing more.
    pub const fn delete(path: &'static str, access: Access, handler: Handler<Request>) -> Self {
        Self::new("DELETE", path, access, handler)
    }

    /// Describes the route for `/v1/openapi.json`. This runs only when the function describes itself, never in a call.
    #[must_use]
    pub const fn described(mut self, describe: fn(ApiOperation) -> ApiOperation) -> Self {
        self.describe = describe;
        self
    }

    const fn new(method: &'static str, path: &'static str, access: Access, handler: Handler<Request>) -> Self {
        Self { method, path, access, handler, describe: |operation| operation }
    }

    fn manifest(&self, function: &str) -> handler::Route {
        handler::Route {
            method: self.method.to_owned(),
            path: self.path.to_owned(),
            access: match self.access {
                Access::User => handler::Access::User,
                Access::ServiceOrUser => handler::Access::ServiceOrUser,
                Access::Service => handler::Access::Service,
                Access::Public => handler::Access::Public,
            },
            operation: (self.describe)(ApiOperation::default()).to_json(function),
        }
    }
}

/// An event in the life of a connection, and its handler.
pub enum Hook {
    /// A connection was opened. The fields of the answer become part of `hello`.
    Connected(Handler<Connection>),
    /// Connections showed that they are alive; up to 500 in one call.
    Heartbeat(fn(&[Connection]) -> Answer),
    /// A connection was closed.
    Disconnected(Handler<Connection>),
    /// A client asks for the present state. The fields of the answer become part of the answer to `sync`.
    Sync(Handler<SyncRequest>),
}

/// Work that is repeated at an interval, by one host of the cluster at a time.
pub struct Schedule {
    /// The name of the schedule in log lines; unique in the function.
    pub name: &'static str,
    /// The interval in milliseconds, at least 100.
    pub every_ms: u32,
    /// The number of shards that the work is divided into, 1 to 64.
    pub shards: u32,
    /// Does the work of one shard, whose number it receives.
    pub handler: Handler<u32>,
}

impl Function {
    /// A function that offers nothing yet.
    pub const fn named(name: &'static str, version: &'static str) -> Self {
        Self {
            name,
            version,
            routes: &[],
            frames: &[],
            socket: |socket| socket,
            hooks: &[],
            schedules: &[],
            publications: &[],
            grants: Grants::NONE,
        }
    }

    /// The function's manifest, which the host reads before it serves a revision.
    #[doc(hidden)]
    pub fn describe(&self) -> handler::Manifest {
        report_panics();
        handler::Manifest {
            name: self.name.to_owned(),
            version: self.version.to_owned(),
            routes: self.routes.iter().map(|route| route.manifest(self.name)).collect(),
            messages: self.frames.iter().map(|(name, _)| (*name).to_owned()).collect(),
            socket: (self.socket)(SocketDescription::default()).to_json(),
            hooks: self.hooks.iter().map(Hook::manifest).collect(),
            schedules: self.schedules.iter().map(Schedule::manifest).collect(),
            publications: self.publications.iter().map(|(name, _)| (*name).to_owned()).collect(),
            grants: invocation::grants(&self.grants),
        }
    }

    /// Answers one call.
    #[doc(hidden)]
    pub fn handle(&self, invocation: handler::Invocation) -> Result<handler::Reply, handler::Failure> {
        report_panics();
        invocation::read(invocation).and_then(|call| self.answer(&call)).map(invocation::reply).map_err(|failure| {
            if let Some(cause) = &failure.cause {
                log(Level::Error, cause, &[("code", &failure.code)]);
            }
            invocation::failure(failure)
        })
    }

    fn answer(&self, call: &FunctionCall) -> Answer {
        match call {
            FunctionCall::Http { route, request } => {
                let found = usize::try_from(*route).ok().and_then(|route| self.routes.get(route));
                found.map(|route| (route.handler)(request))
            }
            FunctionCall::SocketMessage { name, message } => {
                let found = self.frames.iter().find(|(known, _)| known == name);
                found.map(|(_, handler)| handler(message))
            }
            FunctionCall::Tick { schedule, shard } => {
                let found = self.schedules.iter().find(|known| known.name == schedule);
                found.map(|schedule| (schedule.handler)(shard))
            }
            FunctionCall::Publication(published) => {
                let found = self.publications.iter().find(|(known, _)| *known == published.name);
                found.map(|(_, handler)| handler(published))
            }
            event => self.hooks.iter().find_map(|hook| hook.answer(event)),
        }
        .unwrap_or_else(|| Err(Failure::internal("the host called something that the manifest does not offer")))
    }
}

impl Hook {
    const fn manifest(&self) -> handler::Hook {
        match self {
            Self::Connected(_) => handler::Hook::Connected,
            Self::Heartbeat(_) => handler::Hook::Heartbeat,
            Self::Disconnected(_) => handler::Hook::Disconnected,
            Self::Sync(_) => handler::Hook::Sync,
        }
    }

    fn answer(&self, event: &FunctionCall) -> Option<Answer> {
        match (self, event) {
            (Self::Connected(handler), FunctionCall::Connected(connection))
            | (Self::Disconnected(handler), FunctionCall::Disconnected(connection)) => Some(handler(connection)),
            (Self::Heartbeat(handler), FunctionCall::Heartbeat(connections)) => Some(handler(connections)),
            (Self::Sync(handler), FunctionCall::Sync(request)) => Some(handler(request)),
            _ => None,
        }
    }
}

impl Schedule {
    fn manifest(&self) -> handler::Schedule {
        handler::Schedule { name: self.name.to_owned(), every_ms: self.every_ms, shards: self.shards }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{PathParameter, Reply};

    const WORD: PathParameter<String> = PathParameter::new("word");

    static ECHO: Function = Function {
        routes: &[
            Route::get("/v1/echo/{word}", Access::Public, |request| Reply::ok(&request.path(WORD)?))
                .described(|route| route.summary("Repeats the word.").path(WORD).reply::<String>(200)),
            Route::delete("/v1/echo/{word}", Access::Service, |_| Ok(Reply::done())),
        ],
        frames: &[("echo", |message| Reply::ok(&message.connection))],
        socket: |socket| socket.frame::<(), String>("echo", "Answers with the connection's id."),
        hooks: &[Hook::Disconnected(|_| Ok(Reply::done())), Hook::Connected(|connection| Reply::ok(&connection.id))],
        schedules: &[Schedule { name: "tidy", every_ms: 1_000, shards: 2, handler: |shard| Reply::ok(shard) }],
        publications: &[("poll.vote", |published| Reply::ok(&(&published.id, &published.users, published.attempt)))],
        ..Function::named("echo", "1.2.3")
    };

    type Outcome = Result<(u16, String), (String, String)>;

    fn call(caller: handler::Caller, request: handler::Request) -> Outcome {
        ECHO.handle(handler::Invocation { caller, trace: "t".to_owned(), deadline: 0, request })
            .map(|reply| (reply.status, reply.body))
            .map_err(|failure| (failure.code, failure.message))
    }

    fn http(route: u32) -> Outcome {
        let request = handler::HttpRequest {
            route,
            parameters: Some(vec![("word".to_owned(), "hi".to_owned())]),
            query: None,
            body: Vec::new(),
        };
        call(handler::Caller::Anonymous, handler::Request::Http(request))
    }

    fn connection(id: &str) -> handler::Connection {
        handler::Connection { user: handler::Id { first: 0, second: 0, third: 0, fourth: 7 }, id: id.to_owned() }
    }

    fn socket_message(caller: handler::Caller, name: &str) -> Outcome {
        let (connection, payload) = ("c1".to_owned(), "null".to_owned());
        call(caller, handler::Request::Message(handler::SocketMessage { connection, name: name.to_owned(), payload }))
    }

    #[test]
    fn each_call_reaches_its_handler() {
        assert_eq!(http(0), Ok((200, "\"hi\"".to_owned())));
        assert_eq!(http(1), Ok((204, String::new())));
        let user = handler::Caller::User(handler::Id { first: 0, second: 0, third: 0, fourth: 7 });
        assert_eq!(socket_message(user, "echo"), Ok((200, "\"c1\"".to_owned())));
        let connected = handler::Request::Connected(connection("c2"));
        assert_eq!(call(handler::Caller::Host, connected), Ok((200, "\"c2\"".to_owned())));
        let tick = handler::Tick { schedule: "tidy".to_owned(), shard: 1 };
        assert_eq!(call(handler::Caller::Host, handler::Request::Tick(tick)), Ok((200, "1".to_owned())));
        let answer = call(handler::Caller::Host, publication("poll.vote"));
        assert_eq!(answer, Ok((200, r#"["7.0",["00000000-0000-0000-0000-000000000007"],2]"#.to_owned())));
    }

    fn publication(name: &str) -> handler::Request {
        let (id, name, payload) = ("7.0".to_owned(), name.to_owned(), "{}".to_owned());
        let users = vec![handler::Id { first: 0, second: 0, third: 0, fourth: 7 }];
        handler::Request::Publication(handler::Published { id, name, payload, users, attempt: 2 })
    }

    #[test]
    fn a_call_that_the_manifest_does_not_offer_fails_without_a_trap() {
        assert_eq!(http(2).unwrap_err().0, "internal");
        assert_eq!(call(handler::Caller::Host, handler::Request::Heartbeat(Vec::new())).unwrap_err().0, "internal");
        let odd = handler::Request::Connected(connection("two words"));
        assert_eq!(call(handler::Caller::Host, odd).unwrap_err().0, "internal");
        assert_eq!(call(handler::Caller::Host, publication("other")).unwrap_err().0, "internal");
        assert_eq!(socket_message(handler::Caller::Service, "echo").unwrap_err().0, "user_required");
    }

    #[test]
    fn the_manifest_lists_everything_that_is_offered() {
        let manifest = ECHO.describe();
        assert_eq!((manifest.name.as_str(), manifest.version.as_str()), ("echo", "1.2.3"));
        let routes: Vec<_> = manifest.routes.iter().map(|route| (route.method.as_str(), route.path.as_str())).collect();
        assert_eq!(routes, [("GET", "/v1/echo/{word}"), ("DELETE", "/v1/echo/{word}")]);
        assert_eq!(manifest.routes[1].access, handler::Access::Service);
        assert!(manifest.routes[0].operation.contains("Repeats the word."), "{}", manifest.routes[0].operation);
        assert_eq!(manifest.messages, ["echo"]);
        assert!(manifest.socket.contains("Answers with the connection's id."), "{}", manifest.socket);
        assert_eq!(manifest.hooks, [handler::Hook::Disconnected, handler::Hook::Connected]);
        assert_eq!((manifest.schedules[0].every_ms, manifest.schedules[0].shards), (1_000, 2));
        assert_eq!(manifest.publications, ["poll.vote"]);
        assert!(manifest.grants.read.is_empty() && manifest.grants.publish == handler::Recipients::Nobody);
    }
}
