//! The providers: where each lives, what it knows, what it refuses, and how it says so.
//!
//! Host names, base paths and the place of the key are those of the providers' documentation. The
//! error shapes are those that users of each provider have reported. Differences from the real
//! ones:
//!
//! * A key is right unless it looks wrong: see [`Profile::refuse_key`].
//! * A model exists unless its name begins with `no-such-model`.
//! * The firewall of [`Profile::refuse_envelope`] is ours: a real provider ignores a stray
//!   `x-forwarded-for`. Here it is refused, so that no test passes while something leaks.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::dialect::Dialect;
use crate::operation::{Family, Operation};
use crate::tokens;
use crate::wire;

/// One provider.
#[derive(Clone, Debug)]
pub struct Profile {
    /// Host name, without a port; empty for any other.
    pub authority: String,
    /// What paths start with. The first is the documented one.
    pub bases: Vec<String>,
    /// A further path (with query, if that is demanded) that means chat completions.
    pub chat_path: Option<String>,
    /// Where the key is expected.
    pub key: Key,
    /// The operations on offer.
    pub families: &'static [Family],
    /// The top-level members of a chat request; anything else is refused. `None`: all pass.
    pub chat_members: Option<&'static [&'static str]>,
    /// The members of messages; `None`: all pass.
    pub message_members: Option<&'static MessageMembers>,
    /// The member of its replies in which it thinks.
    pub thinking_member: Option<&'static str>,
    /// Its models that reason, and those after them, refuse `max_tokens`.
    pub insists_on_completion_tokens: bool,
    /// What it speaks instead of OpenAI's dialect.
    pub dialect: Option<Dialect>,
    /// The server of access tokens that it is.
    pub tokens: Option<tokens::Server>,
    /// Whether its keys are access tokens, of which it knows.
    pub takes_tokens: bool,
    /// How errors look.
    pub shape: Shape,
    /// Headers that would be refused otherwise.
    pub allow_headers: Vec<String>,
    /// Names that may be asked for in the handshake besides the authority's own.
    pub sni: Vec<String>,
    /// Does not speak plain HTTP.
    pub tls_only: bool,
    /// A comment that its streams send before the first event.
    pub stream_comment: Option<&'static str>,
    /// Its streams end with the usage, asked for or not, and must not be asked for it.
    pub usage_unasked: bool,
    /// What its list of models says.
    pub models: &'static [&'static str],
}

/// What a provider takes in the messages of a chat; anything else is refused.
#[derive(Debug)]
pub struct MessageMembers {
    /// By role.
    pub roles: &'static [(&'static str, &'static [&'static str])],
    /// In a call of an assistant's message.
    pub call: &'static [&'static str],
    /// In the function of a call.
    pub function: &'static [&'static str],
}

/// The place of the key.
#[derive(Clone, Debug)]
pub struct Key {
    /// Must there be one?
    pub need: Need,
    /// Header name, in lower case.
    pub header: String,
    /// What precedes the key in the header's value.
    pub prefix: String,
}

/// Whether there must be a key.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Need {
    /// One is refused.
    None,
    /// One is checked if it is there.
    Optional,
    /// One must be there.
    Required,
}

/// The forms in which providers say that something is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// `{"type":"error","error":{"type","message"}}`
    Anthropic,
    /// `{"id", "message"}`
    Cohere,
    /// `{"error":{"object","type","code","message"}}`
    Fireworks,
    /// `{"error":{"code":NUMBER,"message","status"}}`
    Google,
    /// `{"error":{"message","type"}}`, with `code` where there is one
    Groq,
    /// `{"detail":"…"}`, `{"message":"…","request_id"}` or `{"object":"error","message":{"detail":[…]}}`
    Mistral,
    /// `{"error":{"message","type","param","code"}}`
    OpenAi,
    /// `{"error":{"message","code":NUMBER}}`
    OpenRouter,
    /// `{"error":{"message","type","param","code":NUMBER}}`, and `{"detail":"…"}` for paths
    Vllm,
    /// `{"code":"…","error":"…"}`
    Xai,
}

/// Why a request is not served.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// What it is about.
    pub kind: Kind,
    /// Whole sentence.
    pub message: String,
    /// The member of the request that is wrong.
    pub param: Option<String>,
}

