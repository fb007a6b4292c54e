-- Unread messages are counted by differences, so that no statement reads them one by one. A conversation and each of
-- its changes know how many messages were sent up to there, a message knows how many its sender had sent, and a member
-- keeps both numbers at the read position. Deleted messages behind a position are summed up in ranges.

-- `sent`: the messages ever sent, deleted ones included. `last_deleted`: the highest sequence of a message that was
-- deleted; 0 if none was.
ALTER TABLE conversations
    ADD COLUMN sent bigint NOT NULL DEFAULT 0,
    ADD COLUMN last_deleted bigint NOT NULL DEFAULT 0;
-- The messages sent in the conversation up to this change, deleted ones included.
ALTER TABLE changes ADD COLUMN sent bigint NOT NULL DEFAULT 0;
-- The messages that the sender has sent in the conversation, up to this one.
ALTER TABLE messages ADD COLUMN sender_ordinal bigint NOT NULL DEFAULT 0;
-- The messages sent in the conversation up to `read`, and those of them that are the member's own.
ALTER TABLE members
    ADD COLUMN read_sent bigint NOT NULL DEFAULT 0,
    ADD COLUMN read_own bigint NOT NULL DEFAULT 0;

UPDATE messages m SET sender_ordinal = numbered.ordinal
    FROM (SELECT id, row_number() OVER (PARTITION BY conversation, sender ORDER BY seq) AS ordinal FROM messages)
        numbered
    WHERE m.id = numbered.id;

UPDATE changes c SET sent = summed.sent
    FROM (SELECT conversation, seq, count(*) FILTER (WHERE kind = 0) OVER (PARTITION BY conversation ORDER BY seq) AS sent
        FROM changes) summed
    WHERE c.conversation = summed.conversation AND c.seq = summed.seq;

-- The newest message of a sender up to a position.
CREATE INDEX messages_of_sender ON messages (sender, conversation, seq) INCLUDE (sender_ordinal);

-- Deleted messages one by one: only those of one range are ever read together.
CREATE INDEX messages_deleted ON messages (conversation, seq) INCLUDE (sender) WHERE deleted;

UPDATE conversations c SET
    sent = coalesce((SELECT s.sent FROM changes s WHERE s.conversation = c.id AND s.seq = c.seq), 0),
    last_deleted = coalesce((SELECT max(m.seq) FROM messages m WHERE m.conversation = c.id AND m.deleted), 0);

UPDATE members me SET
    read_sent = coalesce((SELECT s.sent FROM changes s
        WHERE s.conversation = me.conversation AND s.seq = me.read), 0),
    read_own = coalesce((SELECT m.sender_ordinal FROM messages m
        WHERE m.sender = me.user_id AND m.conversation = me.conversation AND m.seq <= me.read
        ORDER BY m.seq DESC LIMIT 1), 0);

-- How many messages of a range are deleted. A range of level 1 has 64 sequence numbers, one of the next level has 64 of
-- the ranges below, up to level 4. What is deleted behind a position is then the sum over less than 64 ranges of each
-- level, however many messages that is.
CREATE TABLE deleted_ranges (
    conversation uuid NOT NULL REFERENCES conversations (id),
    level integer NOT NULL CHECK (level BETWEEN 1 AND 4),
    number bigint NOT NULL,
    deleted integer NOT NULL,
    PRIMARY KEY (conversation, level, number)
) WITH (fillfactor = 80);

-- The same for the messages of one sender, who never counted them.
CREATE TABLE deleted_ranges_of_senders (
    sender uuid NOT NULL,
    conversation uuid NOT NULL REFERENCES conversations (id),
    level integer NOT NULL CHECK (level BETWEEN 1 AND 4),
    number bigint NOT NULL,
    deleted integer NOT NULL,
    PRIMARY KEY (sender, conversation, level, number)
) WITH (fillfactor = 80);

INSERT INTO deleted_ranges (conversation, level, number, deleted)
    SELECT m.conversation, l.level, m.seq >> l.bits, count(*)
    FROM messages m CROSS JOIN (VALUES (1, 6), (2, 12), (3, 18), (4, 24)) l (level, bits)
    WHERE m.deleted GROUP BY 1, 2, 3;

INSERT INTO deleted_ranges_of_senders (sender, conversation, level, number, deleted)
    SELECT m.sender, m.conversation, l.level, m.seq >> l.bits, count(*)
    FROM messages m CROSS JOIN (VALUES (1, 6), (2, 12), (3, 18), (4, 24)) l (level, bits)
    WHERE m.deleted GROUP BY 1, 2, 3, 4;
