//! Heartbeats for every connection that gave a sign of life: one task for each host, up to 500 connections in one call.
//!
//! A heartbeat that fails is missed. As long as some are, the task tries a few of them again and again, and sends all
//! that were missed as soon as these succeed, spread over a short time: after an outage of the store no device expires
//! because the next round is far away. The tries also let the function note in the records that this host is cut off
//! from the store.
//!
//! A call that traps or is refused would fail again. Its connections are named again in halves within the same round,
//! until only the failing connections are left: one bad connection costs no other its heartbeat.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use roost_core::limits::LIST_MAX;
use roost_core::port::{Bus, Feeds};
use tokio::time::{Instant, sleep, sleep_until};

use crate::delivery::hub::Hub;
use crate::ops::{metrics, trace};
use crate::runtime::dispatcher::Dispatcher;
use crate::runtime::hooks;
use crate::runtime::{CallError, Connection};

/// How many missed heartbeats are tried as a probe, before all of them are sent.
const PROBE_MAX: usize = 20;
/// The pauses before a probe: each is twice the one before.
const PROBE_PAUSE_MIN: Duration = Duration::from_millis(250);
const PROBE_PAUSE_MAX: Duration = Duration::from_secs(1);
/// The time over which missed heartbeats are spread, so that all hosts together do not overload the store.
const CATCH_UP_SPREAD: Duration = Duration::from_millis(1_500);
/// How many calls of one round are made for halves. It takes 18 to find one connection among 500; a function that fails
/// for all connections does not cause more than this.
const HALF_CALLS_MAX: usize = 128;
/// How long the calls of one round for halves take together, because the next round must not begin late.
const HALVING_TIME_MAX: Duration = Duration::from_secs(5);

/// Sends heartbeats at every interval, until it is dropped.
pub(crate) async fn run<F: Dispatcher, S: Bus + Feeds + 'static>(
    functions: Arc<F>,
    hub: Arc<Hub<S>>,
    interval: Duration,
) {
    let heartbeats = Heartbeats { functions, hub };
    let mut next_round = Instant::now() + interval;
    loop {
        sleep_until(next_round).await;
        next_round = Instant::now() + interval;
        let mut budget = HalvingBudget { calls: HALF_CALLS_MAX, time: HALVING_TIME_MAX };
        let missed = heartbeats.send(heartbeats.hub.take_alive(), Duration::ZERO, &mut budget).await;
        heartbeats.catch_up(missed, next_round, &mut budget).await;
    }
}

struct Heartbeats<F, S> {
    functions: Arc<F>,
    hub: Arc<Hub<S>>,
}

/// What is left in a round for calls with halves.
struct HalvingBudget {
    calls: usize,
    time: Duration,
}

/// What has failed while connections were named.
#[derive(Default)]
struct HeartbeatFailures<'c> {
    /// The connections of calls that may succeed later.
    missed: Vec<Connection>,
    /// The connections of each call that would fail again.
    refused: VecDeque<&'c [Connection]>,
}

impl<F: Dispatcher, S: Bus + Feeds + 'static> Heartbeats<F, S> {
    /// Sends the heartbeats of these connections, spread over this time; returns those that were missed. The next round
    /// names them again.
    async fn send(
        &self,
        connections: Vec<Connection>,
        spread: Duration,
        budget: &mut HalvingBudget,
    ) -> Vec<Connection> {
        let chunks = connections.chunks(LIST_MAX);
        let pause = spread / u32::try_from(chunks.len().max(1)).unwrap_or(u32::MAX);
        let mut failures = HeartbeatFailures::default();
        for chunk in chunks {
            tokio::join!(self.call(chunk, &mut failures), sleep(pause));
        }
        self.send_halves(&mut failures, budget).await;
        failures.missed
    }

    /// Names these connections in one call of each function.
    async fn call<'c>(&self, connections: &'c [Connection], failures: &mut HeartbeatFailures<'c>) {
        let trace = trace::new_id();
        let gathered = hooks::heartbeat(self.functions.as_ref(), &trace, connections).await;
        if gathered.failures.iter().any(may_succeed_later) {
            self.hub.restore_alive(connections);
            failures.missed.extend_from_slice(connections);
        } else if !gathered.failures.is_empty() {
            failures.refused.push_back(connections);
        }
    }

    /// Names the connections of refused calls again in halves, and those of refused halves in halves of these. The
    /// largest come first, so that most connections have been named if the calls are used up. Functions that had
    /// succeeded are called again, which changes nothing.
    async fn send_halves(&self, failures: &mut HeartbeatFailures<'_>, budget: &mut HalvingBudget) {
        let until = Instant::now() + budget.time;
        let mut skipped = Vec::new();
        while let Some(connections) = failures.refused.pop_front() {
            if connections.len() < 2 || budget.calls == 0 || Instant::now() >= until {
                report_skipped(connections);
                skipped.extend_from_slice(connections);
                continue;
            }
            let (first, second) = connections.split_at(connections.len() / 2);
            self.call(first, failures).await;
            self.call(second, failures).await;
            budget.calls = budget.calls.saturating_sub(2);
        }
        budget.time = until.saturating_duration_since(Instant::now());
        if !skipped.is_empty() {
            // The next round names them again, also if they give no further sign of life.
            self.hub.restore_alive(&skipped);
        }
    }

    /// Tries missed heartbeats again until none is left, or the next round is due.
    async fn catch_up(&self, mut missed: Vec<Connection>, until: Instant, budget: &mut HalvingBudget) {
        let mut pause = PROBE_PAUSE_MIN;
        while !missed.is_empty() {
            // Two hosts do not try at the same time.
            let next = Instant::now() + pause.mul_f64(rand::random_range(0.5..=1.0));
            if next >= until {
                return;
            }
            sleep_until(next).await;
            self.hub.retain_open(&mut missed);
            let probe = missed.split_off(missed.len().saturating_sub(PROBE_MAX));
            let failed = self.send(probe, Duration::ZERO, budget).await;
            if failed.is_empty() {
                tracing::info!(connections = missed.len(), "heartbeats succeed again; those that were missed are sent");
                missed = self.send(missed, CATCH_UP_SPREAD, budget).await;
                pause = PROBE_PAUSE_MIN;
            } else {
                // Others are tried next, in case only these fail.
                missed.splice(0..0, failed);
                pause = (pause * 2).min(PROBE_PAUSE_MAX);
            }
        }
    }
}

