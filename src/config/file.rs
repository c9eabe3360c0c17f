//! What a person writes: the keys of `gateway.yaml` and of the plugin configuration.
//!
//! This is the one declaration of the schema: reader, writer and JSON Schema come from it. The
//! types keep what was written; [`Gateway`](super::Gateway) is what it means.

use std::collections::BTreeMap;

use serde_json::Value;

pub use super::read::List;
use super::read::{FromValue, keys};
use super::value::{
    BackendType, ByteSize, Failure, ProbePath, SecretSource, Share, Span, Template,
    UncheckedOperation, Usd, WebSearch,
};
use crate::backend::UsageReport;
use crate::gateway::{Placement, Role};
use crate::pool::Strategy;
use crate::provider::Passage;
use crate::provider::adapt::Policy;
use crate::telemetry::Protocol;

keys! {
    /// An LLM gateway: which requests go to which provider.
    pub struct Gateway {
        /// Where the rendered Envoy listens: `host:port`.
        "listen" => listen: Option<String>,
        /// Where the rendered Envoy's admin interface listens: `host:port`.
        "admin" => admin: Option<String>,
        /// Where the rendered Envoy answers probes. See docs/observability.md.
        "health" => health: Option<Health>,
        /// Where metrics, logs and traces go. See docs/observability.md.
        "telemetry" => telemetry: Option<Telemetry>,
        /// What tokens cost, by the name of a model, or the beginning of one before a `*`: exact names first,
        /// then the longest `prefix*`, then `*`. A price for the model that is sent to the provider comes
        /// before one for the model that the provider says has answered. See docs/observability.md.
        "prices" => prices: Option<BTreeMap<String, Price>>,
        /// The largest request body, for example `1MiB`. A larger one is answered with 413.
        "maxRequestBytes" => max_request_bytes: Option<ByteSize>,
        /// The memory that one Envoy worker may hold for all its requests and replies together, for
        /// example `128MiB`. A request or reply for which no memory is left
        /// gets 503 with `retry-after`. See docs/memory.md.
        "maxHeldBytes" => max_held_bytes: Option<ByteSize>,
        /// The provider accounts and servers.
        "backends" => backends: List<Backend>,
        /// Which requests go to which backend: the first that matches, in this order. May be left
        /// out where there is one backend.
        "routes" => routes: Option<List<Route>>,
        /// Plugin configuration only: where the module sits: `listener`, once per request, or `upstream`, once per attempt. The native command sets it in what it renders.
        "placement" => placement: Option<Placement>,
        /// Plugin configuration only: `true` states that Envoy's `allow_on_headers_stop_iteration`
        /// is set, so that headers can wait for the body.
        "holdHeaders" => hold_headers: Option<bool>,
        /// Plugin configuration only: `false` states that no route of Envoy's has the metadata
        /// `llm-proxy`. Then the module does not read it, which saves time with each request.
        "routeMetadata" => route_metadata: Option<bool>,
        /// Plugin configuration only: what the plugin does. `send` turns a request into one
        /// to its backend; `choose`, in the listener, only selects the backend and names it in headers; `ready`,
        /// upstream, answers whether its backends have the access tokens that they need.
        /// The native command sets it in what it renders.
        "role" => role: Option<Role>,
        /// Plugin configuration only: `true`: what is known of each request is put into Envoy's filter state
        /// for access logs and traces. The native command sets it in what it renders.
        "filterState" => filter_state: Option<bool>,
        /// Plugin configuration only: the backend of this plugin's requests, where neither the route's
        /// nor the endpoint's metadata names one.
        "backend" => backend: Option<String>,
        /// Plugin configuration only, in the listener, with `envoyRoute`: the path below which the module
        /// writes the provider's path where only the module knows it; Envoy's routes remove this prefix.
        /// No client's request may have it. The native command sets it in what it renders.
        "internalPath" => internal_path: Option<String>,
        /// Plugin configuration only, in Istio: the VirtualService from which a route of Envoy's has to
        /// come, as `NAMESPACE/NAME`. Its routes have the names of the routes here, where those have no
        /// `envoyRoute`; requests on other routes of the proxy are not changed.
        "virtualService" => virtual_service: Option<String>,
        /// Plugin configuration only, with `internalPath`: `true` states that Envoy's routes set the key and
        /// the configured headers of their backend, and remove `x-request-id`. The module then only removes
        /// the client's, and no other route is selected by a key. The native command sets it in what it renders.
        "routesSetHeaders" => routes_set_headers: Option<bool>,
    }
}

keys! {
    /// Where the rendered Envoy answers probes: GET and HEAD of exactly these paths, before any route.
    #[derive(Default)]
    pub struct Health {
        /// 200 as long as Envoy runs: a path, or `off`.
        "live" => live: Option<ProbePath>,
        /// 200 where the module answers and has the access tokens that it needs, else 503: a path,
        /// or `off`.
        "ready" => ready: Option<ProbePath>,
    }
}

