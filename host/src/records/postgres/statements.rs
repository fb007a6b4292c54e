//! The statements in PostgreSQL's words.
//!
//! A statement that changes several tables is one statement, whose later parts take their rows from the earlier ones
//! (`WITH … RETURNING`): that saves trips, and it fixes the order in which rows are locked. The order is conversation,
//! member, outbox, and by key within each; whoever holds a row waits only for what comes after it, so nobody waits in
//! a circle. Looking up one row per row stands as a subquery of its own (`OFFSET 0`, or in the columns), so that no
//! statistics talk the planner into reading a whole table instead.

use super::super::sql::Statements;

macro_rules! message {
    () => {
        "m.id, m.conversation, m.seq, m.sender, m.kind, m.content, m.created_at, m.edited_at, m.deleted"
    };
}

macro_rules! members {
    ($conversation:literal) => {
        concat!("ARRAY(SELECT user_id FROM members WHERE conversation = ", $conversation, " ORDER BY user_id)")
    };
}

/// The conversation `$1` has two members.
macro_rules! two_members {
    ($conversation:literal) => {
        concat!(
            "(SELECT count(*) FROM (SELECT 1 FROM members WHERE conversation = ",
            $conversation,
            " LIMIT 3) few) = 2"
        )
    };
}

/// Moves conversation $1 to sequence $2 at moment $3, not announced yet.
macro_rules! advance {
    () => {
        "moved AS (UPDATE conversations SET seq = $2, updated_at = greatest(updated_at, $3) WHERE id = $1
            RETURNING id, seq, updated_at)
        INSERT INTO unannounced_changes (conversation, seq, since) SELECT id, seq, updated_at FROM moved"
    };
}

/// Says that the standing of the members `moved` moved at moment $3.
macro_rules! moved {
    () => {
        "INSERT INTO unannounced_members AS u (conversation, user_id, since, moves)
            SELECT conversation, user_id, $3, 1 FROM moved
            ON CONFLICT (conversation, user_id) DO UPDATE
            SET moves = u.moves + 1, since = least(u.since, excluded.since)"
    };
}

macro_rules! counter {
    () => {
        "m.user_id, m.conversation, m.joined, m.read, (SELECT c.seq FROM conversations c WHERE c.id = m.conversation),
            (SELECT count(*) FROM messages s
                WHERE s.conversation = m.conversation AND s.seq > m.read AND NOT s.deleted AND s.sender <> m.user_id),
            (SELECT min(u.seq) FROM unannounced_changes u WHERE u.conversation = m.conversation)"
    };
}

