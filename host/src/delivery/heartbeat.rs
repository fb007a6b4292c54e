//! Heartbeats for every connection that gave a sign of life: one task for each host, up to 500 connections in one call.

use std::sync::Arc;
use std::time::Duration;

use roost_core::limits::LIST_MAX;
use roost_core::port::{Bus, Feeds};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::delivery::hub::Hub;
use crate::ops::trace;
use crate::runtime::CallError;
use crate::runtime::dispatcher::Dispatcher;
use crate::runtime::hooks;

/// Sends heartbeats at every interval, until it is dropped.
pub(crate) async fn run<F: Dispatcher, S: Bus + Feeds + 'static>(
    functions: Arc<F>,
    hub: Arc<Hub<S>>,
    interval: Duration,
) {
    let mut ticks = interval_at(Instant::now() + interval, interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        run_once(functions.as_ref(), hub.as_ref()).await;
    }
}

async fn run_once<F: Dispatcher, S: Bus + Feeds + 'static>(functions: &F, hub: &Hub<S>) {
    for connections in hub.take_alive().chunks(LIST_MAX) {
        let gathered = hooks::heartbeat(functions, &trace::new_id(), connections).await;
        if gathered.failures.iter().any(may_succeed_later) {
            // The next round comes before presence expires.
            hub.restore_alive(connections);
        }
    }
}

fn may_succeed_later(error: &CallError) -> bool {
    match error {
        CallError::Failed(failure) => failure.retry,
        CallError::Busy { .. } | CallError::DeadlineExceeded => true,
        CallError::Trapped | CallError::ReplyTooLarge => false,
    }
}
