//! Compares JSON values with the JSON Schemas of the API's documents.
//!
//! Two things are stricter than in JSON Schema. A keyword that is not known here is a difference, so that no part of a
//! schema goes unchecked. And an object with `properties` has no others, unless the schema says so: what is sent is
//! described.

use regex_automata::nfa::thompson::pikevm::PikeVM;
use serde_json::{Map, Value};
use uuid::Uuid;

/// Every difference between a value and its schema, with its place. Empty if the value is as described.
pub fn differences(schema: &Value, value: &Value) -> Vec<String> {
    let mut differences = Vec::new();
    compare(schema, value, "$", &mut differences);
    differences
}

fn compare(schema: &Value, value: &Value, place: &str, differences: &mut Vec<String>) {
    match schema {
        Value::Bool(true) => {}
        Value::Object(keywords) => {
            for (keyword, expected) in keywords {
                if let Err(difference) = check(keyword, expected, value, place, (keywords, &mut *differences)) {
                    differences.push(format!("{place}: {difference}"));
                }
            }
        }
        _ => differences.push(format!("{place}: nothing is allowed here, found {value}")),
    }
}

/// The schema of a keyword, and the differences that were found so far.
type Context<'a> = (&'a Map<String, Value>, &'a mut Vec<String>);

fn check(
    keyword: &str,
    expected: &Value,
    value: &Value,
    place: &str,
    (schema, differences): Context<'_>,
) -> Result<(), String> {
    match keyword {
        "description" | "title" | "default" | "$schema" => Ok(()),
        "type" => holds(is_of_type(expected, value), || format!("expected {expected}, found {value}")),
        "const" => holds(expected == value, || format!("expected {expected}, found {value}")),
        "enum" => holds(list(expected).contains(value), || format!("expected one of {expected}, found {value}")),
        "anyOf" | "oneOf" => any_of(list(expected), value),
        "required" => required(list(expected), value),
        "properties" => {
            properties(schema, value, place, differences);
            Ok(())
        }
        // Read together with `properties`.
        "additionalProperties" | "patternProperties" => {
            if !schema.contains_key("properties") {
                properties(schema, value, place, differences);
            }
            Ok(())
        }
        "items" => {
            for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                compare(expected, item, &format!("{place}[{index}]"), differences);
            }
            Ok(())
        }
        "format" => format(expected.as_str().unwrap_or_default(), value),
        "pattern" => holds(value.as_str().is_none_or(|text| matches(expected, text)), || {
            format!("{value} does not match {expected}")
        }),
        bound => within(bound, expected, value),
    }
}

