//! Frames of `roost.v1`: what a client says, and how it is answered. Pushed frames stand in `feed.rs`.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::server::problem::{ApiError, Code, SocketError, encode};

const ID_BYTES_MAX: usize = 64;
const TYPE_BYTES_MAX: usize = roost_core::limits::EVENT_NAME_BYTES_MAX;

/// What a client says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientFrame {
    /// The answer carries it.
    pub id: String,
    /// What it is about.
    pub name: String,
    /// JSON text; `null` when the frame has none.
    pub payload: String,
}

/// A frame that cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The frame's id, if it has a valid one.
    pub id: Option<String>,
    /// Why.
    pub fault: ApiError,
}

#[derive(Deserialize)]
struct Raw<'a> {
    #[serde(default)]
    id: Value,
    #[serde(default)]
    r#type: Value,
    #[serde(borrow)]
    payload: Option<&'a RawValue>,
}

impl ClientFrame {
    /// Reads a text frame. Members that it does not know are passed over.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let raw: Raw<'_> = serde_json::from_str(text).map_err(|error| Refusal {
            id: None,
            fault: ApiError::new(Code::InvalidFrame, format!("a frame is one JSON object: {error}")),
        })?;
        let id = id(raw.id).map_err(|fault| Refusal { id: None, fault })?;
        match name(raw.r#type) {
            Ok(name) => Ok(Self { id, name, payload: raw.payload.map_or("null", RawValue::get).to_owned() }),
            Err(fault) => Err(Refusal { id: Some(id), fault }),
        }
    }

    /// Frames of one lane are handled one after the other, in the order sent: those whose type has the same
    /// first word, such as `message.send` and `message.edit`.
    pub fn lane(&self) -> &str {
        self.name.split('.').next().unwrap_or(&self.name)
    }
}

fn id(value: Value) -> Result<String, ApiError> {
    match value {
        Value::String(id) if !id.is_empty() && id.len() <= ID_BYTES_MAX => Ok(id),
        _ => Err(ApiError::new(Code::IdRequired, format!("`id` is a string of 1 to {ID_BYTES_MAX} bytes"))),
    }
}

fn name(value: Value) -> Result<String, ApiError> {
    match value {
        Value::String(name) if !name.is_empty() && name.len() <= TYPE_BYTES_MAX => Ok(name),
        _ => Err(ApiError::new(Code::TypeRequired, format!("`type` is a string of 1 to {TYPE_BYTES_MAX} bytes"))),
    }
}

/// `{"id":"7","type":"ok","payload":…}`
pub fn ok(id: &str, payload: &str) -> String {
    let mut text = String::with_capacity(payload.len() + id.len() + 40);
    let payload = if payload.is_empty() { "null" } else { payload };
    let _ = write!(text, "{{\"id\":{},\"type\":\"ok\",\"payload\":{payload}}}", encode(&id));
    text
}

/// `{"id":"7","type":"error","error":{"code":…,"message":…,"retry":…}}`; without an id: `null`.
pub fn error(id: Option<&str>, fault: &ApiError, trace: &str) -> String {
    #[derive(Serialize)]
    struct ErrorFrame<'a> {
        id: Option<&'a str>,
        r#type: &'static str,
        error: SocketError<'a>,
    }
    encode(&ErrorFrame { id, r#type: "error", error: fault.socket_form(trace) })
}
