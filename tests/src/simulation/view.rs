//! What a client shows its user, put together from the state it asked for and the events it was sent since.

use std::collections::BTreeMap;

use roost_core::ids::{ConversationId, MessageId, Seq, UserId};

use super::oracle::counters::News;

/// One client's picture of the world.
#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    /// Messages by conversation and sequence.
    pub(crate) messages: BTreeMap<(ConversationId, Seq), (MessageId, String)>,
    /// The newest message that came as an event, since the last resync.
    pub(crate) newest: BTreeMap<ConversationId, Seq>,
    /// Everybody's presence, and the generation of the transition to it.
    pub(crate) presence: BTreeMap<UserId, (bool, u64)>,
}

impl View {
    /// A durable event changes the picture.
    pub(crate) fn apply(&mut self, name: &str, news: &News) {
        let place = (news.conversation, news.seq);
        match name {
            "message.new" | "message.updated" => {
                self.messages.insert(place, (news.id, news.content.clone()));
            }
            "message.deleted" => drop(self.messages.remove(&place)),
            _ => {}
        }
    }
}
