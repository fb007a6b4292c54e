//! Numbers as the store holds them: decimal text with exactly one form for each number.

/// Parses a number; `None` for any other form (`+1`, `01`, `-0`, `1.0`) and for numbers beyond 64 bits.
///
/// Counters and numeric fields are text that this function parses, so that all adapters agree on what a number is.
pub fn parse_number(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let canonical = match digits {
        [b'0'] => text.len() == 1,
        [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    canonical.then(|| std::str::from_utf8(text).ok()?.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_one_text_form() {
        for number in [0, 1, -1, 10, i64::MAX, i64::MIN] {
            assert_eq!(parse_number(number.to_string().as_bytes()), Some(number));
        }
        for text in ["", "-", "-0", "00", "01", "+1", " 1", "1 ", "1.0", "1e3", "9223372036854775808"] {
            assert_eq!(parse_number(text.as_bytes()), None, "{text}");
        }
    }
}
