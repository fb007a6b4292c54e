//! A function as a table: what it offers, and which handler answers what.

use crate::Answer;
use crate::bindings::exports::roost::edge::handler;
use crate::failure::Failure;
use crate::grants::Grants;
use crate::input::{Connection, Frame, Request, Sync};
use crate::invocation::{self, Asked};
use crate::log::{Level, log};
use crate::operation::Operation;
use crate::panic::report_panics;
use crate::schema::Schema;

/// All that a function is. Declared with [`crate::function!`].
pub struct Function {
    /// 1 to 64 bytes of `a-z`, `0-9` and `-`; the package's name.
    pub name: &'static str,
    /// The package's version.
    pub version: &'static str,
    /// HTTP routes.
    pub routes: &'static [Route],
    /// Socket frames by their `type`.
    pub frames: &'static [(&'static str, Handled<Frame>)],
    /// Moments in a connection's life.
    pub hooks: &'static [Hook],
    /// Work that comes back.
    pub schedules: &'static [Schedule],
    /// What it asks to be allowed.
    pub grants: Grants,
}

/// A handler of what it is given.
pub type Handled<T> = fn(&T) -> Answer;

/// Who may call a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// A user, or a service that names one.
    User,
    /// As `User`, or a service on its own.
    ServiceOrUser,
    /// A service only.
    Service,
    /// Anybody.
    Public,
}

/// One HTTP route.
pub struct Route {
    method: &'static str,
    path: &'static str,
    access: Access,
    handler: Handled<Request>,
    operation: Operation,
}

impl Route {
    /// Reads.
    pub const fn get(path: &'static str, access: Access, handler: Handled<Request>) -> Self {
        Self::new("GET", path, access, handler)
    }

    /// Makes something, or asks with a body.
    pub const fn post(path: &'static str, access: Access, handler: Handled<Request>) -> Self {
        Self::new("POST", path, access, handler)
    }

    /// Makes it so; again changes nothing.
    pub const fn put(path: &'static str, access: Access, handler: Handled<Request>) -> Self {
        Self::new("PUT", path, access, handler)
    }

    /// Changes a part.
    pub const fn patch(path: &'static str, access: Access, handler: Handled<Request>) -> Self {
        Self::new("PATCH", path, access, handler)
    }

    /// Takes away; again changes nothing.
    pub const fn delete(path: &'static str, access: Access, handler: Handled<Request>) -> Self {
        Self::new("DELETE", path, access, handler)
    }

    /// One sentence for `/v1/openapi.json`.
    pub const fn about(mut self, summary: &'static str) -> Self {
        self.operation.summary = summary;
        self
    }

    /// The query parameters it reads.
    pub const fn queries(mut self, parameters: &'static [(&'static str, Schema)]) -> Self {
        self.operation.query = parameters;
        self
    }

    /// The body it reads.
    pub const fn takes(mut self, body: Schema) -> Self {
        self.operation.body = Some(body);
        self
    }

    /// The statuses it answers, each with its body, if any.
    pub const fn gives(mut self, replies: &'static [(u16, Option<Schema>)]) -> Self {
        self.operation.replies = replies;
        self
    }

    const fn new(method: &'static str, path: &'static str, access: Access, handler: Handled<Request>) -> Self {
        Self { method, path, access, handler, operation: Operation::EMPTY }
    }

    fn describe(&self, function: &'static str) -> handler::Route {
        handler::Route {
            method: self.method.to_owned(),
            path: self.path.to_owned(),
            access: match self.access {
                Access::User => handler::Access::User,
                Access::ServiceOrUser => handler::Access::ServiceOrUser,
                Access::Service => handler::Access::Service,
                Access::Public => handler::Access::Public,
            },
            operation: self.operation.describe(function, self.path),
        }
    }
}

