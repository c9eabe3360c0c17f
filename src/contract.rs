//! What the renderer and the module agree on: each fact once, what is written beside what is read.
//!
//! The renderer writes these into Envoy's configuration; the module, in the Envoy that has this
//! configuration, reads them or acts on them. What one of them changes alone fails without a message,
//! so neither has a copy. [`crate::pool`], [`crate::rewrite`] and [`crate::token`] name the clusters
//! and the paths on which both agree.

pub mod telemetry;

use std::collections::BTreeMap;
use std::rc::Rc;

use sha2::{Digest, Sha256};

use crate::model::{Aliases, Renaming};
use crate::pairs;
use crate::sorted;

// === Metadata ===

/// The namespace of our metadata in Envoy's configuration: `filter_metadata: {llm-proxy: {…}}`.
pub const METADATA_NAMESPACE: &str = "llm-proxy";

/// The member of the metadata of an endpoint or a cluster that names its backend.
pub const BACKEND_MEMBER: &str = "backend";

/// The metadata of a route: what Envoy's route says to the module.
///
/// Shape: an object of texts. `aliases` is the JSON of a configuration's `modelAliases`; `prefix` is
/// what is cut off the name of a model that begins with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteMetadata {
    /// The name of a backend. A person may write it; the renderer does not.
    pub backend: Option<String>,
    /// The model that is always written.
    pub model: Option<String>,
    /// The route's path, below which the operation's suffix starts.
    pub path: Option<String>,
    /// What becomes of the client's model before the backend's rules.
    pub renaming: Renaming,
}

impl RouteMetadata {
    /// The members, as they are written: names and texts. What is absent has none.
    pub fn encode(&self) -> Vec<(&'static str, String)> {
        let Renaming { aliases, prefix } = &self.renaming;
        let aliases = aliases.as_ref().filter(|it| !it.is_empty());
        let members = [
            (BACKEND_MEMBER, self.backend.clone()),
            ("path", self.path.clone()),
            ("model", self.model.clone()),
            ("aliases", aliases.map(|it| encode_aliases(it))),
            ("prefix", prefix.as_deref().map(str::to_owned)),
        ];
        let members = members.into_iter();
        members
            .filter_map(|(name, text)| Some((name, text?)))
            .collect()
    }

    /// Reads the [pair list](pairs) that Envoy makes of the metadata. What is not text counts as
    /// absent, and so does an empty text.
    pub fn decode(bytes: &[u8]) -> Self {
        let mut found = Self::default();
        for (key, value) in pairs::decode(bytes).unwrap_or_default() {
            let text = std::str::from_utf8(value)
                .ok()
                .filter(|text| !text.is_empty());
            let text = text.map(str::to_owned);
            match key {
                b"backend" => found.backend = text,
                b"model" => found.model = text,
                b"path" => found.path = text,
                b"prefix" => found.renaming.prefix = text.map(Rc::from),
                b"aliases" => {
                    found.renaming.aliases = text.map(|text| Rc::new(decode_aliases(&text)));
                }
                _ => {}
            }
        }
        found
    }
}

fn encode_aliases(aliases: &Aliases) -> String {
    let entries: BTreeMap<String, &str> = sorted::collect(aliases.written());
    serde_json::to_string(&entries).unwrap_or_default()
}

/// The aliases of a text; a text that has none gives none.
fn decode_aliases(text: &str) -> Aliases {
    let entries = serde_json::from_str::<BTreeMap<String, String>>(text).unwrap_or_default();
    let entries = entries.into_iter();
    Aliases::new(entries.map(|(name, model)| (name, Rc::from(model))))
}

// === Headers ===

/// The header of a reply that names the parameters that were adapted for its backend. The access log
/// has it.
pub const ADAPTED_HEADER: &str = "x-llm-proxy-adapted";

/// The header with the number of attempts, for the module upstream, where the order has more.
pub const ATTEMPTS_HEADER: &str = "x-llm-proxy-attempts";

