//! The models that can be asked for, told from the configuration: `GET /models` and
//! `GET /models/{model}`.
//!
//! A client's base URL is what stands before `/models`, and the list is about what can be asked for
//! below it: below `/v1` also what a route for `/v1/chat/completions` leads to. Where all of that is
//! one server that speaks OpenAI's dialect, its provider knows best. Else nobody is called, and the
//! list has every name that the configuration knows. A family such as `gpt-*` can be asked for, but
//! is no name.

use std::collections::BTreeSet;

use crate::api::{ClientApi, Model};
use crate::backend::Backend;
use crate::gateway::Gateway;
use crate::model::{Asked, Choice, Renaming};
use crate::operation::table::Definition;
use crate::operation::{Kind, ModelMember, Operation};
use crate::percent;
use crate::refusal::{LocalReply, Refusal};
use crate::route::{Destination, Model as AskedFor, Route, path_is_below};

/// Who knows the models below a base path.
#[derive(Clone, Debug)]
pub enum Listing<'g> {
    /// The configuration: these.
    Configured(Vec<Model>),
    /// Nobody: no route matches, or none that could tell.
    Nobody,
    /// The provider to which this route leads.
    Provider(&'g Route),
}

/// The reply to `GET /models`, or to `GET /models/{model}`: `suffix` is the path from `/models` on.
pub fn reply(models: &[Model], suffix: &str, api: &dyn ClientApi) -> LocalReply {
    let asked = suffix.strip_prefix("/models/").unwrap_or_default();
    let asked = asked.trim_end_matches('/');
    if asked.is_empty() {
        return LocalReply::json(200, api.model_list(models));
    }
    let asked = decoded(asked);
    match models.iter().find(|model| model.id == asked) {
        Some(model) => LocalReply::json(200, api.model(model)),
        None => Refusal::UnknownModel(asked).reply(api),
    }
}

/// The models of one backend.
pub fn of_backend(backend: &Backend) -> Vec<Model> {
    named(backend.model.names(), backend)
}

/// Who knows the models below `base`, the path before `/models`, for clients whose requests `meets`
/// a route's other conditions, path and method aside.
pub fn listing<'g>(
    gateway: &'g Gateway,
    base: &str,
    meets: &dyn Fn(&Route) -> bool,
) -> Listing<'g> {
    let above = |path: &str| {
        let routes = gateway.routes.iter().enumerate();
        let above = routes.filter(|(_, route)| path_is_below(path, &route.path));
        above.collect()
    };
    listing_among(gateway, &above, base, meets)
}

/// The same, where `above` gives the routes whose path is one or what it continues, with their
/// numbers.
pub fn listing_among<'g>(
    gateway: &'g Gateway,
    above: &dyn Fn(&str) -> Vec<(usize, &'g Route)>,
    base: &str,
    meets: &dyn Fn(&Route) -> bool,
) -> Listing<'g> {
    let allows = |route: &Route, method: &str| {
        route.methods.is_empty() || route.methods.iter().any(|it| it == method)
    };
    let own = [base, "/models"].concat();
    let mut asked_here = above(&own).into_iter().map(|(_, route)| route);
    let asked_here =
        asked_here.find(|route| meets(route) && route.models.is_empty() && allows(route, "GET"));
    // Who has a route for the very list wants the provider's.
    let is_meant =
        |route: &&Route| Operation::of(&route.path, None).is_ok_and(|it| it.kind() == Kind::Models);
    if let Some(route) = asked_here.filter(is_meant) {
        return match is_plain(route) {
            true => Listing::Provider(route),
            false => Listing::Configured(models(gateway, &[route])),
        };
    }

    let mut leads = BTreeSet::new();
    for call in Definition::with_model() {
        let path = [base, call.path].concat();
        for (number, route) in above(&path) {
            if meets(route) && allows(route, "POST") {
                leads.insert(number);
                // No request goes past it.
                if route.models.is_empty() {
                    break;
                }
            }
        }
    }
    let routes = leads
        .iter()
        .filter_map(|number| gateway.routes.get(*number));
    let routes: Vec<&Route> = routes.collect();
    let mut backends: Vec<_> = routes
        .iter()
        .flat_map(|route| route.to.backends())
        .collect();
    backends.dedup_by(|a, b| is_same_server(a, b));
    match (backends.len(), routes.iter().all(|route| is_plain(route))) {
        (0, _) => Listing::Nobody,
        (1, true) => asked_here.map_or(Listing::Nobody, Listing::Provider),
        _ => Listing::Configured(models(gateway, &routes)),
    }
}

/// The paths below which clients of a route may ask for its models: the base URLs that lead to it.
pub fn bases(route: &Route) -> Vec<String> {
    let base = Operation::base_of(&route.path);
    match base.ends_with("/v1") {
        true => vec![base.to_owned()],
        false => vec![base.to_owned(), format!("{base}/v1")],
    }
}

