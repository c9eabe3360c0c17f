//! A backend: `backends[]` of a provider, and its `config`.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use serde_json::Value;

use super::super::error::KeyPath;
use super::super::keys::{CONFIG_KEYS, POOL_KEYS};
use super::super::value::{
    BackendType, SecretSource, Span, Template, UncheckedOperation, WebSearch,
};
use super::super::{defaults, file};
use super::{BODY_HEADERS, Backends, Build, FRAMING_HEADERS};
use crate::backend::{Backend, Complete, Injected, MemberRule, Place, Query, Tls, UsageReport};
use crate::contract::secret_header;
use crate::endpoint::{Address, Endpoint, check_path};
use crate::firewall::HeaderRules;
use crate::host::Host;
use crate::json::Watched;
use crate::model::{ByModel, Glob, ModelRule, OTHER_MODELS};
use crate::name::BackendName;
use crate::operation::Operation;
use crate::operation::table::Definition;
use crate::price::{Price, Prices};
use crate::provider::azure::{self, ApiVersion};
use crate::provider::dialect::Options;
use crate::provider::vertex::{self, Location};
use crate::provider::{Dialects, FurtherApis, KeyPlace, ProviderType, STREAM_OPTIONS, Wire};
use crate::secret::Secret;

impl Build<'_> {
    /// The backends. `prices` are those of all of them.
    pub(super) fn backends(
        &mut self,
        file: &file::Gateway,
        prices: &Rc<ByModel<Price>>,
    ) -> Backends {
        let at = KeyPath::root().key("backends");
        if file.backends.is_empty() {
            self.errors.push(&at, "at least one backend is required");
        }
        let mut seen = BTreeSet::new();
        let mut backends = Backends::default();
        for (index, backend) in file.backends.iter() {
            let at = at.index(index);
            if !seen.insert(backend.name.as_str()) {
                let message = format!("{:?} is the name of another backend, too", backend.name);
                self.errors.push(&at.key("name"), message);
            }
            if let BackendType::Provider(provider) = backend.r#type {
                let backend = self.backend(backend, provider, prices, &at);
                backends.extend(backend);
            }
        }
        backends
    }

    fn backend(
        &mut self,
        file: &file::Backend,
        provider: ProviderType,
        prices: &Rc<ByModel<Price>>,
        at: &KeyPath,
    ) -> Option<Backend> {
        let name = self.noted(BackendName::new(&file.name), &at.key("name"));
        for key in POOL_KEYS.into_iter().filter(|key| file.has(key)) {
            let message = match file::BackendConfig::KEYS.contains(&key) {
                true => "belongs under config",
                false => "is only valid for type \"pool\"",
            };
            self.errors.push(&at.key(key), message);
        }
        let at = &at.key("config");
        let absent = file::BackendConfig::default();
        let config = file.config.as_ref().unwrap_or(&absent);
        self.keys_of_other_types(config, provider, at);

        let vertex = match provider {
            ProviderType::Google => self.vertex(config, at),
            _ => None,
        };
        let endpoint = self.endpoint(config, provider, vertex.as_ref(), at);
        let address = self.text(config.address.as_ref(), &at.key("address"));
        let address =
            address.and_then(|text| self.noted(Address::parse(&text), &at.key("address")));
        let options = self.options(config, provider, at);
        let wire = self.wire(config, provider, vertex.as_ref(), at);
        let further_apis = further_apis(config, provider);
        let headers = self.headers(config, provider, at);
        let name_of_backend = file.name.as_str();
        let auth = match &vertex {
            Some(_) => self.vertex_auth(name_of_backend, config, &headers, at),
            None => self.auth(config, provider, &headers, at),
        };
        let query = self.query(config, at);
        let injected = self.injected(&file.name, config, provider, at);
        let members = self.members(config, at);
        let rules = members.iter().map(|rule| rule.name.as_str());
        let limits = provider.limit_name().names().into_iter().flatten();
        let renamed = provider.member_rules().renamed.iter().flatten().copied();
        let has_rule = |name: &&str| members.iter().any(|rule| rule.name == *name);
        let others = OTHER_MODELS.into_iter().filter(|it| !has_rule(it));
        let usage_report = config.usage.unwrap_or_default();
        let requests_usage = usage_report == UsageReport::On && provider.gives_stream_usage();
        let has_own = members.iter().any(|rule| rule.name == STREAM_OPTIONS);
        let usage = (requests_usage && !has_own).then_some(STREAM_OPTIONS);
        let watched = ["model", "stream"].into_iter();
        let watched = watched
            .chain(rules)
            .chain(limits)
            .chain(renamed)
            .chain(others);
        let watched = Watched::new(watched.chain(usage));
        // Everything is checked before the first thing that is missing ends it.
        let model = self.model(config, at);
        let max_retries = self.retries(config.max_retries, &at.key("maxRetries"));
        let tls = self.tls(config.tls.as_ref(), at);
        let prices = Prices {
            own: self.prices(config.prices.as_ref(), at),
            common: Rc::clone(prices),
        };
        Some(Backend {
            name: name?,
            provider,
            endpoint: endpoint?,
            address,
            wire,
            further_apis,
            options,
            model,
            unchecked: unchecked(config),
            members,
            watched,
            usage_report,
            auth: auth?,
            headers,
            header_rules: self.header_rules(config, at),
            betas: betas(config, vertex.is_some()),
            query,
            injected,
            complete: Complete::default(),
            timeout: config
                .timeout
                .map_or(defaults::TIMEOUT, |Span(timeout)| timeout),
            first_byte_timeout: config.first_byte_timeout.map(|Span(timeout)| timeout),
            stream_idle_timeout: config.stream_idle_timeout.map(|Span(timeout)| timeout),
            max_retries: max_retries.unwrap_or(defaults::MAX_RETRIES),
            tls,
            prices,
        })
    }

    /// Notes the keys that do not apply to this type.
    fn keys_of_other_types(
        &mut self,
        config: &file::BackendConfig,
        provider: ProviderType,
        at: &KeyPath,
    ) {
        let is_on_vertex = config.project_id.is_some() || config.location.is_some();
        for key in CONFIG_KEYS {
            if !config.has(key.name) {
                continue;
            }
            let at = at.key(key.name);
            if !key.types.contain(provider) {
                let message = format!("is not valid for type {:?}", provider.as_str());
                self.errors.push(&at, message);
            } else if key.needs_location && provider == ProviderType::Google && !is_on_vertex {
                let message = "is only valid for Vertex AI; set projectId and location";
                self.errors.push(&at, message);
            }
        }
    }

    /// Where on Vertex AI, if there.
    fn vertex(&mut self, config: &file::BackendConfig, at: &KeyPath) -> Option<Location> {
        let location_at = at.key("location");
        let project_at = at.key("projectId");
        let (project, location) = match (&config.project_id, &config.location) {
            (None, None) => return None,
            (Some(project), Some(location)) => (project, location),
            (Some(_), None) => {
                let message = "required beside projectId: a region such as us-central1, or global";
                self.required(&location_at, message);
                return None;
            }
            (None, Some(_)) => {
                self.required(&project_at, "required beside location");
                return None;
            }
        };
        let project = self.text(Some(project), &project_at)?;
        let location = self.text(Some(location), &location_at)?;
        if !Location::is_project(&project) {
            let message = format!("{project:?} is not the id of a project of Google Cloud");
            self.errors.push(&project_at, message);
        }
        if !Location::is_location(&location) {
            let message = format!("{location:?} is not a location such as us-central1 or global");
            self.errors.push(&location_at, message);
        }
        Some(Location::new(project, location))
    }

    fn endpoint(
        &mut self,
        config: &file::BackendConfig,
        provider: ProviderType,
        vertex: Option<&Location>,
        at: &KeyPath,
    ) -> Option<Endpoint> {
        let config_at = at;
        let at = &at.key("endpoint");
        let mut preset = provider.preset();
        if vertex.is_some() {
            preset.base_path = "/v1";
        }
        let text = match &config.endpoint {
            Some(_) => self.text(config.endpoint.as_ref(), at)?,
            None => match (vertex, preset.origin) {
                (Some(location), _) => location.origin(),
                (None, Some(origin)) => origin.to_owned(),
                (None, None) => {
                    self.required(at, &format!("required for type {:?}", provider.as_str()));
                    return None;
                }
            },
        };
        let mut endpoint = self.noted(Endpoint::parse(&text, preset.base_path), at)?;
        if provider == ProviderType::AzureOpenai {
            endpoint.base_path = azure::resource_path(&endpoint.base_path).to_owned();
        }
        if let Some(location) = vertex {
            endpoint.base_path.push_str(&location.path());
        }
        if !endpoint.is_tls && config.tls.is_some() {
            let message = "has no effect, since the endpoint is plain http; use https or remove it";
            self.errors.push(&config_at.key("tls"), message);
        }
        Some(endpoint)
    }

    fn wire(
        &mut self,
        config: &file::BackendConfig,
        provider: ProviderType,
        vertex: Option<&Location>,
        at: &KeyPath,
    ) -> Wire {
        let dialects = match vertex {
            Some(_) => Some(Dialects::Vertex),
            None => provider.dialects(),
        };
        if let Some(dialects) = dialects {
            return Wire::Translated(dialects);
        }
        if provider == ProviderType::AzureOpenai {
            let at = at.key("apiVersion");
            let version = self.text(config.api_version.as_ref(), &at);
            let version = version.as_deref().unwrap_or(defaults::API_VERSION);
            let version = self.noted(ApiVersion::parse(version), &at);
            return Wire::Azure(version.unwrap_or(ApiVersion::V1));
        }
        let at = at.key("path");
        let chat_path = self.text(config.path.as_ref(), &at);
        if let Some(path) = &chat_path {
            self.chat_path(path, &at);
        }
        Wire::OpenAi { chat_path }
    }

    /// A path with its query, as it goes into `:path`.
    fn chat_path(&mut self, path: &str, at: &KeyPath) {
        if Operation::of(path, None).is_err() {
            let message = format!("{path:?} is not a path such as /v1/chat");
            self.errors.push(at, message);
            return;
        }
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        self.noted(check_path(path), at);
        if let Some(c) = query.chars().find(|c| !matches!(c, '!'..='~') || *c == '#') {
            let message = format!("{c:?} cannot stand in a query; write it percent-encoded");
            self.errors.push(at, message);
        }
    }

    fn options(
        &mut self,
        config: &file::BackendConfig,
        provider: ProviderType,
        at: &KeyPath,
    ) -> Options {
        if config.max_tokens == Some(0) {
            self.errors.push(&at.key("maxTokens"), "must be at least 1");
        }
        Options {
            max_tokens: config.max_tokens.map(u64::from),
            unsupported: config.unsupported.unwrap_or_default(),
            has_web_search: config.web_search == Some(WebSearch::Provider),
            limit_name: provider.limit_name(),
            members: provider.member_rules(),
        }
    }

    /// The extra headers, `auth.header` and the organization among them.
    fn headers(
        &mut self,
        config: &file::BackendConfig,
        provider: ProviderType,
        at: &KeyPath,
    ) -> Vec<(Rc<str>, Secret)> {
        let mut headers = BTreeMap::new();
        let organization = [
            ("orgId", "openai-organization", &config.org_id),
            ("projectId", "openai-project", &config.project_id),
        ];
        for (key, header, value) in organization {
            let Some(value) = value else { continue };
            if provider == ProviderType::Google && key == "projectId" {
                continue;
            }
            headers.extend(
                self.header_value(value, &at.key(key))
                    .map(|it| (header.into(), it)),
            );
        }
        let auth = config.auth.as_ref().and_then(|auth| auth.header.as_ref());
        let maps = [
            (config.headers.as_ref(), at.key("headers")),
            (auth, at.key("auth").key("header")),
        ];
        for (map, at) in maps {
            for (name, value) in map.into_iter().flatten() {
                let name_at = at.key(name);
                let name = self.header_name(name, &name_at);
                let value = match value {
                    SecretSource::Text(value) => self.header_value(value, &name_at),
                    SecretSource::File(_) | SecretSource::Header(_) => Some(Secret::new("")),
                };
                if name.as_ref().is_some_and(|name| headers.contains_key(name)) {
                    self.errors.push(&name_at, "is set twice");
                }
                headers.extend(name.zip(value));
            }
        }
        headers.into_iter().collect()
    }

    fn header_rules(&mut self, config: &file::BackendConfig, at: &KeyPath) -> HeaderRules {
        let at = at.key("removeHeaders");
        let mut removed = Vec::new();
        for (index, pattern) in config.remove_headers.iter().flatten().enumerate() {
            let (stem, rest) = match pattern.strip_suffix('*') {
                Some(stem) => (stem, "*"),
                None => (pattern.as_str(), ""),
            };
            let at = at.index(index);
            if stem.contains('*') {
                let message = format!("{pattern:?} has a '*' before its end");
                self.errors.push(&at, message);
            }
            let Some(stem) = self.header_name(stem, &at) else {
                continue;
            };
            let is_removed = |name: &&str| match rest {
                "*" => name.starts_with(&*stem),
                _ => **name == *stem,
            };
            let needed = FRAMING_HEADERS.iter().chain(&BODY_HEADERS);
            if let Some(name) = needed.copied().find(|it| is_removed(it)) {
                let message = format!(
                    "{pattern:?} would remove {name}, without which no provider reads the body"
                );
                self.errors.push(&at, message);
            }
            removed.push([&*stem, rest].concat());
        }
        HeaderRules {
            traces: config.trace_headers.unwrap_or(defaults::TRACE_HEADERS),
            removed,
        }
    }

    fn query(&mut self, config: &file::BackendConfig, at: &KeyPath) -> Option<Query> {
        let query = config.auth.as_ref()?.query.as_ref()?;
        let at = at.key("auth").key("query");
        let mut encoded = form_urlencoded::Serializer::new(String::new());
        let mut is_empty = true;
        for (name, value) in query {
            if name.is_empty() {
                self.errors
                    .push(&at.key(name), "the name of a parameter is empty");
            }
            let SecretSource::Text(value) = value else {
                continue;
            };
            is_empty = false;
            if let Some(value) = self.secret(value, &at.key(name)) {
                encoded.append_pair(name, &value);
            }
        }
        (!is_empty).then(|| Query {
            encoded: Secret::new(encoded.finish()),
        })
    }

    /// What authenticates and arrives with each attempt.
    fn injected(
        &mut self,
        backend: &str,
        config: &file::BackendConfig,
        provider: ProviderType,
        at: &KeyPath,
    ) -> Vec<Injected> {
        let mut found = Vec::new();
        let key = config.api_key.as_ref();
        if let Some(source) = key.filter(|it| !matches!(it, SecretSource::Text(_))) {
            let place = match provider {
                ProviderType::Google if config.location.is_some() => KeyPlace::Bearer,
                _ => self.key_place(config, provider),
            };
            let header = self.key_header(config, place, at);
            let keys = ["apiKey".to_owned()];
            found.push((keys.to_vec(), source, Place::Key(header)));
        }
        let auth = config.auth.as_ref();
        let headers = [
            (&["headers"][..], config.headers.as_ref()),
            (&["auth", "header"], auth.and_then(|it| it.header.as_ref())),
        ];
        let keys = |start: &[&str], name: &String| {
            let start = start.iter().map(|it| (*it).to_owned());
            start.chain([name.clone()]).collect::<Vec<String>>()
        };
        for (start, map) in headers {
            for (name, source) in map.into_iter().flatten() {
                let place = Place::Header(name.to_ascii_lowercase().into());
                found.push((keys(start, name), source, place));
            }
        }
        let query = auth.and_then(|it| it.query.as_ref());
        for (name, source) in query.into_iter().flatten() {
            let place = Place::Query(name.clone());
            found.push((keys(&["auth", "query"], name), source, place));
        }
        let mut injected = Vec::new();
        for (keys, source, place) in found {
            let at = keys.iter().fold(at.clone(), |at, key| at.key(key));
            let header = match source {
                SecretSource::Text(_) => continue,
                SecretSource::File(path) => {
                    if cfg!(target_os = "wasi") {
                        let message = "the module reads no file; use header: the name of a header \
                             that a filter before it writes, as llm-proxy render does";
                        self.errors.push(&at, message);
                        continue;
                    }
                    if self.printable_text(Some(path), &at.key("file")).is_none() {
                        continue;
                    }
                    secret_header(backend, &keys).into()
                }
                SecretSource::Header(name) => match self.header_name(name, &at.key("header")) {
                    Some(name) => name,
                    None => continue,
                },
            };
            injected.push(Injected {
                header,
                place,
                key: keys.join("."),
            });
        }
        injected
    }

    fn model(&mut self, config: &file::BackendConfig, at: &KeyPath) -> ModelRule {
        let always = self.model_name(config.model.as_ref(), &at.key("model"));
        let deployment_at = at.key("deploymentName");
        let deployment = self.model_name(config.deployment_name.as_ref(), &deployment_at);
        if deployment.is_some() && always.is_some() {
            self.errors.push(
                &deployment_at,
                "cannot be combined with model: both name the deployment",
            );
        }
        let always = deployment.or(always);
        let default = self.model_name(config.default_model.as_ref(), &at.key("defaultModel"));
        let aliases = config.model_aliases.iter().flatten();
        let aliases = self.aliases(aliases, &at.key("modelAliases"));
        let serves = config.models.as_ref();
        if serves.is_some_and(Vec::is_empty) {
            self.errors
                .push(&at.key("models"), "an empty list would refuse every model");
        }
        for (index, glob) in serves.into_iter().flatten().enumerate() {
            if glob.trim().is_empty() || glob.chars().any(char::is_control) {
                let at = at.key("models").index(index);
                self.errors
                    .push(&at, format!("{glob:?} is not the name of a model"));
            }
        }
        let serves = serves.map(|globs| globs.iter().map(|glob| Glob::new(glob)).collect());
        ModelRule {
            always,
            default,
            aliases,
            restricts_to_served: serves.is_some(),
            serves,
            replaces_unserved: false,
        }
    }

    fn members(&mut self, config: &file::BackendConfig, at: &KeyPath) -> Vec<MemberRule> {
        let mut members = Vec::new();
        let overrides = config
            .overrides
            .iter()
            .flatten()
            .map(|it| ("overrides", it));
        let defaults = config.defaults.iter().flatten().map(|it| ("defaults", it));
        let mut seen = BTreeSet::new();
        for (key, (name, value)) in overrides.chain(defaults) {
            let at = at.key(key).key(name);
            match name.as_str() {
                "model" => self.errors.push(&at, "use model or defaultModel instead"),
                "stream" => self.errors.push(&at, "is the client's to decide"),
                // A member that is overridden needs no default.
                _ if !seen.insert(name) => {}
                _ => {
                    let value: Rc<str> = Value::to_string(value).into();
                    members.push(MemberRule {
                        name: name.clone(),
                        value,
                        always: key == "overrides",
                    });
                }
            }
        }
        members
    }

    pub(super) fn tls(&mut self, written: Option<&file::Tls>, at: &KeyPath) -> Tls {
        let at = at.key("tls");
        let absent = file::Tls::default();
        let tls = written.unwrap_or(&absent);
        let insecure = tls.insecure.unwrap_or(defaults::INSECURE);
        if insecure && tls.ca_file.is_some() {
            self.errors
                .push(&at.key("insecure"), "cannot be combined with caFile");
        }
        Tls {
            ca_file: self.printable_text(tls.ca_file.as_ref(), &at.key("caFile")),
            server_name: self.server_name(tls.server_name.as_ref(), &at.key("serverName")),
            insecure,
        }
    }

    fn server_name(&mut self, template: Option<&Template>, at: &KeyPath) -> Option<String> {
        let text = self.text(template, at)?;
        let host = Host::parse(&text).map_err(|why| format!("{text:?}: {why}"));
        Some(self.noted(host, at)?.to_string())
    }
}

/// What the configuration says about client APIs beside chat completions, else the type.
fn further_apis(config: &file::BackendConfig, provider: ProviderType) -> FurtherApis {
    let of_type = provider.further_apis();
    FurtherApis {
        messages: config.messages.unwrap_or(of_type.messages),
        responses: config.responses.unwrap_or(of_type.responses),
    }
}

/// The betas that pass: the configuration's, else those that the provider takes, as far as that is known.
fn betas(config: &file::BackendConfig, is_on_vertex: bool) -> Vec<Glob> {
    let globs = |names: &[&str]| names.iter().map(|name| Glob::new(name)).collect();
    match &config.betas {
        Some(names) => names.iter().map(|name| Glob::new(name)).collect(),
        None if is_on_vertex => globs(&vertex::BETAS),
        None => globs(&["*"]),
    }
}

fn unchecked(config: &file::BackendConfig) -> Vec<&'static Definition> {
    let listed = config.operations.iter().flatten();
    listed
        .map(|UncheckedOperation(operation)| *operation)
        .collect()
}
