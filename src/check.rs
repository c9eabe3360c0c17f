//! What is wrong with a `gateway.yaml`, and what is allowed but hardly meant: for a person. Native only.
//!
//! The readers of [`mod@config`] say what does not fit. This module adds what only the whole text shows:
//! the place, the line with a caret, the fix, and what can be checked although variables are not set.
//!
//! A line of the text is shown without what may be a credential in it.

mod advice;
mod excerpt;

use std::collections::{BTreeMap, BTreeSet};

pub use self::excerpt::Excerpts;
use crate::config::value::BackendType;
use crate::config::yaml::{self, Places};
use crate::config::{
    self, ConfigError, ConfigErrors, Environment, KeyPath, Position, Subject, file,
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
pub fn check(text: &str, environment: &dyn Environment, keys: Keys) -> Checked {
    let unset = match keys {
        Keys::MayBeUnset => Unset::of(text, environment),
        Keys::Needed | Keys::Elsewhere => Unset::default(),
    };
    let filled = Filled {
        environment,
        unset: &unset,
    };
    let parsed = match keys {
        Keys::Elsewhere => Source::parse_without_keys(text, environment),
        Keys::MayBeUnset | Keys::Needed => Source::parse(text, &filled),
    };
    let places = yaml::parse(text).map(|document| document.places);
    let places = places.unwrap_or_default();
    match parsed {
        Ok(source) => {
            let mut diagnostics = unset.warnings();
            diagnostics.extend(warnings(&source, text));
            if keys == Keys::MayBeUnset {
                diagnostics.extend(missing_files(&source, environment));
            }
            for diagnostic in &mut diagnostics {
                let place = place(&places, &diagnostic.at, diagnostic.subject);
                diagnostic.position = diagnostic.position.or(place);
            }
            Checked {
                source: Some(source),
                diagnostics,
            }
        }
        Err(errors) => {
            let advice = advice::Advice::of(text);
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
                severity: Severity::Error,
                at: error.at.clone(),
                subject: error.subject,
                position: error.position,
                message: advice.message(error),
            });
            let mut diagnostics: Vec<Diagnostic> = errors.collect();
            diagnostics.extend(unset.warnings());
            Checked {
                source: None,
                diagnostics,
            }
        }
    }
}

/// Files with secrets that are not there.
fn missing_files(source: &Source, environment: &dyn Environment) -> Vec<Diagnostic> {
    let mut missing = Vec::new();
    for secret in source.injected() {
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
            position: None,
            message: format!(
                "{path}: {why}; requests to the backend get 503 until the file has a key"
            ),
        });
    }
    missing
}

/// The places of errors that were found after the text was read.
pub fn locate(text: &str, errors: &ConfigErrors) -> Vec<Diagnostic> {
    let places = yaml::parse(text).map(|document| document.places);
    let places = places.unwrap_or_default();
    let diagnostic = |error: &ConfigError| Diagnostic {
        severity: Severity::Error,
        at: error.at.clone(),
        subject: error.subject,
        position: place(&places, &error.at, error.subject),
        message: error.message.clone(),
    };
    errors.iter().map(diagnostic).collect()
}

fn place(places: &Places, at: &KeyPath, subject: Subject) -> Option<Position> {
    match subject {
        Subject::Key => places.key(at),
        Subject::Value => places.value(at),
    }
}

/// Variables that are not set, each with what stands in for it while the rest is checked.
#[derive(Debug, Default)]
struct Unset {
    fillers: BTreeMap<String, usize>,
    errors: Vec<ConfigError>,
}

impl Unset {
    /// Finds them. What stands in for one has to fit where it is used: a name, a URL, a path, an
    /// address. So one after the other is tried where the one before is refused.
    fn of(text: &str, environment: &dyn Environment) -> Self {
        let mut unset = Self::default();
        // Each round finds a variable, or tries another filler for one.
        for _ in 0..MAX_ROUNDS {
            let filled = Filled {
                environment,
                unset: &unset,
            };
            let Err(errors) = Source::parse(text, &filled) else {
                break;
            };
            if !unset.learn(&errors) {
                break;
            }
        }
        unset
    }

