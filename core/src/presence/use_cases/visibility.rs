//! Tells two users what they see of each other after a contact or a block has changed.
//!
//! Both records get the next generation, without a transition, before the records are asked who sees whom. So an event
//! that was published for whoever could see a user before has a lower generation than the one that hides the user, in
//! whatever order they arrive, and clients drop it. The generation that is told is read before the records are asked,
//! too: if another change follows, the event that tells it has a higher one. Nothing is written for a user who was
//! never seen.
//!
//! What the two had said was read before the change, and in between the other one may have become visible, and may have
//! been shown, by a change of another call. Whoever makes the two invisible hides them in that case, too.

use super::announce::{announce, take_back_forgotten};
use crate::error::Error;
use crate::event::{self, PresenceView};
use crate::ids::UserId;
use crate::limits::TRIES_MAX;
use crate::port::{ContactAudience, Publication, Relation, Value, World};
use crate::presence::rules::record::{self, PresenceAnnouncement, PresenceRecord, Status};
use crate::store_calls::{is_committed, read_all};

/// Tells both users the present state of the other, or that the other is not visible any more. `before` is what the two
/// had said about each other before the change; `None`: it is not known.
pub async fn show_change<W: World>(
    world: &W,
    (user, other): (UserId, UserId),
    before: Option<Relation>,
) -> Result<(), Error> {
    let now = world.relation(user, other).await?;
    let was_visible = before.is_some_and(|before| most_visible(before, now).is_visible());
    let is_as_before = before.is_some_and(|before| before.is_visible() == now.is_visible());
    if is_as_before && (now.is_visible() || !was_visible) {
        return Ok(());
    }
    for one in [user, other] {
        next_generation(world, one).await?;
    }
    let values = read_all(world, record::view_queries(&[user, other]), 1).await?;
    let now = world.relation(user, other).await?;
    let (mut publications, mut shown_online) = (Vec::new(), Vec::new());
    for (viewer, shown, is_concerned, value) in
        [(user, other, now.contact, values.get(1)), (other, user, now.contact_of, values.first())]
    {
        // A user who never had the other as a contact has seen nothing, and learns nothing now.
        if is_concerned || was_visible || before.is_none() && viewer == user {
            let view = record::view(shown, value.unwrap_or(&Value::Missing))?;
            publications.extend(shown_as(view, now.is_visible()).map(|event| Publication { user: viewer, event }));
            if view.online && now.is_visible() {
                shown_online.push((announced(view), ContactAudience { user: shown, visible: vec![viewer] }));
            }
        }
    }
    if publications.is_empty() {
        return Ok(());
    }
    world.count("presence_shown", &[("visible", if now.is_visible() { "yes" } else { "no" })], 1);
    world.publish(publications).await?;
    take_back_forgotten(world, shown_online).await
}

/// What was published about a user who is shown as online.
const fn announced(view: PresenceView) -> PresenceAnnouncement {
    let PresenceView { user, last_seen, generation, .. } = view;
    PresenceAnnouncement { user, status: Status::Online, last_seen, generation, repeated: false }
}

/// The most that each of two users can have allowed the other between two readings of what they say about each other.
/// If that does not make them visible, nobody has shown them to each other in that time, unless one of them has changed
/// something and changed it back: then that user's devices were told so, and show nothing of the other one any more.
const fn most_visible(before: Relation, now: Relation) -> Relation {
    Relation {
        contact: before.contact || now.contact,
        blocked: before.blocked && now.blocked,
        contact_of: before.contact_of || now.contact_of,
        blocked_by: before.blocked_by && now.blocked_by,
    }
}

/// The event for a user who may see the presence of another one, or may not. `None`: there is nothing to correct about
/// a user who was never seen.
fn shown_as(view: PresenceView, is_visible: bool) -> Option<crate::port::Event> {
    let PresenceView { user, online, last_seen, generation } = view;
    let event = || {
        if is_visible {
            event::presence(user, online, last_seen, generation)
        } else {
            event::presence(user, false, None, generation)
        }
    };
    (generation > 0).then(event)
}

/// Gives the record of a user the next generation. What was not announced yet is announced first, because nobody would
/// repeat the announcement of a generation that is over.
async fn next_generation<W: World>(world: &W, user: UserId) -> Result<(), Error> {
    for _ in 0..TRIES_MAX {
        let values = read_all(world, vec![PresenceRecord::query(user)], 1).await?;
        let record = PresenceRecord::parse(values.first().unwrap_or(&Value::Missing))?;
        if let Some(unannounced) = record.unannounced(user) {
            announce(world, vec![unannounced]).await?;
            continue;
        }
        let Some(transaction) = record.counted_on(user) else { return Ok(()) };
        if is_committed(world, transaction).await? {
            return Ok(());
        }
    }
    Err(Error::Contended)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ConnectionId;
    use crate::key::{Key, Owner, Space};
    use crate::port::{KeyValue, Mutation, Operation, Records, Transaction};
    use crate::presence::heartbeat;
    use crate::testing::{FakeWorld, block_on};
    use crate::time::Timestamp;

    const USER: UserId = UserId::from_u128(7);
    const OTHER: UserId = UserId::from_u128(8);

    #[test]
    fn a_user_who_may_not_be_seen_is_shown_offline_without_a_time() {
        let view = PresenceView { user: USER, online: true, last_seen: Some(Timestamp(9_000)), generation: 41 };
        assert_eq!(shown_as(view, true), Some(event::presence(USER, true, Some(Timestamp(9_000)), 41)));
        assert_eq!(shown_as(view, false), Some(event::presence(USER, false, None, 41)));
        assert_eq!(shown_as(PresenceView { generation: 0, ..view }, false), None);
    }

    /// Another host has ended the block and has counted on, when this one has just learned of the block.
    #[test]
    fn an_event_that_hides_late_is_older_than_the_one_that_shows_again() {
        const NEXT: u64 = 4_000_000_000_000;
        let world = FakeWorld::new();
        for (user, other) in [(USER, OTHER), (OTHER, USER)] {
            let device: ConnectionId = "device".parse().unwrap();
            block_on(heartbeat(&world, &[(user, device)])).unwrap();
            block_on(world.add_contact(user, other)).unwrap();
        }
        let before = block_on(world.relation(USER, OTHER)).unwrap();
        block_on(world.block(USER, OTHER)).unwrap();
        world.store.take_published();
        let store = world.clone();
        let host = world.changed_after((Operation::Relation, 2), move |records| {
            block_on(records.unblock(USER, OTHER)).unwrap();
            let next = |user| {
                let field = vec![(record::GENERATION.into(), NEXT.to_string().into())];
                Transaction::new(Owner::User(user))
                    .mutate(Mutation::SetFields(Key::of_user(Space::Presence, user), field))
            };
            block_on(store.commit([USER, OTHER].map(next).into())).unwrap();
        });
        block_on(show_change(&host, (USER, OTHER), Some(before))).unwrap();
        let published = world.store.take_published();
        assert_eq!(published.len(), 2, "{published:?}");
        for (_, event) in published {
            let payload: serde_json::Value = serde_json::from_str(&event.payload).unwrap();
            assert_eq!(&*event.name, "user.offline");
            assert!(payload["generation"].as_u64().is_some_and(|generation| generation < NEXT), "{payload}");
        }
    }
}
