//! What the module reports of each request, and how Envoy's configuration reads it: values in Envoy's
//! filter state for logs and traces, and metrics.
//!
//! # Filter state
//!
//! The module sets a [`StateKey`] when it knows the value. Of a pool, the last attempt's value stays. All
//! are declared as texts, so that Envoy can log a number as a number:
//!
//! ```text
//!   text     %FILTER_STATE(wasm.llm_proxy.request_model:PLAIN)%
//!   number   %TYPED_CEL(int(filter_state['wasm.llm_proxy.input_tokens']))%
//! ```
//!
//! A key that was not set is `null` in a JSON log. What Envoy knows itself is not repeated: the route's name,
//! the backend and the provider (metadata of the upstream host), the number of attempts, the duration, and
//! what stands in headers of the reply ([`REQUEST_ID_HEADER`], [`ADAPTED_HEADER`](super::ADAPTED_HEADER)).
//!
//! # Metrics
//!
//! Proxy-wasm's metrics have a name and nothing else, so a label is a part of the name,
//! `NAME;op=chat;provider=openai`, and `stats_tags` of Envoy take it out again: [`Tag::regex`].
//!
//! * Histograms of Envoy take whole numbers, so durations are in milliseconds.
//! * The sum of a histogram is an estimate in Envoy (two digits are kept), so exact totals are counters.

/// A value that the module puts into Envoy's filter state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateKey {
    /// The name that the module uses; Envoy puts `wasm.` before it.
    pub name: &'static str,
    /// The key in the JSON access log.
    pub log_key: &'static str,
    /// Whether the text is that of a whole number.
    pub is_number: bool,
}

impl StateKey {
    const fn text(name: &'static str, log_key: &'static str) -> Self {
        Self {
            name,
            log_key,
            is_number: false,
        }
    }

    const fn number(name: &'static str, log_key: &'static str) -> Self {
        Self {
            name,
            log_key,
            is_number: true,
        }
    }

    /// The name as Envoy has it.
    pub fn in_envoy(&self) -> String {
        format!("wasm.{}", self.name)
    }

    /// What gives the value as text in Envoy's configuration.
    pub fn as_text(&self) -> String {
        format!("%FILTER_STATE({}:PLAIN)%", self.in_envoy())
    }

    /// What gives it in a JSON log: a number as a number.
    pub fn as_json(&self) -> String {
        match self.is_number {
            true => format!("%TYPED_CEL(int(filter_state['{}']))%", self.in_envoy()),
            false => self.as_text(),
        }
    }
}

/// What is requested, in the words of OpenTelemetry's `gen_ai.operation.name`.
pub const OPERATION: StateKey = StateKey::text("llm_proxy.operation", "operation");
/// The call of the client's API, such as `chat_completions` or `messages`.
pub const CLIENT_API: StateKey = StateKey::text("llm_proxy.client_api", "client_api");
/// The model that the client requested.
pub const REQUEST_MODEL: StateKey = StateKey::text("llm_proxy.request_model", "request_model");
/// The model that was requested of the provider.
pub const SENT_MODEL: StateKey = StateKey::text("llm_proxy.sent_model", "sent_model");
/// The model that the provider says has answered.
pub const RESPONSE_MODEL: StateKey = StateKey::text("llm_proxy.response_model", "response_model");
/// All of the input, cached parts included. Unit: tokens.
pub const INPUT_TOKENS: StateKey = StateKey::number("llm_proxy.input_tokens", "input_tokens");
/// All of the output, reasoning included. Unit: tokens.
pub const OUTPUT_TOKENS: StateKey = StateKey::number("llm_proxy.output_tokens", "output_tokens");
/// The part of the input that was read from a cache. Unit: tokens.
pub const CACHED_TOKENS: StateKey = StateKey::number("llm_proxy.cached_tokens", "cached_tokens");
/// The part of the input that was written to a cache. Unit: tokens.
pub const CACHE_WRITTEN_TOKENS: StateKey =
    StateKey::number("llm_proxy.cache_written_tokens", "cache_written_tokens");
/// The part of the output that was reasoning. Unit: tokens.
pub const REASONING_TOKENS: StateKey =
    StateKey::number("llm_proxy.reasoning_tokens", "reasoning_tokens");
