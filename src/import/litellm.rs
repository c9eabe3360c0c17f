//! LiteLLM's `config.yaml`: `model_list`, `router_settings`, `litellm_settings`.
//!
//! Source: <https://docs.litellm.ai/docs/proxy/configs> and <https://docs.litellm.ai/docs/routing>, read
//! 2026-11-28.
//!
//! # What is decided here
//!
//! * Deployments with the same `model_name` are a pool. The groups in `fallbacks` follow with a lower
//!   priority.
//! * `api_base` is what `/chat/completions` is appended to.
//! * `rpm` is a weight where no deployment of the group has `weight`.
//! * A deployment without `api_key` uses the variable that LiteLLM would.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::draft::{Draft, Member, Pool, Route};
use super::source::Node;
use super::upstream::{Upstream, key, nested, span, template, text};
use crate::model::Glob;
use crate::provider::ProviderType;

/// Reads the documents.
pub fn read(roots: &[Node<'_>], draft: &mut Draft) {
    for root in roots {
        read_one(root, draft);
    }
}

/// A deployment that has been read.
#[derive(Clone, Debug)]
struct Deployment {
    backend: String,
    weight: u64,
    order: i64,
    /// `openai` for `openai/*`: what a client's model begins with.
    prefix: Option<String>,
}

fn read_one(root: &Node<'_>, draft: &mut Draft) {
    let settings = root.get("litellm_settings");
    let router = root.get("router_settings");
    let general = root.get("general_settings");
    let drops = settings.get("drop_params").is_true();
    let timeout = [settings.get("request_timeout"), router.get("timeout")];
    let timeout = timeout.iter().filter(|it| it.is_present()).find_map(span);
    let mut groups: Vec<(String, Vec<Deployment>)> = Vec::new();
    for model in root.get("model_list").items() {
        let Some(name) = text(&model.get("model_name")) else {
            model.error("has no model_name");
            model.ignore();
            continue;
        };
        model.ignore_keys(&["model_info"]);
        let Some(deployment) = read_model(&model, &name, drops, timeout.as_deref(), draft) else {
            continue;
        };
        match groups.iter_mut().find(|(group, _)| *group == name) {
            Some((_, deployments)) => deployments.push(deployment),
            None => groups.push((name, vec![deployment])),
        }
    }
    let retries = [router.get("num_retries"), settings.get("num_retries")];
    let retries = retries.iter().find_map(Node::number);
    let strategy = read_strategy(&router.get("routing_strategy"));
    let mut fallbacks = BTreeMap::new();
    for list in [router.get("fallbacks"), settings.get("fallbacks")] {
        read_fallbacks(&list, &groups, &mut fallbacks);
    }
    for list in [&settings, &router].map(|it| it.get("default_fallbacks")) {
        let targets: Vec<String> = list.items().iter().filter_map(text).collect();
        for (group, _) in &groups {
            let others = targets.iter().filter(|it| *it != group).cloned();
            let entry: &mut Vec<String> = fallbacks.entry(group.clone()).or_default();
            entry.extend(others);
        }
    }
    let mut targets: Vec<Target<'_>> = Vec::new();
    for (name, deployments) in ordered(&groups) {
        let then = fallbacks.get(name).map(Vec::as_slice).unwrap_or_default();
        let pool = pool(name, deployments, then, &groups, retries, strategy);
        let Some(to) = draft.pool(pool) else { continue };
        let prefix = deployments.iter().find_map(|it| it.prefix.as_ref());
        targets.push(Target {
            group: name,
            is_prefix: prefix.is_some_and(|it| *it == to),
            to,
        });
    }
    // An alias is looked up before the groups.
    for (alias, written) in router.get("model_group_alias").entries() {
        route_alias(alias, &written, &targets, draft);
    }
    for target in &targets {
        let models = (target.group != "*").then_some(target.group);
        draft.route(target.route(models), &target.to);
    }
    general.get("master_key").warn_if_present(
        "clients are not authenticated here: let Envoy do that before requests reach the gateway",
    );
    for key in [
        "callbacks",
        "success_callback",
        "failure_callback",
        "cache",
        "cache_params",
    ] {
        settings
            .get(key)
            .warn_if_present("has no equivalent here; Envoy's access log has every request");
    }
    root.get("environment_variables")
        .warn_if_present("set these variables for Envoy");
    settings.ignore_keys(&["set_verbose", "json_logs", "telemetry"]);
}

/// Where the requests for a group go.
struct Target<'a> {
    group: &'a str,
    /// The backend or pool.
    to: String,
    /// Whether the model begins with the name of the backend.
    is_prefix: bool,
}

