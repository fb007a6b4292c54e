//! PostgreSQL's dialect: the texts of the statements, its types, and what to do about its errors.
//!
//! Ids are `uuid`, lists are arrays, texts are bytes in UTF-8. A statement that changes several tables is one statement,
//! whose later parts take their rows from the earlier ones (`WITH … RETURNING`). That saves round trips, and it fixes
//! the order in which rows are locked: conversation, member, outbox, and by key within each. A transaction that holds a
//! row waits only for rows that come later in this order, so transactions never wait in a circle. A lookup of one row
//! for each row is a subquery of its own (`OFFSET 0`, or a column), so that no statistics make the planner read a whole
//! table instead.

use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::{PgConnection, Row, ValueRef};
use uuid::Uuid;

use super::super::sql::{ColumnResult, Columns, Parameter, QueryResult, SqlConnection, Statements, decode_error};

impl SqlConnection for PgConnection {
    type Row = PgRow;

    const STATEMENTS: &'static Statements = &STATEMENTS;

    const CODE_NAME: &'static str = "SQLSTATE";

    fn advice(code: &str) -> Option<&'static str> {
        advice(code)
    }

    async fn rows(&mut self, statement: &'static str, parameters: Vec<Parameter>) -> QueryResult<Vec<PgRow>> {
        let query = parameters.into_iter().fold(sqlx::query(statement), bind);
        Ok(query.fetch_all(self).await?)
    }
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
fn advice(code: &str) -> Option<&'static str> {
    Some(match code {
        "25006" => "the server is read-only; name the primary server in records_url, not a standby",
        "28P01" | "28000" => "check the user and the password in records_url, and pg_hba.conf on the server",
        "3D000" => "create it with CREATE DATABASE, or name an existing database in records_url",
        "42501" => "grant the user of records_url the right to create and use tables in the database",
        "42P07" => "the database belongs to another application; name an empty database in records_url",
        "42P01" | "42703" => "the schema was changed by hand; restore it from a backup",
        "53100" => "free some space on the disk of the server",
        "53300" => "lower postgres.connections_max, or raise max_connections of the server",
        "55P03" => "another transaction held the row for longer than half of postgres.statement_timeout_ms",
        "57014" => "find what slows down the server, or raise postgres.statement_timeout_ms",
        "57P01" | "57P02" | "57P03" => "the server is starting or stopping; this host connects again by itself",
        _ => return None,
    })
}

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

/// Moves conversation $1 to sequence number $2 at timestamp $3. The change is not announced yet.
macro_rules! advance {
    () => {
        "moved AS (UPDATE conversations SET seq = $2, updated_at = greatest(updated_at, $3) WHERE id = $1
            RETURNING id, seq, updated_at)
        INSERT INTO unannounced_changes (conversation, seq, since) SELECT id, seq, updated_at FROM moved"
    };
}

/// Adds to the outbox that the positions of the members `moved` moved at timestamp $3.
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
    // Users have no row to lock, so their hash is locked. Two users with the same hash wait for each other without need.
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
    counters_of_members: concat!(
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
    is_blocked: "SELECT EXISTS (SELECT 1 FROM blocks WHERE user_id = $1 AND blocked = $2)
            OR EXISTS (SELECT 1 FROM blocks WHERE user_id = $2 AND blocked = $1)",
    users: "SELECT DISTINCT user_id FROM members WHERE user_id >= $1 ORDER BY user_id LIMIT $2",
    conversation_ids: "SELECT id FROM conversations WHERE id >= $1 ORDER BY id LIMIT $2",
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
    pending_members: "SELECT conversation, user_id, since, moves FROM unannounced_members
        WHERE since < $1 ORDER BY since, conversation, user_id LIMIT $2",
    // A row that is locked is being confirmed by another transaction.
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
    // The documents of a function and an owner have no row of their own to lock. The seed of the hash differs from that
    // of `lock_user`, so that the two rarely wait for each other.
    lock_documents: "SELECT pg_advisory_xact_lock(
        hashtextextended(concat_ws(':', $1::bigint, $2::uuid, encode($3::bytea, 'hex')), 1))",
    document_state: "SELECT count(*), (SELECT version FROM documents
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
    probe: "SELECT 1 FROM conversations LIMIT 1",
};
