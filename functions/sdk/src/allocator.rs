//! The allocator of a function: it hands out one address after the other, and starts over when nothing is left.
//!
//! A call takes what it needs and gives all of it back in the end (the host frees the reply last), so a count of live
//! blocks is all the bookkeeping there is: at zero the next call begins at the base again. A fresh instance never
//! searches a free list, a reused one never grows from call to call, and both begin in the space that lies between
//! the program's data and the end of the first memory, which costs no system call. What is freed in the middle
//! of a call is not handed out again in that call, except the newest block.

use std::cell::Cell;

/// A stretch of addresses that can grow at its end.
trait Region {
    /// The first address.
    fn base(&self) -> usize;
    /// One past the last usable address.
    fn end(&self) -> usize;
    /// Makes everything up to this address usable; `false` if it cannot.
    fn grow(&self, end: usize) -> bool;
}

/// Hands out a region's addresses, without ever touching what they hold.
struct Bump<R> {
    region: R,
    /// Where the next block may begin; 0 stands for the base.
    next: Cell<usize>,
    /// Blocks handed out and not given back.
    live: Cell<usize>,
}

impl<R: Region> Bump<R> {
    const fn new(region: R) -> Self {
        Self { region, next: Cell::new(0), live: Cell::new(0) }
    }

    /// The address of a new block.
    fn allocate(&self, size: usize, align: usize) -> Option<usize> {
        let address = self.next.get().max(self.region.base()).checked_next_multiple_of(align)?;
        self.end_at(address.checked_add(size)?)?;
        self.live.set(self.live.get() + 1);
        Some(address)
    }

    fn free(&self, address: usize, size: usize) {
        self.live.set(self.live.get().saturating_sub(1));
        if self.live.get() == 0 {
            self.next.set(0);
        } else if self.is_newest(address, size) {
            self.next.set(address);
        }
    }

    /// Whether the block could be given its new size where it is.
    fn resize(&self, address: usize, size: usize, new_size: usize) -> bool {
        if self.is_newest(address, size) {
            address.checked_add(new_size).and_then(|end| self.end_at(end)).is_some()
        } else {
            new_size <= size
        }
    }

    fn is_newest(&self, address: usize, size: usize) -> bool {
        address + size == self.next.get()
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

    use super::{Bump, Region};

    const PAGE: usize = 64 * 1024;

    #[global_allocator]
    static ALLOCATOR: Bump<LinearMemory> = Bump::new(LinearMemory);

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
    }

    // SAFETY: a component's instance has one thread, and this allocator exists only there.
    unsafe impl Sync for Bump<LinearMemory> {}

    // SAFETY: `Bump` hands out addresses above the program's own data, within memory that is there, aligned as asked,
    // and none twice while it is live: `next` lies at or above the end of every live block, moves down only to
    // the begin of the newest one or, when none is live, to the base.
    unsafe impl GlobalAlloc for Bump<LinearMemory> {
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
    use super::*;

    const BASE: usize = 1_000;
    const MOST: usize = 4_096;

    struct Addresses(Cell<usize>);

    impl Region for Addresses {
        fn base(&self) -> usize {
            BASE
        }

        fn end(&self) -> usize {
            self.0.get()
        }

        fn grow(&self, end: usize) -> bool {
            let fits = end <= MOST;
            if fits {
                self.0.set(end);
            }
            fits
        }
    }

    fn bump() -> Bump<Addresses> {
        Bump::new(Addresses(Cell::new(2_048)))
    }

    #[test]
    fn blocks_follow_each_other_aligned_and_apart() {
        let bump = bump();
        assert_eq!(bump.allocate(3, 1), Some(BASE));
        assert_eq!(bump.allocate(8, 8), Some(1_008));
        assert_eq!(bump.allocate(1, 64), Some(1_024));
        assert_eq!(bump.allocate(1, 1), Some(1_025));
        assert_eq!(bump.region.end(), 2_048, "nothing grows while there is room");
    }

    #[test]
    fn it_starts_over_when_nothing_is_left() {
        let bump = bump();
        for _ in 0..1_000 {
            let (a, b) = (bump.allocate(100, 4).unwrap(), bump.allocate(500, 4).unwrap());
            bump.free(a, 100);
            bump.free(b, 500);
        }
        assert_eq!(bump.allocate(1, 1), Some(BASE));
        assert_eq!(bump.region.end(), 2_048);
    }

    #[test]
    fn a_live_block_is_never_handed_out_again() {
        let bump = bump();
        let (a, b) = (bump.allocate(100, 1).unwrap(), bump.allocate(100, 1).unwrap());
        bump.free(a, 100);
        assert_eq!(bump.allocate(10, 1), Some(b + 100));
    }

    #[test]
    fn the_newest_block_is_taken_back_and_resized_where_it_is() {
        let bump = bump();
        let first = bump.allocate(16, 8).unwrap();
        let newest = bump.allocate(16, 8).unwrap();
        assert!(bump.resize(newest, 16, 64));
        assert!(!bump.resize(first, 16, 64), "something stands behind it");
        assert!(bump.resize(first, 16, 8), "it may always shrink");
        bump.free(newest, 64);
        assert_eq!(bump.allocate(1, 1), Some(newest));
    }

    #[test]
    fn it_grows_to_its_bound_and_then_says_no() {
        let bump = bump();
        let block = bump.allocate(MOST - BASE - 1, 1).unwrap();
        assert_eq!(bump.region.end(), MOST - 1);
        assert_eq!(bump.allocate(2, 1), None);
        assert!(!bump.resize(block, MOST - BASE - 1, MOST));
        assert_eq!(bump.allocate(usize::MAX, 1), None);
        assert_eq!(bump.allocate(1, 1), Some(MOST - 1), "a refusal changes nothing");
    }
}
