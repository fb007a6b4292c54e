-- How many conversations each user is in, so that the bound on them costs no counting. Changed in the transaction that adds
-- or removes the member.

CREATE TABLE user_conversations (
    user BLOB NOT NULL PRIMARY KEY CHECK (length(user) = 16),
    conversations INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO user_conversations (user, conversations) SELECT user, count(*) FROM members GROUP BY user;
