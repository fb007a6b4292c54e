//! The rules of the log: what is kept, what is left out, and the bounds.

use std::sync::Arc;
use std::time::{Duration, Instant};

use roost_core::ids::UserId;
use roost_core::time::Timestamp;

use super::super::call::{
    CallError, Caller, Connection, Failure, FailureKind, HttpRequest, Invocation, Reply, Request,
};
use super::super::grants::Grants;
use super::super::manifest::{Access, Manifest, Method, Route, Schedule};
use super::super::socket_description::SocketDescription;
use super::record::{CallRecord, LineRecord, LogRecord};
use super::ring::{RecordRing, RingBounds};
use super::sampler::Sampler;
use super::*;

const NOW: Timestamp = Timestamp(1_790_000_000_000);

fn line(level: LineLevel, message: &str) -> LogRecord {
    let kind = RecordKind::Line(LineRecord { level, message: message.to_owned(), fields: String::new() });
    LogRecord { sequence: 0, at: NOW, digest: "abc".into(), trace: "t".into(), kind }
}

fn messages(batch: &RecordBatch) -> Vec<String> {
    let message = |record: &Arc<LogRecord>| match &record.kind {
        RecordKind::Line(line) => line.message.clone(),
        RecordKind::Call(call) => format!("{:?}", call.outcome),
    };
    batch.records.iter().map(message).collect()
}

fn ring(records_max: usize) -> RecordRing {
    RecordRing::new(RingBounds { records_max, bytes_max: 1 << 20 })
}

#[test]
fn a_sampler_admits_the_first_of_each_second_and_counts_the_others() {
    let sampler = Sampler::new(2);
    assert_eq!((sampler.admit(0), sampler.admit(0)), (Some(0), Some(0)));
    assert_eq!((sampler.admit(0), sampler.admit(0), sampler.admit(0)), (None, None, None));
    assert_eq!(sampler.left_out(), 3);
    assert_eq!(sampler.admit(7), Some(3), "the next one has the number of those before it");
    assert_eq!((sampler.admit(7), sampler.admit(7), sampler.admit(8)), (Some(0), None, Some(1)));
    assert_eq!(Sampler::new(0).admit(3), None);
}

#[test]
fn other_records_never_displace_failures() {
    let mut ring = ring(3);
    ring.push(line(LineLevel::Error, "failure"));
    for number in 0..50 {
        ring.push(line(LineLevel::Info, &number.to_string()));
    }
    assert_eq!(messages(&ring.after(0, 100)), ["failure", "47", "48", "49"]);
    for number in 0..4 {
        ring.push(line(LineLevel::Error, &format!("later {number}")));
    }
    assert_eq!(messages(&ring.after(0, 100)), ["47", "48", "49", "later 1", "later 2", "later 3"]);
}

#[test]
fn whoever_reads_on_learns_how_many_records_were_displaced() {
    let mut ring = ring(3);
    assert_eq!(ring.after(0, 10), RecordBatch::default());
    for number in 0..10 {
        ring.push(line(LineLevel::Info, &number.to_string()));
    }
    let batch = ring.after(2, 2);
    assert_eq!((messages(&batch), batch.lost, batch.next), (vec!["7".to_owned(), "8".to_owned()], 5, 9));
    let batch = ring.after(batch.next, 2);
    assert_eq!((messages(&batch), batch.lost, batch.next), (vec!["9".to_owned()], 0, 10));
    assert_eq!(ring.after(10, 2), RecordBatch { next: 10, ..RecordBatch::default() });
    for number in 10..20 {
        ring.push(line(LineLevel::Info, &number.to_string()));
    }
    assert_eq!(ring.after(10, 100).lost, 7);
    assert_eq!(ring.after(500, 100).lost, 0, "a position of the future is no loss");
}

#[test]
fn the_newest_records_are_those_that_were_asked_for() {
    let mut ring = ring(10);
    for (level, message) in [(LineLevel::Info, "a"), (LineLevel::Error, "b"), (LineLevel::Warn, "c")] {
        ring.push(line(level, message));
    }
    assert_eq!(messages(&ring.newest(2, |_| true)), ["b", "c"]);
    assert_eq!(messages(&ring.newest(2, |record| !record.is_failure())), ["a", "c"]);
}

#[test]
fn a_ring_keeps_its_bound_on_bytes() {
    let mut ring = RecordRing::new(RingBounds { records_max: 1_000, bytes_max: 50_000 });
    for _ in 0..100 {
        ring.push(line(LineLevel::Info, &"x".repeat(8_000)));
        assert!(ring.bytes() <= 50_000, "{}", ring.bytes());
    }
    assert_eq!(ring.after(0, 100).records.len(), 6);
    while ring.drop_oldest() {}
    assert_eq!(ring.bytes(), 0);
}

