//! The names of keys and channels in Redis: with the operator's prefix, and on a Cluster with the owner as a hash tag.

use std::sync::LazyLock;

use crc::{CRC_16_XMODEM, Crc};
use roost_core::ids::UserId;
use roost_core::key::{Key, Owner, Space, channel, feed_physical};

/// Hash slots of a Cluster.
pub(super) const SLOTS: u16 = 16_384;

/// Makes the names of keys and channels.
#[derive(Clone, Debug)]
pub(super) struct RedisNames {
    prefix: String,
    in_cluster: bool,
    /// Every name of a channel up to the id of the user.
    channel_start: String,
    /// Every name of a feed up to the id of the user.
    feed_start: String,
}

impl RedisNames {
    pub(super) fn new(prefix: &str, in_cluster: bool) -> Self {
        let tag = if in_cluster { "{" } else { "" };
        let user = UserId::from_u128(0);
        let start = |name: String| format!("{prefix}{}{tag}", name.trim_end_matches(&user.to_string()));
        let (channel_start, feed_start) = (start(channel(user)), start(feed_physical(user)));
        Self { prefix: prefix.to_owned(), in_cluster, channel_start, feed_start }
    }

    pub(super) const fn in_cluster(&self) -> bool {
        self.in_cluster
    }

    pub(super) fn key(&self, key: &Key) -> String {
        let key = if self.in_cluster { key.physical_in_cluster() } else { key.physical() };
        if self.prefix.is_empty() { key } else { format!("{}{key}", self.prefix) }
    }

    /// The names of all counters of a space that a hash can index, up to the item.
    pub(super) fn counters_up_to_item(&self, index: &Key, space: Space) -> String {
        self.key(&index.sibling(space, String::new()))
    }

    /// The text with which the names of all items of a function begin.
    pub(super) fn items_of(&self, function: &str) -> String {
        format!("{}app:{function}:", self.prefix)
    }

    /// The two keys in which the bytes of a function's items are counted. On a Cluster each slot has its own, because a
    /// transaction is carried out by the server that leads the slot of the owner.
    pub(super) fn ledger(&self, function: &str, owner: Owner) -> [String; 2] {
        self.ledger_of(function, self.slot(owner))
    }

    /// The ledger of a function in a slot.
    pub(super) fn ledger_of(&self, function: &str, slot: u16) -> [String; 2] {
        let tag = if self.in_cluster { format!(":{{{}}}", slot_tag(slot)) } else { String::new() };
        ["app_bytes", "app_due"].map(|name| format!("{}{name}:{function}{tag}", self.prefix))
    }

    /// What the ledgers of a function have in all slots of a Cluster.
    pub(super) fn app_total(&self, function: &str) -> String {
        self.plain(&format!("app_total:{function}"))
    }

    pub(super) fn feed(&self, user: UserId) -> String {
        self.of_user(&self.feed_start, user)
    }

    pub(super) fn channel(&self, user: UserId) -> String {
        self.of_user(&self.channel_start, user)
    }

    /// The user whose channel this is; `None` if it is another program's.
    pub(super) fn user_of(&self, channel: &[u8]) -> Option<UserId> {
        let rest = channel.strip_prefix(self.channel_start.as_bytes())?;
        let user = if self.in_cluster { rest.strip_suffix(b"}")? } else { rest };
        std::str::from_utf8(user).ok()?.parse().ok()
    }

    /// The command that publishes to a channel.
    pub(super) const fn publish_command(&self) -> &'static str {
        if self.in_cluster { "SPUBLISH" } else { "PUBLISH" }
    }

    /// The name of something that belongs to no owner.
    pub(super) fn plain(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// The slot of a name without an owner. Without a Cluster it is always the same.
    pub(super) fn slot_of(&self, name: &str) -> u16 {
        if self.in_cluster { slot_of_tag(name) } else { 0 }
    }

    /// The slot of everything in the partition of the owner. Without a Cluster it is always the same.
    pub(super) fn slot(&self, owner: Owner) -> u16 {
        if self.in_cluster { slot_of_tag(&owner.partition().to_string()) } else { 0 }
    }

    fn of_user(&self, start: &str, user: UserId) -> String {
        if self.in_cluster { format!("{start}{user}}}") } else { format!("{start}{user}") }
    }
}

