//! An event as an entry of a user's stream.
//!
//! The id is `<epoch>-<offset>`. The first field, whose text is empty, is named `<type>@<the process that appended it>`; after it
//! stand the members of the payload: a string as it is, anything else as `<member>:json`. A stream keeps the names of alike
//! entries once for all of them, so that an entry is little more than what differs.

use std::borrow::Cow;
use std::fmt;

use redis::Value as Reply;
use roost_core::feed::Position;
use roost_core::port::Delivery;
use serde::Deserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::read;
use super::connections::server::Server;

/// Payloads of more members are one field.
const MEMBERS_MAX: usize = 32;
/// The name of the field that holds a whole payload. No member is called so.
const WHOLE: &str = "";

/// What stands behind the name of a member that is no string, or one with escapes.
const JSON: &str = ":json";

/// A field's name and text.
type Field<'p> = (Cow<'p, str>, &'p str);

/// The fields of a payload: its members, or all of it as one.
pub(super) fn fields(payload: &str) -> Vec<Field<'_>> {
    let mut json = serde_json::Deserializer::from_str(payload);
    let members = json.deserialize_map(Members).and_then(|members| json.end().map(|()| members));
    members.unwrap_or_else(|_| vec![(WHOLE.into(), payload)])
}

fn member<'p>(name: &'p str, json: &'p str) -> Field<'p> {
    match json.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
        Some(text) if !text.contains('\\') => (name.into(), text),
        _ => ((name.to_owned() + JSON).into(), json),
    }
}

/// Reads an object whose members need no escape and can be put together again.
struct Members;

impl<'p> Visitor<'p> for Members {
    type Value = Vec<Field<'p>>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "an object of at most {MEMBERS_MAX} plainly named members")
    }

    fn visit_map<A: MapAccess<'p>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some((name, json)) = map.next_entry::<&str, &RawValue>()? {
            let is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            if name == WHOLE || !is_plain || members.len() == MEMBERS_MAX {
                return Err(A::Error::invalid_value(serde::de::Unexpected::Str(name), &self));
            }
            members.push(member(name, json.get()));
        }
        Ok(members)
    }
}

/// One event of a feed.
pub(super) struct Entry {
    pub(super) epoch: u64,
    pub(super) offset: u64,
    name: String,
    payload: String,
    server: String,
}

impl Entry {
    /// Reads `[id, [field, text, …]]`.
    pub(super) fn read(reply: Reply) -> Option<Self> {
        let Reply::Array(parts) = reply else { return None };
        let [id, Reply::Array(fields)] = <[Reply; 2]>::try_from(parts).ok()? else { return None };
        let id = read::text(id)?;
        let (epoch, offset) = id.split_once('-')?;
        let mut texts = fields.into_iter().filter_map(read::text);
        let (first, _) = (texts.next()?, texts.next()?);
        // Whoever appended it in another form is another process.
        let (name, server) = first.rsplit_once('@').unwrap_or_default();
        Some(Self {
            epoch: epoch.parse().ok()?,
            offset: offset.parse().ok()?,
            name: name.to_owned(),
            payload: payload(texts),
            server: server.to_owned(),
        })
    }

    pub(super) fn is_of(&self, server: &Server) -> bool {
        self.server == server.name
    }

    pub(super) fn position(&self) -> Position {
        Position { epoch: self.epoch.to_string().into(), offset: self.offset }
    }

    pub(super) fn into_delivery(self) -> Delivery {
        let position = Some(self.position());
        Delivery { name: self.name.into(), payload: self.payload.into(), position }
    }
}

/// What [`fields`] took apart.
fn payload(mut fields: impl Iterator<Item = String>) -> String {
    let mut payload = String::from("{");
    while let (Some(name), Some(text)) = (fields.next(), fields.next()) {
        if name == WHOLE {
            return text;
        }
        if payload.len() > 1 {
            payload.push(',');
        }
        match name.strip_suffix(JSON) {
            Some(name) => payload.extend(["\"", name, "\":", &text]),
            None => payload.extend(["\"", &name, "\":\"", &text, "\""]),
        }
    }
    payload.push('}');
    payload
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kept(json: &str) -> String {
        payload(fields(json).into_iter().flat_map(|(name, text)| [name.into_owned(), text.to_owned()]))
    }

    #[test]
    fn members_are_fields() {
        let message = r#"{"id":"a","seq":3,"content":"\"{brace},","deep":{"a":[1, 2]},"none":null,"empty":""}"#;
        let expected = [
            ("id", "a"),
            ("seq:json", "3"),
            ("content:json", r#""\"{brace},""#),
            ("deep:json", r#"{"a":[1, 2]}"#),
            ("none:json", "null"),
            ("empty", ""),
        ];
        assert_eq!(fields(message), expected.map(|(name, text)| (name.into(), text)));
        assert_eq!(kept(message), message);
        assert_eq!(fields("{}"), []);
        assert_eq!(kept("{}"), "{}");
    }

    #[test]
    fn what_cannot_be_put_together_again_stays_whole() {
        let many: Vec<String> = (0..=MEMBERS_MAX).map(|number| format!("\"m{number}\":0")).collect();
        let many = format!("{{{}}}", many.join(","));
        for odd in [
            "",
            "7",
            "[1]",
            "\"x\"",
            "xxx",
            r#"{"":1}"#,
            r#"{"a\n":1}"#,
            r#"{"a b":1}"#,
            r#"{"a":1"#,
            r#"{"a":1} x"#,
            &many,
        ] {
            assert_eq!(fields(odd), [(WHOLE.into(), odd)]);
            assert_eq!(kept(odd), odd);
        }
    }

    proptest! {
        #[test]
        fn a_payload_comes_back_as_it_was(members in prop::collection::vec(("[a-z_0-9]{0,9}", ".{0,20}"), 0..40)) {
            let members: Vec<String> = members
                .iter()
                .map(|(name, text)| format!("\"{name}\":{}", serde_json::to_string(text).unwrap()))
                .collect();
            let json = format!("{{{}}}", members.join(","));
            prop_assert_eq!(kept(&json), json);
        }

        #[test]
        fn any_text_means_the_same_afterwards(text in ".{0,60}") {
            let (before, after) = (serde_json::from_str::<serde_json::Value>(&text), kept(&text));
            match before {
                Ok(before) => prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&after).unwrap(), before),
                Err(_) => prop_assert_eq!(after, text),
            }
        }
    }
}
