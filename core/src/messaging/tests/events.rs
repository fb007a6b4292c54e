//! The events about memberships and counters: to whom, once, in the transaction that moves the state, and after a crash
//! between the records and the store.

use serde_json::Value as Json;

use super::*;
use crate::limits::{FOLLOWED_TTL_MS, MEMBERS_NOTIFIED_MAX, PENDING_AFTER_MS};
use crate::port::{Confirmation, Operation, PendingQuery, Replay};

pub(super) const DAN: UserId = UserId::from_u128(0xD);
pub(super) const GROUP: ConversationId = ConversationId::from_u128(0x88);

/// Everybody is connected, and Ada, Ben and Cleo are in a conversation.
pub(super) fn connected() -> FakeWorld {
    let world = FakeWorld::new();
    for user in [ADA, BEN, CLEO, DAN] {
        connect(&world, user);
    }
    block_on(create(&world, group(&[ADA, BEN, CLEO]))).unwrap();
    world.store.take_published();
    world
}

fn connect(world: &FakeWorld, user: UserId) {
    block_on(world.follow(&[user])).unwrap();
    block_on(unread::totals(world, user)).unwrap();
}

/// The events that are kept since this was last called, by user, with their payloads.
pub(super) fn received(world: &FakeWorld) -> BTreeMap<UserId, Vec<(String, Json)>> {
    let mut all: BTreeMap<UserId, Vec<(String, Json)>> = BTreeMap::new();
    for (user, delivery) in world.store.take_published() {
        if delivery.position.is_none() {
            continue;
        }
        let payload = serde_json::from_str(&delivery.payload).unwrap();
        all.entry(user).or_default().push((delivery.name.to_string(), payload));
    }
    all
}

pub(super) fn names(received: &BTreeMap<UserId, Vec<(String, Json)>>, user: UserId) -> Vec<&str> {
    received.get(&user).into_iter().flatten().map(|(name, _)| name.as_str()).collect()
}

pub(super) fn change_of(user: UserId) -> MemberChange {
    MemberChange { conversation: CONVERSATION, actor: Some(ADA), user, at: Timestamp(2_000) }
}

fn recovered(world: &FakeWorld) -> usize {
    world.clock.advance(PENDING_AFTER_MS + 1);
    block_on(recover(world)).unwrap()
}

pub(super) fn is_anything_pending(world: &FakeWorld) -> bool {
    !block_on(world.pending(PendingQuery::untried(Timestamp(u64::MAX)))).unwrap().items.is_empty()
}

#[test]
fn every_member_of_a_new_conversation_is_shown_it() {
    let world = connected();
    let new = NewConversation { id: Some(GROUP), ..group(&[ADA, BEN]) };
    block_on(create(&world, new.clone())).unwrap();
    let events = received(&world);
    for user in [ADA, BEN] {
        assert_eq!(names(&events, user), ["conversation.added"]);
        let shown = &events[&user][0].1;
        assert_eq!((shown["id"].clone(), shown["member_count"].clone()), (GROUP.to_string().into(), 2.into()));
        assert_eq!((&shown["unread"], &shown["seq"], &shown["read"]), (&0.into(), &0.into(), &0.into()));
    }
    assert_eq!(events.len(), 2);
    block_on(create(&world, new)).unwrap();
    assert_eq!(received(&world).len(), 0, "a repetition");
    assert!(!is_anything_pending(&world));
}

#[test]
fn whoever_is_added_is_shown_the_conversation_and_the_others_who_came() {
    let world = connected();
    block_on(send(&world, draft(1))).unwrap();
    received(&world);
    block_on(add_member(&world, change_of(DAN))).unwrap();
    let events = received(&world);
    assert_eq!(names(&events, DAN), ["conversation.added"]);
    let shown = &events[&DAN][0].1;
    assert_eq!((&shown["read"], &shown["unread"], &shown["last_message"]), (&1.into(), &0.into(), &Json::Null));
    for user in [ADA, BEN, CLEO] {
        assert_eq!(names(&events, user), ["conversation.members", "message.read_update"]);
        let change = &events[&user][0].1;
        assert_eq!((&change["added"], &change["removed"]), (&vec![DAN.to_string()].into(), &Json::Array(vec![])));
        assert_eq!(change["member_count"], 4);
        assert_eq!(events[&user][1].1["up_to"], 1, "where the new member begins");
    }
    block_on(add_member(&world, change_of(DAN))).unwrap();
    assert_eq!(received(&world).len(), 0, "a repetition");
    assert!(!is_anything_pending(&world));
}

