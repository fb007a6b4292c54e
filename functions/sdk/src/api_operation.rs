//! What a route says about itself for `/v1/openapi.json`: an OpenAPI operation.
//!
//! Bodies and parameters are described by the very types that serde reads and writes, so that the description cannot
//! say anything else than the code does. A function describes itself once for each revision; nothing here runs in a
//! call.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::parameter::{PathParameter, QueryParameter};

/// An OpenAPI operation: the summary, parameters, request body and replies of a route.
#[derive(Debug, Default)]
pub struct ApiOperation {
    summary: &'static str,
    parameters: Vec<Value>,
    body: Option<Value>,
    replies: Map<String, Value>,
}

impl ApiOperation {
    /// One sentence about what the route does.
    #[must_use]
    pub const fn summary(mut self, summary: &'static str) -> Self {
        self.summary = summary;
        self
    }

    /// A parameter in the path.
    #[must_use]
    pub fn path<T: JsonSchema>(self, parameter: PathParameter<T>) -> Self {
        self.parameter(parameter.name, "path", read_schema::<T>())
    }

    /// A parameter in the query string, which callers may leave out.
    #[must_use]
    pub fn query<T: JsonSchema>(self, parameter: QueryParameter<T>) -> Self {
        self.parameter(parameter.name, "query", read_schema::<T>())
    }

    /// The request body, an object of this type. It may be left out if none of its fields is required, nor one of
    /// several.
    #[must_use]
    pub fn body<T: JsonSchema>(mut self) -> Self {
        let schema = read_schema::<T>();
        let required = schema.get("required").is_some() || schema.get("oneOf").is_some();
        self.body = Some(json!({ "required": required, "content": { "application/json": { "schema": schema } } }));
        self
    }

    /// A reply under this status, with a JSON body of this type.
    #[must_use]
    pub fn reply<T: JsonSchema>(mut self, status: u16) -> Self {
        let content = json!({ "application/json": { "schema": written_schema::<T>() } });
        self.replies.insert(status.to_string(), json!({ "description": status_text(status), "content": content }));
        self
    }

    /// The reply 204, which has no body.
    #[must_use]
    pub fn no_content(mut self) -> Self {
        self.replies.insert("204".to_owned(), json!({ "description": status_text(204) }));
        self
    }

    fn parameter(mut self, name: &str, location: &str, mut schema: Value) -> Self {
        let mut parameter = Map::new();
        parameter.insert("name".to_owned(), name.into());
        parameter.insert("in".to_owned(), location.into());
        parameter.insert("required".to_owned(), (location == "path").into());
        // OpenAPI shows a parameter's description beside its name, not inside its schema.
        if let Some(description) = schema.as_object_mut().and_then(|schema| schema.remove("description")) {
            parameter.insert("description".to_owned(), description);
        }
        parameter.insert("schema".to_owned(), schema);
        self.parameters.push(parameter.into());
        self
    }

    /// The OpenAPI operation object as JSON text.
    pub(crate) fn to_json(&self, function: &str) -> String {
        let mut operation = Map::new();
        operation.insert("summary".to_owned(), json!(self.summary));
        operation.insert("tags".to_owned(), json!([function]));
        operation.insert("parameters".to_owned(), json!(self.parameters));
        operation.insert("responses".to_owned(), json!(self.replies));
        if let Some(body) = &self.body {
            operation.insert("requestBody".to_owned(), body.clone());
        }
        Value::Object(operation).to_string()
    }
}

/// How a type looks when it is read: a field of type `Option` may be missing or `null`.
pub(crate) fn read_schema<T: JsonSchema>() -> Value {
    schema::<T>(SchemaSettings::draft2020_12().for_deserialize())
}

/// How a type looks when it is written: every field is there, unless the type says when it is skipped.
pub(crate) fn written_schema<T: JsonSchema>() -> Value {
    schema::<T>(SchemaSettings::draft2020_12().for_serialize())
}

/// A schema that refers to nothing outside itself: the operations of all functions share one document.
fn schema<T: JsonSchema>(settings: SchemaSettings) -> Value {
    settings.with(|settings| settings.inline_subschemas = true).into_generator().subschema_for::<T>().to_value()
}

const fn status_text(status: u16) -> &'static str {
    match status {
        201 => "Created.",
        202 => "Not finished yet; the same request again goes on.",
        204 => "Done; there is nothing to return.",
        _ => "Success.",
    }
}

#[cfg(test)]
mod tests {
    use roost_core::ids::ConversationId;
    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::parameter::LIMIT;

    #[derive(Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code, reason = "only its schema is looked at")]
    struct Draft {
        /// The conversation that gets the message.
        conversation: ConversationId,
        #[serde(rename = "type")]
        kind: Option<String>,
    }

    #[derive(Serialize, JsonSchema)]
    struct Stored {
        next: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        delivery: Option<String>,
    }

    fn check(operation: ApiOperation, pointer: &str, expected: Value) {
        let json: Value = serde_json::from_str(&operation.to_json("reader")).unwrap();
        assert_eq!(json.pointer(pointer), Some(&expected), "{pointer} of {json:#}");
    }

    #[test]
    fn an_operation_names_its_summary_and_function() {
        check(ApiOperation::default().summary("Reads."), "/summary", json!("Reads."));
        check(ApiOperation::default(), "/tags", json!(["reader"]));
    }

    #[test]
    fn parameters_are_described_by_the_types_that_they_are_parsed_into() {
        let operation = || ApiOperation::default().path(PathParameter::<ConversationId>::new("id")).query(LIMIT);
        check(operation(), "/parameters/0/name", json!("id"));
        check(operation(), "/parameters/0/required", json!(true));
        check(operation(), "/parameters/0/schema", json!({ "type": "string", "format": "uuid" }));
        check(operation(), "/parameters/1/in", json!("query"));
        check(operation(), "/parameters/1/required", json!(false));
        check(
            operation(),
            "/parameters/1/schema",
            json!({ "type": "integer", "minimum": 1, "maximum": 100, "default": 50 }),
        );
    }

    #[test]
    fn a_request_body_is_closed_and_an_optional_field_may_be_null() {
        let operation = || ApiOperation::default().body::<Draft>();
        check(operation(), "/requestBody/required", json!(true));
        let schema = "/requestBody/content/application~1json/schema";
        check(operation(), &format!("{schema}/additionalProperties"), json!(false));
        check(operation(), &format!("{schema}/required"), json!(["conversation"]));
        check(operation(), &format!("{schema}/properties/conversation/format"), json!("uuid"));
        check(
            operation(),
            &format!("{schema}/properties/conversation/description"),
            json!("The conversation that gets the message."),
        );
        check(operation(), &format!("{schema}/properties/type"), json!({ "type": ["string", "null"] }));
    }

    #[test]
    fn a_reply_tells_null_from_missing() {
        let operation = || ApiOperation::default().reply::<Stored>(200).no_content();
        let schema = "/responses/200/content/application~1json/schema";
        check(operation(), &format!("{schema}/required"), json!(["next"]));
        check(operation(), &format!("{schema}/properties/next/type"), json!(["integer", "null"]));
        check(operation(), "/responses/204", json!({ "description": "Done; there is nothing to return." }));
    }
}
