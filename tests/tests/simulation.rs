//! Thousands of fixed seeds and some fresh ones keep every invariant, every planted bug is caught, and a seed replays
//! exactly.
//!
//! A failing seed is printed with its plan, its last steps and the command that replays it:
//! `ROOST_SIMULATION_SEED=<n> tests/run --test simulation`. `tests/soak` runs fresh seeds for as long as one likes.

use std::collections::BTreeMap;
use std::io::Write;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use roost_tests::simulation::{DeletionOutcomes, Passed, PlantedBug, replay, simulate};

/// The number of fixed seeds, run on two threads.
const SEEDS: u64 = 3_000;
/// The number of fresh seeds in every run of the tests.
const FRESH_SEEDS: u64 = 300;
/// The number of seeds within which every planted bug must be caught.
const SEEDS_UNTIL_CAUGHT: u64 = 300;

/// The number in an environment variable, if it is set.
fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} must be a number, not `{text}`")))
}

/// The seed to replay, if the environment names one.
fn requested_seed() -> Option<u64> {
    variable("ROOST_SIMULATION_SEED")
}

/// Prints to stderr directly, because the test harness hides the output of passing tests.
fn print(line: &str) {
    writeln!(std::io::stderr(), "{line}").expect("stderr is open");
}

fn simulate_or_panic(seed: u64) -> Passed {
    simulate(seed, None).unwrap_or_else(|_| match replay(seed, None) {
        Err(failure) => panic!("{failure}"),
        Ok(_) => panic!("seed {seed} failed once and then passed: the simulation is not deterministic"),
    })
}

/// The results of all threads.
fn join<T>(threads: impl IntoIterator<Item = JoinHandle<T>>) -> Vec<T> {
    threads.into_iter().map(|thread| thread.join().expect("a seed failed: see above")).collect()
}

#[test]
fn every_seed_keeps_every_invariant() {
    if let Some(seed) = requested_seed() {
        print(&format!("seed {seed}: {:?}", replay(seed, None).unwrap_or_else(|failure| panic!("{failure}"))));
        return;
    }
    let halves = [0, 1].map(|half| {
        let seeds = (0..SEEDS).filter(move |seed| seed % 2 == half);
        std::thread::spawn(|| seeds.map(simulate_or_panic).collect::<Vec<Passed>>())
    });
    let runs: Vec<Passed> = join(halves).concat();
    let sum = |of: fn(&Passed) -> u64| runs.iter().map(of).sum::<u64>();
    let steps = sum(|run| run.steps);
    let (sends, reads, marks) =
        (sum(|run| run.degraded.sends), sum(|run| run.degraded.reads), sum(|run| run.degraded.marks));
    let mixed = sum(|run| run.mixed);
    let deletions = runs.iter().fold(DeletionOutcomes::default(), |sum, run| sum.plus(run.deletions));
    print(&format!(
        "simulation: {SEEDS} seeds, {steps} steps, every invariant held; without the store {sends} sends, {reads} \
         reads, {marks} mark-reads; {mixed} commits of two versions of the functions side by side; {deletions:?}"
    ));
    assert!(steps > SEEDS * 300, "a run of {steps} steps is too short to find anything");
    assert!(sends.min(reads).min(marks) > SEEDS / 10, "too few operations run while the store is unavailable");
    let DeletionOutcomes { unread, read, refused } = deletions;
    assert!(unread.min(read).min(refused) > SEEDS / 3, "too few deletions of each kind: {deletions:?}");
    assert!(mixed > SEEDS * 10, "two versions ran side by side in {mixed} commits only");
}

/// Runs every second seed from `first` until the deadline, or [`FRESH_SEEDS`] without one; returns how many.
fn run_fresh_seeds(first: u64, deadline: Option<Instant>) -> u64 {
    let mut ran = 0;
    let is_over = |ran| match deadline {
        Some(deadline) => Instant::now() >= deadline,
        None => ran >= FRESH_SEEDS / 2,
    };
    while !is_over(ran) {
        simulate_or_panic(first.wrapping_add(2 * ran));
        ran += 1;
    }
    ran
}

#[test]
fn fresh_seeds_keep_every_invariant() {
    if requested_seed().is_some() {
        return;
    }
    // The fixed seeds are small numbers, so a fresh seed is never one of them.
    let first = uuid::Uuid::new_v4().as_u64_pair().0 | 1 << 32;
    print(&format!("simulation: fresh seeds from {first} on"));
    let deadline = variable("ROOST_SIMULATION_SECONDS").map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let threads = [0, 1].map(|half| std::thread::spawn(move || run_fresh_seeds(first.wrapping_add(half), deadline)));
    let ran: u64 = join(threads).iter().sum();
    print(&format!("simulation: {ran} fresh seeds from {first} on, every invariant held"));
}

#[test]
fn a_seed_replays_identically_and_another_seed_differs() {
    for seed in 0..20 {
        assert_eq!(simulate_or_panic(seed), simulate_or_panic(seed));
        assert_ne!(simulate_or_panic(seed).hash, simulate_or_panic(seed + 1).hash);
    }
}

