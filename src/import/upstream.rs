//! Where a provider lives and what it gets, in the words of other gateways, as a backend's configuration.

use serde_json::{Map, Value, json};

use super::draft::Draft;
use super::source::Node;
use crate::provider::ProviderType;

/// A provider as other gateways describe it.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// The type, where the format names one that is not just "speaks OpenAI's API".
    pub provider: Option<ProviderType>,
    /// Whether TLS is used.
    pub is_tls: bool,
    /// `host` or `host:port` to connect to; `None`: the type's own.
    pub host: Option<String>,
    /// What the provider sees as its host, where that is another.
    pub authority: Option<String>,
    /// The path.
    pub path: Path,
    /// The name for SNI and the certificate, where the format has one.
    pub server_name: Option<String>,
    /// Whether the certificate is not checked.
    pub is_insecure: bool,
    /// Further keys of the backend's configuration.
    pub config: Map<String, Value>,
    /// The choices that were made.
    pub comments: Vec<String>,
}

/// How a format gives the path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Path {
    /// What operations are appended to, such as `/v1`.
    Base(String),
    /// The path of chat completions.
    Full(String),
    /// The type's own.
    Own,
}

impl Upstream {
    /// A provider at its own host; without a type it is one that speaks OpenAI's API.
    pub fn new(provider: Option<ProviderType>) -> Self {
        Self {
            provider,
            is_tls: true,
            host: None,
            authority: None,
            path: Path::Own,
            server_name: None,
            is_insecure: false,
            config: Map::new(),
            comments: Vec::new(),
        }
    }

    /// Sets a key of the configuration.
    pub fn set(&mut self, key: &str, value: impl Into<Value>) {
        self.config.insert(key.to_owned(), value.into());
    }

    /// Takes scheme, host and path from a URL. `is_full`: its path is that of chat completions; else
    /// operations are appended to it.
    pub fn set_url(&mut self, url: &str, is_full: bool) {
        let (scheme, rest) = url.split_once("://").unwrap_or(("https", url));
        self.is_tls = scheme != "http";
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (host, path) = rest.split_at(end);
        self.host = Some(host.to_owned());
        let path = path.trim_end_matches('/');
        self.path = match (path, is_full) {
            ("", true) => Path::Own,
            (path, true) => Path::Full(path.to_owned()),
            (path, false) => Path::Base(path.to_owned()),
        };
    }

    /// The type and the configuration.
    pub fn finish(self) -> (ProviderType, Map<String, Value>, Vec<String>) {
        let authority = self.authority.as_ref().or(self.host.as_ref());
        let provider = match (self.provider, authority) {
            (Some(provider), _) => provider,
            (None, Some(authority)) => by_host(authority),
            (None, None) => ProviderType::Openai,
        };
        let preset = provider.preset();
        let mut keys = Map::new();
        let (base, full) = match self.path {
            Path::Own => (preset.base_path.to_owned(), None),
            Path::Base(base) => (base.trim_end_matches('/').to_owned(), None),
            Path::Full(path) => match path.strip_suffix(CHAT) {
                Some(base) => (base.to_owned(), None),
                None => (preset.base_path.to_owned(), Some(path)),
            },
        };
        let scheme = if self.is_tls { "https" } else { "http" };
        let origin = authority.map(|authority| {
            let port = if self.is_tls { ":443" } else { ":80" };
            format!("{scheme}://{}", without(authority, port))
        });
        let is_own_origin = origin.is_none() || origin.as_deref() == preset.origin;
        let is_own_base = base == preset.base_path;
        // Azure's paths come from its API version.
        let is_azure = provider == ProviderType::AzureOpenai;
        if !(is_own_origin && is_own_base) {
            let origin = origin.as_deref().or(preset.origin).unwrap_or_default();
            let path = match base.as_str() {
                _ if is_azure || is_own_base => "",
                // An endpoint without a path would get the type's own base.
                "" => CHAT,
                base => base,
            };
            keys.insert("endpoint".to_owned(), format!("{origin}{path}").into());
        }
        if let (Some(host), Some(authority)) = (&self.host, &self.authority) {
            let port = if self.is_tls { 443 } else { 80 };
            let with_port = |host: &str| match has_port(host) {
                true => host.to_owned(),
                false => format!("{host}:{port}"),
            };
            if with_port(host) != with_port(authority) {
                keys.insert("address".to_owned(), with_port(host).into());
            }
        }
        if let Some(path) = full {
            keys.insert("path".to_owned(), path.into());
        }
        let mut tls = Map::new();
        let host_name = authority.map(|it| without_port(it));
        let server_name = self
            .server_name
            .filter(|name| Some(name.as_str()) != host_name);
        if let Some(name) = server_name.filter(|_| self.is_tls) {
            tls.insert("serverName".to_owned(), name.into());
        }
        if self.is_insecure && self.is_tls {
            tls.insert("insecure".to_owned(), true.into());
        }
        if !tls.is_empty() {
            keys.insert("tls".to_owned(), tls.into());
        }
        let mut config = self.config;
        let api_key = config.shift_remove("apiKey");
        let mut all = Map::new();
        all.extend(api_key.map(|key| ("apiKey".to_owned(), key)));
        all.extend(keys);
        all.extend(config);
        (provider, all, self.comments)
    }

