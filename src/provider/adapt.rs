//! What becomes of a parameter that a dialect, or one of its models, cannot take as it is.
//!
//! Each dialect has one table of [`Rule`]s. The code that writes a request names the rule that
//! applies; what happens then follows from the rule's [`Outcome`] and the backend's [`Policy`], in
//! this file alone. The pages in `docs/providers` are generated from the same tables.

use std::borrow::Cow;
use std::cell::RefCell;

use super::dialect::Unsupported;

/// One row of a dialect's table.
#[derive(Debug, PartialEq, Eq)]
pub struct Rule {
    /// The parameter, without indices: `seed`, `messages[].name`.
    pub param: &'static str,
    /// What happens.
    pub outcome: Outcome,
    /// To which models it applies; empty: to all.
    pub models: &'static str,
    /// What is sent instead, or why nothing is: lower case, no final period.
    pub reason: &'static str,
}

/// What happens to a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Another member of the provider's API means the same. It is not reported.
    Mapped,
    /// A hint: the nearest value that the provider takes is sent, and the parameter is reported.
    Nearest,
    /// A hint: it is left out and reported.
    Omitted,
    /// A correct answer depends on it: the request gets 400.
    Rejected,
}

impl Outcome {
    /// As the generated pages have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mapped => "mapped",
            Self::Nearest => "nearest value",
            Self::Omitted => "left out",
            Self::Rejected => "400",
        }
    }
}

/// A backend's `unsupported`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// Hints are left out or replaced and reported; everything else is a 400.
    #[default]
    Adapt,
    /// Nothing is a 400: what cannot be sent is left out and reported.
    Drop,
    /// Hints are a 400, too.
    Reject,
}

/// Parameters that do not change what a correct answer is.
///
/// Source: <https://platform.openai.com/docs/api-reference/chat/create>, and `openai` 3.57.0.
pub const HINTS: &[&str] = &[
    "metadata",
    "moderation",
    "prediction",
    "prompt_cache_breakpoint",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "store",
    "verbosity",
];

/// Parameters of inference servers (vLLM, SGLang, llama.cpp, Ollama, OpenRouter …) that OpenAI does
/// not have, and that do not change what a correct answer is.
pub const SAMPLER_EXTENSIONS: &[&str] = &[
    "add_special_tokens",
    "best_of",
    "cache_prompt",
    "chat_template",
    "chat_template_kwargs",
    "dry_allowed_length",
    "dry_base",
    "dry_multiplier",
    "dynatemp_exponent",
    "dynatemp_range",
    "enable_thinking",
    "id_slot",
    "ignore_eos",
    "include_reasoning",
    "include_stop_str_in_output",
    "keep_alive",
    "length_penalty",
    "max_thinking_tokens",
    "min_p",
    "min_tokens",
    "mirostat",
    "mirostat_eta",
    "mirostat_tau",
    "models",
    "num_ctx",
    "num_keep",
    "num_predict",
    "options",
    "priority",
    "provider",
    "reasoning_format",
    "repeat_last_n",
    "repeat_penalty",
    "repetition_penalty",
    "request_id",
    "route",
    "safe_prompt",
    "samplers",
    "skip_special_tokens",
    "spaces_between_special_tokens",
    "stop_token_ids",
    "separate_reasoning",
    "tfs_z",
    "thinking_budget",
    "top_a",
    "top_n_sigma",
    "transforms",
    "truncate_prompt_tokens",
    "typical_p",
    "usage",
    "use_beam_search",
    "xtc_probability",
    "xtc_threshold",
];

/// Declares a dialect's table, and a name for each of its rows.
macro_rules! rules {
    ($($name:ident = $param:literal, $outcome:ident, $models:literal, $reason:literal;)*) => {
        $(pub(super) static $name: $crate::provider::adapt::Rule = $crate::provider::adapt::Rule {
            param: $param,
            outcome: $crate::provider::adapt::Outcome::$outcome,
            models: $models,
            reason: $reason,
        };)*

        /// Every row, in the order of the documentation.
        pub static RULES: &[&$crate::provider::adapt::Rule] = &[$(&$name),*];
    };
}
pub(super) use rules;

/// Applies rules to one request, and collects what they come to.
///
/// Memory: at most [`MAX_REPORTED`] names and as many refusals, whatever the request has.
#[derive(Debug, Default)]
pub struct Adapter {
    policy: Policy,
    findings: RefCell<Findings>,
}

#[derive(Debug, Default)]
struct Findings {
    adapted: Vec<Cow<'static, str>>,
    refused: Vec<(String, Cow<'static, str>)>,
    has_refused_hint: bool,
    refused_count: usize,
}

impl Adapter {
    /// For one request to a backend with this policy.
    pub fn new(policy: Policy) -> Self {
        Self {
            policy,
            findings: RefCell::default(),
        }
    }

    /// A parameter at the top level.
    pub fn apply(&self, rule: &'static Rule) {
        self.apply_at(rule, || rule.param.to_owned());
    }

    /// A parameter at a place that has indices: `messages[2].name`.
    pub fn apply_at(&self, rule: &'static Rule, param: impl FnOnce() -> String) {
        self.find(rule, || Cow::Borrowed(rule.param), param);
    }

    /// A parameter whose name is not the rule's: the rule is about all that are not known.
    pub fn apply_to(&self, rule: &'static Rule, param: &str) {
        self.find(
            rule,
            || Cow::Owned(reported_name(param)),
            || param.to_owned(),
        );
    }

