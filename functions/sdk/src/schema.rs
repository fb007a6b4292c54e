//! The shapes of bodies, as constants, and the OpenAPI operation of a route made from them.

use serde_json::{Map, Value, json};

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
    /// A list of one shape.
    List(&'static Self),
    /// An object from UUIDs to one shape.
    ById(&'static Self),
    /// An object with these fields, all of them there unless [`Schema::Optional`].
    Object(&'static [(&'static str, Self)]),
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
    pub const PRESENCE: Self =
        Self::Object(&[("user", Self::Id), ("online", Self::Flag), ("last_seen", Self::Nullable(&Self::Moment))]);

    /// As JSON Schema.
    fn describe(self) -> Value {
        match self {
            Self::Id => json!({"type": "string", "format": "uuid"}),
            Self::Moment => json!({"type": "string", "format": "date-time"}),
            Self::Text => json!({"type": "string"}),
            Self::Number => json!({"type": "integer", "minimum": 0}),
            Self::Limit => json!({
                "type": "integer",
                "minimum": 1,
                "maximum": roost_core::limits::PAGE_MAX,
                "default": roost_core::limits::PAGE_DEFAULT,
            }),
            Self::Flag => json!({"type": "boolean"}),
            Self::List(item) => json!({"type": "array", "items": item.describe()}),
            Self::ById(value) => json!({"type": "object", "additionalProperties": value.describe()}),
            Self::Object(fields) => describe_object(fields),
            Self::Optional(value) => value.describe(),
            Self::Nullable(value) => json!({"anyOf": [value.describe(), {"type": "null"}]}),
        }
    }
}

fn describe_object(fields: &[(&str, Schema)]) -> Value {
    let properties: Map<_, _> = fields.iter().map(|(name, field)| ((*name).to_owned(), field.describe())).collect();
    let required: Vec<_> =
        fields.iter().filter(|(_, field)| !matches!(field, Schema::Optional(_))).map(|(name, _)| *name).collect();
    json!({"type": "object", "properties": properties, "required": required})
}

/// What a route says of itself beyond method, path and access.
pub(crate) struct Operation {
    pub(crate) summary: &'static str,
    pub(crate) query: &'static [(&'static str, Schema)],
    pub(crate) body: Option<Schema>,
    pub(crate) replies: &'static [(u16, Option<Schema>)],
}

impl Operation {
    pub(crate) const EMPTY: Self = Self { summary: "", query: &[], body: None, replies: &[] };

    /// An OpenAPI operation object.
    pub(crate) fn describe(&self, function: &str, path: &str) -> Value {
        let mut operation = json!({
            "summary": self.summary,
            "tags": [function],
            "parameters": self.parameters(path),
            "responses": self.responses(),
        });
        if let (Some(body), Some(fields)) = (self.body, operation.as_object_mut()) {
            fields.insert("requestBody".to_owned(), json!({"content": content(body)}));
        }
        operation
    }

    fn parameters(&self, path: &str) -> Vec<Value> {
        let names = path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'));
        let in_path =
            names.map(|name| json!({"name": name, "in": "path", "required": true, "schema": Schema::Text.describe()}));
        let in_query =
            self.query.iter().map(|(name, value)| json!({"name": name, "in": "query", "schema": value.describe()}));
        in_path.chain(in_query).collect()
    }

    fn responses(&self) -> Map<String, Value> {
        let refusal = json!({"description": "A problem document (application/problem+json) with a stable `code`."});
        let replies = self.replies.iter().map(|(status, body)| {
            let reply = match body {
                Some(body) => json!({"description": "Done.", "content": content(*body)}),
                None => json!({"description": "Done; no body."}),
            };
            (status.to_string(), reply)
        });
        replies.chain([("default".to_owned(), refusal)]).collect()
    }
}

fn content(body: Schema) -> Value {
    json!({"application/json": {"schema": body.describe()}})
}

#[cfg(test)]
mod tests {
    use roost_core::event::{MessageView, PresenceView};
    use roost_core::ids::{ConversationId, MessageId, Seq, UserId};
    use roost_core::time::Timestamp;
    use serde::Serialize;

    use super::*;

    fn check_fields(schema: Schema, value: &impl Serialize) {
        let Schema::Object(fields) = schema else { panic!("no object: {schema:?}") };
        let mut told: Vec<_> = fields.iter().map(|(name, _)| (*name).to_owned()).collect();
        let mut sent: Vec<_> = serde_json::to_value(value).unwrap().as_object().unwrap().keys().cloned().collect();
        told.sort();
        sent.sort();
        assert_eq!(told, sent);
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
        check_fields(Schema::PRESENCE, &PresenceView { user: UserId::from_u128(1), online: true, last_seen: None });
    }

    #[test]
    fn an_operation_names_parameters_body_and_replies() {
        let operation = Operation {
            summary: "Reads.",
            query: &[("limit", Schema::Limit)],
            body: Some(Schema::Object(&[("a", Schema::Id), ("b", Schema::Optional(&Schema::Flag))])),
            replies: &[(200, Some(Schema::List(&Schema::Text))), (204, None)],
        };
        let told = operation.describe("reader", "/v1/things/{thing}");
        let names: Vec<_> = told["parameters"].as_array().unwrap().iter().map(|p| p["name"].clone()).collect();
        assert_eq!(names, ["thing", "limit"]);
        let body = &told["requestBody"]["content"]["application/json"]["schema"];
        assert_eq!(body["required"], json!(["a"]));
        assert_eq!(body["properties"]["b"], json!({"type": "boolean"}));
        let statuses: Vec<_> = told["responses"].as_object().unwrap().keys().cloned().collect();
        assert_eq!(statuses, ["200", "204", "default"]);
    }
}
