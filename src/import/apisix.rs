//! APISIX and API7 Gateway: routes with `ai-proxy` and `ai-proxy-multi`, as the Admin API takes them, and as
//! declarative YAML.
//!
//! Sources, read 2026-11-28: <https://docs.api7.ai/hub/ai-proxy-multi> and
//! <https://apisix.apache.org/docs/apisix/plugins/ai-proxy-multi/>.
//!
//! # What is decided here
//!
//! * `override.endpoint` is the whole URL of chat completions.
//! * `options` are written into every request: `model` and `overrides`.
//! * Without `fallback_strategy` no other instance gets a failed request.
//! * Without `timeout` it is 30 seconds, as it is there.
//! * Which priority comes first, the two documents have differently: see [`ApisixPriority`].

use serde_json::{Value, json};

use super::ApisixPriority;
use super::draft::{Draft, Member, Pool, Route};
use super::http_route;
use super::source::Node;
use super::upstream::{Upstream, auth_headers, nested, secret, shown_span, template, text};
use crate::provider::ProviderType;

/// Whether a document has one of the plugins.
pub fn is_one(roots: &[Node<'_>]) -> bool {
    routes(roots).iter().any(|(_, route)| {
        let plugins = route.value().and_then(|it| it.get("plugins"));
        PLUGINS
            .iter()
            .any(|name| plugins.is_some_and(|it| it.get(name).is_some()))
    })
}

/// Reads the documents.
pub fn read(roots: &[Node<'_>], priority: ApisixPriority, draft: &mut Draft) {
    for (service, route) in routes(roots) {
        let plugins = route.get("plugins");
        // The inner plugin wins, as it does there.
        let layers = [plugins.clone(), service.get("plugins")];
        let found = layers
            .iter()
            .flat_map(|layer| PLUGINS.map(|name| (name, layer.clone())))
            .find(|(name, layer)| layer.has(name));
        let Some((name, layer)) = found else {
            route.warn("has neither ai-proxy nor ai-proxy-multi; left out");
            route.ignore();
            continue;
        };
        let plugin = layer.get(name);
        let to = match name {
            "ai-proxy" => read_single(&route, &plugin, draft),
            _ => read_multi(&route, &plugin, priority, draft),
        };
        if let Some(to) = to {
            read_route(&route, &service, &to, draft);
        }
    }
    draft.order_by_specificity();
}

/// Every route with its service: of lists, of services, of the answers of the Admin API, or by itself.
fn routes<'a>(roots: &[Node<'a>]) -> Vec<(Node<'a>, Node<'a>)> {
    let mut found = Vec::new();
    let nothing = |root: &Node<'a>| root.get("\u{0}");
    for root in roots {
        if root.has("plugins") {
            found.push((nothing(root), root.clone()));
        }
        for key in ["value", "list", "nodes"] {
            for item in root.get(key).items() {
                item.ignore_keys(&["key", "createdIndex", "modifiedIndex"]);
                let route = if item.has("value") {
                    item.get("value")
                } else {
                    item
                };
                found.push((nothing(root), route));
            }
        }
        root.ignore_keys(&["total", "key", "createdIndex", "modifiedIndex"]);
        for service in root.get("services").items() {
            service.ignore_keys(&["name", "id", "upstream", "path_prefix", "desc"]);
            for route in service.get("routes").items() {
                found.push((service.clone(), route));
            }
        }
        let by_id = |id: &str| {
            let services = root.get("services").items();
            services.into_iter().find(|it| {
                it.value()
                    .and_then(|it| it.get("id"))
                    .is_some_and(|it| it == id)
            })
        };
        for route in root.get("routes").items() {
            let id = route.value().and_then(|it| it.get("service_id"));
            let service = id.and_then(Value::as_str).and_then(by_id);
            found.push((service.unwrap_or_else(|| nothing(root)), route));
        }
    }
    found
}

fn read_route(node: &Node<'_>, service: &Node<'_>, to: &str, draft: &mut Draft) {
    // What names it or manages it there changes no request; it has no upstream but the provider.
    node.ignore_keys(&[
        "id",
        "name",
        "desc",
        "description",
        "service_id",
        "labels",
        "create_time",
        "update_time",
        "upstream",
        "upstream_id",
    ]);
    let status = node.get("status");
    if status.number() == Some(0) {
        node.warn("switched off there; the result has it all the same");
    }
    let mut route = Route {
        name: text(&node.any_of(&["id", "name"])),
        ..Route::default()
    };
    let methods = node.get("methods").items();
    let methods: Vec<String> = methods.iter().filter_map(text).collect();
    let methods: Vec<String> = methods.into_iter().filter(|it| it != "PURGE").collect();
    if !methods.is_empty() {
        route.keys.insert("methods".to_owned(), methods.into());
    }
    let mut hosts = node.any_of(&["hosts", "host"]).items();
    if hosts.is_empty() {
        hosts = service.get("hosts").items();
    }
    let hosts: Vec<String> = hosts.iter().filter_map(text).collect();
    if !hosts.is_empty() {
        route.keys.insert("hosts".to_owned(), hosts.into());
    }
    let mut paths = node.any_of(&["uris", "paths", "uri"]).items();
    // A longer path comes first there, whatever the order.
    paths.sort_by_key(|it| std::cmp::Reverse(it.text().map_or(0, |it| it.len())));
    if paths.is_empty() {
        draft.route(route, to);
        return;
    }
    for path in paths {
        let Some(text) = path.text() else { continue };
        let mut route = route.clone();
        let stem = text.trim_end_matches('*');
        if stem == text {
            route.comments.push(format!(
                "also matches what follows {text} after a \"/\": routes here have no exact paths"
            ));
        }
        if http_route::set_path(&path, stem, &mut route) {
            draft.route(route, to);
        }
    }
}