keys! {
    /// Where metrics, logs and traces go.
    #[derive(Default)]
    pub struct Telemetry {
        /// The URL of an OpenTelemetry collector, for example `http://collector:4318`. It gets
        /// metrics, the access log and traces.
        "otlp" => otlp: Option<Template>,
        /// The protocol of that URL: `grpc`, or `http` for OTLP over HTTP. Envoy before 1.38 sends metrics by
        /// `grpc` only. Default: `grpc` at port 4317, else `http`.
        "protocol" => protocol: Option<Protocol>,
        /// Headers for the collector. A value is read in the proxy's environment and never written into
        /// what is rendered.
        "headers" => headers: Option<BTreeMap<String, Template>>,
        /// TLS towards the collector, where the URL has `https`.
        "tls" => tls: Option<Tls>,
        /// The resource attribute `service.name`.
        "serviceName" => service_name: Option<Template>,
        /// Whether metrics are sent.
        "metrics" => metrics: Option<bool>,
        /// The time between two exports of metrics.
        "interval" => interval: Option<Span>,
        /// Whether the access log is sent.
        "logs" => logs: Option<bool>,
        /// The share of requests whose spans are sent, for example `10%`. A client that sends a
        /// `traceparent` decides by itself.
        "traces" => traces: Option<Share>,
    }
}

keys! {
    /// One provider account or server, or a pool of them.
    pub struct Backend {
        /// The name by which routes refer to it.
        "name" => name: String,
        /// The kind of provider, or `pool`.
        "type" => r#type: BackendType,
        /// How to reach it and what to send.
        "config" => config: Option<BackendConfig>,
        /// How the first member of a request is selected. `weighted`: in turn, by their weights; `round-robin`: in turn; `latency`: the fastest of late.
        "strategy" => strategy: Option<Strategy>,
        /// Whether another member gets the request when one fails.
        "fallback" => fallback: Option<bool>,
        /// The statuses after which the next member gets the request: codes such as `429`, or `5xx`.
        /// `connect-failure` and `timeout` are always among them.
        "fallbackOn" => fallback_on: Option<Vec<Failure>>,
        /// The largest number of attempts after the first. Default: one for each member,
        /// and further rounds up to the first member that has no `maxRetries` left.
        "maxRetries" => max_retries: Option<u32>,
        /// Time to the first byte of the reply, per attempt. Default: the longest of its
        /// members' timeouts.
        "timeout" => timeout: Option<Span>,
        /// The same for requests with `stream: true`, for example `20s`: then the next member
        /// gets the request. Default: the longest of its members' `firstByteTimeout`; else `60s` where
        /// several members are tried and neither the pool nor a member has a `timeout`.
        "firstByteTimeout" => first_byte_timeout: Option<Span>,
        /// Its members.
        "backends" => backends: Option<List<Member>>,
    }
}

keys! {
    /// A member of a pool.
    pub struct Member {
        /// The name of the backend.
        "name" => name: String,
        /// Its share, beside those of the same priority.
        "weight" => weight: Option<u32>,
        /// 0 comes first; a larger number is for when all smaller ones fail.
        "priority" => priority: Option<u32>,
    }
}

