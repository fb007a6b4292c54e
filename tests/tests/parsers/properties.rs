//! Every parser of bytes from outside, against anything: none panics, what was written is read back, what is refused is
//! refused with its own error.

use std::time::{Duration, UNIX_EPOCH};

use proptest::collection::vec;
use proptest::prelude::*;
use roost::config::{AuthConfig, Secret, Sources, TokenKey};
use roost::delivery::event::parse_since;
use roost::records::RecordStore;
use roost::runtime::{DeployFailure, Functions};
use roost::server::auth::{Authenticator, Credentials, Identity, parse_bearer, parse_claims, parse_subprotocols};
use roost::server::http::query;
use roost::server::problem::ErrorCode;
use roost::server::websocket::frame::{self, ClientFrame};
use roost_core::feed::Position;
use roost_core::ids::{ConnectionId, ConversationId, MessageId, UserId};
use roost_core::key::{Key, Owner, Space};
use roost_core::limits::NAME_BYTES_MAX;
use roost_core::port::{ConversationQuery, Draft, NewConversation, Records, RecordsError};
use roost_core::time::Timestamp;
use roost_tests::fixture::{empty_records, no_functions};
use serde_json::{Value, json};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// Any text, or one that looks like what the parser wants, in pieces.
fn near(pieces: &'static [&'static str]) -> impl Strategy<Value = String> {
    let piece = prop_oneof![4 => prop::sample::select(pieces).prop_map(str::to_owned), 1 => any::<String>()];
    prop_oneof![any::<String>(), vec(piece, 0..12).prop_map(|pieces| pieces.concat())]
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..6).prop_map(|map| json!(map)),
        ]
    })
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

proptest! {
    #[test]
    fn any_text_is_a_frame_or_is_refused(
        text in near(&["{", "}", "\"id\":", "\"type\":", "\"payload\":", "\"7\"", "\"typing\"", ",", "null", "[", "1e999"]),
    ) {
        match ClientFrame::parse(&text) {
            Ok(parsed) => {
                prop_assert!(!parsed.id.is_empty() && !parsed.name.is_empty());
                prop_assert!(serde_json::from_str::<Value>(&parsed.payload).is_ok());
                prop_assert!(parsed.name.starts_with(parsed.ordering_key()));
            }
            Err(invalid) => {
                let answer = frame::error(invalid.id.as_deref(), &invalid.error, "trace");
                prop_assert!(serde_json::from_str::<Value>(&answer).is_ok(), "{}", answer);
            }
        }
    }

    #[test]
    fn a_frame_is_read_as_it_was_written(id in "[^\0]{1,16}", name in "[a-z]{1,8}(\\.[a-z]{1,8})?", payload in any_json()) {
        let text = json!({ "id": id, "type": name, "payload": payload, "unknown": [payload] }).to_string();
        let parsed = ClientFrame::parse(&text).unwrap();
        prop_assert_eq!((&parsed.id, &parsed.name), (&id, &name));
        prop_assert_eq!(serde_json::from_str::<Value>(&parsed.payload).unwrap(), payload);
        let answer: Value = serde_json::from_str(&frame::ok(&id, &parsed.payload)).unwrap();
        prop_assert_eq!(&answer["id"], &json!(id));
    }

    #[test]
    fn any_text_is_a_position_or_is_refused(text in near(&[":", "k3f", "17", "n1790000000000", "-", "+", "0", "18446744073709551616"])) {
        match parse_since(&text) {
            Ok(position) => {
                prop_assert_eq!(parse_since(&position.to_string()).unwrap(), position.clone());
                let _ = position.is_recent_without_feed(Timestamp(1_790_000_000_000));
            }
            Err(error) => prop_assert!(error.is(ErrorCode::InvalidSince)),
        }
    }

    #[test]
    fn a_position_survives_its_text(epoch in "[a-z0-9]{1,32}", offset: u64) {
        let position = Position { epoch: epoch.as_str().into(), offset };
        prop_assert_eq!(parse_since(&position.to_string()).unwrap(), position);
    }

    #[test]
    fn any_text_is_an_id_or_is_refused(text in near(&["6f1c1fd4-3c5b-4a8e-9d1a-0c6a2f1b7e55", "-", "{", "}", "urn:uuid:", "0", "é"])) {
        if let Ok(user) = text.parse::<UserId>() {
            prop_assert_eq!(user.to_string().parse::<UserId>().unwrap(), user);
        }
        if let Ok(connection) = text.parse::<ConnectionId>() {
            prop_assert_eq!(connection.as_str(), text);
        }
    }

    #[test]
    fn any_query_string_is_read_or_refused(text in near(&["a", "=", "&", "%", "%41", "%ff", "+", "é", "a=1&"])) {
        if let Err(error) = query::parse(&text) {
            prop_assert!(error.is(ErrorCode::InvalidQuery));
        }
    }

    #[test]
    fn a_query_is_read_as_it_was_written(pairs in vec((any::<String>(), any::<String>()), 0..8)) {
        let escape = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
        let written: Vec<_> = pairs.iter().map(|(name, value)| format!("{}={}", escape(name), escape(value))).collect();
        prop_assert_eq!(query::parse(&written.join("&")).unwrap(), pairs);
    }

    #[test]
    fn any_header_is_read_or_refused(text in near(&["Bearer ", "bearer", " ", "roost.v1", ",", "token", "\t"])) {
        if let Ok(token) = parse_bearer(&text) {
            prop_assert!(!token.is_empty() && !token.contains(' '));
        }
        let (named, token) = parse_subprotocols(&text);
        prop_assert!(named || token.is_none());
    }
}

