//! A function whose `describe` panics. Its deployment must be refused with the text of the panic.
#![allow(clippy::panic, reason = "the guest misbehaves on purpose")]

use roost_function::{Access, Reply, Route};

roost_function::function! {
    routes: &[
        // A description runs while the function describes itself, after the panic hook is set.
        Route::get("/v1/describe-trap", Access::Public, |_| Ok(Reply::done())).described(|_| panic!("no idea")),
    ],
}
