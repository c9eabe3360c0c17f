//! kgateway, and agentgateway on Kubernetes: `Backend` and `AgentgatewayBackend`, the `HTTPRoute`s to them,
//! their `BackendTLSPolicy` and `Secret`s.
//!
//! Source: <https://kgateway.dev/docs/latest/reference/api/> and
//! <https://agentgateway.dev/docs/kubernetes/latest/reference/api/>, read 2026-11-28.
//!
//! # What is decided here
//!
//! * A host of its own has TLS by a policy; without one, port 443 has it all the same.
//! * Every path below a route is a chat completion there, so the path of the HTTPRoute is the base URL.
//! * A `model` of a provider is always written.

use serde_json::{Map, Value};

use super::draft::{Draft, Member, Pool};
use super::http_route;
use super::kubernetes::{self, Resource};
use super::source::Node;
use super::upstream::{Path, Upstream, key, nested, text};
use crate::provider::ProviderType;

/// The group of kgateway's resources.
pub const GROUP: &str = "gateway.kgateway.dev";

/// The group of agentgateway's resources.
pub const AGENTGATEWAY_GROUP: &str = "agentgateway.dev";

/// Reads the documents.
pub fn read(roots: &[Node<'_>], draft: &mut Draft) {
    let resources = kubernetes::resources(roots);
    kubernetes::ignore_deployment(&resources);
    let mut used = Vec::new();
    for route in resources.iter().filter(|it| it.kind() == "HTTPRoute") {
        let spec = route.node.get("spec");
        spec.ignore_keys(&["parentRefs"]);
        let hosts = spec.get("hostnames").items();
        let hosts: Vec<String> = hosts.iter().filter_map(text).collect();
        for rule in spec.get("rules").items() {
            read_rule(route, &rule, &hosts, &resources, &mut used, draft);
        }
    }
    let backends = resources.iter().filter(|it| is_backend(it));
    let unused: Vec<&Resource<'_>> = backends
        .filter(|it| !used.contains(&it.name().to_owned()))
        .collect();
    let is_alone = unused.len() == 1 && used.is_empty();
    for backend in unused {
        let mut pool = Pool {
            name: backend.name().to_owned(),
            ..Pool::default()
        };
        let rewrite = Rewrite::default();
        read_backend(backend, &resources, &rewrite, 1, &mut pool, draft);
        let Some(to) = draft.pool(pool) else { continue };
        if !is_alone {
            let mut route = super::draft::Route::default();
            route
                .keys
                .insert("path".to_owned(), format!("/{to}").into());
            route.comments.push("no HTTPRoute leads here".to_owned());
            draft.route(route, &to);
        }
    }
    draft.order_by_specificity();
}

fn is_backend(resource: &Resource<'_>) -> bool {
    let groups = [GROUP, AGENTGATEWAY_GROUP];
    groups.contains(&resource.group())
        && matches!(resource.kind(), "Backend" | "AgentgatewayBackend")
}

/// What a rule changes in a request.
#[derive(Clone, Debug, Default)]
struct Rewrite {
    authority: Option<String>,
    config: Map<String, Value>,
    comments: Vec<String>,
}

fn read_rule(
    route: &Resource<'_>,
    rule: &Node<'_>,
    hosts: &[String],
    resources: &[Resource<'_>],
    used: &mut Vec<String>,
    draft: &mut Draft,
) {
    rule.ignore_keys(&["name"]);
    let mut rewrite = Rewrite::default();
    for filter in rule.get("filters").items() {
        read_filter(&filter, &mut rewrite);
    }
    let timeouts = rule.get("timeouts");
    for key in ["request", "backendRequest"] {
        if let Some(span) = http_route::timeout(&timeouts.get(key), &mut rewrite.comments) {
            rewrite.config.insert("timeout".to_owned(), span.into());
        }
    }
    let routes = http_route::routes(Some(route.name()), hosts, &rule.get("matches"));
    let mut pool = Pool {
        name: format!("{}-pool", route.name()),
        ..Pool::default()
    };
    let retries = http_route::retries(&rule.get("retry"), &mut pool.comments);
    let retries = retries.map(|it| ("maxRetries".to_owned(), it.into()));
    pool.settings.extend(retries);
    for reference in rule.get("backendRefs").items() {
        reference.ignore_keys(&["namespace", "port"]);
        let weight = reference.get("weight").number().unwrap_or(1);
        let name = reference.get("name").text().unwrap_or_default();
        let kind = reference.get("kind").text();
        let group = reference.get("group").text().unwrap_or_default();
        let is_it = |it: &&Resource<'_>| {
            it.name() == name && kind.as_deref() == Some(it.kind()) && it.group() == group
        };
        let Some(backend) = resources.iter().find(is_it).filter(|it| is_backend(it)) else {
            let kind = kind.unwrap_or_else(|| "Service".to_owned());
            reference.error(format!("no {kind} {name} for models is among the files"));
            continue;
        };
        used.push(name);
        if weight == 0 {
            reference.warn("weight 0: never selected; left out");
            continue;
        }
        read_backend(backend, resources, &rewrite, weight, &mut pool, draft);
    }
    let Some(to) = draft.pool(pool) else { return };
    for route in routes {
        draft.route(route, &to);
    }
}

fn read_filter(filter: &Node<'_>, rewrite: &mut Rewrite) {
    let kind = filter.get("type").text().unwrap_or_default();
    match kind.as_str() {
        "URLRewrite" => {
            let url = filter.get("urlRewrite");
            rewrite.authority = text(&url.get("hostname"));
            url.get("path").warn_if_present(
                "left out: the provider's path is made from the operation and the backend's own",
            );
        }
        "RequestHeaderModifier" => {
            let modifier = filter.get("requestHeaderModifier");
            let mut headers = Map::new();
            for header in ["set", "add"]
                .iter()
                .flat_map(|operation| modifier.get(operation).items())
            {
                let name = header.get("name").text().unwrap_or_default();
                headers.extend(text(&header.get("value")).map(|it| (name, it.into())));
            }
            if !headers.is_empty() {
                rewrite.config.insert("headers".to_owned(), headers.into());
            }
            let removed = modifier.get("remove").items();
            let removed: Vec<String> = removed.iter().filter_map(text).collect();
            if !removed.is_empty() {
                rewrite
                    .config
                    .insert("removeHeaders".to_owned(), removed.into());
            }
        }
        kind => {
            filter.ignore();
            filter.warn(format!(
                "the filter {kind} has no equivalent here; left out"
            ));
        }
    }
}

/// Adds the providers of a backend to a pool.
fn read_backend(
    backend: &Resource<'_>,
    resources: &[Resource<'_>],
    rewrite: &Rewrite,
    weight: u64,
    pool: &mut Pool,
    draft: &mut Draft,
) {
    let spec = backend.node.get("spec");
    let kind = spec.get("type").text();
    if kind.is_some_and(|kind| kind != "AI") || !spec.has("ai") {
        spec.error("only backends for models are imported");
        spec.ignore();
        return;
    }
    let ai = spec.get("ai");
    let outer = spec.get("policies");
    let one = |provider: &Node<'_>, wanted: &str, draft: &mut Draft| {
        let policies = [outer.clone(), provider.get("policies")];
        read_provider(
            provider, wanted, backend, resources, rewrite, &policies, draft,
        )
    };
    let groups = ai.any_of(&["groups", "priorityGroups"]).items();
    let old_groups = ai.dig(&["multipool", "priorities"]).items();
    for (priority, group) in (0..).zip(groups.iter().chain(&old_groups)) {
        for provider in group.any_of(&["providers", "pool"]).items() {
            let own = provider.get("name").text();
            let weight = provider.get("weight").number().unwrap_or(1).max(1);
            let wanted = own.unwrap_or_else(|| backend.name().to_owned());
            let name = one(&provider, &wanted, draft);
            pool.members.extend(name.map(|name| Member {
                name,
                weight,
                priority,
            }));
        }
    }
    let single = ai.any_of(&["llm", "provider"]);
    if single.is_present() {
        let name = one(&single, backend.name(), draft);
        pool.members.extend(name.map(|name| Member {
            name,
            weight,
            priority: 0,
        }));
    }
}

fn read_provider(
    node: &Node<'_>,
    wanted: &str,
    backend: &Resource<'_>,
    resources: &[Resource<'_>],
    rewrite: &Rewrite,
    policies: &[Node<'_>],
    draft: &mut Draft,
) -> Option<String> {
    // Newer and older forms: `{openai: …, host: …}` and `{provider: {openai: …}, hostOverride: …}`.
    let inner = node.get("provider");
    let holder = if inner.is_present() { &inner } else { node };
    let Some((kind, settings)) = PROVIDERS.iter().find_map(|(key, provider)| {
        let settings = holder.get(key);
        settings.value().is_some().then_some((provider, settings))
    }) else {
        node.error("has no provider that there is a type for here");
        node.ignore();
        return None;
    };
    let mut upstream = Upstream::new(*kind);
    upstream.comments.clone_from(&rewrite.comments);
    upstream.config.clone_from(&rewrite.config);
    read_settings(&settings, *kind, &mut upstream);
    for auth in [settings.get("authToken"), node.get("authToken")] {
        read_auth_token(&auth, resources, wanted, &mut upstream, draft);
    }
    let own_host = text(&node.get("host"));
    if let Some(host) = &own_host {
        let port = node.get("port").number().unwrap_or(443);
        upstream.host = Some(match port {
            443 => host.clone(),
            port => format!("{host}:{port}"),
        });
        upstream.is_tls = port == 443;
        upstream.path = Path::Base("/v1".to_owned());
        if port == 443 {
            let message = "port 443: TLS, although no policy says so";
            upstream.comments.push(message.to_owned());
        }
    }
    let path = node.get("path");
    if let Some(full) = path.get("full").text().or_else(|| path.text_if_scalar()) {
        upstream.path = Path::Full(full);
    }
    if let Some(prefix) = text(&node.get("pathPrefix")) {
        upstream.path = Path::Base(prefix);
    }
    let header = node.get("authHeader");
    if let Some(name) = header.any_of(&["headerName", "name"]).text() {
        nested(&mut upstream, &["authHeader"], "name", Some(name));
        let prefix = header.get("prefix").text().filter(|it| !it.is_empty());
        nested(&mut upstream, &["authHeader"], "prefix", prefix);
    }
    let no_policy = "port 443: TLS, although no policy says so";
    for policy in kubernetes::policies(
        resources,
        "BackendTLSPolicy",
        backend.kind(),
        backend.name(),
    ) {
        kubernetes::read_tls_policy(policy, &mut upstream);
        upstream.comments.retain(|it| it != no_policy);
    }
    for policies in policies {
        if policies.has("tls") {
            upstream.is_tls = true;
            upstream.comments.retain(|it| it != no_policy);
        }
        read_policies(policies, resources, wanted, &mut upstream, draft);
    }
    upstream.authority.clone_from(&rewrite.authority);
    if kind.is_some_and(|it| it.dialects().is_some()) {
        upstream.path = Path::Own;
    }
    if let Some(host) = upstream.host.as_ref().filter(|_| upstream.is_tls) {
        let default = host.strip_suffix(":443").unwrap_or(host);
        upstream.host = Some(default.to_owned());
    }
    Some(upstream.add(wanted, draft))
}

fn read_settings(settings: &Node<'_>, kind: Option<ProviderType>, upstream: &mut Upstream) {
    if let Some(model) = text(&settings.get("model")) {
        upstream.set("model", model);
    }
    match kind {
        Some(ProviderType::AzureOpenai) => {
            if let Some(endpoint) = text(&settings.any_of(&["endpoint", "resourceName"])) {
                let host = match settings.has("endpoint") {
                    true => endpoint,
                    false => format!("{endpoint}.openai.azure.com"),
                };
                upstream.set_url(&host, false);
                upstream.path = Path::Own;
            }
            let deployment = text(&settings.get("deploymentName"));
            let model = upstream.config.shift_remove("model");
            let deployment = deployment.map(Value::from).or(model);
            upstream
                .config
                .extend(deployment.map(|it| ("deploymentName".to_owned(), it)));
            if let Some(version) = text(&settings.get("apiVersion")) {
                upstream.set("apiVersion", version);
            }
        }
        Some(ProviderType::Google) => {
            if let Some(project) = text(&settings.get("projectId")) {
                upstream.set("projectId", project);
                let location = text(&settings.any_of(&["location", "region"]));
                upstream.set("location", location.unwrap_or_else(|| "global".to_owned()));
            }
            settings.ignore_keys(&["apiVersion", "publisher"]);
        }
        _ => settings.ignore_keys(&["apiVersion"]),
    }
}

fn read_auth_token(
    auth: &Node<'_>,
    resources: &[Resource<'_>],
    name: &str,
    upstream: &mut Upstream,
    draft: &mut Draft,
) {
    let kind = auth.get("kind").text().unwrap_or_default();
    if kind == "Passthrough" {
        let comment = "the client's own key is sent to the provider";
        upstream.comments.push(comment.to_owned());
    }
    let reference = auth.get("secretRef");
    if reference.is_present()
        && let Some(key) = kubernetes::secret_key(&reference, resources, upstream, draft)
    {
        upstream.set("apiKey", key);
    }
    let inline = auth.get("inline");
    if let Some(key) = inline.text().and_then(|it| key(&inline, &it, name, draft)) {
        upstream.set("apiKey", key);
    }
}

/// The policies in an AgentgatewayBackend.
fn read_policies(
    policies: &Node<'_>,
    resources: &[Resource<'_>],
    name: &str,
    upstream: &mut Upstream,
    draft: &mut Draft,
) {
    let auth = policies.get("auth");
    read_auth_token(&auth, resources, name, upstream, draft);
    let written = auth.get("key");
    if let Some(key) = written
        .text()
        .and_then(|it| key(&written, &it, name, draft))
    {
        upstream.set("apiKey", key);
    }
    if auth.has("passthrough") {
        auth.get("passthrough").ignore();
        let comment = "the client's own key is sent to the provider";
        upstream.comments.push(comment.to_owned());
    }
    let tls = policies.get("tls");
    if let Some(name) = text(&tls.get("sni")) {
        upstream.server_name = Some(name);
    }
    if tls
        .get("insecureSkipVerify")
        .text()
        .is_some_and(|it| it == "All")
    {
        upstream.is_insecure = true;
    }
    let timeout = policies.dig(&["http", "requestTimeout"]);
    if let Some(span) = http_route::timeout(&timeout, &mut upstream.comments) {
        upstream.set("timeout", span);
    }
    let ai = policies.get("ai");
    ai.ignore_keys(&["routes"]);
    for key in ["defaults", "overrides"] {
        for field in ai.get(key).items() {
            let name = field.any_of(&["field", "key"]).text().unwrap_or_default();
            let value = field.get("value");
            value.ignore();
            nested(upstream, &[key], &name, value.value().cloned());
        }
    }
    for (from, to) in ai.get("modelAliases").entries() {
        nested(upstream, &["modelAliases"], from, text(&to));
    }
}

/// The keys of providers, and their types.
const PROVIDERS: [(&str, Option<ProviderType>); 9] = [
    ("openai", None),
    ("anthropic", Some(ProviderType::Anthropic)),
    ("azureopenai", Some(ProviderType::AzureOpenai)),
    ("azure", Some(ProviderType::AzureOpenai)),
    ("custom", None),
    ("gemini", Some(ProviderType::Google)),
    ("mistral", Some(ProviderType::Mistral)),
    ("vertexai", Some(ProviderType::Google)),
    ("vertex", Some(ProviderType::Google)),
];
