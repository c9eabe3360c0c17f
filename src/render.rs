//! From a gateway to the configuration of the proxy that carries it. Native only.
//!
//! What is rendered never has a key in it: whatever authenticates stays a `${NAME}`, which the
//! module reads in the proxy's environment. A key that was written literally becomes the name of a
//! [`Variable`] of our own.

pub mod envoy;
pub mod envoy_gateway;
pub mod istio;
pub mod kubernetes;
mod templates;
pub(crate) mod yaml;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use serde_json::{Map, Value};

pub use self::templates::{InjectedSecret, Origin, Variable};
use crate::backend::{Auth, Backend};
use crate::config::value::{ByteSize, Template};
use crate::config::{ConfigErrors, Environment, KeyPath, Text, file};
use crate::endpoint::Address;
use crate::gateway::{Gateway, Placement, Role};
use crate::name::BackendName;
use crate::pool::Pool;
use crate::route::{Destination, Route};
use crate::token;

/// A configuration that is ready to be rendered.
#[derive(Debug)]
pub struct Source {
    /// What it means.
    gateway: Gateway,
    /// As written, but for this: what authenticates is a `${NAME}`, and other text is expanded.
    written: file::Gateway,
    /// The variables of our own to which `written` refers.
    variables: Vec<Variable>,
    /// The secrets that arrive in headers to which `written` refers.
    injected: Vec<InjectedSecret>,
    /// Where the routes lead.
    used: Used,
    /// Of each backend and pool the 0-based place in `written`.
    places: BTreeMap<String, usize>,
    /// The names of all variables that the module needs to speak for the used backends.
    variable_names: BTreeSet<String>,
    /// Whether a rendered route has something for the upstream plugins.
    has_route_metadata: bool,
    /// Whether each cluster has a plugin of its own.
    has_plugins_apart: bool,
}

/// The names to which routes lead. Found once: rendering asks for them with each backend.
#[derive(Debug, Default)]
struct Used {
    /// Backends, by themselves or as members of a pool.
    backends: BTreeSet<BackendName>,
    /// Backends by themselves.
    alone: BTreeSet<BackendName>,
    /// Pools.
    pools: BTreeSet<BackendName>,
}

impl Used {
    fn of(gateway: &Gateway) -> Self {
        let mut used = Self::default();
        let mut add = |to: &Destination| {
            let is_new = match to {
                Destination::Backend(backend) => used.alone.insert(backend.name.clone()),
                Destination::Pool(pool) => used.pools.insert(pool.name.clone()),
            };
            if is_new {
                let names = to.backends().into_iter().map(|it| it.name.clone());
                used.backends.extend(names);
            }
        };
        gateway.routes.iter().for_each(|route| add(&route.to));
        if gateway.routes.iter().any(|route| route.backend_from_model) {
            gateway.destinations().for_each(|(_, to)| add(&to));
        }
        used
    }
}

impl Source {
    /// Reads a configuration whose keys are at hand: what [`Source::variables`] has can be used.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it, each with its key path.
    pub fn parse(text: &str, environment: &dyn Environment) -> Result<Self, ConfigErrors> {
        Self::of(&Text::new(text), environment)
    }

    /// The same of a text that is parsed already.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it, each with its key path.
    pub fn of(text: &Text<'_>, environment: &dyn Environment) -> Result<Self, ConfigErrors> {
        let gateway = Gateway::of(text, environment)?;
        if gateway.routes.is_empty() {
            // A plugin can do without, where metadata decides; a proxy cannot.
            let mut errors = ConfigErrors::default();
            errors.push(&KeyPath::root().key("routes"), "at least one is required");
            return Err(errors);
        }
        let mut written = text.file()?.clone();
        let variables = templates::take_literals(&mut written, environment);
        let injected = templates::take_files(&mut written, environment);
        templates::expand_texts(&mut written, environment);
        templates::write_ascii_hosts(&mut written);
        let used = Used::of(&gateway);
        let places = written.backends.iter();
        let places = places.map(|(index, it)| (it.name.clone(), index));
        let places: BTreeMap<String, usize> = places.collect();
        let backends = used.backends.iter();
        let backends = backends.filter_map(|it| written.backends.get(*places.get(it.as_str())?));
        let variable_names = backends.flat_map(templates::names).collect();
        let has_route_metadata = gateway.routes.iter().any(envoy::has_metadata);
        Ok(Self {
            gateway,
            written,
            variables,
            injected,
            used,
            places,
            variable_names,
            has_route_metadata,
            has_plugins_apart: false,
        })
    }

