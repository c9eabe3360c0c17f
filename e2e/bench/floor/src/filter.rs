//! The filter.
#![allow(unsafe_code, reason = "host calls cross the boundary of the language")]

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ptr::null_mut;

/// What the requests are like that the filter stands for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The body passes, and the model is written where it begins. All parts are read.
    Passed,
    /// Request and reply are read as a whole, and written anew.
    Translated,
}

thread_local! {
    static KIND: Cell<Kind> = const { Cell::new(Kind::Passed) };
    /// What is held of requests: how long they are, and what has arrived.
    static HELD: RefCell<HashMap<u32, (usize, Vec<u8>)>> = RefCell::default();
}

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_get_buffer_bytes(
        buffer: u32,
        start: usize,
        length: usize,
        data: *mut *mut u8,
        size: *mut usize,
    ) -> u32;
    fn proxy_set_buffer_bytes(
        buffer: u32,
        start: usize,
        length: usize,
        data: *const u8,
        size: usize,
    ) -> u32;
    fn proxy_get_header_map_pairs(map: u32, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_replace_header_map_value(
        map: u32,
        key: *const u8,
        key_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> u32;
    fn proxy_remove_header_map_value(map: u32, key: *const u8, key_size: usize) -> u32;
}

fn received(call: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> Vec<u8> {
    let (mut data, mut size) = (null_mut(), 0);
    if call(&mut data, &mut size) != 0 || data.is_null() {
        return Vec::new();
    }
    // SAFETY: the host got the memory from `proxy_on_memory_allocate`.
    unsafe { Vec::from_raw_parts(data, size, size) }
}

fn read(buffer: u32, length: usize) -> Vec<u8> {
    // SAFETY: both pointers live for the call.
    received(|data, size| unsafe { proxy_get_buffer_bytes(buffer, 0, length, data, size) })
}

fn write(buffer: u32, length: usize, bytes: &[u8]) {
    // SAFETY: the host copies the bytes during the call.
    unsafe { proxy_set_buffer_bytes(buffer, 0, length, bytes.as_ptr(), bytes.len()) };
}

fn headers(map: u32) -> Vec<u8> {
    // SAFETY: both pointers live for the call.
    received(|data, size| unsafe { proxy_get_header_map_pairs(map, data, size) })
}

fn set(map: u32, name: &str, value: &[u8]) {
    // SAFETY: the host copies both during the call.
    unsafe {
        proxy_replace_header_map_value(map, name.as_ptr(), name.len(), value.as_ptr(), value.len())
    };
}

fn remove(map: u32, name: &str) {
    // SAFETY: the host copies the name during the call.
    unsafe { proxy_remove_header_map_value(map, name.as_ptr(), name.len()) };
}

/// The value of a header in a list of them.
fn value<'l>(list: &'l [u8], name: &str) -> &'l [u8] {
    let name = [b"\0", name.as_bytes(), b"\0"].concat();
    let place = list.windows(name.len()).position(|it| it == name);
    let rest = place.and_then(|place| list.get(place + name.len()..));
    let mut rest = rest.unwrap_or_default().split(|byte| *byte == 0);
    rest.next().unwrap_or_default()
}

fn length(list: &[u8]) -> usize {
    let digits = value(list, "content-length").iter();
    digits.fold(0, |length, digit| 10 * length + usize::from(digit - b'0'))
}

#[unsafe(no_mangle)]
extern "C" fn proxy_abi_version_0_2_1() {}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_memory_allocate(size: usize) -> *mut u8 {
    let mut memory = Vec::<u8>::with_capacity(size);
    let place = memory.as_mut_ptr();
    std::mem::forget(memory);
    place
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_configure(_: u32, size: usize) -> u32 {
    const PLUGIN_CONFIGURATION: u32 = 7;
    if read(PLUGIN_CONFIGURATION, size) == br#""translated""# {
        KIND.set(Kind::Translated);
    }
    1
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_context_create(_: u32, _: u32) {}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_headers(context: u32, _: u32, _: u32) -> u32 {
    let list = headers(REQUEST);
    set(REQUEST, ":authority", value(&list, ":authority"));
    set(REQUEST, "authorization", value(&list, "authorization"));
    remove(REQUEST, "x-none");
    remove(REQUEST, "x-not-there-either");
    if KIND.get() == Kind::Translated {
        set(REQUEST, ":path", value(&list, ":path"));
        set(REQUEST, "user-agent", value(&list, "user-agent"));
        HELD.with_borrow_mut(|held| held.insert(context, (length(&list), Vec::new())));
    }
    PAUSE
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_body(context: u32, size: usize, _: u32) -> u32 {
    if size == 0 {
        return CONTINUE;
    }
    let part = read(REQUEST, size);
    if KIND.get() == Kind::Passed {
        // The first part is that which begins as an object does.
        if part.first() == Some(&b'{') {
            let front = part.get(..FRONT_BYTES).unwrap_or(&part);
            write(REQUEST, front.len(), front);
        }
        return CONTINUE;
    }
    HELD.with_borrow_mut(|held| {
        let Some((length, body)) = held.get_mut(&context) else {
            return CONTINUE;
        };
        body.extend(part);
        if body.len() < *length {
            write(REQUEST, usize::MAX, &[]);
            return PAUSE_WITHOUT_BUFFER;
        }
        set(REQUEST, "content-length", length.to_string().as_bytes());
        write(REQUEST, usize::MAX, body);
        held.remove(&context);
        CONTINUE
    })
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_response_headers(_: u32, _: u32, _: u32) -> u32 {
    let list = headers(RESPONSE_HEADERS);
    if KIND.get() == Kind::Translated {
        set(RESPONSE_HEADERS, ":status", value(&list, ":status"));
    }
    CONTINUE
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_response_body(_: u32, size: usize, _: u32) -> u32 {
    if size > 0 && KIND.get() == Kind::Translated {
        let part = read(RESPONSE, size);
        write(RESPONSE, usize::MAX, &part);
    }
    CONTINUE
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_done(_: u32) -> u32 {
    1
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_delete(context: u32) {
    HELD.with_borrow_mut(|held| held.remove(&context));
}

// The ABI's numbers: <https://github.com/proxy-wasm/spec/tree/main/abi-versions/v0.2.1>.
const REQUEST: u32 = 0;
const RESPONSE: u32 = 1;
const RESPONSE_HEADERS: u32 = 2;
const CONTINUE: u32 = 0;
const PAUSE: u32 = 1;
const PAUSE_WITHOUT_BUFFER: u32 = 3;

/// About where a `model` that stands first has ended.
const FRONT_BYTES: usize = 64;
