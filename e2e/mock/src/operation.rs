//! Which API call a path asks for, seen from the provider's side.

/// One call of the OpenAI API, by the part of its path below the base.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// `/audio/speech`
    AudioSpeech,
    /// `/audio/transcriptions`
    AudioTranscriptions,
    /// `/audio/translations`
    AudioTranslations,
    /// `/chat/completions`
    ChatCompletions,
    /// `/completions`
    Completions,
    /// `/embeddings`
    Embeddings,
    /// `/files/{id}`
    File(String),
    /// `/files/{id}/content`
    FileContent(String),
    /// `/files`
    Files,
    /// `/images/edits`
    ImagesEdits,
    /// `/images/generations`
    ImagesGenerations,
    /// `/images/variations`
    ImagesVariations,
    /// `/models/{id}`; the id may contain slashes
    Model(String),
    /// `/models`
    Models,
    /// `/moderations`
    Moderations,
    /// `/rerank`
    Rerank,
    /// `/responses/{id}`
    Response(String),
    /// `/responses`
    Responses,
}

impl Operation {
    /// The operation of `suffix`, which follows the base path and begins with a slash.
    pub fn find(suffix: &str) -> Option<Self> {
        Some(match suffix {
            "/audio/speech" => Self::AudioSpeech,
            "/audio/transcriptions" => Self::AudioTranscriptions,
            "/audio/translations" => Self::AudioTranslations,
            "/chat/completions" => Self::ChatCompletions,
            "/completions" => Self::Completions,
            "/embeddings" => Self::Embeddings,
            "/files" => Self::Files,
            "/images/edits" => Self::ImagesEdits,
            "/images/generations" => Self::ImagesGenerations,
            "/images/variations" => Self::ImagesVariations,
            "/models" => Self::Models,
            "/moderations" => Self::Moderations,
            "/rerank" => Self::Rerank,
            "/responses" => Self::Responses,
            _ => return Self::find_with_id(suffix),
        })
    }

    fn find_with_id(suffix: &str) -> Option<Self> {
        if let Some(id) = suffix.strip_prefix("/models/") {
            let plain =
                !id.is_empty() && id.split('/').all(|part| !matches!(part, "" | "." | ".."));
            return plain.then(|| Self::Model(percent_decode(id)));
        }
        let (collection, rest) = suffix.strip_prefix('/')?.split_once('/')?;
        let (id, member) = rest
            .split_once('/')
            .map_or((rest, None), |(id, m)| (id, Some(m)));
        match (collection, member) {
            _ if id.is_empty() => None,
            ("files", None) => Some(Self::File(id.to_owned())),
            ("files", Some("content")) => Some(Self::FileContent(id.to_owned())),
            ("responses", None) => Some(Self::Response(id.to_owned())),
            _ => None,
        }
    }

    /// What it is called in the table of profiles: the first segment of its path.
    pub fn family(&self) -> Family {
        match self {
            Self::AudioSpeech | Self::AudioTranscriptions | Self::AudioTranslations => {
                Family::Audio
            }
            Self::ChatCompletions => Family::Chat,
            Self::Completions => Family::Completions,
            Self::Embeddings => Family::Embeddings,
            Self::File(_) | Self::FileContent(_) | Self::Files => Family::Files,
            Self::ImagesEdits | Self::ImagesGenerations | Self::ImagesVariations => Family::Images,
            Self::Model(_) | Self::Models => Family::Models,
            Self::Moderations => Family::Moderations,
            Self::Rerank => Family::Rerank,
            Self::Response(_) | Self::Responses => Family::Responses,
        }
    }

    /// The methods that it has, `OPTIONS` apart.
    pub fn methods(&self) -> &'static [&'static str] {
        match self {
            Self::FileContent(_) | Self::Model(_) | Self::Models => &["GET"],
            Self::File(_) | Self::Response(_) => &["GET", "DELETE"],
            Self::Files => &["GET", "POST"],
            _ => &["POST"],
        }
    }
}

/// Operations that a provider offers, or does not, together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Family {
    Audio,
    Chat,
    Completions,
    Embeddings,
    Files,
    Images,
    Models,
    Moderations,
    Rerank,
    Responses,
}

fn percent_decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let escape = (first == b'%')
            .then(|| tail.get(..2))
            .flatten()
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(escape.unwrap_or(first));
        rest = if escape.is_some() {
            tail.get(2..).unwrap_or_default()
        } else {
            tail
        };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_id_may_contain_slashes_and_escapes() {
        let model = |id: &str| Some(Operation::Model(id.to_owned()));
        assert_eq!(
            Operation::find("/models/meta-llama/Llama-3"),
            model("meta-llama/Llama-3")
        );
        assert_eq!(
            Operation::find("/models/meta-llama%2FLlama-3"),
            model("meta-llama/Llama-3")
        );
        assert_eq!(Operation::find("/models/../files"), None);
        assert_eq!(Operation::find("/models/"), None);
    }

    #[test]
    fn a_file_has_only_its_content_below_it() {
        assert_eq!(
            Operation::find("/files/f-1/content"),
            Some(Operation::FileContent("f-1".into()))
        );
        assert_eq!(Operation::find("/files/f-1/other"), None);
    }
}
