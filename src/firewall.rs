//! What never passes from a client to a provider, or back: headers, trailers, query parameters.
//!
//! The rule is an absence: whoever wants one of these upstream writes it into the configuration.
//! Which names they are is [`names`].

pub mod names;

use self::names::{Applies, Header, Reason, fold};
use crate::headers::{HeaderEdit, Headers, Text};
use crate::percent;

/// Removes what a client must not see in the headers of a provider's reply.
pub fn withhold_from_client(headers: &Headers<'_>, edits: &mut Vec<HeaderEdit>) {
    withhold(headers, edits, |name| !passes_to_client(name));
}

/// Removes what a client must not see in the trailers of a provider's reply.
pub fn withhold_trailers_from_client(trailers: &Headers<'_>, edits: &mut Vec<HeaderEdit>) {
    withhold(trailers, edits, |name| {
        !passes_to_client(name) || never_in_trailers(name)
    });
}

/// Whether a header of a provider's reply is for clients.
pub fn passes_to_client(name: &[u8]) -> bool {
    let applies = names::header(name).map(|row| row.applies);
    !matches!(applies, Some(Applies::Both | Applies::Replies))
}

/// What the configuration of a backend says of clients' headers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderRules {
    /// Whether those of a [trace](Reason::Trace) pass.
    pub traces: bool,
    /// Names that do not pass, lower case; one with a `*` at its end stands for all that begin like it.
    pub removed: Vec<String>,
}

impl HeaderRules {
    /// Whether a request's header that the configuration does not set passes. `name` is lower case.
    pub fn passes(&self, name: &[u8], is_translated: bool) -> bool {
        let row = names::header(name);
        let is_trace = self.traces && row.is_some_and(|row| row.reason == Reason::Trace);
        let is_removed = |pattern: &String| match pattern.strip_suffix('*') {
            Some(stem) => {
                let start = name.get(..stem.len());
                start.is_some_and(|start| names::is_same(stem.as_bytes(), start))
            }
            None => names::is_same(pattern.as_bytes(), name),
        };
        (is_trace || passes_to_provider(row, is_translated)) && !self.removed.iter().any(is_removed)
    }
}

/// Removes what must not reach a provider from a request's headers, but for what the configuration
/// sets: that is `configured`, in lower case. `is_translated`: also what tells a browser.
pub fn withhold_from_provider<'n>(
    headers: &Headers<'_>,
    is_translated: bool,
    rules: &HeaderRules,
    configured: impl Iterator<Item = &'n str> + Clone,
    edits: &mut Vec<HeaderEdit>,
) {
    withhold(headers, edits, |name| {
        let mut same = configured
            .clone()
            .filter(|it| names::is_same(it.as_bytes(), name));
        match same.next() {
            // Set anew, it has one value. Another spelling would stand beside it.
            Some(it) => it.as_bytes() != name,
            None => !rules.passes(name, is_translated),
        }
    });
}

/// Removes what must not reach a provider from a request's trailers: many servers read them as
/// headers, and nothing of the configuration stands there.
pub fn withhold_trailers_from_provider<'n>(
    trailers: &Headers<'_>,
    rules: &HeaderRules,
    configured: impl Iterator<Item = &'n str> + Clone,
    edits: &mut Vec<HeaderEdit>,
) {
    withhold(trailers, edits, |name| {
        let is_configured = configured
            .clone()
            .any(|it| names::is_same(it.as_bytes(), name));
        is_configured || never_in_trailers(name) || !rules.passes(name, true)
    });
}

fn passes_to_provider(row: Option<&Header>, is_translated: bool) -> bool {
    match row.map(|row| row.applies) {
        None | Some(Applies::Replies) => true,
        Some(Applies::Both | Applies::Requests) => false,
        Some(Applies::TranslatedRequests) => !is_translated,
    }
}

/// Whether a field is about framing, routing or the form of a body, which no trailer may change.
///
/// <https://www.rfc-editor.org/rfc/rfc9110#section-6.5.1>
fn never_in_trailers(name: &[u8]) -> bool {
    let is = |it: &&str| names::is_same(it.as_bytes(), name);
    name.starts_with(b":") || name.starts_with(b"content-") || NEVER_IN_TRAILERS.iter().any(is)
}

