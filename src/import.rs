//! The configuration of another gateway as a `gateway.yaml`. Native only.
//!
//! ```text
//!   files ─► source ─► one reader per format ─► draft ─► text of gateway.yaml
//!            values     agentgateway, apisix,    backends,
//!            with       envoy_ai_gateway,        pools, routes,
//!            places     kgateway, litellm, own   comments
//! ```
//!
//! The format is found by content. A reader takes the keys that it understands; every key that none took
//! is reported with its path (`source::Context::report_unread`), so that nothing is left out in silence.
//! What the result means for a request is decided here by the formats' documentation, read 2026-11-28:
//! <https://agentgateway.dev/docs>, <https://kgateway.dev/docs>, <https://docs.api7.ai>,
//! <https://apisix.apache.org/docs>, <https://docs.litellm.ai>, <https://aigateway.envoyproxy.io/docs>.
//!
//! It does not read what a cluster or a gateway has stored: it reads files.

mod agentgateway;
mod apisix;
mod draft;
mod envoy_ai_gateway;
mod http_route;
mod kgateway;
mod kubernetes;
mod litellm;
mod own;
mod source;
mod upstream;

use self::draft::Draft;
use self::source::{Context, Node};
pub use self::source::{Note, Severity};
use crate::check::{self, Keys};
use crate::config::Text;

/// A file to read.
#[derive(Clone, Debug)]
pub struct Input {
    /// Its name in messages.
    pub name: String,
    /// YAML or JSON, any number of documents.
    pub text: String,
}

/// What cannot be read off the files.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Which of APISIX' priorities comes first.
    pub apisix_priority: ApisixPriority,
}

/// Which of the priorities of `ai-proxy-multi` comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ApisixPriority {
    /// As the documentation of API7 Gateway has it.
    #[default]
    SmallerFirst,
    /// As Apache APISIX does it.
    LargerFirst,
}

/// What an import gave.
#[derive(Clone, Debug)]
pub struct Imported {
    /// The text of a `gateway.yaml`, where anything could be imported.
    pub text: Option<String>,
    /// What to report, in the order of the files.
    pub notes: Vec<Note>,
}

impl Imported {
    /// Whether something has no equivalent that changes where requests go.
    pub fn has_errors(&self) -> bool {
        self.notes.iter().any(|it| it.severity == Severity::Error)
    }
}

/// A configuration that can be imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Agentgateway,
    Apisix,
    EnvoyAiGateway,
    Kgateway,
    Litellm,
    Own,
}

impl Format {
    /// Whose it is, for comments and messages.
    fn name(self) -> &'static str {
        match self {
            Self::Agentgateway => "agentgateway",
            Self::Apisix => "APISIX or API7 Gateway",
            Self::EnvoyAiGateway => "Envoy AI Gateway",
            Self::Kgateway => "kgateway or agentgateway on Kubernetes",
            Self::Litellm => "LiteLLM",
            Self::Own => "a file with backends as here",
        }
    }
}

/// Reads the configuration of another gateway.
pub fn import(inputs: &[Input], options: Options) -> Imported {
    let texts: Vec<Text<'_>> = inputs.iter().map(|it| Text::new(&it.text)).collect();
    let names = inputs.iter().map(|it| it.name.as_str());
    let context = match Context::new(names.zip(&texts)) {
        Ok(context) => context,
        Err(note) => {
            return Imported {
                text: None,
                notes: vec![note],
            };
        }
    };
    let roots = context.roots();
    let Some(format) = format_of(&roots) else {
        context.note_without_place(Severity::Error, UNKNOWN);
        return Imported {
            text: None,
            notes: context.into_notes(),
        };
    };
    let files: Vec<&str> = inputs.iter().map(|it| it.name.as_str()).collect();
    let mut draft = Draft::new(&files.join(", "), format.name());
    match format {
        Format::Agentgateway => agentgateway::read(&roots, &mut draft),
        Format::Apisix => apisix::read(&roots, options.apisix_priority, &mut draft),
        Format::EnvoyAiGateway => envoy_ai_gateway::read(&roots, &mut draft),
        Format::Kgateway => kgateway::read(&roots, &mut draft),
        Format::Litellm => litellm::read(&roots, &mut draft),
        Format::Own => own::read(&roots, &mut draft),
    }
    context.report_unread();
    let text = draft.text();
    if text.is_none() && !context.has_errors() {
        context.note_without_place(Severity::Error, "nothing here sends requests to a model");
    }
    // The draft is made of checked parts; what they do not check together is checked here, so that
    // `check` accepts whatever this function accepts.
    if let (Some(text), false) = (&text, context.has_errors()) {
        let nothing = |_: &str| None;
        for error in check::check(&Text::new(text), &nothing, Keys::MayBeUnset).errors() {
            let message = format!("in the result, {}: {}", error.at, error.message);
            context.note_without_place(Severity::Error, &message);
        }
    }
    Imported {
        text,
        notes: context.into_notes(),
    }
}

/// Which other gateway this file is for, if it is one's.
pub fn recognize(text: &Text<'_>) -> Option<&'static str> {
    let context = Context::new([("", text)]).ok()?;
    let format = format_of(&context.roots())?;
    (format != Format::Own).then(|| format.name())
}

/// The first format of which one of the documents is.
fn format_of(roots: &[Node<'_>]) -> Option<Format> {
    let has = |key: &str| roots.iter().any(|root| root.has(key));
    let is_kind = |group: &str, kinds: &[&str]| {
        kubernetes::resources(roots).iter().any(|resource| {
            resource.group() == group && (kinds.is_empty() || kinds.contains(&resource.kind()))
        })
    };
    if is_kind(envoy_ai_gateway::GROUP, &[]) {
        return Some(Format::EnvoyAiGateway);
    }
    let is_kgateway = is_kind(kgateway::GROUP, &[]) || is_kind(kgateway::AGENTGATEWAY_GROUP, &[]);
    if is_kgateway {
        return Some(Format::Kgateway);
    }
    if has("model_list") {
        return Some(Format::Litellm);
    }
    if has("binds") || has("llm") || has("gateways") {
        return Some(Format::Agentgateway);
    }
    if apisix::is_one(roots) {
        return Some(Format::Apisix);
    }
    has("backends").then_some(Format::Own)
}

const UNKNOWN: &str = "not the configuration of a gateway that can be imported: agentgateway (binds, \
     llm, gateways), kgateway or agentgateway on Kubernetes (Backend, AgentgatewayBackend), APISIX or API7 Gateway \
     (plugins with ai-proxy or ai-proxy-multi), LiteLLM (model_list), Envoy AI Gateway \
     (AIGatewayRoute)";
