//! SQLite's dialect: the texts of the statements, its types, and what to do about its errors.
//!
//! Ids are blobs of 16 bytes. Lists go in as one JSON text with ids in hexadecimal, and lists of ids come out as one
//! hexadecimal text: that is one row instead of a thousand. A text with several statements needs one trip to the
//! connection's thread.

use serde_json::json;
use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Row, SqliteConnection, ValueRef};

use super::super::sql::{
    ColumnResult, Columns, ListedDocument, Parameter, QueryResult, SqlConnection, Statements, decode_error, message,
    sent_by,
};

impl SqlConnection for SqliteConnection {
    type Row = SqliteRow;

    const STATEMENTS: &'static Statements = &STATEMENTS;

    const CODE_NAME: &'static str = "SQLite code";

    fn advice(code: &str) -> Option<&'static str> {
        advice(code)
    }

    async fn rows(&mut self, statement: &'static str, parameters: Vec<Parameter>) -> QueryResult<Vec<SqliteRow>> {
        let query = parameters.into_iter().fold(sqlx::query(statement), bind);
        Ok(query.fetch_all(self).await?)
    }
}

type SqliteQuery<'q> = Query<'q, sqlx::Sqlite, SqliteArguments>;

fn bind(query: SqliteQuery<'_>, parameter: Parameter) -> SqliteQuery<'_> {
    let hex = |bits: u128| format!("{bits:032x}");
    let list: Vec<serde_json::Value> = match parameter {
        Parameter::Id(bits) => return query.bind(bits.to_be_bytes().to_vec()),
        Parameter::Number(number) => return query.bind(number),
        Parameter::Text(text) => return query.bind(text),
        Parameter::Ids(ids) => ids.into_iter().map(|id| json!(hex(id))).collect(),
        Parameter::Members(members) => {
            members.into_iter().map(|(conversation, user)| json!([hex(conversation), hex(user)])).collect()
        }
        Parameter::Changes(changes) => {
            changes.into_iter().map(|(conversation, seq)| json!([hex(conversation), seq])).collect()
        }
        Parameter::Moves(moves) => {
            moves.into_iter().map(|(conversation, user, moves)| json!([hex(conversation), hex(user), moves])).collect()
        }
        Parameter::ChangeAttempts(changes) => {
            let change = |(id, seq, attempts, next): (u128, i64, i64, i64)| json!([hex(id), seq, attempts, next]);
            changes.into_iter().map(change).collect()
        }
        Parameter::MoveAttempts(members) => {
            let member =
                |(id, user, attempts, next): (u128, u128, i64, i64)| json!([hex(id), hex(user), attempts, next]);
            members.into_iter().map(member).collect()
        }
        Parameter::Documents(keys) => {
            let key = |key: ListedDocument| json!([key.owner_kind, hex(key.owner), key.function, key.name]);
            keys.into_iter().map(key).collect()
        }
    };
    query.bind(serde_json::Value::Array(list).to_string())
}

impl Columns for SqliteRow {
    fn bits(&self, column: usize) -> ColumnResult<u128> {
        let bytes: &[u8] = self.try_get(column)?;
        Ok(u128::from_be_bytes(bytes.try_into().map_err(decode_error)?))
    }

    fn all_bits(&self, column: usize) -> ColumnResult<Vec<u128>> {
        let text: Option<&str> = self.try_get(column)?;
        let digits = text.unwrap_or_default().as_bytes().chunks(32);
        let read = |digits| {
            let digits = std::str::from_utf8(digits).map_err(decode_error)?;
            u128::from_str_radix(digits, 16).map_err(decode_error)
        };
        let mut ids = digits.map(read).collect::<ColumnResult<Vec<u128>>>()?;
        ids.sort_unstable();
        Ok(ids)
    }

    fn number(&self, column: usize) -> ColumnResult<i64> {
        self.try_get(column)
    }

    fn numbers(&self, column: usize) -> ColumnResult<Vec<i64>> {
        let text: Option<&str> = self.try_get(column)?;
        let digits = text.unwrap_or_default().as_bytes().chunks(16);
        let read = |digits| {
            let digits = std::str::from_utf8(digits).map_err(decode_error)?;
            i64::from_str_radix(digits, 16).map_err(decode_error)
        };
        digits.map(read).collect()
    }

    fn text(&self, column: usize) -> ColumnResult<String> {
        self.try_get(column)
    }

    fn flag(&self, column: usize) -> ColumnResult<bool> {
        self.try_get(column)
    }

    fn is_null(&self, column: usize) -> ColumnResult<bool> {
        Ok(self.try_get_raw(column)?.is_null())
    }
}

/// What an operator can do about an error, by its (extended) result code: <https://www.sqlite.org/rescode.html>.
fn advice(code: &str) -> Option<&'static str> {
    let primary = code.parse::<u32>().ok()? & 0xff;
    Some(match primary {
        3 | 8 => "give the account of this process permission to write the file and its folder",
        5 | 6 => "another process holds the lock of the database; stop it, or wait until it is done",
        10 => "check the disk and its file system",
        11 => "the file is damaged; restore a backup",
        13 => "free some space on the disk",
        14 => "check that the path in records_url is a file, and that the account of this process may write its folder",
        26 => "name another file in records_url",
        _ => return None,
    })
}

