//! Announcements that cannot be made: whatever the reason, they delay no others, are tried later and later, and are
//! reported.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::*;
use crate::limits::{
    PENDING_AFTER_MS, PENDING_PAGE, RECOVERY_ATTEMPTS_REPORTED, RECOVERY_INTERVAL_MS, RECOVERY_RETRY_MS,
    RECOVERY_RETRY_MS_MAX,
};
use crate::port::*;
use crate::testing::{FakeStore, FakeTelemetry, ManualClock};

/// The user because of whom announcements fail.
const POISON: UserId = UserId::from_u128(0xBAD);

/// What happens to calls that name [`POISON`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PoisonEffect {
    /// They are answered.
    None,
    /// They are never answered, so that the whole call of the function ends with them, as a trap ends it.
    NeverAnswered,
    /// They are refused as unavailable.
    Unavailable,
    /// All calls are refused as unavailable.
    Down,
}

/// Calls pass unless they name the user [`POISON`].
#[derive(Debug)]
struct Faulty<T> {
    inner: T,
    fault: std::sync::Mutex<PoisonEffect>,
}

impl<T> Faulty<T> {
    fn new(inner: T) -> Arc<Self> {
        Arc::new(Self { inner, fault: std::sync::Mutex::new(PoisonEffect::None) })
    }

    fn set(&self, fault: PoisonEffect) {
        *self.fault.lock().unwrap() = fault;
    }

    /// Whether the call is refused.
    async fn refuses(&self, arguments: String) -> bool {
        let fault = *self.fault.lock().unwrap();
        if fault == PoisonEffect::Down {
            return true;
        }
        if fault == PoisonEffect::None || !arguments.contains(&format!("{POISON:?}")) {
            return false;
        }
        if fault == PoisonEffect::NeverAnswered {
            std::future::pending::<()>().await;
        }
        true
    }
}

impl KeyValue for Faulty<FakeStore> {
    async fn read(&self, queries: Vec<Query>) -> Result<Vec<Value>, StoreError> {
        if self.refuses(format!("{queries:?}")).await {
            return Err(StoreError::Unavailable { retry_after_ms: 1 });
        }
        self.inner.read(queries).await
    }

    async fn commit(&self, transactions: Vec<Transaction>) -> Result<Vec<Outcome>, StoreError> {
        if self.refuses(format!("{transactions:?}")).await {
            return Err(StoreError::Unavailable { retry_after_ms: 1 });
        }
        self.inner.commit(transactions).await
    }
}

impl PubSub for Faulty<FakeStore> {
    async fn publish(&self, publications: Vec<Publication>) -> Result<(), StoreError> {
        self.inner.publish(publications).await
    }
}

/// The outbox itself always answers.
const OUTBOX: [Operation; 3] = [Operation::Pending, Operation::Announced, Operation::Postpone];

macro_rules! delegate {
    ($($(#[$doc:meta])* $operation:ident $name:literal
        $method:ident($($argument:ident: $type:ty),*) -> $answer:ty;)*) => {
        impl Records for Faulty<FakeRecords> {
            $(async fn $method(&self, $($argument: $type),*) -> Answer<$answer> {
                let arguments = format!("{:?}", ($(&$argument,)*));
                if !OUTBOX.contains(&Operation::$operation) && self.refuses(arguments).await {
                    return Err(RecordsError::Unavailable { retry_after_ms: 1 });
                }
                self.inner.$method($($argument),*).await
            })*
        }
    };
}

crate::records_operations!(delegate);

type FaultyWorld = TestWorld<Faulty<FakeStore>, Faulty<FakeRecords>>;

fn faulty_world() -> FaultyWorld {
    let clock = ManualClock::new();
    let store = Faulty::new(FakeStore::new(clock.clone()));
    block_on(store.inner.follow(&[ADA, BEN, CLEO, POISON])).unwrap();
    let records = Faulty::new(FakeRecords::new(1));
    TestWorld { store, records, clock, telemetry: FakeTelemetry::new() }
}

fn id(number: u128) -> ConversationId {
    ConversationId::from_u128(1_000 + number)
}

/// Stores a message that is not announced, in a new conversation of Ada and this user.
fn store_message(world: &FaultyWorld, number: u128, with: UserId) {
    let new = NewConversation { id: Some(id(number)), creator: ADA, members: vec![with], at: world.now() };
    let draft = Draft { conversation: id(number), at: world.now(), ..draft(number) };
    block_on(async {
        world.records.inner.create_conversation(new).await.unwrap();
        world.records.inner.announced(vec![Confirmation::Creation(id(number), 1)]).await.unwrap();
        world.records.inner.append_message(draft).await.unwrap();
    });
}

/// Makes every announcement to [`POISON`] fail.
fn overwrite_positions(world: &FaultyWorld) {
    block_on(unread::totals(world, POISON)).unwrap();
    world.store.inner.overwrite(Key::of_user(Space::UnreadSequence, POISON));
}

/// What both schedules do in a second. A call that is never answered ends with the tick.
fn tick(world: &FaultyWorld) -> usize {
    world.clock.advance(u64::from(RECOVERY_INTERVAL_MS));
    run_or_end(recover(world)) + run_or_end(retry(world))
}

/// Runs a round until it is done, or until it waits for a call that is never answered.
fn run_or_end(round: impl Future<Output = Result<usize, Error>>) -> usize {
    let mut round = pin!(round);
    for _ in 0..100 {
        if let Poll::Ready(made) = round.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return made.unwrap_or(0);
        }
    }
    0
}