fn read_single(route: &Node<'_>, plugin: &Node<'_>, draft: &mut Draft) -> Option<String> {
    let wanted = text(&route.any_of(&["id", "name"])).unwrap_or_else(|| "backend".to_owned());
    let upstream = read_instance(plugin, plugin, &wanted, draft)?;
    Some(upstream.add(&wanted, draft))
}

fn read_multi(
    route: &Node<'_>,
    plugin: &Node<'_>,
    order: ApisixPriority,
    draft: &mut Draft,
) -> Option<String> {
    let wanted = text(&route.any_of(&["id", "name"])).unwrap_or_else(|| "pool".to_owned());
    let mut pool = Pool {
        name: format!("{wanted}-pool"),
        ..Pool::default()
    };
    let mut priorities = Vec::new();
    for instance in plugin.get("instances").items() {
        let name = text(&instance.get("name")).unwrap_or_else(|| wanted.clone());
        let weight = instance.get("weight").number().unwrap_or(1);
        let written = instance.get("priority");
        let priority = written.value().and_then(Value::as_i64).unwrap_or(0);
        instance.get("checks").warn_if_present(
            "active health checks are left out: a member that fails is left out by itself for a while",
        );
        if weight == 0 {
            instance.warn("weight 0: never selected; left out");
            instance.ignore();
            continue;
        }
        let Some(upstream) = read_instance(&instance, plugin, &name, draft) else {
            continue;
        };
        priorities.push((written, priority));
        pool.members.push(Member {
            name: upstream.add(&name, draft),
            weight,
            priority: match order {
                ApisixPriority::SmallerFirst => priority,
                ApisixPriority::LargerFirst => -priority,
            },
        });
    }
    let first = priorities.first().map(|(_, priority)| *priority);
    let other = priorities
        .iter()
        .find(|(_, priority)| Some(*priority) != first);
    if let Some((node, _)) = other {
        let message = match order {
            ApisixPriority::SmallerFirst => {
                "the smaller priority comes first, as API7's documentation has it; Apache APISIX \
                 takes the larger first: for that, import with --apisix-priority larger-first"
            }
            ApisixPriority::LargerFirst => {
                "the larger priority comes first, as Apache APISIX has it; API7's documentation \
                 takes the smaller first: for that, import with --apisix-priority smaller-first"
            }
        };
        node.warn(message);
        pool.comments.push(message.to_owned());
    }
    read_balancer(&plugin.get("balancer"), &mut pool);
    read_fallback(&plugin.get("fallback_strategy"), &mut pool);
    if let Some(retries) = plugin.get("max_retries").number() {
        pool.settings
            .insert("maxRetries".to_owned(), retries.min(100).into());
    }
    draft.pool(pool)
}

fn read_balancer(balancer: &Node<'_>, pool: &mut Pool) {
    let algorithm = balancer.get("algorithm");
    if algorithm.text().is_some_and(|it| it != "roundrobin") {
        balancer.ignore_keys(&["hash_on", "key"]);
        algorithm.warn("no hash decides here; requests are shared out by the weights");
        pool.comments.push("was a consistent hash".to_owned());
    }
}

fn read_fallback(strategy: &Node<'_>, pool: &mut Pool) {
    let mut statuses: Vec<Value> = Vec::new();
    for item in strategy.items() {
        match item.text().unwrap_or_default().as_str() {
            "http_429" => statuses.push(json!(429)),
            "http_5xx" => statuses.push(json!("5xx")),
            "rate_limiting" | "instance_health_and_rate_limiting" => {
                pool.comments.push(
                    "token limits are not known here: the provider's 429 and failed connections \
                     lead to the next member"
                        .to_owned(),
                );
                statuses.push(json!(429));
            }
            other => item.warn(format!("{other:?} is not known; left out")),
        }
    }
    statuses.dedup();
    if statuses.is_empty() {
        pool.settings.insert("fallback".to_owned(), false.into());
    } else {
        pool.settings
            .insert("fallbackOn".to_owned(), statuses.into());
    }
}