/// What a refusal is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The key is missing or wrong.
    Authentication,
    /// The path is right and the method is not; these are right.
    Method(&'static [&'static str]),
    /// There is no such model, file or response.
    NotFound,
    /// Anything else about the request.
    Request,
    /// A member that the provider does not know.
    UnknownMember,
    /// A member that the provider knows, and this model does not take.
    UnsupportedMember,
    /// There is no such path.
    Url,
}

/// What is known of a request when its head has arrived.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// As sent.
    pub method: &'a str,
    /// As sent, port included.
    pub authority: &'a str,
    /// Without the query.
    pub path: &'a str,
    /// Without the question mark.
    pub query: Option<&'a str>,
    /// In the order received, names in lower case.
    pub headers: &'a [(String, String)],
}

impl<'a> Head<'a> {
    /// The values of a header.
    pub fn values(&self, name: &str) -> impl Iterator<Item = &'a str> {
        self.headers
            .iter()
            .filter(move |header| header.0 == name)
            .map(|header| header.1.as_str())
    }
}

impl Refusal {
    /// A 400 about no member in particular.
    pub fn request(message: impl Into<String>) -> Self {
        Self {
            status: 400,
            kind: Kind::Request,
            message: message.into(),
            param: None,
        }
    }

    /// A 400 about one member.
    pub fn member(name: &str, message: impl Into<String>) -> Self {
        Self {
            param: Some(name.to_owned()),
            ..Self::request(message)
        }
    }

    /// A 401.
    pub fn authentication(message: impl Into<String>) -> Self {
        Self {
            status: 401,
            kind: Kind::Authentication,
            ..Self::request(message)
        }
    }

    /// A 404 about the path itself.
    pub fn url(head: &Head<'_>) -> Self {
        Self {
            status: 404,
            kind: Kind::Url,
            ..Self::request(format!("Invalid URL ({} {})", head.method, head.path))
        }
    }

    /// A 404 about a thing that the path or the body names.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self {
            status: 404,
            kind: Kind::NotFound,
            ..Self::request(message)
        }
    }
}

impl Profile {
    /// What no reply may excuse: framing, the name in the handshake, headers that must not leave
    /// the proxy, several credentials at once.
    ///
    /// # Errors
    ///
    /// The refusal.
    pub fn refuse_envelope(
        &self,
        head: &Head<'_>,
        connection: &wire::Connection,
    ) -> Result<(), Refusal> {
        let count = |name| head.values(name).count();
        if count("content-length") > 0 && count("transfer-encoding") > 0 {
            return Err(Refusal::request(
                "both content-length and transfer-encoding",
            ));
        }
        for name in [
            "content-length",
            "transfer-encoding",
            "content-type",
            "host",
        ] {
            if count(name) > 1 {
                return Err(Refusal::request(format!("more than one {name} header")));
            }
        }
        if head.authority.is_empty() {
            return Err(Refusal::request("no host"));
        }
        self.refuse_name(head, connection)?;
        for (name, _) in head.headers {
            if *name != self.key.header
                && !self.allow_headers.contains(name)
                && let Some(why) = leak(name)
            {
                let two = CREDENTIALS.contains(&name.as_str()) && count(&self.key.header) > 0;
                let also = if two {
                    ", beside another credential"
                } else {
                    ""
                };
                return Err(Refusal::request(format!("header {name}: {why}{also}")));
            }
        }
        Ok(())
    }

    fn refuse_name(&self, head: &Head<'_>, connection: &wire::Connection) -> Result<(), Refusal> {
        let host = host(head.authority);
        if !connection.tls {
            return if self.tls_only {
                Err(Refusal::request(format!("plain HTTP was used with {host}")))
            } else {
                Ok(())
            };
        }
        let address =
            host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() || host == "localhost";
        let right = match &connection.sni {
            None => address,
            Some(sni) => {
                sni.eq_ignore_ascii_case(host)
                    || self.sni.iter().any(|also| also.eq_ignore_ascii_case(sni))
            }
        };
        if right {
            return Ok(());
        }
        let sni = connection.sni.as_deref().unwrap_or("no name");
        Err(Refusal {
            status: 421,
            ..Refusal::request(format!(
                "the handshake asked for {sni}, the request for {host}"
            ))
        })
    }

