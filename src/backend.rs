//! A backend, valid by construction: where a provider is, how it authenticates, what its API is.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use crate::endpoint::{Address, Endpoint};
use crate::firewall::HeaderRules;
use crate::json::Watched;
use crate::model::{Glob, ModelRule};
use crate::name::BackendName;
use crate::operation::Kind;
use crate::operation::table::Definition;
use crate::price::Prices;
use crate::provider::dialect::Options;
use crate::provider::{Dialects, FurtherApis, ProviderType, Wire};
use crate::secret::Secret;
use crate::token;

/// One provider account or server.
#[derive(Clone, Debug)]
pub struct Backend {
    /// Its name.
    pub name: BackendName,
    /// Its kind.
    pub provider: ProviderType,
    /// Where it lives.
    pub endpoint: Endpoint,
    /// Where to connect instead.
    pub address: Option<Address>,
    /// What its API is.
    pub wire: Wire,
    /// What happens to client APIs beside chat completions.
    pub further_apis: FurtherApis,
    /// How requests are translated that are.
    pub options: Options,
    /// What to do about the body's `model`.
    pub model: ModelRule,
    /// The operations that pass although their model cannot be checked.
    pub unchecked: Vec<&'static Definition>,
    /// What to do about other members of the body, without `model` and `stream`.
    pub members: Vec<MemberRule>,
    /// The members of a body to look at: `model`, `stream`, those of `members`, in order, and
    /// the names of [`crate::provider::LimitName`] and of
    /// [`MemberRules::renamed`](crate::provider::members::MemberRules::renamed), where one may have to be replaced.
    pub watched: Watched,
    /// Whether replies are looked at for their usage.
    pub usage_report: UsageReport,
    /// How it authenticates.
    pub auth: Auth,
    /// Headers to set: lower-case name and value. None of them is the header of `auth`.
    pub headers: Vec<(Rc<str>, Secret)>,
    /// Which of a client's headers pass, beside what holds everywhere.
    pub header_rules: HeaderRules,
    /// The values of `anthropic-beta` that pass to a provider of the Messages API.
    pub betas: Vec<Glob>,
    /// Query parameters that authenticate.
    pub query: Option<Query>,
    /// What authenticates and is known only with an attempt. `auth` and `headers` have its names, with
    /// empty values, and `query` has none of it: see [`Backend::with_secrets`].
    pub injected: Vec<Injected>,
    /// The last result of [`Backend::with_secrets`].
    pub complete: Complete,
    /// Time to the first byte of the reply, per attempt.
    pub timeout: Duration,
    /// The same for streams, outside of pools.
    pub first_byte_timeout: Option<Duration>,
    /// Time between two bytes of a reply.
    pub stream_idle_timeout: Option<Duration>,
    /// Extra attempts.
    pub max_retries: u32,
    /// TLS, where the endpoint uses it.
    pub tls: Tls,
    /// What tokens cost.
    pub prices: Prices,
}

impl Backend {
    /// The same backend without what authenticates at it, and without the headers that it gets.
    pub fn without_credentials(&self) -> Self {
        Self {
            auth: Auth::None,
            headers: Vec::new(),
            query: None,
            injected: Vec::new(),
            complete: Complete::default(),
            ..self.clone()
        }
    }

