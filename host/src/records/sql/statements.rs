//! The statements that a database is asked, each with its name, its parameters and its columns. Their texts are in each
//! database's dialect.
//!
//! Nothing else is ever sent to a database, so that a test can check that every statement uses its indexes.

macro_rules! statements {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// The text of every statement. Numbers in the descriptions are parameters. `message` stands for the columns
        /// id, conversation, sequence number, sender, kind, content, created at, edited at, deleted; `members` for one
        /// column with a list of users.
        #[derive(Clone, Copy, Debug)]
        pub struct Statements {
            $($(#[$doc])* pub $name: &'static str,)*
        }

        impl Statements {
            /// The name and the text of every statement, without those that the database does not need.
            pub fn all(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
                [$((stringify!($name), self.$name)),*].into_iter().filter(|(_, text)| !text.is_empty())
            }
        }
    };
}

statements! {
    /// Locks conversation 1 against changes until the transaction ends. Empty for a database with one writer.
    lock_conversation,
    /// Locks conversations 1, a list, like `lock_conversation`, in ascending order. Empty for a database with one
    /// writer.
    lock_conversations,
    /// Locks the position of member (1, 2) until the transaction ends. Empty for a database with one writer.
    lock_member,
    /// Locks the contacts and blocks of user 1 against additions until the transaction ends. Empty for a database with
    /// one writer.
    lock_user,
    /// Locks, like `lock_conversation`, every conversation whose only members are users 1 and 2. Empty for a database
    /// with one writer.
    lock_pair,
    /// Reads conversation 1 and the position of user 2: sequence number, creator, joined, read, members,
    /// blocked, direct.
    conversation_state,
    /// Reads message 1: message, sequence number of its newest change.
    message,
    /// Stores in conversation 1, at sequence number 2 and timestamp 3, message 4 of sender 5 with kind 6 and content 7.
    append,
    /// Changes in conversation 1, at sequence number 2 and timestamp 3, message 4 to content 5.
    edit,
    /// Deletes in conversation 1, at sequence number 2 and timestamp 3, message 4.
    delete,
    /// Reads the positions of the members of conversation 1, by user in ascending order: user, joined, read.
    read_positions,
    /// Moves in conversation 1 the read position of user 2, at timestamp 3, to sequence number 4.
    mark_read,
    /// Reads the senders of the messages of conversation 1 above sequence number 2 and up to 3 that are not deleted,
    /// newest first, at most 4: user.
    authors,
    /// Reads those of users 2, a list, between whom and user 1 there is a block in either direction: user.
    blocked_with,
    /// Reads the counters of users 1, a list of pairs of a conversation and a user, each user once: those from the
    /// conversation on, at most 2, user after user, by conversation in ascending order: user, conversation, joined,
    /// read, sequence number, count, sequence number of the oldest change that is not announced. What a counter costs
    /// depends neither on the number of unread messages nor on that of deleted ones.
    counters_of_users,
    /// Reads the counters of members 1, a list of pairs; the columns of `counters_of_users`.
    counters_of_members,
    /// Reads the changes of conversation 1 above sequence number 2 and up to 3, newest first, at most 4: message,
    /// sequence number, kind.
    changes,
    /// Reads the newest message of conversations 1, a list: message, conversation, sequence number.
    last_messages,
    /// Reads the messages of conversation 1 that user 2 may see below sequence number 3, at most 4: message. A member
    /// who may see none gets one row of nulls.
    history,
    /// Reads those of messages 3, a list, that are in conversation 1 and that user 2 may see: message. A member who may
    /// see none of them gets one row of nulls.
    messages,
    /// Reads the conversations of user 1 below activity 2 and id 3, at most 4: id, updated at, joined, read, number of
    /// members, the first members, the read positions of the first members, direct. Between two users who have a block
    /// the place of the read position is taken by that of joining, here and in `members`.
    conversations,
    /// Reads those of conversations 2, a list, that user 1 is a member of; the columns of `conversations`.
    conversations_named,
    /// Reads the members of any conversation, from user 1 on, at most 2: user.
    users,
    /// Reads the conversations, from conversation 1 on, at most 2: conversation.
    conversation_ids,
    /// Creates conversation 1 by user 2 at timestamp 3 with members 4, a list.
    create_conversation,
    /// Reads the pair of users 1 and 2, who are in ascending order: conversation.
    pair,
    /// Makes conversation 1 the pair of users 2 and 3, who are in ascending order.
    make_direct,
    /// Adds to conversation 1 member 2 at timestamp 3, who joins at sequence number 4.
    add_member,
    /// Removes from conversation 1 member 2 at timestamp 3.
    remove_member,
    /// Reads the contacts of user 1: users.
    contacts,
    /// Reads the users that user 1 has blocked: users.
    blocks,
    /// Reads for users 1, a list, the users who may see their presence: user, users.
    audience,
    /// Counts the contacts of user 1, and checks whether user 2 is one: count, whether.
    contact_count,
    /// Adds to the contacts of user 1 user 2, at timestamp 3.
    add_contact,
    /// Removes from the contacts of user 1 user 2, at timestamp 3, if user 2 is one.
    remove_contact,
    /// Counts the users that user 1 has blocked, and checks whether user 2 is one: count, whether.
    block_count,
    /// Blocks, for user 1, user 2, at timestamp 3.
    block,
    /// Ends, for user 1, the block of user 2, at timestamp 3, if there is one.
    unblock,
    /// Reads whether user 1 has user 2 as a contact, whether user 1 has blocked user 2, and both the other way round.
    relation,
    /// Reads the changes stored before timestamp 1, not announced and never tried, after timestamp 3, conversation 4
    /// and sequence number 5, at most 2: message, sequence number, kind, since, members, attempts, and since once more.
    pending_changes,
    /// Reads the moves stored before timestamp 1, not announced and never tried, after timestamp 3, kind 4 and ids 5
    /// and 6, at most 2: kind, first id, second id, since, number of moves, attempts, and since once more.
    pending_moves,
    /// As `pending_changes`, those that were tried, by the time of the next attempt, which is also the last column.
    tried_changes,
    /// As `pending_moves`, those that were tried, by the time of the next attempt, which is also the last column.
    tried_moves,
    /// Sets for changes 1, a list, the number of attempts and the time of the next one.
    postpone_changes,
    /// Sets for moves 2, a list, of kind 1 the number of attempts and the time of the next one.
    postpone_moves,
    /// Confirms that changes 1, a list, are announced.
    announced_changes,
    /// Confirms that moves 2, a list, of kind 1 are announced.
    announced_moves,
    /// Locks the documents of the owner of kind 1 with id 2, kept by function 3, until the transaction ends. Empty for
    /// a database with one writer.
    lock_documents,
    /// Counts the documents of the owner of kind 1 with id 2, kept by function 3, and reads the version and the size of
    /// the one with name 4: count, version or null, bytes of its content or null.
    document_state,
    /// Reads documents 1, a list of keys: index in the list, version, content. No row for one that does not exist.
    documents,
    /// Reads the names of the documents of the owner of kind 1 with id 2, kept by function 3, in ascending order: name.
    document_names,
    /// Stores for the owner of kind 1 with id 2, kept by function 3, the document with name 4 and content 5: a new one
    /// with version 1, or the next version of the present one.
    put_document,
    /// Deletes of the owner of kind 1 with id 2, kept by function 3, the document with name 4.
    delete_document,
    /// Adds 2, which can be negative, to the bytes of all documents of function 1, and locks that number until the
    /// transaction ends: bytes.
    count_document_bytes,
    /// Deletes all documents of the owner of kind 1 with id 2, whichever function keeps them, and subtracts their bytes
    /// from those of their functions.
    erase_documents,
    /// Counts one conversation more for users 1, a list in ascending order, and locks their counts until the
    /// transaction ends. Reads who is in more than 2 conversations then, at most one of them: user.
    join_conversation,
    /// Counts one conversation fewer for user 1.
    leave_conversation,
    /// Removes user 2, at timestamp 3, from those of conversations 1, a list, that the user is a member of, and counts
    /// as many conversations fewer for the user: conversation.
    leave_conversations,
    /// Locks the counts of users 1 and 2 until the transaction ends, whether or not they exist. Empty for a database
    /// with one writer.
    lock_counts,
    /// Checks whether one of users 1, a list, has blocked another one of them.
    is_any_blocked,
    /// Checks whether user 1 has blocked one of users 2, a list, or one of them has blocked user 1.
    is_blocked_with_any,
    /// Reads whether user 2 is a member of conversation 1, if there is such a conversation.
    membership,
    /// Reads the members of conversation 1 from user 2 on, at most 3, for user 4: user, joined, read.
    members,
    /// Locks what `erase_own_relations` and `erase_from_relations` delete of user 1 and of users 2, a list, until the
    /// transaction ends: contacts first, each kind in ascending order. Empty for a database with one writer.
    lock_relations,
    /// Deletes the contacts and blocks of user 1.
    erase_own_relations,
    /// Reads the users who have added user 1, at most 2: user.
    added_by,
    /// Reads the users who have blocked user 1, at most 2: user.
    blocked_by,
    /// Deletes user 1 from the contacts and blocks of users 2, a list, at timestamp 3.
    erase_from_relations,
    /// Reads the conversations of user 1 in ascending order, at most 2: conversation.
    conversations_of_user,
    /// Deletes what makes conversations 1, a list, the pairs of two users.
    forget_pairs,
    /// Reads the messages of user 1 that are not deleted, oldest first, at most 2: conversation, message.
    kept_messages,
    /// Reads the conversations that user 1 has created, in ascending order, at most 2: conversation. Locks them until
    /// the transaction ends.
    created_by,
    /// Makes user 2 the creator of conversations 1, a list.
    set_creator,
    /// Deletes the count of the conversations of user 1 if there are none.
    forget_count,
    /// Asks the smallest question that needs the schema. If the database can be read-only, the first column says
    /// whether it is.
    probe,
}