    /// Whether these errors are a reason to try again.
    fn learn(&mut self, errors: &ConfigErrors) -> bool {
        let mut has_learnt = false;
        for error in errors.iter() {
            let Some(name) = &error.unset else { continue };
            has_learnt |= !self.fillers.contains_key(name);
            self.fillers.entry(name.clone()).or_insert(0);
            self.errors.push(error.clone());
        }
        let refused: BTreeSet<&str> = errors
            .iter()
            .filter(|error| error.unset.is_none())
            .flat_map(|error| self.errors.iter().filter(|it| it.at == error.at))
            .filter_map(|it| it.unset.as_deref())
            .collect();
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

    fn warnings(&self) -> Vec<Diagnostic> {
        let warning = |error: &ConfigError| Diagnostic {
            severity: Severity::Warning,
            at: error.at.clone(),
            subject: error.subject,
            position: error.position,
            message: error.message.clone(),
        };
        self.errors.iter().map(warning).collect()
    }
}

/// An environment in which every variable is set.
struct Filled<'a> {
    environment: &'a dyn Environment,
    unset: &'a Unset,
}

impl Filled<'_> {
    fn filler(&self, name: &str) -> Option<String> {
        let filler = FILLERS.get(*self.unset.fillers.get(name)?)?;
        Some((*filler).to_owned())
    }
}

impl Environment for Filled<'_> {
    fn variable(&self, name: &str) -> Option<String> {
        let set = self.environment.variable(name);
        set.or_else(|| self.filler(name))
    }

    fn secret(&self, name: &str) -> Option<String> {
        let set = self.environment.secret(name);
        set.or_else(|| self.filler(name))
    }

    fn has_secrets(&self) -> bool {
        self.environment.has_secrets()
    }

    fn file(&self, path: &str) -> Result<String, String> {
        match self.unset.fillers.is_empty() {
            true => self.environment.file(path),
            // Its name may be made of a variable.
            false => self
                .environment
                .file(path)
                .or_else(|why| match FILLERS.contains(&path) {
                    true => Ok(ABSENT_ACCOUNT.to_owned()),
                    false => Err(why),
                }),
        }
    }
}

/// What is allowed but hardly meant.
fn warnings(source: &Source, text: &str) -> Vec<Diagnostic> {
    let gateway = source.gateway();
    let root = KeyPath::root();
    let mut found = Vec::new();
    let mut warn = |at: KeyPath, subject: Subject, message: String| {
        found.push(Diagnostic {
            severity: Severity::Warning,
            at,
            subject,
            position: None,
            message,
        });
    };
    let places = gateway.routes.iter().enumerate();
    let places: BTreeMap<&str, usize> = places.map(|(at, it)| (it.name.as_str(), at)).collect();
    let place = |route: &route::Route| places.get(route.name.as_str()).copied().unwrap_or_default();
    for (later, earlier) in route::unreachable(&gateway.routes) {
        let message = format!(
            "{:?} never matches: {:?} comes first and matches all of it",
            later.name.as_str(),
            earlier.name.as_str(),
        );
        warn(
            root.key("routes").index(place(later)),
            Subject::Value,
            message,
        );
    }
    let is_restricted = gateway
        .routes
        .iter()
        .any(|it| it.model.is_some() || !it.aliases.is_empty());
    let unrestricted = gateway
        .backends
        .iter()
        .filter(|it| !is_restricted && !it.model.is_restricted() && !it.wire.has_model_in_path());
    let idle = unrestricted.filter(|it| !it.unchecked.is_empty());
    let idle: BTreeSet<&str> = idle.map(|it| it.name.as_str()).collect();
    let insecure = gateway.backends.iter().filter(|it| it.tls.insecure);
    let insecure: BTreeSet<&str> = insecure.map(|it| it.name.as_str()).collect();
    for (index, name) in source.names() {
        let at = root.key("backends").index(index);
        if !source.is_used(name) {
            warn(
                at.clone(),
                Subject::Value,
                format!("no route leads to {name:?}"),
            );
        }
        if idle.contains(name) {
            let message = "has no effect: nothing restricts the models; remove it, or add models";
            let at = at.key("config").key("operations");
            warn(at, Subject::Key, message.to_owned());
        }
        if insecure.contains(name) {
            let at = at.key("config").key("tls").key("insecure");
            let message = "any server that answers gets the key; for experiments only";
            warn(at, Subject::Value, message.to_owned());
        }
    }
    let written = config::parse_file(text).ok();
    let backends = written.iter().flat_map(|file| file.backends.iter());
    for (index, backend) in backends {
        let at = root.key("backends").index(index).key("backends");
        if let Some(member) = weight_without_effect(backend) {
            let message = "has no effect with strategy: latency, which selects the fastest member; \
                           remove it, or use strategy: weighted";
            warn(
                at.index(member).key("weight"),
                Subject::Key,
                message.to_owned(),
            );
        }
    }
    found
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

/// Unit: attempts to read the text.
const MAX_ROUNDS: usize = 64;
