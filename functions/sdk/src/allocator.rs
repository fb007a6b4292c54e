//! The allocator of functions: it hands out consecutive addresses, and reuses freed blocks by size class.
//!
//! A call frees everything it allocated by its end (the host frees the reply last), so a count of live blocks tells
//! when the next call can start at the base again. A fresh instance never searches, a reused one never grows from call
//! to call, and both start in the space between the program's data and the end of the initial memory, which costs no
//! system call. Most calls need little memory and end soon, so the first 16 KiB of blocks are not reused. Beyond them a
//! freed block serves the next allocation of its size class, so that a call of many rounds needs the memory of one
//! round.

use std::cell::Cell;

/// A range of addresses that can grow at its end.
trait Region {
    /// The first usable address.
    fn base(&self) -> usize;
    /// One past the last usable address.
    fn end(&self) -> usize;
    /// Makes everything up to this address usable; `false` if it cannot.
    fn grow(&self, end: usize) -> bool;
    /// Reads the number at the address of a free block.
    fn read(&self, address: usize) -> usize;
    /// Writes a number to the address of a free block.
    fn write(&self, address: usize, value: usize);
}

/// The bytes that a call can use before blocks are reused.
const FIRST: usize = 16 * 1024;
/// The address and the size of every block are a multiple of this.
const UNIT: usize = 16;
/// Up to this size there is one class for each unit, beyond it four classes for each doubling: at most a fifth of a
/// block is unused.
const SMALL: usize = 64;
/// There is no class for blocks of more than 64 MiB, which no function may allocate.
const CLASSES: usize = 4 + 20 * 4;

/// A size class, and the size of its blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct SizeClass {
    index: usize,
    size: usize,
}

impl SizeClass {
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

/// Hands out the addresses of a region.
struct Arena<R> {
    region: R,
    /// The address at which the next block can start; 0 stands for the base.
    next: Cell<usize>,
    /// The number of allocated blocks.
    live: Cell<usize>,
    /// The first free block of each class, which holds the address of the next one; 0 for none.
    free: [Cell<usize>; CLASSES],
    /// From this class on, none has a free block.
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

    /// Allocates a block. Not inlined, like `free` and `resize`: a component has thousands of places that allocate.
    #[inline(never)]
    fn allocate(&self, size: usize, align: usize) -> Option<usize> {
        // Alignments are powers of two, so a mask replaces a division.
        let mask = align.max(UNIT) - 1;
        let address = self.next.get().max(self.region.base()).checked_add(mask)? & !mask;
        if !self.is_first(address)
            && align <= UNIT
            && let Some(block) = self.reuse(size)
        {
            return Some(block);
        }
        self.end_at(address.checked_add(self.footprint(address, size)?)?)?;
        self.live.set(self.live.get() + 1);
        Some(address)
    }

    /// Takes a free block of the size class.
    fn reuse(&self, size: usize) -> Option<usize> {
        let head = self.free.get(SizeClass::of(size)?.index)?;
        let address = head.get();
        if address == 0 {
            return None;
        }
        head.set(self.region.read(address));
        self.live.set(self.live.get() + 1);
        Some(address)
    }

    /// Whether a block at this address is among the first blocks, which are not reused.
    fn is_first(&self, address: usize) -> bool {
        address < self.region.base() + FIRST
    }

    /// The bytes that a block occupies.
    fn footprint(&self, address: usize, size: usize) -> Option<usize> {
        if self.is_first(address) {
            size.max(1).checked_next_multiple_of(UNIT)
        } else {
            SizeClass::of(size).map(|class| class.size)
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
            && let Some(class) = SizeClass::of(size)
            && let Some(head) = self.free.get(class.index)
        {
            self.region.write(address, head.replace(address));
            self.free_end.set(self.free_end.get().max(class.index + 1));
        }
    }

    /// Resizes a block in place; `false` if that is not possible.
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
#[allow(unsafe_code, reason = "an allocator turns addresses into pointers, which has no safe form")]
mod wasm {
    use core::arch::wasm32::{memory_grow, memory_size};
    use std::alloc::{GlobalAlloc, Layout};
    use std::ptr;

    use super::{Arena, Region};

    const PAGE: usize = 64 * 1024;

    #[global_allocator]
    static ALLOCATOR: Arena<LinearMemory> = Arena::new(LinearMemory);

    unsafe extern "C" {
        /// The end of the program's data and stack, placed there by the linker.
        static __heap_base: u8;
    }

    /// The memory from `__heap_base` to its end.
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
            // Grow by at least half, so that a large answer costs few system calls, or by what is missing if a limit is
            // closer than that.
            [missing.max(memory_size::<0>() / 2), missing]
                .into_iter()
                .any(|pages| memory_grow::<0>(pages) != usize::MAX)
        }

        fn read(&self, address: usize) -> usize {
            // SAFETY: called only for a free block: it is within the memory, aligned to a unit, and was written to when
            // it became free.
            unsafe { ptr::with_exposed_provenance::<usize>(address).read() }
        }

        fn write(&self, address: usize, value: usize) {
            // SAFETY: called only for a block that was just freed: it is within the memory, aligned to a unit, and
            // unused.
            unsafe { ptr::with_exposed_provenance_mut::<usize>(address).write(value) }
        }
    }