/// The header by which the module, in the listener, names the selected backend to the routes of Envoy.
pub const BACKEND_HEADER: &str = "x-llm-proxy-backend";

/// The header by which Envoy's route finds the cluster.
pub const CLUSTER_HEADER: &str = "x-llm-proxy-cluster";

/// The header on which Envoy's routes match, where the body has selected one of them. Its value is
/// [`Route::label`](crate::route::Route::label).
pub const ROUTE_HEADER: &str = "x-llm-proxy-route";

/// The headers that the module in the listener writes for Envoy's route and for the module upstream.
/// Envoy takes them from no client.
pub const SELECTION_HEADERS: [&str; 3] = [CLUSTER_HEADER, ROUTE_HEADER, ATTEMPTS_HEADER];

/// The beginning of the headers in which a filter before the module hands over what authenticates, for
/// each attempt. The module takes the value, and no such header reaches a provider.
pub const SECRET_HEADER_PREFIX: &str = "x-llm-proxy-secret-";

/// The header for one secret of a backend: `grok` and `["apiKey"]` is `x-llm-proxy-secret-grok-apikey`.
///
/// Two secrets never have one header: where characters have to be replaced, a digest is added.
pub fn secret_header(backend: &str, keys: &[String]) -> String {
    let parts: Vec<&str> = [backend]
        .into_iter()
        .chain(keys.iter().map(String::as_str))
        .collect();
    let mut is_exact = true;
    let mut name = SECRET_HEADER_PREFIX.to_owned();
    for (number, part) in parts.iter().enumerate() {
        if number > 0 {
            name.push('-');
        }
        // The keys are in camel case; a hyphen within a part could be the one between two.
        is_exact &= !part.contains('-') || number == 0;
        for c in part.chars() {
            let is_plain = c.is_ascii_alphanumeric() || c == '-';
            is_exact &= is_plain && (number > 0 || !c.is_ascii_uppercase());
            name.push(if is_plain {
                c.to_ascii_lowercase()
            } else {
                '-'
            });
        }
    }
    if !is_exact {
        let digest = Sha256::digest(parts.join("\0").as_bytes());
        let digest = digest.iter().take(SECRET_DIGEST_BYTES);
        name.push('-');
        name.extend(digest.map(|byte| format!("{byte:02x}")));
    }
    name
}

const SECRET_DIGEST_BYTES: usize = 6;

/// The header by which a client of the Messages API is known where its path does not tell.
pub const MESSAGES_VERSION: &str = "anthropic-version";

/// The header without which Envoy's listener finds no route: the module leaves it where it sits in the
/// listener, and the rendered routes remove it after the last filter. See docs/limits.md.
pub const SCHEME_HEADER: &str = "x-forwarded-proto";

/// The header by which Envoy decides whether a request is traced, once more when its route is chosen
/// again: routes that set headers remove it after the last filter.
pub const ENVOY_REQUEST_ID_HEADER: &str = "x-request-id";

// === Routes ===

/// The names of Envoy's routes for probes. No route of a configuration can have a name with a `/`.
pub const LIVE_ROUTE: &str = "health/live";

/// As [`LIVE_ROUTE`].
pub const READY_ROUTE: &str = "health/ready";

// === Statuses ===

/// Whether a backend outside of pools gets another attempt after a reply with this status: the
/// provider is busy or broken, and may not be the next time.
///
/// The rendered retry policies have [`RETRIABLE_STATUSES`] and [`SERVER_ERRORS`].
pub fn is_retriable(status: u16) -> bool {
    RETRIABLE_STATUSES.contains(&status) || status >= 500
}

/// The retriable statuses that Envoy's [`SERVER_ERRORS`] does not have.
pub const RETRIABLE_STATUSES: [u16; 1] = [429];

/// Envoy's retry condition for every status of 500 and more, for lost connections and for timeouts.
pub const SERVER_ERRORS: &str = "5xx";

