//! The gateway's routes as a control plane chooses them: by path, method, headers and hosts, before any
//! filter runs, the module's included.
//!
//! See [`crate::rewrite`] for the paths that the module writes.

use std::collections::BTreeSet;
use std::rc::Rc;

use super::super::Source;
use crate::backend::Backend;
use crate::catalog::{self, Listing};
use crate::config::{ConfigErrors, KeyPath};
use crate::rewrite::{self, Rewrite};
use crate::route::{self, Destination, Host, Route};

/// A way of requests to one backend.
#[derive(Clone, Debug)]
pub struct Way<'a> {
    /// The route.
    pub route: &'a Route,
    /// Where it leads.
    pub backend: Rc<Backend>,
    /// The name of what is rendered for it: the route's, with the backend's where there are several.
    pub name: String,
    /// How it is chosen at first.
    pub choice: Choice,
    /// The path below which its internal paths stand.
    pub internal: String,
    /// How a client's path becomes the provider's; `None`: every path is an internal one.
    pub to: Option<To>,
}

/// What stands in a provider's path for the start of a client's: see [`Rewrite`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct To {
    /// The start of the client's path.
    pub from: String,
    /// Whether a `/v1` may follow.
    pub version: bool,
    /// What the provider's path has instead.
    pub to: String,
}

/// How a route is chosen, before the module has seen a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// By its conditions.
    Direct,
    /// By nothing of a client's: only the module leads there.
    Internal,
    /// By nothing of a client's. Its conditions choose a route of their own, on which the request is
    /// until its body has said the model.
    Waiting,
}

/// The conditions of a route, as far as a control plane looks at them.
#[derive(Clone, Debug)]
pub struct Conditions<'a> {
    /// The path and what is below it. `/` is every path.
    pub path: &'a str,
    /// Further paths whose requests only the module can answer: those of model lists.
    pub lists: Vec<String>,
    /// Methods; none where all come to the module, which refuses the wrong ones.
    pub methods: &'a [String],
    /// Headers and their values.
    pub headers: &'a [(String, String)],
    /// Hosts.
    pub hosts: &'a [Host],
}

/// The ways of all routes that a request can come to, in file order. `root` is the plugin's
/// `internalPath`.
pub fn ways<'a>(source: &'a Source, root: &str) -> Vec<Way<'a>> {
    let routes = reachable(source);
    let mut waiting: Vec<&Route> = Vec::new();
    let mut ways = Vec::new();
    for route in routes {
        let is_taken = waiting.iter().any(|it| has_same_conditions(it, route));
        let choice = match (route.needs_model(), is_taken) {
            (true, false) => {
                waiting.push(route);
                Choice::Waiting
            }
            (false, false) => Choice::Direct,
            (_, true) => Choice::Internal,
        };
        let leads = source.gateway().leads(route);
        for (number, lead) in leads.iter().enumerate() {
            // Pools are refused elsewhere.
            let Destination::Backend(backend) = lead else {
                continue;
            };
            let name = match route.backend_from_model {
                true => format!("{}-{}", route.name, backend.name),
                false => route.name.to_string(),
            };
            ways.push(Way {
                route,
                backend: Rc::clone(backend),
                name,
                choice: if number == 0 {
                    choice
                } else {
                    Choice::Internal
                },
                internal: rewrite::internal_path(root, route, backend),
                to: Rewrite::of(route, backend).map(|it| To {
                    from: it.from.to_owned(),
                    version: it.version,
                    to: it.to.into_owned(),
                }),
            });
        }
    }
    ways
}

/// What a control plane has to look at so that a request comes to a route.
pub fn conditions<'a>(source: &'a Source, route: &'a Route) -> Conditions<'a> {
    let routes = reachable(source);
    // Where no other route is at that path, the module says which methods are right.
    let is_shared = routes.iter().any(|other| {
        other.name != route.name
            && (route::path_is_below(&other.path, &route.path)
                || route::path_is_below(&route.path, &other.path))
    });
    let gateway = source.gateway();
    let covered = |path: &str| {
        let mut routes = routes.iter();
        routes.any(|other| route::path_is_below(path, &other.path))
    };
    let is_ours = |base: &String| {
        let is_first = routes.iter().find(|it| catalog::bases(it).contains(base));
        let listing = catalog::listing(gateway, base, &|_| true);
        is_first.is_some_and(|first| first.name == route.name)
            && matches!(listing, Listing::Configured(_))
    };
    let bases = catalog::bases(route).into_iter().filter(is_ours);
    let lists = bases.map(|base| [&base, "/models"].concat());
    Conditions {
        path: match route.path.as_str() {
            "" => "/",
            path => path,
        },
        lists: lists.filter(|list| !covered(list)).collect(),
        methods: if is_shared { &route.methods } else { &[] },
        headers: &route.headers,
        hosts: &route.hosts,
    }
}

