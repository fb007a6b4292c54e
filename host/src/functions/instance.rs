//! One instance of a function, and the calls it serves, one after the other.
//!
//! A call ends at its deadline, whether the guest computes (the engine's epoch) or waits (the caller's timeout).

use std::time::Instant;

use tokio::sync::OwnedSemaphorePermit;
use wasmtime::{Store, StoreContextMut, UpdateDeadline};

use super::bindings::{self, FunctionPre, handler};
use super::call::{Failure, Invocation, Reply};
use super::manifest::RawManifest;
use super::state::State;
use crate::trace;

/// The guest computed past its deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the deadline has passed")]
pub(super) struct DeadlinePassed;

/// A store with one instance in it. It must not be used again after an error.
pub(super) struct Instance {
    store: Store<State>,
    function: bindings::Function,
    born: Instant,
    calls: u32,
    /// Given back after the store is gone.
    _slot: OwnedSemaphorePermit,
}

impl Instance {
    /// Instantiates within `state.deadline`.
    pub(super) async fn new(
        pre: &FunctionPre<State>,
        state: State,
        slot: OwnedSemaphorePermit,
    ) -> wasmtime::Result<Self> {
        let mut store = Store::new(pre.engine(), state);
        store.limiter(|state| &mut state.ledger);
        store.epoch_deadline_callback(at_tick);
        store.set_epoch_deadline(1);
        let function = pre.instantiate_async(&mut store).await?;
        Ok(Self { store, function, born: Instant::now(), calls: 0, _slot: slot })
    }

    pub(super) const fn born(&self) -> Instant {
        self.born
    }

    pub(super) const fn calls(&self) -> u32 {
        self.calls
    }

    pub(super) fn state(&mut self) -> &mut State {
        self.store.data_mut()
    }

    /// Asks the function what it is.
    pub(super) async fn describe(&mut self) -> wasmtime::Result<RawManifest> {
        self.store.set_epoch_deadline(1);
        let handler = self.function.roost_edge_handler();
        Ok(handler.call_describe(&mut self.store).await?.into())
    }

    /// Makes one call. `deadline_ms` is what the guest is told, on its own clock.
    pub(super) async fn handle(
        &mut self,
        invocation: Invocation,
        deadline: Instant,
        deadline_ms: u64,
    ) -> wasmtime::Result<Result<Reply, Failure>> {
        let Invocation { caller, trace, request } = invocation;
        self.calls = self.calls.saturating_add(1);
        self.store.data_mut().begin(trace.clone(), deadline);
        self.store.set_epoch_deadline(1);
        let invocation = handler::Invocation {
            caller: caller.into(),
            trace: trace.as_ref().to_owned(),
            deadline: deadline_ms,
            request: request.into(),
        };
        let handler = self.function.roost_edge_handler();
        let answer = trace::within(trace, handler.call_handle(&mut self.store, &invocation)).await?;
        Ok(answer.map(Into::into).map_err(Into::into))
    }
}

/// At every tick a guest that still has time lets others run.
fn at_tick(context: StoreContextMut<'_, State>) -> wasmtime::Result<UpdateDeadline> {
    if Instant::now() >= context.data().deadline {
        return Err(wasmtime::Error::new(DeadlinePassed));
    }
    Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now())))
}