impl Target<'_> {
    /// A route for these models; `None`: for all.
    fn route(&self, models: Option<&str>) -> Route {
        let mut route = Route::default();
        if let Some(models) = models {
            let models = vec![models.to_owned()];
            route.keys.insert("models".to_owned(), models.into());
        }
        if self.is_prefix {
            let key = "backendFromModel".to_owned();
            route.keys.insert(key, true.into());
        }
        route
    }

    /// Whether a request for this model goes here.
    fn matches(&self, model: &str) -> bool {
        Glob::new(self.group).matches(model)
    }
}

/// A route for another name of a group, or of a model that a pattern matches.
fn route_alias(alias: &str, written: &Node<'_>, targets: &[Target<'_>], draft: &mut Draft) {
    let name = written
        .text_if_scalar()
        .or_else(|| written.get("model").text());
    let is_hidden = written.get("hidden").is_true();
    let Some(name) = name else {
        written.error("has no model");
        return;
    };
    let Some(target) = targets.iter().find(|it| it.matches(&name)) else {
        written.error(format!("no model_name {name:?} is in model_list"));
        return;
    };
    let mut route = target.route(Some(alias));
    // The backends of a group that is no pattern write their model, whatever the client's.
    if target.group.contains('*') {
        let aliases = json!({alias: name});
        route.keys.insert("modelAliases".to_owned(), aliases);
    }
    if is_hidden {
        route.comments.push(format!(
            "{alias} was hidden: the list of models has it here"
        ));
    }
    draft.route(route, &target.to);
}

/// Exact names before patterns, and longer patterns before shorter ones: the order of routes decides.
fn ordered(groups: &[(String, Vec<Deployment>)]) -> Vec<&(String, Vec<Deployment>)> {
    let mut groups: Vec<&(String, Vec<Deployment>)> = groups.iter().collect();
    groups.sort_by_key(|(name, _)| match name.contains('*') {
        true => std::cmp::Reverse(name.len()),
        false => std::cmp::Reverse(usize::MAX),
    });
    groups
}

fn pool(
    name: &str,
    deployments: &[Deployment],
    fallbacks: &[String],
    groups: &[(String, Vec<Deployment>)],
    retries: Option<u64>,
    strategy: Option<&'static str>,
) -> Pool {
    let mut pool = Pool {
        name: format!("{}-pool", stem(name)),
        ..Pool::default()
    };
    let member = |deployment: &Deployment, level: i64| Member {
        name: deployment.backend.clone(),
        weight: deployment.weight,
        priority: level * 1_000_000 + deployment.order,
    };
    pool.members
        .extend(deployments.iter().map(|it| member(it, 0)));
    for (level, fallback) in (1..).zip(fallbacks) {
        let group = groups.iter().find(|(name, _)| name == fallback);
        for deployment in group.iter().flat_map(|(_, deployments)| deployments) {
            if !pool.members.iter().any(|it| it.name == deployment.backend) {
                pool.members.push(member(deployment, level));
            }
        }
    }
    if !fallbacks.is_empty() {
        pool.comments.push(
            "the fallback follows a failed connection, a timeout, 429 and 5xx; other statuses are \
             the client's to see"
                .to_owned(),
        );
    }
    if let Some(strategy) = strategy.filter(|_| pool.members.len() > 1) {
        pool.settings.insert("strategy".to_owned(), strategy.into());
    }
    if let Some(retries) = retries {
        // There the retries of each group count by themselves; here those of the pool do.
        let more = u64::try_from(fallbacks.len()).unwrap_or(0);
        let all = (retries + more).min(100);
        pool.settings.insert("maxRetries".to_owned(), all.into());
    }
    pool
}

