//! The wasmtime engine of a process: its allocator, the thread that advances its epoch, and the slots for instances.
//!
//! The engine knows nothing about functions. Where address space is limited, it uses a smaller pool, and in the end
//! allocation on demand, so that a start never fails for lack of address space.

mod compiled_functions;
pub(super) mod compiler;

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::{JoinHandle, available_parallelism};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime::{Config, Enabled, InstanceAllocationStrategy, Module, PoolingAllocationConfig, Store};

use self::compiled_functions::CompiledFunctions;
use super::limits;

/// The resolution of deadlines, and how long a computing guest keeps its thread before other tasks run.
const TICK: Duration = Duration::from_millis(4);
/// The upper bound of a linear memory, whatever a function is allowed.
pub const MEMORY_BYTES_MAX: usize = 64 << 20;
/// So much of a memory is cleared by copying after each instance, instead of being returned to the kernel.
const MEMORY_KEEP_RESIDENT: usize = 1 << 20;
const TABLE_KEEP_RESIDENT: usize = 16 << 10;
/// How many slots that were used before and are free now the pool has for each processor before it prefers them,
/// whichever function used them, to slots that were never used. With wasmtime's hundred in all, each deployment brings
/// a function to slots that were never used, and a small host seems to grow for a long time.
const FREE_SLOTS_OF_PROCESSOR: u32 = 16;
const FREE_SLOTS_MAX: u32 = 100;
/// The address space of one memory with which bounds checks are not needed.
const RESERVATION: u64 = 4 << 30;
/// How many instances may exist at once when the allocator itself sets no bound.
const ON_DEMAND_INSTANCES: u32 = 64;

/// How instances get their memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "strategy")]
pub enum Allocation {
    /// From slots that are prepared at the start.
    Pooling {
        /// How many instances may exist at once.
        instances: u32,
        /// Address space of each memory.
        reservation_bytes: u64,
    },
    /// From the kernel for each instance, which is slower.
    OnDemand,
}

impl Allocation {
    /// The choices, from the fastest to the one that needs the least address space.
    const CHOICES: [Self; 5] = [
        Self::pooling(512, RESERVATION),
        Self::pooling(64, RESERVATION),
        Self::pooling(256, MEMORY_BYTES_MAX as u64),
        Self::pooling(32, MEMORY_BYTES_MAX as u64),
        Self::OnDemand,
    ];

    const fn pooling(instances: u32, reservation_bytes: u64) -> Self {
        Self::Pooling { instances, reservation_bytes }
    }

    const fn instances(self) -> u32 {
        match self {
            Self::Pooling { instances, .. } => instances,
            Self::OnDemand => ON_DEMAND_INSTANCES,
        }
    }
}

impl fmt::Display for Allocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pooling { instances, reservation_bytes } => {
                write!(f, "pooling, {instances} instances, {} MiB of address space each", reservation_bytes >> 20)
            }
            Self::OnDemand => f.write_str("on demand"),
        }
    }
}

/// The reasons why the engine cannot start.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// Wasmtime does not start, not even with allocation on demand.
    #[error("the WebAssembly engine cannot start: {0}; check the limits on memory and address space (`ulimit -v`)")]
    Wasmtime(String),
    /// The thread that advances the epoch cannot be started.
    #[error("the thread for function deadlines cannot start: {0}; check the limit on processes (`ulimit -u`)")]
    Ticker(#[from] std::io::Error),
}

/// A pool of idle instances that can drop one of them when another function needs its slot.
pub(super) trait EvictIdle: Send + Sync {
    /// Drops one idle instance; `false` if there is none.
    fn evict(&self) -> bool;
}

/// The engine of a process. It is cheap to clone; its thread stops when the last clone is dropped.
#[derive(Clone)]
pub struct Engine {
    shared: Arc<SharedEngine>,
}

struct SharedEngine {
    wasm: wasmtime::Engine,
    compiled_functions: CompiledFunctions,
    allocation: Allocation,
    slots: Arc<Semaphore>,
    /// Calls that wait for a slot. While there are any, no idle instance is kept.
    waiting_for_slot: AtomicUsize,
    idle_pools: Mutex<Vec<Weak<dyn EvictIdle>>>,
    /// The last field, so that the thread stops after everything above is dropped.
    _epoch_thread: EpochThread,
}

impl Engine {
    /// The fastest engine that works here. The log says which one that is.
    pub fn new() -> Result<Self, EngineError> {
        Self::first_of(&Allocation::CHOICES)
    }

