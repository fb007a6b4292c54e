//! Message types that only services use: what an application itself tells the members of a conversation.

use crate::port::{Answer, RecordsError};

/// A type that begins like this, such as `system` or `system.call-ended`, is for services.
pub const SERVICE_PREFIX: &str = "system";

/// Checks the type of a message that a user sends or edits. Clients show messages of the other types as the
/// application's own, so a user cannot make one.
///
/// # Errors
/// [`RecordsError::Forbidden`] with the reason.
pub fn check_of_user(kind: &str) -> Answer<()> {
    if !kind.starts_with(SERVICE_PREFIX) {
        return Ok(());
    }
    Err(RecordsError::Forbidden(format!(
        "messages with a type that begins with `{SERVICE_PREFIX}` are sent and edited by services only; a user can use every other \
         type, such as `text`"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_that_begin_with_system_are_for_services() {
        for kind in ["system", "system.call-ended", "systematic"] {
            let Err(RecordsError::Forbidden(text)) = check_of_user(kind) else { panic!("{kind} is allowed") };
            assert!(text.contains("services") && text.contains("`text`"), "{text}");
        }
        for kind in ["text", "image/png", "ecosystem", "System"] {
            assert_eq!(check_of_user(kind), Ok(()), "{kind}");
        }
    }
}