/// A moment in a connection's life, and what answers it.
pub enum Hook {
    /// A connection opened. The answer's fields become part of `hello`.
    Connected(Handled<Connection>),
    /// Connections gave a sign of life; up to 500 at a time.
    Beat(fn(&[Connection]) -> Answer),
    /// A connection is gone.
    Disconnected(Handled<Connection>),
    /// A client asks how things stand. The answer's fields become part of the answer to `sync`.
    Sync(Handled<Sync>),
}

/// Work that comes back, on every host.
pub struct Schedule {
    /// Names it in logs.
    pub name: &'static str,
    /// How often, at least 100.
    pub every_ms: u32,
    /// Into how many shares the work is divided, 1 to 64.
    pub shards: u32,
    /// Is given the share.
    pub handler: Handled<u32>,
}

impl Function {
    /// One that offers nothing yet.
    pub const fn named(name: &'static str, version: &'static str) -> Self {
        Self { name, version, routes: &[], frames: &[], hooks: &[], schedules: &[], grants: Grants::NONE }
    }

    /// What the host is told of it.
    #[doc(hidden)]
    pub fn describe(&self) -> handler::Manifest {
        report_panics();
        handler::Manifest {
            name: self.name.to_owned(),
            version: self.version.to_owned(),
            routes: self.routes.iter().map(|route| route.describe(self.name)).collect(),
            messages: self.frames.iter().map(|(name, _)| (*name).to_owned()).collect(),
            hooks: self.hooks.iter().map(Hook::describe).collect(),
            schedules: self.schedules.iter().map(Schedule::describe).collect(),
            grants: invocation::grants(&self.grants),
        }
    }

    /// Answers one call.
    #[doc(hidden)]
    pub fn handle(&self, invocation: handler::Invocation) -> Result<handler::Reply, handler::Failure> {
        report_panics();
        invocation::asked(invocation).and_then(|asked| self.answer(&asked)).map(invocation::reply).map_err(|failure| {
            if let Some(cause) = &failure.cause {
                log(Level::Error, cause, &[("code", &failure.code)]);
            }
            invocation::failure(failure)
        })
    }

    fn answer(&self, asked: &Asked) -> Answer {
        match asked {
            Asked::Http { route, request } => {
                let found = usize::try_from(*route).ok().and_then(|route| self.routes.get(route));
                found.map(|route| (route.handler)(request))
            }
            Asked::Frame { name, frame } => {
                let found = self.frames.iter().find(|(known, _)| known == name);
                found.map(|(_, handler)| handler(frame))
            }
            Asked::Tick { schedule, shard } => {
                let found = self.schedules.iter().find(|known| known.name == schedule);
                found.map(|schedule| (schedule.handler)(shard))
            }
            moment => self.hooks.iter().find_map(|hook| hook.answer(moment)),
        }
        .unwrap_or_else(|| Err(Failure::internal("the host asked for what the manifest does not offer")))
    }
}

impl Hook {
    const fn describe(&self) -> handler::Hook {
        match self {
            Self::Connected(_) => handler::Hook::Connected,
            Self::Beat(_) => handler::Hook::Beat,
            Self::Disconnected(_) => handler::Hook::Disconnected,
            Self::Sync(_) => handler::Hook::Sync,
        }
    }

    fn answer(&self, moment: &Asked) -> Option<Answer> {
        match (self, moment) {
            (Self::Connected(handler), Asked::Connected(connection))
            | (Self::Disconnected(handler), Asked::Disconnected(connection)) => Some(handler(connection)),
            (Self::Beat(handler), Asked::Beat(connections)) => Some(handler(connections)),
            (Self::Sync(handler), Asked::Sync(sync)) => Some(handler(sync)),
            _ => None,
        }
    }
}