fn authenticator() -> Authenticator {
    Authenticator::new(&AuthConfig {
        keys: vec![TokenKey::Secret(Secret(SECRET.to_owned()))],
        issuer: None,
        audience: None,
        jwks_refresh: Duration::from_secs(300),
        leeway: Duration::from_secs(5),
        service_keys: vec![Secret("a-key-of-a-backend".to_owned())],
        admin_key: None,
        metrics_key: None,
        allowed_origins: Vec::new(),
    })
    .unwrap()
}

fn signed(claims: &Value) -> String {
    roost::app::install_crypto();
    let key = jsonwebtoken::EncodingKey::from_secret(SECRET.as_bytes());
    jsonwebtoken::encode(&jsonwebtoken::Header::default(), claims, &key).unwrap()
}

proptest! {
    #[test]
    fn any_claims_are_read_or_refused(
        text in near(&["{", "}", "\"sub\":", "\"exp\":", "\"nbf\":", "\"aud\":", "1e308", "-1", "[\"a\"]", ",", "\"a\""]),
        claims in any_json(),
    ) {
        for text in [text, claims.to_string()] {
            if let Err(error) = parse_claims(&text) {
                prop_assert!(error.is(ErrorCode::TokenInvalid));
            }
        }
    }

    #[test]
    fn any_signed_claims_are_judged_without_a_panic(sub in any::<u128>(), exp in any::<f64>(), nbf in any::<Option<f64>>(), now in 0_u64..1 << 40) {
        let user = UserId::from_u128(sub);
        // JSON has no infinity: serde writes it as null, and a token without `exp` is refused.
        let token = signed(&json!({ "sub": user.to_string(), "exp": exp, "nbf": nbf }));
        let now = UNIX_EPOCH + Duration::from_secs(now);
        if let Ok(identity) = authenticator().verify(&token, now) {
            prop_assert_eq!(identity.user(), Some(user));
            prop_assert!(identity.expires_at().unwrap() > now);
        }
    }

    #[test]
    fn nobody_comes_in_with_an_altered_token(place in any::<prop::sample::Index>(), letter in "[A-Za-z0-9_.-]") {
        let claims = json!({ "sub": UserId::from_u128(1).to_string(), "exp": 4_000_000_000_u64 });
        let token = signed(&claims);
        let place = place.index(token.len());
        let mut altered = token.clone();
        altered.replace_range(place..=place, &letter);
        let now = UNIX_EPOCH + Duration::from_secs(1_790_000_000);
        let is_let_in = authenticator().verify(&altered, now).is_ok();
        prop_assert_eq!(is_let_in, altered == token, "{}", altered);
    }

    #[test]
    fn any_credentials_are_identified_or_refused(bearer in any::<Option<String>>(), stream_token in any::<Option<String>>(), user_header in any::<Option<String>>()) {
        let credentials = Credentials { bearer, stream_token, user_header };
        let shows_nothing = credentials == Credentials::default();
        match authenticator().identify(&credentials, UNIX_EPOCH) {
            Ok(identity) => prop_assert!(shows_nothing && identity == Identity::Anonymous),
            Err(error) => prop_assert!([400, 401, 403].contains(&error.status)),
        }
    }
}

fn any_owner() -> impl Strategy<Value = Owner> {
    prop_oneof![
        any::<u128>().prop_map(|bits| Owner::User(UserId::from_u128(bits))),
        any::<u128>().prop_map(|bits| Owner::Conversation(ConversationId::from_u128(bits))),
        any::<u32>().prop_map(Owner::Shard),
        (any::<u128>(), any::<u128>()).prop_map(|(conversation, message)| Owner::Message {
            conversation: ConversationId::from_u128(conversation),
            message: MessageId::from_u128(message),
        }),
    ]
}

fn any_key() -> impl Strategy<Value = Key> {
    let item = prop::option::of(prop_oneof![any::<String>(), "[a-z0-9._-]{1,12}"]);
    let function = prop::option::of("[a-z0-9-]{1,3}");
    (prop::sample::select(&Space::ALL[..]), any_owner(), function, item).prop_map(|(space, owner, function, item)| {
        let function = function.filter(|_| space == Space::App).map(Into::into);
        Key { space, owner, function, item }
    })
}

