//! What one device receives, checked at once against the guarantees: the next position of the feed or a `resync`, every
//! message once and in order.
//!
//! Whether all messages arrived is checked by `verification`.

use std::collections::BTreeMap;

use serde_json::Value;
use uuid::Uuid;

use super::tally::Tally;

/// A position in a feed, as the device knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FeedPosition {
    epoch: String,
    offset: u64,
}

impl FeedPosition {
    fn of(value: &Value) -> Option<Self> {
        Some(Self { epoch: value["epoch"].as_str()?.to_owned(), offset: value["offset"].as_u64()? })
    }

    /// A position from before the feed existed: the first event of any feed follows it.
    fn is_nowhere(&self) -> bool {
        self.epoch.starts_with('n')
    }

    fn is_followed_by(&self, next: &Self) -> bool {
        let same = self.epoch == next.epoch && self.offset + 1 == next.offset;
        same || (self.is_nowhere() && next.offset == 1)
    }
}

impl std::fmt::Display for FeedPosition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.epoch, self.offset)
    }
}

/// One conversation as the device knows it.
#[derive(Debug, Default)]
struct KnownConversation {
    /// The messages by sequence.
    messages: BTreeMap<u64, Uuid>,
    /// The highest sequence that was pushed since the last `resync`.
    newest_pushed: u64,
}

/// Everything that one device has observed.
#[derive(Debug, Default)]
pub(super) struct Observations {
    /// The name of the device, for messages.
    pub(super) name: String,
    pub(super) tally: Tally,
    /// The guarantees that were violated.
    pub(super) violations: Vec<String>,
    /// Acknowledged messages with their conversation and sequence.
    pub(super) acknowledged: BTreeMap<Uuid, (Uuid, u64)>,
    /// How often a frame was refused that can be sent again, by the code of the error.
    pub(super) refusals: BTreeMap<String, usize>,
    /// The number of messages without an acknowledgement.
    pub(super) open: usize,
    /// The read position that the device has sent, and the one that was acknowledged.
    pub(super) read: (u64, u64),
    pub(super) connected: bool,
    /// Whether the device is fetching its state after a `resync`.
    pub(super) recovering: bool,
    /// The reason of the last disconnect.
    last_disconnect: String,
    position: Option<FeedPosition>,
    /// `hello` named a different position: a `resync` must arrive before any other durable event.
    awaits_resync: bool,
    known: BTreeMap<Uuid, KnownConversation>,
}

impl Observations {
    pub(super) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// The position where the device resumes when it reconnects.
    pub(super) fn since(&self) -> Option<String> {
        self.position.as_ref().map(FeedPosition::to_string)
    }

    /// Records the payload of `hello`.
    pub(super) fn hello_received(&mut self, hello: &Value) {
        self.connected = true;
        let Some(position) = FeedPosition::of(hello) else {
            return self.violation(format!("hello without a place: {hello}"));
        };
        match &self.position {
            Some(own) if *own == position || (own.is_nowhere() && position.is_nowhere()) => {}
            Some(_) => self.awaits_resync = true,
            None => {}
        }
        self.position = Some(position);
    }

    /// Records why the connection was lost or refused.
    pub(super) fn connection_lost(&mut self, why: String) {
        self.last_disconnect = why;
    }

    /// Records that the connection is closed.
    pub(super) fn disconnected(&mut self) {
        self.connected = false;
        self.awaits_resync = false;
        self.tally.reconnects += 1;
    }

    /// Records that the host refused a frame which can be sent again.
    pub(super) fn refused(&mut self, error: &Value) {
        *self.refusals.entry(error["code"].as_str().unwrap_or("no code").to_owned()).or_default() += 1;
    }

    /// Records a pushed frame; returns whether the current state must be fetched.
    pub(super) fn frame_received(&mut self, frame: &Value) -> bool {
        if frame["type"] == "resync" {
            self.resync_received(frame);
            return true;
        }
        if let Some(position) = FeedPosition::of(frame) {
            self.position_received(position, frame);
        }
        if frame["type"] == "message.new" {
            self.message_received(&frame["payload"]);
        }
        false
    }

