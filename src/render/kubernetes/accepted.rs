//! What the API of a cluster accepts, where stock Envoy accepts more.
//!
//! Such a value is refused here, with its place, and not by `kubectl apply` after half of the
//! resources were created. `e2e/test_manifests.py` compares these rules with the API server's own
//! packages, and the targets of the control planes with Istio's validation.
//!
//! Source: the CustomResourceDefinitions of Gateway API 1.4 and 1.6, Istio 1.29 and 1.32, Envoy
//! Gateway 1.7 and 1.9, and
//! <https://kubernetes.io/docs/concepts/overview/working-with-objects/names/>, read 2026-11-28.

use std::net::{IpAddr, Ipv6Addr};

use url::Url;

use super::super::Source;
use super::place;
use crate::config::{ConfigErrors, KeyPath};

/// Notes what Envoy Gateway's resources cannot have.
pub fn check_for_envoy_gateway(source: &Source, errors: &mut ConfigErrors) {
    check_paths(source, "`render istio` and `render envoy` can", errors);
    check_headers(source, "`render istio` and `render envoy` can", errors);
    for backend in source.backends() {
        let at = place(source, backend).key("config");
        check_hosts(source, backend, errors);
        let Some(name) = &backend.tls.server_name else {
            continue;
        };
        if let Err(reason) = host(&name.to_ascii_lowercase()) {
            let message = format!("{name:?} is no hostname for a BackendTLSPolicy: {reason}");
            errors.push(&at.key("tls").key("serverName"), message);
        }
    }
    check_variables(source, errors);
}

/// Notes what an `HTTPRoute` of Istio's cannot have; a `VirtualService` can.
pub fn check_for_gateway_api(source: &Source, errors: &mut ConfigErrors) {
    check_paths(source, "`render istio` without --gateway-api can", errors);
    check_headers(source, "`render istio` without --gateway-api can", errors);
    for backend in source.backends() {
        let host = &backend.endpoint.address.host;
        if host.parse::<Ipv6Addr>().is_ok() {
            let message = format!(
                "an HTTPRoute cannot rewrite the host to the IPv6 address {host}; `render istio` \
                 without --gateway-api can"
            );
            let at = place(source, backend).key("config").key("endpoint");
            errors.push(&at, message);
        }
    }
}

fn check_paths(source: &Source, remedy: &str, errors: &mut ConfigErrors) {
    let routes = source.gateway().routes.iter().enumerate();
    for (index, route) in routes {
        if let Err(reason) = path(&route.path) {
            let at = KeyPath::root().key("routes").index(index).key("path");
            let message = format!("an HTTPRoute cannot match this path, since {reason}; {remedy}");
            errors.push(&at, message);
        }
    }
}

fn check_headers(source: &Source, remedy: &str, errors: &mut ConfigErrors) {
    for backend in source.backends() {
        let count = source.route_headers(backend).len();
        if count > MAX_SET_HEADERS {
            let message = format!(
                "the key and the headers are {count}, and an HTTPRoute sets at most \
                 {MAX_SET_HEADERS}; {remedy}"
            );
            let at = place(source, backend).key("config").key("headers");
            errors.push(&at, message);
        }
    }
}

/// Notes what Istio's resources cannot have, where the module is a plugin of Istio's API.
pub fn check_for_istio(source: &Source, errors: &mut ConfigErrors) {
    for backend in source.backends() {
        check_hosts(source, backend, errors);
    }
    let count = source.variable_names().len();
    if count > MAX_VARIABLES {
        let message = format!(
            "the backends read {count} variables, and a WasmPlugin passes at most {MAX_VARIABLES}; \
             --hold passes more"
        );
        errors.push(&KeyPath::root().key("backends"), message);
    }
    check_variables(source, errors);
}

/// An IP address in the one form that every pattern of a CustomResourceDefinition matches: IPv6 with
/// all its groups, and IPv4 where IPv6 only wraps it.
pub fn ip_address(text: &str) -> String {
    match text.parse::<IpAddr>().map(|ip| ip.to_canonical()) {
        Ok(IpAddr::V6(ip)) => in_full(ip),
        Ok(IpAddr::V4(ip)) => ip.to_string(),
        Err(_) => text.to_owned(),
    }
}

/// The name of a namespace, or of a gateway: an RFC 1123 label.
///
/// # Errors
///
/// What a label is, as in all functions here that read an option.
pub fn label_name(text: &str) -> Result<String, String> {
    match is_label(text) {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "expected 1 to {MAX_LABEL_BYTES} lower-case letters, digits and '-', with a letter or digit at \
             both ends"
        )),
    }
}

