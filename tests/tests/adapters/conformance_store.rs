//! The contract of the store, checked on the fake and the memory store: every case of the suite on manual time, random
//! operations that both must answer alike, and many threads at the same time.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use roost::store::Store;
use roost::store::memory::MemoryStore;
use roost_core::each_store_case;
use roost_core::feed::Position;
use roost_core::ids::{ConversationId, MessageId, UserId};
use roost_core::key::{Key, Owner, Space};
use roost_core::limits::TTL_MS_MAX;
use roost_core::port::{
    AddressedEvent, AppBound, Bus, Check, Clock, Delivery, Event, Feeds, KeyValue, Mutation, Outcome, PubSub,
    Publication, PublishedResult, Query, Replay, StoreError, Subscriber, Text, Transaction, Value,
};
use roost_core::testing::conformance::key_value::Harness;
use roost_core::testing::{FakeStore, ManualClock, block_on};

/// A store on manual time.
struct Manual<S> {
    store: S,
    clock: ManualClock,
    used: AtomicU64,
}

impl<S> Manual<S> {
    fn new(make: impl FnOnce(ManualClock) -> S) -> Self {
        let clock = ManualClock::new();
        Self { store: make(clock.clone()), clock, used: AtomicU64::new(0) }
    }
}

impl<S: KeyValue + PubSub + Bus + Feeds> Harness for Manual<S> {
    type Store = S;

    fn store(&self) -> &S {
        &self.store
    }

    fn fresh(&self) -> u128 {
        // The ids are spread like real ones, so that owners are in different shards.
        u128::from(self.used.fetch_add(1, Ordering::Relaxed) + 1)
            .wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835)
    }

    async fn advance(&self, span_ms: u64) {
        self.clock.advance(span_ms);
    }

    fn advance_max_ms(&self) -> u64 {
        u64::MAX
    }

    async fn wait_for_deliveries(&self) {}
}

fn memory_store(clock: ManualClock) -> MemoryStore {
    MemoryStore::with_clock(move || clock.now())
}

macro_rules! tests {
    ([$make:expr] $($group:ident::$case:ident)*) => {
        $(
            #[test]
            fn $case() {
                block_on(roost_core::testing::conformance::key_value::$group::$case(&Manual::new($make)));
            }
        )*
    };
}

mod fake {
    use super::*;

    each_store_case!(tests, (FakeStore::new));
}

mod memory {
    use super::*;

    each_store_case!(tests, memory_store);
}

#[test]
fn the_store_of_the_configuration_conforms() {
    let harness = Manual::new(|clock| Store::Memory(Arc::new(memory_store(clock))));
    block_on(roost_core::testing::conformance::key_value::all(&harness));
}

/// An operation on both stores.
#[derive(Clone, Debug)]
enum StoreOperation {
    Read(Vec<Query>),
    Commit(Vec<Transaction>),
    Publish(Vec<Publication>),
    Advance(u64),
    Evict,
    Join(UserId),
    Leave(UserId),
    Positions,
    Follow,
    /// A replay from one of the positions seen so far.
    Replay(UserId, prop::sample::Index),
}

fn users() -> impl Strategy<Value = UserId> {
    (1..=2_u128).prop_map(UserId::from_u128)
}

fn owners() -> impl Strategy<Value = Owner> {
    let conversation = ConversationId::from_u128(1);
    let message = (7..=8_u128).prop_map(MessageId::from_u128);
    prop_oneof![
        4 => users().prop_map(Owner::User),
        1 => Just(Owner::Shard(3)),
        1 => Just(Owner::Conversation(conversation)),
        1 => message.prop_map(move |message| Owner::Message { conversation, message }),
    ]
}

fn words(words: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop::sample::select(words).prop_map(str::to_owned)
}

fn items() -> impl Strategy<Value = String> {
    words(&["a", "b", "👍", "00000000-0000-0000-0000-000000000007"])
}

