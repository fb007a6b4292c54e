//! How keys and channels are spelt in Redis: the operator's prefix, and the owner as a hash tag on a Cluster.

use roost_core::ids::UserId;
use roost_core::key::{Key, Owner, Space, channel, feed_physical};

/// Hash slots of a Cluster.
pub(super) const SLOTS: u16 = 16_384;

/// Spells everything that Redis is told by name.
#[derive(Clone, Debug)]
pub(super) struct Names {
    prefix: String,
    in_cluster: bool,
    channel_start: String,
}

impl Names {
    pub(super) fn new(prefix: &str, in_cluster: bool) -> Self {
        let tag = if in_cluster { "{" } else { "" };
        let nobody = channel(UserId::from_u128(0));
        let start = nobody.trim_end_matches(&UserId::from_u128(0).to_string());
        Self { prefix: prefix.to_owned(), in_cluster, channel_start: format!("{prefix}{start}{tag}") }
    }

    pub(super) const fn in_cluster(&self) -> bool {
        self.in_cluster
    }

    pub(super) fn key(&self, key: &Key) -> String {
        let key = if self.in_cluster { key.physical_in_cluster() } else { key.physical() };
        format!("{}{key}", self.prefix)
    }

    /// The keys of a space and an owner up to the item.
    pub(super) fn items(&self, space: Space, owner: Owner) -> String {
        self.key(&Key { space, owner, item: Some(String::new()) })
    }

    pub(super) fn feed(&self, user: UserId) -> String {
        self.tagged(&feed_physical(user), user)
    }

    pub(super) fn channel(&self, user: UserId) -> String {
        self.tagged(&channel(user), user)
    }

    /// The user that a channel belongs to.
    pub(super) fn user_of(&self, channel: &[u8]) -> Option<UserId> {
        let rest = channel.strip_prefix(self.channel_start.as_bytes())?;
        let user = if self.in_cluster { rest.strip_suffix(b"}")? } else { rest };
        std::str::from_utf8(user).ok()?.parse().ok()
    }

    /// The command that tells a channel's subscribers.
    pub(super) const fn publish(&self) -> &'static str {
        if self.in_cluster { "SPUBLISH" } else { "PUBLISH" }
    }

    /// The slot of everything that belongs to the owner; all the same without a Cluster.
    pub(super) fn slot(&self, owner: Owner) -> u16 {
        if self.in_cluster { crc16(owner.to_string().as_bytes()) % SLOTS } else { 0 }
    }

    fn tagged(&self, name: &str, user: UserId) -> String {
        let start = name.trim_end_matches(&user.to_string());
        let (open, close) = if self.in_cluster { ("{", "}") } else { ("", "") };
        format!("{}{start}{open}{user}{close}", self.prefix)
    }
}

/// The checksum (XMODEM) by which a Cluster gives names to slots.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc: u16, byte| {
        (0..8).fold(
            crc ^ (u16::from(*byte) << 8),
            |crc, _| {
                if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
            },
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const USER: u128 = 0x6f1c_1fd4_3c5b_4a8e_9d1a_0c6a_2f1b_7e55;
    const TEXT: &str = "6f1c1fd4-3c5b-4a8e-9d1a-0c6a2f1b7e55";

    #[test]
    fn names_are_plain_alone_and_tagged_in_a_cluster() {
        let user = UserId::from_u128(USER);
        let key = Key::of_user(Space::UnreadTotal, user);
        let alone = Names::new("", false);
        assert_eq!(alone.key(&key), format!("unread:total:{TEXT}"));
        assert_eq!(alone.items(Space::UnreadConversation, Owner::User(user)), format!("unread:conv:{TEXT}:"));
        assert_eq!((alone.feed(user), alone.channel(user)), (format!("feed:{TEXT}"), format!("chat:user:{TEXT}")));
        let tagged = Names::new("a:", true);
        assert_eq!(tagged.key(&key), format!("a:unread:total:{{{TEXT}}}"));
        assert_eq!(tagged.feed(user), format!("a:feed:{{{TEXT}}}"));
        assert_eq!(tagged.channel(user), format!("a:chat:user:{{{TEXT}}}"));
        for names in [alone, tagged] {
            assert_eq!(names.user_of(names.channel(user).as_bytes()), Some(user));
            assert_eq!(names.user_of(b"chat:user:nobody"), None);
        }
    }

    #[test]
    fn slots_are_those_of_the_cluster_specification() {
        assert_eq!(crc16(b"123456789"), 0x31C3);
    }
}
