//! Query strings: names and values, decoded, in order. What is not valid is refused, not guessed.

use crate::server::problem::{ApiError, Code};

/// More parameters than any route has.
const PARAMETERS_MAX: usize = 64;

/// Reads a query string (`application/x-www-form-urlencoded`).
pub fn parse(text: &str) -> Result<Vec<(String, String)>, ApiError> {
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    let mut query = Vec::new();
    for pair in pairs {
        if query.len() == PARAMETERS_MAX {
            return Err(ApiError::new(Code::InvalidQuery, format!("more than {PARAMETERS_MAX} parameters")));
        }
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        query.push((decode(name)?, decode(value)?));
    }
    Ok(query)
}

/// The value of a parameter; the first, if it stands more than once.
pub fn value<'a>(query: &'a [(String, String)], name: &str) -> Option<&'a str> {
    query.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
}

fn decode(text: &str) -> Result<String, ApiError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => match (rest.next().and_then(digit), rest.next().and_then(digit)) {
                (Some(high), Some(low)) => high << 4 | low,
                _ => return Err(ApiError::new(Code::InvalidQuery, "a `%` is not followed by two hexadecimal digits")),
            },
            other => other,
        });
    }
    String::from_utf8(bytes).map_err(|_| ApiError::new(Code::InvalidQuery, "a name or value is not UTF-8"))
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        parse(text).unwrap()
    }

    #[test]
    fn names_and_values_are_decoded_in_order() {
        let query = pairs("a=1&b=x+y%26%C3%A9&&a=2&flag");
        let expected = [("a", "1"), ("b", "x y&é"), ("a", "2"), ("flag", "")];
        assert_eq!(query, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!(value(&query, "a"), Some("1"));
        assert_eq!(value(&query, "c"), None);
        assert_eq!(pairs(""), []);
    }

    #[test]
    fn what_cannot_be_decoded_is_refused() {
        for bad in ["a=%", "a=%4", "a=%zz", "a=%ff", "%=1", "a=%+1"] {
            assert!(parse(bad).unwrap_err().is(Code::InvalidQuery), "{bad}");
        }
        assert!(parse(&"a&".repeat(65)).is_err());
    }
}