    /// Adds the backend, unless there is the same already, and gives its name.
    pub fn add(self, name: &str, draft: &mut Draft) -> String {
        let (provider, config, comments) = self.finish();
        draft.same_or_new(name, provider, config, comments)
    }

    /// Adds the backend under a name that [`Draft::name`] gave.
    pub fn add_as(self, name: &str, draft: &mut Draft) {
        let (provider, config, comments) = self.finish();
        draft.backend(name, provider, config, comments);
    }
}

/// The type whose own host this is, among those that speak OpenAI's API.
fn by_host(authority: &str) -> ProviderType {
    let host = without(without(authority, ":443"), ":80");
    let is_at = |provider: &ProviderType| {
        let origin = provider.preset().origin;
        let own = origin.and_then(|origin| Some(origin.split_once("://")?.1));
        own == Some(host) && provider.dialects().is_none()
    };
    let known = ProviderType::ALL.into_iter().find(is_at);
    known.unwrap_or(ProviderType::OpenaiCompatible)
}

fn without<'t>(text: &'t str, suffix: &str) -> &'t str {
    text.strip_suffix(suffix).unwrap_or(text)
}

fn has_port(host: &str) -> bool {
    without_port(host) != host
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    }
}

/// Text in which variables are written as here. Other gateways, and the shells from which their examples
/// come, write `$NAME` also within a text, and documentation writes `<what-to-put-here>`.
pub fn template(node: &Node<'_>, text: &str) -> String {
    if let Some(name) = text.strip_prefix("os.environ/") {
        return format!("${{{}}}", name.trim());
    }
    let text = placeholders(node, text);
    let mut result = String::new();
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once('$') {
        result.push_str(before);
        let end = |text: &str| {
            let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
            text.find(|c| !is_word(c)).unwrap_or(text.len())
        };
        if let Some(inner) = after.strip_prefix('{') {
            let (inner, behind) = inner.split_once('}').unwrap_or((inner, ""));
            let (name, extra) = inner.split_at(end(inner));
            if !extra.is_empty() {
                node.warn(format!(
                    "\"${{{inner}}}\": only the variable itself is read here; a default is not"
                ));
            }
            result.push_str(&format!("${{{name}}}"));
            rest = behind;
        } else {
            let (name, behind) = after.split_at(end(after));
            let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
            match starts_well {
                true => result.push_str(&format!("${{{name}}}")),
                false => {
                    result.push('$');
                    result.push_str(name);
                }
            }
            rest = behind;
        }
    }
    result.push_str(rest);
    result
}

/// Text in which each `<what-to-put-here>` is a variable.
fn placeholders(node: &Node<'_>, text: &str) -> String {
    let mut result = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('<') {
        let Some((inner, behind)) = after.split_once('>') else {
            break;
        };
        let upper = inner.trim().to_ascii_uppercase();
        let name = upper.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
        let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic());
        result.push_str(before);
        if starts_well {
            node.warn(format!("<{inner}> is a placeholder; it became ${{{name}}}"));
            result.push_str(&format!("${{{name}}}"));
        } else {
            result.push_str(&format!("<{inner}>"));
        }
        rest = behind;
    }
    result.push_str(rest);
    result
}

/// The text of a node with its variables, or `None` where there is none.
pub fn text(node: &Node<'_>) -> Option<String> {
    let text = node.text()?;
    Some(template(node, &text)).filter(|it| !it.trim().is_empty())
}

