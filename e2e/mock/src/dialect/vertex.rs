//! Vertex AI: Gemini and Claude below the path of a project.
//!
//! Source: <https://docs.cloud.google.com/vertex-ai/generative-ai/docs/model-reference/inference>,
//! <https://docs.cloud.google.com/vertex-ai/generative-ai/docs/model-reference/text-embeddings-api>,
//! <https://platform.claude.com/docs/en/build-with-claude/claude-on-vertex-ai>, and the requests of
//! the `google-genai` package 3.4.0, read 2026-11-21.

use serde_json::{Map, Value, json};

use super::{Checked, anthropic, at as value_at, gemini, list, number, object, only, required};
use super::{text, wrong};
use crate::answer::Answer;
use crate::payload::check_model;
use crate::profile::{Head, Refusal};
use crate::says::Says;

/// What a path asks for, and of whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    publisher: Publisher,
    call: gemini::Call,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Publisher {
    Anthropic,
    Google,
}

impl Call {
    /// The call that `/projects/P/locations/L/publishers/X/models/MODEL:METHOD` asks for, at a host
    /// of location L.
    pub fn of(path: &str, head: &Head<'_>) -> Option<Self> {
        let (project, rest) = path.strip_prefix("/projects/")?.split_once('/')?;
        let (location, rest) = rest.strip_prefix("locations/")?.split_once('/')?;
        let (publisher, rest) = rest.strip_prefix("publishers/")?.split_once('/')?;
        let (model, method) = rest.strip_prefix("models/")?.split_once(':')?;
        let host = crate::profile::host(head.authority);
        let is_here = match location {
            "global" => host == "aiplatform.googleapis.com",
            "eu" | "us" => host == format!("aiplatform.{location}.rep.googleapis.com"),
            region => host == format!("{region}-aiplatform.googleapis.com"),
        };
        let (publisher, query) = match (publisher, method) {
            ("anthropic", "rawPredict" | "streamRawPredict") => (Publisher::Anthropic, None),
            ("google", "streamGenerateContent") => (Publisher::Google, Some("alt=sse")),
            (
                "google",
                "generateContent" | "countTokens" | "predict" | "embedContent"
                | "batchEmbedContents",
            ) => (Publisher::Google, None),
            _ => return None,
        };
        let is_whole = !project.is_empty() && !model.is_empty() && !model.contains('/');
        (is_here && is_whole && head.query == query).then(|| Self {
            publisher,
            call: gemini::Call {
                model: model.to_owned(),
                method: method.to_owned(),
            },
        })
    }

    /// What Vertex has against a request.
    ///
    /// # Errors
    ///
    /// 400, 404 for the model, or 411 where the length of a body for Claude is not told.
    pub fn refuse(&self, head: &Head<'_>, body: &Value) -> Checked {
        let gemini::Call { model, method } = &self.call;
        match (self.publisher, method.as_str()) {
            (Publisher::Anthropic, _) => self.refuse_claude(head, body),
            (Publisher::Google, "predict") => {
                check_model(model.clone())?;
                self.refuse_predict(object(body, "body")?)
            }
            (Publisher::Google, "embedContent") => {
                check_model(model.clone())?;
                refuse_embedding(object(body, "body")?)
            }
            (Publisher::Google, "batchEmbedContents") => {
                check_model(model.clone())?;
                let members = object(body, "body")?;
                only(members, &["requests"], "body")?;
                let requests = list(required(members, "requests", "body")?, "requests")?;
                let mut requests = requests.iter();
                requests.try_for_each(|it| refuse_embedding(object(it, "requests")?))
            }
            (Publisher::Google, _) => {
                refuse_ids(body, model)?;
                gemini::refuse(&self.call, body, true)
            }
        }
    }

