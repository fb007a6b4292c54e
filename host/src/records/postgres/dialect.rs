//! PostgreSQL's dialect: the texts of the statements, its types, and what to do about its errors.
//!
//! Ids are `uuid`, lists are arrays, texts are bytes in UTF-8. A statement that changes several tables is one
//! statement, whose later parts take their rows from the earlier ones (`WITH … RETURNING`). That saves round trips, and
//! it fixes the order in which rows are locked: document, contact, block, conversation, count of a user's
//! conversations, member, outbox, and by key within each. A transaction that holds a row waits only for rows that come
//! later in this order, so transactions never wait in a circle. A lookup of one row for each row is a subquery of its
//! own (`OFFSET 0`, or a column), so that no statistics make the planner read a whole table instead.

use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::{PgConnection, Row, ValueRef};
use uuid::Uuid;

use super::super::sql::{
    ColumnResult, Columns, Parameter, QueryResult, SqlConnection, Statements, decode_error, message, sent_by,
};

impl SqlConnection for PgConnection {
    type Row = PgRow;

    const STATEMENTS: &'static Statements = &STATEMENTS;

    const CODE_NAME: &'static str = "SQLSTATE";

    fn advice(code: &str) -> Option<&'static str> {
        advice(code)
    }

    async fn rows(&mut self, statement: &'static str, parameters: Vec<Parameter>) -> QueryResult<Vec<PgRow>> {
        fetch(self, (statement, true), parameters).await
    }
}

