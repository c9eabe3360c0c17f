//! The API calls that are known: their paths, methods and media types, and where each names its model.
//!
//! This is the one table for matching, for the rules about models, for the messages of 403, 405 and
//! 415, and for the page `docs/operations.md`, which is made from it.
//!
//! Sources, read 2026-11-28: <https://platform.openai.com/docs/api-reference>,
//! <https://docs.mistral.ai/api> (agents, `/fim`, `/ocr`), <https://docs.cohere.com/reference/rerank>,
//! <https://platform.claude.com/docs/en/api/messages>,
//! <https://learn.microsoft.com/azure/ai-foundry/openai/reference> (deployments).

use super::{Kind, ModelMember};

/// What is known about an API call.
#[derive(Debug, PartialEq, Eq)]
pub struct Definition {
    /// The name in messages and in a backend's `operations`.
    pub name: &'static str,
    /// The path below the base. A `*` at its end stands for nothing, or whatever follows a `/`.
    pub path: &'static str,
    /// What the gateway has to know it by.
    pub kind: Kind,
    /// The methods that may have a body.
    pub methods: &'static [&'static str],
    /// Where the model stands.
    pub model: ModelPlace,
}

/// Where a call names its model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelPlace {
    /// In its body, as `model`; the body is of one of these media types, and its absence means this.
    Body(&'static [Media], ModelMember),
    /// Nowhere: the call runs no model.
    Nowhere,
    /// In its path.
    Path,
    /// Where the gateway cannot read it: in a file, in something stored, in a later message.
    Unreadable,
}

/// The media type of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Media {
    /// A form.
    Form,
    /// JSON.
    Json,
}

impl Media {
    /// The media type as `content-type` has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Form => "multipart/form-data",
            Self::Json => "application/json",
        }
    }
}

impl Definition {
    /// The call with the path `suffix` below its base.
    pub fn of(suffix: &str) -> &'static Self {
        let suffix = suffix.trim_end_matches('/');
        let fits = |it: &&Self| match it.path.strip_suffix("/*") {
            Some(root) => super::is_below(suffix, root),
            None => it.path == suffix,
        };
        DEFINITIONS.iter().find(fits).unwrap_or(&OTHER)
    }

    /// The call in whose path `path` ends, of those that have a path of their own and name a model, or
    /// list models.
    pub fn at_end_of(path: &str) -> Option<&'static Self> {
        let ending = |it: &&Self| {
            let has_model = matches!(it.model, ModelPlace::Body(..)) && !it.path.ends_with('*');
            let is_there = path.ends_with(it.path.trim_end_matches("/*"));
            is_there && (has_model || it.kind == Kind::Models)
        };
        let all = DEFINITIONS.iter().filter(ending);
        all.max_by_key(|it| it.path.len())
    }

    /// What is requested, in OpenTelemetry's words where it has one.
    ///
    /// Source: <https://opentelemetry.io/docs/specs/semconv/registry/attributes/gen-ai/>, read 2026-11-28.
    pub fn operation_name(&self) -> &'static str {
        match self.kind {
            Kind::ChatCompletions | Kind::Messages | Kind::Responses => "chat",
            Kind::Completions => "text_completion",
            Kind::Embeddings => "embeddings",
            _ => self.name,
        }
    }

    /// The length of its path, without what may follow. Unit: bytes.
    pub fn path_len(&self) -> usize {
        self.path.trim_end_matches("/*").len()
    }

    /// The calls that run a model which their body names, but for those of few providers.
    pub fn with_model() -> impl Iterator<Item = &'static Self> {
        DEFINITIONS.iter().filter(|it| {
            let is_named = matches!(it.model, ModelPlace::Body(_, Required | Optional));
            let is_common = !matches!(
                it.kind,
                Kind::InputTokens | Kind::Other | Kind::StoredResponses
            );
            is_named && is_common && !it.path.ends_with('*')
        })
    }

    /// Every call, in the order of matching.
    pub fn all() -> impl Iterator<Item = &'static Self> {
        DEFINITIONS.iter().chain([&OTHER])
    }

    /// Whether a backend whose models are restricted takes the call only where `operations` lists it.
    pub fn is_unreadable(&self) -> bool {
        self.model == ModelPlace::Unreadable
    }

    /// The media types of which the model can be read.
    pub fn media(&self) -> &'static [Media] {
        match self.model {
            ModelPlace::Body(media, _) => media,
            ModelPlace::Nowhere | ModelPlace::Path | ModelPlace::Unreadable => &[],
        }
    }
}

const fn call(
    name: &'static str,
    path: &'static str,
    kind: Kind,
    methods: &'static [&'static str],
    model: ModelPlace,
) -> Definition {
    Definition {
        name,
        path,
        kind,
        methods,
        model,
    }
}

const NONE: &[&str] = &[];
const POST: &[&str] = &["POST"];
const WRITE: &[&str] = &["POST", "PUT", "PATCH"];

const JSON: &[Media] = &[Media::Json];
const FORM_OR_JSON: &[Media] = &[Media::Form, Media::Json];

use ModelMember::{Incidental, Optional, Required};
use ModelPlace::{Body, Nowhere, Path, Unreadable};

