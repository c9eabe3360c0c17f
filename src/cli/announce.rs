//! What `run` tells while Envoy starts: what listens, where requests go, and that it is ready.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::admin::Admin;
use super::complain;
use crate::backend::Backend;
use crate::endpoint::Address;
use crate::render::Source;
use crate::route::Route;

/// Tells what the configuration means.
pub fn summary(source: &Source) {
    let gateway = source.gateway();
    let say = |text: &str| complain(&format!("llm-proxy: {text}"));
    say(&format!(
        "listens on http://{}, admin interface on http://{}",
        gateway.listen, gateway.admin
    ));
    for route in gateway.routes.iter().take(MAX_LINES) {
        say(&route_line(route));
    }
    for backend in source.backends().take(MAX_LINES) {
        say(&backend_line(backend));
    }
    for pool in source.pools().take(MAX_LINES) {
        let members = pool.members().iter().map(|it| it.backend.name.as_str());
        let members: Vec<&str> = members.collect();
        say(&format!("pool {}: {}", pool.name, members.join(", ")));
    }
    let most = gateway.routes.len().max(gateway.backends.len());
    if most > MAX_LINES {
        say(&format!("… and more; {most} in all"));
    }
}

fn route_line(route: &Route) -> String {
    let path = match route.path.as_str() {
        "" => "/",
        path => path,
    };
    let mut conditions = Vec::new();
    if !route.methods.is_empty() {
        conditions.push(route.methods.join(", "));
    }
    if !route.hosts.is_empty() {
        conditions.push("some hosts".to_owned());
    }
    if !route.headers.is_empty() {
        conditions.push("some headers".to_owned());
    }
    if !route.models.is_empty() {
        conditions.push("some models".to_owned());
    }
    let conditions = match conditions.is_empty() {
        true => String::new(),
        false => format!(" ({})", conditions.join("; ")),
    };
    format!(
        "route {}: {path}{conditions} -> {}",
        route.name,
        route.to.name()
    )
}

fn backend_line(backend: &Backend) -> String {
    let endpoint = &backend.endpoint;
    let scheme = if endpoint.is_tls { "https" } else { "http" };
    let model = match (&backend.model.always, &backend.model.default) {
        (Some(model), _) => format!("model {model}"),
        (None, Some(model)) => format!("model as requested, {model} by default"),
        (None, None) => "model as requested".to_owned(),
    };
    format!(
        "backend {}: {}, {scheme}://{}{}, {model}",
        backend.name,
        backend.provider.as_str(),
        endpoint.authority,
        endpoint.base_path,
    )
}

/// Tells when Envoy takes requests, unless it has ended before.
#[derive(Debug)]
pub struct Announcement(Arc<AtomicBool>);

impl Announcement {
    /// Waits beside the caller.
    pub fn start(admin: &Address, listen: &Address) -> Self {
        let has_ended = Arc::new(AtomicBool::new(false));
        let (admin, listen) = (Admin::new(admin), listen.to_string());
        let seen = Arc::clone(&has_ended);
        thread::spawn(move || {
            while !seen.load(Ordering::Relaxed) {
                if admin.is_ready() {
                    complain(&format!("llm-proxy: ready at http://{listen}/v1"));
                    return;
                }
                thread::sleep(INTERVAL);
            }
        });
        Self(has_ended)
    }
}

impl Drop for Announcement {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

const INTERVAL: Duration = Duration::from_millis(50);

/// Of routes, backends and pools each.
const MAX_LINES: usize = 20;