// === Errors ===

/// The `type` of OpenAI's errors, by status.
pub fn error_type(status: u16) -> &'static str {
    if status >= 500 {
        return SERVER_ERROR;
    }
    let mut rows = ERROR_TYPES.iter();
    rows.find(|(it, _)| *it == status)
        .map_or(OTHER_ERROR, |(_, r#type)| r#type)
}

/// The same as an expression of Envoy's, for its own errors: the Common Expression Language.
pub fn error_type_expression() -> String {
    let rows = ERROR_TYPES.iter();
    let rows = rows.map(|(status, r#type)| format!("response.code == {status} ? '{}' : ", r#type));
    let rows: String = rows.collect();
    format!("response.code >= 500 ? '{SERVER_ERROR}' : {rows}'{OTHER_ERROR}'")
}

/// The `type` of errors of the Messages API, by status.
///
/// Source: <https://platform.claude.com/docs/en/api/errors>, read 2026-11-21. `not_supported` is that of
/// Claude Code's contract for gateways.
pub fn messages_error_type(status: u16) -> &'static str {
    let mut rows = MESSAGES_ERROR_TYPES.iter();
    match rows.find(|(it, _)| *it == status) {
        Some((_, r#type)) => r#type,
        None if status >= 500 => API_ERROR,
        None => OTHER_ERROR,
    }
}

/// The same as an expression of Envoy's.
pub fn messages_error_type_expression() -> String {
    let rows = MESSAGES_ERROR_TYPES.iter();
    let rows = rows.map(|(status, r#type)| format!("response.code == {status} ? '{}' : ", r#type));
    let rows: String = rows.collect();
    format!("{rows}response.code >= 500 ? '{API_ERROR}' : '{OTHER_ERROR}'")
}

/// The key of Envoy's filter state that says whether the client speaks the Messages API: `true`, or any
/// other text. It is set before the module changes headers and path.
pub const MESSAGES_STATE: &str = "llm_proxy.messages";

/// The format of [`MESSAGES_STATE`]. Where the header is absent and the path is another one, the
/// expression fails, and `-` is written.
pub const MESSAGES_FORMAT: &str =
    "%CEL(request.path.contains('/v1/messages') || request.headers['anthropic-version'] != '')%";

/// Whether a client speaks the Messages API, as an expression of Envoy's, to which filter state is bytes.
/// Where the state is absent it fails, which counts as no.
pub fn speaks_messages_expression() -> String {
    format!("filter_state['{MESSAGES_STATE}'] == b'true'")
}

const API_ERROR: &str = "api_error";
const MESSAGES_ERROR_TYPES: [(u16, &str); 10] = [
    (401, "authentication_error"),
    (402, "billing_error"),
    (403, "permission_error"),
    (404, "not_found_error"),
    (413, "request_too_large"),
    (429, "rate_limit_error"),
    (501, "not_supported"),
    (503, "overloaded_error"),
    (504, "timeout_error"),
    (529, "overloaded_error"),
];

const SERVER_ERROR: &str = "server_error";
const OTHER_ERROR: &str = "invalid_request_error";
const ERROR_TYPES: [(u16, &str); 3] = [
    (401, "authentication_error"),
    (403, "permission_error"),
    (429, "rate_limit_error"),
];

/// The message for a request that matches no route, whether Envoy or the module rejects it.
pub const UNKNOWN_ROUTE: &str = "no route matches this host and path";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_secret_has_a_header_of_its_own() {
        let header = |backend: &str, keys: &[&str]| {
            let keys: Vec<String> = keys.iter().map(|it| (*it).to_owned()).collect();
            secret_header(backend, &keys)
        };
        assert_eq!(
            header("grok-2", &["apiKey"]),
            "x-llm-proxy-secret-grok-2-apikey"
        );
        let names = [
            header("a", &["auth", "header", "x-key"]),
            header("a", &["auth", "header", "x_key"]),
            header("a", &["auth", "header", "X-Key"]),
            header("a-auth", &["header", "x-key"]),
            header("A", &["apiKey"]),
            header("a", &["apiKey"]),
            header("ä", &["apiKey"]),
        ];
        let all: std::collections::BTreeSet<&String> = names.iter().collect();
        assert_eq!(all.len(), names.len(), "{names:?}");
        let is_name = |it: &String| it.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        assert!(names.iter().all(is_name), "{names:?}");
    }

    #[test]
    fn known_members_are_read_and_others_skipped() {
        let bytes = pairs::encode(&[
            ("model", "m"),
            ("weight", "x"),
            ("path", "/a"),
            ("backend", ""),
        ]);
        let found = RouteMetadata::decode(&bytes);
        let expected = RouteMetadata {
            backend: None,
            model: Some("m".into()),
            path: Some("/a".into()),
            renaming: Renaming::default(),
        };
        assert_eq!(found, expected);
        assert_eq!(RouteMetadata::decode(&[0xff; 9]), RouteMetadata::default());
        let broken = RouteMetadata::decode(&pairs::encode(&[("aliases", "[1]")]));
        assert!(broken.renaming.is_empty());
    }

    #[test]
    fn what_is_written_for_a_route_is_what_is_read() {
        let entry = |name: &str, model: &str| (name.to_owned(), Rc::from(model));
        let aliases = Aliases::new([entry("a*", "x"), entry("a", "\"y\"")]);
        let none = RouteMetadata::default();
        assert_eq!(none.encode(), []);
        let all = RouteMetadata {
            backend: Some("b".to_owned()),
            model: Some("m".to_owned()),
            path: Some("/a".to_owned()),
            renaming: Renaming {
                aliases: Some(Rc::new(aliases)),
                prefix: Some(Rc::from("b/")),
            },
        };
        for metadata in [none, all] {
            let members = metadata.encode();
            let members = members.iter().map(|(name, text)| (*name, text.as_str()));
            let bytes = pairs::encode(&members.collect::<Vec<_>>());
            assert_eq!(RouteMetadata::decode(&bytes), metadata);
        }
    }

    /// The first row whose condition holds, as Envoy evaluates it.
    fn evaluated(expression: &str, status: u16) -> &str {
        let mut rest = expression;
        while let Some((row, others)) = rest.split_once(" : ") {
            let (condition, value) = row.split_once(" ? ").unwrap();
            let (operator, number) = condition
                .strip_prefix("response.code ")
                .and_then(|it| it.split_once(' '))
                .unwrap();
            let number: u16 = number.parse().unwrap();
            let holds = match operator {
                "==" => status == number,
                ">=" => status >= number,
                other => panic!("{other}"),
            };
            if holds {
                return value.trim_matches('\'');
            }
            rest = others;
        }
        rest.trim_matches('\'')
    }

    #[test]
    fn envoy_and_the_module_have_the_same_type_for_each_status() {
        let expression = error_type_expression();
        for status in 400..=599 {
            assert_eq!(
                evaluated(&expression, status),
                error_type(status),
                "{status}"
            );
        }
        let expression = messages_error_type_expression();
        for status in 400..=599 {
            let r#type = messages_error_type(status);
            assert_eq!(evaluated(&expression, status), r#type, "{status}");
        }
        assert_eq!(error_type(401), "authentication_error");
        assert_eq!(error_type(529), "server_error");
        assert_eq!(error_type(404), "invalid_request_error");
    }

    #[test]
    fn the_retriable_statuses_are_those_of_the_rendered_policies() {
        for status in 400..=599 {
            let is_rendered = status >= 500 || RETRIABLE_STATUSES.contains(&status);
            assert_eq!(is_retriable(status), is_rendered, "{status}");
        }
        assert!(is_retriable(429) && is_retriable(500) && !is_retriable(408));
    }
}
