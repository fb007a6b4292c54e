//! The comparison at the end: records against acknowledgements, against what devices know, against every counter.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use uuid::Uuid;

use super::recovery::history;
use super::sheet::read_message;
use super::{Conversation, Ledger, client};
use crate::patience::until;
use crate::server::DEADLINE;

/// Counters as they stand in the store, read without any code of Roost's.
pub trait Counters {
    /// Of this user: the total, and by conversation. `None`: the store holds none, which is no mistake.
    fn of(&mut self, user: Uuid) -> impl Future<Output = Option<Unread>>;
}

/// A store that nobody can look into.
impl Counters for () {
    async fn of(&mut self, _: Uuid) -> Option<Unread> {
        None
    }
}

/// The total, and what is not zero by conversation.
pub type Unread = (u64, BTreeMap<Uuid, u64>);

/// Everything the records hold of a run, read once nobody wrote any more.
pub(super) struct Audit {
    records: BTreeMap<Uuid, BTreeMap<u64, Recorded>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Recorded {
    id: Uuid,
    sender: Uuid,
}

impl Audit {
    /// # Panics
    /// When the records have gaps, or a message twice.
    pub(super) async fn begin(ledger: &Ledger) -> Self {
        let mut records = BTreeMap::new();
        for conversation in &ledger.conversations {
            let read = read(ledger, conversation).await;
            assert!(read.keys().copied().eq(1..=read.len() as u64), "{}: a gap in the records", ledger.name);
            let ids: BTreeSet<Uuid> = read.values().map(|recorded| recorded.id).collect();
            assert_eq!(ids.len(), read.len(), "{}: a message stands in the records twice", ledger.name);
            records.insert(conversation.id, read);
        }
        Self { records }
    }

    /// What is not as it should be; some of it may still be under way.
    pub(super) async fn differences(&self, ledger: &Ledger, counters: &mut impl Counters) -> Result<(), Vec<String>> {
        ledger.no_faults();
        let mut found = self.acknowledgements(ledger);
        found.extend(self.devices(ledger));
        if found.is_empty() {
            found.extend(self.counters(ledger, counters).await);
            found.extend(self.last_messages(ledger).await);
        }
        if found.is_empty() { Ok(()) } else { Err(found) }
    }

    /// Every acknowledged message is where it was said to be, and nothing else is there.
    fn acknowledgements(&self, ledger: &Ledger) -> Vec<String> {
        let mut found = Vec::new();
        let mut acknowledged = 0;
        for device in &ledger.devices {
            let sheet = device.sheet();
            acknowledged += sheet.acknowledged.len();
            for (id, (conversation, seq)) in &sheet.acknowledged {
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

    /// Every device knows exactly what the records hold.
    fn devices(&self, ledger: &Ledger) -> Vec<String> {
        let mut found = Vec::new();
        for device in &ledger.devices {
            for conversation in &device.role.conversations {
                let known = device.sheet().messages(*conversation);
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

    /// Every counter of everybody, asked from every host and read in the store.
    async fn counters(&self, ledger: &Ledger, counters: &mut impl Counters) -> Vec<String> {
        let mut found = Vec::new();
        for user in &ledger.people {
            let expected = self.unread(ledger, *user);
            for host in &ledger.hosts {
                let answer = client(*host, *user).get("/v1/unread").await;
                let told = serde_json::from_str(&answer.text).ok().and_then(|told| read_unread(&told));
                if told.as_ref() != Some(&expected) {
                    found.push(format!("{user}: {host} says {}; the records say {expected:?}", answer.text));
                }
            }
            if let Some(stored) = counters.of(*user).await
                && stored != expected
            {
                found.push(format!("{user}: the store has {stored:?}; the records say {expected:?}"));
            }
        }
        found
    }

    /// What the records say: messages of others after the read position.
    fn unread(&self, ledger: &Ledger, user: Uuid) -> Unread {
        let mut counts = BTreeMap::new();
        for conversation in ledger.of(user) {
            let readers = ledger.devices.iter().filter(|device| device.role.user == user);
            let read = readers.filter(|device| device.role.reads == Some(conversation.id));
            let read = read.map(|device| device.sheet().read.1).max().unwrap_or(0);
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
            let told = serde_json::from_str(&answer.text).ok().and_then(|told| read_message(&told));
            let newest = self.records[&conversation.id].last_key_value();
            if told != newest.map(|(seq, recorded)| (conversation.id, *seq, recorded.id)) {
                found.push(format!("the last message is {newest:?}, not {}", answer.text));
            }
        }
        found
    }

    /// Says one more message everywhere. Once that has come, everything before it has come as often as it ever will.
    /// Then forgets every counter: what is rebuilt from the records must be what stood there.
    pub(super) async fn close(&self, ledger: &Ledger) {
        for conversation in &ledger.conversations {
            let path = format!("/v1/conversations/{}/messages", conversation.id);
            let host = client(ledger.hosts[0], conversation.members[0]);
            let last = host.post(&path, json!({ "content": "the last" })).await.json(201);
            let last = last["seq"].as_u64().expect("a place");
            let members = ledger.devices.iter().filter(|device| device.role.conversations.contains(&conversation.id));
            for device in members {
                let what = format!("{}: {} heard the last message", ledger.name, device.role.name);
                until(&what, DEADLINE, async || device.sheet().complete_up_to(conversation.id) == last).await;
            }
        }
        ledger.no_faults();
        for user in &ledger.people {
            let host = client(ledger.hosts[0], *user);
            let counted = host.get("/v1/unread").await.json(200);
            host.delete("/v1/unread").await.done();
            let rebuilt = host.get("/v1/unread").await.json(200);
            assert_eq!(read_unread(&counted), read_unread(&rebuilt), "{}: counters of {user}", ledger.name);
        }
    }
}

async fn read(ledger: &Ledger, conversation: &Conversation) -> BTreeMap<u64, Recorded> {
    let host = client(ledger.hosts[0], conversation.members[0]);
    let messages = history(&host, conversation.id, 0).await.expect("the records answer");
    let recorded = messages.iter().map(|message| {
        let (_, seq, id) = read_message(message).unwrap_or_else(|| panic!("no message: {message}"));
        let sender = message["sender_id"].as_str().and_then(|sender| sender.parse().ok()).expect("a sender");
        (seq, Recorded { id, sender })
    });
    let (count, recorded) = (messages.len(), recorded.collect::<BTreeMap<_, _>>());
    assert_eq!(count, recorded.len(), "{}: two messages in one place", ledger.name);
    recorded
}

fn read_unread(told: &Value) -> Option<Unread> {
    let mut counts = BTreeMap::new();
    for (conversation, count) in told["conversations"].as_object()? {
        let count = count.as_u64()?;
        if count > 0 {
            counts.insert(conversation.parse().ok()?, count);
        }
    }
    Some((told["total"].as_u64()?, counts))
}
