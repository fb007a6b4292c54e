//! Reusing instances between calls changes no answer, and the counters in the store agree with the records in the end:
//! seeded calls of every built-in function, on the embedded store and SQLite.

use std::collections::{BTreeMap, BTreeSet};

use roost::config::{RecordsUrl, SqliteLocation};
use roost::records::RecordStore;
use roost::runtime::{
    Caller, Cohort, Connection, Engine, Functions, Hook, HostWorld, Invocation, Reply, Request, Target,
};
use roost::store::Store;
use roost_core::ids::UserId;
use roost_core::port::{Records, UnreadRequest};
use roost_tests::fixture;
use serde_json::{Value, json};

const SEEDS: [u64; 3] = [1, 0x5EED, 0xB00_B1E5];
const CALLS: usize = 400;
const USERS: u128 = 4;
const CONVERSATIONS: u64 = 3;
/// JSON members whose value depends on the time; two runs never agree on them.
const TIME_DEPENDENT_FIELDS: [&str; 6] =
    ["created_at", "updated_at", "edited_at", "last_seen", "generation", "next_cursor"];

/// The built-in functions on their own store and records.
struct Fixture {
    functions: Functions,
    records: RecordStore,
}

impl Fixture {
    async fn build(engine: Engine, reuse: bool) -> Self {
        let records = RecordStore::open(&RecordsUrl::Sqlite(SqliteLocation::Memory)).await.unwrap();
        let world = HostWorld::new(Store::memory(), records.clone());
        let functions = fixture::functions(engine, world, reuse).await;
        Self { functions, records }
    }

    /// The answers to a call, without values that depend on the time.
    async fn ask(&self, call: &Call) -> Vec<Value> {
        let mut answers = Vec::new();
        for (target, request) in self.targets(call) {
            let invocation = Invocation { caller: call.caller(), trace: "reuse".into(), request };
            answers.push(match self.functions.call(&target, invocation).await {
                Ok(Reply { status, body }) if body.is_empty() => json!([status]),
                Ok(Reply { status, body }) => json!([status, without_times(serde_json::from_str(&body).unwrap())]),
                Err(error) => json!(error.to_string()),
            });
        }
        answers
    }

    fn targets(&self, call: &Call) -> Vec<(Target, Request)> {
        let user = user(call.user);
        let connection = Connection { user, id: format!("device-{}", call.user).parse().unwrap() };
        let to_hooks = |hook, request: Request| {
            self.functions.hooks(hook).into_iter().map(|target| (target, request.clone())).collect()
        };
        match &call.kind {
            CallKind::Http { method, path, query, body } => vec![self.http(method, path, query, body)],
            CallKind::Frame { name, payload } => {
                let request = Request::Message {
                    connection: connection.id,
                    name: (*name).to_owned(),
                    payload: payload.to_string(),
                };
                vec![(self.functions.message(name, Cohort::STABLE).unwrap(), request)]
            }
            CallKind::Connected => to_hooks(Hook::Connected, Request::Connected(connection)),
            CallKind::Heartbeat => to_hooks(Hook::Heartbeat, Request::Heartbeat(vec![connection])),
            CallKind::Disconnected => to_hooks(Hook::Disconnected, Request::Disconnected(connection)),
            CallKind::Sync => to_hooks(Hook::Sync, Request::Sync { user, conversations: None }),
        }
    }

    fn http(&self, method: &str, path: &str, query: &[(&str, &str)], body: &Value) -> (Target, Request) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        fixture::http(&self.functions, (method, path), query, body)
    }

    /// Asserts that every user's counters equal those that follow from the records.
    async fn counters_agree(&self, seed: u64) {
        for number in 0..USERS {
            let call = Call { user: number, kind: get("/v1/unread") };
            let answer = &self.ask(&call).await[0][1];
            let answered: BTreeMap<String, u64> = serde_json::from_value(answer["conversations"].clone()).unwrap();
            let request = UnreadRequest::all(user(number));
            let snapshot = self.records.unread(vec![request]).await.unwrap().remove(0);
            let counted: BTreeMap<String, u64> =
                snapshot.counters.iter().map(|counter| (counter.conversation.to_string(), counter.count)).collect();
            assert_eq!(answer["total"], counted.values().sum::<u64>(), "seed {seed}");
            assert_eq!(without_zeros(answered), without_zeros(counted), "seed {seed}");
        }
    }
}

/// A conversation without unread messages can be answered with a zero or left out.
fn without_zeros(mut counters: BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    counters.retain(|_, count| *count > 0);
    counters
}

fn user(number: u128) -> UserId {
    UserId::from_u128(0xA000 + number)
}

/// One call of the sequence.
#[derive(Debug)]
struct Call {
    user: u128,
    kind: CallKind,
}