/// The name of a resource that is there already: an RFC 1123 subdomain.
pub fn resource_name(text: &str) -> Result<String, String> {
    match is_subdomain(text) {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "expected 1 to {MAX_SUBDOMAIN_BYTES} lower-case letters, digits, '-' and '.', with a letter or \
             digit at both ends of each part"
        )),
    }
}

/// A Gateway of Istio's: `[NAMESPACE/]NAME`.
pub fn istio_gateway(text: &str) -> Result<String, String> {
    let (namespace, name) = match text.split_once('/') {
        Some((namespace, name)) => (Some(namespace), name),
        None => (None, text),
    };
    if let Some(namespace) = namespace {
        label_name(namespace).map_err(|reason| format!("the namespace: {reason}"))?;
    }
    if namespace.is_none() && name == "mesh" {
        return Err("\"mesh\" is Istio's name for all sidecars; use --sidecar".to_owned());
    }
    resource_name(name)?;
    Ok(text.to_owned())
}

/// A label of pods: `KEY=VALUE`.
///
/// Source: <https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set>.
pub fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text
        .split_once('=')
        .ok_or_else(|| format!("{text:?} is not KEY=VALUE"))?;
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    if prefix.is_some_and(|prefix| !is_subdomain(prefix)) {
        return Err(format!("{key:?} has a prefix that is no DNS name"));
    }
    let expected = format!(
        "1 to {MAX_LABEL_BYTES} letters, digits, '-', '_' and '.', with a letter or digit at both ends"
    );
    if !is_label_value(name) {
        return Err(format!("{key:?} is no key of a label; expected {expected}"));
    }
    if !value.is_empty() && !is_label_value(value) {
        return Err(format!(
            "{value:?} is no value of a label; expected {expected}"
        ));
    }
    Ok((key.to_owned(), value.to_owned()))
}

/// What is wrong with a reference to an image, without its scheme: `REGISTRY/IMAGE[:TAG][@DIGEST]`.
///
/// Source: <https://pkg.go.dev/github.com/distribution/reference>, the grammar at its head.
pub fn image(text: &str) -> Result<(), String> {
    let (text, digest) = match text.split_once('@') {
        Some((text, digest)) => (text, Some(digest)),
        None => (text, None),
    };
    let is_hex = |digits: &str| {
        digits.len() == 64
            && digits
                .bytes()
                .all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'))
    };
    let is_digest = |digest: &str| digest.strip_prefix("sha256:").is_some_and(is_hex);
    if digest.is_some_and(|digest| !is_digest(digest)) {
        return Err("a digest is sha256: and 64 hexadecimal digits in lower case".to_owned());
    }
    let (registry, rest) = text
        .split_once('/')
        .ok_or_else(|| "expected REGISTRY/IMAGE:TAG".to_owned())?;
    let (domain, port) = match registry.split_once(':') {
        Some((domain, port)) => (domain, Some(port)),
        None => (registry, None),
    };
    if host(domain).is_err() || port.is_some_and(|port| !is_port(port)) {
        return Err(format!(
            "{registry:?} is no registry, such as registry.example.com:5000"
        ));
    }
    let (path, tag) = match rest.split_once(':') {
        Some((path, tag)) => (path, Some(tag)),
        None => (rest, None),
    };
    if !path.split('/').all(is_image_part) {
        return Err(format!(
            "{path:?} is no image; expected lower-case letters and digits, between them '-', '_', '.' and '/'"
        ));
    }
    if tag.is_some_and(|tag| !is_tag(tag)) {
        return Err("a tag is 1 to 128 letters, digits, '_', '-' and '.', and begins with one of the first \
                    three"
            .to_owned());
    }
    Ok(())
}

/// What is wrong with the URL of a file.
pub fn download(text: &str) -> Result<(), String> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("a URL with a user or password would stand in the manifest".to_owned());
    }
    // The parser takes a path for a host where there is none, and escapes what must not be there.
    if url.as_str() != text && url.as_str().strip_suffix('/') != Some(text) {
        return Err("expected a URL such as https://files.example.com/llm_proxy.wasm".to_owned());
    }
    if host(url.host_str().unwrap_or_default()).is_err() || url.port() == Some(0) {
        return Err("its host or its port is none that a cluster takes".to_owned());
    }
    Ok(())
}

