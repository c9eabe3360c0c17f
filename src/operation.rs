//! Which API call a path asks for.
//!
//! Clients speak the OpenAI API below whatever prefix a route gives it: `/v1/chat/completions`,
//! `/mistral/v1/chat/completions`, `/mistral/chat/completions`, or `/mistral` alone. What counts is
//! the *suffix*: the part that every provider has in common.
//!
//! Source: <https://platform.openai.com/docs/api-reference>, read 2026-11-21.

pub mod table;

use std::borrow::Cow;
use std::fmt;

use self::table::{Definition, ModelPlace, ROOTS};
use crate::percent;

/// An API call: its definition, and the suffix that is appended to a provider's base path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation<'a> {
    definition: &'static Definition,
    suffix: &'a str,
}

/// What is asked for, as far as it matters to the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `POST /audio/transcriptions` and `/audio/translations`.
    Audio,
    /// `POST /chat/completions`.
    ChatCompletions,
    /// `POST /completions`.
    Completions,
    /// `POST /messages/count_tokens`.
    CountTokens,
    /// `POST /embeddings`.
    Embeddings,
    /// `/images/…`.
    Images,
    /// `POST /responses/input_tokens`.
    InputTokens,
    /// `POST /messages`.
    Messages,
    /// `GET /models` and `GET /models/{model}`.
    Models,
    /// `POST /moderations`.
    Moderations,
    /// Anything else under the base path: files, batches.
    Other,
    /// `POST /rerank`.
    Rerank,
    /// `POST /responses`.
    Responses,
    /// `POST /audio/speech`.
    Speech,
    /// `/responses/{response}` and what is below it, `POST /responses/compact`.
    StoredResponses,
}

/// What the absence of `model` means in a JSON body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelMember {
    /// The call makes no sense without: filled in, else refused.
    Required,
    /// The provider has a default of its own: filled in, else left out.
    Optional,
    /// The call may have none at all: changed where it is present, never added.
    Incidental,
}

impl<'a> Operation<'a> {
    /// The operation that `path` asks for.
    ///
    /// `path` is a request's path with its query, which is ignored. `base` is the path of the route
    /// that it matched, where that is known.
    ///
    /// # Errors
    ///
    /// When the path is not one, or a server could read it as another: see [`check_path`].
    pub fn of(path: &'a str, base: Option<&str>) -> Result<Self, InvalidPath> {
        check_path(path)?;
        let path = without_query(path);
        let base = base
            .map(|base| base.trim_end_matches('/'))
            .filter(|base| !base.is_empty());
        let below = base.and_then(|base| path.strip_prefix(base));
        let suffix = match below {
            Some("" | "/") => return Ok(Self::alone(path)),
            Some(rest) if is_version(rest) => rest.split_at(VERSION.len()).1,
            // A base that ends inside the suffix, as `/v1/chat` does, says nothing.
            Some(rest) if rest.starts_with('/') && !path_has_suffix(base) => rest,
            _ => match suffix_of(path) {
                Some(suffix) => suffix,
                None if is_one_segment(path) => return Ok(Self::alone(path)),
                None => path,
            },
        };
        Ok(Self::with_suffix(suffix))
    }

    fn with_suffix(suffix: &'a str) -> Self {
        Self {
            definition: Definition::of(suffix),
            suffix,
        }
    }

    /// What a client takes for its base URL, of a route's path: all before the suffix.
    pub fn base_of(path: &str) -> &str {
        let path = path.trim_end_matches('/');
        let suffix = suffix_of(path).unwrap_or_default();
        path.strip_suffix(suffix).unwrap_or(path)
    }

    /// Whether the suffix of a path below `base` can only be found by who knows `base`.
    pub fn needs_base(base: &str) -> bool {
        let base = base.trim_end_matches('/');
        !base.is_empty() && !base.ends_with(VERSION) && suffix_of(base).is_none()
    }

    /// What a route's own path asks for: the suffix it has, else chat completions.
    fn alone(path: &'a str) -> Self {
        let path = path.trim_end_matches('/');
        Self::with_suffix(match suffix_of(path) {
            Some(suffix) => suffix,
            None if path.ends_with(VERSION) => "",
            None => CHAT_COMPLETIONS,
        })
    }

