//! Envoy AI Gateway: `AIGatewayRoute`, `AIServiceBackend`, `BackendSecurityPolicy`, and what they refer to:
//! `Backend` of Envoy Gateway, `BackendTLSPolicy`, `Secret`.
//!
//! Source: <https://aigateway.envoyproxy.io/docs/api/>, read 2026-11-28.
//!
//! # What is decided here
//!
//! * The header `x-ai-eg-model`, which that gateway takes from the body, is a route's `models`.
//! * `priority` and `weight` of `backendRefs` are those of a pool. Its retries are a `BackendTrafficPolicy`'s
//!   there; a pool here has them by itself.

use serde_json::Value;

use super::draft::{Draft, Member, Pool, Route};
use super::http_route;
use super::kubernetes::{self, Resource};
use super::source::Node;
use super::upstream::{Path, Upstream, nested, text};
use crate::provider::ProviderType;

/// The group of its resources.
pub const GROUP: &str = "aigateway.envoyproxy.io";

/// Reads the documents.
pub fn read(roots: &[Node<'_>], draft: &mut Draft) {
    let resources = kubernetes::resources(roots);
    kubernetes::ignore_deployment(&resources);
    for route in resources.iter().filter(|it| it.kind() == "AIGatewayRoute") {
        let spec = route.node.get("spec");
        // Prices of tokens and the form of requests change nothing of what is sent.
        spec.ignore_keys(&[
            "parentRefs",
            "targetRefs",
            "llmRequestCosts",
            "filterConfig",
        ]);
        let schema = spec.get("schema");
        schema.ignore_keys(&["version"]);
        if schema.get("name").text().is_some_and(|it| it != "OpenAI") {
            schema.get("name").error("clients speak OpenAI's API here");
        }
        let hosts = spec.get("hostnames").items();
        let hosts: Vec<String> = hosts.iter().filter_map(text).collect();
        for rule in spec.get("rules").items() {
            read_rule(route, &rule, &hosts, &resources, draft);
        }
    }
    for policy in resources
        .iter()
        .filter(|it| it.kind() == "BackendTrafficPolicy")
    {
        policy.node.ignore();
        policy.node.warn(
            "left out: pools retry by themselves; see maxRetries, fallbackOn and timeout, and \
             limit rates in Envoy",
        );
    }
    draft.order_by_specificity();
}

fn read_rule(
    route: &Resource<'_>,
    rule: &Node<'_>,
    hosts: &[String],
    resources: &[Resource<'_>],
    draft: &mut Draft,
) {
    rule.ignore_keys(&["modelsOwnedBy", "modelsCreatedAt", "name"]);
    let mut pool = Pool {
        name: format!("{}-pool", route.name()),
        ..Pool::default()
    };
    let mut comments = Vec::new();
    let timeout = http_route::timeout(&rule.dig(&["timeouts", "request"]), &mut comments);
    for reference in rule.get("backendRefs").items() {
        reference.ignore_keys(&["group", "kind", "namespace"]);
        let name = reference.get("name").text().unwrap_or_default();
        let is_it = |it: &&Resource<'_>| it.kind() == "AIServiceBackend" && it.name() == name;
        let Some(backend) = resources.iter().find(is_it) else {
            reference.error(format!("no AIServiceBackend {name} is among the files"));
            continue;
        };
        let weight = reference.get("weight").number().unwrap_or(1);
        if weight == 0 {
            reference.warn("weight 0: never selected; left out");
            continue;
        }
        let Some(mut upstream) = read_backend(backend, resources, draft) else {
            continue;
        };
        if let Some(model) = text(&reference.get("modelNameOverride")) {
            upstream.set("model", model);
        }
        if let Some(span) = &timeout {
            upstream.set("timeout", span.clone());
            upstream.comments.extend(comments.iter().cloned());
        }
        let priority = reference.get("priority").number().unwrap_or(0);
        pool.members.push(Member {
            name: upstream.add(&name, draft),
            weight,
            priority: i64::try_from(priority).unwrap_or(i64::MAX),
        });
    }
    let matches = rule.get("matches").items();
    let mut routes = Vec::new();
    for item in &matches {
        routes.extend(read_match(route, item, hosts));
    }
    if matches.is_empty() {
        routes.extend(http_route::routes(
            Some(route.name()),
            hosts,
            &rule.get("matches"),
        ));
    }
    let Some(to) = draft.pool(pool) else { return };
    for route in routes {
        draft.route(route, &to);
    }
}

/// A route whose models come from the header that names the model there.
fn read_match(route: &Resource<'_>, item: &Node<'_>, hosts: &[String]) -> Option<Route> {
    let mut found = Route {
        name: Some(route.name().to_owned()),
        ..Route::default()
    };
    if !hosts.is_empty() {
        found.keys.insert("hosts".to_owned(), hosts.to_vec().into());
    }
    let mut others = serde_json::Map::new();
    for header in item.get("headers").items() {
        let name = header.get("name").text().unwrap_or_default();
        let value = header.get("value");
        let text = value.text().unwrap_or_default();
        let is_regex = header
            .get("type")
            .text()
            .is_some_and(|it| it == "RegularExpression");
        if name.eq_ignore_ascii_case(MODEL_HEADER) {
            let models = match is_regex {
                true => globs(&text),
                false => Some(vec![text.clone()]),
            };
            let Some(models) = models else {
                value.error("models are matched by names with \"*\", not by such an expression");
                return None;
            };
            if models != ["*"] {
                found.keys.insert("models".to_owned(), models.into());
            }
        } else if is_regex {
            header.error("a route here matches whole values of headers, no regular expression");
            return None;
        } else {
            others.insert(name, text.into());
        }
    }
    if !others.is_empty() {
        found.keys.insert("headers".to_owned(), others.into());
    }
    Some(found)
}

/// Names with `*` for a regular expression that is no more than that: `gpt-.*`, `(a|b)`, `^a$`.
fn globs(expression: &str) -> Option<Vec<String>> {
    let inner = expression.strip_prefix('^').unwrap_or(expression);
    let inner = inner.strip_suffix('$').unwrap_or(inner);
    let inner = inner
        .strip_prefix('(')
        .and_then(|it| it.strip_suffix(')'))
        .unwrap_or(inner);
    let glob = |part: &str| {
        let glob = part.replace(".*", "*").replace("\\.", "\u{0}");
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_/:*\u{0}".contains(c);
        glob.chars()
            .all(is_plain)
            .then(|| glob.replace('\u{0}', "."))
    };
    inner.split('|').map(glob).collect()
}

fn read_backend(
    backend: &Resource<'_>,
    resources: &[Resource<'_>],
    draft: &mut Draft,
) -> Option<Upstream> {
    let spec = backend.node.get("spec");
    spec.ignore_keys(&["timeouts"]);
    let schema = spec.get("schema");
    let name = schema.get("name").text().unwrap_or_default();
    let provider = match name.as_str() {
        "OpenAI" => None,
        "Cohere" => Some(ProviderType::Cohere),
        "Anthropic" => Some(ProviderType::Anthropic),
        "AzureOpenAI" => Some(ProviderType::AzureOpenai),
        "GCPVertexAI" | "GCPAnthropic" => Some(ProviderType::Google),
        _ => {
            schema
                .get("name")
                .error(format!("there is no type for {name:?} here"));
            spec.ignore();
            return None;
        }
    };
    let mut upstream = Upstream::new(provider);
    let version = text(&schema.get("version"));
    let prefix = text(&schema.get("prefix"));
    match provider {
        None => {
            let base = prefix.or(version).unwrap_or_else(|| "v1".to_owned());
            upstream.path = Path::Base(format!("/{}", base.trim_matches('/')));
        }
        Some(ProviderType::AzureOpenai) => {
            upstream
                .config
                .extend(version.map(|it| ("apiVersion".to_owned(), it.into())));
        }
        Some(_) => {}
    }
    let reference = spec.get("backendRef");
    reference.ignore_keys(&["group", "namespace", "port"]);
    let host = reference.get("name").text().unwrap_or_default();
    let kind = reference
        .get("kind")
        .text()
        .unwrap_or_else(|| "Service".to_owned());
    let is_it = |it: &&Resource<'_>| it.kind() == kind && it.name() == host;
    match resources.iter().find(is_it) {
        Some(found) if kind == "Backend" => read_endpoint(found, &mut upstream),
        _ => reference.error(format!("no {kind} {host} is among the files")),
    }
    for policy in kubernetes::policies(resources, "BackendTLSPolicy", "Backend", &host) {
        kubernetes::read_tls_policy(policy, &mut upstream);
    }
    let own_name = backend.name();
    let policies = kubernetes::policies(
        resources,
        "BackendSecurityPolicy",
        "AIServiceBackend",
        own_name,
    );
    for policy in policies {
        read_security(policy, resources, &mut upstream, draft);
    }
    read_mutations(&spec, &mut upstream);
    let has_location = upstream.config.contains_key("location");
    if provider == Some(ProviderType::Google) && !has_location {
        spec.error("Vertex AI needs a BackendSecurityPolicy with gcpCredentials");
    }
    if let Some(host) = upstream.host.clone().filter(|_| upstream.is_tls) {
        upstream.host = Some(host.strip_suffix(":443").unwrap_or(&host).to_owned());
    }
    Some(upstream)
}

fn read_endpoint(backend: &Resource<'_>, upstream: &mut Upstream) {
    let spec = backend.node.get("spec");
    let endpoints = spec.get("endpoints").items();
    upstream.is_tls = false;
    if let Some(second) = endpoints.get(1) {
        second.ignore();
        second.error("one endpoint for each Backend can be imported: write a pool");
    }
    let Some(endpoint) = endpoints.first() else {
        backend.node.error("has no endpoint");
        return;
    };
    let address = endpoint.any_of(&["fqdn", "ip"]);
    let Some(host) = text(&address.any_of(&["hostname", "address"])) else {
        endpoint.error("has neither a host name nor an address");
        return;
    };
    let host = if host.contains(':') {
        format!("[{host}]")
    } else {
        host
    };
    let port = address.get("port").number().unwrap_or(443);
    // Whether there is TLS decides which port needs no mention.
    upstream.host = Some(format!("{host}:{port}"));
    if spec.has("tls") {
        upstream.is_tls = true;
        let tls = spec.get("tls");
        upstream.server_name = text(&tls.get("sni"));
        upstream.is_insecure = tls.get("insecureSkipVerify").is_true();
        tls.ignore_keys(&["wellKnownCACertificates"]);
    }
}

fn read_security(
    policy: &Resource<'_>,
    resources: &[Resource<'_>],
    upstream: &mut Upstream,
    draft: &mut Draft,
) {
    let spec = policy.node.get("spec");
    let kind = spec.get("type").text().unwrap_or_default();
    match kind.as_str() {
        "APIKey" | "AzureAPIKey" | "AnthropicAPIKey" => {
            let settings = spec.any_of(&["apiKey", "azureAPIKey", "anthropicAPIKey"]);
            let reference = settings.get("secretRef");
            if let Some(key) = kubernetes::secret_key(&reference, resources, upstream, draft) {
                upstream.set("apiKey", key);
            }
        }
        "GCPCredentials" => {
            let settings = spec.get("gcpCredentials");
            if let Some(project) = text(&settings.get("projectName")) {
                upstream.set("projectId", project);
            }
            let region = text(&settings.get("region")).unwrap_or_else(|| "global".to_owned());
            upstream.set("location", region);
            let reference = settings.dig(&["credentialsFile", "secretRef"]);
            match reference.is_present() {
                true => {
                    let key = kubernetes::secret_key(&reference, resources, upstream, draft);
                    upstream
                        .config
                        .extend(key.map(|it| ("serviceAccount".to_owned(), it.into())));
                }
                false => {
                    settings.ignore();
                    upstream.comments.push(
                        "access tokens come from the metadata server; elsewhere set serviceAccount"
                            .to_owned(),
                    );
                }
            }
        }
        kind => {
            spec.ignore();
            spec.error(format!(
                "credentials of type {kind:?} are not supported here; use a key"
            ));
        }
    }
}

fn read_mutations(spec: &Node<'_>, upstream: &mut Upstream) {
    let headers = spec.get("headerMutation");
    for header in headers.get("set").items() {
        let name = header.get("name").text().unwrap_or_default();
        nested(upstream, &["headers"], &name, text(&header.get("value")));
    }
    let removed = headers.get("remove").items();
    let removed: Vec<String> = removed.iter().filter_map(text).collect();
    if !removed.is_empty() {
        upstream.set("removeHeaders", removed);
    }
    for field in spec.dig(&["bodyMutation", "set"]).items() {
        let path = field.any_of(&["path", "name"]).text().unwrap_or_default();
        let value = field.get("value").text().unwrap_or_default();
        let value = serde_json::from_str(&value).unwrap_or(Value::String(value));
        nested(upstream, &["overrides"], &path, Some(value));
    }
}

/// The header in which that gateway puts the model of the body.
const MODEL_HEADER: &str = "x-ai-eg-model";
