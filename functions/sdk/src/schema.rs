//! The shapes of bodies, as constants, in the words of JSON Schema.

use roost_core::limits::{PAGE_DEFAULT, PAGE_MAX};
use serde::{Serialize, Serializer};

/// The shape of a JSON value.
#[derive(Clone, Copy, Debug)]
pub enum Schema {
    /// A UUID.
    Id,
    /// A moment, RFC 3339 in UTC.
    Moment,
    /// Any text.
    Text,
    /// A whole number, not below zero.
    Number,
    /// A page's length, 1 to 100.
    Limit,
    /// Yes or no.
    Flag,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A list of one shape.
    List(&'static Self),
    /// An object from UUIDs to one shape.
    ById(&'static Self),
    /// An object with these fields, all of them there unless [`Schema::Optional`].
    Object(&'static [(&'static str, Self)]),
    /// An object with the fields of another and these.
    With(&'static Self, &'static [(&'static str, Self)]),
    /// A field that may be left out.
    Optional(&'static Self),
    /// Or `null`.
    Nullable(&'static Self),
}

impl Schema {
    /// A message, as everywhere.
    pub const MESSAGE: Self = Self::Object(&[
        ("id", Self::Id),
        ("conversation", Self::Id),
        ("seq", Self::Number),
        ("sender_id", Self::Id),
        ("type", Self::Text),
        ("content", Self::Text),
        ("created_at", Self::Moment),
        ("edited_at", Self::Optional(&Self::Moment)),
    ]);

    /// Somebody's presence, as everywhere.
    pub const PRESENCE: Self = Self::Object(&[
        ("user", Self::Id),
        ("online", Self::Flag),
        ("last_seen", Self::Nullable(&Self::Moment)),
        ("generation", Self::Number),
    ]);

    /// Who answered, where it was not the store: a field of what may be read while the store is away.
    pub const SOURCE: (&'static str, Self) = ("source", Self::Optional(&Self::Word(&["records"])));

    /// Whether `{}` is too little.
    pub(crate) fn has_required_fields(self) -> bool {
        self.fields().iter().any(|(_, field)| !matches!(field, Self::Optional(_)))
    }

    fn fields(self) -> Vec<&'static (&'static str, Self)> {
        match self {
            Self::Object(fields) => fields.iter().collect(),
            Self::With(base, more) => base.fields().into_iter().chain(more).collect(),
            _ => Vec::new(),
        }
    }
}

impl Serialize for Schema {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let node = match *self {
            Self::Optional(value) => return value.serialize(serializer),
            Self::Id => Node { format: Some("uuid"), ..Node::of("string") },
            Self::Moment => Node { format: Some("date-time"), ..Node::of("string") },
            Self::Text => Node::of("string"),
            Self::Number => Node { minimum: Some(0), ..Node::of("integer") },
            Self::Limit => {
                Node { minimum: Some(1), maximum: Some(PAGE_MAX), default: Some(PAGE_DEFAULT), ..Node::of("integer") }
            }
            Self::Flag => Node::of("boolean"),
            Self::List(items) => Node { items: Some(items), ..Node::of("array") },
            Self::ById(value) => Node { additional_properties: Some(value), ..Node::of("object") },
            Self::Word(words) => Node { words: Some(words), ..Node::of("string") },
            Self::Object(_) | Self::With(..) => {
                let fields = self.fields();
                let required = fields.iter().filter(|(_, field)| !matches!(field, Self::Optional(_)));
                let required = required.map(|(name, _)| *name).collect();
                Node { required, properties: Some(Properties(fields)), ..Node::of("object") }
            }
            Self::Nullable(value) => Node { any_of: Some((value, Node::of("null").into())), ..Node::default() },
        };
        node.serialize(serializer)
    }
}

/// One level of JSON Schema.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Node {
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<&'static str>,
    #[serde(rename = "enum", skip_serializing_if = "Option::is_none")]
    words: Option<&'static [&'static str]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    minimum: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    maximum: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    default: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    items: Option<&'static Schema>,
    #[serde(skip_serializing_if = "Option::is_none")]
    additional_properties: Option<&'static Schema>,
    #[serde(skip_serializing_if = "Option::is_none")]
    properties: Option<Properties>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    required: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    any_of: Option<(&'static Schema, Box<Node>)>,
}

impl Node {
    fn of(kind: &'static str) -> Self {
        Self { kind: Some(kind), ..Self::default() }
    }
}

struct Properties(Vec<&'static (&'static str, Schema)>);

impl Serialize for Properties {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, schema)| (name, schema)))
    }
}

#[cfg(test)]
mod tests {
    use roost_core::event::{MessageView, PresenceView};
    use roost_core::ids::{ConversationId, MessageId, Seq, UserId};
    use roost_core::time::Timestamp;
    use serde_json::{Value, json};

    use super::*;

    fn check_fields(schema: Schema, sent: &impl Serialize) {
        let names = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        let told = serde_json::to_value(schema).unwrap();
        assert_eq!(names(&told["properties"]), names(&serde_json::to_value(sent).unwrap()));
    }

    #[test]
    fn the_shared_shapes_are_what_is_sent() {
        let message = MessageView {
            id: MessageId::from_u128(1),
            conversation: ConversationId::from_u128(2),
            seq: Seq(3),
            sender_id: UserId::from_u128(4),
            kind: "text",
            content: "hi",
            created_at: Timestamp(5),
            edited_at: Some(Timestamp(6)),
        };
        check_fields(Schema::MESSAGE, &message);
        let user = UserId::from_u128(1);
        check_fields(Schema::PRESENCE, &PresenceView { user, online: true, last_seen: None, generation: 7 });
    }

    #[test]
    fn shapes_are_json_schemas() {
        let schema = Schema::Object(&[
            ("ids", Schema::List(&Schema::Id)),
            ("counts", Schema::Optional(&Schema::ById(&Schema::Number))),
            ("limit", Schema::Optional(&Schema::Limit)),
            ("cursor", Schema::Nullable(&Schema::Text)),
        ]);
        let with = Schema::With(&Schema::Object(&[("total", Schema::Number)]), &[Schema::SOURCE]);
        let told = json!({
            "type": "object",
            "required": ["total"],
            "properties": {
                "total": {"type": "integer", "minimum": 0},
                "source": {"type": "string", "enum": ["records"]},
            },
        });
        assert_eq!(serde_json::to_value(with).unwrap(), told);
        let told = json!({
            "type": "object",
            "required": ["ids", "cursor"],
            "properties": {
                "ids": {"type": "array", "items": {"type": "string", "format": "uuid"}},
                "counts": {"type": "object", "additionalProperties": {"type": "integer", "minimum": 0}},
                "limit": {"type": "integer", "minimum": 1, "maximum": 100, "default": 50},
                "cursor": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            },
        });
        assert_eq!(serde_json::to_value(schema).unwrap(), told);
    }
}
