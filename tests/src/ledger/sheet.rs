//! What one device was told and what it was answered, held against the promises at the moment it comes: the next place
//! of the feed or a `resync`, every message once and in its order.
//!
//! Whether everything came is the audit's question.

use std::collections::BTreeMap;

use serde_json::Value;
use uuid::Uuid;

use super::tally::Tally;

/// A place in a feed, as the device knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    epoch: String,
    offset: u64,
}

impl Place {
    fn of(value: &Value) -> Option<Self> {
        Some(Self { epoch: value["epoch"].as_str()?.to_owned(), offset: value["offset"].as_u64()? })
    }

    /// Taken where there was no feed: the first event of any feed follows.
    fn is_nowhere(&self) -> bool {
        self.epoch.starts_with('n')
    }

    fn is_followed_by(&self, next: &Self) -> bool {
        let same = self.epoch == next.epoch && self.offset + 1 == next.offset;
        same || (self.is_nowhere() && next.offset == 1)
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.epoch, self.offset)
    }
}

/// One conversation as the device knows it.
#[derive(Debug, Default)]
struct Known {
    /// Messages by their place.
    messages: BTreeMap<u64, Uuid>,
    /// The highest place that was pushed since the last `resync`.
    pushed: u64,
}

/// One device's side of the ledger.
#[derive(Debug, Default)]
pub(super) struct Sheet {
    /// Whose device it is, and which.
    pub(super) name: String,
    pub(super) tally: Tally,
    /// Promises that were broken.
    pub(super) faults: Vec<String>,
    /// Letters that were acknowledged, and the conversation and place they got.
    pub(super) acknowledged: BTreeMap<Uuid, (Uuid, u64)>,
    /// Letters without an answer yet.
    pub(super) open: usize,
    /// How far this device has said that it read, and how far that was acknowledged.
    pub(super) read: (u64, u64),
    pub(super) connected: bool,
    /// Histories that are being fetched after a `resync`.
    pub(super) recovering: bool,
    /// Why the line was lost last.
    lost: String,
    place: Option<Place>,
    /// `hello` named another place than the device's: `resync` must come before anything else that is durable.
    awaits_resync: bool,
    known: BTreeMap<Uuid, Known>,
}

impl Sheet {
    pub(super) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// Where the device goes on when it connects again.
    pub(super) fn since(&self) -> Option<String> {
        self.place.as_ref().map(Place::to_string)
    }

    /// Takes the payload of `hello`.
    pub(super) fn greeted(&mut self, hello: &Value) {
        self.connected = true;
        let Some(place) = Place::of(hello) else { return self.fault(format!("hello without a place: {hello}")) };
        match &self.place {
            Some(own) if *own == place || (own.is_nowhere() && place.is_nowhere()) => {}
            Some(_) => self.awaits_resync = true,
            None => {}
        }
        self.place = Some(place);
    }

    /// There is no line.
    pub(super) fn lost(&mut self, why: String) {
        self.lost = why;
    }

    /// The line was lost.
    pub(super) fn parted(&mut self) {
        self.connected = false;
        self.awaits_resync = false;
        self.tally.reconnects += 1;
    }

    /// Takes a pushed frame; answers whether the present state must be fetched.
    pub(super) fn pushed(&mut self, frame: &Value) -> bool {
        if frame["type"] == "resync" {
            self.resynced(&frame["payload"]);
            return true;
        }
        if let Some(place) = Place::of(frame) {
            self.moved(place, frame);
        }
        if frame["type"] == "message.new" {
            self.message(&frame["payload"]);
        }
        false
    }

    fn resynced(&mut self, payload: &Value) {
        self.tally.resyncs += 1;
        self.awaits_resync = false;
        self.recovering = true;
        match Place::of(payload) {
            Some(place) => self.place = Some(place),
            None => self.fault(format!("resync without a place: {payload}")),
        }
        self.known.values_mut().for_each(|known| known.pushed = 0);
    }

    fn moved(&mut self, place: Place, frame: &Value) {
        if self.awaits_resync {
            self.fault(format!("hello named another place, and no resync came before {frame}"));
        }
        match &self.place {
            Some(own) if own.is_followed_by(&place) => {}
            own => {
                let own = own.as_ref().map(Place::to_string);
                self.fault(format!("after {own:?} came {frame}"));
            }
        }
        self.place = Some(place);
    }

    fn message(&mut self, payload: &Value) {
        let Some((conversation, seq, id)) = read_message(payload) else {
            return self.fault(format!("no message: {payload}"));
        };
        let known = self.known.entry(conversation).or_default();
        if seq <= known.pushed {
            let pushed = known.pushed;
            self.fault(format!("message {seq} of {conversation} came after {pushed}"));
            return;
        }
        known.pushed = seq;
        match known.messages.insert(seq, id) {
            None => self.tally.delivered += 1,
            // It was in the state that was fetched after a `resync` already.
            Some(before) if before == id => self.tally.repeated += 1,
            Some(before) => self.fault(format!("message {seq} of {conversation} was {before} and is {id}")),
        }
    }

    /// Takes a page of history, fetched after a `resync`.
    pub(super) fn recovered(&mut self, messages: &[Value]) {
        for payload in messages {
            let Some((conversation, seq, id)) = read_message(payload) else {
                self.fault(format!("no message in the history: {payload}"));
                continue;
            };
            match self.known.entry(conversation).or_default().messages.insert(seq, id) {
                None => self.tally.recovered += 1,
                Some(before) if before == id => {}
                Some(before) => self.fault(format!("the history has {id} where {before} was told")),
            }
        }
    }

