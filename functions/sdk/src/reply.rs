//! What a handler answers when all went well.

use serde::Serialize;

use crate::failure::Failure;

/// A status of 200 to 299 and a JSON value. Sockets and hooks take only the value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    pub(crate) status: u16,
    pub(crate) body: String,
}

impl Reply {
    /// 200 with this value.
    pub fn ok(value: &impl Serialize) -> Result<Self, Failure> {
        Self::with_status(200, value)
    }

    /// 200 with what is JSON already.
    pub const fn json(body: String) -> Self {
        Self { status: 200, body }
    }

    /// 201: this value is new.
    pub fn created(value: &impl Serialize) -> Result<Self, Failure> {
        Self::with_status(201, value)
    }

    /// 204: done, and there is nothing to say.
    pub const fn done() -> Self {
        Self { status: 204, body: String::new() }
    }

    /// 200 with `{}`: a frame's answer when there is nothing to say.
    pub fn empty() -> Self {
        Self { status: 200, body: "{}".to_owned() }
    }

    fn with_status(status: u16, value: &impl Serialize) -> Result<Self, Failure> {
        serde_json::to_string(value)
            .map(|body| Self { status, body })
            .map_err(|error| Failure::internal(format!("the answer cannot be written as JSON: {error}")))
    }
}
