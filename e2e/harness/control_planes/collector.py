"""A collector of Zipkin's spans."""

import http.server
import json
import threading

# Where it listens.
COLLECTOR = ("127.0.0.5", 9411)


class Collector:
    """Takes lists of spans in JSON, as in <https://zipkin.io/zipkin-api/#/default/post_spans>."""

    def __init__(self, address: tuple[str, int] = COLLECTOR):
        spans = self.spans = []

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                spans.extend(json.loads(_body(self)))
                self.send_response(202)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(address, Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self):
        self._server.shutdown()
        self._server.server_close()


def _body(request: http.server.BaseHTTPRequestHandler) -> bytes:
    """The body of a request, also in chunks: Envoy sends its spans so."""
    if "chunked" not in request.headers.get("transfer-encoding", ""):
        return request.rfile.read(int(request.headers.get("content-length", 0)))
    body = b""
    while size := int(request.rfile.readline().partition(b";")[0], 16):
        body += request.rfile.read(size)
        request.rfile.readline()
    while request.rfile.readline().strip():
        pass
    return body
