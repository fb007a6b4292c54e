//! What a Roost function is written with.
//!
//! A function is a table of routes, frames, hooks and schedules ([`function!`]), each with a handler that parses what
//! it was asked ([`Request`], [`Frame`]), runs a use case of `roost-core` on the host's imports ([`run`], [`Edge`])
//! and answers ([`Reply`], [`Failure`]). This crate keeps nothing between two calls, so that a fresh and a reused
//! instance give the same answers. It knows no rule of chat.

#[cfg(any(test, target_family = "wasm"))]
mod allocator;
#[doc(hidden)]
pub mod bindings;
mod edge;
mod failure;
mod function;
mod grants;
mod input;
mod invocation;
mod json;
mod log;
mod operation;
mod panic;
mod reply;
mod run;
mod schema;

pub use edge::Edge;
pub use failure::Failure;
pub use function::{Access, Function, Handled, Hook, Route, Schedule};
pub use grants::Grants;
pub use input::{Caller, Connection, Frame, Request, Sync};
pub use log::{Level, log};
pub use reply::Reply;
pub use run::run;
pub use schema::Schema;

/// What a handler answers.
pub type Answer = Result<Reply, Failure>;

/// Declares the crate to be a function, with these fields of [`Function`]; name and version are the package's.
///
/// ```
/// # use roost_function::{Access, Answer, Reply, Request, Route};
/// roost_function::function! {
///     routes: &[Route::get("/v1/echo/{word}", Access::Public, echo).about("Says it again.")],
/// }
///
/// fn echo(request: &Request) -> Answer {
///     let word: String = request.parameter("word")?;
///     Reply::ok(&word)
/// }
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! function {
    ($($field:ident : $value:expr),* $(,)?) => {
        /// What this function offers, and what answers.
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
