//! Where a request goes, and the headers that take it there.

use std::rc::Rc;
use std::time::Duration;

use super::Surroundings;
use super::body::OfRoute;
use crate::backend::{Auth, Backend, KeyHeader};
use crate::contract::{
    ATTEMPTS_HEADER, BACKEND_HEADER, ENVOY_REQUEST_ID_HEADER, RouteMetadata, SCHEME_HEADER,
};
use crate::firewall;
use crate::gateway::{Gateway, Placement};
use crate::headers::{HeaderEdit, Headers, Text};
use crate::model::Renaming;
use crate::moment::Moment;
use crate::operation::Operation;
use crate::pool::health::{self, Outcome, Record};
use crate::pool::{Order, Pool};
use crate::provider::PathError;
use crate::refusal::Refusal;
use crate::route::{self, Destination, Routed};

/// Where a request goes.
pub struct Target {
    /// To this backend.
    pub backend: Rc<Backend>,
    /// With what the route says about the model.
    pub of_route: OfRoute,
    /// The path of the route, where it is known.
    pub path: Option<String>,
    /// Which of the gateway's routes led here, where one of them did. A 0-based index.
    pub route: Option<usize>,
    /// Time to the first byte of the reply, over all attempts.
    pub deadline: Option<Duration>,
    /// As one of how many attempts, in a pool.
    pub series: Option<Series>,
}

/// The attempts that a pool makes for one request, and which member this one is at.
pub struct Series {
    /// The pool.
    pub pool: Rc<Pool>,
    /// The member's place.
    pub place: usize,
    /// The order of the attempts.
    pub order: Rc<Order>,
    /// The number of attempts, counted from 1.
    pub attempts: u64,
    /// When this one began.
    pub began: Moment,
    /// When the member had the whole request, once it has: what the client takes to send it is not
    /// the member's time.
    pub asked_at: Option<Moment>,
    /// Whether it has been told how the member does.
    pub is_told: bool,
}

impl Series {
    /// Tells how the member does, unless that was told.
    pub fn tell(&mut self, of: impl FnOnce(Duration) -> Outcome, surroundings: &dyn Surroundings) {
        if !std::mem::replace(&mut self.is_told, true) {
            let now = surroundings.now();
            let outcome = of(now.since(self.asked_at.unwrap_or(self.began)));
            health::report(
                &self.pool,
                self.place,
                outcome,
                surroundings.as_shared(),
                now,
            );
        }
    }

    /// Reports that Envoy has passed over the order's first member. Only for the first attempt.
    pub fn report_unresolved(&self, surroundings: &dyn Surroundings) {
        let shared = surroundings.as_shared();
        health::report_unresolved(&self.pool, &self.order, self.place, shared, self.began);
    }

    /// The pause of the member, if this request has been sent to it before.
    pub fn pause(&self, surroundings: &dyn Surroundings) -> Option<Duration> {
        let visit = self.order.round.iter().position(|it| *it == self.place)? as u64 + 1;
        if self.attempts <= self.order.round.len() as u64 {
            return None;
        }
        let is_further_visit = surroundings.attempt().is_some_and(|it| it > visit);
        if !is_further_visit {
            return None;
        }
        Record::read(&self.pool, surroundings.as_shared()).pause_of(self.place, self.began)
    }
}

/// Where a request goes, as far as it is known.
pub enum Found {
    /// There.
    Target(Target),
    /// The body's model decides.
    NeedsModel,
}