proptest! {
    #[test]
    fn a_valid_key_is_formatted_plainly_and_differs_from_every_other(one in any_key(), other in any_key()) {
        let holds = |key: &Key| key.validate().is_ok();
        if holds(&one) {
            let spelling = one.physical();
            prop_assert!(spelling.bytes().all(|b| b.is_ascii_graphic() && b != b'{' && b != b'}'), "{}", spelling);
            prop_assert!(spelling.len() <= 128 + 3 * NAME_BYTES_MAX);
            prop_assert_eq!(one.physical_in_cluster().replace(['{', '}'], ""), spelling);
        }
        // A space but `app` has owners of one kind, so those of different kinds need not be distinguished.
        let one_kind = std::mem::discriminant(&one.owner) == std::mem::discriminant(&other.owner);
        let distinguished = one_kind || one.space != other.space || one.space == Space::App;
        if holds(&one) && holds(&other) && one != other && distinguished {
            prop_assert_ne!(one.physical(), other.physical());
        }
    }

    #[test]
    fn any_configuration_is_loaded_or_its_errors_are_reported(
        file in near(&["listen = ", "\"127.0.0.1:0\"", "\n", "[socket]", "calls_max", " = ", "1", "-1", "[function.a-b]", "\"", "[[", "1e9"]),
        variable in near(&["LISTEN", "FUNCTION__", "A_B", "__DEADLINE_MS", "SOCKET__", "CALLS_MAX", "_"]),
        value in near(&["1", "true", "sqlite:", "memory:", ",", ":", "::", "127.0.0.1"]),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("roost.toml");
        std::fs::write(&path, &file).unwrap();
        let environment = vec![(format!("ROOST_{variable}"), value)];
        let sources = Sources { file: Some(path), environment, ..Sources::default() };
        if let Err(errors) = sources.load() {
            prop_assert!(!errors.to_string().is_empty());
        }
    }
}

/// Records with three conversations of one user, and that user.
async fn inbox() -> (RecordStore, UserId) {
    let records = empty_records().await;
    let (user, other) = (UserId::from_u128(1), UserId::from_u128(2));
    for number in 1..=3_u64 {
        let id = ConversationId::from_u128(number.into());
        let at = Timestamp(1_790_000_000_000 + number);
        let members = vec![user, other];
        records.create_conversation(NewConversation { id: Some(id), creator: user, members, at }).await.unwrap();
        let content = "hello".to_owned();
        let draft = Draft {
            conversation: id,
            sender: user,
            id: Some(MessageId::from_u128(number.into())),
            kind: "text".to_owned(),
            content,
            at,
        };
        records.append_message(draft).await.unwrap();
    }
    (records, user)
}

fn page(cursor: Option<String>, limit: u32) -> ConversationQuery {
    ConversationQuery::Page { cursor, limit }
}

#[test]
fn any_cursor_is_a_place_or_is_refused() {
    let runtime = runtime();
    let (records, user) = runtime.block_on(inbox());
    let (records, runtime) = (&records, &runtime);
    let text =
        near(&["1790000000002", ".", "00000000-0000-0000-0000-000000000002", "-", "9223372036854775808", "'", "%"]);
    proptest!(|(text in text)| {
        match runtime.block_on(records.conversations(user, page(Some(text), 10))) {
            Ok(found) => prop_assert!(found.conversations.len() <= 3),
            Err(error) => prop_assert!(matches!(error, RecordsError::Invalid(_)), "{}", error),
        }
    });
}

#[test]
fn cursors_lead_through_every_conversation_once() {
    runtime().block_on(async {
        let (records, user) = inbox().await;
        let (mut seen, mut cursor) = (Vec::new(), None);
        loop {
            let found = records.conversations(user, page(cursor, 1)).await.unwrap();
            seen.extend(found.conversations.iter().map(|conversation| conversation.id.as_u128()));
            match found.next {
                next @ Some(_) => cursor = next,
                None => break,
            }
        }
        assert_eq!(seen, [3, 2, 1]);
    });
}

/// What deploying these bytes is refused with.
fn invalid(runtime: &tokio::runtime::Runtime, functions: &Functions, bytes: Vec<u8>) -> Option<DeployFailure> {
    runtime.block_on(functions.deploy("probe.wasm", bytes)).err().map(|error| error.failure)
}

#[test]
fn any_bytes_are_refused_as_a_component() {
    let runtime = runtime();
    let functions = runtime.block_on(no_functions(|_| {}));
    proptest!(|(bytes in vec(any::<u8>(), 0..256), body in vec(any::<u8>(), 0..256))| {
        let of_layer = |layer: u8| [b"\0asm\x0d\0", &[layer, 0][..], &body].concat();
        for bytes in [bytes, of_layer(0), of_layer(1)] {
            // The header alone is a component, of nothing.
            prop_assert!(invalid(&runtime, &functions, bytes).is_some());
        }
    });
    assert!(functions.list().is_empty());
}

#[test]
fn a_torn_component_is_refused() {
    let runtime = runtime();
    let functions = runtime.block_on(no_functions(|_| {}));
    let whole = std::fs::read(roost_tests::components().join("typing.wasm")).unwrap();
    let config = ProptestConfig::with_cases(32);
    proptest!(config, |(cut in any::<prop::sample::Index>())| {
        let torn = whole[..cut.index(whole.len())].to_vec();
        prop_assert!(invalid(&runtime, &functions, torn).is_some());
    });
    assert!(functions.list().is_empty());
    assert_eq!(invalid(&runtime, &functions, whole), None, "the complete component is accepted");
}
