//! Which backend a request goes to.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use crate::backend::Backend;
use crate::host::{self, InvalidHost};
use crate::model::{Aliases, Glob};
use crate::name::{BackendName, RouteName};
use crate::pool::Pool;
use crate::sorted;

/// Requests that go to one backend: everything that is given must match.
#[derive(Clone, Debug)]
pub struct Route {
    /// Its name.
    pub name: RouteName,
    /// The path itself and whatever follows it after a `/`. No trailing `/`; empty is every path.
    pub path: String,
    /// Upper-case methods; empty is every method.
    pub methods: Vec<String>,
    /// Lower-case names and exact values.
    pub headers: Vec<(String, String)>,
    /// Host names; empty is every host.
    pub hosts: Vec<Host>,
    /// The models that the client may ask for here; empty is every model, and none.
    pub models: Vec<Glob>,
    /// Where its requests go.
    pub to: Destination,
    /// Whether a model that begins with the name of a backend goes there instead.
    pub backend_from_model: bool,
    /// Applied to the client's model before the backend's rules.
    pub aliases: Rc<Aliases>,
    /// Time to the first byte of the reply, over all attempts.
    pub deadline: Option<Duration>,
    /// The model that is always written.
    pub model: Option<Rc<str>>,
    /// The name of Envoy's route for these requests, or what it begins with, before a `*`.
    pub envoy_route: Option<Rc<str>>,
}

/// Where a route leads.
#[derive(Clone, Debug)]
pub enum Destination {
    /// To one backend.
    Backend(Rc<Backend>),
    /// To one of several.
    Pool(Rc<Pool>),
}

impl Destination {
    /// The name.
    pub fn name(&self) -> &BackendName {
        match self {
            Self::Backend(backend) => &backend.name,
            Self::Pool(pool) => &pool.name,
        }
    }

    /// The backend, or every one of the pool, in file order.
    pub fn backends(&self) -> Vec<&Rc<Backend>> {
        match self {
            Self::Backend(backend) => vec![backend],
            Self::Pool(pool) => pool.members().iter().map(|it| &it.backend).collect(),
        }
    }
}

/// A host name, or every name below one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Host {
    /// This name, lower case.
    Exact(String),
    /// Every name that ends in this, lower case, `.` included.
    Below(String),
}

impl Host {
    /// Reads `name` or `*.name`.
    ///
    /// # Errors
    ///
    /// When the name is not a host's.
    pub fn new(text: &str) -> Result<Self, InvalidHost> {
        match text.strip_prefix("*.") {
            Some(name) => Ok(Self::Below(format!(".{}", host::Host::parse(name)?))),
            None => Ok(Self::Exact(host::Host::parse(text)?.to_string())),
        }
    }

    /// Whether an authority, with or without a port, is one of these hosts.
    pub fn matches(&self, authority: &str) -> bool {
        let port = |port: &str| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
        let host = match authority.rsplit_once(':') {
            Some((host, digits)) if port(digits) => host,
            _ => authority,
        };
        match self {
            Self::Exact(name) => host.eq_ignore_ascii_case(name),
            Self::Below(suffix) => host.to_ascii_lowercase().ends_with(suffix.as_str()),
        }
    }

    /// Whether this matches every host that `other` matches.
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Exact(a), Self::Exact(b)) => a == b,
            (Self::Below(a), Self::Exact(b) | Self::Below(b)) => b.ends_with(a.as_str()),
            (Self::Exact(_), Self::Below(_)) => false,
        }
    }
}

/// What a route is chosen by.
pub struct Request<'a> {
    /// The path with its query.
    pub path: &'a str,
    /// Upper case.
    pub method: &'a str,
    /// Host, perhaps with a port.
    pub authority: &'a str,
    /// The value of a header, by lower-case name.
    pub header: &'a dyn Fn(&str) -> Option<&'a [u8]>,
    /// The model that the client asks for.
    pub model: Model<'a>,
}

/// The model in a request's body, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Model<'a> {
    /// The body has none, or is not one that could tell.
    Absent,
    /// This one.
    Named(&'a str),
    /// The body has not been read.
    Unread,
}

