//! What the manifests for Istio and for Envoy Gateway have in common.
//!
//! In both homes a plugin is loaded among the listener's filters. The home's routes are chosen before
//! any filter runs, and write host and path after the last one; the module in between follows their
//! choice: see [`routing`].

pub mod routing;

pub mod accepted;

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Map, Value, json};

use self::routing::Conditions;
use super::Source;
use super::envoy::hosts;
use super::yaml::{self, Layout};
use crate::backend::{Auth, Backend};
use crate::config::{ConfigErrors, KeyPath};
use crate::contract::ENVOY_REQUEST_ID_HEADER;
use crate::endpoint::Address;

/// Where a home gets the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// How it is fetched.
    pub origin: Origin,
    /// After the scheme: `registry.example.com/llm-proxy:0.1.0`, or a path for [`Origin::File`].
    pub rest: String,
    /// 64 lower-case hexadecimal digits: of the file, or of the image's manifest.
    pub sha256: Option<String>,
}

/// How the module is fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A file that is in the proxy's container already.
    File,
    /// A plain or encrypted download.
    Http,
    /// The same over TLS.
    Https,
    /// An image of a registry.
    Oci,
}

impl Origin {
    /// The scheme, `://` included.
    pub fn scheme(self) -> &'static str {
        match self {
            Self::File => "file://",
            Self::Http => "http://",
            Self::Https => "https://",
            Self::Oci => "oci://",
        }
    }

    const ALL: [Self; 4] = [Self::File, Self::Http, Self::Https, Self::Oci];
}

impl Module {
    /// Reads a URL and a checksum.
    ///
    /// # Errors
    ///
    /// What is wrong with one of them: what is downloaded needs a checksum, an image has one or
    /// its own digest.
    pub fn new(url: &str, sha256: Option<&str>) -> Result<Self, String> {
        let split = |origin: &Origin| Some((*origin, url.strip_prefix(origin.scheme())?));
        let found = Origin::ALL.iter().find_map(split);
        let (origin, rest) = found.filter(|(_, rest)| !rest.is_empty()).ok_or_else(|| {
            format!(
                "--wasm: {url:?} is not oci://REGISTRY/IMAGE:TAG, https://HOST/PATH or \
                     file:///PATH"
            )
        })?;
        let is_digit = |c: char| matches!(c, '0'..='9' | 'a'..='f');
        let is_sha256 = |text: &str| text.len() == 64 && text.chars().all(is_digit);
        if let Some(sha256) = sha256.filter(|text| !is_sha256(text)) {
            return Err(format!(
                "--sha256: {sha256:?} is not 64 hexadecimal digits in lower case"
            ));
        }
        if matches!(origin, Origin::Http | Origin::Https) && sha256.is_none() {
            return Err("--wasm: what is downloaded needs --sha256 beside it".to_owned());
        }
        match origin {
            Origin::Oci => accepted::image(rest),
            Origin::Http | Origin::Https => accepted::download(url),
            Origin::File if rest.starts_with('/') => Ok(()),
            Origin::File => Err("expected file:///PATH".to_owned()),
        }
        .map_err(|reason| format!("--wasm: {url:?}: {reason}"))?;
        Ok(Self {
            origin,
            rest: rest.to_owned(),
            sha256: sha256.map(str::to_owned),
        })
    }

    /// The URL as it was given.
    pub fn url(&self) -> String {
        [self.origin.scheme(), &self.rest].concat()
    }
}

