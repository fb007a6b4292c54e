//! The operations of the records by name, for grants and metrics.

/// The operations by name, for grants and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs, reason = "each is named after the method of `Records` it stands for")]
pub enum Operation {
    AppendMessage,
    EditMessage,
    DeleteMessage,
    MarkRead,
    Unread,
    Changes,
    LastMessages,
    Membership,
    Conversations,
    History,
    CreateConversation,
    AddMember,
    RemoveMember,
    Contacts,
    Audience,
    AddContact,
    RemoveContact,
    Block,
    Unblock,
    Pending,
    Announced,
}

impl Operation {
    /// Every operation, in the order of the contract.
    pub const ALL: [Self; 21] = [
        Self::AppendMessage,
        Self::EditMessage,
        Self::DeleteMessage,
        Self::MarkRead,
        Self::Unread,
        Self::Changes,
        Self::LastMessages,
        Self::Membership,
        Self::Conversations,
        Self::History,
        Self::CreateConversation,
        Self::AddMember,
        Self::RemoveMember,
        Self::Contacts,
        Self::Audience,
        Self::AddContact,
        Self::RemoveContact,
        Self::Block,
        Self::Unblock,
        Self::Pending,
        Self::Announced,
    ];

    /// The name in manifests, configuration, metrics and errors.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AppendMessage => "append-message",
            Self::EditMessage => "edit-message",
            Self::DeleteMessage => "delete-message",
            Self::MarkRead => "mark-read",
            Self::Unread => "unread",
            Self::Changes => "changes",
            Self::LastMessages => "last-messages",
            Self::Membership => "membership",
            Self::Conversations => "conversations",
            Self::History => "history",
            Self::CreateConversation => "create-conversation",
            Self::AddMember => "add-member",
            Self::RemoveMember => "remove-member",
            Self::Contacts => "contacts",
            Self::Audience => "audience",
            Self::AddContact => "add-contact",
            Self::RemoveContact => "remove-contact",
            Self::Block => "block",
            Self::Unblock => "unblock",
            Self::Pending => "pending",
            Self::Announced => "announced",
        }
    }
}
