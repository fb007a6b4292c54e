//! Spreads names over partitions: the same name has the same partition on every host and in every version.

use crate::key::Owner;

/// A 64-bit hash of a text (FNV-1a). It must never change, because hosts of different versions use one store.
pub(crate) fn hash(text: &str) -> u64 {
    text.bytes().fold(0xCBF2_9CE4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3))
}

/// The partition of a name, one of `shards`.
pub(crate) fn shard(name: &str, shards: u32) -> Owner {
    // The upper bits are mixed in, because the lower ones of similar names are similar.
    let hash = hash(name);
    Owner::Shard(((hash ^ (hash >> 32)) % u64::from(shards.max(1))) as u32)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_name_has_the_same_hash_for_ever() {
        assert_eq!(hash(""), 0xCBF2_9CE4_8422_2325);
        assert_eq!(hash("foobar"), 0x8594_4171_F739_67E8, "a value of the published test vectors");
    }

    #[test]
    fn similar_names_are_spread_over_all_shards() {
        let shards: BTreeSet<Owner> = (0..200).map(|number| shard(&format!("presence.{number}"), 16)).collect();
        assert_eq!(shards.len(), 16);
        assert_eq!(shard("any", 0), Owner::Shard(0));
    }
}
