//! A pool: `backends[]` of `type: pool`.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use super::super::error::KeyPath;
use super::super::value::{BackendType, Failure, Span};
use super::super::{defaults, file};
use super::{Backends, Build};
use crate::backend::Backend;
use crate::gateway::{Placement, Role};
use crate::model::Glob;
use crate::name::BackendName;
use crate::pool::{self, FallbackOn, MAX_MEMBERS, Pool};
use crate::provider::{Dialects, vertex};
use crate::sorted;

impl Build<'_> {
    pub(super) fn pools(&mut self, file: &file::Gateway, backends: &Backends) -> Vec<Rc<Pool>> {
        let has_timeout = |it: &&file::Backend| {
            let config = it.config.as_ref();
            config.is_some_and(|config| config.timeout.is_some())
        };
        let timed = file.backends.iter().map(|(_, it)| it).filter(has_timeout);
        let timed: BTreeSet<&str> = sorted::collect(timed.map(|it| it.name.as_str()));
        let mut pools = Vec::new();
        for (index, written) in file.backends.iter() {
            if written.r#type == BackendType::Pool {
                let at = KeyPath::root().key("backends").index(index);
                pools.extend(self.pool(file, written, &at, backends, &timed).map(Rc::new));
            }
        }
        pools
    }

    fn pool(
        &mut self,
        file: &file::Gateway,
        written: &file::Backend,
        at: &KeyPath,
        backends: &Backends,
        timed: &BTreeSet<&str>,
    ) -> Option<Pool> {
        let is_plugin = file.placement.is_some() || file.hold_headers.is_some();
        let is_alone = file.role.unwrap_or_default() == Role::Send
            && file.placement.unwrap_or_default() == Placement::Listener;
        if is_plugin && is_alone {
            self.errors.push(&at.key("type"), POOL_IN_LISTENER);
        }
        let name = self.noted(BackendName::new(&written.name), &at.key("name"));
        if written.config.is_some() {
            let message = "a pool has none; its members have their own";
            self.errors.push(&at.key("config"), message);
        }
        let fallback_on = match &written.fallback_on {
            Some(failures) => fallback_on(failures),
            None => fallback_on(&defaults::FALLBACK_ON),
        };
        let at_retries = at.key("maxRetries");
        let at = at.key("backends");
        let Some(list) = written.backends.as_ref().filter(|list| !list.is_empty()) else {
            self.required(&at, "at least one member is required");
            return None;
        };
        if list.len() > MAX_MEMBERS {
            self.errors
                .push(&at, format!("a pool has at most {MAX_MEMBERS} members"));
            return None;
        }
        let mut members: Vec<pool::Member> = Vec::new();
        let mut seen = BTreeSet::new();
        for (index, member) in list.iter() {
            let at = at.index(index);
            if !seen.insert(member.name.as_str()) {
                let message = format!("{:?} is a member already", member.name);
                self.errors.push(&at.key("name"), message);
                continue;
            }
            if !(1..=MAX_WEIGHT).contains(&member.weight.unwrap_or(defaults::WEIGHT)) {
                let message = format!(
                    "must be from 1 to {MAX_WEIGHT}; give a larger priority to one that is only \
                     asked when others fail"
                );
                self.errors.push(&at.key("weight"), message);
            }
            let backend = self.known_member(file, &member.name, &at.key("name"), backends);
            members.extend(backend.map(|backend| pool::Member {
                backend: Rc::new(in_pool(&backend)),
                weight: member.weight.unwrap_or(defaults::WEIGHT),
                priority: member.priority.unwrap_or(defaults::PRIORITY),
            }));
        }
        if members.len() < list.len() {
            // Whoever is missing has been reported.
            return None;
        }
        let longest = members.iter().map(|member| member.backend.timeout).max();
        let longest = longest.unwrap_or(defaults::TIMEOUT);
        let timeout = written.timeout.map_or(longest, |Span(timeout)| timeout);
        let fallback = written.fallback.unwrap_or(defaults::FALLBACK);
        let first_byte_timeout = match written.first_byte_timeout {
            Some(Span(timeout)) => Some(timeout),
            None => default_first_byte_timeout(written, &members, timed),
        };
        Some(Pool::new(pool::Written {
            name: name?,
            strategy: written.strategy.unwrap_or_default(),
            fallback,
            fallback_on,
            max_retries: self.retries(written.max_retries, &at_retries),
            timeout,
            first_byte_timeout: first_byte_timeout.filter(|it| *it < timeout),
            members,
        }))
    }

    fn known_member(
        &mut self,
        file: &file::Gateway,
        name: &str,
        at: &KeyPath,
        backends: &Backends,
    ) -> Option<Rc<Backend>> {
        let is_pool =
            |it: &file::Backend| it.name == name && matches!(it.r#type, BackendType::Pool);
        let is_known = backends.get(name).is_some();
        if !is_known && !self.errors.are_full() && file.backends.iter().any(|(_, it)| is_pool(it)) {
            let message = format!("{name:?} is a pool; a pool has backends, not pools");
            self.errors.push(at, message);
            return None;
        }
        self.known_backend(file, name, at, backends)
    }
}

/// A backend as a member of a pool: what it does not serve becomes its default model, and it serves
/// its type's families where the configuration does not say what.
fn in_pool(backend: &Backend) -> Backend {
    let families = match backend.wire.dialects() {
        Some(Dialects::Vertex) => vertex::FAMILIES,
        _ => backend.provider.families(),
    };
    let mut member = backend.clone();
    let rule = &mut member.model;
    rule.replaces_unserved = true;
    if rule.serves.is_none() && !families.is_empty() {
        rule.serves = Some(families.iter().map(|family| Glob::new(family)).collect());
    }
    member
}

fn fallback_on(failures: &[Failure]) -> FallbackOn {
    let mut on = FallbackOn::default();
    for failure in failures {
        match failure {
            // Always on.
            Failure::Connect | Failure::Timeout => {}
            Failure::ServerErrors => on.server_errors = true,
            Failure::Status(status) => {
                on.statuses.insert(*status);
            }
        }
    }
    on
}

/// A pool's limit to the wait for a stream, where it has none of its own. `timed`: the backends with a
/// `timeout`.
fn default_first_byte_timeout(
    pool: &file::Backend,
    members: &[pool::Member],
    timed: &BTreeSet<&str>,
) -> Option<Duration> {
    let longest = members
        .iter()
        .filter_map(|member| member.backend.first_byte_timeout);
    if let Some(longest) = longest.max() {
        return Some(longest);
    }
    // A limit that somebody has written is meant for streams, too.
    let has_timeout = |it: &pool::Member| timed.contains(it.backend.name.as_str());
    let is_written = pool.timeout.is_some() || members.iter().any(has_timeout);
    let has_next = pool.fallback.unwrap_or(defaults::FALLBACK) && members.len() > 1;
    (has_next && !is_written).then_some(defaults::FIRST_BYTE_TIMEOUT_OF_POOL)
}

/// So that sums of weights stay far from any limit.
const MAX_WEIGHT: u32 = 1_000_000;

const POOL_IN_LISTENER: &str = "a pool cannot work here: the attempts are Envoy's, and only \
     \"placement: upstream\" sees each of them; use what \"llm-proxy render\" writes, which has the \
     module in the listener with \"role: choose\" and once more upstream";