#[test]
fn whoever_is_removed_loses_the_counter_and_the_others_are_notified() {
    let world = connected();
    block_on(send(&world, draft(1))).unwrap();
    received(&world);
    block_on(remove_member(&world, change_of(BEN))).unwrap();
    let events = received(&world);
    assert_eq!(names(&events, BEN), ["conversation.removed"]);
    assert_eq!(events[&BEN][0].1, serde_json::json!({ "conversation": CONVERSATION, "total": 0 }));
    assert_eq!(names(&events, CLEO), ["conversation.members"]);
    assert_eq!(events[&CLEO][0].1["removed"], Json::from(vec![BEN.to_string()]));
    block_on(remove_member(&world, change_of(BEN))).unwrap();
    assert_eq!(received(&world).len(), 0, "a repetition");
    assert!(!is_anything_pending(&world));
}

#[test]
fn a_member_who_comes_back_is_shown_the_conversation_as_it_is_now() {
    let world = connected();
    block_on(send(&world, draft(1))).unwrap();
    block_on(remove_member(&world, change_of(BEN))).unwrap();
    block_on(send(&world, draft(2))).unwrap();
    received(&world);
    block_on(add_member(&world, change_of(BEN))).unwrap();
    assert_eq!(names(&received(&world), BEN), ["conversation.added"]);
    block_on(send(&world, draft(3))).unwrap();
    assert_eq!(names(&received(&world), BEN), ["message.new"]);
    assert_counters_equal_records(&world, &world.records);
}

/// The records have stored the changes, and every call that should have announced them is gone.
#[test]
fn what_a_crash_left_unannounced_is_announced_by_recovery_once() {
    let world = connected();
    block_on(world.create_conversation(NewConversation { id: Some(GROUP), ..group(&[ADA, DAN]) })).unwrap();
    block_on(world.add_member(change_of(DAN))).unwrap();
    block_on(world.remove_member(change_of(BEN))).unwrap();
    assert_eq!(recovered(&world), 3);
    let events = received(&world);
    assert_eq!(names(&events, BEN), ["conversation.removed"]);
    assert_eq!(names(&events, DAN).iter().filter(|name| **name == "conversation.added").count(), 2);
    let members = names(&events, CLEO).into_iter().filter(|name| *name == "conversation.members");
    assert_eq!(members.count(), 2);
    assert!(names(&events, ADA).contains(&"conversation.added"));
    assert!(!is_anything_pending(&world));
    assert_eq!((recovered(&world), received(&world).len()), (0, 0));
}

/// The members of a change that was announced and not confirmed are told again what holds, which changes nothing for a
/// client.
#[test]
fn a_lost_confirmation_repeats_what_holds() {
    let world = connected();
    block_on(add_member(&world, change_of(DAN))).unwrap();
    block_on(world.remove_member(change_of(CLEO))).unwrap();
    block_on(world.add_member(change_of(CLEO))).unwrap();
    received(&world);
    recovered(&world);
    let events = received(&world);
    let moved = events[&ADA].iter().find(|(name, _)| name == "conversation.members").unwrap();
    assert_eq!(moved.1["added"], Json::from(vec![CLEO.to_string()]), "Cleo is a member");
    assert_eq!(moved.1["member_count"], 4);
}