    /// The operation that the path and the method ask for; `None` for `OPTIONS`.
    ///
    /// # Errors
    ///
    /// 404 or 405.
    pub fn operation(&self, head: &Head<'_>) -> Result<Option<Operation>, Refusal> {
        let unknown = || Refusal::url(head);
        let operation = self
            .chat_path
            .as_deref()
            .filter(|path| is_at(path, head))
            .map_or_else(
                || {
                    self.bases
                        .iter()
                        .filter_map(|base| head.path.strip_prefix(base.as_str()))
                        .filter_map(Operation::find)
                        .find(|operation| self.families.contains(&operation.family()))
                        .ok_or_else(unknown)
                },
                |_| Ok(Operation::ChatCompletions),
            )?;
        let methods = operation.methods();
        if head.method == "OPTIONS" {
            Ok(None)
        } else if methods.contains(&head.method) {
            Ok(Some(operation))
        } else {
            Err(Refusal {
                status: 405,
                kind: Kind::Method(methods),
                ..Refusal::request(format!("Not allowed to {} on {}", head.method, head.path))
            })
        }
    }

    /// Looks at the key: it must be there once, in its place, and not look wrong.
    ///
    /// A key looks wrong when it begins with `sk-bad` or `bad-`, contains white space, or is a
    /// reference (`$NAME`, `${NAME}`) that nobody resolved.
    ///
    /// # Errors
    ///
    /// 401, or 400 where no key is wanted.
    pub fn refuse_key(&self, head: &Head<'_>) -> Result<(), Refusal> {
        let values: Vec<&str> = head.values(&self.key.header).collect();
        let name = &self.key.header;
        let value = match (values.as_slice(), self.key.need) {
            ([], Need::None | Need::Optional) => return Ok(()),
            ([], Need::Required) => {
                return Err(Refusal::authentication(
                    "You didn't provide an API key: the key is missing",
                ));
            }
            (_, Need::None) => return Err(Refusal::request(format!("header {name}: not wanted"))),
            ([value], _) => *value,
            _ => {
                return Err(Refusal::authentication(format!(
                    "duplicate key: several {name}"
                )));
            }
        };
        // RFC 9110, section 11.1: the scheme is a case-insensitive token.
        let (scheme, key) = value
            .split_at_checked(self.key.prefix.len())
            .unwrap_or((value, ""));
        if !scheme.eq_ignore_ascii_case(&self.key.prefix) && value != self.key.prefix.trim_end() {
            return Err(Refusal::authentication(format!(
                "the key must follow \"{}\" in header {name}",
                self.key.prefix
            )));
        }
        if key.is_empty() {
            return Err(Refusal::authentication("empty key"));
        }
        if key.starts_with("sk-bad")
            || key.starts_with("bad-")
            || key.contains(char::is_whitespace)
            || key.contains('$')
        {
            return Err(Refusal::authentication(format!(
                "Incorrect API key provided: {key}"
            )));
        }
        Ok(())
    }

