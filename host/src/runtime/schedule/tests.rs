//! Schedules on virtual time: one host and several, hosts that die in a tick, and a store that does not answer.

use std::sync::Mutex as StdMutex;
use std::sync::atomic::{AtomicBool, Ordering};

use roost_core::error::Error;
use roost_core::port::StoreError;
use roost_core::slot::{self, ClaimedSlot};
use roost_core::time::Timestamp;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::*;
use crate::runtime::dispatcher::{Callable, Leased};
use crate::runtime::{CallError, Reply};
use crate::store::memory::MemoryStore;

/// How long a tick of the fakes may take at most.
const CALL_TIME_MAX: Duration = Duration::from_secs(8);

/// Functions that remember their ticks. Each tick takes a fixed time.
struct FakeFunctions {
    schedules: StdMutex<Vec<(&'static str, Schedule)>>,
    changed: watch::Sender<u64>,
    tick_time: Duration,
    log: StdMutex<TickLog>,
}

#[derive(Default)]
struct TickLog {
    ticks: Vec<(&'static str, u32)>,
    running: Vec<(&'static str, u32)>,
    most_at_once: usize,
    overlapped: bool,
}

impl FakeFunctions {
    fn new(schedules: Vec<(&'static str, Schedule)>, tick_time: Duration) -> Arc<Self> {
        let changed = watch::Sender::new(0);
        Arc::new(Self { schedules: StdMutex::new(schedules), changed, tick_time, log: StdMutex::default() })
    }

    fn ticks(&self, function: &str) -> usize {
        self.log.lock().unwrap().ticks.iter().filter(|(name, _)| *name == function).count()
    }

    fn ticks_of_shard(&self, shard: u32) -> usize {
        self.log.lock().unwrap().ticks.iter().filter(|(_, of)| *of == shard).count()
    }
}

impl Scheduled for FakeFunctions {
    fn schedules(&self) -> Vec<(&'static str, Schedule)> {
        self.schedules.lock().unwrap().clone()
    }
}

impl Leased for FakeFunctions {
    fn name<'a>(target: &'a &'static str) -> &'a str {
        target
    }

    fn call_time_max(_: &&'static str) -> Duration {
        CALL_TIME_MAX
    }
}

/// A tick that runs, until it is dropped.
struct RunningTick<'f>(&'f FakeFunctions, (&'static str, u32));

impl<'f> RunningTick<'f> {
    fn begin(functions: &'f FakeFunctions, of: (&'static str, u32)) -> Self {
        let mut log = functions.log.lock().unwrap();
        log.overlapped |= log.running.contains(&of);
        log.running.push(of);
        log.most_at_once = log.most_at_once.max(log.running.len());
        log.ticks.push(of);
        Self(functions, of)
    }
}

impl Drop for RunningTick<'_> {
    fn drop(&mut self) {
        let mut log = self.0.log.lock().unwrap();
        if let Some(index) = log.running.iter().position(|running| *running == self.1) {
            log.running.swap_remove(index);
        }
    }
}

impl Callable for FakeFunctions {
    type Target = &'static str;

    fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    async fn call(&self, target: &&'static str, invocation: Invocation) -> Result<Reply, CallError> {
        assert_eq!(invocation.caller, Caller::Host);
        let Request::Tick { shard, .. } = invocation.request else { panic!("not a tick") };
        let _running = RunningTick::begin(self, (target, shard));
        tokio::time::sleep(self.tick_time).await;
        if shard == 1 { Err(CallError::Trapped) } else { Ok(Reply { status: 204, body: String::new() }) }
    }
}

/// A store on tokio's clock, shared by several hosts.
struct Cluster {
    store: MemoryStore,
    began: Instant,
    is_away: AtomicBool,
    /// How long a claim takes.
    answer_time: StdMutex<Duration>,
}

impl Cluster {
    fn new() -> Arc<Self> {
        let began = Instant::now();
        let store = MemoryStore::with_clock(move || time_at(began));
        Arc::new(Self { store, began, is_away: AtomicBool::new(false), answer_time: StdMutex::default() })
    }

    fn host(self: &Arc<Self>, name: &str) -> Arc<HostClaims> {
        Arc::new(HostClaims { cluster: self.clone(), name: name.to_owned() })
    }
}

fn time_at(began: Instant) -> Timestamp {
    Timestamp(1_790_000_000_000).plus(milliseconds(began.elapsed()))
}

/// The claims of one host.
struct HostClaims {
    cluster: Arc<Cluster>,
    name: String,
}

impl SlotClaims for HostClaims {
    fn now(&self) -> Timestamp {
        time_at(self.cluster.began)
    }

    async fn claim(&self, work: &RepeatedWork) -> Result<Option<ClaimedSlot>, Error> {
        if self.cluster.is_away.load(Ordering::Relaxed) {
            return Err(StoreError::Unavailable { retry_after_ms: 1_000 }.into());
        }
        let claimed = slot::claim(&self.cluster.store, work, &self.name, self.now()).await;
        let answer_time = *self.cluster.answer_time.lock().unwrap();
        tokio::time::sleep(answer_time).await;
        claimed
    }

    async fn release(&self, work: &RepeatedWork, slot: &ClaimedSlot) -> Result<(), Error> {
        slot::release(&self.cluster.store, work, slot, &self.name).await
    }
}

fn schedule(every_ms: u64, shards: u32) -> Schedule {
    Schedule { name: "sweep".to_owned(), every: Duration::from_millis(every_ms), shards }
}

/// Starts the schedules of a host of this cluster.
fn start(fake: &Arc<FakeFunctions>, host: Arc<HostClaims>) -> (JoinHandle<()>, CancellationToken) {
    let stop = CancellationToken::new();
    (tokio::spawn(run(fake.clone(), host, stop.clone())), stop)
}

async fn run_alone_for(fake: &Arc<FakeFunctions>, span: Duration) -> CancellationToken {
    let (_, stop) = start(fake, Cluster::new().host("only"));
    tokio::time::sleep(span).await;
    stop
}

#[tokio::test(start_paused = true)]
async fn every_shard_ticks_once_in_each_slot_even_after_failures() {
    let fake = FakeFunctions::new(vec![("presence", schedule(1_000, 4))], Duration::ZERO);
    run_alone_for(&fake, Duration::from_secs(100)).await;
    for shard in 0..4 {
        let ticks = fake.ticks_of_shard(shard);
        assert!((99..=101).contains(&ticks), "shard {shard} ticked {ticks} times");
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_shard_never_overlaps_itself_and_ticks_are_bounded() {
    let fake = FakeFunctions::new(vec![("presence", schedule(100, 64))], Duration::from_secs(5));
    run_alone_for(&fake, Duration::from_secs(60)).await;
    let log = fake.log.lock().unwrap();
    assert!(!log.overlapped);
    assert_eq!(log.most_at_once, TICKS_MAX);
}

#[tokio::test(start_paused = true)]
async fn a_change_of_the_functions_takes_effect_without_overlap() {
    let fake = FakeFunctions::new(vec![("old", schedule(1_000, 1))], Duration::from_millis(700));
    let stop = run_alone_for(&fake, Duration::from_secs(10)).await;
    for _ in 0..20 {
        *fake.schedules.lock().unwrap() = vec![("old", schedule(200, 1)), ("new", schedule(1_000, 1))];
        fake.changed.send_modify(|version| *version += 1);
        tokio::time::sleep(Duration::from_millis(2_100)).await;
    }
    *fake.schedules.lock().unwrap() = vec![("new", schedule(1_000, 1))];
    fake.changed.send_modify(|version| *version += 1);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (old, new) = (fake.ticks("old"), fake.ticks("new"));
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(fake.ticks("old"), old, "a removed schedule still ticks");
    assert!(fake.ticks("new") > new);
    assert!(!fake.log.lock().unwrap().overlapped);
    stop.cancel();
}

#[tokio::test(start_paused = true)]
async fn a_stop_waits_for_running_ticks_and_starts_no_more() {
    let fake = FakeFunctions::new(vec![("presence", schedule(100, 8))], Duration::from_secs(3));
    let (running, stop) = start(&fake, Cluster::new().host("only"));
    tokio::time::sleep(Duration::from_secs(1)).await;
    stop.cancel();
    running.await.unwrap();
    let log = fake.log.lock().unwrap();
    assert!(log.running.is_empty() && log.ticks.len() == 8, "{:?}", log.ticks);
}

#[tokio::test(start_paused = true)]
async fn three_hosts_share_the_slots_and_none_is_ticked_twice() {
    let cluster = Cluster::new();
    let fakes: Vec<_> =
        (0..3).map(|_| FakeFunctions::new(vec![("presence", schedule(1_000, 4))], Duration::from_millis(30))).collect();
    for (number, fake) in fakes.iter().enumerate() {
        start(fake, cluster.host(&number.to_string()));
    }
    tokio::time::sleep(Duration::from_secs(100)).await;
    for shard in 0..4 {
        let ticks: Vec<usize> = fakes.iter().map(|fake| fake.ticks_of_shard(shard)).collect();
        let all: usize = ticks.iter().sum();
        assert!((99..=101).contains(&all), "shard {shard} ticked {ticks:?} times");
        assert!(ticks.iter().all(|ticks| *ticks > 10), "every host takes a part: {ticks:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn ticks_of_two_hosts_never_overlap_and_a_dead_hosts_shard_is_taken_over_after_its_lease() {
    let cluster = Cluster::new();
    let fake = FakeFunctions::new(vec![("presence", schedule(1_000, 1))], Duration::from_millis(1_700));
    let (dying, _) = start(&fake, cluster.host("dying"));
    start(&fake, cluster.host("other"));
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(!fake.log.lock().unwrap().overlapped, "a tick takes longer than a slot");
    // Both hosts tick now and then; this one dies in the middle of a tick or between two.
    dying.abort();
    tokio::time::sleep(Duration::from_millis(1)).await;
    let before = fake.ticks("presence");
    tokio::time::sleep(Duration::from_millis(FakeFunctions::lease_ms(&"presence")) + Duration::from_secs(2)).await;
    let after = fake.ticks("presence");
    assert!(after > before, "the other host ticks at the latest when the lease has ended");
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert!(fake.ticks("presence") >= after + 9, "and then in every second slot");
    assert!(!fake.log.lock().unwrap().overlapped);
}

#[tokio::test(start_paused = true)]
async fn a_tick_that_might_outlast_its_lease_is_left_out() {
    let cluster = Cluster::new();
    let fake = FakeFunctions::new(vec![("presence", schedule(1_000, 1))], Duration::ZERO);
    *cluster.answer_time.lock().unwrap() = Duration::from_millis(2_001);
    start(&fake, cluster.host("one"));
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(fake.ticks("presence"), 0, "a claim takes longer than the lease exceeds the call");
    *cluster.answer_time.lock().unwrap() = Duration::from_millis(1_900);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(fake.ticks("presence") > 0);
}

#[tokio::test(start_paused = true)]
async fn without_the_store_no_host_ticks() {
    let cluster = Cluster::new();
    let fake = FakeFunctions::new(vec![("presence", schedule(1_000, 2))], Duration::ZERO);
    start(&fake, cluster.host("one"));
    start(&fake, cluster.host("other"));
    tokio::time::sleep(Duration::from_secs(10)).await;
    cluster.is_away.store(true, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = fake.ticks("presence");
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(fake.ticks("presence"), before);
    cluster.is_away.store(false, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(10)).await;
    let ticks = fake.ticks("presence") - before;
    assert!((18..=22).contains(&ticks), "{ticks}");
}
