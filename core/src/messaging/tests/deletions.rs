//! Deletions and edits without snapshots: what they cost, whom they concern, and every order in which a deletion can
//! meet what a reader and other senders do.

use std::sync::Mutex;

use super::cost::cached_group;
use super::*;
use crate::limits::{MEMBERS_MAX, PENDING_AFTER_MS};
use crate::port::*;
use crate::testing::{Calls, Interleavings, yield_now};

/// A host on a world that it shares with other hosts. It notes the operations of the records that it uses, and lets
/// other tasks run before every call where a test says so.
struct ObservedHost {
    world: FakeWorld,
    asked: Mutex<Vec<&'static str>>,
    yields: bool,
}

impl ObservedHost {
    fn new(world: &FakeWorld, yields: bool) -> Self {
        Self { world: world.clone(), asked: Mutex::default(), yields }
    }

    fn asked(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }

    async fn enter(&self) {
        if self.yields {
            yield_now().await;
        }
    }
}

impl KeyValue for ObservedHost {
    async fn read(&self, queries: Vec<Query>) -> Result<Vec<Value>, StoreError> {
        self.enter().await;
        self.world.read(queries).await
    }

    async fn commit(&self, transactions: Vec<Transaction>) -> Result<Vec<Outcome>, StoreError> {
        self.enter().await;
        self.world.commit(transactions).await
    }
}

impl PubSub for ObservedHost {
    async fn publish(&self, publications: Vec<Publication>) -> Result<(), StoreError> {
        self.enter().await;
        self.world.publish(publications).await
    }
}

impl Clock for ObservedHost {
    fn now(&self) -> Timestamp {
        self.world.now()
    }

    async fn wait(&self, milliseconds: u32) {
        self.world.wait(milliseconds).await;
    }
}

impl Telemetry for ObservedHost {
    fn count(&self, name: &'static str, labels: &[(&'static str, &str)], amount: u64) {
        self.world.count(name, labels, amount);
    }
}

