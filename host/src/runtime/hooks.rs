//! Life-cycle hooks: every function that takes part is asked at once, and what they answer becomes one object.
//!
//! A hook that fails costs its part of the answer, never the connection.

use futures_util::future::join_all;
use roost_core::ids::{ConversationId, UserId};
use serde_json::{Map, Value};

use crate::runtime::dispatcher::Dispatcher;
use crate::runtime::{CallError, Caller, Connection, Hook, Invocation, Request};

/// What the functions answered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Gathered {
    /// The members of all replies.
    pub members: Map<String, Value>,
    /// Why some are missing.
    pub failures: Vec<CallError>,
}

/// Asks everybody who takes part in this hook.
pub async fn ask<F: Dispatcher>(functions: &F, trace: &str, hook: Hook, request: Request) -> Gathered {
    let invocation = Invocation { caller: Caller::Host, trace: trace.into(), request };
    let targets = functions.hooks(hook);
    let replies = join_all(targets.iter().map(|target| functions.call(target, invocation.clone()))).await;
    let mut gathered = Gathered::default();
    for reply in replies {
        match reply {
            Ok(reply) => match serde_json::from_str(&reply.body) {
                Ok(Value::Object(members)) => gathered.members.extend(members),
                // A hook may have nothing to say.
                _ => tracing::trace!(trace, "a hook's reply is no object"),
            },
            Err(error) => {
                tracing::warn!(trace, ?hook, %error, "a hook failed");
                gathered.failures.push(error);
            }
        }
    }
    gathered
}

/// A connection opened.
pub async fn connected<F: Dispatcher>(functions: &F, trace: &str, connection: &Connection) -> Gathered {
    ask(functions, trace, Hook::Connected, Request::Connected(connection.clone())).await
}

/// A connection is gone.
pub async fn disconnected<F: Dispatcher>(functions: &F, trace: &str, connection: &Connection) -> Gathered {
    ask(functions, trace, Hook::Disconnected, Request::Disconnected(connection.clone())).await
}

/// These connections gave a sign of life.
pub async fn beat<F: Dispatcher>(functions: &F, trace: &str, connections: &[Connection]) -> Gathered {
    ask(functions, trace, Hook::Beat, Request::Beat(connections.to_vec())).await
}

/// The present state, with these conversations; `None`: the newest.
pub async fn sync<F: Dispatcher>(
    functions: &F,
    trace: &str,
    user: UserId,
    conversations: Option<Vec<ConversationId>>,
) -> Gathered {
    ask(functions, trace, Hook::Sync, Request::Sync { user, conversations }).await
}
