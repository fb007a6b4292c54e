//! One run from its seed to its result: the world is set up, faults are injected, then everything becomes idle and the
//! final state is checked.

use std::fmt;
use std::sync::Arc;

use roost_core::limits::PRESENCE_TTL_MS;
use roost_core::port::{Draft, NewConversation, Records};
use roost_core::testing::ManualClock;

use super::actions;
use super::client::Client;
use super::deletions::DeletionOutcomes;
use super::executor::{Executor, Group, Kernel, complete_now};
use super::ground_truth::Violation;
use super::oracle::{final_state, membership};
use super::plan::{Plan, SKEW_MS_MAX};
use super::planted_bug::PlantedBug;
use super::port::Port;
use super::rng::Rng;
use super::trace::Trace;
use super::world::{Degraded, World};
use super::{bus, host};

/// Faults end after this many steps at the latest, so that a run stays short.
const STEPS_MAX: u64 = 8_000;
/// The longest outage.
const OUTAGE_MS_MAX: u64 = 600_000;
/// Then this much time passes until everything must be in order: the lifetime of a device, a sweep, a heartbeat, a
/// recovery, and some reserve.
const REST_MS: u64 = 150_000;

/// A run without a violation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passed {
    /// Steps of the scheduler.
    pub steps: u64,
    /// The hash of the trace.
    pub hash: u64,
    /// Work that was done while the store was unavailable.
    pub degraded: Degraded,
    /// Commits of the next version of the functions while another host ran the present one.
    pub mixed: u64,
    /// How deletions reached the counters.
    pub deletions: DeletionOutcomes,
}

/// A run with a violation.
#[derive(Clone, Debug)]
pub struct SimulationFailure {
    /// The seed, which replays the run.
    pub seed: u64,
    /// The plan of the run.
    pub plan: String,
    /// The first violation.
    pub violation: Violation,
    /// Steps of the scheduler up to the violation.
    pub steps: u64,
    /// The last lines of the trace.
    pub trace: Vec<String>,
}

impl fmt::Display for SimulationFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.trace {
            writeln!(f, "{line}")?;
        }
        writeln!(f, "{}", self.plan)?;
        writeln!(f, "seed {} after {} steps: {}", self.seed, self.steps, self.violation)?;
        let command = "tests/run --test simulation";
        writeln!(f, "to replay it: ROOST_SIMULATION_SEED={} {command}", self.seed)
    }
}

/// Runs a seed without a text trace. After a failure, [`replay`] gives the trace.
pub fn simulate(seed: u64, planted_bug: Option<PlantedBug>) -> Result<Passed, Box<SimulationFailure>> {
    Run::new(seed, planted_bug, false).run_out()
}

/// Runs a seed with a text trace of the last steps.
pub fn replay(seed: u64, planted_bug: Option<PlantedBug>) -> Result<Passed, Box<SimulationFailure>> {
    Run::new(seed, planted_bug, true).run_out()
}

struct Run {
    seed: u64,
    world: Arc<World>,
    executor: Executor,
    clients: Vec<Client>,
    clock: ManualClock,
    steps: u64,
    second: u64,
    /// Hosts that are down, with the second in which each restarts.
    down: Vec<(u64, usize)>,
}

impl Run {
    fn new(seed: u64, planted_bug: Option<PlantedBug>, text: bool) -> Self {
        let mut rng = Rng::new(seed);
        let plan = Plan::draw(&mut rng);
        let clock = ManualClock::new();
        let kernel = Kernel::new(rng, Trace::new(text));
        let executor = Executor::new(kernel.clone());
        let world = Arc::new(World::new(kernel, clock.clone(), plan, planted_bug));
        let mut run = Self { seed, world, executor, clients: Vec::new(), clock, steps: 0, second: 0, down: Vec::new() };
        run.set_up();
        run
    }

