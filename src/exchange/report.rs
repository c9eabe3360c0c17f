//! What is reported of a request at its end, for logs and metrics: numbers and names, never content.
//!
//! The host records it. An attempt that Envoy repeats is reported as an attempt alone; tokens, times and
//! the values for the access log are those of the last one.

use std::borrow::Cow;
use std::rc::Rc;

use crate::backend::Backend;
use crate::contract::telemetry::{self as names, Metric, OTHER, StateKey, Tag};
use crate::moment::Moment;
use crate::name::BackendName;
use crate::operation::table::Definition;
use crate::usage::Observed;

/// What is known of a request, or of one attempt of it.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The call; `None`: the request was refused before it was known.
    pub call: Option<&'static Definition>,
    /// Where it went.
    pub backend: Option<Rc<Backend>>,
    /// The pool of that backend.
    pub pool: Option<BackendName>,
    /// The client's name of the model.
    pub requested: Option<Rc<str>>,
    /// The provider's name of the model.
    pub sent: Option<Rc<str>>,
    /// What was seen of the answer.
    pub observed: Observed,
    /// How it ended.
    pub outcome: Outcome,
    /// The code of an error, a provider's or ours.
    pub error_code: Option<Box<str>>,
    /// The provider's own id of the request.
    pub provider_id: Option<Box<str>>,
    /// The parameters that were adapted for the provider.
    pub adapted: Option<Box<str>>,
    /// Whether Envoy makes another attempt.
    pub is_repeated: bool,
    /// When the headers of the request had arrived.
    pub began: Moment,
    /// When the first token of a stream came.
    pub first_token: Option<Moment>,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Outcome {
    /// The client has gone away.
    Abandoned,
    /// The provider has sent no reply.
    #[default]
    NoReply,
    /// The gateway has answered with an error.
    Refused(u16),
    /// The provider has replied with this status.
    Replied(u16),
}

impl Outcome {
    fn is_ok(self) -> bool {
        matches!(self, Self::Replied(status) if status < FIRST_ERROR)
    }

    /// The word for it in labels and logs.
    pub fn reason(self) -> Cow<'static, str> {
        match self {
            Self::Abandoned => "client_closed".into(),
            Self::NoReply => "no_reply".into(),
            Self::Replied(status) if status < FIRST_ERROR => "ok".into(),
            Self::Refused(status) | Self::Replied(status) => status.to_string().into(),
        }
    }
}

/// The names that may be labels.
pub trait Labels {
    /// The label of a model. `is_answered`: a provider has answered with success, so that the name may
    /// become a new label.
    fn model(&mut self, name: &str, is_answered: bool) -> Rc<str>;

    /// The label of a parameter.
    fn parameter(&mut self, name: &str) -> Rc<str>;
}

/// What records metrics.
pub trait Recorder {
    /// Adds to a counter.
    fn count(&mut self, metric: &Metric, tags: &str, by: u64);
    /// Records a value of a histogram.
    fn record(&mut self, metric: &Metric, tags: &str, value: u64);
}

impl Report {
    /// The values for Envoy's filter state.
    pub fn state(&self, set: &mut dyn FnMut(StateKey, &str)) {
        let mut text = |key, value: Option<&str>| {
            if let Some(value) = value {
                set(key, &loggable(value));
            }
        };
        let call = self.call;
        text(names::OPERATION, call.map(Definition::operation_name));
        text(names::CLIENT_API, call.map(|it| it.name));
        text(names::REQUEST_MODEL, self.requested.as_deref());
        text(names::SENT_MODEL, self.sent.as_deref());
        text(names::RESPONSE_MODEL, self.observed.model.as_deref());
        text(names::FINISH_REASON, self.observed.finish_reason.as_deref());
        text(names::ERROR_CODE, self.error_code.as_deref());
        text(names::PROVIDER_REQUEST_ID, self.provider_id.as_deref());
        let usage = &self.observed.usage;
        let first_token = self.first_token.map(|it| millis(it, self.began));
        for (key, number) in [
            (names::INPUT_TOKENS, usage.prompt),
            (names::OUTPUT_TOKENS, usage.completion),
            (names::CACHED_TOKENS, usage.cached),
            (names::CACHE_WRITTEN_TOKENS, usage.cache_written),
            (names::REASONING_TOKENS, usage.reasoning),
            (names::TOTAL_TOKENS, usage.sum()),
            (names::COST_NANO_USD, self.cost()),
            (names::FIRST_TOKEN_MS, first_token),
        ] {
            if let Some(number) = number {
                set(key, &number.to_string());
            }
        }
    }

