//! An entry of the outbox: the events for named users and the calls that a transaction causes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ids::UserId;
use crate::port::{AddressedEvent, Event};
use crate::trigger::Trigger;

/// What is left to do after a transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct OutboxEntry {
    pub(super) addressed: Vec<AddressedEvent>,
    pub(super) triggers: Vec<Trigger>,
}

impl OutboxEntry {
    pub(super) fn is_empty(&self) -> bool {
        self.addressed.is_empty() && self.triggers.is_empty()
    }

    pub(super) fn to_text(&self) -> String {
        // Names, ids and texts can always be encoded.
        serde_json::to_string(self).unwrap_or_default()
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// The events of each user, in order. A later delivery leaves out the ephemeral ones, which are of no use any more.
    pub(super) fn by_user(&self, is_late: bool) -> BTreeMap<UserId, Vec<Event>> {
        let mut events: BTreeMap<UserId, Vec<Event>> = BTreeMap::new();
        for AddressedEvent { users, event } in self.addressed.iter().filter(|of| of.event.durable || !is_late) {
            for user in users {
                events.entry(*user).or_default().push(event.clone());
            }
        }
        events
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: UserId = UserId::from_u128(1);
    const BOB: UserId = UserId::from_u128(2);

    fn event(name: &str, durable: bool) -> Event {
        Event { name: name.into(), payload: "{\"text\":\"\u{20ac} \\\"\"}".into(), durable }
    }

    #[test]
    fn an_entry_is_restored_from_its_text() {
        let trigger = Trigger {
            function: "bot".into(),
            id: "1.0".into(),
            event: event("poll.closed", true),
            users: vec![ANN],
            depth: 2,
        };
        let addressed = vec![AddressedEvent { users: vec![ANN, BOB], event: event("poll.vote", false) }];
        let entry = OutboxEntry { addressed, triggers: vec![trigger] };
        assert_eq!(OutboxEntry::parse(&entry.to_text()), Some(entry));
        assert_eq!(OutboxEntry::parse("{}"), None);
    }

    #[test]
    fn each_user_receives_their_events_in_order_and_late_ones_only_if_durable() {
        let to = |users: &[UserId], name: &str, durable| AddressedEvent {
            users: users.to_vec(),
            event: event(name, durable),
        };
        let addressed = vec![to(&[ANN, BOB], "a", true), to(&[BOB], "b", false), to(&[BOB, ANN], "c", true)];
        let entry = OutboxEntry { addressed, triggers: Vec::new() };
        let names = |is_late| {
            let by_user = entry.by_user(is_late).into_iter();
            by_user.map(|(user, events)| (user, events.iter().map(|event| event.name.to_string()).collect())).collect()
        };
        let all: Vec<(UserId, Vec<String>)> = names(false);
        assert_eq!(all, [(ANN, vec!["a".into(), "c".into()]), (BOB, vec!["a".into(), "b".into(), "c".into()])]);
        let late: Vec<(UserId, Vec<String>)> = names(true);
        assert_eq!(late, [(ANN, vec!["a".into(), "c".into()]), (BOB, vec!["a".into(), "c".into()])]);
    }
}
