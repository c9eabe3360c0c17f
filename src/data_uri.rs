//! `data:` URIs, and the base64 that clients send in their place.
//!
//! Source: RFC 2397. Media types are compared without case; the usual aliases get their registered
//! names, since providers compare them letter by letter.

use std::borrow::Cow;

use crate::json::{self, Quoted, Text};

/// The parts of a `data:` URI whose data is base64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataUri<'a> {
    /// Without parameters; empty where it names none.
    pub media_type: &'a str,
    /// Base64.
    pub data: &'a str,
}

/// Takes a URI apart; `None` where it is none, or its data is not base64.
///
/// ```
/// use llm_proxy::data_uri;
///
/// let uri = data_uri::canonical("DATA:image/JPG;Base64,AA\n==".into());
/// let uri = data_uri::parse(&uri).unwrap();
/// assert_eq!((uri.media_type, uri.data), ("image/jpeg", "AA=="));
/// assert_eq!(data_uri::parse("https://example.com/a.png"), None);
/// ```
pub fn parse(uri: &str) -> Option<DataUri<'_>> {
    let (about, data) = after_scheme(uri)?.split_once(',')?;
    let mut parameters = about.split(';');
    let media_type = parameters.next()?.trim();
    parameters
        .any(|parameter| parameter.trim().eq_ignore_ascii_case("base64"))
        .then_some(DataUri { media_type, data })
}

/// Takes a URI apart as it stands in a JSON text, without reading what a picture consists of; `None` where
/// something of it has to be decoded or changed, or it is no such URI.
pub fn in_place(text: Text<'_>) -> Option<(&str, Quoted<'_>)> {
    let text = text.quoted().text();
    let comma = text
        .iter()
        .take(MAX_HEAD_BYTES)
        .position(|it| *it == b',')?;
    let (head, data) = text.split_at_checked(comma + 1)?;
    let uri = parse(std::str::from_utf8(head).ok()?)?;
    (is_plain(head) && is_canonical(uri.media_type, data))
        .then_some((uri.media_type, Quoted::checked(data)))
}

/// The same of a media type and of base64 that stand apart.
pub fn parts_in_place<'a>(media_type: Text<'a>, data: Text<'a>) -> Option<(&'a str, Quoted<'a>)> {
    let media_type = std::str::from_utf8(media_type.quoted().text()).ok()?;
    is_canonical(media_type, data.quoted().text()).then_some((media_type, data.quoted()))
}

/// Whether neither a media type nor base64 has to be changed.
fn is_canonical(media_type: &str, data: &[u8]) -> bool {
    !media_type.is_empty() && registered(media_type) == media_type && is_plain(data)
}

/// Whether a text has neither escapes nor white space. All other white space is an escape.
fn is_plain(text: &[u8]) -> bool {
    !json::contains(b'\\', text) && !json::contains(b' ', text)
}

/// The same with a media type in lower case and by its registered name, and without line breaks in
/// the base64, which may also stand there bare. It stays as it is where nothing has to change.
pub fn canonical(text: Cow<'_, str>) -> Cow<'_, str> {
    let Some(uri) = parse(&text) else {
        // No URL and no base64 has white space in it.
        let is_broken = after_scheme(&text).is_none() && text.bytes().any(is_space);
        return match is_broken && !text.contains(':') {
            true => Cow::Owned(written(text, "", 0)),
            false => text,
        };
    };
    let registered = registered(uri.media_type);
    if registered == uri.media_type && !uri.data.bytes().any(is_space) {
        return text;
    }
    let head = format!("data:{registered};base64,");
    let start = text.len() - uri.data.len();
    Cow::Owned(written(text, &head, start))
}

/// A media type in lower case, by its registered name.
fn registered(media_type: &str) -> Cow<'static, str> {
    let lower = media_type.to_ascii_lowercase();
    match ALIASES.iter().find(|(alias, _)| *alias == lower) {
        Some((_, name)) => Cow::Borrowed(name),
        None => Cow::Owned(lower),
    }
}

fn after_scheme(uri: &str) -> Option<&str> {
    let (scheme, rest) = uri.split_at_checked(5)?;
    scheme.eq_ignore_ascii_case("data:").then_some(rest)
}

fn is_space(byte: u8) -> bool {
    byte.is_ascii_whitespace()
}

