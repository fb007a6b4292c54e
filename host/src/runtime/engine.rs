//! The one wasmtime engine of a process: its allocator, its ticker, and the slots that instances live in.
//!
//! It knows nothing of functions. Where address space is limited it falls back to smaller pools and then to
//! allocation on demand: a start never fails because of that.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime::{
    Config, Enabled, InstanceAllocationStrategy, Module, PoolingAllocationConfig, Store, WasmBacktraceDetails,
};

/// The resolution of deadlines, and how long a busy guest keeps its thread to itself.
const TICK: Duration = Duration::from_millis(4);
/// No linear memory grows beyond this, whatever a function is allowed.
pub const MEMORY_BYTES_MAX: usize = 64 << 20;
/// Core modules of one component: its own, and the two that wire its imports.
const CORE_INSTANCES_PER_COMPONENT: u32 = 4;
/// Reset by copying and kept, instead of given back to the kernel, after each instance.
const MEMORY_KEEP_RESIDENT: usize = 1 << 20;
const TABLE_KEEP_RESIDENT: usize = 16 << 10;
/// Address space of one memory that makes bounds checks needless.
const RESERVATION: u64 = 4 << 30;
/// Instances at once when the allocator sets no bound.
const ON_DEMAND_INSTANCES: u32 = 64;

/// How instances get their memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "strategy")]
pub enum Allocation {
    /// From slots prepared at the start.
    Pooling {
        /// Instances at once.
        instances: u32,
        /// Address space of each memory.
        reservation_bytes: u64,
    },
    /// From the kernel, each time: slower.
    OnDemand,
}

impl Allocation {
    /// From the best to the one that needs least.
    const LADDER: [Self; 5] = [
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

/// Why there is no engine.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// Not even with the smallest needs.
    #[error("wasmtime does not start here: {0}")]
    Wasmtime(String),
    /// No thread for the ticker.
    #[error("no thread for the engine's ticker: {0}")]
    Ticker(#[from] std::io::Error),
}

/// Whatever keeps idle instances, and can give one up.
pub(super) trait Evict: Send + Sync {
    /// Drops one idle instance; `false`: there is none.
    fn evict(&self) -> bool;
}

/// The engine of a process. Cheap to clone; the ticker stops with the last clone.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    wasm: wasmtime::Engine,
    allocation: Allocation,
    slots: Arc<Semaphore>,
    /// Calls that wait for a slot; while there are any, nobody keeps an idle instance.
    starving: AtomicUsize,
    idle: Mutex<Vec<Weak<dyn Evict>>>,
    /// Stops when it is dropped, after everything above stopped using it.
    _ticker: Ticker,
}

impl Engine {
    /// The best engine that works here. Says in the log which one that is.
    pub fn new() -> Result<Self, EngineError> {
        Self::with(&Allocation::LADDER)
    }

    fn with(ladder: &[Allocation]) -> Result<Self, EngineError> {
        let mut refused = String::from("nothing was tried");
        for (rung, allocation) in ladder.iter().enumerate() {
            match probe(*allocation) {
                Ok(wasm) => {
                    if rung == 0 {
                        tracing::debug!(%allocation, "engine started");
                    } else {
                        tracing::warn!(%allocation, %refused, "engine started with less than it likes");
                    }
                    return Self::started(wasm, *allocation);
                }
                Err(error) => refused = format!("{error:#}"),
            }
        }
        Err(EngineError::Wasmtime(refused))
    }

    fn started(wasm: wasmtime::Engine, allocation: Allocation) -> Result<Self, EngineError> {
        let ticker = Ticker::start(&wasm)?;
        let slots = usize::try_from(allocation.instances()).unwrap_or(usize::MAX);
        Ok(Self {
            inner: Arc::new(Inner {
                wasm,
                allocation,
                slots: Arc::new(Semaphore::new(slots)),
                starving: AtomicUsize::new(0),
                idle: Mutex::default(),
                _ticker: ticker,
            }),
        })
    }

    /// How instances get their memory.
    pub fn allocation(&self) -> Allocation {
        self.inner.allocation
    }

    pub(super) fn wasm(&self) -> &wasmtime::Engine {
        &self.inner.wasm
    }

