//! Matches and retries as the Gateway API has them, which agentgateway's own format follows.
//!
//! Source: <https://gateway-api.sigs.k8s.io/reference/spec/>, `HTTPRouteMatch` and `HTTPRouteRetry`.

use serde_json::{Map, Value};

use super::draft::Route;
use super::source::Node;
use super::upstream::span;

/// The routes of a rule: one for each of its matches, without those that cannot be had here.
pub fn routes(name: Option<&str>, hosts: &[String], matches: &Node<'_>) -> Vec<Route> {
    let mut first = Route {
        name: name.map(str::to_owned),
        ..Route::default()
    };
    if !hosts.is_empty() {
        first.keys.insert("hosts".to_owned(), hosts.to_vec().into());
    }
    let items = matches.items();
    if items.is_empty() {
        return vec![first];
    }
    let with = |item: &Node<'_>| {
        let mut route = first.clone();
        read_match(item, &mut route).then_some(route)
    };
    items.iter().filter_map(with).collect()
}

/// Adds what a match says. `false`: it matches what no route here can.
fn read_match(item: &Node<'_>, route: &mut Route) -> bool {
    if !read_path(&item.get("path"), route) {
        return false;
    }
    let method = item.get("method");
    if let Some(method) = method.text() {
        route.keys.insert("methods".to_owned(), vec![method].into());
    }
    let query = item.any_of(&["queryParams", "query"]);
    if query.is_present() {
        query.ignore();
        query.error("a route here cannot match a query");
        return false;
    }
    read_headers(&item.get("headers"), route)
}

/// Headers as a list of name and value.
pub fn read_headers(headers: &Node<'_>, route: &mut Route) -> bool {
    let mut found = Map::new();
    for header in headers.items() {
        let name = header.get("name").text().unwrap_or_default();
        let value = header.get("value");
        let is_regex = value.has("regex") || is_type(&header, "RegularExpression");
        if is_regex {
            value.ignore();
            header.error("a route here matches whole values of headers, no regular expression");
            return false;
        }
        let value = value.any_of(&["exact"]).text().or_else(|| value.text());
        found.extend(value.map(|value| (name, Value::from(value))));
    }
    if !found.is_empty() {
        route.keys.insert("headers".to_owned(), found.into());
    }
    true
}

fn read_path(path: &Node<'_>, route: &mut Route) -> bool {
    let kind = path.get("type").text();
    let (kind, value) = match path.value() {
        // agentgateway's own: `pathPrefix: /v1`.
        Some(value) if kind.is_none() => {
            let kinds = ["pathPrefix", "exact", "regex"];
            let found = kinds.into_iter().find(|it| value.get(it).is_some());
            match found {
                Some(kind) => (kind.to_owned(), path.get(kind)),
                None => ("PathPrefix".to_owned(), path.get("value")),
            }
        }
        _ => (kind.unwrap_or_default(), path.get("value")),
    };
    let Some(text) = value.text() else {
        return true;
    };
    match kind.as_str() {
        "pathPrefix" | "PathPrefix" | "" => {}
        "exact" | "Exact" => route.comments.push(format!(
            "also matches what follows {text} after a \"/\": routes here have no exact paths"
        )),
        _ => {
            value.error("a route here matches the beginning of a path, no regular expression");
            return false;
        }
    }
    set_path(&value, &text, route)
}

/// Sets the path of a route, whatever ends in a `/` or not.
pub fn set_path(node: &Node<'_>, text: &str, route: &mut Route) -> bool {
    let path = text.trim_end_matches('/');
    if !text.starts_with('/') {
        node.error(format!("{text:?} is not a path"));
        return false;
    }
    if !path.is_empty() {
        route.keys.insert("path".to_owned(), path.into());
    }
    true
}

fn is_type(node: &Node<'_>, kind: &str) -> bool {
    node.get("type").text().is_some_and(|it| it == kind)
}

/// The number of extra attempts, with a comment on when.
pub fn retries(retry: &Node<'_>, comments: &mut Vec<String>) -> Option<u64> {
    if !retry.is_present() {
        return None;
    }
    let attempts = retry.get("attempts").number().unwrap_or(1);
    let codes: Vec<String> = retry
        .get("codes")
        .items()
        .iter()
        .filter_map(Node::text)
        .collect();
    let when = match codes.is_empty() {
        true => String::new(),
        false => format!(", not only after {}", codes.join(", ")),
    };
    comments.push(format!(
        "retries follow a failed connection, a timeout, 429 and 5xx{when}, with pauses of Envoy's"
    ));
    retry.ignore_keys(&["backoff"]);
    Some(attempts.min(100))
}

/// The time to the first byte, from a limit to the whole request.
pub fn timeout(node: &Node<'_>, comments: &mut Vec<String>) -> Option<String> {
    let span = span(node)?;
    let comment = "the timeout ends when a reply begins; the original limited the whole request";
    if !comments.iter().any(|it| it == comment) {
        comments.push(comment.to_owned());
    }
    Some(span)
}