#[test]
fn all_functions_together_keep_their_bound_and_the_largest_one_gives_way() {
    let logs = FunctionLogs::bounded(100_000);
    let (quiet, loud) = (logs.of("quiet"), logs.of("loud"));
    quiet.keep(line(LineLevel::Info, "hello"));
    for _ in 0..100 {
        loud.keep(line(LineLevel::Error, &"x".repeat(8_000)));
        assert!(logs.bytes() <= 100_000, "{}", logs.bytes());
    }
    assert_eq!(messages(&quiet.after(0, 10)), ["hello"]);
    assert!(loud.after(0, 1_000).records.len() > 5);
}

#[test]
fn logs_of_functions_that_have_gone_are_dropped_when_there_are_too_many() {
    let logs = FunctionLogs::bounded(1 << 20);
    let kept = logs.of("kept");
    kept.keep(line(LineLevel::Info, "hello"));
    for number in 0..1_000 {
        logs.of(&format!("gone-{number}")).keep(line(LineLevel::Info, "bye"));
    }
    let found = (0..1_000).filter(|number| logs.find(&format!("gone-{number}")).is_some()).count();
    assert_eq!(found, 255);
    assert_eq!(messages(&logs.find("kept").unwrap().after(0, 10)), ["hello"]);
}

#[tokio::test]
async fn whoever_follows_is_woken_by_a_record() {
    let log = FunctionLogs::bounded(1 << 20).of("a");
    let mut grown = log.grown();
    log.keep(line(LineLevel::Info, "first"));
    grown.changed().await.unwrap();
    assert_eq!(*grown.borrow(), 1);
}

#[test]
fn places_for_followers_are_bounded_and_given_back() {
    let logs = FunctionLogs::bounded(1 << 20);
    let mut places: Vec<_> = std::iter::from_fn(|| logs.follower()).collect();
    assert_eq!(places.len(), FOLLOWERS_MAX);
    places.pop();
    assert!(logs.follower().is_some());
}

fn manifest() -> Manifest {
    let route = Route {
        method: Method::Get,
        path: "/v1/polls/{id}".into(),
        access: Access::User,
        operation: serde_json::Value::Null,
    };
    Manifest {
        name: "polls".into(),
        version: "1.0.0".into(),
        routes: vec![route],
        messages: vec!["poll.open".into(), "poll.close".into()],
        socket: SocketDescription::default(),
        hooks: Vec::new(),
        publications: vec!["message.new".into()],
        schedules: vec![Schedule { name: "sweep".into(), every: Duration::from_secs(1), shards: 4 }],
        asks: Grants::default(),
    }
}

fn user() -> UserId {
    UserId::from_u128(7)
}

/// A call as the recorder sees it, so many milliseconds after the start.
fn ended<'c>(
    result: &'c Result<Reply, CallError>,
    (caller, request): (Caller, Request),
    began: Instant,
) -> EndedCall<'c> {
    let invocation = Invocation { caller, trace: "trace-1".into(), request };
    let origin = Origin::of(&invocation, &manifest());
    EndedCall { origin, result, notes: CallNotes::default(), began, took: Duration::from_micros(250) }
}

fn http() -> (Caller, Request) {
    let request = HttpRequest { route: 0, parameters: Vec::new(), query: Vec::new(), body: bytes::Bytes::new() };
    (Caller::User(user()), Request::Http(request))
}

fn ok() -> Result<Reply, CallError> {
    Ok(Reply { status: 200, body: String::new() })
}

fn failure(kind: FailureKind) -> Result<Reply, CallError> {
    let (code, message) = ("no_poll".to_owned(), "there is no such poll".to_owned());
    Err(CallError::Failed(Failure { kind, code, message, retry: false, retry_after: None }))
}

/// How a call ended, who made it, and for what.
type CallSample = (Result<Reply, CallError>, (Caller, Request));

/// The records of one recorder after these calls, all in its first second.
fn recorded(per_second_max: u32, calls: &[CallSample]) -> Vec<CallRecord> {
    let log = FunctionLogs::bounded(1 << 20).of("polls");
    let recorder = CallRecorder::new(Arc::clone(&log), "abc", per_second_max);
    let began = Instant::now();
    for (result, origin) in calls {
        recorder.call(ended(result, origin.clone(), began), &manifest(), || NOW);
    }
    let records = log.after(0, 10_000).records;
    let call = |record: &Arc<LogRecord>| match &record.kind {
        RecordKind::Call(call) => call.as_ref().clone(),
        RecordKind::Line(line) => panic!("{line:?}"),
    };
    records.iter().map(call).collect()
}

