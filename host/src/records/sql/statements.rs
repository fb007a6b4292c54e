//! What a database is asked, one name for each statement: its parameters and its columns. The texts are each database's.
//!
//! Nothing else is ever sent to a database, so that a test can hold all of it to the indexes.

macro_rules! statements {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// The text of every statement. `message` stands for id, conversation, sequence, sender, kind, content, created
        /// at, edited at, deleted; `members` for a list of users.
        #[derive(Clone, Copy, Debug)]
        pub struct Statements {
            $($(#[$doc])* pub $name: &'static str,)*
        }

        impl Statements {
            /// All of them by name, but those that the database does without.
            pub fn all(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
                [$((stringify!($name), self.$name)),*].into_iter().filter(|(_, text)| !text.is_empty())
            }
        }
    };
}

statements! {
    /// Nobody else changes conversation 1 until the transaction ends. Empty where only one writes at a time.
    lock_conversation,
    /// Nobody else changes the place of member (1, 2) until the transaction ends. Empty as above.
    lock_member,
    /// Nobody else adds to the relations of user 1 until the transaction ends. Empty as above.
    lock_user,
    /// As `lock_conversation`, for every conversation that has users 1 and 2 and nobody else. Empty as above.
    lock_pair,
    /// Conversation 1 and the place of user 2: sequence, creator, updated at, joined, read, members, blocked.
    talk,
    /// Message 1: message, sequence of its newest change.
    message,
    /// Stores in conversation 1 at sequence 2 and moment 3 the message 4 of sender 5, kind 6, content 7.
    append,
    /// In conversation 1 at sequence 2 and moment 3 message 4 gets content 5.
    edit,
    /// In conversation 1 at sequence 2 and moment 3 message 4 is taken back.
    delete,
    /// In conversation 1 user 2 has read, at moment 3, up to 4.
    mark_read,
    /// Standings of users 1, a list: user, conversation, joined, read, sequence, count, oldest not announced.
    counters_of_users,
    /// The same of members 1, a list of pairs.
    counters_of_pairs,
    /// Changes of conversation 1 in (2, 3], newest first, at most 4: message, sequence, kind.
    changes,
    /// Of conversations 1, a list: newest message, conversation, sequence.
    last_messages,
    /// Messages of conversation 1 that user 2 sees below 3, at most 4: message. A member who sees none gets one row of
    /// nulls.
    history,
    /// Conversations of user 1 below activity 2 and id 3, at most 4: id, updated at, joined, members.
    conversations,
    /// Those of conversations 2, a list, that user 1 is a member of; as above.
    conversations_named,
    /// Creates conversation 1 by 2 at moment 3 with members 4, a list.
    create_conversation,
    /// Conversation 1 gets member 2 at moment 3, who joins at sequence 4.
    add_member,
    /// Conversation 1 loses member 2 at moment 3.
    remove_member,
    /// Contacts of user 1: users.
    contacts,
    /// Of users 1, a list: user, who may see them.
    audience,
    /// How many contacts user 1 has, and whether 2 is one.
    contact_count,
    /// User 1 adds 2.
    add_contact,
    /// User 1 removes 2.
    remove_contact,
    /// How many user 1 has blocked, and whether 2 is one.
    block_count,
    /// User 1 blocks 2.
    block,
    /// User 1 unblocks 2.
    unblock,
    /// Whether one of 1 and 2 has blocked the other.
    apart,
    /// Changes stored before moment 1 and not announced, at most 2: message, sequence, kind, since, members.
    pending_changes,
    /// The same of members: conversation, user, since.
    pending_members,
    /// Changes 1, a list of steps, are announced.
    announced_changes,
    /// Members 1, a list of moves, are announced.
    announced_members,
    /// The smallest question about the schema.
    probe,
}