impl Target {
    /// What Envoy's route says, else where we sit, else our own routes. `path` is the one that the
    /// client asked for; `model` is asked for where routes may go by it. `followed` is the route that
    /// Envoy has chosen, where the module follows it.
    ///
    /// # Errors
    ///
    /// When no route matches, or what is named does not exist.
    pub fn of<'m>(
        gateway: &Gateway,
        headers: &Headers<'_>,
        path: &str,
        model: &dyn Fn() -> route::Model<'m>,
        followed: Option<usize>,
        surroundings: &dyn Surroundings,
    ) -> Result<Found, Refusal> {
        let has_metadata = gateway.plugin.route_metadata && followed.is_none();
        let metadata = has_metadata
            .then(|| surroundings.route_metadata())
            .flatten();
        let metadata = metadata
            .map(|bytes| RouteMetadata::decode(&bytes))
            .unwrap_or_default();
        let of_route = OfRoute {
            model: metadata.model.map(Rc::from),
            renaming: metadata.renaming,
        };
        let settled = match (&metadata.backend, gateway.plugin.placement) {
            (Some(name), _) => (Some(named(gateway, name)?), None),
            (None, Placement::Upstream) => spoken_for(gateway, headers, surroundings)?,
            (None, Placement::Listener) => (None, None),
        };
        if let (Some(backend), series) = settled {
            return Ok(Found::Target(Self {
                backend,
                of_route,
                path: metadata.path,
                route: None,
                series,
                deadline: None,
            }));
        }

        let asked = model();
        let request = route::Request {
            path,
            method: headers.text(":method").unwrap_or_default(),
            authority: headers.text(":authority").unwrap_or_default(),
            header: &|name| headers.get(name),
            model: asked,
        };
        let routed = match followed.and_then(|index| gateway.routes.get(index)) {
            // Envoy has looked at everything but the methods.
            Some(route) if !route.needs_model() => route::chosen(route, &request),
            _ => route::choose(&gateway.routes, &request),
        };
        let target = match routed {
            Routed::NeedsModel => return Ok(Found::NeedsModel),
            Routed::Route(route) => {
                let (to, prefix) = gateway.destination(route, asked);
                let Destination::Backend(backend) = to else {
                    return Err(Refusal::Gateway(POOL_ELSEWHERE));
                };
                Self {
                    backend,
                    of_route: OfRoute {
                        model: of_route.model.or_else(|| route.model.clone()),
                        renaming: Renaming {
                            aliases: Some(Rc::clone(&route.aliases)),
                            prefix,
                        },
                    },
                    path: Some(route.path.clone()),
                    route: gateway.routes.iter().position(|it| it.name == route.name),
                    series: None,
                    deadline: route.deadline,
                }
            }
            Routed::NoModel => return Err(super::no_model(headers, path)),
            Routed::UnknownModel => return Err(super::unknown_model(asked)),
            Routed::WrongMethod(allowed) => {
                return Err(Refusal::WrongMethod(
                    allowed.into_iter().collect::<Vec<_>>().join(", "),
                ));
            }
            Routed::Nowhere => match &gateway.plugin.backend {
                Some(backend) if gateway.routes.is_empty() => Self {
                    backend: Rc::clone(backend),
                    of_route,
                    path: metadata.path,
                    route: None,
                    series: None,
                    deadline: None,
                },
                _ if gateway.routes.is_empty() => return Err(Refusal::Gateway(NO_BACKEND)),
                _ => return Err(Refusal::UnknownRoute),
            },
        };
        Ok(Found::Target(target))
    }
}

/// The backend with a name that metadata has.
fn named(gateway: &Gateway, name: &str) -> Result<Rc<Backend>, Refusal> {
    let backend = gateway.backend(name).map(Rc::clone);
    backend.ok_or(Refusal::Gateway(UNKNOWN_BACKEND))
}

/// For whom we speak upstream, and as one of how many attempts; `None`: our own routes tell.
fn spoken_for(
    gateway: &Gateway,
    headers: &Headers<'_>,
    surroundings: &dyn Surroundings,
) -> Result<(Option<Rc<Backend>>, Option<Series>), Refusal> {
    if let Some((backend, series)) = member(gateway, headers, surroundings) {
        return Ok((Some(backend), Some(series)));
    }
    let backend = match gateway.backends.as_slice() {
        // One backend is no choice, and asking the host costs.
        [backend] => Some(Rc::clone(backend)),
        _ => match surroundings.backend_name() {
            Some(name) => Some(named(gateway, &name)?),
            None => gateway.plugin.backend.clone(),
        },
    };
    Ok((backend, None))
}

/// The member of a pool to which this attempt goes.
fn member(
    gateway: &Gateway,
    headers: &Headers<'_>,
    surroundings: &dyn Surroundings,
) -> Option<(Rc<Backend>, Series)> {
    if gateway.pools.is_empty() {
        return None;
    }
    let (pool, order) = gateway.order_of(&surroundings.cluster_name()?)?;
    let (place, member) = pool.member(&surroundings.backend_name()?)?;
    let fewer = headers.text(ATTEMPTS_HEADER);
    let fewer = fewer.and_then(|attempts| attempts.parse().ok());
    let series = Series {
        pool: Rc::clone(pool),
        place,
        attempts: fewer.unwrap_or(order.attempts as u64),
        order: Rc::clone(order),
        began: surroundings.now(),
        asked_at: None,
        is_told: false,
    };
    Some((Rc::clone(&member.backend), series))
}