/// Notes hosts that no resource can have: of the endpoint, and of the address, if there is one.
fn check_hosts(source: &Source, backend: &crate::backend::Backend, errors: &mut ConfigErrors) {
    let at = place(source, backend).key("config");
    let named = [
        ("endpoint", Some(&backend.endpoint.address)),
        ("address", backend.address.as_ref()),
    ];
    for (key, address) in named {
        let Some(address) = address.filter(|it| !it.is_ip) else {
            continue;
        };
        if let Err(reason) = host(&address.host) {
            let message = format!(
                "{:?} is no host for a cluster: {reason}; `render envoy` can reach it",
                address.host
            );
            errors.push(&at.key(key), message);
        }
    }
}

/// Notes variables that no key of a Secret can have the name of.
fn check_variables(source: &Source, errors: &mut ConfigErrors) {
    for name in source.variable_names() {
        if name.len() > MAX_SUBDOMAIN_BYTES {
            let message = format!(
                "the variable {name} has {} bytes, and a key of a Secret at most {MAX_SUBDOMAIN_BYTES}",
                name.len()
            );
            errors.push(&KeyPath::root().key("backends"), message);
        }
    }
}

fn host(text: &str) -> Result<(), String> {
    if text.len() > MAX_SUBDOMAIN_BYTES {
        return Err(format!("it has more than {MAX_SUBDOMAIN_BYTES} bytes"));
    }
    if text.ends_with('.') {
        return Err("it ends with a dot".to_owned());
    }
    match text.split('.').all(is_label) {
        true => Ok(()),
        false => Err(format!(
            "expected parts of 1 to {MAX_LABEL_BYTES} lower-case letters, digits and '-', with a letter or \
             digit at both ends"
        )),
    }
}

/// The value of an `HTTPPathMatch` of type `PathPrefix`.
fn path(path: &str) -> Result<(), String> {
    if path.len() > MAX_PATH_BYTES {
        return Err(format!(
            "it has {} bytes, and {MAX_PATH_BYTES} are allowed",
            path.len()
        ));
    }
    for wrong in ["//", "%2f", "%2F"] {
        if path.contains(wrong) {
            return Err(format!("it has {wrong:?}"));
        }
    }
    let mut rest = path;
    while let Some(c) = rest.chars().next() {
        let length = match c {
            '%' if has_two_digits(rest) => 3,
            'a'..='z' | 'A'..='Z' | '0'..='9' => 1,
            _ if PATH_SIGNS.contains(c) => 1,
            _ => return Err(format!("it has {c:?}")),
        };
        rest = rest.get(length..).unwrap_or_default();
    }
    Ok(())
}

fn has_two_digits(escape: &str) -> bool {
    let digits = escape.get(1..3).unwrap_or_default();
    digits.len() == 2 && digits.bytes().all(|c| c.is_ascii_hexdigit())
}

fn in_full(ip: Ipv6Addr) -> String {
    let groups: Vec<String> = ip.segments().iter().map(|it| format!("{it:x}")).collect();
    groups.join(":")
}

fn is_label(text: &str) -> bool {
    let allowed = |c: u8| matches!(c, b'a'..=b'z' | b'0'..=b'9' | b'-');
    (1..=MAX_LABEL_BYTES).contains(&text.len())
        && text.bytes().all(allowed)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

fn is_subdomain(text: &str) -> bool {
    // Its parts may be longer than a label.
    let is_part = |part: &str| {
        let allowed = |c: u8| matches!(c, b'a'..=b'z' | b'0'..=b'9' | b'-');
        !part.is_empty()
            && part.bytes().all(allowed)
            && !part.starts_with('-')
            && !part.ends_with('-')
    };
    text.len() <= MAX_SUBDOMAIN_BYTES && text.split('.').all(is_part)
}

fn is_label_value(text: &str) -> bool {
    let allowed = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.');
    let is_end = |c: Option<u8>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    text.len() <= MAX_LABEL_BYTES
        && text.bytes().all(allowed)
        && is_end(text.bytes().next())
        && is_end(text.bytes().last())
}

fn is_port(text: &str) -> bool {
    text.parse::<u16>().is_ok_and(|port| port > 0)
}

/// Letters and digits, between them one '.', one or two '_', or any number of '-'.
fn is_image_part(part: &str) -> bool {
    let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_end = |c: Option<char>| c.is_some_and(is_word);
    let mut separators = part.split(is_word).filter(|it| !it.is_empty());
    is_end(part.chars().next())
        && is_end(part.chars().last())
        && separators.all(|it| matches!(it, "." | "_" | "__") || it.bytes().all(|c| c == b'-'))
}

fn is_tag(tag: &str) -> bool {
    let allowed = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'-' | b'.');
    (1..=128).contains(&tag.len()) && tag.bytes().all(allowed) && !tag.starts_with(['-', '.'])
}

