//! From what is written to what it means: expands, defaults, resolves and checks.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use serde_json::Value;

use super::endpoint::{Address, Endpoint, check_path};
use super::error::{ConfigErrors, KeyPath};
use super::read::nearest;
use super::value::{
    BackendType, ByteSize, Failure, MAX_BYTE_SIZE, Role, Span, Template, UncheckedOperation,
    WebSearch,
};
use super::{
    Auth, Backend, Destination, EnvoyRoutes, Gateway, KeyHeader, MemberRule, Placement, Plugin,
    Query, Tls, file,
};
use crate::firewall::HeaderRules;
use crate::host::{Host, InvalidHost};
use crate::json::Watched;
use crate::model::{Aliases, Glob, ModelRule, OTHER_MODELS};
use crate::name::{BackendName, RouteName};
use crate::operation::Operation;
use crate::operation::table::Definition;
use crate::pool::{self, FallbackOn, MAX_MEMBERS, Pool};
use crate::provider::azure::{self, ApiVersion};
use crate::provider::dialect::Options;
use crate::provider::vertex::{self, Location};
use crate::provider::{Dialects, KeyPlace, Paths, ProviderType};
use crate::route::{self, Route};
use crate::secret::Secret;
use crate::token::{self, Credential, ServiceAccount};

/// Where `${NAME}` comes from.
pub trait Environment {
    /// The value of a variable.
    fn variable(&self, name: &str) -> Option<String>;

    /// The value of a variable that authenticates. Who only renders can do without.
    fn secret(&self, name: &str) -> Option<String> {
        self.variable(name)
    }

    /// Whether what authenticates is at hand, and not only its names.
    fn has_secrets(&self) -> bool {
        true
    }

    /// The text of a file that authenticates.
    ///
    /// # Errors
    ///
    /// Why it cannot be read; the module can read none.
    fn file(&self, _path: &str) -> Result<String, String> {
        Err("no file can be read here; use serviceAccount: ${NAME}".to_owned())
    }
}

impl<F: Fn(&str) -> Option<String>> Environment for F {
    fn variable(&self, name: &str) -> Option<String> {
        self(name)
    }
}

/// Builds a gateway, or notes everything that keeps it from being one.
pub fn gateway(
    file: &file::Gateway,
    environment: &dyn Environment,
    errors: &mut ConfigErrors,
) -> Option<Gateway> {
    let mut build = Build {
        environment,
        errors,
    };
    let root = KeyPath::root();
    let listen = build.listener(file.listen.as_deref(), DEFAULT_LISTEN, &root.key("listen"));
    let admin = build.listener(file.admin.as_deref(), DEFAULT_ADMIN, &root.key("admin"));
    let backends = build.backends(file);
    let pools = build.pools(file, &backends);
    build.headers_first(file, &backends);
    let routes = build.routes(file, &backends, &pools);
    let plugin = build.plugin(file, &backends);
    let max_request_bytes = build.size(
        file.max_request_bytes,
        DEFAULT_MAX_REQUEST_BYTES,
        MAX_BYTE_SIZE,
        &root.key("maxRequestBytes"),
    );
    // Of a VM's memory.
    let max_held_bytes = build.size(
        file.max_held_bytes,
        DEFAULT_MAX_HELD_BYTES,
        MOST_HELD_BYTES,
        &root.key("maxHeldBytes"),
    );
    Some(Gateway {
        listen: listen?,
        admin: admin?,
        max_request_bytes,
        max_held_bytes,
        backends: backends.list,
        pools,
        routes,
        plugin,
    })
}

struct Build<'a> {
    environment: &'a dyn Environment,
    errors: &'a mut ConfigErrors,
}

/// The backends that could be built, in the order of the file.
#[derive(Default)]
struct Backends {
    list: Vec<Rc<Backend>>,
    /// By name the place in `list`: of two with one name the first.
    places: BTreeMap<BackendName, usize>,
}

impl Backends {
    fn extend(&mut self, backend: Option<Backend>) {
        if let Some(backend) = backend {
            let place = self.list.len();
            self.places.entry(backend.name.clone()).or_insert(place);
            self.list.push(Rc::new(backend));
        }
    }

    fn get(&self, name: &str) -> Option<&Rc<Backend>> {
        let name = BackendName::new(name).ok()?;
        self.list.get(*self.places.get(&name)?)
    }
}

