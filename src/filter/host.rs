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
use std::time::Duration;

use proxy_wasm::{allocator, hostcalls};

use crate::moment::Moment;
use crate::pairs;
use crate::protobuf;
use crate::refusal::LocalReply;
use crate::shared::{Expected, Version};

/// Which bytes: the ABI's `BufferType`.
#[derive(Clone, Copy, Debug)]
#[repr(u32)]
pub enum Buffer {
    /// What the request's body has at hand.
    RequestBody = 0,
    /// What the reply's body has at hand.
    ResponseBody = 1,
    /// The body of the reply to a [`call`].
    CallReplyBody = 4,
    /// The plugin's configuration.
    PluginConfiguration = 7,
}

/// Which headers: the ABI's `MapType`.
#[derive(Clone, Copy, Debug)]
#[repr(u32)]
pub enum HeaderMap {
    /// The request's.
    Request = 0,
    /// The request's trailers.
    RequestTrailers = 1,
    /// The reply's.
    Response = 2,
    /// The reply's trailers.
    ResponseTrailers = 3,
    /// Those of the reply to a [`call`].
    CallReply = 6,
}

/// What a metric does: the ABI's `MetricType`.
#[derive(Clone, Copy, Debug)]
#[repr(u32)]
pub enum MetricType {
    /// It only rises.
    Counter = 0,
    /// It rises and falls.
    Gauge = 1,
    /// It counts values by size.
    Histogram = 2,
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
    fn proxy_get_shared_data(
        key: *const u8,
        key_size: usize,
        data: *mut *mut u8,
        size: *mut usize,
        cas: *mut u32,
    ) -> u32;
    fn proxy_set_shared_data(
        key: *const u8,
        key_size: usize,
        value: *const u8,
        value_size: usize,
        cas: u32,
    ) -> u32;
    fn proxy_define_metric(kind: u32, name: *const u8, name_size: usize, id: *mut u32) -> u32;
    fn proxy_increment_metric(id: u32, by: i64) -> u32;
    fn proxy_record_metric(id: u32, value: u64) -> u32;
    fn proxy_set_tick_period_milliseconds(period: u32) -> u32;
    fn proxy_set_effective_context(context: u32) -> u32;
    fn proxy_call_foreign_function(
        name: *const u8,
        name_size: usize,
        argument: *const u8,
        argument_size: usize,
        data: *mut *mut u8,
        size: *mut usize,
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
    // Envoy often tells the end of a body by itself, and a call costs also where there is nothing.
    if length == 0 {
        return Vec::new();
    }
    // SAFETY: both pointers live for the call.
    received(|data, size| unsafe {
        proxy_get_buffer_bytes(buffer as u32, start, length, data, size)
    })
    .unwrap_or_default()
}

/// Appends bytes `start..start + length` of a buffer, as far as they exist and `into` has room for them:
/// it does not grow.
pub fn append(buffer: Buffer, start: usize, length: usize, into: &mut Vec<u8>) {
    let room = into.spare_capacity_mut();
    let (place, length) = (room.as_mut_ptr().cast(), length.min(room.len()));
    if length == 0 {
        return;
    }
    let mut data: *mut u8 = null_mut();
    let mut size = 0;
    // SAFETY: both pointers live for the call, and `place` has room for `length` bytes that nobody else
    // writes.
    let status = unsafe {
        allocator::lending(place, length, || {
            proxy_get_buffer_bytes(buffer as u32, start, length, &mut data, &mut size)
        })
    };
    if status != STATUS_OK || data.is_null() || size > length {
        return;
    }
    if data == place {
        // SAFETY: the host has written `size` bytes behind those that there were, and there was room.
        unsafe { into.set_len(into.len() + size) };
        return;
    }
    // SAFETY: the memory is not what was lent, so it is what `received` gets.
    into.extend(unsafe { Vec::from_raw_parts(data, size, size) });
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

/// Replaces the first `length` bytes of a buffer, and leaves what is behind them.
pub fn replace_front(buffer: Buffer, length: usize, bytes: &[u8]) {
    // SAFETY: the host copies `bytes` during the call.
    unsafe { proxy_set_buffer_bytes(buffer as u32, 0, length, bytes.as_ptr(), bytes.len()) };
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

/// Lets a property of our own on requests change. For all requests of the plugin, before the first.
///
/// Source: `DeclarePropertyArguments` in
/// <https://github.com/envoyproxy/envoy/blob/v1.40.0/source/extensions/common/wasm/ext/declare_property.proto>:
/// field 1 is the name, and what is absent is `false` in `readonly`.
pub fn declare_variable(name: &str) {
    let mut arguments = Vec::new();
    protobuf::write_bytes(&mut arguments, 1, name.as_bytes());
    call_foreign_function("declare_property", &arguments);
}

/// Lets a property of our own be a text that changes, which stays until the request was logged. For all
/// requests of the plugin, before the first.
///
/// Source: see [`declare_variable`]; field 3 is the type, of which 1 is a text, and field 5 how long it
/// stays, of which 1 is the request.
pub fn declare_text(name: &str) {
    let mut arguments = Vec::new();
    protobuf::write_bytes(&mut arguments, 1, name.as_bytes());
    arguments.extend_from_slice(&[3 << 3, 1, 5 << 3, 1]);
    call_foreign_function("declare_property", &arguments);
}

/// Defines a metric, or finds the one that has the name. Gives its number in this VM.
pub fn define_metric(kind: MetricType, name: &str) -> Option<u32> {
    let mut id = 0;
    // SAFETY: the name and the pointer live for the call.
    let status = unsafe { proxy_define_metric(kind as u32, name.as_ptr(), name.len(), &mut id) };
    (status == STATUS_OK).then_some(id)
}

/// Adds to a counter or a gauge.
pub fn increment_metric(id: u32, by: i64) {
    // SAFETY: there are no pointers.
    unsafe { proxy_increment_metric(id, by) };
}

/// Records a value of a histogram.
pub fn record_metric(id: u32, value: u64) {
    // SAFETY: there are no pointers.
    unsafe { proxy_record_metric(id, value) };
}

/// Sets a property of our own on the request, in Envoy's filter state: the first value stays, unless
/// it was [declared](declare_variable) to change.
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

/// The time.
pub fn now() -> Moment {
    let mut time = 0;
    // SAFETY: the pointer lives for the call.
    unsafe { proxy_get_current_time_nanoseconds(&mut time) };
    Moment::from_nanos(time)
}

/// What all plugins with this `vm_id` share, on every worker: a value and its version.
pub fn shared_data(key: &str) -> Option<(Vec<u8>, Version)> {
    let mut version = 0;
    // SAFETY: the key and the pointers live for the call.
    let value = received(|data, size| unsafe {
        proxy_get_shared_data(key.as_ptr(), key.len(), data, size, &mut version)
    })?;
    Some((value, Version(version)))
}

/// Shares a value, unless `expected` does not hold. Gives whether it did.
pub fn set_shared_data(key: &str, value: &[u8], expected: Expected) -> bool {
    let version = match expected {
        Expected::Absent => NO_VERSION,
        Expected::Anything => 0,
        Expected::Version(Version(version)) => version,
    };
    // SAFETY: the host copies key and value during the call.
    let status = unsafe {
        proxy_set_shared_data(
            key.as_ptr(),
            key.len(),
            value.as_ptr(),
            value.len(),
            version,
        )
    };
    status == STATUS_OK
}

/// From now on the plugin's root context is called whenever this time has passed; `None`: never.
pub fn set_tick_period(period: Option<Duration>) {
    let millis = period.map_or(0, |period| period.as_millis().max(1));
    // SAFETY: there are no pointers.
    unsafe { proxy_set_tick_period_milliseconds(u32::try_from(millis).unwrap_or(u32::MAX)) };
}

/// Lets the calls that follow, until the host calls the module again, be about this context.
pub fn set_effective_context(context: u32) {
    // SAFETY: there are no pointers.
    unsafe { proxy_set_effective_context(context) };
}

/// Starts an HTTP call to a cluster. What it gives is told again when the reply is there, or when
/// there is none: then it has no headers. `None`: it was not started, for example since Envoy does
/// not have the cluster.
///
/// This one is the SDK's: it panics on a reply to a call that it does not know of. Of the statuses
/// that it does not expect, Envoy 1.37 to 1.40 has none.
pub fn call(
    cluster: &str,
    headers: Vec<(&str, &str)>,
    body: &[u8],
    timeout: Duration,
) -> Option<u32> {
    let body = (!body.is_empty()).then_some(body);
    hostcalls::dispatch_http_call(cluster, headers, body, Vec::new(), timeout).ok()
}

/// Calls a function that Envoy has under this name, where it has it.
pub fn call_foreign_function(name: &str, argument: &[u8]) -> Option<Vec<u8>> {
    // SAFETY: name, argument and both pointers live for the call.
    received(|data, size| unsafe {
        proxy_call_foreign_function(
            name.as_ptr(),
            name.len(),
            argument.as_ptr(),
            argument.len(),
            data,
            size,
        )
    })
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

/// The module's version as tools for modules show it: the custom section `version`, in UTF-8. It
/// stands here because only with `unsafe` can a section be named.
///
/// Source: <https://docs.rs/wasm-metadata/latest/wasm_metadata/struct.Version.html>, read 2026-11-21.
#[used]
#[unsafe(link_section = "version")]
static VERSION_SECTION: [u8; VERSION.len()] = match VERSION.as_bytes().first_chunk() {
    Some(bytes) => *bytes,
    // It has that length.
    None => [b'?'; VERSION.len()],
};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Past the end of any buffer, which is where a write appends.
const END: usize = usize::MAX;

/// What is copied rather than handed over by itself.
const SMALL_PIECE_BYTES: usize = 8 << 10;

const STATUS_OK: u32 = 0;

/// A version that no value has. Envoy compares versions only where there is a value: setting with
/// this one makes a value, and changes none.
const NO_VERSION: u32 = u32::MAX;

const NO_GRPC_STATUS: i32 = -1;