    /// The first member that this provider's chat completions do not have.
    ///
    /// # Errors
    ///
    /// 400, or 422 where the provider says that.
    pub fn refuse_chat_member<'a>(
        &self,
        mut members: impl Iterator<Item = &'a str>,
    ) -> Result<(), Refusal> {
        let Some(known) = self.chat_members else {
            return Ok(());
        };
        let Some(unknown) = members.find(|member| !known.contains(member)) else {
            return Ok(());
        };
        Err(self.unknown_member(unknown))
    }

    /// The first member that this provider's messages do not have.
    ///
    /// # Errors
    ///
    /// 400, or 422 where the provider says that.
    pub fn refuse_message_members(&self, messages: &[Map<String, Value>]) -> Result<(), Refusal> {
        let Some(known) = self.message_members else {
            return Ok(());
        };
        for (index, message) in messages.iter().enumerate() {
            let role = message
                .get("role")
                .and_then(Value::as_str)
                .unwrap_or_default();
            let Some((_, members)) = known.roles.iter().find(|(name, _)| *name == role) else {
                return Err(self.unknown_member(&format!("messages.{index}.role")));
            };
            let unknown = message.keys().find(|it| !members.contains(&it.as_str()));
            if let Some(name) = unknown {
                return Err(self.unknown_member(&format!("messages.{index}.{name}")));
            }
            let calls = message.get("tool_calls").and_then(Value::as_array);
            for call in calls.into_iter().flatten().filter_map(Value::as_object) {
                let unknown = call.keys().find(|it| !known.call.contains(&it.as_str()));
                if let Some(name) = unknown {
                    return Err(self.unknown_member(&format!("messages.{index}.tool_calls.{name}")));
                }
                let function = call.get("function").and_then(Value::as_object);
                let mut names = function.into_iter().flat_map(|it| it.keys());
                if let Some(name) = names.find(|it| !known.function.contains(&it.as_str())) {
                    let at = format!("messages.{index}.tool_calls.function.{name}");
                    return Err(self.unknown_member(&at));
                }
            }
        }
        Ok(())
    }

    fn unknown_member(&self, name: &str) -> Refusal {
        let (status, message) = match self.shape {
            Shape::Groq => (400, format!("property '{name}' is unsupported")),
            Shape::Mistral => (422, "Extra inputs are not permitted".to_owned()),
            _ => (400, format!("Unknown parameter: '{name}'.")),
        };
        Refusal {
            status,
            kind: Kind::UnknownMember,
            ..Refusal::member(name, message)
        }
    }

    /// The reply's body for a refusal, in this provider's own shape.
    pub fn error_body(&self, refusal: &Refusal) -> Value {
        let Refusal {
            status,
            kind,
            message,
            param,
        } = refusal;
        let (class, code) = match kind {
            Kind::Authentication => ("invalid_request_error", json!("invalid_api_key")),
            Kind::NotFound if param.as_deref() == Some("model") => {
                ("invalid_request_error", json!("model_not_found"))
            }
            Kind::Url => ("invalid_request_error", json!("unknown_url")),
            Kind::UnsupportedMember => ("invalid_request_error", json!("unsupported_parameter")),
            Kind::UnknownMember => ("invalid_request_error", json!("unknown_parameter")),
            Kind::Method(_) | Kind::NotFound | Kind::Request => {
                ("invalid_request_error", Value::Null)
            }
        };
        let location: Vec<&str> = std::iter::once("body")
            .chain(param.iter().flat_map(|p| p.split('.')))
            .collect();
        match self.shape {
            Shape::Anthropic => {
                let kind = match status {
                    401 => "authentication_error",
                    404 => "not_found_error",
                    _ => "invalid_request_error",
                };
                json!({"type": "error", "error": {"type": kind, "message": message}})
            }
            Shape::Cohere => json!({"id": "mock-cohere-id", "message": message}),
            Shape::Fireworks => json!({"error": {
                "object": "error", "type": class, "code": code, "message": message,
            }}),
            Shape::Google => {
                let word = match status {
                    401 => "UNAUTHENTICATED",
                    404 => "NOT_FOUND",
                    _ => "INVALID_ARGUMENT",
                };
                json!({"error": {"code": status, "message": message, "status": word}})
            }
            Shape::Groq if code.is_null() || *kind == Kind::UnknownMember => {
                json!({"error": {"message": message, "type": class}})
            }
            Shape::Groq => json!({"error": {"message": message, "type": class, "code": code}}),
            Shape::Mistral => match kind {
                Kind::Authentication => json!({"detail": "Unauthorized"}),
                Kind::Method(_) | Kind::Url => {
                    json!({"message": "no Route matched with those values", "request_id": "mock"})
                }
                Kind::UnknownMember => json!({
                    "object": "error",
                    "message": {"detail": [{
                        "type": "extra_forbidden",
                        "loc": location,
                        "msg": message,
                    }]},
                    "type": class, "param": null, "code": null,
                }),
                Kind::NotFound | Kind::Request | Kind::UnsupportedMember => json!({
                    "object": "error", "message": message, "type": class, "param": param,
                    "code": "3001",
                }),
            },
            Shape::OpenAi if matches!(kind, Kind::Url) => json!({"error": {
                "message": message, "type": class, "param": null, "code": null,
            }}),
            Shape::OpenAi => json!({"error": {
                "message": message, "type": class, "param": param, "code": code,
            }}),
            Shape::OpenRouter => json!({
                "error": {"message": message, "code": status},
                "user_id": "user_mock",
            }),
            Shape::Vllm => match kind {
                Kind::Url => json!({"detail": "Not Found"}),
                Kind::Method(_) => json!({"detail": "Method Not Allowed"}),
                Kind::Authentication => json!({"error": "Unauthorized"}),
                Kind::NotFound => json!({"error": {
                    "message": message, "type": "NotFoundError", "param": param, "code": status,
                }}),
                Kind::Request | Kind::UnknownMember | Kind::UnsupportedMember => json!({"error": {
                    "message": message, "type": "BadRequestError", "param": param, "code": status,
                }}),
            },
            Shape::Xai => json!({
                "code": match kind {
                    Kind::Authentication => "Unauthenticated",
                    Kind::NotFound | Kind::Url => "The requested resource was not found",
                    _ => "Client specified an invalid argument",
                },
                "error": message,
            }),
        }
    }
}

