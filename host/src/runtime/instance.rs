//! One instance of a function, which serves calls one after the other.
//!
//! A call ends at its deadline. A guest that computes is ended by the engine's epoch, one that waits in an import by
//! the caller's timeout.

use std::time::{Duration, Instant};

use tokio::sync::OwnedSemaphorePermit;
use wasmtime::component::{Component, ComponentExportIndex, InstancePre, TypedFunc};
use wasmtime::{Store, StoreContextMut, UpdateDeadline};

use super::bindings::handler;
use super::call::{Failure, Invocation, Reply};
use super::engine::Engine;
use super::state::InstanceState;
use crate::ops::trace;

/// The guest was still computing at its deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the deadline has passed")]
pub(super) struct DeadlinePassed;

/// The exported function that answers invocations.
type HandleExport = TypedFunc<(handler::Invocation,), (Result<handler::Reply, handler::Failure>,)>;

/// What instances are made from. It keeps the index of the export that is called, because looking the export up by its
/// name takes as long as a short call. Clones share the code.
#[derive(Clone)]
pub(super) struct Blueprint {
    pre: InstancePre<InstanceState>,
    handle: ComponentExportIndex,
}

impl Blueprint {
    /// Makes a blueprint of a linked component; `None` if the component does not export the interface.
    pub(super) fn new(pre: InstancePre<InstanceState>, interface: &str) -> Option<Self> {
        let component: &Component = pre.component();
        let handler = component.get_export_index(None, interface)?;
        let handle = component.get_export_index(Some(&handler), "handle")?;
        Some(Self { pre, handle })
    }
}

/// A wasmtime store with the bounds of an instance, and no instance in it yet.
pub(super) fn store(engine: &Engine, state: InstanceState) -> Store<InstanceState> {
    let mut store = Store::new(engine.wasm(), state);
    store.limiter(|state| &mut state.memory);
    store.epoch_deadline_callback(check_deadline);
    store.set_epoch_deadline(1);
    store
}

/// A wasmtime store with one instance in it. After an error it must not be used again.
pub(super) struct Instance {
    store: Store<InstanceState>,
    handle: HandleExport,
    created: Instant,
    calls: u32,
    /// Returned after the store is dropped, because it is the last field.
    _slot: OwnedSemaphorePermit,
}

impl Instance {
    /// Instantiates within `state.deadline`.
    pub(super) async fn new(
        blueprint: &Blueprint,
        (slot, created): (OwnedSemaphorePermit, Instant),
        mut store: Store<InstanceState>,
    ) -> wasmtime::Result<Self> {
        let instance = blueprint.pre.instantiate_async(&mut store).await?;
        let handle = instance.get_typed_func(&mut store, blueprint.handle)?;
        Ok(Self { store, handle, created, calls: 0, _slot: slot })
    }

    /// The time since the instance was made.
    pub(super) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.created)
    }

    pub(super) const fn calls(&self) -> u32 {
        self.calls
    }

    pub(super) fn state(&mut self) -> &mut InstanceState {
        self.store.data_mut()
    }

    /// Makes one call. `deadline_ms` is the deadline that the guest is told, in the time of the store.
    pub(super) async fn handle(
        &mut self,
        invocation: Invocation,
        deadline: Instant,
        deadline_ms: u64,
    ) -> wasmtime::Result<Result<Reply, Failure>> {
        let Invocation { caller, trace, request } = invocation;
        self.calls = self.calls.saturating_add(1);
        self.store.data_mut().begin(trace.clone(), deadline, (caller, &request));
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

/// Runs at every advance of the epoch: ends a guest whose deadline has passed, and lets other tasks run otherwise.
fn check_deadline(context: StoreContextMut<'_, InstanceState>) -> wasmtime::Result<UpdateDeadline> {
    if Instant::now() >= context.data().deadline {
        return Err(wasmtime::Error::new(DeadlinePassed));
    }
    Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now())))
}
