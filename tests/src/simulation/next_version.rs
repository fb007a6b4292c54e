//! The next version of the functions. Deployments replace the present version on one host after the other, and back, so
//! that both versions work on the same state at the same time.
//!
//! The next version differs as docs/functions.md allows: it adds a field to the hashes that it writes, and what it
//! caches expires sooner. A planted bug makes it differ in a way that is not allowed: it renames a field.

use roost_core::key::Space;
use roost_core::port::{Mutation, Transaction};

use super::planted_bug::PlantedBug;
use super::world::World;

/// The field that only the next version knows.
const ADDED: &str = "written_by";
/// The divisor of the times to live of caches.
const SOONER: u64 = 3;

/// Changes the transactions of one call as the next version would write them.
pub(crate) fn rewrite(world: &World, transactions: &mut [Transaction]) {
    for mutation in transactions.iter_mut().flat_map(|transaction| &mut transaction.mutations) {
        match mutation {
            Mutation::SetFields(key, fields) if has_named_fields(key.space) => {
                if world.has_bug(PlantedBug::RenamedField) {
                    fields.iter_mut().filter(|(name, _)| name == "status").for_each(|(name, _)| *name = "state".into());
                }
                fields.push((ADDED.into(), "next".into()));
            }
            Mutation::Expire(key, ttl_ms) if key.space == Space::LastMessage => *ttl_ms /= SOONER,
            Mutation::Set(key, _, Some(ttl_ms)) if key.space == Space::UnreadLease => *ttl_ms /= SOONER,
            _ => {}
        }
    }
}

/// Whether the fields of this hash have the names that the rules give them. The fields of the other hashes are ids.
fn has_named_fields(space: Space) -> bool {
    matches!(space, Space::Presence | Space::PresenceSweep | Space::LastMessage)
}
