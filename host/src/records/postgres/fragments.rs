//! Fragments that several statements in PostgreSQL's dialect share.

macro_rules! members {
    ($conversation:literal) => {
        concat!("ARRAY(SELECT user_id FROM members WHERE conversation = ", $conversation, " ORDER BY user_id)")
    };
}

/// The read position of member `m` as a user is shown it: where the member joined, if there is a block between the two.
macro_rules! shown_read {
    ($user:literal) => {
        concat!(
            "CASE WHEN EXISTS (SELECT 1 FROM blocks b WHERE b.user_id = ",
            $user,
            " AND b.blocked = m.user_id OFFSET 0)
                    OR EXISTS (SELECT 1 FROM blocks b WHERE b.user_id = m.user_id AND b.blocked = ",
            $user,
            " OFFSET 0)
                THEN m.joined ELSE m.read END"
        )
    };
}

/// The number of members of a conversation, the first ones ([`MEMBERS_SHOWN_MAX`]), and the read positions of the first
/// ones ([`READS_SHOWN_MAX`]) as user $1 is shown them, which nobody uses where there are more members.
///
/// [`MEMBERS_SHOWN_MAX`]: roost_core::limits::MEMBERS_SHOWN_MAX
/// [`READS_SHOWN_MAX`]: roost_core::limits::READS_SHOWN_MAX
macro_rules! shown_members {
    ($conversation:literal) => {
        concat!(
            "(SELECT count(*) FROM members WHERE conversation = ",
            $conversation,
            "),
            ARRAY(SELECT user_id FROM members WHERE conversation = ",
            $conversation,
            " ORDER BY user_id LIMIT 20),
            ARRAY(SELECT ",
            shown_read!("$1"),
            " FROM members m WHERE m.conversation = ",
            $conversation,
            " ORDER BY m.user_id LIMIT 8)"
        )
    };
}

/// Whether the conversation has two members.
macro_rules! two_members {
    ($conversation:literal) => {
        concat!(
            "(SELECT count(*) FROM (SELECT 1 FROM members WHERE conversation = ",
            $conversation,
            " LIMIT 3) few) = 2"
        )
    };
}

/// Moves conversation $1 to sequence number $2 at timestamp $3, and sets the columns that are named. Stores that this
/// change is of this kind and about message $4. The change is not announced yet. Only a new message moves the
/// conversation in the inbox.
macro_rules! advance {
    ($kind:literal, $columns:literal) => {
        concat!(
            "moved AS (UPDATE conversations SET seq = $2, changed_at = greatest(changed_at, updated_at, $3)",
            $columns,
            " WHERE id = $1 RETURNING id, seq, changed_at, sent),
        change AS (INSERT INTO changes (conversation, seq, kind, message, sent) SELECT id, seq, ",
            $kind,
            ", $4, sent FROM moved)
        INSERT INTO unannounced_changes (conversation, seq, since) SELECT id, seq, changed_at FROM moved"
        )
    };
}

/// The sizes of the ranges in which deleted messages are summed up: level, bits of a sequence number within a range,
/// and bits within the range of the next level. The last level has no bound, because no sequence number has 62 bits.
macro_rules! range_levels {
    () => {
        "(VALUES (1, 6, 12), (2, 12, 18), (3, 18, 24), (4, 24, 62)) AS l(level, bits, above)"
    };
}

/// Counts the deleted message `gone` in a table of ranges with these key columns.
macro_rules! count_deleted {
    ($table:literal, $key:literal) => {
        concat!(
            "INSERT INTO ",
            $table,
            " AS b (",
            $key,
            ", level, number, deleted)
            SELECT ",
            $key,
            ", l.level, gone.seq >> l.bits, 1 FROM gone CROSS JOIN ",
            range_levels!(),
            " ON CONFLICT (",
            $key,
            ", level, number) DO UPDATE SET deleted = b.deleted + 1"
        )
    };
}

/// The deleted messages in ranges that begin behind the position of member `m`, in a table of ranges.
macro_rules! deleted_in_ranges {
    ($table:literal, $key:literal) => {
        concat!(
            "(SELECT coalesce(sum(d.deleted), 0) FROM ",
            range_levels!(),
            " CROSS JOIN LATERAL (SELECT deleted FROM ",
            $table,
            " WHERE ",
            $key,
            "conversation = m.conversation AND level = l.level AND number > (m.read >> l.bits)
                        AND number < (((m.read >> l.above) + 1) << (l.above - l.bits)) OFFSET 0) d)"
        )
    };
}

/// The messages of others behind the position of member `m` of conversation `c` that are not deleted: all that were
/// sent, less the member's own, less the deleted ones of others. The first deleted ones are read one by one, up to the
/// end of their range, the others by ranges. Nothing is looked up where nothing was sent or deleted behind the
/// position.
macro_rules! unread {
    () => {
        concat!(
            "CASE WHEN c.sent = m.read_sent THEN 0 ELSE c.sent - m.read_sent + m.read_own
                - ",
            sent_by!("m.user_id", "m.conversation", ""),
            "
                - CASE WHEN c.last_deleted <= m.read THEN 0 ELSE
                    (SELECT count(*) FROM messages s WHERE s.conversation = m.conversation AND s.deleted
                        AND s.seq > m.read AND s.seq < (((m.read >> 6) + 1) << 6) AND s.sender <> m.user_id)
                    + ",
            deleted_in_ranges!("deleted_ranges", ""),
            "
                    - ",
            deleted_in_ranges!("deleted_ranges_of_senders", "sender = m.user_id AND "),
            " END END"
        )
    };
}

/// Adds to the outbox a move of a kind at timestamp $3 for each row of `moved`; `columns` are its first two.
macro_rules! moved {
    ($kind:literal, $columns:literal) => {
        concat!(
            "INSERT INTO unannounced_moves AS u (kind, first, second, since, moves)
            SELECT ",
            $kind,
            ", ",
            $columns,
            ", $3, 1 FROM moved
            ON CONFLICT (kind, first, second) DO UPDATE
            SET moves = u.moves + 1, since = least(u.since, excluded.since)"
        )
    };
}

/// Reads the changes of the outbox whose attempts are as given, ordered by a column of time.
macro_rules! pending_changes {
    ($attempts:literal, $time:literal) => {
        concat!(
            "SELECT ",
            message!(),
            ", c.seq, c.kind::bigint, u.since, ",
            members!("u.conversation"),
            ", u.attempts, u.",
            $time,
            " FROM (SELECT * FROM unannounced_changes WHERE attempts ",
            $attempts,
            " AND ",
            $time,
            " < $1 AND (",
            $time,
            ", conversation, seq) > ($3, $4, $5) ORDER BY ",
            $time,
            ", conversation, seq LIMIT $2) u
            CROSS JOIN LATERAL (SELECT * FROM changes WHERE conversation = u.conversation AND seq = u.seq OFFSET 0) c
            CROSS JOIN LATERAL (SELECT * FROM messages WHERE id = c.message OFFSET 0) m
        ORDER BY u.",
            $time,
            ", u.conversation, u.seq"
        )
    };
}

/// Reads the moves of the outbox whose attempts are as given, ordered by a column of time.
macro_rules! pending_moves {
    ($attempts:literal, $time:literal) => {
        concat!(
            "SELECT kind, first, second, since, moves, attempts, ",
            $time,
            " FROM unannounced_moves WHERE attempts ",
            $attempts,
            " AND ",
            $time,
            " < $1 AND (",
            $time,
            ", kind, first, second) > ($3, $4, $5, $6) ORDER BY ",
            $time,
            ", kind, first, second LIMIT $2"
        )
    };
}

macro_rules! counter {
    () => {
        concat!(
            "m.user_id, m.conversation, m.joined, m.read, c.seq,
            ",
            unread!(),
            ",
            (SELECT min(u.seq) FROM unannounced_changes u WHERE u.conversation = m.conversation)"
        )
    };
}