/// All providers, with what the tests changed.
#[derive(Debug)]
pub struct Profiles {
    by_authority: RwLock<HashMap<String, Arc<Profile>>>,
    other: Arc<Profile>,
}

impl Profiles {
    /// The table below.
    pub fn new() -> Self {
        Self {
            by_authority: RwLock::new(built_in()),
            other: Arc::new(generic()),
        }
    }

    /// Whom a request addresses.
    pub fn find(&self, authority: &str) -> Arc<Profile> {
        let host = host(authority).to_ascii_lowercase();
        let is_vertex = host.ends_with("-aiplatform.googleapis.com")
            || (host.starts_with("aiplatform.") && host.ends_with(".rep.googleapis.com"));
        let host = if is_vertex { VERTEX } else { &host };
        let table = self
            .by_authority
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        table.get(host).unwrap_or(&self.other).clone()
    }

    /// Changes a provider, or adds one.
    pub fn change(&self, change: Change) {
        let base = self.find(change.like.as_deref().unwrap_or(&change.authority));
        let profile = change.apply(&base);
        let mut table = self
            .by_authority
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        table.insert(profile.authority.clone(), Arc::new(profile));
    }

    /// Undoes all changes.
    pub fn reset(&self) {
        *self
            .by_authority
            .write()
            .unwrap_or_else(PoisonError::into_inner) = built_in();
    }
}

/// How a test wants a provider to differ, as posted to `/profiles`. What is absent stays.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// Host name, without a port.
    pub authority: String,
    /// The host name of the provider to start from.
    like: Option<String>,
    base: Option<String>,
    chat_path: Option<String>,
    key: Option<Need>,
    auth_header: Option<String>,
    auth_prefix: Option<String>,
    allow_headers: Option<Vec<String>>,
    sni: Option<Vec<String>>,
    tls_only: Option<bool>,
}

impl Change {
    fn apply(self, base: &Profile) -> Profile {
        let mut profile = base.clone();
        profile.authority = self.authority.to_ascii_lowercase();
        if let Some(base) = self.base {
            profile.bases = vec![base.trim_end_matches('/').to_owned()];
        }
        if let Some(need) = self.key {
            profile.key.need = need;
        }
        if let Some(header) = self.auth_header {
            profile.key.header = header.to_ascii_lowercase();
        }
        if let Some(prefix) = self.auth_prefix {
            profile.key.prefix = prefix;
        }
        if let Some(headers) = self.allow_headers {
            profile.allow_headers = headers
                .into_iter()
                .map(|name| name.to_ascii_lowercase())
                .collect();
        }
        profile.chat_path = self.chat_path.or(profile.chat_path);
        profile.sni = self.sni.unwrap_or(profile.sni);
        profile.tls_only = self.tls_only.unwrap_or(profile.tls_only);
        profile
    }
}

/// An authority without its port.
pub fn host(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    }
}

