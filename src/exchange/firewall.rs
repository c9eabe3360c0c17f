//! Which headers never pass from a client to a provider, or back.
//!
//! The rule is an absence: whoever wants one of these upstream writes it into the configuration.

use crate::headers::{HeaderEdit, Headers, Text};

/// Whether a client's header stays with us: credentials, what tells about the client's network,
/// and headers by which Envoy or we ourselves are steered.
///
/// `name` is lower case.
pub fn is_withheld_from_provider(name: &[u8]) -> bool {
    match name {
        b"accept-encoding" // The reply may have to be read.
        | b"api-key"
        | b"authorization"
        | b"cookie"
        | b"forwarded"
        | b"openai-organization"
        | b"openai-project"
        | b"proxy-authorization"
        | b"x-api-key"
        | b"x-http-method-override"
        | b"x-real-ip" => true,
        // One look at the first byte spares most names the prefixes.
        [b'x', b'-', ..] => PREFIXES.iter().any(|prefix| name.starts_with(prefix)),
        _ => false,
    }
}

/// Removes what a client must not see of a provider's reply: what would act on the gateway's own
/// host, or belongs to the provider's session.
pub fn withhold_from_client(headers: &Headers<'_>, edits: &mut Vec<HeaderEdit>) {
    for name in ["alt-svc", "set-cookie", "strict-transport-security"] {
        if headers.get(name).is_some() {
            edits.push(HeaderEdit::remove(name));
        }
    }
}

/// Removes what [`is_withheld_from_provider`], but for headers that are set anew.
pub fn withhold_from_provider(
    headers: &Headers<'_>,
    is_set_anew: impl Fn(&[u8]) -> bool,
    edits: &mut Vec<HeaderEdit>,
) {
    let mut last: &[u8] = b"";
    for (name, _) in headers.iter() {
        if is_withheld_from_provider(name) && name != last && !is_set_anew(name) {
            last = name;
            // A name that is not text cannot be one of ours: they are ASCII or start with it.
            edits.extend(
                String::from_utf8(name.to_vec())
                    .ok()
                    .map(|name| HeaderEdit::Remove(Text::Made(name))),
            );
        }
    }
}

/// The client's own credential: the key alone, wherever a client's SDK puts it.
pub fn client_key<'a>(headers: &Headers<'a>) -> Option<&'a str> {
    let bearer = headers.text("authorization").and_then(|value| {
        let (scheme, key) = value.split_once(' ')?;
        scheme
            .eq_ignore_ascii_case("bearer")
            .then(|| key.trim_start())
    });
    let key = bearer
        .or_else(|| headers.text("api-key"))
        .or_else(|| headers.text("x-api-key"))
        .or_else(|| headers.text("x-goog-api-key"));
    key.filter(|key| !key.is_empty())
}

/// Removes by what a provider with a dialect of its own could tell a browser.
pub fn withhold_browser(headers: &Headers<'_>, edits: &mut Vec<HeaderEdit>) {
    let there = BROWSER_HEADERS.iter();
    let there = there.filter(|name| headers.get(name).is_some());
    edits.extend(there.map(|name| HeaderEdit::remove(*name)));
}

/// By these Anthropic tells a browser, which it refuses; Google has no use for them.
const BROWSER_HEADERS: [&str; 6] = [
    "origin",
    "referer",
    "sec-fetch-dest",
    "sec-fetch-mode",
    "sec-fetch-site",
    "sec-fetch-user",
];

/// With `x-goog-user-project`, for one, a client would choose the project that is charged.
const PREFIXES: [&[u8]; 6] = [
    b"x-amz-",
    b"x-envoy-",
    b"x-forwarded-",
    b"x-goog-",
    b"x-llm-proxy-",
    b"x-vertex-",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_and_steering_stay_with_us() {
        for name in [
            "authorization",
            "x-api-key",
            "api-key",
            "x-goog-api-key",
            "cookie",
            "openai-organization",
            "openai-project",
            "x-amz-security-token",
            "x-goog-user-project",
            "x-http-method-override",
            "x-envoy-retry-on",
            "x-forwarded-for",
            "forwarded",
            "x-llm-proxy-backend",
        ] {
            assert!(is_withheld_from_provider(name.as_bytes()), "{name}");
        }
        for name in [
            "content-type",
            "user-agent",
            "x-stainless-lang",
            "openai-beta",
            ":path",
        ] {
            assert!(!is_withheld_from_provider(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn a_client_key_is_found_where_its_sdk_puts_it() {
        let key = |name: &str, value: &str| {
            let headers = Headers::new(vec![(name.as_bytes(), value.as_bytes())]);
            client_key(&headers).map(str::to_owned)
        };
        assert_eq!(key("authorization", "Bearer k").as_deref(), Some("k"));
        assert_eq!(key("authorization", "bearer  k").as_deref(), Some("k"));
        assert_eq!(key("authorization", "Basic k"), None);
        assert_eq!(key("authorization", "Bearer "), None);
        assert_eq!(key("api-key", "k").as_deref(), Some("k"));
        assert_eq!(key("x-api-key", "k").as_deref(), Some("k"));
        assert_eq!(key("x-goog-api-key", "k").as_deref(), Some("k"));
    }
}
