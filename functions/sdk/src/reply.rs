//! Replies: what a handler answers when it succeeds.

use schemars::JsonSchema;
use serde::Serialize;

use crate::failure::Failure;

/// The answer to a frame has no content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, JsonSchema, Serialize)]
pub struct EmptyReply {}

/// An HTTP status of 200 to 299 and a JSON value. For socket messages and hooks the status has no meaning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    pub(crate) status: u16,
    pub(crate) body: String,
}

impl Reply {
    /// Status 200 with this value.
    pub fn ok(value: &impl Serialize) -> Result<Self, Failure> {
        Self::with_status(200, value)
    }

    /// Status 200 with a text that is JSON already.
    pub const fn json(body: String) -> Self {
        Self { status: 200, body }
    }

    /// Status 201 with this value, which was created.
    pub fn created(value: &impl Serialize) -> Result<Self, Failure> {
        Self::with_status(201, value)
    }

    /// Status 202 with this value: what was asked for is not finished yet.
    pub fn accepted(value: &impl Serialize) -> Result<Self, Failure> {
        Self::with_status(202, value)
    }

    /// Status 204 without a body.
    pub const fn done() -> Self {
        Self { status: 204, body: String::new() }
    }

    /// Status 200 with `{}`: the answer to a socket message when there is nothing to return.
    pub fn empty() -> Self {
        Self { status: 200, body: "{}".to_owned() }
    }

    fn with_status(status: u16, value: &impl Serialize) -> Result<Self, Failure> {
        serde_json::to_string(value)
            .map(|body| Self { status, body })
            .map_err(|error| Failure::internal(format!("the reply cannot be written as JSON: {error}")))
    }
}