fn holds(holds: bool, difference: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(difference()) }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn is_of_type(expected: &Value, value: &Value) -> bool {
    let is = |name: &Value| match name.as_str() {
        Some("null") => value.is_null(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.is_u64() || value.is_i64(),
        Some("number") => value.is_number(),
        Some("string") => value.is_string(),
        Some("array") => value.is_array(),
        Some("object") => value.is_object(),
        _ => false,
    };
    if expected.is_array() { list(expected).iter().any(is) } else { is(expected) }
}

fn any_of(schemas: &[Value], value: &Value) -> Result<(), String> {
    let tried: Vec<Vec<String>> = schemas.iter().map(|schema| differences(schema, value)).collect();
    holds(tried.iter().any(Vec::is_empty), || format!("{value} is none of the alternatives: {tried:?}"))
}

fn required(names: &[Value], value: &Value) -> Result<(), String> {
    let Some(object) = value.as_object() else { return Ok(()) };
    let missing: Vec<_> = names.iter().filter(|name| !object.contains_key(name.as_str().unwrap_or_default())).collect();
    holds(missing.is_empty(), || format!("{missing:?} is missing in {value}"))
}

fn properties(schema: &Map<String, Value>, value: &Value, place: &str, differences: &mut Vec<String>) {
    let Some(object) = value.as_object() else { return };
    let known = schema.get("properties").and_then(Value::as_object);
    let patterns = schema.get("patternProperties").and_then(Value::as_object);
    let closed = Value::Bool(false);
    let others = schema.get("additionalProperties").unwrap_or(&closed);
    for (name, member) in object {
        let by_pattern = || {
            let mut patterns = patterns.into_iter().flatten();
            patterns.find(|(pattern, _)| matches(&Value::String((*pattern).clone()), name)).map(|(_, schema)| schema)
        };
        let described = known.and_then(|known| known.get(name)).or_else(by_pattern).unwrap_or(others);
        compare(described, member, &format!("{place}.{name}"), differences);
    }
}

fn format(format: &str, value: &Value) -> Result<(), String> {
    let Some(text) = value.as_str() else {
        // The formats of numbers, such as `uint64`, say which numbers they are.
        return holds(!format.starts_with("uint") || !value.is_i64() || value.is_u64(), || {
            format!("{value} is no {format}")
        });
    };
    let fits = match format {
        "uuid" => Uuid::try_parse(text).is_ok_and(|uuid| uuid.to_string() == text),
        "date-time" => {
            text.len() >= "2026-01-01T00:00:00Z".len() && text.ends_with('Z') && text.as_bytes().get(10) == Some(&b'T')
        }
        _ => false,
    };
    holds(fits, || format!("{value} is no {format}"))
}

fn matches(pattern: &Value, text: &str) -> bool {
    let pattern = PikeVM::new(pattern.as_str().unwrap_or_default()).expect("a regular expression");
    pattern.is_match(&mut pattern.create_cache(), text)
}

/// A bound of a number, of a text or of a list. A value of another type is the matter of `type`.
fn within(keyword: &str, bound: &Value, value: &Value) -> Result<(), String> {
    let bound = bound.as_f64().ok_or_else(|| format!("the keyword {keyword} is not known"))?;
    let size = match keyword {
        "minimum" | "maximum" => value.as_f64(),
        "minLength" | "maxLength" => value.as_str().map(|text| text.chars().count() as f64),
        "minItems" | "maxItems" => value.as_array().map(|items| items.len() as f64),
        _ => return Err(format!("the keyword {keyword} is not known")),
    };
    let fits = size.is_none_or(|size| if keyword.starts_with("min") { size >= bound } else { size <= bound });
    holds(fits, || format!("{value} is not within {keyword} {bound}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn is(schema: Value, value: Value) {
        assert_eq!(differences(&schema, &value), Vec::<String>::new(), "{schema} {value}");
    }

    fn is_not(schema: Value, value: Value, expected: &str) {
        let found = differences(&schema, &value);
        assert!(found.iter().any(|difference| difference.contains(expected)), "{schema} {value}: {found:?}");
    }

    #[test]
    fn values_have_their_types_and_formats() {
        is(json!({ "type": ["string", "null"], "format": "date-time" }), json!("2026-11-29T21:00:00.123Z"));
        is(json!({ "type": ["string", "null"], "format": "date-time" }), Value::Null);
        is(json!({ "type": "string", "format": "uuid" }), json!("6f1c1fd4-3c5b-4a8e-9d1a-0c6a2f1b7e55"));
        is_not(json!({ "type": "string", "format": "uuid" }), json!("6f1c1fd4"), "is no uuid");
        is_not(json!({ "type": "string", "format": "date-time" }), json!("yesterday"), "is no date-time");
        is_not(json!({ "type": "integer", "format": "uint64" }), json!(-1), "is no uint64");
        is_not(json!({ "type": "integer" }), json!(1.5), "expected \"integer\"");
        is(json!({ "pattern": "^[a-z0-9]{1,32}$" }), json!("k3f9"));
        is_not(json!({ "pattern": "^[a-z0-9]{1,32}$" }), json!("K3F9"), "does not match");
        is_not(json!({ "enum": ["gap"] }), json!("behind"), "expected one of");
        is_not(json!({ "const": "ok" }), json!("error"), "expected \"ok\"");
    }

    #[test]
    fn an_object_has_what_is_required_and_nothing_that_is_not_described() {
        let schema =
            || json!({ "type": "object", "properties": { "seq": { "type": "integer" } }, "required": ["seq"] });
        is(schema(), json!({ "seq": 1 }));
        is_not(schema(), json!({}), "is missing");
        is_not(schema(), json!({ "seq": "1" }), "$.seq: expected");
        is_not(schema(), json!({ "seq": 1, "more": 2 }), "$.more: nothing is allowed here");
        is(json!({ "type": "object", "additionalProperties": { "type": "integer" } }), json!({ "any": 1 }));
        is(json!({ "patternProperties": { "^[0-9]+$": true } }), json!({ "7": 1 }));
        is_not(json!({ "patternProperties": { "^[0-9]+$": true } }), json!({ "x": 1 }), "nothing is allowed");
    }

    #[test]
    fn lists_numbers_and_texts_have_their_bounds() {
        is_not(json!({ "items": { "type": "integer" } }), json!([1, "2"]), "$[1]: expected");
        is_not(json!({ "maxItems": 1 }), json!([1, 2]), "not within maxItems 1");
        is_not(json!({ "minLength": 1 }), json!(""), "not within minLength 1");
        is_not(json!({ "maximum": 100 }), json!(101), "not within maximum 100");
        is(json!({ "minimum": 0, "maximum": 100 }), json!(100));
    }

    #[test]
    fn one_of_the_alternatives_is_enough() {
        let schema = || json!({ "anyOf": [{ "type": "integer" }, { "type": "null" }] });
        is(schema(), Value::Null);
        is_not(schema(), json!("x"), "none of the alternatives");
    }

    #[test]
    fn a_keyword_that_is_not_known_is_a_difference() {
        is_not(json!({ "multipleOf": 2 }), json!(2), "the keyword multipleOf is not known");
        is_not(json!({ "not": {} }), json!(2), "the keyword not is not known");
    }
}
