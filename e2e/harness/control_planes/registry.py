"""A registry that can be read, and a server of files: what a cluster pulls the module from."""

import functools
import http.server
import json
import pathlib
import ssl
import threading


class Registry:
    """Serves OCI layouts by name, and files by path, in threads of this process.

    `GET /v2/NAME/manifests/REFERENCE` and `/v2/NAME/blobs/DIGEST`, as in
    <https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md>, pulling only.
    """

    def __init__(
        self,
        address: tuple[str, int],
        layouts: dict[str, pathlib.Path],
        files: dict[str, pathlib.Path],
        certificate: pathlib.Path | None = None,
    ):
        self.layouts, self.files = layouts, files
        # The paths that were fetched, with the status of the reply.
        self.fetched: list[tuple[str, int]] = []
        handler = functools.partial(_Handler, self)
        self._server = http.server.ThreadingHTTPServer(address, handler)
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self):
        self._server.shutdown()
        self._server.server_close()

    def find(self, path: str) -> tuple[bytes, str, str | None] | None:
        """What is at `path`: its bytes, its media type, its digest."""
        if path in self.files:
            return self.files[path].read_bytes(), "application/wasm", None
        match path.strip("/").split("/"):
            case ["v2"]:
                return b"{}", "application/json", None
            case ["v2", *name, ("manifests" | "blobs") as what, reference]:
                layout = self.layouts.get("/".join(name))
                return layout and _find_in(layout, what, reference)


def _find_in(layout: pathlib.Path, what: str, reference: str):
    if not reference.startswith("sha256:"):
        index = json.loads((layout / "index.json").read_text())
        tags = {
            it["annotations"]["org.opencontainers.image.ref.name"]: it["digest"]
            for it in index["manifests"]
        }
        reference = tags.get(reference, "")
    file = layout / "blobs/sha256" / reference.removeprefix("sha256:")
    if not file.is_file():
        return None
    body = file.read_bytes()
    kind = "application/octet-stream"
    if what == "manifests":
        kind = json.loads(body).get("mediaType", "application/vnd.oci.image.manifest.v1+json")
    return body, kind, reference


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, registry: Registry, *arguments):
        self._registry = registry
        super().__init__(*arguments)

    def do_GET(self):
        found = self._registry.find(self.path.partition("?")[0])
        body, kind, digest = found or (b'{"errors":[{"code":"NAME_UNKNOWN"}]}', "application/json", None)
        status = 200 if found else 404
        self._registry.fetched.append((self.path, status))
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        if digest:
            self.send_header("docker-content-digest", digest)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, *_):
        pass