    /// Whoever keeps idle instances tells so here, so that others do not starve.
    pub(super) fn register_idle(&self, pool: Weak<dyn Evict>) {
        let mut pools = self.lock_idle();
        pools.retain(|pool| pool.strong_count() > 0);
        pools.push(pool);
    }

    /// Whether an idle instance may keep its slot.
    pub(super) fn has_room(&self) -> bool {
        self.inner.starving.load(Ordering::Acquire) == 0
    }

    /// A slot for one instance. Waits when all are taken; idle instances give theirs up.
    pub(super) async fn slot(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(slot) = Arc::clone(&self.inner.slots).try_acquire_owned() {
            return Some(slot);
        }
        let _starving = Starving::new(&self.inner.starving);
        self.evict_one();
        Arc::clone(&self.inner.slots).acquire_owned().await.ok()
    }

    fn evict_one(&self) {
        let pools: Vec<_> = self.lock_idle().iter().filter_map(Weak::upgrade).collect();
        let _ = pools.iter().any(|pool| pool.evict());
    }

    fn lock_idle(&self) -> std::sync::MutexGuard<'_, Vec<Weak<dyn Evict>>> {
        self.inner.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Engine({})", self.inner.allocation)
    }
}

/// One more call that waits for a slot.
struct Starving<'a>(&'a AtomicUsize);

impl<'a> Starving<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Self(count)
    }
}

impl Drop for Starving<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Makes the engine and uses it once, because address space may run out only then.
fn probe(allocation: Allocation) -> wasmtime::Result<wasmtime::Engine> {
    /// A module with one memory of one page.
    const MODULE: &[u8] = b"\0asm\x01\0\0\0\x05\x03\x01\0\x01";
    let engine = wasmtime::Engine::new(&config(allocation))?;
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
        .wasm_backtrace_details(WasmBacktraceDetails::Enable)
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
    let core = instances.saturating_mul(CORE_INSTANCES_PER_COMPONENT);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        .total_core_instances(core)
        .total_memories(instances.saturating_mul(2))
        .total_tables(core)
        .total_stacks(instances)
        .max_memory_size(MEMORY_BYTES_MAX)
        .linear_memory_keep_resident(MEMORY_KEEP_RESIDENT)
        .table_keep_resident(TABLE_KEEP_RESIDENT)
        .pagemap_scan(Enabled::Auto);
    pool
}

/// Advances the engine's epoch, so that guests look at their deadlines. One thread per engine.
struct Ticker {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    fn start(engine: &wasmtime::Engine) -> std::io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let thread = std::thread::Builder::new().name("roost-ticker".to_owned()).spawn({
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

impl Drop for Ticker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A ticker that panicked has nothing left to stop.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rung_of_the_ladder_makes_an_engine() {
        for allocation in Allocation::LADDER {
            let engine = Engine::with(&[allocation]).unwrap();
            assert_eq!(engine.allocation(), allocation);
        }
    }

    #[test]
    fn a_pool_beyond_the_address_space_falls_back() {
        let beyond = Allocation::pooling(100_000, 1 << 40);
        let engine = Engine::with(&[beyond, Allocation::OnDemand]).unwrap();
        assert_eq!(engine.allocation(), Allocation::OnDemand);
    }

    #[test]
    fn the_ticker_stops_with_the_engine() {
        let engine = Engine::with(&[Allocation::OnDemand]).unwrap();
        let stop = Arc::clone(&engine.inner._ticker.stop);
        drop(engine);
        assert_eq!(Arc::strong_count(&stop), 1, "the thread has let go of it");
    }

    #[tokio::test]
    async fn a_call_that_finds_no_slot_takes_an_idle_one() {
        struct Idle(Mutex<Option<OwnedSemaphorePermit>>);
        impl Evict for Idle {
            fn evict(&self) -> bool {
                self.0.lock().unwrap().take().is_some()
            }
        }
        let engine = Engine::with(&[Allocation::pooling(1, MEMORY_BYTES_MAX as u64)]).unwrap();
        let idle = Arc::new(Idle(Mutex::new(engine.slot().await)));
        let weak: Weak<dyn Evict> = Arc::downgrade(&idle) as Weak<dyn Evict>;
        engine.register_idle(weak);
        assert!(engine.has_room());
        let _slot = engine.slot().await.unwrap();
        assert!(idle.0.lock().unwrap().is_none());
    }
}
