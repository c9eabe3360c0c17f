"""A guard by Envoy's external processing: a gRPC service that reads the headers of each request."""

from .grpc import Service, field, fields

# Where it listens, unless a test says where.
PROCESSOR = ("127.0.0.5", 9001)


class Processor(Service):
    """Lets a request with `x-guard: good` pass, and answers any other with 403.

    Messages are those of `envoy.service.ext_proc.v3`; the few fields of them are numbered as in
    <https://github.com/envoyproxy/envoy/blob/v1.40.0/api/envoy/service/ext_proc/v3/external_processor.proto>.
    """

    def __init__(self, address: tuple[str, int] = PROCESSOR):
        super().__init__(address, _answer)


def _answer(message: bytes) -> bytes:
    # ProcessingRequest.request_headers, HttpHeaders.headers, HeaderMap.headers.
    for request in fields(message, 2):
        for headers in fields(request, 1):
            for header in fields(headers, 1):
                values = [*fields(header, 2), *fields(header, 3)]
                if fields(header, 1) == [b"x-guard"] and b"good" in values:
                    # ProcessingResponse.request_headers: nothing is to be changed.
                    return field(1, b"")
    # ProcessingResponse.immediate_response, ImmediateResponse.status, HttpStatus.code.
    return field(7, field(1, field(1, 403)))
