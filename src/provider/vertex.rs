//! Vertex AI: Google's own models and Anthropic's, in a project of Google Cloud.
//!
//! Sources, read 2026-11-21: <https://docs.cloud.google.com/vertex-ai/generative-ai/docs/learn/locations>,
//! <https://docs.cloud.google.com/vertex-ai/generative-ai/docs/model-reference/inference>,
//! <https://platform.claude.com/docs/en/build-with-claude/claude-on-vertex-ai>. Hosts, paths and
//! members were compared with the `google-genai` package 3.4.0 and the `anthropic` package 2.11.0.
//!
//! The model says who published it, and with that path and dialect:
//!
//! ```text
//!   /v1/projects/PROJECT/locations/LOCATION/publishers/anthropic/models/claude-…:rawPredict
//!   /v1/projects/PROJECT/locations/LOCATION/publishers/google/models/…:generateContent
//! ```

mod claude;
mod embeddings;

pub use self::claude::BETAS;
pub(super) use self::claude::COUNT_TOKENS;
use self::claude::Claude;
use super::dialect::{
    BrokenReply, Counting, Dialect, Embeddings, Head, Options, ReplyStream, Unsupported,
};
use super::gemini;
use crate::chat::{Reply, Request};
use crate::embed;
use crate::failure::Failure;
use crate::json::Writer;

/// Where requests are charged, and where they are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    project: String,
    location: String,
}

impl Location {
    /// A project and a location.
    pub fn new(project: impl Into<String>, location: impl Into<String>) -> Self {
        Self {
            project: project.into(),
            location: location.into(),
        }
    }

    /// Whether a text can be a project's id or number: `my-project-1`, `example.com:my-project`.
    pub fn is_project(text: &str) -> bool {
        let fits = |b: u8| b.is_ascii_alphanumeric() || b"-.:".contains(&b);
        text.bytes().all(fits) && text.starts_with(|c: char| c.is_ascii_alphanumeric())
    }

    /// Whether a text can be a location: `us-central1`, `global`, `eu`.
    pub fn is_location(text: &str) -> bool {
        let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        text.bytes().all(fits) && text.starts_with(|c: char| c.is_ascii_lowercase())
    }

    /// Scheme and host.
    pub fn origin(&self) -> String {
        match self.location.as_str() {
            "global" => "https://aiplatform.googleapis.com".to_owned(),
            // The two locations that are several regions.
            both @ ("eu" | "us") => format!("https://aiplatform.{both}.rep.googleapis.com"),
            region => format!("https://{region}-aiplatform.googleapis.com"),
        }
    }

    /// The path below the version.
    pub fn path(&self) -> String {
        format!("/projects/{}/locations/{}", self.project, self.location)
    }
}

/// The dialect in which a model is asked, by its name.
pub fn dialect_of(model: &str) -> &'static dyn Dialect {
    match model.starts_with("claude-") {
        true => &Claude,
        false => &Gemini,
    }
}

/// Google's own models.
///
/// They speak as AI Studio's do, [`gemini::Gemini`], below the path of their publisher, and know no
/// ids of calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gemini;

impl Dialect for Gemini {
    fn write(
        &self,
        request: &Request<'_>,
        options: &Options,
        json: &mut Writer,
    ) -> Result<Head, Unsupported> {
        let mut head = gemini::write_for_vertex(json, request, options)?;
        head.suffix.insert_str(0, PUBLISHER);
        Ok(head)
    }

    fn decode<'a>(&self, body: &'a [u8]) -> Result<Reply<'a>, BrokenReply> {
        Dialect::decode(&gemini::Gemini, body)
    }

    fn stream(&self, max_event_bytes: usize) -> Box<dyn ReplyStream> {
        gemini::Gemini.stream(max_event_bytes)
    }

    fn embeddings(&self) -> Option<&'static dyn Embeddings> {
        Some(&Gemini)
    }

    fn counting(&self) -> Option<&'static dyn Counting> {
        Some(&Gemini)
    }

    fn error(&self, status: u16, body: &[u8]) -> Failure<'static> {
        gemini::Gemini.error(status, body)
    }

    fn retry_after(&self, body: &[u8]) -> Option<u64> {
        gemini::Gemini.retry_after(body)
    }
}

impl Counting for Gemini {
    fn write(
        &self,
        request: &Request<'_>,
        options: &Options,
        json: &mut Writer,
    ) -> Result<Head, Unsupported> {
        let mut head = gemini::write_count_for_vertex(json, request, options)?;
        head.suffix.insert_str(0, PUBLISHER);
        Ok(head)
    }

    fn decode(&self, body: &[u8]) -> Result<u64, BrokenReply> {
        Counting::decode(&gemini::Gemini, body)
    }
}

