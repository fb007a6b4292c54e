//! What a scenario expects: values with names of users, kept values and placeholders in them, and the comparison with
//! what was found. Nothing here reads or writes.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use roost_core::time::Timestamp;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::file::RESERVED;

/// The longest value that a difference shows.
const SHOWN_CHARS_MAX: usize = 240;

/// The values that names in braces stand for: the ids of users and conversations, and what steps have kept.
#[derive(Clone, Debug, Default)]
pub(super) struct Names(BTreeMap<String, Value>);

/// An expected value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Pattern {
    /// `{any}`, and the other placeholders for values that a scenario cannot know.
    Placeholder(Placeholder),
    /// Exactly this text, number, truth value or null.
    Exactly(Value),
    /// As many values, in this order.
    List(Vec<Self>),
    /// These members. `open`: the object may have further ones.
    Object { members: BTreeMap<String, Self>, open: bool },
}

/// A value that a scenario cannot know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Placeholder {
    Any,
    Uuid,
    /// A time in RFC 3339.
    Time,
    Number,
    Text,
}

/// What was expected at a place, and what was found there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mismatch {
    pub(super) place: String,
    pub(super) problem: String,
}

impl Mismatch {
    pub(super) fn new(place: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { place: place.into(), problem: problem.into() }
    }

    /// A mismatch of two values.
    pub(super) fn of(place: impl Into<String>, expected: impl std::fmt::Display, found: &Value) -> Self {
        Self::new(place, format!("expected {expected}, found {}", shown(found)))
    }
}

impl Names {
    pub(super) fn set(&mut self, name: &str, value: Value) {
        self.0.insert(name.to_owned(), value);
    }

    /// The value of a name.
    pub(super) fn value(&self, name: &str) -> Result<&Value, String> {
        self.0.get(name).ok_or_else(|| {
            let known: Vec<&str> = self.0.keys().map(String::as_str).collect();
            format!(
                "there is nothing named {name:?} here; the names are {}, and those that earlier steps `keep`",
                known.join(", ")
            )
        })
    }

    /// A text with the values of the names in it. `{{` stands for `{`.
    pub(super) fn text(&self, text: &str) -> Result<String, String> {
        let mut written = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            written.push_str(before);
            if let Some(literal) = after.strip_prefix('{') {
                written.push('{');
                rest = literal;
                continue;
            }
            let (name, after) = after
                .split_once('}')
                .ok_or_else(|| format!("{text:?}: a `{{` has no `}}`; write `{{{{` for a brace"))?;
            match self.value(name)? {
                Value::String(value) => written.push_str(value),
                other => drop(write!(written, "{other}")),
            }
            rest = after;
        }
        written.push_str(rest);
        Ok(written)
    }

    /// A value to send: a text that is only a name in braces becomes the value itself, and `{null}` becomes null.
    pub(super) fn fill_in(&self, value: &Value) -> Result<Value, String> {
        Ok(match value {
            Value::String(text) => match whole_name(text) {
                Some("null") => Value::Null,
                Some(name) if RESERVED.contains(&name) && name != "now" => {
                    return Err(format!(
                        "`{{{name}}}` stands for a value that is not known; it can be expected, not sent"
                    ));
                }
                Some(name) => self.value(name)?.clone(),
                None => Value::String(self.text(text)?),
            },
            Value::Array(items) => Value::Array(items.iter().map(|item| self.fill_in(item)).collect::<Result<_, _>>()?),
            Value::Object(members) => {
                let member = |(name, value): (&String, &Value)| Ok((self.text(name)?, self.fill_in(value)?));
                Value::Object(members.iter().map(member).collect::<Result<Map<_, _>, String>>()?)
            }
            other => other.clone(),
        })
    }

    /// A value to expect.
    pub(super) fn pattern(&self, value: &Value) -> Result<Pattern, String> {
        Ok(match value {
            Value::String(text) => match whole_name(text).and_then(placeholder) {
                Some(placeholder) => Pattern::Placeholder(placeholder),
                None => Pattern::Exactly(self.fill_in(value)?),
            },
            Value::Array(items) => {
                Pattern::List(items.iter().map(|item| self.pattern(item)).collect::<Result<_, _>>()?)
            }
            Value::Object(members) => {
                let open = members.contains_key("{rest}");
                let closed = members.iter().filter(|(name, _)| *name != "{rest}");
                let member = |(name, value): (&String, &Value)| Ok((self.text(name)?, self.pattern(value)?));
                Pattern::Object { members: closed.map(member).collect::<Result<_, String>>()?, open }
            }
            other => Pattern::Exactly(other.clone()),
        })
    }
}

impl Pattern {
    /// Compares, and adds every mismatch with its place.
    pub(super) fn compare(&self, place: &str, found: &Value, mismatches: &mut Vec<Mismatch>) {
        match (self, found) {
            (Self::Placeholder(placeholder), found) if placeholder.holds(found) => {}
            (Self::Exactly(expected), found) if expected == found => {}
            (Self::List(expected), Value::Array(found)) => {
                for (index, pattern) in expected.iter().enumerate() {
                    let place = format!("{place}[{index}]");
                    match found.get(index) {
                        Some(found) => pattern.compare(&place, found, mismatches),
                        None => mismatches.push(Mismatch::new(place, format!("expected {pattern}, found nothing"))),
                    }
                }
                for (index, found) in found.iter().enumerate().skip(expected.len()) {
                    mismatches.push(Mismatch::of(format!("{place}[{index}]"), "nothing", found));
                }
            }
            (Self::Object { members, open }, Value::Object(found)) => {
                for (name, pattern) in members {
                    let place = member_place(place, name);
                    match found.get(name) {
                        Some(found) => pattern.compare(&place, found, mismatches),
                        None => mismatches.push(Mismatch::new(place, format!("expected {pattern}, found nothing"))),
                    }
                }
                let further = found.iter().filter(|(name, _)| !open && !members.contains_key(*name));
                mismatches
                    .extend(further.map(|(name, found)| Mismatch::of(member_place(place, name), "nothing", found)));
            }
            (expected, found) => mismatches.push(Mismatch::of(place, expected, found)),
        }
    }
}

