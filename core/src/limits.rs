//! Every limit and every time span of the rules, with the unit in the name.

/// A device without a heartbeat for this long counts as disconnected.
pub const PRESENCE_TTL_MS: u64 = 60_000;
/// A user whose last device disconnects stays online for this long, so that reloading a page publishes nothing.
pub const PRESENCE_GRACE_MS: u64 = 10_000;
/// The interval of heartbeats that is expected of a connection.
pub const HEARTBEAT_INTERVAL_MS: u64 = 25_000;
/// The number of ordered sets over which the deadlines of users are distributed.
pub const PRESENCE_SHARDS: u32 = 16;
/// The interval at which every shard is swept.
pub const SWEEP_INTERVAL_MS: u32 = 2_000;
/// If no sweep has looked at a shard for longer than this, the store was away, and nobody departs for a while. It is
/// longer than the lease of a sweep whose host died. A connection whose heartbeat is overdue by this time is still
/// online.
pub const SWEEP_GAP_MS: u64 = 15_000;
/// A sweep notes that it has run when the last note is at least this old.
pub const SWEEP_NOTE_INTERVAL_MS: u64 = 4_000;
/// For this long after an outage of the store nobody departs: the longest interval of heartbeats.
pub const DEPARTURE_HOLD_MS: u64 = 30_000;
/// A host that is cut off from the store notes in the records that nobody departs for this long.
pub const CUT_OFF_HOLD_MS: u64 = 45_000;
/// The host renews its note when this much of it is left: the longest interval of heartbeats, and the time until a host
/// that reaches the store again has sent them all. So the note never ends before the heartbeats that follow a cut.
pub const CUT_OFF_HOLD_LEFT_MS: u64 = 35_000;
/// The time after the last heartbeat after which a user departs, also if a host is still cut off. It is longer than an
/// outage that must be nobody's departure.
pub const CUT_OFF_MS_MAX: u64 = 900_000;
/// If the records do not answer whether a host is cut off, a departure waits for this long before they are asked again.
pub const CUT_OFF_RETRY_MS: u64 = 5_000;
/// The number of due users that a sweep handles at a time.
pub const SWEEP_PAGE: u32 = 100;
/// The number of pages after which a sweep ends; the next tick continues.
pub const SWEEP_PAGES_MAX: u32 = 10;

/// The number of devices of one user beyond which a client cannot add one by a heartbeat of its own.
pub const DEVICES_MAX: usize = 64;

/// The time to live of a cached last message.
pub const LAST_MESSAGE_TTL_MS: u64 = 3_600_000;
/// The time that one caller has for each step of filling an uncached user's counters before another caller may do it.
/// Each step renews the lease, so that a step may take as long as one answer of slow records.
pub const LEASE_TTL_MS: u64 = 3_000;
/// The pause before a caller that waits for another caller's lease reads again.
pub const LEASE_WAIT_MS: u32 = 40;
/// The longest of these pauses; they grow with every fourth attempt.
pub const LEASE_WAIT_MS_MAX: u32 = 160;
/// The number of conversations whose counters one transaction writes or deletes while they are filled or forgotten. So
/// many keep a store that carries out one transaction at a time busy for about a millisecond or two.
pub const FILL_CHUNK: usize = 500;

/// The pause between two reads while an announcement waits for earlier ones of its conversation, for each earlier one.
pub const ANNOUNCEMENT_POLL_MS: u32 = 5;
/// The longest pause between two such reads.
pub const ANNOUNCEMENT_POLL_MS_MAX: u32 = 50;
/// If no earlier announcement makes progress for this long, for each of them, their senders are taken to have crashed.
pub const ANNOUNCEMENT_STALL_MS: u64 = 150;
/// The longest time that an announcement waits in total; after that the change is left to the next round of recovery.
pub const ANNOUNCEMENT_WAIT_MS_MAX: u64 = 2_000;

/// The number of conversations that one step of erasing a user leaves.
pub const ERASED_CONVERSATIONS: usize = 100;
/// The number of conversations whose removals are announced together while a user is erased. Each takes two calls of
/// the records, and what was begun before [`ERASE_MS_MAX`] is over has to end before a function's deadline. Each
/// conversation with unread messages takes an attempt of its own to change the total, of at most [`TRIES_MAX`].
pub const ERASED_TOGETHER: usize = 20;
/// The number of messages that one step of erasing a user deletes. Each is announced to up to [`MEMBERS_MAX`] members.
pub const ERASED_MESSAGES: usize = 20;
/// The number of other users' contacts, of their blocks, and of created conversations that one step of erasing a user
/// changes.
pub const ERASED_RELATIONS: usize = 500;
/// The time after which a call that erases a user begins no further step: half of a function's deadline.
pub const ERASE_MS_MAX: u64 = 2_500;