/// Whether two backends are one server, so that its list is that of both.
fn is_same_server(one: &Backend, other: &Backend) -> bool {
    let (one_end, other_end) = (&one.endpoint, &other.endpoint);
    one.provider == other.provider
        && one_end.authority == other_end.authority
        && one_end.base_path == other_end.base_path
}

/// Whether all requests of a route go to one backend that speaks OpenAI's dialect.
fn is_plain(route: &Route) -> bool {
    match &route.to {
        Destination::Backend(backend) => !backend.wire.is_translated() && !route.needs_model(),
        Destination::Pool(_) => false,
    }
}

/// What can be asked for on these routes, in their order, each name once.
fn models(gateway: &Gateway, routes: &[&Route]) -> Vec<Model> {
    let mut seen = BTreeSet::new();
    let mut all: Vec<Model> = routes
        .iter()
        .flat_map(|route| of_route(gateway, route))
        .collect();
    all.retain(|model| seen.insert(model.id.clone()));
    all
}

fn of_route(gateway: &Gateway, route: &Route) -> Vec<Model> {
    if let Some(model) = &route.model {
        let backends = route.to.backends();
        return backends
            .iter()
            .flat_map(|backend| named([&**model], backend))
            .collect();
    }
    let mut models = Vec::new();
    // The route's own names lead where a request for them would.
    let globs = route.models.iter().map(|glob| glob.as_str());
    let literals = globs.filter(|name| !name.contains('*'));
    for name in route.aliases.exact_names().chain(literals) {
        let (to, prefix) = gateway.destination(route, AskedFor::Named(name));
        let aliases = Some(std::rc::Rc::clone(&route.aliases));
        let renamed = Renaming { aliases, prefix }.rename(name);
        let asked = renamed.as_deref().unwrap_or(name);
        let backends = to.backends();
        let serves = |backend: &&&std::rc::Rc<Backend>| {
            let choice = backend
                .model
                .choose(Asked::Model(asked), ModelMember::Required);
            !matches!(choice, Choice::Refuse(_))
        };
        let first = backends.iter().find(serves);
        models.extend(first.into_iter().flat_map(|backend| named([name], backend)));
    }
    for backend in route.to.backends() {
        models.extend(of_backend(backend));
    }
    if route.backend_from_model {
        for (name, to) in gateway.destinations() {
            for backend in to.backends() {
                let prefixed = of_backend(backend).into_iter().map(|model| Model {
                    id: format!("{name}/{}", model.id),
                    ..model
                });
                models.extend(prefixed);
            }
        }
    }
    models.retain(|model| route.is_for(AskedFor::Named(&model.id)));
    models
}

fn named<'n>(names: impl IntoIterator<Item = &'n str>, backend: &Backend) -> Vec<Model> {
    let model = |name: &str| Model {
        id: name.to_owned(),
        owner: backend.provider.as_str(),
    };
    names.into_iter().map(model).collect()
}

