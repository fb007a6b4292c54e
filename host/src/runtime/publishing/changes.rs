//! The calls that changes of conversations cause: `message.new`, `message.updated` and `message.deleted`.
//!
//! Such an event is published to each member separately, again after a crash, and to nobody if nobody is there to
//! receive it. Therefore its calls are caused by the confirmation that the change was announced: once for each change.
//! The confirmation is the last step of an announcement, and an announcement without one is repeated, so no call is
//! lost.
//!
//! A function that is called for messages and sends messages itself could be called for its own. What such a function
//! changes is remembered for a while, so that it is not called for that, and so that two of them do not go on for ever.

use std::collections::BTreeMap;

use roost_core::error::Error;
use roost_core::event;
use roost_core::ids::{ConversationId, Seq, UserId};
use roost_core::key::{Key, Owner};
use roost_core::limits::{ORIGIN_TTL_MS, TRIGGER_DEPTH_MAX};
use roost_core::outbox::{OutboxEvent, OutboxStore};
use roost_core::port::{
    Answer, Change, ChangeRange, Changed, Confirmation, KeyValue, Mutation, Query, Records, RecordsError, StoreError,
    Transaction, Value,
};
use roost_core::trigger::{self, EnqueueOutcome, Trigger};

use super::{Publisher, calls};

/// When a confirmation may be repeated whose calls could not be queued.
const RETRY_AFTER_MS: u32 = 1_000;

/// The function that made a change, and the depth of the call in which it did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct ChangeOrigin {
    function: String,
    depth: u32,
}

impl ChangeOrigin {
    fn to_text(&self) -> String {
        format!("{} {}", self.depth, self.function)
    }

    fn parse(text: &str) -> Option<Self> {
        let (depth, function) = text.split_once(' ')?;
        Some(Self { function: function.to_owned(), depth: depth.parse().ok()? })
    }
}

fn origin_key(conversation: ConversationId, seq: Seq) -> Key {
    Key::of_host(Owner::Conversation(conversation), format!("origin.{seq}"))
}

