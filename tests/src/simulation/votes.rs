//! Votes: a use case as functions of operators have it. It counts in the partition of a conversation and notifies the
//! members, in one transaction; and the recovery of the outbox that this needs.

use roost_core::ids::ConversationId;
use roost_core::key::{Key, Owner};
use roost_core::limits::OUTBOX_SHARDS;
use roost_core::outbox::{self, OutboxStore};
use roost_core::port::{Event, KeyValue, Mutation, PubSub, Publication, Query, Transaction, Value};
use roost_core::time::Timestamp;
use uuid::Uuid;

use super::executor::complete_now;
use super::ground_truth::CastVote;
use super::plan::SKEW_MS_MAX;
use super::planted_bug::PlantedBug;
use super::port::Port;

/// The name of the event, and of the item that holds the votes of a conversation.
pub(crate) const EVENT: &str = "poll.vote";
pub(crate) const ITEM: &str = "votes";

impl OutboxStore for Port {
    fn now(&self) -> Timestamp {
        roost_core::port::Clock::now(self)
    }

    fn new_id(&self) -> Uuid {
        Uuid::from_u128((0x0B << 64) | u128::from(self.world.name()))
    }
}

/// Counts one vote, and notifies the members of the conversation. If the answer is an error, the vote may be counted.
pub(crate) async fn vote(port: &Port, conversation: ConversationId) {
    let vote = port.world.name().to_string();
    let members = port.world.records.members_of(conversation);
    if members.is_empty() {
        return;
    }
    let cast = CastVote { notified: members.clone(), counted_ms: None };
    port.world.ground_truth().votes.insert(vote.clone(), cast);
    let key = Key::app(Owner::Conversation(conversation), ITEM);
    let count = Mutation::AddField(key.clone(), vote.clone().into(), 1);
    let event = Event { name: EVENT.into(), payload: vote.as_str().into(), durable: true };
    let transaction = Transaction::new(key.owner).mutate(count);
    if port.world.has_bug(PlantedBug::NotifyInASecondStep) {
        let publication = |user| Publication { user, event: event.clone() };
        if port.commit(vec![transaction]).await.is_ok() {
            port.publish(members.into_iter().map(publication).collect()).await.ok();
        }
        return;
    }
    outbox::commit(port, vec![transaction.address(members, event).into()]).await.ok();
}

/// Recovers the outbox again and again.
pub(crate) async fn run_outbox(port: Port) {
    loop {
        let span_ms = port.world.kernel.draw(|rng| rng.between(1_000, 4_000));
        port.world.kernel.pause(span_ms).await;
        if is_due(&port) {
            for shard in outbox::due_shards(&port).await.shards {
                outbox::recover(&port, shard).await;
            }
        }
    }
}

/// Skips rounds that would find nothing: they only read.
fn is_due(port: &Port) -> bool {
    let maximum = port.world.now().plus(SKEW_MS_MAX).score();
    let due = |shard| {
        let key = Key::of_host(Owner::Shard(shard), "outbox.marks".to_owned());
        let range = Query::OrderedRange { key, minimum: i64::MIN, maximum, limit: 1 };
        complete_now(port.world.store.read(vec![range])).is_ok_and(|values| values != [Value::Ordered(Vec::new())])
    };
    (0..OUTBOX_SHARDS).any(due)
}
