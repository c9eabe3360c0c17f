//! What is wrong with a `gateway.yaml`, and what is allowed but hardly meant: for a person. Native only.
//!
//! The readers of `config` say what does not fit. This module adds what only the whole text shows:
//! the place, the line with a caret, the fix, and what can be checked although variables are not set.
//!
//! A line of the text is shown without what may be a credential in it.

mod advice;
mod excerpt;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use self::advice::Advice;
pub use self::excerpt::Excerpts;
use crate::config::value::BackendType;
use crate::config::{
    ConfigError, ConfigErrors, Environment, KeyPath, MAX_ERRORS, Position, Subject, Text, file,
};
use crate::pool::Strategy;
use crate::render::{Origin, Source};
use crate::route;

/// What is known of the variables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    /// Each has to be set.
    Needed,
    /// Those that authenticate are elsewhere, in the environment of the proxy.
    Elsewhere,
    /// Those that are not set are worth a warning.
    MayBeUnset,
}

/// How much it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It cannot work.
    Error,
    /// It is allowed, but hardly meant.
    Warning,
}

/// Something to report about a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How much it matters.
    pub severity: Severity,
    /// The key.
    pub at: KeyPath,
    /// Whether the key or its value is concerned.
    pub subject: Subject,
    /// Where that stands.
    pub position: Option<Position>,
    /// One line: what is wrong, what is allowed, and the fix.
    pub message: String,
}

/// What a check gave.
#[derive(Debug)]
pub struct Checked {
    /// The configuration, where nothing is wrong.
    pub source: Option<Source>,
    /// What to report: errors, then warnings.
    pub diagnostics: Vec<Diagnostic>,
}

impl Checked {
    /// What keeps the configuration from working.
    pub fn errors(&self) -> impl Iterator<Item = &Diagnostic> {
        let diagnostics = self.diagnostics.iter();
        diagnostics.filter(|it| it.severity == Severity::Error)
    }
}

/// Checks a configuration.
///
/// The text has been parsed before, once: each step reads the same documents. The gateway is built again
/// for each other value that may stand for a variable which is not set.
pub fn check(text: &Text<'_>, environment: &dyn Environment, keys: Keys) -> Checked {
    let (parsed, unset) = match keys {
        Keys::Elsewhere => (Source::without_keys(text, environment), Vec::new()),
        Keys::Needed => (Source::of(text, environment), Vec::new()),
        Keys::MayBeUnset => filled(text, environment),
    };
    let unset = unset.iter().map(|error| Diagnostic {
        severity: Severity::Warning,
        position: text.position(&error.at, error.subject),
        ..Diagnostic::from(error)
    });
    match parsed {
        Ok(source) => {
            let mut warnings = Warnings::of(&source, text);
            if keys == Keys::MayBeUnset {
                warnings.extend(missing_files(&source, text, environment));
            }
            Checked {
                source: Some(source),
                diagnostics: unset.chain(warnings).collect(),
            }
        }
        Err(errors) => {
            let advice = Advice::of(text);
            if let Some(message) = advice.other_gateway() {
                return Checked {
                    source: None,
                    diagnostics: vec![Diagnostic {
                        severity: Severity::Error,
                        at: KeyPath::root(),
                        subject: Subject::Value,
                        position: None,
                        message,
                    }],
                };
            }
            let errors = advice.choose(&errors).into_iter().map(|error| Diagnostic {
                message: advice.message(error),
                ..Diagnostic::from(error)
            });
            Checked {
                source: None,
                diagnostics: errors.chain(unset).collect(),
            }
        }
    }
}

/// Files with secrets that are not there.
fn missing_files(
    source: &Source,
    text: &Text<'_>,
    environment: &dyn Environment,
) -> Vec<Diagnostic> {
    let mut missing = Vec::new();
    for secret in source.injected() {
        if missing.len() >= MAX_ERRORS {
            break;
        }
        let Origin::File(path) = &secret.origin else {
            continue;
        };
        let why = match environment.file(path) {
            Ok(text) if text.trim().is_empty() => "is empty".to_owned(),
            Ok(_) => continue,
            Err(why) => why,
        };
        missing.push(Diagnostic {
            severity: Severity::Warning,
            at: secret.at.clone(),
            subject: Subject::Value,
            position: text.position(&secret.at, Subject::Value),
            message: format!(
                "{path}: {why}; requests to the backend get 503 until the file has a key"
            ),
        });
    }
    missing
}