/// The header edits that make a request one to `backend`; `path` where it is known by now.
///
/// # Errors
///
/// When there is no access token to send.
pub fn edits(
    gateway: &Gateway,
    backend: &Backend,
    path: Option<String>,
    headers: &Headers<'_>,
    surroundings: &dyn Surroundings,
) -> Result<Vec<HeaderEdit>, Refusal> {
    let is_listener = gateway.plugin.placement == Placement::Listener;
    let envoy_routes = gateway.plugin.envoy_routes.as_ref();
    let set_by_routes = envoy_routes.is_some_and(|routes| routes.set_headers);
    let mut edits = Vec::with_capacity(16);
    let credential = match &backend.auth {
        Auth::Key(..) if set_by_routes => None,
        Auth::Key(name, value) => Some((Rc::clone(name), value.expose().into())),
        Auth::Client(header) => {
            let key = firewall::client_key(headers);
            key.map(|key| client_header(backend, header, key))
        }
        Auth::Configured | Auth::None => None,
        Auth::Token(header, source) => {
            let token = source.current(surroundings, surroundings.now());
            let token = token.map_err(Refusal::NoCredential)?;
            let value = Text::Made([&*header.prefix, &*token.expose()].concat());
            Some((Rc::clone(&header.name), value))
        }
    };
    let scheme = is_listener.then_some(SCHEME_HEADER);
    let request_id = set_by_routes.then_some(ENVOY_REQUEST_ID_HEADER);
    let key = credential.iter().map(|(name, _)| &**name);
    let configured: &[_] = match set_by_routes {
        true => &[],
        false => &backend.headers,
    };
    let extra = configured.iter().map(|(name, _)| &**name);
    firewall::withhold_from_provider(
        headers,
        backend.wire.is_translated(),
        &backend.header_rules,
        key.chain(extra).chain(scheme).chain(request_id),
        &mut edits,
    );
    // Where Envoy's routes have been chosen, they write the host as well: another one could make Envoy
    // choose again.
    if gateway.plugin.envoy_routes.is_none() {
        edits.push(HeaderEdit::set(
            ":authority",
            Rc::clone(&backend.endpoint.authority),
        ));
    }
    let asked = headers.get(":path");
    let path = path.filter(|path| asked != Some(path.as_bytes()));
    edits.extend(path.map(|path| HeaderEdit::set(":path", path)));
    edits.extend(credential.map(|(name, value)| HeaderEdit::set(name, value)));
    for (name, value) in configured {
        edits.push(HeaderEdit::set(Rc::clone(name), value.expose()));
    }
    if is_listener && gateway.plugin.envoy_routes.is_none() {
        edits.push(HeaderEdit::set(BACKEND_HEADER, backend.name.to_shared()));
    }
    Ok(edits)
}

/// The header in which the client's own key goes upstream.
fn client_header(backend: &Backend, header: &KeyHeader, key: &str) -> (Rc<str>, Text) {
    let (name, prefix) = backend.header_for(header, key);
    (name, Text::Made([&*prefix, key].concat()))
}

/// The path of a request at its backend, with the queries of the client and of the configuration.
pub fn path(
    backend: &Backend,
    operation: &Operation<'_>,
    asked: &str,
    model: Option<&str>,
    model_in_query: ModelInQuery,
) -> Result<String, PathError> {
    let base = &backend.endpoint.base_path;
    let path = backend.wire.path(base, operation, model)?;
    Ok(with_queries(path, asked, backend, model_in_query))
}

/// What becomes of a model or a deployment that the client's query names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelInQuery {
    /// It is the provider's business.
    Passes,
    /// It would step around the rules.
    Withheld,
}

/// A provider's path with the queries of the client, whose path was `asked`, and of the
/// configuration.
pub fn with_queries(
    mut path: String,
    asked: &str,
    backend: &Backend,
    model_in_query: ModelInQuery,
) -> String {
    if path.is_empty() {
        path.push('/');
    }
    let ours = backend.query.as_ref().map(|ours| ours.encoded.expose());
    let client = query_of(asked);
    // Most have neither.
    if client.is_empty() && ours.is_none() {
        return path;
    }
    let ours = ours.as_deref().unwrap_or_default();
    let reserved = backend.wire.reserved_query();
    let written = [query_of(&path), ours, reserved];
    let client = firewall::client_query(client, &written, model_in_query == ModelInQuery::Passes);
    let pairs: Vec<&str> = client
        .chain(Some(ours).filter(|it| !it.is_empty()))
        .collect();
    for pair in pairs {
        path.push(if path.contains('?') { '&' } else { '?' });
        path.push_str(pair);
    }
    path
}

/// The query of a path; empty where there is none.
fn query_of(path: &str) -> &str {
    let path = path.split_once('#').map_or(path, |(path, _)| path);
    path.split_once('?').map_or("", |(_, query)| query)
}

/// A path that waits for the model.
pub struct DeferredPath {
    /// The one that the client asked for, with its query.
    pub path: String,
    /// The route's own.
    pub base: Option<String>,
    /// What becomes of a model in its query.
    pub model_in_query: ModelInQuery,
}

impl DeferredPath {
    /// The path at the backend with this model.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn path_with(&self, model: Option<&str>, backend: &Backend) -> Result<String, Refusal> {
        let operation = Operation::of(&self.path, self.base.as_deref());
        let operation = operation.map_err(|_| Refusal::InvalidPath)?;
        path(backend, &operation, &self.path, model, self.model_in_query)
            .map_err(|error| unaddressable(error, model))
    }
}

/// What a client sees of a path that cannot be made.
pub fn unaddressable(error: PathError, model: Option<&str>) -> Refusal {
    match (error, model) {
        (PathError::NotASegment, Some(model)) => Refusal::ModelNotInPath(model.to_owned()),
        (PathError::NotASegment | PathError::NeedsModel, _) => Refusal::ModelNotTold,
    }
}

const UNKNOWN_BACKEND: &str = "the gateway's metadata names a backend that it does not have";
const POOL_ELSEWHERE: &str = "the gateway's pool was asked outside of its clusters";
const NO_BACKEND: &str = "the gateway has no route and no backend for this request";