/// The checksum from which a Cluster computes the slot of a key.
const SLOT_CHECKSUM: Crc<u16> = Crc::<u16>::new(&CRC_16_XMODEM);

fn slot_of_tag(tag: &str) -> u16 {
    SLOT_CHECKSUM.checksum(tag.as_bytes()) % SLOTS
}

/// A hash tag of each slot: the smallest number that a Cluster puts there.
fn slot_tag(slot: u16) -> u32 {
    static TAGS: LazyLock<Vec<u32>> = LazyLock::new(|| {
        let mut tags = vec![None; usize::from(SLOTS)];
        let mut missing = tags.len();
        for number in 0.. {
            if missing == 0 {
                break;
            }
            if let Some(tag @ None) = tags.get_mut(usize::from(slot_of_tag(&number.to_string()))) {
                *tag = Some(number);
                missing -= 1;
            }
        }
        tags.into_iter().flatten().collect()
    });
    TAGS.get(usize::from(slot)).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use roost_core::ids::{ConversationId, MessageId};

    use super::*;

    const USER: u128 = 0x6f1c_1fd4_3c5b_4a8e_9d1a_0c6a_2f1b_7e55;
    const TEXT: &str = "6f1c1fd4-3c5b-4a8e-9d1a-0c6a2f1b7e55";

    #[test]
    fn names_are_plain_on_one_server_and_tagged_on_a_cluster() {
        let user = UserId::from_u128(USER);
        let key = Key::of_user(Space::UnreadTotal, user);
        let standalone = RedisNames::new("", false);
        assert_eq!(standalone.key(&key), format!("unread:total:{TEXT}"));
        assert_eq!(standalone.counters_up_to_item(&key, Space::UnreadConversation), format!("unread:conv:{TEXT}:"));
        assert_eq!(
            (standalone.feed(user), standalone.channel(user)),
            (format!("feed:{TEXT}"), format!("chat:user:{TEXT}"))
        );
        let tagged = RedisNames::new("a:", true);
        assert_eq!(tagged.key(&key), format!("a:unread:total:{{{TEXT}}}"));
        assert_eq!(tagged.feed(user), format!("a:feed:{{{TEXT}}}"));
        assert_eq!(tagged.channel(user), format!("a:chat:user:{{{TEXT}}}"));
        for names in [standalone, tagged] {
            assert_eq!(names.user_of(names.channel(user).as_bytes()), Some(user));
            assert_eq!(names.user_of(b"chat:user:nobody"), None);
        }
    }

    #[test]
    fn what_is_about_a_message_is_in_the_slot_of_its_conversation() {
        let (conversation, message) = (ConversationId::from_u128(USER), MessageId::from_u128(7));
        let (names, owner) = (RedisNames::new("", true), Owner::Message { conversation, message });
        assert_eq!(names.slot(owner), names.slot(Owner::Conversation(conversation)));
        let item = Key { function: Some("polls".into()), ..Key::app(owner, "👍") };
        assert_eq!(names.key(&item), format!("app:polls:message:{{{TEXT}}}:{message}:%F0%9F%91%8D"));
        let counters = names.counters_up_to_item(&item, Space::App);
        assert_eq!(counters, format!("app:polls:message:{{{TEXT}}}:{message}:"));
    }

    #[test]
    fn a_ledger_is_in_the_slot_of_its_owner() {
        let owner = Owner::User(UserId::from_u128(USER));
        let standalone = RedisNames::new("a:", false);
        assert_eq!(standalone.ledger("polls", owner), ["a:app_bytes:polls", "a:app_due:polls"]);
        assert_eq!(standalone.items_of("polls"), "a:app:polls:");
        let item = Key { function: Some("polls".into()), ..Key::app(owner, "item") };
        assert!(standalone.key(&item).starts_with(&standalone.items_of("polls")));
        let cluster = RedisNames::new("a:", true);
        let tag = slot_tag(cluster.slot(owner));
        assert_eq!(cluster.ledger("polls", owner).map(|name| name.ends_with(&format!(":polls:{{{tag}}}"))), [true; 2]);
        assert!((0..SLOTS).all(|slot| slot_of_tag(&slot_tag(slot).to_string()) == slot));
    }

    #[test]
    fn slots_are_those_of_the_cluster_specification() {
        assert_eq!(SLOT_CHECKSUM.checksum(b"123456789"), 0x31C3);
    }
}