/// Implements [`Records`]: every operation is noted, and goes to the world's records.
macro_rules! delegate {
    ($($(#[$doc:meta])* $operation:ident $name:literal
        $method:ident($($argument:ident: $type:ty),*) -> $answer:ty;)*) => {
        impl Records for ObservedHost {
            $(async fn $method(&self, $($argument: $type),*) -> Answer<$answer> {
                self.enter().await;
                self.asked.lock().unwrap().push($name);
                self.world.$method($($argument),*).await
            })*
        }
    };
}

crate::records_operations!(delegate);

fn edit_of(number: u128, content: &str) -> Edit {
    let message = MessageId::from_u128(number);
    Edit { conversation: CONVERSATION, message, editor: ADA, content: content.into(), at: Timestamp(5_000) }
}

/// The stored counter of the conversation and the stored total.
fn stored(world: &FakeWorld, user: UserId) -> (Value, Value) {
    let queries = vec![
        Query::Counter(Key::unread_conversation(user, CONVERSATION)),
        Query::Counter(Key::of_user(Space::UnreadTotal, user)),
    ];
    let mut values = block_on(world.read(queries)).unwrap().into_iter();
    (values.next().unwrap(), values.next().unwrap())
}

#[test]
fn a_deletion_or_edit_in_a_group_of_1000_asks_the_records_once_and_counts_nothing() {
    let (world, members) = cached_group(MEMBERS_MAX as u128);
    for number in 1..=3 {
        block_on(send(&world, draft(number))).unwrap();
    }
    let (reader, other) = (members[500], members[501]);
    block_on(mark_read(&world, reader, CONVERSATION, Some(Seq(2)))).unwrap();
    let host = ObservedHost::new(&world, false);
    let once = Calls { commits: 1, ..Calls::default() };
    world.store.take_calls();

    assert!(!block_on(delete(&host, Some(ADA), CONVERSATION, MessageId::from_u128(2))).unwrap().delayed);
    assert_eq!((host.asked(), world.store.take_calls()), (vec!["delete-message", "announced"], once));
    assert!(!block_on(edit(&host, edit_of(3, "shorter"))).unwrap().delayed);
    assert_eq!((host.asked(), world.store.take_calls()), (vec!["edit-message", "announced"], once));
    block_on(delete(&host, Some(ADA), CONVERSATION, MessageId::from_u128(3))).unwrap();
    assert_eq!((host.asked(), world.store.take_calls()), (vec!["delete-message", "announced"], once));

    let count = |number| (Value::Counter(number), Value::Counter(number));
    assert_eq!(stored(&world, reader), count(0), "message 2 was read, 3 is deleted");
    assert_eq!(stored(&world, other), count(1), "message 1");
    assert_eq!(stored(&world, ADA), count(0));
    assert_eq!(block_on(last_message::get(&world, other, CONVERSATION)).unwrap().value.content, "message 1");
    let receipts = |name: &String| name == "message.read_update";
    let changes: Vec<String> = event_names(&world, other).into_iter().filter(|name| !receipts(name)).collect();
    let deleted = ["message.deleted", "unread.update"];
    assert_eq!(changes[3..], [&deleted[..], &["message.updated"], &deleted].concat());
}

#[test]
fn a_long_edit_takes_one_round_trip_for_each_8_mib() {
    let (world, _) = cached_group(MEMBERS_MAX as u128);
    block_on(send(&world, draft(1))).unwrap();
    world.store.take_calls();
    block_on(edit(&world, edit_of(1, &"x".repeat(CONTENT_BYTES_MAX)))).unwrap();
    assert_eq!(world.store.take_calls(), Calls { commits: 2, ..Calls::default() });
}

#[test]
fn a_member_to_whom_an_earlier_change_was_not_announced_takes_a_snapshot() {
    let world = world();
    for user in [ADA, BEN, CLEO] {
        block_on(unread::totals(&world, user)).unwrap();
    }
    block_on(send(&world, draft(1))).unwrap();
    block_on(world.append_message(draft(2))).unwrap();
    let host = ObservedHost::new(&world, false);
    block_on(delete(&host, Some(ADA), CONVERSATION, MessageId::from_u128(1))).unwrap();
    assert!(host.asked().contains(&"unread"));
    let expected = ["message.new", "message.new", "message.deleted", "unread.update"];
    assert_eq!(event_names(&world, BEN), expected);
    assert_counters_equal_records(&world, &world.records);
}

#[test]
fn records_that_do_not_know_the_positions_make_every_member_take_a_snapshot() {
    let world = world();
    block_on(send(&world, draft(1))).unwrap();
    let deleted =
        block_on(world.delete_message(CONVERSATION, MessageId::from_u128(1), Some(ADA), Timestamp(9))).unwrap();
    let bare = Changed::without_positions(deleted.change, deleted.members, false);
    let host = ObservedHost::new(&world, false);
    assert!(!block_on(announce_or_delay(&host, &bare)));
    assert_eq!(host.asked(), ["unread", "changes", "last-messages", "announced"]);
    assert_eq!(block_on(last_message::get(&world, BEN, CONVERSATION)), Err(Error::NoMessage));
    assert_counters_equal_records(&world, &world.records);
}

#[test]
fn a_deletion_that_is_repeated_is_counted_and_published_once() {
    let world = world();
    block_on(send(&world, draft(1))).unwrap();
    block_on(send(&world, draft(2))).unwrap();
    for _ in 0..3 {
        block_on(delete(&world, Some(ADA), CONVERSATION, MessageId::from_u128(1))).unwrap();
    }
    assert_eq!(stored(&world, BEN), (Value::Counter(1), Value::Counter(1)));
    assert_eq!(event_names(&world, BEN), ["message.new", "message.new", "message.deleted", "unread.update"]);
}

/// Ben has read the message, and his read position has not reached the store yet.
#[test]
fn a_deletion_behind_a_read_position_that_the_store_does_not_know_takes_a_snapshot() {
    let world = world();
    block_on(send(&world, draft(1))).unwrap();
    block_on(send(&world, draft(2))).unwrap();
    block_on(unread::totals(&world, BEN)).unwrap();
    block_on(world.records.mark_read(BEN, CONVERSATION, Some(Seq(1)))).unwrap();
    block_on(delete(&world, Some(ADA), CONVERSATION, MessageId::from_u128(1))).unwrap();
    assert_eq!(stored(&world, BEN), (Value::Counter(1), Value::Counter(1)));
    assert_counters_equal_records(&world, &world.records);
}

#[test]
fn a_message_that_was_deleted_before_it_was_announced_is_counted_by_nobody() {
    let world = world();
    for user in [ADA, BEN, CLEO] {
        block_on(unread::totals(&world, user)).unwrap();
    }
    block_on(world.append_message(draft(1))).unwrap();
    let deleted =
        block_on(world.delete_message(CONVERSATION, MessageId::from_u128(1), Some(ADA), Timestamp(9))).unwrap();
    // The client sends the message again, because it received no answer.
    assert!(block_on(send(&world, draft(1))).unwrap().repeated);
    assert!(!block_on(announce_or_delay(&world, &deleted)));
    assert_eq!(stored(&world, BEN), (Value::Counter(0), Value::Counter(0)));
    assert_eq!(event_names(&world, BEN), ["message.deleted"]);
    assert_eq!(block_on(last_message::get(&world, BEN, CONVERSATION)), Err(Error::NoMessage));
    assert_counters_equal_records(&world, &world.records);
}

#[test]
fn a_member_who_joined_after_the_message_is_not_notified_of_its_end() {
    let world = world();
    let dan = UserId::from_u128(0xD);
    block_on(send(&world, draft(1))).unwrap();
    block_on(unread::totals(&world, dan)).unwrap();
    let change = MemberChange { conversation: CONVERSATION, actor: Some(ADA), user: dan, at: Timestamp(2_000) };
    block_on(add_member(&world, change)).unwrap();
    let host = ObservedHost::new(&world, false);
    block_on(edit(&host, edit_of(1, "other"))).unwrap();
    block_on(delete(&host, Some(ADA), CONVERSATION, MessageId::from_u128(1))).unwrap();
    assert_eq!(host.asked(), ["edit-message", "announced", "delete-message", "announced"]);
    assert_eq!(event_names(&world, dan), ["conversation.added"]);
    block_on(send(&world, draft(2))).unwrap();
    assert_eq!(event_names(&world, dan), ["conversation.added", "message.new"]);
    assert_eq!(stored(&world, dan).0, Value::Counter(1));
}

/// The state in which a deletion meets another use case. Ada has sent messages 1, 2 and 4, Ben has sent message 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StartState {
    AllUnread,
    /// Ben has read messages 1 and 2.
    PartlyRead,
    /// Ben has no counters.
    Uncached,
    /// Message 4 was stored and not announced.
    Unannounced,
    /// Ben has read message 1; only the records know.
    ReadUnnoticed,
}

