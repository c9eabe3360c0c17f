//! Where a backend lives: the parts of an endpoint URL, and addresses.

use std::fmt;
use std::rc::Rc;

use url::{Host, Url};

use crate::operation::Operation;

/// Scheme, authority and base path of a provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Whether the scheme is `https`.
    pub is_tls: bool,
    /// What stands in `:authority`: the host, and the port where it is not the scheme's own.
    pub authority: Rc<str>,
    /// Where to connect and which name the certificate has.
    pub address: Address,
    /// Under which the operations' suffixes are appended: empty, or `/…` without a trailing `/`.
    pub base_path: String,
}

impl Endpoint {
    /// Reads an endpoint URL; `default_path` is the base path where the URL has none.
    ///
    /// # Errors
    ///
    /// What is wrong with the URL and what is allowed.
    pub fn parse(text: &str, default_path: &str) -> Result<Self, String> {
        let example = "expected a URL such as https://llm.example.com/v1";
        if !text.contains("://") {
            return Err(format!("{text:?} has no scheme; {example}"));
        }
        let url = Url::parse(text).map_err(|error| format!("{text:?}: {error}; {example}"))?;
        let is_tls = match url.scheme() {
            "https" => true,
            "http" => false,
            other => return Err(format!("scheme {other:?} is not http or https")),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err("a URL with a user or password is not allowed; use apiKey".to_owned());
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err("a query or fragment is not allowed; use auth.query or path".to_owned());
        }
        let host = url
            .host()
            .ok_or_else(|| format!("{text:?} has no host; {example}"))?;
        let port = url
            .port_or_known_default()
            .unwrap_or(if is_tls { 443 } else { 80 });
        if port == 0 {
            return Err(format!("{text:?} has port 0; expected 1 to 65535"));
        }
        let authority = match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_string(),
        };
        let base_path = match url.path().trim_end_matches('/') {
            "" => default_path.to_owned(),
            path => base_of(path).trim_end_matches('/').to_owned(),
        };
        Ok(Self {
            is_tls,
            authority: authority.into(),
            address: Address::new(&host, port),
            base_path,
        })
    }
}

/// A path without the operation in which it ends: `/v1/chat/completions` is about `/v1`.
fn base_of(path: &str) -> &str {
    const OPERATIONS: [&str; 6] = [
        "/chat/completions",
        "/completions",
        "/embeddings",
        "/models",
        "/responses",
        "/rerank",
    ];
    let is_operation =
        |suffix: &&&str| path.ends_with(**suffix) && Operation::of(path, None).is_ok();
    match OPERATIONS.iter().find(is_operation) {
        Some(suffix) => path.strip_suffix(suffix).unwrap_or(path),
        None => path,
    }
}

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// A DNS name, or an IP address without brackets.
    pub host: String,
    /// 1 to 65535.
    pub port: u16,
    /// Whether the host is an IP address: it needs no resolving.
    pub is_ip: bool,
}

impl Address {
    /// Reads `host:port`, `1.2.3.4:port` or `[::1]:port`.
    ///
    /// # Errors
    ///
    /// When the text is none of them, or the port is not 1 to 65535.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not host:port, such as 127.0.0.1:8443");
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let port: u16 = port
            .parse()
            .ok()
            .filter(|port| *port > 0)
            .ok_or_else(wrong)?;
        let host = Host::parse(host).map_err(|_| wrong())?;
        Ok(Self::new(&host, port))
    }

    fn new<S: AsRef<str>>(host: &Host<S>, port: u16) -> Self {
        match host {
            Host::Domain(name) => Self {
                host: name.as_ref().to_owned(),
                port,
                is_ip: false,
            },
            Host::Ipv4(ip) => Self {
                host: ip.to_string(),
                port,
                is_ip: true,
            },
            Host::Ipv6(ip) => Self {
                host: ip.to_string(),
                port,
                is_ip: true,
            },
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<String, String> {
        let endpoint = Endpoint::parse(text, "/openai/v1")?;
        let Endpoint {
            is_tls,
            authority,
            address,
            base_path,
        } = endpoint;
        let scheme = if is_tls { "https" } else { "http" };
        Ok(format!("{scheme} {authority} {address} {base_path}"))
    }

    #[test]
    fn an_endpoint_is_taken_apart() {
        for (text, expected) in [
            (
                "https://a.example",
                "https a.example a.example:443 /openai/v1",
            ),
            (
                "https://a.example/",
                "https a.example a.example:443 /openai/v1",
            ),
            ("https://a.example/x/", "https a.example a.example:443 /x"),
            (
                "http://a.example:8000/v1",
                "http a.example:8000 a.example:8000 /v1",
            ),
            (
                "https://a.example:443/v1",
                "https a.example a.example:443 /v1",
            ),
            (
                "https://a.example/v1/chat/completions",
                "https a.example a.example:443 /v1",
            ),
            (
                "https://a.example/api/v3/embeddings/",
                "https a.example a.example:443 /api/v3",
            ),
            (
                "https://a.example/chat/completions",
                "https a.example a.example:443 ",
            ),
            ("http://[::1]:80/v1", "http [::1] [::1]:80 /v1"),
            (
                "http://127.0.0.1:11434",
                "http 127.0.0.1:11434 127.0.0.1:11434 /openai/v1",
            ),
            (
                "https://bücher.example/v1",
                "https xn--bcher-kva.example xn--bcher-kva.example:443 /v1",
            ),
        ] {
            assert_eq!(parse(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn an_endpoint_that_cannot_be_used_says_why() {
        for (text, reason) in [
            ("api.x.ai", "has no scheme"),
            ("localhost:8000", "has no scheme"),
            ("ftp://a", "not http or https"),
            ("https://", "empty host"),
            ("https://u:p@a", "user or password"),
            ("https://a?x=1", "query"),
            ("https://a:0", "port 0"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn addresses_need_a_port() {
        for text in [
            "127.0.0.1:1",
            "[::1]:65535",
            "localhost:80",
            "a.example:443",
        ] {
            assert_eq!(Address::parse(text).unwrap().to_string(), text);
        }
        for text in ["", "a", ":80", "a:0", "a:65536", "a:x", "::1:80", "a b:80"] {
            assert!(Address::parse(text).is_err(), "{text}");
        }
    }
}
