//! Where a request goes, told to Envoy's routes in headers; nothing else of it is touched.
//!
//! In the listener, before upstream plugins that do the work of each attempt. A route that Envoy can
//! choose by itself, to one backend, needs nothing of this.

use std::rc::Rc;
use std::time::Duration;

use super::asked::{MAX_SEARCHED_BYTES, Search};
use super::body::OfRoute;
use super::{Surroundings, admission};
use crate::contract::{ATTEMPTS_HEADER, CLUSTER_HEADER, ROUTE_HEADER, SELECTION_HEADERS};
use crate::gateway::Gateway;
use crate::headers::{HeaderEdit, Headers};
use crate::model::Renaming;
use crate::operation::{Kind, ModelMember, Operation, check_path};
use crate::pool::health::{self, Record};
use crate::pool::{Members, Order, Pool};
use crate::refusal::Refusal;
use crate::route::{self, Destination, Model, Routed};

/// What is to be told.
pub enum Chosen {
    /// These header edits tell it. The first byte of the reply may have a deadline.
    Edits(Vec<HeaderEdit>, Option<Duration>),
    /// The body decides.
    Needs(Search),
}

/// What is known of a request's body.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// The model, as far as it is known.
    pub model: Model<'a>,
    /// Whether the reply is going to be a stream; `None`: the body was not searched for it.
    pub is_stream: Option<bool>,
}

/// Chooses. `ends`: there is no body.
///
/// # Errors
///
/// When nobody can answer the request.
pub fn choose(
    gateway: &Gateway,
    headers: &Headers<'_>,
    ends: bool,
    known: Known<'_>,
    surroundings: &dyn Surroundings,
) -> Result<Chosen, Refusal> {
    let model = known.model;
    let mut edits = Vec::new();
    for name in SELECTION_HEADERS {
        // Only the module writes it.
        if headers.get(name).is_some() {
            edits.push(HeaderEdit::remove(name));
        }
    }
    let path = headers.text(":path").unwrap_or_default();
    check_path(path).map_err(|_| Refusal::InvalidPath)?;
    let request = route::Request {
        path,
        method: headers.text(":method").unwrap_or_default(),
        authority: headers.text(":authority").unwrap_or_default(),
        header: &|name| headers.get(name),
        model,
    };
    let route = match route::choose(&gateway.routes, &request) {
        Routed::Route(route) => route,
        Routed::NeedsModel => {
            let operation = Operation::of(path, None).map_err(|_| Refusal::InvalidPath)?;
            let mut pools = gateway.pools.iter();
            let may_be_limited =
                operation.kind().may_stream() && pools.any(|it| it.first_byte_timeout.is_some());
            let search = match may_be_limited {
                true => Search::ModelAndStream,
                false => Search::Model,
            };
            return Ok(Chosen::Needs(search));
        }
        Routed::UnknownModel => return Err(super::unknown_model(model)),
        // What tells no model may be answered by Envoy's routes, as a request for the list of them.
        Routed::NoModel => match super::no_model(headers, path) {
            Refusal::UnknownRoute => return Ok(Chosen::Edits(edits, None)),
            refusal => return Err(refusal),
        },
        // What matches no route is answered by Envoy's routes.
        Routed::Nowhere | Routed::WrongMethod(_) => return Ok(Chosen::Edits(edits, None)),
    };
    let operation = Operation::of(path, Some(&route.path)).map_err(|_| Refusal::InvalidPath)?;
    let (to, prefix) = gateway.destination(route, model);
    if route.needs_model() {
        edits.push(HeaderEdit::set(ROUTE_HEADER, route.label(&to)));
    }
    // What models a pool has is told by Envoy's routes; no member is asked.
    let lists_models =
        operation.kind() == Kind::Models && matches!(headers.text(":method"), Some("GET" | "HEAD"));
    if let Destination::Pool(pool) = &to
        && !lists_models
    {
        let of_route = OfRoute {
            model: route.model.clone(),
            renaming: Renaming {
                aliases: Some(Rc::clone(&route.aliases)),
                prefix: prefix.clone(),
            },
        };
        let request = PoolRequest {
            pool,
            content: admission::Request {
                operation: &operation,
                headers,
                ends,
                reads_forms: true,
            },
            is_restricted: of_route.is_restricted(),
            asked: match (&route.model, model) {
                // It is written whoever is asked.
                (Some(_), _) => Asked::Whatever,
                (None, Model::Unread) => Asked::Unread,
                (None, Model::Named(name)) => {
                    let aliases = Some(Rc::clone(&route.aliases));
                    let renamed = Renaming { aliases, prefix }.rename(name);
                    Asked::Model(renamed.map_or_else(|| name.to_owned(), |it| it.to_string()))
                }
                (None, Model::Absent) if can_name_model(headers, &operation) => Asked::Nothing,
                (None, Model::Absent) => Asked::Whatever,
            },
        };
        let limit = pool.first_byte_timeout;
        let limit = limit.filter(|_| operation.kind().may_stream());
        let is_searched = known.is_stream.is_some() || !may_be_searched(headers, &operation, model);
        match (request.needs_model()?, limit) {
            (true, None) => return Ok(Chosen::Needs(Search::Model)),
            (true, Some(_)) => return Ok(Chosen::Needs(Search::ModelAndStream)),
            (false, Some(_)) if !is_searched => return Ok(Chosen::Needs(Search::Stream)),
            (false, _) => {}
        }
        let (order, attempts) = request.order(surroundings)?;
        let retries = attempts.saturating_sub(1).to_string();
        edits.push(HeaderEdit::set(CLUSTER_HEADER, Rc::clone(&order.cluster)));
        edits.push(HeaderEdit::set(RETRIES_HEADER, retries));
        if attempts < order.attempts {
            edits.push(HeaderEdit::set(ATTEMPTS_HEADER, attempts.to_string()));
        }
        if let Some(limit) = limit
            && known.is_stream == Some(true)
        {
            let limit = limit.as_millis().to_string();
            edits.push(HeaderEdit::set(PER_TRY_TIMEOUT_HEADER, limit));
        }
    }
    Ok(Chosen::Edits(edits, route.deadline))
}

