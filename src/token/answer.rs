//! What the server says that is asked for a token.
//!
//! Source: RFC 6749, sections 5.1 and 5.2, <https://www.rfc-editor.org/rfc/rfc6749#section-5>; the
//! metadata server answers in the same form.

use std::time::Duration;

use serde::Deserialize;

use super::MAX_LIFE;
use crate::secret::Secret;

/// How a call has ended.
#[derive(Clone, Copy, Debug)]
pub enum Answer<'a> {
    /// The host would not make it.
    NotCalled,
    /// There is a reply. Its body can have a token in it.
    Reply {
        /// The status.
        status: u16,
        /// The body.
        body: &'a [u8],
    },
    /// There is none.
    Silence,
}

impl Answer<'_> {
    /// The token and how long it lasts.
    ///
    /// # Errors
    ///
    /// Why there is none, as what the server did: `answered 400: invalid_grant`. Nothing of it is
    /// long enough to be a key or a token.
    pub(super) fn read(&self) -> Result<(Secret, Duration), String> {
        let (status, body) = match *self {
            Self::NotCalled => return Err("has no cluster in the proxy".to_owned()),
            Self::Silence => return Err("did not answer".to_owned()),
            Self::Reply { status, body } => (status, body),
        };
        if status != 200 {
            return Err(format!("answered {status}{}", refusal(body)));
        }
        // The error of the parser could quote a value.
        let token: Token = serde_json::from_slice(body)
            .map_err(|_| "answered 200 with no access token".to_owned())?;
        let is_printable = token.access_token.bytes().all(|b| b.is_ascii_graphic());
        if token.access_token.is_empty() || !is_printable {
            return Err("answered 200 with an access token that no header can carry".to_owned());
        }
        let lasts = token.expires_in.unwrap_or(ASSUMED_SECONDS);
        if !(lasts.is_finite() && lasts >= 1.0) {
            return Err("answered 200 with an access token that has ended".to_owned());
        }
        let lasts = Duration::from_secs_f64(lasts.min(MAX_LIFE.as_secs_f64()));
        Ok((Secret::new(token.access_token), lasts))
    }
}

/// What a refusal says, after a colon; empty where it says nothing that can be told.
fn refusal(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    // Envoy answers in place of a server that it cannot reach.
    if let Some(own) = ENVOYS_OWN.iter().find(|own| text.starts_with(**own)) {
        return format!(": {own}");
    }
    let Ok(refusal) = serde_json::from_slice::<Refused>(body) else {
        return String::new();
    };
    [refusal.error, refusal.error_description]
        .into_iter()
        .flatten()
        .map(|text| format!(": {}", tellable(&text)))
        .collect()
}

/// A text without what could be a secret that the server quotes: any word too long for a language.
fn tellable(text: &str) -> String {
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    let text: String = text.chars().map(clean).take(MAX_CHARS).collect();
    let words = text.split_whitespace().map(|word| match word.len() {
        ..=MAX_WORD => word,
        _ => "…",
    });
    words.collect::<Vec<_>>().join(" ")
}

#[derive(Deserialize)]
struct Token {
    access_token: String,
    /// Unit: seconds.
    expires_in: Option<f64>,
}

#[derive(Deserialize)]
struct Refused {
    error: Option<String>,
    error_description: Option<String>,
}

/// What Envoy's own replies start with.
const ENVOYS_OWN: [&str; 3] = [
    "no healthy upstream",
    "upstream connect error",
    "upstream request timeout",
];

/// Where it is not told. Google's tokens last an hour.
const ASSUMED_SECONDS: f64 = 600.0;
const MAX_CHARS: usize = 300;
/// Unit: bytes. Longer than an email address of a service account, shorter than any token.
const MAX_WORD: usize = 90;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(status: u16, body: &str) -> Result<(Secret, Duration), String> {
        let body = body.as_bytes();
        Answer::Reply { status, body }.read()
    }

    #[test]
    fn a_token_lasts_as_long_as_told() {
        for (body, seconds) in [
            (
                r#"{"access_token":"t","expires_in":3599,"token_type":"Bearer"}"#,
                3599,
            ),
            (r#"{"access_token":"t"}"#, 600),
            (r#"{"access_token":"t","expires_in":1e300}"#, 86_400),
        ] {
            let expected = (Secret::new("t"), Duration::from_secs(seconds));
            assert_eq!(read(200, body), Ok(expected), "{body}");
        }
    }

    #[test]
    fn a_refusal_is_told_without_secrets() {
        let long = "sentinel-".repeat(20);
        for (status, body, expected) in [
            (
                400,
                r#"{"error":"invalid_grant","error_description":"Invalid JWT Signature."}"#
                    .to_owned(),
                "answered 400: invalid_grant: Invalid JWT Signature.",
            ),
            (
                400,
                format!(
                    r#"{{"error":"invalid_grant","error_description":"bad {long}\u000asorry"}}"#
                ),
                "answered 400: invalid_grant: bad … sorry",
            ),
            (404, format!("<html>{long}</html>"), "answered 404"),
            (403, r#"{"error":{"code":403}}"#.to_owned(), "answered 403"),
            (
                503,
                "upstream connect error or disconnect/reset before headers. reset reason"
                    .to_owned(),
                "answered 503: upstream connect error",
            ),
            (
                200,
                format!(r#"{{"id_token":"{long}"}}"#),
                "answered 200 with no access token",
            ),
            (
                200,
                format!(r#"{{"access_token":["{long}"]}}"#),
                "answered 200 with no access token",
            ),
            (
                200,
                r#"{"access_token":"a\nb"}"#.to_owned(),
                "answered 200 with an access token that no header can carry",
            ),
            (
                200,
                r#"{"access_token":"a","expires_in":-1}"#.to_owned(),
                "answered 200 with an access token that has ended",
            ),
        ] {
            assert_eq!(read(status, &body).unwrap_err(), expected);
        }
        assert_eq!(Answer::Silence.read().unwrap_err(), "did not answer");
    }
}