/// The number of attempts after lost races before a use case fails with `contended`.
pub const TRIES_MAX: u32 = 32;
/// The age at which a stored change that nobody confirmed is announced again.
pub const PENDING_AFTER_MS: u64 = 2_000;
/// The interval at which a host looks for such changes.
pub const RECOVERY_INTERVAL_MS: u32 = 1_000;
/// The number of unconfirmed changes that are read at a time.
pub const PENDING_PAGE: u32 = 100;
/// The number of pages after which a round of recovery ends; the next round continues.
pub const RECOVERY_PAGES_MAX: u32 = 50;
/// The time after which a round of recovery starts nothing further: half of a function's deadline.
pub const RECOVERY_MS_MAX: u64 = 2_500;
/// The pause before recovery tries an announcement again. Each further attempt doubles it.
pub const RECOVERY_RETRY_MS: u64 = 2_000;
/// The longest pause before recovery tries an announcement again.
pub const RECOVERY_RETRY_MS_MAX: u64 = 60_000;
/// An announcement that was tried this often is reported as one that cannot be made.
pub const RECOVERY_ATTEMPTS_REPORTED: u32 = 4;
/// The number of announcements that recovery tries together when each of them was tried once before.
pub const RECOVERY_BATCH_TRIED_ONCE: usize = 10;
/// The number of attempts in a row that find the store or the records unavailable after which a round of recovery ends.
pub const RECOVERY_UNAVAILABLE_MAX: u32 = 8;

/// The number of durable events that a feed keeps.
pub const FEED_EVENTS_MAX: usize = 256;
/// The size of the names and payloads of the durable events that a feed keeps.
pub const FEED_BYTES_MAX: usize = 256 * 1024;
/// The time after its last event at which a feed expires.
pub const FEED_TTL_MS: u64 = 600_000;
/// The time for which the events of a user are kept after the last connection, heartbeat or `sync`.
pub const FOLLOWED_TTL_MS: u64 = 600_000;
/// The time for which a position is valid that was taken when its user had no feed. It is shorter than
/// [`FOLLOWED_TTL_MS`] by the time that may pass between two heartbeats, so that the user was followed all the time.
pub const WITHOUT_FEED_TTL_MS: u64 = FOLLOWED_TTL_MS - PRESENCE_TTL_MS;

/// The length of a message's content.
pub const CONTENT_BYTES_MAX: usize = 16 * 1024;
/// The length of a message's type, such as `text`.
pub const KIND_BYTES_MAX: usize = 32;
/// The length of a connection id.
pub const CONNECTION_ID_BYTES_MAX: usize = 64;
/// The number of members of one conversation.
pub const MEMBERS_MAX: usize = 1_000;
/// The number of conversations of one user.
pub const CONVERSATIONS_MAX: usize = 20_000;
/// The number of members that a conversation carries in a page; [`MEMBERS_MAX`] of them are listed in pages of their
/// own.
pub const MEMBERS_SHOWN_MAX: usize = 20;
/// The number of members up to which a conversation carries the read positions of all of them.
pub const READS_SHOWN_MAX: usize = 8;
/// The number of members up to which the others are told who becomes a member, and who is one no more. Not more than
/// [`PAGE_MAX`].
pub const MEMBERS_NOTIFIED_MAX: usize = 100;
/// The number of times that new members are told what changed while they were told a conversation.
pub const AMENDMENTS_MAX: u32 = 8;
/// The number of contacts of one user, and of users that one user has blocked.
pub const CONTACTS_MAX: usize = 1_000;
/// The length of a list in a request, such as queried users or connections with a heartbeat.
pub const LIST_MAX: usize = 500;
/// The length of a document's JSON text.
pub const DOCUMENT_BYTES_MAX: usize = 16 * 1024;
/// The number of documents that a function has for one owner.
pub const DOCUMENTS_MAX: usize = 100;
/// The number of documents that are read in one call.
pub const DOCUMENT_KEYS_MAX: usize = 100;
/// What a document counts besides its name and its JSON text, in the bytes of all documents of a function.
pub const DOCUMENT_OVERHEAD_BYTES: u64 = 512;
/// The length of a function's name.
pub const FUNCTION_NAME_BYTES_MAX: usize = 64;
/// The number of entries of one page.
pub const PAGE_MAX: u32 = 100;
/// The number of entries of a page if the request names none.
pub const PAGE_DEFAULT: u32 = 50;
/// The size of a page as JSON. A page ends there or at its limit, whichever comes first; one entry always fits.
pub const PAGE_BYTES_MAX: usize = 512 * 1024;
/// The size of the conversations, and of the missed events, in the answer to `sync`, which has several parts.
pub const SYNC_PART_BYTES_MAX: usize = 256 * 1024;
/// The number of conversations that one answer with unread counters names; the others are on further pages. Their size
/// is below [`SYNC_PART_BYTES_MAX`].
pub const UNREAD_PAGE: usize = 1_400;
/// The number of counters that the records answer in one call: of those that are asked for by name, and of the others.
pub const COUNTERS_MAX: usize = 4_000;
/// The number of changes of one conversation that are read at a time.
pub const CHANGES_MAX: usize = 256;
/// The number of changes of all conversations that are read at a time.
pub const CHANGES_ANSWER_MAX: usize = 8_192;
/// The size of the contents of all changes that are read at a time.
pub const CHANGES_BYTES_MAX: usize = 2 * 1024 * 1024;

