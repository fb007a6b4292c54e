//! Sends requests to the servers that lead their slots: one pipeline for each server, to all servers at once.
//!
//! A request that was redirected, or that needs the scripts to be loaded again, was not carried out and is sent again.
//! A request without an answer may have been carried out, so it is never sent again. docs/redis-client.md says why no
//! library's Cluster client is used for this.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use redis::{Cmd, Pipeline, Value, cmd};
use roost_core::port::StoreError;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{sleep, timeout};

use super::node::Node;
use super::topology::Topology;
use super::{Address, NodeConnection};
use crate::store::redis::errors::{self, ReplyVerdict, WriteObservation, judge};
use crate::store::redis::scripts::SCRIPTS;

/// A request that was not carried out is sent at most so often.
const SENDINGS_MAX: usize = 6;
/// The wait before a request is sent again because its server cannot carry it out at the moment.
const RESEND_PAUSE: Duration = Duration::from_millis(30);
/// How long a request waits for others to be answered when too many commands are in flight.
const CAPACITY_WAIT: Duration = Duration::from_millis(200);

/// Commands that belong to one slot and go to its leader together.
#[derive(Debug)]
pub(crate) struct RequestUnit {
    pub(crate) slot: u16,
    pub(crate) commands: Vec<Cmd>,
    /// Whether the id of the serving process is appended to the last command.
    pub(crate) is_signed: bool,
}

impl RequestUnit {
    pub(crate) fn single(slot: u16, command: Cmd) -> Self {
        Self { slot, commands: vec![command], is_signed: false }
    }

    /// Commands that are carried out as one transaction of Redis.
    pub(crate) fn atomic(slot: u16, commands: Vec<Cmd>) -> Self {
        let mut all = Vec::with_capacity(commands.len() + 2);
        all.push(cmd("MULTI"));
        all.extend(commands);
        all.push(cmd("EXEC"));
        Self { slot, commands: all, is_signed: false }
    }
}

/// The replies to a unit, and the connection that they came from.
pub(crate) struct UnitReply {
    pub(crate) values: Vec<Value>,
    pub(crate) connection: Arc<NodeConnection>,
}

impl UnitReply {
    /// The only reply, or the last of several.
    pub(crate) fn last(mut self) -> Value {
        self.values.pop().unwrap_or_default()
    }
}

type UnitResult = Result<UnitReply, StoreError>;

/// Where a unit is sent next.
enum Destination {
    /// To the leader of its slot.
    Leader,
    /// To the node that a redirection named.
    Node(Arc<Node>),
    /// To the node that is about to lead the slot, which must be asked (`ASKING`) to serve it already.
    Asking(Arc<Node>),
}

/// Sends requests; the number of commands in flight is bounded.
pub(crate) struct RequestSender {
    topology: Arc<Topology>,
    capacity: Semaphore,
    commands_max: u32,
}

impl RequestSender {
    pub(crate) fn new(topology: Arc<Topology>, commands_max: u32) -> Self {
        Self { topology, capacity: Semaphore::new(commands_max as usize), commands_max }
    }

    /// Returns the result of every unit, in the order given.
    pub(crate) async fn send(&self, units: &[RequestUnit]) -> Result<Vec<UnitResult>, StoreError> {
        if units.is_empty() {
            return Ok(Vec::new());
        }
        let _permit = self.acquire_capacity(units).await?;
        let mut results: Vec<Option<UnitResult>> = units.iter().map(|_| None).collect();
        let mut unsent: Vec<(usize, Destination)> =
            (0..units.len()).map(|index| (index, Destination::Leader)).collect();
        for sending in 1..=SENDINGS_MAX {
            let may_resend = sending < SENDINGS_MAX;
            unsent = self.send_once(units, unsent, may_resend, &mut results).await;
            if unsent.is_empty() {
                break;
            }
        }
        Ok(results.into_iter().map(|result| result.unwrap_or(Err(errors::unavailable()))).collect())
    }

