//! Envoy, with and without the module: its configuration, and what the kernel counts of it.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::sleep;

use crate::dialect::Dialect;
use crate::load::Words;
use crate::workload::{POOL_HOST, Workload};

/// What sits between the load and the provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Variant {
    /// Envoy without the module.
    Bare,
    /// Envoy with this one.
    Module(PathBuf),
    /// Envoy with the filter that reads every part of a body and writes it back: `echo`.
    Echo(PathBuf),
    /// Envoy with the filter that makes the module's host calls and nothing else: `floor`.
    Floor(PathBuf),
    /// Envoy with a translator of its own, `envoy.http.ai_filters.transcoder`.
    Transcoder,
}

impl Variant {
    /// What it is called in a table.
    pub fn name(&self) -> String {
        match self {
            Self::Bare => "bare".to_owned(),
            Self::Module(path) => path
                .file_stem()
                .map_or_else(|| "module".into(), |name| name.to_string_lossy().into()),
            Self::Echo(_) => "echo".to_owned(),
            Self::Floor(_) => "floor".to_owned(),
            Self::Transcoder => "Envoy's transcoder".to_owned(),
        }
    }

    /// Whether it is measured with this workload.
    pub fn serves(&self, workload: &Workload) -> bool {
        match self {
            Self::Bare | Self::Module(_) => true,
            Self::Echo(_) | Self::Floor(_) => !workload.is_pool,
            Self::Transcoder => workload.dialect != Dialect::OpenAi && !workload.has_image,
        }
    }

    /// In whose words its clients ask.
    pub fn words(&self) -> Words {
        match self {
            Self::Bare | Self::Echo(_) | Self::Floor(_) => Words::Provider,
            Self::Module(_) | Self::Transcoder => Words::Client,
        }
    }
}

/// A running Envoy; it ends when it is dropped.
pub struct Envoy {
    child: Child,
    pid: u32,
    address: SocketAddr,
}

/// What a process takes of the machine's memory, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// The resident set of the whole process.
    pub resident: u64,
    /// The linear memory of the largest instance of the module, where there is one.
    pub linear: Option<u64>,
}

impl Envoy {
    /// Starts one with a single worker on the core `core`, and waits until it listens.
    pub async fn start(
        executable: &Path,
        variant: &Variant,
        core: usize,
        provider: SocketAddr,
    ) -> Result<Self> {
        let address = free_address()?;
        let bootstrap = bootstrap(variant, address, provider);
        let mut child = Command::new("taskset")
            .arg("--cpu-list")
            .arg(core.to_string())
            .arg(executable)
            .args(["--concurrency", "1"])
            .args(["--log-level", "error"])
            .arg("--disable-hot-restart")
            .arg("--config-yaml")
            .arg(bootstrap.to_string())
            .env(KEY_VARIABLE, KEY)
            .kill_on_drop(true)
            .spawn()
            .context("starting taskset, of util-linux")?;
        let pid = child.id().context("taskset has ended")?;
        for _ in 0..START_ATTEMPTS {
            if let Some(status) = child.try_wait()? {
                bail!("Envoy did not start with {variant:?}: {status}");
            }
            if TcpStream::connect(address).await.is_ok() {
                return Ok(Self {
                    child,
                    pid,
                    address,
                });
            }
            sleep(START_PAUSE).await;
        }
        bail!("Envoy does not listen with {variant:?}")
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The CPU time of all its threads so far.
    pub fn cpu_time(&self) -> Result<Duration> {
        let mut nanoseconds = 0;
        for task in fs::read_dir(format!("/proc/{}/task", self.pid))? {
            // Shape: time on the CPU in ns, time waiting for one in ns, number of time slices.
            let text = fs::read_to_string(task?.path().join("schedstat"))?;
            let time = text.split_whitespace().next().unwrap_or_default();
            nanoseconds += time.parse::<u64>().context("reading schedstat")?;
        }
        Ok(Duration::from_nanos(nanoseconds))
    }

    /// What it takes of the machine's memory now.
    pub fn memory(&self) -> Result<Memory> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        let resident = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .and_then(|size| size.trim().strip_suffix(" kB"))
            .context("reading VmRSS")?;
        let maps = fs::read_to_string(format!("/proc/{}/maps", self.pid))?;
        Ok(Memory {
            resident: resident.parse::<u64>()? << 10,
            linear: linear_memory(&maps),
        })
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        // `kill_on_drop` does not wait, and the next measurement wants the core for itself.
        self.child.start_kill().ok();
    }
}