#[test]
fn a_failing_seed_replays_its_failure() {
    let bug = PlantedBug::SnapshotSwallowsAnnouncement;
    let failing = |seed: &u64| simulate(*seed, Some(bug)).err();
    let seed = (0..SEEDS_UNTIL_CAUGHT).find(|seed| failing(seed).is_some()).expect("no seed fails");
    let (first, replayed) = (failing(&seed), replay(seed, Some(bug)).err());
    let (first, replayed) = (first.expect("it failed before"), replayed.expect("it fails again"));
    assert_eq!((first.steps, &first.violation), (replayed.steps, &replayed.violation));
    let printed = replayed.to_string();
    assert!(!replayed.trace.is_empty() && printed.contains(&format!("ROOST_SIMULATION_SEED={seed} ")), "{printed}");
}

/// Runs seeds until one fails; returns the number of the violated invariant.
fn caught_by(planted_bug: PlantedBug) -> u8 {
    for seed in 0..SEEDS_UNTIL_CAUGHT {
        if let Err(failure) = simulate(seed, Some(planted_bug)) {
            print(&format!("{planted_bug:?}: seed {seed}, {}", failure.violation));
            return failure.violation.invariant;
        }
    }
    panic!("{planted_bug:?} was not caught within {SEEDS_UNTIL_CAUGHT} seeds")
}

macro_rules! caught {
    ($($name:ident: $planted_bug:ident by $($invariant:literal)|+;)*) => {
        $(#[test]
        fn $name() {
            let invariant = caught_by(PlantedBug::$planted_bug);
            assert!([$($invariant),+].contains(&invariant), "caught by invariant {invariant}");
        })*

        #[test]
        fn every_planted_bug_has_a_test() {
            let tested = [$(PlantedBug::$planted_bug),*].map(|planted_bug| format!("{planted_bug:?}"));
            let known = PlantedBug::ALL.map(|planted_bug| format!("{planted_bug:?}"));
            let count = |names: &[String]| names.iter().cloned().fold(BTreeMap::new(), |mut seen, name| {
                *seen.entry(name).or_insert(0) += 1;
                seen
            });
            assert_eq!(count(&tested), count(&known));
        }
    };
}

caught! {
    a_blind_increment_is_caught: BlindIncrement by 3 | 4 | 5 | 9;
    setting_zero_on_read_is_caught: SetZeroOnRead by 1 | 3 | 4;
    a_snapshot_without_positions_is_caught: SnapshotWithoutPositions by 1 | 3 | 5 | 10;
    popping_before_processing_is_caught: PopBeforeProcess by 7;
    a_last_message_without_newer_wins_is_caught: LastMessageWithoutNewerWins by 6;
    going_offline_without_a_generation_is_caught: OfflineWithoutGeneration by 7;
    a_snapshot_that_swallows_an_announcement_is_caught: SnapshotSwallowsAnnouncement by 9 | 10;
    going_offline_without_another_look_is_caught: OfflineWithoutRecheck by 7;
    publishing_outside_the_transaction_is_caught: PublishOutsideTransaction by 9 | 10;
    filling_without_a_lease_is_caught: FillWithoutLease by 3 | 4 | 5 | 10;
    taking_missing_for_zero_is_caught: MissingIsZero by 4;
    replaying_in_part_is_caught: ReplayInPart by 9;
    delivering_past_a_hole_is_caught: DeliverPastAHole by 9;
    taking_the_state_before_the_position_is_caught: StateBeforePosition by 9 | 10;
    a_new_id_on_retry_is_caught: NewIdOnRetry by 5;
    never_recovering_is_caught: NeverRecover by 3 | 7 | 9 | 10;
    renaming_a_field_is_caught: RenamedField by 7;
    notifying_in_a_second_step_is_caught: NotifyInASecondStep by 11;
    delivering_without_a_receipt_is_caught: DeliverWithoutReceipt by 11;
    a_deletion_that_counts_twice_is_caught: DeletionCountsTwice by 1 | 3 | 4;
    a_deletion_that_ignores_reading_is_caught: DeletionIgnoresReading by 3 | 4;
    departing_after_an_outage_is_caught: DepartAfterOutage by 7;
    departing_during_a_cut_is_caught: DepartDuringCut by 7;
    a_deletion_without_an_update_is_caught: DeletionWithoutUpdate by 10;
    joining_without_an_event_is_caught: JoinWithoutEvent by 10;
    leaving_without_an_event_is_caught: LeaveWithoutEvent by 10;
    members_that_change_without_an_event_are_caught: MembersWithoutEvent by 10;
    a_contact_without_an_event_is_caught: ContactWithoutEvent by 10;
    a_block_without_an_event_is_caught: BlockWithoutEvent by 10;
    showing_a_user_without_an_event_is_caught: ShowWithoutEvent by 7;
    reading_without_an_update_is_caught: ReadWithoutUpdate by 9 | 10;
    a_receipt_without_an_event_is_caught: ReceiptWithoutEvent by 9 | 10;
    a_total_that_is_not_checked_is_caught: UncheckedTotal by 10;
}
