//! Carries requests to the servers that lead their slots: one pipeline a server, all servers at once.
//!
//! A redirected request, or one that needs the scripts loaded again, was not carried out and is sent again. One that got no
//! answer may have been, and is not. That is why the Cluster client of the crate is not used: it repeats whole pipelines.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use redis::{Cmd, Pipeline, Value, cmd};
use roost_core::port::StoreError;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{sleep, timeout};

use crate::store::redis::errors::{self, Verdict, judge};
use super::node::{Node, Session};
use crate::store::redis::scripts::SCRIPTS;
use super::topology::Topology;

/// A request is sent at most so often, as long as it was not carried out.
const SENDINGS_MAX: usize = 6;
/// Before a request is sent again to where it could not be carried out.
const PAUSE: Duration = Duration::from_millis(30);
/// How long a request waits for room among those in flight.
const ROOM_WAIT: Duration = Duration::from_millis(200);

/// Commands of one owner that go together.
#[derive(Debug)]
pub(crate) struct Unit {
    pub(crate) slot: u16,
    pub(crate) commands: Vec<Cmd>,
    /// The last command's last argument is the serving process's name.
    pub(crate) is_signed: bool,
}

impl Unit {
    pub(crate) fn one(slot: u16, command: Cmd) -> Self {
        Self { slot, commands: vec![command], is_signed: false }
    }

    /// Commands answered from one moment.
    pub(crate) fn at_once(slot: u16, commands: Vec<Cmd>) -> Self {
        let mut all = Vec::with_capacity(commands.len() + 2);
        all.push(cmd("MULTI"));
        all.extend(commands);
        all.push(cmd("EXEC"));
        Self { slot, commands: all, is_signed: false }
    }
}

/// A unit's replies, and who gave them.
pub(crate) struct Reply {
    pub(crate) values: Vec<Value>,
    pub(crate) session: Arc<Session>,
}

impl Reply {
    /// The single reply, or the last of several.
    pub(crate) fn last(mut self) -> Value {
        self.values.pop().unwrap_or_default()
    }
}

type Replied = Result<Reply, StoreError>;

/// Where a unit goes next.
enum Way {
    Leader,
    Node(Arc<Node>),
    /// With leave to take the slot's new owner before it is that.
    Asking(Arc<Node>),
}

/// What is in flight, bounded.
pub(crate) struct Client {
    topology: Arc<Topology>,
    room: Semaphore,
    commands_max: u32,
}

impl Client {
    pub(crate) fn new(topology: Arc<Topology>, commands_max: u32) -> Self {
        Self { topology, room: Semaphore::new(commands_max as usize), commands_max }
    }

    /// The replies to every unit, in the order given.
    pub(crate) async fn ask(&self, units: &[Unit]) -> Result<Vec<Replied>, StoreError> {
        if units.is_empty() {
            return Ok(Vec::new());
        }
        let _room = self.room(units).await?;
        let mut replies: Vec<Option<Replied>> = units.iter().map(|_| None).collect();
        let mut waiting: Vec<(usize, Way)> = (0..units.len()).map(|index| (index, Way::Leader)).collect();
        for sending in 1..=SENDINGS_MAX {
            let may_repeat = sending < SENDINGS_MAX;
            waiting = self.send(units, waiting, may_repeat, &mut replies).await;
            if waiting.is_empty() {
                break;
            }
        }
        Ok(replies.into_iter().map(|reply| reply.unwrap_or(Err(errors::unavailable()))).collect())
    }

