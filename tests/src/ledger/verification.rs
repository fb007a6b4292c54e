//! The verification at the end of a run: compares the records with the acknowledgements, with what every device knows,
//! and with the counters and last messages that every host answers and the store holds.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use uuid::Uuid;

use super::observations::read_message;
use super::recovery::history;
use super::{Conversation, Ledger, client};
use crate::client::Client;
use crate::eventually::eventually;
use crate::token::SERVICE_KEY;

/// Reads counters directly from the store, without any code of Roost.
pub trait Counters {
    /// The counters of this user, or `None` if the store holds none, which is allowed.
    fn of(&mut self, user: Uuid) -> impl Future<Output = Option<UnreadCounts>>;
}

/// For a store that a test cannot read.
impl Counters for () {
    async fn of(&mut self, _: Uuid) -> Option<UnreadCounts> {
        None
    }
}

/// The total, and the counters above zero by conversation.
pub type UnreadCounts = (u64, BTreeMap<Uuid, u64>);

/// All messages that the records hold, read after the last write.
pub(super) struct Verification {
    records: BTreeMap<Uuid, BTreeMap<u64, RecordedMessage>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct RecordedMessage {
    id: Uuid,
    sender: Uuid,
}

impl Verification {
    /// # Panics
    /// If the sequence in the records has a gap, or a message is there twice.
    pub(super) async fn read_records(ledger: &Ledger) -> Self {
        let mut records = BTreeMap::new();
        for conversation in &ledger.conversations {
            let read = read(ledger, conversation).await;
            assert!(read.keys().copied().eq(1..=read.len() as u64), "{}: a gap in the records", ledger.name);
            let ids: BTreeSet<Uuid> = read.values().map(|recorded| recorded.id).collect();
            assert_eq!(ids.len(), read.len(), "{}: a message is in the records twice", ledger.name);
            records.insert(conversation.id, read);
        }
        Self { records }
    }

    /// Lists all differences. Some of them can disappear while work is still in progress.
    pub(super) async fn differences(&self, ledger: &Ledger, counters: &mut impl Counters) -> Result<(), Vec<String>> {
        ledger.assert_no_violations();
        let mut found = self.acknowledgements(ledger);
        found.extend(self.devices(ledger));
        if found.is_empty() {
            found.extend(self.counters(ledger, counters).await);
            found.extend(self.last_messages(ledger).await);
        }
        if found.is_empty() { Ok(()) } else { Err(found) }
    }

    /// Every acknowledged message is at its acknowledged sequence, and there are no other messages.
    fn acknowledgements(&self, ledger: &Ledger) -> Vec<String> {
        let mut found = Vec::new();
        let mut acknowledged = 0;
        for device in &ledger.devices {
            let observations = device.observations();
            acknowledged += observations.acknowledged.len();
            for (id, (conversation, seq)) in &observations.acknowledged {
                let recorded = self.records.get(conversation).and_then(|messages| messages.get(seq));
                if recorded.is_none_or(|recorded| recorded.id != *id) {
                    found.push(format!("{id} was acknowledged as {seq} of {conversation}; there is {recorded:?}"));
                }
            }
        }
        let (sent, recorded) = (ledger.tally().sent, self.records.values().map(BTreeMap::len).sum::<usize>());
        if sent != acknowledged || sent != recorded {
            found.push(format!("{sent} sent, {acknowledged} acknowledged, {recorded} in the records"));
        }
        found
    }

    /// Every device knows exactly the messages in the records.
    fn devices(&self, ledger: &Ledger) -> Vec<String> {
        let mut found = Vec::new();
        for device in &ledger.devices {
            for conversation in &device.role.conversations {
                let known = device.observations().messages(*conversation);
                let recorded: BTreeMap<u64, Uuid> =
                    self.records[conversation].iter().map(|(seq, recorded)| (*seq, recorded.id)).collect();
                if known != recorded {
                    let missing: Vec<_> = recorded.keys().filter(|seq| !known.contains_key(seq)).collect();
                    found.push(format!("{} lacks {missing:?} of {conversation}", device.role.name));
                }
            }
        }
        found
    }