/// Removes every header that is to be removed.
fn withhold(
    headers: &Headers<'_>,
    edits: &mut Vec<HeaderEdit>,
    is_withheld: impl Fn(&[u8]) -> bool,
) {
    let mut last: &[u8] = b"";
    for (name, _) in headers.iter() {
        // One edit removes it however often it stands there.
        if name != last && is_withheld(name) {
            last = name;
            // A name that is not text is not one of a header.
            let text = String::from_utf8(name.to_vec());
            edits.extend(text.ok().map(|name| HeaderEdit::Remove(Text::Made(name))));
        }
    }
}

/// The pairs of a client's query that may stand in a path with `written` pairs: nothing that the
/// table withholds, and none with the name of a pair that the configuration writes.
///
/// Names are compared as servers read them: decoded, whatever their case, with or without the
/// brackets of a list, and at a `;` as well as at a `&`, since both have separated pairs
/// (<https://www.w3.org/TR/1999/REC-html401-19991224/appendix/notes.html#h-B.2.2>). `may_name_model`:
/// a model in the query is the provider's business.
pub fn client_query<'q>(
    query: &'q str,
    written: &[&str],
    may_name_model: bool,
) -> impl Iterator<Item = &'q str> {
    let taken: Vec<Vec<u8>> = written
        .iter()
        .flat_map(|query| pairs(query))
        .map(parameter_name)
        .collect();
    let passes = move |pair: &str| {
        let name = parameter_name(pair);
        let reason = names::parameter(&name).map(|row| row.reason);
        let is_withheld = match reason {
            None => false,
            Some(Reason::Model) => !may_name_model,
            Some(_) => true,
        };
        !is_withheld && !taken.contains(&name)
    };
    query
        .split('&')
        .filter(move |pair| !pair.is_empty() && pairs(pair).all(&passes))
}

/// The pairs of a query, as the servers find them that find the most.
fn pairs(query: &str) -> impl Iterator<Item = &str> {
    query.split(['&', ';'])
}