/// Whoever else announces the same membership confirms it in the middle of the work of recovery, which then cannot read
/// what holds now.
#[test]
fn what_recovery_published_before_it_lost_an_answer_is_corrected_although_nothing_is_pending() {
    for operation in [Operation::Unread, Operation::Members] {
        let world = connected();
        block_on(world.add_member(change_of(DAN))).unwrap();
        world.clock.advance(PENDING_AFTER_MS + 1);
        let host = world.lost_after(("conversation.members", operation), |records| {
            let confirmed = [DAN, CLEO].map(|user| Confirmation::Membership(CONVERSATION, user, 1));
            block_on(records.remove_member(change_of(CLEO))).unwrap();
            block_on(records.announced(confirmed.into())).unwrap();
        });
        assert_eq!(block_on(recover(&host)), Ok(1));
        assert_eq!(block_on(world.pending(PendingQuery::tried(Timestamp(u64::MAX)))).unwrap().items, []);
        let events = received(&world);
        let changes = events[&ADA].iter().filter(|(name, _)| name == "conversation.members");
        let counts: Vec<&Json> = changes.map(|(_, payload)| &payload["member_count"]).collect();
        assert_eq!(counts, [&Json::from(4), &Json::from(3)], "{operation:?}");
    }
}

/// The call that has created the conversation may have failed half-way, and nothing but the pending creation shows it.
#[test]
fn a_repetition_leaves_what_another_call_began_to_recovery() {
    let world = connected();
    let new = NewConversation { id: Some(GROUP), ..group(&[ADA, BEN]) };
    block_on(world.create_conversation(new.clone())).unwrap();
    assert!(block_on(create(&world, new)).unwrap().repeated);
    assert_eq!(names(&received(&world), BEN), ["conversation.added"], "at once");
    assert!(is_anything_pending(&world));
    assert_eq!(recovered(&world), 1);
    assert_eq!(names(&received(&world), BEN), ["conversation.added", "unread.update"]);
    assert!(!is_anything_pending(&world));
}

/// Ada is the first one as whom the conversation is loaded, and Ben is another one.
#[test]
fn a_conversation_that_is_shown_again_hides_read_positions_across_a_block() {
    for blocker in [ADA, BEN] {
        let world = connected();
        let new = NewConversation { id: Some(GROUP), ..group(&[ADA, BEN, CLEO]) };
        block_on(world.create_conversation(new)).unwrap();
        block_on(world.append_message(Draft { conversation: GROUP, ..draft(1) })).unwrap();
        for reader in [ADA, BEN, CLEO] {
            block_on(world.mark_read(reader, GROUP, None)).unwrap();
        }
        block_on(world.block(blocker, CLEO)).unwrap();
        recovered(&world);
        let events = received(&world);
        for user in [ADA, BEN, CLEO] {
            let is_blocked = |other| [(user, other), (other, user)].contains(&(blocker, CLEO));
            let shown: Vec<&Json> = of_group(&events, user, "conversation.added");
            assert!(!shown.is_empty(), "{user}");
            for (shown, other) in shown.iter().flat_map(|shown| [ADA, BEN, CLEO].map(|other| (shown, other))) {
                assert_eq!(shown["reads"][other.to_string()], u64::from(!is_blocked(other)), "{user} sees {other}");
            }
            let readers = of_group(&events, user, "message.read_update");
            let hidden = readers.iter().find(|event| is_blocked(event["reader"].as_str().unwrap().parse().unwrap()));
            assert_eq!(hidden, None, "{user}");
        }
    }
}

/// The payloads of the events of a name that are about the group.
fn of_group<'e>(received: &'e BTreeMap<UserId, Vec<(String, Json)>>, user: UserId, name: &str) -> Vec<&'e Json> {
    let id = Json::from(GROUP.to_string());
    let named = received.get(&user).into_iter().flatten().filter(|(found, _)| found == name);
    named.map(|(_, payload)| payload).filter(|payload| payload["id"] == id || payload["conversation"] == id).collect()
}

#[test]
fn nobody_is_notified_who_comes_and_goes_in_a_large_conversation() {
    let world = FakeWorld::new();
    let members: Vec<UserId> = (0x1000..).take(MEMBERS_NOTIFIED_MAX).map(UserId::from_u128).collect();
    block_on(create(&world, NewConversation { members: members.clone(), ..group(&[ADA]) })).unwrap();
    for user in [members[0], DAN] {
        connect(&world, user);
    }
    received(&world);
    block_on(add_member(&world, change_of(DAN))).unwrap();
    let events = received(&world);
    assert_eq!((names(&events, DAN), names(&events, members[0])), (vec!["conversation.added"], vec![]));
    for user in &members[1..3] {
        block_on(remove_member(&world, change_of(*user))).unwrap();
    }
    assert_eq!(names(&received(&world), members[0]), ["conversation.members"], "100 members are left");
}

