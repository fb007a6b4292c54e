-- The system of record. Ids are UUIDs of 16 bytes, moments are milliseconds since the Unix epoch.

CREATE TABLE conversations (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    creator BLOB NOT NULL CHECK (length(creator) = 16),
    -- The newest sequence; 0 before the first change.
    seq INTEGER NOT NULL DEFAULT 0,
    -- Never steps back, even if callers' clocks do.
    updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE members (
    conversation BLOB NOT NULL REFERENCES conversations (id),
    user BLOB NOT NULL CHECK (length(user) = 16),
    joined INTEGER NOT NULL,
    read INTEGER NOT NULL CHECK (read >= joined),
    PRIMARY KEY (conversation, user)
) STRICT, WITHOUT ROWID;

CREATE INDEX members_by_user ON members (user, conversation);

CREATE TABLE messages (
    -- Content is long: rows live by a short number, not in the tree of ids.
    number INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    conversation BLOB NOT NULL REFERENCES conversations (id),
    seq INTEGER NOT NULL,
    sender BLOB NOT NULL CHECK (length(sender) = 16),
    kind TEXT NOT NULL,
    content TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    edited_at INTEGER,
    deleted INTEGER NOT NULL DEFAULT 0,
    -- The sequence of the newest change of this message.
    changed INTEGER NOT NULL
) STRICT;

-- Answers history, the last message and, without touching a row, how much of it somebody else wrote.
CREATE INDEX messages_standing ON messages (conversation, seq, sender, deleted) WHERE deleted = 0;

CREATE TABLE changes (
    conversation BLOB NOT NULL REFERENCES conversations (id),
    seq INTEGER NOT NULL,
    -- 0 sent, 1 edited, 2 deleted
    kind INTEGER NOT NULL CHECK (kind BETWEEN 0 AND 3),
    message INTEGER NOT NULL REFERENCES messages (number),
    PRIMARY KEY (conversation, seq)
) STRICT, WITHOUT ROWID;

-- The outbox: what was stored and nobody confirmed to have announced.
CREATE TABLE unannounced_changes (
    conversation BLOB NOT NULL,
    seq INTEGER NOT NULL,
    since INTEGER NOT NULL,
    PRIMARY KEY (conversation, seq)
) STRICT, WITHOUT ROWID;

CREATE INDEX unannounced_changes_by_age ON unannounced_changes (since, conversation, seq);

CREATE TABLE unannounced_members (
    conversation BLOB NOT NULL,
    user BLOB NOT NULL,
    since INTEGER NOT NULL,
    -- Each move of a read position or a membership needs its own confirmation.
    moves INTEGER NOT NULL,
    PRIMARY KEY (conversation, user)
) STRICT, WITHOUT ROWID;

CREATE INDEX unannounced_members_by_age ON unannounced_members (since, conversation, user);

CREATE TABLE contacts (
    user BLOB NOT NULL CHECK (length(user) = 16),
    contact BLOB NOT NULL CHECK (length(contact) = 16),
    PRIMARY KEY (user, contact)
) STRICT, WITHOUT ROWID;

CREATE TABLE blocks (
    user BLOB NOT NULL CHECK (length(user) = 16),
    blocked BLOB NOT NULL CHECK (length(blocked) = 16),
    PRIMARY KEY (user, blocked)
) STRICT, WITHOUT ROWID;

-- The documents of functions. The key begins with the owner, so that everything about a user is found when the user is
-- erased, whichever function keeps it.
CREATE TABLE documents (
    -- 0 a user, 1 a conversation, 2 a shard, whose number is in the last bytes of `owner`, 3 a message.
    owner_kind INTEGER NOT NULL CHECK (owner_kind BETWEEN 0 AND 3),
    owner BLOB NOT NULL CHECK (length(owner) = 16),
    function TEXT NOT NULL,
    name TEXT NOT NULL,
    version INTEGER NOT NULL CHECK (version >= 1),
    -- The text as the function wrote it. It is long, so rows are not in the tree of keys.
    json TEXT NOT NULL,
    UNIQUE (owner_kind, owner, function, name)
) STRICT;
