//! A function that wants a route and a frame of others: its deployment is refused, theirs go on.

use roost_function::{Access, Reply, Route};

roost_function::function! {
    routes: &[Route::get("/v1/unread", Access::Public, |_| Ok(Reply::done()))],
    frames: &[("typing", |_| Ok(Reply::empty()))],
}