#[test]
fn whoever_is_away_and_uncached_costs_no_key() {
    let world = FakeWorld::new();
    connect(&world, ADA);
    let keys = world.store.dump().len();
    let members: Vec<UserId> = (0x1000..0x1100).map(UserId::from_u128).collect();
    block_on(create(&world, NewConversation { members, ..group(&[]) })).unwrap();
    block_on(add_member(&world, change_of(DAN))).unwrap();
    let others: Vec<String> = world.store.dump().into_keys().filter(|key| !key.contains(&ADA.to_string())).collect();
    assert_eq!(others, [""; 0]);
    assert!(world.store.dump().len() > keys, "Ada's counter");
}

#[test]
fn a_follower_whose_counters_were_forgotten_is_notified_of_memberships() {
    let world = connected();
    for user in [DAN, CLEO] {
        block_on(unread::forget(&world, user)).unwrap();
    }
    block_on(add_member(&world, change_of(DAN))).unwrap();
    block_on(remove_member(&world, change_of(CLEO))).unwrap();
    let events = received(&world);
    assert_eq!(names(&events, DAN)[0], "conversation.added");
    assert_eq!(names(&events, CLEO).last(), Some(&"conversation.removed"));
    assert_counters_equal_records(&world, &world.records);
}

#[test]
fn events_of_memberships_are_replayed() {
    let world = connected();
    let since = block_on(world.positions(&[DAN])).unwrap().remove(0);
    block_on(add_member(&world, change_of(DAN))).unwrap();
    block_on(remove_member(&world, change_of(DAN))).unwrap();
    let Replay::Events(missed) = block_on(world.replay(DAN, &since)).unwrap() else { panic!("a gap") };
    let names: Vec<&str> = missed.iter().map(|event| &*event.name).collect();
    assert_eq!(names, ["conversation.added", "conversation.removed"]);
}

#[test]
fn a_deletion_tells_whoever_loses_one_the_counter() {
    let world = connected();
    for number in 1..=2 {
        block_on(send(&world, draft(number))).unwrap();
    }
    block_on(mark_read(&world, CLEO, CONVERSATION, Some(Seq(1)))).unwrap();
    received(&world);
    block_on(delete(&world, Some(ADA), CONVERSATION, MessageId::from_u128(1))).unwrap();
    let events = received(&world);
    assert_eq!(names(&events, BEN), ["message.deleted", "unread.update"]);
    let update = serde_json::json!({ "conversation": CONVERSATION, "unread": 1, "total": 1, "read": 0, "seq": 3 });
    assert_eq!(events[&BEN][1].1, update);
    for user in [ADA, CLEO] {
        assert_eq!(names(&events, user), ["message.deleted"], "nothing of theirs moved");
    }
}

#[test]
fn counters_that_were_wrong_are_repaired_and_clients_load_the_state() {
    let world = connected();
    block_on(send(&world, draft(1))).unwrap();
    received(&world);
    block_on(unread::repair(&world, BEN)).unwrap();
    assert_eq!(names(&received(&world), BEN), ["resync"]);
}

#[test]
fn members_who_are_not_followed_any_more_get_no_event_that_is_kept() {
    let world = connected();
    world.clock.advance(FOLLOWED_TTL_MS + 1);
    block_on(world.follow(&[ADA])).unwrap();
    block_on(add_member(&world, change_of(DAN))).unwrap();
    let kept = received(&world);
    assert_eq!(kept.keys().collect::<Vec<_>>(), [&ADA]);
    assert!(!is_anything_pending(&world));
}

#[test]
fn a_confirmation_of_another_move_leaves_the_membership_pending() {
    let world = connected();
    block_on(world.add_member(change_of(DAN))).unwrap();
    block_on(world.announced(vec![Confirmation::Member(CONVERSATION, DAN, 1)])).unwrap();
    assert!(is_anything_pending(&world));
}
