//! The bus between the store and the hosts. It keeps the order of each user, but it can lose or repeat a delivery
//! without notice, or be interrupted.

use roost_core::ids::UserId;
use roost_core::port::Delivery;

use super::ground_truth::PublishedEvent;
use super::oracle::{counters, presence};
use super::sessions::InboxItem;
use super::world::World;

/// Delivers what was just published: to the oracles always, to the hosts as far as faults allow.
pub(crate) fn spread(world: &World) {
    for (user, delivery) in world.store.take_published() {
        observe(world, user, &delivery);
        for index in 0..world.hosts_count() {
            if world.host(index).joined.contains(&user) {
                deliver(world, index, user, &delivery);
            }
        }
    }
}

fn observe(world: &World, user: UserId, delivery: &Delivery) {
    let offset = delivery.position.as_ref().map_or(0, |position| position.offset);
    world.kernel.note("publish", [offset, delivery.payload.len() as u64], || {
        format!("{} {} {:?} {}", world.label(user), delivery.name, delivery.position, delivery.payload)
    });
    match &delivery.position {
        Some(position) => {
            let event = PublishedEvent {
                name: delivery.name.clone(),
                payload: delivery.payload.clone(),
                position: position.clone(),
            };
            world.ground_truth().feeds.entry(user).or_default().push(event);
            counters::published(world, user, delivery);
        }
        None => presence::published(world, user, delivery),
    }
}

fn deliver(world: &World, index: usize, user: UserId, delivery: &Delivery) {
    let plan = &world.plan;
    let (lost, twice) = world.kernel.draw(|rng| (rng.chance(plan.lose), rng.chance(plan.duplicate)));
    if lost && !world.faults_stopped() {
        world.kernel.note("lose", [index as u64, 0], || format!("h{index} does not receive it"));
        return;
    }
    world.post(index, InboxItem::Delivery(user, delivery.clone()));
    if twice && !world.faults_stopped() {
        world.post(index, InboxItem::Delivery(user, delivery.clone()));
    }
}

/// Restarts the store empty; every host is notified of the interruption.
pub(crate) fn wipe(world: &World) {
    world.kernel.note("wipe", [0; 2], || "the store restarts empty".to_owned());
    world.store.wipe();
    let now_ms = world.kernel.now_ms();
    world.ground_truth().wiped(now_ms);
    for index in world.hosts_up() {
        world.post(index, InboxItem::Interrupted);
    }
}
