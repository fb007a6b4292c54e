//! One device: it reconnects after every lost connection, resumes at its position, fetches the current state after a
//! `resync`, and repeats its messages until they are acknowledged.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Interval, MissedTickBehavior, interval, sleep};
use uuid::Uuid;

use super::connection::{ConnectionLost, DeviceConnection};
use super::observations::Observations;
use super::outbox::DeviceOutbox;
use super::recovery;
use crate::token::Token;

/// The interval in which a device writes, reads and retries.
const PACE: Duration = Duration::from_millis(100);
/// A reader marks messages as read once in this many intervals.
const READ_EVERY: u32 = 7;
/// The pause before a device reconnects.
const RECONNECT_AFTER: Duration = Duration::from_millis(150);

/// What all devices currently do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Activity {
    /// They only listen: a message that is sent before a device is connected is part of that device's `hello`, so the
    /// device never receives an event for it.
    Connecting,
    /// They write and read messages.
    Writing,
    /// They only finish what they have begun.
    Finishing,
}

/// The identity and behaviour of a device.
#[derive(Clone, Debug)]
pub(super) struct Role {
    /// The user's name and the number of the device, for messages.
    pub(super) name: String,
    pub(super) user: Uuid,
    /// The host that the device tries first; if that does not answer, it tries the next one.
    pub(super) home: usize,
    /// The conversations of its user.
    pub(super) conversations: Vec<Uuid>,
    /// Whether the device writes to the conversations, one after the other.
    pub(super) writes: bool,
    /// The conversation that the device marks as read, if any.
    pub(super) reads: Option<Uuid>,
}

/// A running device; it stops when the value is dropped.
pub(super) struct Device {
    pub(super) role: Role,
    observations: Arc<Mutex<Observations>>,
    _task: JoinSet<()>,
}

impl Device {
    /// Starts a device that connects to these hosts.
    pub(super) fn start(role: Role, hosts: Vec<SocketAddr>, activity: watch::Receiver<Activity>) -> Self {
        let observations = Arc::new(Mutex::new(Observations::new(&role.name)));
        let mut ticks = interval(PACE);
        // A disconnected device goes on writing: messages from that time are sent at once after it reconnects.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let task = DeviceTask {
            token: Token::of(role.user).sign(),
            host: role.home,
            role: role.clone(),
            hosts,
            activity,
            ticks,
            tick: 0,
            observations: observations.clone(),
            outbox: DeviceOutbox::default(),
            recoveries: JoinSet::new(),
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(task.run());
        Self { role, observations, _task: tasks }
    }

    pub(super) fn observations(&self) -> MutexGuard<'_, Observations> {
        self.observations.lock().unwrap()
    }
}

struct DeviceTask {
    role: Role,
    token: String,
    hosts: Vec<SocketAddr>,
    /// The index of the host that is tried next.
    host: usize,
    activity: watch::Receiver<Activity>,
    ticks: Interval,
    tick: u32,
    observations: Arc<Mutex<Observations>>,
    outbox: DeviceOutbox,
    recoveries: JoinSet<()>,
}

impl DeviceTask {
    async fn run(mut self) {
        loop {
            let since = self.observations().since();
            let address = self.hosts[self.host % self.hosts.len()];
            match DeviceConnection::open(address, &self.token, since).await {
                Ok((mut connection, hello)) => {
                    self.observations().hello_received(&hello);
                    // The device reconnects, whatever the reason was.
                    let ConnectionLost(why) = self.run_connection(&mut connection).await;
                    self.outbox.disconnected();
                    self.observations().connection_lost(why);
                    self.observations().disconnected();
                }
                // Any other host can serve the device.
                Err(ConnectionLost(why)) => {
                    self.host += 1;
                    self.observations().connection_lost(why);
                }
            }
            sleep(RECONNECT_AFTER).await;
        }
    }