/// Why a header must not come here, if it must not.
fn leak(name: &str) -> Option<&'static str> {
    if CREDENTIALS.contains(&name) {
        return Some("a credential where this provider expects none");
    }
    let ours = ["x-llm-proxy"]
        .iter()
        .any(|prefix| name.starts_with(prefix));
    let envoys = ["x-envoy-", "x-forwarded-"]
        .iter()
        .any(|prefix| name.starts_with(prefix));
    let others = matches!(
        name,
        "cookie" | "forwarded" | "openai-organization" | "openai-project"
    );
    if ours || envoys || others || name.starts_with("x-amz-") {
        return Some("must not leave the proxy");
    }
    None
}

fn is_at(wanted: &str, head: &Head<'_>) -> bool {
    match wanted.split_once('?') {
        Some((path, query)) => path == head.path && Some(query) == head.query,
        None => wanted == head.path,
    }
}

/// The host under which all locations of Vertex AI are one provider.
const VERTEX: &str = "aiplatform.googleapis.com";

const CREDENTIALS: [&str; 5] = [
    "authorization",
    "api-key",
    "proxy-authorization",
    "x-api-key",
    "x-goog-api-key",
];

/// Any other authority: an OpenAI-compatible server under `/v1`, such as vLLM.
fn generic() -> Profile {
    Profile {
        authority: String::new(),
        bases: vec!["/v1".to_owned()],
        chat_path: None,
        key: Key {
            need: Need::Optional,
            header: "authorization".to_owned(),
            prefix: "Bearer ".to_owned(),
        },
        families: &[
            Family::Audio,
            Family::Chat,
            Family::Completions,
            Family::Embeddings,
            Family::Files,
            Family::Images,
            Family::Models,
            Family::Moderations,
            Family::Rerank,
            Family::Responses,
        ],
        chat_members: None,
        message_members: None,
        thinking_member: None,
        insists_on_completion_tokens: false,
        dialect: None,
        tokens: None,
        takes_tokens: false,
        shape: Shape::Vllm,
        allow_headers: Vec::new(),
        sni: Vec::new(),
        tls_only: false,
        stream_comment: None,
        usage_unasked: false,
        models: &["mock-large", "mock-small"],
    }
}

