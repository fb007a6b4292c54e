//! The allocator of a function: one address after the other, and what is given back is handed out again by size.
//!
//! A call gives everything back in the end (the host frees the reply last), so a count of live blocks tells when the
//! next call can begin at the base again. A fresh instance never searches, a reused one never grows from call to call,
//! and both begin in the space that lies between the program's data and the end of the first memory, which costs no
//! system call. Most calls need little and are soon over: the first blocks are not handed out again. Beyond them a block
//! that was freed serves the next one of its size class, so that a call which works in many rounds needs the memory of one.

use std::cell::Cell;

/// A stretch of addresses that can grow at its end.
trait Region {
    /// The first address.
    fn base(&self) -> usize;
    /// One past the last usable address.
    fn end(&self) -> usize;
    /// Makes everything up to this address usable; `false` if it cannot.
    fn grow(&self, end: usize) -> bool;
    /// The number at an address of a block that nobody uses.
    fn read(&self, address: usize) -> usize;
    /// Puts a number there.
    fn write(&self, address: usize, value: usize);
}

/// As much as a call may use before blocks are handed out again.
const FIRST: usize = 16 * 1024;
/// What every block's address and size are a multiple of.
const UNIT: usize = 16;
/// Up to here a class for each unit, beyond four classes for each doubling: at most a fifth of a block is lost.
const SMALL: usize = 64;
/// Blocks beyond 64 MiB, which no function may have, would have no class.
const CLASSES: usize = 4 + 20 * 4;

/// A class of sizes and the size of its blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Class {
    index: usize,
    size: usize,
}

impl Class {
    const fn of(size: usize) -> Option<Self> {
        if size <= SMALL {
            let units = if size == 0 { 1 } else { size.div_ceil(UNIT) };
            return Some(Self { index: units - 1, size: units * UNIT });
        }
        let doubling = (size - 1).ilog2();
        let quarter = ((size - 1) >> (doubling - 2)) & 3;
        let index = 4 + (doubling as usize - 6) * 4 + quarter;
        if index >= CLASSES {
            return None;
        }
        Some(Self { index, size: (1 << doubling) + ((quarter + 1) << (doubling - 2)) })
    }
}

/// Hands out a region's addresses.
struct Arena<R> {
    region: R,
    /// Where the next block may begin; 0 stands for the base.
    next: Cell<usize>,
    /// Blocks handed out and not given back.
    live: Cell<usize>,
    /// The newest free block of each class, which holds the address of the one before; 0: none.
    free: [Cell<usize>; CLASSES],
    /// No class from here on has a free block.
    free_end: Cell<usize>,
}

impl<R: Region> Arena<R> {
    const fn new(region: R) -> Self {
        Self {
            region,
            next: Cell::new(0),
            live: Cell::new(0),
            free: [const { Cell::new(0) }; CLASSES],
            free_end: Cell::new(0),
        }
    }

    /// The address of a new block. Not inlined, as below: a function has thousands of places that allocate.
    #[inline(never)]
    fn allocate(&self, size: usize, align: usize) -> Option<usize> {
        // Alignments are powers of two: a mask, where the general way would divide.
        let beyond = align.max(UNIT) - 1;
        let address = self.next.get().max(self.region.base()).checked_add(beyond)? & !beyond;
        if !self.is_first(address)
            && align <= UNIT
            && let Some(again) = self.again(size)
        {
            return Some(again);
        }
        self.end_at(address.checked_add(self.footprint(address, size)?)?)?;
        self.live.set(self.live.get() + 1);
        Some(address)
    }

    /// A block that was given back.
    fn again(&self, size: usize) -> Option<usize> {
        let head = self.free.get(Class::of(size)?.index)?;
        let address = head.get();
        if address == 0 {
            return None;
        }
        head.set(self.region.read(address));
        self.live.set(self.live.get() + 1);
        Some(address)
    }

    /// Whether a block at this address is one of the first.
    fn is_first(&self, address: usize) -> bool {
        address < self.region.base() + FIRST
    }

    /// How far a block reaches.
    fn footprint(&self, address: usize, size: usize) -> Option<usize> {
        if self.is_first(address) {
            size.max(1).checked_next_multiple_of(UNIT)
        } else {
            Class::of(size).map(|class| class.size)
        }
    }