    // SAFETY: a component's instance has one thread, and this allocator exists only there.
    unsafe impl Sync for Arena<LinearMemory> {}

    // SAFETY: `Arena` hands out addresses above the program's own data, within existing memory and aligned as
    // requested, and none twice while it is allocated: a block comes from the free list of its class, where only `free`
    // puts it, or from `next`, which is at or above the end of every block, and moves down only to the start of the
    // newest block when that is freed or, when no block is allocated, to the base.
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
            // SAFETY: the blocks do not overlap, and both are at least this long.
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
    const END_MAX: usize = 65_536;

    struct Addresses {
        end: Cell<usize>,
        contents: RefCell<BTreeMap<usize, usize>>,
    }

    impl Region for Addresses {
        fn base(&self) -> usize {
            BASE
        }

        fn end(&self) -> usize {
            self.end.get()
        }

        fn grow(&self, end: usize) -> bool {
            let fits = end <= END_MAX;
            if fits {
                self.end.set(end);
            }
            fits
        }

        fn read(&self, address: usize) -> usize {
            self.contents.borrow()[&address]
        }

        fn write(&self, address: usize, value: usize) {
            self.contents.borrow_mut().insert(address, value);
        }
    }

    fn arena() -> Arena<Addresses> {
        Arena::new(Addresses { end: Cell::new(2_048), contents: RefCell::default() })
    }

    #[test]
    fn every_size_has_a_class_that_fits_it_closely() {
        let mut before = SizeClass { index: 0, size: UNIT };
        for size in 1..200_000 {
            let class = SizeClass::of(size).unwrap();
            assert!(class.size >= size && class.size.is_multiple_of(UNIT), "{size}: {class:?}");
            assert!(size <= SMALL || class.size - size <= size / 4, "{size}: {class:?}");
            assert!(class == before || (class.index == before.index + 1 && class.size > before.size), "{size}");
            before = class;
        }
        assert!(SizeClass::of(64 << 20).is_some());
        assert_eq!(SizeClass::of(usize::MAX), None);
    }

    #[test]
    fn blocks_are_consecutive_aligned_and_do_not_overlap() {
        let arena = arena();
        assert_eq!(arena.allocate(3, 1), Some(BASE));
        assert_eq!(arena.allocate(17, 8), Some(BASE + 16));
        assert_eq!(arena.allocate(1, 64), Some(1_088));
        assert_eq!(arena.region.end(), 2_048, "the region does not grow while there is room");
    }

    #[test]
    fn allocation_restarts_at_the_base_when_no_block_is_left() {
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
    fn a_call_of_many_rounds_needs_the_memory_of_one_round() {
        let arena = arena();
        let kept = arena.allocate(8, 8).unwrap();
        for _ in 0..1_000 {
            let round: Vec<usize> = (0..20).map(|_| arena.allocate(40, 8).unwrap()).collect();
            round.iter().for_each(|block| arena.free(*block, 40));
        }
        assert!(arena.region.end() < BASE + FIRST + 21 * 48, "{}", arena.region.end());
        arena.free(kept, 8);
        assert_eq!(arena.allocate(40, 8), Some(BASE), "no free list outlives the call");
    }

    #[test]
    fn the_newest_block_is_freed_and_resized_in_place() {
        let arena = arena();
        let first = arena.allocate(16, 8).unwrap();
        let newest = arena.allocate(16, 8).unwrap();
        assert!(arena.resize(newest, 16, 640));
        assert!(!arena.resize(first, 16, 64), "another block follows it");
        assert!(arena.resize(first, 16, 8), "a block can always shrink in place");
        arena.free(newest, 640);
        assert_eq!(arena.allocate(1, 1), Some(newest));
    }

    #[test]
    fn allocation_fails_when_the_region_cannot_grow() {
        let arena = arena();
        let block = arena.allocate(40_000, 1).unwrap();
        assert_eq!(arena.allocate(40_000, 1), None);
        assert!(!arena.resize(block, 40_000, 80_000));
        assert_eq!(arena.allocate(usize::MAX, 1), None);
        assert!(arena.allocate(100, 1).is_some(), "a failed allocation changes nothing");
    }

    proptest! {
        /// For any sequence of allocations, frees and resizes.
        #[test]
        fn allocated_blocks_never_overlap(steps in prop::collection::vec((0_usize..3, 1_usize..3_000, 0_u32..6), 1..200)) {
            let arena = arena();
            let mut live: Vec<(usize, usize)> = Vec::new();
            for (step, size, align) in steps {
                match step {
                    0 if !live.is_empty() => {
                        let (address, size) = live.swap_remove(size % live.len());
                        arena.free(address, size);
                    }
                    1 if !live.is_empty() => {
                        let index = align as usize % live.len();
                        let (address, old) = live[index];
                        if arena.resize(address, old, size) {
                            live[index] = (address, size);
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
