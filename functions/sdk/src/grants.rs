//! The permissions that a function asks for in its manifest.

use roost_core::key::Space;
use roost_core::port::Operation;
use roost_core::recipients::Recipients;

/// What a function asks to be allowed. The operator may grant less; a call without a grant answers `denied`.
#[derive(Clone, Copy, Debug)]
pub struct Grants {
    /// The key spaces that it reads.
    pub read: &'static [Space],
    /// The key spaces that it writes, or checks in a transaction.
    pub write: &'static [Space],
    /// To whom it publishes events.
    pub publish: Recipients,
    /// The operations of the records that it calls.
    pub records: &'static [Operation],
}

impl Grants {
    /// A function that asks for nothing.
    pub const NONE: Self = Self { read: &[], write: &[], publish: Recipients::Nobody, records: &[] };
}