/// Notes what the module removes or replaces, so that Envoy would choose another route after it.
pub fn check_headers(source: &Source, errors: &mut ConfigErrors) {
    for (index, route) in source.gateway().routes.iter().enumerate() {
        let at = KeyPath::root().key("routes").index(index).key("headers");
        for (name, _) in &route.headers {
            if is_changed(source, route, name) {
                let message = "the module changes this header, and Envoy would choose another \
                               route by what it is then; expected a header of your own";
                errors.push(&at.key(name), message);
            }
        }
    }
}

fn is_changed(source: &Source, route: &Route, name: &str) -> bool {
    let changes = |backend: &&Rc<Backend>| {
        let configured = backend.headers.iter().map(|(set, _)| &**set);
        let mut set = configured.chain(backend.auth.header());
        set.any(|set| set == name) || !backend.header_rules.passes(name.as_bytes(), true)
    };
    let leads = source.gateway().leads(route);
    let mut backends = leads.iter().flat_map(Destination::backends);
    FRAMING.contains(&name) || backends.any(|it| changes(&it))
}

/// Notes routes whose order in the file is not the one in which the Gateway API chooses.
///
/// Source: <https://gateway-api.sigs.k8s.io/reference/spec/#httprouterule>: the longest path, then a
/// method, then the most headers.
pub fn check_order(source: &Source, errors: &mut ConfigErrors) {
    let routes = reachable(source);
    let rank = |route: &Route| {
        let conditions = conditions(source, route);
        let headers = conditions.headers.len() + usize::from(!conditions.hosts.is_empty());
        (
            route.path.len(),
            usize::from(!conditions.methods.is_empty()) + headers,
        )
    };
    for (number, later) in routes.iter().enumerate() {
        let mut earlier = routes.iter().take(number);
        let outranked = earlier.find(|it| overlap(it, later) && rank(later) > rank(it));
        if let Some(earlier) = outranked {
            let index = |route: &Route| {
                let mut all = source.gateway().routes.iter();
                all.position(|it| it.name == route.name).unwrap_or_default()
            };
            let at = KeyPath::root().key("routes").index(index(later));
            let message = format!(
                "a Gateway takes the longer path and the more conditions first, so that this route \
                 would come before routes[{}]; write it before that one",
                index(earlier)
            );
            errors.push(&at, message);
        }
    }
}

fn reachable(source: &Source) -> Vec<&Route> {
    let routes = &source.gateway().routes;
    let unreachable = route::unreachable(routes);
    let is_never = |route: &Route| unreachable.iter().any(|(it, _)| it.name == route.name);
    routes.iter().filter(|route| !is_never(route)).collect()
}

fn has_same_conditions(one: &Route, other: &Route) -> bool {
    let conditions = |route: &Route| {
        let methods: BTreeSet<String> = route.methods.iter().cloned().collect();
        let headers: BTreeSet<(String, String)> = route.headers.iter().cloned().collect();
        (route.path.clone(), methods, headers)
    };
    conditions(one) == conditions(other) && one.hosts == other.hosts
}

/// Whether a request may match both, as far as paths, methods, headers and hosts tell.
fn overlap(one: &Route, other: &Route) -> bool {
    let paths = route::path_is_below(&one.path, &other.path)
        || route::path_is_below(&other.path, &one.path);
    let methods = one.methods.is_empty()
        || other.methods.is_empty()
        || one.methods.iter().any(|it| other.methods.contains(it));
    let differs = |(name, value): &(String, String)| {
        let mut others = other.headers.iter();
        others.any(|(other, theirs)| other == name && theirs != value)
    };
    let hosts = one.hosts.is_empty()
        || other.hosts.is_empty()
        || one.hosts.iter().any(|host| {
            let mut others = other.hosts.iter();
            others.any(|it| it.covers(host) || host.covers(it))
        });
    paths && methods && hosts && !one.headers.iter().any(differs)
}

impl Way<'_> {
    /// A regular expression (RE2) for the start of the paths that the route rewrites, and what it
    /// writes instead.
    pub fn substitution(&self) -> (String, String) {
        let internal = literal(&self.internal);
        match (&self.to, self.choice) {
            (Some(to), Choice::Direct) => {
                let pattern = format!("^(?:{internal}|{})/", to.start());
                (pattern, format!("{}/", to.to))
            }
            (to, _) => {
                let to = to.as_ref().map_or("", |to| &to.to);
                (format!("^{internal}/"), format!("{to}/"))
            }
        }
    }
}

impl To {
    /// A regular expression (RE2) for what clients' paths start with, before a `/`.
    pub fn start(&self) -> String {
        let version = if self.version { "(?:/v1)?" } else { "" };
        [&*literal(&self.from), version].concat()
    }
}

/// A text as a regular expression (RE2) that matches it alone.
pub fn literal(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if "\\.+*?()|[]{}^$".contains(c) {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

/// What the module writes as well, with the body.
const FRAMING: [&str; 2] = ["content-length", "content-type"];
