//! Keeping instances between calls changes no answer, and what the compiled functions keep in the store agrees in the end
//! with the records: seeded calls of every built-in function, on the embedded store and SQLite.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a surprise here is a failed test"
)]

use std::collections::{BTreeMap, BTreeSet};

use roost::config::{RecordsUrl, SqliteLocation};
use roost::records::RecordStore;
use roost::runtime::{Caller, Connection, Engine, Functions, Hook, HostWorld, Invocation, Reply, Request, Target};
use roost::store::Store;
use roost_core::ids::UserId;
use roost_core::port::{Records, UnreadRequest};
use roost_tests::house;
use serde_json::{Value, json};

const SEEDS: [u64; 3] = [1, 0x5EED, 0xB00_B1E5];
const CALLS: usize = 400;
const USERS: u128 = 4;
const CONVERSATIONS: u64 = 3;
/// Members whose value is a moment or follows from one; two runs never agree on them.
const MOMENTS: [&str; 6] = ["created_at", "updated_at", "edited_at", "last_seen", "generation", "next_cursor"];

/// The built-in functions on a world of their own.
struct House {
    functions: Functions,
    records: RecordStore,
}

impl House {
    async fn build(engine: Engine, reuse: bool) -> Self {
        let records = RecordStore::open(&RecordsUrl::Sqlite(SqliteLocation::Memory)).await.unwrap();
        let world = HostWorld { store: Store::memory(), records: records.clone() };
        let functions = house::functions(engine, world, reuse).await;
        Self { functions, records }
    }

    /// What the call is answered, without its moments.
    async fn ask(&self, call: &Call) -> Vec<Value> {
        let mut answers = Vec::new();
        for (target, request) in self.addressees(call) {
            let invocation = Invocation { caller: call.caller(), trace: "reuse".into(), request };
            answers.push(match self.functions.call(&target, invocation).await {
                Ok(Reply { status, body }) if body.is_empty() => json!([status]),
                Ok(Reply { status, body }) => json!([status, timeless(serde_json::from_str(&body).unwrap())]),
                Err(error) => json!(error.to_string()),
            });
        }
        answers
    }

    fn addressees(&self, call: &Call) -> Vec<(Target, Request)> {
        let user = user(call.user);
        let connection = Connection { user, id: format!("device-{}", call.user).parse().unwrap() };
        let told = |hook, request: Request| {
            self.functions.hooks(hook).into_iter().map(|target| (target, request.clone())).collect()
        };
        match &call.what {
            What::Http { method, path, query, body } => vec![self.http(method, path, query, body)],
            What::Frame { name, payload } => {
                let request = Request::Message {
                    connection: connection.id,
                    name: (*name).to_owned(),
                    payload: payload.to_string(),
                };
                vec![(self.functions.message(name).unwrap(), request)]
            }
            What::Connected => told(Hook::Connected, Request::Connected(connection)),
            What::Beat => told(Hook::Heartbeat, Request::Heartbeat(vec![connection])),
            What::Disconnected => told(Hook::Disconnected, Request::Disconnected(connection)),
            What::Sync => told(Hook::Sync, Request::Sync { user, conversations: None }),
        }
    }

    fn http(&self, method: &str, path: &str, query: &[(&str, &str)], body: &Value) -> (Target, Request) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        house::http(&self.functions, (method, path), query, body)
    }

    /// Every user's counters as the functions answer them, beside those that follow from the records.
    async fn counters_agree(&self, seed: u64) {
        for number in 0..USERS {
            let call = Call { user: number, what: get("/v1/unread") };
            let answer = &self.ask(&call).await[0][1];
            let answered: BTreeMap<String, u64> = serde_json::from_value(answer["conversations"].clone()).unwrap();
            let request = UnreadRequest { user: user(number), conversations: None };
            let snapshot = self.records.unread(vec![request]).await.unwrap().remove(0);
            let counted: BTreeMap<String, u64> =
                snapshot.counters.iter().map(|counter| (counter.conversation.to_string(), counter.count)).collect();
            assert_eq!(answer["total"], counted.values().sum::<u64>(), "seed {seed}");
            assert_eq!(without_zeros(answered), without_zeros(counted), "seed {seed}");
        }
    }
}

/// Who read everything may be answered with a zero or with nothing.
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
    what: What,
}

