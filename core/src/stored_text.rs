//! A long text in the fields of a hash: no field of a hash may be longer than a value, so the text is cut into parts.
//! Numbers beside it, as the store has them.

use crate::limits::VALUE_BYTES_MAX;
use crate::port::Text;

/// The digits of a part's number. The fields of a hash are sorted by name, so all numbers have the same length.
const DIGITS: usize = 4;

/// The parts of a text, each in a field that is named by its number.
pub(crate) fn split(text: &str) -> Vec<(Text, Text)> {
    let mut parts: Vec<(Text, Text)> = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (part, after) = rest.split_at(rest.floor_char_boundary(VALUE_BYTES_MAX));
        parts.push((format!("{:0DIGITS$}", parts.len()).into(), part.to_owned().into()));
        rest = after;
    }
    parts
}

/// The text of which these fields have the parts. Fields with other names are left out.
pub(crate) fn join(fields: &[(String, String)]) -> String {
    let is_part = |name: &str| name.len() == DIGITS && name.bytes().all(|byte| byte.is_ascii_digit());
    fields.iter().filter(|(name, _)| is_part(name)).map(|(_, part)| part.as_str()).collect()
}

/// The number in a field; zero if there is no such field or it holds something else.
pub(crate) fn number(fields: &[(String, String)], name: &str) -> u64 {
    let found = fields.iter().find(|(known, _)| known == name);
    found.and_then(|(_, text)| text.parse().ok()).unwrap_or_default()
}

/// A number as the store counts it; saturates.
pub(crate) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(text: &str) -> Vec<(String, String)> {
        let mut fields: Vec<(String, String)> =
            split(text).into_iter().map(|(name, part)| (name.into_owned(), part.into_owned())).collect();
        fields.push(("attempts".to_owned(), "3".to_owned()));
        fields.sort();
        fields
    }

    #[test]
    fn a_text_of_any_length_is_restored() {
        for text in ["", "a", &"ab".repeat(VALUE_BYTES_MAX), &"\u{20ac}".repeat(VALUE_BYTES_MAX)] {
            let fields = stored(text);
            assert!(fields.iter().all(|(_, part)| part.len() <= VALUE_BYTES_MAX));
            assert_eq!(join(&fields), *text);
            assert_eq!((number(&fields, "attempts"), number(&fields, "bytes")), (3, 0));
        }
    }
}