    async fn acquire_capacity(&self, units: &[RequestUnit]) -> Result<SemaphorePermit<'_>, StoreError> {
        let commands: usize = units.iter().map(|unit| unit.commands.len()).sum();
        let permits = u32::try_from(commands).unwrap_or(u32::MAX).min(self.commands_max);
        match timeout(CAPACITY_WAIT, self.capacity.acquire_many(permits)).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(StoreError::Unavailable { retry_after_ms: CAPACITY_WAIT.as_millis() as u32 }),
        }
    }

    /// Sends units; returns those that must be sent again, and where to.
    async fn send_once(
        &self,
        units: &[RequestUnit],
        unsent: Vec<(usize, Destination)>,
        may_resend: bool,
        results: &mut [Option<UnitResult>],
    ) -> Vec<(usize, Destination)> {
        let batches = self.batch(units, unsent, results);
        let mut unanswered = Unanswered::default();
        for (batch, sent) in join_all(batches.into_iter().map(|batch| batch.send(units))).await {
            match sent {
                Ok((connection, replies)) => {
                    let mut writes = WriteObservation::default();
                    for ((index, _), values) in batch.units.iter().zip(replies) {
                        let is_write = units.get(*index).is_some_and(|unit| unit.is_signed);
                        let verdict = judge(&values, &connection.address);
                        if verdict == ReplyVerdict::Answer {
                            writes.observe(is_write, &values);
                            put(results, *index, Ok(UnitReply { values, connection: connection.clone() }));
                        } else if may_resend {
                            unanswered.add(*index, verdict, &connection);
                        } else {
                            put(results, *index, Err(errors::unavailable()));
                        }
                    }
                    connection.observed(writes);
                }
                Err(error) => {
                    self.topology.request_refresh();
                    batch.units.iter().for_each(|(index, _)| put(results, *index, Err(error.clone())));
                }
            }
        }
        self.prepare_resend(unanswered, results).await
    }

    /// Does once what the unanswered units need before they are sent again, however many they are.
    async fn prepare_resend(
        &self,
        unanswered: Unanswered,
        results: &mut [Option<UnitResult>],
    ) -> Vec<(usize, Destination)> {
        let Unanswered { redirected, without_scripts, postponed, needs_refresh } = unanswered;
        if needs_refresh {
            self.topology.request_refresh();
        }
        let redirected = redirected.into_iter().map(|(index, redirection)| (index, self.destination(&redirection)));
        let mut again: Vec<(usize, Destination)> = redirected.collect();
        let loads = without_scripts
            .into_iter()
            .map(|(connection, indices)| async move { (connection.send(&load_scripts()).await, indices) });
        for (loaded, indices) in join_all(loads).await {
            match loaded {
                Ok(_) => again.extend(indices.into_iter().map(|index| (index, Destination::Leader))),
                Err(error) => indices.into_iter().for_each(|index| put(results, index, Err(error.clone()))),
            }
        }
        if !postponed.is_empty() {
            sleep(RESEND_PAUSE).await;
            again.extend(postponed.into_iter().map(|index| (index, Destination::Leader)));
        }
        again
    }

    fn destination(&self, redirection: &Redirection) -> Destination {
        match redirection {
            Redirection::Moved(address) => Destination::Node(self.topology.node_at(address)),
            Redirection::Ask(address) => Destination::Asking(self.topology.node_at(address)),
        }
    }

    /// Groups units by the server that they go to. A unit whose slot has no leader fails here.
    fn batch(
        &self,
        units: &[RequestUnit],
        unsent: Vec<(usize, Destination)>,
        results: &mut [Option<UnitResult>],
    ) -> Vec<RequestBatch> {
        let mut batches: Vec<RequestBatch> = Vec::new();
        for (index, destination) in unsent {
            let (node, is_asking) = match destination {
                Destination::Leader => (units.get(index).and_then(|unit| self.topology.leader(unit.slot)), false),
                Destination::Node(node) => (Some(node), false),
                Destination::Asking(node) => (Some(node), true),
            };
            let Some(node) = node else {
                self.topology.request_refresh();
                put(results, index, Err(errors::unavailable()));
                continue;
            };
            match batches.iter_mut().find(|batch| batch.node.address == node.address) {
                Some(batch) => batch.units.push((index, is_asking)),
                None => batches.push(RequestBatch { node, units: vec![(index, is_asking)] }),
            }
        }
        batches
    }
}