fn fields() -> impl Strategy<Value = String> {
    words(&["a", "b", "B", "00000000-0000-0000-0000-000000000007", "👍"])
}

fn values() -> impl Strategy<Value = String> {
    words(&["", "0", "1", "-7", "01", "x", "9223372036854775807"])
}

fn numbers() -> impl Strategy<Value = i64> {
    prop_oneof![8 => -3..=3_i64, 1 => Just(i64::MAX), 1 => Just(i64::MIN)]
}

fn lives() -> impl Strategy<Value = u64> {
    prop::sample::select(vec![1, 2, 50, 600_000, TTL_MS_MAX])
}

fn functions() -> impl Strategy<Value = Option<Arc<str>>> {
    prop::sample::select(vec![None, Some("polls".into()), Some("weather".into())])
}

fn keys(owner: Owner, function: Option<Arc<str>>) -> impl Strategy<Value = Key> {
    let of_function = move |item: String| Key { function: function.clone(), ..Key::app(owner, item) };
    // Only the space `app` has what is about a message.
    let other = Key::new(Space::Online, owner.partition());
    let followed = Key::new(Space::Followed, owner.partition());
    prop_oneof![8 => items().prop_map(of_function), 2 => Just(other), 1 => Just(followed)]
}

fn any_keys() -> impl Strategy<Value = Key> {
    (owners(), functions()).prop_flat_map(|(owner, function)| keys(owner, function))
}

fn events() -> impl Strategy<Value = Event> {
    (any::<bool>(), any::<u8>()).prop_map(|(durable, number)| Event {
        name: "step".into(),
        payload: format!("{{\"number\":{number}}}").into(),
        durable,
    })
}

fn queries() -> impl Strategy<Value = Query> {
    let query = |key: Key| {
        let (of, named, range, index) = (key.clone(), key.clone(), key.clone(), key.clone());
        prop_oneof![
            prop::sample::select(vec![
                Query::Bytes(of.clone()),
                Query::Counter(of.clone()),
                Query::Fields(of.clone()),
                Query::TimeToLive(of.clone()),
                Query::Presence(of),
            ]),
            prop::collection::vec(fields(), 0..3)
                .prop_map(move |names| Query::NamedFields(named.clone(), names.into())),
            (numbers(), numbers(), 1..4_u32).prop_map(move |(minimum, maximum, limit)| Query::OrderedRange {
                key: range.clone(),
                minimum,
                maximum,
                limit
            }),
            Just(Query::IndexedCounters { index, space: Space::App }),
        ]
    };
    any_keys().prop_flat_map(query)
}

fn checks(owner: Owner, function: Option<Arc<str>>) -> impl Strategy<Value = Check> {
    (keys(owner, function), 0..6, fields(), values(), numbers(), any::<bool>()).prop_map(
        |(key, kind, name, value, number, some)| match kind {
            0 => Check::Absent(key),
            1 => Check::Present(key),
            2 => Check::Equals(key, value.into_bytes()),
            3 => Check::FieldEquals(key, name.into(), some.then_some(value.into())),
            4 => Check::FieldBelow(key, name.into(), number),
            _ => Check::ScoreEquals(key, name.into(), some.then_some(number)),
        },
    )
}

fn mutations(owner: Owner, function: Option<Arc<str>>) -> impl Strategy<Value = Mutation> {
    let parts = (keys(owner, function), 0..10, prop::collection::vec((fields(), values()), 1..3), numbers());
    (parts, lives(), prop::option::of(numbers())).prop_map(|((key, kind, pairs, number), life_ms, floor)| {
        let (name, value) = pairs[0].clone();
        let pairs = pairs.into_iter().map(|(name, value)| (name.into(), value.into()));
        match kind {
            0 => Mutation::Set(key, value.into_bytes(), floor.map(|_| life_ms)),
            1 => Mutation::Delete(key),
            2 => Mutation::Add { key, delta: number, floor },
            3 => Mutation::SetFields(key, pairs.collect()),
            4 => Mutation::DeleteFields(key, pairs.map(|(name, _): (Text, Text)| name).collect()),
            5 => Mutation::AddField(key, name.into(), number),
            6 => Mutation::Expire(key, life_ms),
            7 => Mutation::Persist(key),
            8 => Mutation::OrderedPut(key, name.into(), number),
            _ => Mutation::OrderedRemove(key, name.into()),
        }
    })
}