    fn resync_received(&mut self, frame: &Value) {
        self.tally.resyncs += 1;
        self.recovering = true;
        self.known.values_mut().for_each(|known| known.newest_pushed = 0);
        // It was published instead of other events, and has a position as they would have.
        let is_published = frame["payload"]["reason"] == "behind";
        match FeedPosition::of(if is_published { frame } else { &frame["payload"] }) {
            Some(position) if is_published => self.position_received(position, frame),
            Some(position) => {
                self.awaits_resync = false;
                self.position = Some(position);
            }
            None => self.violation(format!("resync without a place: {frame}")),
        }
    }

    fn position_received(&mut self, position: FeedPosition, frame: &Value) {
        if self.awaits_resync {
            self.violation(format!("hello named another place, and no resync came before {frame}"));
        }
        match &self.position {
            Some(own) if own.is_followed_by(&position) => {}
            own => {
                let own = own.as_ref().map(FeedPosition::to_string);
                self.violation(format!("after {own:?} came {frame}"));
            }
        }
        self.position = Some(position);
    }

    fn message_received(&mut self, payload: &Value) {
        let Some((conversation, seq, id)) = read_message(payload) else {
            return self.violation(format!("no message: {payload}"));
        };
        let known = self.known.entry(conversation).or_default();
        if seq <= known.newest_pushed {
            let pushed = known.newest_pushed;
            self.violation(format!("message {seq} of {conversation} came after {pushed}"));
            return;
        }
        known.newest_pushed = seq;
        match known.messages.insert(seq, id) {
            None => self.tally.delivered += 1,
            // The message was already in the state that the device fetched after a `resync`.
            Some(before) if before == id => self.tally.repeated += 1,
            Some(before) => self.violation(format!("message {seq} of {conversation} was {before} and is {id}")),
        }
    }

    /// Records a page of history that was fetched after a `resync`.
    pub(super) fn history_received(&mut self, messages: &[Value]) {
        for payload in messages {
            let Some((conversation, seq, id)) = read_message(payload) else {
                self.violation(format!("no message in the history: {payload}"));
                continue;
            };
            match self.known.entry(conversation).or_default().messages.insert(seq, id) {
                None => self.tally.recovered += 1,
                Some(before) if before == id => {}
                Some(before) => self.violation(format!("the history has {id} where {before} was pushed")),
            }
        }
    }

    /// Records the acknowledgement of a message with its conversation and sequence.
    pub(super) fn message_acknowledged(&mut self, id: Uuid, payload: &Value) {
        match read_message(payload) {
            Some((conversation, seq, stored)) if stored == id => {
                self.tally.delayed += usize::from(payload["delivery"] == "delayed");
                self.acknowledged.insert(id, (conversation, seq));
            }
            _ => self.violation(format!("{id} was answered with {payload}")),
        }
    }

    /// The messages of a conversation that this device knows.
    pub(super) fn messages(&self, conversation: Uuid) -> BTreeMap<u64, Uuid> {
        self.known.get(&conversation).map(|known| known.messages.clone()).unwrap_or_default()
    }

    /// The sequence up to which the device knows every message of a conversation, which starts at 1.
    pub(super) fn complete_up_to(&self, conversation: Uuid) -> u64 {
        let Some(known) = self.known.get(&conversation) else { return 0 };
        let complete = known.messages.keys().zip(1..).take_while(|(seq, expected)| *seq == expected);
        complete.last().map_or(0, |(_, expected)| expected)
    }

    /// The newest message of a conversation that this device knows.
    pub(super) fn newest(&self, conversation: Uuid) -> u64 {
        let newest = self.known.get(&conversation).and_then(|known| known.messages.last_key_value());
        newest.map_or(0, |(seq, _)| *seq)
    }

    /// Whether the device has nothing left to do.
    pub(super) fn is_idle(&self) -> bool {
        self.open == 0 && self.read.0 == self.read.1 && self.connected && !self.recovering
    }

    /// A short description for messages about a device that does not become idle.
    pub(super) fn describe(&self) -> String {
        let Self { name, open, read, connected, recovering, last_disconnect, .. } = self;
        format!(
            "{name}: {open} open, read {read:?}, connected {connected}, recovering {recovering}, last disconnect: {last_disconnect}"
        )
    }

