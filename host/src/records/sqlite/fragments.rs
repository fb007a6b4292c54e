//! Fragments that several statements in SQLite's dialect share.

macro_rules! members {
    ($conversation:literal) => {
        concat!("(SELECT group_concat(hex(user), '') FROM members WHERE conversation = ", $conversation, ")")
    };
}

/// The read position of member `m` as a user is shown it: where the member joined, if there is a block between the two.
macro_rules! shown_read {
    ($user:literal) => {
        concat!(
            "CASE WHEN EXISTS (SELECT 1 FROM blocks b WHERE b.user = ",
            $user,
            " AND b.blocked = m.user)
                    OR EXISTS (SELECT 1 FROM blocks b WHERE b.user = m.user AND b.blocked = ",
            $user,
            ")
                THEN m.joined ELSE m.read END"
        )
    };
}

/// The number of members of a conversation, the first ones ([`MEMBERS_SHOWN_MAX`]), and the read positions of the first
/// ones ([`READS_SHOWN_MAX`]) as user ?1 is shown them, which nobody uses where there are more members.
///
/// [`MEMBERS_SHOWN_MAX`]: roost_core::limits::MEMBERS_SHOWN_MAX
/// [`READS_SHOWN_MAX`]: roost_core::limits::READS_SHOWN_MAX
macro_rules! shown_members {
    ($conversation:literal) => {
        concat!(
            "(SELECT count(*) FROM members WHERE conversation = ",
            $conversation,
            "),
            (SELECT group_concat(hex(user), '') FROM (
                SELECT user FROM members WHERE conversation = ",
            $conversation,
            " ORDER BY user LIMIT 20) AS shown),
            (SELECT group_concat(printf('%016x', read), '') FROM (
                SELECT ",
            shown_read!("?1"),
            " AS read FROM members m WHERE m.conversation = ",
            $conversation,
            " ORDER BY m.user LIMIT 8) AS shown)"
        )
    };
}

/// Moves conversation ?1 to sequence number ?2 at timestamp ?3, and sets the columns that are named. The change is not
/// announced yet. Only a new message moves the conversation in the inbox.
macro_rules! advance {
    ($columns:literal) => {
        concat!(
            "UPDATE conversations SET seq = ?2, changed_at = max(changed_at, updated_at, ?3)",
            $columns,
            " WHERE id = ?1;
        INSERT INTO unannounced_changes (conversation, seq, since)
            SELECT id, seq, changed_at FROM conversations WHERE id = ?1"
        )
    };
}

/// Stores that change ?2 of conversation ?1 is of this kind and about the message that the query names.
macro_rules! change {
    ($kind:literal, $message:literal) => {
        concat!(
            "INSERT INTO changes (conversation, seq, kind, message, sent)
            SELECT id, ?2, ",
            $kind,
            ", ",
            $message,
            ", sent FROM conversations WHERE id = ?1; "
        )
    };
}

/// The sizes of the ranges in which deleted messages are summed up: level, bits of a sequence number within a range,
/// and bits within the range of the next level. The last level has no bound, because no sequence number has 62 bits.
macro_rules! range_levels {
    () => {
        "(SELECT column1 AS level, column2 AS bits, column3 AS above
            FROM (VALUES (1, 6, 12), (2, 12, 18), (3, 18, 24), (4, 24, 62))) AS l"
    };
}

/// Counts the message of change ?2 of conversation ?1 as deleted in a table of ranges with these key columns.
macro_rules! count_deleted {
    ($table:literal, $key:literal, $values:literal) => {
        concat!(
            "INSERT INTO ",
            $table,
            " (",
            $key,
            ", level, number, deleted)
            SELECT ",
            $values,
            ", l.level, m.seq >> l.bits, 1
                FROM changes g CROSS JOIN messages m ON m.number = g.message CROSS JOIN ",
            range_levels!(),
            " WHERE g.conversation = ?1 AND g.seq = ?2
            ON CONFLICT (",
            $key,
            ", level, number) DO UPDATE SET deleted = deleted + 1; "
        )
    };
}

/// The deleted messages in ranges that begin behind the position of member `m`, in a table of ranges.
macro_rules! deleted_in_ranges {
    ($table:literal, $key:literal) => {
        concat!(
            "(SELECT coalesce(sum(d.deleted), 0) FROM ",
            range_levels!(),
            " CROSS JOIN ",
            $table,
            " d ON ",
            $key,
            "d.conversation = m.conversation AND d.level = l.level AND d.number > (m.read >> l.bits)
                    AND d.number < (((m.read >> l.above) + 1) << (l.above - l.bits)))"
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
            sent_by!("m.user", "m.conversation", ""),
            "
                - CASE WHEN c.last_deleted <= m.read THEN 0 ELSE
                    (SELECT count(*) FROM messages s WHERE s.conversation = m.conversation AND s.deleted = 1
                        AND s.seq > m.read AND s.seq < (((m.read >> 6) + 1) << 6) AND s.sender <> m.user)
                    + ",
            deleted_in_ranges!("deleted_ranges", ""),
            "
                    - ",
            deleted_in_ranges!("deleted_ranges_of_senders", "d.sender = m.user AND "),
            " END END"
        )
    };
}

/// Adds to the outbox a move of a kind, from a source of `first`, `second` and the timestamp.
macro_rules! moved {
    ($kind:literal, $source:literal) => {
        concat!(
            "INSERT INTO unannounced_moves (kind, first, second, since, moves) SELECT ",
            $kind,
            ", ",
            $source,
            " ON CONFLICT (kind, first, second) DO UPDATE
            SET moves = moves + 1, since = min(since, excluded.since)"
        )
    };
    ($kind:literal) => {
        moved!($kind, "?1, ?2, ?3, 1 WHERE true")
    };
}

/// Reads the changes of the outbox whose attempts are as given, ordered by a column of time.
macro_rules! pending_changes {
    ($attempts:literal, $time:literal) => {
        concat!(
            "SELECT ",
            message!(),
            ", c.seq, c.kind, u.since, ",
            members!("u.conversation"),
            ", u.attempts, u.",
            $time,
            " FROM unannounced_changes u
            CROSS JOIN changes c ON c.conversation = u.conversation AND c.seq = u.seq
            CROSS JOIN messages m ON m.number = c.message
        WHERE u.attempts ",
            $attempts,
            " AND u.",
            $time,
            " < ?1 AND (u.",
            $time,
            ", u.conversation, u.seq) > (?3, ?4, ?5) ORDER BY u.",
            $time,
            ", u.conversation, u.seq LIMIT ?2"
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
            " < ?1 AND (",
            $time,
            ", kind, first, second) > (?3, ?4, ?5, ?6) ORDER BY ",
            $time,
            ", kind, first, second LIMIT ?2"
        )
    };
}

macro_rules! counter {
    () => {
        concat!(
            "m.user, m.conversation, m.joined, m.read, c.seq,
            ",
            unread!(),
            ",
            (SELECT min(u.seq) FROM unannounced_changes u WHERE u.conversation = m.conversation)"
        )
    };
}
