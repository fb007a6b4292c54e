//! Runs the functions' schedules: every shard ticks on its own, jittered, never twice at once, and all of them together
//! within a bound. Starts anew when the functions change.
//!
//! A tick is an ordinary call: the function's limits and metrics apply.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, Semaphore, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::ops::trace;
use crate::runtime::{CallError, Caller, Functions, Invocation, Reply, Request, Schedule, Target};

/// Ticks under way at once, of all functions together.
const TICKS_MAX: usize = 8;
/// An interval is stretched or shortened by up to this part, so that hosts do not tick in step.
const JITTER: f64 = 0.1;

/// The functions as their schedules see them.
pub trait Ticking: Clone + Send + Sync + 'static {
    /// A function in one revision.
    type Target: Clone + Send + Sync + 'static;

    /// Every schedule of every function.
    fn schedules(&self) -> Vec<(Self::Target, Schedule)>;

    /// Told after every change of the functions.
    fn changes(&self) -> watch::Receiver<u64>;

    /// The function's name.
    fn name(target: &Self::Target) -> &str;

    /// Calls it.
    fn tick(
        &self,
        target: &Self::Target,
        invocation: Invocation,
    ) -> impl Future<Output = Result<Reply, CallError>> + Send;
}

impl Ticking for Functions {
    type Target = Target;

    fn schedules(&self) -> Vec<(Target, Schedule)> {
        Self::schedules(self)
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changed()
    }

    fn name(target: &Target) -> &str {
        target.name()
    }

    async fn tick(&self, target: &Target, invocation: Invocation) -> Result<Reply, CallError> {
        self.call(target, invocation).await
    }
}

/// A shard of a schedule of a function; it outlives the revisions that serve it.
type Shard = (String, String, u32);

/// Ticks until `stop`, then waits for the ticks under way.
pub async fn run<T: Ticking>(functions: T, stop: CancellationToken) {
    let mut changes = functions.changes();
    let room = Arc::new(Semaphore::new(TICKS_MAX));
    let mut turns: HashMap<Shard, Arc<Mutex<()>>> = HashMap::new();
    let mut running = JoinSet::new();
    while !stop.is_cancelled() {
        changes.mark_unchanged();
        let round = stop.child_token();
        for (target, schedule) in functions.schedules() {
            for shard in 0..schedule.shards {
                let key = (T::name(&target).to_owned(), schedule.name.clone(), shard);
                let ticker = Ticker {
                    functions: functions.clone(),
                    target: target.clone(),
                    schedule: schedule.clone(),
                    shard,
                    turn: turns.entry(key).or_default().clone(),
                    room: room.clone(),
                };
                running.spawn(ticker.run(round.clone()));
            }
        }
        tokio::select! {
            () = stop.cancelled() => {}
            Ok(()) = changes.changed() => {}
        }
        round.cancel();
        while running.try_join_next().is_some() {}
        // A turn that nobody holds is made again when it is needed.
        turns.retain(|_, turn| Arc::strong_count(turn) > 1);
    }
    while running.join_next().await.is_some() {}
}

struct Ticker<T: Ticking> {
    functions: T,
    target: T::Target,
    schedule: Schedule,
    shard: u32,
    /// Held by a tick of this shard, whichever revision makes it.
    turn: Arc<Mutex<()>>,
    room: Arc<Semaphore>,
}

impl<T: Ticking> Ticker<T> {
    async fn run(self, stop: CancellationToken) {
        // The shards of a schedule begin spread over its first interval.
        let mut wait = self.schedule.every.mul_f64(rand::random_range(0.0..1.0));
        loop {
            let due = async {
                tokio::time::sleep(wait).await;
                (self.turn.lock().await, self.room.acquire().await)
            };
            let (_turn, _room) = tokio::select! {
                () = stop.cancelled() => return,
                due = due => due,
            };
            self.tick().await;
            wait = self.interval();
        }
    }

    fn interval(&self) -> Duration {
        self.schedule.every.mul_f64(rand::random_range(1.0 - JITTER..1.0 + JITTER))
    }