    /// Reads a configuration whose keys are elsewhere, in the environment of the proxy.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it, each with its key path.
    pub fn parse_without_keys(
        text: &str,
        environment: &dyn Environment,
    ) -> Result<Self, ConfigErrors> {
        Self::without_keys(&Text::new(text), environment)
    }

    /// The same of a text that is parsed already.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it, each with its key path.
    pub fn without_keys(
        text: &Text<'_>,
        environment: &dyn Environment,
    ) -> Result<Self, ConfigErrors> {
        Self::of(text, &WithoutKeys(environment))
    }

    /// Listens elsewhere than the configuration says.
    pub fn listen_at(&mut self, address: Address) {
        self.gateway.listen = address;
    }

    /// Gives each cluster a plugin of its own, with nothing in it that concerns another: a change of one
    /// backend leaves the clusters of the others as they are.
    ///
    /// Each plugin names these variables, whatever it needs. In Envoy 1.37 and 1.38 the environment of the
    /// first plugin is that of all with one `vm_id`, and a plugin with other variables would have another
    /// VM in Envoy 1.39 and later, without what the first has learnt.
    pub fn keep_plugins_apart(&mut self, variables: &BTreeSet<String>) {
        self.has_plugins_apart = true;
        self.variable_names.clone_from(variables);
    }

    /// Hands over what authenticates in headers, where it has a variable for which `known` does not hold:
    /// the environment of an Envoy that runs cannot change.
    pub fn inject_unknown(&mut self, known: &dyn Fn(&str) -> bool, environment: &dyn Environment) {
        let variables = &self.variables;
        let lookup = |name: &str| {
            let ours = variables.iter().find(|it| it.name == name);
            let ours = ours.map(|it| it.value.expose().to_string());
            ours.or_else(|| environment.secret(name))
        };
        let taken = templates::take_texts(&mut self.written, known, &lookup);
        self.injected.extend(taken);
        let used = self.used.backends.iter();
        let used = used.filter_map(|it| self.written.backends.get(*self.places.get(it.as_str())?));
        self.variable_names = used.flat_map(templates::names).collect();
    }

    /// The secrets of the used backends that arrive in headers of each attempt.
    pub fn injected(&self) -> impl Iterator<Item = &InjectedSecret> {
        let is_used = |name: &str| {
            BackendName::new(name).is_ok_and(|name| self.used.backends.contains(&name))
        };
        self.injected.iter().filter(move |it| is_used(&it.backend))
    }

