//! Life-cycle hooks: every function that declares the hook is called at the same time, and their replies are merged
//! into one JSON object.
//!
//! If a function fails, its members are missing from the object. The caller learns whether clients rely on them.

use futures_util::future::join_all;
use roost_core::ids::{ConversationId, UserId};
use serde_json::{Map, Value};

use crate::runtime::dispatcher::Dispatcher;
use crate::runtime::{CallError, Caller, Connection, Hook, Invocation, Request};

/// The merged replies of the functions.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HookReplies {
    /// The members of all replies.
    pub members: Map<String, Value>,
    /// The errors of the functions whose members are missing.
    pub failures: Vec<CallError>,
    /// The first error of a function whose members clients rely on.
    pub required_failure: Option<CallError>,
}

/// Calls every function that declares this hook.
async fn call_all<F: Dispatcher>(functions: &F, trace: &str, hook: Hook, request: Request) -> HookReplies {
    let invocation = Invocation { caller: Caller::Host, trace: trace.into(), request };
    let targets = functions.hooks(hook);
    let replies = join_all(targets.iter().map(|target| functions.call(target, invocation.clone()))).await;
    let mut merged = HookReplies::default();
    for (target, reply) in targets.iter().zip(replies) {
        match reply {
            Ok(reply) => match serde_json::from_str(&reply.body) {
                Ok(Value::Object(members)) => merged.members.extend(members),
                // A hook may answer without a body.
                _ => tracing::trace!(trace, ?hook, "the reply of a hook is not a JSON object and is ignored"),
            },
            Err(error) => {
                tracing::warn!(trace, ?hook, %error, "a hook failed; its part of the answer is missing");
                if functions.is_required(target) {
                    merged.required_failure.get_or_insert_with(|| error.clone());
                }
                merged.failures.push(error);
            }
        }
    }
    merged
}

/// Tells the functions that a connection was opened.
pub async fn connected<F: Dispatcher>(functions: &F, trace: &str, connection: &Connection) -> HookReplies {
    call_all(functions, trace, Hook::Connected, Request::Connected(connection.clone())).await
}

/// Tells the functions that a connection was closed.
pub async fn disconnected<F: Dispatcher>(functions: &F, trace: &str, connection: &Connection) -> HookReplies {
    call_all(functions, trace, Hook::Disconnected, Request::Disconnected(connection.clone())).await
}

/// Tells the functions that these connections are alive.
pub async fn heartbeat<F: Dispatcher>(functions: &F, trace: &str, connections: &[Connection]) -> HookReplies {
    call_all(functions, trace, Hook::Heartbeat, Request::Heartbeat(connections.to_vec())).await
}

/// Asks the functions for the current state, with these conversations; `None` stands for the newest conversations.
pub async fn sync<F: Dispatcher>(
    functions: &F,
    trace: &str,
    user: UserId,
    conversations: Option<Vec<ConversationId>>,
) -> HookReplies {
    call_all(functions, trace, Hook::Sync, Request::Sync { user, conversations }).await
}