/// What routing came to.
#[derive(Debug)]
pub enum Routed<'r> {
    /// The first route that matches.
    Route(&'r Route),
    /// That depends on the model, which has not been read.
    NeedsModel,
    /// Only the model is missing: every route is for certain ones.
    NoModel,
    /// No route matches.
    Nowhere,
    /// Only the model is wrong.
    UnknownModel,
    /// Only the method is wrong; these are allowed.
    WrongMethod(BTreeSet<&'r str>),
}

/// Chooses the first route that matches.
pub fn choose<'r>(routes: &'r [Route], request: &Request<'_>) -> Routed<'r> {
    let mut allowed = BTreeSet::new();
    let mut is_for_others = false;
    for route in routes
        .iter()
        .filter(|route| route.matches_all_but_method(request))
    {
        if !route.methods.is_empty() && !route.methods.iter().any(|it| it == request.method) {
            allowed.extend(route.methods.iter().map(String::as_str));
            continue;
        }
        match request.model {
            Model::Unread if route.needs_model() => return Routed::NeedsModel,
            model if route.is_for(model) => return Routed::Route(route),
            _ => is_for_others = true,
        }
    }
    match (is_for_others, request.model) {
        (true, Model::Named(_)) => Routed::UnknownModel,
        (true, _) => Routed::NoModel,
        (false, _) if allowed.is_empty() => Routed::Nowhere,
        (false, _) => Routed::WrongMethod(allowed),
    }
}

/// The same for a route that Envoy has chosen by everything but the method, and which does not go by
/// the model. The path has to be the route's all the same: Envoy may take others to it.
pub fn chosen<'r>(route: &'r Route, request: &Request<'_>) -> Routed<'r> {
    if !path_is_below(request.path, &route.path) {
        return Routed::Nowhere;
    }
    match route.methods.iter().any(|it| it == request.method) || route.methods.is_empty() {
        true => Routed::Route(route),
        false => Routed::WrongMethod(sorted::collect(route.methods.iter().map(String::as_str))),
    }
}

/// Pairs of routes (later, earlier) where every request of the later one matches the earlier: all of
/// them, or those that were found by `MAX_COMPARISONS`.
pub fn unreachable(routes: &[Route]) -> Vec<(&Route, &Route)> {
    let mut pairs = Vec::new();
    let by_path = ByPath::new(routes);
    let mut comparisons = 0;
    for (number, later) in routes.iter().enumerate() {
        let above = by_path.numbers_above(&later.path);
        let earlier = above.take_while(|it| *it < number);
        for earlier in earlier.filter_map(|it| routes.get(it)) {
            comparisons += earlier.comparisons(later);
            if comparisons > MAX_COMPARISONS {
                return pairs;
            }
            if earlier.covers(later) {
                pairs.push((later, earlier));
                break;
            }
        }
    }
    pairs
}

/// What is compared to warn of routes that no request reaches: each of 4,000 routes for one path with
/// each. Which of more are never reached is of less use than an end to the work.
const MAX_COMPARISONS: usize = 20_000_000;

/// Routes by their paths: a gateway with thousands of them is checked and rendered without comparing
/// each with each.
pub struct ByPath<'r> {
    routes: &'r [Route],
    /// The 0-based numbers of the routes with this path, in order.
    numbers: BTreeMap<&'r str, Vec<usize>>,
}

impl<'r> ByPath<'r> {
    /// The routes of a gateway.
    pub fn new(routes: &'r [Route]) -> Self {
        let mut numbers: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (number, route) in routes.iter().enumerate() {
            numbers.entry(route.path.as_str()).or_default().push(number);
        }
        Self { routes, numbers }
    }

    /// The routes whose path is `path` (without a query) or what it continues, in order, with their
    /// numbers.
    pub fn above<'s>(
        &'s self,
        path: &str,
    ) -> impl Iterator<Item = (usize, &'r Route)> + use<'s, 'r> {
        let routes = self.routes;
        let numbers = self.numbers_above(path);
        numbers.filter_map(move |number| Some((number, routes.get(number)?)))
    }

    /// The numbers are merged as far as they are looked at: thousands of routes may have one path.
    fn numbers_above<'s>(&'s self, path: &str) -> impl Iterator<Item = usize> + use<'s, 'r> {
        let ends = path
            .match_indices('/')
            .map(|(at, _)| at)
            .chain([path.len()]);
        let bases = ends.filter_map(|end| path.get(..end));
        let numbers = bases.filter_map(|base| self.numbers.get(base));
        let mut numbers: Vec<&[usize]> = numbers.map(Vec::as_slice).collect();
        std::iter::from_fn(move || {
            let first = |numbers: &&mut &[usize]| numbers.first().copied().unwrap_or(usize::MAX);
            let least = numbers.iter_mut().min_by_key(first)?;
            let (number, rest) = least.split_first()?;
            *least = rest;
            Some(*number)
        })
    }
}

