//! The parameters of routes. A parameter is declared once, with its name and its type: handlers parse its text into
//! this type, and the API description is made from the same type.

use std::borrow::Cow;
use std::marker::PhantomData;
use std::num::ParseIntError;
use std::str::FromStr;

use roost_core::limits::{PAGE_DEFAULT, PAGE_MAX};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

/// A parameter in a route's path, such as `user` in `/v1/presence/{user}`.
///
/// [`crate::Request::path`] parses it, [`crate::ApiOperation::path`] describes it.
pub struct PathParameter<T> {
    pub(crate) name: &'static str,
    parsed: PhantomData<fn() -> T>,
}

impl<T> PathParameter<T> {
    /// The parameter that the route's path names `{name}`.
    pub const fn new(name: &'static str) -> Self {
        Self { name, parsed: PhantomData }
    }
}

/// A parameter in the query string. Callers may leave it out; an empty value is not the same as a missing one.
///
/// [`crate::Request::query`] parses it, [`crate::ApiOperation::query`] describes it.
pub struct QueryParameter<T> {
    pub(crate) name: &'static str,
    parsed: PhantomData<fn() -> T>,
}

impl<T> QueryParameter<T> {
    /// The query parameter of this name.
    pub const fn new(name: &'static str) -> Self {
        Self { name, parsed: PhantomData }
    }
}

/// The query parameter `limit`: how many entries a page has at most.
pub const LIMIT: QueryParameter<Limit> = QueryParameter::new("limit");

/// How many entries a page has at most: 1 to 100, 50 by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit(pub u32);

impl Default for Limit {
    fn default() -> Self {
        Self(PAGE_DEFAULT)
    }
}

/// Why a text is not a [`Limit`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitError;

impl std::fmt::Display for LimitError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "expected a number from 1 to {PAGE_MAX}")
    }
}

impl From<ParseIntError> for LimitError {
    fn from(_: ParseIntError) -> Self {
        Self
    }
}

impl FromStr for Limit {
    type Err = LimitError;

    fn from_str(text: &str) -> Result<Self, LimitError> {
        let limit = text.parse()?;
        if (1..=PAGE_MAX).contains(&limit) { Ok(Self(limit)) } else { Err(LimitError) }
    }
}

impl JsonSchema for Limit {
    fn schema_name() -> Cow<'static, str> {
        "Limit".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "How many entries a page has at most.",
            "type": "integer",
            "minimum": 1,
            "maximum": PAGE_MAX,
            "default": PAGE_DEFAULT,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_1_to_100() {
        assert_eq!("1".parse(), Ok(Limit(1)));
        assert_eq!("100".parse(), Ok(Limit(100)));
        for text in ["0", "101", "-1", "", "1.0", "99999999999999999999"] {
            assert_eq!(text.parse::<Limit>(), Err(LimitError), "{text}");
        }
    }
}