/// A path segment without its escapes.
fn decoded(segment: &str) -> String {
    String::from_utf8_lossy(&percent::decode(segment.as_bytes())).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::openai::OpenAi;

    /// The models below a base, as `id owner`; or who else knows them.
    fn told(configuration: &str, base: &str) -> Vec<String> {
        let gateway = Gateway::parse(configuration, &|_: &str| Some("key".to_owned()));
        let gateway = gateway.unwrap_or_else(|errors| panic!("{errors}"));
        let unconditional = |route: &Route| route.hosts.is_empty() && route.headers.is_empty();
        match listing(&gateway, base, &unconditional) {
            Listing::Configured(models) => {
                let told = |model: Model| format!("{} {}", model.id, model.owner);
                models.into_iter().map(told).collect()
            }
            Listing::Nobody => vec!["nobody".to_owned()],
            Listing::Provider(route) => vec![format!("the provider of {}", route.name)],
        }
    }

    const BACKENDS: &str = "
backends:
- {name: openai, type: openai, config: {defaultModel: gpt-4o, modelAliases: {mini: gpt-4o-mini, 'g*': x}}}
- {name: claude, type: anthropic, config: {defaultModel: claude-4, models: ['claude-*', claude-4-haiku]}}
- {name: grok, type: xai, config: {model: grok-4}}
- {name: grok-2, type: xai, config: {model: grok-5}}
- {name: both, type: pool, backends: [{name: openai}, {name: grok}]}
routes:
";

    #[test]
    fn what_can_be_asked_for_below_a_base_is_told() {
        type Row = (&'static str, &'static str, &'static [&'static str]);
        let rows: &[Row] = &[
            // One provider of OpenAI's kind knows its models itself.
            (
                "[{name: r, path: /v1, backend: openai}]",
                "/v1",
                &["the provider of r"],
            ),
            (
                "[{name: r, backend: openai}]",
                "/v1",
                &["the provider of r"],
            ),
            (
                "[{name: r, path: /x, backend: grok}]",
                "/x/v1",
                &["the provider of r"],
            ),
            (
                "[{name: r, path: /v1/chat/completions, backend: openai}]",
                "/v1",
                &["nobody"],
            ),
            ("[{name: r, path: /x, backend: openai}]", "/v1", &["nobody"]),
            (
                "[{name: a, path: /v1/chat, backend: openai}, {name: b, path: /v1, backend: openai}]",
                "/v1",
                &["the provider of b"],
            ),
            // One that is translated, or several.
            (
                "[{path: /v1, backend: claude}]",
                "/v1",
                &["claude-4 anthropic", "claude-4-haiku anthropic"],
            ),
            (
                "[{path: /v1/chat/completions, methods: [POST], backend: both}]",
                "/v1",
                &["gpt-4o openai", "mini openai", "grok-4 xai"],
            ),
            (
                "[{path: /v1/chat/completions, backend: grok}, {path: /v1, backend: openai}]",
                "/v1",
                &["grok-4 xai", "gpt-4o openai", "mini openai"],
            ),
            // Two accounts at one provider are one server.
            (
                "[{path: /v1/embeddings, backend: grok-2}, {name: b, path: /v1, backend: grok}]",
                "/v1",
                &["the provider of b"],
            ),
            // Where a route for the list itself leads somewhere, that is who knows.
            (
                "[{name: m, path: /v1/models, backend: openai}, {path: /v1, backend: claude}]",
                "/v1",
                &["the provider of m"],
            ),
            (
                "[{path: /v1/models, backend: claude}, {path: /v1, backend: openai}]",
                "/v1",
                &["claude-4 anthropic", "claude-4-haiku anthropic"],
            ),
            // No request comes to the second.
            (
                "[{name: a, path: /v1, backend: openai}, {path: /v1, backend: claude}]",
                "/v1",
                &["the provider of a"],
            ),
            // Models and aliases of routes.
            (
                "[{path: /v1, models: ['claude-4*', claude-opus, other], backend: claude}]",
                "/v1",
                &[
                    "claude-opus anthropic",
                    "claude-4 anthropic",
                    "claude-4-haiku anthropic",
                ],
            ),
            (
                "[{path: /v1, models: ['claude-*'], backend: claude}, {path: /v1, backend: openai, modelAliases: {fast: mini}}]",
                "/v1",
                &[
                    "claude-4 anthropic",
                    "claude-4-haiku anthropic",
                    "fast openai",
                    "gpt-4o openai",
                    "mini openai",
                ],
            ),
            (
                "[{path: /v1, backend: openai, model: gpt-5}, {path: /v1/embeddings, backend: grok}]",
                "/v1",
                &["the provider of route-1"],
            ),
            (
                "[{path: /v1/embeddings, backend: grok}, {path: /v1, backend: openai, model: gpt-5}]",
                "/v1",
                &["grok-4 xai", "gpt-5 openai"],
            ),
            // By the backend's name.
            (
                "[{path: /v1, backend: grok, backendFromModel: true, models: ['*4*'], modelAliases: {best4: claude/claude-4}}]",
                "/v1",
                &[
                    "best4 anthropic",
                    "grok-4 xai",
                    "openai/gpt-4o openai",
                    "claude/claude-4 anthropic",
                    "claude/claude-4-haiku anthropic",
                    "grok/grok-4 xai",
                    "both/gpt-4o openai",
                    "both/grok-4 xai",
                ],
            ),
        ];
        for (routes, base, expected) in rows {
            let told = told(&format!("{BACKENDS} {routes}"), base);
            assert_eq!(told, *expected, "{routes} {base}");
        }
    }

    #[test]
    fn the_example_of_the_readme_is_told_for_each_base() {
        let text = format!(
            "{BACKENDS}
- {{path: /v1/chat/completions, methods: [POST], backend: both}}
- {{path: /v1, models: ['claude-*'], backend: claude}}
- {{name: mistral, path: /mistral, backend: grok}}"
        );
        let v1 = [
            "gpt-4o openai",
            "mini openai",
            "grok-4 xai",
            "claude-4 anthropic",
            "claude-4-haiku anthropic",
        ];
        // The pool's route takes every model of chat completions; the other operations have the
        // second.
        assert_eq!(told(&text, "/v1"), v1);
        assert_eq!(told(&text, "/mistral"), ["the provider of mistral"]);
        assert_eq!(told(&text, "/mistral/v1"), ["the provider of mistral"]);
        assert_eq!(told(&text, ""), ["nobody"]);
    }

    #[test]
    fn a_model_is_told_by_its_name_however_that_is_written() {
        let models = ["gpt-4o", "meta/llama 3"].map(|id| Model {
            id: id.to_owned(),
            owner: "openai",
        });
        for (suffix, status) in [
            ("/models", 200),
            ("/models/", 200),
            ("/models/gpt-4o", 200),
            ("/models/meta%2Fllama%203", 200),
            ("/models/meta/llama%203", 200),
            ("/models/gpt-4", 404),
        ] {
            assert_eq!(reply(&models, suffix, &OpenAi).status, status, "{suffix}");
        }
        let body = reply(&models, "/models/gpt-4o", &OpenAi).body;
        let expected = r#"{"id":"gpt-4o","object":"model","created":0,"owned_by":"openai"}"#;
        assert_eq!(body, expected);
    }
}