impl Route {
    /// Whether Envoy's route with this name is the one for these requests.
    pub fn is_envoys(&self, name: &str) -> bool {
        let own = self.envoy_route.as_deref();
        own.is_some_and(|own| match own.strip_suffix('*') {
            Some(start) => name.starts_with(start),
            None => name == own,
        })
    }

    /// The name of the way from here to one of the destinations: the value of
    /// [`ROUTE_HEADER`](crate::contract::ROUTE_HEADER).
    pub fn label(&self, to: &Destination) -> String {
        match self.backend_from_model {
            true => format!("{}/{}", self.name, to.name()),
            false => self.name.to_string(),
        }
    }

    /// Whether the body's model decides if and where a request goes from here.
    pub fn needs_model(&self) -> bool {
        self.backend_from_model || !self.models.is_empty()
    }

    /// Whether a request for this model may go here.
    pub fn is_for(&self, model: Model<'_>) -> bool {
        match model {
            _ if self.models.is_empty() => true,
            Model::Named(name) => self.models.iter().any(|glob| glob.matches(name)),
            Model::Absent | Model::Unread => false,
        }
    }

    fn matches_all_but_method(&self, request: &Request<'_>) -> bool {
        path_is_below(request.path, &self.path)
            && self.is_for_client(request.authority, request.header)
    }

    /// Whether it is for requests with this authority and these headers.
    pub fn is_for_client<'a>(
        &self,
        authority: &str,
        header: &dyn Fn(&str) -> Option<&'a [u8]>,
    ) -> bool {
        let has = |(name, value): &(String, String)| {
            header(name).is_some_and(|found| found == value.as_bytes())
        };
        (self.hosts.is_empty() || self.hosts.iter().any(|it| it.matches(authority)))
            && self.headers.iter().all(has)
    }

    /// How much [`Route::covers`] compares at most.
    fn comparisons(&self, other: &Self) -> usize {
        let of = |own: usize, others: usize| own.saturating_mul(others);
        of(self.methods.len(), other.methods.len())
            + of(self.models.len(), other.models.len())
            + of(self.hosts.len(), other.hosts.len())
            + of(self.headers.len(), other.headers.len())
            + 1
    }

    /// Whether this route matches every request that `other` matches.
    fn covers(&self, other: &Self) -> bool {
        let methods = self.methods.is_empty()
            || (!other.methods.is_empty()
                && other.methods.iter().all(|it| self.methods.contains(it)));
        let models = self.models.is_empty()
            || (!other.models.is_empty()
                && other
                    .models
                    .iter()
                    .all(|glob| self.models.iter().any(|it| it.covers(glob))));
        methods && models && self.covers_all_but_methods(other)
    }

    /// Whether it demands nothing of its clients, path, method and model aside.
    pub fn is_for_all_clients(&self) -> bool {
        self.hosts.is_empty() && self.headers.is_empty()
    }

    /// Whether it is for every client that `other` is for, path, method and model aside.
    pub fn covers_clients_of(&self, other: &Self) -> bool {
        let hosts = self.hosts.is_empty()
            || (!other.hosts.is_empty()
                && other
                    .hosts
                    .iter()
                    .all(|host| self.hosts.iter().any(|it| it.covers(host))));
        hosts && self.headers.iter().all(|it| other.headers.contains(it))
    }

    /// Whether this route matches every request that `other` matches, methods and models aside.
    pub fn covers_all_but_methods(&self, other: &Self) -> bool {
        path_is_below(&other.path, &self.path) && self.covers_clients_of(other)
    }
}

/// Whether `path`, its query aside, is `base` or continues it after a `/`.
pub fn path_is_below(path: &str, base: &str) -> bool {
    let rest = path.strip_prefix(base);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']))
}