/// Bounds that some transactions exceed.
fn app_bounds() -> impl Strategy<Value = Option<AppBound>> {
    prop::option::of(prop::sample::select(vec![AppBound(600), AppBound(1_100), AppBound(2_100)]))
}

fn transactions() -> impl Strategy<Value = Transaction> {
    (owners(), functions(), app_bounds()).prop_flat_map(|(owner, function, app_bound)| {
        let publications = if matches!(owner, Owner::User(_)) { 0..3 } else { 0..1 };
        (
            prop::collection::vec(checks(owner, function.clone()), 0..2),
            prop::collection::vec(mutations(owner, function), 0..5),
            prop::collection::vec(events(), publications),
            prop::collection::vec(any::<(u32, u32)>(), 0..4),
        )
            .prop_map(move |(checks, mutations, publications, carried)| Transaction {
                owner,
                checks,
                published_results: published_results(&mutations, &publications, carried),
                mutations,
                publications,
                addressed: Vec::new(),
                app_bound,
            })
    })
}

/// Lets publications carry results, as far as there are both.
fn published_results(mutations: &[Mutation], publications: &[Event], carried: Vec<(u32, u32)>) -> Vec<PublishedResult> {
    let has_result = |mutation: &&Mutation| matches!(mutation, Mutation::Add { .. } | Mutation::AddField(..));
    let (results, publications) = (mutations.iter().filter(has_result).count() as u32, publications.len() as u32);
    let published = carried.into_iter().filter_map(|(publication, result)| {
        let publication = publication.checked_rem(publications)?;
        Some(PublishedResult { publication, name: "sum".into(), result: result.checked_rem(results)? })
    });
    published.collect()
}

/// A transaction with events for named users. It is alone in its call, because the order in which the users of several
/// transactions receive their events is not defined.
fn addressed() -> impl Strategy<Value = Transaction> {
    let addressed = (prop::collection::vec(users(), 1..3), events());
    let addressed = addressed.prop_map(|(users, event)| AddressedEvent { users, event });
    (transactions(), prop::collection::vec(addressed, 1..3))
        .prop_map(|(transaction, addressed)| Transaction { addressed, ..transaction })
}

fn operations() -> impl Strategy<Value = StoreOperation> {
    let publications = (users(), events()).prop_map(|(user, event)| Publication { user, event });
    prop_oneof![
        6 => prop::collection::vec(transactions(), 0..4).prop_map(StoreOperation::Commit),
        2 => addressed().prop_map(|transaction| StoreOperation::Commit(vec![transaction])),
        6 => prop::collection::vec(queries(), 0..6).prop_map(StoreOperation::Read),
        3 => prop::sample::select(vec![0, 1, 1, 2, 49, 60, 599_999, 600_000]).prop_map(StoreOperation::Advance),
        2 => prop::collection::vec(publications, 0..4).prop_map(StoreOperation::Publish),
        2 => (users(), any::<prop::sample::Index>()).prop_map(|(user, since)| StoreOperation::Replay(user, since)),
        1 => Just(StoreOperation::Positions),
        3 => Just(StoreOperation::Follow),
        1 => Just(StoreOperation::Evict),
        1 => users().prop_map(StoreOperation::Join),
        1 => users().prop_map(StoreOperation::Leave),
    ]
}

/// Answers without the parts that adapters are free to choose: epochs are numbered in order of appearance, errors have
/// no text.
#[derive(Default)]
struct NormalizedAnswers {
    epochs: BTreeMap<Arc<str>, usize>,
}