    fn find(
        &self,
        rule: &'static Rule,
        name: impl FnOnce() -> Cow<'static, str>,
        param: impl FnOnce() -> String,
    ) {
        let mut findings = self.findings.borrow_mut();
        let is_refused = match (rule.outcome, self.policy) {
            (Outcome::Mapped, _) => return,
            (_, Policy::Drop) => false,
            (Outcome::Nearest | Outcome::Omitted, policy) => policy == Policy::Reject,
            (Outcome::Rejected, _) => true,
        };
        if is_refused {
            findings.refused_count += 1;
            findings.has_refused_hint |= rule.outcome != Outcome::Rejected;
            if findings.refused.len() < MAX_REPORTED {
                findings.refused.push((param(), Cow::Borrowed(rule.reason)));
            }
            return;
        }
        let name = name();
        if findings.adapted.len() < MAX_REPORTED && !findings.adapted.contains(&name) {
            findings.adapted.push(name);
        }
    }

    /// The parameters that were adapted, as the header `x-llm-proxy-adapted` lists them; `None`:
    /// none was.
    ///
    /// # Errors
    ///
    /// All that were refused, as one error.
    pub fn finish(self) -> Result<Option<String>, Unsupported> {
        let findings = self.findings.into_inner();
        let Some((first, _)) = findings.refused.first() else {
            let names = findings.adapted.join(", ");
            return Ok((!names.is_empty()).then_some(names));
        };
        let mut message = String::from("not supported by this backend's provider: ");
        for (number, (param, reason)) in findings.refused.iter().enumerate() {
            if number > 0 {
                message.push_str(", ");
            }
            message.push_str(&format!("{param:?} ({reason})"));
        }
        let further = findings.refused_count - findings.refused.len();
        if further > 0 {
            message.push_str(&format!(", and {further} more"));
        }
        let it = match findings.refused.len() {
            1 => "it",
            _ => "them",
        };
        message.push_str(&match findings.has_refused_hint {
            true => format!(
                "; leave {it} out of the request, or set \"unsupported: adapt\" on the backend, \
                 which adapts hints"
            ),
            false => format!(
                "; leave {it} out of the request, or set \"unsupported: drop\" on the backend to \
                 have {it} left out there"
            ),
        });
        Err(Unsupported {
            param: first.clone(),
            message,
        })
    }
}

/// A client's name for a parameter, fit for a header: without indices, short, and plain.
fn reported_name(param: &str) -> String {
    let mut name = String::new();
    let mut is_index = false;
    for it in param.chars() {
        match it {
            '[' => is_index = true,
            ']' => is_index = false,
            _ if is_index => continue,
            _ => {}
        }
        if name.len() >= MAX_NAME_BYTES {
            break;
        }
        let is_plain = it.is_ascii_alphanumeric() || "_-.[]".contains(it);
        name.push(if is_plain { it } else { '?' });
    }
    name
}

/// The most parameters that a header or an error lists.
pub const MAX_REPORTED: usize = 32;

/// Unit: bytes of a client's name for a parameter.
const MAX_NAME_BYTES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    mod table {
        rules! {
            SEED = "seed", Omitted, "", "there is no seed";
            N = "n", Rejected, "", "each request has one answer";
            USER = "user", Mapped, "", "metadata.user_id";
            UNKNOWN = "messages[].*", Omitted, "", "it is not known";
        }

        pub(super) fn rows() -> [&'static crate::provider::adapt::Rule; 4] {
            assert_eq!(RULES, [&SEED, &N, &USER, &UNKNOWN]);
            [&SEED, &N, &USER, &UNKNOWN]
        }
    }

    fn outcome(policy: Policy) -> Result<Option<String>, Unsupported> {
        let [seed, n, user, unknown] = table::rows();
        let adapter = Adapter::new(policy);
        adapter.apply(seed);
        adapter.apply(user);
        adapter.apply_to(unknown, "messages[17].na\nme");
        adapter.apply_to(unknown, "messages[18].na\nme");
        if policy != Policy::Reject {
            adapter.apply(seed);
            let adapter = Adapter::new(policy);
            adapter.apply(n);
            adapter.apply(seed);
            adapter.apply(n);
            let refused = adapter.finish();
            match policy {
                Policy::Adapt => assert_eq!(refused.unwrap_err().param, "n"),
                _ => assert_eq!(refused.unwrap().as_deref(), Some("n, seed")),
            }
        }
        adapter.finish()
    }

    #[test]
    fn a_policy_decides_what_is_refused() {
        let names = Some("seed, messages[].na?me".to_owned());
        assert_eq!(outcome(Policy::Adapt), Ok(names.clone()));
        assert_eq!(outcome(Policy::Drop), Ok(names));
        let refused = outcome(Policy::Reject).unwrap_err();
        assert_eq!(refused.param, "seed");
        for part in ["\"seed\" (there is no seed)", "messages[17]", "adapt"] {
            assert!(refused.message.contains(part), "{}", refused.message);
        }
        assert_eq!(Adapter::default().finish(), Ok(None));
    }

    #[test]
    fn a_report_is_bounded() {
        let [.., n, _, unknown] = table::rows();
        for (rule, policy) in [(unknown, Policy::Adapt), (n, Policy::Adapt)] {
            let adapter = Adapter::new(policy);
            for number in 0..10_000 {
                adapter.apply_to(rule, &format!("messages[0].{number}{}", "x".repeat(200)));
            }
            match adapter.finish() {
                Ok(names) => assert!(names.unwrap().len() < 4_000),
                Err(refused) => {
                    assert!(refused.message.ends_with("left out there"));
                    assert!(refused.message.contains("and 9968 more"));
                }
            }
        }
    }
}
