//! What a message and a page may be.

use crate::error::Error;
use crate::limits::{CONTENT_BYTES_MAX, KIND_BYTES_MAX, PAGE_MAX};
use crate::port::RecordsError;

pub(super) fn validate_content(content: &str) -> Result<(), Error> {
    match content.len() {
        0 => Err(Error::Invalid("a message's content is 1 byte to 16 KiB; it is empty".to_owned())),
        length if length > CONTENT_BYTES_MAX => Err(RecordsError::TooLarge(format!(
            "a message's content is at most {CONTENT_BYTES_MAX} bytes, not {length}"
        ))
        .into()),
        _ => Ok(()),
    }
}

pub(super) fn validate_kind(kind: &str) -> Result<(), Error> {
    let clean = kind.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'/'));
    if kind.is_empty() || kind.len() > KIND_BYTES_MAX || !clean {
        return Err(Error::Invalid(format!(
            "a message's type is 1 to {KIND_BYTES_MAX} bytes of letters, digits, '.', '_', '-' and '/'"
        )));
    }
    Ok(())
}

pub(super) fn validate_page(limit: u32) -> Result<(), Error> {
    if limit == 0 || limit > PAGE_MAX {
        return Err(Error::Invalid(format!("a page's limit is 1 to {PAGE_MAX}, not {limit}")));
    }
    Ok(())
}
