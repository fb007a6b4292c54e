-- The system of record. Moments are milliseconds since the Unix epoch. Users are not kept here: `user_id` is whatever
-- the tokens say.

CREATE TABLE conversations (
    id uuid NOT NULL PRIMARY KEY,
    creator uuid NOT NULL,
    -- The newest sequence; 0 before the first change.
    seq bigint NOT NULL DEFAULT 0,
    -- Never steps back, even if callers' clocks do.
    updated_at bigint NOT NULL
-- Every message updates its conversation; with room in its page the row moves without touching the index.
) WITH (fillfactor = 70);

CREATE TABLE members (
    conversation uuid NOT NULL REFERENCES conversations (id),
    user_id uuid NOT NULL,
    joined bigint NOT NULL,
    read bigint NOT NULL CHECK (read >= joined),
    PRIMARY KEY (conversation, user_id)
) WITH (fillfactor = 80);

CREATE INDEX members_by_user ON members (user_id, conversation);

CREATE TABLE messages (
    id uuid NOT NULL PRIMARY KEY,
    conversation uuid NOT NULL REFERENCES conversations (id),
    seq bigint NOT NULL,
    sender uuid NOT NULL,
    -- UTF-8. The type `text` cannot hold the character U+0000, which clients may send:
    -- `convert_from(content, 'UTF8')` shows what has none.
    kind bytea NOT NULL,
    content bytea NOT NULL,
    created_at bigint NOT NULL,
    edited_at bigint,
    deleted boolean NOT NULL DEFAULT false,
    -- The sequence of the newest change of this message.
    changed bigint NOT NULL
);

-- Answers history, the last message and, without touching a row, how much of it somebody else wrote.
CREATE UNIQUE INDEX messages_standing ON messages (conversation, seq) INCLUDE (sender) WHERE NOT deleted;

CREATE TABLE changes (
    conversation uuid NOT NULL REFERENCES conversations (id),
    seq bigint NOT NULL,
    -- 0 sent, 1 edited, 2 deleted
    kind smallint NOT NULL CHECK (kind BETWEEN 0 AND 3),
    message uuid NOT NULL REFERENCES messages (id),
    PRIMARY KEY (conversation, seq)
);

-- The outbox: what was stored and nobody confirmed to have announced. Rows come and go with every message, so they are
-- swept early.
CREATE TABLE unannounced_changes (
    conversation uuid NOT NULL,
    seq bigint NOT NULL,
    since bigint NOT NULL,
    PRIMARY KEY (conversation, seq)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

CREATE INDEX unannounced_changes_by_age ON unannounced_changes (since, conversation, seq);

CREATE TABLE unannounced_members (
    conversation uuid NOT NULL,
    user_id uuid NOT NULL,
    since bigint NOT NULL,
    -- Each move of a read position or a membership needs its own confirmation.
    moves bigint NOT NULL,
    PRIMARY KEY (conversation, user_id)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

CREATE INDEX unannounced_members_by_age ON unannounced_members (since, conversation, user_id);

CREATE TABLE contacts (
    user_id uuid NOT NULL,
    contact uuid NOT NULL,
    PRIMARY KEY (user_id, contact)
);

CREATE TABLE blocks (
    user_id uuid NOT NULL,
    blocked uuid NOT NULL,
    PRIMARY KEY (user_id, blocked)
);

-- The documents of functions. The key begins with the owner, so that everything about a user is found when the user is
-- erased, whichever function keeps it.
CREATE TABLE documents (
    -- 0 a user, 1 a conversation, 2 a shard, whose number is in the last bytes of `owner`, 3 a message.
    owner_kind smallint NOT NULL CHECK (owner_kind BETWEEN 0 AND 3),
    owner uuid NOT NULL,
    -- UTF-8, which compares byte by byte.
    function bytea NOT NULL,
    name bytea NOT NULL,
    version bigint NOT NULL CHECK (version >= 1),
    -- The text as the function wrote it. `jsonb` would change it.
    json bytea NOT NULL,
    PRIMARY KEY (owner_kind, owner, function, name)
);
