//! What a request was before its first attempt changed it.
//!
//! Upstream there is one header map for all attempts: what one wrote, the next one finds, and it may
//! be somebody else's key. The body comes again as the client sent it. So the first attempt keeps the
//! headers, where the next one can read them, and every other attempt puts them back before it does
//! its own work.
//!
//! They are kept when the first attempt fails, not before: most requests have one attempt, and the
//! host would take as long for this as for a tenth of all its work on a small one. What comes of it
//! is that attempts cannot run side by side, as Envoy's hedging has them.

use crate::headers::{HeaderEdit, Headers, Text};
use crate::pairs;

/// The headers of a request that no attempt has changed, as a [pair list](pairs).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Original(Vec<u8>);

impl Original {
    /// What a request says that no attempt has changed yet.
    pub fn of(headers: &Headers<'_>) -> Self {
        Self(headers.to_list())
    }

    /// What was kept; `None` where the bytes are not ours.
    pub fn decode(bytes: Vec<u8>) -> Option<Self> {
        pairs::decode(&bytes)?;
        Some(Self(bytes))
    }

    /// The bytes to keep.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The headers.
    pub fn headers(&self) -> Headers<'_> {
        Headers::of_list(&self.0)
    }
}

/// The edits that make the headers as they are `now` the `original` ones again, but for `:authority`,
/// which every attempt writes by itself, and pseudo-headers that none does.
///
/// Several headers of one name become one, which means the same.
/// <https://www.rfc-editor.org/rfc/rfc9110#section-5.3>
pub fn restoration(original: &Headers<'_>, now: &Headers<'_>) -> Vec<HeaderEdit> {
    let mut edits = Vec::new();
    let mut seen: Vec<&[u8]> = Vec::new();
    for (name, _) in now.iter().chain(original.iter()) {
        let is_ours = name == b":path" || !name.starts_with(b":");
        if !is_ours || FRAMING.contains(&name) || seen.contains(&name) {
            continue;
        }
        seen.push(name);
        if OF_ATTEMPT.contains(&name) && now.all(name).next().is_some() {
            continue;
        }
        let was = original.all(name);
        if now.all(name).eq(original.all(name)) {
            continue;
        }
        let Ok(name) = String::from_utf8(name.to_vec()) else {
            continue;
        };
        let values: Vec<String> = was
            .map(|value| String::from_utf8_lossy(value).into_owned())
            .collect();
        edits.push(match values.is_empty() {
            true => HeaderEdit::Remove(Text::Made(name)),
            false => HeaderEdit::set(name, values.join(", ")),
        });
    }
    edits
}

/// Where Envoy traces, it writes these for each attempt, before the module sees them: they name the span
/// of this attempt.
const OF_ATTEMPT: [&[u8]; 2] = [b"traceparent", b"tracestate"];

/// These are between Envoy and its peers.
const FRAMING: [&[u8]; 2] = [b"connection", b"transfer-encoding"];

#[cfg(test)]
mod tests {
    use super::*;

    fn headers<'a>(pairs: &[(&'a str, &'a str)]) -> Headers<'a> {
        let bytes = |(name, value): &(&'a str, &'a str)| (name.as_bytes(), value.as_bytes());
        Headers::new(pairs.iter().map(bytes).collect())
    }

    #[test]
    fn what_is_kept_comes_back() {
        let pairs = [(":path", "/v1/x?y=ü"), ("a", "1"), ("a", ""), ("b", "2")];
        let original = Original::of(&headers(&pairs));
        let decoded = Original::decode(original.as_bytes().to_vec()).unwrap();
        assert!(decoded.headers().iter().eq(headers(&pairs).iter()));
        assert_eq!(Original::decode(b"junk".to_vec()), None);
    }

    #[test]
    fn what_an_attempt_has_changed_is_put_back() {
        let original = headers(&[
            (":authority", "gateway.example"),
            (":path", "/a"),
            ("authorization", "Bearer client"),
            ("content-length", "5"),
            ("origin", "https://a.example"),
            ("accept", "a"),
            ("accept", "b"),
            ("x-same", "1"),
        ]);
        let now = headers(&[
            (":authority", "a.example"),
            (":path", "/b"),
            ("x-api-key", "first"),
            ("content-length", "7"),
            ("accept", "c"),
            ("x-same", "1"),
        ]);
        let expected = [
            HeaderEdit::set(":path", "/a"),
            HeaderEdit::remove("x-api-key"),
            HeaderEdit::set("content-length", "5"),
            HeaderEdit::set("accept", "a, b"),
            HeaderEdit::set("authorization", "Bearer client"),
            HeaderEdit::set("origin", "https://a.example"),
        ];
        assert_eq!(restoration(&original, &now), expected);
        assert_eq!(restoration(&original, &original), []);
    }

    #[test]
    fn an_attempt_keeps_the_trace_that_envoy_has_written_for_it() {
        let original = headers(&[("traceparent", "00-a-1-01"), ("tracestate", "a=b")]);
        let traced = headers(&[("traceparent", "00-a-2-01")]);
        let expected = [HeaderEdit::set("tracestate", "a=b")];
        assert_eq!(restoration(&original, &traced), expected);
        let expected = [
            HeaderEdit::set("traceparent", "00-a-1-01"),
            HeaderEdit::set("tracestate", "a=b"),
        ];
        assert_eq!(restoration(&original, &headers(&[])), expected);
    }

    #[test]
    fn what_is_between_envoy_and_its_peers_stays() {
        let original = headers(&[("connection", "close"), ("transfer-encoding", "chunked")]);
        let now = headers(&[("connection", "keep-alive"), (":scheme", "https")]);
        assert_eq!(restoration(&original, &now), []);
    }
}
