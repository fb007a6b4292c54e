//! What a function asks to be allowed.

use roost_core::key::Space;
use roost_core::port::Operation;

/// What a function may do. The operator may grant less.
#[derive(Clone, Copy, Debug)]
pub struct Grants {
    /// Key spaces it reads.
    pub read: &'static [Space],
    /// Key spaces it writes, or checks in a transaction.
    pub write: &'static [Space],
    /// Tells users things.
    pub publish: bool,
    /// Operations of the records it uses.
    pub records: &'static [Operation],
}

impl Grants {
    /// Nothing at all.
    pub const NONE: Self = Self { read: &[], write: &[], publish: false, records: &[] };
}