    fn set_up(&mut self) {
        let world = &self.world;
        for (index, one) in world.users.iter().enumerate() {
            for other in &world.users[..index] {
                let strangers = world.kernel.draw(|rng| rng.chance(100));
                if !strangers {
                    complete_now(world.records.add_contact(*one, *other)).ok();
                    complete_now(world.records.add_contact(*other, *one)).ok();
                    membership::contacts_changed(world, *one, *other);
                }
            }
        }
        conversations(world);
        for index in 0..world.hosts_count() {
            host::boot(world, index);
        }
        for user in &world.users {
            let devices = world.kernel.draw(|rng| rng.between(1, world.plan.devices_max as u64));
            for number in 1..=devices {
                let client = Client::new(world.clone(), *user, number as usize);
                world.kernel.spawn(Group::Outside, actions::live(client.clone()));
                self.clients.push(client);
            }
        }
    }

    fn run_out(mut self) -> Result<Passed, Box<SimulationFailure>> {
        while self.world.devices_finished() < self.clients.len() && self.steps < STEPS_MAX && self.holds() {
            self.step();
            self.inject_faults();
        }
        self.stop_injecting();
        let end_ms = self.world.kernel.now_ms() + REST_MS;
        while self.world.kernel.now_ms() < end_ms && self.holds() {
            self.step();
        }
        if self.holds() {
            final_state::check(&Port { world: self.world.clone(), host: 0 }, &self.clients);
        }
        self.outcome()
    }

    fn holds(&self) -> bool {
        self.world.ground_truth().violation.is_none()
    }

    fn step(&mut self) {
        self.steps += 1;
        self.executor.advance(&self.clock);
        self.executor.step();
    }

    /// Injects the faults of hosts, store, records and clocks, once in every second of virtual time.
    fn inject_faults(&mut self) {
        let second = self.world.kernel.now_ms() / 1_000;
        if second == self.second {
            return;
        }
        self.second = second;
        self.start_again(second);
        let plan = self.world.plan.clone();
        let happens = |rate| self.world.kernel.draw(|rng| rng.chance(rate));
        let (crash, wipe, outage, skew, deploy) =
            (happens(plan.crash), happens(plan.wipe), happens(plan.outage), happens(plan.skew), happens(plan.deploy));
        if crash {
            self.crash(second);
        }
        if wipe {
            bus::wipe(&self.world);
        }
        if outage {
            self.begin_outage();
        }
        if skew {
            self.skew();
        }
        if deploy {
            self.deploy();
        }
    }

    /// Takes the store away, or the records, or the store from one host alone; usually for seconds, sometimes for
    /// minutes.
    fn begin_outage(&self) {
        if self.world.plan.long_outages {
            return self.begin_long_outage();
        }
        if self.world.plan.cuts_one_host {
            return self.begin_long_cut();
        }
        let hosts = self.world.hosts_count() as u64;
        let (part, index, span_ms) = self.world.kernel.draw(|rng| {
            let longest_ms = if rng.chance(200) { OUTAGE_MS_MAX } else { 40_000 };
            (rng.below(10), rng.below(hosts), rng.between(500, longest_ms))
        });
        self.world.kernel.note("outage", [part, span_ms], || {
            let of = ["store", "records", "store of one host"][usize::from(part >= 5) + usize::from(part >= 8)];
            format!("{of} (h{index}), {span_ms} ms")
        });
        match part {
            0..5 => self.world.take_store_away(span_ms),
            5..8 => self.world.take_records_away(span_ms),
            _ => self.world.cut_off(index as usize, span_ms),
        }
    }

    fn begin_long_outage(&self) {
        if self.world.store_is_away() {
            return;
        }
        let span_ms = self.world.kernel.draw(|rng| rng.between(PRESENCE_TTL_MS, 2 * PRESENCE_TTL_MS));
        self.world.kernel.note("outage", [0, span_ms], || format!("store, {span_ms} ms"));
        self.world.take_store_away(span_ms);
    }

    fn begin_long_cut(&self) {
        let hosts = self.world.hosts_count();
        if (0..hosts).any(|index| self.world.is_cut_off(index)) {
            return;
        }
        let (index, span_ms) =
            self.world.kernel.draw(|rng| (rng.below(hosts as u64), rng.between(PRESENCE_TTL_MS, 5 * PRESENCE_TTL_MS)));
        self.world.kernel.note("cut", [index, span_ms], || format!("store of one host (h{index}), {span_ms} ms"));
        self.world.cut_off(index as usize, span_ms);
    }

