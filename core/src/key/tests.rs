//! The physical names of keys, and which keys are valid.

use super::*;

const USER: UserId = UserId::from_u128(7);
const CONVERSATION: ConversationId = ConversationId::from_u128(9);

fn with_item(space: Space, item: &str) -> Key {
    Key { space, owner: Owner::User(USER), item: Some(item.to_owned()) }
}

#[test]
fn physical_keys_are_those_of_the_documentation() {
    let user = USER.to_string();
    let expected = [
        format!("online:{user}"),
        format!("presence:{user}"),
        format!("devices:{user}"),
        "presence_due:3".to_owned(),
        format!("unread:total:{user}"),
        format!("unread:conv:{user}:{CONVERSATION}"),
        format!("unread:seq:{user}"),
        format!("unread:read:{user}"),
        format!("unread:lease:{user}"),
        format!("last_msg:{CONVERSATION}"),
        format!("app:{user}:cursor"),
    ];
    let keys = [
        Key::of_user(Space::Online, USER),
        Key::of_user(Space::Presence, USER),
        Key::of_user(Space::Devices, USER),
        Key::new(Space::PresenceDue, Owner::Shard(3)),
        Key::of_user(Space::UnreadTotal, USER),
        Key::unread_conversation(USER, CONVERSATION),
        Key::of_user(Space::UnreadSequence, USER),
        Key::of_user(Space::UnreadRead, USER),
        Key::of_user(Space::UnreadLease, USER),
        Key::last_message(CONVERSATION),
        with_item(Space::App, "cursor"),
    ];
    assert_eq!(keys.each_ref().map(Key::physical), expected);
    assert_eq!(keys.map(|key| key.space), Space::ALL);
    assert_eq!(
        Key::unread_conversation(USER, CONVERSATION).physical_in_cluster(),
        format!("unread:conv:{{{user}}}:{CONVERSATION}")
    );
    assert_eq!(feed_physical(USER), format!("feed:{user}"));
    assert_eq!(channel(USER), format!("chat:user:{user}"));
}

#[test]
fn spaces_have_the_names_of_the_contract() {
    let names = Space::ALL.map(|space| space.to_string()).join(" ");
    let expected = "online presence devices presence-due unread-total unread-conversation unread-sequence unread-read \
                    unread-lease last-message app";
    assert_eq!(names, expected);
}

#[test]
fn a_key_has_an_item_exactly_if_its_space_has_items() {
    assert_eq!(with_item(Space::App, "cursor").validate(), Ok(()));
    assert_eq!(Key::of_user(Space::Online, USER).validate(), Ok(()));
    assert_eq!(Key::of_user(Space::App, USER).validate(), Err(KeyError::ItemMissing(Space::App)));
    assert_eq!(with_item(Space::Online, "cursor").validate(), Err(KeyError::ItemRefused(Space::Online)));
}

#[test]
fn an_item_is_short_and_plain() {
    for item in ["a", "a.b_c-9", &"i".repeat(NAME_BYTES_MAX)] {
        assert_eq!(with_item(Space::App, item).validate(), Ok(()), "{item}");
    }
    for item in ["", "A", "a b", "a:b", "{a}", &"i".repeat(NAME_BYTES_MAX + 1)] {
        assert_eq!(with_item(Space::App, item).validate(), Err(KeyError::ItemFormat(Space::App)), "{item}");
    }
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
