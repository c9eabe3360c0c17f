//! What Envoy's own route makes of a path, where the module sits among the listener's filters.
//!
//! There the route is chosen before the module sees the request, and everything that stands before
//! the module (authentication, limits) works by that choice. Whatever the module changes of the path
//! makes Envoy choose again. So a path stays as the client wrote it where the route itself can turn it
//! into the provider's:
//!
//! ```text
//!   client's path      /mistral/v1/chat/completions      the module leaves it
//!   route              ^/mistral(?:/v1)?/  ->  /v1/      after the last filter
//!   provider's path    /v1/chat/completions
//! ```
//!
//! Where the provider's path depends on more (the model is part of it, the body chose the route, a
//! dialect has paths of its own), the module writes an *internal path*, which no client may use:
//!
//! ```text
//!   client's path      /gemini/v1/chat/completions
//!   internal path      /~default.llm-proxy/gemini/v1beta/models/m:generateContent
//!   route              ^/~default\.llm-proxy/gemini/  ->  /
//!   provider's path    /v1beta/models/m:generateContent
//! ```

use std::borrow::Cow;

use crate::backend::Backend;
use crate::operation::Operation;
use crate::route::Route;

/// How a route turns a client's path into the provider's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewrite<'a> {
    /// What a client's path starts with, before the `/` of the rest.
    pub from: &'a str,
    /// Whether a `/v1` may follow that.
    pub version: bool,
    /// What the provider's path has instead; empty, or it starts with a `/`.
    pub to: Cow<'a, str>,
}

impl<'a> Rewrite<'a> {
    /// The rewriting of a route to one backend; `None`: every path is an internal one.
    pub fn of(route: &'a Route, backend: &'a Backend) -> Option<Self> {
        // At the root there is nothing to cut off, and what follows may be what another route is for.
        if route.path.is_empty() || route.needs_model() {
            return None;
        }
        let to = backend.wire.fixed_base(&backend.endpoint.base_path)?;
        let from = Operation::base_of(&route.path);
        Some(Self {
            from,
            version: from == route.path,
            to,
        })
    }

    /// What comes behind [`Rewrite::to`] of a client's path, its query aside; `None`: the route leaves
    /// the path as it is.
    pub fn rest<'p>(&self, path: &'p str) -> Option<&'p str> {
        let rest = path.strip_prefix(self.from)?;
        let versioned = rest.strip_prefix(VERSION).filter(|it| it.starts_with('/'));
        let rest = versioned.filter(|_| self.version).unwrap_or(rest);
        rest.starts_with('/').then_some(rest)
    }
}

/// The path that the module writes for a provider's path: the client's where Envoy has chosen the
/// route by it (`in_place`) and the route makes the provider's of it, else one below `internal`.
/// Queries are the provider's.
pub fn envoy_path(
    rewrite: Option<&Rewrite<'_>>,
    in_place: bool,
    internal: &str,
    client: &str,
    provider: &str,
) -> String {
    let (client, _) = split_query(client);
    let (path, query) = split_query(provider);
    let Some(rewrite) = rewrite else {
        return [internal, provider].concat();
    };
    // A provider's path is always below its base.
    let below = path.strip_prefix(&*rewrite.to).unwrap_or(path);
    match in_place && rewrite.rest(client) == Some(below) {
        true => [client, query].concat(),
        false => [internal, below, query].concat(),
    }
}

/// The path below which a route's internal paths to one of its backends stand; `root` is the plugin's
/// `internalPath`.
pub fn internal_path(root: &str, route: &Route, backend: &Backend) -> String {
    match route.backend_from_model {
        true => format!("{root}/{}/{}", route.name, backend.name),
        false => format!("{root}/{}", route.name),
    }
}

/// The part of a path before its query, and the query with its `?`.
fn split_query(path: &str) -> (&str, &str) {
    path.split_at(path.find('?').unwrap_or(path.len()))
}

const VERSION: &str = "/v1";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::Gateway;
    use crate::route::Destination;

    /// What the module writes for a client's path, and what Envoy's route makes of it.
    fn sent(route: &str, backend: &str, client: &str, in_place: bool) -> (String, String) {
        let text = format!(
            "{{backends: [{{name: b, {backend}}}], routes: [{{name: r, path: {route}, backend: b}}]}}"
        );
        let gateway = Gateway::parse(&text, &|_: &str| None);
        let gateway = gateway.unwrap_or_else(|errors| panic!("{errors}"));
        let route = gateway.routes.first().unwrap();
        let Destination::Backend(backend) = &route.to else {
            panic!("no backend");
        };
        let operation = Operation::of(client, Some(&route.path)).unwrap();
        let base = &backend.endpoint.base_path;
        let provider = backend.wire.path(base, &operation, Some("m")).unwrap();
        let rewrite = Rewrite::of(route, backend);
        let internal = internal_path("/~x", route, backend);
        let written = envoy_path(rewrite.as_ref(), in_place, &internal, client, &provider);
        let (path, query) = split_query(&written);
        let to = rewrite.as_ref().map_or("", |rewrite| &rewrite.to);
        let rewritten = match path.strip_prefix(&internal) {
            Some(rest) => [to, rest].concat(),
            None => [to, rewrite.as_ref().unwrap().rest(path).unwrap()].concat(),
        };
        assert_eq!([&*rewritten, query].concat(), provider, "{client}");
        (written, provider)
    }

    #[test]
    fn a_path_stays_where_the_route_makes_the_providers_of_it() {
        const MISTRAL: &str = "type: mistral";
        const AZURE: &str = "type: azure-openai, config: {endpoint: https://a.example}";
        for (route, backend, client) in [
            ("/m", MISTRAL, "/m/v1/chat/completions"),
            ("/m", MISTRAL, "/m/chat/completions"),
            ("/m", MISTRAL, "/m/v1/v1/x"),
            ("/m/v1", MISTRAL, "/m/v1/embeddings"),
            ("/a/b", MISTRAL, "/a/b/v1/files/f-1"),
            ("/v1", MISTRAL, "/v1/models"),
            ("/v1/chat/completions", MISTRAL, "/v1/chat/completions"),
            ("/x/embeddings", MISTRAL, "/x/embeddings"),
            ("/v1", AZURE, "/v1/responses"),
        ] {
            assert_eq!(sent(route, backend, client, true).0, client);
            // On a route of another one's only the module knows where it goes.
            let (written, _) = sent(route, backend, client, false);
            assert!(written.starts_with("/~x/r/"), "{written}");
        }
    }

    #[test]
    fn what_no_route_can_make_of_a_path_is_an_internal_one() {
        let dated = "type: azure-openai, config: {endpoint: https://a.example, \
                     apiVersion: 2024-10-21}";
        let irregular = "type: mistral, config: {path: /chat?v=1}";
        for (route, backend, client, expected) in [
            ("/m", "type: mistral", "/m", "/~x/r/chat/completions"),
            ("/m", "type: mistral", "/m/", "/~x/r/chat/completions"),
            ("/", "type: mistral", "/v1/files", "/~x/r/v1/files"),
            ("/m", irregular, "/m/v1/chat/completions", "/~x/r/chat?v=1"),
            ("/m", irregular, "/m/v1/files", "/~x/r/v1/files"),
            (
                "/m",
                dated,
                "/m/v1/embeddings",
                "/~x/r/openai/deployments/m/embeddings?api-version=2024-10-21",
            ),
        ] {
            assert_eq!(sent(route, backend, client, true).0, expected);
        }
    }
}