    /// An answer says that a letter is stored there.
    pub(super) fn stored(&mut self, id: Uuid, payload: &Value) {
        match read_message(payload) {
            Some((conversation, seq, stored)) if stored == id => {
                self.tally.delayed += usize::from(payload["delivery"] == "delayed");
                self.acknowledged.insert(id, (conversation, seq));
            }
            _ => self.fault(format!("{id} was answered with {payload}")),
        }
    }

    /// The messages of a conversation that this device knows of.
    pub(super) fn messages(&self, conversation: Uuid) -> BTreeMap<u64, Uuid> {
        self.known.get(&conversation).map(|known| known.messages.clone()).unwrap_or_default()
    }

    /// Up to where nothing is missing in a conversation, its first message being 1.
    pub(super) fn complete_up_to(&self, conversation: Uuid) -> u64 {
        let Some(known) = self.known.get(&conversation) else { return 0 };
        let complete = known.messages.keys().zip(1..).take_while(|(seq, expected)| *seq == expected);
        complete.last().map_or(0, |(_, expected)| expected)
    }

    /// The newest message of a conversation that this device knows of.
    pub(super) fn newest(&self, conversation: Uuid) -> u64 {
        let newest = self.known.get(&conversation).and_then(|known| known.messages.last_key_value());
        newest.map_or(0, |(seq, _)| *seq)
    }

    /// Whether nothing of this device is under way.
    pub(super) fn is_settled(&self) -> bool {
        self.open == 0 && self.read.0 == self.read.1 && self.connected && !self.recovering
    }

    /// In a few words, for whoever waits for it to settle.
    pub(super) fn standing(&self) -> String {
        let Self { name, open, read, connected, recovering, lost, .. } = self;
        format!("{name}: {open} open, read {read:?}, connected {connected}, recovering {recovering}, lost last: {lost}")
    }

    pub(super) fn fault(&mut self, what: String) {
        self.faults.push(format!("{}: {what}", self.name));
    }
}

/// Conversation, place and id.
pub(super) fn read_message(payload: &Value) -> Option<(Uuid, u64, Uuid)> {
    let id = |name: &str| payload[name].as_str()?.parse().ok();
    Some((id("conversation")?, payload["seq"].as_u64()?, id("id")?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const TALK: Uuid = Uuid::from_u128(1);

    fn said(seq: u64) -> Value {
        json!({ "id": Uuid::from_u128(100 + u128::from(seq)), "conversation": TALK, "seq": seq })
    }

    fn told(offset: u64, seq: u64) -> Value {
        json!({ "type": "message.new", "payload": said(seq), "epoch": "e", "offset": offset })
    }

    /// A sheet that was greeted at `e:0` and told these.
    fn sheet(frames: &[Value]) -> Sheet {
        let mut sheet = Sheet::default();
        sheet.greeted(&json!({ "epoch": "e", "offset": 0 }));
        for frame in frames {
            sheet.pushed(frame);
        }
        sheet
    }

    #[test]
    fn what_follows_without_a_hole_keeps_every_promise() {
        let sheet = sheet(&[told(1, 1), told(2, 2), told(3, 3)]);
        assert_eq!((sheet.faults.len(), sheet.tally.delivered, sheet.complete_up_to(TALK)), (0, 3, 3));
    }

    #[test]
    fn a_hole_a_repetition_and_a_wrong_order_are_faults() {
        for frames in
            [[told(1, 1), told(3, 2)], [told(1, 1), told(1, 1)], [told(1, 1), told(2, 1)], [told(1, 2), told(2, 1)]]
        {
            assert!(!sheet(&frames).faults.is_empty(), "{frames:?}");
        }
    }

    #[test]
    fn another_place_in_hello_needs_a_resync_before_anything_else() {
        let mut silent = sheet(&[told(1, 1)]);
        silent.greeted(&json!({ "epoch": "f", "offset": 7 }));
        silent.pushed(&json!({ "type": "message.new", "payload": said(2), "epoch": "f", "offset": 8 }));
        assert_eq!(silent.faults.len(), 1, "{:?}", silent.faults);

        let mut told_so = sheet(&[told(1, 1)]);
        told_so.greeted(&json!({ "epoch": "f", "offset": 7 }));
        assert!(told_so.pushed(&json!({ "type": "resync", "payload": { "epoch": "f", "offset": 7 } })));
        told_so.recovered(&[said(2), said(1)]);
        told_so.pushed(&json!({ "type": "message.new", "payload": said(2), "epoch": "f", "offset": 8 }));
        let Tally { delivered, recovered, repeated, resyncs, .. } = told_so.tally;
        assert_eq!((delivered, recovered, repeated, resyncs), (1, 1, 1, 1), "{:?}", told_so.faults);
        assert!(told_so.faults.is_empty() && !told_so.is_settled(), "it is fetching the present state");
    }

    #[test]
    fn a_message_that_is_missing_leaves_the_rest_incomplete() {
        let sheet = sheet(&[told(1, 1), told(2, 3)]);
        assert_eq!((sheet.complete_up_to(TALK), sheet.newest(TALK)), (1, 3));
    }
}
