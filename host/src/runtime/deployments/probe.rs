//! The probe of a deployment: one call of a route of the new revision, and what it must answer, before the revision
//! serves.
//!
//! The call is an ordinary one: it reads and writes the live state. A probe should read only.

use std::collections::BTreeMap;

use roost_core::ids::UserId;
use serde::Deserialize;
use serde_json::Value;

use crate::ops::trace;
use crate::runtime::routes::Table;
use crate::runtime::{
    Access, CallError, Caller, Functions, HttpRequest, Invocation, MatchedRoute, Method, Request, RouteLookup, Target,
};

/// A call, and what it must answer.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Probe {
    /// The method of the route.
    pub(crate) method: String,
    /// The path, without a query.
    pub(crate) path: String,
    /// The query parameters.
    #[serde(default)]
    pub(crate) query: BTreeMap<String, String>,
    /// The user on whose behalf the call is made; without one, a service makes it.
    pub(crate) user: Option<UserId>,
    /// The body of the request.
    pub(crate) body: Option<Value>,
    /// The status that the answer must have; without one, any status of success.
    pub(crate) status: Option<u16>,
    /// The code of the failure that the function must report instead of a reply.
    pub(crate) failure: Option<String>,
    /// What the answer must contain: every member that is named here must be there and equal.
    pub(crate) answer: Option<Value>,
}

/// Why a probe failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the probe {method} {path} failed: {reason}")]
pub(crate) struct ProbeFailed {
    /// The method of the probe.
    pub(crate) method: String,
    /// The path of the probe.
    pub(crate) path: String,
    /// What was expected, and what came.
    pub(crate) reason: String,
}

impl Probe {
    /// Makes the call, and compares the answer.
    pub(super) async fn run(&self, functions: &Functions, target: &Target) -> Result<(), ProbeFailed> {
        let checked = match self.invocation(target) {
            Ok(invocation) => self.check(&functions.call(target, invocation).await),
            Err(reason) => Err(reason),
        };
        checked.map_err(|reason| ProbeFailed { method: self.method.clone(), path: self.path.clone(), reason })
    }

    fn invocation(&self, target: &Target) -> Result<Invocation, String> {
        let described = target.described();
        let table = Table::of(std::iter::once(&described), None).map_err(|conflict| conflict.to_string())?;
        let matched = match table.route(&self.method, &self.path) {
            RouteLookup::Found(matched) => matched,
            RouteLookup::MethodNotAllowed(methods) => {
                let methods: Vec<&str> = methods.into_iter().map(Method::as_str).collect();
                return Err(format!("the new revision has this path only for {}", methods.join(", ")));
            }
            RouteLookup::NotFound => return Err("the new revision has no such route".to_owned()),
        };
        let caller = self.caller(&matched)?;
        let request = HttpRequest {
            route: matched.index,
            parameters: matched.parameters,
            query: self.query.clone().into_iter().collect(),
            body: self.body.as_ref().map_or_else(Vec::new, |body| body.to_string().into_bytes()).into(),
        };
        Ok(Invocation { caller, trace: trace::new_id().as_str().into(), request: Request::Http(request) })
    }

    fn caller(&self, matched: &MatchedRoute<Target>) -> Result<Caller, String> {
        match (matched.access, self.user) {
            (Access::Public, None) => Ok(Caller::Anonymous),
            (Access::Service | Access::ServiceOrUser, None) => Ok(Caller::Service),
            (Access::Service, Some(user)) => Ok(Caller::ServiceFor(user)),
            (_, Some(user)) => Ok(Caller::User(user)),
            (Access::User, None) => Err("the route is for users; name one as `user`".to_owned()),
        }
    }

    fn check(&self, result: &Result<crate::runtime::Reply, CallError>) -> Result<(), String> {
        let reply = match (result, &self.failure) {
            (Ok(reply), None) => reply,
            (Ok(reply), Some(code)) => {
                return Err(format!("expected the failure {code}, but it answered {}", reply.status));
            }
            (Err(CallError::Failed(failure)), Some(code)) if failure.code == *code => return Ok(()),
            (Err(error), _) => return Err(format!("{error}")),
        };
        if let Some(status) = self.status
            && status != reply.status
        {
            return Err(format!("expected the status {status}, but it answered {}", reply.status));
        }
        let Some(expected) = &self.answer else { return Ok(()) };
        let actual: Value = serde_json::from_str(&reply.body).unwrap_or(Value::Null);
        match difference(expected, &actual, "") {
            Some(difference) => Err(difference),
            None => Ok(()),
        }
    }
}

/// The first place at which `actual` lacks what is expected.
fn difference(expected: &Value, actual: &Value, at: &str) -> Option<String> {
    match (expected, actual) {
        (Value::Object(expected), Value::Object(actual)) => expected.iter().find_map(|(name, value)| {
            let at = format!("{at}/{name}");
            match actual.get(name) {
                Some(actual) => difference(value, actual, &at),
                None => Some(format!("the answer has no {at}")),
            }
        }),
        _ if expected == actual => None,
        _ => Some(format!(
            "expected {expected} at {}, but the answer has {actual}",
            if at.is_empty() { "/" } else { at }
        )),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::runtime::{Failure, FailureKind, Reply};

    fn probe(rest: Value) -> Probe {
        let mut probe = json!({ "method": "GET", "path": "/v1/x" });
        probe.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        serde_json::from_value(probe).unwrap()
    }

    fn reply(status: u16, body: &Value) -> Result<Reply, CallError> {
        Ok(Reply { status, body: body.to_string() })
    }

    #[test]
    fn an_answer_must_have_what_the_probe_names() {
        let answer = reply(200, &json!({ "total": 0, "conversations": { "a": 1 } }));
        for passing in [json!({}), json!({ "status": 200 }), json!({ "answer": { "total": 0 } })] {
            assert_eq!(probe(passing).check(&answer), Ok(()));
        }
        for (failing, reason) in [
            (json!({ "status": 201 }), "expected the status 201, but it answered 200"),
            (json!({ "answer": { "total": 1 } }), "expected 1 at /total, but the answer has 0"),
            (json!({ "answer": { "conversations": { "b": 1 } } }), "the answer has no /conversations/b"),
            (json!({ "answer": [] }), r#"expected [] at /, but the answer has {"conversations":{"a":1},"total":0}"#),
            (json!({ "failure": "gone" }), "expected the failure gone, but it answered 200"),
        ] {
            assert_eq!(probe(failing).check(&answer), Err(reason.to_owned()));
        }
    }

    #[test]
    fn a_failure_can_be_expected_by_its_code() {
        let failure = Failure {
            kind: FailureKind::NotFound,
            code: "no_message".into(),
            message: "there is none".into(),
            retry: false,
            retry_after: None,
        };
        let failed = Err(CallError::Failed(failure));
        assert_eq!(probe(json!({ "failure": "no_message" })).check(&failed), Ok(()));
        assert_eq!(probe(json!({})).check(&failed), Err("no_message: there is none".to_owned()));
        assert_eq!(probe(json!({})).check(&Err(CallError::Trapped)), Err("the function failed".to_owned()));
    }
}
