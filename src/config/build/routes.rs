//! The routes: `routes[]`, or the one that is implied.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::super::error::KeyPath;
use super::super::value::{BackendType, Span, Template};
use super::super::{defaults, file};
use super::{Backends, Build, METHODS, UNPRINTABLE, is_header_value};
use crate::endpoint::check_path;
use crate::host::InvalidHost;
use crate::model::{Aliases, Glob};
use crate::name::RouteName;
use crate::operation::Operation;
use crate::pool::Pool;
use crate::route::{self, Destination, Route};
use crate::sorted;

impl Build<'_> {
    pub(super) fn routes(
        &mut self,
        file: &file::Gateway,
        backends: &Backends,
        pools: &[Rc<Pool>],
    ) -> Vec<Route> {
        let at = KeyPath::root().key("routes");
        let Some(routes) = &file.routes else {
            return self.implied_routes(file, backends, pools);
        };
        let by_name = pools.iter().rev().map(|pool| (pool.name.as_str(), pool));
        let by_name: BTreeMap<&str, &Rc<Pool>> = sorted::collect(by_name);
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
            let to = self.destination(file, &route.backend, &at_backend, backends, &by_name);
            let path = self.route_path(
                route.path.as_deref().unwrap_or(defaults::PATH),
                &at.key("path"),
            );
            let methods = self.methods(route, &at.key("methods"));
            let headers = self.matched_headers(route, &at.key("headers"));
            let hosts = self.hosts(route, &at.key("hosts"));
            let model = route.model.as_deref().map(Template::literal);
            let model = self.model_name(model.as_ref(), &at.key("model"));
            let models = self.route_models(route, &at.key("models"));
            let aliases = self.route_aliases(route, &at.key("modelAliases"));
            let backend_from_model = route
                .backend_from_model
                .unwrap_or(defaults::BACKEND_FROM_MODEL);
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
        let written: BTreeMap<String, Template> = sorted::collect(written.iter().map(literal));
        self.aliases(written.iter(), at)
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