/// What `envoy --version` says.
pub async fn version(executable: &Path) -> Result<String> {
    let output = Command::new(executable).arg("--version").output().await;
    let output = output.with_context(|| format!("starting {}", executable.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let version = text.split_once("version: ").map(|(_, version)| version);
    Ok(version.unwrap_or(&text).trim().to_owned())
}

/// Keeps this process, and its threads, on one core.
pub fn pin_this_process(core: usize) -> Result<()> {
    let output = process::Command::new("taskset")
        .args(["--all-tasks", "--cpu-list", "--pid", &core.to_string()])
        .arg(process::id().to_string())
        .output()
        .context("starting taskset, of util-linux")?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// The size of the largest linear memory of a process.
///
/// V8 reserves the whole address space that an instance could have, and more to catch accesses
/// past it; only what the instance has is readable. So it is the mapping before a huge one that
/// nobody may touch.
fn linear_memory(maps: &str) -> Option<u64> {
    let mappings: Vec<_> = maps.lines().filter_map(mapping).collect();
    let pairs = mappings.iter().zip(mappings.iter().skip(1));
    pairs
        .filter(|((_, end, access), (start, guard_end, guard_access))| {
            *access == "rw-"
                && *guard_access == "---"
                && end == start
                && guard_end - start >= GUARD_BYTES
        })
        .map(|((start, end, _), _)| end - start)
        .max()
}

/// Start, end and access rights of what a line of `/proc/PID/maps` describes.
fn mapping(line: &str) -> Option<(u64, u64, &str)> {
    let (range, rest) = line.split_once(' ')?;
    let (start, end) = range.split_once('-')?;
    let address = |text| u64::from_str_radix(text, 16).ok();
    Some((address(start)?, address(end)?, rest.get(..3)?))
}

fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// The same listener, hosts and clusters for all; only the filters differ, and what the routes say
/// to Envoy's transcoder.
fn bootstrap(variant: &Variant, listen: SocketAddr, provider: SocketAddr) -> Value {
    let mut filters = Vec::new();
    if *variant == Variant::Transcoder {
        filters.push(transcoder());
    }
    let mut router = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
        "suppress_envoy_headers": true,
    });
    if let Variant::Module(path) = variant {
        // Only the pool's route uses it.
        let mut chooser = wasm_filter(path, "llm-proxy", &pool_plugin("listener", Some("choose")));
        extend(&mut chooser, json!({"name": CHOOSER, "disabled": true}));
        filters.push(chooser);
        // For clusters that have no filters of their own.
        let module = wasm_filter(path, "llm-proxy", &pool_plugin("upstream", None));
        extend(
            &mut router,
            json!({"upstream_http_filters": [module, codec()]}),
        );
    }
    filters.push(json!({
        "name": "envoy.filters.http.router",
        "typed_config": router,
    }));
    let hosts = Dialect::ALL.map(|dialect| {
        json!({
            "name": dialect.name(),
            "domains": [dialect.gateway_host()],
            // Headers wait for the model while a client sends up to its connection's limit at once.
            "request_body_buffer_limit": 33 << 20,
            "routes": [route(variant, dialect)],
        })
    });
    let mut hosts = hosts.to_vec();
    hosts.push(pool_host(variant));
    let manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "gateway",
        "route_config": {"virtual_hosts": hosts},
        "http_filters": filters,
    });
    let listener = json!({
        "name": "gateway",
        "address": address(listen),
        "filter_chains": [{"filters": [{
            "name": "envoy.filters.network.http_connection_manager",
            "typed_config": manager,
        }]}],
    });
    let clusters = Dialect::ALL.map(|dialect| cluster(variant, dialect, provider));
    let mut clusters = clusters.to_vec();
    clusters.extend(pool_clusters(provider));
    json!({"static_resources": {"listeners": [listener], "clusters": clusters}})
}

fn address(address: SocketAddr) -> Value {
    let address = json!({
        "address": address.ip().to_string(),
        "port_value": address.port(),
    });
    json!({ "socket_address": address })
}

