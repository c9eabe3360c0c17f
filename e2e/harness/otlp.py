"""An OpenTelemetry collector: OTLP/HTTP and OTLP/gRPC on one port, read with the official types."""

import gzip
import socket
import threading

import h2.config
import h2.connection
import h2.events
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from .artefacts import GUARD_SECONDS

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
KINDS = {
    "/v1/logs": ("logs", ExportLogsServiceRequest),
    "/v1/metrics": ("metrics", ExportMetricsServiceRequest),
    "/v1/traces": ("traces", ExportTraceServiceRequest),
    "/opentelemetry.proto.collector.logs.v1.LogsService/Export": ("logs", ExportLogsServiceRequest),
    "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export": (
        "metrics",
        ExportMetricsServiceRequest,
    ),
    "/opentelemetry.proto.collector.trace.v1.TraceService/Export": (
        "traces",
        ExportTraceServiceRequest,
    ),
}


class Collector:
    """Stores each export request. One that does not parse as its type fails the test that reads it."""

    def __init__(self):
        self._lock = threading.Lock()
        self._exports = {"logs": [], "metrics": [], "traces": []}
        self.headers: list[dict[str, str]] = []
        self.faults: list[str] = []
        # All bytes of all bodies, to look for what may not be in them.
        self.raw = b""
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self):
        self._socket.close()

    def spans(self) -> list[dict]:
        """Every span, with its attributes, and those of its resource below `resource`."""
        return [
            {
                "name": span.name,
                "kind": Span.SpanKind.Name(span.kind),
                "trace": span.trace_id.hex(),
                "id": span.span_id.hex(),
                "parent": span.parent_span_id.hex(),
                "status": span.status.code,
                "attributes": plain(span.attributes),
                "resource": plain(resource.resource.attributes),
            }
            for export in self.exports("traces")
            for resource in export.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def logs(self) -> list[dict]:
        """Every record of the access log."""
        return [
            {
                "body": record.body.string_value,
                "trace": record.trace_id.hex(),
                "attributes": plain(record.attributes),
                "resource": plain(resource.resource.attributes),
            }
            for export in self.exports("logs")
            for resource in export.resource_logs
            for scope in resource.scope_logs
            for record in scope.log_records
        ]

    def metrics(self) -> dict[str, list]:
        """By name the points of the newest export that has the metric: attributes and value."""
        found = {}
        for export in self.exports("metrics"):
            newest: dict[str, list] = {}
            for resource in export.resource_metrics:
                for scope in resource.scope_metrics:
                    for metric in scope.metrics:
                        data = getattr(metric, metric.WhichOneof("data"))
                        points = newest.setdefault(metric.name, [])
                        points += [(plain(point.attributes), point) for point in data.data_points]
            found.update(newest)
        return found

    def exports(self, kind: str) -> list:
        with self._lock:
            assert not self.faults, self.faults
            return list(self._exports[kind])

    def _accept(self):
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket):
        try:
            connection.settimeout(GUARD_SECONDS)
            start = connection.recv(3, socket.MSG_PEEK)
            if start == PREFACE[:3]:
                self._serve_grpc(connection)
            else:
                self._serve_http(connection)
        except OSError:
            # Envoy has ended, or closes an idle connection.
            pass
        except Exception as error:  # noqa: BLE001
            self.faults.append(repr(error))
        finally:
            connection.close()

    def _serve_http(self, connection: socket.socket):
        file = connection.makefile("rb")
        while line := file.readline():
            method, path, _ = line.decode().split(" ", 2)
            headers = {}
            while (line := file.readline().strip()):
                name, value = line.decode().split(":", 1)
                headers[name.lower()] = value.strip()
            if "content-length" in headers:
                body = file.read(int(headers["content-length"]))
            else:
                body = b""
                while size := int(file.readline().strip() or b"0", 16):
                    body += file.read(size)
                    file.readline()
                file.readline()
            assert method == "POST", method
            assert headers["content-type"] == "application/x-protobuf", headers
            self._take(path, headers, body)
            answer = b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n"
            connection.sendall(answer)

    def _serve_grpc(self, connection: socket.socket):
        state = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        state.initiate_connection()
        connection.sendall(state.data_to_send())
        heads: dict[int, dict[str, str]] = {}
        # Of each stream what has not yet been taken. A stream of logs has many messages.
        bodies: dict[int, bytes] = {}
        while data := connection.recv(65536):
            for event in state.receive_data(data):
                if isinstance(event, h2.events.RequestReceived):
                    decode = lambda it: it.decode() if isinstance(it, bytes) else it  # noqa: E731
                    heads[event.stream_id] = {decode(n): decode(v) for n, v in event.headers}
                    bodies[event.stream_id] = b""
                elif isinstance(event, h2.events.DataReceived):
                    state.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                    head = heads[event.stream_id]
                    rest = bodies[event.stream_id] + event.data
                    while len(rest) >= 5 and len(rest) >= 5 + int.from_bytes(rest[1:5]):
                        length = int.from_bytes(rest[1:5])
                        message = rest[5 : 5 + length]
                        if rest[0]:
                            message = gzip.decompress(message)
                        self._take(head[":path"], head, message)
                        rest = rest[5 + length :]
                    bodies[event.stream_id] = rest
                elif isinstance(event, h2.events.StreamEnded):
                    answer = [(":status", "200"), ("content-type", "application/grpc")]
                    state.send_headers(event.stream_id, answer)
                    state.send_data(event.stream_id, b"\0\0\0\0\0")
                    state.send_headers(event.stream_id, [("grpc-status", "0")], end_stream=True)
            connection.sendall(state.data_to_send())

    def _take(self, path: str, headers: dict[str, str], body: bytes):
        kind, message = KINDS[path.removeprefix("/base")]
        parsed = message.FromString(body)
        with self._lock:
            self.raw += body
            self.headers.append({**headers, ":path": path})
            self._exports[kind].append(parsed)


def plain(attributes) -> dict:
    """Attributes as Python has them."""
    return {it.key: getattr(it.value, it.value.WhichOneof("value")) for it in attributes}
