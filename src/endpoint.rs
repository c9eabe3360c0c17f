//! Where a backend lives: the parts of an endpoint URL, and addresses.

use std::fmt;
use std::rc::Rc;

use crate::host::Host;
use crate::operation::Operation;
use crate::operation::table::Definition;

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
        let wrong = |why: &dyn fmt::Display| format!("{text:?}: {why}; {example}");
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(format!("{text:?} has no scheme; {example}"));
        };
        let is_tls = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            other => return Err(format!("scheme {other:?} is not http or https")),
        };
        if rest.contains(['?', '#']) {
            return Err("a query or fragment is not allowed; use auth.query or path".to_owned());
        }
        let (authority, path) = match rest.find('/').and_then(|at| rest.split_at_checked(at)) {
            Some((authority, path)) => (authority, path),
            None => (rest, ""),
        };
        if authority.contains('@') {
            return Err("a URL with a user or password is not allowed; use apiKey".to_owned());
        }
        // The colons of an IPv6 address stand within brackets.
        let port = authority
            .rsplit_once(':')
            .filter(|(_, port)| !port.ends_with(']'));
        let (host, port) = match port {
            Some((host, port)) => (host, Some(parse_port(port).map_err(|why| wrong(&why))?)),
            None => (authority, None),
        };
        let host = Host::parse(host).map_err(|why| wrong(&why))?;
        let known_port = if is_tls { 443 } else { 80 };
        let authority = match port.filter(|port| *port != known_port) {
            Some(port) => format!("{host}:{port}"),
            None => host.to_string(),
        };
        check_path(path).map_err(|why| wrong(&why))?;
        let base_path = match path.trim_end_matches('/') {
            "" => default_path.to_owned(),
            path => base_of(path).trim_end_matches('/').to_owned(),
        };
        Ok(Self {
            is_tls,
            authority: authority.into(),
            address: Address::new(&host, port.unwrap_or(known_port)),
            base_path,
        })
    }
}

/// Checks a path, without a query, as it goes into `:path`.
///
/// Source: RFC 3986, section 3.3 (`path-abempty`). Parts `.` and `..`, also escaped, are refused:
/// servers and Envoy resolve them differently.
///
/// # Errors
///
/// What is wrong with the path, and the fix.
pub fn check_path(path: &str) -> Result<(), String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/-._~%!$&'()*+,;=:@".contains(c);
    if let Some(c) = path.chars().find(|c| !is_plain(*c)) {
        let escaped: String = c.to_string().bytes().map(|b| format!("%{b:02X}")).collect();
        return Err(format!(
            "{c:?} cannot stand in a path; write it as {escaped}"
        ));
    }
    let mut escapes = path.split('%').skip(1);
    let is_escape = |rest: &str| {
        let digits = rest.as_bytes().get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    if !escapes.all(is_escape) {
        return Err("a '%' in a path is followed by two hexadecimal digits; write %25".to_owned());
    }
    let is_dots = |part: &str| {
        let part = part.to_ascii_lowercase().replace("%2e", ".");
        part == "." || part == ".."
    };
    if path.split('/').any(is_dots) {
        return Err("\".\" and \"..\" cannot be parts of a path; write where it leads".to_owned());
    }
    Ok(())
}

fn parse_port(text: &str) -> Result<u16, String> {
    // A sign would be taken, too.
    let digits = Some(text).filter(|it| it.bytes().all(|b| b.is_ascii_digit()));
    let port = digits.and_then(|digits| digits.parse().ok());
    port.filter(|port| *port > 0)
        .ok_or_else(|| format!("port {text:?} is not from 1 to 65535"))
}

/// A path without the operation in which it ends: `/v1/chat/completions` is about `/v1`.
fn base_of(path: &str) -> &str {
    let found = Definition::at_end_of(path).filter(|_| Operation::of(path, None).is_ok());
    let end = found.and_then(|it| path.len().checked_sub(it.path_len()));
    end.and_then(|end| path.get(..end)).unwrap_or(path)
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
        let port = parse_port(port).map_err(|why| format!("{}: {why}", wrong()))?;
        let host = Host::parse(host).map_err(|why| format!("{}: {why}", wrong()))?;
        Ok(Self::new(&host, port))
    }

    fn new(host: &Host, port: u16) -> Self {
        match host {
            Host::Name(name) => Self {
                host: name.clone(),
                port,
                is_ip: false,
            },
            Host::Ip(address) => Self {
                host: address.to_string(),
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
    use crate::operation::Kind;

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
    fn an_endpoint_is_cut_at_the_operation_in_which_it_ends() {
        let calls = Definition::all().filter(|it| it.kind != Kind::Other);
        for call in calls.filter(|it| it.name != "images") {
            let path = call.path.trim_end_matches("/*");
            let text = format!("https://a.example/x/v1{path}");
            let found = parse(&text).unwrap();
            assert!(found.ends_with(":443 /x/v1"), "{text}: {found}");
        }
        for (path, base) in [
            ("/v1/fim/completions", "/v1"),
            ("/v1/messages", "/v1"),
            ("/v1/audio/speech/", "/v1"),
            ("/v1/images", "/v1/images"),
            ("/v1/my-completions", "/v1/my-completions"),
            ("/openai", "/openai"),
            ("/v1/responses/x", "/v1/responses/x"),
        ] {
            let text = format!("https://a.example{path}");
            let found = parse(&text).unwrap();
            assert_eq!(found, format!("https a.example a.example:443 {base}"));
        }
    }

    #[test]
    fn an_endpoint_that_cannot_be_used_says_why() {
        for (text, reason) in [
            ("api.x.ai", "has no scheme"),
            ("localhost:8000", "has no scheme"),
            ("ftp://a", "not http or https"),
            ("https://", "host is empty"),
            ("https://u:p@a", "user or password"),
            ("https://a?x=1", "query"),
            ("https://a:0", "port \"0\" is not from 1 to 65535"),
            ("https://a:", "port \"\" is not"),
            ("https://a:+1", "port \"+1\" is not"),
            ("https://a:65536/v1", "port \"65536\" is not"),
            ("https://a\n.example", "not a DNS name or an IP address"),
            (
                "https://a/v1\r\nx-evil: 1",
                "'\\r' cannot stand in a path; write it as %0D",
            ),
            ("https://a/v 1", "write it as %20"),
            ("https://a/ü", "write it as %C3%BC"),
            ("https://a/100%", "write %25"),
            ("https://a/v1/../v2", "\"..\" cannot be parts"),
            ("https://a/%2E%2e/v2", "\"..\" cannot be parts"),
            ("https://[::1", "not a DNS name or an IP address"),
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
