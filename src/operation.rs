//! Which API call a path asks for.
//!
//! Clients speak the OpenAI API below whatever prefix a route gives it: `/v1/chat/completions`,
//! `/mistral/v1/chat/completions`, `/mistral/chat/completions`, or `/mistral` alone. What counts is
//! the *suffix*: the part that every provider has in common.
//!
//! Source: <https://platform.openai.com/docs/api-reference>, read 2026-11-21.

use std::fmt;

/// An API call: its kind, and the suffix that is appended to a provider's base path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation<'a> {
    kind: Kind,
    suffix: &'a str,
}

/// What is asked for, as far as it matters to the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `POST /chat/completions`.
    ChatCompletions,
    /// `POST /completions`.
    Completions,
    /// `POST /embeddings`.
    Embeddings,
    /// `/images/…`.
    Images,
    /// `GET /models` and `GET /models/{model}`.
    Models,
    /// `POST /moderations`.
    Moderations,
    /// Anything else under the base path: files, batches, transcriptions, a stored response.
    Other,
    /// `POST /rerank`.
    Rerank,
    /// `POST /responses`.
    Responses,
    /// `POST /audio/speech`.
    Speech,
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
    /// When the path is not one, or could leave the provider's base path (`..`).
    pub fn of(path: &'a str, base: Option<&str>) -> Result<Self, InvalidPath> {
        let end = path.bytes().position(|byte| matches!(byte, b'?' | b'#'));
        let path = end.and_then(|end| path.get(..end)).unwrap_or(path);
        if !path.starts_with('/') || climbs(path) {
            return Err(InvalidPath);
        }
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
        Ok(Self {
            kind: kind_of(suffix),
            suffix,
        })
    }

    /// The suffixes of the calls that name a model.
    pub const SUFFIXES_WITH_MODEL: [&'static str; 9] = [
        CHAT_COMPLETIONS,
        "/completions",
        "/embeddings",
        "/responses",
        "/images/generations",
        "/audio/speech",
        "/audio/transcriptions",
        "/moderations",
        "/rerank",
    ];

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
        match suffix_of(path) {
            Some(suffix) => Self {
                kind: kind_of(suffix),
                suffix,
            },
            None if path.ends_with(VERSION) => Self {
                kind: Kind::Other,
                suffix: "",
            },
            None => Self {
                kind: Kind::ChatCompletions,
                suffix: CHAT_COMPLETIONS,
            },
        }
    }

    /// What is asked for.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The path below the base, starting with `/`, or empty for the base itself.
    pub fn suffix(&self) -> &'a str {
        self.suffix
    }

    /// Whether this is `POST /chat/completions`.
    pub fn is_chat_completions(&self) -> bool {
        self.kind == Kind::ChatCompletions
    }
}

impl Kind {
    /// Whether a body can only be JSON, whatever its media type says.
    pub fn takes_json_alone(self) -> bool {
        match self {
            Self::ChatCompletions
            | Self::Completions
            | Self::Embeddings
            | Self::Moderations
            | Self::Rerank
            | Self::Responses
            | Self::Speech => true,
            Self::Images | Self::Models | Self::Other => false,
        }
    }

    /// What the absence of `model` means in a JSON body.
    pub fn model_member(self) -> ModelMember {
        match self {
            Self::ChatCompletions
            | Self::Completions
            | Self::Embeddings
            | Self::Rerank
            | Self::Speech => ModelMember::Required,
            // A response may name a prompt that has the model.
            Self::Images | Self::Moderations | Self::Responses => ModelMember::Optional,
            Self::Models | Self::Other => ModelMember::Incidental,
        }
    }
}

/// A request path that is not one, or that climbs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidPath;

impl fmt::Display for InvalidPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the path must start with '/' and have no '.' or '..' segment")
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

fn kind_of(suffix: &str) -> Kind {
    match suffix.trim_end_matches('/') {
        CHAT_COMPLETIONS => Kind::ChatCompletions,
        "/completions" => Kind::Completions,
        "/embeddings" => Kind::Embeddings,
        "/moderations" => Kind::Moderations,
        "/responses" => Kind::Responses,
        "/rerank" => Kind::Rerank,
        "/audio/speech" => Kind::Speech,
        suffix if is_below(suffix, "/images") => Kind::Images,
        suffix if is_below(suffix, "/models") => Kind::Models,
        _ => Kind::Other,
    }
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

/// Whether a server could find a `.` or `..` segment in a path, also where it is escaped.
fn climbs(path: &str) -> bool {
    // Most paths have none of these, without which nobody climbs.
    if !path.bytes().any(|byte| matches!(byte, b'.' | b'%' | b'\\')) {
        return false;
    }
    let is_dots = |segment: &str| matches!(segment, "." | "..");
    let path = path
        .to_ascii_lowercase()
        .replace("%2e", ".")
        .replace("%2f", "/");
    path.replace("%5c", "/").split(['/', '\\']).any(is_dots)
}

const VERSION: &str = "/v1";
const CHAT_COMPLETIONS: &str = "/chat/completions";

/// What a suffix can start with, where nothing else tells where it starts.
const ROOTS: [&str; 18] = [
    "/agents",
    "/assistants",
    "/audio",
    "/batches",
    "/chat/completions",
    "/completions",
    "/embeddings",
    "/files",
    "/fim",
    "/fine_tuning",
    "/images",
    "/models",
    "/moderations",
    "/rerank",
    "/responses",
    "/threads",
    "/uploads",
    "/vector_stores",
];

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
                Kind::Other,
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
                Kind::Other,
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
        ] {
            assert_eq!(Operation::of(path, None), Err(InvalidPath), "{path}");
        }
        for path in ["/v1/files/..a", "/v1/models/...", "/v1/models/a%2Fgpt-4.1"] {
            assert!(Operation::of(path, None).is_ok(), "{path}");
        }
    }
}
