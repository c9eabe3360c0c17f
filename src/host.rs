//! Host names and IP addresses: what a configuration may write for one, and how it goes out.
//!
//! Sources: RFC 3986, section 3.2.2 (host), RFC 1123, section 2.1 (names), and the WHATWG's URL
//! Standard, section 3.5, for names that end in a number.
//!
//! # Differences from them
//!
//! * `_` is allowed in a name: Docker and Kubernetes have such names.
//! * An IPv4 address has four decimal numbers. `127.1` and `0x7f.0.0.1` are refused.
//! * A name with letters outside ASCII is written as punycode, which the native command does. The
//!   module would need 200 KB of Unicode's tables for it, a fifth of its size, and refuses it.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A DNS name or an IP address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// A DNS name: lower case, ASCII, 1 to 253 bytes.
    Name(String),
    /// An IP address.
    Ip(IpAddr),
}

/// A text that is no host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidHost {
    /// Nothing is there.
    Empty,
    /// A character that a name cannot have, an empty or too long part, or half an IP address.
    Malformed,
    /// Letters outside ASCII where they cannot be converted.
    NotAscii,
}

impl Host {
    /// Reads a name, `1.2.3.4` or `[::1]`.
    ///
    /// ```
    /// use llm_proxy::host::Host;
    /// assert_eq!(Host::parse("API.example").unwrap().to_string(), "api.example");
    /// assert_eq!(Host::parse("bücher.example").unwrap().to_string(), "xn--bcher-kva.example");
    /// assert!(Host::parse("api.example\n").is_err());
    /// ```
    ///
    /// # Errors
    ///
    /// When the text is none of them.
    pub fn parse(text: &str) -> Result<Self, InvalidHost> {
        if text.is_empty() {
            return Err(InvalidHost::Empty);
        }
        if let Some(address) = text.strip_prefix('[') {
            let address = address.strip_suffix(']').and_then(|it| it.parse().ok());
            let address: Ipv6Addr = address.ok_or(InvalidHost::Malformed)?;
            return Ok(Self::Ip(address.into()));
        }
        let name = to_ascii(text)?.to_ascii_lowercase();
        // A final dot is the root of all names, and no part of its own.
        let parts = name.strip_suffix('.').unwrap_or(&name);
        let last = parts.rsplit('.').next().unwrap_or_default();
        if last.bytes().all(|b| b.is_ascii_digit()) || last.starts_with("0x") {
            let address: Result<Ipv4Addr, _> = name.parse();
            return address
                .map(|it| Self::Ip(it.into()))
                .map_err(|_| InvalidHost::Malformed);
        }
        let is_part = |part: &str| {
            (1..=MAX_PART_BYTES).contains(&part.len())
                && part
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
        };
        if parts.len() > MAX_NAME_BYTES || !parts.split('.').all(is_part) {
            return Err(InvalidHost::Malformed);
        }
        Ok(Self::Name(name))
    }
}

/// As it stands in an authority: an IPv6 address has brackets.
impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Ip(IpAddr::V4(address)) => address.fmt(f),
            Self::Ip(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

impl fmt::Display for InvalidHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "the host is empty",
            Self::Malformed => "the host is not a DNS name or an IP address",
            Self::NotAscii => {
                "the host has letters outside ASCII; write it as punycode, such as \
                 xn--bcher-kva.example for bücher.example"
            }
        })
    }
}

impl std::error::Error for InvalidHost {}

/// A URL, `host:port`, `*.host` or `host` with its host written as punycode, where it needs that.
/// What is no host is left as it is.
#[cfg(not(target_os = "wasi"))]
pub fn with_ascii_host(text: &str) -> Cow<'_, str> {
    let start = text.find("://").map_or(0, |at| at + "://".len());
    let (before, rest) = text.split_at_checked(start).unwrap_or(("", text));
    let (below, rest) = rest
        .split_at_checked(2)
        .filter(|it| it.0 == "*.")
        .unwrap_or(("", rest));
    let end = rest.find(['/', ':', '?', '#']).unwrap_or(rest.len());
    let (host, after) = rest.split_at_checked(end).unwrap_or((rest, ""));
    match to_ascii(host) {
        Ok(ascii) if ascii != host => Cow::Owned([before, below, &ascii, after].concat()),
        _ => Cow::Borrowed(text),
    }
}

#[cfg(not(target_os = "wasi"))]
fn to_ascii(host: &str) -> Result<Cow<'_, str>, InvalidHost> {
    if host.is_ascii() {
        return Ok(Cow::Borrowed(host));
    }
    let ascii = idna::domain_to_ascii(host).map_err(|_| InvalidHost::Malformed)?;
    Ok(Cow::Owned(ascii))
}

#[cfg(target_os = "wasi")]
fn to_ascii(host: &str) -> Result<Cow<'_, str>, InvalidHost> {
    match host.is_ascii() {
        true => Ok(Cow::Borrowed(host)),
        false => Err(InvalidHost::NotAscii),
    }
}

/// RFC 1035, section 2.3.4.
const MAX_NAME_BYTES: usize = 253;
const MAX_PART_BYTES: usize = 63;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_are_read() {
        for (text, expected) in [
            ("a", "a"),
            ("API.Example", "api.example"),
            ("a.svc.cluster.local.", "a.svc.cluster.local."),
            ("my_server", "my_server"),
            ("4everland.example", "4everland.example"),
            ("127.0.0.1", "127.0.0.1"),
            ("[::1]", "[::1]"),
            ("[2001:DB8::1]", "[2001:db8::1]"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("BÜCHER.example", "xn--bcher-kva.example"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
            (
                &["x".repeat(63), "y".into()].join("."),
                &["x".repeat(63), "y".into()].join("."),
            ),
        ] {
            let host = Host::parse(text).map(|host| host.to_string());
            assert_eq!(host.as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for text in [
            "a b",
            "a\n",
            "\ta",
            "a/b",
            "a:80",
            "a@b",
            "a%41",
            "a..b",
            ".a",
            ".",
            "*.a",
            "a?b",
            "::1",
            "[::1",
            "[a]",
            "1.2.3",
            "1.2.3.4.5",
            "256.1.1.1",
            "0x7f.0.0.1",
            "a.0x1",
            "a.1",
            "1",
            "a\u{0}",
            "a\u{2028}b.example",
            "a b.bücher.example",
            &"x".repeat(64),
            &["x"; 130].join("."),
        ] {
            assert_eq!(Host::parse(text), Err(InvalidHost::Malformed), "{text:?}");
        }
        assert_eq!(Host::parse(""), Err(InvalidHost::Empty));
    }

    #[test]
    fn hosts_are_written_as_punycode_wherever_they_stand() {
        for (text, expected) in [
            (
                "https://bücher.example/v1?q=ü",
                "https://xn--bcher-kva.example/v1?q=ü",
            ),
            ("bücher.example:443", "xn--bcher-kva.example:443"),
            ("*.bücher.example", "*.xn--bcher-kva.example"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("https://a.example/ü", "https://a.example/ü"),
            ("API.example", "API.example"),
            ("", ""),
        ] {
            assert_eq!(with_ascii_host(text), expected, "{text}");
        }
    }
}
