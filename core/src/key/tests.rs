//! The physical names of keys, and which keys are valid.

use super::*;
use crate::ids::MessageId;
use crate::limits::PRESENCE_SHARDS;

const USER: UserId = UserId::from_u128(7);
const CONVERSATION: ConversationId = ConversationId::from_u128(9);

fn with_item(space: Space, item: &str) -> Key {
    Key { item: Some(item.to_owned()), ..Key::of_user(space, USER) }
}

#[test]
fn physical_keys_are_those_of_the_documentation() {
    let user = USER.to_string();
    let expected = [
        format!("online:{user}"),
        format!("presence:{user}"),
        format!("devices:{user}"),
        "presence_due:3".to_owned(),
        "presence_sweep:3".to_owned(),
        format!("unread:total:{user}"),
        format!("unread:conv:{user}:{CONVERSATION}"),
        format!("unread:seq:{user}"),
        format!("unread:read:{user}"),
        format!("unread:lease:{user}"),
        format!("last_msg:{CONVERSATION}"),
        format!("followed:{user}"),
        format!("read_receipt:{user}:{CONVERSATION}"),
        format!("app::user:{user}:cursor"),
    ];
    let keys = [
        Key::of_user(Space::Online, USER),
        Key::of_user(Space::Presence, USER),
        Key::of_user(Space::Devices, USER),
        Key::new(Space::PresenceDue, Owner::Shard(3)),
        Key::new(Space::PresenceSweep, Owner::Shard(3)),
        Key::of_user(Space::UnreadTotal, USER),
        Key::unread_conversation(USER, CONVERSATION),
        Key::of_user(Space::UnreadSequence, USER),
        Key::of_user(Space::UnreadRead, USER),
        Key::of_user(Space::UnreadLease, USER),
        Key::last_message(CONVERSATION),
        Key::followed(USER),
        Key::read_receipt(USER, CONVERSATION),
        with_item(Space::App, "cursor"),
    ];
    assert_eq!(keys.each_ref().map(Key::physical), expected);
    assert_eq!(keys.map(|key| key.space), Space::ALL);
    assert_eq!(
        Key::unread_conversation(USER, CONVERSATION).physical_in_cluster(),
        format!("unread:conv:{{{user}}}:{CONVERSATION}")
    );
    assert_eq!(Key::of_host(Owner::Shard(3), "outbox.marks".to_owned()).physical(), "host:3:outbox.marks");
    assert_eq!(feed_physical(USER), format!("feed:{user}"));
    assert_eq!(channel(USER), format!("chat:user:{user}"));
}

#[test]
fn spaces_have_the_names_of_the_contract() {
    let names = Space::ALL.map(|space| space.to_string()).join(" ");
    let expected = "online presence devices presence-due presence-sweep unread-total unread-conversation unread-sequence \
                    unread-read unread-lease last-message followed read-receipt app";
    assert_eq!(names, expected);
    assert!(!Space::ALL.contains(&Space::Host), "no function can be granted it");
}

#[test]
fn a_key_has_an_item_exactly_if_its_space_has_items() {
    assert_eq!(with_item(Space::App, "cursor").validate(), Ok(()));
    assert_eq!(Key::of_user(Space::Online, USER).validate(), Ok(()));
    assert_eq!(Key::of_user(Space::App, USER).validate(), Err(KeyError::ItemMissing(Space::App)));
    assert_eq!(with_item(Space::Online, "cursor").validate(), Err(KeyError::ItemRefused(Space::Online)));
}

#[test]
fn an_item_of_a_function_is_any_text_of_bounded_length() {
    for item in ["a", "A b:c{d}%👍\n", &"i".repeat(NAME_BYTES_MAX), &"👍".repeat(NAME_BYTES_MAX / 4)] {
        assert_eq!(with_item(Space::App, item).validate(), Ok(()), "{item}");
    }
    assert_eq!(with_item(Space::App, "").validate(), Err(KeyError::ItemLength(0)));
    let long = "i".repeat(NAME_BYTES_MAX + 1);
    assert_eq!(with_item(Space::App, &long).validate(), Err(KeyError::ItemLength(NAME_BYTES_MAX + 1)));
}

