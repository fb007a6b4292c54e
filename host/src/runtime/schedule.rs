//! Runs the schedules of the functions: each shard ticks independently at its interval with some jitter, never overlapping
//! itself, and a bounded number of ticks runs at a time. When the functions change, the schedules are read again.
//!
//! A tick is an ordinary call, to which the limits and metrics of the function apply.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::ops::supervisor::propagate_panic;
use crate::ops::{metrics, trace};
use crate::runtime::dispatcher::Scheduled;
use crate::runtime::{Caller, Invocation, Request, Schedule};

/// How many ticks of all functions together run at a time.
const TICKS_MAX: usize = 8;
/// The fraction by which an interval is randomly lengthened or shortened, so that hosts do not tick at the same time.
const JITTER: f64 = 0.1;

/// The function, the schedule and the shard. Revisions of a function share its shards.
type ShardKey = (String, String, u32);

/// Ticks until `stop` is cancelled, then waits for the ticks that run.
pub(crate) async fn run<F: Scheduled>(functions: Arc<F>, stop: CancellationToken) {
    let mut changes = functions.changes();
    let permits = Arc::new(Semaphore::new(TICKS_MAX));
    let mut locks: HashMap<ShardKey, Arc<Mutex<()>>> = HashMap::new();
    let mut running = JoinSet::new();
    while !stop.is_cancelled() {
        changes.mark_unchanged();
        let round = stop.child_token();
        for (target, schedule) in functions.schedules() {
            for shard in 0..schedule.shards {
                let key = (F::name(&target).to_owned(), schedule.name.clone(), shard);
                let shard = ShardTicker {
                    functions: functions.clone(),
                    target: target.clone(),
                    schedule: schedule.clone(),
                    shard,
                    lock: locks.entry(key).or_default().clone(),
                    permits: permits.clone(),
                };
                running.spawn(shard.run(round.clone()));
            }
        }
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                Ok(()) = changes.changed() => break,
                // Shards of an earlier round end here, and those that panicked.
                Some(ended) = running.join_next(), if !running.is_empty() => propagate_panic(ended),
            }
        }
        round.cancel();
        while let Some(ended) = running.try_join_next() {
            propagate_panic(ended);
        }
        // A lock that no tick uses is made again when it is needed.
        locks.retain(|_, lock| Arc::strong_count(lock) > 1);
    }
    while let Some(ended) = running.join_next().await {
        propagate_panic(ended);
    }
}

/// Ticks one shard of a schedule, for one revision of the function.
struct ShardTicker<F: Scheduled> {
    functions: Arc<F>,
    target: F::Target,
    schedule: Schedule,
    shard: u32,
    /// Held during a tick of this shard, by whichever revision.
    lock: Arc<Mutex<()>>,
    permits: Arc<Semaphore>,
}

impl<F: Scheduled> ShardTicker<F> {
    async fn run(self, stop: CancellationToken) {
        // The first ticks of the shards are spread over one interval.
        let mut wait = self.schedule.every.mul_f64(rand::random_range(0.0..1.0));
        loop {
            let due = async {
                tokio::time::sleep(wait).await;
                (self.lock.lock().await, self.permits.acquire().await)
            };
            let (_lock, _permit) = tokio::select! {
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
        let (function, schedule, shard) = (F::name(&self.target), &self.schedule.name, self.shard);
        let trace = trace::new_id();
        let request = Request::Tick { schedule: schedule.clone(), shard };
        let invocation = Invocation { caller: Caller::Host, trace: trace.as_str().into(), request };
        let outcome = match self.functions.call(&self.target, invocation).await {
            Ok(_) => "ok",
            Err(error) => {
                tracing::warn!(function, schedule, shard, trace, %error, "a tick failed; the next tick tries again");
                "error"
            }
        };
        metrics::TICKS.of([function, schedule, outcome]).inc();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex as StdMutex;

    use tokio::sync::watch;

    use super::*;
    use crate::runtime::dispatcher::Callable;
    use crate::runtime::{CallError, Reply};

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
    }

    impl Scheduled for FakeFunctions {
        fn schedules(&self) -> Vec<(&'static str, Schedule)> {
            self.schedules.lock().unwrap().clone()
        }

        fn name<'a>(target: &'a &'static str) -> &'a str {
            target
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
            let of_shard = |running: &(&str, u32)| *running == (*target, shard);
            {
                let mut log = self.log.lock().unwrap();
                log.overlapped |= log.running.iter().any(of_shard);
                log.running.push((target, shard));
                log.most_at_once = log.most_at_once.max(log.running.len());
                log.ticks.push((target, shard));
            }
            tokio::time::sleep(self.tick_time).await;
            let mut log = self.log.lock().unwrap();
            let index = log.running.iter().position(of_shard).unwrap();
            log.running.swap_remove(index);
            if shard == 1 { Err(CallError::Trapped) } else { Ok(Reply { status: 204, body: String::new() }) }
        }
    }

    fn schedule(every_ms: u64, shards: u32) -> Schedule {
        Schedule { name: "sweep".to_owned(), every: Duration::from_millis(every_ms), shards }
    }

    async fn run_for(fake: &Arc<FakeFunctions>, span: Duration) -> CancellationToken {
        let stop = CancellationToken::new();
        tokio::spawn(run(fake.clone(), stop.clone()));
        tokio::time::sleep(span).await;
        stop
    }

    #[tokio::test(start_paused = true)]
    async fn every_shard_ticks_at_its_interval_even_after_failures() {
        let fake = FakeFunctions::new(vec![("presence", schedule(1_000, 4))], Duration::ZERO);
        run_for(&fake, Duration::from_secs(100)).await;
        let log = fake.log.lock().unwrap();
        for shard in 0..4 {
            let ticks = log.ticks.iter().filter(|(_, of)| *of == shard).count();
            assert!((90..=112).contains(&ticks), "shard {shard} ticked {ticks} times");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_shard_never_overlaps_itself_and_ticks_are_bounded() {
        let fake = FakeFunctions::new(vec![("presence", schedule(100, 64))], Duration::from_secs(5));
        run_for(&fake, Duration::from_secs(60)).await;
        let log = fake.log.lock().unwrap();
        assert!(!log.overlapped);
        assert_eq!(log.most_at_once, TICKS_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_of_the_functions_takes_effect_without_overlap() {
        let fake = FakeFunctions::new(vec![("old", schedule(1_000, 1))], Duration::from_millis(700));
        let stop = run_for(&fake, Duration::from_secs(10)).await;
        for _ in 0..20 {
            *fake.schedules.lock().unwrap() = vec![("old", schedule(200, 1)), ("new", schedule(1_000, 1))];
            fake.changed.send_modify(|version| *version += 1);
            tokio::time::sleep(Duration::from_millis(900)).await;
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
        let stop = CancellationToken::new();
        let running = tokio::spawn(run(fake.clone(), stop.clone()));
        tokio::time::sleep(Duration::from_secs(1)).await;
        stop.cancel();
        running.await.unwrap();
        let log = fake.log.lock().unwrap();
        assert!(log.running.is_empty() && log.ticks.len() == 8, "{:?}", log.ticks);
    }
}