    #[inline(never)]
    fn free(&self, address: usize, size: usize) {
        self.live.set(self.live.get().saturating_sub(1));
        if self.live.get() == 0 {
            self.next.set(0);
            self.free.iter().take(self.free_end.take()).for_each(|head| head.set(0));
            return;
        }
        if self.footprint(address, size).is_some_and(|footprint| address + footprint == self.next.get()) {
            self.next.set(address);
        } else if !self.is_first(address)
            && let Some(class) = Class::of(size)
            && let Some(head) = self.free.get(class.index)
        {
            self.region.write(address, head.replace(address));
            self.free_end.set(self.free_end.get().max(class.index + 1));
        }
    }

    /// Whether the block could be given its new size where it is.
    #[inline(never)]
    fn resize(&self, address: usize, size: usize, new_size: usize) -> bool {
        let (Some(old), Some(new)) = (self.footprint(address, size), self.footprint(address, new_size)) else {
            return false;
        };
        if address + old == self.next.get() {
            address.checked_add(new).and_then(|end| self.end_at(end)).is_some()
        } else {
            new <= old
        }
    }

    fn end_at(&self, end: usize) -> Option<()> {
        if end > self.region.end() && !self.region.grow(end) {
            return None;
        }
        self.next.set(end);
        Some(())
    }
}

#[cfg(target_family = "wasm")]
#[allow(unsafe_code, reason = "an allocator turns addresses into pointers; there is no safe way to be one")]
mod wasm {
    use core::arch::wasm32::{memory_grow, memory_size};
    use std::alloc::{GlobalAlloc, Layout};
    use std::ptr;

    use super::{Arena, Region};

    const PAGE: usize = 64 * 1024;

    #[global_allocator]
    static ALLOCATOR: Arena<LinearMemory> = Arena::new(LinearMemory);

    unsafe extern "C" {
        /// Where the program's data and stack end: the linker puts it there.
        static __heap_base: u8;
    }

    /// From `__heap_base` to the end of the first memory.
    struct LinearMemory;

    impl Region for LinearMemory {
        fn base(&self) -> usize {
            (&raw const __heap_base).addr()
        }

        fn end(&self) -> usize {
            memory_size::<0>() * PAGE
        }

        fn grow(&self, end: usize) -> bool {
            let missing = end.div_ceil(PAGE) - memory_size::<0>();
            // By half at least, so that a large answer costs few system calls; a limit may be closer than that.
            [missing.max(memory_size::<0>() / 2), missing]
                .into_iter()
                .any(|pages| memory_grow::<0>(pages) != usize::MAX)
        }

        fn read(&self, address: usize) -> usize {
            // SAFETY: only of a free block: within the memory, aligned to a unit, and written to when it became free.
            unsafe { ptr::with_exposed_provenance::<usize>(address).read() }
        }

        fn write(&self, address: usize, value: usize) {
            // SAFETY: only to a block that has just been given back: within the memory, aligned to a unit, nobody's.
            unsafe { ptr::with_exposed_provenance_mut::<usize>(address).write(value) }
        }
    }

    // SAFETY: a component's instance has one thread, and this allocator exists only there.
    unsafe impl Sync for Arena<LinearMemory> {}

    // SAFETY: `Arena` hands out addresses above the program's own data, within memory that is there, aligned as asked,
    // and none twice while it is live: a block comes from its class's free ones, where only `free` puts it, or from
    // `next`, which lies at or above the end of every block, and moves down only to the begin of the newest one when
    // that is given back or, when none is live, to the base.
    unsafe impl GlobalAlloc for Arena<LinearMemory> {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            self.allocate(layout.size(), layout.align()).map_or(ptr::null_mut(), ptr::with_exposed_provenance_mut)
        }

        unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
            self.free(block.addr(), layout.size());
        }

        unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
            if self.resize(block.addr(), layout.size(), new_size) {
                return block;
            }
            let Some(address) = self.allocate(new_size, layout.align()) else {
                return ptr::null_mut();
            };
            let moved = ptr::with_exposed_provenance_mut::<u8>(address);
            // SAFETY: the new block is not the old one, and both are at least so long.
            unsafe { ptr::copy_nonoverlapping(block, moved, layout.size().min(new_size)) };
            self.free(block.addr(), layout.size());
            moved
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    const BASE: usize = 1_008;
    const MOST: usize = 65_536;

    struct Addresses {
        end: Cell<usize>,
        held: RefCell<BTreeMap<usize, usize>>,
    }

    impl Region for Addresses {
        fn base(&self) -> usize {
            BASE
        }

        fn end(&self) -> usize {
            self.end.get()
        }

        fn grow(&self, end: usize) -> bool {
            let fits = end <= MOST;
            if fits {
                self.end.set(end);
            }
            fits
        }

        fn read(&self, address: usize) -> usize {
            self.held.borrow()[&address]
        }

        fn write(&self, address: usize, value: usize) {
            self.held.borrow_mut().insert(address, value);
        }
    }

    fn arena() -> Arena<Addresses> {
        Arena::new(Addresses { end: Cell::new(2_048), held: RefCell::default() })
    }

    #[test]
    fn every_size_has_the_class_that_holds_it_closely() {
        let mut before = Class { index: 0, size: UNIT };
        for size in 1..200_000 {
            let class = Class::of(size).unwrap();
            assert!(class.size >= size && class.size.is_multiple_of(UNIT), "{size}: {class:?}");
            assert!(size <= SMALL || class.size - size <= size / 4, "{size}: {class:?}");
            assert!(class == before || (class.index == before.index + 1 && class.size > before.size), "{size}");
            before = class;
        }
        assert!(Class::of(64 << 20).is_some());
        assert_eq!(Class::of(usize::MAX), None);
    }

    #[test]
    fn blocks_follow_each_other_aligned_and_apart() {
        let arena = arena();
        assert_eq!(arena.allocate(3, 1), Some(BASE));
        assert_eq!(arena.allocate(17, 8), Some(BASE + 16));
        assert_eq!(arena.allocate(1, 64), Some(1_088));
        assert_eq!(arena.region.end(), 2_048, "nothing grows while there is room");
    }

    #[test]
    fn it_starts_over_when_nothing_is_left() {
        let arena = arena();
        for _ in 0..1_000 {
            let (a, b) = (arena.allocate(100, 4).unwrap(), arena.allocate(500, 4).unwrap());
            arena.free(a, 100);
            arena.free(b, 500);
        }
        assert_eq!(arena.allocate(1, 1), Some(BASE));
        assert_eq!(arena.region.end(), 2_048);
    }

    #[test]
    fn rounds_of_one_call_need_the_memory_of_one() {
        let arena = arena();
        let kept = arena.allocate(8, 8).unwrap();
        for _ in 0..1_000 {
            let round: Vec<usize> = (0..20).map(|_| arena.allocate(40, 8).unwrap()).collect();
            round.iter().for_each(|block| arena.free(*block, 40));
        }
        assert!(arena.region.end() < BASE + FIRST + 21 * 48, "{}", arena.region.end());
        arena.free(kept, 8);
        assert_eq!(arena.allocate(40, 8), Some(BASE), "no list outlives the call");
    }

    #[test]
    fn the_newest_block_is_taken_back_and_resized_where_it_is() {
        let arena = arena();
        let first = arena.allocate(16, 8).unwrap();
        let newest = arena.allocate(16, 8).unwrap();
        assert!(arena.resize(newest, 16, 640));
        assert!(!arena.resize(first, 16, 64), "something stands behind it");
        assert!(arena.resize(first, 16, 8), "it may always shrink");
        arena.free(newest, 640);
        assert_eq!(arena.allocate(1, 1), Some(newest));
    }

    #[test]
    fn it_grows_to_its_bound_and_then_says_no() {
        let arena = arena();
        let block = arena.allocate(40_000, 1).unwrap();
        assert_eq!(arena.allocate(40_000, 1), None);
        assert!(!arena.resize(block, 40_000, 80_000));
        assert_eq!(arena.allocate(usize::MAX, 1), None);
        assert!(arena.allocate(100, 1).is_some(), "a refusal changes nothing");
    }

    proptest! {
        /// Whatever is asked for and given back in whatever order.
        #[test]
        fn live_blocks_never_overlap(steps in prop::collection::vec((0_usize..3, 1_usize..3_000, 0_u32..6), 1..200)) {
            let arena = arena();
            let mut live: Vec<(usize, usize)> = Vec::new();
            for (step, size, align) in steps {
                match step {
                    0 if !live.is_empty() => {
                        let (address, size) = live.swap_remove(size % live.len());
                        arena.free(address, size);
                    }
                    1 if !live.is_empty() => {
                        let place = align as usize % live.len();
                        let (address, old) = live[place];
                        if arena.resize(address, old, size) {
                            live[place] = (address, size);
                        }
                    }
                    _ => if let Some(address) = arena.allocate(size, 1 << align) {
                        prop_assert_eq!(address % (1 << align), 0);
                        live.push((address, size));
                    }
                }
                let mut sorted = live.clone();
                sorted.sort_unstable();
                for pair in sorted.windows(2) {
                    prop_assert!(pair[0].0 + pair[0].1 <= pair[1].0, "{:?}", pair);
                }
                prop_assert!(sorted.iter().all(|(address, size)| *address >= BASE && address + size <= arena.region.end()));
            }
        }
    }
}
