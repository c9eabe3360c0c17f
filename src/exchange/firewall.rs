//! Which headers never pass from a client to a provider, or back.
//!
//! The rule is an absence: whoever wants one of these upstream writes it into the configuration.

use crate::headers::{HeaderEdit, Headers, Text};

/// A client's header that stays with us: credentials, what tells about the client's network, and
/// headers by which Envoy or we ourselves are steered. `None`: it passes.
///
/// `name` is lower case.
pub fn withheld_from_provider(name: &[u8]) -> Option<Text> {
    match name {
        // One look at the first byte spares most names the rest.
        [b'a' | b'c' | b'f' | b'o' | b'p', ..] => one_of(&WITHHELD, name),
        [
            b'x',
            b'-',
            b'a' | b'e' | b'f' | b'g' | b'h' | b'l' | b'r' | b'v',
            ..,
        ] => {
            one_of(&WITHHELD_EXTENSIONS, name).or_else(|| {
                let is_withheld = PREFIXES.iter().any(|prefix| name.starts_with(prefix));
                // A name that is not text is not one of a header.
                let text = || String::from_utf8(name.to_vec()).ok();
                is_withheld.then(text).flatten().map(Text::Made)
            })
        }
        _ => None,
    }
}

/// Removes what a client must not see of a provider's reply: what would act on the gateway's own
/// host, or belongs to the provider's session.
pub fn withhold_from_client(headers: &Headers<'_>, edits: &mut Vec<HeaderEdit>) {
    withhold(headers, edits, |name| one_of(&WITHHELD_FROM_CLIENTS, name));
}

/// Removes what is [`withheld_from_provider`], but for headers that are set anew. `is_translated`:
/// also that by which a provider with a dialect of its own could tell a browser.
pub fn withhold_from_provider(
    headers: &Headers<'_>,
    is_translated: bool,
    is_set_anew: impl Fn(&[u8]) -> bool,
    edits: &mut Vec<HeaderEdit>,
) {
    withhold(headers, edits, |name| {
        let browser = || match name {
            [b'o' | b'r' | b's', ..] if is_translated => one_of(&BROWSER_HEADERS, name),
            _ => None,
        };
        let withheld = withheld_from_provider(name).or_else(browser);
        withheld.filter(|_| !is_set_anew(name))
    });
}

/// Removes every header that has a name to be removed by.
fn withhold(
    headers: &Headers<'_>,
    edits: &mut Vec<HeaderEdit>,
    withheld: impl Fn(&[u8]) -> Option<Text>,
) {
    let mut last: &[u8] = b"";
    for (name, _) in headers.iter() {
        // One edit removes it however often it stands there.
        if name != last
            && let Some(text) = withheld(name)
        {
            last = name;
            edits.push(HeaderEdit::Remove(text));
        }
    }
}

fn one_of(names: &[&'static str], name: &[u8]) -> Option<Text> {
    let known = names.iter().find(|it| it.as_bytes() == name);
    known.map(|name| Text::Known(name))
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

/// What never passes to a provider, but for `x-…`.
const WITHHELD: [&str; 8] = [
    // The reply may have to be read.
    "accept-encoding",
    "api-key",
    "authorization",
    "cookie",
    "forwarded",
    "openai-organization",
    "openai-project",
    "proxy-authorization",
];

/// The same of what begins with `x-`. Of the [`PREFIXES`] only what Envoy adds to every request
/// is named.
const WITHHELD_EXTENSIONS: [&str; 4] = [
    "x-forwarded-proto",
    "x-api-key",
    "x-http-method-override",
    "x-real-ip",
];

/// What never passes to a client.
const WITHHELD_FROM_CLIENTS: [&str; 3] = ["alt-svc", "set-cookie", "strict-transport-security"];

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

    fn withheld(name: &str) -> Option<String> {
        withheld_from_provider(name.as_bytes()).map(|text| text.as_str().to_owned())
    }

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
            assert_eq!(withheld(name), Some(name.into()), "{name}");
        }
        for name in [
            "content-type",
            "user-agent",
            "x-stainless-lang",
            "openai-beta",
            ":path",
        ] {
            assert_eq!(withheld(name), None, "{name}");
        }
    }

    #[test]
    fn no_table_has_a_name_that_is_not_looked_up() {
        let names = WITHHELD.iter().chain(&WITHHELD_EXTENSIONS);
        for name in names {
            assert_eq!(withheld(name), Some((*name).into()), "{name}");
        }
        for prefix in PREFIXES {
            let name = [std::str::from_utf8(prefix).unwrap(), "x"].concat();
            assert_eq!(withheld(&name), Some(name.clone()));
        }
        for name in BROWSER_HEADERS {
            for is_translated in [false, true] {
                let headers = Headers::new(vec![(name.as_bytes(), b"x"), (name.as_bytes(), b"y")]);
                let mut edits = Vec::new();
                withhold_from_provider(&headers, is_translated, |_| false, &mut edits);
                let expected = is_translated.then(|| HeaderEdit::remove(name));
                assert_eq!(edits, Vec::from_iter(expected), "{name}");
            }
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