keys! {
    /// How to reach a backend and what to send. Text may contain `${NAME}`, or be `$NAME`: an
    /// environment variable. `$$` is a dollar sign.
    #[derive(Default)]
    pub struct BackendConfig {
        /// The key, usually `${NAME}`: read in the proxy's environment, never written into what is
        /// rendered; or `{file: PATH}`, a file that may change while the gateway runs. Absent: the
        /// client's own credential goes upstream. On Vertex AI: an access
        /// token that is refreshed externally.
        "apiKey" => api_key: Option<SecretSource>,
        /// The JSON key of a service account, usually `${NAME}`, with
        /// which the gateway obtains access tokens. Without it, `serviceAccountFile` and `apiKey`, they
        /// come from the metadata server of Google Cloud.
        "serviceAccount" => service_account: Option<Template>,
        /// A file with that key. `llm-proxy run` reads it and passes it
        /// to the proxy in an environment variable; `llm-proxy render` reports the name of that variable.
        "serviceAccountFile" => service_account_file: Option<Template>,
        /// The URL at which access tokens are obtained. Default: the
        /// service account's `token_uri`, or the metadata server.
        "tokenEndpoint" => token_endpoint: Option<Template>,
        /// The organization, sent as `OpenAI-Organization`.
        "orgId" => org_id: Option<Template>,
        /// Of `openai` the project, sent as `OpenAI-Project`; of `google` the project of Google Cloud for
        /// Vertex AI, beside `location`.
        "projectId" => project_id: Option<Template>,
        /// The location of Vertex AI, beside `projectId`: a region such as
        /// `us-central1`, or `global`, `us` or `eu`. Absent: AI Studio.
        "location" => location: Option<Template>,
        /// The deployment of all requests, whatever the client's model. Absent: the
        /// model, after its aliases, names the deployment.
        "deploymentName" => deployment_name: Option<Template>,
        /// A date such as `2024-10-21`, `preview`, or `v1`.
        "apiVersion" => api_version: Option<Template>,
        /// For Claude: the limit that is sent where the client gives none.
        /// Default: by model, 32000 from Claude 3.7 on (docs/providers/anthropic.md). Unit: tokens.
        "maxTokens" => max_tokens: Option<u32>,
        /// What happens to a parameter that the provider's API cannot express. `adapt`: a hint, such as `seed`, is left out or replaced by the nearest value, and named in the
        /// reply's header `x-llm-proxy-adapted`; a parameter that a correct answer depends on, such
        /// as `n`, gets a 400 that names all of them. `reject`: hints get a 400, too. `drop`: nothing
        /// gets a 400. For types that speak OpenAI's API it holds where requests of another API are
        /// translated (docs/messages.md).
        "unsupported" => unsupported: Option<Policy>,
        /// How requests of Anthropic's Messages API (`/v1/messages`) get to the provider: `native` as they
        /// are, to a provider that speaks it at the same base URL; `translate` as chat completions.
        /// Default: by type (docs/messages.md).
        "messages" => messages: Option<Passage>,
        /// The same for OpenAI's Responses API (`/v1/responses`). Default: by type (docs/responses.md).
        "responses" => responses: Option<Passage>,
        /// The values of the header `anthropic-beta` that reach the provider in requests of the Messages
        /// API, as names with `*` for any text. Default: all; on Vertex AI those that it takes.
        "betas" => betas: Option<Vec<String>>,
        /// `provider` turns `web_search_options` into the provider's own
        /// search, which the provider bills; `reject` answers 400.
        "webSearch" => web_search: Option<WebSearch>,
        /// The provider's URL. Without a path, the type's base path is used; a path that ends in an
        /// operation such as `/chat/completions` is cut back to its base. The scheme decides TLS.
        "endpoint" => endpoint: Option<Template>,
        /// `host:port` to connect to instead of the endpoint's own host; authority, SNI and
        /// certificate name stay the endpoint's.
        "address" => address: Option<Template>,
        /// The full path for chat completions, where a provider's is irregular. Its query is kept.
        "path" => path: Option<Template>,
        /// The model that is always written, whatever the client sent.
        "model" => model: Option<Template>,
        /// The model that is written when the client's is absent, `null`, empty or blank.
        "defaultModel" => default_model: Option<Template>,
        /// From a client's model name to the provider's. Order: exact names first, then the longest
        /// `prefix*`, then `*`.
        "modelAliases" => model_aliases: Option<BTreeMap<String, Template>>,
        /// What the backend serves, as names with `*` for any text. A model that none of them
        /// matches is answered with 404.
        "models" => models: Option<Vec<String>>,
        /// Operations that are allowed although `model`, `models`, `modelAliases` or `deploymentName`
        /// restrict the models and the gateway cannot read which model they use, for example `[batches]`;
        /// `other` is everything that docs/operations.md does not list. Default: none; such an operation
        /// gets 403.
        "operations" => operations: Option<Vec<UncheckedOperation>>,
        /// The header that carries `apiKey`. Default: `Authorization: Bearer `, or the type's own.
        "authHeader" => auth_header: Option<AuthHeader>,
        /// Further headers and query parameters that authenticate.
        "auth" => auth: Option<Auth>,
        /// Extra request headers.
        "headers" => headers: Option<BTreeMap<String, SecretSource>>,
        /// Headers of clients that do not reach the provider, beside those that never do: names, and
        /// beginnings of names with a `*`, such as `x-jwt-*`. Use it for headers that the authentication
        /// before the gateway adds.
        "removeHeaders" => remove_headers: Option<Vec<String>>,
        /// `true`: headers of clients' traces (`traceparent`, `b3`, `baggage`, `x-request-id`, …) reach
        /// the provider.
        "traceHeaders" => trace_headers: Option<bool>,
        /// Body members that are filled in where the client's are absent or `null`.
        "defaults" => defaults: Option<BTreeMap<String, Value>>,
        /// Body members that are always written, whatever the client sent.
        "overrides" => overrides: Option<BTreeMap<String, Value>>,
        /// Time to the first byte of the reply, per attempt, for example `30s`. The default is that of
        /// OpenAI's SDKs: a long answer that is not streamed begins when it is complete. A stream
        /// that has started is not cut.
        "timeout" => timeout: Option<Span>,
        /// The same for requests with `stream: true`, for example `30s`, from the end of the request on:
        /// then the client gets 504, without another attempt. In a pool, the pool's holds. Default: only
        /// `timeout`.
        "firstByteTimeout" => first_byte_timeout: Option<Span>,
        /// Time between two bytes of a reply that has started, for example `30s`: after more
        /// silence the reply is cut off. Default: no limit but Envoy's.
        "streamIdleTimeout" => stream_idle_timeout: Option<Span>,
        /// Extra attempts when the provider cannot be reached, times out, or answers 429 or 5xx.
        "maxRetries" => max_retries: Option<u32>,
        /// `on`: replies are looked at for their token usage, for logs and metrics, and the usage of a stream
        /// is requested where the client does not request it; the client does not see it. `off`: neither.
        "usage" => usage: Option<UsageReport>,
        /// TLS towards the provider.
        "tls" => tls: Option<Tls>,
        /// What tokens cost at this backend, by model. These come before the prices of all backends.
        "prices" => prices: Option<BTreeMap<String, Price>>,
    }
}

