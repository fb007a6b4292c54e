//! Calls for publications on virtual time: once each, bounded, repeated after failures, taken over from a dead host.

use std::collections::BTreeMap;
use std::sync::Mutex;

use roost_core::port::Event;
use roost_core::time::Timestamp;
use roost_core::trigger::{EnqueueOutcome, Trigger, enqueue};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::*;
use crate::runtime::Reply;
use crate::runtime::dispatcher::{Callable, Leased};
use crate::store::memory::MemoryStore;

/// What the fake function answers to a call, by the id of the call.
type AnswerCall = fn(id: &str, attempt: u32) -> Result<(), CallError>;

/// A function that remembers its calls. Each call takes a fixed time.
struct FakeFunction {
    call_time: Duration,
    answer: AnswerCall,
    changed: watch::Sender<u64>,
    /// The attempts of each call, in order.
    attempts: Mutex<BTreeMap<String, Vec<u32>>>,
    running: Mutex<(usize, usize)>,
    /// The functions that are called for publications.
    subscribers: Mutex<Vec<&'static str>>,
}

impl FakeFunction {
    fn new(call_time: Duration, answer: AnswerCall) -> Arc<Self> {
        let (changed, subscribers) = (watch::Sender::new(0), Mutex::new(vec!["bot"]));
        let (attempts, running) = (Mutex::default(), Mutex::default());
        Arc::new(Self { call_time, answer, changed, attempts, running, subscribers })
    }

    fn attempts(&self, id: &str) -> Vec<u32> {
        self.attempts.lock().unwrap().get(id).cloned().unwrap_or_default()
    }

    fn calls(&self) -> usize {
        self.attempts.lock().unwrap().values().map(Vec::len).sum()
    }
}

impl Callable for FakeFunction {
    type Target = &'static str;

    fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    async fn call(&self, target: &&'static str, invocation: Invocation) -> Result<Reply, CallError> {
        assert_eq!((*target, invocation.caller), ("bot", Caller::Host));
        let Request::Publication(published) = invocation.request else { panic!("not a publication") };
        self.attempts.lock().unwrap().entry(published.id.clone()).or_default().push(published.attempt);
        {
            let mut running = self.running.lock().unwrap();
            running.0 += 1;
            running.1 = running.1.max(running.0);
        }
        tokio::time::sleep(self.call_time).await;
        self.running.lock().unwrap().0 -= 1;
        (self.answer)(&published.id, published.attempt).map(|()| Reply { status: 204, body: String::new() })
    }
}

impl Subscribed for FakeFunction {
    fn subscribers(&self) -> Vec<&'static str> {
        self.subscribers.lock().unwrap().clone()
    }

    fn is_called_for(_: &&'static str, event: &str) -> bool {
        event == "poll.vote"
    }
}

impl Leased for FakeFunction {
    fn name<'a>(target: &'a &'static str) -> &'a str {
        target
    }

    fn call_time_max(_: &&'static str) -> Duration {
        Duration::from_secs(8)
    }
}

/// A store on tokio's clock, and the subscriptions of a host.
fn host() -> (Store, Subscriptions) {
    let began = Instant::now();
    let now = move || Timestamp(1_790_000_000_000).plus(milliseconds(began.elapsed()));
    (Store::Memory(Arc::new(MemoryStore::with_clock(now))), Subscriptions::default())
}

fn start(function: &Arc<FakeFunction>, host: &(Store, Subscriptions)) -> (JoinHandle<()>, CancellationToken) {
    let stop = CancellationToken::new();
    (tokio::spawn(run(function.clone(), host.clone(), stop.clone())), stop)
}

async fn queue(host: &(Store, Subscriptions), ids: impl IntoIterator<Item = usize>) {
    queue_event(host, "poll.vote", ids).await;
}

async fn queue_event(host: &(Store, Subscriptions), event: &str, ids: impl IntoIterator<Item = usize>) {
    let event = Event { name: event.into(), payload: "{}".into(), durable: true };
    let trigger = |id: usize| Trigger {
        function: "bot".into(),
        id: id.to_string(),
        event: event.clone(),
        users: Vec::new(),
        depth: 1,
    };
    let triggers: Vec<Trigger> = ids.into_iter().map(trigger).collect();
    let outcomes = enqueue(&host.0, &triggers, host.0.now()).await.unwrap();
    assert!(outcomes.iter().all(|outcome| *outcome == EnqueueOutcome::Queued));
    host.1.notify_queued();
}

async fn queue_length(host: &(Store, Subscriptions)) -> u64 {
    trigger::length(&host.0, &["bot".to_owned()]).await.unwrap()["bot"]
}

fn failure(retry: bool) -> CallError {
    CallError::Failed(Failure {
        kind: FailureKind::Internal,
        code: "internal".into(),
        message: String::new(),
        retry,
        retry_after: None,
    })
}