impl NormalizedAnswers {
    fn position(&mut self, position: &Position) -> String {
        if position.without_feed_since().is_some() {
            return position.to_string();
        }
        let next = self.epochs.len();
        let epoch = self.epochs.entry(position.epoch.clone()).or_insert(next);
        format!("#{epoch}:{}", position.offset)
    }

    fn delivery(&mut self, delivery: &Delivery) -> String {
        let position = delivery.position.as_ref().map(|position| self.position(position));
        format!("{} {} {position:?}", delivery.name, delivery.payload)
    }

    fn replay(&mut self, replay: &Replay) -> Option<Vec<String>> {
        match replay {
            Replay::Gap => None,
            Replay::Events(events) => Some(events.iter().map(|event| self.delivery(event)).collect()),
        }
    }
}

fn kind(error: &StoreError) -> String {
    format!("{error:?}").chars().take_while(char::is_ascii_alphanumeric).collect()
}

fn outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Failed(error) => kind(error),
        other => format!("{other:?}"),
    }
}

/// A subscriber that records every delivery.
#[derive(Default)]
struct RecordingSubscriber(Mutex<Vec<(UserId, Delivery)>>);

impl Subscriber for RecordingSubscriber {
    fn deliver(&self, user: UserId, delivery: Delivery) {
        self.0.lock().unwrap().push((user, delivery));
    }

    fn interrupted(&self, _: &[UserId]) {}
}

/// One of the two stores, with its deliveries and positions.
struct StoreUnderTest<S> {
    store: S,
    subscriber: Arc<RecordingSubscriber>,
    normalized: NormalizedAnswers,
    positions: Vec<Position>,
}

impl<S: KeyValue + PubSub + Bus + Feeds> StoreUnderTest<S> {
    fn new(store: S) -> Self {
        let positions = vec![Position::without_feed(ManualClock::START)];
        Self { store, subscriber: Arc::default(), normalized: NormalizedAnswers::default(), positions }
    }

    /// Performs an operation; returns the answer without the parts that adapters are free to choose.
    async fn apply(&mut self, operation: &StoreOperation) -> String {
        match operation {
            StoreOperation::Read(queries) => {
                let answer: Result<Vec<Value>, _> = self.store.read(queries.clone()).await;
                format!("{:?}", answer.map_err(|error| kind(&error)))
            }
            StoreOperation::Commit(transactions) => {
                let outcomes = self.store.commit(transactions.clone()).await.map_err(|error| kind(&error));
                format!("{:?}", outcomes.map(|outcomes| outcomes.iter().map(outcome).collect::<Vec<_>>()))
            }
            StoreOperation::Publish(publications) => format!("{:?}", self.store.publish(publications.clone()).await),
            StoreOperation::Join(user) => format!("{:?}", self.store.join(*user, self.subscriber.clone()).await),
            StoreOperation::Leave(user) => format!("{:?}", self.store.leave(*user).await),
            StoreOperation::Positions | StoreOperation::Follow => {
                let users = [UserId::from_u128(2), UserId::from_u128(1)];
                let positions = match operation {
                    StoreOperation::Follow => self.store.follow(&users[1..]).await.unwrap(),
                    _ => self.store.positions(&users).await.unwrap(),
                };
                self.positions.extend(positions.iter().cloned());
                let normalized = positions.iter().map(|position| self.normalized.position(position));
                format!("{:?}", normalized.collect::<Vec<_>>())
            }
            StoreOperation::Replay(user, since) => {
                let replay = self.store.replay(*user, since.get(&self.positions)).await.unwrap();
                format!("{:?}", self.normalized.replay(&replay))
            }
            StoreOperation::Advance(_) | StoreOperation::Evict => String::new(),
        }
    }