pub(super) static STATEMENTS: Statements = Statements {
    lock_conversation: "",
    lock_conversations: "",
    lock_member: "",
    lock_user: "",
    lock_pair: "",
    conversation_state: concat!(
        "SELECT c.seq, c.creator, me.joined, me.read, ",
        members!("c.id"),
        ",
            CASE WHEN (SELECT count(*) FROM (SELECT 1 FROM members WHERE conversation = c.id LIMIT 3) AS few) = 2
            THEN EXISTS (
                SELECT 1 FROM members one CROSS JOIN members other CROSS JOIN blocks b
                WHERE one.conversation = c.id AND other.conversation = c.id
                    AND b.user = one.user AND b.blocked = other.user)
            ELSE 0 END, c.direct
        FROM conversations c LEFT JOIN members me ON me.conversation = c.id AND me.user = ?2
        WHERE c.id = ?1"
    ),
    message: concat!("SELECT ", message!(), ", m.changed FROM messages m WHERE m.id = ?1"),
    append: concat!(
        "INSERT INTO messages (id, conversation, seq, sender, kind, content, created_at, changed, sender_ordinal)
            VALUES (?4, ?1, ?2, ?5, ?6, ?7, ?3, ?2, ",
        sent_by!("?5", "?1", ""),
        " + 1);
        ",
        "INSERT INTO changes (conversation, seq, kind, message, sent)
            SELECT id, ?2, 0, last_insert_rowid(), sent + 1 FROM conversations WHERE id = ?1;
        ",
        advance!(", sent = sent + 1, updated_at = max(updated_at, ?3)")
    ),
    edit: concat!(
        "UPDATE messages SET content = ?5, edited_at = ?3, changed = ?2 WHERE id = ?4;
        ",
        change!("1", "(SELECT number FROM messages WHERE id = ?4)"),
        advance!("")
    ),
    delete: concat!(
        "UPDATE messages SET content = '', deleted = 1, changed = ?2 WHERE id = ?4;
        ",
        change!("2", "(SELECT number FROM messages WHERE id = ?4)"),
        count_deleted!("deleted_ranges", "conversation", "m.conversation"),
        count_deleted!("deleted_ranges_of_senders", "sender, conversation", "m.sender, m.conversation"),
        advance!(", last_deleted = max(last_deleted, (SELECT seq FROM messages WHERE messages.id = ?4))")
    ),
    read_positions: "SELECT user, joined, read FROM members WHERE conversation = ?1 ORDER BY user",
    mark_read: concat!(
        "UPDATE members SET read = ?4,
            read_sent = (SELECT c.sent FROM changes c WHERE c.conversation = ?1 AND c.seq = ?4),
            read_own = ",
        sent_by!("?2", "?1", " AND s.seq <= ?4"),
        "
        WHERE conversation = ?1 AND user = ?2; ",
        moved!("0")
    ),
    authors: "SELECT sender FROM messages WHERE conversation = ?1 AND seq > ?2 AND seq <= ?3 AND deleted = 0
        ORDER BY seq DESC LIMIT ?4",
    blocked_with: "SELECT unhex(asked.value) FROM json_each(?2) AS asked
        WHERE EXISTS (SELECT 1 FROM blocks WHERE user = ?1 AND blocked = unhex(asked.value))
            OR EXISTS (SELECT 1 FROM blocks WHERE user = unhex(asked.value) AND blocked = ?1)",
    counters_of_users: concat!(
        "SELECT ",
        counter!(),
        " FROM json_each(?1) AS pair
            CROSS JOIN members m ON m.user = unhex(pair.value ->> 1) AND m.conversation >= unhex(pair.value ->> 0)
            CROSS JOIN conversations c ON c.id = m.conversation
        LIMIT ?2"
    ),
    counters_of_members: concat!(
        "SELECT ",
        counter!(),
        " FROM json_each(?1) AS pair
            CROSS JOIN members m ON m.conversation = unhex(pair.value ->> 0) AND m.user = unhex(pair.value ->> 1)
            CROSS JOIN conversations c ON c.id = m.conversation"
    ),
    changes: concat!(
        "SELECT ",
        message!(),
        ", c.seq, c.kind FROM changes c CROSS JOIN messages m ON m.number = c.message
        WHERE c.conversation = ?1 AND c.seq > ?2 AND c.seq <= ?3 ORDER BY c.seq DESC LIMIT ?4"
    ),
    last_messages: concat!(
        "SELECT ",
        message!(),
        ", c.id, c.seq FROM conversations c LEFT JOIN messages m ON m.number = (
            SELECT s.number FROM messages s WHERE s.conversation = c.id AND s.deleted = 0
            ORDER BY s.seq DESC LIMIT 1)
        WHERE c.id IN (SELECT unhex(value) FROM json_each(?1))"
    ),
    history: concat!(
        "SELECT ",
        message!(),
        " FROM members me LEFT JOIN messages m
            ON m.conversation = me.conversation AND m.deleted = 0 AND m.seq > me.joined AND m.seq < ?3
        WHERE me.conversation = ?1 AND me.user = ?2 ORDER BY m.seq DESC LIMIT ?4"
    ),
    // `+` keeps the index of the conversation out: only the messages that are asked for are looked up.
    messages: concat!(
        "SELECT ",
        message!(),
        " FROM members me LEFT JOIN messages m ON m.id IN (SELECT unhex(value) FROM json_each(?3))
            AND +m.conversation = me.conversation AND +m.seq > me.joined AND +m.deleted = 0
        WHERE me.conversation = ?1 AND me.user = ?2"
    ),
    conversations: concat!(
        "SELECT id, updated_at, joined, read, ",
        shown_members!("page.id"),
        ", direct FROM (
            SELECT c.id, c.updated_at, c.direct, m.joined, m.read
            FROM members m CROSS JOIN conversations c ON c.id = m.conversation
            WHERE m.user = ?1 AND (c.updated_at, c.id) < (?2, ?3)
            ORDER BY c.updated_at DESC, c.id DESC LIMIT ?4) AS page
        ORDER BY updated_at DESC, id DESC"
    ),
    conversations_named: concat!(
        "SELECT c.id, c.updated_at, m.joined, m.read, ",
        shown_members!("c.id"),
        ", c.direct
        FROM members m CROSS JOIN conversations c ON c.id = m.conversation
        WHERE m.conversation IN (SELECT unhex(value) FROM json_each(?2)) AND m.user = ?1
        ORDER BY c.updated_at DESC, c.id DESC"
    ),
    users: "SELECT DISTINCT user FROM members WHERE user >= ?1 ORDER BY user LIMIT ?2",
    conversation_ids: "SELECT id FROM conversations WHERE id >= ?1 ORDER BY id LIMIT ?2",
    create_conversation: concat!(
        "INSERT INTO conversations (id, creator, updated_at) VALUES (?1, ?2, ?3);
        INSERT INTO members (conversation, user, joined, read)
            SELECT ?1, unhex(value), 0, 0 FROM json_each(?4); ",
        moved!("2", "?1, zeroblob(16), ?3, 1 WHERE true")
    ),
    pair: "SELECT conversation FROM pairs WHERE first = ?1 AND second = ?2",
    make_direct: "UPDATE conversations SET direct = 1 WHERE id = ?1;
        INSERT INTO pairs (conversation, first, second) VALUES (?1, ?2, ?3)",
    add_member: concat!(
        "INSERT INTO members (conversation, user, joined, read, read_sent, read_own)
            SELECT id, ?2, ?4, ?4, sent, ",
        sent_by!("?2", "?1", ""),
        "
            FROM conversations WHERE id = ?1; ",
        moved!("1")
    ),
    remove_member: concat!("DELETE FROM members WHERE conversation = ?1 AND user = ?2; ", moved!("1")),
    contacts: "SELECT group_concat(hex(contact), '') FROM contacts WHERE user = ?1",
    blocks: "SELECT group_concat(hex(blocked), '') FROM blocks WHERE user = ?1",
    audience: "SELECT c.user, group_concat(hex(c.contact), '') FROM contacts c
        WHERE c.user IN (SELECT unhex(value) FROM json_each(?1))
            AND EXISTS (SELECT 1 FROM contacts r WHERE r.user = c.contact AND r.contact = c.user)
            AND NOT EXISTS (SELECT 1 FROM blocks b WHERE b.user = c.user AND b.blocked = c.contact)
            AND NOT EXISTS (SELECT 1 FROM blocks b WHERE b.user = c.contact AND b.blocked = c.user)
        GROUP BY c.user",
    contact_count: "SELECT count(*), total(contact = ?2) > 0 FROM contacts WHERE user = ?1",
    add_contact: concat!("INSERT INTO contacts (user, contact) VALUES (?1, ?2); ", moved!("3")),
    remove_contact: concat!(
        moved!("3", "user, contact, ?3, 1 FROM contacts WHERE user = ?1 AND contact = ?2"),
        "; DELETE FROM contacts WHERE user = ?1 AND contact = ?2"
    ),
    block_count: "SELECT count(*), total(blocked = ?2) > 0 FROM blocks WHERE user = ?1",
    block: concat!("INSERT INTO blocks (user, blocked) VALUES (?1, ?2); ", moved!("3")),
    unblock: concat!(
        moved!("3", "user, blocked, ?3, 1 FROM blocks WHERE user = ?1 AND blocked = ?2"),
        "; DELETE FROM blocks WHERE user = ?1 AND blocked = ?2"
    ),
    relation: "SELECT EXISTS (SELECT 1 FROM contacts WHERE user = ?1 AND contact = ?2),
        EXISTS (SELECT 1 FROM blocks WHERE user = ?1 AND blocked = ?2),
        EXISTS (SELECT 1 FROM contacts WHERE user = ?2 AND contact = ?1),
        EXISTS (SELECT 1 FROM blocks WHERE user = ?2 AND blocked = ?1)",
    pending_changes: pending_changes!("= 0", "since"),
    pending_moves: pending_moves!("= 0", "since"),
    tried_changes: pending_changes!("> 0", "next_time"),
    tried_moves: pending_moves!("> 0", "next_time"),
    postpone_changes: "UPDATE unannounced_changes SET attempts = asked.value ->> 2, next_time = asked.value ->> 3
            FROM json_each(?1) AS asked
            WHERE conversation = unhex(asked.value ->> 0) AND seq = (asked.value ->> 1)",
    // The kind of a move comes with the list: by itself SQLite would walk through all moves of the kind, and read the
    // list again for each of them.
    postpone_moves: "WITH asked AS MATERIALIZED (
            SELECT ?1 AS kind, unhex(value ->> 0) AS first, unhex(value ->> 1) AS second, value ->> 2 AS attempts,
                value ->> 3 AS next_time
            FROM json_each(?2))
        UPDATE unannounced_moves AS u SET attempts = asked.attempts, next_time = asked.next_time FROM asked
            WHERE u.kind = asked.kind AND u.first = asked.first AND u.second = asked.second",
    announced_changes: "DELETE FROM unannounced_changes WHERE (conversation, seq) IN (
            SELECT unhex(value ->> 0), value ->> 1 FROM json_each(?1))",
    announced_moves: "WITH asked AS MATERIALIZED (
            SELECT ?1 AS kind, unhex(value ->> 0) AS first, unhex(value ->> 1) AS second, value ->> 2 AS moves
            FROM json_each(?2))
        UPDATE unannounced_moves AS u SET moves = u.moves - asked.moves FROM asked
            WHERE u.kind = asked.kind AND u.first = asked.first AND u.second = asked.second;
        DELETE FROM unannounced_moves WHERE moves <= 0 AND kind = ?1 AND (first, second) IN (
            SELECT unhex(value ->> 0), unhex(value ->> 1) FROM json_each(?2))",
    lock_documents: "",
    document_state: "SELECT count(*), (SELECT version FROM documents
            WHERE owner_kind = ?1 AND owner = ?2 AND function = ?3 AND name = ?4),
            (SELECT octet_length(json) FROM documents
            WHERE owner_kind = ?1 AND owner = ?2 AND function = ?3 AND name = ?4)
        FROM documents WHERE owner_kind = ?1 AND owner = ?2 AND function = ?3",
    documents: "SELECT asked.key, d.version, d.json FROM json_each(?1) AS asked
        CROSS JOIN documents d ON d.owner_kind = (asked.value ->> 0) AND d.owner = unhex(asked.value ->> 1)
            AND d.function = (asked.value ->> 2) AND d.name = (asked.value ->> 3)",
    document_names: "SELECT name FROM documents WHERE owner_kind = ?1 AND owner = ?2 AND function = ?3 ORDER BY name",
    put_document: "INSERT INTO documents (owner_kind, owner, function, name, version, json)
            VALUES (?1, ?2, ?3, ?4, 1, ?5)
            ON CONFLICT (owner_kind, owner, function, name) DO UPDATE
            SET version = version + 1, json = excluded.json",
    delete_document: "DELETE FROM documents WHERE owner_kind = ?1 AND owner = ?2 AND function = ?3 AND name = ?4",
    count_document_bytes: "INSERT INTO function_documents (function, bytes) VALUES (?1, max(?2, 0))
            ON CONFLICT (function) DO UPDATE SET bytes = max(bytes + ?2, 0) RETURNING bytes",
    erase_documents: "INSERT INTO function_documents (function, bytes)
            SELECT function, -sum(512 + octet_length(name) + octet_length(json)) FROM documents
            WHERE owner_kind = ?1 AND owner = ?2 GROUP BY function
            ON CONFLICT (function) DO UPDATE SET bytes = max(bytes + excluded.bytes, 0);
        DELETE FROM documents WHERE owner_kind = ?1 AND owner = ?2",
    join_conversation: "INSERT INTO user_conversations (user, conversations)
            SELECT unhex(value), 1 FROM json_each(?1) WHERE true
            ON CONFLICT (user) DO UPDATE SET conversations = conversations + 1;
        SELECT user FROM user_conversations
            WHERE user IN (SELECT unhex(value) FROM json_each(?1)) AND conversations > ?2 LIMIT 1",
    leave_conversation: "UPDATE user_conversations SET conversations = max(conversations - 1, 0) WHERE user = ?1",
    leave_conversations: concat!(
        moved!(
            "1",
            "conversation, user, ?3, 1 FROM members
                WHERE user = ?2 AND conversation IN (SELECT unhex(value) FROM json_each(?1))"
        ),
        "; UPDATE user_conversations SET conversations = max(conversations - (SELECT count(*) FROM members
                WHERE user = ?2 AND conversation IN (SELECT unhex(value) FROM json_each(?1))), 0) WHERE user = ?2;
        DELETE FROM members WHERE user = ?2 AND conversation IN (SELECT unhex(value) FROM json_each(?1))
            RETURNING conversation"
    ),
    lock_counts: "",
    is_any_blocked: "SELECT EXISTS (SELECT 1 FROM json_each(?1) AS one CROSS JOIN blocks b ON b.user = unhex(one.value)
            WHERE b.blocked IN (SELECT unhex(value) FROM json_each(?1)))",
    is_blocked_with_any: "SELECT EXISTS (SELECT 1 FROM blocks
                WHERE user = ?1 AND blocked IN (SELECT unhex(value) FROM json_each(?2)))
            OR EXISTS (SELECT 1 FROM blocks
                WHERE user IN (SELECT unhex(value) FROM json_each(?2)) AND blocked = ?1)",
    membership: "SELECT EXISTS (SELECT 1 FROM members WHERE conversation = c.id AND user = ?2)
        FROM conversations c WHERE c.id = ?1",
    members: concat!(
        "SELECT m.user, m.joined, ",
        shown_read!("?4"),
        " FROM members m WHERE m.conversation = ?1 AND m.user >= ?2 ORDER BY m.user LIMIT ?3"
    ),
    lock_relations: "",
    erase_own_relations: "DELETE FROM contacts WHERE user = ?1; DELETE FROM blocks WHERE user = ?1",
    added_by: "SELECT user FROM contacts WHERE contact = ?1 ORDER BY user LIMIT ?2",
    blocked_by: "SELECT user FROM blocks WHERE blocked = ?1 ORDER BY user LIMIT ?2",
    erase_from_relations: concat!(
        moved!(
            "3",
            "unhex(asked.value), ?1, ?3, 1 FROM json_each(?2) AS asked
                WHERE EXISTS (SELECT 1 FROM contacts WHERE user = unhex(asked.value) AND contact = ?1)
                    OR EXISTS (SELECT 1 FROM blocks WHERE user = unhex(asked.value) AND blocked = ?1)"
        ),
        "; DELETE FROM contacts WHERE contact = ?1 AND user IN (SELECT unhex(value) FROM json_each(?2));
        DELETE FROM blocks WHERE blocked = ?1 AND user IN (SELECT unhex(value) FROM json_each(?2))"
    ),
    conversations_of_user: "SELECT conversation FROM members WHERE user = ?1 ORDER BY conversation LIMIT ?2",
    forget_pairs: "DELETE FROM pairs WHERE conversation IN (SELECT unhex(value) FROM json_each(?1))",
    kept_messages: "SELECT conversation, id FROM messages INDEXED BY messages_kept_of_sender
        WHERE sender = ?1 AND deleted = 0 ORDER BY created_at, number LIMIT ?2",
    created_by: "SELECT id FROM conversations WHERE creator = ?1 ORDER BY id LIMIT ?2",
    set_creator: "UPDATE conversations SET creator = ?2 WHERE id IN (SELECT unhex(value) FROM json_each(?1))",
    forget_count: "DELETE FROM user_conversations WHERE user = ?1 AND conversations <= 0",
    probe: "SELECT 1 FROM conversations LIMIT 1",
};