/// Where a server sends a unit instead.
#[derive(Debug, PartialEq, Eq)]
enum Redirection {
    Moved(Address),
    Ask(Address),
}

/// The units of one sending that were not carried out, by what they need before they are sent again.
#[derive(Default)]
struct Unanswered {
    redirected: Vec<(usize, Redirection)>,
    /// By the connection to the server that does not have the scripts.
    without_scripts: Vec<(Arc<NodeConnection>, Vec<usize>)>,
    /// To be sent again after a pause.
    postponed: Vec<usize>,
    /// The topology may be outdated.
    needs_refresh: bool,
}

impl Unanswered {
    fn add(&mut self, index: usize, verdict: ReplyVerdict, connection: &Arc<NodeConnection>) {
        match verdict {
            ReplyVerdict::Answer => {}
            ReplyVerdict::ScriptsMissing => {
                match self.without_scripts.iter_mut().find(|(known, _)| Arc::ptr_eq(known, connection)) {
                    Some((_, indices)) => indices.push(index),
                    None => self.without_scripts.push((connection.clone(), vec![index])),
                }
            }
            ReplyVerdict::Moved(address) => {
                self.needs_refresh = true;
                self.redirected.push((index, Redirection::Moved(address)));
            }
            ReplyVerdict::Ask(address) => self.redirected.push((index, Redirection::Ask(address))),
            ReplyVerdict::Demoted | ReplyVerdict::TryLater => {
                // The next connection leads to the server that took over, or finds out what this one has become.
                if verdict == ReplyVerdict::Demoted {
                    connection.close();
                }
                self.needs_refresh = true;
                self.postponed.push(index);
            }
        }
    }
}

/// Units for one server, which are sent in one pipeline.
struct RequestBatch {
    node: Arc<Node>,
    /// The index of each unit, and whether it must be preceded by `ASKING`.
    units: Vec<(usize, bool)>,
}

type RequestBatchReplies = Result<(Arc<NodeConnection>, Vec<Vec<Value>>), StoreError>;

impl RequestBatch {
    async fn send(self, units: &[RequestUnit]) -> (Self, RequestBatchReplies) {
        let replies = self.replies(units).await;
        (self, replies)
    }

    async fn replies(&self, units: &[RequestUnit]) -> RequestBatchReplies {
        let connection = self.node.connection().await?;
        let mut pipeline = Pipeline::new();
        let mut sizes = Vec::with_capacity(self.units.len());
        for (index, is_asking) in &self.units {
            let Some(unit) = units.get(*index) else { continue };
            if *is_asking {
                pipeline.cmd("ASKING");
            }
            unit.write(&mut pipeline, &connection.process.id);
            sizes.push((usize::from(*is_asking), unit.commands.len()));
        }
        let mut values = connection.send(&pipeline).await?.into_iter();
        let mut take = |(skipped, size): (usize, usize)| values.by_ref().skip(skipped).take(size).collect();
        let replies = sizes.into_iter().map(&mut take).collect();
        Ok((connection, replies))
    }
}

impl RequestUnit {
    fn write(&self, pipeline: &mut Pipeline, process: &str) {
        let Some((last, others)) = self.commands.split_last() else { return };
        others.iter().for_each(|command| {
            pipeline.add_command(command.clone());
        });
        let mut last = last.clone();
        if self.is_signed {
            last.arg(process);
        }
        pipeline.add_command(last);
    }
}

fn put(results: &mut [Option<UnitResult>], index: usize, result: UnitResult) {
    if let Some(place) = results.get_mut(index) {
        *place = Some(result);
    }
}

fn load_scripts() -> Pipeline {
    let mut pipeline = Pipeline::new();
    for script in &*SCRIPTS {
        pipeline.cmd("SCRIPT").arg("LOAD").arg(script.text);
    }
    pipeline
}