    /// The backend as it is for one attempt, with the secrets that `find` gives by the names of headers.
    /// White space around a value, such as the end of a file's line, is no part of it.
    ///
    /// # Errors
    ///
    /// The secret that is missing, is empty, or cannot be in a request.
    pub fn with_secrets<'v>(
        self: &Rc<Self>,
        find: impl Fn(&str) -> Option<&'v str>,
    ) -> Result<Rc<Self>, &Injected> {
        if self.injected.is_empty() {
            return Ok(Rc::clone(self));
        }
        let mut values = Vec::with_capacity(self.injected.len());
        for injected in &self.injected {
            let value = find(&injected.header).map(str::trim);
            let is_printable = |it: &&str| it.bytes().all(|b| matches!(b, 0x20..=0x7e));
            let value = value.filter(|it| !it.is_empty()).filter(is_printable);
            values.push(value.ok_or(injected)?);
        }
        let mut last = self.complete.0.borrow_mut();
        let is_same = |(known, value): (&Secret, &&str)| *known.expose() == **value;
        if let Some((known, complete)) = &*last
            && known.iter().zip(&values).all(is_same)
        {
            return Ok(Rc::clone(complete));
        }
        let complete = Rc::new(self.completed(&values));
        let values = values.into_iter().map(Secret::new).collect();
        *last = Some((values, Rc::clone(&complete)));
        Ok(complete)
    }

    fn completed(&self, values: &[&str]) -> Self {
        let mut complete = Self {
            injected: Vec::new(),
            complete: Complete::default(),
            ..self.clone()
        };
        for (injected, value) in self.injected.iter().zip(values) {
            match &injected.place {
                Place::Key(header) => {
                    let (name, prefix) = self.header_for(header, value);
                    complete.auth = Auth::Key(name, Secret::new([&*prefix, *value].concat()));
                }
                Place::Header(name) => {
                    let headers = complete.headers.iter_mut();
                    for (_, old) in headers.filter(|(it, _)| it == name) {
                        *old = Secret::new(*value);
                    }
                }
                Place::Query(name) => {
                    let known = complete.query.take();
                    let known =
                        known.map_or_else(String::new, |it| it.encoded.expose().to_string());
                    let mut encoded = form_urlencoded::Serializer::new(known);
                    encoded.append_pair(name, value);
                    let encoded = Secret::new(encoded.finish());
                    complete.query = Some(Query { encoded });
                }
            }
        }
        complete
    }

    /// The header for this key, and what stands before the key. Where the type decides, it may decide by
    /// the key.
    pub fn header_for(&self, header: &KeyHeader, key: &str) -> (Rc<str>, Rc<str>) {
        let own = self.provider.preset().key.header();
        match own.zip(self.provider.place_of(key).header()) {
            Some(((own, _), (name, prefix))) if *own == *header.name => {
                (Rc::from(name), Rc::from(prefix))
            }
            _ => (Rc::clone(&header.name), Rc::clone(&header.prefix)),
        }
    }

    /// Whether the configuration has a rule for this member of a body.
    pub fn has_rule(&self, name: &str) -> bool {
        self.members.iter().any(|rule| rule.name == name)
    }

    /// The dialects into which a call is translated, and how; `None`: it passes as it is.
    pub fn translation(&self, kind: Kind) -> Option<(Dialects, Options)> {
        if self.further_apis.are_native(kind) {
            return None;
        }
        match self.wire {
            Wire::Translated(dialects) => Some((dialects, self.options)),
            Wire::Azure(_) | Wire::OpenAi { .. } => {
                let is_translated = matches!(kind, Kind::Messages | Kind::Responses);
                is_translated.then_some((Dialects::OpenAi, self.options))
            }
        }
    }

    /// The names of the operations that it serves where requests are translated, in the order of the table.
    pub fn served(&self) -> Vec<&'static str> {
        let serves = |kind| kind == Kind::Models || (kind != Kind::Other && self.supports(kind));
        let all = Definition::all().filter(|it| serves(it.kind));
        all.map(|it| it.name).collect()
    }

    /// The provider, in OpenTelemetry's words where it has one.
    ///
    /// Source: <https://opentelemetry.io/docs/specs/semconv/registry/attributes/gen-ai/>, read 2026-11-28.
    pub fn provider_name(&self) -> &'static str {
        match (self.provider, self.wire.dialects()) {
            (_, Some(Dialects::Vertex)) => "gcp.vertex_ai",
            (ProviderType::AzureOpenai, _) => "azure.ai.openai",
            (ProviderType::Google, _) => "gcp.gemini",
            (ProviderType::Mistral, _) => "mistral_ai",
            (ProviderType::Xai, _) => "x_ai",
            (other, _) => other.as_str(),
        }
    }

    /// Whether the provider has this call.
    pub fn supports(&self, kind: Kind) -> bool {
        match (self.wire.dialects(), kind) {
            (dialects, Kind::CountTokens | Kind::InputTokens) => {
                self.further_apis.are_native(kind) || dialects.is_some_and(|it| it.count_tokens())
            }
            (_, Kind::StoredResponses) => self.further_apis.are_native(kind),
            (None, _) | (Some(_), Kind::ChatCompletions | Kind::Messages | Kind::Responses) => true,
            (Some(dialects), Kind::Embeddings) => dialects.have_embeddings(),
            (Some(_), _) => false,
        }
    }
}