/// The places of errors that were found after the text was read.
pub fn locate(text: &Text<'_>, errors: &ConfigErrors) -> Vec<Diagnostic> {
    let diagnostic = |error: &ConfigError| Diagnostic {
        position: text.position(&error.at, error.subject),
        ..Diagnostic::from(error)
    };
    errors.iter().map(diagnostic).collect()
}

impl From<&ConfigError> for Diagnostic {
    fn from(error: &ConfigError) -> Self {
        Self {
            severity: Severity::Error,
            at: error.at.clone(),
            subject: error.subject,
            position: error.position,
            message: error.message.clone(),
        }
    }
}

/// Reads a configuration of which variables may not be set, and gives an error for each of them.
///
/// What stands in for one has to fit where it is used: a name, a URL, a path, an address. So one after
/// the other is tried where the one before is refused.
fn filled(
    text: &Text<'_>,
    environment: &dyn Environment,
) -> (Result<Source, ConfigErrors>, Vec<ConfigError>) {
    let filled = Filled {
        environment,
        unset: RefCell::default(),
    };
    // A large configuration with many variables that fit nothing is tried less often.
    let backends = text.file().map_or(0, |file| file.backends.len());
    let rounds = (MOST_TRIED_BACKENDS / backends.max(1)).clamp(MIN_ROUNDS, MAX_ROUNDS);
    let mut round = 0;
    let parsed = loop {
        let parsed = Source::of(text, &filled);
        round += 1;
        match parsed {
            Err(errors) if round < rounds && filled.unset.borrow_mut().learn(&errors) => {}
            parsed => break parsed,
        }
    };
    let Unset { uses, .. } = filled.unset.into_inner();
    let unset = uses.iter().map(|(at, name)| ConfigError::unset(at, name));
    let unset = unset.take(MAX_ERRORS).collect();
    (parsed.map_err(|errors| errors.up_to(MAX_ERRORS)), unset)
}

/// Variables that are not set, each with what stands in for it while the rest is checked.
#[derive(Debug, Default)]
struct Unset {
    /// By name the place in [`FILLERS`].
    fillers: BTreeMap<String, usize>,
    /// Where they are used, in the order in which that was found.
    uses: Vec<(KeyPath, String)>,
    /// The same, to find out whether one is known.
    names: BTreeMap<KeyPath, BTreeSet<String>>,
}

impl Unset {
    fn used(&mut self, name: &str, at: &KeyPath) -> String {
        let filler = *self.fillers.entry(name.to_owned()).or_default();
        let names = self.names.entry(at.clone()).or_default();
        if names.insert(name.to_owned()) {
            self.uses.push((at.clone(), name.to_owned()));
        }
        FILLERS.get(filler).copied().unwrap_or_default().to_owned()
    }

    /// Whether these errors are a reason to try again, with other fillers.
    fn learn(&mut self, errors: &ConfigErrors) -> bool {
        let refused = errors.iter().filter_map(|error| self.names.get(&error.at));
        let refused: BTreeSet<&String> = refused.flatten().collect();
        let others = errors.iter().filter(|it| !self.names.contains_key(&it.at));
        if others.count() > MAX_ERRORS {
            return false;
        }
        let mut has_learnt = false;
        for name in refused {
            if let Some(filler) = self.fillers.get_mut(name)
                && *filler + 1 < FILLERS.len()
            {
                *filler += 1;
                has_learnt = true;
            }
        }
        has_learnt
    }
}

/// An environment in which every variable is set.
struct Filled<'a> {
    environment: &'a dyn Environment,
    unset: RefCell<Unset>,
}

impl Environment for Filled<'_> {
    fn variable(&self, name: &str) -> Option<String> {
        self.environment.variable(name)
    }

    fn secret(&self, name: &str) -> Option<String> {
        self.environment.secret(name)
    }

    fn stand_in(&self, name: &str, at: &KeyPath) -> Option<String> {
        Some(self.unset.borrow_mut().used(name, at))
    }

    fn has_secrets(&self) -> bool {
        self.environment.has_secrets()
    }

    fn most_errors(&self) -> usize {
        MAX_REFUSED
    }

    fn file(&self, path: &str) -> Result<String, String> {
        // Its name may be made of a variable.
        let is_filler = !self.unset.borrow().uses.is_empty() && FILLERS.contains(&path);
        self.environment.file(path).or_else(|why| match is_filler {
            true => Ok(ABSENT_ACCOUNT.to_owned()),
            false => Err(why),
        })
    }
}