    /// Those of one backend.
    pub fn injected_of<'s>(
        &'s self,
        backend: &'s Backend,
    ) -> impl Iterator<Item = &'s InjectedSecret> {
        let injected = self.injected.iter();
        injected.filter(|it| it.backend == backend.name.as_str())
    }

    /// Whether an attempt at one of the members of a pool needs such a secret.
    pub fn has_injected_members(&self, pool: &Pool) -> bool {
        let mut members = pool.members().iter();
        members.any(|it| self.injected_of(&it.backend).next().is_some())
    }

    /// Whether each cluster has a plugin of its own.
    pub fn has_plugins_apart(&self) -> bool {
        self.has_plugins_apart
    }

    /// The files that the configuration names.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        let roots = self.gateway.backends.iter();
        let roots = roots.filter_map(|it| it.tls.ca_file.as_deref());
        let variables = self.variables.iter().filter_map(|it| it.file.as_deref());
        let injected = self.injected().filter_map(|it| match &it.origin {
            Origin::File(path) => Some(path.as_str()),
            Origin::Value(_) => None,
        });
        roots.chain(variables).chain(injected)
    }

    /// The keys of the configuration beside the backends and the routes.
    pub fn settings(&self) -> Value {
        let mut settings = self.written.to_json();
        if let Value::Object(settings) = &mut settings {
            settings.shift_remove("backends");
            settings.shift_remove("routes");
        }
        settings
    }

    /// What the configuration means.
    pub fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    /// The variables that stand for keys which the configuration has literally.
    pub fn variables(&self) -> &[Variable] {
        &self.variables
    }

    /// The names of all backends and pools, with their 0-based places.
    pub fn names(&self) -> impl Iterator<Item = (usize, &str)> {
        let written = self.written.backends.iter();
        written.map(|(index, backend)| (index, backend.name.as_str()))
    }

    /// The backends to which a route leads, in the order in which they are written.
    pub fn backends(&self) -> impl Iterator<Item = &Rc<Backend>> {
        let backends = self.gateway.backends.iter();
        backends.filter(|it| self.used.backends.contains(&it.name))
    }

    /// The pools to which a route leads, in the order in which they are written.
    pub fn pools(&self) -> impl Iterator<Item = &Rc<Pool>> {
        let pools = self.gateway.pools.iter();
        pools.filter(|it| self.used.pools.contains(&it.name))
    }

    /// Whether a route leads to the backend or pool with this name.
    pub fn is_used(&self, name: &str) -> bool {
        let name = BackendName::new(name);
        name.is_ok_and(|it| self.used.backends.contains(&it) || self.used.pools.contains(&it))
    }

    /// Whether a route leads to this backend by itself, outside of any pool.
    pub fn is_asked_alone(&self, backend: &Backend) -> bool {
        self.used.alone.contains(&backend.name)
    }

    /// Whether one plugin, on the router, speaks for every backend, as it does for the members of pools.
    ///
    /// A plugin of its own saves a backend a look-up with each request. But every plugin names every
    /// variable, so that all share one VM, and each takes memory in every worker: with many backends
    /// that would grow with their square.
    pub fn shares_plugin(&self) -> bool {
        self.used.alone.len() > MAX_OWN_PLUGINS && !self.has_plugins_apart
    }

    /// Whether something is to be chosen, or waited for, that Envoy cannot by itself.
    pub fn needs_chooser(&self) -> bool {
        let mut routes = self.gateway.routes.iter();
        let is_chosen = routes.any(|route| route.needs_model() || route.deadline.is_some());
        is_chosen || self.pools().next().is_some()
    }

    /// The servers that give access tokens to [`Source::backends`], by the names of their clusters.
    pub fn token_sources(&self) -> BTreeMap<String, Rc<token::Source>> {
        let sources = self.backends().filter_map(|backend| match &backend.auth {
            Auth::Token(_, source) => Some((source.cluster(), Rc::clone(source))),
            _ => None,
        });
        sources.collect()
    }

    /// The names of all variables that the module needs to speak for [`Source::backends`].
    pub fn variable_names(&self) -> &BTreeSet<String> {
        &self.variable_names
    }

    /// The headers for the collector, and their values as Envoy formats them: `%ENVIRONMENT(NAME)%`.
    pub fn collector_headers(&self) -> impl Iterator<Item = (&str, String)> {
        self.collector_templates().map(|(name, template)| {
            let text = |text: &str| text.replace('%', "%%");
            let variable = |name: &str| format!("%ENVIRONMENT({name})%");
            (name, template.in_notation(text, variable))
        })
    }

    /// The names of the variables in them.
    pub fn collector_variables(&self) -> impl Iterator<Item = &str> {
        self.collector_templates()
            .flat_map(|(_, it)| it.variables())
    }

    fn collector_templates(&self) -> impl Iterator<Item = (&str, &Template)> {
        let telemetry = self.written.telemetry.as_ref();
        let headers = telemetry.and_then(|it| it.headers.as_ref());
        headers
            .into_iter()
            .flatten()
            .map(|(name, template)| (name.as_str(), template))
    }

    /// The configuration of the plugin that speaks for one backend, on its cluster.
    pub fn plugin(&self, backend: &Backend) -> Value {
        let name = backend.name.as_str();
        let mut plugin = self.any_plugin(Placement::Upstream, &[name]);
        plugin.route_metadata = self.route_metadata();
        plugin.prices = self.written.prices.clone();
        plugin.backend = Some(name.to_owned());
        in_order(&plugin)
    }

    /// The configuration of the plugin that speaks for every member of the pools, and for many backends.
    pub fn pools_plugin(&self) -> Value {
        let mut names: Vec<&str> = self.pools().map(|pool| pool.name.as_str()).collect();
        for pool in self.pools() {
            names.extend(pool.members().iter().map(|it| it.backend.name.as_str()));
        }
        if self.shares_plugin() {
            names.extend(self.used.alone.iter().map(BackendName::as_str));
        }
        let mut plugin = self.any_plugin(Placement::Upstream, &names);
        plugin.route_metadata = self.route_metadata();
        plugin.prices = self.written.prices.clone();
        in_order(&plugin)
    }

    /// The configuration of the plugin that speaks for the members of one pool.
    pub fn pool_plugin(&self, pool: &Pool) -> Value {
        let members = pool.members().iter().map(|it| it.backend.name.as_str());
        let names: Vec<&str> = [pool.name.as_str()].into_iter().chain(members).collect();
        let mut plugin = self.any_plugin(Placement::Upstream, &names);
        plugin.route_metadata = self.route_metadata();
        in_order(&plugin)
    }

    /// `false` where no rendered route tells the upstream plugins anything. Where routes may change while
    /// the plugins stay, one of them may do so at any time.
    fn route_metadata(&self) -> Option<bool> {
        (!self.has_route_metadata && !self.has_plugins_apart).then_some(false)
    }

    /// The configuration of the plugin that chooses, in the listener.
    pub fn choosing_plugin(&self) -> Value {
        let backends = self.backends().map(|it| it.name.as_str());
        let pools = self.pools().map(|it| it.name.as_str());
        let names: Vec<&str> = backends.chain(pools).collect();
        let mut plugin = self.any_plugin(Placement::Listener, &names);
        plugin.routes = self.written.routes.clone();
        plugin.role = Some(Role::Choose);
        in_order(&plugin)
    }

    /// Whether a backend may have no credential at a time: it takes access tokens, or a key from a file.
    pub fn may_lack_credential(&self, backend: &Backend) -> bool {
        matches!(backend.auth, Auth::Token(..)) || self.injected_of(backend).next().is_some()
    }

    /// The configuration of the plugin that answers whether the gateway is ready: with what may lack its
    /// credential, else with any backend, since a plugin has to have one.
    pub fn ready_plugin(&self) -> Value {
        let needs_token = |backend: &Backend| self.may_lack_credential(backend);
        let alone = self.backends().filter(|it| self.is_asked_alone(it));
        let mut names: Vec<&str> = alone
            .filter(|it| needs_token(it))
            .map(|it| it.name.as_str())
            .collect();
        for pool in self.pools() {
            let members = pool.members().iter().map(|it| &it.backend);
            if members.clone().all(|it| needs_token(it)) {
                names.push(pool.name.as_str());
                names.extend(members.map(|it| it.name.as_str()));
            }
        }
        if names.is_empty() {
            names.extend(self.backends().next().map(|it| it.name.as_str()));
        }
        let mut plugin = self.any_plugin(Placement::Upstream, &names);
        plugin.role = Some(Role::Ready);
        in_order(&plugin)
    }

    /// A plugin with these backends and pools, in the order in which they are written, and no routes.
    fn any_plugin(&self, placement: Placement, backends: &[&str]) -> file::Gateway {
        let places = backends.iter().filter_map(|name| self.places.get(*name));
        let places: BTreeSet<usize> = places.copied().collect();
        let written = &self.written.backends;
        let backends = places.into_iter().filter_map(|place| written.get(place));
        file::Gateway {
            listen: None,
            admin: None,
            health: None,
            telemetry: None,
            // Whoever sends a request knows what it costs.
            prices: None,
            max_request_bytes: Some(ByteSize(self.gateway.max_request_bytes)),
            backends: backends.cloned().collect(),
            routes: None,
            placement: Some(placement),
            hold_headers: Some(true),
            max_held_bytes: self.written.max_held_bytes,
            route_metadata: self.written.route_metadata,
            filter_state: self.written.filter_state,
            role: self.written.role,
            backend: self.written.backend.clone(),
            internal_path: self.written.internal_path.clone(),
            virtual_service: self.written.virtual_service.clone(),
            routes_set_headers: self.written.routes_set_headers,
        }
    }

    /// The configuration of the plugin that sits among a listener's filters and follows Envoy's
    /// routes: `envoy_route` gives the name of a route's. `internal_path` is theirs, too;
    /// `virtual_service` is the resource that they come from, where the module has to look.
    pub fn listener_plugin(
        &self,
        holds: bool,
        internal_path: &str,
        virtual_service: Option<String>,
        envoy_route: &dyn Fn(&Route) -> Option<String>,
    ) -> Value {
        let names: Vec<&str> = self.backends().map(|it| it.name.as_str()).collect();
        let mut plugin = self.any_plugin(Placement::Listener, &names);
        plugin.hold_headers = holds.then_some(true);
        plugin.max_request_bytes = self.written.max_request_bytes;
        plugin.prices = self.written.prices.clone();
        plugin.internal_path = Some(internal_path.to_owned());
        plugin.virtual_service = virtual_service;
        plugin.routes_set_headers = Some(true);
        let routes = self.written.routes.clone();
        let mut routes = routes.unwrap_or_else(|| self.implied_routes());
        for (route, meant) in routes.iter_mut().zip(&self.gateway.routes) {
            route.envoy_route = envoy_route(meant);
        }
        plugin.routes = Some(routes);
        in_order(&plugin)
    }

    /// What a route to this backend sets in requests, by lower-case names: its key and its configured
    /// headers, with commands of Envoy's in place of variables.
    ///
    /// Envoy writes them after the last filter, so that no route is chosen by them.
    ///
    /// Source: `ENVIRONMENT`,
    /// <https://www.envoyproxy.io/docs/envoy/v1.37.0/configuration/observability/access_log/usage>.
    pub fn route_headers(&self, backend: &Backend) -> BTreeMap<String, String> {
        let plugin = self.any_plugin(Placement::Listener, &[backend.name.as_str()]);
        let written = plugin.backends.iter();
        let names: BTreeSet<String> = written.flat_map(|(_, it)| templates::names(it)).collect();
        let parsed = Gateway::parse(&plugin.to_json().to_string(), &Commands);
        // What is wrong with it was found before.
        let backends = parsed.map(|it| it.backends).unwrap_or_default();
        let mut headers = BTreeMap::new();
        for backend in &backends {
            let key = match &backend.auth {
                Auth::Key(name, value) => Some((name, value)),
                _ => None,
            };
            let configured = backend.headers.iter().map(|(name, value)| (name, value));
            for (name, value) in configured.chain(key) {
                headers.insert(name.to_string(), with_commands(&value.expose(), &names));
            }
        }
        headers
    }

    /// The routes as they would be written.
    fn implied_routes(&self) -> file::List<file::Route> {
        let routes = self.gateway.routes.iter().map(|route| file::Route {
            name: Some(route.name.to_string()),
            backend: route.to.name().to_string(),
            ..file::Route::default()
        });
        routes.collect()
    }

    /// What that plugin would say of the backends that it asks alone: everything that cannot work
    /// in the listener, or without held headers. Pools are another matter.
    pub fn refusals_in_the_listener(&self, holds: bool) -> ConfigErrors {
        let names: Vec<&str> = self
            .written
            .backends
            .iter()
            .map(|(_, it)| &*it.name)
            .collect();
        let mut plugin = self.any_plugin(Placement::Listener, &names);
        plugin.routes = self.written.routes.clone();
        plugin.hold_headers = Some(holds);
        let environment = |_: &str| None;
        let found = Gateway::parse(&plugin.to_json().to_string(), &WithoutKeys(&environment));
        // A pool is no backend: what is wrong with it here is said elsewhere.
        let is_backend =
            |name: &str| BackendName::new(name).is_ok_and(|it| self.used.backends.contains(&it));
        let unused = names.iter().filter(|name| !is_backend(name));
        let unused: Vec<KeyPath> = unused.map(|name| self.place(name)).collect();
        let mut errors = ConfigErrors::default();
        for error in found.err().iter().flat_map(ConfigErrors::iter) {
            if !unused.iter().any(|place| place.contains(&error.at)) {
                errors.push(&error.at, &*error.message);
            }
        }
        errors
    }

    /// Where the backend or pool with this name is written.
    pub fn place(&self, name: &str) -> KeyPath {
        let index = self.places.get(name).copied();
        KeyPath::root()
            .key("backends")
            .index(index.unwrap_or_default())
    }
}