#[derive(Debug)]
enum CallKind {
    Http { method: &'static str, path: String, query: Vec<(&'static str, &'static str)>, body: Value },
    Frame { name: &'static str, payload: Value },
    Connected,
    Heartbeat,
    Disconnected,
    Sync,
}

impl Call {
    /// A backend queries the presence of many users; a user or the host makes every other call.
    fn caller(&self) -> Caller {
        match &self.kind {
            CallKind::Http { path, .. } if path == "/v1/presence/query" => Caller::Service,
            CallKind::Http { .. } | CallKind::Frame { .. } => Caller::User(user(self.user)),
            _ => Caller::Host,
        }
    }
}

fn http(method: &'static str, path: String, body: Value) -> CallKind {
    CallKind::Http { method, path, query: Vec::new(), body }
}

fn conversation(number: u64) -> String {
    format!("00000000-0000-4000-8000-00000000000{number}")
}

/// Creates a conversation of all users.
fn create(conversation: &str) -> CallKind {
    let members: Vec<String> = (0..USERS).map(|number| user(number).to_string()).collect();
    http("POST", "/v1/conversations".to_owned(), json!({ "id": conversation, "members": members }))
}

fn get(path: &str) -> CallKind {
    http("GET", path.to_owned(), Value::Null)
}

/// A random number generator that gives the same numbers for the same seed (SplitMix64).
struct SeededRandom(u64);

impl SeededRandom {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }

    fn call(&mut self) -> Call {
        let user = u128::from(self.below(USERS as u64));
        let other = self::user(u128::from(self.below(USERS as u64)));
        let conversation = conversation(self.below(CONVERSATIONS));
        // The ids are few, so the same message is often sent, edited and deleted again.
        let message = format!("00000000-0000-4000-9000-0000000000{:02}", self.below(40));
        let within = |rest: &str| format!("/v1/conversations/{conversation}/{rest}");
        let content = format!("content {}", self.below(1_000));
        let kind = match self.below(24) {
            0 => create(&conversation),
            1..=6 => http("POST", within("messages"), json!({ "id": message, "content": content })),
            7 => http("PATCH", within(&format!("messages/{message}")), json!({ "content": content })),
            8 => http("DELETE", within(&format!("messages/{message}")), Value::Null),
            9 => http("POST", within("read"), json!({})),
            10 => http("POST", within("read"), json!({ "up_to": self.below(30) })),
            11 => CallKind::Http {
                method: "GET",
                path: within("messages"),
                query: vec![("limit", "5")],
                body: Value::Null,
            },
            12 => get(&within("last-message")),
            13 => get("/v1/unread"),
            14 => http("DELETE", "/v1/unread".to_owned(), Value::Null),
            15 => get("/v1/conversations"),
            16 => http("PUT", format!("/v1/contacts/{other}"), Value::Null),
            17 if self.below(4) == 0 => http("PUT", format!("/v1/blocks/{other}"), Value::Null),
            17 => http("DELETE", format!("/v1/blocks/{other}"), Value::Null),
            18 => CallKind::Frame { name: "typing", payload: json!({ "conversation": conversation }) },
            19 => CallKind::Frame {
                name: "message.send",
                payload: json!({ "conversation": conversation, "id": message, "content": content }),
            },
            20 => CallKind::Connected,
            21 => [CallKind::Heartbeat, CallKind::Disconnected].into_iter().nth(self.below(2) as usize).unwrap(),
            22 => CallKind::Sync,
            _ => http("POST", "/v1/presence/query".to_owned(), json!({ "users": [other, self::user(user)] })),
        };
        Call { user, kind }
    }
}

/// Replaces values that depend on the time. Conversations of the same millisecond can be in either order, so they are
/// sorted.
fn without_times(mut value: Value) -> Value {
    match &mut value {
        Value::Object(members) => {
            for (name, member) in members.iter_mut() {
                let time_dependent = TIME_DEPENDENT_FIELDS.contains(&name.as_str()) && !member.is_null();
                *member = if time_dependent { json!("a time") } else { without_times(member.take()) };
            }
        }
        Value::Array(items) => {
            items.iter_mut().for_each(|item| *item = without_times(item.take()));
            if items.iter().any(|item| item.get("updated_at").is_some()) {
                items.sort_by_key(|item| item["id"].to_string());
            }
        }
        _ => {}
    }
    value
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reused_instances_answer_like_fresh_ones_and_counters_match_the_records() {
    let engine = Engine::new().unwrap();
    for seed in SEEDS {
        let fresh = Fixture::build(engine.clone(), false).await;
        let reused = Fixture::build(engine.clone(), true).await;
        let mut random = SeededRandom(seed);
        let mut statuses = BTreeSet::new();
        // At the beginning, because nobody is put into a conversation with whoever blocked them.
        for number in 0..CONVERSATIONS {
            let call = Call { user: 0, kind: create(&conversation(number)) };
            assert_eq!(fresh.ask(&call).await, reused.ask(&call).await);
        }
        for number in 0..CALLS {
            let call = random.call();
            let (one, other) = tokio::join!(fresh.ask(&call), reused.ask(&call));
            assert_eq!(one, other, "seed {seed}, call {number}: {call:?}");
            statuses.extend(one.iter().map(|answer| answer[0].to_string()));
        }
        // A sequence in which nothing works would agree as well.
        assert!(["200", "201", "204"].iter().all(|status| statuses.contains(*status)), "seed {seed}: {statuses:?}");
        fresh.counters_agree(seed).await;
        reused.counters_agree(seed).await;
    }
}
