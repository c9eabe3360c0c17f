//! The answer to a probe: whether the module of this worker has what it needs.
//!
//! That there is an answer says that the module runs here with its configuration, and so with every key
//! that the configuration names: without one Envoy takes no configuration. What comes later is access
//! tokens, and keys from files.
//!
//! The names of backends are in the log, not in the reply: whoever reaches the listener can read that.

use std::rc::Rc;

use super::Surroundings;
use crate::backend::{Auth, Backend};
use crate::gateway::Gateway;
use crate::headers::Headers;
use crate::refusal::LocalReply;
use crate::token;

/// 200, or 503 where a backend lacks its access token, or its key from a file. Of a pool one member that can be used is enough.
pub fn reply(
    gateway: &Gateway,
    headers: &Headers<'_>,
    surroundings: &dyn Surroundings,
) -> LocalReply {
    let now = surroundings.now();
    let is_usable = |backend: &Rc<Backend>| match &backend.auth {
        Auth::Token(..) => token::has_token(surroundings.as_shared(), backend.name.as_str(), now),
        _ => backend.with_secrets(|name| headers.text(name)).is_ok(),
    };
    let is_member = |backend: &Backend| {
        let mut members = gateway.pools.iter().flat_map(|pool| pool.members());
        members.any(|member| member.backend.name == backend.name)
    };
    let mut alone = gateway.backends.iter().filter(|it| !is_member(it));
    let mut pools = gateway.pools.iter();
    let is_ready = alone.all(&is_usable)
        && pools.all(|pool| pool.members().iter().any(|it| is_usable(&it.backend)));
    match is_ready {
        true => LocalReply::json(200, READY.to_owned()),
        false => LocalReply::json(503, NOT_READY.to_owned()),
    }
}

const READY: &str = r#"{"status":"ready"}"#;
const NOT_READY: &str =
    r#"{"status":"not ready","reason":"a backend has no key or no access token yet"}"#;
