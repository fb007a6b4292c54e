//! Percent-decoding of path segments and query strings. An invalid escape is an error here, where the crate
//! `percent-encoding` would leave it as it is.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// Why a text cannot be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PercentError {
    /// A `%` is not followed by two hexadecimal digits.
    Escape,
    /// The decoded bytes are not UTF-8.
    Utf8,
}

/// Decodes a text; borrows it if there is nothing to decode.
pub(crate) fn decode(text: &str) -> Result<Cow<'_, str>, PercentError> {
    let is_escape = |rest: &str| rest.as_bytes().get(..2).is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit));
    // What stands before the first `%` is no escape.
    if !text.split('%').skip(1).all(is_escape) {
        return Err(PercentError::Escape);
    }
    percent_decode_str(text).decode_utf8().map_err(|_| PercentError::Utf8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_decoded_and_other_text_is_borrowed() {
        assert_eq!(decode("a%20%C3%A9%25").unwrap(), "a é%");
        assert!(matches!(decode("plain"), Ok(Cow::Borrowed("plain"))));
        assert_eq!(decode("").unwrap(), "");
    }

    #[test]
    fn invalid_escapes_and_invalid_utf8_are_errors() {
        for text in ["%", "%4", "%zz", "a%", "%é1", "%%20", "% 1", "%4%31"] {
            assert_eq!(decode(text), Err(PercentError::Escape), "{text}");
        }
        assert_eq!(decode("%ff"), Err(PercentError::Utf8));
    }
}
