//! Where a request goes, told to Envoy's routes in headers; nothing else of it is touched.
//!
//! In the listener, before upstream plugins that do the work of each attempt. A route that Envoy can
//! choose by itself, to one backend, needs nothing of this.

use super::Surroundings;
use crate::config::{Destination, Gateway};
use crate::headers::{HeaderEdit, Headers};
use crate::operation::Operation;
use crate::pool::Pool;
use crate::refusal::Refusal;
use crate::route::{self, Routed};

/// The header edits that tell where a request goes.
///
/// # Errors
///
/// When nobody can answer it.
pub fn edits(
    gateway: &Gateway,
    headers: &Headers<'_>,
    surroundings: &dyn Surroundings,
) -> Result<Vec<HeaderEdit>, Refusal> {
    let mut edits = Vec::new();
    for name in [CLUSTER_HEADER, ROUTE_HEADER] {
        // Nobody but us says it.
        if headers.get(name).is_some() {
            edits.push(HeaderEdit::remove(name));
        }
    }
    let path = headers.text(":path").unwrap_or_default();
    let request = route::Request {
        path,
        method: headers.text(":method").unwrap_or_default(),
        authority: headers.text(":authority").unwrap_or_default(),
        header: &|name| headers.get(name),
        model: route::Model::Unread,
    };
    // What matches no route, or is no path, is answered by Envoy's routes.
    let Routed::Route(route) = route::choose(&gateway.routes, &request) else {
        return Ok(edits);
    };
    let Ok(operation) = Operation::of(path, Some(&route.path)) else {
        return Ok(edits);
    };
    if let Destination::Pool(pool) = &route.to {
        edits.extend(to_pool(pool, &operation, surroundings)?);
    }
    Ok(edits)
}

/// To one of the pool's clusters, with as many attempts as it has.
fn to_pool(
    pool: &Pool,
    operation: &Operation<'_>,
    surroundings: &dyn Surroundings,
) -> Result<[HeaderEdit; 2], Refusal> {
    let able = pool.knowing(operation.kind());
    let turns = surroundings.turns();
    let order = pool.pick(able, able, |members| turns.next(pool, members));
    let order = order.ok_or(Refusal::UnsupportedOperation("pool"))?;
    Ok([
        HeaderEdit::set(CLUSTER_HEADER, std::rc::Rc::clone(&order.cluster)),
        HeaderEdit::set(RETRIES_HEADER, std::rc::Rc::clone(&order.retries)),
    ])
}

/// The header by which Envoy's route finds the cluster.
pub const CLUSTER_HEADER: &str = "x-llm-proxy-cluster";

/// The header on which Envoy's routes match, where the body has decided among them.
pub const ROUTE_HEADER: &str = "x-llm-proxy-route";

/// How many attempts there are after the first.
const RETRIES_HEADER: &str = "x-envoy-max-retries";