/// How a backend authenticates at its provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Auth {
    /// With the client's own credential, in this header.
    Client(KeyHeader),
    /// With what is among [`Backend::headers`] or in [`Backend::query`].
    Configured,
    /// With the gateway's key: the header's name, lower case, and its whole value.
    Key(Rc<str>, Secret),
    /// Not at all: the provider has no keys.
    None,
    /// With an access token of the gateway's, in this header.
    Token(KeyHeader, Rc<token::Source>),
}

impl Auth {
    /// The header that it sets, beside [`Backend::headers`].
    pub fn header(&self) -> Option<&str> {
        match self {
            Self::Client(header) | Self::Token(header, _) => Some(&header.name),
            Self::Key(name, _) => Some(name),
            Self::Configured | Self::None => None,
        }
    }
}

/// What authenticates and arrives with each attempt, in a header that a filter before the module writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Injected {
    /// The header in which it arrives: lower case.
    pub header: Rc<str>,
    /// Where it goes.
    pub place: Place,
    /// The key below the backend's `config`, for messages: `auth.header.x-key`.
    pub key: String,
}

/// Where a secret goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// It is the key.
    Key(KeyHeader),
    /// It is the value of a header: its name.
    Header(Rc<str>),
    /// It is the value of a query parameter: its name.
    Query(String),
}

/// The backend with the secrets that it was asked for last: they seldom change.
#[derive(Debug, Default)]
pub struct Complete(RefCell<Option<(Vec<Secret>, Rc<Backend>)>>);

impl Clone for Complete {
    /// A copy of a backend may be changed, so it begins without.
    fn clone(&self) -> Self {
        Self::default()
    }
}

/// The header in which a provider expects its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyHeader {
    /// Lower case.
    pub name: Rc<str>,
    /// What stands before the key, its space included.
    pub prefix: Rc<str>,
}

/// Query parameters that are added to every path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// Names and values, encoded: `a=b&c=d`.
    pub encoded: Secret,
}

/// What to do about one member of a JSON body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberRule {
    /// The member's name.
    pub name: String,
    /// Its value as JSON text.
    pub value: Rc<str>,
    /// Whether it is written always, or only where the client's is absent or `null`.
    pub always: bool,
}

/// What a backend's `usage` says: whether replies that pass are looked at, and whether the usage of a
/// stream is requested.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UsageReport {
    /// They are not: there are no tokens in logs and metrics.
    Off,
    /// They are.
    #[default]
    On,
}

/// TLS towards a provider.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// CA certificates (PEM) instead of the system's.
    pub ca_file: Option<String>,
    /// The name for SNI and certificate instead of the endpoint's host.
    pub server_name: Option<String>,
    /// Whether the certificate goes unchecked.
    pub insecure: bool,
}

#[cfg(all(test, not(target_os = "wasi")))]
mod tests {
    use super::*;
    use crate::gateway::Gateway;

    #[test]
    fn an_attempt_has_the_secrets_of_its_headers_or_none() {
        let text = "{backends: [{name: a, type: anthropic, config: {
            apiKey: {header: x-key}, auth: {header: {x-b: {header: x-b-from}}, query: {q: {header: x-q}, r: s}}
        }}]}";
        let gateway = Gateway::parse(text, &|_: &str| None).unwrap();
        let backend = &gateway.backends[0];
        let complete = |key: &'static str, query: Option<&'static str>| {
            backend.with_secrets(|name| match name {
                "x-key" => Some(key),
                "x-b-from" => Some("b"),
                "x-q" => query,
                _ => None,
            })
        };
        let first = complete(" sk-1\n", Some("1&2")).unwrap();
        assert_eq!(
            first.auth,
            Auth::Key("x-api-key".into(), Secret::new("sk-1"))
        );
        assert_eq!(first.headers, [(Rc::from("x-b"), Secret::new("b"))]);
        assert_eq!(
            &*first.query.as_ref().unwrap().encoded.expose(),
            "r=s&q=1%262"
        );
        let same = complete("sk-1", Some("1&2")).unwrap();
        assert!(Rc::ptr_eq(&first, &same), "it is made once");
        // The header depends on the key, as where the key is known.
        let token = complete("sk-ant-oat01-x", Some("1&2")).unwrap();
        assert_eq!(token.auth.header(), Some("authorization"));
        for (key, query, missing) in [
            ("", Some("1"), "apiKey"),
            ("a\u{e9}", Some("1"), "apiKey"),
            ("sk-1", None, "auth.query.q"),
        ] {
            assert_eq!(complete(key, query).unwrap_err().key, missing);
        }
    }
}