/// Resources as one text. `file` is the name of what they are rendered from, `needs` says who needs
/// the variables.
///
/// # Errors
///
/// Why there are none.
pub fn yaml(
    source: &Source,
    resources: Result<Vec<Value>, ConfigErrors>,
    file: &str,
    needs: &str,
) -> Result<String, ConfigErrors> {
    let version = env!("CARGO_PKG_VERSION");
    let mut text = format!("# rendered by llm-proxy {version} from {file}; do not edit\n");
    let names = source.variable_names().iter().map(String::as_str);
    let names = Vec::from_iter(names).join(", ");
    if !names.is_empty() {
        text.push_str(&format!("# {needs}: {names}\n"));
    }
    let mut errors = ConfigErrors::default();
    for secret in source.injected() {
        errors.push(&secret.at, NO_SECRET_FILES);
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    for (index, resource) in resources?.iter().enumerate() {
        // A document of comments alone is refused by Envoy Gateway's file provider.
        if index > 0 {
            text.push_str("---\n");
        }
        text.push_str(&yaml::document(resource, Layout::Compact));
    }
    Ok(text)
}

/// The pods of these proxies have the module alone: nothing before it reads a file.
const NO_SECRET_FILES: &str = "a file is only read by \"llm-proxy run\" and by what \"render envoy\" \
     writes; use \"${NAME}\", a variable of the pods that comes from a Secret";

/// One resource.
pub fn resource(version: &str, kind: &str, name: &str, namespace: &str, spec: Value) -> Value {
    json!({
        "apiVersion": version,
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    })
}

/// `value` with some members only where they are there.
pub fn with<const N: usize>(value: Value, members: [(&str, Option<Value>); N]) -> Value {
    let Value::Object(mut object) = value else {
        return value;
    };
    for (key, member) in members {
        object.extend(member.map(|member| (key.to_owned(), member)));
    }
    Value::Object(object)
}

/// Marks resources as those of the gateway `name`, so that `kubectl apply --prune` finds what a later
/// rendering no longer has.
///
/// Source: <https://kubernetes.io/docs/concepts/overview/working-with-objects/common-labels/>.
pub fn labelled(mut resources: Vec<Value>, name: &str) -> Vec<Value> {
    for resource in &mut resources {
        if let Some(metadata) = resource.get_mut("metadata").and_then(Value::as_object_mut) {
            let labels = json!({
                "app.kubernetes.io/instance": name,
                "app.kubernetes.io/managed-by": NAME,
                "app.kubernetes.io/part-of": NAME,
            });
            metadata.insert("labels".to_owned(), labels);
        }
    }
    resources
}

/// The name of the resource of the gateway `name` for a part of it, a backend or a route: what
/// Kubernetes allows of the part's own name.
///
/// Source: RFC 1123 labels, <https://kubernetes.io/docs/concepts/overview/working-with-objects/names/>.
pub fn name_of(name: &str, part: &str) -> String {
    let allowed = |c: char| match c.to_ascii_lowercase() {
        c @ ('a'..='z' | '0'..='9') => c,
        _ => '-',
    };
    let part: String = part.chars().map(allowed).collect();
    let full = format!("{name}-{part}");
    let end = full.len().min(accepted::MAX_LABEL_BYTES);
    let short = full.get(..end).unwrap_or(&full);
    short.trim_end_matches('-').to_owned()
}

/// Notes backends whose resources would have the same name.
pub fn check_names(source: &Source, name: &str, errors: &mut ConfigErrors) {
    let mut taken = BTreeSet::new();
    for backend in source.backends() {
        let name = name_of(name, backend.name.as_str());
        if !taken.insert(name.clone()) {
            let message = format!("in Kubernetes this is {name:?}, and so is another backend");
            errors.push(&place(source, backend).key("name"), message);
        }
    }
}

/// Where a backend stands in the configuration.
pub fn place(source: &Source, backend: &Backend) -> KeyPath {
    source.place(backend.name.as_str())
}

/// Notes why a gateway cannot have the module among a listener's filters alone. `remedy` says how
/// what needs held headers can work.
pub fn check_listener(source: &Source, holds: bool, remedy: &str, errors: &mut ConfigErrors) {
    routing::check_headers(source, errors);
    for pool in source.pools() {
        let message = "a pool needs the module on each cluster, where it sees every attempt; \
                       `render istio --hold`, `render envoy-gateway --hold` and `render envoy` put it there";
        errors.push(&source.place(pool.name.as_str()).key("type"), message);
    }
    for backend in source.backends() {
        if matches!(backend.auth, Auth::Token(..)) {
            let message = "access tokens come from a cluster of their own; `render istio --hold`, \
                           `render envoy-gateway --hold` and `render envoy` have it";
            errors.push(&place(source, backend).key("config"), message);
        }
    }
    for error in source.refusals_in_the_listener(holds).iter() {
        let remedy = if holds { "" } else { remedy };
        errors.push(&error.at, format!("{}{remedy}", error.message));
    }
}

/// The path below which the internal paths of a gateway stand: its own in all of a cluster.
pub fn internal_root(name: &str, namespace: &str) -> String {
    format!("/~{namespace}.{name}")
}

/// The match of an `HTTPRoute` for one path and what else a route demands, once for each method.
///
/// Source: Gateway API v1.
pub fn http_matches(conditions: &Conditions<'_>) -> Vec<Value> {
    let mut headers: Vec<Value> = conditions
        .headers
        .iter()
        .map(|(name, value)| json!({"name": name, "value": value}))
        .collect();
    if !conditions.hosts.is_empty() {
        // In `hostnames` they would hide the routes that are for every host.
        headers.push(json!({
            "type": "RegularExpression",
            "name": "host",
            "value": hosts(conditions.hosts),
        }));
    }
    let methods = conditions.methods.iter().map(Some);
    let methods: Vec<Option<&String>> = match conditions.methods {
        [] => vec![None],
        _ => methods.collect(),
    };
    let matches = |path: &str| {
        let path = prefix(path);
        let headers = (!headers.is_empty()).then(|| json!(headers));
        let one = |method: &Option<&String>| {
            with(
                json!({"path": path}),
                [
                    ("headers", headers.clone()),
                    ("method", method.map(|it| it.as_str().into())),
                ],
            )
        };
        methods.iter().map(one).collect::<Vec<_>>()
    };
    let lists = conditions.lists.iter().map(String::as_str);
    let paths = [conditions.path].into_iter().chain(lists);
    paths.flat_map(matches).collect()
}

/// The path of an `HTTPRoute`'s match, with what is below it.
pub fn prefix(path: &str) -> Value {
    json!({"type": "PathPrefix", "value": path})
}

/// What a route to a backend removes after the last filter: `names`, and the request's id, which Envoy
/// needs until then to trace the request.
pub fn removed_headers<'n>(backend: &Backend, names: &[&'n str]) -> Vec<&'n str> {
    let mut removed = names.to_vec();
    let is_translated = backend.wire.is_translated();
    let passes = |name: &str| backend.header_rules.passes(name.as_bytes(), is_translated);
    if !passes(ENVOY_REQUEST_ID_HEADER) {
        removed.push(ENVOY_REQUEST_ID_HEADER);
    }
    removed
}