pub(super) static STATEMENTS: Statements = Statements {
    lock_conversation: "SELECT 1 FROM conversations WHERE id = $1 FOR NO KEY UPDATE",
    lock_member: "SELECT 1 FROM members WHERE conversation = $1 AND user_id = $2 FOR NO KEY UPDATE",
    // There is no row of a user to lock. Two users of one hash wait for each other needlessly, and that is all.
    lock_user: "SELECT pg_advisory_xact_lock(hashtextextended($1::text, 0))",
    lock_pair: concat!(
        "SELECT 1 FROM conversations c WHERE c.id IN (
            SELECT me.conversation FROM members me WHERE me.user_id = $1
                AND EXISTS (SELECT 1 FROM members other
                    WHERE other.conversation = me.conversation AND other.user_id = $2 OFFSET 0)
                AND ",
        two_members!("me.conversation"),
        ")
        ORDER BY c.id FOR NO KEY UPDATE"
    ),
    talk: concat!(
        "SELECT c.seq, c.creator, c.updated_at, me.joined, me.read, ",
        members!("c.id"),
        ",
            CASE WHEN ",
        two_members!("c.id"),
        " THEN EXISTS (
                SELECT 1 FROM members one
                    JOIN members other ON other.conversation = one.conversation AND other.user_id <> one.user_id
                    JOIN LATERAL (SELECT 1 FROM blocks
                        WHERE user_id = one.user_id AND blocked = other.user_id OFFSET 0) b ON true
                WHERE one.conversation = c.id)
            ELSE false END
        FROM conversations c LEFT JOIN members me ON me.conversation = c.id AND me.user_id = $2
        WHERE c.id = $1"
    ),
    message: concat!("SELECT ", message!(), ", m.changed FROM messages m WHERE m.id = $1"),
    append: concat!(
        "WITH message AS (INSERT INTO messages (id, conversation, seq, sender, kind, content, created_at, changed)
            VALUES ($4, $1, $2, $5, $6, $7, $3, $2)),
        change AS (INSERT INTO changes (conversation, seq, kind, message) VALUES ($1, $2, 0, $4)),
        ",
        advance!()
    ),
    edit: concat!(
        "WITH message AS (UPDATE messages SET content = $5, edited_at = $3, changed = $2 WHERE id = $4),
        change AS (INSERT INTO changes (conversation, seq, kind, message) VALUES ($1, $2, 1, $4)),
        ",
        advance!()
    ),
    delete: concat!(
        "WITH message AS (UPDATE messages SET content = '', deleted = true, changed = $2 WHERE id = $4),
        change AS (INSERT INTO changes (conversation, seq, kind, message) VALUES ($1, $2, 2, $4)),
        ",
        advance!()
    ),
    mark_read: concat!(
        "WITH moved AS (UPDATE members SET read = greatest(read, $4) WHERE conversation = $1 AND user_id = $2
            RETURNING conversation, user_id)
        ",
        moved!()
    ),
    counters_of_users: concat!(
        "SELECT ",
        counter!(),
        " FROM unnest($1::uuid[]) AS asked(id)
            CROSS JOIN LATERAL (SELECT * FROM members WHERE user_id = asked.id OFFSET 0) m"
    ),
    counters_of_pairs: concat!(
        "SELECT ",
        counter!(),
        " FROM unnest($1::uuid[], $2::uuid[]) AS asked(conversation, id)
            CROSS JOIN LATERAL (SELECT * FROM members
                WHERE conversation = asked.conversation AND user_id = asked.id OFFSET 0) m"
    ),
    changes: concat!(
        "SELECT ",
        message!(),
        ", c.seq, c.kind::bigint
        FROM (SELECT * FROM changes WHERE conversation = $1 AND seq > $2 AND seq <= $3
                ORDER BY seq DESC LIMIT $4) c
            CROSS JOIN LATERAL (SELECT * FROM messages WHERE id = c.message OFFSET 0) m
        ORDER BY c.seq DESC"
    ),
    last_messages: concat!(
        "SELECT ",
        message!(),
        ", c.id, c.seq
        FROM unnest($1::uuid[]) AS asked(id)
            CROSS JOIN LATERAL (SELECT id, seq FROM conversations WHERE id = asked.id OFFSET 0) c
            LEFT JOIN LATERAL (SELECT * FROM messages WHERE conversation = c.id AND NOT deleted
                ORDER BY seq DESC LIMIT 1) m ON true"
    ),
    history: concat!(
        "SELECT ",
        message!(),
        " FROM members me
            LEFT JOIN LATERAL (SELECT * FROM messages
                WHERE conversation = me.conversation AND NOT deleted AND seq > me.joined AND seq < $3
                ORDER BY seq DESC LIMIT $4) m ON true
        WHERE me.conversation = $1 AND me.user_id = $2 ORDER BY m.seq DESC"
    ),
    conversations: concat!(
        "SELECT page.id, page.updated_at, page.joined, ",
        members!("page.id"),
        " FROM (
            SELECT c.id, c.updated_at, m.joined FROM members m
                CROSS JOIN LATERAL (SELECT id, updated_at FROM conversations WHERE id = m.conversation OFFSET 0) c
            WHERE m.user_id = $1 AND (c.updated_at, c.id) < ($2, $3)
            ORDER BY c.updated_at DESC, c.id DESC LIMIT $4) page
        ORDER BY page.updated_at DESC, page.id DESC"
    ),
    conversations_named: concat!(
        "SELECT c.id, c.updated_at, m.joined, ",
        members!("c.id"),
        "
        FROM (SELECT DISTINCT unnest($2::uuid[]) AS id) asked
            CROSS JOIN LATERAL (SELECT joined FROM members
                WHERE conversation = asked.id AND user_id = $1 OFFSET 0) m
            CROSS JOIN LATERAL (SELECT id, updated_at FROM conversations WHERE id = asked.id OFFSET 0) c
        ORDER BY c.updated_at DESC, c.id DESC"
    ),
    create_conversation: "WITH created AS (
            INSERT INTO conversations (id, creator, updated_at) VALUES ($1, $2, $3) RETURNING id)
        INSERT INTO members (conversation, user_id, joined, read)
            SELECT created.id, member.id, 0, 0 FROM created CROSS JOIN unnest($4::uuid[]) AS member(id)",
    add_member: concat!(
        "WITH moved AS (INSERT INTO members (conversation, user_id, joined, read) VALUES ($1, $2, $4, $4)
            RETURNING conversation, user_id)
        ",
        moved!()
    ),
    remove_member: concat!(
        "WITH moved AS (DELETE FROM members WHERE conversation = $1 AND user_id = $2
            RETURNING conversation, user_id)
        ",
        moved!()
    ),
    contacts: "SELECT ARRAY(SELECT contact FROM contacts WHERE user_id = $1 ORDER BY contact)",
    audience: "SELECT asked.id, ARRAY(
            SELECT c.contact FROM contacts c WHERE c.user_id = asked.id
                AND EXISTS (SELECT 1 FROM contacts WHERE user_id = c.contact AND contact = c.user_id OFFSET 0)
                AND NOT EXISTS (SELECT 1 FROM blocks WHERE user_id = c.user_id AND blocked = c.contact OFFSET 0)
                AND NOT EXISTS (SELECT 1 FROM blocks WHERE user_id = c.contact AND blocked = c.user_id OFFSET 0)
            ORDER BY c.contact)
        FROM unnest($1::uuid[]) AS asked(id)",
    contact_count: "SELECT count(*), coalesce(bool_or(contact = $2), false) FROM contacts WHERE user_id = $1",
    add_contact: "INSERT INTO contacts (user_id, contact) VALUES ($1, $2)",
    remove_contact: "DELETE FROM contacts WHERE user_id = $1 AND contact = $2",
    block_count: "SELECT count(*), coalesce(bool_or(blocked = $2), false) FROM blocks WHERE user_id = $1",
    block: "INSERT INTO blocks (user_id, blocked) VALUES ($1, $2)",
    unblock: "DELETE FROM blocks WHERE user_id = $1 AND blocked = $2",
    apart: "SELECT EXISTS (SELECT 1 FROM blocks WHERE user_id = $1 AND blocked = $2)
            OR EXISTS (SELECT 1 FROM blocks WHERE user_id = $2 AND blocked = $1)",
    pending_changes: concat!(
        "SELECT ",
        message!(),
        ", c.seq, c.kind::bigint, u.since, ",
        members!("u.conversation"),
        "
        FROM (SELECT * FROM unannounced_changes WHERE since < $1
                ORDER BY since, conversation, seq LIMIT $2) u
            CROSS JOIN LATERAL (SELECT * FROM changes WHERE conversation = u.conversation AND seq = u.seq OFFSET 0) c
            CROSS JOIN LATERAL (SELECT * FROM messages WHERE id = c.message OFFSET 0) m
        ORDER BY u.since, u.conversation, u.seq"
    ),
    pending_members: "SELECT conversation, user_id, since FROM unannounced_members
        WHERE since < $1 ORDER BY since, conversation, user_id LIMIT $2",
    // A row that somebody holds is being confirmed by them.
    announced_changes: "WITH done AS MATERIALIZED (
            SELECT u.conversation, u.seq FROM unnest($1::uuid[], $2::bigint[]) AS asked(conversation, seq)
                JOIN unannounced_changes u ON u.conversation = asked.conversation AND u.seq = asked.seq
            ORDER BY u.conversation, u.seq FOR UPDATE OF u SKIP LOCKED)
        DELETE FROM unannounced_changes u USING done WHERE u.conversation = done.conversation AND u.seq = done.seq",
    announced_members: "WITH held AS MATERIALIZED (
            SELECT u.conversation, u.user_id, u.moves, asked.moves AS confirmed
            FROM unnest($1::uuid[], $2::uuid[], $3::bigint[]) AS asked(conversation, user_id, moves)
                JOIN unannounced_members u ON u.conversation = asked.conversation AND u.user_id = asked.user_id
            ORDER BY u.conversation, u.user_id FOR UPDATE OF u),
        gone AS (DELETE FROM unannounced_members u USING held
            WHERE u.conversation = held.conversation AND u.user_id = held.user_id AND held.moves <= held.confirmed)
        UPDATE unannounced_members u SET moves = held.moves - held.confirmed FROM held
            WHERE u.conversation = held.conversation AND u.user_id = held.user_id AND held.moves > held.confirmed",
    probe: "SELECT 1 FROM conversations LIMIT 1",
};
