//! One instance of a function, and the calls it serves, one after the other.
//!
//! A call ends at its deadline, whether the guest computes (the engine's epoch) or waits (the caller's timeout).

use std::time::{Duration, Instant};

use tokio::sync::OwnedSemaphorePermit;
use wasmtime::component::{Component, ComponentExportIndex, InstancePre, TypedFunc};
use wasmtime::{Store, StoreContextMut, UpdateDeadline};

use super::bindings::handler;
use super::call::{Failure, Invocation, Reply};
use super::engine::Engine;
use super::state::State;
use crate::ops::trace;

/// The guest computed past its deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the deadline has passed")]
pub(super) struct DeadlinePassed;

/// The exported function that answers invocations.
type Handle = TypedFunc<(handler::Invocation,), (Result<handler::Reply, handler::Failure>,)>;

/// What instances are made from. Of a function's exports they look up only the one that is called: looking up costs as much
/// as many a call.
pub(super) struct Blueprint {
    pre: InstancePre<State>,
    handle: ComponentExportIndex,
}

impl Blueprint {
    /// Of a linked component; nothing if it has no such export.
    pub(super) fn new(pre: InstancePre<State>, interface: &str) -> Option<Self> {
        let component: &Component = pre.component();
        let handler = component.get_export_index(None, interface)?;
        let handle = component.get_export_index(Some(&handler), "handle")?;
        Some(Self { pre, handle })
    }
}

/// An empty store with the bounds of an instance.
pub(super) fn store(engine: &Engine, state: State) -> Store<State> {
    let mut store = Store::new(engine.wasm(), state);
    store.limiter(|state| &mut state.ledger);
    store.epoch_deadline_callback(at_tick);
    store.set_epoch_deadline(1);
    store
}

/// A store with one instance in it. It must not be used again after an error.
pub(super) struct Instance {
    store: Store<State>,
    handle: Handle,
    born: Instant,
    calls: u32,
    /// Given back after the store is gone.
    _slot: OwnedSemaphorePermit,
}

impl Instance {
    /// Instantiates within `state.deadline`.
    pub(super) async fn new(
        blueprint: &Blueprint,
        (slot, born): (OwnedSemaphorePermit, Instant),
        mut store: Store<State>,
    ) -> wasmtime::Result<Self> {
        let instance = blueprint.pre.instantiate_async(&mut store).await?;
        let handle = instance.get_typed_func(&mut store, blueprint.handle)?;
        Ok(Self { store, handle, born, calls: 0, _slot: slot })
    }

    /// How long ago it was made.
    pub(super) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.born)
    }

    pub(super) const fn calls(&self) -> u32 {
        self.calls
    }

    pub(super) fn state(&mut self) -> &mut State {
        self.store.data_mut()
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
        let (answer,) = trace::within(trace, self.handle.call_async(&mut self.store, (invocation,))).await?;
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
