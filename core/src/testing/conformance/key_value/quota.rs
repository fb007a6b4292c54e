//! What the items of a function in the space `app` may take: what counts, what is refused, and what is given back.

use std::sync::Arc;

use super::Harness;
use super::fixture::{Fixture, add, delete_field, durable, set, set_field};
use crate::ids::UserId;
use crate::key::{Key, Owner};
use crate::port::{
    AppBound, Check, ITEM_BYTES, KeyValue, Mutation, Outcome, Query, SCORE_BYTES, StoreError, Transaction, Value,
};

/// Long enough that a slow adapter can change the key before it expires.
const SHORT_MS: u64 = 400;
const LONG_MS: u64 = 600_000;
/// The bytes of an item with ten bytes of content.
const TEN: u64 = ITEM_BYTES + 10;
const ITEM: i64 = ITEM_BYTES as i64;

/// A function that no other case uses, with items of one user.
struct QuotaFixture<'h, H> {
    fixture: Fixture<'h, H>,
    function: Arc<str>,
    bytes_max: u64,
}

impl<'h, H: Harness> QuotaFixture<'h, H> {
    fn new(harness: &'h H, bytes_max: u64) -> Self {
        let function = format!("quota-{:x}", harness.fresh());
        Self { fixture: Fixture::new(harness), function: function.into(), bytes_max }
    }

    fn key(&self, item: &str) -> Key {
        Key { function: Some(Arc::clone(&self.function)), ..self.fixture.key(item) }
    }

    fn transaction(&self) -> Transaction {
        Transaction { app_bound: Some(AppBound(self.bytes_max)), ..self.fixture.transaction() }
    }

    /// Whether the mutations are carried out. Otherwise the bound must be the reason.
    async fn fits<const N: usize>(&self, mutations: [Mutation; N]) -> bool {
        let transaction = mutations.into_iter().fold(self.transaction(), Transaction::mutate);
        is_carried_out(self.fixture.commit(transaction).await)
    }

    /// Carries out a mutation without a bound.
    async fn force(&self, mutation: Mutation) {
        let outcome = self.fixture.commit(self.fixture.transaction().mutate(mutation)).await;
        assert!(is_carried_out(outcome));
    }

    /// Whether exactly so many bytes are left: an item of that size fits, and a larger one does not.
    async fn has_left(&self, bytes: u64) -> bool {
        let filler = |bytes: u64| set(&self.key("filler"), &"x".repeat((bytes - ITEM_BYTES) as usize), None);
        let too_large = self.fits([filler(bytes + 1)]).await;
        let fits = self.fits([filler(bytes)]).await;
        assert!(self.fits([Mutation::Delete(self.key("filler"))]).await);
        fits && !too_large
    }
}

fn is_carried_out(outcome: Outcome) -> bool {
    match outcome {
        Outcome::Committed(_) => true,
        Outcome::Failed(StoreError::QuotaExceeded(_)) => false,
        other => panic!("neither carried out nor beyond the bound: {other:?}"),
    }
}

/// Nothing of it happens, the text names the function and the bound, and other functions are not concerned.
pub async fn a_transaction_beyond_the_bound_changes_nothing<H: Harness>(harness: &H) {
    let quota = QuotaFixture::new(harness, 2 * TEN);
    let (one, two, three) = (quota.key("one"), quota.key("two"), quota.key("three"));
    assert!(quota.fits([set(&one, "0123456789", None), set(&two, "0123456789", None)]).await, "exactly the bound");
    let refused = quota
        .transaction()
        .check(Check::Present(one.clone()))
        .mutate(Mutation::Delete(one.clone()))
        .mutate(set(&three, "0123456789-", None))
        .publish(durable("1"));
    let Outcome::Failed(StoreError::QuotaExceeded(text)) = quota.fixture.commit(refused).await else {
        panic!("beyond the bound")
    };
    assert!(text.contains(&format!("would take {} bytes", 2 * TEN + 1)), "{text}");
    assert!(text.contains(&format!("function.{}.app_bytes_max", quota.function)), "{text}");
    let presence = [&one, &two, &three].map(|key| Query::Presence(key.clone()));
    let found = harness.store().read(presence.into()).await.unwrap();
    assert_eq!(found, [true, true, false].map(Value::Presence));
    assert!(quota.fixture.position().await.without_feed_since().is_some(), "nothing was published");
    let other = QuotaFixture::new(harness, 2 * TEN);
    assert!(other.fits([set(&other.key("one"), "0123456789", None)]).await, "the bound of each function is its own");
}