impl std::fmt::Display for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&shown(&self.to_value()))
    }
}

impl Pattern {
    /// The pattern as it would be written in JSON.
    fn to_value(&self) -> Value {
        match self {
            Self::Placeholder(placeholder) => Value::String(format!("{{{}}}", placeholder.name())),
            Self::Exactly(value) => value.clone(),
            Self::List(items) => Value::Array(items.iter().map(Self::to_value).collect()),
            Self::Object { members, .. } => {
                Value::Object(members.iter().map(|(name, pattern)| (name.clone(), pattern.to_value())).collect())
            }
        }
    }
}

impl Placeholder {
    const ALL: [Self; 5] = [Self::Any, Self::Uuid, Self::Time, Self::Number, Self::Text];

    const fn name(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::Uuid => "uuid",
            Self::Time => "time",
            Self::Number => "number",
            Self::Text => "text",
        }
    }

    fn holds(self, found: &Value) -> bool {
        match self {
            Self::Any => true,
            Self::Uuid => found.as_str().is_some_and(|text| Uuid::try_parse(text).is_ok()),
            Self::Time => found.as_str().is_some_and(|text| Timestamp::parse_rfc3339(text).is_some()),
            Self::Number => found.is_number(),
            Self::Text => found.is_string(),
        }
    }
}

fn placeholder(name: &str) -> Option<Placeholder> {
    Placeholder::ALL.into_iter().find(|placeholder| placeholder.name() == name)
}

/// The name, if the text is nothing but a name in braces.
fn whole_name(text: &str) -> Option<&str> {
    let name = text.strip_prefix('{')?.strip_suffix('}')?;
    (!name.contains(['{', '}'])).then_some(name)
}

fn member_place(place: &str, name: &str) -> String {
    let is_plain = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if is_plain { format!("{place}.{name}") } else { format!("{place}.{}", Value::from(name)) }
}

/// A value as JSON, cut where it is too long to read.
pub(super) fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ADA: &str = "00000000-0000-4000-8000-000000000001";

    fn names() -> Names {
        let mut names = Names::default();
        names.set("ada", json!(ADA));
        names.set("seq", json!(7));
        names
    }

    fn mismatches(expected: Value, found: Value) -> Vec<String> {
        let mut mismatches = Vec::new();
        names().pattern(&expected).unwrap().compare("reply", &found, &mut mismatches);
        mismatches.into_iter().map(|mismatch| format!("{}: {}", mismatch.place, mismatch.problem)).collect()
    }

    #[test]
    fn names_are_replaced_in_texts_values_and_the_names_of_members() {
        assert_eq!(names().text("/v1/presence/{ada}?before={seq}").unwrap(), format!("/v1/presence/{ADA}?before=7"));
        assert_eq!(names().text("{{ada}").unwrap(), "{ada}");
        let sent = names().fill_in(&json!({ "{ada}": ["{seq}", "no {seq}", "{null}", 1.5] })).unwrap();
        assert_eq!(sent, json!({ ADA: [7, "no 7", null, 1.5] }));
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_known_ones() {
        let expected =
            "there is nothing named \"eve\" here; the names are ada, seq, and those that earlier steps `keep`";
        assert_eq!(names().text("{eve}").unwrap_err(), expected);
        assert!(names().text("{ada").unwrap_err().contains("has no `}`"));
        assert!(names().fill_in(&json!("{uuid}")).unwrap_err().contains("expected, not sent"));
    }

    #[test]
    fn equal_values_have_no_mismatch() {
        let found =
            json!({ "id": ADA, "at": "2026-01-01T00:00:00Z", "seq": 7, "kind": "text", "edited": null, "list": [1] });
        let expected = json!({
            "id": "{uuid}", "at": "{time}", "seq": "{seq}", "kind": "{text}", "edited": "{null}", "list": ["{number}"],
        });
        assert_eq!(mismatches(expected, found.clone()), Vec::<String>::new());
        assert_eq!(mismatches(json!({ "id": "{ada}", "{rest}": "{any}" }), found.clone()), Vec::<String>::new());
        assert_eq!(mismatches(json!("{any}"), found), Vec::<String>::new());
    }

    #[test]
    fn every_mismatch_has_its_place() {
        let found = json!({ "counts": { "👍": 1, "❤️": 2 }, "mine": ["👍"], "id": "x" });
        let expected = json!({ "counts": { "👍": 2 }, "mine": ["👍", "❤️"], "id": "{uuid}", "total": 3 });
        assert_eq!(
            mismatches(expected, found),
            [
                "reply.counts.\"👍\": expected 2, found 1",
                "reply.counts.\"❤\u{fe0f}\": expected nothing, found 2",
                "reply.id: expected \"{uuid}\", found \"x\"",
                "reply.mine[1]: expected \"❤\u{fe0f}\", found nothing",
                "reply.total: expected 3, found nothing",
            ]
        );
        assert_eq!(mismatches(json!([1]), json!([1, 2])), ["reply[1]: expected nothing, found 2"]);
        assert_eq!(mismatches(json!({ "a": 1 }), json!([])), ["reply: expected {\"a\":1}, found []"]);
    }

    #[test]
    fn long_values_are_cut() {
        let long = json!("é".repeat(1_000));
        assert_eq!(shown(&long).chars().count(), SHOWN_CHARS_MAX + 1);
        assert!(shown(&long).ends_with('…'));
    }
}