/// What is allowed but hardly meant, of the first [`MAX_ERRORS`].
struct Warnings<'a> {
    text: &'a Text<'a>,
    found: Vec<Diagnostic>,
}

impl<'a> Warnings<'a> {
    fn of(source: &Source, text: &'a Text<'a>) -> Vec<Diagnostic> {
        let mut warnings = Self {
            text,
            found: Vec::new(),
        };
        warnings.routes(source);
        warnings.backends(source);
        warnings.weights();
        warnings.found
    }

    fn warn(&mut self, at: &KeyPath, subject: Subject, message: impl Into<String>) {
        if self.found.len() < MAX_ERRORS {
            self.found.push(Diagnostic {
                severity: Severity::Warning,
                at: at.clone(),
                subject,
                position: self.text.position(at, subject),
                message: message.into(),
            });
        }
    }

    fn routes(&mut self, source: &Source) {
        let routes = &source.gateway().routes;
        let places = routes.iter().enumerate();
        let places: BTreeMap<&str, usize> = places.map(|(at, it)| (it.name.as_str(), at)).collect();
        for (later, earlier) in route::unreachable(routes) {
            let place = places.get(later.name.as_str()).copied().unwrap_or_default();
            let message = format!(
                "{:?} never matches: {:?} comes first and matches all of it",
                later.name.as_str(),
                earlier.name.as_str(),
            );
            let at = KeyPath::root().key("routes").index(place);
            self.warn(&at, Subject::Value, message);
        }
    }

    fn backends(&mut self, source: &Source) {
        let gateway = source.gateway();
        let mut routes = gateway.routes.iter();
        let is_restricted = routes.any(|it| it.model.is_some() || !it.aliases.is_empty());
        let unrestricted = gateway.backends.iter().filter(|it| {
            !is_restricted && !it.model.is_restricted() && !it.wire.has_model_in_path()
        });
        let idle = unrestricted.filter(|it| !it.unchecked.is_empty());
        let idle: BTreeSet<&str> = idle.map(|it| it.name.as_str()).collect();
        let insecure = gateway.backends.iter().filter(|it| it.tls.insecure);
        let insecure: BTreeSet<&str> = insecure.map(|it| it.name.as_str()).collect();
        for (index, name) in source.names() {
            let at = KeyPath::root().key("backends").index(index);
            if !source.is_used(name) {
                let message = format!("no route leads to {name:?}");
                self.warn(&at, Subject::Value, message);
            }
            if idle.contains(name) {
                let message =
                    "has no effect: nothing restricts the models; remove it, or add models";
                let at = at.key("config").key("operations");
                self.warn(&at, Subject::Key, message);
            }
            if insecure.contains(name) {
                let at = at.key("config").key("tls").key("insecure");
                let message = "any server that answers gets the key; for experiments only";
                self.warn(&at, Subject::Value, message);
            }
        }
    }

    fn weights(&mut self) {
        let Ok(file) = self.text.file() else { return };
        for (index, backend) in file.backends.iter() {
            let at = KeyPath::root().key("backends").index(index).key("backends");
            if let Some(member) = weight_without_effect(backend) {
                let message = "has no effect with strategy: latency, which selects the fastest \
                               member; remove it, or use strategy: weighted";
                let at = at.index(member).key("weight");
                self.warn(&at, Subject::Key, message);
            }
        }
    }
}

/// The first member whose weight changes nothing.
fn weight_without_effect(backend: &file::Backend) -> Option<usize> {
    let is_pool = backend.r#type == BackendType::Pool;
    let is_by_latency = backend.strategy == Some(Strategy::Latency);
    let members = backend
        .backends
        .as_ref()
        .filter(|_| is_pool && is_by_latency)?;
    let mut members = members.iter();
    members.find_map(|(index, member)| member.weight.map(|_| index))
}

