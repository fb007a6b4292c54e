//! How operations of the records fail.

/// The reason why the records did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordsError {
    /// The caller has no grant for this operation.
    #[error("not granted: {0}")]
    Denied(String),
    /// No such conversation or message, as far as this user may know.
    #[error("not found: {0}")]
    NotFound(String),
    /// The user is no member of the conversation, or there is no such conversation.
    #[error("the user is not a member of the conversation")]
    NotAMember,
    /// The user is a member, but not allowed to do this.
    #[error("forbidden: {0}")]
    Forbidden(String),
    /// One of two users has blocked the other.
    #[error("one of the two users has blocked the other")]
    Blocked,
    /// Another message or conversation has this id.
    #[error("conflict: {0}")]
    Conflict(String),
    /// The members of a pair do not change.
    #[error(
        "the members of a direct conversation do not change; create a conversation with `members` for a group, or block the other user"
    )]
    Direct,
    /// The document does not have the version that the caller expects. Nothing was changed.
    #[error("version mismatch: {}", present_version(.present))]
    VersionMismatch {
        /// The version that the document has; `None`: it does not exist.
        present: Option<u64>,
    },
    /// A size in the call exceeds its bound.
    #[error("too large: {0}")]
    TooLarge(String),
    /// A user is in as many conversations as are allowed. The text names the user.
    #[error("too many conversations: {0}")]
    TooManyConversations(String),
    /// A quota of the function is used up. The text names it.
    #[error("quota exceeded: {0}")]
    QuotaExceeded(String),
    /// The call contradicts the contract.
    #[error("invalid: {0}")]
    Invalid(String),
    /// The records did not answer. A write may or may not have happened.
    #[error("the records are unavailable, retry after {retry_after_ms} ms")]
    Unavailable {
        /// The time after which a retry makes sense.
        retry_after_ms: u32,
    },
}

impl RecordsError {
    /// What was refused and what is allowed, without the kind of the error, which clients receive as a code.
    pub fn detail(&self) -> String {
        match self {
            Self::NotFound(text)
            | Self::Forbidden(text)
            | Self::Conflict(text)
            | Self::TooLarge(text)
            | Self::TooManyConversations(text)
            | Self::Invalid(text)
                if !text.is_empty() =>
            {
                text.clone()
            }
            Self::VersionMismatch { present } => present_version(present),
            _ => self.to_string(),
        }
    }
}

fn present_version(present: &Option<u64>) -> String {
    match present {
        Some(version) => format!("the document has version {version}; read it, and try again with that version"),
        None => "the document does not exist; put it without an expected version to create it".to_owned(),
    }
}