/// Logs and counts connections that are left until the next round.
fn report_skipped(connections: &[Connection]) {
    let first = connections.first();
    tracing::warn!(
        connections = connections.len(),
        user = first.map(|connection| tracing::field::display(connection.user)),
        connection = first.map(|connection| connection.id.as_str()),
        "the heartbeat of these connections was not accepted (the first is named); the next round tries again"
    );
    metrics::HEARTBEATS_SKIPPED.inc_by(connections.len() as u64);
}

fn may_succeed_later(error: &CallError) -> bool {
    match error {
        CallError::Failed(failure) => failure.retry,
        CallError::Busy { .. } | CallError::DeadlineExceeded => true,
        CallError::Trapped | CallError::ReplyTooLarge => false,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use roost_core::ids::ConnectionId;

    use super::*;
    use crate::delivery::hub::Registration;
    use crate::ops::supervisor::TaskHealth;
    use crate::runtime::{Failure, FailureKind, Request};
    use crate::server::fake::{FakeAnswer, FakeFunctions, LossyStore, failure, reply, socket_config, user};

    const INTERVAL: Duration = Duration::from_secs(25);

    struct Fixture {
        functions: Arc<FakeFunctions>,
        hub: Arc<Hub<LossyStore>>,
        registrations: Vec<Registration<LossyStore>>,
        start: Instant,
        task: tokio::task::JoinHandle<()>,
    }

    impl Drop for Fixture {
        fn drop(&mut self) {
            self.task.abort();
        }
    }

    impl Fixture {
        /// A host with this many connections, all of which give signs of life.
        async fn new(connections: u128) -> Self {
            let mut config = socket_config();
            config.connections_max = 10_000;
            let functions = FakeFunctions::new();
            let hub = Hub::start(LossyStore::new(), &config, TaskHealth::default());
            let mut registrations = Vec::new();
            for number in 0..connections {
                let mut registration = hub.register(user(number)).unwrap();
                let id = format!("c{number}").parse::<ConnectionId>().unwrap();
                registration.join(id).await.unwrap().0.mark_alive();
                registrations.push(registration);
            }
            let start = Instant::now();
            let task = tokio::spawn(run(functions.clone(), hub.clone(), INTERVAL));
            Self { functions, hub, registrations, start, task }
        }

        fn set_store_away(&self, away: bool) {
            let failure = Failure {
                kind: FailureKind::Unavailable,
                code: "store_unavailable".to_owned(),
                message: String::new(),
                retry: true,
                retry_after: None,
            };
            self.answer_heartbeats(if away { Err(CallError::Failed(failure)) } else { reply(200, "{}") });
        }

        fn answer_heartbeats(&self, answer: FakeAnswer) {
            for name in 1..=LIST_MAX {
                self.functions.answer(&format!("beat {name}"), answer.clone());
            }
        }

        /// The connections that heartbeats named since the last call, with the calls.
        fn named(&self, since: usize) -> (usize, usize) {
            let invocations = self.functions.invocations();
            let heartbeats = invocations[since..].iter().filter_map(|invocation| match &invocation.request {
                Request::Heartbeat(connections) => Some(connections.len()),
                _ => None,
            });
            heartbeats.fold((0, 0), |(calls, connections), more| (calls + 1, connections + more))
        }

        /// The connections that heartbeats without this one named.
        fn named_without(&self, bad: &ConnectionId) -> BTreeSet<ConnectionId> {
            let invocations = self.functions.invocations();
            let heartbeats = invocations.into_iter().filter_map(|invocation| match invocation.request {
                Request::Heartbeat(connections) => Some(connections),
                _ => None,
            });
            let without = heartbeats.filter(|connections| connections.iter().all(|connection| connection.id != *bad));
            without.flatten().map(|connection| connection.id).collect()
        }

        fn calls(&self) -> usize {
            self.functions.invocations().len()
        }

        async fn sleep_until(&self, second: f64) {
            sleep_until(self.start + Duration::from_secs_f64(second)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn every_connection_is_named_at_every_interval() {
        let fixture = Fixture::new(1_200).await;
        fixture.sleep_until(24.9).await;
        assert_eq!(fixture.named(0), (0, 0));
        fixture.sleep_until(25.1).await;
        assert_eq!(fixture.named(0), (3, 1_200));
        fixture.sleep_until(49.9).await;
        assert_eq!(fixture.named(0), (3, 1_200), "nothing was missed");
    }

    #[tokio::test(start_paused = true)]
    async fn missed_heartbeats_are_sent_as_soon_as_the_store_is_back_and_spread() {
        let fixture = Fixture::new(3_000).await;
        fixture.set_store_away(true);
        fixture.sleep_until(35.0).await;
        let (calls, connections) = fixture.named(0);
        assert!(calls < 6 + 25, "a probe every second at most: {calls}");
        assert_eq!(connections, 3_000 + (calls - 6) * PROBE_MAX, "only a few connections are tried");
        fixture.set_store_away(false);
        let before = fixture.calls();
        fixture.sleep_until(36.1).await;
        let (_, early) = fixture.named(before);
        assert!(early > PROBE_MAX && early < 3_000, "spread over time: {early}");
        fixture.sleep_until(38.0).await;
        assert_eq!(fixture.named(before).1, 3_000, "each connection once, long before the next round");
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_of_several_rounds_ends_with_a_heartbeat_at_once() {
        let fixture = Fixture::new(10).await;
        fixture.set_store_away(true);
        fixture.sleep_until(120.0).await;
        fixture.set_store_away(false);
        let before = fixture.calls();
        fixture.sleep_until(121.1).await;
        assert_eq!(fixture.named(before), (1, 10));
    }

    /// What the function notes in the records holds for half a minute at least.
    #[tokio::test(start_paused = true)]
    async fn heartbeats_are_tried_every_few_seconds_while_the_store_is_away() {
        let fixture = Fixture::new(10).await;
        fixture.set_store_away(true);
        fixture.sleep_until(27.0).await;
        for second in (30_u32..700).step_by(3) {
            let before = fixture.calls();
            fixture.sleep_until(f64::from(second)).await;
            assert!((1..=10).contains(&(fixture.calls() - before)), "at {second} s");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_closed_meanwhile_gets_no_heartbeat() {
        let mut fixture = Fixture::new(10).await;
        fixture.set_store_away(true);
        fixture.sleep_until(30.0).await;
        fixture.registrations.truncate(4);
        fixture.set_store_away(false);
        let before = fixture.calls();
        fixture.sleep_until(32.0).await;
        assert_eq!(fixture.named(before), (1, 4));
        assert_eq!(fixture.hub.connections(), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn one_connection_for_which_a_function_fails_costs_no_other_its_heartbeat() {
        let refused = failure(FailureKind::Internal, "internal").unwrap_err();
        for error in [CallError::Trapped, CallError::ReplyTooLarge, refused] {
            let fixture = Fixture::new(500).await;
            let bad = "c77".parse::<ConnectionId>().unwrap();
            fixture.functions.fail_heartbeats_of(bad.clone(), error);
            fixture.sleep_until(25.1).await;
            let named = fixture.named_without(&bad);
            assert_eq!(named.len(), 499, "within the round");
            let calls = fixture.calls();
            assert!(calls <= 1 + 2 * 9, "{calls} calls to halve 500 connections down to one");
            fixture.sleep_until(49.9).await;
            assert_eq!(fixture.calls(), calls, "the bad one is left until the next round");
            fixture.sleep_until(50.1).await;
            assert_eq!(fixture.named(calls), (1, 1), "the next round names the bad one, and no other was missed");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_function_that_fails_for_every_connection_is_called_a_bounded_number_of_times() {
        let fixture = Fixture::new(1_200).await;
        fixture.answer_heartbeats(Err(CallError::Trapped));
        fixture.sleep_until(49.9).await;
        assert_eq!(fixture.calls(), 3 + HALF_CALLS_MAX);
        fixture.answer_heartbeats(reply(200, "{}"));
        let before = fixture.calls();
        fixture.sleep_until(50.1).await;
        assert_eq!(fixture.named(before), (3, 1_200), "the next round names all of them");
    }

    #[tokio::test(start_paused = true)]
    async fn halves_that_find_the_store_away_are_sent_when_it_is_back() {
        let fixture = Fixture::new(500).await;
        fixture.set_store_away(true);
        fixture.functions.answer("beat 500", Err(CallError::Trapped));
        fixture.sleep_until(30.0).await;
        fixture.set_store_away(false);
        let before = fixture.calls();
        fixture.sleep_until(33.0).await;
        assert_eq!(fixture.named(before).1, 500, "each connection once, long before the next round");
    }
}
