//! What a client shows to its user: the state that it fetched, with the events that it received since.

use std::collections::BTreeMap;

use roost_core::ids::{ConversationId, MessageId, Seq, UserId};

use super::oracle::counters::MessageEvent;

/// The state that one client shows.
#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    /// Messages by conversation and sequence.
    pub(crate) messages: BTreeMap<(ConversationId, Seq), (MessageId, String)>,
    /// The newest message received as an event since the last resync, by conversation.
    pub(crate) newest: BTreeMap<ConversationId, Seq>,
    /// The presence of other users, with the generation of the last transition.
    pub(crate) presence: BTreeMap<UserId, (bool, u64)>,
}

impl View {
    /// Applies a durable event.
    pub(crate) fn apply(&mut self, name: &str, payload: &MessageEvent) {
        let key = (payload.conversation, payload.seq);
        match name {
            "message.new" | "message.updated" => {
                self.messages.insert(key, (payload.id, payload.content.clone()));
            }
            "message.deleted" => drop(self.messages.remove(&key)),
            _ => {}
        }
    }
}