impl Build<'_> {
    fn listener(&mut self, written: Option<&str>, default: &str, at: &KeyPath) -> Option<Address> {
        let parsed = Address::parse(written.unwrap_or(default));
        let address = self.noted(parsed, at)?;
        if !address.is_ip {
            self.errors
                .push(at, format!("{:?} is not an IP address", address.host));
            return None;
        }
        Some(address)
    }

    fn backends(&mut self, file: &file::Gateway) -> Backends {
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
                let backend = self.backend(backend, provider, &at);
                backends.extend(backend);
            }
        }
        backends
    }

    fn backend(
        &mut self,
        file: &file::Backend,
        provider: ProviderType,
        at: &KeyPath,
    ) -> Option<Backend> {
        let name = self.noted(BackendName::new(&file.name), &at.key("name"));
        for (key, is_written) in [
            ("strategy", file.strategy.is_some()),
            ("fallback", file.fallback.is_some()),
            ("fallbackOn", file.fallback_on.is_some()),
            ("maxRetries", file.max_retries.is_some()),
            ("timeout", file.timeout.is_some()),
            ("firstByteTimeout", file.first_byte_timeout.is_some()),
            ("backends", file.backends.is_some()),
        ] {
            if is_written {
                let message = match key {
                    "firstByteTimeout" | "maxRetries" | "timeout" => "belongs under config",
                    _ => "is only valid for type \"pool\"",
                };
                self.errors.push(&at.key(key), message);
            }
        }
        let at = &at.key("config");
        let absent = file::BackendConfig::default();
        let config = file.config.as_ref().unwrap_or(&absent);

        let vertex = self.vertex(config, provider, at);
        let dialects = match vertex {
            Some(_) => Some(Dialects::Vertex),
            None => provider.dialects(),
        };
        let endpoint = self.endpoint(config, provider, vertex.as_ref(), at);
        let address = self.text(config.address.as_ref(), &at.key("address"));
        let address =
            address.and_then(|text| self.noted(Address::parse(&text), &at.key("address")));
        let paths = self.paths(config, provider, at);
        let headers = self.headers(config, provider, at);
        let name_of_backend = file.name.as_str();
        let auth = match vertex {
            Some(_) => self.vertex_auth(name_of_backend, config, &headers, at),
            None => self.auth(config, provider, &headers, at),
        };
        let query = self.query(config, at);
        let members = self.members(config, at);
        let rules = members.iter().map(|rule| rule.name.as_str());
        let limits = provider.limit_name().names().into_iter().flatten();
        let has_rule = |name: &&str| members.iter().any(|rule| rule.name == *name);
        let others = OTHER_MODELS.into_iter().filter(|it| !has_rule(it));
        let watched = ["model", "stream"].into_iter();
        let watched = Watched::new(watched.chain(rules).chain(limits).chain(others));
        // Everything is checked before the first thing that is missing ends it.
        let options = self.options(config, provider, dialects, at);
        let model = self.model(config, provider, at);
        let max_retries = self.retries(config.max_retries, &at.key("maxRetries"));
        let tls = self.tls(config, at);
        Some(Backend {
            name: name?,
            provider,
            endpoint: endpoint?,
            address,
            paths,
            dialects,
            options,
            model,
            unchecked: unchecked(config),
            members,
            watched,
            auth,
            headers,
            header_rules: self.header_rules(config, at),
            query,
            timeout: config
                .timeout
                .map_or(DEFAULT_TIMEOUT, |Span(timeout)| timeout),
            first_byte_timeout: config.first_byte_timeout.map(|Span(timeout)| timeout),
            stream_idle_timeout: config.stream_idle_timeout.map(|Span(timeout)| timeout),
            max_retries: max_retries.unwrap_or(0),
            tls,
        })
    }

    fn pools(&mut self, file: &file::Gateway, backends: &Backends) -> Vec<Rc<Pool>> {
        let mut pools = Vec::new();
        for (index, written) in file.backends.iter() {
            if written.r#type == BackendType::Pool {
                let at = KeyPath::root().key("backends").index(index);
                pools.extend(self.pool(file, written, &at, backends).map(Rc::new));
            }
        }
        pools
    }

    fn pool(
        &mut self,
        file: &file::Gateway,
        written: &file::Backend,
        at: &KeyPath,
        backends: &Backends,
    ) -> Option<Pool> {
        let is_plugin = file.placement.is_some() || file.hold_headers.is_some();
        let is_alone = file.role.unwrap_or_default() == Role::Send
            && file.placement.unwrap_or_default() == Placement::Listener;
        if is_plugin && is_alone {
            self.errors.push(&at.key("type"), POOL_IN_LISTENER);
        }
        let name = self.noted(BackendName::new(&written.name), &at.key("name"));
        if written.config.is_some() {
            let message = "a pool has none; its members have their own";
            self.errors.push(&at.key("config"), message);
        }
        let fallback_on = match &written.fallback_on {
            Some(failures) => fallback_on(failures),
            None => fallback_on(&DEFAULT_FALLBACK_ON),
        };
        let at_retries = at.key("maxRetries");
        let at = at.key("backends");
        let Some(list) = written.backends.as_ref().filter(|list| !list.is_empty()) else {
            self.required(&at, "at least one member is required");
            return None;
        };
        if list.len() > MAX_MEMBERS {
            self.errors
                .push(&at, format!("a pool has at most {MAX_MEMBERS} members"));
            return None;
        }
        let mut members: Vec<pool::Member> = Vec::new();
        let mut seen = BTreeSet::new();
        for (index, member) in list.iter() {
            let at = at.index(index);
            if !seen.insert(member.name.as_str()) {
                let message = format!("{:?} is a member already", member.name);
                self.errors.push(&at.key("name"), message);
                continue;
            }
            if !(1..=MAX_WEIGHT).contains(&member.weight.unwrap_or(1)) {
                let message = format!(
                    "must be from 1 to {MAX_WEIGHT}; give a larger priority to one that is only \
                     asked when others fail"
                );
                self.errors.push(&at.key("weight"), message);
            }
            let backend = self.known_member(file, &member.name, &at.key("name"), backends);
            members.extend(backend.map(|backend| pool::Member {
                backend: Rc::new(in_pool(&backend)),
                weight: member.weight.unwrap_or(1),
                priority: member.priority.unwrap_or(0),
            }));
        }
        if members.len() < list.len() {
            // Whoever is missing has been reported.
            return None;
        }
        let longest = members.iter().map(|member| member.backend.timeout).max();
        let longest = longest.unwrap_or(DEFAULT_TIMEOUT);
        let timeout = written.timeout.map_or(longest, |Span(timeout)| timeout);
        let fallback = written.fallback.unwrap_or(true);
        let first_byte_timeout = match written.first_byte_timeout {
            Some(Span(timeout)) => Some(timeout),
            None => default_first_byte_timeout(file, written, &members),
        };
        Some(Pool::new(pool::Written {
            name: name?,
            strategy: written.strategy.unwrap_or_default(),
            fallback,
            fallback_on,
            max_retries: self.retries(written.max_retries, &at_retries),
            timeout,
            first_byte_timeout: first_byte_timeout.filter(|it| *it < timeout),
            members,
        }))
    }

    fn known_member(
        &mut self,
        file: &file::Gateway,
        name: &str,
        at: &KeyPath,
        backends: &Backends,
    ) -> Option<Rc<Backend>> {
        let is_pool =
            |it: &file::Backend| it.name == name && matches!(it.r#type, BackendType::Pool);
        let is_known = backends.get(name).is_some();
        if !is_known && file.backends.iter().any(|(_, it)| is_pool(it)) {
            let message = format!("{name:?} is a pool; a pool has backends, not pools");
            self.errors.push(at, message);
            return None;
        }
        self.known_backend(file, name, at, backends)
    }

    /// Notes what cannot work where headers do not wait for the body. Only a plugin knows that.
    fn headers_first(&mut self, file: &file::Gateway, backends: &Backends) {
        let is_plugin = file.placement.is_some() || file.hold_headers.is_some();
        if !is_plugin || file.hold_headers == Some(true) {
            return;
        }
        for (index, written) in file.backends.iter() {
            let backend = backends.get(&written.name);
            if file.backends.is_whole() && backend.is_some_and(|it| it.paths == Paths::Dialect) {
                let at = KeyPath::root().key("backends").index(index).key("type");
                let message = "needs holdHeaders: true, since the whole body is translated before \
                               its length is known";
                self.errors.push(&at, message);
            }
            let waits = |it: &Rc<Backend>| it.paths.name_models() && it.model.always.is_none();
            if backend.is_some_and(waits) {
                let at = KeyPath::root().key("backends").index(index).key("config");
                let message = "required without holdHeaders: the model is part of the path, \
                               which cannot wait for the body";
                self.errors.push(&at.key("deploymentName"), message);
            }
        }
    }

    fn paths(
        &mut self,
        config: &file::BackendConfig,
        provider: ProviderType,
        at: &KeyPath,
    ) -> Paths {
        let chat = self.text(config.path.as_ref(), &at.key("path"));
        let version_at = at.key("apiVersion");
        let version = self.text(config.api_version.as_ref(), &version_at);
        if provider.dialects().is_some() {
            for (key, value) in [("path", &chat), ("apiVersion", &version)] {
                if value.is_some() {
                    self.meaningless(&at.key(key), provider);
                }
            }
            return Paths::Dialect;
        }
        if provider == ProviderType::AzureOpenai {
            if chat.is_some() {
                self.meaningless(&at.key("path"), provider);
            }
            let version = version.map_or(Ok(ApiVersion::V1), |text| ApiVersion::parse(&text));
            return Paths::Azure(self.noted(version, &version_at).unwrap_or(ApiVersion::V1));
        }
        if version.is_some() {
            self.meaningless(&version_at, provider);
        }
        if let Some(path) = &chat {
            self.chat_path(path, &at.key("path"));
        }
        Paths::OpenAi { chat }
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

    /// A number of attempts beyond the first.
    fn retries(&mut self, written: Option<u32>, at: &KeyPath) -> Option<u32> {
        let retries = written?;
        if retries > MAX_RETRIES {
            self.errors
                .push(at, format!("must be from 0 to {MAX_RETRIES}"));
        }
        Some(retries.min(MAX_RETRIES))
    }

    /// Text that goes into Envoy's configuration as it is, such as the name of a file.
    fn printable_text(&mut self, template: Option<&Template>, at: &KeyPath) -> Option<String> {
        let text = self.text(template, at)?;
        if let Some(c) = text.chars().find(|c| c.is_control()) {
            self.errors
                .push(at, format!("has the control character {c:?}"));
        }
        Some(text)
    }

    /// Where the provider expects the key that is configured.
    fn key_place(&self, config: &file::BackendConfig, provider: ProviderType) -> KeyPlace {
        let environment = self.environment;
        let key = config.api_key.as_ref();
        let key = key.and_then(|key| key.expand(|name| environment.secret(name)).ok());
        match key {
            Some(key) => provider.place_of(&key),
            None => provider.preset().key,
        }
    }

    fn options(
        &mut self,
        config: &file::BackendConfig,
        provider: ProviderType,
        dialects: Option<Dialects>,
        at: &KeyPath,
    ) -> Options {
        let has_claude = matches!(dialects, Some(Dialects::Anthropic | Dialects::Vertex));
        if config.max_tokens == Some(0) {
            self.errors.push(&at.key("maxTokens"), "must be at least 1");
        }
        if config.max_tokens.is_some() && !has_claude {
            self.meaningless(&at.key("maxTokens"), provider);
        }
        if config.unsupported.is_some() && provider.dialects().is_none() {
            self.meaningless(&at.key("unsupported"), provider);
        }
        if config.web_search.is_some() && provider.dialects().is_none() {
            self.meaningless(&at.key("webSearch"), provider);
        }
        Options {
            max_tokens: config.max_tokens.map(u64::from),
            unsupported: config.unsupported.unwrap_or_default(),
            has_web_search: config.web_search == Some(WebSearch::Provider),
        }
    }

    fn meaningless(&mut self, at: &KeyPath, provider: ProviderType) {
        let message = format!("is not valid for type {:?}", provider.as_str());
        self.errors.push(at, message);
    }

    /// Where on Vertex AI, if there.
    fn vertex(
        &mut self,
        config: &file::BackendConfig,
        provider: ProviderType,
        at: &KeyPath,
    ) -> Option<Location> {
        let location_at = at.key("location");
        if provider != ProviderType::Google {
            if config.location.is_some() {
                self.meaningless(&location_at, provider);
            }
            return None;
        }
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
            if !provider.has_organizations() {
                self.meaningless(&at.key(key), provider);
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
                let value = self.header_value(value, &name_at);
                if name.as_ref().is_some_and(|name| headers.contains_key(name)) {
                    self.errors.push(&name_at, "is set twice");
                }
                headers.extend(name.zip(value));
            }
        }
        headers.into_iter().collect()
    }

    fn auth(
        &mut self,
        config: &file::BackendConfig,
        provider: ProviderType,
        headers: &[(Rc<str>, Secret)],
        at: &KeyPath,
    ) -> Auth {
        for (key, is_there) in [
            ("serviceAccount", config.service_account.is_some()),
            ("serviceAccountFile", config.service_account_file.is_some()),
            ("tokenEndpoint", config.token_endpoint.is_some()),
        ] {
            match provider {
                _ if !is_there => {}
                ProviderType::Google => self.required(
                    &at.key("projectId"),
                    &format!("required beside {key}, and location: only Vertex AI takes tokens"),
                ),
                _ => self.meaningless(&at.key(key), provider),
            }
        }
        let place = self.key_place(config, provider);
        let header = self.key_header(config, place, at);
        let is_elsewhere = config.auth.is_some() || headers.iter().any(|it| it.0 == header.name);
        match &config.api_key {
            Some(template) => self.api_key(template, header, headers, at),
            None if is_elsewhere => Auth::Gateway(None),
            None if config.auth_header.is_none() && provider.preset().key == KeyPlace::Nowhere => {
                Auth::Nobody
            }
            None => Auth::Client(header),
        }
    }

    /// Vertex AI takes access tokens: one that is given, or one that we get for a credential.
    fn vertex_auth(
        &mut self,
        backend: &str,
        config: &file::BackendConfig,
        headers: &[(Rc<str>, Secret)],
        at: &KeyPath,
    ) -> Auth {
        let header = self.key_header(config, KeyPlace::Bearer, at);
        let credentials = [
            ("apiKey", config.api_key.as_ref()),
            ("serviceAccount", config.service_account.as_ref()),
            ("serviceAccountFile", config.service_account_file.as_ref()),
        ];
        let mut given = credentials.iter().filter(|(_, it)| it.is_some());
        let first = given.next();
        for (key, _) in given {
            let first = first.map_or("", |(key, _)| key);
            self.errors
                .push(&at.key(key), format!("cannot be combined with {first}"));
        }
        if let Some(template) = &config.api_key {
            if config.token_endpoint.is_some() {
                let message = "cannot be combined with apiKey, which is an access token already";
                self.errors.push(&at.key("tokenEndpoint"), message);
            }
            return self.api_key(template, header, headers, at);
        }
        let is_set = headers.iter().any(|it| it.0 == header.name);
        if is_set && first.is_none() && config.token_endpoint.is_none() {
            return Auth::Gateway(None);
        }
        if is_set {
            let key = first.map_or("tokenEndpoint", |(key, _)| key);
            let message = format!("would be sent as {}, which is set twice", header.name);
            self.errors.push(&at.key(key), message);
        }
        let credential = match (&config.service_account, &config.service_account_file) {
            (Some(template), _) => self.service_account(template, &at.key("serviceAccount")),
            (None, Some(template)) => {
                self.service_account_file(template, &at.key("serviceAccountFile"))
            }
            (None, None) => Some(Credential::MetadataServer),
        };
        let source = credential.and_then(|credential| {
            let default = match &credential {
                Credential::MetadataServer => METADATA_SERVER,
                Credential::ServiceAccount(account) => account.token_uri(),
            };
            let endpoint_at = at.key("tokenEndpoint");
            let endpoint = match &config.token_endpoint {
                Some(template) => {
                    let path = Endpoint::parse(default, "")
                        .map_or_else(|_| String::new(), |it| it.base_path);
                    let text = self.text(Some(template), &endpoint_at)?;
                    self.noted(Endpoint::parse(&text, &path), &endpoint_at)?
                }
                None => {
                    // What is wrong with it must not be quoted: it stands in the key.
                    let wrong = "has a \"token_uri\" that is not a URL";
                    let endpoint = Endpoint::parse(default, "").map_err(|_| wrong);
                    self.noted(endpoint, &at.key("serviceAccount"))?
                }
            };
            Some(Rc::new(token::Source::new(backend, credential, endpoint)))
        });
        match source {
            Some(source) => Auth::Token(header, source),
            // What is wrong has been noted.
            None => Auth::Gateway(None),
        }
    }

    fn service_account(&mut self, template: &Template, at: &KeyPath) -> Option<Credential> {
        if !self.environment.has_secrets() && template.variables().next().is_some() {
            return Some(Credential::ServiceAccount(ServiceAccount::absent()));
        }
        let text = self.secret(template, at)?;
        let account = self.noted(ServiceAccount::parse(&text), at)?;
        Some(Credential::ServiceAccount(account))
    }

    fn service_account_file(&mut self, template: &Template, at: &KeyPath) -> Option<Credential> {
        let path = self.text(Some(template), at)?;
        if !self.environment.has_secrets() {
            return Some(Credential::ServiceAccount(ServiceAccount::absent()));
        }
        let text = self.environment.file(&path);
        let text = text.map_err(|why| format!("{path}: {why}"));
        let text = self.noted(text, at)?;
        let account = ServiceAccount::parse(&text).map_err(|why| format!("{path}: {why}"));
        Some(Credential::ServiceAccount(self.noted(account, at)?))
    }

    /// The header that carries the key, as it is configured, or as the provider expects it.
    fn key_header(
        &mut self,
        config: &file::BackendConfig,
        place: KeyPlace,
        at: &KeyPath,
    ) -> KeyHeader {
        match &config.auth_header {
            Some(written) => {
                let at = at.key("authHeader");
                let name = self.header_name(&written.name, &at.key("name"));
                let prefix = written.prefix.clone().unwrap_or_default();
                if !is_header_value(&prefix) {
                    self.errors.push(&at.key("prefix"), UNPRINTABLE);
                }
                KeyHeader {
                    name: name.unwrap_or_default(),
                    prefix: prefix.into(),
                }
            }
            None => {
                let (name, prefix) = place.header().unwrap_or(BEARER);
                KeyHeader {
                    name: name.into(),
                    prefix: prefix.into(),
                }
            }
        }
    }

    fn api_key(
        &mut self,
        template: &Template,
        header: KeyHeader,
        headers: &[(Rc<str>, Secret)],
        at: &KeyPath,
    ) -> Auth {
        let at = at.key("apiKey");
        let key = self.header_value(template, &at);
        if headers.iter().any(|it| it.0 == header.name) {
            let message = format!("would be sent as {}, which is set twice", header.name);
            self.errors.push(&at, message);
        }
        Auth::Gateway(key.map(|key| {
            (
                header.name,
                Secret::new([&*header.prefix, &*key.expose()].concat()),
            )
        }))
    }

    fn query(&mut self, config: &file::BackendConfig, at: &KeyPath) -> Option<Query> {
        let query = config.auth.as_ref()?.query.as_ref()?;
        let at = at.key("auth").key("query");
        let mut encoded = form_urlencoded::Serializer::new(String::new());
        for (name, value) in query {
            if name.is_empty() {
                self.errors
                    .push(&at.key(name), "the name of a parameter is empty");
            }
            if let Some(value) = self.secret(value, &at.key(name)) {
                encoded.append_pair(name, &value);
            }
        }
        (!query.is_empty()).then(|| Query {
            encoded: Secret::new(encoded.finish()),
        })
    }

    fn model(
        &mut self,
        config: &file::BackendConfig,
        provider: ProviderType,
        at: &KeyPath,
    ) -> ModelRule {
        let always = self.model_name(config.model.as_ref(), &at.key("model"));
        let deployment_at = at.key("deploymentName");
        let deployment = self.model_name(config.deployment_name.as_ref(), &deployment_at);
        if deployment.is_some() && provider != ProviderType::AzureOpenai {
            self.meaningless(&deployment_at, provider);
        }
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

    fn aliases<'f>(
        &mut self,
        written: impl Iterator<Item = (&'f String, &'f Template)>,
        at: &KeyPath,
    ) -> Aliases {
        let mut aliases = Vec::new();
        for (name, model) in written {
            let at = at.key(name);
            if name.trim_end_matches('*').contains('*') || name.ends_with("**") {
                self.errors.push(&at, "may have one '*', at its end");
            }
            let model = self.model_name(Some(model), &at);
            aliases.extend(model.map(|model| (name.clone(), model)));
        }
        Aliases::new(aliases)
    }

    fn model_name(&mut self, template: Option<&Template>, at: &KeyPath) -> Option<Rc<str>> {
        let model = self.text(template, at)?;
        if model.trim().is_empty() || model.chars().any(char::is_control) {
            self.errors
                .push(at, format!("{model:?} is not the name of a model"));
        }
        Some(Rc::from(model))
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

    fn tls(&mut self, config: &file::BackendConfig, at: &KeyPath) -> Tls {
        let at = at.key("tls");
        let absent = file::Tls::default();
        let tls = config.tls.as_ref().unwrap_or(&absent);
        let insecure = tls.insecure.unwrap_or(false);
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

    fn routes(
        &mut self,
        file: &file::Gateway,
        backends: &Backends,
        pools: &[Rc<Pool>],
    ) -> Vec<Route> {
        let at = KeyPath::root().key("routes");
        let Some(routes) = &file.routes else {
            return self.implied_routes(file, backends, pools);
        };
        let mut seen = BTreeSet::new();
        let mut built = Vec::new();
        for (index, route) in routes.iter() {
            let at = at.index(index);
            let name = name_of(route, index);
            if !seen.insert(name.clone()) {
                let message = format!("{name:?} is the name of another route, too");
                self.errors.push(&at.key("name"), message);
            }
            let name = self.noted(RouteName::new(&name), &at.key("name"));
            let at_backend = at.key("backend");
            let to = self.destination(file, &route.backend, &at_backend, backends, pools);
            let path = self.route_path(route.path.as_deref().unwrap_or("/"), &at.key("path"));
            let methods = self.methods(route, &at.key("methods"));
            let headers = self.matched_headers(route, &at.key("headers"));
            let hosts = self.hosts(route, &at.key("hosts"));
            let model = route.model.as_deref().map(Template::literal);
            let model = self.model_name(model.as_ref(), &at.key("model"));
            let models = self.route_models(route, &at.key("models"));
            let aliases = self.route_aliases(route, &at.key("modelAliases"));
            let backend_from_model = route.backend_from_model.unwrap_or(false);
            if backend_from_model && model.is_some() {
                self.errors.push(
                    &at.key("backendFromModel"),
                    "cannot be combined with model, which is always written",
                );
            }
            if let (Some(name), Some(to)) = (name, to) {
                built.push(Route {
                    name,
                    path,
                    methods,
                    headers,
                    hosts,
                    models,
                    to,
                    backend_from_model,
                    aliases: Rc::new(aliases),
                    deadline: route.deadline.map(|Span(deadline)| deadline),
                    model,
                    envoy_route: self.envoy_route(file, route, index),
                });
            }
        }
        self.routes_by_model(file);
        self.deadlines(file);
        built
    }

    fn envoy_route(
        &self,
        file: &file::Gateway,
        route: &file::Route,
        index: usize,
    ) -> Option<Rc<str>> {
        let own = route.envoy_route.as_deref().map(Rc::from);
        let is_named = file.virtual_service.is_some();
        own.or_else(|| is_named.then(|| Rc::from(name_of(route, index))))
    }

    fn route_models(&mut self, route: &file::Route, at: &KeyPath) -> Vec<Glob> {
        let models = route.models.as_deref().unwrap_or_default();
        if models.is_empty() && route.models.is_some() {
            self.errors.push(at, "an empty list would match no request");
        }
        for (index, model) in models.iter().enumerate() {
            if model.trim().is_empty() || model.chars().any(char::is_control) {
                let message = format!("{model:?} is not the name of a model");
                self.errors.push(&at.index(index), message);
            }
        }
        models.iter().map(|glob| Glob::new(glob)).collect()
    }

    fn route_aliases(&mut self, route: &file::Route, at: &KeyPath) -> Aliases {
        let Some(written) = &route.model_aliases else {
            return Aliases::default();
        };
        if route.model.is_some() {
            let message = "cannot be combined with model, which is always written";
            self.errors.push(at, message);
        }
        let literal = |(name, model): (&String, &String)| (name.clone(), Template::literal(model));
        let written: BTreeMap<String, Template> = written.iter().map(literal).collect();
        self.aliases(written.iter(), at)
    }

    /// Notes deadlines where a plugin sees no more than one attempt.
    fn deadlines(&mut self, file: &file::Gateway) {
        if file.placement != Some(Placement::Upstream) {
            return;
        }
        for (index, route) in file.routes.iter().flat_map(file::List::iter) {
            if route.deadline.is_some() {
                let at = KeyPath::root().key("routes").index(index).key("deadline");
                let message =
                    "needs placement: listener, since upstream one attempt is all there is";
                self.errors.push(&at, message);
            }
        }
    }

    /// Notes routes that need the body where a plugin cannot wait for it.
    fn routes_by_model(&mut self, file: &file::Gateway) {
        let is_plugin = file.placement.is_some() || file.hold_headers.is_some();
        let message = match file.placement {
            _ if !is_plugin => return,
            Some(Placement::Upstream) => {
                "needs placement: listener, since upstream the backend has been chosen"
            }
            _ if file.hold_headers == Some(true) => return,
            _ => {
                "needs holdHeaders: true, since the body has the model, and the route has to be \
                 chosen by then"
            }
        };
        for (index, route) in file.routes.iter().flat_map(file::List::iter) {
            let at = KeyPath::root().key("routes").index(index);
            if route.models.is_some() {
                self.errors.push(&at.key("models"), message);
            }
            if route.backend_from_model == Some(true) {
                self.errors.push(&at.key("backendFromModel"), message);
            }
        }
    }

    /// Without routes everything goes to the only backend, or to the only pool, unless something
    /// else decides.
    fn implied_routes(
        &mut self,
        file: &file::Gateway,
        backends: &Backends,
        pools: &[Rc<Pool>],
    ) -> Vec<Route> {
        let is_plugin = file.placement.is_some() || file.backend.is_some();
        let only = match (&*backends.list, pools, file.backends.len()) {
            ([backend], [], 1) => Some(Destination::Backend(Rc::clone(backend))),
            (_, [pool], _) if !is_plugin => Some(Destination::Pool(Rc::clone(pool))),
            _ => None,
        };
        if let Some((to, name)) = only.zip(RouteName::new("default").ok()) {
            return vec![everything(name, to)];
        }
        let is_pool = |(_, it): (usize, &file::Backend)| it.r#type == BackendType::Pool;
        let has_one_pool = file.backends.iter().filter(|it| is_pool(*it)).count() == 1;
        if file.backends.len() > 1 && !is_plugin && !has_one_pool {
            let at = KeyPath::root().key("routes");
            self.required(&at, "required where there are several backends");
        }
        Vec::new()
    }

    fn route_path(&mut self, path: &str, at: &KeyPath) -> String {
        if Operation::of(path, None).is_err() || path.contains(['?', '#', '*']) {
            let message = format!("{path:?} is not a path such as /v1: no query, no '*', no '..'");
            self.errors.push(at, message);
        } else {
            self.noted(check_path(path), at);
        }
        path.trim_end_matches('/').to_owned()
    }

    fn methods(&mut self, route: &file::Route, at: &KeyPath) -> Vec<String> {
        let methods = route.methods.as_deref().unwrap_or_default();
        for (index, method) in methods.iter().enumerate() {
            if !METHODS.contains(&method.as_str()) {
                let message = format!("{method:?} is not one of {}", METHODS.join(", "));
                self.errors.push(&at.index(index), message);
            }
        }
        methods.to_vec()
    }

    fn matched_headers(&mut self, route: &file::Route, at: &KeyPath) -> Vec<(String, String)> {
        let mut headers = Vec::new();
        for (name, value) in route.headers.iter().flatten() {
            let at = at.key(name);
            let name = self.header_name(name, &at);
            if !is_header_value(value) {
                self.errors.push(&at, UNPRINTABLE);
            }
            headers.extend(name.map(|name| (name.to_string(), value.clone())));
        }
        headers
    }

    fn hosts(&mut self, route: &file::Route, at: &KeyPath) -> Vec<route::Host> {
        let mut hosts = Vec::new();
        for (index, text) in route.hosts.iter().flatten().enumerate() {
            let host = route::Host::new(text).map_err(|why| match why {
                InvalidHost::NotAscii => format!("{text:?}: {why}"),
                InvalidHost::Empty | InvalidHost::Malformed => {
                    format!("{text:?} is not a host name such as a.example or *.example")
                }
            });
            hosts.extend(self.noted(host, &at.index(index)));
        }
        hosts
    }

    fn plugin(&mut self, file: &file::Gateway, backends: &Backends) -> Plugin {
        let at = KeyPath::root().key("backend");
        let backend = file
            .backend
            .as_ref()
            .and_then(|name| self.known_backend(file, name, &at, backends));
        let placement = file.placement.unwrap_or_default();
        let role = file.role.unwrap_or_default();
        if role == Role::Choose && placement == Placement::Upstream {
            let message = "\"choose\" cannot be combined with placement \"upstream\": there the backend is already selected";
            self.errors.push(&KeyPath::root().key("role"), message);
        }
        Plugin {
            placement,
            role,
            hold_headers: file.hold_headers.unwrap_or(false),
            route_metadata: file.route_metadata.unwrap_or(true),
            backend,
            envoy_routes: self.envoy_routes(file, placement, role),
        }
    }

    /// How the plugin follows Envoy's routes. What is missing would be found out by the first
    /// request only.
    fn envoy_routes(
        &mut self,
        file: &file::Gateway,
        placement: Placement,
        role: Role,
    ) -> Option<EnvoyRoutes> {
        let routes = || file.routes.iter().flat_map(file::List::iter);
        let followed = |route: &file::Route| route.envoy_route.is_some();
        let at = KeyPath::root().key("internalPath");
        let path = file.internal_path.as_deref();
        if file.virtual_service.is_none() && !routes().any(|(_, route)| followed(route)) {
            if path.is_some() {
                let message = "only with virtualService, or with envoyRoute in a route";
                self.errors.push(&at, message);
            }
            return None;
        }
        if placement == Placement::Upstream || role == Role::Choose {
            let message = "only with placement: listener and role: send";
            self.errors.push(&at, message);
        }
        let is_path = |path: &&str| {
            path.starts_with('/')
                && !path.ends_with('/')
                && Operation::of(path, None).is_ok()
                && !path.contains(['?', '#', '*'])
        };
        let Some(path) = path.filter(is_path) else {
            let message = match path {
                Some(path) => format!("{path:?} is not a path such as /~llm-proxy"),
                None => "required with virtualService or envoyRoute".to_owned(),
            };
            self.errors.push(&at, message);
            return None;
        };
        let owner = file.virtual_service.as_deref();
        let owner = owner.and_then(|owner| owner.split_once('/'));
        if file.virtual_service.is_some() && owner.is_none() {
            let at = KeyPath::root().key("virtualService");
            self.errors.push(&at, "is not NAMESPACE/NAME");
        }
        Some(EnvoyRoutes {
            internal_path: Rc::from(path),
            owner: owner
                .map(|(namespace, name)| format!("/namespaces/{namespace}/virtual-service/{name}")),
        })
    }

    /// A backend or a pool.
    fn destination(
        &mut self,
        file: &file::Gateway,
        name: &str,
        at: &KeyPath,
        backends: &Backends,
        pools: &[Rc<Pool>],
    ) -> Option<Destination> {
        let mut pools = pools.iter().filter(|_| backends.get(name).is_none());
        if let Some(pool) = pools.find(|pool| pool.name.as_str() == name) {
            return Some(Destination::Pool(Rc::clone(pool)));
        }
        self.known_backend(file, name, at, backends)
            .map(Destination::Backend)
    }

    fn known_backend(
        &mut self,
        file: &file::Gateway,
        name: &str,
        at: &KeyPath,
        backends: &Backends,
    ) -> Option<Rc<Backend>> {
        let found = backends.get(name);
        // A backend that could not be read has been reported; it is not missing as well.
        let is_written = || file.backends.iter().any(|(_, it)| it.name == name);
        if found.is_none() && file.backends.is_whole() && !is_written() {
            let written: Vec<&str> = file.backends.iter().map(|(_, it)| &*it.name).collect();
            let hint = if written.len() > MAX_NAMES {
                format!("; there are {}", written.len())
            } else if let Some(near) = nearest(name, &written) {
                format!("; did you mean {near:?}?")
            } else {
                format!("; there are {}", written.join(", "))
            };
            self.errors
                .push(at, format!("no backend is named {name:?}{hint}"));
        }
        found.cloned()
    }

    /// The text of a key, expanded.
    fn text(&mut self, template: Option<&Template>, at: &KeyPath) -> Option<String> {
        let environment = self.environment;
        self.expanded(template?, at, |name| environment.variable(name))
    }

    /// The text of a key that authenticates, expanded.
    fn secret(&mut self, template: &Template, at: &KeyPath) -> Option<String> {
        let environment = self.environment;
        self.expanded(template, at, |name| environment.secret(name))
    }

    fn expanded(
        &mut self,
        template: &Template,
        at: &KeyPath,
        lookup: impl Fn(&str) -> Option<String>,
    ) -> Option<String> {
        match template.expand(lookup) {
            Ok(text) if text.is_empty() => {
                self.errors.push(at, empty(template));
                None
            }
            Ok(text) => Some(text),
            Err(name) => {
                self.errors.push_unset(at, name);
                None
            }
        }
    }

    fn size(&mut self, size: Option<ByteSize>, default: u64, most: u64, at: &KeyPath) -> u64 {
        let ByteSize(bytes) = size.unwrap_or(ByteSize(default));
        if bytes > most {
            let message = format!("{bytes} bytes are more than {}MiB, the maximum", most >> 20);
            self.errors.push(at, message);
        }
        bytes
    }

    fn header_value(&mut self, template: &Template, at: &KeyPath) -> Option<Secret> {
        let value = self.secret(template, at)?;
        if !is_header_value(&value) {
            self.errors.push(at, UNPRINTABLE);
            return None;
        }
        Some(Secret::new(value))
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
            traces: config.trace_headers.unwrap_or(false),
            removed,
        }
    }

    fn header_name(&mut self, name: &str, at: &KeyPath) -> Option<Rc<str>> {
        let lower = name.to_ascii_lowercase();
        let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        if lower.is_empty() || !lower.bytes().all(token) {
            self.errors
                .push(at, format!("{name:?} is not the name of a header"));
            return None;
        }
        if FRAMING_HEADERS.contains(&lower.as_str()) {
            self.errors
                .push(at, format!("{name:?} is decided by the proxy"));
            return None;
        }
        Some(lower.into())
    }

    /// Notes that a key is missing, unless it is there and could not be read.
    fn required(&mut self, at: &KeyPath, message: &str) {
        if !self.errors.concern(at) {
            self.errors.push(at, message);
        }
    }

    fn noted<T>(&mut self, result: Result<T, impl ToString>, at: &KeyPath) -> Option<T> {
        result
            .map_err(|error| self.errors.push(at, error.to_string()))
            .ok()
    }
}

/// The name of the route at a 0-based place.
fn name_of(route: &file::Route, index: usize) -> String {
    let own = route.name.clone();
    own.unwrap_or_else(|| format!("route-{}", index + 1))
}

fn everything(name: RouteName, to: Destination) -> Route {
    Route {
        name,
        path: String::new(),
        methods: Vec::new(),
        headers: Vec::new(),
        hosts: Vec::new(),
        models: Vec::new(),
        to,
        backend_from_model: false,
        aliases: Rc::default(),
        deadline: None,
        model: None,
        envoy_route: None,
    }
}

/// A backend as a member of a pool: what it does not serve becomes its default model, and it serves
/// its type's families where the configuration does not say what.
fn in_pool(backend: &Backend) -> Backend {
    let families = match backend.dialects {
        Some(Dialects::Vertex) => vertex::FAMILIES,
        _ => backend.provider.families(),
    };
    let mut member = backend.clone();
    let rule = &mut member.model;
    rule.replaces_unserved = true;
    if rule.serves.is_none() && !families.is_empty() {
        rule.serves = Some(families.iter().map(|family| Glob::new(family)).collect());
    }
    member
}

fn unchecked(config: &file::BackendConfig) -> Vec<&'static Definition> {
    let listed = config.operations.iter().flatten();
    listed
        .map(|UncheckedOperation(operation)| *operation)
        .collect()
}

