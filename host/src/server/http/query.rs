//! Parses query strings into decoded names and values, in order. An invalid query is refused. Public for the parser
//! tests.

use crate::runtime::percent::{self, PercentError};
use crate::server::problem::{ApiError, ErrorCode};

/// More parameters than any route has.
const PARAMETERS_MAX: usize = 64;

/// Parses a query string (`application/x-www-form-urlencoded`).
pub fn parse(text: &str) -> Result<Vec<(String, String)>, ApiError> {
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    let mut query = Vec::new();
    for pair in pairs {
        if query.len() == PARAMETERS_MAX {
            return Err(invalid(format!("a query may have at most {PARAMETERS_MAX} parameters")));
        }
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        query.push((decode(name)?, decode(value)?));
    }
    Ok(query)
}

/// The value of a parameter; the first value if there are several.
pub fn value<'a>(query: &'a [(String, String)], name: &str) -> Option<&'a str> {
    query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

fn decode(text: &str) -> Result<String, ApiError> {
    let spaced = text.replace('+', " ");
    match percent::decode(&spaced) {
        Ok(decoded) => Ok(decoded.into_owned()),
        Err(PercentError::Escape) => {
            Err(invalid("in the query, `%` must be followed by two hexadecimal digits; write a percent sign as `%25`"))
        }
        Err(PercentError::Utf8) => Err(invalid("the names and values of the query must be UTF-8")),
    }
}

fn invalid(detail: impl Into<String>) -> ApiError {
    ApiError::new(ErrorCode::InvalidQuery, detail)
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
    fn invalid_escapes_and_invalid_utf8_are_refused() {
        for bad in ["a=%", "a=%4", "a=%zz", "a=%ff", "%=1", "a=%+1"] {
            assert!(parse(bad).unwrap_err().is(ErrorCode::InvalidQuery), "{bad}");
        }
        assert!(parse(&"a&".repeat(65)).is_err());
    }
}