/// A key as a `${NAME}`. One in the clear becomes a variable, whose name is reported.
pub fn key(node: &Node<'_>, text: &str, backend: &str, draft: &mut Draft) -> Option<String> {
    secret(node, without_bearer(text), &[backend, "API_KEY"], draft)
}

/// Text that authenticates, with its keys as variables.
pub fn secret(node: &Node<'_>, text: &str, words: &[&str], draft: &mut Draft) -> Option<String> {
    let text = text.trim();
    if text.is_empty() {
        return None;
    }
    let text = template(node, text);
    if text.contains("${") {
        return Some(text);
    }
    let name = draft.variable(node, words);
    node.warn(format!(
        "a key in the clear; the result reads it from the environment: export {name}=…"
    ));
    Some(format!("${{{name}}}"))
}

/// A key without the scheme before it.
fn without_bearer(text: &str) -> &str {
    let text = text.trim();
    match text.split_once(' ') {
        Some((scheme, key)) if scheme.eq_ignore_ascii_case("bearer") => key.trim(),
        _ => text,
    }
}

/// The credentials of a map of headers: `Authorization: Bearer …` is the key, others stay headers.
pub fn auth_headers(
    headers: &Node<'_>,
    provider: Option<ProviderType>,
    backend: &str,
    upstream: &mut Upstream,
    draft: &mut Draft,
) {
    let own = provider.and_then(|it| it.preset().key.header());
    let (own_name, own_prefix) = own.unwrap_or(("authorization", "Bearer "));
    for (name, node) in headers.entries() {
        let Some(value) = node.text() else { continue };
        let lower = name.to_ascii_lowercase();
        let is_own = lower == own_name
            && (own_prefix.is_empty() || value.to_ascii_lowercase().starts_with("bearer "));
        if is_own && !upstream.config.contains_key("apiKey") {
            let key = key(&node, &value, backend, draft);
            upstream
                .config
                .extend(key.map(|key| ("apiKey".to_owned(), key.into())));
            continue;
        }
        let value = secret(&node, &value, &[backend, name], draft);
        nested(upstream, &["auth", "header"], name, value);
    }
}

/// Writes a key within mappings of the configuration.
pub fn nested(upstream: &mut Upstream, path: &[&str], key: &str, value: Option<impl Into<Value>>) {
    let Some(value) = value else { return };
    let mut map = &mut upstream.config;
    for part in path {
        let inner = map.entry((*part).to_owned()).or_insert_with(|| json!({}));
        let Value::Object(inner) = inner else { return };
        map = inner;
    }
    map.insert(key.to_owned(), value.into());
}

/// A time as here, `30s` or `500ms`, from one of Go, such as `1m30s`, or of a number of seconds.
pub fn span(node: &Node<'_>) -> Option<String> {
    let text = node.text()?;
    let milliseconds = match text.parse::<f64>() {
        Ok(seconds) => Some(seconds * 1000.0),
        Err(_) => go_duration(&text),
    };
    let limit = 24.0 * 3_600_000.0;
    let Some(milliseconds) = milliseconds.filter(|it| (1.0..=limit).contains(it)) else {
        node.warn(format!("{text:?} is not a time up to 24h; left out"));
        return None;
    };
    Some(shown_span(milliseconds))
}

/// A time in milliseconds as here.
pub fn shown_span(milliseconds: f64) -> String {
    let whole = format!("{milliseconds:.0}");
    match whole.strip_suffix("000") {
        Some(seconds) if !seconds.is_empty() => format!("{seconds}s"),
        _ => format!("{whole}ms"),
    }
}

/// Source: <https://pkg.go.dev/time#ParseDuration>, without units below a millisecond.
fn go_duration(text: &str) -> Option<f64> {
    let mut rest = text.trim();
    let mut sum = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| c.is_ascii_alphabetic())?;
        let (number, behind) = rest.split_at(end);
        let end = behind
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(end);
        let factor = match unit {
            "ms" => 1.0,
            "s" => 1_000.0,
            "m" => 60_000.0,
            "h" => 3_600_000.0,
            _ => return None,
        };
        sum += number.parse::<f64>().ok()? * factor;
        rest = behind;
    }
    Some(sum)
}

const CHAT: &str = "/chat/completions";
