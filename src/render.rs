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
mod yaml;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use serde_json::{Map, Value};

pub use self::templates::Variable;
use crate::config::value::ByteSize;
use crate::config::{
    Auth, Backend, ConfigErrors, Destination, Environment, Gateway, KeyPath, Placement, Role, file,
    parse_file,
};
use crate::pool::Pool;
use crate::route::Route;
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
}

impl Source {
    /// Reads a configuration whose keys are at hand: what [`Source::variables`] has can be used.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it, each with its key path.
    pub fn parse(text: &str, environment: &dyn Environment) -> Result<Self, ConfigErrors> {
        let gateway = Gateway::parse(text, environment)?;
        if gateway.routes.is_empty() {
            // A plugin can do without, where metadata decides; a proxy cannot.
            let mut errors = ConfigErrors::default();
            errors.push(&KeyPath::root().key("routes"), "at least one is required");
            return Err(errors);
        }
        let mut written = parse_file(text)?;
        let variables = templates::take_literals(&mut written, environment);
        templates::expand_texts(&mut written, environment);
        templates::write_ascii_hosts(&mut written);
        Ok(Self {
            gateway,
            written,
            variables,
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
        Self::parse(text, &WithoutKeys(environment))
    }

    /// What the configuration means.
    pub fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    /// The variables that stand for keys which the configuration has literally.
    pub fn variables(&self) -> &[Variable] {
        &self.variables
    }

    /// Where the routes lead.
    fn leads(&self) -> impl Iterator<Item = Destination> {
        let routes = self.gateway.routes.iter();
        routes.flat_map(|route| self.gateway.leads(route))
    }

    /// The names of all backends and pools, with their 0-based places.
    pub fn names(&self) -> impl Iterator<Item = (usize, &str)> {
        let written = self.written.backends.iter();
        written.map(|(index, backend)| (index, backend.name.as_str()))
    }

    /// The backends to which a route leads, in the order in which they are written.
    pub fn backends(&self) -> impl Iterator<Item = &Rc<Backend>> {
        let is_used = |backend: &&Rc<Backend>| {
            let mut leads = self.leads();
            leads.any(|to| to.backends().iter().any(|used| used.name == backend.name))
        };
        self.gateway.backends.iter().filter(is_used)
    }

    /// The pools to which a route leads, in the order in which they are written.
    pub fn pools(&self) -> impl Iterator<Item = &Rc<Pool>> {
        let is_used = |pool: &&Rc<Pool>| {
            let mut leads = self.leads();
            leads.any(|to| matches!(&to, Destination::Pool(it) if it.name == pool.name))
        };
        self.gateway.pools.iter().filter(is_used)
    }

    /// Whether a route leads to this backend by itself, outside of any pool.
    pub fn is_asked_alone(&self, backend: &Backend) -> bool {
        let mut leads = self.leads();
        leads.any(|to| matches!(&to, Destination::Backend(it) if it.name == backend.name))
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
    pub fn variable_names(&self) -> BTreeSet<String> {
        let used: BTreeSet<&str> = self.backends().map(|it| it.name.as_str()).collect();
        self.written
            .backends
            .iter()
            .filter(|(_, backend)| used.contains(backend.name.as_str()))
            .flat_map(|(_, backend)| templates::names(backend))
            .collect()
    }

    /// The configuration of the plugin that speaks for one backend, on its cluster.
    pub fn plugin(&self, backend: &Backend) -> Value {
        let name = backend.name.as_str();
        let mut plugin = self.any_plugin(Placement::Upstream, &[name]);
        plugin.routes = None;
        plugin.route_metadata = self.route_metadata();
        plugin.backend = Some(name.to_owned());
        in_order(&plugin)
    }

    /// The configuration of the plugin that speaks for every member of the pools, on their clusters.
    pub fn pools_plugin(&self) -> Value {
        let mut names: Vec<&str> = self.pools().map(|pool| pool.name.as_str()).collect();
        for pool in self.pools() {
            names.extend(pool.members().iter().map(|it| it.backend.name.as_str()));
        }
        let mut plugin = self.any_plugin(Placement::Upstream, &names);
        plugin.routes = None;
        plugin.route_metadata = self.route_metadata();
        in_order(&plugin)
    }

    /// `false` where no rendered route tells the upstream plugins anything.
    fn route_metadata(&self) -> Option<bool> {
        let is_any = self.gateway.routes.iter().any(envoy::has_metadata);
        (!is_any).then_some(false)
    }

    /// The configuration of the plugin that chooses, in the listener.
    pub fn choosing_plugin(&self) -> Value {
        let backends = self.backends().map(|it| it.name.as_str());
        let pools = self.pools().map(|it| it.name.as_str());
        let names: Vec<&str> = backends.chain(pools).collect();
        let mut plugin = self.any_plugin(Placement::Listener, &names);
        plugin.role = Some(Role::Choose);
        in_order(&plugin)
    }

    fn any_plugin(&self, placement: Placement, backends: &[&str]) -> file::Gateway {
        let mut plugin = self.written.clone();
        plugin.listen = None;
        plugin.admin = None;
        plugin.max_request_bytes = Some(ByteSize(self.gateway.max_request_bytes));
        plugin.placement = Some(placement);
        plugin.hold_headers = Some(true);
        plugin
            .backends
            .retain(|it| backends.contains(&it.name.as_str()));
        plugin
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
        plugin.internal_path = Some(internal_path.to_owned());
        plugin.virtual_service = virtual_service;
        let routes = plugin
            .routes
            .take()
            .unwrap_or_else(|| self.implied_routes());
        let mut routes = routes;
        for (route, meant) in routes.iter_mut().zip(&self.gateway.routes) {
            route.envoy_route = envoy_route(meant);
        }
        plugin.routes = Some(routes);
        in_order(&plugin)
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
        plugin.hold_headers = Some(holds);
        let environment = |_: &str| None;
        let found = Gateway::parse(&plugin.to_json().to_string(), &WithoutKeys(&environment));
        let unused = names
            .iter()
            .filter(|name| !self.backends().any(|it| it.name.as_str() == **name));
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
        let mut backends = self.written.backends.iter();
        let index = backends.find_map(|(index, it)| (it.name == name).then_some(index));
        KeyPath::root()
            .key("backends")
            .index(index.unwrap_or_default())
    }
}

fn in_order(plugin: &file::Gateway) -> Value {
    let first = [
        "placement",
        "role",
        "holdHeaders",
        "routeMetadata",
        "internalPath",
        "virtualService",
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