const STARTS: [StartState; 5] = [
    StartState::AllUnread,
    StartState::PartlyRead,
    StartState::Uncached,
    StartState::Unannounced,
    StartState::ReadUnnoticed,
];

fn begin(start: StartState) -> FakeWorld {
    let world = world();
    for user in [ADA, BEN, CLEO] {
        block_on(unread::totals(&world, user)).unwrap();
    }
    for number in 1..=4 {
        let sender = if number == 3 { BEN } else { ADA };
        let message = Draft { sender, ..draft(number) };
        if number == 4 && start == StartState::Unannounced {
            block_on(world.append_message(message)).unwrap();
        } else {
            block_on(send(&world, message)).unwrap();
        }
    }
    match start {
        StartState::AllUnread | StartState::Unannounced => {}
        StartState::PartlyRead => drop(block_on(mark_read(&world, BEN, CONVERSATION, Some(Seq(2)))).unwrap()),
        StartState::Uncached => block_on(unread::forget(&world, BEN)).unwrap(),
        StartState::ReadUnnoticed => drop(block_on(world.records.mark_read(BEN, CONVERSATION, Some(Seq(1)))).unwrap()),
    }
    world
}

/// What happens at the same time as the deletion of a message.
#[derive(Clone, Copy, Debug)]
enum Meanwhile {
    /// Ben reads up to here, then to the end.
    Read(u64),
    /// Another device of Ada deletes the same message.
    DeleteAgain,
    /// Ada deletes message 4.
    DeleteAnother,
    Edit,
    Send,
    /// Ben asks for his counters.
    Ask,
    /// Ben's counters are deleted.
    Forget,
    /// Cleo is removed and added again.
    Rejoin,
}

