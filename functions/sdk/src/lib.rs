//! The sdk that Roost functions are written with.
//!
//! A function is a table of routes, socket messages, hooks, schedules and publications ([`function!`]). Each has a
//! handler, which parses its input ([`Request`], [`SocketMessage`], [`Published`]), runs a use case of `roost-core` on
//! the host's imports ([`run`], [`Edge`]) and returns a [`Reply`] or a [`Failure`]. This crate keeps no state between
//! two calls, so that a fresh and a reused instance give the same answers. It contains no rule of chat.

#[cfg(any(test, target_family = "wasm"))]
mod allocator;
mod api_operation;
#[doc(hidden)]
pub mod bindings;
mod edge;
mod failure;
mod function;
#[cfg(test)]
#[path = "../../../tests/golden/check.rs"]
mod golden;
mod grants;
mod input;
mod invocation;
mod json;
mod log;
#[cfg(test)]
mod message_tests;
mod panic;
mod parameter;
mod reply;
mod run;
mod socket_description;

pub use api_operation::ApiOperation;
pub use edge::Edge;
pub use failure::Failure;
pub use function::{Access, Function, Handler, Hook, Route, Schedule};
pub use grants::Grants;
pub use input::{Caller, Connection, Published, Request, SocketMessage, SyncRequest};
pub use log::{Level, log};
pub use parameter::{LIMIT, Limit, LimitError, PathParameter, QueryParameter};
pub use reply::{EmptyReply, Reply};
pub use roost_core::recipients::Recipients;
pub use run::run;
pub use socket_description::SocketDescription;

/// What a handler returns.
pub type Answer = Result<Reply, Failure>;

/// Declares that the crate is a function, with these fields of [`Function`]. Name and version are the package's.
///
/// ```
/// # use roost_function::{Access, Answer, PathParameter, Reply, Request, Route};
/// const WORD: PathParameter<String> = PathParameter::new("word");
///
/// roost_function::function! {
///     routes: &[
///         Route::get("/v1/echo/{word}", Access::Public, echo)
///             .described(|route| route.summary("Repeats the word.").path(WORD).reply::<String>(200)),
///     ],
/// }
///
/// fn echo(request: &Request) -> Answer {
///     Reply::ok(&request.path(WORD)?)
/// }
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! function {
    ($($field:ident : $value:expr),* $(,)?) => {
        /// What this function offers, with its handlers.
        pub static FUNCTION: $crate::Function = $crate::Function {
            $($field: $value,)*
            ..$crate::Function::named(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"))
        };

        #[cfg(target_family = "wasm")]
        const _: () = {
            use $crate::bindings::exports::roost::edge::handler;

            struct Component;

            impl handler::Guest for Component {
                fn describe() -> handler::Manifest {
                    FUNCTION.describe()
                }

                fn handle(invocation: handler::Invocation) -> Result<handler::Reply, handler::Failure> {
                    FUNCTION.handle(invocation)
                }
            }

            $crate::bindings::export!(Component with_types_in $crate::bindings);
        };
    };
}