keys! {
    /// The prices of a model. Unit: USD per million tokens.
    pub struct Price {
        /// Of input.
        "input" => input: Usd,
        /// Of input that was read from a cache. Default: as `input`.
        "cachedInput" => cached_input: Option<Usd>,
        /// Of input that was written to a cache. Default: as `input`.
        "cacheWrite" => cache_write: Option<Usd>,
        /// Of output, reasoning included.
        "output" => output: Usd,
    }
}

keys! {
    /// The header that carries the key.
    pub struct AuthHeader {
        /// The header's name, for example `api-key`.
        "name" => name: String,
        /// What stands before the key in the header's value, for example `Bearer ` with its space.
        "prefix" => prefix: Option<String>,
    }
}

keys! {
    /// Further headers and query parameters that authenticate.
    #[derive(Default)]
    pub struct Auth {
        /// Headers, by name.
        "header" => header: Option<BTreeMap<String, SecretSource>>,
        /// Query parameters, by name.
        "query" => query: Option<BTreeMap<String, SecretSource>>,
    }
}

keys! {
    /// TLS towards the server. Whether it is used at all is decided by the endpoint's scheme.
    #[derive(Default)]
    pub struct Tls {
        /// A file of CA certificates (PEM) to trust instead of the system's.
        "caFile" => ca_file: Option<Template>,
        /// The name for SNI and for the certificate. Default: the endpoint's host.
        "serverName" => server_name: Option<Template>,
        /// `true`: the provider's certificate is not checked. For experiments only.
        "insecure" => insecure: Option<bool>,
    }
}

keys! {
    /// Which requests go to a backend. Everything that is given must match.
    #[derive(Default)]
    pub struct Route {
        /// A name for logs. Default: `route-N`, from 1.
        "name" => name: Option<String>,
        /// The path itself and whatever follows it after a `/`; `/` is every path.
        "path" => path: Option<String>,
        /// HTTP methods. Default: all.
        "methods" => methods: Option<Vec<String>>,
        /// Headers and their exact values.
        "headers" => headers: Option<BTreeMap<String, String>>,
        /// Host names, exact or `*.example.com`. Default: all.
        "hosts" => hosts: Option<Vec<String>>,
        /// The client's models that this route matches, as names with `*` for any text. Default:
        /// all, and requests without a model.
        "models" => models: Option<Vec<String>>,
        /// The name of the backend.
        "backend" => backend: String,
        /// `true`: a model such as `NAME/gpt-4o` goes to the backend `NAME`, as `gpt-4o`. One that
        /// begins with no backend's name stays as it is and goes to this route's own.
        "backendFromModel" => backend_from_model: Option<bool>,
        /// From a client's model name to another, before the backend's own rules. Order: exact names
        /// first, then the longest `prefix*`, then `*`.
        "modelAliases" => model_aliases: Option<BTreeMap<String, String>>,
        /// The model that is always written on this route, before the backend's own rules.
        "model" => model: Option<String>,
        /// Time to the first byte of the reply over all attempts, for example `90s`: then the
        /// client gets 504. A stream that has started is not cut. Default: none.
        "deadline" => deadline: Option<Span>,
        /// Plugin configuration only, in the listener: the name of Envoy's route for the same requests,
        /// or the beginning of its name before a `*`. Envoy has then selected the route by path, method,
        /// headers and hosts, and requests on other routes are not changed. The native command sets it
        /// in what it renders.
        "envoyRoute" => envoy_route: Option<String>,
    }
}

impl Gateway {
    /// The configuration as JSON, with the keys that were written, in the order of declaration.
    pub fn to_json(&self) -> Value {
        self.to_value().unwrap_or_default()
    }
}
