//! Pairs and the erasing of users: the requests and answers of the interface `records`.

use roost_core::port::{DirectRequest, Erased};

use super::list;
use crate::bindings::roost::edge::records as wire;

impl From<DirectRequest> for wire::DirectRequest {
    fn from(request: DirectRequest) -> Self {
        Self { user: request.user.into(), other: request.other.into(), at: request.at.0 }
    }
}

impl From<wire::Erased> for Erased {
    fn from(erased: wire::Erased) -> Self {
        Self {
            left: list(erased.left),
            deleted: list(erased.deleted),
            related: list(erased.related),
            done: erased.done,
        }
    }
}
