//! Deletes a user's cached counters.

use crate::error::Error;
use crate::ids::UserId;
use crate::key::{Key, Owner, Space};
use crate::limits::TRIES_MAX;
use crate::port::{Check, Mutation, Outcome, Query, Transaction, World};
use crate::{store_answers, store_calls};

/// Deletes the cached counters; the next read rebuilds them. The positions up to which changes were published stay, so that
/// nothing is published twice.
pub async fn forget<W: World>(world: &W, user: UserId) -> Result<(), Error> {
    let total = Key::of_user(Space::UnreadTotal, user);
    let positions = Key::of_user(Space::UnreadSequence, user);
    for _ in 0..TRIES_MAX {
        let mut values =
            world.read(vec![Query::Counter(total.clone()), Query::Fields(positions.clone())]).await?.into_iter();
        let Some(found) = store_answers::counter(values.next())? else { return Ok(()) };
        let mut transaction = Transaction::new(Owner::User(user))
            .check(Check::Equals(total.clone(), found.to_string().into_bytes()))
            .mutate(Mutation::Delete(total.clone()))
            .mutate(Mutation::Delete(Key::of_user(Space::UnreadRead, user)));
        for (name, _) in store_answers::fields(values.next())? {
            let counter = Key { item: Some(name), ..Key::of_user(Space::UnreadConversation, user) };
            transaction = transaction.mutate(Mutation::Delete(counter));
        }
        match store_calls::commit_one(world, transaction).await? {
            Outcome::Committed(_) => return Ok(()),
            Outcome::Refused(_) => {}
            Outcome::Failed(error) => return Err(error.into()),
        }
    }
    Err(Error::Contended)
}