fn left(world: &FaultyWorld) -> Vec<PendingItem> {
    let forever = Timestamp(i64::MAX as u64);
    let pages = [PendingQuery::untried(forever), PendingQuery::tried(forever)];
    pages.map(|query| block_on(world.records.pending(query)).unwrap().items).concat()
}

fn messages(world: &FaultyWorld, user: UserId) -> usize {
    let published = world.store.inner.published().into_iter();
    published.filter(|(to, event)| *to == user && &*event.name == "message.new").count()
}

#[test]
fn a_thousand_items_that_fail_at_the_head_delay_the_others_by_nothing() {
    let (world, clean) = (faulty_world(), faulty_world());
    overwrite_positions(&world);
    for number in 0..1_000 {
        store_message(&world, number, POISON);
    }
    world.clock.advance(1);
    clean.clock.advance(1);
    for world in [&world, &clean] {
        store_message(world, 5_000, BEN);
        world.clock.advance(PENDING_AFTER_MS + 1);
    }
    // The first round walks past all of them.
    assert_eq!((block_on(recover(&world)), block_on(recover(&clean))), (Ok(1), Ok(1)));
    assert_eq!((messages(&world, BEN), messages(&clean, BEN)), (1, 1));
    assert_eq!(world.telemetry.series("announcements{outcome=failed}"), 1_000);

    // From then on they cost the others not one round trip.
    for number in 5_001..5_010 {
        let cost = [&world, &clean].map(|world| {
            store_message(world, number, BEN);
            world.clock.advance(PENDING_AFTER_MS + 1);
            let (began, _) = (world.now(), world.store.inner.take_calls());
            assert_eq!(block_on(recover(world)), Ok(1));
            (world.store.inner.take_calls(), world.now().0 - began.0)
        });
        assert_eq!(cost[0], cost[1]);
        block_on(retry(&world)).unwrap();
    }
    assert_eq!(messages(&world, BEN), 10);
}

#[test]
fn an_item_that_ends_every_call_is_found_and_the_others_are_announced() {
    let world = faulty_world();
    for number in 0..u128::from(PENDING_PAGE) {
        store_message(&world, number, if number == 40 { POISON } else { BEN });
    }
    world.store.set(PoisonEffect::NeverAnswered);
    world.clock.advance(PENDING_AFTER_MS);
    let mut ticks = 0;
    while left(&world).len() > 1 {
        tick(&world);
        ticks += 1;
        assert!(ticks < 20, "{} are left", left(&world).len());
        // What is stored meanwhile is announced as if nothing was wrong.
        store_message(&world, 500 + ticks, CLEO);
        world.clock.advance(PENDING_AFTER_MS + 1);
        let before = messages(&world, CLEO);
        run_or_end(recover(&world));
        assert_eq!(messages(&world, CLEO), before + 1, "after {ticks} ticks");
    }
    assert_eq!(PendingId::from(&left(&world)[0].pending).conversation(), Some(id(40)));
    assert_eq!(messages(&world, BEN), PENDING_PAGE as usize - 1);

    world.store.set(PoisonEffect::None);
    world.clock.advance(RECOVERY_RETRY_MS_MAX);
    assert_eq!((tick(&world), left(&world).len(), messages(&world, POISON)), (1, 0, 1));
}

