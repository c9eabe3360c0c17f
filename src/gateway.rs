//! A gateway, valid by construction: code that has a [`Gateway`] checks nothing again.

use std::rc::Rc;
use std::time::Duration;

use crate::backend::Backend;
use crate::endpoint::Address;
use crate::patience::MAX_ERROR_PAUSE;
use crate::pool::{Order, Pool};
use crate::route::{self, Destination, Route};
use crate::telemetry::Collector;

/// A gateway: its backends and which requests go to them.
#[derive(Clone, Debug)]
pub struct Gateway {
    /// Where the rendered Envoy listens.
    pub listen: Address,
    /// Where the rendered Envoy's admin interface listens.
    pub admin: Address,
    /// Where the rendered Envoy answers probes.
    pub health: Health,
    /// To whom the rendered Envoy reports, beside its admin interface and standard output.
    pub collector: Option<Collector>,
    /// The largest request body, in bytes.
    pub max_request_bytes: u64,
    /// What one VM may hold for all its streams together, in bytes: see [`crate::budget`].
    pub max_held_bytes: u64,
    /// How many names of models that the configuration does not have may be labels of metrics.
    pub max_model_labels: usize,
    /// At least one; the names differ.
    pub backends: Vec<Rc<Backend>>,
    /// The backends of `type: pool`; no name is one of `backends`.
    pub pools: Vec<Rc<Pool>>,
    /// In order of precedence. Empty only where [`Plugin::backend`] or metadata decides.
    pub routes: Vec<Route>,
    /// What concerns one instance of the module.
    pub plugin: Plugin,
}

/// The paths at which the rendered Envoy answers probes, before any route. They differ, and are not the
/// path of a route. `None`: it is off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// Envoy is up.
    pub live: Option<String>,
    /// The module answers on this worker, and has what it needs.
    pub ready: Option<String>,
}

impl Health {
    /// The paths that are on.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        [&self.live, &self.ready]
            .into_iter()
            .filter_map(|path| path.as_deref())
    }
}

/// What concerns one instance of the module.
#[derive(Clone, Debug)]
pub struct Plugin {
    /// Where it sits.
    pub placement: Placement,
    /// What it does there.
    pub role: Role,
    /// Whether headers can wait for the body.
    pub hold_headers: bool,
    /// Whether Envoy's routes may have metadata for us.
    pub route_metadata: bool,
    /// Whether what is known of each request is put into Envoy's filter state.
    pub filter_state: bool,
    /// For which backend it speaks where no metadata says so.
    pub backend: Option<Rc<Backend>>,
    /// How it follows Envoy's choice of route, in a listener; `None`: it chooses by itself.
    pub envoy_routes: Option<EnvoyRoutes>,
}

/// What the module knows of Envoy's routes, beside their names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvoyRoutes {
    /// The path below which internal paths stand: it starts with a `/` and does not end with one.
    pub internal_path: Rc<str>,
    /// The end of `config` in the `istio` metadata of a route that is ours.
    pub owner: Option<String>,
    /// Whether they set the key and the configured headers of their backend: the module then only
    /// removes what a client must not send. A header that the module sets is there when Envoy compares
    /// routes once more, and somebody else's route could match it. They remove the request's id, too, by
    /// which Envoy then decides once more whether to trace the request.
    pub set_headers: bool,
}

/// Where the module sits in Envoy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Placement {
    /// In the HTTP connection manager: once per request, before routing.
    #[default]
    Listener,
    /// On a cluster: once per attempt, after a host was picked.
    Upstream,
}

/// What one instance of the module does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// It chooses where a request goes, and leaves the request as it is.
    Choose,
    /// It answers every request by itself: whether it has what it needs.
    Ready,
    /// It makes a request one to its backend.
    #[default]
    Send,
}

impl Gateway {
    /// Where a request for this model goes from a route, and the prefix of its name that says so.
    ///
    /// With `backendFromModel` that is what its name begins with, before the first `/`; a name that
    /// begins with no backend's is one of the models that have a `/` themselves.
    pub fn destination(
        &self,
        route: &Route,
        model: route::Model<'_>,
    ) -> (Destination, Option<Rc<str>>) {
        let named = match model {
            route::Model::Named(name) if route.backend_from_model => {
                let name = route.aliases.resolve(name).map_or(name, |alias| alias);
                let backend = name.split_once('/').map(|(backend, _)| backend);
                backend.and_then(|name| self.named(name))
            }
            _ => None,
        };
        match named {
            Some(to) => {
                let prefix = Rc::from(format!("{}/", to.name()));
                (to, Some(prefix))
            }
            None => (route.to.clone(), None),
        }
    }

    /// The backend or the pool with this name.
    pub fn named(&self, name: &str) -> Option<Destination> {
        let pool = self.pools.iter().find(|pool| pool.name.as_str() == name);
        let pool = pool.map(|pool| Destination::Pool(Rc::clone(pool)));
        pool.or_else(|| Some(Destination::Backend(Rc::clone(self.backend(name)?))))
    }

    /// The shortest time for which a stream may have to wait.
    pub fn shortest_wait(&self) -> Duration {
        let deadlines = self.routes.iter().filter_map(|route| route.deadline);
        // Who only chooses sees no more than that a reply has started.
        let sends = self.plugin.role == Role::Send;
        let backends = self.backends.iter().filter(|_| sends);
        let limits = backends.flat_map(|it| [it.first_byte_timeout, it.stream_idle_timeout]);
        let shortest = deadlines.chain(limits.flatten()).min();
        shortest.map_or(MAX_ERROR_PAUSE, |it| it.min(MAX_ERROR_PAUSE))
    }

    /// Where requests go from a route, its own destination first.
    pub fn leads(&self, route: &Route) -> Vec<Destination> {
        let mut leads = vec![route.to.clone()];
        if route.backend_from_model {
            let others = self.destinations().map(|(_, to)| to);
            leads.extend(others.filter(|to| to.name() != route.to.name()));
        }
        leads
    }

    /// Every backend and every pool, by name.
    pub fn destinations(&self) -> impl Iterator<Item = (&str, Destination)> {
        let backends = self.backends.iter().map(|backend| {
            let to = Destination::Backend(Rc::clone(backend));
            (backend.name.as_str(), to)
        });
        let pools = self.pools.iter().map(|pool| {
            let to = Destination::Pool(Rc::clone(pool));
            (pool.name.as_str(), to)
        });
        backends.chain(pools)
    }

    /// The backend with this name.
    pub fn backend(&self, name: &str) -> Option<&Rc<Backend>> {
        self.backends
            .iter()
            .find(|backend| backend.name.as_str() == name)
    }

    /// The pool and its order that a cluster stands for.
    pub fn order_of(&self, cluster: &str) -> Option<(&Rc<Pool>, &Rc<Order>)> {
        self.pools
            .iter()
            .find_map(|pool| Some((pool, pool.order_of(cluster)?)))
    }
}
