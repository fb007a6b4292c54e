//! Pairs: the one conversation of two users.

use super::state::FakeState;
use crate::ids::ConversationId;
use crate::port::{Answer, Created, DirectRequest, NewConversation, RecordsError};

impl FakeState {
    pub(super) fn create_direct(&mut self, request: DirectRequest) -> Answer<Created> {
        let users = request.users();
        if let Some(conversation) = self.pairs.get(&users).and_then(|pair| self.conversations.get(pair)) {
            let conversation = self.view(conversation, request.user).ok_or(RecordsError::NotAMember)?;
            return Ok(Created { conversation, repeated: true });
        }
        if !request.may_create {
            return Err(RecordsError::NotFound("the two users have no direct conversation".into()));
        }
        let new = NewConversation { id: None, creator: request.user, members: users.to_vec(), at: request.at };
        let mut created = self.create(&new, &users)?;
        let id = created.conversation.id;
        self.make_direct(id)?;
        self.pairs.insert(users, id);
        created.conversation.direct = true;
        Ok(created)
    }

    fn make_direct(&mut self, id: ConversationId) -> Answer<()> {
        self.conversation_mut(id)?.direct = true;
        Ok(())
    }
}