fn read_strategy(node: &Node<'_>) -> Option<&'static str> {
    match node.text()?.as_str() {
        "simple-shuffle" | "weighted" => None,
        "latency-based-routing" => Some("latency"),
        other => {
            node.warn(format!(
                "{other:?}: members are selected by their weights instead"
            ));
            None
        }
    }
}

fn read_fallbacks(
    list: &Node<'_>,
    groups: &[(String, Vec<Deployment>)],
    fallbacks: &mut BTreeMap<String, Vec<String>>,
) {
    for item in list.items() {
        for (group, targets) in item.entries() {
            for target in targets.items() {
                let Some(name) = target.text() else { continue };
                if groups.iter().any(|(group, _)| *group == name) {
                    fallbacks.entry(group.to_owned()).or_default().push(name);
                } else {
                    target.error(format!("no model_name {name:?} is in model_list"));
                }
            }
        }
    }
}

fn read_model(
    model: &Node<'_>,
    name: &str,
    drops: bool,
    timeout: Option<&str>,
    draft: &mut Draft,
) -> Option<Deployment> {
    let params = model.get("litellm_params");
    let written = params.get("model");
    let full = text(&written)?;
    let base = text(&params.any_of(&["api_base", "base_url"]));
    let custom = params.get("custom_llm_provider").text();
    let (prefix, rest) = match (custom, full.split_once('/')) {
        (Some(custom), _) => (custom, full.clone()),
        (None, Some((prefix, rest))) => (prefix.to_owned(), rest.to_owned()),
        (None, None) => (by_name(&full).to_owned(), full.clone()),
    };
    let Some((provider, variable)) = provider_of(&prefix) else {
        written.error(format!("there is no type for the provider {prefix:?} here"));
        params.ignore();
        return None;
    };
    let is_pattern = rest.contains('*');
    // `openai/*` for `openai/*`: the name of the backend is what the client's model begins with.
    let begins = name
        .strip_suffix("/*")
        .filter(|_| rest == "*")
        .map(str::to_owned);
    let wanted = begins.clone().unwrap_or_else(|| stem(name));
    let backend = draft.name(&wanted);
    let mut upstream = Upstream::new(provider);
    if prefix == "azure" {
        upstream.set("deploymentName", rest.clone());
    } else if !is_pattern {
        upstream.set("model", rest.clone());
    } else if rest != "*" && rest != name {
        written.error("a pattern is sent on as it is; another one cannot be made of it");
    }
    read_base(base, &prefix, &mut upstream);
    let written_key = params.get("api_key");
    let found = written_key
        .text()
        .and_then(|it| key(&written_key, &it, &backend, draft));
    match (found, variable) {
        (Some(key), _) => upstream.set("apiKey", key),
        (None, Some(variable)) if !written_key.is_present() => {
            upstream.set("apiKey", format!("${{{variable}}}"));
            let comment = format!("no api_key: {variable} is what LiteLLM reads then");
            upstream.comments.push(comment);
        }
        (None, _) => {}
    }
    read_vertex(&params, &prefix, &mut upstream);
    read_params(&params, timeout, &mut upstream);
    let translates = provider.is_some_and(|it| it.dialects().is_some());
    let drops = drops || params.get("drop_params").is_true();
    if drops && translates {
        upstream.set("unsupported", "drop");
    }
    let weight = params.get("weight").number();
    let weight = weight.or_else(|| {
        let rpm = params.get("rpm").number()?;
        let comment = format!("the weight in a pool is rpm: {rpm}, which limits nothing here");
        upstream.comments.push(comment);
        Some(rpm)
    });
    if let Some(prefix) = begins.as_ref().filter(|it| **it != backend) {
        written.error(format!(
            "{prefix}/ can only be removed from models where no other backend has the name {prefix:?}"
        ));
    }
    let order = params.get("order").number().unwrap_or(0);
    upstream.add_as(&backend, draft);
    Some(Deployment {
        backend: backend.clone(),
        weight: weight.unwrap_or(1).clamp(1, 1_000_000),
        order: i64::try_from(order.min(1000)).unwrap_or(0),
        prefix: begins.filter(|it| *it == backend),
    })
}

fn read_base(base: Option<String>, prefix: &str, upstream: &mut Upstream) {
    let Some(base) = base else { return };
    if base.starts_with("${") {
        // What it stands for is a URL with its path.
        upstream.set("endpoint", base);
        if upstream.provider.is_none() {
            upstream.provider = Some(ProviderType::OpenaiCompatible);
        }
        return;
    }
    upstream.set_url(&base, false);
    if upstream.provider.is_some_and(|it| it.dialects().is_some()) || prefix == "azure" {
        upstream.path = super::upstream::Path::Own;
    }
    if prefix.starts_with("ollama") {
        upstream.path = super::upstream::Path::Own;
        let comment = "Ollama's OpenAI-compatible API below /v1 is used, not its own";
        upstream.comments.push(comment.to_owned());
    }
}

fn read_vertex(params: &Node<'_>, prefix: &str, upstream: &mut Upstream) {
    if !prefix.starts_with("vertex_ai") {
        return;
    }
    upstream.config.shift_remove("apiKey");
    if let Some(project) = text(&params.get("vertex_project")) {
        upstream.set("projectId", project);
    } else {
        upstream.set("projectId", "${VERTEXAI_PROJECT}");
    }
    let location = text(&params.get("vertex_location"));
    upstream.set(
        "location",
        location.unwrap_or_else(|| "us-central1".to_owned()),
    );
    let credentials = params.get("vertex_credentials");
    match text(&credentials) {
        Some(path) if path.ends_with(".json") => upstream.set("serviceAccountFile", path),
        Some(json) if json.starts_with("${") => upstream.set("serviceAccount", json),
        Some(_) => credentials.error("put the service account's key into a variable or a file"),
        None => {}
    }
}

fn read_params(params: &Node<'_>, timeout: Option<&str>, upstream: &mut Upstream) {
    if let Some(version) = text(&params.get("api_version")) {
        upstream.set("apiVersion", version);
    }
    if let Some(organization) = text(&params.get("organization")) {
        upstream.set("orgId", organization);
    }
    let own = params.get("timeout");
    let own = if own.is_present() { span(&own) } else { None };
    if let Some(span) = own.or_else(|| timeout.map(str::to_owned)) {
        upstream.set("timeout", span);
    }
    let stream = params.get("stream_timeout");
    if stream.is_present()
        && let Some(span) = span(&stream)
    {
        upstream.set("firstByteTimeout", span);
    }
    if let Some(retries) = params.get("max_retries").number() {
        upstream.set("maxRetries", retries.min(100));
    }
    for (name, value) in params.get("extra_headers").entries() {
        nested(upstream, &["headers"], name, text(&value));
    }
    for (member, value) in params.get("extra_body").entries() {
        value.ignore();
        nested(upstream, &["overrides"], member, value.value().cloned());
    }
    let is_ignored = |key: &str| IGNORED.contains(&key);
    for key in BODY_MEMBERS.iter().filter(|key| params.has(key)) {
        let value = params.get(key);
        value.ignore();
        let json = match value.value() {
            Some(Value::String(text)) => Some(Value::String(template(&value, text))),
            json => json.cloned(),
        };
        nested(upstream, &["defaults"], key, json);
    }
    for (key, value) in params.entries().iter().filter(|(key, _)| is_ignored(key)) {
        let message = format!("{key} limits nothing here; limit rates in Envoy");
        if matches!(*key, "tpm" | "max_parallel_requests") {
            value.warn(message);
        }
    }
}

/// The type of a provider by LiteLLM's prefix, and the variable that has its key there.
fn provider_of(prefix: &str) -> Option<(Option<ProviderType>, Option<&'static str>)> {
    use ProviderType as Type;
    let found = match prefix {
        "openai" | "text-completion-openai" => (None, Some("OPENAI_API_KEY")),
        "custom_openai" | "openai_like" | "litellm_proxy" => (None, None),
        "anthropic" => (Some(Type::Anthropic), Some("ANTHROPIC_API_KEY")),
        "azure" => (Some(Type::AzureOpenai), Some("AZURE_API_KEY")),
        "gemini" => (Some(Type::Google), Some("GEMINI_API_KEY")),
        "vertex_ai" | "vertex_ai_beta" => (Some(Type::Google), None),
        "cohere" | "cohere_chat" => (Some(Type::Cohere), Some("COHERE_API_KEY")),
        "deepseek" => (Some(Type::Deepseek), Some("DEEPSEEK_API_KEY")),
        "fireworks_ai" => (Some(Type::Fireworks), Some("FIREWORKS_API_KEY")),
        "groq" => (Some(Type::Groq), Some("GROQ_API_KEY")),
        "hosted_vllm" | "vllm" => (Some(Type::Vllm), None),
        "lm_studio" => (Some(Type::Lmstudio), None),
        "mistral" => (Some(Type::Mistral), Some("MISTRAL_API_KEY")),
        "ollama" | "ollama_chat" => (Some(Type::Ollama), None),
        "openrouter" => (Some(Type::Openrouter), Some("OPENROUTER_API_KEY")),
        "together_ai" => (Some(Type::Together), Some("TOGETHERAI_API_KEY")),
        "xai" => (Some(Type::Xai), Some("XAI_API_KEY")),
        _ => return None,
    };
    Some(found)
}

/// The provider of a model without a prefix.
fn by_name(model: &str) -> &'static str {
    match model {
        it if it.starts_with("claude") => "anthropic",
        it if it.starts_with("gemini") => "gemini",
        it if it.starts_with("command") => "cohere",
        _ => "openai",
    }
}

/// A name without its pattern.
fn stem(name: &str) -> String {
    match name.trim_matches(['*', '/', '-']) {
        "" => "any".to_owned(),
        stem => stem.to_owned(),
    }
}

/// Members of the body that LiteLLM adds where the client has none.
const BODY_MEMBERS: [&str; 8] = [
    "temperature",
    "top_p",
    "max_tokens",
    "max_completion_tokens",
    "seed",
    "stop",
    "presence_penalty",
    "frequency_penalty",
];

/// What only LiteLLM's own accounts use.
const IGNORED: [&str; 6] = [
    "tpm",
    "max_parallel_requests",
    "input_cost_per_token",
    "output_cost_per_token",
    "mode",
    "tags",
];