const MEANWHILE: [Meanwhile; 10] = [
    Meanwhile::Read(1),
    Meanwhile::Read(2),
    Meanwhile::Read(5),
    Meanwhile::DeleteAgain,
    Meanwhile::DeleteAnother,
    Meanwhile::Edit,
    Meanwhile::Send,
    Meanwhile::Ask,
    Meanwhile::Forget,
    Meanwhile::Rejoin,
];

async fn act(host: &ObservedHost, meanwhile: Meanwhile, deleted: u128) -> Result<(), Error> {
    let cleo = MemberChange { conversation: CONVERSATION, actor: None, user: CLEO, at: Timestamp(2_000) };
    match meanwhile {
        Meanwhile::Read(up_to) => {
            mark_read(host, BEN, CONVERSATION, Some(Seq(up_to))).await?;
            mark_read(host, BEN, CONVERSATION, None).await.map(drop)
        }
        Meanwhile::DeleteAgain => delete(host, Some(ADA), CONVERSATION, MessageId::from_u128(deleted)).await.map(drop),
        Meanwhile::DeleteAnother => delete(host, Some(ADA), CONVERSATION, MessageId::from_u128(4)).await.map(drop),
        Meanwhile::Edit => edit(host, edit_of(4, "edited")).await.map(drop),
        Meanwhile::Send => send(host, draft(5)).await.map(drop),
        Meanwhile::Ask => unread::totals(host, BEN).await.map(drop),
        Meanwhile::Forget => unread::forget(host, BEN).await,
        Meanwhile::Rejoin => {
            remove_member(host, cleo).await?;
            add_member(host, cleo).await.map(drop)
        }
    }
}

/// The total of a cached user is the sum, and no counter is negative.
fn assert_sums(world: &FakeWorld, case: &dyn Fn() -> String) {
    for user in [ADA, BEN, CLEO] {
        match stored(world, user) {
            (_, Value::Missing) => {}
            (Value::Missing, total) => assert_eq!(total, Value::Counter(0), "{}", case()),
            (counter, total) => {
                assert!(matches!(total, Value::Counter(number) if number >= 0), "{total:?}, {}", case());
                assert_eq!(counter, total, "{user}, {}", case());
            }
        }
    }
}

