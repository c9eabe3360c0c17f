//! agentgateway's own file: `binds` with listeners and routes, `gateways` with `routes`, and `llm.models`.
//!
//! Source: <https://agentgateway.dev/docs/standalone/latest/>, read 2026-11-28.
//!
//! # What is decided here
//!
//! * `urlRewrite.authority` is the host that the provider sees, `hostOverride` the one to connect to.
//! * A host that is overridden has TLS only with `backendTLS`; the provider's own host always has it.
//! * `urlRewrite.path.full` is the path of chat completions.
//! * Of `groups`, the first has priority.

use serde_json::Map;

use super::draft::{Draft, Member, Pool, Route};
use super::http_route;
use super::source::Node;
use super::upstream::{Path, Upstream, key, nested, text};
use crate::provider::ProviderType;

/// Reads the documents.
pub fn read(roots: &[Node<'_>], draft: &mut Draft) {
    for root in roots {
        root.get("config").warn_if_present(
            "settings of the process itself (logs, traces, metrics, addresses) have no place here; \
             left out",
        );
        for bind in root.get("binds").items() {
            let port = bind.get("port");
            if let Some(number) = port.number() {
                draft.listen(number, &port);
            }
            for listener in bind.get("listeners").items() {
                listener.ignore_keys(&["name", "namespace"]);
                read_protocol(&listener);
                let host = text(&listener.get("hostname")).filter(|it| it != "*");
                let policies = listener.get("policies");
                let hosts: Vec<String> = host.into_iter().collect();
                for route in listener.get("routes").items() {
                    read_route(&route, &hosts, &policies, draft);
                }
            }
        }
        for (_, gateway) in root.get("gateways").entries() {
            let port = gateway.get("port");
            if let Some(number) = port.number() {
                draft.listen(number, &port);
            }
            read_protocol(&gateway);
        }
        if root.has("gateways") {
            for route in root.get("routes").items() {
                route.ignore_keys(&["gateways"]);
                read_route(&route, &[], &root.get("policies"), draft);
            }
        }
        draft.order_by_specificity();
        read_models(&root.get("llm"), draft);
    }
}

fn read_protocol(listener: &Node<'_>) {
    let protocol = listener.get("protocol");
    if protocol.text().is_some_and(|it| it != "HTTP") {
        protocol.warn("the listener here is plain HTTP; put TLS in front of it");
    }
}

fn read_route(route: &Node<'_>, hosts: &[String], outer: &Node<'_>, draft: &mut Draft) {
    route.ignore_keys(&["namespace", "ruleName"]);
    let name = text(&route.any_of(&["name", "routeName"]));
    let own: Vec<String> = route
        .get("hostnames")
        .items()
        .iter()
        .filter_map(text)
        .collect();
    let hosts = if own.is_empty() { hosts } else { &own };
    let routes = http_route::routes(name.as_deref(), hosts, &route.get("matches"));
    let policies = route.get("policies");
    let mut comments = Vec::new();
    let retries = http_route::retries(&policies.get("retry"), &mut comments);
    let mut pool = Pool {
        name: name.clone().unwrap_or_else(|| "pool".to_owned()),
        ..Pool::default()
    };
    let backends = route.get("backends").items();
    for backend in &backends {
        let weight = backend.get("weight").number().unwrap_or(1);
        if weight == 0 {
            backend.warn("weight 0: never selected; left out");
            continue;
        }
        let layers = [outer.clone(), policies.clone(), backend.get("policies")];
        if backend.has("ai") {
            let providers = read_ai(&backend.get("ai"), &layers, &mut pool, weight, draft);
            if providers == 0 {
                backend.error("has no provider that can be imported");
            }
        } else {
            backend.error(
                "is no ai backend; only requests to models are imported: send others by a route \
                 of Envoy's own",
            );
            backend.ignore();
        }
    }
    if backends.is_empty() {
        route.error("has no backends");
    }
    if let Some(retries) = retries {
        pool.settings
            .insert("maxRetries".to_owned(), retries.into());
    }
    pool.comments = comments;
    let Some(to) = draft.pool(pool) else { return };
    for route in routes {
        draft.route(route, &to);
    }
}

/// Reads the providers of an `ai` backend into a pool, and gives their number.
fn read_ai(
    ai: &Node<'_>,
    layers: &[Node<'_>],
    pool: &mut Pool,
    weight: u64,
    draft: &mut Draft,
) -> usize {
    if !ai.has("groups") {
        let name = read_provider(ai, layers, None, draft);
        let member = name.map(|name| Member {
            name,
            weight,
            priority: 0,
        });
        let count = member.iter().count();
        pool.members.extend(member);
        return count;
    }
    let mut count = 0;
    for (priority, group) in (0..).zip(ai.get("groups").items()) {
        for provider in group.get("providers").items() {
            let weight = provider.get("weight").number().unwrap_or(1).max(1);
            let mut layers = layers.to_vec();
            layers.push(provider.get("policies"));
            if let Some(name) = read_provider(&provider, &layers, None, draft) {
                pool.members.push(Member {
                    name,
                    weight,
                    priority,
                });
                count += 1;
            }
        }
    }
    count
}

/// Reads one provider, of a backend or a group, and gives the backend's name.
fn read_provider(
    ai: &Node<'_>,
    layers: &[Node<'_>],
    default_name: Option<&str>,
    draft: &mut Draft,
) -> Option<String> {
    let provider = ai.get("provider");
    let (kind, settings) = match provider.value()?.as_str() {
        Some(name) => (name, provider.clone()),
        None => provider.entries().into_iter().next()?,
    };
    let Some(mut upstream) = upstream_of(kind, &provider) else {
        ai.ignore();
        return None;
    };
    let wanted = text(&ai.get("name")).or_else(|| default_name.map(str::to_owned));
    let name = draft.name(&wanted.unwrap_or_else(|| kind.to_ascii_lowercase()));
    if settings.value()?.is_object() {
        read_settings(kind, &settings, &mut upstream);
    }
    if let Some(host) = text(&ai.get("hostOverride")) {
        upstream.host = Some(host);
        upstream.is_tls = false;
        upstream.path = Path::Base("/v1".to_owned());
    }
    if let Some(path) = text(&ai.get("pathPrefix")) {
        upstream.path = Path::Base(path);
    }
    if let Some(path) = text(&ai.get("pathOverride")) {
        upstream.path = Path::Full(path);
    }
    ai.ignore_keys(&["tokenize"]);
    for layer in layers {
        read_policies(layer, &name, &mut upstream, draft);
    }
    if upstream.provider.is_some_and(|it| it.dialects().is_some()) {
        if matches!(upstream.path, Path::Full(_)) {
            ai.warn("a type with an API of its own has its own paths; the path is left out");
        }
        upstream.path = Path::Own;
    }
    upstream.add_as(&name, draft);
    Some(name)
}

/// The type of a provider by its name; an error where there is none.
fn upstream_of(kind: &str, node: &Node<'_>) -> Option<Upstream> {
    let folded = kind.to_ascii_lowercase().replace(['-', '_'], "");
    let provider = match folded.as_str() {
        "openai" | "custom" => None,
        "anthropic" => Some(ProviderType::Anthropic),
        "azure" | "azureopenai" => Some(ProviderType::AzureOpenai),
        "gemini" | "vertex" | "vertexai" => Some(ProviderType::Google),
        "togetherai" => Some(ProviderType::Together),
        other => {
            let known = ProviderType::ALL
                .into_iter()
                .find(|it| it.as_str().replace('-', "") == other);
            if known.is_none() {
                node.error(format!("there is no type for the provider {kind:?} here"));
                node.ignore();
            }
            Some(known?)
        }
    };
    Some(Upstream::new(provider))
}

/// The keys of a provider: `{openAI: {model: …}}`.
fn read_settings(kind: &str, settings: &Node<'_>, upstream: &mut Upstream) {
    if let Some(model) = text(&settings.get("model")) {
        upstream.set("model", model);
    }
    match upstream.provider {
        Some(ProviderType::AzureOpenai) => {
            if let Some(host) = text(&settings.get("host")) {
                upstream.host = Some(host);
            } else if let Some(resource) = text(&settings.get("resourceName")) {
                upstream.host = Some(format!("{resource}.openai.azure.com"));
                settings.ignore_keys(&["resourceType"]);
            }
            if let Some(version) = text(&settings.get("apiVersion")) {
                upstream.set("apiVersion", version);
            }
            // A deployment is what the model names there.
            if let Some(model) = upstream.config.shift_remove("model") {
                upstream.set("deploymentName", model);
            }
        }
        Some(ProviderType::Google) if kind.to_ascii_lowercase().starts_with("vertex") => {
            let project = text(&settings.get("projectId"));
            let location = text(&settings.get("region")).unwrap_or_else(|| "global".to_owned());
            upstream
                .config
                .extend(project.map(|it| ("projectId".to_owned(), it.into())));
            upstream.set("location", location);
        }
        _ => {}
    }
}

/// The policies of a route, a backend or a provider, the inner ones last.
fn read_policies(policies: &Node<'_>, name: &str, upstream: &mut Upstream, draft: &mut Draft) {
    let rewrite = policies.get("urlRewrite");
    let authority = rewrite.get("authority");
    if let Some(full) = text(&authority.any_of(&["full", "host"])) {
        upstream.authority = Some(full);
    }
    let path = rewrite.get("path");
    if let Some(full) = text(&path.get("full")) {
        upstream.path = Path::Full(full);
    }
    if path.has("prefix") {
        path.get("prefix")
            .warn("left out: the provider's path is made from the operation");
    }
    read_tls(&policies.get("backendTLS"), upstream);
    read_auth(&policies.get("backendAuth"), name, upstream, draft);
    let timeouts = policies.get("timeout");
    for key in ["requestTimeout", "backendRequestTimeout"] {
        if let Some(span) = http_route::timeout(&timeouts.get(key), &mut upstream.comments) {
            upstream.set("timeout", span);
        }
    }
    let modifier = policies.get("requestHeaderModifier");
    for operation in ["set", "add"] {
        for (header, value) in modifier.get(operation).entries() {
            nested(upstream, &["headers"], header, text(&value));
        }
    }
    let removed: Vec<String> = modifier
        .get("remove")
        .items()
        .iter()
        .filter_map(text)
        .collect();
    if !removed.is_empty() {
        upstream.set("removeHeaders", removed);
    }
    let ai = policies.get("ai");
    // Which API a path means is found from the path.
    ai.ignore_keys(&["routes"]);
    for key in ["defaults", "overrides"] {
        for (member, value) in ai.get(key).entries() {
            value.ignore();
            nested(upstream, &[key], member, value.value().cloned());
        }
    }
    for (from, to) in ai.get("modelAliases").entries() {
        nested(upstream, &["modelAliases"], from, text(&to));
    }
}

fn read_tls(tls: &Node<'_>, upstream: &mut Upstream) {
    if !tls.is_present() {
        return;
    }
    upstream.is_tls = true;
    if let Some(name) = text(&tls.any_of(&["hostname", "sni"])) {
        upstream.server_name = Some(name);
    }
    if let Some(file) = text(&tls.get("root")) {
        nested(upstream, &["tls"], "caFile", Some(file));
    }
    if tls.get("insecure").is_true() || tls.get("insecureHost").is_true() {
        upstream.is_insecure = true;
    }
}

fn read_auth(auth: &Node<'_>, name: &str, upstream: &mut Upstream, draft: &mut Draft) {
    let written = auth.get("key");
    let written = if written.has("value") {
        read_location(&written.get("location"), upstream);
        written.get("value")
    } else {
        written
    };
    if written.has("file") {
        written
            .get("file")
            .error("a key cannot be read from a file; put it into a variable");
    } else if let Some(found) = written
        .text()
        .and_then(|it| key(&written, &it, name, draft))
    {
        upstream.set("apiKey", found);
    }
    if auth.has("passthrough") {
        auth.get("passthrough").ignore();
        upstream.config.shift_remove("apiKey");
        upstream
            .comments
            .push("the client's own key is sent to the provider".to_owned());
    }
    let is_google = upstream.provider == Some(ProviderType::Google);
    if auth.has("gcp") && is_google && upstream.config.contains_key("location") {
        auth.get("gcp").ignore();
        upstream.comments.push(
            "access tokens come from the metadata server; elsewhere set serviceAccount".to_owned(),
        );
    }
    for key in ["aws", "azure", "gcp"] {
        if auth.has(key) && !(key == "gcp" && is_google) {
            let node = auth.get(key);
            node.ignore();
            node.error("credentials of a cloud are not supported here; use an API key");
        }
    }
}

/// Where a key goes, if not where the provider expects it.
fn read_location(location: &Node<'_>, upstream: &mut Upstream) {
    let header = location.get("header");
    if let Some(name) = text(&header.get("name")) {
        let mut written = Map::new();
        written.insert("name".to_owned(), name.into());
        let prefix = header.get("prefix").text().filter(|it| !it.is_empty());
        written.extend(prefix.map(|it| ("prefix".to_owned(), it.into())));
        upstream.set("authHeader", written);
    }
}

/// `llm.models`: models by the names that clients use.
fn read_models(llm: &Node<'_>, draft: &mut Draft) {
    let models = llm.get("models").items();
    if models.is_empty() {
        return;
    }
    let port = llm.get("port");
    draft.listen(port.number().unwrap_or(4000), &port);
    // An exact name comes first, then the longer pattern: their order here decides nothing there.
    let mut routes: Vec<(usize, Route, String)> = Vec::new();
    for model in &models {
        let Some(name) = text(&model.get("name")) else {
            model.error("has no name");
            continue;
        };
        let Some(backend) = read_model(model, &name, draft) else {
            continue;
        };
        let mut all = http_route::routes(None, &[], &model.get("matches"));
        for route in &mut all {
            if name != "*" {
                route
                    .keys
                    .insert("models".to_owned(), vec![name.clone()].into());
            }
        }
        let rank = match name.contains('*') {
            true => name.len(),
            false => usize::MAX,
        };
        routes.extend(all.into_iter().map(|route| (rank, route, backend.clone())));
    }
    let is_matched = |route: &Route| usize::from(route.keys.contains_key("headers"));
    routes.sort_by_key(|(rank, route, _)| std::cmp::Reverse((*rank, is_matched(route))));
    for (_, route, backend) in routes {
        draft.route(route, &backend);
    }
}

fn read_model(model: &Node<'_>, name: &str, draft: &mut Draft) -> Option<String> {
    let provider = model.get("provider");
    let (kind, settings) = match provider.value().and_then(|it| it.as_str()) {
        Some(kind) => (kind, None),
        None => {
            let entry = provider.entries().into_iter().next();
            let Some((kind, settings)) = entry else {
                model.error("has no provider");
                return None;
            };
            (kind, Some(settings))
        }
    };
    let Some(mut upstream) = upstream_of(kind, &provider) else {
        model.ignore();
        return None;
    };
    let wanted = match name.trim_matches(['*', '-', '/']) {
        "" => kind.to_ascii_lowercase(),
        name => name.to_owned(),
    };
    let backend = draft.name(&wanted);
    let params = model.get("params");
    for settings in settings.iter().chain([&params]) {
        read_settings(kind, settings, &mut upstream);
    }
    let api_key = params.get("apiKey");
    if let Some(found) = api_key
        .text()
        .and_then(|it| key(&api_key, &it, &backend, draft))
    {
        upstream.set("apiKey", found);
    }
    read_auth(&model.get("auth"), &backend, &mut upstream, draft);
    if let Some(url) = text(&params.any_of(&["baseUrl", "azureEndpoint"])) {
        upstream.set_url(&url, false);
    }
    if let Some(host) = text(&params.any_of(&["hostOverride", "azureHost"])) {
        upstream.host = Some(host);
        let is_azure = upstream.provider == Some(ProviderType::AzureOpenai);
        upstream.is_tls = is_azure || model.has("tls") || model.has("backendTLS");
    }
    if let Some(resource) = text(&params.get("azureResourceName")) {
        upstream.host = Some(format!("{resource}.openai.azure.com"));
    }
    if let Some(version) = text(&params.get("azureApiVersion")) {
        upstream.set("apiVersion", version);
    }
    if let Some(path) = text(&params.get("pathPrefix")) {
        upstream.path = Path::Base(path);
    }
    if let Some(path) = text(&params.get("pathOverride")) {
        upstream.path = Path::Full(path);
    }
    if let Some(project) = text(&params.get("vertexProject")) {
        upstream.set("projectId", project);
    }
    if let Some(region) = text(&params.get("vertexRegion")) {
        upstream.set("location", region);
    }
    read_tls(&model.any_of(&["tls", "backendTLS"]), &mut upstream);
    for key in ["defaults", "overrides"] {
        for (member, value) in model.get(key).entries() {
            value.ignore();
            nested(&mut upstream, &[key], member, value.value().cloned());
        }
    }
    params.ignore_keys(&["tokenize"]);
    if upstream.provider.is_some_and(|it| it.dialects().is_some()) {
        upstream.path = match upstream.path {
            Path::Base(base) if base.is_empty() => Path::Own,
            Path::Full(_) => {
                params
                    .warn("a type with an API of its own has its own paths; pathOverride left out");
                Path::Own
            }
            path => path,
        };
    }
    upstream.add_as(&backend, draft);
    Some(backend)
}
