//! A count for each user: what is kept, the rule that changes it, and the use cases, which read and commit.

use roost_core::error::Error;
use roost_core::ids::UserId;
use roost_core::key::{Key, Owner};
use roost_core::live_state::{self, Decision};
use roost_core::port::{Check, Event, Mutation, Query, Transaction, World};
use schemars::JsonSchema;
use serde::Serialize;

/// The life of a count after its last change.
const KEPT_MS: u64 = 30 * 86_400_000;

/// A user's count, as clients receive it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, JsonSchema, Serialize)]
pub(crate) struct Tally {
    /// How often the user has counted.
    pub(crate) count: i64,
}

/// The user's count.
pub(crate) async fn show<W: World>(world: &W, user: UserId) -> Result<Tally, Error> {
    let present = live_state::read(world, Query::Counter(key(user))).await?.into_counter()?;
    Ok(Tally { count: present.unwrap_or(0) })
}

/// Adds one to the user's count, and tells the user's devices in the same transaction.
pub(crate) async fn increment<W: World>(world: &W, user: UserId) -> Result<Tally, Error> {
    let updated = live_state::update(world, vec![Query::Counter(key(user))], |mut values| {
        let present = values.pop().map_or(Ok(None), |value| value.into_counter())?;
        next(user, present)
    });
    Ok(updated.await?.reply)
}

/// The rule: from the count that was read to what is committed. If another caller changes the count in between, the check
/// does not hold, and the rule is asked again.
fn next(user: UserId, present: Option<i64>) -> Result<Decision<Tally>, Error> {
    let unchanged = match present {
        Some(count) => Check::Equals(key(user), count.to_string().into_bytes()),
        None => Check::Absent(key(user)),
    };
    let tally = Tally { count: present.unwrap_or(0).saturating_add(1) };
    let transaction = Transaction::new(Owner::User(user))
        .check(unchanged)
        .mutate(Mutation::Set(key(user), tally.count.to_string().into_bytes(), Some(KEPT_MS)))
        .publish(Event::durable("my-function.changed", &tally)?);
    Ok(Decision { transaction, reply: tally })
}

/// Where the count is kept. A later version of the function that keeps it in another form uses another item than `v1.count`.
fn key(user: UserId) -> Key {
    Key::app(Owner::User(user), "v1.count")
}

#[cfg(test)]
mod tests {
    use roost_core::testing::{FakeWorld, block_on};

    use super::*;

    const ADA: UserId = UserId::from_u128(1);
    const BEN: UserId = UserId::from_u128(2);

    #[test]
    fn each_user_has_a_count_and_is_notified() {
        let world = FakeWorld::new();
        assert_eq!(block_on(show(&world, ADA)), Ok(Tally { count: 0 }));
        assert_eq!(block_on(increment(&world, ADA)), Ok(Tally { count: 1 }));
        assert_eq!(block_on(increment(&world, ADA)), Ok(Tally { count: 2 }));
        assert_eq!(block_on(show(&world, BEN)), Ok(Tally { count: 0 }));
        let published = world.store.take_published();
        assert_eq!(published.iter().map(|(user, event)| (*user, &*event.payload)).collect::<Vec<_>>(), [
            (ADA, r#"{"count":1}"#),
            (ADA, r#"{"count":2}"#)
        ]);
    }

    #[test]
    fn a_count_is_forgotten_after_thirty_days() {
        let world = FakeWorld::new();
        block_on(increment(&world, ADA)).unwrap();
        world.clock.advance(KEPT_MS);
        assert_eq!(block_on(show(&world, ADA)), Ok(Tally { count: 0 }));
    }
}