/// The name of a pair as it is compared.
fn parameter_name(pair: &str) -> Vec<u8> {
    let name = pair.split('=').next().unwrap_or_default();
    let decoded = percent::decode(name.replace('+', " ").as_bytes());
    // `a[]=1` and `a[b]=1` are about `a`; what is blank before it is not.
    let whole = decoded.trim_ascii();
    let end = whole.iter().skip(1).position(|&byte| byte == b'[');
    let name = end.and_then(|end| whole.get(..=end)).unwrap_or(whole);
    name.iter().copied().map(fold).collect()
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

/// Fields that have no place in trailers, besides `content-…`.
const NEVER_IN_TRAILERS: [&str; 9] = [
    "connection",
    "expect",
    "host",
    "max-forwards",
    "range",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn headers<'a>(names: &[&'a str]) -> Headers<'a> {
        Headers::new(
            names
                .iter()
                .map(|name| (name.as_bytes(), &b"x"[..]))
                .collect(),
        )
    }

    /// The names that are removed.
    fn removed(edits: &[HeaderEdit]) -> Vec<&str> {
        let mut names = Vec::new();
        for edit in edits {
            match edit {
                HeaderEdit::Remove(name) => names.push(name.as_str()),
                HeaderEdit::Set(..) => panic!("{edit:?}"),
            }
        }
        names
    }

    #[test]
    fn credentials_and_steering_do_not_reach_a_provider() {
        let withheld = [
            "authorization",
            "api_key",
            "x-amz-security-token",
            "x_goog_user_project",
            "x-http-method-override",
            "x-envoy-retry-on",
            "x-llm-proxy-backend",
            "cf-connecting-ip",
        ];
        let passing = [
            "content-type",
            "user-agent",
            "x-stainless-lang",
            ":path",
            "origin",
        ];
        let mut edits = Vec::new();
        let all = headers(&[&withheld[..], &passing[..]].concat());
        withhold_from_provider(
            &all,
            false,
            &HeaderRules::default(),
            std::iter::empty(),
            &mut edits,
        );
        assert_eq!(removed(&edits), withheld);
        edits.clear();
        let all = headers(&["origin", "sec-fetch-mode", "accept"]);
        withhold_from_provider(
            &all,
            true,
            &HeaderRules::default(),
            std::iter::empty(),
            &mut edits,
        );
        assert_eq!(removed(&edits), ["origin", "sec-fetch-mode"]);
    }

    #[test]
    fn a_configured_header_has_one_spelling() {
        let mut edits = Vec::new();
        let all = headers(&["x-team", "x_team", "authorization", "authorization"]);
        withhold_from_provider(
            &all,
            false,
            &HeaderRules::default(),
            ["x-team", "authorization"].into_iter(),
            &mut edits,
        );
        assert_eq!(removed(&edits), ["x_team"]);
    }

    #[test]
    fn a_backend_may_remove_more_and_let_traces_pass() {
        let sent = [
            "traceparent",
            "x-b3-traceid",
            "x-request-id",
            "x-user",
            "x-jwt-payload",
            "X_Jwt_Sub",
            "x-set",
            "authorization",
        ];
        let all = headers(&sent);
        let mut rules = HeaderRules {
            traces: true,
            removed: vec![
                "x-user".to_owned(),
                "x-jwt-*".to_owned(),
                "x-set".to_owned(),
            ],
        };
        let mut edits = Vec::new();
        withhold_from_provider(&all, false, &rules, ["x-set"].into_iter(), &mut edits);
        assert_eq!(
            removed(&edits),
            ["x-user", "x-jwt-payload", "X_Jwt_Sub", "authorization"]
        );
        rules.traces = false;
        edits.clear();
        withhold_from_provider(&all, false, &rules, std::iter::empty(), &mut edits);
        assert_eq!(removed(&edits), sent);
    }

    #[test]
    fn trailers_have_neither_credentials_nor_framing_nor_what_is_configured() {
        let mut edits = Vec::new();
        let all = headers(&[
            "cookie",
            "x-team",
            "content-type",
            "host",
            "grpc-status",
            "x-ok",
        ]);
        withhold_trailers_from_provider(
            &all,
            &HeaderRules::default(),
            ["x-team"].into_iter(),
            &mut edits,
        );
        assert_eq!(
            removed(&edits),
            ["cookie", "x-team", "content-type", "host"]
        );
        edits.clear();
        let all = headers(&["set-cookie", "location", "content-length", "cookie", "x-ok"]);
        withhold_trailers_from_client(&all, &mut edits);
        assert_eq!(
            removed(&edits),
            ["set-cookie", "location", "content-length", "cookie"]
        );
    }

    #[test]
    fn what_acts_on_the_gateways_host_does_not_reach_a_client() {
        let mut edits = Vec::new();
        let withheld = [
            "location",
            "clear-site-data",
            "openai-organization",
            "x-envoy-overloaded",
        ];
        let passing = [
            "content-type",
            "retry-after",
            "x-request-id",
            "x-ratelimit-limit-requests",
        ];
        withhold_from_client(
            &headers(&[&withheld[..], &passing[..]].concat()),
            &mut edits,
        );
        assert_eq!(removed(&edits), withheld);
    }

    #[test]
    fn a_clients_query_neither_repeats_what_is_written_nor_has_credentials() {
        let query = |query: &str, written: &[&str], may_name_model| {
            let pairs: Vec<String> = client_query(query, written, may_name_model)
                .map(str::to_owned)
                .collect();
            pairs.join("&")
        };
        for (client, expected) in [
            ("a=1&b=%20&&empty=&flag&a=2", "a=1&b=%20&empty=&flag&a=2"),
            (
                "key=K&KEY=K&k%65y=K&api%5Fkey=K&api.key=K&access_token=K&x=1",
                "x=1",
            ),
            ("key[]=K&key%5Bx%5D=K&%20key=K&+key=K&keys=1", "keys=1"),
            ("a=1;key=K&b=2;c=3", "b=2;c=3"),
            (
                "X-Amz-Signature=S&x-goog-credential=C&$httpMethod=DELETE&_method=PUT",
                "",
            ),
            (
                "api-version=1&Api_Version=2&api%2Dversion=3&version=1",
                "version=1",
            ),
            ("%zz=1&%=2&%4=3", "%zz=1&%=2&%4=3"),
        ] {
            assert_eq!(
                query(client, &["api-version=2024-10-21"], true),
                expected,
                "{client}"
            );
        }
        assert_eq!(
            query("model=x&Engine=y&z=1", &[], true),
            "model=x&Engine=y&z=1"
        );
        assert_eq!(query("model=x&Engine=y&z=1", &[], false), "z=1");
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
