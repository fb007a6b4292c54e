//! my-function: counts for each user, and tells the user's devices. It is where a function of your own begins.
//!
//! This file is the table of what the function offers, and its handlers. They parse a request and run a use case.

mod tally;

use roost_core::key::Space;
use roost_function::{Access, Answer, Edge, Grants, Recipients, Reply, Request, Route, run};

roost_function::function! {
    routes: &[
        Route::get("/v1/my-function", Access::User, show)
            .described(|route| route.summary("The caller's count.").reply::<tally::Tally>(200)),
        Route::post("/v1/my-function", Access::User, increment)
            .described(|route| route.summary("Adds one to the caller's count.").reply::<tally::Tally>(200)),
    ],
    grants: Grants { read: &[Space::App], write: &[Space::App], publish: Recipients::Caller, ..Grants::NONE },
}

fn show(request: &Request) -> Answer {
    Reply::ok(&run(tally::show(&Edge, request.user()?))?)
}

fn increment(request: &Request) -> Answer {
    Reply::ok(&run(tally::increment(&Edge, request.user()?))?)
}
