//! The values of keys that are absent. The JSON Schema and the documentation have them from here.

use std::time::Duration;

use super::value::{Failure, Share};

/// `listen`
pub const LISTEN: &str = "127.0.0.1:10000";

/// `admin`
pub const ADMIN: &str = "127.0.0.1:9901";

/// `health.live`
pub const LIVE_PATH: &str = "/healthz";

/// `health.ready`
pub const READY_PATH: &str = "/ready";

/// `telemetry.serviceName`
pub const SERVICE_NAME: &str = "llm-proxy";

/// `telemetry.metrics`
pub const METRICS: bool = true;

/// `telemetry.interval`
pub const INTERVAL: Duration = Duration::from_secs(10);

/// `telemetry.logs`
pub const LOGS: bool = true;

/// `telemetry.traces`
pub const TRACES: Share = Share(0);

/// `maxRequestBytes`
pub const MAX_REQUEST_BYTES: u64 = 32 << 20;

/// `maxHeldBytes`. Envoy ends a VM that grows to 1 GiB. The rest is for the translation of one body,
/// which happens within one call, and for what the allocator cannot use.
pub const MAX_HELD_BYTES: u64 = 256 << 20;

/// `telemetry.maxModelLabels`
pub const MAX_MODEL_LABELS: usize = 100;

/// `holdHeaders`
pub const HOLD_HEADERS: bool = false;

/// `routeMetadata`
pub const ROUTE_METADATA: bool = true;

/// `routesSetHeaders`
pub const ROUTES_SET_HEADERS: bool = false;

/// `filterState`
pub const FILTER_STATE: bool = false;

/// `fallback` of a pool
pub const FALLBACK: bool = true;

/// `fallbackOn` of a pool
pub const FALLBACK_ON: [Failure; 2] = [Failure::Status(429), Failure::ServerErrors];

/// `weight` of a member
pub const WEIGHT: u32 = 1;

/// `priority` of a member
pub const PRIORITY: u32 = 0;

/// `apiVersion`
pub const API_VERSION: &str = "v1";

/// `timeout`: as OpenAI's SDKs have it, since a long answer that is not streamed begins when it is
/// complete.
pub const TIMEOUT: Duration = Duration::from_secs(600);

/// `firstByteTimeout` of a pool where several members are tried, and nobody has written a limit. A
/// provider sends the head of a stream when it has read the prompt, or at the latest with the first
/// word after its thoughts. A member that is silent for longer is given up before a person gives up.
pub const FIRST_BYTE_TIMEOUT_OF_POOL: Duration = Duration::from_secs(60);

/// `maxRetries` of a backend outside of pools
pub const MAX_RETRIES: u32 = 0;

/// `traceHeaders`
pub const TRACE_HEADERS: bool = false;

/// `authHeader.prefix`
pub const PREFIX: &str = "";

/// `tls.insecure`
pub const INSECURE: bool = false;

/// `path` of a route
pub const PATH: &str = "/";

/// `backendFromModel` of a route
pub const BACKEND_FROM_MODEL: bool = false;
