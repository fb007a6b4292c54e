//! Reads JSON objects that callers sent. A refusal names the field that is wrong and says what is allowed.

use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::error::Category;
use serde_path_to_error::Track;

use crate::failure::Failure;

/// Reads an object. `what` begins the message of a refusal: "the body", "the payload".
pub(crate) fn object<T: DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T, Failure> {
    // serde would also read an array as a struct, field by field.
    if first_byte(bytes) != Some(b'{') {
        return Err(Failure::invalid(match serde_json::from_slice::<IgnoredAny>(bytes) {
            Ok(_) => format!("{what} is not a JSON object, such as {{\"name\": \"value\"}}"),
            Err(error) => syntax(what, &error),
        }));
    }
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let mut track = Track::new();
    T::deserialize(serde_path_to_error::Deserializer::new(&mut json, &mut track))
        .and_then(|value| json.end().map(|()| value))
        .map_err(|error| Failure::invalid(explain(what, &track.path(), &error)))
}

fn first_byte(bytes: &[u8]) -> Option<u8> {
    bytes.iter().copied().find(|byte| !matches!(byte, b' ' | b'\t' | b'\n' | b'\r'))
}

fn syntax(what: &str, error: &serde_json::Error) -> String {
    format!("{what} is not valid JSON: {error}")
}

fn explain(what: &str, path: &serde_path_to_error::Path, error: &serde_json::Error) -> String {
    if error.classify() != Category::Data {
        return syntax(what, error);
    }
    let text = error.to_string();
    // Somebody who is told the field does not need the line and the column.
    let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(text, _)| text);
    // serde names the type of Rust, which callers need not know.
    let text = &text.replace("expected u64", "expected a whole number of 0 or more");
    if let Some(missing) = text.strip_prefix("missing field ") {
        return format!("field {missing} is missing in {what}");
    }
    let is_about_the_object = text.starts_with("unknown field ") || text.starts_with("duplicate field ");
    if is_about_the_object || path.iter().next().is_none() {
        return format!("{what}: {text}");
    }
    format!("field `{path}` of {what}: {text}")
}

#[cfg(test)]
mod tests {
    use roost_core::error::ErrorKind;
    use roost_core::ids::ConversationId;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Draft {
        content: String,
        conversation: Option<ConversationId>,
        #[serde(rename = "type")]
        kind: Option<String>,
        up_to: Option<u64>,
        #[serde(default)]
        users: Vec<u8>,
    }

    fn refusal(body: &str) -> String {
        let failure = object::<Draft>("the body", body.as_bytes()).unwrap_err();
        assert_eq!((failure.kind, failure.code.as_ref()), (ErrorKind::Invalid, "invalid"));
        failure.message
    }

    #[test]
    fn an_object_with_known_fields_is_read() {
        let draft: Draft = object("the body", br#" {"content":"hi \u00e9","type":"text","up_to":null} "#).unwrap();
        assert_eq!(draft.content, "hi \u{e9}");
        assert_eq!((draft.kind.as_deref(), draft.up_to, draft.conversation), (Some("text"), None, None));
    }

    #[test]
    fn a_refusal_names_the_field_and_what_is_allowed() {
        for (body, message) in [
            ("{}", "field `content` is missing in the body"),
            (r#"{"content":5}"#, "field `content` of the body: invalid type: integer `5`, expected a string"),
            (
                r#"{"content":"a","up_to":-1}"#,
                "field `up_to` of the body: invalid value: integer `-1`, expected a whole number of 0 or more",
            ),
            (
                r#"{"content":"a","users":[1,"b"]}"#,
                "field `users[1]` of the body: invalid type: string \"b\", expected u8",
            ),
            (
                r#"{"content":"a","kind":"b"}"#,
                "the body: unknown field `kind`, expected one of `content`, `conversation`, `type`, `up_to`, `users`",
            ),
            (r#"{"content":"a","content":"b"}"#, "the body: duplicate field `content`"),
            ("[\"a\"]", "the body is not a JSON object, such as {\"name\": \"value\"}"),
            ("null", "the body is not a JSON object, such as {\"name\": \"value\"}"),
            (" 7", "the body is not a JSON object, such as {\"name\": \"value\"}"),
        ] {
            assert_eq!(refusal(body), message, "{body}");
        }
        assert!(
            refusal(r#"{"content":"a","conversation":"7"}"#)
                .starts_with("field `conversation` of the body: not a UUID")
        );
    }

    #[test]
    fn invalid_json_is_refused_with_its_place() {
        for body in ["", "{", "{\"content\":\"a\"", "{\"content\":\"a\"} {}", "{\"content\":\"\u{1}\"}", "\u{feff}{}"] {
            let message = refusal(body);
            assert!(message.starts_with("the body is not valid JSON: "), "{message}");
            assert!(message.contains(" at line 1 column "), "{message}");
        }
        let failure = object::<Draft>("the body", b"{\"content\":\"\xff\"}").unwrap_err();
        assert!(failure.message.contains("invalid unicode"), "{}", failure.message);
    }
}