impl Publisher<'_> {
    /// Remembers that this function made a change, if that matters. If the store does not answer, it is forgotten.
    pub(in crate::runtime) async fn remember_origin(&self, changed: &Changed) {
        let is_subscriber = self.world.subscriptions.has(&event::CHANGES, self.function);
        if changed.repeated || (self.depth == 0 && !is_subscriber) {
            return;
        }
        let origin = ChangeOrigin { function: self.function.to_owned(), depth: self.depth };
        let key = origin_key(changed.change.message.conversation, changed.change.seq);
        let set = Mutation::Set(key.clone(), origin.to_text().into_bytes(), Some(ORIGIN_TTL_MS));
        if let Err(error) = self.world.store.commit(vec![Transaction::new(key.owner).mutate(set)]).await {
            tracing::debug!(function = self.function, %error, "the origin of a change is not remembered");
        }
    }

    /// Queues the calls for changes that are about to be confirmed. After an error they must not be confirmed.
    pub(in crate::runtime) async fn announce(&self, confirmations: &[Confirmation]) -> Answer<()> {
        if !self.world.subscriptions.has_any(&event::CHANGES, self.function) {
            return Ok(());
        }
        match self.queue_changes(confirmations).await {
            Ok(()) => Ok(()),
            Err(error) if error.retry() => {
                Err(RecordsError::Unavailable { retry_after_ms: error.retry_after_ms().unwrap_or(RETRY_AFTER_MS) })
            }
            // Repeating the announcement does not help, and must not keep it pending for ever.
            Err(error) => {
                tracing::error!(%error, "functions are not called for changes of conversations");
                Ok(())
            }
        }
    }

    async fn queue_changes(&self, confirmations: &[Confirmation]) -> Result<(), Error> {
        let changes = self.changes(confirmations).await?;
        let origins = self.origins(&changes).await?;
        let mut members = BTreeMap::new();
        let mut triggers = Vec::new();
        for (change, origin) in changes.iter().zip(origins) {
            triggers.extend(self.triggers(change, &origin, &mut members).await?);
        }
        self.enqueue(&triggers).await
    }

    /// The changes as the records hold them now. Those of conversations that are gone are left out.
    async fn changes(&self, confirmations: &[Confirmation]) -> Answer<Vec<Change>> {
        let range = |confirmation: &Confirmation| match confirmation {
            Confirmation::Change(conversation, seq) => {
                Some(ChangeRange { conversation: *conversation, after: seq.previous(), up_to: *seq })
            }
            Confirmation::Member(..)
            | Confirmation::Membership(..)
            | Confirmation::Creation(..)
            | Confirmation::Contact(..) => None,
        };
        let ranges: Vec<ChangeRange> = confirmations.iter().filter_map(range).collect();
        if ranges.is_empty() {
            return Ok(Vec::new());
        }
        Ok(self.world.records.changes(ranges).await?.into_iter().flatten().collect())
    }

    /// Who made each change; nobody in particular if that is not known.
    async fn origins(&self, changes: &[Change]) -> Result<Vec<ChangeOrigin>, StoreError> {
        let query = |change: &Change| Query::Bytes(origin_key(change.message.conversation, change.seq));
        let values = self.world.store.read(changes.iter().map(query).collect()).await?;
        let origin = |value| match value {
            Value::Bytes(bytes) => ChangeOrigin::parse(&String::from_utf8_lossy(&bytes)).unwrap_or_default(),
            _ => ChangeOrigin::default(),
        };
        Ok(values.into_iter().map(origin).collect())
    }

    /// The calls for one change. `members` has the members of conversations that were looked up before.
    async fn triggers(
        &self,
        change: &Change,
        origin: &ChangeOrigin,
        members: &mut BTreeMap<ConversationId, Vec<UserId>>,
    ) -> Answer<Vec<Trigger>> {
        let Some(event) = event::change(change) else { return Ok(Vec::new()) };
        let mut functions = self.world.subscriptions.of(&event.name, self.function);
        functions.retain(|function| *function != origin.function);
        if origin.depth >= TRIGGER_DEPTH_MAX {
            functions.drain(..).for_each(|function| calls::drop_loop(&function, &event.name, 1));
        }
        if functions.is_empty() {
            return Ok(Vec::new());
        }
        let conversation = change.message.conversation;
        let users = match members.get(&conversation) {
            Some(users) => users.clone(),
            None => match self.members(change).await? {
                Some(users) => members.entry(conversation).or_insert(users).clone(),
                None => Vec::new(),
            },
        };
        let trigger = |function| Trigger {
            function,
            id: trigger::change_id(conversation, change.seq),
            event: event.clone(),
            users: users.clone(),
            depth: origin.depth + 1,
        };
        Ok(functions.into_iter().map(trigger).collect())
    }

    /// The members of the change's conversation; `None` if its sender has left, who may not see them.
    async fn members(&self, change: &Change) -> Answer<Option<Vec<UserId>>> {
        match self.world.records.membership(change.message.conversation, change.message.sender).await {
            Ok(membership) => Ok(Some(membership.members)),
            Err(error @ RecordsError::Unavailable { .. }) => Err(error),
            Err(_) => Ok(None),
        }
    }

    async fn enqueue(&self, triggers: &[Trigger]) -> Result<(), Error> {
        let outbox = self.world.outbox();
        let outcomes = trigger::enqueue(&outbox, triggers, outbox.now()).await?;
        for (trigger, outcome) in triggers.iter().zip(outcomes) {
            match outcome {
                EnqueueOutcome::Queued => outbox.report(&OutboxEvent::TriggerQueued(trigger)),
                EnqueueOutcome::Known => {}
                EnqueueOutcome::Failed(error @ StoreError::Unavailable { .. }) => return Err(error.into()),
                EnqueueOutcome::Full | EnqueueOutcome::Failed(_) => {
                    outbox.report(&OutboxEvent::TriggerDropped(trigger));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use roost_core::port::{Draft, MemberChange, NewConversation};
    use roost_core::time::Timestamp;

    use super::*;
    use crate::runtime::state::HostWorld;

    const ANN: UserId = UserId::from_u128(1);
    const BOB: UserId = UserId::from_u128(2);
    const GROUP: ConversationId = ConversationId::from_u128(9);

    /// A world with a conversation of two users, and two functions that are called for new messages.
    async fn world() -> HostWorld {
        let world = HostWorld::for_tests().await;
        world.subscriptions.set(&[("message.new", &["bot", "search"])]);
        let new = NewConversation { id: Some(GROUP), creator: ANN, members: vec![BOB], at: Timestamp(1) };
        world.records.create_conversation(new).await.unwrap();
        world
    }

    fn publisher<'w>(world: &'w HostWorld, function: &'w str, depth: u32) -> Publisher<'w> {
        Publisher { world, function, depth }
    }

    /// Sends a message as this function does, in a call of this depth.
    async fn send(world: &HostWorld, function: &str, depth: u32) -> Seq {
        send_as(world, ANN, function, depth).await
    }

    async fn send_as(world: &HostWorld, sender: UserId, function: &str, depth: u32) -> Seq {
        let (kind, content) = ("text".to_owned(), "hello".to_owned());
        let draft = Draft { conversation: GROUP, sender, id: None, kind, content, at: Timestamp(2) };
        let changed = world.records.append_message(draft).await.unwrap();
        publisher(world, function, depth).remember_origin(&changed).await;
        changed.change.seq
    }

    async fn confirm(world: &HostWorld, seqs: &[Seq]) {
        let confirmations: Vec<_> = seqs.iter().map(|seq| Confirmation::Change(GROUP, *seq)).collect();
        publisher(world, "messaging", 0).announce(&confirmations).await.unwrap();
    }

    /// The calls that wait for a function.
    async fn calls(world: &HostWorld, function: &str) -> Vec<Trigger> {
        let claimed = trigger::claim(&world.store, function, (100, 1), world.store.now()).await.unwrap();
        claimed.calls.into_iter().map(|claimed| claimed.trigger).collect()
    }

    #[tokio::test]
    async fn a_change_causes_one_call_for_each_function_however_often_it_is_confirmed() {
        let world = world().await;
        let seqs = [send(&world, "messaging", 0).await, send(&world, "messaging", 0).await];
        confirm(&world, &seqs).await;
        confirm(&world, &seqs).await;
        for function in ["bot", "search"] {
            let calls = calls(&world, function).await;
            let ids: Vec<&str> = calls.iter().map(|call| call.id.as_str()).collect();
            assert_eq!(ids, [format!("{GROUP}.1"), format!("{GROUP}.2")]);
            let mut users = calls[0].users.clone();
            users.sort_unstable();
            assert_eq!((users, &*calls[0].event.name, calls[0].depth), (vec![ANN, BOB], "message.new", 1));
        }
    }

    #[tokio::test]
    async fn a_sender_who_has_left_takes_the_users_from_no_other_change() {
        let world = world().await;
        let seqs = [send_as(&world, BOB, "messaging", 0).await, send(&world, "messaging", 0).await];
        let leave = MemberChange { conversation: GROUP, actor: Some(BOB), user: BOB, at: Timestamp(3) };
        world.records.remove_member(leave).await.unwrap();
        confirm(&world, &seqs).await;
        let users: Vec<_> = calls(&world, "bot").await.into_iter().map(|call| call.users).collect();
        assert_eq!(users, [vec![], vec![ANN]]);
    }

    #[tokio::test]
    async fn a_function_is_not_called_for_a_message_that_it_sent_itself() {
        let world = world().await;
        let seq = send(&world, "bot", 1).await;
        confirm(&world, &[seq]).await;
        assert!(calls(&world, "bot").await.is_empty());
        let [call] = &calls(&world, "search").await[..] else { panic!("one call") };
        assert_eq!(call.depth, 2);
    }

    #[tokio::test]
    async fn a_chain_of_messages_that_functions_answer_with_messages_ends() {
        let world = world().await;
        let seq = send(&world, "bot", TRIGGER_DEPTH_MAX).await;
        confirm(&world, &[seq]).await;
        assert!(calls(&world, "search").await.is_empty());
    }

    #[tokio::test]
    async fn what_cannot_be_found_causes_no_call_and_no_error() {
        let world = world().await;
        confirm(&world, &[Seq(77)]).await;
        let member = Confirmation::Member(GROUP, ANN, 1);
        publisher(&world, "messaging", 0).announce(&[member]).await.unwrap();
        assert!(calls(&world, "bot").await.is_empty());
    }

    #[test]
    fn an_origin_is_restored_from_its_text() {
        let origin = ChangeOrigin { function: "bot".into(), depth: 2 };
        assert_eq!(ChangeOrigin::parse(&origin.to_text()), Some(origin));
        assert_eq!(ChangeOrigin::parse("bot"), None);
        let longest = origin_key(ConversationId::from_u128(u128::MAX), Seq(u64::MAX));
        assert!(longest.validate().is_ok());
    }
}
