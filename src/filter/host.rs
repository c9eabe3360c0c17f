//! The host calls, all of them. The only file with `unsafe`, and the only one that knows the ABI.
//!
//! The SDK's own wrappers panic on every status that they do not expect, and Envoy has more of
//! them than they do: setting a header that has already gone out is one. A panic costs every
//! request on that worker. So the calls that a request makes are declared here again, and a status
//! that is not `Ok` means "not there" or "not done".
//!
//! Source: <https://github.com/proxy-wasm/spec/tree/main/abi-versions/v0.2.1>, read 2026-11-21.
#![allow(unsafe_code, reason = "host calls cross the boundary of the language")]

use std::ptr::{null, null_mut};

use crate::pairs;
use crate::refusal::LocalReply;

/// Which bytes: the ABI's `BufferType`.
#[derive(Clone, Copy, Debug)]
#[repr(u32)]
pub enum Buffer {
    /// What the request's body has at hand.
    RequestBody = 0,
    /// What the reply's body has at hand.
    ResponseBody = 1,
    /// The plugin's configuration.
    PluginConfiguration = 7,
}

/// Which headers: the ABI's `MapType`.
#[derive(Clone, Copy, Debug)]
#[repr(u32)]
pub enum HeaderMap {
    /// The request's.
    Request = 0,
    /// The reply's.
    Response = 2,
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
    fn proxy_get_property(
        path: *const u8,
        path_size: usize,
        data: *mut *mut u8,
        size: *mut usize,
    ) -> u32;
    fn proxy_get_current_time_nanoseconds(time: *mut u64) -> u32;
    fn proxy_set_property(
        path: *const u8,
        path_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> u32;
    fn proxy_send_local_response(
        status: u32,
        details: *const u8,
        details_size: usize,
        body: *const u8,
        body_size: usize,
        headers: *const u8,
        headers_size: usize,
        grpc_status: i32,
    ) -> u32;
}

/// Bytes `start..start + length` of a buffer, as far as they exist.
pub fn buffer(buffer: Buffer, start: usize, length: usize) -> Vec<u8> {
    // SAFETY: both pointers live for the call.
    received(|data, size| unsafe {
        proxy_get_buffer_bytes(buffer as u32, start, length, data, size)
    })
    .unwrap_or_default()
}

/// Replaces all of a buffer.
pub fn replace(buffer: Buffer, bytes: &[u8]) {
    write(buffer, 0, bytes);
}

/// Replaces all of a buffer by these pieces, one behind the other.
///
/// The host copies each by itself. Only small ones are put together: a call costs as much as
/// copying some kilobytes.
pub fn replace_with_pieces(buffer: Buffer, pieces: &[&[u8]]) {
    let mut start = 0;
    let mut small = Vec::new();
    for piece in pieces {
        if piece.len() <= SMALL_PIECE_BYTES {
            small.extend_from_slice(piece);
            continue;
        }
        if !small.is_empty() {
            write(buffer, start, &small);
            small.clear();
            start = END;
        }
        write(buffer, start, piece);
        start = END;
    }
    if start == 0 || !small.is_empty() {
        write(buffer, start, &small);
    }
}

/// Puts bytes into a buffer: from 0 in place of all, from [`END`] behind all.
fn write(buffer: Buffer, start: usize, bytes: &[u8]) {
    // SAFETY: the host copies `bytes` during the call.
    unsafe {
        proxy_set_buffer_bytes(
            buffer as u32,
            start,
            usize::MAX,
            bytes.as_ptr(),
            bytes.len(),
        )
    };
}

/// All headers, as a [pair list](pairs).
pub fn header_list(map: HeaderMap) -> Vec<u8> {
    // SAFETY: both pointers live for the call.
    received(|data, size| unsafe { proxy_get_header_map_pairs(map as u32, data, size) })
        .unwrap_or_default()
}

/// Sets a header, replacing what it was.
pub fn set_header(map: HeaderMap, name: &str, value: &str) {
    // SAFETY: the host copies both texts during the call.
    unsafe {
        proxy_replace_header_map_value(
            map as u32,
            name.as_ptr(),
            name.len(),
            value.as_ptr(),
            value.len(),
        )
    };
}

/// Removes a header, however often it stands there.
pub fn remove_header(map: HeaderMap, name: &str) {
    // SAFETY: the host copies the name during the call.
    unsafe { proxy_remove_header_map_value(map as u32, name.as_ptr(), name.len()) };
}

/// A property of the request or of its surroundings, where Envoy has it.
pub fn property(path: &[&str]) -> Option<Vec<u8>> {
    let path = path.join("\0");
    // SAFETY: the path and both pointers live for the call.
    received(|data, size| unsafe { proxy_get_property(path.as_ptr(), path.len(), data, size) })
}

/// Sets a property of our own on the request, in Envoy's filter state: the first value stays.
pub fn set_property(path: &[&str], value: &[u8]) {
    let path = path.join("\0");
    // SAFETY: the host copies path and value during the call.
    unsafe { proxy_set_property(path.as_ptr(), path.len(), value.as_ptr(), value.len()) };
}

/// Answers the client, instead of going on.
pub fn reply(reply: &LocalReply) {
    let headers: Vec<(&str, &str)> = reply
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let headers = pairs::encode(&headers);
    let body = reply.body.as_bytes();
    // Empty details are how the rendered configuration tells our replies from Envoy's own.
    // SAFETY: the host copies body and headers during the call.
    unsafe {
        proxy_send_local_response(
            u32::from(reply.status),
            null(),
            0,
            body.as_ptr(),
            body.len(),
            headers.as_ptr(),
            headers.len(),
            NO_GRPC_STATUS,
        )
    };
}

/// The time. Unit: nanoseconds since 1970.
pub fn now() -> u64 {
    let mut time = 0;
    // SAFETY: the pointer lives for the call.
    unsafe { proxy_get_current_time_nanoseconds(&mut time) };
    time
}

/// A variable of the environment that Envoy gives the VM.
pub fn environment_variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// What a host call returns through two out-pointers, where its status is `Ok`.
///
/// The host takes the memory from `proxy_on_memory_allocate`, which the SDK exports: a boxed slice
/// of exactly `size` bytes, that is, a vector of that length and capacity.
fn received(call: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> Option<Vec<u8>> {
    let mut data: *mut u8 = null_mut();
    let mut size = 0;
    if call(&mut data, &mut size) != STATUS_OK {
        return None;
    }
    if data.is_null() {
        return Some(Vec::new());
    }
    // SAFETY: see above; nobody else holds `data`.
    Some(unsafe { Vec::from_raw_parts(data, size, size) })
}

/// Past the end of any buffer, which is where a write appends.
const END: usize = usize::MAX;

/// What is copied rather than handed over by itself.
const SMALL_PIECE_BYTES: usize = 8 << 10;

const STATUS_OK: u32 = 0;
const NO_GRPC_STATUS: i32 = -1;
