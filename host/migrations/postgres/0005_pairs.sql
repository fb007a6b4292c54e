-- Pairs: two users have one conversation with each other, whoever asks first. And what finds everything of a user who is
-- erased.

-- Whether the conversation is the pair of two users, whose members do not change.
ALTER TABLE conversations ADD COLUMN direct boolean NOT NULL DEFAULT false;

-- The time of the newest change of any kind, which never steps back: changes are announced in this order. `updated_at` is from
-- here on the time of the newest message.
ALTER TABLE conversations ADD COLUMN changed_at bigint NOT NULL DEFAULT 0;
UPDATE conversations SET changed_at = updated_at;

CREATE TABLE pairs (
    -- The two users, in ascending order.
    first uuid NOT NULL,
    second uuid NOT NULL,
    conversation uuid NOT NULL UNIQUE REFERENCES conversations (id),
    PRIMARY KEY (first, second),
    CHECK (first < second)
);

-- The conversations that a user has created; `creator` is the UUID of zeros once that user is erased.
CREATE INDEX conversations_by_creator ON conversations (creator, id);
-- The messages of a user that are left to delete, oldest first.
CREATE INDEX messages_kept_of_sender ON messages (sender, created_at) WHERE NOT deleted;
-- Who has added or blocked a user.
CREATE INDEX contacts_by_contact ON contacts (contact, user_id);
CREATE INDEX blocks_by_blocked ON blocks (blocked, user_id);