    async fn tick(&self) {
        let (function, schedule, shard) = (T::name(&self.target), &self.schedule.name, self.shard);
        let trace = trace::new_id();
        let request = Request::Tick { schedule: schedule.clone(), shard };
        let invocation = Invocation { caller: Caller::Host, trace: trace.as_str().into(), request };
        let outcome = match self.functions.tick(&self.target, invocation).await {
            Ok(_) => "ok",
            Err(error) => {
                tracing::warn!(function, schedule, shard, trace, %error, "a tick failed; the next one tries again");
                "error"
            }
        };
        let labels =
            [("function", function.to_owned()), ("schedule", schedule.clone()), ("outcome", outcome.to_owned())];
        metrics::counter!("roost_ticks_total", &labels).increment(1);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex as StdMutex;

    use super::*;

    /// Remembers its ticks; each takes as long as it is told.
    #[derive(Clone)]
    struct Fake(Arc<Inner>);

    struct Inner {
        schedules: StdMutex<Vec<(&'static str, Schedule)>>,
        changed: watch::Sender<u64>,
        takes: Duration,
        log: StdMutex<Log>,
    }

    #[derive(Default)]
    struct Log {
        ticks: Vec<(&'static str, u32)>,
        running: Vec<(&'static str, u32)>,
        most_at_once: usize,
        overlapped: bool,
    }

    impl Fake {
        fn new(schedules: Vec<(&'static str, Schedule)>, takes: Duration) -> Self {
            let changed = watch::Sender::new(0);
            Self(Arc::new(Inner { schedules: StdMutex::new(schedules), changed, takes, log: StdMutex::default() }))
        }

        fn ticks(&self, function: &str) -> usize {
            self.0.log.lock().unwrap().ticks.iter().filter(|(name, _)| *name == function).count()
        }
    }

    impl Ticking for Fake {
        type Target = &'static str;

        fn schedules(&self) -> Vec<(&'static str, Schedule)> {
            self.0.schedules.lock().unwrap().clone()
        }

        fn changes(&self) -> watch::Receiver<u64> {
            self.0.changed.subscribe()
        }

        fn name<'a>(target: &'a &'static str) -> &'a str {
            target
        }

        async fn tick(&self, target: &&'static str, invocation: Invocation) -> Result<Reply, CallError> {
            assert_eq!(invocation.caller, Caller::Host);
            let Request::Tick { shard, .. } = invocation.request else { panic!("not a tick") };
            let of_shard = |running: &(&str, u32)| *running == (*target, shard);
            {
                let mut log = self.0.log.lock().unwrap();
                log.overlapped |= log.running.iter().any(of_shard);
                log.running.push((target, shard));
                log.most_at_once = log.most_at_once.max(log.running.len());
                log.ticks.push((target, shard));
            }
            tokio::time::sleep(self.0.takes).await;
            let mut log = self.0.log.lock().unwrap();
            let place = log.running.iter().position(of_shard).unwrap();
            log.running.swap_remove(place);
            if shard == 1 { Err(CallError::Trapped) } else { Ok(Reply { status: 204, body: String::new() }) }
        }
    }

    fn schedule(every_ms: u64, shards: u32) -> Schedule {
        Schedule { name: "sweep".to_owned(), every: Duration::from_millis(every_ms), shards }
    }

    async fn run_for(fake: &Fake, span: Duration) -> CancellationToken {
        let stop = CancellationToken::new();
        tokio::spawn(run(fake.clone(), stop.clone()));
        tokio::time::sleep(span).await;
        stop
    }

    #[tokio::test(start_paused = true)]
    async fn every_shard_ticks_at_its_interval_even_after_failures() {
        let fake = Fake::new(vec![("presence", schedule(1_000, 4))], Duration::ZERO);
        run_for(&fake, Duration::from_secs(100)).await;
        let log = fake.0.log.lock().unwrap();
        for shard in 0..4 {
            let ticks = log.ticks.iter().filter(|(_, of)| *of == shard).count();
            assert!((90..=112).contains(&ticks), "shard {shard} ticked {ticks} times");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_shard_never_overlaps_itself_and_ticks_are_bounded() {
        let fake = Fake::new(vec![("presence", schedule(100, 64))], Duration::from_secs(5));
        run_for(&fake, Duration::from_secs(60)).await;
        let log = fake.0.log.lock().unwrap();
        assert!(!log.overlapped);
        assert_eq!(log.most_at_once, TICKS_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_of_the_functions_takes_effect_without_overlap() {
        let fake = Fake::new(vec![("old", schedule(1_000, 1))], Duration::from_millis(700));
        let stop = run_for(&fake, Duration::from_secs(10)).await;
        for _ in 0..20 {
            *fake.0.schedules.lock().unwrap() = vec![("old", schedule(200, 1)), ("new", schedule(1_000, 1))];
            fake.0.changed.send_modify(|version| *version += 1);
            tokio::time::sleep(Duration::from_millis(900)).await;
        }
        *fake.0.schedules.lock().unwrap() = vec![("new", schedule(1_000, 1))];
        fake.0.changed.send_modify(|version| *version += 1);
        tokio::time::sleep(Duration::from_secs(2)).await;
        let (old, new) = (fake.ticks("old"), fake.ticks("new"));
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert_eq!(fake.ticks("old"), old, "a schedule that is gone still ticks");
        assert!(fake.ticks("new") > new);
        assert!(!fake.0.log.lock().unwrap().overlapped);
        stop.cancel();
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_waits_for_ticks_under_way_and_starts_no_more() {
        let fake = Fake::new(vec![("presence", schedule(100, 8))], Duration::from_secs(3));
        let stop = CancellationToken::new();
        let running = tokio::spawn(run(fake.clone(), stop.clone()));
        tokio::time::sleep(Duration::from_secs(1)).await;
        stop.cancel();
        running.await.unwrap();
        let log = fake.0.log.lock().unwrap();
        assert!(log.running.is_empty() && log.ticks.len() == 8, "{:?}", log.ticks);
    }
}
