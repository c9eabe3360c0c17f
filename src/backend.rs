//! A backend, valid by construction: where a provider is, how it authenticates, what its API is.

use std::rc::Rc;
use std::time::Duration;

use crate::endpoint::{Address, Endpoint};
use crate::firewall::HeaderRules;
use crate::json::Watched;
use crate::model::{Glob, ModelRule};
use crate::name::BackendName;
use crate::operation::Kind;
use crate::operation::table::Definition;
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
}

impl Backend {
    /// The same backend without what authenticates at it, and without the headers that it gets.
    pub fn without_credentials(&self) -> Self {
        Self {
            auth: Auth::None,
            headers: Vec::new(),
            query: None,
            ..self.clone()
        }
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
