//! One device: it connects again after every loss, goes on where it was, fetches the present state when it is told to,
//! and says what it has to say until it is acknowledged.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Interval, MissedTickBehavior, interval, sleep};
use uuid::Uuid;

use super::line::{Line, Lost};
use super::outbox::Outbox;
use super::recovery;
use super::sheet::Sheet;
use crate::token::Token;

/// A device writes, reads and tries again this often.
const PACE: Duration = Duration::from_millis(100);
/// A reader reads once in so many paces.
const READ_EVERY: u32 = 7;
/// Before connecting again.
const RECONNECT_AFTER: Duration = Duration::from_millis(150);

/// What all devices do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    /// They only listen: a message that is sent before a device is connected is part of that device's `hello`, so the
    /// device never receives an event for it.
    Connecting,
    /// They write and read.
    Busy,
    /// They only finish what they began.
    Finishing,
}

/// Who a device is.
#[derive(Clone, Debug)]
pub(super) struct Role {
    /// Whose device it is, and which.
    pub(super) name: String,
    pub(super) user: Uuid,
    /// The host it prefers; where it does not answer, the next.
    pub(super) home: usize,
    /// Conversations of its user.
    pub(super) conversations: Vec<Uuid>,
    /// It writes to them in turn.
    pub(super) writes: bool,
    /// It reads this one.
    pub(super) reads: Option<Uuid>,
}

/// A device that lives until it is dropped.
pub(super) struct Device {
    pub(super) role: Role,
    sheet: Arc<Mutex<Sheet>>,
    _life: JoinSet<()>,
}

impl Device {
    /// A device that connects to these hosts.
    pub(super) fn start(role: Role, hosts: Vec<SocketAddr>, mood: watch::Receiver<Mood>) -> Self {
        let sheet = Arc::new(Mutex::new(Sheet::new(&role.name)));
        let mut ticks = interval(PACE);
        // A device that is cut off goes on writing: what it missed to say comes at once afterwards.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let life = Life {
            token: Token::of(role.user).sign(),
            host: role.home,
            role: role.clone(),
            hosts,
            mood,
            ticks,
            beat: 0,
            sheet: sheet.clone(),
            outbox: Outbox::default(),
            recoveries: JoinSet::new(),
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(life.run());
        Self { role, sheet, _life: tasks }
    }

    pub(super) fn sheet(&self) -> MutexGuard<'_, Sheet> {
        self.sheet.lock().unwrap()
    }
}

struct Life {
    role: Role,
    token: String,
    hosts: Vec<SocketAddr>,
    /// The host that is tried next.
    host: usize,
    mood: watch::Receiver<Mood>,
    ticks: Interval,
    beat: u32,
    sheet: Arc<Mutex<Sheet>>,
    outbox: Outbox,
    recoveries: JoinSet<()>,
}

impl Life {
    async fn run(mut self) {
        loop {
            let since = self.sheet().since();
            let address = self.hosts[self.host % self.hosts.len()];
            match Line::open(address, &self.token, since).await {
                Ok((mut line, hello)) => {
                    self.sheet().greeted(&hello);
                    // Whatever ends it, the answer is to come back.
                    let Lost(why) = self.follow(&mut line).await;
                    self.outbox.parted();
                    self.sheet().lost(why);
                    self.sheet().parted();
                }
                // No stickiness: any host will do.
                Err(Lost(why)) => {
                    self.host += 1;
                    self.sheet().lost(why);
                }
            }
            sleep(RECONNECT_AFTER).await;
        }
    }

    async fn follow(&mut self, line: &mut Line) -> Lost {
        loop {
            let done = tokio::select! {
                frame = line.next() => match frame {
                    Ok(frame) => {
                        self.hear(&frame);
                        Ok(())
                    }
                    Err(lost) => Err(lost),
                },
                _ = self.ticks.tick() => self.speak(line).await,
            };
            if let Err(lost) = done {
                return lost;
            }
        }
    }

    fn hear(&mut self, frame: &Value) {
        match frame["id"].as_str() {
            Some("read") => self.was_read(frame),
            Some(id) => match id.parse() {
                Ok(id) => self.was_answered(id, frame),
                Err(_) => self.sheet().fault(format!("an answer to nothing: {frame}")),
            },
            None => {
                let must_fetch = self.sheet().pushed(frame);
                if must_fetch {
                    self.recover();
                }
            }
        }
    }

    fn was_answered(&mut self, id: Uuid, frame: &Value) {
        if frame["type"] == "ok" {
            // The answer to a try that was given up may come after the one to the next.
            if self.outbox.acknowledged(id) {
                let mut sheet = self.sheet();
                sheet.stored(id, &frame["payload"]);
                sheet.tally.acknowledged += 1;
                sheet.open = self.outbox.open();
            }
        } else if frame["error"]["retry"] == true {
            self.outbox.refused(id);
        } else {
            self.sheet().fault(format!("refused for good: {frame}"));
        }
    }

    fn was_read(&mut self, frame: &Value) {
        if frame["type"] == "ok" {
            let up_to = frame["payload"]["up_to"].as_u64().unwrap_or_default();
            let mut sheet = self.sheet();
            sheet.read.1 = sheet.read.1.max(up_to);
        } else if frame["error"]["retry"] != true {
            self.sheet().fault(format!("refused for good: {frame}"));
        }
    }

    async fn speak(&mut self, line: &mut Line) -> Result<(), Lost> {
        self.beat += 1;
        let busy = *self.mood.borrow() == Mood::Busy;
        if busy && self.role.writes && self.outbox.write(&self.role.name, &self.role.conversations) {
            self.sheet().tally.sent += 1;
        }
        let (frames, again) = self.outbox.due();
        {
            let mut sheet = self.sheet();
            sheet.tally.retried += again;
            sheet.open = self.outbox.open();
        }
        for frame in frames {
            line.say(&frame).await?;
        }
        match self.role.reads {
            Some(conversation) if self.beat.is_multiple_of(READ_EVERY) => self.read(line, conversation, busy).await,
            _ => Ok(()),
        }
    }

    /// Says how far it has read; when finishing, only what was not acknowledged yet.
    async fn read(&mut self, line: &mut Line, conversation: Uuid, busy: bool) -> Result<(), Lost> {
        let up_to = {
            let mut sheet = self.sheet();
            if busy {
                sheet.read.0 = sheet.read.0.max(sheet.newest(conversation));
            }
            if sheet.read.0 == sheet.read.1 {
                return Ok(());
            }
            sheet.read.0
        };
        let payload = json!({ "conversation": conversation, "up_to": up_to });
        line.say(&json!({ "id": "read", "type": "conversation.read", "payload": payload })).await
    }

    /// Fetches the present state beside the line; a later `resync` makes an earlier fetch pointless.
    fn recover(&mut self) {
        self.recoveries.abort_all();
        let hosts = self.hosts.clone();
        let (token, conversations) = (self.token.clone(), self.role.conversations.clone());
        self.recoveries.spawn(recovery::recover(hosts, token, conversations, self.sheet.clone()));
    }

    fn sheet(&self) -> MutexGuard<'_, Sheet> {
        self.sheet.lock().unwrap()
    }
}
