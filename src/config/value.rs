//! The scalar types of a configuration: text with variables, spans of time, sizes, choices.

use std::time::Duration;

use serde_json::Value;

use super::error::{ConfigErrors, KeyPath};
use super::read::{FromValue, expected, nearest};
use crate::backend::UsageReport;
use crate::endpoint::check_path;
use crate::gateway::{Placement, Role};
use crate::operation::table::{Definition, ModelPlace};
use crate::pool::Strategy;
use crate::provider::adapt::Policy;
use crate::provider::{Passage, ProviderType};
use crate::telemetry::Protocol;

/// Text in which `${NAME}`, or `$NAME` as the whole text, stands for an environment variable.
///
/// `$$` is a dollar sign. Any other `$` is itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(String);

/// A part of a [`Template`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part<'a> {
    Text(&'a str),
    Variable(&'a str),
}

impl Template {
    /// A template that stands for one variable.
    pub fn variable(name: &str) -> Self {
        Self(format!("${{{name}}}"))
    }

    /// A template without variables, which expands to `text`.
    pub fn literal(text: &str) -> Self {
        Self(text.replace('$', "$$"))
    }

    /// The names of the variables, in order of appearance.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.parts().into_iter().filter_map(|part| match part {
            Part::Variable(name) => Some(name),
            Part::Text(_) => None,
        })
    }

    /// The text with every variable replaced by what `lookup` gives.
    ///
    /// # Errors
    ///
    /// The name of the first variable for which `lookup` gives nothing.
    pub fn expand(&self, lookup: impl Fn(&str) -> Option<String>) -> Result<String, String> {
        let mut text = String::with_capacity(self.0.len());
        for part in self.parts() {
            match part {
                Part::Text(part) => text.push_str(part),
                Part::Variable(name) => {
                    text.push_str(&lookup(name).ok_or_else(|| name.to_owned())?);
                }
            }
        }
        Ok(text)
    }

    /// The template in another notation: `text` writes what is no variable, `variable` a name.
    pub fn in_notation(
        &self,
        text: impl Fn(&str) -> String,
        variable: impl Fn(&str) -> String,
    ) -> String {
        let parts = self.parts().into_iter();
        let written = parts.map(|part| match part {
            Part::Text(part) => text(part),
            Part::Variable(name) => variable(name),
        });
        written.collect()
    }

    fn parts(&self) -> Vec<Part<'_>> {
        if let Some(name) = self.0.strip_prefix('$').filter(|name| is_variable(name)) {
            return vec![Part::Variable(name)];
        }
        let mut parts = Vec::new();
        let mut rest = self.0.as_str();
        while let Some((text, after)) = rest.split_once('$') {
            parts.push(Part::Text(text));
            let braced = after
                .strip_prefix('{')
                .and_then(|after| after.split_once('}'));
            rest = match braced {
                Some((name, after)) if is_variable(name) => {
                    parts.push(Part::Variable(name));
                    after
                }
                _ => {
                    parts.push(Part::Text("$"));
                    after.strip_prefix('$').unwrap_or(after)
                }
            };
        }
        parts.push(Part::Text(rest));
        parts
    }
}

