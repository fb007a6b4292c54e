//! Every bound and span that the rules know, each with its unit in its name.

/// Without a beat for this long a device counts as gone.
pub const PRESENCE_TTL_MS: u64 = 60_000;
/// A device that says goodbye leaves its user online for this long, so that a page reload makes no noise.
pub const PRESENCE_GRACE_MS: u64 = 10_000;
/// A connection is expected to beat this often.
pub const BEAT_INTERVAL_MS: u64 = 25_000;
/// Over so many ordered sets users are spread by deadline.
pub const PRESENCE_SHARDS: u32 = 16;
/// Every shard is swept this often.
pub const SWEEP_INTERVAL_MS: u32 = 2_000;
/// A sweep takes this many due users at a time.
pub const SWEEP_PAGE: u32 = 100;
/// A sweep ends after so many pages; the next tick goes on.
pub const SWEEP_PAGES_MAX: u32 = 10;

/// A cached last message lives this long.
pub const LAST_MESSAGE_TTL_MS: u64 = 3_600_000;
/// Whoever fills a cold user's counters has this long before another may.
pub const LEASE_TTL_MS: u64 = 1_000;
/// A caller that waits for another's lease looks again after this.
pub const LEASE_WAIT_MS: u32 = 40;

/// Behind another announcement in the same conversation: how long until the next look, for each that is before.
pub const TURN_LOOK_MS: u32 = 5;
/// And at most so long.
pub const TURN_LOOK_MS_MAX: u32 = 50;
/// For each announcement that is before, so long without any movement means that its sender is gone.
pub const TURN_STALL_MS: u64 = 150;
/// Nobody waits longer than this in all; what is not announced by then is left to the next round of recovery.
pub const TURN_MS_MAX: u64 = 2_000;

/// A use case tries a lost race again this often, then answers `contended`.
pub const TRIES_MAX: u32 = 32;
/// Stored changes that nobody confirmed are announced again after this.
pub const PENDING_AFTER_MS: u64 = 2_000;
/// Whether there are such changes is asked this often.
pub const RECOVERY_INTERVAL_MS: u32 = 1_000;
/// So many unconfirmed changes are taken up in one go.
pub const PENDING_PAGE: u32 = 100;
/// A round of recovery takes at most so many pages; the next one goes on.
pub const RECOVERY_PAGES_MAX: u32 = 50;
/// A round of recovery takes up no further page after this: half of a function's deadline.
pub const RECOVERY_MS_MAX: u64 = 2_500;
/// A confirmation may take this long until it is no longer pending.
pub const CONFIRMATION_WAIT_MS: u32 = 40;

/// A feed keeps so many durable events.
pub const FEED_EVENTS_MAX: usize = 256;
/// A feed is forgotten this long after its last event.
pub const FEED_TTL_MS: u64 = 600_000;

/// A message's content.
pub const CONTENT_BYTES_MAX: usize = 16 * 1024;
/// A message's kind, such as `text`.
pub const KIND_BYTES_MAX: usize = 32;
/// A connection's id.
pub const CONNECTION_ID_BYTES_MAX: usize = 64;
/// Members of one conversation.
pub const MEMBERS_MAX: usize = 1_000;
/// Contacts, and blocked users, of one user.
pub const CONTACTS_MAX: usize = 1_000;
/// Any list in a request: users asked about, connections beating.
pub const LIST_MAX: usize = 500;
/// Entries of one page.
pub const PAGE_MAX: u32 = 100;
/// Entries of a page when the caller does not say.
pub const PAGE_DEFAULT: u32 = 50;
/// Changes of one conversation read at a time.
pub const CHANGES_MAX: usize = 256;

/// Queries or transactions in one call of the key-value port.
pub const CALL_ITEMS_MAX: usize = 1_024;
/// Checks, mutations and publications of one transaction.
pub const TRANSACTION_ITEMS_MAX: usize = 4_096;
/// A value, or one field of a hash.
pub const VALUE_BYTES_MAX: usize = 64 * 1024;
/// A key's time to live: a hundred years, so that no deadline is beyond any adapter's numbers.
pub const LIFE_MS_MAX: u64 = 100 * 31_557_600_000;
/// A field's name, an ordered set's member, a key's item.
pub const NAME_BYTES_MAX: usize = 128;
/// Members read from an ordered set at a time.
pub const RANGE_MAX: u32 = 1_000;
/// An event's payload: the largest content with every byte escaped, and room for the rest.
pub const PAYLOAD_BYTES_MAX: usize = 128 * 1024;
/// An event's name.
pub const EVENT_NAME_BYTES_MAX: usize = 64;
/// Events that one transaction tells a user who fell behind; beyond, the user's clients ask for the state.
pub const UNTOLD_BYTES_MAX: usize = CALL_BYTES_MAX / 2;
/// All values, names and payloads of one call.
pub const CALL_BYTES_MAX: usize = 8 * 1024 * 1024;
