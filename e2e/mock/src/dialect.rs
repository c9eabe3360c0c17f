//! Providers that do not speak OpenAI's dialect: what they refuse, and what they answer by
//! themselves.
//!
//! A request is looked at before any scripted reply is given, so that no test passes with a request
//! that the real provider would not take. What is refused is what their documentation and the
//! reports of their users say; where a model's generation matters, its name tells.

pub mod anthropic;
pub mod claude;
pub mod gemini;
pub mod vertex;

use serde_json::{Map, Value};

use crate::answer::Answer;
use crate::profile::{Head, Profile, Refusal};
use crate::says::Says;

/// A dialect that is not OpenAI's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Messages.
    Anthropic,
    /// `generateContent` and embeddings.
    Gemini,
    /// Either, in a project of Google Cloud.
    Vertex,
}

/// A request that its provider has nothing against.
#[derive(Debug)]
pub struct Accepted {
    call: Call,
    body: Value,
}

/// What a path asks for.
#[derive(Debug)]
enum Call {
    Anthropic,
    AnthropicCount,
    Gemini(gemini::Call),
    Vertex(vertex::Call),
}

impl Dialect {
    /// Looks at a whole request: path, key, headers and body.
    ///
    /// # Errors
    ///
    /// What the provider has against it.
    pub fn accept(
        self,
        profile: &Profile,
        head: &Head<'_>,
        body: &[u8],
    ) -> Result<Accepted, Refusal> {
        let below = profile
            .bases
            .iter()
            .find_map(|base| head.path.strip_prefix(base.as_str()));
        let call = match (self, below, head.method) {
            (Self::Anthropic, Some("/messages"), "POST") => Some(Call::Anthropic),
            (Self::Anthropic, Some("/messages/count_tokens"), "POST") => Some(Call::AnthropicCount),
            (Self::Gemini, Some(path), "POST") => {
                gemini::Call::of(path, head.query).map(Call::Gemini)
            }
            (Self::Vertex, Some(path), "POST") => vertex::Call::of(path, head).map(Call::Vertex),
            _ => None,
        };
        let call = call.ok_or_else(|| Refusal::url(head))?;
        profile.refuse_key(head)?;
        if head.values("content-type").next() != Some("application/json") {
            return Err(Refusal::request("content-type: must be application/json"));
        }
        let body: Value = serde_json::from_slice(body)
            .map_err(|error| Refusal::request(format!("the body is not JSON: {error}")))?;
        match &call {
            Call::Anthropic | Call::AnthropicCount => {
                let is_of_a_browser =
                    |name: &str| name == "origin" || name.starts_with("sec-fetch-");
                if head.headers.iter().any(|(name, _)| is_of_a_browser(name)) {
                    return Err(Refusal::authentication(
                        "CORS requests must set 'anthropic-dangerous-direct-browser-access' header",
                    ));
                }
                // The one that the gateway writes, and the one of the newest SDK.
                let version = head.values("anthropic-version").next();
                if !matches!(version, Some("2023-06-01" | "2026-10-21")) {
                    return Err(Refusal::request("anthropic-version: header is required"));
                }
                match call {
                    Call::AnthropicCount => anthropic::refuse_count(&body, &[])?,
                    _ => anthropic::refuse(&body)?,
                }
            }
            Call::Gemini(call) => gemini::refuse(call, &body, false)?,
            Call::Vertex(call) => call.refuse(head, &body)?,
        }
        Ok(Accepted { call, body })
    }
}

impl Accepted {
    /// What the provider answers: as the tests want it, else by itself.
    pub fn answer(&self, authority: &str, says: &Says) -> Answer {
        match &self.call {
            Call::Anthropic => anthropic::answer(&self.body, authority, says),
            Call::AnthropicCount => anthropic::count(),
            Call::Gemini(call) => gemini::answer(call, &self.body, authority, says),
            Call::Vertex(call) => call.answer(&self.body, authority, says),
        }
    }
}

type Checked = Result<(), Refusal>;

