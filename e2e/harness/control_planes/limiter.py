"""A service that counts for Envoy's rate limits."""

from .grpc import Service, field, fields

# Where it listens, unless a test says where.
LIMITER = ("127.0.0.6", 8081)
OK, OVER_LIMIT = 1, 2


class Limiter(Service):
    """Counts for each set of entries, and refuses those whose count is beyond `limit`.

    Messages are those of `envoy.service.ratelimit.v3`; their fields are numbered as in
    <https://github.com/envoyproxy/envoy/blob/v1.40.0/api/envoy/service/ratelimit/v3/rls.proto>.
    """

    def __init__(self, limit: int, address: tuple[str, int] = LIMITER):
        self.limit = limit
        # By the values of the entries.
        self.counts: dict[tuple[str, ...], int] = {}
        super().__init__(address, self._decide)

    def _decide(self, message: bytes) -> bytes:
        code = OK
        for descriptor in fields(message, 2):
            values = tuple(fields(entry, 2)[0].decode() for entry in fields(descriptor, 1))
            # RateLimitDescriptor.hits_addend is a message around a number, in which 0 is absent.
            addends = [sum(fields(it, 1)) for it in fields(descriptor, 3)] or fields(message, 4) or [1]
            self.counts[values] = self.counts.get(values, 0) + addends[0]
            if self.counts[values] > self.limit:
                code = OVER_LIMIT
        return field(1, code)