impl Embeddings for Gemini {
    fn write(
        &self,
        request: &embed::Request<'_>,
        model: &str,
        options: &Options,
        json: &mut Writer,
    ) -> Result<Head, Unsupported> {
        let mut head = embeddings::write(json, request, model, options)?;
        head.suffix.insert_str(0, PUBLISHER);
        Ok(head)
    }

    fn decode<'a>(&self, body: &'a [u8], count: usize) -> Result<embed::Reply<'a>, BrokenReply> {
        embeddings::decode(body, count)
    }
}

/// The families of models that are asked here, as names with `*`.
///
/// Source: <https://docs.cloud.google.com/vertex-ai/generative-ai/docs/models>, read 2026-11-21.
pub const FAMILIES: &[&str] = &[
    "claude-*",
    "gemini-*",
    "gemma-*",
    "text-embedding-0*",
    "text-multilingual-embedding-*",
];

/// What stands before Google's own models.
const PUBLISHER: &str = "/publishers/google";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_has_its_host() {
        for (location, host) in [
            ("us-central1", "us-central1-aiplatform.googleapis.com"),
            ("global", "aiplatform.googleapis.com"),
            ("eu", "aiplatform.eu.rep.googleapis.com"),
            ("us", "aiplatform.us.rep.googleapis.com"),
        ] {
            let location = Location::new("p", location);
            assert_eq!(location.origin(), format!("https://{host}"));
        }
    }

    #[test]
    fn what_would_change_a_path_is_neither_project_nor_location() {
        for project in ["my-project-1", "123456", "example.com:p"] {
            assert!(Location::is_project(project), "{project}");
        }
        for text in ["", "../p", "a/b", "a?b", "a%2fb", ".."] {
            assert!(!Location::is_project(text), "{text}");
            assert!(!Location::is_location(text), "{text}");
        }
        assert!(!Location::is_location("evil.example/"));
    }

    #[test]
    fn a_pause_that_google_asks_for_in_the_body_is_told() {
        let info = r#"{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"7s"}"#;
        let error = format!(
            r#"{{"error":{{"code":429,"message":"m","status":"RESOURCE_EXHAUSTED","details":[{info}]}}}}"#
        );
        let wait = |model| dialect_of(model).retry_after(error.as_bytes());
        assert_eq!(wait("gemini-2.5-flash"), Some(7));
        assert_eq!(wait("claude-sonnet-4-5"), None);
    }

    #[test]
    fn results_find_their_calls_without_ids() {
        let call = |id: &str, arguments: &str| {
            let function = format!(r#"{{"name":"f","arguments":"{arguments}"}}"#);
            format!(r#"{{"id":"{id}","type":"function","function":{function}}}"#)
        };
        let result =
            |id: &str| format!(r#"{{"role":"tool","tool_call_id":"{id}","content":"{id}"}}"#);
        let calls = [call("a", ""), call("b", "")].join(",");
        let messages = [
            r#"{"role":"user","content":"x"}"#.to_owned(),
            format!(r#"{{"role":"assistant","content":null,"tool_calls":[{calls}]}}"#),
            result("b"),
            result("a"),
            r#"{"role":"user","content":"y"}"#.to_owned(),
        ];
        let body = format!(
            r#"{{"model":"gemini-2.5-pro","messages":[{}]}}"#,
            messages.join(",")
        );
        let request = crate::api::openai::read(body.as_bytes()).unwrap();
        let encoded = Dialect::encode(&Gemini, &request, &Options::default()).unwrap();
        let sent: serde_json::Value = serde_json::from_slice(&encoded.body).unwrap();
        let parts = |content: usize| sent["contents"][content]["parts"].clone();
        let called = serde_json::json!({"functionCall": {"name": "f", "args": {}}});
        assert_eq!(parts(1), serde_json::json!([called, called]));
        let answered = |output: &str| {
            let response = serde_json::json!({"name": "f", "response": {"output": output}});
            serde_json::json!({"functionResponse": response})
        };
        let text = serde_json::json!({"text": "y"});
        assert_eq!(
            parts(2),
            serde_json::json!([answered("a"), answered("b"), text])
        );
    }

    #[test]
    fn the_model_says_who_published_it() {
        for (model, path) in [
            (
                "claude-sonnet-5@20260101",
                "/publishers/anthropic/models/claude-sonnet-5@20260101:rawPredict",
            ),
            (
                "gemini-3-pro",
                "/publishers/google/models/gemini-3-pro:generateContent",
            ),
        ] {
            let body =
                format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":"a"}}]}}"#);
            let request = crate::api::openai::read(body.as_bytes()).unwrap();
            let encoded = dialect_of(model).encode(&request, &Options::default());
            assert_eq!(encoded.unwrap().head.suffix, path);
        }
    }
}
