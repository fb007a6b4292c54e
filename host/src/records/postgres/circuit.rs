//! The circuit to a PostgreSQL server: while it is open, calls are refused at once, and one probe at a time tries to
//! connect.
//!
//! A call that could not connect, or that got no answer in time, asks for a probe. The circuit opens when the probe is
//! refused, or when several in a row get no answer, and no other call is answered meanwhile. So a call that was only
//! unlucky, a pool that is only busy, or a server that is slow to accept connections opens nothing. The circuit closes
//! when a probe succeeds.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep};

use crate::ops::metrics;
use crate::ops::supervisor::{Supervisor, TaskHealth};

/// The pause after the first failed probe. Each further one doubles it.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// The longest pause between two probes.
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// The number of probes in a row without an answer after which the circuit opens.
const UNANSWERED_MAX: u32 = 2;
/// After this time without a server, the connections from before are not used any more: nobody may be at their other
/// end.
const LONG: Duration = Duration::from_secs(10);

/// Why calls are refused, and when the next probe is made.
#[derive(Clone, Debug)]
pub(super) struct OpenCircuit {
    pub(super) reason: String,
    retry_at: Instant,
}

impl OpenCircuit {
    /// The time until the next probe.
    pub(super) fn retry_after(&self) -> Duration {
        self.retry_at.saturating_duration_since(Instant::now())
    }
}

/// Why a probe failed.
#[derive(Clone, Debug)]
pub(super) enum ProbeFailure {
    /// The server, or the network, has refused the connection.
    Refused(String),
    /// Nobody has answered in time. The server may be busy.
    Unanswered(String),
}

/// Whether calls can be made. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Circuit {
    state: watch::Receiver<Option<OpenCircuit>>,
    signals: Arc<CircuitSignals>,
    _keeper: Arc<Supervisor>,
}

/// What calls tell the keeper of the circuit.
#[derive(Debug, Default)]
struct CircuitSignals {
    probe_requested: Notify,
    /// The number of calls that the server has answered.
    answers: AtomicU64,
}

