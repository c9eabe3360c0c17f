"""The module: the host functions that it may call, and no others."""

from harness import artefacts

# What `src/filter/host.rs` calls by itself, and what the SDK does: logging, the calls for access
# tokens, and the answers to callbacks.
ENVOY = {
    "proxy_call_foreign_function",
    "proxy_define_metric",
    "proxy_get_buffer_bytes",
    "proxy_get_current_time_nanoseconds",
    "proxy_get_header_map_pairs",
    "proxy_get_property",
    "proxy_get_shared_data",
    "proxy_increment_metric",
    "proxy_record_metric",
    "proxy_remove_header_map_value",
    "proxy_replace_header_map_value",
    "proxy_send_local_response",
    "proxy_set_buffer_bytes",
    "proxy_set_effective_context",
    "proxy_set_property",
    "proxy_set_shared_data",
    "proxy_set_tick_period_milliseconds",
}
SDK = {"proxy_done", "proxy_http_call", "proxy_log"}
# Default methods of the SDK's traits call these; nothing of ours calls those methods.
UNUSED = {
    "proxy_add_header_map_value",
    "proxy_close_stream",
    "proxy_continue_stream",
    "proxy_dequeue_shared_queue",
    "proxy_enqueue_shared_queue",
    "proxy_get_header_map_value",
    "proxy_get_status",
    "proxy_grpc_call",
    "proxy_grpc_cancel",
    "proxy_grpc_close",
    "proxy_grpc_send",
    "proxy_grpc_stream",
    "proxy_register_shared_queue",
    "proxy_resolve_shared_queue",
    "proxy_set_header_map_pairs",
}
# The standard library: environment variables, a message before an abort, and the seed of hash maps.
WASI = {"environ_get", "environ_sizes_get", "fd_write", "proc_exit", "random_get"}


def imports(module: bytes) -> set[tuple[str, str]]:
    """The functions that a module imports, as module and name."""
    assert module[:8] == b"\0asm\x01\0\0\0"
    at = 8

    def number() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = module[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    def name() -> str:
        nonlocal at
        length = number()
        at += length
        return module[at - length : at].decode()

    found = set()
    while at < len(module):
        section = module[at]
        at += 1
        length = number()
        end = at + length
        if section == 2:
            for _ in range(number()):
                entry = (name(), name())
                kind = module[at]
                at += 1
                assert kind == 0, f"{entry} is no function"
                number()
                found.add(entry)
            assert at == end
        at = end
    return found


def test_the_module_imports_no_more_than_it_may_call():
    allowed = {("env", name) for name in ENVOY | SDK | UNUSED}
    allowed |= {("wasi_snapshot_preview1", name) for name in WASI}
    found = imports(artefacts.module().read_bytes())
    assert found == allowed