/// Whether the body has the model, or has none although it should.
fn can_name_model(headers: &Headers<'_>, operation: &Operation<'_>) -> bool {
    operation.model_member() == ModelMember::Required && super::may_have_model(headers, operation)
}

/// Whether it is worth holding a request to see whether its reply is a stream: a body that has to be
/// read anyway is refused elsewhere where it cannot be.
fn may_be_searched(headers: &Headers<'_>, operation: &Operation<'_>, model: Model<'_>) -> bool {
    let length = headers.text("content-length");
    let length = length.and_then(|length| length.parse::<u64>().ok());
    matches!(model, Model::Unread)
        && operation.kind().may_stream()
        && admission::form(headers).is_none()
        && length.is_none_or(|length| length <= MAX_SEARCHED_BYTES)
        && admission::check_encoding(headers).is_ok()
}

/// A request to a pool.
struct PoolRequest<'a> {
    pool: &'a Pool,
    content: admission::Request<'a>,
    /// Whether the route restricts the model.
    is_restricted: bool,
    asked: Asked,
}

/// The model that the members are asked for.
enum Asked {
    /// This one.
    Model(String),
    /// None, and their call needs one.
    Nothing,
    /// Not known yet.
    Unread,
    /// It does not matter, or nobody can tell.
    Whatever,
}

impl<'a> PoolRequest<'a> {
    /// The members of `able` whose rules about models admit a request with this path, method and
    /// content type.
    ///
    /// # Errors
    ///
    /// When no member does. The client gets the refusal of the first one.
    fn admitting(&self, able: Members) -> Result<Members, Refusal> {
        let mut admitting = able;
        let mut first_refusal = None;
        for place in able.iter() {
            let Some(member) = self.pool.members().get(place) else {
                continue;
            };
            let backend = &member.backend;
            // A dialect reads every body that it takes.
            let is_checked = self.is_restricted
                || (!backend.wire.is_translated() && backend.model.is_restricted());
            if is_checked && let Err(refusal) = self.content.restricted(backend) {
                admitting = admitting.without(place);
                first_refusal.get_or_insert(refusal);
            }
        }
        match first_refusal {
            Some(refusal) if admitting.is_empty() => Err(refusal),
            _ => Ok(admitting),
        }
    }

    /// The members that support the operation and admit the request.
    fn able(&self) -> Result<Members, Refusal> {
        let able = self.pool.supporting(self.content.operation.kind());
        if able.is_empty() {
            let operation = self.content.operation;
            let refusal = super::cannot(operation.kind(), "pool");
            return Err(refusal.unwrap_or_else(|| Refusal::UnsupportedOperation {
                provider: "pool",
                operation: operation.definition().name,
                served: self.pool.served(),
            }));
        }
        self.admitting(able)
    }

    /// Whether the members depend on a model that is not known yet.
    fn needs_model(&self) -> Result<bool, Refusal> {
        let able = self.able()?;
        let is_unread = matches!(self.asked, Asked::Unread);
        Ok(is_unread && !able.and(self.pool.restricted_by_model()).is_empty())
    }

    /// The order and the number of attempts, once the model is known where it
    /// [has to be](Self::needs_model).
    fn order(&self, surroundings: &dyn Surroundings) -> Result<(&'a Order, usize), Refusal> {
        let pool = self.pool;
        let able = self.able()?;
        let takes = |model: Option<&str>| {
            let serving = pool.members_where(|member| member.backend.model.takes(model));
            able.and(serving)
        };
        let eligible = match &self.asked {
            Asked::Model(name) => takes(Some(name)),
            Asked::Nothing => takes(None),
            Asked::Unread | Asked::Whatever => able,
        };
        if eligible.is_empty() {
            return match &self.asked {
                Asked::Model(name) => Err(Refusal::UnknownModel(name.clone())),
                _ => Err(Refusal::MissingModel),
            };
        }
        let (turns, shared) = (surroundings.turns(), surroundings.as_shared());
        let now = surroundings.now();
        let record = Record::read(pool, shared);
        let usable = health::with_credentials(pool, eligible, shared, now);
        let available = record.available(usable, now);
        let available = available.map_err(|pause| Refusal::Pausing(pool.name.clone(), pause))?;
        let selection = record.select(pool, available, turns, shared, now);
        let order = selection.and_then(|selection| {
            let order = pool.order_from(selection.first, eligible, usable)?;
            Some((&**order, order.attempts_for(selection.useful)))
        });
        order.ok_or(Refusal::Gateway(NO_ORDER))
    }
}

const NO_ORDER: &str = "the pool has no order for this request; this is a defect";

/// The number of attempts after the first, for Envoy.
const RETRIES_HEADER: &str = "x-envoy-max-retries";

/// The time to the first byte of the reply for each attempt, for Envoy. Unit: milliseconds.
/// <https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/router_filter>
const PER_TRY_TIMEOUT_HEADER: &str = "x-envoy-upstream-rq-per-try-timeout-ms";