/// Reads an instance of `ai-proxy-multi`, or `ai-proxy`, which is its own.
fn read_instance(
    node: &Node<'_>,
    plugin: &Node<'_>,
    name: &str,
    draft: &mut Draft,
) -> Option<Upstream> {
    let kind = node.get("provider");
    let provider = match kind.text().unwrap_or_default().as_str() {
        "openai" | "openai-compatible" => None,
        "deepseek" => Some(ProviderType::Deepseek),
        "anthropic" => Some(ProviderType::Anthropic),
        "openrouter" => Some(ProviderType::Openrouter),
        "azure-openai" => Some(ProviderType::AzureOpenai),
        "gemini" | "vertex-ai" => Some(ProviderType::Google),
        "aimlapi" => Some(ProviderType::OpenaiCompatible),
        other => {
            kind.error(format!("there is no type for the provider {other:?} here"));
            node.ignore();
            return None;
        }
    };
    let mut upstream = Upstream::new(provider);
    if kind.text().is_some_and(|it| it == "aimlapi") {
        upstream.set_url("https://api.aimlapi.com/v1", false);
    }
    let endpoint = node.dig(&["override", "endpoint"]);
    if let Some(url) = text(&endpoint) {
        upstream.set_url(&url, true);
    } else if kind.text().is_some_and(|it| it == "openai-compatible") {
        node.error("needs override.endpoint");
    }
    let auth = node.get("auth");
    auth_headers(&auth.get("header"), provider, name, &mut upstream, draft);
    for (parameter, value) in auth.get("query").entries() {
        let text = value.text().unwrap_or_default();
        let value = secret(&value, &text, &[name, parameter], draft);
        nested(&mut upstream, &["auth", "query"], parameter, value);
    }
    read_gcp(node, &auth.get("gcp"), name, &mut upstream, draft);
    read_options(&node.get("options"), &mut upstream);
    for (member, value) in node.dig(&["override", "llm_options"]).entries() {
        value.ignore();
        nested(
            &mut upstream,
            &["overrides"],
            member,
            value.value().cloned(),
        );
    }
    if provider == Some(ProviderType::AzureOpenai) {
        read_azure(&mut upstream);
    }
    let timeout = plugin.get("timeout");
    if let Some(milliseconds) = timeout.number().and_then(|it| u32::try_from(it).ok()) {
        upstream.set("timeout", shown_span(f64::from(milliseconds.max(1))));
    } else if !timeout.is_present() {
        upstream.set("timeout", shown_span(DEFAULT_TIMEOUT_MILLIS));
        let comment = "no timeout: ai-proxy waits 30 s then; remove the line for 600 s";
        upstream.comments.push(comment.to_owned());
    }
    if plugin.get("ssl_verify").value() == Some(&Value::Bool(false)) {
        upstream.is_insecure = true;
    }
    // Connections are Envoy's, and so is the log.
    plugin.ignore_keys(&[
        "keepalive",
        "keepalive_timeout",
        "keepalive_pool",
        "logging",
    ]);
    Some(upstream)
}

/// A model is always written, and so is every other option.
fn read_options(options: &Node<'_>, upstream: &mut Upstream) {
    for (member, value) in options.entries() {
        value.ignore();
        match member {
            "model" => {
                if let Some(model) = text(&value) {
                    upstream.set("model", model);
                }
            }
            "stream" => value.warn("the client decides whether a reply is a stream; left out"),
            member => nested(upstream, &["overrides"], member, value.value().cloned()),
        }
    }
}

/// Azure's URL names the deployment and the version of the API.
fn read_azure(upstream: &mut Upstream) {
    use super::upstream::Path;
    let Path::Full(path) = std::mem::replace(&mut upstream.path, Path::Own) else {
        return;
    };
    let (path, query) = path.split_once('?').unwrap_or((&path, ""));
    let version = query
        .split('&')
        .find_map(|it| it.strip_prefix("api-version="));
    let deployment = path
        .split_once("/deployments/")
        .and_then(|(_, rest)| rest.split('/').next());
    if let Some(deployment) = deployment {
        upstream.config.shift_remove("model");
        upstream.set("deploymentName", deployment);
    }
    if let Some(version) = version {
        upstream.set("apiVersion", version);
    }
}

fn read_gcp(
    node: &Node<'_>,
    gcp: &Node<'_>,
    name: &str,
    upstream: &mut Upstream,
    draft: &mut Draft,
) {
    let conf = node.get("provider_conf");
    if let Some(project) = text(&conf.get("project_id")) {
        upstream.set("projectId", project);
    }
    if let Some(region) = text(&conf.get("region")) {
        upstream.set("location", region);
    }
    let account = gcp.get("service_account_json");
    if let Some(text) = account.text() {
        let text = template(&account, &text);
        let key = secret(&account, &text, &[name, "SERVICE_ACCOUNT"], draft);
        upstream
            .config
            .extend(key.map(|it| ("serviceAccount".to_owned(), it.into())));
    }
    gcp.ignore_keys(&["max_ttl", "expire_early_secs"]);
}

/// Unit: milliseconds.
const DEFAULT_TIMEOUT_MILLIS: f64 = 30_000.0;

const PLUGINS: [&str; 2] = ["ai-proxy", "ai-proxy-multi"];