    /// The deliveries since the last call, those of each user in order.
    fn deliveries(&mut self) -> Vec<String> {
        let mut deliveries = std::mem::take(&mut *self.subscriber.0.lock().unwrap());
        deliveries.sort_by_key(|(user, _)| *user);
        deliveries.iter().map(|(user, delivery)| format!("{user} {}", self.normalized.delivery(delivery))).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_memory_store_answers_like_the_fake(operations in prop::collection::vec(operations(), 1..80)) {
        let clock = ManualClock::new();
        let mut fake = StoreUnderTest::new(FakeStore::new(clock.clone()));
        let mut memory = StoreUnderTest::new(memory_store(clock.clone()));
        for operation in operations {
            match &operation {
                StoreOperation::Advance(span_ms) => clock.advance(*span_ms),
                StoreOperation::Evict => drop(memory.store.evict()),
                _ => {}
            }
            let expected = block_on(fake.apply(&operation));
            prop_assert_eq!(block_on(memory.apply(&operation)), expected, "{:?}", operation);
            prop_assert_eq!(memory.deliveries(), fake.deliveries());
        }
    }
}

const THREADS: usize = 8;
const ROUNDS: usize = 2_000;

#[test]
fn many_threads_on_one_owner_keep_totals_and_offsets_exact() {
    let store = MemoryStore::new();
    let user = UserId::from_u128(1);
    let key = |item: &str| Key::app(Owner::User(user), item);
    let subscriber = Arc::new(RecordingSubscriber::default());
    block_on(store.join(user, subscriber.clone())).unwrap();
    block_on(store.follow(&[user])).unwrap();
    let add = |item: &str| Mutation::Add { key: key(item), delta: 1, floor: None };
    let event = Event { name: "round".into(), payload: "0".into(), durable: true };
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for round in 0..ROUNDS {
                    let brief = Mutation::Set(key(&format!("brief{round}")), vec![0], Some(1));
                    let transaction = Transaction::new(Owner::User(user)).mutate(add("one")).mutate(add("two"));
                    let transaction = transaction.mutate(brief).publish(event.clone());
                    block_on(store.commit(vec![transaction])).unwrap();
                    let read = vec![Query::Counter(key("one")), Query::Counter(key("two"))];
                    let answers = block_on(store.read(read)).unwrap();
                    assert_eq!(answers[0], answers[1], "two counters that move together");
                    if round.is_multiple_of(64) {
                        store.evict();
                    }
                }
            });
        }
    });
    let total = THREADS * ROUNDS;
    let answer = block_on(store.read(vec![Query::Counter(key("one"))])).unwrap();
    assert_eq!(answer, [Value::Counter(total as i64)]);
    let deliveries = subscriber.0.lock().unwrap();
    let offsets = deliveries.iter().map(|(_, delivery)| delivery.position.as_ref().unwrap().offset);
    assert!(offsets.eq(1..=total as u64), "every offset once, in order");
}

#[test]
fn many_threads_that_compare_and_set_end_exactly() {
    let store = MemoryStore::new();
    let owner = Owner::User(UserId::from_u128(1));
    let key = Key::app(owner, "text");
    let set = |number: u64| Mutation::Set(key.clone(), number.to_string().into_bytes(), None);
    block_on(store.commit(vec![Transaction::new(owner).mutate(set(0))])).unwrap();
    let increment = || {
        loop {
            let answers = block_on(store.read(vec![Query::Bytes(key.clone())])).unwrap();
            let Value::Bytes(before) = answers[0].clone() else { panic!("the key is there") };
            let number: u64 = std::str::from_utf8(&before).unwrap().parse().unwrap();
            let transaction = Transaction::new(owner).check(Check::Equals(key.clone(), before)).mutate(set(number + 1));
            if block_on(store.commit(vec![transaction])).unwrap() == [Outcome::Committed(vec![])] {
                return;
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| (0..ROUNDS).for_each(|_| increment()));
        }
    });
    let answers = block_on(store.read(vec![Query::Counter(key.clone())])).unwrap();
    assert_eq!(answers, [Value::Counter((THREADS * ROUNDS) as i64)]);
}
