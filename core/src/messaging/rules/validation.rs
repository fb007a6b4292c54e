//! What a message's content and type may be, and how long a page may be.

use crate::error::Error;
use crate::limits::{CONTENT_BYTES_MAX, KIND_BYTES_MAX, PAGE_MAX};
use crate::port::RecordsError;

/// Refuses content that is empty or too long.
pub(crate) fn validate_content(content: &str) -> Result<(), Error> {
    match content.len() {
        0 => Err(Error::Invalid(format!("a message's content is 1 to {CONTENT_BYTES_MAX} bytes; it is empty"))),
        length if length > CONTENT_BYTES_MAX => Err(RecordsError::TooLarge(format!(
            "a message's content is at most {CONTENT_BYTES_MAX} bytes, not {length}"
        ))
        .into()),
        _ => Ok(()),
    }
}

/// Refuses a message type that is empty, too long, or contains other characters than the allowed ones.
pub(crate) fn validate_kind(kind: &str) -> Result<(), Error> {
    let clean = kind.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'/'));
    if kind.is_empty() || kind.len() > KIND_BYTES_MAX || !clean {
        return Err(Error::Invalid(format!(
            "a message's type is 1 to {KIND_BYTES_MAX} bytes of letters, digits, '.', '_', '-' and '/'"
        )));
    }
    Ok(())
}

/// Refuses a page limit outside of the allowed range.
pub(crate) fn validate_page(limit: u32) -> Result<(), Error> {
    if limit == 0 || limit > PAGE_MAX {
        return Err(Error::Invalid(format!("a page's limit is 1 to {PAGE_MAX}, not {limit}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(result: Result<(), Error>) -> &'static str {
        result.map_or_else(|error| error.code(), |()| "ok")
    }

    #[test]
    fn content_has_at_least_one_byte_and_at_most_the_limit() {
        assert_eq!(code(validate_content("")), "invalid");
        assert_eq!(code(validate_content("x")), "ok");
        assert_eq!(code(validate_content(&"x".repeat(CONTENT_BYTES_MAX))), "ok");
        assert_eq!(code(validate_content(&"x".repeat(CONTENT_BYTES_MAX + 1))), "too_large");
    }

    #[test]
    fn a_type_is_a_short_plain_word() {
        for kind in ["text", "image/PNG", "a.b_c-2", &"k".repeat(KIND_BYTES_MAX)] {
            assert_eq!(code(validate_kind(kind)), "ok", "{kind}");
        }
        for kind in ["", "a b", "ü", "a:b", &"k".repeat(KIND_BYTES_MAX + 1)] {
            assert_eq!(code(validate_kind(kind)), "invalid", "{kind}");
        }
    }

    #[test]
    fn a_page_has_a_limit_within_the_range() {
        for (limit, expected) in [(0, "invalid"), (1, "ok"), (PAGE_MAX, "ok"), (PAGE_MAX + 1, "invalid")] {
            assert_eq!(code(validate_page(limit)), expected, "{limit}");
        }
    }
}