    fn first_of(choices: &[Allocation]) -> Result<Self, EngineError> {
        let mut refused = String::from("there was no choice");
        let compiled_functions = CompiledFunctions::default();
        for (index, allocation) in choices.iter().enumerate() {
            match probe(*allocation, &compiled_functions) {
                Ok(wasm) => {
                    if index == 0 {
                        tracing::debug!(%allocation, "engine started");
                    } else {
                        tracing::warn!(
                            %allocation,
                            %refused,
                            "engine started with a smaller instance pool because address space is limited; raise the limit (`ulimit -v`)"
                        );
                    }
                    return Self::started(wasm, compiled_functions, *allocation);
                }
                Err(error) => refused = format!("{error:#}"),
            }
        }
        Err(EngineError::Wasmtime(refused))
    }

    fn started(
        wasm: wasmtime::Engine,
        compiled_functions: CompiledFunctions,
        allocation: Allocation,
    ) -> Result<Self, EngineError> {
        let epoch_thread = EpochThread::start(&wasm)?;
        let slots = usize::try_from(allocation.instances()).unwrap_or(usize::MAX);
        Ok(Self {
            shared: Arc::new(SharedEngine {
                wasm,
                compiled_functions,
                allocation,
                slots: Arc::new(Semaphore::new(slots)),
                waiting_for_slot: AtomicUsize::new(0),
                idle_pools: Mutex::default(),
                _epoch_thread: epoch_thread,
            }),
        })
    }

    /// How instances get their memory.
    pub fn allocation(&self) -> Allocation {
        self.shared.allocation
    }

    pub(super) fn wasm(&self) -> &wasmtime::Engine {
        &self.shared.wasm
    }

    /// The code of the functions that were compiled last.
    pub(super) fn compiled_functions(&self) -> &CompiledFunctions {
        &self.shared.compiled_functions
    }

    /// Makes a pool of idle instances known, so that a call of another function can take a slot from it.
    pub(super) fn register_idle(&self, pool: Weak<dyn EvictIdle>) {
        let mut pools = self.lock_idle_pools();
        pools.retain(|pool| pool.strong_count() > 0);
        pools.push(pool);
    }

    /// Whether an idle instance may keep its slot: no call waits for one.
    pub(super) fn has_room(&self) -> bool {
        self.shared.waiting_for_slot.load(Ordering::Acquire) == 0
    }

    /// How many instances one function may have: half of all, so that no function takes the room of all others.
    pub(super) fn share(&self) -> usize {
        share_of(self.shared.allocation)
    }

    /// A slot for one instance. If all are taken, an idle instance is dropped, and the call waits for a slot.
    pub(super) async fn slot(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(slot) = Arc::clone(&self.shared.slots).try_acquire_owned() {
            return Some(slot);
        }
        let _waiting = WaitingForSlot::new(&self.shared.waiting_for_slot);
        self.evict_one();
        Arc::clone(&self.shared.slots).acquire_owned().await.ok()
    }

    fn evict_one(&self) {
        let pools: Vec<_> = self.lock_idle_pools().iter().filter_map(Weak::upgrade).collect();
        let _ = pools.iter().any(|pool| pool.evict());
    }

    fn lock_idle_pools(&self) -> std::sync::MutexGuard<'_, Vec<Weak<dyn EvictIdle>>> {
        self.shared.idle_pools.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Engine({})", self.shared.allocation)
    }
}

fn share_of(allocation: Allocation) -> usize {
    usize::try_from(allocation.instances() / 2).unwrap_or(usize::MAX).max(1)
}

/// Counts a call that waits for a slot, until it is dropped.
struct WaitingForSlot<'a>(&'a AtomicUsize);

impl<'a> WaitingForSlot<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Self(count)
    }
}

impl Drop for WaitingForSlot<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Makes an engine and instantiates a module, because address space may run out only at that point.
fn probe(allocation: Allocation, compiled_functions: &CompiledFunctions) -> wasmtime::Result<wasmtime::Engine> {
    /// A module with one memory of one page.
    const MODULE: &[u8] = b"\0asm\x01\0\0\0\x05\x03\x01\0\x01";
    let engine = wasmtime::Engine::new(
        config(allocation).enable_incremental_compilation(Arc::new(compiled_functions.clone()))?,
    )?;
    let module = Module::new(&engine, MODULE)?;
    wasmtime::Instance::new(Store::new(&engine, ()), &module, &[])?;
    Ok(engine)
}