fn wrong(at: &str, what: &str) -> Refusal {
    Refusal::request(format!("{at}: {what}"))
}

fn object<'v>(value: &'v Value, at: &str) -> Result<&'v Map<String, Value>, Refusal> {
    let found = value.as_object();
    found.ok_or_else(|| wrong(at, "Input should be a valid object"))
}

fn list<'v>(value: &'v Value, at: &str) -> Result<&'v [Value], Refusal> {
    let found = value.as_array().map(Vec::as_slice);
    found.ok_or_else(|| wrong(at, "Input should be a valid list"))
}

fn text<'v>(value: &'v Value, at: &str) -> Result<&'v str, Refusal> {
    let found = value.as_str();
    found.ok_or_else(|| wrong(at, "Input should be a valid string"))
}

/// A member that must be there.
fn required<'v>(
    members: &'v Map<String, Value>,
    name: &str,
    at: &str,
) -> Result<&'v Value, Refusal> {
    let found = members.get(name);
    found.ok_or_else(|| wrong(&format!("{at}.{name}"), "Field required"))
}

/// Members that are there and not among these.
fn only(members: &Map<String, Value>, names: &[&str], at: &str) -> Checked {
    match members.keys().find(|name| !names.contains(&name.as_str())) {
        Some(name) => Err(wrong(
            &format!("{at}.{name}"),
            "Extra inputs are not permitted",
        )),
        None => Ok(()),
    }
}

/// A number within a range.
fn number(
    members: &Map<String, Value>,
    name: &str,
    (least, most): (f64, f64),
    at: &str,
) -> Checked {
    match members.get(name).map(Value::as_f64) {
        None => Ok(()),
        Some(Some(number)) if (least..=most).contains(&number) => Ok(()),
        Some(_) => {
            let what = format!("Input should be a number of {least}..={most}");
            Err(wrong(&format!("{at}.{name}"), &what))
        }
    }
}