fn is_variable(name: &str) -> bool {
    let starts_well = name
        .chars()
        .next()
        .is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    starts_well && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

impl Template {
    /// Why this text is not what its author meant, if it begins a variable and is none.
    fn malformed(text: &str) -> Option<String> {
        if let Some(name) = text
            .strip_prefix("os.environ/")
            .filter(|it| is_variable(it))
        {
            return Some(format!("variables are written ${{{name}}} here"));
        }
        let mut rest = text;
        while let Some((_, after)) = rest.split_once('$') {
            rest = after.strip_prefix('$').unwrap_or(after);
            let Some(inner) = after.strip_prefix('{') else {
                continue;
            };
            let name = match inner.split_once('}') {
                Some((name, _)) if is_variable(name) => continue,
                Some((name, _)) => name,
                None => return Some("\"${\" without its \"}\"; write ${NAME}".to_owned()),
            };
            let end = name.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
            let (word, _) = name.split_at_checked(end.unwrap_or(name.len()))?;
            return Some(match is_variable(word) {
                true => format!(
                    "\"${{{word}…}}\": a variable has no default or operator here; write ${{{word}}}"
                ),
                false => {
                    "\"${…}\" is not the name of a variable; write ${NAME}, and $${ for the text ${"
                        .to_owned()
                }
            });
        }
        None
    }
}

impl FromValue for Template {
    fn from_value(value: &Value, at: &KeyPath, errors: &mut ConfigErrors) -> Option<Self> {
        // It may be a key: what it is stays unsaid.
        if value.is_number() {
            errors.push(at, "expected a string, found a number; quote it");
            return None;
        }
        let text = String::from_value(value, at, errors)?;
        if let Some(message) = Self::malformed(&text) {
            errors.push(at, message);
            return None;
        }
        Some(Self(text))
    }

    fn to_value(&self) -> Option<Value> {
        self.0.to_value()
    }
}

/// What authenticates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// This text.
    Text(Template),
    /// The content of a file, which may change while requests run: `{file: PATH}`.
    File(Template),
    /// What a filter before the module writes into this header of each attempt: `{header: NAME}`.
    Header(String),
}

impl FromValue for SecretSource {
    fn from_value(value: &Value, at: &KeyPath, errors: &mut ConfigErrors) -> Option<Self> {
        let Value::Object(members) = value else {
            return Template::from_value(value, at, errors).map(Self::Text);
        };
        let mut members = members.iter();
        match (members.next(), members.next()) {
            (Some((key, value)), None) if key == "file" => {
                let path = Template::from_value(value, &at.key(key), errors)?;
                Some(Self::File(path))
            }
            (Some((key, value)), None) if key == "header" => {
                let name = String::from_value(value, &at.key(key), errors)?;
                Some(Self::Header(name))
            }
            _ => {
                errors.push(
                    at,
                    "expected a string, or a mapping with the one key file: a path",
                );
                None
            }
        }
    }

    fn to_value(&self) -> Option<Value> {
        let (key, value) = match self {
            Self::Text(template) => return template.to_value(),
            Self::File(path) => ("file", path.to_value()?),
            Self::Header(name) => ("header", name.to_value()?),
        };
        Some(Value::Object(
            [(key.to_owned(), value)].into_iter().collect(),
        ))
    }
}

/// A span of time: a number and `ms`, `s`, `m` or `h`. More than zero, at most 24 hours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(pub Duration);

impl Span {
    fn parse(text: &str) -> Option<Self> {
        let (number, unit) =
            text.split_at_checked(text.find(|c: char| c.is_ascii_alphabetic())?)?;
        let milliseconds: u64 = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return None,
        };
        let number: u64 = number.trim_end().parse().ok()?;
        let span = Duration::from_millis(number.checked_mul(milliseconds)?);
        (!span.is_zero() && span <= MAX_SPAN).then_some(Self(span))
    }
}

/// Reads a span of time: a number and one of the units of [`Span`].
pub fn parse_time(text: &str) -> Option<Duration> {
    Span::parse(text).map(|Span(time)| time)
}

impl FromValue for Span {
    fn from_value(value: &Value, at: &KeyPath, errors: &mut ConfigErrors) -> Option<Self> {
        let what = "a time such as 500ms, 30s or 5m, at most 24h";
        let Some(text) = value.as_str() else {
            return expected(what, value, at, errors);
        };
        Self::parse(text).or_else(|| {
            errors.push(at, format!("{text:?} is not {what}"));
            None
        })
    }

    fn to_value(&self) -> Option<Value> {
        let text = match self.0.subsec_millis() {
            0 => format!("{}s", self.0.as_secs()),
            _ => format!("{}ms", self.0.as_millis()),
        };
        Some(Value::String(text))
    }
}

/// A number of bytes: a whole number, alone or with `B`, `KiB`, `MiB`, `GiB`, `KB`, `MB` or `GB`.
/// At least 1 byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteSize(pub u64);