#[test]
fn an_item_that_keeps_failing_is_tried_later_and_later_and_reported_once() {
    let world = faulty_world();
    overwrite_positions(&world);
    store_message(&world, 7, POISON);
    world.clock.advance(PENDING_AFTER_MS);
    let failed = |world: &FaultyWorld| world.telemetry.series("announcements{outcome=failed}");
    let mut tried_at = Vec::new();
    for second in 0..600_u64 {
        let before = failed(&world);
        tick(&world);
        if failed(&world) > before {
            tried_at.push(second);
        }
    }
    let pauses: Vec<u64> = tried_at.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(pauses.windows(2).take(4).all(|pair| pair[0] < pair[1]), "{pauses:?}");
    assert!(pauses.iter().all(|pause| *pause <= RECOVERY_RETRY_MS_MAX / 1_000 + 1), "{pauses:?}");
    assert!((10..20).contains(&tried_at.len()), "{tried_at:?}");
    assert!(tried_at.len() > RECOVERY_ATTEMPTS_REPORTED as usize);

    let lines = world.telemetry.lines();
    assert_eq!((lines.len(), world.telemetry.series("announcements{outcome=stuck}")), (1, 1), "{lines:?}");
    for part in ["`roost verify`", "`roost repair`", &id(7).to_string(), "\"seq\"", "wrong"] {
        assert!(lines[0].contains(part), "{part}: {}", lines[0]);
    }
}

#[test]
fn a_part_of_the_store_that_is_unavailable_delays_only_its_users_and_not_for_long() {
    let world = faulty_world();
    for number in 0..u128::from(PENDING_PAGE) {
        store_message(&world, number, if number % 33 == 5 { POISON } else { BEN });
    }
    world.store.set(PoisonEffect::Unavailable);
    world.clock.advance(PENDING_AFTER_MS);
    let ticks = (1..=10).find(|_| {
        tick(&world);
        messages(&world, BEN) == PENDING_PAGE as usize - 3
    });
    assert!(ticks.is_some(), "{} of Ben's messages", messages(&world, BEN));
    for _ in 0..120 {
        tick(&world);
    }
    let attempts: Vec<u32> = left(&world).iter().map(|item| item.attempts).collect();
    assert_eq!(attempts.len(), 3);
    assert!(attempts.iter().all(|attempts| *attempts <= 3), "an outage is not the fault of the items: {attempts:?}");
    assert_eq!(world.telemetry.lines(), [""; 0]);

    world.store.set(PoisonEffect::None);
    world.clock.advance(2 * RECOVERY_RETRY_MS);
    assert_eq!((tick(&world), messages(&world, POISON)), (3, 3));
}

#[test]
fn a_statement_of_the_records_that_takes_too_long_is_the_failure_of_its_item() {
    let world = faulty_world();
    block_on(unread::totals(&world, POISON)).unwrap();
    for number in 0..20 {
        store_message(&world, number, if number == 11 { POISON } else { BEN });
    }
    world.records.set(PoisonEffect::Unavailable);
    world.clock.advance(PENDING_AFTER_MS);
    assert_eq!(tick(&world), 19);
    assert_eq!(world.telemetry.series("announcements{outcome=failed}"), 1);
    assert_eq!(left(&world)[0].attempts, 1);
    for _ in 0..60 {
        tick(&world);
    }
    assert!(left(&world)[0].attempts > 3, "{:?}", left(&world));
}

#[test]
fn a_store_that_is_unavailable_leaves_the_outbox_as_it_was() {
    let world = faulty_world();
    for number in 0..30 {
        store_message(&world, number, POISON);
    }
    world.clock.advance(PENDING_AFTER_MS + 1);
    let before = left(&world);
    world.store.set(PoisonEffect::Down);
    for _ in 0..30 {
        world.clock.advance(u64::from(RECOVERY_INTERVAL_MS));
        assert!(block_on(recover(&world)).unwrap_err().is_store_unavailable());
    }
    assert_eq!(left(&world), before);
    world.store.set(PoisonEffect::None);
    assert_eq!((block_on(recover(&world)), messages(&world, POISON)), (Ok(30), 30));
}

#[test]
fn members_that_cannot_be_restored_delay_no_others() {
    let world = faulty_world();
    let leaving = [BEN, CLEO, POISON];
    let new = NewConversation { id: Some(id(1)), creator: ADA, members: leaving.to_vec(), at: world.now() };
    block_on(world.records.inner.create_conversation(new)).unwrap();
    block_on(world.records.announced(vec![Confirmation::Creation(id(1), 1)])).unwrap();
    let change = |user| MemberChange { conversation: id(1), actor: None, user, at: world.now() };
    for user in leaving {
        block_on(unread::totals(&world, user)).unwrap();
        block_on(world.records.inner.remove_member(change(user))).unwrap();
    }
    overwrite_positions(&world);
    world.clock.advance(PENDING_AFTER_MS);
    assert_eq!((tick(&world), left(&world).len()), (2, 1));
    assert_eq!(PendingId::from(&left(&world)[0].pending), PendingId::Membership(id(1), POISON));
}
