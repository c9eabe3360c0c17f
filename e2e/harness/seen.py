"""What a client sends, and all that a provider sees of it; the table is in `docs/kubernetes.md`."""

# What is the client's own, and passes.
PASSES = [
    ("user-agent", "agent/1"),
    ("accept", "*/*"),
    ("accept-language", "de"),
    ("origin", "https://app.example.com"),
    ("referer", "https://app.example.com/"),
    ("te", "trailers"),
    ("x-own", "kept"),
    ("x-stainless-lang", "python"),
]
# What is not for a provider: keys, where the client is, what steers, and traces.
STAYS = [
    ("authorization", "Bearer client"),
    ("x-api-key", "client"),
    ("cookie", "a=b"),
    ("openai-organization", "client"),
    ("x-forwarded-for", "192.0.2.1"),
    ("x-forwarded-host", "gateway.test"),
    ("x-forwarded-proto", "https"),
    ("forwarded", "for=192.0.2.1"),
    ("via", "1.1 proxy"),
    ("x-real-ip", "192.0.2.1"),
    ("x-envoy-max-retries", "9"),
    ("x-envoy-original-path", "/other"),
    ("x-llm-proxy-backend", "other"),
    ("x-request-id", "client"),
    ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    ("tracestate", "a=b"),
    ("b3", "0"),
    ("x-b3-traceid", "463ac35c9f6413ad"),
    ("baggage", "a=b"),
    ("x-amzn-trace-id", "Root=1"),
    ("x-cloud-trace-context", "1/2"),
    ("x-datadog-trace-id", "1"),
    ("uber-trace-id", "1"),
]
SENT = [*PASSES, *STAYS]
# How the message is delimited, and where it goes, in each version of HTTP.
FRAMING = ("content-length", "host", "transfer-encoding")


def assert_seen(arrived, *own: tuple[str, str], without: tuple[str, ...] = ()):
    """A provider got the client's own headers, of those in `SENT`, and `own`, and not one more.

    `without` are names that this provider's dialect takes out.
    """
    headers = {it for it in arrived.headers if it[0] not in FRAMING}
    passes = [it for it in PASSES if it[0] not in without]
    expected = {*passes, ("content-type", "application/json"), *own}
    assert headers == expected, {"more": headers - expected, "missing": expected - headers}
    assert len(headers) == len([it for it in arrived.headers if it[0] not in FRAMING]), "each is there once"