/// The bytes of a value, the decimal text of a counter, names and values of fields, members and their scores.
pub async fn every_type_counts_its_content<H: Harness>(harness: &H) {
    let quota = QuotaFixture::new(harness, 10 * ITEM_BYTES);
    let [text, number, hash, ordered] = ["text", "number", "hash", "ordered"].map(|item| quota.key(item));
    let mut taken = 0_i64;
    for (mutation, bytes) in [
        (set(&text, "12345", None), ITEM + 5),
        (set(&text, "👍", None), -1),
        (add(&number, -120), ITEM + 4),
        (add(&number, 119), -2),
        (set_field(&hash, "name", "value"), ITEM + 9),
        (set_field(&hash, "ü", "1"), 3),
        (set_field(&hash, "name", ""), -5),
        (Mutation::AddField(hash.clone(), "ü".into(), 9), 1),
        (Mutation::AddField(hash.clone(), "count".into(), 0), 6),
        (delete_field(&hash, "name"), -4),
        (delete_field(&hash, "missing"), 0),
        (Mutation::OrderedPut(ordered.clone(), "member".into(), 7), ITEM + 6 + SCORE_BYTES as i64),
        (Mutation::OrderedPut(ordered.clone(), "member".into(), 700_000), 0),
        (Mutation::OrderedPut(ordered.clone(), "m".into(), 7), 1 + SCORE_BYTES as i64),
        (Mutation::OrderedRemove(ordered.clone(), "missing".into()), 0),
        (Mutation::Expire(text.clone(), LONG_MS), 0),
        (Mutation::Persist(text.clone()), 0),
    ] {
        assert!(quota.fits([mutation.clone()]).await, "{mutation:?}");
        taken += bytes;
        assert!(quota.has_left(quota.bytes_max - taken as u64).await, "after {mutation:?}");
    }
}

/// By deletion, by a smaller value, by another type, and with the last field or member.
pub async fn what_is_removed_is_given_back<H: Harness>(harness: &H) {
    let quota = QuotaFixture::new(harness, 4 * ITEM_BYTES + 100);
    let [text, hash, ordered] = ["text", "hash", "ordered"].map(|item| quota.key(item));
    let large = "x".repeat(200);
    let empty = quota.bytes_max;
    assert!(quota.fits([set(&text, &large, None), set(&text, "1", None)]).await, "only what is left counts");
    assert!(quota.has_left(empty - ITEM_BYTES - 1).await);
    assert!(quota.fits([Mutation::Delete(text.clone()), set_field(&text, "a", "b")]).await, "another type");
    assert!(quota.has_left(empty - ITEM_BYTES - 2).await);
    assert!(quota.fits([delete_field(&text, "a")]).await);
    assert!(quota.has_left(empty).await, "a hash without fields takes nothing");
    let put = Mutation::OrderedPut(ordered.clone(), "m".into(), 1);
    assert!(quota.fits([put.clone(), set_field(&hash, "a", "b")]).await);
    let both = [Mutation::OrderedRemove(ordered.clone(), "m".into()), Mutation::Delete(hash.clone())];
    assert!(quota.fits(both).await && quota.has_left(empty).await);
    assert!(quota.fits([put, Mutation::OrderedRemove(ordered.clone(), "m".into()), add(&ordered, 5)]).await);
    assert!(quota.has_left(empty - ITEM_BYTES - 1).await, "a transaction counts what it leaves");
}

