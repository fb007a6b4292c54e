//! JSON objects from outside, with answers that name the field at fault.
//!
//! A type needs only `#[derive(Deserialize)]`: unknown fields are refused for every struct read here.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, Visitor};
use serde::forward_to_deserialize_any;
use serde_json::error::Category;

use crate::failure::Failure;

type Json<'de> = serde_json::Deserializer<serde_json::de::SliceRead<'de>>;

/// Reads an object. Nothing, and `null`, are read as `{}`. `what` begins the message: "the body", "the payload".
pub(crate) fn object<T: DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T, Failure> {
    let bytes = match bytes {
        b"" | b"null" => b"{}",
        given => given,
    };
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let mut field = None;
    T::deserialize(Object { json: &mut json, field: &mut field })
        .and_then(|value| json.end().map(|()| value))
        .map_err(|error| Failure::invalid(explain(what, field, &error)))
}

fn explain(what: &str, field: Option<&str>, error: &serde_json::Error) -> String {
    let text = error.to_string();
    if error.classify() != Category::Data {
        return format!("{what} is not valid JSON: {text}");
    }
    // The place is of no use to somebody who is told the field.
    let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(text, _)| text);
    match (field, text.strip_prefix("missing field ")) {
        (Some(field), _) => format!("field `{field}` of {what}: {text}"),
        (None, Some(missing)) => format!("field {missing} is missing in {what}"),
        (None, None) => format!("{what}: {text}"),
    }
}

/// A deserializer of one object that keeps the name of the field it is at.
struct Object<'a, 'de> {
    json: &'a mut Json<'de>,
    field: &'a mut Option<&'static str>,
}

impl<'de> Deserializer<'de> for Object<'_, 'de> {
    type Error = serde_json::Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        self.json.deserialize_map(ObjectVisitor { visitor, known, field: self.field })
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        self.json.deserialize_any(visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

struct ObjectVisitor<'a, V> {
    visitor: V,
    known: &'static [&'static str],
    field: &'a mut Option<&'static str>,
}

impl<'de, V: Visitor<'de>> Visitor<'de> for ObjectVisitor<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<V::Value, M::Error> {
        let Self { visitor, known, field } = self;
        MapAccessDeserializer::new(Fields { map, known, next: None, field }).deserialize_map(visitor)
    }
}

struct Fields<'a, M> {
    map: M,
    known: &'static [&'static str],
    /// The field whose value comes next.
    next: Option<&'static str>,
    /// The field whose value is being read.
    field: &'a mut Option<&'static str>,
}

/// Reads the name of a field, which must be known.
struct FieldName {
    known: &'static [&'static str],
}

impl<'de> DeserializeSeed<'de> for FieldName {
    type Value = &'static str;

    fn deserialize<D: Deserializer<'de>>(self, name: D) -> Result<Self::Value, D::Error> {
        name.deserialize_identifier(self)
    }
}

impl Visitor<'_> for FieldName {
    type Value = &'static str;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a field")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Self::Value, E> {
        let found = self.known.iter().copied().find(|known| *known == name);
        found.ok_or_else(|| E::unknown_field(name, self.known))
    }
}

impl<'de, M: MapAccess<'de>> MapAccess<'de> for Fields<'_, M> {
    type Error = M::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, M::Error> {
        self.next = self.map.next_key_seed(FieldName { known: self.known })?;
        self.next.map(|name| seed.deserialize(name.into_deserializer())).transpose()
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, M::Error> {
        *self.field = self.next.take();
        let value = self.map.next_value_seed(seed)?;
        *self.field = None;
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use roost_core::error::ErrorKind;
    use roost_core::ids::ConversationId;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Draft {
        content: String,
        conversation: Option<ConversationId>,
        #[serde(rename = "type")]
        kind: Option<String>,
        up_to: Option<u64>,
    }

    fn refusal(body: &str) -> String {
        let failure = object::<Draft>("the body", body.as_bytes()).unwrap_err();
        assert_eq!((failure.kind, failure.code.as_ref()), (ErrorKind::Invalid, "invalid"));
        failure.message
    }

    #[test]
    fn what_fits_is_read() {
        let draft: Draft = object("the body", br#" {"content":"hi \u00e9","type":"text"} "#).unwrap();
        assert_eq!(draft.content, "hi \u{e9}");
        assert_eq!((draft.kind.as_deref(), draft.up_to, draft.conversation), (Some("text"), None, None));
    }

    #[test]
    fn a_refusal_names_the_field_and_what_is_allowed() {
        for (body, message) in [
            ("{}", "field `content` is missing in the body"),
            ("", "field `content` is missing in the body"),
            ("null", "field `content` is missing in the body"),
            (r#"{"content":5}"#, "field `content` of the body: invalid type: integer `5`, expected a string"),
            (r#"{"content":"a","up_to":-1}"#, "field `up_to` of the body: invalid value: integer `-1`, expected u64"),
            (
                r#"{"content":"a","kind":"b"}"#,
                "the body: unknown field `kind`, expected one of `content`, `conversation`, `type`, `up_to`",
            ),
            (r#"{"content":"a","content":"b"}"#, "the body: duplicate field `content`"),
            ("[\"a\"]", "the body: invalid type: sequence, expected an object"),
            ("7", "the body: invalid type: integer `7`, expected an object"),
        ] {
            assert_eq!(refusal(body), message, "{body}");
        }
        assert!(refusal(r#"{"content":"a","conversation":"7"}"#).starts_with("field `conversation` of the body: UUID"));
    }

    #[test]
    fn what_is_no_json_is_told_its_place() {
        for body in ["{", "{\"content\":\"a\"", "{\"content\":\"a\"} {}", "{\"content\":\"\u{1}\"}", "\u{feff}{}"] {
            let message = refusal(body);
            assert!(message.starts_with("the body is not valid JSON: "), "{message}");
            assert!(message.contains(" at line 1 column "), "{message}");
        }
        let failure = object::<Draft>("the body", b"{\"content\":\"\xff\"}").unwrap_err();
        assert!(failure.message.contains("invalid unicode"), "{}", failure.message);
    }
}