/// Input and output together. Unit: tokens.
pub const TOTAL_TOKENS: StateKey = StateKey::number("llm_proxy.total_tokens", "total_tokens");
/// What the request costs, where its backend has a price for the model. Unit: 10⁻⁹ USD.
pub const COST_NANO_USD: StateKey = StateKey::number("llm_proxy.cost_nano_usd", "cost_nano_usd");
/// From the request's headers to the first token of a stream, in the attempt that answered. Unit:
/// milliseconds.
pub const FIRST_TOKEN_MS: StateKey = StateKey::number("llm_proxy.first_token_ms", "first_token_ms");
/// The attempts that failed, in order, as `BACKEND:REASON`, separated by commas.
pub const FAILED_ATTEMPTS: StateKey =
    StateKey::text("llm_proxy.failed_attempts", "failed_attempts");
/// Why the answer ended, in the provider's words.
pub const FINISH_REASON: StateKey = StateKey::text("llm_proxy.finish_reason", "finish_reason");
/// The code of an error, whether a provider's or ours.
pub const ERROR_CODE: StateKey = StateKey::text("llm_proxy.error_code", "error_code");
/// The provider's own id of the request.
pub const PROVIDER_REQUEST_ID: StateKey =
    StateKey::text("llm_proxy.provider_request_id", "provider_request_id");

/// Every key, in the order of the access log.
pub const STATE_KEYS: [StateKey; 17] = [
    OPERATION,
    CLIENT_API,
    REQUEST_MODEL,
    SENT_MODEL,
    RESPONSE_MODEL,
    INPUT_TOKENS,
    OUTPUT_TOKENS,
    CACHED_TOKENS,
    CACHE_WRITTEN_TOKENS,
    REASONING_TOKENS,
    TOTAL_TOKENS,
    COST_NANO_USD,
    FIRST_TOKEN_MS,
    FAILED_ATTEMPTS,
    FINISH_REASON,
    ERROR_CODE,
    PROVIDER_REQUEST_ID,
];

/// The member of the metadata of an endpoint that names its provider, in the words of OpenTelemetry's
/// `gen_ai.provider.name`. The module does not read it: logs and traces do.
pub const PROVIDER_MEMBER: &str = "provider";

/// The header of every reply that has our id of the request: the client's own `x-request-id` where it is
/// usable, else one that is made.
pub const REQUEST_ID_HEADER: &str = "x-llm-proxy-request-id";

/// The headers in which the official SDKs look for the id of a request: OpenAI's and Anthropic's.
pub const SDK_REQUEST_ID_HEADERS: [&str; 2] = ["x-request-id", "request-id"];

/// How long a client's id may be. Unit: bytes.
pub const MAX_REQUEST_ID_BYTES: usize = 128;

/// Whether a client's id of a request is used as it is.
pub fn is_usable_request_id(id: &[u8]) -> bool {
    let is_safe = |byte: &u8| byte.is_ascii_alphanumeric() || REQUEST_ID_MARKS.contains(byte);
    (1..=MAX_REQUEST_ID_BYTES).contains(&id.len()) && id.iter().all(is_safe)
}

/// The client's id where it is usable, else nothing, as an expression of Envoy's: the Common Expression
/// Language. Without an id it has no value.
pub fn usable_request_id_expression() -> String {
    let id = "request.headers['x-request-id']";
    format!(
        "size({id}) <= {MAX_REQUEST_ID_BYTES} && {id}.matches('^[A-Za-z0-9._:@/+=-]+$') ? {id} : ''"
    )
}

const REQUEST_ID_MARKS: &[u8] = b"._:@/+=-";

/// A label of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag {
    /// The name within the metric's: `;op=`.
    pub key: &'static str,
    /// The attribute that it becomes. In Prometheus' names, dots are underscores.
    pub attribute: &'static str,
}

impl Tag {
    /// The regular expression of `stats_tags`: the first group is cut out of the name, the second is the
    /// value.
    pub fn regex(&self) -> String {
        format!("(;{}=([^;]*))", self.key)
    }
}