/// `head`, and what `text` has from `start` on, without white space. A text of which there is a copy
/// already is changed in place: a picture may be as long as the body.
fn written(text: Cow<'_, str>, head: &str, start: usize) -> String {
    match text {
        Cow::Borrowed(text) => {
            let data = text.get(start..).unwrap_or_default();
            let mut plain = String::with_capacity(head.len() + data.len());
            plain.push_str(head);
            plain.extend(data.split_ascii_whitespace());
            plain
        }
        Cow::Owned(mut text) => {
            text.replace_range(..start, "");
            text.retain(|it| !it.is_ascii_whitespace());
            text.reserve_exact(head.len());
            text.insert_str(0, head);
            text
        }
    }
}

/// What stands before the data of a URI that is taken apart in place.
const MAX_HEAD_BYTES: usize = 256;

const ALIASES: [(&str, &str); 9] = [
    ("application/x-pdf", "application/pdf"),
    ("audio/wave", "audio/wav"),
    ("audio/x-wav", "audio/wav"),
    ("audio/vnd.wave", "audio/wav"),
    ("image/jpg", "image/jpeg"),
    ("image/pjpeg", "image/jpeg"),
    ("image/x-png", "image/png"),
    ("text/x-markdown", "text/markdown"),
    ("video/x-m4v", "video/mp4"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_is_taken_apart_in_place_where_that_changes_nothing() {
        for (text, expected) in [
            ("data:image/png;base64,AA==", Some(("image/png", "AA=="))),
            (
                "DATA:image/png;x=y;BASE64,A_-,",
                Some(("image/png", "A_-,")),
            ),
            ("data:image/png;base64,", Some(("image/png", ""))),
            ("data:image/jpg;base64,AA==", None),
            ("data:image/PNG;base64,AA==", None),
            ("data:;base64,AA==", None),
            ("data:image/png,AA==", None),
            ("data:image\\/png;base64,AA==", None),
            ("data:image/png;base64,AA\\n==", None),
            ("data:image/png;base64,AA ==", None),
            ("https://example.com/a,b", None),
            ("AA==", None),
            ("", None),
        ] {
            let found = in_place(Text::checked(text.as_bytes()));
            let found = found.map(|(media_type, data)| (media_type, data.text()));
            assert_eq!(
                found,
                expected.map(|(it, data)| (it, data.as_bytes())),
                "{text}"
            );
            let Some(decoded) = Quoted::checked(text.as_bytes()).decode() else {
                panic!("{text}");
            };
            if let Some((media_type, data)) = expected {
                let canonical = canonical(decoded);
                assert_eq!(parse(&canonical), Some(DataUri { media_type, data }));
            }
        }
    }

    #[test]
    fn a_uri_is_taken_apart() {
        let parts = |media_type, data| Some(DataUri { media_type, data });
        for (uri, expected) in [
            ("data:image/png;base64,AA==", parts("image/png", "AA==")),
            (
                "DATA:image/png;charset=x;BASE64,AA",
                parts("image/png", "AA"),
            ),
            ("data:;base64,AA", parts("", "AA")),
            ("data:text/plain,hello", None),
            ("data:image/png;base64", None),
            ("data", None),
            ("dàta:", None),
            ("https://x/y.png", None),
        ] {
            assert_eq!(parse(uri), expected, "{uri}");
        }
    }

    #[test]
    fn only_what_is_not_canonical_is_written_anew() {
        for (text, expected) in [
            ("data:image/png;base64,AA==", None),
            ("data:image/png;name=a;base64,AA==", None),
            (
                "data:image/JPG;base64,AA",
                Some("data:image/jpeg;base64,AA"),
            ),
            (
                "data:image/png;base64,A\r\nA\n",
                Some("data:image/png;base64,AA"),
            ),
            ("AA\nAA", Some("AAAA")),
            ("https://x/a b", None),
            ("data:text/plain,a b", None),
            ("", None),
        ] {
            let owned = canonical(Cow::Owned(text.to_owned()));
            assert_eq!(owned, expected.unwrap_or(text));
            let seen = canonical(Cow::Borrowed(text));
            assert_eq!(
                matches!(seen, Cow::Borrowed(_)),
                expected.is_none(),
                "{text}"
            );
            assert_eq!(seen, expected.unwrap_or(text));
        }
    }
}