/// Host, path and key are the module's work. Envoy's transcoder leaves them to the route, but for
/// Gemini's path, as in Envoy's own example:
/// <https://www.envoyproxy.io/docs/envoy/v1.40.0/start/sandboxes/ai-transcoder>, read 2026-11-21.
fn route(variant: &Variant, dialect: Dialect) -> Value {
    if *variant != Variant::Transcoder || dialect == Dialect::OpenAi {
        return json!({
            "match": {"prefix": "/"},
            "route": {"cluster": dialect.name(), "timeout": "0s"},
        });
    }
    let path = match dialect {
        Dialect::Gemini => Dialect::OpenAi.path(false),
        Dialect::Anthropic | Dialect::OpenAi => dialect.path(false),
    };
    let protocol = match dialect {
        Dialect::Anthropic => "ANTHROPIC_MESSAGES",
        Dialect::Gemini => "GEMINI_GENERATE_CONTENT",
        Dialect::OpenAi => OPENAI_PROTOCOL,
    };
    let (key_header, prefix) = dialect.key_header();
    let header = |name: &str, value: &str| {
        json!({
            "header": {"key": name, "value": value},
            "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
        })
    };
    json!({
        "match": {"prefix": Dialect::OpenAi.path(false)},
        "route": {
            "cluster": dialect.name(),
            "timeout": "0s",
            "host_rewrite_literal": dialect.provider_host(),
            "prefix_rewrite": path,
        },
        "request_headers_to_add": [
            header(key_header, &format!("{prefix}%ENVIRONMENT({KEY_VARIABLE})%")),
            header("anthropic-version", "2023-06-01"),
        ],
        "request_headers_to_remove": ["authorization", "accept-encoding"],
        "typed_per_filter_config": {
            TRANSCODER: {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.ai_protocol_manager.v3.AiProtocolManagerPerRoute",
                "request": {"llm_protocol": OPENAI_PROTOCOL},
                "response": {"llm_protocol": protocol},
            },
        },
    })
}

fn cluster(variant: &Variant, dialect: Dialect, provider: SocketAddr) -> Value {
    let mut filters = Vec::new();
    match variant {
        Variant::Module(path) => filters.push(wasm_filter(path, "llm-proxy", &plugin(dialect))),
        Variant::Echo(path) => filters.push(wasm_filter(path, "echo", &json!({}))),
        Variant::Floor(path) => {
            let kind = match dialect {
                Dialect::OpenAi => "passed",
                Dialect::Anthropic | Dialect::Gemini => "translated",
            };
            filters.push(wasm_filter(path, "floor", &json!(kind)));
        }
        Variant::Bare | Variant::Transcoder => {}
    }
    filters.push(codec());
    json!({
        "name": dialect.name(),
        "type": "STATIC",
        "load_assignment": {
            "cluster_name": dialect.name(),
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(provider)}}]}],
        },
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http_protocol_options": {}},
                "http_filters": filters,
            },
        },
    })
}

/// What ends the filters of an attempt.
fn codec() -> Value {
    json!({
        "name": "envoy.filters.http.upstream_codec",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec",
        },
    })
}

/// The host of the pool: the module selects the cluster; without it all goes to the first member.
fn pool_host(variant: &Variant) -> Value {
    let mut action = json!({"cluster": POOL_MEMBERS[0], "timeout": "0s"});
    let mut route = json!({"match": {"prefix": "/"}});
    if matches!(variant, Variant::Module(_)) {
        action = json!({
            "cluster_header": "x-llm-proxy-cluster",
            "timeout": "0s",
            "retry_policy": {
                "retry_on": "reset,connect-failure,refused-stream,5xx,retriable-status-codes",
                "retriable_status_codes": [429],
                "num_retries": 0,
                "per_try_timeout": "60s",
                "retry_priority": {
                    "name": "envoy.retry_priorities.previous_priorities",
                    "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig",
                        "update_frequency": 1,
                    },
                },
            },
        });
        extend(
            &mut route,
            json!({"typed_per_filter_config": {CHOOSER: {
                "@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig",
                "config": {},
            }}}),
        );
    }
    extend(&mut route, json!({"route": action}));
    json!({
        "name": "pool",
        "domains": [POOL_HOST],
        "request_body_buffer_limit": 33 << 20,
        "routes": [route],
    })
}

/// The members, and the pool's clusters. Modules of 0.1.0 before aggregate clusters name composite
/// ones, so that they can be measured beside newer ones.
fn pool_clusters(provider: SocketAddr) -> Vec<Value> {
    let [first, second] = POOL_MEMBERS;
    let mut clusters = Vec::new();
    for name in POOL_MEMBERS {
        clusters.push(json!({
            "name": name,
            "type": "STATIC",
            "load_assignment": {
                "cluster_name": name,
                "endpoints": [{"lb_endpoints": [{
                    "endpoint": {"address": address(provider)},
                    "metadata": {"filter_metadata": {"llm-proxy": {"backend": name}}},
                }]}],
            },
        }));
    }
    let pool = |name: String, kind: &str, children: Value| {
        json!({
            "name": name,
            "lb_policy": "CLUSTER_PROVIDED",
            "cluster_type": {
                "name": format!("envoy.clusters.{kind}"),
                "typed_config": {
                    "@type": format!("type.googleapis.com/envoy.extensions.clusters.{kind}.v3.ClusterConfig"),
                    "clusters": children,
                },
            },
        })
    };
    for (a, b) in [(first, second), (second, first)] {
        clusters.push(pool(format!("pool/{a}"), "aggregate", json!([a, b])));
        let children = json!([{ "name": a }, { "name": b }]);
        clusters.push(pool(format!("pool/{a},{b}"), "composite", children));
    }
    clusters
}

