//! Frames of `roost.v1`: parses what clients send, and writes the answers. Pushed frames are in `delivery::event`.
//! Public for the parser tests.

use std::fmt::Write as _;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::server::problem::{ApiError, ErrorCode, SocketError, encode};

pub(crate) const ID_BYTES_MAX: usize = 64;
const TYPE_BYTES_MAX: usize = roost_core::limits::EVENT_NAME_BYTES_MAX;

/// A frame that a client sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientFrame {
    /// The id that the answer repeats.
    pub id: String,
    /// The type, which decides who answers.
    pub name: String,
    /// The payload as JSON text; `null` if the frame has none.
    pub payload: String,
}

/// A frame that is not valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidFrame {
    /// The frame's id, if that is valid.
    pub id: Option<String>,
    /// What is wrong with the frame.
    pub error: ApiError,
}

#[derive(Deserialize)]
struct RawFrame<'a> {
    #[serde(default)]
    id: Value,
    #[serde(default)]
    r#type: Value,
    #[serde(borrow)]
    payload: Option<&'a RawValue>,
}

impl ClientFrame {
    /// Parses a text frame. Unknown members are skipped.
    pub fn parse(text: &str) -> Result<Self, InvalidFrame> {
        let raw = parse_object(text).map_err(|error| InvalidFrame { id: None, error })?;
        let id = parse_id(raw.id).map_err(|error| InvalidFrame { id: None, error })?;
        match parse_type(raw.r#type) {
            Ok(name) => Ok(Self { id, name, payload: raw.payload.map_or("null", RawValue::get).to_owned() }),
            Err(error) => Err(InvalidFrame { id: Some(id), error }),
        }
    }

    /// Frames with the same key are handled one after the other, in the order sent. The key is the first word of the
    /// type: `message.send` and `message.edit` share theirs.
    pub fn ordering_key(&self) -> &str {
        self.name.split('.').next().unwrap_or(&self.name)
    }
}

fn parse_object(text: &str) -> Result<RawFrame<'_>, ApiError> {
    let invalid = |found: &str| {
        let detail = format!("{found}; a frame is one JSON object, such as {{\"id\":\"7\",\"type\":\"sync\"}}");
        ApiError::new(ErrorCode::InvalidFrame, detail)
    };
    // Checked here, because serde would read an array as an object's members in order.
    if !text.trim_start().starts_with('{') {
        return Err(invalid("the frame is not a JSON object"));
    }
    serde_json::from_str(text).map_err(|error| invalid(&format!("the frame is not valid JSON ({error})")))
}

fn parse_id(value: Value) -> Result<String, ApiError> {
    match value {
        Value::String(id) if !id.is_empty() && id.len() <= ID_BYTES_MAX => Ok(id),
        _ => {
            let detail =
                format!("`id` must be a string of 1 to {ID_BYTES_MAX} bytes; the answer to the frame repeats it");
            Err(ApiError::new(ErrorCode::IdRequired, detail))
        }
    }
}

fn parse_type(value: Value) -> Result<String, ApiError> {
    match value {
        Value::String(name) if !name.is_empty() && name.len() <= TYPE_BYTES_MAX => Ok(name),
        _ => {
            let detail = format!("`type` must be a string of 1 to {TYPE_BYTES_MAX} bytes, such as `message.send`");
            Err(ApiError::new(ErrorCode::TypeRequired, detail))
        }
    }
}

/// The frame `{"id":"7","type":"ok","payload":…}`.
pub fn ok(id: &str, payload: &str) -> String {
    let mut text = String::with_capacity(payload.len() + id.len() + 40);
    let payload = if payload.is_empty() { "null" } else { payload };
    let _ = write!(text, "{{\"id\":{},\"type\":\"ok\",\"payload\":{payload}}}", encode(&id));
    text
}

/// A frame of the type `error`.
#[derive(JsonSchema, Serialize)]
pub(crate) struct ErrorFrame<'a> {
    /// The id of the frame that is refused. `null` if the error answers no frame with a valid id.
    id: Option<&'a str>,
    /// The type of the frame, always `error`.
    r#type: ErrorType,
    /// What was wrong.
    error: SocketError<'a>,
}

#[derive(JsonSchema, Serialize)]
#[serde(rename_all = "lowercase")]
enum ErrorType {
    Error,
}

/// The frame `{"id":"7","type":"error","error":{"code":…,"message":…,"retry":…}}`. Its id is `null` if it answers no
/// frame.
pub fn error(id: Option<&str>, error: &ApiError, trace: &str) -> String {
    encode(&ErrorFrame { id, r#type: ErrorType::Error, error: error.socket_form(trace) })
}
