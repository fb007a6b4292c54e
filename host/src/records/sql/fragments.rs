//! Fragments of statements that all databases understand.

/// The columns of a message.
macro_rules! message {
    () => {
        "m.id, m.conversation, m.seq, m.sender, m.kind, m.content, m.created_at, m.edited_at, m.deleted"
    };
}

/// The number of messages that a user has sent in a conversation, up to a position if one is named.
macro_rules! sent_by {
    ($user:literal, $conversation:literal, $up_to:literal) => {
        concat!(
            "coalesce((SELECT s.sender_ordinal FROM messages s WHERE s.sender = ",
            $user,
            " AND s.conversation = ",
            $conversation,
            $up_to,
            " ORDER BY s.seq DESC LIMIT 1), 0)"
        )
    };
}

pub(in crate::records) use {message, sent_by};
