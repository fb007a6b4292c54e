//! Refusals: problem documents (RFC 9457) whose `code` decides; the status is for everybody in between.

use roost_core::port::RecordsError;
use serde::{Deserialize, Serialize};

/// Why a backend refuses. Each has one status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "named after the variants of `RecordsError`")]
pub enum ProblemCode {
    Invalid,
    NotAMember,
    Forbidden,
    Blocked,
    NotFound,
    Conflict,
    TooLarge,
    Denied,
    Unauthenticated,
    Unavailable,
}

impl ProblemCode {
    /// Every code.
    pub const ALL: [Self; 10] = [
        Self::Invalid,
        Self::NotAMember,
        Self::Forbidden,
        Self::Blocked,
        Self::NotFound,
        Self::Conflict,
        Self::TooLarge,
        Self::Denied,
        Self::Unauthenticated,
        Self::Unavailable,
    ];

    /// The HTTP status that goes with it.
    pub const fn status(self) -> u16 {
        match self {
            Self::Invalid => 400,
            Self::Unauthenticated => 401,
            Self::NotAMember | Self::Forbidden | Self::Blocked | Self::Denied => 403,
            Self::NotFound => 404,
            Self::Conflict => 409,
            Self::TooLarge => 413,
            Self::Unavailable => 503,
        }
    }
}

/// The body of a refusal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The same as the answer's; `None`: left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// What decides.
    pub code: ProblemCode,
    /// What was wrong; may reach the client that caused it.
    #[serde(default)]
    pub detail: String,
}

impl Problem {
    /// With its status.
    pub fn new(code: ProblemCode, detail: impl Into<String>) -> Self {
        Self { status: Some(code.status()), code, detail: detail.into() }
    }

    /// As the port tells it; `None`: not a refusal of what was asked, but of being asked at all.
    pub fn refusal(self) -> Option<RecordsError> {
        Some(match self.code {
            ProblemCode::Invalid => RecordsError::Invalid(self.detail),
            ProblemCode::NotAMember => RecordsError::NotAMember,
            ProblemCode::Forbidden => RecordsError::Forbidden(self.detail),
            ProblemCode::Blocked => RecordsError::Blocked,
            ProblemCode::NotFound => RecordsError::NotFound(self.detail),
            ProblemCode::Conflict => RecordsError::Conflict(self.detail),
            ProblemCode::TooLarge => RecordsError::TooLarge(self.detail),
            ProblemCode::Denied => RecordsError::Denied(self.detail),
            ProblemCode::Unauthenticated | ProblemCode::Unavailable => return None,
        })
    }
}

impl From<RecordsError> for Problem {
    fn from(error: RecordsError) -> Self {
        let (code, detail) = match error {
            RecordsError::Invalid(detail) => (ProblemCode::Invalid, detail),
            RecordsError::NotAMember => (ProblemCode::NotAMember, String::new()),
            RecordsError::Forbidden(detail) => (ProblemCode::Forbidden, detail),
            RecordsError::Blocked => (ProblemCode::Blocked, String::new()),
            RecordsError::NotFound(detail) => (ProblemCode::NotFound, detail),
            RecordsError::Conflict(detail) => (ProblemCode::Conflict, detail),
            RecordsError::TooLarge(detail) => (ProblemCode::TooLarge, detail),
            RecordsError::Denied(detail) => (ProblemCode::Denied, detail),
            RecordsError::Unavailable { retry_after_ms } => {
                (ProblemCode::Unavailable, format!("retry after {retry_after_ms} ms"))
            }
        };
        Self::new(code, detail)
    }
}
