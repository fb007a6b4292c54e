-- How many conversations each user is in, so that the bound on them costs no counting. Changed in the transaction that adds
-- or removes the member, which thereby locks the user: two such transactions never pass the bound together, and none passes
-- a block that is being stored.

CREATE TABLE user_conversations (
    user_id uuid NOT NULL PRIMARY KEY,
    conversations bigint NOT NULL
-- With room in its page a row is updated without touching the index.
) WITH (fillfactor = 80);

INSERT INTO user_conversations (user_id, conversations) SELECT user_id, count(*) FROM members GROUP BY user_id;
