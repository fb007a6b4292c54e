//! The names of keys and channels in Redis: with the operator's prefix, and on a Cluster with the owner as a hash tag.

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
}

impl RedisNames {
    pub(super) fn new(prefix: &str, in_cluster: bool) -> Self {
        let tag = if in_cluster { "{" } else { "" };
        let user = UserId::from_u128(0);
        let name = channel(user);
        let start = name.trim_end_matches(&user.to_string());
        Self { prefix: prefix.to_owned(), in_cluster, channel_start: format!("{prefix}{start}{tag}") }
    }

    pub(super) const fn in_cluster(&self) -> bool {
        self.in_cluster
    }

    pub(super) fn key(&self, key: &Key) -> String {
        let key = if self.in_cluster { key.physical_in_cluster() } else { key.physical() };
        format!("{}{key}", self.prefix)
    }

    /// The names of all keys of a space and an owner, up to the item.
    pub(super) fn key_up_to_item(&self, space: Space, owner: Owner) -> String {
        self.key(&Key { space, owner, item: Some(String::new()) })
    }

    pub(super) fn feed(&self, user: UserId) -> String {
        self.tagged(&feed_physical(user), user)
    }

    pub(super) fn channel(&self, user: UserId) -> String {
        self.tagged(&channel(user), user)
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
        if self.in_cluster { SLOT_CHECKSUM.checksum(name.as_bytes()) % SLOTS } else { 0 }
    }

    /// The slot of everything that belongs to the owner. Without a Cluster it is always the same.
    pub(super) fn slot(&self, owner: Owner) -> u16 {
        if self.in_cluster { SLOT_CHECKSUM.checksum(owner.to_string().as_bytes()) % SLOTS } else { 0 }
    }

    fn tagged(&self, name: &str, user: UserId) -> String {
        let start = name.trim_end_matches(&user.to_string());
        let (open, close) = if self.in_cluster { ("{", "}") } else { ("", "") };
        format!("{}{start}{open}{user}{close}", self.prefix)
    }
}

/// The checksum from which a Cluster computes the slot of a key.
const SLOT_CHECKSUM: Crc<u16> = Crc::<u16>::new(&CRC_16_XMODEM);

#[cfg(test)]
mod tests {
    use super::*;

    const USER: u128 = 0x6f1c_1fd4_3c5b_4a8e_9d1a_0c6a_2f1b_7e55;
    const TEXT: &str = "6f1c1fd4-3c5b-4a8e-9d1a-0c6a2f1b7e55";

    #[test]
    fn names_are_plain_on_one_server_and_tagged_on_a_cluster() {
        let user = UserId::from_u128(USER);
        let key = Key::of_user(Space::UnreadTotal, user);
        let standalone = RedisNames::new("", false);
        assert_eq!(standalone.key(&key), format!("unread:total:{TEXT}"));
        assert_eq!(
            standalone.key_up_to_item(Space::UnreadConversation, Owner::User(user)),
            format!("unread:conv:{TEXT}:")
        );
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
    fn slots_are_those_of_the_cluster_specification() {
        assert_eq!(SLOT_CHECKSUM.checksum(b"123456789"), 0x31C3);
    }
}
