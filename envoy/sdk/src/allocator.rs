// Copyright 2020 Google LLC
//
// Licensed under the Apache License, Version 2.0 (the "License");
// you may not use this file except in compliance with the License.
// You may obtain a copy of the License at
//
//      http://www.apache.org/licenses/LICENSE-2.0
//
// Unless required by applicable law or agreed to in writing, software
// distributed under the License is distributed on an "AS IS" BASIS,
// WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
// See the License for the specific language governing permissions and
// limitations under the License.

use std::cell::Cell;
use std::mem::MaybeUninit;
use std::ptr::null_mut;

thread_local! {
    /// What the next allocation of the host gets, where it fits.
    static LENT: Cell<(*mut u8, usize)> = const { Cell::new((null_mut(), 0)) };
}

/// Makes a host call, and lends it memory for what it returns: what has at most `size` bytes is written
/// to `place`, and anything else to memory of its own, as ever.
///
/// # Safety
///
/// `place` must be valid for writes of `size` bytes until `call` returns, and `call` must make one
/// host call and no more.
pub unsafe fn lending<T>(place: *mut u8, size: usize, call: impl FnOnce() -> T) -> T {
    LENT.set((place, size));
    let returned = call();
    LENT.replace((null_mut(), 0));
    returned
}

#[cfg_attr(
    all(target_arch = "wasm32", target_os = "unknown"),
    export_name = "malloc"
)]
#[cfg_attr(not(all(target_arch = "wasm32", target_os = "unknown")), no_mangle)]
pub extern "C" fn proxy_on_memory_allocate(size: usize) -> *mut u8 {
    let (place, lent) = LENT.replace((null_mut(), 0));
    if !place.is_null() && size <= lent {
        return place;
    }
    let mut vec: Vec<MaybeUninit<u8>> = Vec::with_capacity(size);
    unsafe {
        vec.set_len(size);
    }
    let slice = vec.into_boxed_slice();
    Box::into_raw(slice) as *mut u8
}
