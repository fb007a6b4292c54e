//! A function that declares a route and a socket message of other functions. Its deployment must be refused, and the other
//! functions must go on serving.

use roost_function::{Access, Reply, Route};

roost_function::function! {
    routes: &[Route::get("/v1/unread", Access::Public, |_| Ok(Reply::done()))],
    frames: &[("typing", |_| Ok(Reply::empty()))],
}