#[derive(Debug)]
enum What {
    Http { method: &'static str, path: String, query: Vec<(&'static str, &'static str)>, body: Value },
    Frame { name: &'static str, payload: Value },
    Connected,
    Beat,
    Disconnected,
    Sync,
}

impl Call {
    /// A backend asks for the presence of many; everything else is asked by a user, or by the host for one.
    fn caller(&self) -> Caller {
        match &self.what {
            What::Http { path, .. } if path == "/v1/presence/query" => Caller::Service,
            What::Http { .. } | What::Frame { .. } => Caller::User(user(self.user)),
            _ => Caller::Host,
        }
    }
}

fn http(method: &'static str, path: String, body: Value) -> What {
    What::Http { method, path, query: Vec::new(), body }
}

fn get(path: &str) -> What {
    http("GET", path.to_owned(), Value::Null)
}

/// The same numbers for the same seed (SplitMix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }

    fn call(&mut self) -> Call {
        let user = u128::from(self.below(USERS as u64));
        let other = self::user(u128::from(self.below(USERS as u64)));
        let conversation = format!("00000000-0000-4000-8000-00000000000{}", self.below(CONVERSATIONS));
        // Few enough that the same message is sent, edited and taken back again and again.
        let message = format!("00000000-0000-4000-9000-0000000000{:02}", self.below(40));
        let within = |rest: &str| format!("/v1/conversations/{conversation}/{rest}");
        let content = format!("content {}", self.below(1_000));
        let what = match self.below(24) {
            0 => {
                let members: Vec<String> = (0..USERS).map(|number| self::user(number).to_string()).collect();
                http("POST", "/v1/conversations".to_owned(), json!({ "id": conversation, "members": members }))
            }
            1..=6 => http("POST", within("messages"), json!({ "id": message, "content": content })),
            7 => http("PATCH", within(&format!("messages/{message}")), json!({ "content": content })),
            8 => http("DELETE", within(&format!("messages/{message}")), Value::Null),
            9 => http("POST", within("read"), json!({})),
            10 => http("POST", within("read"), json!({ "up_to": self.below(30) })),
            11 => {
                What::Http { method: "GET", path: within("messages"), query: vec![("limit", "5")], body: Value::Null }
            }
            12 => get(&within("last-message")),
            13 => get("/v1/unread"),
            14 => http("DELETE", "/v1/unread".to_owned(), Value::Null),
            15 => get("/v1/conversations"),
            16 => http("PUT", format!("/v1/contacts/{other}"), Value::Null),
            17 if self.below(4) == 0 => http("PUT", format!("/v1/blocks/{other}"), Value::Null),
            17 => http("DELETE", format!("/v1/blocks/{other}"), Value::Null),
            18 => What::Frame { name: "typing", payload: json!({ "conversation": conversation }) },
            19 => What::Frame {
                name: "message.send",
                payload: json!({ "conversation": conversation, "id": message, "content": content }),
            },
            20 => What::Connected,
            21 => [What::Beat, What::Disconnected].into_iter().nth(self.below(2) as usize).unwrap(),
            22 => What::Sync,
            _ => http("POST", "/v1/presence/query".to_owned(), json!({ "users": [other, self::user(user)] })),
        };
        Call { user, what }
    }
}

/// An answer without what no two runs agree on. Conversations of one millisecond stand in either order.
fn timeless(mut value: Value) -> Value {
    match &mut value {
        Value::Object(members) => {
            for (name, member) in members.iter_mut() {
                let moment = MOMENTS.contains(&name.as_str()) && !member.is_null();
                *member = if moment { json!("a moment") } else { timeless(member.take()) };
            }
        }
        Value::Array(items) => {
            items.iter_mut().for_each(|item| *item = timeless(item.take()));
            if items.iter().any(|item| item.get("updated_at").is_some()) {
                items.sort_by_key(|item| item["id"].to_string());
            }
        }
        _ => {}
    }
    value
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kept_instances_answer_as_fresh_ones_do_and_counters_end_as_the_records_say() {
    let engine = Engine::new().unwrap();
    for seed in SEEDS {
        let fresh = House::build(engine.clone(), false).await;
        let kept = House::build(engine.clone(), true).await;
        let mut dice = Dice(seed);
        let mut statuses = BTreeSet::new();
        for number in 0..CALLS {
            let call = dice.call();
            let (one, other) = tokio::join!(fresh.ask(&call), kept.ask(&call));
            assert_eq!(one, other, "seed {seed}, call {number}: {call:?}");
            statuses.extend(one.iter().map(|answer| answer[0].to_string()));
        }
        // A sequence in which nothing works would agree as well.
        assert!(["200", "201", "204"].iter().all(|status| statuses.contains(*status)), "seed {seed}: {statuses:?}");
        fresh.counters_agree(seed).await;
        kept.counters_agree(seed).await;
    }
}