impl Schedule {
    fn describe(&self) -> handler::Schedule {
        handler::Schedule { name: self.name.to_owned(), every_ms: self.every_ms, shards: self.shards }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Reply;

    static ECHO: Function = Function {
        routes: &[
            Route::get("/v1/echo/{word}", Access::Public, |request| Reply::ok(&request.parameter::<String>("word")?))
                .about("Says it again.")
                .gives(&[(200, Some(Schema::Text))]),
            Route::delete("/v1/echo/{word}", Access::Service, |_| Ok(Reply::done())),
        ],
        frames: &[("echo", |frame| Reply::ok(&frame.connection))],
        hooks: &[Hook::Disconnected(|_| Ok(Reply::done())), Hook::Connected(|connection| Reply::ok(&connection.id))],
        schedules: &[Schedule { name: "tidy", every_ms: 1_000, shards: 2, handler: |shard| Reply::ok(shard) }],
        ..Function::named("echo", "1.2.3")
    };

    fn call(caller: handler::Caller, request: handler::Request) -> Result<(u16, String), (String, String)> {
        ECHO.handle(handler::Invocation { caller, trace: "t".to_owned(), deadline: 0, request })
            .map(|reply| (reply.status, reply.body))
            .map_err(|failure| (failure.code, failure.message))
    }

    fn http(route: u32) -> Result<(u16, String), (String, String)> {
        let request = handler::HttpRequest {
            route,
            parameters: Some(vec![("word".to_owned(), "hi".to_owned())]),
            query: None,
            body: Vec::new(),
        };
        call(handler::Caller::Anonymous, handler::Request::Http(request))
    }

    fn connection(id: &str) -> handler::Connection {
        handler::Connection { user: handler::Id { high: 0, low: 7 }, id: id.to_owned() }
    }

    fn frame(caller: handler::Caller, name: &str) -> Result<(u16, String), (String, String)> {
        let (connection, payload) = ("c1".to_owned(), "null".to_owned());
        call(caller, handler::Request::Message(handler::SocketMessage { connection, name: name.to_owned(), payload }))
    }

    #[test]
    fn each_question_finds_its_handler() {
        assert_eq!(http(0), Ok((200, "\"hi\"".to_owned())));
        assert_eq!(http(1), Ok((204, String::new())));
        let user = handler::Caller::User(handler::Id { high: 0, low: 7 });
        assert_eq!(frame(user, "echo"), Ok((200, "\"c1\"".to_owned())));
        let connected = handler::Request::Connected(connection("c2"));
        assert_eq!(call(handler::Caller::Host, connected), Ok((200, "\"c2\"".to_owned())));
        let tick = handler::Tick { schedule: "tidy".to_owned(), shard: 1 };
        assert_eq!(call(handler::Caller::Host, handler::Request::Tick(tick)), Ok((200, "1".to_owned())));
    }

    #[test]
    fn what_is_not_offered_is_refused_without_a_trap() {
        assert_eq!(http(2).unwrap_err().0, "internal");
        assert_eq!(call(handler::Caller::Host, handler::Request::Beat(Vec::new())).unwrap_err().0, "internal");
        let odd = handler::Request::Connected(connection("two words"));
        assert_eq!(call(handler::Caller::Host, odd).unwrap_err().0, "internal");
        assert_eq!(frame(handler::Caller::Service, "echo").unwrap_err().0, "user_required");
    }

    #[test]
    fn the_manifest_tells_everything_that_is_offered() {
        let manifest = ECHO.describe();
        assert_eq!((manifest.name.as_str(), manifest.version.as_str()), ("echo", "1.2.3"));
        let routes: Vec<_> = manifest.routes.iter().map(|route| (route.method.as_str(), route.path.as_str())).collect();
        assert_eq!(routes, [("GET", "/v1/echo/{word}"), ("DELETE", "/v1/echo/{word}")]);
        assert_eq!(manifest.routes[1].access, handler::Access::Service);
        assert_eq!(manifest.messages, ["echo"]);
        assert_eq!(manifest.hooks, [handler::Hook::Disconnected, handler::Hook::Connected]);
        assert_eq!((manifest.schedules[0].every_ms, manifest.schedules[0].shards), (1_000, 2));
        assert!(manifest.grants.read.is_empty() && !manifest.grants.publish);
    }
}