    pub(super) fn violation(&mut self, what: String) {
        self.violations.push(format!("{}: {what}", self.name));
    }
}

/// The conversation, the sequence and the id of a message.
pub(super) fn read_message(payload: &Value) -> Option<(Uuid, u64, Uuid)> {
    let id = |name: &str| payload[name].as_str()?.parse().ok();
    Some((id("conversation")?, payload["seq"].as_u64()?, id("id")?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const CONVERSATION: Uuid = Uuid::from_u128(1);

    fn message(seq: u64) -> Value {
        json!({ "id": Uuid::from_u128(100 + u128::from(seq)), "conversation": CONVERSATION, "seq": seq })
    }

    fn pushed_message(offset: u64, seq: u64) -> Value {
        json!({ "type": "message.new", "payload": message(seq), "epoch": "e", "offset": offset })
    }

    /// Observations of a device that connected at `e:0` and received these frames.
    fn observations(frames: &[Value]) -> Observations {
        let mut observations = Observations::default();
        observations.hello_received(&json!({ "epoch": "e", "offset": 0 }));
        for frame in frames {
            observations.frame_received(frame);
        }
        observations
    }

    #[test]
    fn frames_without_a_gap_cause_no_violation() {
        let observations = observations(&[pushed_message(1, 1), pushed_message(2, 2), pushed_message(3, 3)]);
        assert_eq!(
            (observations.violations.len(), observations.tally.delivered, observations.complete_up_to(CONVERSATION)),
            (0, 3, 3)
        );
    }

    #[test]
    fn a_gap_a_repetition_and_a_wrong_order_are_violations() {
        for frames in [
            [pushed_message(1, 1), pushed_message(3, 2)],
            [pushed_message(1, 1), pushed_message(1, 1)],
            [pushed_message(1, 1), pushed_message(2, 1)],
            [pushed_message(1, 2), pushed_message(2, 1)],
        ] {
            assert!(!observations(&frames).violations.is_empty(), "{frames:?}");
        }
    }

    #[test]
    fn a_different_position_in_hello_requires_a_resync_first() {
        let mut unannounced = observations(&[pushed_message(1, 1)]);
        unannounced.hello_received(&json!({ "epoch": "f", "offset": 7 }));
        unannounced.frame_received(&json!({ "type": "message.new", "payload": message(2), "epoch": "f", "offset": 8 }));
        assert_eq!(unannounced.violations.len(), 1, "{:?}", unannounced.violations);

        let mut resynced = observations(&[pushed_message(1, 1)]);
        resynced.hello_received(&json!({ "epoch": "f", "offset": 7 }));
        assert!(resynced.frame_received(&json!({ "type": "resync", "payload": { "epoch": "f", "offset": 7 } })));
        resynced.history_received(&[message(2), message(1)]);
        resynced.frame_received(&json!({ "type": "message.new", "payload": message(2), "epoch": "f", "offset": 8 }));
        let Tally { delivered, recovered, repeated, resyncs, .. } = resynced.tally;
        assert_eq!((delivered, recovered, repeated, resyncs), (1, 1, 1, 1), "{:?}", resynced.violations);
        assert!(resynced.violations.is_empty() && !resynced.is_idle(), "it is fetching the present state");
    }

    #[test]
    fn a_published_resync_follows_the_event_before_it() {
        let published = |offset: u64| json!({ "type": "resync", "payload": { "reason": "behind" }, "epoch": "e", "offset": offset });
        let followed = observations(&[pushed_message(1, 1), published(2), pushed_message(3, 40)]);
        assert!(followed.violations.is_empty() && !followed.is_idle(), "{:?}", followed.violations);
        assert_eq!(followed.tally.resyncs, 1);
        let gap = observations(&[pushed_message(1, 1), published(3)]);
        assert_eq!(gap.violations.len(), 1, "{:?}", gap.violations);
    }

    #[test]
    fn a_missing_message_makes_the_history_incomplete() {
        let observations = observations(&[pushed_message(1, 1), pushed_message(2, 3)]);
        assert_eq!((observations.complete_up_to(CONVERSATION), observations.newest(CONVERSATION)), (1, 3));
    }
}