/// Runs a statement. It is prepared under a name, and kept for the next time, if that is asked for.
pub(super) async fn fetch(
    connection: &mut PgConnection,
    (statement, keep_prepared): (&'static str, bool),
    parameters: Vec<Parameter>,
) -> QueryResult<Vec<PgRow>> {
    let query = sqlx::query(statement).persistent(keep_prepared);
    Ok(parameters.into_iter().fold(query, bind).fetch_all(connection).await?)
}

type PgQuery<'q> = Query<'q, sqlx::Postgres, PgArguments>;

/// Binds a list of pairs, triples or keys as several parameters, one array for each.
fn bind(query: PgQuery<'_>, parameter: Parameter) -> PgQuery<'_> {
    match parameter {
        Parameter::Id(bits) => query.bind(Uuid::from_u128(bits)),
        Parameter::Number(number) => query.bind(number),
        Parameter::Text(text) => query.bind(text.into_bytes()),
        Parameter::Ids(ids) => query.bind(uuids(ids)),
        Parameter::Members(members) => {
            let (conversations, users): (Vec<_>, Vec<_>) = members.into_iter().unzip();
            query.bind(uuids(conversations)).bind(uuids(users))
        }
        Parameter::Changes(changes) => {
            let (conversations, seqs): (Vec<_>, Vec<_>) = changes.into_iter().unzip();
            query.bind(uuids(conversations)).bind(seqs)
        }
        Parameter::Moves(moves) => {
            let members = moves.iter().map(|(conversation, user, _)| (*conversation, *user));
            let (conversations, users): (Vec<_>, Vec<_>) = members.unzip();
            let moves: Vec<i64> = moves.into_iter().map(|(_, _, moves)| moves).collect();
            query.bind(uuids(conversations)).bind(uuids(users)).bind(moves)
        }
        Parameter::ChangeAttempts(changes) => {
            let conversations = changes.iter().map(|change| change.0).collect();
            let seqs: Vec<i64> = changes.iter().map(|change| change.1).collect();
            let (attempts, next): (Vec<i64>, Vec<i64>) = changes.iter().map(|change| (change.2, change.3)).unzip();
            query.bind(uuids(conversations)).bind(seqs).bind(attempts).bind(next)
        }
        Parameter::MoveAttempts(members) => {
            let (conversations, users) = members.iter().map(|member| (member.0, member.1)).unzip();
            let (attempts, next): (Vec<i64>, Vec<i64>) = members.iter().map(|member| (member.2, member.3)).unzip();
            query.bind(uuids(conversations)).bind(uuids(users)).bind(attempts).bind(next)
        }
        Parameter::Documents(keys) => {
            let kinds: Vec<i64> = keys.iter().map(|key| key.owner_kind).collect();
            let owners = keys.iter().map(|key| key.owner).collect();
            let (functions, names): (Vec<_>, Vec<_>) =
                keys.into_iter().map(|key| (key.function.into_bytes(), key.name.into_bytes())).unzip();
            query.bind(kinds).bind(uuids(owners)).bind(functions).bind(names)
        }
    }
}

fn uuids(ids: Vec<u128>) -> Vec<Uuid> {
    ids.into_iter().map(Uuid::from_u128).collect()
}

impl Columns for PgRow {
    fn bits(&self, column: usize) -> ColumnResult<u128> {
        Ok(self.try_get::<Uuid, _>(column)?.as_u128())
    }

    fn all_bits(&self, column: usize) -> ColumnResult<Vec<u128>> {
        let ids: Vec<Uuid> = self.try_get(column)?;
        Ok(ids.iter().map(Uuid::as_u128).collect())
    }

    fn number(&self, column: usize) -> ColumnResult<i64> {
        self.try_get(column)
    }

    fn numbers(&self, column: usize) -> ColumnResult<Vec<i64>> {
        self.try_get(column)
    }

    fn text(&self, column: usize) -> ColumnResult<String> {
        String::from_utf8(self.try_get(column)?).map_err(decode_error)
    }

    fn flag(&self, column: usize) -> ColumnResult<bool> {
        self.try_get(column)
    }

    fn is_null(&self, column: usize) -> ColumnResult<bool> {
        Ok(self.try_get_raw(column)?.is_null())
    }
}

/// What an operator can do about an error, by its SQLSTATE:
/// <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
pub(super) fn advice(code: &str) -> Option<&'static str> {
    Some(match code {
        "25006" => "the server is read-only; name the primary server in records_url, not a standby",
        "26000" | "42P05" => "a pooler gives sessions to several clients; set postgres.pooling = \"transaction\"",
        "28P01" | "28000" => "check the user and the password in records_url, and pg_hba.conf on the server",
        "3D000" => "create it with CREATE DATABASE, or name an existing database in records_url",
        "42501" => "grant the user of records_url the right to create and use tables in the database",
        "42P07" => "the database belongs to another application; name an empty database in records_url",
        "42P01" | "42703" => {
            "a newer version of Roost has changed the schema, or it was changed by hand; start the newer version on \
             every host, or restore a backup"
        }
        "53100" => "free some space on the disk of the server",
        "53300" => "lower postgres.connections_max, or raise max_connections of the server",
        "55P03" => {
            "another transaction held the row for longer than half of postgres.statement_timeout_ms; find it in \
             pg_stat_activity"
        }
        "57014" => "find what slows down the server, or raise postgres.statement_timeout_ms",
        "57P01" | "57P02" | "57P03" => "the server is starting or stopping; this host connects again by itself",
        _ => return None,
    })
}

pub(super) static STATEMENTS: Statements = Statements {
    lock_conversation: "SELECT 1 FROM conversations WHERE id = $1 FOR NO KEY UPDATE",
    lock_conversations: "SELECT 1 FROM conversations WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE",
    lock_member: "SELECT 1 FROM members WHERE conversation = $1 AND user_id = $2 FOR NO KEY UPDATE",
    // Users have no row to lock, so their hash is locked. Two users with the same hash wait for each other without
    // need.
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
    conversation_state: concat!(
        "SELECT c.seq, c.creator, me.joined, me.read, ",
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
            ELSE false END, c.direct
        FROM conversations c LEFT JOIN members me ON me.conversation = c.id AND me.user_id = $2
        WHERE c.id = $1"
    ),
    message: concat!("SELECT ", message!(), ", m.changed FROM messages m WHERE m.id = $1"),
    append: concat!(
        "WITH message AS (
            INSERT INTO messages (id, conversation, seq, sender, kind, content, created_at, changed, sender_ordinal)
            VALUES ($4, $1, $2, $5, $6, $7, $3, $2, ",
        sent_by!("$5", "$1", ""),
        " + 1)),
        ",
        advance!("0", ", sent = sent + 1, updated_at = greatest(updated_at, $3)")
    ),
    edit: concat!(
        "WITH message AS (UPDATE messages SET content = $5, edited_at = $3, changed = $2 WHERE id = $4),
        ",
        advance!("1", "")
    ),
    delete: concat!(
        "WITH gone AS (UPDATE messages SET content = '', deleted = true, changed = $2 WHERE id = $4
            RETURNING conversation, sender, seq),
        ranges AS (",
        count_deleted!("deleted_ranges", "conversation"),
        "),
        of_sender AS (",
        count_deleted!("deleted_ranges_of_senders", "sender, conversation"),
        "),
        ",
        advance!("2", ", last_deleted = greatest(last_deleted, (SELECT gone.seq FROM gone))")
    ),
    read_positions: "SELECT user_id, joined, read FROM members WHERE conversation = $1 ORDER BY user_id",
    // Both numbers grow with the position, so two marks at once leave those of the later position.
    mark_read: concat!(
        "WITH moved AS (UPDATE members SET read = greatest(read, $4),
                read_sent = greatest(read_sent,
                    (SELECT c.sent FROM changes c WHERE c.conversation = $1 AND c.seq = $4)),
                read_own = greatest(read_own, ",
        sent_by!("$2", "$1", " AND s.seq <= $4"),
        ")
            WHERE conversation = $1 AND user_id = $2
            RETURNING conversation, user_id)
        ",
        moved!("0", "conversation, user_id")
    ),
    authors: "SELECT sender FROM messages WHERE conversation = $1 AND seq > $2 AND seq <= $3 AND NOT deleted
        ORDER BY seq DESC LIMIT $4",
    blocked_with: "SELECT asked.id FROM unnest($2::uuid[]) AS asked(id)
        WHERE EXISTS (SELECT 1 FROM blocks WHERE user_id = $1 AND blocked = asked.id OFFSET 0)
            OR EXISTS (SELECT 1 FROM blocks WHERE user_id = asked.id AND blocked = $1 OFFSET 0)",
    counters_of_users: concat!(
        "SELECT ",
        counter!(),
        " FROM unnest($1::uuid[], $2::uuid[]) WITH ORDINALITY AS asked(first, id, place)
            CROSS JOIN LATERAL (SELECT * FROM members WHERE user_id = asked.id AND conversation >= asked.first
                ORDER BY conversation LIMIT $3) m
            CROSS JOIN LATERAL (SELECT * FROM conversations WHERE id = m.conversation OFFSET 0) c
        ORDER BY asked.place, m.conversation LIMIT $3"
    ),
    counters_of_members: concat!(
        "SELECT ",
        counter!(),
        " FROM unnest($1::uuid[], $2::uuid[]) AS asked(conversation, id)
            CROSS JOIN LATERAL (SELECT * FROM members
                WHERE conversation = asked.conversation AND user_id = asked.id OFFSET 0) m
            CROSS JOIN LATERAL (SELECT * FROM conversations WHERE id = m.conversation OFFSET 0) c"
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
    messages: concat!(
        "SELECT ",
        message!(),
        " FROM members me
            LEFT JOIN LATERAL (SELECT one.* FROM unnest($3::uuid[]) AS asked(id)
                CROSS JOIN LATERAL (SELECT * FROM messages WHERE id = asked.id OFFSET 0) one
                WHERE one.conversation = me.conversation AND NOT one.deleted AND one.seq > me.joined) m ON true
        WHERE me.conversation = $1 AND me.user_id = $2"
    ),
    conversations: concat!(
        "SELECT page.id, page.updated_at, page.joined, page.read, ",
        shown_members!("page.id"),
        ", page.direct FROM (
            SELECT c.id, c.updated_at, c.direct, m.joined, m.read FROM members m
                CROSS JOIN LATERAL (SELECT id, updated_at, direct FROM conversations
                    WHERE id = m.conversation OFFSET 0) c
            WHERE m.user_id = $1 AND (c.updated_at, c.id) < ($2, $3)
            ORDER BY c.updated_at DESC, c.id DESC LIMIT $4) page
        ORDER BY page.updated_at DESC, page.id DESC"
    ),
    conversations_named: concat!(
        "SELECT c.id, c.updated_at, m.joined, m.read, ",
        shown_members!("c.id"),
        ", c.direct
        FROM (SELECT DISTINCT unnest($2::uuid[]) AS id) asked
            CROSS JOIN LATERAL (SELECT joined, read FROM members
                WHERE conversation = asked.id AND user_id = $1 OFFSET 0) m
            CROSS JOIN LATERAL (SELECT id, updated_at, direct FROM conversations WHERE id = asked.id OFFSET 0) c
        ORDER BY c.updated_at DESC, c.id DESC"
    ),
    create_conversation: concat!(
        "WITH moved AS (
            INSERT INTO conversations (id, creator, updated_at) VALUES ($1, $2, $3) RETURNING id),
        joined AS (INSERT INTO members (conversation, user_id, joined, read)
            SELECT moved.id, member.id, 0, 0 FROM moved CROSS JOIN unnest($4::uuid[]) AS member(id))
        ",
        moved!("2", "id, '00000000-0000-0000-0000-000000000000'::uuid")
    ),
    pair: "SELECT conversation FROM pairs WHERE first = $1 AND second = $2",
    make_direct: "WITH made AS (UPDATE conversations SET direct = true WHERE id = $1)
        INSERT INTO pairs (conversation, first, second) VALUES ($1, $2, $3)",
    add_member: concat!(
        "WITH moved AS (INSERT INTO members (conversation, user_id, joined, read, read_sent, read_own)
            SELECT id, $2, $4, $4, sent, ",
        sent_by!("$2", "$1", ""),
        " FROM conversations WHERE id = $1
            RETURNING conversation, user_id)
        ",
        moved!("1", "conversation, user_id")
    ),
    remove_member: concat!(
        "WITH moved AS (DELETE FROM members WHERE conversation = $1 AND user_id = $2
            RETURNING conversation, user_id)
        ",
        moved!("1", "conversation, user_id")
    ),
    contacts: "SELECT ARRAY(SELECT contact FROM contacts WHERE user_id = $1 ORDER BY contact)",
    blocks: "SELECT ARRAY(SELECT blocked FROM blocks WHERE user_id = $1 ORDER BY blocked)",
    audience: "SELECT asked.id, ARRAY(
            SELECT c.contact FROM contacts c WHERE c.user_id = asked.id
                AND EXISTS (SELECT 1 FROM contacts WHERE user_id = c.contact AND contact = c.user_id OFFSET 0)
                AND NOT EXISTS (SELECT 1 FROM blocks WHERE user_id = c.user_id AND blocked = c.contact OFFSET 0)
                AND NOT EXISTS (SELECT 1 FROM blocks WHERE user_id = c.contact AND blocked = c.user_id OFFSET 0)
            ORDER BY c.contact)
        FROM unnest($1::uuid[]) AS asked(id)",
    contact_count: "SELECT count(*), coalesce(bool_or(contact = $2), false) FROM contacts WHERE user_id = $1",
    add_contact: concat!(
        "WITH moved AS (INSERT INTO contacts (user_id, contact) VALUES ($1, $2) RETURNING user_id, contact)
        ",
        moved!("3", "user_id, contact")
    ),
    remove_contact: concat!(
        "WITH moved AS (DELETE FROM contacts WHERE user_id = $1 AND contact = $2 RETURNING user_id, contact)
        ",
        moved!("3", "user_id, contact")
    ),
    block_count: "SELECT count(*), coalesce(bool_or(blocked = $2), false) FROM blocks WHERE user_id = $1",
    block: concat!(
        "WITH moved AS (INSERT INTO blocks (user_id, blocked) VALUES ($1, $2) RETURNING user_id, blocked)
        ",
        moved!("3", "user_id, blocked")
    ),
    unblock: concat!(
        "WITH moved AS (DELETE FROM blocks WHERE user_id = $1 AND blocked = $2 RETURNING user_id, blocked)
        ",
        moved!("3", "user_id, blocked")
    ),
    relation: "SELECT EXISTS (SELECT 1 FROM contacts WHERE user_id = $1 AND contact = $2),
        EXISTS (SELECT 1 FROM blocks WHERE user_id = $1 AND blocked = $2),
        EXISTS (SELECT 1 FROM contacts WHERE user_id = $2 AND contact = $1),
        EXISTS (SELECT 1 FROM blocks WHERE user_id = $2 AND blocked = $1)",
    users: "SELECT DISTINCT user_id FROM members WHERE user_id >= $1 ORDER BY user_id LIMIT $2",
    conversation_ids: "SELECT id FROM conversations WHERE id >= $1 ORDER BY id LIMIT $2",
    pending_changes: pending_changes!("= 0", "since"),
    pending_moves: pending_moves!("= 0", "since"),
    tried_changes: pending_changes!("> 0", "next_time"),
    tried_moves: pending_moves!("> 0", "next_time"),
    postpone_changes: "WITH held AS MATERIALIZED (
            SELECT u.conversation, u.seq, asked.attempts, asked.next_time
            FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::bigint[])
                    AS asked(conversation, seq, attempts, next_time)
                JOIN unannounced_changes u ON u.conversation = asked.conversation AND u.seq = asked.seq
            ORDER BY u.conversation, u.seq FOR UPDATE OF u SKIP LOCKED)
        UPDATE unannounced_changes u SET attempts = held.attempts, next_time = held.next_time FROM held
            WHERE u.conversation = held.conversation AND u.seq = held.seq",
    postpone_moves: "WITH held AS MATERIALIZED (
            SELECT u.kind, u.first, u.second, asked.attempts, asked.next_time
            FROM unnest($2::uuid[], $3::uuid[], $4::bigint[], $5::bigint[])
                    AS asked(first, second, attempts, next_time)
                JOIN unannounced_moves u ON u.kind = $1 AND u.first = asked.first AND u.second = asked.second
            ORDER BY u.first, u.second FOR UPDATE OF u SKIP LOCKED)
        UPDATE unannounced_moves u SET attempts = held.attempts, next_time = held.next_time FROM held
            WHERE u.kind = held.kind AND u.first = held.first AND u.second = held.second",
    // A row that is locked is being confirmed by another transaction.
    announced_changes: "WITH done AS MATERIALIZED (
            SELECT u.conversation, u.seq FROM unnest($1::uuid[], $2::bigint[]) AS asked(conversation, seq)
                JOIN unannounced_changes u ON u.conversation = asked.conversation AND u.seq = asked.seq
            ORDER BY u.conversation, u.seq FOR UPDATE OF u SKIP LOCKED)
        DELETE FROM unannounced_changes u USING done WHERE u.conversation = done.conversation AND u.seq = done.seq",
    announced_moves: "WITH held AS MATERIALIZED (
            SELECT u.kind, u.first, u.second, u.moves, asked.moves AS confirmed
            FROM unnest($2::uuid[], $3::uuid[], $4::bigint[]) AS asked(first, second, moves)
                JOIN unannounced_moves u ON u.kind = $1 AND u.first = asked.first AND u.second = asked.second
            ORDER BY u.first, u.second FOR UPDATE OF u),
        gone AS (DELETE FROM unannounced_moves u USING held
            WHERE u.kind = held.kind AND u.first = held.first AND u.second = held.second
                AND held.moves <= held.confirmed)
        UPDATE unannounced_moves u SET moves = held.moves - held.confirmed FROM held
            WHERE u.kind = held.kind AND u.first = held.first AND u.second = held.second
                AND held.moves > held.confirmed",
    // The documents of a function and an owner have no row of their own to lock. The seed of the hash differs from that
    // of `lock_user`, so that the two rarely wait for each other.
    lock_documents: "SELECT pg_advisory_xact_lock(
        hashtextextended(concat_ws(':', $1::bigint, $2::uuid, encode($3::bytea, 'hex')), 1))",
    // Erasing an owner locks no documents but those that it deletes, so the row is locked as well.
    document_state: "SELECT count(*), (SELECT version FROM documents
            WHERE owner_kind = $1 AND owner = $2 AND function = $3 AND name = $4 FOR UPDATE),
            (SELECT octet_length(json)::bigint FROM documents
            WHERE owner_kind = $1 AND owner = $2 AND function = $3 AND name = $4)
        FROM documents WHERE owner_kind = $1 AND owner = $2 AND function = $3",
    documents: "SELECT asked.number - 1, d.version, d.json
        FROM unnest($1::bigint[], $2::uuid[], $3::bytea[], $4::bytea[])
                WITH ORDINALITY AS asked(owner_kind, owner, function, name, number)
            CROSS JOIN LATERAL (SELECT version, json FROM documents
                WHERE owner_kind = asked.owner_kind AND owner = asked.owner AND function = asked.function
                    AND name = asked.name OFFSET 0) d",
    document_names: "SELECT name FROM documents WHERE owner_kind = $1 AND owner = $2 AND function = $3 ORDER BY name",
    put_document: "INSERT INTO documents AS d (owner_kind, owner, function, name, version, json)
            VALUES ($1, $2, $3, $4, 1, $5)
            ON CONFLICT (owner_kind, owner, function, name) DO UPDATE
            SET version = d.version + 1, json = excluded.json",
    delete_document: "DELETE FROM documents WHERE owner_kind = $1 AND owner = $2 AND function = $3 AND name = $4",
    count_document_bytes: "INSERT INTO function_documents AS f (function, bytes) VALUES ($1, greatest($2::bigint, 0))
            ON CONFLICT (function) DO UPDATE SET bytes = greatest(f.bytes + $2, 0) RETURNING bytes",
    // The rows of the functions are locked in ascending order.
    erase_documents: "WITH erased AS (DELETE FROM documents WHERE owner_kind = $1 AND owner = $2
            RETURNING function, 512 + octet_length(name) + octet_length(json) AS bytes)
        INSERT INTO function_documents AS f (function, bytes)
            SELECT function, -sum(bytes) FROM erased GROUP BY function ORDER BY function
            ON CONFLICT (function) DO UPDATE SET bytes = greatest(f.bytes + excluded.bytes, 0)",
    join_conversation: "WITH joined AS (
            INSERT INTO user_conversations AS u (user_id, conversations)
            SELECT id, 1 FROM unnest($1::uuid[]) AS member(id) ORDER BY id
            ON CONFLICT (user_id) DO UPDATE SET conversations = u.conversations + 1
            RETURNING user_id, conversations)
        SELECT user_id FROM joined WHERE conversations > $2 LIMIT 1",
    leave_conversation: "UPDATE user_conversations SET conversations = greatest(conversations - 1, 0) WHERE user_id = $1",
    // The outbox takes its rows from a sorted list that ends with the count, so the count is locked before the outbox.
    // Nobody who waits for one of the members, whose conversations are locked, holds the count.
    leave_conversations: concat!(
        "WITH gone AS (DELETE FROM members WHERE conversation = ANY($1) AND user_id = $2
            RETURNING conversation, user_id),
        counted AS (UPDATE user_conversations
            SET conversations = greatest(conversations - (SELECT count(*) FROM gone), 0) WHERE user_id = $2
            RETURNING user_id),
        moved AS (SELECT gone.conversation, gone.user_id FROM gone CROSS JOIN (SELECT count(*) FROM counted) AS done
            ORDER BY gone.conversation)
        ",
        moved!("1", "conversation, user_id"),
        " RETURNING u.first"
    ),
    lock_counts: "INSERT INTO user_conversations AS u (user_id, conversations)
            SELECT id, 0 FROM unnest(ARRAY[$1, $2]::uuid[]) AS member(id) ORDER BY id
            ON CONFLICT (user_id) DO UPDATE SET conversations = u.conversations",
    is_any_blocked: "SELECT EXISTS (SELECT 1 FROM unnest($1::uuid[]) AS one(id)
            CROSS JOIN LATERAL (SELECT blocked FROM blocks WHERE user_id = one.id OFFSET 0) b
            WHERE b.blocked IN (SELECT id FROM unnest($1::uuid[]) AS other(id)))",
    is_blocked_with_any: "SELECT EXISTS (SELECT 1 FROM unnest($2::uuid[]) AS other(id)
            CROSS JOIN LATERAL (SELECT 1 FROM blocks WHERE user_id = $1 AND blocked = other.id
                UNION ALL SELECT 1 FROM blocks WHERE user_id = other.id AND blocked = $1 OFFSET 0) b)",
    membership: "SELECT EXISTS (SELECT 1 FROM members WHERE conversation = c.id AND user_id = $2 OFFSET 0)
        FROM conversations c WHERE c.id = $1",
    members: concat!(
        "SELECT m.user_id, m.joined, ",
        shown_read!("$4"),
        " FROM members m WHERE m.conversation = $1 AND m.user_id >= $2 ORDER BY m.user_id LIMIT $3"
    ),
    // A part is read when its number is needed: the contacts first.
    lock_relations: "WITH of_contacts AS MATERIALIZED (
            SELECT 1 FROM contacts WHERE user_id = $1 OR (contact = $1 AND user_id = ANY($2))
            ORDER BY user_id, contact FOR UPDATE),
        of_blocks AS MATERIALIZED (
            SELECT 1 FROM blocks WHERE user_id = $1 OR (blocked = $1 AND user_id = ANY($2))
            ORDER BY user_id, blocked FOR UPDATE)
        SELECT CASE WHEN (SELECT count(*) FROM of_contacts) >= 0 THEN (SELECT count(*) FROM of_blocks) END",
    erase_own_relations: "WITH unblocked AS (DELETE FROM blocks WHERE user_id = $1) DELETE FROM contacts WHERE user_id = $1",
    added_by: "SELECT user_id FROM contacts WHERE contact = $1 ORDER BY user_id LIMIT $2",
    blocked_by: "SELECT user_id FROM blocks WHERE blocked = $1 ORDER BY user_id LIMIT $2",
    erase_from_relations: concat!(
        "WITH removed AS (DELETE FROM contacts WHERE contact = $1 AND user_id = ANY($2) RETURNING user_id, contact),
        unblocked AS (DELETE FROM blocks WHERE blocked = $1 AND user_id = ANY($2) RETURNING user_id, blocked),
        moved AS (SELECT * FROM removed UNION SELECT * FROM unblocked ORDER BY 1)
        ",
        moved!("3", "user_id, contact")
    ),
    conversations_of_user: "SELECT conversation FROM members WHERE user_id = $1 ORDER BY conversation LIMIT $2",
    forget_pairs: "DELETE FROM pairs WHERE conversation = ANY($1)",
    kept_messages: "SELECT conversation, id FROM messages WHERE sender = $1 AND NOT deleted ORDER BY created_at LIMIT $2",
    created_by: "SELECT id FROM conversations WHERE creator = $1 ORDER BY id LIMIT $2 FOR NO KEY UPDATE",
    set_creator: "UPDATE conversations SET creator = $2 WHERE id = ANY($1)",
    forget_count: "DELETE FROM user_conversations WHERE user_id = $1 AND conversations <= 0",
    // The setting is also on while the server is a standby.
    probe: "SELECT current_setting('transaction_read_only')::boolean, EXISTS (SELECT 1 FROM conversations)",
};
