-- The outbox keeps every kind of move: not only of read positions, but also of memberships, which others are told as well,
-- the creation of conversations, and what users say about each other as contacts and by blocks.

CREATE TABLE unannounced_moves (
    -- 0 the read position of a member: a conversation and a user. 1 a membership: a conversation and a user. 2 a
    -- conversation that was created, and the least id. 3 a contact or a block: the user whose it is, and the other user.
    kind bigint NOT NULL CHECK (kind BETWEEN 0 AND 3),
    first uuid NOT NULL,
    second uuid NOT NULL,
    since bigint NOT NULL,
    -- Each move needs its own confirmation.
    moves bigint NOT NULL,
    attempts bigint NOT NULL DEFAULT 0,
    -- Recovery leaves an item alone until this time. It means nothing before the first attempt.
    next_time bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (kind, first, second)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

-- The announcement of a membership repeats that of a read position as well.
INSERT INTO unannounced_moves (kind, first, second, since, moves)
    SELECT kinds.kind, conversation, user_id, since, moves
    FROM unannounced_members CROSS JOIN (VALUES (0), (1)) AS kinds (kind);

DROP TABLE unannounced_members;

CREATE INDEX unannounced_moves_untried ON unannounced_moves (since, kind, first, second) WHERE attempts = 0;
CREATE INDEX unannounced_moves_tried ON unannounced_moves (next_time, kind, first, second) WHERE attempts > 0;
