-- Unread messages are counted by differences, so that no statement reads them one by one. A conversation and each of
-- its changes know how many messages were sent up to there, a message knows how many its sender had sent, and a member
-- keeps both numbers at the read position. Deleted messages behind a position are summed up in ranges.

-- The messages ever sent, deleted ones included.
ALTER TABLE conversations ADD COLUMN sent INTEGER NOT NULL DEFAULT 0;
-- The highest sequence of a message that was deleted; 0 if none was.
ALTER TABLE conversations ADD COLUMN last_deleted INTEGER NOT NULL DEFAULT 0;
-- The messages sent in the conversation up to this change, deleted ones included.
ALTER TABLE changes ADD COLUMN sent INTEGER NOT NULL DEFAULT 0;
-- The messages that the sender has sent in the conversation, up to this one.
ALTER TABLE messages ADD COLUMN sender_ordinal INTEGER NOT NULL DEFAULT 0;
-- The messages sent in the conversation up to `read`, and those of them that are the member's own.
ALTER TABLE members ADD COLUMN read_sent INTEGER NOT NULL DEFAULT 0;
ALTER TABLE members ADD COLUMN read_own INTEGER NOT NULL DEFAULT 0;

UPDATE messages SET sender_ordinal = numbered.ordinal
    FROM (SELECT number, row_number() OVER (PARTITION BY conversation, sender ORDER BY seq) AS ordinal FROM messages)
        AS numbered
    WHERE messages.number = numbered.number;

UPDATE changes SET sent = summed.sent
    FROM (SELECT conversation, seq, sum(kind = 0) OVER (PARTITION BY conversation ORDER BY seq) AS sent FROM changes)
        AS summed
    WHERE changes.conversation = summed.conversation AND changes.seq = summed.seq;

-- The newest message of a sender up to a position.
CREATE INDEX messages_of_sender ON messages (sender, conversation, seq, sender_ordinal);

-- Deleted messages one by one: only those of one range are ever read together.
CREATE INDEX messages_deleted ON messages (conversation, seq, sender, deleted) WHERE deleted = 1;

UPDATE conversations SET
    sent = coalesce((SELECT sent FROM changes
        WHERE changes.conversation = conversations.id AND changes.seq = conversations.seq), 0),
    last_deleted = coalesce((SELECT max(m.seq) FROM messages m
        WHERE m.conversation = conversations.id AND m.deleted = 1), 0);

UPDATE members SET
    read_sent = coalesce((SELECT sent FROM changes
        WHERE changes.conversation = members.conversation AND changes.seq = members.read), 0),
    read_own = coalesce((SELECT m.sender_ordinal FROM messages m
        WHERE m.sender = members.user AND m.conversation = members.conversation AND m.seq <= members.read
        ORDER BY m.seq DESC LIMIT 1), 0);

-- How many messages of a range are deleted. A range of level 1 has 64 sequence numbers, one of the next level has 64 of
-- the ranges below, up to level 4. What is deleted behind a position is then the sum over less than 64 ranges of each
-- level, however many messages that is.
CREATE TABLE deleted_ranges (
    conversation BLOB NOT NULL REFERENCES conversations (id),
    level INTEGER NOT NULL CHECK (level BETWEEN 1 AND 4),
    number INTEGER NOT NULL,
    deleted INTEGER NOT NULL,
    PRIMARY KEY (conversation, level, number)
) STRICT, WITHOUT ROWID;

-- The same for the messages of one sender, who never counted them.
CREATE TABLE deleted_ranges_of_senders (
    sender BLOB NOT NULL CHECK (length(sender) = 16),
    conversation BLOB NOT NULL REFERENCES conversations (id),
    level INTEGER NOT NULL CHECK (level BETWEEN 1 AND 4),
    number INTEGER NOT NULL,
    deleted INTEGER NOT NULL,
    PRIMARY KEY (sender, conversation, level, number)
) STRICT, WITHOUT ROWID;

INSERT INTO deleted_ranges (conversation, level, number, deleted)
    SELECT m.conversation, l.column1, m.seq >> l.column2, count(*)
    FROM messages m CROSS JOIN (VALUES (1, 6), (2, 12), (3, 18), (4, 24)) AS l
    WHERE m.deleted = 1 GROUP BY 1, 2, 3;

INSERT INTO deleted_ranges_of_senders (sender, conversation, level, number, deleted)
    SELECT m.sender, m.conversation, l.column1, m.seq >> l.column2, count(*)
    FROM messages m CROSS JOIN (VALUES (1, 6), (2, 12), (3, 18), (4, 24)) AS l
    WHERE m.deleted = 1 GROUP BY 1, 2, 3, 4;
