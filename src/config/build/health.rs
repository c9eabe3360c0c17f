//! Where probes are answered: `health`.

use super::super::error::KeyPath;
use super::super::value::ProbePath;
use super::super::{defaults, file};
use super::Build;
use crate::gateway::Health;

impl Build<'_> {
    /// The paths of probes. One of them would hide a route with exactly that path.
    pub(super) fn health(&mut self, file: &file::Gateway) -> Health {
        let written = file.health.as_ref();
        let path = |written: Option<&ProbePath>, default: &str| match written {
            None => Some(default.to_owned()),
            Some(ProbePath::Off) => None,
            Some(ProbePath::On(path)) => Some(path.clone()),
        };
        let health = Health {
            live: path(written.and_then(|it| it.live.as_ref()), defaults::LIVE_PATH),
            ready: path(
                written.and_then(|it| it.ready.as_ref()),
                defaults::READY_PATH,
            ),
        };
        if health.live.is_some() && health.live == health.ready {
            let at = KeyPath::root().key("health").key("ready");
            self.errors.push(&at, "is the path of health.live, too");
        }
        let keys = [("live", &health.live), ("ready", &health.ready)];
        for (index, route) in file.routes.iter().flat_map(file::List::iter) {
            let Some(path) = route.path.as_deref().map(|it| it.trim_end_matches('/')) else {
                continue;
            };
            let hides = |(_, probe): &(&str, &Option<String>)| probe.as_deref() == Some(path);
            if let Some((key, _)) = keys.into_iter().find(hides) {
                let at = KeyPath::root().key("routes").index(index).key("path");
                let message = format!(
                    "{path:?} is the path of health.{key}; give health.{key} another path, or off"
                );
                self.errors.push(&at, message);
            }
        }
        health
    }
}