fn fallback_on(failures: &[Failure]) -> FallbackOn {
    let mut on = FallbackOn::default();
    for failure in failures {
        match failure {
            // Always on.
            Failure::Connect | Failure::Timeout => {}
            Failure::ServerErrors => on.server_errors = true,
            Failure::Status(status) => {
                on.statuses.insert(*status);
            }
        }
    }
    on
}

/// Why a template came to nothing.
fn empty(template: &Template) -> String {
    match template.variables().next() {
        Some(name) => format!("environment variable {name} is empty"),
        None => "is empty; remove the key, or give it a value".to_owned(),
    }
}

/// Whether a value can stand in a header: printable ASCII and spaces.
fn is_header_value(value: &str) -> bool {
    value.bytes().all(|b| matches!(b, 0x20..=0x7e))
}

const UNPRINTABLE: &str = "has a character that cannot stand in a header; only printable ASCII can";

/// Headers by which a message is framed or routed: a value from a configuration would break it.
const FRAMING_HEADERS: [&str; 9] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Headers that say how the body is to be read.
const BODY_HEADERS: [&str; 2] = ["content-encoding", "content-type"];

/// Where most providers expect a key.
const BEARER: (&str, &str) = ("authorization", "Bearer ");

/// The methods that a route can name.
pub const METHODS: [&str; 7] = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"];
const DEFAULT_LISTEN: &str = "127.0.0.1:10000";
/// Where the rendered Envoy has its admin interface.
pub const DEFAULT_ADMIN: &str = "127.0.0.1:9901";
const DEFAULT_MAX_REQUEST_BYTES: u64 = 32 << 20;