/// What a route to a backend does with headers after the last filter, as a filter of an `HTTPRoute`: it
/// sets the backend's and removes `names`, as [`removed_headers`].
pub fn header_modifier(source: &Source, backend: &Backend, names: &[&str]) -> Value {
    let set = source.route_headers(backend);
    let set: Vec<Value> = set
        .iter()
        .map(|(name, value)| json!({"name": name, "value": value}))
        .collect();
    let modifier = with(
        json!({"remove": removed_headers(backend, names)}),
        [("set", (!set.is_empty()).then(|| set.into()))],
    );
    json!({"type": "RequestHeaderModifier", "requestHeaderModifier": modifier})
}

/// Where to connect to, and whether that is in the pod itself, which is hardly meant.
pub fn address_of<'a>(
    source: &Source,
    backend: &'a Backend,
    errors: &mut ConfigErrors,
) -> &'a Address {
    let (address, key) = match &backend.address {
        Some(address) => (address, "address"),
        None => (&backend.endpoint.address, "endpoint"),
    };
    let ip: Option<std::net::IpAddr> = address.host.parse().ok();
    if address.host == "localhost" || ip.is_some_and(|ip| ip.is_loopback()) {
        let message = format!(
            "{:?} is the proxy's own pod; expected a host that it can reach",
            address.host
        );
        errors.push(&place(source, backend).key("config").key(key), message);
    }
    address
}

/// The variables by name, each taken from a secret's key of the same name.
pub fn from_secret(names: &BTreeSet<String>, secret: &str) -> Vec<Value> {
    let variable = |name: &String| {
        json!({
            "name": name,
            "valueFrom": {"secretKeyRef": {"name": secret, "key": name}},
        })
    };
    names.iter().map(variable).collect()
}

/// A duration as the Gateway API has it: whole numbers of at most five digits.
///
/// Source: GEP-2257, <https://gateway-api.sigs.k8s.io/geps/gep-2257/>.
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let parts = [
        (seconds / 3600, "h"),
        (seconds / 60 % 60, "m"),
        (seconds % 60, "s"),
        (u64::from(duration.subsec_millis()), "ms"),
    ];
    let text: String = parts
        .iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, unit)| format!("{number}{unit}"))
        .collect();
    match text.is_empty() {
        true => "0s".to_owned(),
        false => text,
    }
}

/// A mapping from text to text.
pub fn labels(labels: &[(String, String)]) -> Value {
    let labels = labels.iter().map(|(key, value)| {
        let value = Value::String(value.clone());
        (key.clone(), value)
    });
    Value::Object(labels.collect::<Map<_, _>>())
}

/// The group and version of the Gateway API.
pub const GATEWAY_API: &str = "gateway.networking.k8s.io/v1";

/// The name of this software, and of a gateway's resources unless another one is given.
pub const NAME: &str = "llm-proxy";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_few_digits() {
        for (millis, expected) in [
            (0, "0s"),
            (250, "250ms"),
            (60_000, "1m"),
            (100_500, "1m40s500ms"),
            (86_400_000, "24h"),
        ] {
            assert_eq!(duration(Duration::from_millis(millis)), expected);
        }
    }

    #[test]
    fn a_module_is_an_image_a_download_or_a_file() {
        let sha256 = "0123456789abcdef".repeat(4);
        for (url, sha256) in [
            ("oci://registry.example.com/llm-proxy:0.1.0", None),
            ("oci://registry.example.com/llm-proxy:0.1.0", Some(&*sha256)),
            ("https://files.example.com/llm_proxy.wasm", Some(&*sha256)),
            ("file:///etc/llm-proxy/plugin.wasm", None),
        ] {
            assert_eq!(Module::new(url, sha256).unwrap().url(), url);
        }
        for (url, sha256, reason) in [
            ("registry.example.com/llm-proxy", None, "is not oci://"),
            ("oci://", None, "is not oci://"),
            ("./llm_proxy.wasm", None, "is not oci://"),
            ("https://files.example.com/a.wasm", None, "needs --sha256"),
            ("oci://a/b", Some("sha256:00"), "64 hexadecimal digits"),
            ("oci://a/b", Some(&*sha256.to_uppercase()), "lower case"),
        ] {
            let error = Module::new(url, sha256).unwrap_err();
            assert!(error.contains(reason), "{url}: {error}");
        }
    }
}