fn built_in() -> HashMap<String, Arc<Profile>> {
    use Family::{
        Audio, Chat, Completions, Embeddings, Files, Images, Models, Moderations, Rerank, Responses,
    };
    let hosted = |authority: &str, bases: &[&str], families, shape, models| {
        let generic = generic();
        Profile {
            authority: authority.to_owned(),
            bases: bases.iter().map(|&base| base.to_owned()).collect(),
            key: Key {
                need: Need::Required,
                ..generic.key
            },
            families,
            shape,
            tls_only: true,
            models,
            ..generic
        }
    };
    let openai = Profile {
        chat_members: Some(OPENAI_CHAT),
        message_members: Some(&OPENAI_MESSAGES),
        insists_on_completion_tokens: true,
        allow_headers: vec![
            "openai-organization".to_owned(),
            "openai-project".to_owned(),
        ],
        ..hosted(
            "api.openai.com",
            &["/v1"],
            &[
                Audio,
                Chat,
                Completions,
                Embeddings,
                Files,
                Images,
                Models,
                Moderations,
                Responses,
            ],
            Shape::OpenAi,
            &["gpt-4o", "gpt-4o-mini", "o3-mini", "text-embedding-3-small"],
        )
    };
    let xai = hosted(
        "api.x.ai",
        &["/v1"],
        &[
            Chat,
            Completions,
            Embeddings,
            Files,
            Images,
            Models,
            Responses,
        ],
        Shape::Xai,
        &["grok-2-latest", "grok-3-mini"],
    );
    let groq = Profile {
        chat_members: Some(GROQ_CHAT),
        message_members: Some(&GROQ_MESSAGES),
        thinking_member: Some("reasoning"),
        ..hosted(
            "api.groq.com",
            &["/openai/v1"],
            &[Audio, Chat, Embeddings, Files, Models, Responses],
            Shape::Groq,
            &["llama-3.3-70b-versatile", "llama-3.1-8b-instant"],
        )
    };
    let together = hosted(
        "api.together.xyz",
        &["/v1"],
        &[
            Audio,
            Chat,
            Completions,
            Embeddings,
            Files,
            Images,
            Models,
            Rerank,
        ],
        Shape::OpenAi,
        &["meta-llama/Llama-3.3-70B-Instruct-Turbo"],
    );
    let cohere = hosted(
        "api.cohere.ai",
        &["/compatibility/v1"],
        &[Audio, Chat, Embeddings, Models],
        Shape::Cohere,
        &["command-a-03-2025", "embed-v4.0"],
    );
    let mistral = Profile {
        chat_members: Some(MISTRAL_CHAT),
        message_members: Some(&MISTRAL_MESSAGES),
        usage_unasked: true,
        ..hosted(
            "api.mistral.ai",
            &["/v1"],
            &[Audio, Chat, Embeddings, Files, Models, Moderations],
            Shape::Mistral,
            &[
                "mistral-large-latest",
                "mistral-small-latest",
                "mistral-embed",
            ],
        )
    };
    // The documentation gives the base without `/v1` and says that `/v1` works too.
    let deepseek = Profile {
        stream_comment: Some("keep-alive"),
        thinking_member: Some("reasoning_content"),
        ..hosted(
            "api.deepseek.com",
            &["/v1", ""],
            &[Chat, Models],
            Shape::OpenAi,
            &["deepseek-chat", "deepseek-reasoner"],
        )
    };
    let openrouter = Profile {
        stream_comment: Some("OPENROUTER PROCESSING"),
        ..hosted(
            "openrouter.ai",
            &["/api/v1"],
            &[Chat, Completions, Embeddings, Models, Responses],
            Shape::OpenRouter,
            &["openai/gpt-4o", "x-ai/grok-2"],
        )
    };
    let fireworks = hosted(
        "api.fireworks.ai",
        &["/inference/v1"],
        &[
            Audio,
            Chat,
            Completions,
            Embeddings,
            Models,
            Rerank,
            Responses,
        ],
        Shape::Fireworks,
        &["accounts/fireworks/models/llama-v3p3-70b-instruct"],
    );
    let dialect = |authority: &str, base: &str, header: &str, dialect, shape| Profile {
        key: Key {
            need: Need::Required,
            header: header.to_owned(),
            prefix: String::new(),
        },
        dialect: Some(dialect),
        ..hosted(authority, &[base], &[], shape, &[])
    };
    let anthropic = dialect(
        "api.anthropic.com",
        "/v1",
        "x-api-key",
        Dialect::Anthropic,
        Shape::Anthropic,
    );
    let gemini = dialect(
        "generativelanguage.googleapis.com",
        "/v1beta",
        "x-goog-api-key",
        Dialect::Gemini,
        Shape::Google,
    );
    let vertex = Profile {
        takes_tokens: true,
        dialect: Some(Dialect::Vertex),
        ..hosted(VERTEX, &["/v1"], &[], Shape::Google, &[])
    };
    let token_server = |authority: &str, server: tokens::Server| Profile {
        tokens: Some(server),
        tls_only: server == tokens::Server::Endpoint,
        ..hosted(authority, &[""], &[], Shape::Google, &[])
    };
    let token_endpoint = token_server("oauth2.googleapis.com", tokens::Server::Endpoint);
    let metadata_server = token_server("metadata.google.internal", tokens::Server::Metadata);
    [
        vertex,
        token_endpoint,
        metadata_server,
        anthropic,
        gemini,
        openai,
        xai,
        groq,
        together,
        cohere,
        mistral,
        deepseek,
        openrouter,
        fireworks,
    ]
    .into_iter()
    .map(|profile| (profile.authority.clone(), Arc::new(profile)))
    .collect()
}

/// Source: `openai` 3.57.0, the `chat_completion_*_message_param.py`; that a tool's message may have a
/// name, and that replies come back with their annotations, with `parsed`, the calls of streams with
/// their index, and calls with `parsed_arguments`, by what its users and its own package send.
const OPENAI_MESSAGES: MessageMembers = MessageMembers {
    roles: &[
        ("developer", &["role", "content", "name"]),
        ("system", &["role", "content", "name"]),
        ("user", &["role", "content", "name"]),
        (
            "assistant",
            &[
                "role",
                "content",
                "name",
                "refusal",
                "audio",
                "annotations",
                "function_call",
                "parsed",
                "tool_calls",
            ],
        ),
        ("tool", &["role", "content", "tool_call_id", "name"]),
        ("function", &["role", "content", "name"]),
    ],
    call: &["id", "type", "function", "custom", "index"],
    function: &["name", "arguments", "parsed_arguments"],
};