    /// What is known about the call.
    pub fn definition(&self) -> &'static Definition {
        self.definition
    }

    /// What the absence of `model` means in a body.
    pub fn model_member(&self) -> ModelMember {
        match self.definition.model {
            ModelPlace::Body(_, member) => member,
            ModelPlace::Nowhere | ModelPlace::Path | ModelPlace::Unreadable => {
                ModelMember::Incidental
            }
        }
    }

    /// Whether some server could take the call for another one: it ignores the case of letters,
    /// resolves escapes of letters, or drops empty segments.
    ///
    /// <https://www.rfc-editor.org/rfc/rfc3986#section-6.2.2>
    pub fn is_disguised(&self) -> bool {
        let plain = |byte: &u8| byte.is_ascii_lowercase() || matches!(byte, b'/' | b'_' | b'-');
        let has_empty_segment = self.suffix.contains("//");
        if !has_empty_segment && self.suffix.as_bytes().iter().all(plain) {
            return false;
        }
        let decoded = percent::decode(self.suffix.as_bytes());
        let text = String::from_utf8_lossy(&decoded).to_ascii_lowercase();
        let segments: Vec<&str> = text.split('/').filter(|it| !it.is_empty()).collect();
        let plain = format!("/{}", segments.join("/"));
        let plain = if segments.is_empty() { "" } else { &plain };
        Definition::of(plain) != self.definition
    }

    /// What is asked for.
    pub fn kind(&self) -> Kind {
        self.definition.kind
    }

    /// The path below the base, starting with `/`, or empty for the base itself.
    pub fn suffix(&self) -> &'a str {
        self.suffix
    }

    /// Whether this is `POST /chat/completions`.
    pub fn is_chat_completions(&self) -> bool {
        self.definition.kind == Kind::ChatCompletions
    }
}

impl Kind {
    /// Whether a body can only be JSON, whatever its media type says.
    pub fn takes_json_alone(self) -> bool {
        match self {
            Self::ChatCompletions
            | Self::Completions
            | Self::CountTokens
            | Self::Embeddings
            | Self::Messages
            | Self::Moderations
            | Self::Rerank
            | Self::Responses
            | Self::Speech => true,
            Self::Audio
            | Self::Images
            | Self::InputTokens
            | Self::Models
            | Self::Other
            | Self::StoredResponses => false,
        }
    }

    /// Whether a JSON body is read even where no rule of the configuration is about it: a call without
    /// its model, or with two of them, is refused before it is sent.
    pub fn is_always_read(self) -> bool {
        !matches!(
            self,
            Self::Audio | Self::InputTokens | Self::Models | Self::Other | Self::StoredResponses
        )
    }

    /// Whether a reply may be a stream that `stream` in a JSON body requests.
    pub fn may_stream(self) -> bool {
        matches!(
            self,
            Self::ChatCompletions
                | Self::Completions
                | Self::Images
                | Self::Messages
                | Self::Responses
        )
    }
}

/// A request path that is not one, or that servers read in different ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidPath;

impl fmt::Display for InvalidPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "the path must start with '/', and have neither '.' or '..' segments nor escaped slashes \
             or control characters; only the name of a model after /models/ may have %2F",
        )
    }
}

impl std::error::Error for InvalidPath {}

/// The suffix of a path whose base is not known: what follows `/v1`, else what starts like one of
/// the API's own paths.
fn suffix_of(path: &str) -> Option<&str> {
    let bytes = || path.bytes().enumerate();
    let starts = || bytes().filter_map(|(at, byte)| path.get(at..).filter(|_| byte == b'/'));
    let after_version = starts().find(|rest| is_version(rest));
    let suffix = match after_version {
        Some(rest) => rest.get(VERSION.len()..),
        None => starts().find(|rest| ROOTS.iter().any(|root| is_below(rest, root))),
    };
    suffix.filter(|suffix| !suffix.is_empty())
}

fn path_has_suffix(base: Option<&str>) -> bool {
    base.is_some_and(|base| suffix_of(base).is_some())
}