impl Circuit {
    /// A closed circuit. `probe` connects to the server and answers why that fails; `replace` is called when the
    /// circuit closes after a long time. Needs a tokio runtime.
    pub(super) fn new<P, F>(probe: P, replace: impl Fn() + Clone + Send + Sync + 'static) -> Self
    where
        P: Fn() -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Result<(), ProbeFailure>> + Send + 'static,
    {
        let (sender, state) = watch::channel(None);
        let (sender, signals) = (Arc::new(sender), Arc::<CircuitSignals>::default());
        let received = signals.clone();
        let mut keeper = Supervisor::new(TaskHealth::of_process());
        keeper
            .spawn("postgres_circuit", move || keep(sender.clone(), received.clone(), probe.clone(), replace.clone()));
        Self { state, signals, _keeper: Arc::new(keeper) }
    }

    /// Whether calls are refused at the moment.
    pub(super) fn refusal(&self) -> Option<OpenCircuit> {
        self.state.borrow().clone()
    }

    /// Says that a call could not reach the server.
    pub(super) fn request_probe(&self) {
        self.signals.probe_requested.notify_one();
    }

    /// Says that the server has answered a call.
    pub(super) fn note_answer(&self) {
        self.signals.answers.fetch_add(1, Ordering::Relaxed);
    }
}

/// Probes when it is asked to, and again and again while the probe fails.
async fn keep<P, F>(
    state: Arc<watch::Sender<Option<OpenCircuit>>>,
    signals: Arc<CircuitSignals>,
    probe: P,
    replace: impl Fn() + Send,
) where
    P: Fn() -> F + Send,
    F: Future<Output = Result<(), ProbeFailure>> + Send,
{
    loop {
        let is_open = state.borrow().is_some();
        if !is_open {
            signals.probe_requested.notified().await;
        }
        let began = Instant::now();
        let mut pause = PAUSE_MIN;
        let mut unanswered = 0;
        loop {
            let answers = signals.answers.load(Ordering::Relaxed);
            let Err(failure) = probe().await else { break };
            if signals.answers.load(Ordering::Relaxed) != answers {
                break;
            }
            let reason = match failure {
                ProbeFailure::Refused(reason) => reason,
                ProbeFailure::Unanswered(reason) => {
                    unanswered += 1;
                    if unanswered < UNANSWERED_MAX && state.borrow().is_none() {
                        continue;
                    }
                    reason
                }
            };
            let wait = pause.mul_f64(rand::random_range(0.5..=1.0));
            open(&state, OpenCircuit { reason, retry_at: Instant::now() + wait });
            sleep(wait).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
        if state.borrow().is_some() {
            if began.elapsed() >= LONG {
                replace();
            }
            state.send_replace(None);
            metrics::RECORDS_CIRCUIT_OPEN.set(0);
            tracing::info!("connected to PostgreSQL again");
        }
        // Calls that fail all the time, as those of an overloaded pool do, do not make the host connect all the time.
        sleep(PAUSE_MIN).await;
    }
}

fn open(state: &watch::Sender<Option<OpenCircuit>>, open: OpenCircuit) {
    let reason = open.reason.clone();
    if state.send_replace(Some(open)).is_none() {
        metrics::RECORDS_CIRCUIT_OPEN.set(1);
        tracing::warn!(problem = reason, "PostgreSQL cannot be reached; calls are refused until it can");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize};

    use tokio::time::timeout;

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(30);

    /// A server that is reachable or not, and what was done with it.
    #[derive(Clone, Default)]
    struct Server {
        away: Arc<AtomicBool>,
        /// Whether it does not answer while it is away.
        hangs: Arc<AtomicBool>,
        probes: Arc<AtomicUsize>,
        running: Arc<AtomicUsize>,
        most: Arc<AtomicUsize>,
        replacements: Arc<AtomicUsize>,
    }

    impl Server {
        fn circuit(&self) -> Circuit {
            let (server, replacements) = (self.clone(), self.replacements.clone());
            let count = move || {
                replacements.fetch_add(1, Ordering::SeqCst);
            };
            Circuit::new(move || server.clone().probe(), count)
        }

        async fn probe(self) -> Result<(), ProbeFailure> {
            self.probes.fetch_add(1, Ordering::SeqCst);
            let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
            self.most.fetch_max(running, Ordering::SeqCst);
            tokio::task::yield_now().await;
            self.running.fetch_sub(1, Ordering::SeqCst);
            match (self.away.load(Ordering::SeqCst), self.hangs.load(Ordering::SeqCst)) {
                (false, _) => Ok(()),
                (true, false) => Err(ProbeFailure::Refused("it is away".to_owned())),
                (true, true) => Err(ProbeFailure::Unanswered("it hangs".to_owned())),
            }
        }
    }

    async fn opened(circuit: &Circuit) -> OpenCircuit {
        let mut state = circuit.state.clone();
        let open = timeout(DEADLINE, state.wait_for(Option::is_some)).await.expect("in time").unwrap();
        open.clone().unwrap()
    }

    async fn closed(circuit: &Circuit) {
        let mut state = circuit.state.clone();
        timeout(DEADLINE, state.wait_for(Option::is_none)).await.expect("in time").unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn it_opens_when_a_call_and_a_probe_have_failed_and_closes_by_itself() {
        let server = Server::default();
        let circuit = server.circuit();
        server.away.store(true, Ordering::SeqCst);
        assert!(circuit.refusal().is_none(), "nobody has noticed yet");
        for _ in 0..100 {
            circuit.request_probe();
        }
        let open = opened(&circuit).await;
        assert!(open.reason == "it is away" && open.retry_after() <= PAUSE_MAX, "{open:?}");
        let seen = server.probes.load(Ordering::SeqCst);
        for _ in 0..100 {
            assert!(circuit.refusal().is_some());
            circuit.request_probe();
            tokio::task::yield_now().await;
        }
        assert!(server.probes.load(Ordering::SeqCst) <= seen + 2, "requests do not add probes while it is open");
        server.away.store(false, Ordering::SeqCst);
        closed(&circuit).await;
        assert_eq!((server.most.load(Ordering::SeqCst), server.replacements.load(Ordering::SeqCst)), (1, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn connections_are_replaced_after_a_long_time_without_a_server() {
        let server = Server::default();
        let circuit = server.circuit();
        server.away.store(true, Ordering::SeqCst);
        circuit.request_probe();
        opened(&circuit).await;
        sleep(LONG).await;
        server.away.store(false, Ordering::SeqCst);
        closed(&circuit).await;
        assert_eq!(server.replacements.load(Ordering::SeqCst), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn one_probe_without_an_answer_opens_nothing() {
        let server = Server::default();
        let circuit = server.circuit();
        server.hangs.store(true, Ordering::SeqCst);
        server.away.store(true, Ordering::SeqCst);
        circuit.request_probe();
        let open = opened(&circuit).await;
        assert_eq!((open.reason.as_str(), server.probes.load(Ordering::SeqCst)), ("it hangs", 2));
        server.away.store(false, Ordering::SeqCst);
        closed(&circuit).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_fails_while_calls_are_answered_opens_nothing() {
        let server = Server::default();
        let circuit = server.circuit();
        server.away.store(true, Ordering::SeqCst);
        for _ in 0..10 {
            let before = server.probes.load(Ordering::SeqCst);
            circuit.request_probe();
            while server.probes.load(Ordering::SeqCst) == before || server.running.load(Ordering::SeqCst) > 0 {
                circuit.note_answer();
                tokio::task::yield_now().await;
            }
            sleep(2 * PAUSE_MIN).await;
            assert!(circuit.refusal().is_none());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_fails_while_the_server_can_be_reached_opens_nothing() {
        let server = Server::default();
        let circuit = server.circuit();
        circuit.request_probe();
        let probed = async {
            while server.probes.load(Ordering::SeqCst) == 0 {
                tokio::task::yield_now().await;
            }
        };
        timeout(DEADLINE, probed).await.expect("in time");
        tokio::task::yield_now().await;
        assert!(circuit.refusal().is_none());
    }
}