    async fn room(&self, units: &[Unit]) -> Result<SemaphorePermit<'_>, StoreError> {
        let commands: usize = units.iter().map(|unit| unit.commands.len()).sum();
        let wanted = u32::try_from(commands).unwrap_or(u32::MAX).min(self.commands_max);
        match timeout(ROOM_WAIT, self.room.acquire_many(wanted)).await {
            Ok(Ok(room)) => Ok(room),
            _ => Err(StoreError::Unavailable { retry_after_ms: ROOM_WAIT.as_millis() as u32 }),
        }
    }

    /// Sends what waits; answers what must be sent again.
    async fn send(
        &self,
        units: &[Unit],
        waiting: Vec<(usize, Way)>,
        may_repeat: bool,
        replies: &mut [Option<Replied>],
    ) -> Vec<(usize, Way)> {
        let parcels = self.pack(units, waiting, replies);
        let mut again = Vec::new();
        for (parcel, answers) in join_all(parcels.into_iter().map(|parcel| parcel.deliver(units))).await {
            match answers {
                Ok((session, answers)) => {
                    for ((index, _), values) in parcel.contents.iter().zip(answers) {
                        let reply = Reply { values, session: session.clone() };
                        match self.settle(reply, may_repeat).await {
                            Ok(reply) => put(replies, *index, reply),
                            Err(way) => again.push((*index, way)),
                        }
                    }
                }
                Err(error) => {
                    self.topology.doubt();
                    parcel.contents.iter().for_each(|(index, _)| put(replies, *index, Err(error.clone())));
                }
            }
        }
        again
    }

    /// Puts units with the same way together. One that leads nowhere has its reply.
    fn pack(&self, units: &[Unit], waiting: Vec<(usize, Way)>, replies: &mut [Option<Replied>]) -> Vec<Parcel> {
        let mut parcels: Vec<Parcel> = Vec::new();
        for (index, way) in waiting {
            let (node, asks) = match way {
                Way::Leader => (units.get(index).and_then(|unit| self.topology.leader(unit.slot)), false),
                Way::Node(node) => (Some(node), false),
                Way::Asking(node) => (Some(node), true),
            };
            let Some(node) = node else {
                self.topology.doubt();
                put(replies, index, Err(errors::unavailable()));
                continue;
            };
            match parcels.iter_mut().find(|parcel| parcel.node.address == node.address) {
                Some(parcel) => parcel.contents.push((index, asks)),
                None => parcels.push(Parcel { node, contents: vec![(index, asks)] }),
            }
        }
        parcels
    }

    /// The unit's reply, or the way it must take next.
    async fn settle(&self, reply: Reply, may_repeat: bool) -> Result<Replied, Way> {
        let verdict = judge(&reply.values, &reply.session.address);
        if verdict == Verdict::Answer {
            return Ok(Ok(reply));
        }
        if !may_repeat {
            return Ok(Err(errors::unavailable()));
        }
        match &verdict {
            Verdict::Answer => Ok(Ok(reply)),
            Verdict::Reload => {
                let loaded = reply.session.exchange(&loading()).await;
                loaded.map_or_else(|error| Ok(Err(error)), |_| Err(Way::Leader))
            }
            Verdict::Moved(address) => {
                self.topology.doubt();
                Err(Way::Node(self.topology.node_at(address)))
            }
            Verdict::Ask(address) => Err(Way::Asking(self.topology.node_at(address))),
            Verdict::Demoted | Verdict::Soon => {
                // Another connection leads to whoever took over, or says who this server has become.
                if verdict == Verdict::Demoted {
                    reply.session.end();
                }
                self.topology.doubt();
                sleep(PAUSE).await;
                Err(Way::Leader)
            }
        }
    }
}

/// Units for one server.
struct Parcel {
    node: Arc<Node>,
    /// Places of the units, and whether each asks for leave.
    contents: Vec<(usize, bool)>,
}

type Delivered = Result<(Arc<Session>, Vec<Vec<Value>>), StoreError>;

impl Parcel {
    async fn deliver(self, units: &[Unit]) -> (Self, Delivered) {
        let delivered = self.exchange(units).await;
        (self, delivered)
    }

    async fn exchange(&self, units: &[Unit]) -> Delivered {
        let session = self.node.session().await?;
        let mut pipeline = Pipeline::new();
        let mut sizes = Vec::with_capacity(self.contents.len());
        for (index, asks) in &self.contents {
            let Some(unit) = units.get(*index) else { continue };
            if *asks {
                pipeline.cmd("ASKING");
            }
            unit.write(&mut pipeline, &session.server.name);
            sizes.push((usize::from(*asks), unit.commands.len()));
        }
        let mut values = session.exchange(&pipeline).await?.into_iter();
        let mut take = |(skipped, size): (usize, usize)| values.by_ref().skip(skipped).take(size).collect();
        let answers = sizes.into_iter().map(&mut take).collect();
        Ok((session, answers))
    }
}

impl Unit {
    fn write(&self, pipeline: &mut Pipeline, server: &str) {
        let Some((last, others)) = self.commands.split_last() else { return };
        others.iter().for_each(|command| {
            pipeline.add_command(command.clone());
        });
        let mut last = last.clone();
        if self.is_signed {
            last.arg(server);
        }
        pipeline.add_command(last);
    }
}

fn put(replies: &mut [Option<Replied>], index: usize, reply: Replied) {
    if let Some(place) = replies.get_mut(index) {
        *place = Some(reply);
    }
}

fn loading() -> Pipeline {
    let mut loading = Pipeline::new();
    for script in &*SCRIPTS {
        loading.cmd("SCRIPT").arg("LOAD").arg(script.text);
    }
    loading
}