    /// What it costs, by the prices of its backend. Unit: 10⁻⁹ USD.
    fn cost(&self) -> Option<u64> {
        let (sent, answered) = (self.sent.as_deref(), self.observed.model.as_deref());
        let prices = &self.backend.as_ref()?.prices;
        prices.cost(sent, answered, &self.observed.usage)
    }

    /// This attempt as the list of those that failed has it; `None`: it did not fail.
    pub fn failed_attempt(&self) -> Option<String> {
        let backend = self.backend.as_ref()?;
        let failed = !self.outcome.is_ok() && self.outcome != Outcome::Abandoned;
        failed.then(|| format!("{}:{}", backend.name, self.outcome.reason()))
    }

    /// Records its metrics. `route` gives the name of Envoy's route.
    pub fn record(
        &self,
        now: Moment,
        route: &dyn Fn() -> Option<String>,
        labels: &mut dyn Labels,
        recorder: &mut dyn Recorder,
    ) {
        if let (Outcome::Refused(_), Some(code)) = (self.outcome, &self.error_code) {
            recorder.count(&names::REFUSALS, &tags(&[(names::TAG_CODE, code)]), 1);
        }
        let (Some(backend), Some(call)) = (&self.backend, self.call) else {
            return;
        };
        let name = backend.name.as_str();
        let reason = self.outcome.reason();
        let mut of_attempt = tags(&[(names::TAG_BACKEND, name)]);
        if let Some(pool) = &self.pool {
            push(&mut of_attempt, names::TAG_POOL, pool.as_str());
        }
        push(&mut of_attempt, names::TAG_REASON, &reason);
        // What was refused was not sent, as far as that can be told.
        if !matches!(self.outcome, Outcome::Refused(_)) {
            recorder.count(&names::ATTEMPTS, &of_attempt, 1);
        }
        if self.is_repeated {
            recorder.count(&names::FALLBACKS, &of_attempt, 1);
            return;
        }
        let adapted = self.adapted.iter().flat_map(|it| it.split(", "));
        for param in adapted.map(parameter) {
            let param = labels.parameter(param);
            let tags = tags(&[(names::TAG_BACKEND, name), (names::TAG_PARAMETER, &param)]);
            recorder.count(&names::ADAPTED, &tags, 1);
        }
        let is_ok = self.outcome.is_ok();
        let mut all = tags(&[
            (names::TAG_OPERATION, call.operation_name()),
            (names::TAG_PROVIDER, backend.provider_name()),
        ]);
        for (tag, model) in [
            (names::TAG_MODEL, self.sent.as_deref()),
            (names::TAG_RESPONSE_MODEL, self.observed.model.as_deref()),
        ] {
            if let Some(model) = model {
                push(&mut all, tag, &labels.model(model, is_ok));
            }
        }
        push(&mut all, names::TAG_BACKEND, name);
        if let Some(route) = route() {
            push(&mut all, names::TAG_ROUTE, &route);
        }
        let usage = &self.observed.usage;
        for (word, number) in [("input", usage.prompt), ("output", usage.completion)] {
            if let Some(number) = number {
                let mut tags = all.clone();
                push(&mut tags, names::TAG_TOKEN_TYPE, word);
                recorder.record(&names::TOKEN_USAGE, &tags, number);
                recorder.count(&names::TOKENS, &tags, number);
            }
        }
        for (word, number) in [
            ("cached", usage.cached),
            ("cache_written", usage.cache_written),
            ("reasoning", usage.reasoning),
        ] {
            if let Some(number) = number.filter(|it| *it > 0) {
                let mut tags = all.clone();
                push(&mut tags, names::TAG_TOKEN_TYPE, word);
                recorder.count(&names::TOKENS, &tags, number);
            }
        }
        if let Some(cost) = self.cost() {
            recorder.count(&names::COST, &all, cost);
        }
        if let Some(first) = self.first_token {
            recorder.record(&names::TIME_TO_FIRST_TOKEN, &all, millis(first, self.began));
            // The first token is not among those that the time is spread over.
            let rest = usage.completion.and_then(|it| it.checked_sub(1));
            if let Some(rest) = rest.filter(|it| *it > 0 && is_ok) {
                let per_token = millis(now, first) / rest;
                recorder.record(&names::TIME_PER_OUTPUT_TOKEN, &all, per_token);
            }
        }
        if !is_ok {
            push(&mut all, names::TAG_ERROR, &reason);
        }
        recorder.record(&names::DURATION, &all, millis(now, self.began));
    }
}

