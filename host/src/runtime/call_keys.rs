//! What a call is about, for the bounds that keep one user and one conversation from taking every place of a function.

use roost_core::ids::{ConversationId, UserId};
use serde::Deserialize;

use super::call::{Caller, Invocation, Request};
use super::manifest::{Manifest, Method};

/// Routes below this path are about the conversation that their first parameter names.
const CONVERSATION_ROUTES: &str = "/v1/conversations/{";

/// On whose behalf a call is made, and which conversation it changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct CallKeys {
    pub(super) user: Option<UserId>,
    pub(super) conversation: Option<ConversationId>,
}

impl CallKeys {
    pub(super) fn of(invocation: &Invocation, manifest: &Manifest) -> Self {
        let user = match invocation.caller {
            Caller::User(user) => Some(user),
            Caller::ServiceFor(_) | Caller::Service | Caller::Anonymous | Caller::Host => None,
        };
        Self { user, conversation: conversation(&invocation.request, manifest) }
    }
}

/// The conversation that the call changes. Calls that only read a conversation do not wait for each other.
fn conversation(request: &Request, manifest: &Manifest) -> Option<ConversationId> {
    #[derive(Deserialize)]
    struct AboutConversation {
        conversation: ConversationId,
    }
    match request {
        Request::Http(http) => {
            let route = manifest.routes.get(usize::try_from(http.route).ok()?)?;
            let changes = route.method != Method::Get && route.path.starts_with(CONVERSATION_ROUTES);
            let (_, id) = http.parameters.first().filter(|_| changes)?;
            id.parse().ok()
        }
        Request::Message { payload, .. } => {
            serde_json::from_str::<AboutConversation>(payload).ok().map(|about| about.conversation)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::call::HttpRequest;
    use super::super::grants::Grants;
    use super::super::manifest::{Access, Route};
    use super::super::socket_description::SocketDescription;
    use super::*;

    const CONVERSATION: ConversationId = ConversationId::from_u128(7);

    fn manifest() -> Manifest {
        let route =
            |method, path: &str| Route { method, path: path.into(), access: Access::User, operation: json!({}) };
        Manifest {
            name: "messaging".into(),
            version: "1.0.0".into(),
            routes: vec![
                route(Method::Post, "/v1/conversations/{id}/messages"),
                route(Method::Get, "/v1/conversations/{id}/messages"),
                route(Method::Post, "/v1/things/{id}"),
            ],
            messages: Vec::new(),
            socket: SocketDescription::default(),
            hooks: Vec::new(),
            schedules: Vec::new(),
            publications: Vec::new(),
            asks: Grants::default(),
        }
    }

    fn keys(caller: Caller, request: Request) -> CallKeys {
        CallKeys::of(&Invocation { caller, trace: "t".into(), request }, &manifest())
    }

    fn http(route: u32, id: &str) -> Request {
        let parameters = vec![("id".to_owned(), id.to_owned())];
        Request::Http(HttpRequest { route, parameters, query: Vec::new(), body: bytes::Bytes::new() })
    }

    fn frame(payload: &str) -> Request {
        let connection = "c".parse().unwrap();
        Request::Message { connection, name: "message.send".into(), payload: payload.into() }
    }

    #[test]
    fn requests_that_change_a_conversation_are_about_it() {
        let id = CONVERSATION.to_string();
        let conversation = |route, id: &str| keys(Caller::Service, http(route, id)).conversation;
        assert_eq!(conversation(0, &id), Some(CONVERSATION));
        for (route, id) in [(1, id.as_str()), (2, id.as_str()), (0, "no id"), (9, id.as_str())] {
            assert_eq!(conversation(route, id), None, "{route} {id}");
        }
    }

    #[test]
    fn frames_with_a_conversation_are_about_it() {
        let conversation = |payload: &str| keys(Caller::Service, frame(payload)).conversation;
        let payload = json!({ "content": "x", "conversation": CONVERSATION });
        assert_eq!(conversation(&payload.to_string()), Some(CONVERSATION));
        for payload in ["null", "{}", "[]", r#"{"conversation":7}"#] {
            assert_eq!(conversation(payload), None, "{payload}");
        }
    }

    #[test]
    fn only_calls_for_users_have_a_user() {
        let user = UserId::from_u128(3);
        assert_eq!(keys(Caller::User(user), frame("null")).user, Some(user));
        for caller in [Caller::ServiceFor(user), Caller::Service, Caller::Anonymous, Caller::Host] {
            assert_eq!(keys(caller, frame("null")), CallKeys::default(), "{caller:?}");
        }
    }
}