/// What a variable that is not set stands for: a name, a URL, a host, a path, an address, a version.
const FILLERS: [&str; 6] = [
    "absent",
    "https://absent.example",
    "/absent",
    "127.0.0.1:1",
    "v1",
    ABSENT_ACCOUNT,
];

/// A service account whose key is no key.
const ABSENT_ACCOUNT: &str = r#"{"type":"service_account","client_email":"absent@absent.iam.gserviceaccount.com","private_key_id":"absent","private_key":"-----BEGIN absent","token_uri":"https://oauth2.googleapis.com/token"}"#;

/// How often a gateway is built with other fillers: 64 times, or as often as all the backends that are
/// built then are this many.
const MAX_ROUNDS: usize = 64;
const MIN_ROUNDS: usize = 10;
const MOST_TRIED_BACKENDS: usize = 100_000;

/// How many fillers are replaced at once.
const MAX_REFUSED: usize = 5_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::yaml::{self, EVENTS, MAX_VALUES};

    /// What a check reports, and how many events of the text it has read.
    fn checked(text: &str) -> (Checked, usize) {
        EVENTS.set(0);
        let text = Text::new(text);
        let checked = check(&text, &|_: &str| None, Keys::MayBeUnset);
        let excerpts = Excerpts::of(&text);
        for diagnostic in &checked.diagnostics {
            let _ = excerpts.of_diagnostic(diagnostic);
        }
        (checked, EVENTS.get())
    }

    fn backends(count: usize, one: impl Fn(usize) -> String) -> String {
        let backends: String = (0..count).map(|n| format!("- {}\n", one(n))).collect();
        format!("backends:\n{backends}")
    }

    #[test]
    fn a_text_is_parsed_once_whatever_its_variables_and_errors_are() {
        let variables = "{name: a, type: openai-compatible, config: {endpoint: $A, address: $B}}";
        for (backend, is_valid) in [
            ("{name: a, type: xai}", true),
            ("{name: a}", false),
            (variables, true),
            (
                "{name: a, type: azure-openai, config: {deploymentName: $A, x: 1}}",
                false,
            ),
        ] {
            let text = backends(1, |_| backend.to_owned());
            EVENTS.set(0);
            yaml::parse(&text);
            let once = EVENTS.get();
            let (checked, read) = checked(&text);
            assert_eq!((read, checked.source.is_some()), (once, is_valid), "{text}");
        }
    }

    #[test]
    fn hostile_texts_are_refused_after_a_bounded_part_of_them() {
        let pools = |n: usize| match n % 2 {
            0 => format!("{{name: a{n}, type: xai}}"),
            _ => format!(
                "{{name: p{n}, type: pool, backends: [{{name: a{}}}]}}",
                n - 1
            ),
        };
        let routes = |from: String| {
            format!(
                "{from}routes:\n{}",
                "- {backend: x, models: [m]}\n".repeat(9_000)
            )
        };
        let texts = [
            backends(200_000, |n| format!("{{name: a{n}}}")),
            backends(100_000, |n| format!("&a{n} {{name: a{n}, type: xai}}")),
            backends(100_000, |n| format!("{{name: a{n}, type: pool}}")),
            backends(300_000, |n| format!("{{x{n}: 1}}")),
            format!(
                "{{{}}}",
                (0..400_000)
                    .map(|n| format!("k{n}: 1, "))
                    .collect::<String>()
            ),
            backends(19_000, |_| {
                "{name: a, type: openai-compatible, config: {timeout: 1, headers: {x: \"\\n\"}}}"
                    .to_owned()
            }),
            routes(backends(9_000, pools)),
            backends(9_000, |n| {
                format!(
                    "{{name: a{n}, type: openai-compatible, config: {{apiVersion: $A{n}, endpoint: \"x$B{n}\"}}}}"
                )
            }),
        ];
        for text in texts {
            let (checked, read) = checked(&text);
            let start: String = text.chars().take(80).collect();
            assert!(checked.source.is_none(), "{start}");
            assert!(read <= 2 * MAX_VALUES + 10, "{start}: {read} events");
            let reported = checked.diagnostics.len();
            assert!(
                (1..=2 * MAX_ERRORS + 1).contains(&reported),
                "{start}: {reported}"
            );
        }
    }
}