/// Source: `groq` 1.7.0, the `chat_completion_*_message_param.py`; a tool's message has a name in the
/// examples of Groq's documentation.
const GROQ_MESSAGES: MessageMembers = MessageMembers {
    roles: &[
        ("developer", &["role", "content", "name"]),
        ("system", &["role", "content", "name"]),
        ("user", &["role", "content", "name"]),
        (
            "assistant",
            &[
                "role",
                "content",
                "name",
                "reasoning",
                "function_call",
                "tool_calls",
            ],
        ),
        ("tool", &["role", "content", "tool_call_id", "name"]),
        ("function", &["role", "content", "name"]),
    ],
    call: &["id", "type", "function"],
    function: &["name", "arguments"],
};

/// Source: `mistralai` 3.7.0, `AssistantMessage`, `SystemMessage`, `ToolMessage`, `UserMessage`, `ToolCall`.
const MISTRAL_MESSAGES: MessageMembers = MessageMembers {
    roles: &[
        ("system", &["role", "content"]),
        ("user", &["role", "content"]),
        ("assistant", &["role", "content", "tool_calls", "prefix"]),
        ("tool", &["role", "content", "tool_call_id", "name"]),
    ],
    call: &["id", "type", "function", "index"],
    function: &["name", "arguments"],
};

/// Source: OpenAI API reference, "Create chat completion".
const OPENAI_CHAT: &[&str] = &[
    "audio",
    "frequency_penalty",
    "function_call",
    "functions",
    "logit_bias",
    "logprobs",
    "max_completion_tokens",
    "max_tokens",
    "messages",
    "metadata",
    "modalities",
    "model",
    "n",
    "parallel_tool_calls",
    "prediction",
    "presence_penalty",
    "prompt_cache_key",
    "prompt_cache_retention",
    "reasoning_effort",
    "response_format",
    "safety_identifier",
    "seed",
    "service_tier",
    "stop",
    "store",
    "stream",
    "stream_options",
    "temperature",
    "tool_choice",
    "tools",
    "top_logprobs",
    "top_p",
    "user",
    "verbosity",
    "web_search_options",
];

/// Source: Groq API reference, "Create chat completion". `logprobs`, `logit_bias` and
/// `top_logprobs` are listed there as not supported, and are refused.
const GROQ_CHAT: &[&str] = &[
    "citation_options",
    "compound_custom",
    "disable_tool_validation",
    "documents",
    "exclude_domains",
    "frequency_penalty",
    "function_call",
    "functions",
    "include_domains",
    "include_reasoning",
    "max_completion_tokens",
    "max_tokens",
    "messages",
    "metadata",
    "model",
    "n",
    "parallel_tool_calls",
    "presence_penalty",
    "reasoning_effort",
    "reasoning_format",
    "response_format",
    "search_settings",
    "seed",
    "service_tier",
    "stop",
    "store",
    "stream",
    "stream_options",
    "temperature",
    "tool_choice",
    "tools",
    "top_p",
    "user",
];

/// Source: `mistralai` 3.7.0, `ChatCompletionRequest`. `seed`, `user` and `max_completion_tokens` are not
/// among them. `stream_options` is by users' reports, but not its `include_usage`; see `answer.rs`.
const MISTRAL_CHAT: &[&str] = &[
    "frequency_penalty",
    "guardrails",
    "logprobs",
    "max_tokens",
    "messages",
    "metadata",
    "min_tokens",
    "model",
    "n",
    "parallel_tool_calls",
    "prediction",
    "presence_penalty",
    "prompt_cache_key",
    "prompt_logprobs",
    "prompt_mode",
    "random_seed",
    "reasoning_effort",
    "repetition_penalty",
    "response_format",
    "safe_prompt",
    "service_tier",
    "stop",
    "stream",
    "stream_options",
    "temperature",
    "tool_choice",
    "tools",
    "top_k",
    "top_logprobs",
    "top_p",
    "top_prompt_logprobs",
];