    /// Every counter of every user equals the records, as every host answers it and as the store holds it.
    async fn counters(&self, ledger: &Ledger, counters: &mut impl Counters) -> Vec<String> {
        let mut found = Vec::new();
        for user in &ledger.users {
            let expected = self.unread(ledger, *user);
            for host in &ledger.hosts {
                let answer = client(*host, *user).get("/v1/unread").await;
                let reported = serde_json::from_str(&answer.text).ok().and_then(|reported| read_unread(&reported));
                if reported.as_ref() != Some(&expected) {
                    found.push(format!("{user}: {host} answers {}; the records have {expected:?}", answer.text));
                }
            }
            if let Some(redis_counters) = counters.of(*user).await
                && redis_counters != expected
            {
                found.push(format!("{user}: the store has {redis_counters:?}; the records have {expected:?}"));
            }
        }
        found
    }

    /// The counters according to the records: messages of other users after the read position.
    fn unread(&self, ledger: &Ledger, user: Uuid) -> UnreadCounts {
        let mut counts = BTreeMap::new();
        for conversation in ledger.of(user) {
            let readers = ledger.devices.iter().filter(|device| device.role.user == user);
            let read = readers.filter(|device| device.role.reads == Some(conversation.id));
            let read = read.map(|device| device.observations().read.1).max().unwrap_or(0);
            let after = self.records[&conversation.id].range(read + 1..);
            let count = after.filter(|(_, recorded)| recorded.sender != user).count() as u64;
            if count > 0 {
                counts.insert(conversation.id, count);
            }
        }
        (counts.values().sum(), counts)
    }

    async fn last_messages(&self, ledger: &Ledger) -> Vec<String> {
        let mut found = Vec::new();
        for (host, conversation) in ledger.hosts.iter().cycle().zip(&ledger.conversations) {
            let path = format!("/v1/conversations/{}/last-message", conversation.id);
            let answer = client(*host, conversation.members[0]).get(&path).await;
            let reported = serde_json::from_str(&answer.text).ok().and_then(|reported| read_message(&reported));
            let newest = self.records[&conversation.id].last_key_value();
            if reported != newest.map(|(seq, recorded)| (conversation.id, *seq, recorded.id)) {
                found.push(format!("the last message is {newest:?}, not {}", answer.text));
            }
        }
        found
    }

    /// Sends one last message in every conversation. When it has arrived, all earlier messages have arrived as often as
    /// they ever will. Then drops all cached counters: the counters that are rebuilt from the records must equal the
    /// earlier ones.
    pub(super) async fn finish(&self, ledger: &Ledger) {
        for conversation in &ledger.conversations {
            let path = format!("/v1/conversations/{}/messages", conversation.id);
            let host = client(ledger.hosts[0], conversation.members[0]);
            let last = host.post(&path, json!({ "content": "the last" })).await.json(201);
            let last = last["seq"].as_u64().expect("a place");
            let members = ledger.devices.iter().filter(|device| device.role.conversations.contains(&conversation.id));
            for device in members {
                let what = format!("{}: {} receives the last message", ledger.name, device.role.name);
                eventually(&what, async || device.observations().complete_up_to(conversation.id) == last).await;
            }
        }
        ledger.assert_no_violations();
        for user in &ledger.users {
            let host = client(ledger.hosts[0], *user);
            let counted = host.get("/v1/unread").await.json(200);
            Client::new(ledger.hosts[0], Some(SERVICE_KEY)).delete_counters(*user).await.done();
            let rebuilt = host.get("/v1/unread").await.json(200);
            assert_eq!(read_unread(&counted), read_unread(&rebuilt), "{}: counters of {user}", ledger.name);
        }
    }
}

async fn read(ledger: &Ledger, conversation: &Conversation) -> BTreeMap<u64, RecordedMessage> {
    let host = client(ledger.hosts[0], conversation.members[0]);
    let messages = history(&host, conversation.id, 0).await.expect("the records answer");
    let recorded = messages.iter().map(|message| {
        let (_, seq, id) = read_message(message).unwrap_or_else(|| panic!("no message: {message}"));
        let sender = message["sender_id"].as_str().and_then(|sender| sender.parse().ok()).expect("a sender");
        (seq, RecordedMessage { id, sender })
    });
    let (count, recorded) = (messages.len(), recorded.collect::<BTreeMap<_, _>>());
    assert_eq!(count, recorded.len(), "{}: two messages in one place", ledger.name);
    recorded
}

fn read_unread(reported: &Value) -> Option<UnreadCounts> {
    let mut counts = BTreeMap::new();
    for (conversation, count) in reported["conversations"].as_object()? {
        let count = count.as_u64()?;
        if count > 0 {
            counts.insert(conversation.parse().ok()?, count);
        }
    }
    Some((reported["total"].as_u64()?, counts))
}