    async fn run_connection(&mut self, connection: &mut DeviceConnection) -> ConnectionLost {
        loop {
            let outcome = tokio::select! {
                frame = connection.next() => match frame {
                    Ok(frame) => {
                        self.handle_frame(&frame);
                        Ok(())
                    }
                    Err(error) => Err(error),
                },
                _ = self.ticks.tick() => self.send_due(connection).await,
            };
            if let Err(error) = outcome {
                return error;
            }
        }
    }

    fn handle_frame(&mut self, frame: &Value) {
        match frame["id"].as_str() {
            Some("read") => self.handle_read_answer(frame),
            Some(id) => match id.parse() {
                Ok(id) => self.handle_answer(id, frame),
                Err(_) => self.observations().violation(format!("an answer without a request: {frame}")),
            },
            None => {
                let must_fetch = self.observations().frame_received(frame);
                if must_fetch {
                    self.recover();
                }
            }
        }
    }

    fn handle_answer(&mut self, id: Uuid, frame: &Value) {
        if frame["type"] == "ok" {
            // The answer to an abandoned attempt can arrive after the answer to the next attempt.
            if self.outbox.acknowledged(id) {
                let mut observations = self.observations();
                observations.message_acknowledged(id, &frame["payload"]);
                observations.tally.acknowledged += 1;
                observations.open = self.outbox.open();
            }
        } else if frame["error"]["retry"] == true {
            self.outbox.refused(id);
            self.observations().refused(&frame["error"]);
        } else {
            self.observations().violation(format!("refused for good: {frame}"));
        }
    }

    fn handle_read_answer(&mut self, frame: &Value) {
        if frame["type"] == "ok" {
            let up_to = frame["payload"]["up_to"].as_u64().unwrap_or_default();
            let mut observations = self.observations();
            observations.read.1 = observations.read.1.max(up_to);
        } else if frame["error"]["retry"] == true {
            self.observations().refused(&frame["error"]);
        } else {
            self.observations().violation(format!("refused for good: {frame}"));
        }
    }

    async fn send_due(&mut self, connection: &mut DeviceConnection) -> Result<(), ConnectionLost> {
        self.tick += 1;
        let writing = *self.activity.borrow() == Activity::Writing;
        if writing && self.role.writes && self.outbox.write(&self.role.name, &self.role.conversations) {
            self.observations().tally.sent += 1;
        }
        let (frames, again) = self.outbox.due();
        {
            let mut observations = self.observations();
            observations.tally.retried += again;
            observations.open = self.outbox.open();
        }
        for frame in frames {
            connection.send(&frame).await?;
        }
        match self.role.reads {
            Some(conversation) if self.tick.is_multiple_of(READ_EVERY) => {
                self.read(connection, conversation, writing).await
            }
            _ => Ok(()),
        }
    }

    /// Marks messages as read. When the device is finishing, it only repeats a mark that is not acknowledged yet.
    async fn read(
        &mut self,
        connection: &mut DeviceConnection,
        conversation: Uuid,
        writing: bool,
    ) -> Result<(), ConnectionLost> {
        let up_to = {
            let mut observations = self.observations();
            if writing {
                observations.read.0 = observations.read.0.max(observations.newest(conversation));
            }
            if observations.read.0 == observations.read.1 {
                return Ok(());
            }
            observations.read.0
        };
        let payload = json!({ "conversation": conversation, "up_to": up_to });
        connection.send(&json!({ "id": "read", "type": "conversation.read", "payload": payload })).await
    }

    /// Fetches the current state while the connection stays open. A later `resync` makes an earlier fetch obsolete.
    fn recover(&mut self) {
        self.recoveries.abort_all();
        let hosts = self.hosts.clone();
        let (token, conversations) = (self.token.clone(), self.role.conversations.clone());
        self.recoveries.spawn(recovery::recover(hosts, token, conversations, self.observations.clone()));
    }

    fn observations(&self) -> MutexGuard<'_, Observations> {
        self.observations.lock().unwrap()
    }
}