fn config(allocation: Allocation) -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .concurrency_support(false)
        .memory_init_cow(true)
        .wasm_memory64(false)
        .wasm_relaxed_simd(false);
    match allocation {
        Allocation::Pooling { instances, reservation_bytes } => {
            config.memory_reservation(reservation_bytes);
            config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(instances)));
        }
        Allocation::OnDemand => {
            config.memory_reservation(0);
            config.memory_reservation_for_growth(1 << 20);
            config.memory_guard_size(64 << 10);
        }
    }
    config
}

fn pool(instances: u32) -> PoolingAllocationConfig {
    // As much for each as one instance may have at most, so that no function takes what others need. Instances of core
    // modules are only counted; memories and tables are address space.
    let mut pool = PoolingAllocationConfig::new();
    let processors = available_parallelism().map_or(1, |count| u32::try_from(count.get()).unwrap_or(u32::MAX));
    pool.total_component_instances(instances)
        .total_core_instances(instances.saturating_mul(limits::INSTANCES_MAX))
        .total_memories(instances.saturating_mul(limits::MEMORIES_MAX))
        .total_tables(instances.saturating_mul(limits::TABLES_MAX))
        .total_stacks(instances)
        .max_memory_size(MEMORY_BYTES_MAX)
        .max_unused_warm_slots(FREE_SLOTS_OF_PROCESSOR.saturating_mul(processors).min(FREE_SLOTS_MAX))
        .linear_memory_keep_resident(MEMORY_KEEP_RESIDENT)
        .table_keep_resident(TABLE_KEEP_RESIDENT)
        .pagemap_scan(Enabled::Auto);
    pool
}

/// The thread that advances the engine's epoch, at which guests check their deadlines. One thread per engine.
///
/// It is not supervised: it calls nothing that panics.
struct EpochThread {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl EpochThread {
    fn start(engine: &wasmtime::Engine) -> std::io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let thread = std::thread::Builder::new().name("roost-epoch".to_owned()).spawn({
            let (engine, stop) = (engine.weak(), Arc::clone(&stop));
            move || {
                while !stop.load(Ordering::Acquire) {
                    std::thread::park_timeout(TICK);
                    let Some(engine) = engine.upgrade() else { break };
                    engine.increment_epoch();
                }
            }
        })?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for EpochThread {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A thread that panicked has ended already.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_allocation_makes_an_engine() {
        for allocation in Allocation::CHOICES {
            let engine = Engine::first_of(&[allocation]).unwrap();
            assert_eq!(engine.allocation(), allocation);
        }
    }

    #[test]
    fn no_function_may_have_all_instances() {
        assert_eq!(Allocation::CHOICES.map(share_of), [256, 32, 128, 16, 32]);
        assert_eq!(share_of(Allocation::pooling(1, 0)), 1, "every function may have one");
    }

    #[test]
    fn a_pool_beyond_the_address_space_is_replaced_by_the_next_choice() {
        let beyond = Allocation::pooling(100_000, 1 << 40);
        let engine = Engine::first_of(&[beyond, Allocation::OnDemand]).unwrap();
        assert_eq!(engine.allocation(), Allocation::OnDemand);
    }

    #[test]
    fn the_epoch_thread_stops_with_the_engine() {
        let engine = Engine::first_of(&[Allocation::OnDemand]).unwrap();
        let stop = Arc::clone(&engine.shared._epoch_thread.stop);
        drop(engine);
        assert_eq!(Arc::strong_count(&stop), 1, "the thread still holds its flag");
    }

    #[tokio::test]
    async fn a_call_without_a_free_slot_takes_one_from_an_idle_instance() {
        struct OneIdle(Mutex<Option<OwnedSemaphorePermit>>);
        impl EvictIdle for OneIdle {
            fn evict(&self) -> bool {
                self.0.lock().unwrap().take().is_some()
            }
        }
        let engine = Engine::first_of(&[Allocation::pooling(1, MEMORY_BYTES_MAX as u64)]).unwrap();
        let idle = Arc::new(OneIdle(Mutex::new(engine.slot().await)));
        let weak: Weak<dyn EvictIdle> = Arc::downgrade(&idle) as Weak<dyn EvictIdle>;
        engine.register_idle(weak);
        assert!(engine.has_room());
        let _slot = engine.slot().await.unwrap();
        assert!(idle.0.lock().unwrap().is_none());
    }
}