    fn crash(&mut self, second: u64) {
        let up = self.world.hosts_up();
        let (victim, away) = self.world.kernel.draw(|rng| (rng.pick(&up), rng.between(1, 40)));
        let Some(index) = victim else { return };
        self.world.kernel.note("crash", [index as u64, away], || format!("h{index} dies for {away} s"));
        self.executor.kill(Group::Host(index));
        self.world.host_died(index);
        self.down.push((second + away, index));
    }

    fn start_again(&mut self, second: u64) {
        let (back, down) = self.down.drain(..).partition(|(restart_second, _)| *restart_second <= second);
        self.down = down;
        let back: Vec<(u64, usize)> = back;
        for (_, index) in back {
            host::boot(&self.world, index);
        }
    }

    fn skew(&self) {
        let hosts = self.world.hosts_count() as u64;
        let (index, skew_ms) = self.world.kernel.draw(|rng| (rng.below(hosts), rng.below(2 * SKEW_MS_MAX + 1)));
        let skew_ms = skew_ms as i64 - SKEW_MS_MAX as i64;
        self.world.kernel.note("skew", [index, skew_ms.unsigned_abs()], || format!("h{index} is off by {skew_ms} ms"));
        self.world.host(index as usize).skew_ms = skew_ms;
    }

    /// Replaces the version of the functions on one host. Calls in flight there finish with either version.
    fn deploy(&self) {
        let hosts = self.world.hosts_count() as u64;
        let index = self.world.kernel.draw(|rng| rng.below(hosts));
        let next = {
            let mut host = self.world.host(index as usize);
            host.runs_next_version ^= true;
            host.runs_next_version
        };
        self.world.kernel.note("deploy", [index, u64::from(next)], || format!("h{index}: next version: {next}"));
    }

    fn stop_injecting(&mut self) {
        self.world.kernel.note("calm", [0; 2], || "no further faults".to_owned());
        self.world.stop_faults();
        self.start_again(u64::MAX);
    }

    fn passed(&self, hash: u64) -> Passed {
        Passed {
            steps: self.steps,
            hash,
            degraded: *self.world.degraded(),
            mixed: self.world.mixed_commits(),
            deletions: *self.world.deletions(),
        }
    }

    fn outcome(self) -> Result<Passed, Box<SimulationFailure>> {
        let (hash, trace) = self.world.kernel.trace_summary();
        let violation = self.world.ground_truth().violation.clone();
        let Some(violation) = violation else { return Ok(self.passed(hash)) };
        let plan = format!("{:?}", self.world.plan);
        Err(Box::new(SimulationFailure { seed: self.seed, plan, violation, steps: self.steps, trace }))
    }
}

/// Creates one conversation for every two users, and some groups.
fn conversations(world: &World) {
    let mut members = Vec::new();
    for (index, one) in world.users.iter().enumerate() {
        members.extend(world.users[..index].iter().map(|other| vec![*one, *other]));
    }
    members.truncate(4);
    for _ in 0..world.plan.groups {
        let outside = world.kernel.draw(|rng| rng.below(world.users.len() as u64)) as usize;
        let inside = world.users.iter().enumerate().filter(|(index, _)| *index != outside || world.users.len() < 4);
        members.push(inside.map(|(_, user)| *user).chain([world.passive]).collect());
    }
    for members in members {
        let id = Some(world.conversation_id());
        let new = NewConversation { id, creator: members[0], members, at: ManualClock::START };
        complete_now(world.records.create_conversation(new)).ok();
    }
    write_as_passive(world);
}

/// The user without devices writes into every group, and is the contact of everybody.
fn write_as_passive(world: &World) {
    let sender = world.passive;
    for user in &world.users {
        complete_now(world.records.add_contact(*user, sender)).ok();
    }
    for conversation in world.records.conversations_of(sender) {
        let content = format!("message {}", world.name());
        world.ground_truth().contents.insert(content.clone(), conversation);
        let id = Some(world.message_id());
        let draft = Draft { conversation, sender, id, kind: "text".into(), content, at: ManualClock::START };
        if let Ok(changed) = complete_now(world.records.append_message(draft)) {
            world.ground_truth().changed(&changed, 0);
        }
    }
}
