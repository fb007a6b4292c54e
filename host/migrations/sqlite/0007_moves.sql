-- The outbox keeps every kind of move: not only of read positions, but also of memberships, which others are told as well,
-- the creation of conversations, and what users say about each other as contacts and by blocks.

CREATE TABLE unannounced_moves (
    -- 0 the read position of a member: a conversation and a user. 1 a membership: a conversation and a user. 2 a
    -- conversation that was created, and the least id. 3 a contact or a block: the user whose it is, and the other user.
    kind INTEGER NOT NULL CHECK (kind BETWEEN 0 AND 3),
    first BLOB NOT NULL CHECK (length(first) = 16),
    second BLOB NOT NULL CHECK (length(second) = 16),
    since INTEGER NOT NULL,
    -- Each move needs its own confirmation.
    moves INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    -- Recovery leaves an item alone until this time. It means nothing before the first attempt.
    next_time INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (kind, first, second)
) STRICT, WITHOUT ROWID;

-- The announcement of a membership repeats that of a read position as well.
INSERT INTO unannounced_moves (kind, first, second, since, moves)
    SELECT kinds.column1, conversation, user, since, moves FROM unannounced_members CROSS JOIN (VALUES (0), (1)) AS kinds;

DROP TABLE unannounced_members;

CREATE INDEX unannounced_moves_untried ON unannounced_moves (since, kind, first, second) WHERE attempts = 0;
CREATE INDEX unannounced_moves_tried ON unannounced_moves (next_time, kind, first, second) WHERE attempts > 0;
