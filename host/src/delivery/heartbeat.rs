//! Heartbeats for every connection that gave a sign of life: one task for each host, up to 500 connections in one call.
//!
//! A heartbeat that fails is missed. As long as some are, the task tries a few of them again and again, and sends all that
//! were missed as soon as these succeed, spread over a short time: after an outage of the store no device expires because
//! the next round is far away.

use std::sync::Arc;
use std::time::Duration;

use roost_core::limits::LIST_MAX;
use roost_core::port::{Bus, Feeds};
use tokio::time::{Instant, sleep, sleep_until};

use crate::delivery::hub::Hub;
use crate::ops::trace;
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
        let missed = heartbeats.send(heartbeats.hub.take_alive(), Duration::ZERO).await;
        heartbeats.catch_up(missed, next_round).await;
    }
}

struct Heartbeats<F, S> {
    functions: Arc<F>,
    hub: Arc<Hub<S>>,
}

impl<F: Dispatcher, S: Bus + Feeds + 'static> Heartbeats<F, S> {
    /// Sends the heartbeats of these connections, spread over this time; returns those that were missed. The next round names
    /// them again.
    async fn send(&self, connections: Vec<Connection>, spread: Duration) -> Vec<Connection> {
        let chunks = connections.chunks(LIST_MAX);
        let (mut missed, pause) = (Vec::new(), spread / u32::try_from(chunks.len().max(1)).unwrap_or(u32::MAX));
        for chunk in chunks {
            let trace = trace::new_id();
            let (gathered, ()) = tokio::join!(hooks::heartbeat(self.functions.as_ref(), &trace, chunk), sleep(pause));
            if gathered.failures.iter().any(may_succeed_later) {
                self.hub.restore_alive(chunk);
                missed.extend_from_slice(chunk);
            }
        }
        missed
    }

    /// Tries missed heartbeats again until none is left, or the next round is due.
    async fn catch_up(&self, mut missed: Vec<Connection>, until: Instant) {
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
            let failed = self.send(probe, Duration::ZERO).await;
            if failed.is_empty() {
                tracing::info!(connections = missed.len(), "heartbeats succeed again; those that were missed are sent");
                missed = self.send(missed, CATCH_UP_SPREAD).await;
                pause = PROBE_PAUSE_MIN;
            } else {
                // Others are tried next, in case only these fail.
                missed.splice(0..0, failed);
                pause = (pause * 2).min(PROBE_PAUSE_MAX);
            }
        }
    }
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
    use roost_core::ids::ConnectionId;

    use super::*;
    use crate::delivery::hub::Registration;
    use crate::ops::supervisor::TaskHealth;
    use crate::runtime::{Failure, FailureKind, Request};
    use crate::server::fake::{FakeFunctions, LossyStore, reply, socket_config, user};

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
            let answer = if away { Err(CallError::Failed(failure)) } else { reply(200, "{}") };
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
}