/// The longest RFC 1123 label.
pub const MAX_LABEL_BYTES: usize = 63;

/// The longest RFC 1123 subdomain, and the longest key of a Secret.
const MAX_SUBDOMAIN_BYTES: usize = 253;

/// Of an `HTTPPathMatch`.
const MAX_PATH_BYTES: usize = 1024;

/// The headers that a filter of an `HTTPRoute` sets.
const MAX_SET_HEADERS: usize = 16;

/// Of a `WasmPlugin`'s `vmConfig.env`.
const MAX_VARIABLES: usize = 256;

/// Besides letters, digits and escapes.
const PATH_SIGNS: &str = "/-._~!$&'()*+,;=:@";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_what_an_http_path_match_takes() {
        for good in [
            "",
            "/",
            "/v1",
            "/a~b",
            "/a;b=c",
            "/a%20b",
            "/a'b(c)!$&+,*:@",
        ] {
            assert_eq!(path(good), Ok(()), "{good}");
        }
        for (bad, reason) in [
            ("/a b", "' '"),
            ("/ä", "'ä'"),
            ("/a//b", "\"//\""),
            ("/a%2fb", "\"%2f\""),
            ("/a%2Fb", "\"%2F\""),
            ("/%zz", "'%'"),
            ("/%2", "'%'"),
            ("/%ä", "'%'"),
            ("/{a}", "'{'"),
        ] {
            let error = path(bad).unwrap_err();
            assert!(error.contains(reason), "{bad}: {error}");
        }
        assert_eq!(path(&"x".repeat(1024)), Ok(()));
        assert!(path(&"x".repeat(1025)).is_err());
    }

    #[test]
    fn a_host_is_what_a_resource_takes() {
        for good in ["a", "llm.example.com", "xn--bcher-kva.example", "1.2.3"] {
            assert_eq!(host(good), Ok(()), "{good}");
        }
        let long = "a".repeat(64);
        for bad in [
            "", "a_b", "a.", ".a", "a..b", "-a", "a-.b", "*.a", "A", &long,
        ] {
            assert!(host(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_ip_address_has_one_form() {
        for (text, expected) in [
            ("10.0.0.1", "10.0.0.1"),
            ("::ffff:10.0.0.1", "10.0.0.1"),
            ("2001:db8::1", "2001:db8:0:0:0:0:0:1"),
            ("::", "0:0:0:0:0:0:0:0"),
        ] {
            assert_eq!(ip_address(text), expected);
        }
    }

    #[test]
    fn a_label_has_a_key_and_a_value() {
        for good in ["a=b", "a=", "a.b/c=D_e.f", "app.kubernetes.io/name=x"] {
            let (key, value) = label(good).unwrap();
            assert_eq!(format!("{key}={value}"), good);
        }
        for bad in [
            "a", "=a", "a b=c", "a=-b", "a=b-", "A/b=c", "a/b/c=d", "/b=c", "a/=c", "a=ä",
        ] {
            assert!(label(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_gateway_of_istio_may_have_a_namespace() {
        for good in ["shared", "istio-system/shared", "a/mesh", "a.b"] {
            assert_eq!(istio_gateway(good).unwrap(), good);
        }
        for bad in ["", "mesh", "A", "a/", "/a", "a/b/c", "a.b/c", "a_b"] {
            assert!(istio_gateway(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_image_has_a_registry() {
        let digest = format!("registry.example.com/a@sha256:{}", "0".repeat(64));
        for good in [
            "registry.example.com/a",
            "r:5000/a/b-c_d.e__f:1.0",
            "r/a--b:_1",
            &digest,
        ] {
            assert_eq!(image(good), Ok(()), "{good}");
        }
        for bad in [
            "a",
            "/a:1",
            "R.example/a:1",
            "r/A:1",
            "r/a b:1",
            "r/a:",
            "r/a:-1",
            "r/a@sha256:12",
            "r:x/a",
            "r:0/a",
            "r/a//b",
            "r/a___b",
            "r/a._b",
            "r/-a",
        ] {
            assert!(image(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_download_has_a_host() {
        for good in [
            "https://files.example.com/a.wasm",
            "https://f:8443/a?b=c",
            "http://10.0.0.1/a",
        ] {
            assert_eq!(download(good), Ok(()), "{good}");
        }
        for bad in [
            "https://",
            "https:///a",
            "https://f/a b",
            "https://a_b/a",
            "https://u:p@f/a",
            "http://f:0/a",
        ] {
            assert!(download(bad).is_err(), "{bad}");
        }
    }
}