/// A client's or a provider's text in a log: short, and without what could be taken for something else.
/// Envoy escapes quotes and backslashes in JSON.
pub fn loggable(text: &str) -> Cow<'_, str> {
    let cut = text
        .get(..text.floor_char_boundary(MAX_LOGGED_BYTES))
        .unwrap_or_default();
    match cut.contains(char::is_control) {
        true => cut.replace(char::is_control, "\u{fffd}").into(),
        false => cut.into(),
    }
}

/// A parameter as a label: without places in lists, of which there is no end.
fn parameter(param: &str) -> &str {
    let end = param.find(['[', '.', ' ']).unwrap_or(param.len());
    let name = param.get(..end).unwrap_or_default();
    let is_name = name.len() <= MAX_PARAMETER_BYTES
        && name
            .bytes()
            .all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'_');
    match is_name && !name.is_empty() {
        true => name,
        false => OTHER,
    }
}

fn millis(later: Moment, earlier: Moment) -> u64 {
    u64::try_from(later.since(earlier).as_millis()).unwrap_or(u64::MAX)
}

/// The tags of a metric, as they stand behind its name.
pub fn tags(pairs: &[(Tag, &str)]) -> String {
    let mut tags = String::with_capacity(160);
    for (tag, value) in pairs {
        push(&mut tags, *tag, value);
    }
    tags
}

/// Adds a tag as a part of a metric's name: `;op=chat`.
fn push(tags: &mut String, tag: Tag, value: &str) {
    tags.push(';');
    tags.push_str(tag.key);
    tags.push('=');
    tags.push_str(&safe(value));
}

/// A text as the value of a label.
pub fn safe(text: &str) -> Cow<'_, str> {
    let is_safe = |c: char| c.is_ascii_alphanumeric() || "._:/@+-".contains(c);
    let text = text
        .get(..text.floor_char_boundary(MAX_LABEL_BYTES))
        .unwrap_or_default();
    match text.chars().all(is_safe) {
        true => text.into(),
        false => text.replace(|c| !is_safe(c), "_").into(),
    }
}

const FIRST_ERROR: u16 = 400;
const MAX_LOGGED_BYTES: usize = 256;
const MAX_LABEL_BYTES: usize = 128;
const MAX_PARAMETER_BYTES: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_writes_is_cut_and_has_no_control_characters() {
        assert_eq!(loggable("a\nb\u{1b}"), "a\u{fffd}b\u{fffd}");
        assert_eq!(loggable(&"é".repeat(200)).len(), 256);
        assert_eq!(
            tags(&[(names::TAG_MODEL, "a;b=c\nd é")]),
            ";model=a_b_c_d__"
        );
    }

    #[test]
    fn parameters_are_labels_without_places() {
        for (param, expected) in [
            ("seed", "seed"),
            ("messages[3].name", "messages"),
            ("tools[0] (web_search)", "tools"),
            ("Ünknown", OTHER),
            ("", OTHER),
        ] {
            assert_eq!(parameter(param), expected);
        }
    }
}