#[test]
fn a_deletion_in_every_order_with_reading_and_writing_counts_once() {
    let mut orders_tried = 0;
    for (start, deleted) in STARTS.into_iter().flat_map(|start| [1, 2].map(|deleted| (start, deleted))) {
        for meanwhile in MEANWHILE {
            let mut orders = Interleavings::with_switches(2);
            loop {
                let world = begin(start);
                let hosts = [(); 2].map(|()| ObservedHost::new(&world, true));
                let deletion =
                    async { delete(&hosts[0], Some(ADA), CONVERSATION, MessageId::from_u128(deleted)).await.map(drop) };
                let tasks: Vec<BoxFuture<'_, Result<(), Error>>> =
                    vec![Box::pin(deletion), Box::pin(act(&hosts[1], meanwhile, deleted))];
                let case = || format!("{start:?}, {deleted} is deleted, {meanwhile:?}");
                let results = orders.run(tasks, || assert_sums(&world, &case));
                let case = || format!("{}, order {:?}", case(), orders.choices());
                // A task that waits for one that never runs gives up; what it has stored is announced by recovery.
                let failed = results.iter().filter_map(|result| result.as_ref().err());
                assert!(failed.into_iter().all(Error::retry), "{results:?}, {}", case());
                assert_at_rest(&world, deleted, &case);
                orders_tried += 1;
                if !orders.advance() {
                    break;
                }
            }
        }
    }
    assert!(orders_tried > 2_000, "{orders_tried} orders");
}

/// Nobody follows Ben at first. Whoever fills Ben's counters may have read the records before the message, and may end
/// before, while or after the announcement asks who is followed.
#[test]
fn a_message_in_every_order_with_the_first_fill_of_a_member_is_counted() {
    let mut orders_tried = 0;
    let mut orders = Interleavings::default();
    loop {
        let world = FakeWorld::new();
        block_on(create(&world, group(&[ADA, BEN]))).unwrap();
        block_on(unread::totals(&world, ADA)).unwrap();
        let hosts = [(); 2].map(|()| ObservedHost::new(&world, true));
        let tasks: Vec<BoxFuture<'_, Result<(), Error>>> = vec![
            Box::pin(async { send(&hosts[0], draft(1)).await.map(drop) }),
            Box::pin(async { unread::totals(&hosts[1], BEN).await.map(drop) }),
        ];
        let results = orders.run(tasks, || {});
        let failed = results.iter().filter_map(|result| result.as_ref().err());
        assert!(failed.into_iter().all(Error::retry), "{results:?}, order {:?}", orders.choices());
        world.clock.advance(PENDING_AFTER_MS + 1);
        block_on(recover(&world)).unwrap();
        let total = block_on(unread::totals(&world, BEN)).unwrap().value.total;
        assert_eq!(total, 1, "order {:?}", orders.choices());
        orders_tried += 1;
        if !orders.advance() {
            break;
        }
    }
    assert!(orders_tried > 50, "{orders_tried} orders");
}

/// After recovery, the counters equal the records, and Ben was told once of the deletion and of each message.
#[track_caller]
fn assert_at_rest(world: &FakeWorld, deleted: u128, case: &dyn Fn() -> String) {
    world.clock.advance(PENDING_AFTER_MS + 1);
    block_on(recover(world)).unwrap();
    assert_sums(world, case);
    for user in [ADA, BEN, CLEO] {
        let recorded: u64 = world.records.unread_of(user).values().sum();
        assert_eq!(block_on(unread::totals(world, user)).unwrap().value.total, recorded, "{user}, {}", case());
    }
    let id = MessageId::from_u128(deleted).to_string();
    let published = world.store.published();
    let of_ben = published.iter().filter(|(user, _)| *user == BEN).map(|(_, event)| event);
    let deletions = of_ben.clone().filter(|event| &*event.name == "message.deleted" && event.payload.contains(&id));
    assert_eq!(deletions.count(), 1, "{}", case());
    let last = world.records.messages_of(CONVERSATION).into_iter().rfind(|message| !message.deleted);
    assert_eq!(block_on(last_message::get(world, BEN, CONVERSATION)).ok().map(|last| last.value), last, "{}", case());
    let messages = world.records.messages_of(CONVERSATION).len();
    let news: Vec<&str> = of_ben.filter(|event| &*event.name == "message.new").map(|event| &*event.payload).collect();
    let distinct: std::collections::BTreeSet<&&str> = news.iter().collect();
    assert_eq!(news.len(), distinct.len(), "{}", case());
    assert!(news.len() <= messages && news.len() + 2 >= messages, "{news:?}, {}", case());
}