/// The number of queries or transactions in one call of the key-value port.
pub const CALL_ITEMS_MAX: usize = 1_024;
/// The number of checks, mutations, publications and published results in one transaction.
pub const TRANSACTION_ITEMS_MAX: usize = 4_096;
/// The length of a value, or of one field of a hash.
pub const VALUE_BYTES_MAX: usize = 64 * 1024;
/// The longest time to live of a key: a hundred years, so that every adapter can represent the deadline.
pub const TTL_MS_MAX: u64 = 100 * 31_557_600_000;
/// The length of a field name, of a member of an ordered set, of a key's item (before it is escaped), and of a
/// document's name.
pub const NAME_BYTES_MAX: usize = 128;
/// The number of members that are read from an ordered set at a time.
pub const RANGE_MAX: u32 = 1_000;
/// The length of an event's payload: the longest content with every byte escaped, and room for the other fields.
pub const PAYLOAD_BYTES_MAX: usize = 128 * 1024;
/// The length of an event's name.
pub const EVENT_NAME_BYTES_MAX: usize = 64;
/// The length of the name of a published result.
pub const RESULT_NAME_BYTES_MAX: usize = 64;
/// The number of members up to which everybody is told durably who has read how far. In a larger conversation only the
/// authors of what was read are told, and only if they are connected.
pub const DURABLE_RECEIPT_MEMBERS_MAX: usize = 8;
/// The number of authors who are told that a user has read their messages in a larger conversation.
pub const RECEIPT_AUTHORS_MAX: usize = 100;
/// The number of the newest messages among those newly read whose authors are told.
pub const RECEIPT_MESSAGES_MAX: u32 = 100;
/// The time in which the others are told once at most what a user has read in a larger conversation.
pub const RECEIPT_INTERVAL_MS: u64 = 1_000;
/// The number of ordered sets over which the users are distributed by their last activity.
pub const ACTIVITY_SHARDS: u32 = 64;
/// The activity of a user is not noted again within this time.
pub const ACTIVITY_RESOLUTION_MS: u64 = 3_600_000;
/// The number of idle users that are removed from the store at a time.
pub const IDLE_PAGE: u32 = 100;
/// The number of pages after which a sweep of one shard ends; the next sweep continues.
pub const IDLE_PAGES_MAX: u32 = 10;
/// The size of all values, names and payloads in one call.
pub const CALL_BYTES_MAX: usize = 8 * 1024 * 1024;
/// The number of users that the addressed events of one transaction name. A user counts once for each event.
pub const ADDRESSEES_MAX: usize = 1_000;
/// The size of the names and payloads of the addressed events of one transaction.
pub const ADDRESSED_BYTES_MAX: usize = 256 * 1024;

/// The number of partitions over which the marks of the outbox are distributed.
pub const OUTBOX_SHARDS: u32 = 16;
/// The number of entries whose marks one shard has.
pub const OUTBOX_ENTRIES_MAX: i64 = 4_096;
/// The size of the entries whose marks one shard has. The last entry can exceed it.
pub const OUTBOX_BYTES_MAX: i64 = 16 * 1024 * 1024;
/// The time that a host has to deliver an entry before recovery does it.
pub const OUTBOX_GRACE_MS: u64 = 5_000;
/// The time for which recovery claims a mark.
pub const OUTBOX_LEASE_MS: u64 = 10_000;
/// The time to live of a receipt: longer than recovery tries to deliver an entry.
pub const RECEIPT_TTL_MS: u64 = 86_400_000;
/// The time to live of an entry of the outbox.
pub const OUTBOX_ENTRY_TTL_MS: u64 = 86_400_000;
/// The time for which an entry that was not written must not be written later.
pub const OUTBOX_VOID_TTL_MS: u64 = 3_600_000;
/// The number of marks that recovery reads at a time.
pub const OUTBOX_PAGE: u32 = 100;
/// The time after which a round of recovery reads no further page.
pub const OUTBOX_RECOVERY_MS_MAX: u64 = 1_000;
/// The pause before recovery tries an entry again. Each further one doubles it.
pub const OUTBOX_RETRY_MS: u64 = 5_000;
/// The longest pause before recovery tries an entry again.
pub const OUTBOX_RETRY_MS_MAX: u64 = 60_000;
/// The number of attempts after which recovery gives an entry up.
pub const OUTBOX_ATTEMPTS_MAX: u64 = 60;