/// Envoy ends a VM that grows to 1 GiB. The rest is for the translation of one body, which happens
/// within one call, and for what the allocator cannot use.
const DEFAULT_MAX_HELD_BYTES: u64 = 256 << 20;
const MOST_HELD_BYTES: u64 = 512 << 20;

/// A pool's limit to the wait for a stream, where it has none of its own.
fn default_first_byte_timeout(
    file: &file::Gateway,
    pool: &file::Backend,
    members: &[pool::Member],
) -> Option<Duration> {
    let longest = members
        .iter()
        .filter_map(|member| member.backend.first_byte_timeout);
    if let Some(longest) = longest.max() {
        return Some(longest);
    }
    // A limit that somebody has written is meant for streams, too.
    let has_timeout = |(_, backend): (usize, &file::Backend)| {
        let is_member = members
            .iter()
            .any(|it| it.backend.name.as_str() == backend.name);
        let config = backend.config.as_ref();
        is_member && config.is_some_and(|config| config.timeout.is_some())
    };
    let is_written = pool.timeout.is_some() || file.backends.iter().any(has_timeout);
    let has_next = pool.fallback.unwrap_or(true) && members.len() > 1;
    (has_next && !is_written).then_some(DEFAULT_FIRST_BYTE_TIMEOUT)
}

/// Where a machine of Google Cloud gets a token of its own service account.
///
/// Source: <https://docs.cloud.google.com/compute/docs/access/authenticate-workloads>, read
/// 2026-11-21.
const METADATA_SERVER: &str =
    "http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/token";
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(600);

/// A provider sends the head of a stream when it has read the prompt, or at the latest with the first
/// word after its thoughts. A member that is silent for longer is given up before a person gives up.
const DEFAULT_FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(60);
const DEFAULT_FALLBACK_ON: [Failure; 2] = [Failure::Status(429), Failure::ServerErrors];

/// So that sums of weights stay far from any limit.
const MAX_WEIGHT: u32 = 1_000_000;

/// More would only keep a client waiting: back-off goes up to 30 s.
const MAX_RETRIES: u32 = 100;

/// Of how many names a message lists all, or looks for the nearest.
const MAX_NAMES: usize = 100;

const POOL_IN_LISTENER: &str = "a pool cannot work here: the attempts are Envoy's, and only \
     \"placement: upstream\" sees each of them; use what \"llm-proxy render\" writes, which has the \
     module in the listener with \"role: choose\" and once more upstream";