/// More backends than these have one plugin for all of them.
const MAX_OWN_PLUGINS: usize = 32;

fn in_order(plugin: &file::Gateway) -> Value {
    let first = [
        "placement",
        "role",
        "holdHeaders",
        "routeMetadata",
        "filterState",
        "internalPath",
        "virtualService",
        "routesSetHeaders",
        "backend",
    ];
    ordered(plugin.to_json(), &first)
}

/// An environment in which every key exists: its value is not needed.
struct WithoutKeys<'a>(&'a dyn Environment);

impl Environment for WithoutKeys<'_> {
    fn variable(&self, name: &str) -> Option<String> {
        self.0.variable(name)
    }

    fn secret(&self, _: &str) -> Option<String> {
        Some("absent".to_owned())
    }

    fn has_secrets(&self) -> bool {
        false
    }
}

/// An environment in which every key is the command by which Envoy writes it.
struct Commands;

impl Environment for Commands {
    fn variable(&self, _: &str) -> Option<String> {
        None
    }

    fn secret(&self, name: &str) -> Option<String> {
        Some(command(name))
    }

    fn has_secrets(&self) -> bool {
        false
    }
}

/// The command of Envoy's for a variable.
fn command(variable: &str) -> String {
    format!("%ENVIRONMENT({variable})%")
}

/// The value with every `%` escaped that is not one of the variables' commands.
fn with_commands(value: &str, variables: &BTreeSet<String>) -> String {
    let mut text = value.replace('%', "%%");
    for name in variables {
        let command = command(name);
        text = text.replace(&command.replace('%', "%%"), &command);
    }
    text
}

/// The same mapping with some keys first.
fn ordered(mapping: Value, first: &[&str]) -> Value {
    let Value::Object(mut members) = mapping else {
        return mapping;
    };
    let mut sorted = Map::new();
    for key in first {
        if let Some(value) = members.shift_remove(*key) {
            sorted.insert((*key).to_owned(), value);
        }
    }
    sorted.extend(members);
    Value::Object(sorted)
}
