//! Two users change what they say about each other at the same time: every order in which the port calls of the two can
//! be interleaved. In the end each of them is shown the other one as online exactly if the two may see each other.

use super::faulty_host::FaultyHost;
use super::*;
use crate::contacts;
use crate::error::Error;
use crate::port::{Delivery, Operation, Relation};
use crate::testing::{BoxFuture, Interleavings};

/// What a user does about the other one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum UserAction {
    Add,
    Remove,
    Block,
    Unblock,
}

/// All that two users can have said about each other.
fn starts() -> impl Iterator<Item = Relation> {
    (0..16_u8).map(|bits| {
        let is_set = |bit: u8| bits & (1 << bit) != 0;
        Relation { contact: is_set(0), blocked: is_set(1), contact_of: is_set(2), blocked_by: is_set(3) }
    })
}

/// Ann and Bob are online, and Ann's relation to Bob is this one.
fn begin(start: Relation) -> FakeWorld {
    let world = FakeWorld::new();
    for user in [ANN, BOB] {
        block_on(heartbeat(&world, &[(user, connection("a"))])).unwrap();
    }
    for (user, other, is_contact, is_blocked) in
        [(ANN, BOB, start.contact, start.blocked), (BOB, ANN, start.contact_of, start.blocked_by)]
    {
        if is_contact {
            block_on(world.add_contact(user, other)).unwrap();
        }
        if is_blocked {
            block_on(world.block(user, other)).unwrap();
        }
    }
    world.store.take_published();
    world
}

async fn act(host: &FaultyHost, action: UserAction, user: UserId, other: UserId) -> Result<(), Error> {
    match action {
        UserAction::Add => contacts::add(host, user, other).await,
        UserAction::Remove => contacts::remove(host, user, other).await,
        UserAction::Block => contacts::block(host, user, other).await,
        UserAction::Unblock => contacts::unblock(host, user, other).await,
    }
}

fn generation(world: &FakeWorld, user: UserId) -> u64 {
    let query = Query::Fields(Key::of_user(Space::Presence, user));
    let Value::Fields(fields) = block_on(world.read(vec![query])).unwrap().remove(0) else { panic!("expected a hash") };
    fields.into_iter().find(|(name, _)| name.as_str() == GENERATION).unwrap().1.parse().unwrap()
}

/// Whether a client shows the other user as online after these events. It drops those whose generation is not above the
/// one that it knows.
fn is_shown(events: &[(UserId, Delivery)], (viewer, other): (UserId, UserId), known: Option<u64>) -> bool {
    let mut shown = (known.is_some(), known.unwrap_or_default());
    for (_, event) in events.iter().filter(|(to, event)| *to == viewer && event.name.starts_with("user.")) {
        let payload: Json = serde_json::from_str(&event.payload).unwrap();
        assert_eq!(payload["user"], other.to_string());
        let generation = payload["generation"].as_u64().unwrap();
        if generation > shown.1 {
            shown = (&*event.name == "user.online", generation);
        }
    }
    shown.0
}

/// Ann does the first one, and Bob the second one, in every order and from every start.
fn in_every_order(actions: [UserAction; 2]) {
    for start in starts() {
        let mut orders = Interleavings::with_switches(2);
        loop {
            let world = begin(start);
            let known = [ANN, BOB].map(|user| start.is_visible().then(|| generation(&world, user)));
            let hosts = actions.map(|_| FaultyHost::yielding(&world));
            let mut tasks: Vec<BoxFuture<'_, Result<(), Error>>> = Vec::new();
            for ((host, action), (user, other)) in hosts.iter().zip(actions).zip([(ANN, BOB), (BOB, ANN)]) {
                tasks.push(Box::pin(act(host, action, user, other)));
            }
            orders.run(tasks, || {}).into_iter().for_each(|result| result.unwrap());

            let is_visible = block_on(world.relation(ANN, BOB)).unwrap().is_visible();
            let events = world.store.take_published();
            let case = format!("{start:?}, {actions:?}, order {:?}: {events:?}", orders.choices());
            assert_eq!(is_shown(&events, (BOB, ANN), known[0]), is_visible, "Ann to Bob: {case}");
            assert_eq!(is_shown(&events, (ANN, BOB), known[1]), is_visible, "Bob to Ann: {case}");
            if !orders.advance() {
                break;
            }
        }
    }
}

#[test]
fn a_block_hides_both_whatever_the_other_one_does_meanwhile() {
    in_every_order([UserAction::Block, UserAction::Add]);
    in_every_order([UserAction::Block, UserAction::Unblock]);
}

#[test]
fn the_removal_of_a_contact_hides_both_whatever_the_other_one_does_meanwhile() {
    in_every_order([UserAction::Remove, UserAction::Add]);
    in_every_order([UserAction::Remove, UserAction::Unblock]);
}

#[test]
fn two_who_become_visible_together_are_shown_to_each_other() {
    in_every_order([UserAction::Add, UserAction::Add]);
    in_every_order([UserAction::Add, UserAction::Unblock]);
    in_every_order([UserAction::Unblock, UserAction::Unblock]);
}

#[test]
fn who_is_shown_although_the_store_has_lost_both_is_taken_back() {
    let world = begin(Relation { contact: false, blocked: false, contact_of: true, blocked_by: false });
    let store = std::sync::Arc::clone(&world.store);
    let host = world.changed_after((Operation::Relation, 4), move |_| store.wipe());
    block_on(contacts::add(&host, ANN, BOB)).unwrap();
    let published = world.store.take_published();
    for user in [ANN, BOB] {
        let names: Vec<&str> =
            published.iter().filter(|(to, _)| *to == user).map(|(_, delivery)| &*delivery.name).collect();
        let presence: Vec<&str> = names.into_iter().filter(|name| name.starts_with("user.")).collect();
        assert_eq!(presence, ["user.online", "user.offline"]);
    }
}