    fn refuse_claude(&self, head: &Head<'_>, body: &Value) -> Checked {
        if head.values("content-length").next().is_none() {
            return Err(Refusal {
                status: 411,
                ..Refusal::request("the length of the body must be told")
            });
        }
        if head.values("anthropic-version").next().is_some() {
            return Err(wrong("anthropic-version", "belongs into the body"));
        }
        let members = object(body, "body")?;
        if self.call.model == COUNT_TOKENS {
            required(members, "anthropic_version", "body")?;
            return anthropic::refuse_count(body, &["anthropic_version"]);
        }
        check_model(self.call.model.clone())?;
        if members.contains_key("model") {
            return Err(wrong("model", "Extra inputs are not permitted"));
        }
        let version = required(members, "anthropic_version", "body")?;
        if version != "vertex-2023-10-16" {
            return Err(wrong(
                "anthropic_version",
                "Input should be 'vertex-2023-10-16'",
            ));
        }
        let streams = members.get("stream") == Some(&json!(true));
        if streams != (self.call.method == "streamRawPredict") {
            return Err(wrong("stream", "does not fit the method"));
        }
        anthropic::refuse_all_but_the_model(members, &self.call.model, &["anthropic_version"])
    }

    fn refuse_predict(&self, members: &Map<String, Value>) -> Checked {
        only(members, &["instances", "parameters"], "body")?;
        let instances = list(required(members, "instances", "body")?, "instances")?;
        for instance in instances {
            let instance = object(instance, "instances")?;
            only(instance, &["content", "task_type", "title"], "instances")?;
            text(required(instance, "content", "instances")?, "content")?;
        }
        let most = match self.call.model.starts_with("gemini-embedding-001") {
            true => 1,
            false => 250,
        };
        if !(1..=most).contains(&instances.len()) {
            return Err(wrong("instances", &format!("must be 1 to {most}")));
        }
        let parameters = members.get("parameters");
        parameters.map_or(Ok(()), |it| refuse_config(object(it, "parameters")?))
    }

    /// What it answers: as the tests want it, else by itself.
    pub fn answer(&self, body: &Value, authority: &str, says: &Says) -> Answer {
        match (self.publisher, self.call.method.as_str()) {
            (Publisher::Anthropic, _) if self.call.model == COUNT_TOKENS => anthropic::count(),
            (Publisher::Anthropic, _) => {
                anthropic::answer_of(body, &self.call.model, authority, says)
            }
            (Publisher::Google, "predict") => {
                let count = value_at(body, "/instances").as_array().map_or(0, Vec::len);
                let vector = json!({"embeddings": {
                    "values": [0.25, -0.5, 1.0],
                    "statistics": {"token_count": 3, "truncated": false},
                }});
                Answer::json(&json!({
                    "predictions": vec![vector; count],
                    "metadata": {"billableCharacterCount": 9},
                }))
            }
            (Publisher::Google, _) => gemini::answer(&self.call, body, authority, says),
        }
    }
}

/// The model of the path at which tokens are counted.
const COUNT_TOKENS: &str = "count-tokens";

/// Calls and results have ids from Gemini 3 on, and none before.
fn refuse_ids(body: &Value, model: &str) -> Checked {
    let is_old = model.starts_with("gemini-1") || model.starts_with("gemini-2");
    let contents = value_at(body, "/contents").as_array();
    let parts = contents
        .into_iter()
        .flatten()
        .filter_map(|content| content.get("parts")?.as_array());
    for part in parts.flatten() {
        for kind in ["functionCall", "functionResponse"] {
            let has_id = part.get(kind).map(|it| it.get("id").is_some());
            match (is_old, has_id) {
                (true, Some(true)) => {
                    return Err(wrong(kind, "Unknown name \"id\": Cannot find field."));
                }
                // The real one answers with nothing and STOP.
                (false, Some(false)) => return Err(wrong(kind, "has no id")),
                _ => {}
            }
        }
    }
    Ok(())
}

fn refuse_embedding(members: &Map<String, Value>) -> Checked {
    only(members, &["content", "embedContentConfig"], "body")?;
    let content = object(required(members, "content", "body")?, "content")?;
    only(content, &["parts", "role"], "content")?;
    for part in list(required(content, "parts", "content")?, "parts")? {
        text(required(object(part, "parts")?, "text", "parts")?, "text")?;
    }
    let config = members.get("embedContentConfig");
    config.map_or(Ok(()), |it| {
        refuse_config(object(it, "embedContentConfig")?)
    })
}

fn refuse_config(members: &Map<String, Value>) -> Checked {
    only(members, &["autoTruncate", "outputDimensionality"], "config")?;
    number(members, "outputDimensionality", (1.0, 1e6), "config")
}
