//! Translates the requests and answers of the records about pairs and the erasing of users.

use roost_core::port::{DirectRequest, Erased};
use roost_core::time::Timestamp;

use super::super::bindings::records as wit;
use super::list;

impl From<wit::DirectRequest> for DirectRequest {
    /// Whether the pair may be created is for the host to decide.
    fn from(request: wit::DirectRequest) -> Self {
        Self { user: request.user.into(), other: request.other.into(), may_create: false, at: Timestamp(request.at) }
    }
}

impl From<Erased> for wit::Erased {
    fn from(erased: Erased) -> Self {
        Self {
            left: list(erased.left),
            deleted: list(erased.deleted),
            related: list(erased.related),
            done: erased.done,
        }
    }
}