#[test]
fn a_record_names_what_caused_the_call_and_for_whom() {
    let connection = Connection { user: user(), id: "c-1".to_owned().try_into().unwrap() };
    let message =
        Request::Message { connection: connection.id.clone(), name: "poll.close".into(), payload: "null".into() };
    let tick = Request::Tick { schedule: "sweep".into(), shard: 3 };
    let calls = [
        http(),
        (Caller::Service, message),
        (Caller::Host, Request::Connected(connection)),
        (Caller::Host, tick),
        (Caller::Anonymous, http().1),
    ];
    let records = recorded(10, &calls.map(|origin| (ok(), origin)));
    let shown: Vec<_> =
        records.iter().map(|call| (call.trigger, call.trigger_name.as_str(), call.caller, call.user)).collect();
    assert_eq!(
        shown,
        [
            ("http", "GET /v1/polls/{id}", "user", Some(user())),
            ("message", "poll.close", "service", None),
            ("hook", "connected", "host", Some(user())),
            ("schedule", "sweep shard 3", "host", None),
            ("http", "GET /v1/polls/{id}", "none", None),
        ]
    );
    assert!(records.iter().all(|call| call.took_us == 250 && call.outcome == CallOutcome::Ok));
}

#[test]
fn every_failure_is_recorded_and_successes_up_to_the_rate() {
    let mut calls: Vec<_> = (0..50).map(|_| (ok(), http())).collect();
    for result in [
        failure(FailureKind::NotFound),
        failure(FailureKind::Internal),
        Err(CallError::Trapped),
        Err(CallError::DeadlineExceeded),
        Err(CallError::ReplyTooLarge),
    ] {
        calls.extend((0..20).map(|_| (result.clone(), http())));
    }
    let busy = CallError::Busy { retry_after: Duration::from_secs(1) };
    calls.extend((0..50).map(|_| (Err(busy.clone()), http())));
    let records = recorded(3, &calls);
    let count = |outcome| records.iter().filter(|call| call.outcome == outcome).count();
    for outcome in [
        CallOutcome::Refused,
        CallOutcome::Failed,
        CallOutcome::Trapped,
        CallOutcome::Timeout,
        CallOutcome::ReplyTooLarge,
    ] {
        assert_eq!(count(outcome), 20, "{outcome:?}");
    }
    assert_eq!((count(CallOutcome::Ok), count(CallOutcome::Busy)), (3, 3));
    let refused = records.iter().find(|call| call.outcome == CallOutcome::Refused).unwrap();
    assert_eq!((refused.code.as_deref(), refused.message.as_deref()), (Some("no_poll"), Some("there is no such poll")));
}

#[test]
fn the_calls_that_were_left_out_are_in_the_next_record() {
    let log = FunctionLogs::bounded(1 << 20).of("polls");
    let recorder = CallRecorder::new(Arc::clone(&log), "abc", 1);
    let (began, result) = (Instant::now(), ok());
    for _ in 0..5 {
        recorder.call(ended(&result, http(), began), &manifest(), || NOW);
    }
    assert_eq!(recorder.left_out(), 4);
    recorder.call(ended(&result, http(), began + Duration::from_secs(30)), &manifest(), || NOW);
    let records = log.after(0, 10).records;
    let json: Vec<_> = records.iter().map(|record| serde_json::to_value(record).unwrap()).collect();
    assert_eq!((json.len(), json[0].get("left_out"), &json[1]["left_out"]), (2, None, &serde_json::json!(4)));
}

#[test]
fn a_record_is_one_flat_object() {
    let log = FunctionLogs::bounded(1 << 20).of("polls");
    let recorder = CallRecorder::new(Arc::clone(&log), "abc", 1);
    let figures =
        CallFigures { store_round_trips: 2, store_operations: 5, memory_bytes: 65_536, ..CallFigures::default() };
    let trap = CallNotes {
        figures,
        reason: Some("wasm trap: unreachable".into()),
        panic: Some("it gave up".into()),
        backtrace: vec!["polls::give_up".into()],
    };
    let result = Err(CallError::Trapped);
    let call = EndedCall { notes: trap, ..ended(&result, http(), Instant::now()) };
    recorder.call(call, &manifest(), || NOW);
    let record = serde_json::to_value(log.after(0, 1).records.first().unwrap()).unwrap();
    assert_eq!(
        record,
        serde_json::json!({
            "sequence": 0, "at": "2026-09-21T14:13:20Z", "digest": "abc", "trace": "trace-1", "kind": "call",
            "trigger": "http", "trigger_name": "GET /v1/polls/{id}", "caller": "user", "user": user(),
            "outcome": "trapped", "message": "wasm trap: unreachable", "panic": "it gave up",
            "backtrace": ["polls::give_up"], "took_us": 250, "store_round_trips": 2, "store_operations": 5,
            "records_operations": 0, "memory_bytes": 65_536
        })
    );
}