/// Whether `path` is `root` or continues it after a `/`.
fn is_below(path: &str, root: &str) -> bool {
    path.strip_prefix(root)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn is_version(rest: &str) -> bool {
    is_below(rest, VERSION)
}

fn is_one_segment(path: &str) -> bool {
    let segment = path.trim_matches('/');
    !segment.is_empty() && !segment.contains('/')
}

/// Refuses a request's path that servers read in different ways, so that a rule about what one of
/// them reads does not hold for the next.
///
/// These are `.` and `..` segments, escaped or not; escaped slashes and backslashes, but in the name of
/// a model, as SDKs send it in `/models/meta-llama%2FLlama-3`; and control characters.
///
/// # Errors
///
/// When it is one of them, or does not start with a `/`.
pub fn check_path(path: &str) -> Result<(), InvalidPath> {
    let path = without_query(path);
    if !path.starts_with('/') {
        return Err(InvalidPath);
    }
    // Most paths have none of these, without which nothing else can be there.
    let is_plain = |byte: u8| !matches!(byte, b'.' | b'%' | b'\\' | 0..=0x1f | 0x7f);
    if path.bytes().all(is_plain) {
        return Ok(());
    }
    let may_have_slashes = |at: usize| path.get(..at).is_some_and(|it| it.contains("/models/"));
    let slash = path.bytes().position(|byte| byte == b'\\');
    let mut bytes = Cow::Borrowed(path.as_bytes());
    // What a server decodes twice, the next one may, too.
    for _ in 0..MAX_DECODINGS {
        let is_dots = |segment: &[u8]| {
            let segment = segment.split(|&byte| byte == b';').next();
            matches!(segment, Some(b"." | b".."))
        };
        let mut segments = bytes.split(|byte| matches!(byte, b'/' | b'\\'));
        if segments.any(is_dots) || bytes.iter().any(u8::is_ascii_control) {
            return Err(InvalidPath);
        }
        let next = percent::decode(&bytes);
        if next.len() == bytes.len() {
            let escaped = escaped_slash(path);
            let slashes = [slash, escaped].into_iter().flatten();
            return match slashes.into_iter().all(may_have_slashes) {
                true => Ok(()),
                false => Err(InvalidPath),
            };
        }
        bytes = Cow::Owned(next);
    }
    Err(InvalidPath)
}

/// Where the first escaped slash or backslash of a path stands, however often it is escaped.
fn escaped_slash(path: &str) -> Option<usize> {
    let escapes = path.bytes().enumerate().filter(|(_, byte)| *byte == b'%');
    let mut places = escapes.map(|(at, _)| at);
    places.find(|&at| {
        let digits = path.get(at + 1..).unwrap_or_default();
        // `%252F` is an escaped `%2F`.
        let mut digits = digits;
        while let Some(rest) = digits.strip_prefix("25") {
            digits = rest;
        }
        let digits = digits.get(..2).unwrap_or_default();
        digits.eq_ignore_ascii_case("2f") || digits.eq_ignore_ascii_case("5c")
    })
}

fn without_query(path: &str) -> &str {
    let end = path.bytes().position(|byte| matches!(byte, b'?' | b'#'));
    end.and_then(|end| path.get(..end)).unwrap_or(path)
}

/// How often a path may be escaped. Unit: times.
const MAX_DECODINGS: usize = 4;

const VERSION: &str = "/v1";
const CHAT_COMPLETIONS: &str = "/chat/completions";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_suffix_is_found_below_any_prefix() {
        for (path, base, kind, suffix) in [
            (
                "/v1/chat/completions",
                None,
                Kind::ChatCompletions,
                "/chat/completions",
            ),
            (
                "/v1/chat/completions?a=/v1/b",
                None,
                Kind::ChatCompletions,
                "/chat/completions",
            ),
            (
                "/chat/completions",
                None,
                Kind::ChatCompletions,
                "/chat/completions",
            ),
            (
                "/mistral/v1/chat/completions",
                None,
                Kind::ChatCompletions,
                "/chat/completions",
            ),
            (
                "/mistral/chat/completions",
                None,
                Kind::ChatCompletions,
                "/chat/completions",
            ),
            ("/mistral", None, Kind::ChatCompletions, "/chat/completions"),
            (
                "/mistral/",
                None,
                Kind::ChatCompletions,
                "/chat/completions",
            ),
            (
                "/mistral",
                Some("/mistral"),
                Kind::ChatCompletions,
                "/chat/completions",
            ),
            (
                "/a/mistral/",
                Some("/a/mistral"),
                Kind::ChatCompletions,
                "/chat/completions",
            ),
            ("/mistral/ocr", Some("/mistral"), Kind::Other, "/ocr"),
            ("/mistral/v1/ocr", Some("/mistral"), Kind::Other, "/ocr"),
            ("/mistral/v1/ocr", None, Kind::Other, "/ocr"),
            ("/mistral/ocr", None, Kind::Other, "/mistral/ocr"),
            (
                "/x/fim/completions",
                Some("/x"),
                Kind::Other,
                "/fim/completions",
            ),
            ("/x/fim/completions", None, Kind::Other, "/fim/completions"),
            (
                "/models/v1/embeddings",
                Some("/models"),
                Kind::Embeddings,
                "/embeddings",
            ),
            ("/v1/models", Some("/v1"), Kind::Models, "/models"),
            ("/v1/models/a%2Fb", Some("/"), Kind::Models, "/models/a%2Fb"),
            (
                "/v1/chat/completions",
                Some("/v1/chat"),
                Kind::ChatCompletions,
                "/chat/completions",
            ),
            (
                "/v1/chat/completions",
                Some("/v1/chat/completions"),
                Kind::ChatCompletions,
                "/chat/completions",
            ),
            (
                "/v1/embeddings",
                Some("/v1/embeddings"),
                Kind::Embeddings,
                "/embeddings",
            ),
            ("/v1/responses", None, Kind::Responses, "/responses"),
            (
                "/v1/responses/r_1/cancel",
                None,
                Kind::StoredResponses,
                "/responses/r_1/cancel",
            ),
            (
                "/v1/chat/completions/c_1",
                None,
                Kind::Other,
                "/chat/completions/c_1",
            ),
            ("/v1/images/edits", None, Kind::Images, "/images/edits"),
            ("/v1/audio/speech", None, Kind::Speech, "/audio/speech"),
            (
                "/v1/audio/transcriptions",
                None,
                Kind::Audio,
                "/audio/transcriptions",
            ),
            ("/v1/rerank", None, Kind::Rerank, "/rerank"),
            ("/v1/moderations", None, Kind::Moderations, "/moderations"),
            ("/v1/completions/", None, Kind::Completions, "/completions/"),
            ("/v1/files/f/content", None, Kind::Other, "/files/f/content"),
            ("/v1", Some("/v1"), Kind::Other, ""),
            ("/v1beta/x", None, Kind::Other, "/v1beta/x"),
        ] {
            let found = Operation::of(path, base).unwrap();
            assert_eq!(
                (found.kind(), found.suffix()),
                (kind, suffix),
                "{path} below {base:?}"
            );
        }
    }

    #[test]
    fn only_a_base_without_a_suffix_must_be_known() {
        for base in ["/mistral", "/a/mistral/"] {
            assert!(Operation::needs_base(base), "{base}");
        }
        for base in [
            "",
            "/",
            "/v1",
            "/openai/v1",
            "/v1/chat/completions",
            "/v1/chat",
        ] {
            assert!(!Operation::needs_base(base), "{base}");
        }
    }

    #[test]
    fn a_call_is_disguised_where_a_server_could_take_it_for_another() {
        for (path, expected) in [
            ("/v1/chat/completions", false),
            ("/v1/chat/completions/", false),
            ("/v1/files/file-Abc123", false),
            ("/v1/models/a%2FB", false),
            ("/v1/brand/New", false),
            ("/v1/Chat/Completions", true),
            ("/v1/chat//completions", true),
            ("/v1//batches", true),
            ("/v1/%62atches", true),
            ("/v1/x/..", false),
        ] {
            let Ok(operation) = Operation::of(path, None) else {
                continue;
            };
            assert_eq!(operation.is_disguised(), expected, "{path}");
        }
    }

    #[test]
    fn a_path_that_could_climb_is_refused() {
        for path in [
            "",
            "v1",
            "*",
            "/v1/../x",
            "/v1/..",
            "/./v1",
            "/v1/%2e%2E/x",
            "/v1/.%2e",
            "/v1/..%2f..%2Fadmin",
            "/v1/x%5C..%5cadmin",
            "/a\\..\\b",
            "/v1/..;x=1/admin",
            "/v1/%252e%252e/x",
            "/v1/%25252e%2e/x",
            "/v1/models/a%2f..",
            "/v1/models/a%252F%252e.",
            "/v1/chat%2fcompletions",
            "/v1/chat%252Fcompletions",
            "/v1/chat%5ccompletions",
            "/v1/chat\\completions",
            "/v1/files%00",
            "/v1/files%0d%0a",
            "/v1/files%250a",
            "/v1/%2525252525252e%2e",
        ] {
            assert_eq!(Operation::of(path, None), Err(InvalidPath), "{path}");
        }
        for path in [
            "/v1/files/..a",
            "/v1/models/...",
            "/v1/models/a%2Fgpt-4.1",
            "/v1/files/a%20b",
        ] {
            assert!(Operation::of(path, None).is_ok(), "{path}");
        }
    }
}