/// Reads a number of bytes: a whole number, alone or with one of the units of [`ByteSize`].
pub fn parse_bytes(text: &str) -> Option<u64> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(end)?;
    let unit: u64 = match unit.trim_start() {
        "" | "B" => 1,
        "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit)
}

impl ByteSize {
    fn parse(text: &str) -> Option<Self> {
        Self::checked(parse_bytes(text)?)
    }

    fn checked(bytes: u64) -> Option<Self> {
        (bytes > 0).then_some(Self(bytes))
    }
}

impl FromValue for ByteSize {
    fn from_value(value: &Value, at: &KeyPath, errors: &mut ConfigErrors) -> Option<Self> {
        let what = "a size such as 512KiB or 32MiB";
        let size = match value {
            Value::String(text) => Self::parse(text),
            Value::Number(number) => number.as_u64().and_then(Self::checked),
            _ => return expected(what, value, at, errors),
        };
        size.or_else(|| {
            errors.push(at, format!("{value} is not {what}"));
            None
        })
    }

    fn to_value(&self) -> Option<Value> {
        Some(Value::from(self.0))
    }
}

impl Placement {
    const ALL: [(&'static str, Self); 2] =
        [("listener", Self::Listener), ("upstream", Self::Upstream)];
}

impl FromValue for Placement {
    fn from_value(value: &Value, at: &KeyPath, errors: &mut ConfigErrors) -> Option<Self> {
        choice(&Self::ALL, value, at, errors)
    }

    fn to_value(&self) -> Option<Value> {
        choice_name(&Self::ALL, self)
    }
}

impl Policy {
    const ALL: [(&'static str, Self); 3] = [
        ("adapt", Self::Adapt),
        ("drop", Self::Drop),
        ("reject", Self::Reject),
    ];
}

/// What becomes of `web_search_options`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WebSearch {
    /// The provider's own search, which it bills.
    Provider,
    /// The request gets 400.
    #[default]
    Reject,
}

impl WebSearch {
    const ALL: [(&'static str, Self); 2] = [("provider", Self::Provider), ("reject", Self::Reject)];
}

impl FromValue for WebSearch {
    fn from_value(value: &Value, at: &KeyPath, errors: &mut ConfigErrors) -> Option<Self> {
        choice(&Self::ALL, value, at, errors)
    }

    fn to_value(&self) -> Option<Value> {
        choice_name(&Self::ALL, self)
    }
}

impl Passage {
    const ALL: [(&'static str, Self); 2] =
        [("native", Self::Native), ("translate", Self::Translate)];
}

impl FromValue for Passage {
    fn from_value(value: &Value, at: &KeyPath, errors: &mut ConfigErrors) -> Option<Self> {
        choice(&Self::ALL, value, at, errors)
    }

    fn to_value(&self) -> Option<Value> {
        choice_name(&Self::ALL, self)
    }
}

impl FromValue for Policy {
    fn from_value(value: &Value, at: &KeyPath, errors: &mut ConfigErrors) -> Option<Self> {
        choice(&Self::ALL, value, at, errors)
    }

    fn to_value(&self) -> Option<Value> {
        choice_name(&Self::ALL, self)
    }
}

impl UsageReport {
    const ALL: [(&'static str, Self); 2] = [("on", Self::On), ("off", Self::Off)];
}

impl FromValue for UsageReport {
    fn from_value(value: &Value, at: &KeyPath, errors: &mut ConfigErrors) -> Option<Self> {
        choice(&Self::ALL, value, at, errors)
    }

    fn to_value(&self) -> Option<Value> {
        choice_name(&Self::ALL, self)
    }
}

/// An operation whose model cannot be read, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UncheckedOperation(pub &'static Definition);

impl UncheckedOperation {
    /// Every one of them.
    fn all() -> impl Iterator<Item = &'static Definition> {
        Definition::all().filter(|it| it.is_unreadable())
    }
}

impl FromValue for UncheckedOperation {
    fn from_value(value: &Value, at: &KeyPath, errors: &mut ConfigErrors) -> Option<Self> {
        let Some(text) = value.as_str() else {
            return expected("the name of an operation", value, at, errors);
        };
        let message = match Definition::all().find(|it| it.name == text) {
            Some(definition) if definition.is_unreadable() => return Some(Self(definition)),
            Some(definition) if definition.model == ModelPlace::Path => format!(
                "{text:?} names its model in the path, which would choose another one than the \
                 configuration"
            ),
            Some(_) => format!("{text:?} needs no entry: its model can be read, or it uses none"),
            None => {
                let names: Vec<&str> = Self::all().map(|it| it.name).collect();
                match nearest(text, &names) {
                    Some(near) => format!("unknown operation {text:?}; did you mean {near:?}?"),
                    None => format!(
                        "unknown operation {text:?}; known here are {}",
                        names.join(", ")
                    ),
                }
            }
        };
        errors.push(at, message);
        None
    }

    fn to_value(&self) -> Option<Value> {
        Some(Value::from(self.0.name))
    }
}

/// An amount of USD: a number from 0 on with at most six decimals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usd(
    /// Unit: millionths of a USD.
    pub u64,
);

impl Usd {
    fn of(number: f64) -> Option<Self> {
        let millionths = (number * 1e6).round();
        let is_exact = (number * 1e6 - millionths).abs() < 1e-3;
        let is_in_range = (0.0..=MAX_USD * 1e6).contains(&millionths);
        // A whole number in the range of the type.
        (is_exact && is_in_range).then_some(Self(millionths as u64))
    }
}

impl FromValue for Usd {
    fn from_value(value: &Value, at: &KeyPath, errors: &mut ConfigErrors) -> Option<Self> {
        let what = "an amount of USD such as 1.25, with at most six decimals";
        let Some(number) = value.as_f64() else {
            return expected(what, value, at, errors);
        };
        Self::of(number).or_else(|| {
            errors.push(at, format!("{value} is not {what}"));
            None
        })
    }

    fn to_value(&self) -> Option<Value> {
        let Self(millionths) = *self;
        Some(match millionths % 1_000_000 {
            0 => Value::from(millionths / 1_000_000),
            _ => Value::from(millionths as f64 / 1e6),
        })
    }
}

/// A share of requests: a percentage with at most four decimals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share(
    /// Unit: millionths, 0 to 1,000,000.
    pub u32,
);

impl Share {
    fn parse(text: &str) -> Option<Self> {
        let number = text.strip_suffix('%')?.trim_end();
        let (whole, decimals) = number.split_once('.').unwrap_or((number, ""));
        let is_number = |digits: &str| digits.bytes().all(|it| it.is_ascii_digit());
        if whole.is_empty() || !is_number(whole) || !is_number(decimals) || decimals.len() > 4 {
            return None;
        }
        let millionths: u32 = format!("{whole}{decimals:0<4}").parse().ok()?;
        (millionths <= 1_000_000).then_some(Self(millionths))
    }
}

impl FromValue for Share {
    fn from_value(value: &Value, at: &KeyPath, errors: &mut ConfigErrors) -> Option<Self> {
        let what = "a percentage from 0% to 100%, such as 10% or 0.1%";
        let Some(text) = value.as_str() else {
            return expected(what, value, at, errors);
        };
        Self::parse(text).or_else(|| {
            errors.push(at, format!("{text:?} is not {what}"));
            None
        })
    }

    fn to_value(&self) -> Option<Value> {
        let Self(millionths) = self;
        let (whole, decimals) = (millionths / 10_000, millionths % 10_000);
        let decimals = format!(".{decimals:04}");
        let decimals = decimals.trim_end_matches('0').trim_end_matches('.');
        Some(Value::from(format!("{whole}{decimals}%")))
    }
}

impl Protocol {
    const ALL: [(&'static str, Self); 2] = [("grpc", Self::Grpc), ("http", Self::Http)];
}

impl FromValue for Protocol {
    fn from_value(value: &Value, at: &KeyPath, errors: &mut ConfigErrors) -> Option<Self> {
        choice(&Self::ALL, value, at, errors)
    }

    fn to_value(&self) -> Option<Value> {
        choice_name(&Self::ALL, self)
    }
}

/// A path at which probes are answered, or `off`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbePath {
    /// There is none.
    Off,
    /// This one. It starts with a `/`.
    On(String),
}

impl FromValue for ProbePath {
    fn from_value(value: &Value, at: &KeyPath, errors: &mut ConfigErrors) -> Option<Self> {
        let what = "a path such as /ready, or off";
        let text = match value {
            // What YAML 1.1 reads from `off`.
            Value::Bool(false) => return Some(Self::Off),
            Value::String(text) => text,
            _ => return expected(what, value, at, errors),
        };
        if text == OFF {
            return Some(Self::Off);
        }
        if !text.starts_with('/') || text.ends_with('/') {
            errors.push(at, format!("{text:?} is not {what}"));
            return None;
        }
        if let Err(message) = check_path(text) {
            errors.push(at, message);
            return None;
        }
        Some(Self::On(text.clone()))
    }

    fn to_value(&self) -> Option<Value> {
        Some(match self {
            Self::Off => Value::from(OFF),
            Self::On(path) => Value::from(path.as_str()),
        })
    }
}

/// What switches something off.
const OFF: &str = "off";

impl Role {
    const ALL: [(&'static str, Self); 3] = [
        ("choose", Self::Choose),
        ("ready", Self::Ready),
        ("send", Self::Send),
    ];
}

impl FromValue for Role {
    fn from_value(value: &Value, at: &KeyPath, errors: &mut ConfigErrors) -> Option<Self> {
        choice(&Self::ALL, value, at, errors)
    }

    fn to_value(&self) -> Option<Value> {
        choice_name(&Self::ALL, self)
    }
}

impl Strategy {
    const ALL: [(&'static str, Self); 3] = [
        ("weighted", Self::Weighted),
        ("latency", Self::Latency),
        ("round-robin", Self::RoundRobin),
    ];

    /// The strategy of this name, as `strategy` has it.
    pub fn named(name: &str) -> Option<Self> {
        let found = Self::ALL.iter().find(|(it, _)| *it == name);
        found.map(|(_, strategy)| *strategy)
    }
}

impl FromValue for Strategy {
    fn from_value(value: &Value, at: &KeyPath, errors: &mut ConfigErrors) -> Option<Self> {
        choice(&Self::ALL, value, at, errors)
    }

    fn to_value(&self) -> Option<Value> {
        choice_name(&Self::ALL, self)
    }
}

/// A failure after which the next member of a pool is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// There is no connection to the provider.
    Connect,
    /// Every status from 500 to 599.
    ServerErrors,
    /// This status, from 400 to 599.
    Status(u16),
    /// The first byte of the reply has not come in time.
    Timeout,
}

impl Failure {
    fn parse(text: &str) -> Option<Self> {
        let status = text.strip_prefix("http_").unwrap_or(text);
        match status {
            "5xx" => Some(Self::ServerErrors),
            "connect-failure" if status == text => Some(Self::Connect),
            "timeout" if status == text => Some(Self::Timeout),
            // A sign would be taken, too.
            digits if digits.len() == 3 => Self::status(digits.parse().ok()?),
            _ => None,
        }
    }

    fn status(status: u64) -> Option<Self> {
        let status = u16::try_from(status).ok()?;
        (400..=599)
            .contains(&status)
            .then_some(Self::Status(status))
    }
}

impl FromValue for Failure {
    fn from_value(value: &Value, at: &KeyPath, errors: &mut ConfigErrors) -> Option<Self> {
        let what = "a status from 400 to 599, 5xx, connect-failure or timeout";
        let failure = match value {
            Value::Number(number) => number.as_u64().and_then(Self::status),
            Value::String(text) => Self::parse(text),
            _ => return expected(what, value, at, errors),
        };
        failure.or_else(|| {
            errors.push(at, format!("{value} is not {what}"));
            None
        })
    }

    fn to_value(&self) -> Option<Value> {
        Some(match self {
            Self::Connect => Value::from("connect-failure"),
            Self::ServerErrors => Value::from("5xx"),
            Self::Status(status) => Value::from(*status),
            Self::Timeout => Value::from("timeout"),
        })
    }
}

/// A backend's `type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackendType {
    /// Several backends.
    Pool,
    /// One provider.
    Provider(ProviderType),
}

impl BackendType {
    /// Every type, by name, in the order in which messages list them.
    pub fn all() -> Vec<(&'static str, Self)> {
        let providers = ProviderType::ALL.map(|it| (it.as_str(), Self::Provider(it)));
        providers
            .into_iter()
            .chain([("pool", Self::Pool)])
            .collect()
    }
}

impl FromValue for BackendType {
    fn from_value(value: &Value, at: &KeyPath, errors: &mut ConfigErrors) -> Option<Self> {
        // The error is noted; with any type the backend's other keys are checked as well. This one
        // requires nothing and allows everything.
        let any = Self::Provider(ProviderType::Openai);
        choice(&Self::all(), value, at, errors).or(Some(any))
    }

    fn to_value(&self) -> Option<Value> {
        choice_name(&Self::all(), self)
    }
}

fn choice<T: Copy>(
    all: &[(&str, T)],
    value: &Value,
    at: &KeyPath,
    errors: &mut ConfigErrors,
) -> Option<T> {
    let names: Vec<&str> = all.iter().map(|(name, _)| *name).collect();
    let Some(text) = value.as_str() else {
        return expected(&format!("one of {}", names.join(", ")), value, at, errors);
    };
    let found = all.iter().find(|(name, _)| *name == text);
    if found.is_none() {
        let hint = match nearest(text, &names) {
            Some(near) => format!("; did you mean {near:?}?"),
            None => String::new(),
        };
        errors.push(
            at,
            format!("{text:?} is not one of {}{hint}", names.join(", ")),
        );
    }
    found.map(|(_, choice)| *choice)
}

fn choice_name<T: PartialEq>(all: &[(&str, T)], choice: &T) -> Option<Value> {
    all.iter()
        .find(|(_, it)| it == choice)
        .map(|(name, _)| Value::from(*name))
}

/// More than any price per million tokens.
const MAX_USD: f64 = 1e6;

const MAX_SPAN: Duration = Duration::from_secs(24 * 60 * 60);
/// The longest request body that can be configured. Unit: bytes.
pub(super) const MAX_BYTE_SIZE: u64 = 2 << 30;

/// The JSON Schemas of these types, for editors. The readers above decide.
#[cfg(not(target_family = "wasm"))]
mod schema {
    use std::borrow::Cow;

    use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

    use super::{
        BackendType, ByteSize, Failure, Passage, Policy, ProbePath, Protocol, SecretSource, Share,
        Span, Template, UncheckedOperation, UsageReport, Usd, WebSearch,
    };
    use crate::gateway::{Placement, Role};
    use crate::pool::Strategy;

    macro_rules! schema {
        ($type:ty, $name:literal, $schema:expr) => {
            impl JsonSchema for $type {
                fn schema_name() -> Cow<'static, str> {
                    Cow::Borrowed($name)
                }

                fn inline_schema() -> bool {
                    true
                }

                fn json_schema(_: &mut SchemaGenerator) -> Schema {
                    $schema
                }
            }
        };
    }

    // No `${` without a name and a `}` behind it, but after another `$`.
    schema!(
        Template,
        "Template",
        json_schema!({
            "type": "string",
            "pattern": "^(?!os\\.environ/)(?!.*(?<!\\$)\\$\\{(?![A-Za-z_][A-Za-z0-9_]*\\}))",
            "patternErrorMessage": "variables are written ${NAME}"
        })
    );
    schema!(
        SecretSource,
        "SecretSource",
        json_schema!({
            "type": ["string", "object"],
            "pattern": "^(?!os\\.environ/)(?!.*(?<!\\$)\\$\\{(?![A-Za-z_][A-Za-z0-9_]*\\}))",
            "patternErrorMessage": "variables are written ${NAME}",
            "properties": {"file": {
                "type": "string",
                "description": "The path of a file with the value, which is followed when it changes."
            }},
            "required": ["file"],
            "additionalProperties": false
        })
    );
    schema!(
        Span,
        "Span",
        json_schema!({
            "type": "string",
            "pattern": "^0*[1-9][0-9]* *(ms|s|m|h)$",
            "patternErrorMessage": "a time such as 500ms, 30s or 5m",
            "examples": ["30s"]
        })
    );
    // One schema for both forms, since an editor reports what fits none of several badly.
    schema!(
        ByteSize,
        "ByteSize",
        json_schema!({
            "type": ["integer", "string"],
            "minimum": 1,
            "maximum": super::MAX_BYTE_SIZE,
            "pattern": "^[0-9]+ *([KMG]i?B|B)?$",
            "patternErrorMessage": "a size such as 512KiB or 32MiB",
            "examples": ["32MiB"]
        })
    );
    schema!(
        Placement,
        "Placement",
        json_schema!({"enum": Placement::ALL.map(|(name, _)| name)})
    );
    schema!(
        Policy,
        "Unsupported",
        json_schema!({"enum": Policy::ALL.map(|(name, _)| name)})
    );
    schema!(
        UsageReport,
        "UsageReport",
        json_schema!({"enum": UsageReport::ALL.map(|(name, _)| name)})
    );
    schema!(
        Passage,
        "Passage",
        json_schema!({"enum": Passage::ALL.map(|(name, _)| name)})
    );
    schema!(
        WebSearch,
        "WebSearch",
        json_schema!({"enum": WebSearch::ALL.map(|(name, _)| name)})
    );
    schema!(
        UncheckedOperation,
        "UncheckedOperation",
        json_schema!({"enum": UncheckedOperation::all().map(|it| it.name).collect::<Vec<_>>()})
    );
    schema!(
        Protocol,
        "Protocol",
        json_schema!({"enum": Protocol::ALL.map(|(name, _)| name)})
    );
    schema!(
        Share,
        "Share",
        json_schema!({
            "type": "string",
            "pattern": "^([0-9]{1,2}(\\.[0-9]{1,4})?|100(\\.0{1,4})?) *%$",
            "patternErrorMessage": "a percentage from 0% to 100%, such as 10% or 0.1%",
            "examples": ["10%"]
        })
    );
    schema!(
        Usd,
        "Usd",
        json_schema!({
            "type": ["integer", "number"],
            "minimum": 0,
            "maximum": super::MAX_USD,
            "examples": [1.25]
        })
    );
    schema!(
        ProbePath,
        "ProbePath",
        json_schema!({
            "type": "string",
            "pattern": "^(/[^?#*\\s]*[^?#*\\s/]|off)$",
            "patternErrorMessage": "a path such as /ready, or off"
        })
    );
    schema!(
        Role,
        "Role",
        json_schema!({"enum": Role::ALL.map(|(name, _)| name)})
    );
    schema!(
        Strategy,
        "Strategy",
        json_schema!({"enum": Strategy::ALL.map(|(name, _)| name)})
    );
    schema!(
        Failure,
        "Failure",
        json_schema!({
            "type": ["integer", "string"],
            "minimum": 400,
            "maximum": 599,
            "pattern": "^((http_)?([45][0-9]{2}|5xx)|connect-failure|timeout)$",
            "patternErrorMessage": "a status from 400 to 599, 5xx, connect-failure or timeout"
        })
    );
    schema!(
        BackendType,
        "BackendType",
        json_schema!({
            "enum": BackendType::all().into_iter().map(|(name, _)| name).collect::<Vec<_>>()
        })
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_expand_variables_and_keep_other_dollars() {
        let lookup = |name: &str| (name == "A").then(|| "x".to_owned());
        let expand = |text: &str| Template(text.to_owned()).expand(lookup);
        for (text, expected) in [
            ("$A", "x"),
            ("${A}", "x"),
            ("https://${A}.example", "https://x.example"),
            ("${A}${A}", "xx"),
            ("a$A", "a$A"),
            ("$$A", "$A"),
            ("$${A}", "${A}"),
            ("${", "${"),
            ("${a-b}", "${a-b}"),
            ("$", "$"),
            ("price: 5$", "price: 5$"),
            ("", ""),
        ] {
            assert_eq!(expand(text).as_deref(), Ok(expected), "{text}");
        }
        assert_eq!(expand("${A}${B}"), Err("B".to_owned()));
        for text in ["$A", "a$$b", "${A}"] {
            let literal = Template::literal(text);
            assert_eq!(literal.expand(|_| None).as_deref(), Ok(text));
        }
    }

    #[test]
    fn text_that_begins_a_variable_and_is_none_is_refused() {
        for (text, expected) in [
            ("${A", Some("without its \"}\"")),
            ("${A:-b}", Some("write ${A}")),
            ("x ${A-b} y", Some("write ${A}")),
            ("${}", Some("not the name of a variable")),
            ("${1}", Some("not the name of a variable")),
            ("os.environ/A", Some("${A} here")),
            ("${A}", None),
            ("$A", None),
            ("$${A:-b}", None),
            ("5$", None),
            ("os.environ/", None),
        ] {
            let message = Template::malformed(text);
            assert_eq!(message.is_some(), expected.is_some(), "{text}: {message:?}");
            let message = message.unwrap_or_default();
            assert!(
                message.contains(expected.unwrap_or_default()),
                "{text}: {message}"
            );
        }
    }

    #[test]
    fn amounts_have_six_decimals_at_most() {
        for (number, expected) in [
            (1.25, 1_250_000),
            (0.0, 0),
            (0.000001, 1),
            (15.0, 15_000_000),
        ] {
            assert_eq!(Usd::of(number), Some(Usd(expected)), "{number}");
            let written = Usd(expected).to_value().and_then(|it| it.as_f64());
            assert_eq!(written, Some(number));
        }
        for number in [-1.0, 0.0000005, 1e7, f64::NAN, f64::INFINITY] {
            assert_eq!(Usd::of(number), None, "{number}");
        }
    }

    #[test]
    fn shares_have_four_decimals_at_most() {
        let millionths = |text: &str| Share::parse(text).map(|share| share.0);
        for (text, expected) in [
            ("10%", 100_000),
            ("0.1%", 1_000),
            ("100%", 1_000_000),
            ("0%", 0),
            ("12.3456%", 123_456),
        ] {
            assert_eq!(millionths(text), Some(expected), "{text}");
            let written = Share(expected).to_value();
            assert_eq!(written, Some(Value::from(text)));
        }
        for text in [
            "", "%", "10", "-1%", "100.1%", "1.23456%", ".5%", "1,5%", "+1%",
        ] {
            assert_eq!(millionths(text), None, "{text}");
        }
    }

    #[test]
    fn spans_and_sizes_need_their_units() {
        let millis = |text: &str| Span::parse(text).map(|span| span.0.as_millis());
        assert_eq!(millis("500ms"), Some(500));
        assert_eq!(millis("30s"), Some(30_000));
        assert_eq!(millis("5m"), Some(300_000));
        assert_eq!(millis("24h"), Some(86_400_000));
        for text in [
            "",
            "30",
            "s",
            "0s",
            "25h",
            "1.5s",
            "-1s",
            "30S",
            "99999999999999999999s",
        ] {
            assert_eq!(millis(text), None, "{text}");
        }
        let bytes = |text: &str| ByteSize::parse(text).map(|size| size.0);
        assert_eq!(bytes("32MiB"), Some(33_554_432));
        assert_eq!(bytes("1 KB"), Some(1_000));
        assert_eq!(bytes("7"), Some(7));
        for text in [
            "",
            "MiB",
            "0",
            "1.5MiB",
            "-1",
            "1mib",
            "99999999999999999999",
        ] {
            assert_eq!(bytes(text), None, "{text}");
        }
    }
}