/// What is requested.
pub const TAG_OPERATION: Tag = tag("op", "gen_ai.operation.name");
/// The provider.
pub const TAG_PROVIDER: Tag = tag("provider", "gen_ai.provider.name");
/// The model that was requested of the provider.
pub const TAG_MODEL: Tag = tag("model", "gen_ai.request.model");
/// The model that has answered.
pub const TAG_RESPONSE_MODEL: Tag = tag("answered", "gen_ai.response.model");
/// `input`, `output`, `cached`, `cache_written` or `reasoning`.
pub const TAG_TOKEN_TYPE: Tag = tag("type", "gen_ai.token.type");
/// A status, or a word such as `no_reply`; absent where there was no error.
pub const TAG_ERROR: Tag = tag("error", "error.type");
/// The backend: of a pool the member.
pub const TAG_BACKEND: Tag = tag("backend", "llm_proxy.backend");
/// The route.
pub const TAG_ROUTE: Tag = tag("route", "llm_proxy.route");
/// The pool; absent outside of pools.
pub const TAG_POOL: Tag = tag("pool", "llm_proxy.pool");
/// How an attempt ended: `ok`, a status, or a word such as `no_reply`.
pub const TAG_REASON: Tag = tag("reason", "llm_proxy.reason");
/// The code of one of our own refusals.
pub const TAG_CODE: Tag = tag("code", "llm_proxy.code");
/// A parameter of a request.
pub const TAG_PARAMETER: Tag = tag("param", "llm_proxy.parameter");

/// Every tag, in the order in which metrics have them.
pub const TAGS: [Tag; 12] = [
    TAG_OPERATION,
    TAG_PROVIDER,
    TAG_MODEL,
    TAG_RESPONSE_MODEL,
    TAG_TOKEN_TYPE,
    TAG_ERROR,
    TAG_BACKEND,
    TAG_ROUTE,
    TAG_POOL,
    TAG_REASON,
    TAG_CODE,
    TAG_PARAMETER,
];

const fn tag(key: &'static str, attribute: &'static str) -> Tag {
    Tag { key, attribute }
}

/// What is before the name of a module's metric on a cluster in Envoy 1.37 and 1.38, as another
/// expression of `stats_tags`.
pub const CLUSTER_PREFIX_REGEX: &str = r"^(cluster\.(.+?)\.)wasmcustom\.";

/// What Envoy puts before the names of a module's metrics; Prometheus does not see it.
pub const METRIC_PREFIX: &str = "wasmcustom.";

/// A metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// The name without tags.
    pub name: &'static str,
    /// What it does.
    pub kind: MetricKind,
    /// What it is.
    pub help: &'static str,
}

/// What a metric does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// It only rises.
    Counter,
    /// It rises and falls.
    Gauge,
    /// It counts values by the buckets whose upper bounds these are.
    Histogram(&'static [u64]),
}

/// Tokens of each request, `input` and `output`. Tags: operation, provider, models, token type, backend,
/// route.
pub const TOKEN_USAGE: Metric = Metric {
    name: "gen_ai.client.token.usage",
    kind: MetricKind::Histogram(&TOKEN_BUCKETS),
    help: "tokens of a request, by type",
};
/// All tokens, exactly. Tags: those of [`TOKEN_USAGE`], with the types `cached`, `cache_written` and
/// `reasoning`, too, which are parts of `input` and `output`.
pub const TOKENS: Metric = Metric {
    name: "llm_proxy.tokens",
    kind: MetricKind::Counter,
    help: "tokens in all, exactly, by type",
};
/// What requests cost, where their backends have a price for the model. Tags: those of [`TOKEN_USAGE`]
/// without the token type. Unit: 10⁻⁹ USD.
pub const COST: Metric = Metric {
    name: "llm_proxy.cost_nano_usd",
    kind: MetricKind::Counter,
    help: "billionths of a USD, by the prices of the configuration",
};
/// From the request's headers to the end of the reply, of the attempt that answered. Tags: operation,
/// provider, models, error, backend, route. Unit: milliseconds.
pub const DURATION: Metric = Metric {
    name: "gen_ai.client.operation.duration",
    kind: MetricKind::Histogram(&DURATION_BUCKETS),
    help: "milliseconds from the request to the end of the reply",
};
/// From the request's headers to the first token of a stream. Tags: operation, provider, models, backend,
/// route. Unit: milliseconds.
pub const TIME_TO_FIRST_TOKEN: Metric = Metric {
    name: "gen_ai.server.time_to_first_token",
    kind: MetricKind::Histogram(&FIRST_TOKEN_BUCKETS),
    help: "milliseconds to the first token of a stream",
};
/// Between the first and the last token of a stream, by the number of tokens. Tags: those of
/// [`TIME_TO_FIRST_TOKEN`]. Unit: milliseconds.
pub const TIME_PER_OUTPUT_TOKEN: Metric = Metric {
    name: "gen_ai.server.time_per_output_token",
    kind: MetricKind::Histogram(&OUTPUT_TOKEN_BUCKETS),
    help: "milliseconds per token after the first",
};
/// Attempts at providers. Tags: backend, pool, reason.
pub const ATTEMPTS: Metric = Metric {
    name: "llm_proxy.attempts",
    kind: MetricKind::Counter,
    help: "attempts, by how they ended",
};
/// Attempts that failed and were followed by one at another member. Tags: backend, pool, reason.
pub const FALLBACKS: Metric = Metric {
    name: "llm_proxy.fallbacks",
    kind: MetricKind::Counter,
    help: "failed attempts that led to another one, by reason",
};
/// Requests that the gateway answered with an error itself. Tags: code.
pub const REFUSALS: Metric = Metric {
    name: "llm_proxy.refusals",
    kind: MetricKind::Counter,
    help: "requests that the gateway refused, by code",
};
/// Parameters that were adapted for a provider. Tags: backend, parameter.
pub const ADAPTED: Metric = Metric {
    name: "llm_proxy.adapted",
    kind: MetricKind::Counter,
    help: "parameters that were adapted for a backend",
};
/// What the module holds of bodies, on all workers. Unit: bytes.
pub const HELD_BYTES: Metric = Metric {
    name: "llm_proxy.held_bytes",
    kind: MetricKind::Gauge,
    help: "bytes of bodies that the module holds",
};
/// Requests for access tokens. Tags: backend, reason (`ok` or `error`).
pub const TOKEN_FETCHES: Metric = Metric {
    name: "llm_proxy.token_fetches",
    kind: MetricKind::Counter,
    help: "requests for access tokens, by how they ended",
};