/// The number of partitions over which the queues of triggered calls are distributed.
pub const TRIGGER_QUEUE_SHARDS: u32 = 64;
/// The number of calls that the queue of one function has.
pub const TRIGGER_QUEUE_MAX: i64 = 10_000;
/// The size of the calls that the queue of one function has. The last call can exceed it.
pub const TRIGGER_QUEUE_BYTES_MAX: i64 = 64 * 1024 * 1024;
/// The time to live of a queue after the last call was added.
pub const TRIGGER_QUEUE_TTL_MS: u64 = 7 * 86_400_000;
/// The time to live of a queued call: so long that it is never shorter than that of its queue.
pub const TRIGGER_ENTRY_TTL_MS: u64 = 30 * 86_400_000;
/// The time for which a publication is not queued again after its call was made.
pub const TRIGGER_DONE_TTL_MS: u64 = 600_000;
/// The number of calls of one function in that time which are noted, so that they are not queued again.
pub const TRIGGER_DONE_MAX: i64 = 100_000;
/// The pause before a failed call is made again. Each further one doubles it.
pub const TRIGGER_RETRY_MS: u64 = 1_000;
/// The longest pause before a failed call is made again.
pub const TRIGGER_RETRY_MS_MAX: u64 = 300_000;
/// The number of attempts after which a call is given up.
pub const TRIGGER_ATTEMPTS_MAX: u32 = 12;
/// The number of users that a call names.
pub const TRIGGER_USERS_MAX: usize = 1_024;
/// The number of publications in a row that may each cause a call: each is made by a function that was called for the
/// one before.
pub const TRIGGER_DEPTH_MAX: u32 = 4;
/// The time for which it is remembered which function made a change of a conversation.
pub const ORIGIN_TTL_MS: u64 = 3_600_000;

/// The number of partitions over which the slots of repeated work are distributed.
pub const SLOT_SHARDS: u32 = 64;
/// The shortest time to live of the record of a slot.
pub const SLOT_RECORD_TTL_MS: u64 = 600_000;

#[cfg(test)]
mod tests {
    use super::*;

    /// Clients and operators rely on these numbers; they are part of the documentation.
    #[test]
    fn the_documented_limits_do_not_change() {
        assert_eq!((CONTENT_BYTES_MAX, VALUE_BYTES_MAX, PAYLOAD_BYTES_MAX), (16_384, 65_536, 131_072));
        assert_eq!((CALL_BYTES_MAX, FEED_BYTES_MAX), (8_388_608, 262_144));
        assert_eq!(TTL_MS_MAX, 3_155_760_000_000);
        assert_eq!((CONVERSATIONS_MAX, MEMBERS_SHOWN_MAX, READS_SHOWN_MAX), (20_000, 20, 8));
        assert_eq!((PAGE_BYTES_MAX, SYNC_PART_BYTES_MAX), (524_288, 262_144));
    }

    #[test]
    fn no_outage_that_goes_unnoticed_lets_a_device_expire() {
        // The longest interval of heartbeats, an outage without a hold, and the time until the host has sent them all
        // again.
        const { assert!(30_000 + SWEEP_GAP_MS + 5_000 < PRESENCE_TTL_MS) };
        const { assert!(SWEEP_INTERVAL_MS as u64 + SWEEP_NOTE_INTERVAL_MS < SWEEP_GAP_MS) };
        const { assert!(HEARTBEAT_INTERVAL_MS <= DEPARTURE_HOLD_MS) };
    }

    #[test]
    fn the_note_of_a_cut_off_host_outlasts_the_longest_interval_of_heartbeats() {
        const { assert!(DEPARTURE_HOLD_MS + 5_000 <= CUT_OFF_HOLD_LEFT_MS && CUT_OFF_HOLD_LEFT_MS < CUT_OFF_HOLD_MS) };
        const { assert!(600_000 + PRESENCE_TTL_MS + CUT_OFF_HOLD_MS < CUT_OFF_MS_MAX) };
    }
}
