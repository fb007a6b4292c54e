//! What a route says of itself beyond method, path and access: an OpenAPI operation.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::schema::Schema;

/// A route's summary, query parameters, body and replies.
pub(crate) struct Operation {
    pub(crate) summary: &'static str,
    pub(crate) query: &'static [(&'static str, Schema)],
    pub(crate) body: Option<Schema>,
    pub(crate) replies: &'static [(u16, Option<Schema>)],
}

impl Operation {
    pub(crate) const EMPTY: Self = Self { summary: "", query: &[], body: None, replies: &[] };

    /// An OpenAPI operation object as JSON text.
    pub(crate) fn describe(&self, function: &'static str, path: &'static str) -> String {
        let names = path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'));
        let in_path = names.map(|name| Parameter { name, place: "path", required: true, schema: Schema::Text });
        let in_query = self.query.iter().map(|(name, schema)| Parameter {
            name,
            place: "query",
            required: false,
            schema: *schema,
        });
        let object = OperationObject {
            summary: self.summary,
            tags: [function],
            parameters: in_path.chain(in_query).collect(),
            request_body: self.body.map(|body| Body { required: body.has_required_fields(), content: content(body) }),
            responses: Responses(self.replies),
        };
        // Static texts and numbers always encode.
        serde_json::to_string(&object).unwrap_or_else(|_| "{}".to_owned())
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OperationObject {
    summary: &'static str,
    tags: [&'static str; 1],
    parameters: Vec<Parameter>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_body: Option<Body>,
    responses: Responses,
}

#[derive(Serialize)]
struct Parameter {
    name: &'static str,
    #[serde(rename = "in")]
    place: &'static str,
    required: bool,
    schema: Schema,
}

#[derive(Serialize)]
struct Body {
    required: bool,
    content: Content,
}

#[derive(Serialize)]
struct Content {
    #[serde(rename = "application/json")]
    json: Media,
}

#[derive(Serialize)]
struct Media {
    schema: Schema,
}

const fn content(schema: Schema) -> Content {
    Content { json: Media { schema } }
}

struct Responses(&'static [(u16, Option<Schema>)]);

impl Serialize for Responses {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Response {
            description: &'static str,
            #[serde(skip_serializing_if = "Option::is_none")]
            content: Option<Content>,
        }
        let mut responses = serializer.serialize_map(None)?;
        for (status, body) in self.0 {
            responses.serialize_entry(status, &Response { description: "Done.", content: body.map(content) })?;
        }
        let description = "A problem document (application/problem+json) with a stable `code`.";
        responses.serialize_entry("default", &Response { description, content: None })?;
        responses.end()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn an_operation_names_parameters_body_and_replies() {
        let operation = Operation {
            summary: "Reads.",
            query: &[("limit", Schema::Limit)],
            body: Some(Schema::Object(&[("a", Schema::Id)])),
            replies: &[(200, Some(Schema::Text)), (204, None)],
        };
        let told: Value = serde_json::from_str(&operation.describe("reader", "/v1/things/{thing}/parts")).unwrap();
        assert_eq!((&told["summary"], &told["tags"]), (&json!("Reads."), &json!(["reader"])));
        assert_eq!(
            told["parameters"],
            json!([
                {"name": "thing", "in": "path", "required": true, "schema": {"type": "string"}},
                {
                    "name": "limit",
                    "in": "query",
                    "required": false,
                    "schema": {"type": "integer", "minimum": 1, "maximum": 100, "default": 50},
                },
            ])
        );
        assert_eq!(told["requestBody"]["content"]["application/json"]["schema"]["required"], json!(["a"]));
        assert_eq!(told["responses"]["200"]["content"], json!({"application/json": {"schema": {"type": "string"}}}));
        assert_eq!(told["responses"]["204"], json!({"description": "Done."}));
        assert!(told["responses"]["default"]["description"].is_string());
    }
}