#[tokio::test(start_paused = true)]
async fn a_queued_call_is_made_at_once_and_only_once() {
    let (function, host) = (FakeFunction::new(Duration::ZERO, |_, _| Ok(())), host());
    start(&function, &host);
    tokio::time::sleep(Duration::from_millis(10)).await;
    queue(&host, [1]).await;
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(function.attempts("1"), [1], "without waiting for the next look into the queue");
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!((function.calls(), queue_length(&host).await), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn calls_in_flight_are_bounded_and_all_of_a_long_queue_are_made() {
    let (function, host) = (FakeFunction::new(Duration::from_millis(100), |_, _| Ok(())), host());
    queue(&host, 0..100).await;
    start(&function, &host);
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!((function.calls(), queue_length(&host).await), (100, 0), "100 calls by 4 take 2.5 s");
    assert_eq!(function.running.lock().unwrap().1, FUNCTION_CALLS_MAX);
}

#[tokio::test(start_paused = true)]
async fn a_failed_call_is_repeated_until_it_succeeds_and_one_that_cannot_succeed_is_not() {
    let answer: AnswerCall = |id, attempt| match (id, attempt) {
        ("1", 1..3) => Err(CallError::Trapped),
        ("2", _) => Err(failure(false)),
        ("3", 1) => Err(failure(true)),
        _ => Ok(()),
    };
    let (function, host) = (FakeFunction::new(Duration::ZERO, answer), host());
    start(&function, &host);
    queue(&host, 1..=3).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let attempts = ["1", "2", "3"].map(|id| function.attempts(id));
    assert_eq!(attempts, [vec![1, 2, 3], vec![1], vec![1, 2]]);
    assert_eq!(queue_length(&host).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_always_fails_is_given_up_and_keeps_no_other_call_waiting() {
    let answer: AnswerCall = |id, _| if id == "1" { Err(CallError::DeadlineExceeded) } else { Ok(()) };
    let (function, host) = (FakeFunction::new(Duration::ZERO, answer), host());
    start(&function, &host);
    queue(&host, [1, 2]).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(function.attempts("2"), [1]);
    tokio::time::sleep(Duration::from_secs(86_400)).await;
    let attempts = function.attempts("1");
    assert_eq!(attempts, (1..=roost_core::limits::TRIGGER_ATTEMPTS_MAX).collect::<Vec<_>>());
    assert_eq!(queue_length(&host).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_busy_function_loses_no_attempt() {
    static BUSY: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let answer: AnswerCall = |_, _| {
        if BUSY.fetch_add(1, std::sync::atomic::Ordering::Relaxed) < 30 {
            return Err(CallError::Busy { retry_after: Duration::from_secs(1) });
        }
        Ok(())
    };
    let (function, host) = (FakeFunction::new(Duration::ZERO, answer), host());
    start(&function, &host);
    queue(&host, [1]).await;
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(function.attempts("1"), vec![1; 31]);
    assert_eq!(queue_length(&host).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_host_that_dies_in_a_call_leaves_it_to_another_host() {
    let host = host();
    let (dying, other) = (
        FakeFunction::new(Duration::from_secs(3_600), |_, _| Ok(())),
        FakeFunction::new(Duration::ZERO, |_, _| Ok(())),
    );
    let (running, _) = start(&dying, &host);
    queue(&host, [1]).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(dying.attempts("1"), [1]);
    running.abort();
    start(&other, &host);
    tokio::time::sleep(Duration::from_secs(8)).await;
    assert_eq!(other.calls(), 0, "the lease covers the longest call");
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!((other.attempts("1"), queue_length(&host).await), (vec![2], 0));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_this_revision_does_not_know_is_left_to_another_host_for_a_while() {
    let (function, host) = (FakeFunction::new(Duration::ZERO, |_, _| Ok(())), host());
    start(&function, &host);
    queue_event(&host, "poll.closed", [1]).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!((function.calls(), queue_length(&host).await), (0, 1));
    tokio::time::sleep(Duration::from_secs(86_400)).await;
    assert_eq!((function.calls(), queue_length(&host).await), (0, 0), "given up");
}

#[tokio::test(start_paused = true)]
async fn a_stop_waits_for_running_calls_and_begins_no_more() {
    let (function, host) = (FakeFunction::new(Duration::from_secs(3), |_, _| Ok(())), host());
    queue(&host, 0..20).await;
    let (running, stop) = start(&function, &host);
    tokio::time::sleep(Duration::from_secs(1)).await;
    stop.cancel();
    running.await.unwrap();
    assert_eq!((function.calls(), function.running.lock().unwrap().0), (FUNCTION_CALLS_MAX, 0));
    assert_eq!(queue_length(&host).await, 16);
}

#[tokio::test(start_paused = true)]
async fn due_calls_are_made_until_none_is_due_and_failed_ones_later() {
    let function = FakeFunction::new(Duration::ZERO, |id, attempt| match (id, attempt) {
        ("1", 1) => Err(failure(true)),
        _ => Ok(()),
    });
    let host = host();
    queue(&host, 0..10).await;
    assert_eq!(make_due(&function, &host.0).await, Ok(true));
    assert_eq!((function.calls(), queue_length(&host).await), (10, 1));
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(make_due(&function, &host.0).await, Ok(true));
    assert_eq!((function.attempts("1"), queue_length(&host).await), (vec![1, 2], 0));
}

#[tokio::test(start_paused = true)]
async fn the_number_of_due_calls_that_are_made_is_bounded() {
    let function = FakeFunction::new(Duration::ZERO, |_, _| Ok(()));
    let host = host();
    queue(&host, 0..=DUE_CALLS_MAX).await;
    assert_eq!(make_due(&function, &host.0).await, Ok(false));
    assert_eq!((function.calls(), queue_length(&host).await), (DUE_CALLS_MAX, 1));
}

#[tokio::test(start_paused = true)]
async fn the_length_of_a_queue_is_not_shown_any_more_when_its_function_has_gone() {
    let (function, host) = (FakeFunction::new(Duration::ZERO, |_, _| Ok(())), host());
    *function.subscribers.lock().unwrap() = vec!["gauge-test"];
    start(&function, &host);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let series = "roost_trigger_queue{function=\"gauge-test\"}";
    assert!(metrics::render().contains(series));
    function.subscribers.lock().unwrap().clear();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(!metrics::render().contains(series));
}
