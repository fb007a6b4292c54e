//! Writes the item of a function into a physical key: letters, digits, `.`, `_` and `-` as they are, and every other
//! byte as `%` and two hexadecimal digits. So a key is printable, its parts stay apart, and it has one hash tag.

use std::borrow::Cow;
use std::fmt::Write as _;

/// The escaped item. Different items stay different.
pub(super) fn item(item: &str) -> Cow<'_, str> {
    if item.bytes().all(is_plain) {
        return Cow::Borrowed(item);
    }
    let mut escaped = String::with_capacity(item.len() * 3);
    for byte in item.bytes() {
        if is_plain(byte) {
            escaped.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    Cow::Owned(escaped)
}

const fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}

#[cfg(test)]
mod tests {
    use super::item;

    #[test]
    fn plain_items_are_not_changed() {
        for plain in ["a", "Cursor-7_b.c", "00000000-0000-0000-0000-000000000007", ""] {
            assert_eq!(item(plain), plain);
        }
    }

    #[test]
    fn every_other_byte_is_escaped() {
        for (text, escaped) in [
            ("👍", "%F0%9F%91%8D"),
            ("a:b", "a%3Ab"),
            ("{a}", "%7Ba%7D"),
            ("%3A", "%253A"),
            ("a b\n\0", "a%20b%0A%00"),
            ("ü", "%C3%BC"),
        ] {
            assert_eq!(item(text), escaped, "{text}");
        }
    }
}