/// It can shrink, and change what does not grow.
pub async fn a_function_above_a_lowered_bound_can_only_shrink<H: Harness>(harness: &H) {
    let quota = QuotaFixture::new(harness, TEN);
    let (one, two) = (quota.key("one"), quota.key("two"));
    for key in [&one, &two] {
        quota.force(set(key, "0123456789", None)).await;
    }
    assert!(!quota.fits([add(&quota.key("more"), 1)]).await);
    assert!(!quota.fits([set(&one, "0123456789+", None)]).await);
    assert!(quota.fits([set(&one, "9876543210", None)]).await);
    assert!(quota.fits([Mutation::Expire(one.clone(), LONG_MS), Mutation::Persist(one.clone())]).await);
    assert!(quota.fits([set(&one, "", None)]).await);
    assert!(!quota.fits([set(&one, "0", None)]).await, "what was given back is not there any more");
    assert!(quota.fits([Mutation::Delete(two)]).await);
    assert!(quota.fits([set(&one, "0123456789", None)]).await);
}

/// Whatever gave it a time to live. An item without one stays.
pub async fn what_expires_is_given_back<H: Harness>(harness: &H) {
    let quota = QuotaFixture::new(harness, 4 * TEN);
    let [set_for, expiring, kept, persisted] = ["a", "b", "c", "d"].map(|item| quota.key(item));
    let value = "0123456789";
    assert!(quota.fits([set(&set_for, value, Some(SHORT_MS)), set(&expiring, value, None)]).await);
    assert!(quota.fits([set(&kept, value, None), set(&persisted, value, Some(SHORT_MS))]).await);
    assert!(quota.fits([Mutation::Expire(expiring.clone(), SHORT_MS), Mutation::Persist(persisted)]).await);
    assert!(!quota.fits([add(&quota.key("more"), 1)]).await, "nothing has expired");
    harness.advance(SHORT_MS).await;
    assert!(quota.has_left(2 * TEN).await);
    assert!(quota.fits([set(&set_for, value, None), set_field(&expiring, "field", "value")]).await, "they begin anew");
    assert!(!quota.fits([add(&quota.key("more"), 1)]).await);
}

/// A renewed item is counted once, however often it is renewed.
pub async fn a_renewed_item_counts_once<H: Harness>(harness: &H) {
    let quota = QuotaFixture::new(harness, 2 * TEN);
    let key = quota.key("cursor");
    for number in 0..20 {
        let text = format!("012345678{}", number % 10);
        assert!(quota.fits([set(&key, &text, Some(LONG_MS + number))]).await, "{number}");
        assert!(quota.fits([Mutation::Expire(key.clone(), LONG_MS * 2 + number)]).await);
    }
    assert!(quota.has_left(TEN).await);
}

/// The items of all owners count together. On a Cluster the others are known with a delay.
pub async fn the_bound_holds_over_all_owners<H: Harness>(harness: &H) {
    let quota = QuotaFixture::new(harness, 10 * TEN);
    let fits = async || {
        let owner = Owner::User(UserId::from_u128(harness.fresh()));
        let key = Key { owner, ..quota.key("item") };
        let transaction = Transaction { app_bound: Some(AppBound(quota.bytes_max)), ..Transaction::new(owner) };
        let outcomes = harness.store().commit(vec![transaction.mutate(set(&key, "0123456789", None))]).await;
        is_carried_out(outcomes.unwrap().remove(0))
    };
    for number in 0..10 {
        assert!(fits().await, "{number}");
    }
    let mut beyond = 0;
    while fits().await {
        beyond += 1;
        assert!(beyond <= harness.app_items_beyond_max(), "the function is never told that its bound is reached");
        harness.advance(50).await;
    }
    assert!(!fits().await && !fits().await);
}

/// Callers that race each other never take more than the bound.
pub async fn concurrent_callers_do_not_exceed_the_bound<H: Harness>(harness: &H) {
    let quota = QuotaFixture::new(harness, 7 * TEN);
    let caller = |number: usize| {
        let key = quota.key(&format!("item {number}"));
        let quota = &quota;
        let future: crate::testing::task::BoxFuture<'_, bool> =
            Box::pin(async move { quota.fits([set(&key, "0123456789", None)]).await });
        future
    };
    let fitted = crate::testing::task::join_all((0..20).map(caller).collect()).await;
    assert_eq!(fitted.into_iter().filter(|fitted| *fitted).count(), 7);
}