/// The part of the plugin configuration that is about the pool.
fn pool_plugin(placement: &str, role: Option<&str>) -> Value {
    let config = json!({
        "apiKey": format!("${{{KEY_VARIABLE}}}"),
        "model": MODEL,
        "endpoint": format!("http://{}", Dialect::OpenAi.provider_host()),
    });
    let member = |name: &str| json!({"name": name, "type": "openai-compatible", "config": config});
    let mut backends = POOL_MEMBERS.map(member).to_vec();
    backends.push(json!({
        "name": "pool",
        "type": "pool",
        "backends": POOL_MEMBERS.map(|name| json!({ "name": name })),
    }));
    let mut plugin = json!({
        "backends": backends,
        "placement": placement,
        "holdHeaders": true,
        "routeMetadata": false,
    });
    if let Some(role) = role {
        let routes = json!([{"path": "/v1", "backend": "pool"}]);
        extend(&mut plugin, json!({"role": role, "routes": routes}));
    }
    plugin
}

/// Adds members to an object.
fn extend(object: &mut Value, members: Value) {
    if let (Value::Object(object), Value::Object(members)) = (object, members) {
        object.extend(members);
    }
}

/// What the module is told: the common backend, a key of its own, and for OpenAI a model that is
/// always written.
fn plugin(dialect: Dialect) -> Value {
    let key = format!("${{{KEY_VARIABLE}}}");
    let config = match dialect {
        Dialect::OpenAi => json!({"apiKey": key, "model": MODEL}),
        Dialect::Anthropic | Dialect::Gemini => json!({ "apiKey": key }),
    };
    let r#type = match dialect {
        Dialect::Gemini => "google",
        Dialect::Anthropic | Dialect::OpenAi => dialect.name(),
    };
    json!({
        "backends": [{"name": dialect.name(), "type": r#type, "config": config}],
        "backend": dialect.name(),
        "placement": "upstream",
        "holdHeaders": true,
        "routeMetadata": false,
    })
}

/// A module as the rendered configuration loads ours.
fn wasm_filter(path: &Path, name: &str, configuration: &Value) -> Value {
    json!({
        "name": "envoy.filters.http.wasm",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
            "config": {
                "name": name,
                "vm_config": {
                    "vm_id": name,
                    "runtime": "envoy.wasm.runtime.v8",
                    "code": {"local": {"filename": path}},
                    "environment_variables": {"host_env_keys": [KEY_VARIABLE]},
                },
                "configuration": {
                    "@type": "type.googleapis.com/google.protobuf.StringValue",
                    "value": configuration.to_string(),
                },
                "allow_on_headers_stop_iteration": true,
                "failure_policy": "FAIL_RELOAD",
            },
        },
    })
}

/// Envoy's own translator, with the one filter that an OpenAI client needs.
fn transcoder() -> Value {
    json!({
        "name": TRANSCODER,
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.ai_protocol_manager.v3.AiProtocolManager",
            "request_handling": {},
            "response_handling": {},
            "filters": [{
                "name": "envoy.http.ai_filters.transcoder",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.http.ai_filters.transcoder.v3.Transcoder",
                    "request_handling": "FROM_IR",
                    "response_handling": "TO_IR",
                },
            }],
        },
    })
}

/// The model that the module writes for OpenAI.
pub const MODEL: &str = "gpt-4o-mini-2024-07-18";

/// The key that is sent to the provider.
pub const KEY: &str = "sk-proj-gateway-0123456789abcdefghijklmnopqrstuvwxyz0123456789";

const KEY_VARIABLE: &str = "GATEWAY_BENCH_KEY";

const OPENAI_PROTOCOL: &str = "OPENAI_CHAT_COMPLETIONS";

/// The members of the pool.
const POOL_MEMBERS: [&str; 2] = ["pool-first", "pool-second"];

/// The filter that selects the pool's cluster.
const CHOOSER: &str = "llm-proxy.choose";

const TRANSCODER: &str = "envoy.filters.http.ai_protocol_manager";

/// Half of what a 32-bit instance could address.
const GUARD_BYTES: u64 = 2 << 30;

const START_ATTEMPTS: usize = 200;
const START_PAUSE: Duration = Duration::from_millis(50);
