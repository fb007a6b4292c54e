//! Recovery while a part of the store does not answer: what can be reached is recovered. Recovery that kills its host
//! ends.

use super::*;

const OTHER: ConversationId = ConversationId::from_u128(8);

/// A connection to a store in which the partitions of some owners do not answer.
struct PartlyAway<'s> {
    host: Host<'s>,
    away: Vec<Owner>,
}

impl KeyValue for PartlyAway<'_> {
    async fn read(&self, queries: Vec<Query>) -> Result<Vec<Value>, StoreError> {
        if queries.iter().any(|query| self.away.contains(&query.key().owner)) {
            return Err(AWAY);
        }
        self.host.read(queries).await
    }

    async fn commit(&self, transactions: Vec<Transaction>) -> Result<Vec<Outcome>, StoreError> {
        let is_away = |transaction: &Transaction| self.away.contains(&transaction.owner);
        let away: Vec<bool> = transactions.iter().map(is_away).collect();
        let sound = transactions.into_iter().filter(|transaction| !is_away(transaction)).collect();
        let mut outcomes = self.host.commit(sound).await?.into_iter();
        Ok(away.into_iter().map(|away| if away { Outcome::Failed(AWAY) } else { outcomes.next().unwrap() }).collect())
    }
}

impl OutboxStore for PartlyAway<'_> {
    fn now(&self) -> Timestamp {
        self.host.now()
    }

    fn new_id(&self) -> Uuid {
        self.host.new_id()
    }

    fn report(&self, event: &OutboxEvent<'_>) {
        self.host.report(event);
    }
}

/// Commits a transaction of this conversation on a host that dies before it delivers the event.
fn leave_undelivered(fixture: &Fixture, number: u128, conversation: ConversationId) {
    let transaction = Transaction::new(Owner::Conversation(conversation)).address(vec![ANN, BOB], event("poll.vote"));
    let died = Host::new(fixture, number, Some((1, HostFault::DiesAfter)));
    block_on(commit(&died, vec![transaction.into()])).unwrap_err();
}

/// The shard that has a mark.
fn marked_shard(fixture: &Fixture) -> Owner {
    let mut keys = fixture.store.entries().into_keys();
    keys.find(|key| key.item.as_deref() == Some("outbox.marks")).unwrap().owner
}

#[test]
fn an_entry_whose_partition_is_away_is_postponed_and_the_others_are_delivered() {
    let fixture = Fixture::new();
    leave_undelivered(&fixture, 1, GROUP);
    leave_undelivered(&fixture, 2, OTHER);
    fixture.clock.advance(OUTBOX_GRACE_MS);
    let host = PartlyAway { host: Host::new(&fixture, 3, None), away: vec![Owner::Conversation(GROUP)] };
    let rounds: Vec<_> = (0..OUTBOX_SHARDS).map(|shard| block_on(recover(&host, shard))).collect();
    let sums = rounds.iter().fold((0_u64, 0_u64), |(delivered, postponed), round| {
        (delivered + round.delivered, postponed + round.postponed)
    });
    assert_eq!(sums, (1, 1), "{rounds:?}");
    assert_eq!(rounds.iter().filter(|round| round.error.is_some()).count(), 1);
    assert_eq!(fixture.received()[&ANN], ["poll.vote"]);
    assert_eq!(fixture.recover().delivered, 1, "the partition answers again");
    assert_eq!(fixture.received()[&ANN], ["poll.vote", "poll.vote"]);
    assert_eq!(fixture.left_over(), Vec::<String>::new());
}

#[test]
fn shards_that_are_away_keep_no_other_shard_waiting() {
    let fixture = Fixture::new();
    leave_undelivered(&fixture, 1, GROUP);
    fixture.clock.advance(OUTBOX_GRACE_MS);
    let marked = marked_shard(&fixture);
    let away = (0..OUTBOX_SHARDS).map(Owner::Shard).filter(|shard| *shard != marked).collect();
    let host = PartlyAway { host: Host::new(&fixture, 2, None), away };
    let DueShards { shards, error } = block_on(due_shards(&host));
    assert_eq!((shards.len(), error), (1, Some(AWAY.into())));
    assert_eq!(block_on(recover(&host, shards[0])), OutboxRecovery { delivered: 1, ..OutboxRecovery::default() });
    assert_eq!(fixture.received().len(), 2);
}

#[test]
fn a_shard_that_is_away_ends_its_round_with_the_error() {
    let fixture = Fixture::new();
    leave_undelivered(&fixture, 1, GROUP);
    fixture.clock.advance(OUTBOX_GRACE_MS);
    let Owner::Shard(shard) = marked_shard(&fixture) else { panic!("marks are in shards") };
    let host = PartlyAway { host: Host::new(&fixture, 2, None), away: vec![Owner::Shard(shard)] };
    let expected = OutboxRecovery { error: Some(AWAY.into()), ..OutboxRecovery::default() };
    assert_eq!(block_on(recover(&host, shard)), expected);
    assert_eq!(fixture.recover().delivered, 1);
}

#[test]
fn a_delivery_that_kills_its_host_is_not_repeated_for_ever() {
    let fixture = Fixture::new();
    leave_undelivered(&fixture, 1, GROUP);
    let Owner::Shard(shard) = marked_shard(&fixture) else { panic!("marks are in shards") };
    for number in 0..OUTBOX_ATTEMPTS_MAX {
        fixture.clock.advance(OUTBOX_LEASE_MS);
        // The calls before the delivery: the marks, the claim, the entry and the count.
        let dying = Host::new(&fixture, 2 + u128::from(number), Some((4, HostFault::DiesBefore)));
        assert_eq!(block_on(recover(&dying, shard)).delivered, 0);
    }
    assert_eq!(fixture.recover(), OutboxRecovery { dropped: 1, ..OutboxRecovery::default() });
    assert_eq!((fixture.received().len(), fixture.left_over()), (0, vec![]));
}