/// The value at a JSON pointer; `null` where there is none.
fn at<'v>(value: &'v Value, pointer: &str) -> &'v Value {
    value.pointer(pointer).unwrap_or(&Value::Null)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// `right` with members set: each must be refused, and `right` must not.
    fn refuses(refuse: &dyn Fn(&Value) -> Checked, right: &Value, wrong: &[(Value, &str)]) {
        refuse(right).unwrap();
        for (members, about) in wrong {
            let mut body = right.clone();
            for (name, value) in members.as_object().unwrap() {
                match value {
                    Value::Null => drop(body.as_object_mut().unwrap().remove(name)),
                    value => body[name] = value.clone(),
                }
            }
            let refusal = refuse(&body).expect_err(about);
            assert!(
                refusal.message.contains(about),
                "{members}: {}",
                refusal.message
            );
        }
    }

    #[test]
    fn anthropic_refuses_what_it_does_not_take() {
        let used = json!({"type": "tool_use", "id": "t", "name": "f", "input": {}});
        let result = json!({"type": "tool_result", "tool_use_id": "t", "content": "r"});
        let tool = json!({"name": "f", "input_schema": {"type": "object"}});
        let turns = |said: &Value, back: &Value| {
            json!([
                {"role": "user", "content": "a"},
                {"role": "assistant", "content": [said]},
                {"role": "user", "content": [back]},
            ])
        };
        let right = json!({
            "model": "m", "max_tokens": 9, "messages": turns(&used, &result), "tools": [tool],
        });
        let as_text = json!({"type": "tool_use", "id": "t", "name": "f", "input": "{}"});
        let text = json!({"type": "text", "text": "b"});
        let user = |content: Value| json!([{"role": "user", "content": content}]);
        refuses(
            &anthropic::refuse,
            &right,
            &[
                (json!({"max_tokens": null}), "max_tokens"),
                (json!({"n": 1}), "n"),
                (json!({"temperature": 1.5}), "temperature"),
                (json!({"stop_sequences": [" "]}), "whitespace"),
                (json!({"messages": []}), "messages"),
                (
                    json!({"messages": [{"role": "assistant", "content": "a"}]}),
                    "roles",
                ),
                (
                    json!({"messages": [{"role": "system", "content": "a"}]}),
                    "roles",
                ),
                (
                    json!({"messages": [{"role": "user", "content": "a", "name": "x"}]}),
                    "name",
                ),
                (json!({"messages": user(json!(""))}), "non-empty"),
                (
                    json!({"messages": user(json!([{"type": "text", "text": " "}]))}),
                    "whitespace",
                ),
                (
                    json!({"messages": user(json!([result]))}),
                    "unexpected `tool_use_id`",
                ),
                (json!({"messages": user(json!([used]))}), "not expected"),
                (
                    json!({"messages": turns(&used, &text)}),
                    "without `tool_result`",
                ),
                (json!({"messages": turns(&as_text, &result)}), "dictionary"),
                (json!({"messages": user(json!([text, result]))}), "first"),
                (
                    json!({"tools": [{"name": "f", "input_schema": {}}]}),
                    "object",
                ),
                (
                    json!({"tools": [{"name": "a b", "input_schema": {"type": "object"}}]}),
                    "pattern",
                ),
                (
                    json!({"tool_choice": {"type": "tool", "name": "g"}}),
                    "tool_choice",
                ),
                (
                    json!({"thinking": {"type": "enabled", "budget_tokens": 1024}}),
                    "less than",
                ),
                (
                    json!({"output_config": {"format": {"type": "json_object"}}}),
                    "json_schema",
                ),
            ],
        );
    }

    #[test]
    fn gemini_refuses_what_it_does_not_take() {
        let call = |model: &str| gemini::Call {
            model: model.to_owned(),
            method: "generateContent".to_owned(),
        };
        let refuse = |body: &Value| gemini::refuse(&call("gemini-2.5-flash"), body, false);
        let turns = |said: Value, back: Value| {
            json!([
                {"role": "user", "parts": [{"text": "a"}]},
                {"role": "model", "parts": [said]},
                {"role": "user", "parts": [back]},
            ])
        };
        let called = json!({"functionCall": {"name": "f", "args": {}}});
        let back = json!({"functionResponse": {"name": "f", "response": {}}});
        let tools = |schema: Value| json!([{"functionDeclarations": [{"name": "f", "parameters": schema}]}]);
        let of = |schema: Value| json!({"type": "object", "properties": {"a": schema}});
        let right = json!({
            "contents": turns(called.clone(), back.clone()),
            "tools": tools(of(json!({"type": "string"}))),
        });
        let user = |part: Value| json!([{"role": "user", "parts": [part]}]);
        refuses(
            &refuse,
            &right,
            &[
                (json!({"model": "m"}), "model"),
                (json!({"contents": []}), "contents"),
                (
                    json!({"contents": [{"role": "model", "parts": [{"text": "a"}]}]}),
                    "roles",
                ),
                (
                    json!({"contents": [{"role": "user", "parts": []}]}),
                    "empty",
                ),
                (json!({"contents": user(json!({"text": ""}))}), "empty text"),
                (json!({"contents": user(json!({"text": "a", "x": 1}))}), "x"),
                (
                    json!({"contents": user(back)}),
                    "number of function response",
                ),
                (
                    json!({"contents": turns(called.clone(), json!({"text": "b"}))}),
                    "number of function response",
                ),
                (
                    json!({"contents": turns(called, json!({"functionResponse": {"name": "f", "response": "r"}}))}),
                    "Struct",
                ),
                (
                    json!({"contents": turns(json!({"functionCall": {"name": "f", "args": "{}"}}), json!({}))}),
                    "Struct",
                ),
                (
                    json!({"tools": tools(json!({"type": "object"}))}),
                    "non-empty",
                ),
                (
                    json!({"tools": tools(of(json!({"const": "a", "type": "string"})))}),
                    "const",
                ),
                (
                    json!({"tools": tools(of(json!({"type": ["string", "null"]})))}),
                    "string",
                ),
                (
                    json!({"tools": tools(of(json!({"type": "integer", "enum": [1]})))}),
                    "enum",
                ),
                (
                    json!({"tools": tools(of(json!({"type": "array"})))}),
                    "items",
                ),
                (json!({"tools": tools(of(json!({})))}), "type"),
                (json!({"generationConfig": {"n": 2}}), "n"),
                (
                    json!({"generationConfig": {"seed": 9_007_199_254_740_991_u64}}),
                    "seed",
                ),
                (
                    json!({"generationConfig": {"thinkingConfig": {"thinkingLevel": "LOW"}}}),
                    "level",
                ),
                (
                    json!({"toolConfig": {"functionCallingConfig": {"mode": "AUTO", "allowedFunctionNames": ["f"]}}}),
                    "ANY",
                ),
            ],
        );
        for keyword in [
            "$schema",
            "additionalProperties",
            "exclusiveMinimum",
            "propertyNames",
        ] {
            let body = json!({
                "contents": user(json!({"text": "a"})),
                "tools": tools(of(json!({"type": "string", keyword: 1}))),
            });
            assert!(refuse(&body).unwrap_err().message.contains(keyword));
        }
        // The third generation insists on signatures.
        assert!(gemini::refuse(&call("gemini-3-pro-preview"), &right, false).is_err());
    }

    #[test]
    fn vertex_refuses_what_it_does_not_take() {
        let host = "us-central1-aiplatform.googleapis.com";
        let headers = [("content-length".to_owned(), "1".to_owned())];
        let head = |authority, query| Head {
            method: "POST",
            authority,
            path: "",
            query,
            headers: &headers,
        };
        let place = "/projects/p/locations/us-central1/publishers";
        let call = |path: &str| vertex::Call::of(&format!("{place}/{path}"), &head(host, None));
        for path in [
            "anthropic/models/claude-x:generateContent",
            "google/models/gemini-x:rawPredict",
            "google/models/gemini-x:streamGenerateContent",
            "google/models/:predict",
            "google/models/a/b:predict",
        ] {
            assert_eq!(call(path), None, "{path}");
        }
        let elsewhere = head("aiplatform.googleapis.com", None);
        let path = format!("{place}/google/models/m:predict");
        assert_eq!(vertex::Call::of(&path, &elsewhere), None);

        let claude = call("anthropic/models/claude-x:rawPredict").unwrap();
        let right = json!({
            "anthropic_version": "vertex-2023-10-16", "max_tokens": 9,
            "messages": [{"role": "user", "content": "a"}],
        });
        refuses(
            &|body| claude.refuse(&head(host, None), body),
            &right,
            &[
                (json!({"model": "claude-x"}), "model"),
                (json!({"anthropic_version": null}), "anthropic_version"),
                (
                    json!({"anthropic_version": "2023-06-01"}),
                    "anthropic_version",
                ),
                (json!({"stream": true}), "stream"),
                (json!({"max_tokens": null}), "max_tokens"),
            ],
        );
        let chunked = Head {
            headers: &[],
            ..head(host, None)
        };
        assert_eq!(claude.refuse(&chunked, &right).unwrap_err().status, 411);

        let predict = call("google/models/gemini-embedding-001:predict").unwrap();
        refuses(
            &|body| predict.refuse(&head(host, None), body),
            &json!({"instances": [{"content": "a"}]}),
            &[
                (json!({"instances": []}), "instances"),
                (
                    json!({"instances": [{"content": "a"}, {"content": "b"}]}),
                    "instances",
                ),
                (json!({"parameters": {"dimensions": 3}}), "dimensions"),
            ],
        );
        let generate = call("google/models/gemini-2.5-flash:generateContent").unwrap();
        let with_id = json!([
            {"role": "user", "parts": [{"text": "a"}]},
            {"role": "model", "parts": [{"functionCall": {"id": "1", "name": "f"}}]},
        ]);
        refuses(
            &|body| generate.refuse(&head(host, None), body),
            &json!({"contents": [{"role": "user", "parts": [{"text": "a"}]}]}),
            &[(json!({"contents": with_id}), "Unknown name")],
        );
    }
}