/// The first that fits is the call.
#[rustfmt::skip]
const DEFINITIONS: [Definition; 42] = [
    call("chat-completions", "/chat/completions", Kind::ChatCompletions, POST, Body(JSON, Required)),
    // Some servers answer all that is below a path like the path itself.
    call("stored-chat-completions", "/chat/completions/*", Kind::Other, POST, Body(JSON, Incidental)),
    call("completions", "/completions", Kind::Completions, POST, Body(JSON, Required)),
    call("embeddings", "/embeddings", Kind::Embeddings, POST, Body(JSON, Required)),
    call("moderations", "/moderations", Kind::Moderations, POST, Body(JSON, Optional)),
    call("rerank", "/rerank", Kind::Rerank, POST, Body(JSON, Required)),
    call("responses", "/responses", Kind::Responses, POST, Body(JSON, Optional)),
    call("responses-compact", "/responses/compact", Kind::StoredResponses, POST, Body(JSON, Optional)),
    call("responses-input-tokens", "/responses/input_tokens", Kind::InputTokens, POST, Body(JSON, Optional)),
    call("stored-responses", "/responses/*", Kind::StoredResponses, POST, Body(JSON, Incidental)),
    // Mistral's run a model; OpenAI's name none.
    call("conversations", "/conversations/*", Kind::Other, WRITE, Body(JSON, Incidental)),
    call("images-generations", "/images/generations", Kind::Images, POST, Body(JSON, Optional)),
    call("images", "/images/*", Kind::Images, POST, Body(FORM_OR_JSON, Optional)),
    call("audio-speech", "/audio/speech", Kind::Speech, POST, Body(JSON, Required)),
    call("audio-transcriptions", "/audio/transcriptions", Kind::Audio, POST, Body(FORM_OR_JSON, Required)),
    call("audio-translations", "/audio/translations", Kind::Audio, POST, Body(FORM_OR_JSON, Required)),
    call("audio-voices", "/audio/voices/*", Kind::Other, WRITE, Nowhere),
    call("audio-voice-consents", "/audio/voice_consents/*", Kind::Other, WRITE, Nowhere),
    call("videos", "/videos", Kind::Other, POST, Body(FORM_OR_JSON, Optional)),
    call("stored-videos", "/videos/*", Kind::Other, POST, Body(FORM_OR_JSON, Incidental)),
    call("models", "/models/*", Kind::Models, NONE, Nowhere),
    call("files", "/files/*", Kind::Other, WRITE, Nowhere),
    call("uploads", "/uploads/*", Kind::Other, WRITE, Nowhere),
    call("containers", "/containers/*", Kind::Other, WRITE, Nowhere),
    call("vector-stores", "/vector_stores/*", Kind::Other, WRITE, Nowhere),
    call("messages", "/messages", Kind::Messages, POST, Body(JSON, Required)),
    call("messages-count-tokens", "/messages/count_tokens", Kind::CountTokens, POST, Body(JSON, Required)),
    call("fim-completions", "/fim/completions", Kind::Other, POST, Body(JSON, Required)),
    call("ocr", "/ocr", Kind::Other, POST, Body(JSON, Required)),
    call("classifications", "/classifications", Kind::Other, POST, Body(JSON, Required)),
    call("message-batches", "/messages/batches/*", Kind::Other, WRITE, Unreadable),
    call("batches", "/batches/*", Kind::Other, WRITE, Unreadable),
    call("fine-tuning", "/fine_tuning/*", Kind::Other, WRITE, Unreadable),
    call("evals", "/evals/*", Kind::Other, WRITE, Unreadable),
    call("realtime", "/realtime/*", Kind::Other, WRITE, Unreadable),
    call("agents", "/agents/*", Kind::Other, WRITE, Unreadable),
    call("assistants", "/assistants/*", Kind::Other, WRITE, Unreadable),
    call("threads", "/threads/*", Kind::Other, WRITE, Unreadable),
    // The deployment that a path names is not the one that the configuration names.
    call("deployments", "/deployments/*", Kind::Other, WRITE, Path),
    call("engines", "/engines/*", Kind::Other, WRITE, Path),
    call("openai", "/openai/*", Kind::Other, WRITE, Path),
    call("base", "", Kind::Other, WRITE, Unreadable),
];

/// Every other call.
const OTHER: Definition = call("other", "/*", Kind::Other, WRITE, Unreadable);

/// What a suffix can start with, where nothing else tells where it starts.
pub const ROOTS: [&str; 19] = [
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
    "/messages",
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
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_call_is_found_by_its_own_path() {
        for definition in Definition::all() {
            let path = definition.path.trim_end_matches('*').trim_end_matches('/');
            let below = [path, "/x"].concat();
            match definition.path {
                // These two are about what is below something else.
                "/chat/completions/*" | "/responses/*" | "/videos/*" => {}
                "/*" => assert_eq!(Definition::of("/x"), definition),
                _ => assert_eq!(Definition::of(path), definition, "{path}"),
            }
            if definition.path.ends_with('*') {
                assert_eq!(Definition::of(&below), definition, "{below}");
            }
        }
    }

    #[test]
    fn every_root_begins_a_call() {
        for root in ROOTS {
            let mut all = Definition::all();
            assert!(
                all.any(|it| super::super::is_below(it.path, root)),
                "{root}"
            );
        }
    }

    #[test]
    fn names_differ_and_can_stand_in_a_configuration() {
        let names: BTreeSet<&str> = Definition::all().map(|it| it.name).collect();
        assert_eq!(names.len(), Definition::all().count());
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte == b'-';
        assert!(
            names.iter().all(|name| name.bytes().all(is_plain)),
            "{names:?}"
        );
    }
}