/// Every metric.
pub const METRICS: [Metric; 12] = [
    TOKEN_USAGE,
    TOKENS,
    COST,
    DURATION,
    TIME_TO_FIRST_TOKEN,
    TIME_PER_OUTPUT_TOKEN,
    ATTEMPTS,
    FALLBACKS,
    REFUSALS,
    ADAPTED,
    HELD_BYTES,
    TOKEN_FETCHES,
];

/// The bounds of OpenTelemetry's conventions; those of durations in milliseconds.
///
/// Source: <https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-metrics/>, read 2026-11-28.
const TOKEN_BUCKETS: [u64; 14] = [
    1, 4, 16, 64, 256, 1_024, 4_096, 16_384, 65_536, 262_144, 1_048_576, 4_194_304, 16_777_216,
    67_108_864,
];
const DURATION_BUCKETS: [u64; 14] = [
    10, 20, 40, 80, 160, 320, 640, 1_280, 2_560, 5_120, 10_240, 20_480, 40_960, 81_920,
];
const FIRST_TOKEN_BUCKETS: [u64; 16] = [
    1, 5, 10, 20, 40, 60, 80, 100, 250, 500, 750, 1_000, 2_500, 5_000, 7_500, 10_000,
];
const OUTPUT_TOKEN_BUCKETS: [u64; 12] = [10, 25, 50, 75, 100, 150, 200, 300, 400, 500, 750, 2_500];

/// The value of a tag for what has no place among the bounded values.
pub const OTHER: &str = "other";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_and_a_tag_are_there_once() {
        for (at, key) in STATE_KEYS.iter().enumerate() {
            let same = |it: &&StateKey| it.name == key.name || it.log_key == key.log_key;
            assert_eq!(STATE_KEYS.iter().position(|it| same(&it)), Some(at));
        }
        for (at, tag) in TAGS.iter().enumerate() {
            let same = |it: &Tag| it.key == tag.key || it.attribute == tag.attribute;
            assert_eq!(TAGS.iter().position(same), Some(at));
        }
    }

    #[test]
    fn a_number_is_logged_as_a_number() {
        assert_eq!(
            INPUT_TOKENS.as_json(),
            "%TYPED_CEL(int(filter_state['wasm.llm_proxy.input_tokens']))%"
        );
        assert_eq!(
            SENT_MODEL.as_json(),
            "%FILTER_STATE(wasm.llm_proxy.sent_model:PLAIN)%"
        );
    }

    #[test]
    fn ids_of_safe_characters_are_usable() {
        for (id, expected) in [
            ("3f2c9a0e-1f7d-4a6e-9b1c-0a1b2c3d4e5f", true),
            ("a.b_c:d@e/f+g=h-i", true),
            (&"x".repeat(128), true),
            (&"x".repeat(129), false),
            ("", false),
            ("a b", false),
            ("a\"b", false),
            ("é", false),
        ] {
            assert_eq!(is_usable_request_id(id.as_bytes()), expected, "{id}");
        }
    }
}
