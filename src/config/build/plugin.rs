//! The plugin: where the module sits, and what cannot work there.

use std::rc::Rc;

use super::super::error::KeyPath;
use super::super::{defaults, file};
use super::{Backends, Build};
use crate::backend::{Auth, Backend};
use crate::gateway::{EnvoyRoutes, Placement, Plugin, Role};
use crate::operation::Operation;

impl Build<'_> {
    pub(super) fn plugin(&mut self, file: &file::Gateway, backends: &Backends) -> Plugin {
        let at = KeyPath::root().key("backend");
        let backend = file
            .backend
            .as_ref()
            .and_then(|name| self.known_backend(file, name, &at, backends));
        let placement = file.placement.unwrap_or_default();
        let role = file.role.unwrap_or_default();
        if role == Role::Choose && placement == Placement::Upstream {
            let message = "\"choose\" cannot be combined with placement \"upstream\": there the backend is already selected";
            self.errors.push(&KeyPath::root().key("role"), message);
        }
        if role == Role::Ready && placement == Placement::Listener {
            let message = "\"ready\" needs placement \"upstream\": in the listener it would answer \
                           the requests of all routes";
            self.errors.push(&KeyPath::root().key("role"), message);
        }
        Plugin {
            placement,
            role,
            hold_headers: file.hold_headers.unwrap_or(defaults::HOLD_HEADERS),
            route_metadata: file.route_metadata.unwrap_or(defaults::ROUTE_METADATA),
            filter_state: file.filter_state.unwrap_or(defaults::FILTER_STATE),
            backend,
            envoy_routes: self.envoy_routes(file, placement, role, backends),
        }
    }

    /// How the plugin follows Envoy's routes. What is missing would be found out by the first
    /// request only.
    fn envoy_routes(
        &mut self,
        file: &file::Gateway,
        placement: Placement,
        role: Role,
        backends: &Backends,
    ) -> Option<EnvoyRoutes> {
        let routes = || file.routes.iter().flat_map(file::List::iter);
        let followed = |route: &file::Route| route.envoy_route.is_some();
        let at = KeyPath::root().key("internalPath");
        let path = file.internal_path.as_deref();
        if file.virtual_service.is_none() && !routes().any(|(_, route)| followed(route)) {
            let message = "only with virtualService, or with envoyRoute in a route";
            if path.is_some() {
                self.errors.push(&at, message);
            }
            if file.routes_set_headers == Some(true) {
                let at = KeyPath::root().key("routesSetHeaders");
                self.errors.push(&at, message);
            }
            return None;
        }
        if placement == Placement::Upstream || role != Role::Send {
            let message = "only with placement: listener and role: send";
            self.errors.push(&at, message);
        }
        let is_path = |path: &&str| {
            path.starts_with('/')
                && !path.ends_with('/')
                && Operation::of(path, None).is_ok()
                && !path.contains(['?', '#', '*'])
        };
        let Some(path) = path.filter(is_path) else {
            let message = match path {
                Some(path) => format!("{path:?} is not a path such as /~llm-proxy"),
                None => "required with virtualService or envoyRoute".to_owned(),
            };
            self.errors.push(&at, message);
            return None;
        };
        let owner = file.virtual_service.as_deref();
        let owner = owner.and_then(|owner| owner.split_once('/'));
        if file.virtual_service.is_some() && owner.is_none() {
            let at = KeyPath::root().key("virtualService");
            self.errors.push(&at, "is not NAMESPACE/NAME");
        }
        let set_headers = file
            .routes_set_headers
            .unwrap_or(defaults::ROUTES_SET_HEADERS);
        if set_headers {
            self.keys_in_other_headers(file, backends);
        }
        Some(EnvoyRoutes {
            set_headers,
            internal_path: Rc::from(path),
            owner: owner
                .map(|(namespace, name)| format!("/namespaces/{namespace}/virtual-service/{name}")),
        })
    }

    /// Notes keys that go into another header than Envoy's routes set: they were written without the key.
    fn keys_in_other_headers(&mut self, file: &file::Gateway, backends: &Backends) {
        for (index, written) in file.backends.iter() {
            let config = written.config.as_ref();
            if config.is_some_and(|config| config.auth_header.is_some()) {
                continue;
            }
            let Some(backend) = backends.get(&written.name) else {
                continue;
            };
            let Auth::Key(name, _) = &backend.auth else {
                continue;
            };
            let expected = backend.provider.preset().key.header();
            if let Some((expected, _)) = expected.filter(|(expected, _)| *expected != &**name) {
                let at = KeyPath::root().key("backends").index(index).key("config");
                let message = format!(
                    "a key of this kind is sent as {name}, and the routes set {expected}; add \
                     authHeader: {{name: {name}}} and render again"
                );
                self.errors.push(&at.key("apiKey"), message);
            }
        }
    }

    /// Notes what cannot work where headers do not wait for the body. Only a plugin knows that.
    pub(super) fn headers_first(&mut self, file: &file::Gateway, backends: &Backends) {
        let is_plugin = file.placement.is_some() || file.hold_headers.is_some();
        if !is_plugin || file.hold_headers == Some(true) {
            return;
        }
        for (index, written) in file.backends.iter() {
            let backend = backends.get(&written.name);
            if file.backends.is_whole() && backend.is_some_and(|it| it.wire.is_translated()) {
                let at = KeyPath::root().key("backends").index(index).key("type");
                let message = "needs holdHeaders: true, since the whole body is translated before \
                               its length is known";
                self.errors.push(&at, message);
            }
            let waits = |it: &Rc<Backend>| it.wire.has_model_in_path() && it.model.always.is_none();
            if backend.is_some_and(waits) {
                let at = KeyPath::root().key("backends").index(index).key("config");
                let message = "required without holdHeaders: the model is part of the path, \
                               which cannot wait for the body";
                self.errors.push(&at.key("deploymentName"), message);
            }
        }
    }

    /// Notes deadlines where a plugin sees no more than one attempt.
    pub(super) fn deadlines(&mut self, file: &file::Gateway) {
        if file.placement != Some(Placement::Upstream) {
            return;
        }
        for (index, route) in file.routes.iter().flat_map(file::List::iter) {
            if route.deadline.is_some() {
                let at = KeyPath::root().key("routes").index(index).key("deadline");
                let message =
                    "needs placement: listener, since upstream one attempt is all there is";
                self.errors.push(&at, message);
            }
        }
    }

    /// Notes routes that need the body where a plugin cannot wait for it.
    pub(super) fn routes_by_model(&mut self, file: &file::Gateway) {
        let is_plugin = file.placement.is_some() || file.hold_headers.is_some();
        let message = match file.placement {
            _ if !is_plugin => return,
            Some(Placement::Upstream) => {
                "needs placement: listener, since upstream the backend has been chosen"
            }
            _ if file.hold_headers == Some(true) => return,
            _ => {
                "needs holdHeaders: true, since the body has the model, and the route has to be \
                 chosen by then"
            }
        };
        for (index, route) in file.routes.iter().flat_map(file::List::iter) {
            let at = KeyPath::root().key("routes").index(index);
            if route.models.is_some() {
                self.errors.push(&at.key("models"), message);
            }
            if route.backend_from_model == Some(true) {
                self.errors.push(&at.key("backendFromModel"), message);
            }
        }
    }
}
