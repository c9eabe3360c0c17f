//! An allocator that knows how much memory a piece of work had at once.
//!
//! It counts as the module's own allocator would: a block has a head of four bytes, and a multiple of
//! eight in all. A block that grows is counted as moved: old and new are there at once, which is the
//! worst that can happen.
#![allow(unsafe_code, reason = "an allocator hands out memory")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// Counts what a thread has and has had at most.
pub struct Counting;

thread_local! {
    /// Unit: bytes. It may be below zero: what one thread has made, another may free.
    static NOW: Cell<isize> = const { Cell::new(0) };
    static MOST: Cell<isize> = const { Cell::new(0) };
}

/// The most that `work` had at once beyond what there was before, and what it gave. Unit: bytes.
pub fn most_of<T>(work: impl FnOnce() -> T) -> (usize, T) {
    let before = NOW.get();
    MOST.set(before);
    let done = work();
    (usize::try_from(MOST.get() - before).unwrap_or(0), done)
}

fn cost(size: usize) -> isize {
    isize::try_from((size + 4).next_multiple_of(8).max(16)).unwrap_or(isize::MAX)
}

fn add(size: isize) {
    // There is no thread-local memory any more when a thread ends.
    let _ = NOW.try_with(|now| {
        now.set(now.get() + size);
        let _ = MOST.try_with(|most| most.set(most.get().max(now.get())));
    });
}

// SAFETY: everything is left to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add(cost(layout.size()));
        // SAFETY: the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        add(cost(layout.size()));
        // SAFETY: the caller's.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        add(-cost(layout.size()));
        // SAFETY: the caller's.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        add(cost(size));
        add(-cost(layout.size()));
        // SAFETY: the caller's.
        unsafe { System.realloc(place, layout, size) }
    }
}
