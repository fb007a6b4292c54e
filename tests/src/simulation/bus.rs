//! The bus between the store and the hosts: for each user in order, but it may lose a delivery without a word, hand it
//! over twice, or be cut off.

use roost_core::ids::UserId;
use roost_core::port::Delivery;

use super::hub::Mail;
use super::ledger::Told;
use super::oracle::{counters, presence};
use super::world::World;

/// Hands on what was just published: to the oracles for certain, to the hosts as far as faults allow.
pub(crate) fn spread(world: &World) {
    for (user, delivery) in world.store.take_published() {
        seen(world, user, &delivery);
        for index in 0..world.hosts_count() {
            if world.host(index).joined.contains(&user) {
                post(world, index, user, &delivery);
            }
        }
    }
}

fn seen(world: &World, user: UserId, delivery: &Delivery) {
    let offset = delivery.position.as_ref().map_or(0, |position| position.offset);
    world.kernel.note("publish", [offset, delivery.payload.len() as u64], || {
        format!("{} {} {:?} {}", world.short(user), delivery.name, delivery.position, delivery.payload)
    });
    match &delivery.position {
        Some(position) => {
            let told =
                Told { name: delivery.name.clone(), payload: delivery.payload.clone(), position: position.clone() };
            world.ledger().feeds.entry(user).or_default().push(told);
            counters::published(world, user, delivery);
        }
        None => presence::published(world, user, delivery),
    }
}

fn post(world: &World, index: usize, user: UserId, delivery: &Delivery) {
    let plan = &world.plan;
    let (lost, twice) = world.kernel.draw(|rng| (rng.chance(plan.lose), rng.chance(plan.duplicate)));
    if lost && !world.is_calm() {
        world.kernel.note("lose", [index as u64, 0], || format!("h{index} never hears of it"));
        return;
    }
    world.post(index, Mail::Delivery(user, delivery.clone()));
    if twice && !world.is_calm() {
        world.post(index, Mail::Delivery(user, delivery.clone()));
    }
}

/// The store restarts empty; every host hears that it was cut off.
pub(crate) fn wipe(world: &World) {
    world.kernel.note("wipe", [0; 2], || "the store restarts empty".to_owned());
    world.store.wipe();
    let now_ms = world.kernel.now_ms();
    world.ledger().wiped(now_ms);
    for index in world.hosts_up() {
        world.post(index, Mail::Interrupted);
    }
}