#[test]
fn every_other_item_is_short_and_plain() {
    let counter = |item: &str| with_item(Space::UnreadConversation, item).validate();
    for item in ["a", "a.b_c-9", &"i".repeat(NAME_BYTES_MAX)] {
        assert_eq!(counter(item), Ok(()), "{item}");
    }
    for item in ["", "A", "a b", "a:b", "{a}", "👍", &"i".repeat(NAME_BYTES_MAX + 1)] {
        assert_eq!(counter(item), Err(KeyError::ItemFormat(Space::UnreadConversation)), "{item}");
    }
}

#[test]
fn the_physical_key_of_an_item_names_the_function_and_what_it_is_about() {
    let message = Owner::Message { conversation: CONVERSATION, message: MessageId::from_u128(5) };
    let of = |owner| Key { function: Some("polls".into()), ..Key::app(owner, "votes:👍") };
    let escaped = "votes%3A%F0%9F%91%8D";
    for (owner, standalone, in_cluster) in [
        (Owner::User(USER), format!("user:{USER}"), format!("user:{{{USER}}}")),
        (
            Owner::Conversation(CONVERSATION),
            format!("conversation:{CONVERSATION}"),
            format!("conversation:{{{CONVERSATION}}}"),
        ),
        (
            message,
            format!("message:{CONVERSATION}:{}", MessageId::from_u128(5)),
            format!("message:{{{CONVERSATION}}}:{}", MessageId::from_u128(5)),
        ),
        (Owner::Shard(3), "shard:3".to_owned(), "shard:{3}".to_owned()),
    ] {
        assert_eq!(of(owner).physical(), format!("app:polls:{standalone}:{escaped}"));
        assert_eq!(of(owner).physical_in_cluster(), format!("app:polls:{in_cluster}:{escaped}"));
    }
}

#[test]
fn only_an_item_belongs_to_a_function() {
    let named = |key: Key| Key { function: Some("polls".into()), ..key };
    assert_eq!(named(Key::app(Owner::User(USER), "a")).function_name(), "polls");
    assert_eq!(Key::app(Owner::User(USER), "a").function_name(), "");
    let online = named(Key::of_user(Space::Online, USER));
    assert_eq!((online.function_name(), online.physical()), ("", format!("online:{USER}")));
}

#[test]
fn only_items_are_about_messages_and_in_the_partition_of_the_conversation() {
    let message = Owner::Message { conversation: CONVERSATION, message: MessageId::from_u128(5) };
    assert_eq!(message.partition(), Owner::Conversation(CONVERSATION));
    assert_eq!(Owner::User(USER).partition(), Owner::User(USER));
    assert_eq!(Key::app(message, "a").validate(), Ok(()));
    let refused = Key::new(Space::LastMessage, message).validate();
    assert_eq!(refused, Err(KeyError::MessageRefused(Space::LastMessage)));
}

/// Every host must compute the same shard, also one of another version: these numbers never change.
#[test]
fn a_user_has_the_same_shard_on_every_host() {
    let shard = |bits| match Owner::presence_shard(UserId::from_u128(bits)) {
        Owner::Shard(shard) => shard,
        other => panic!("{other:?} is not a shard"),
    };
    assert_eq!([0, 1, 2, 3, 1 << 64, u128::MAX, (1 << 64) | 1].map(shard), [0, 9, 2, 12, 9, 0, 0]);
    let mut counts = [0; PRESENCE_SHARDS as usize];
    for user in 0..1_600 {
        counts[shard(user) as usize] += 1;
        counts[shard(user << 64) as usize] += 1;
    }
    assert!(counts.iter().all(|count| (100..300).contains(count)), "{counts:?}");
}
