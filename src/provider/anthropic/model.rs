//! What a model can do, by its family and version: one table.
//!
//! Names put the version after the family (`claude-sonnet-4-5-20250929`) or before it
//! (`claude-3-7-sonnet-20250219`). A Claude without a version is taken for the newest of its family;
//! a name without `claude` is another server's model behind the same API, and gets what most of
//! those take.
//!
//! Sources. Largest limits: from 4.5 on the models' own pages, such as
//! <https://platform.claude.com/docs/en/models/opus-4-6/overview> (128K from 4.6 on, 64K for 4.5; stored
//! copies of October and November 2026); for 4.7, 4.8 and Sonnet 4.6 the error texts in
//! <https://github.com/Effect-TS/effect/pull/7129>; for older ones, which have ended but on other hosts,
//! other gateways' tables. What thinks how: the same pages, and the types of the official Python package
//! 2.14.0 (`thinking_types.py`, `thinking_config_between_tools_param.py`). What is refused (forced choice,
//! `disabled`, sampling): error texts that users have reported. No model was called.

/// The families that differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    Fable,
    Haiku,
    Mythos,
    Opus,
    Sonnet,
}

/// A model's name, as far as it says what the model can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Model {
    is_claude: bool,
    family: Option<Family>,
    /// `None` where the name has none.
    version: Option<(u32, u32)>,
}

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Capabilities {
    /// How the model thinks when it is told to.
    pub thinking: ThinkingStyle,
    /// Whether it is known that nothing turns its thinking off altogether.
    pub always_thinks: bool,
    /// What turns its thinking off.
    pub off: ThinkingOff,
    /// Whether `tool_choice` may force a call.
    pub has_forced_choice: bool,
    pub sampling: Sampling,
    /// Whether a system message may follow a turn of the user.
    pub has_late_system: bool,
    /// Whether thinking is bound to what stands before it: a block whose prefix has changed is
    /// refused.
    pub binds_thinking: bool,
    /// `output_config.format`, and `strict` of tools.
    pub has_structured_output: bool,
    /// Whether `xhigh` is one of its efforts; all that think adaptively have `max`.
    pub has_xhigh: bool,
    /// The limit that is sent where nobody gives one. Unit: tokens.
    pub default_max_tokens: u64,
    /// The largest limit. Unit: tokens.
    pub largest_max_tokens: u64,
}

/// How a model thinks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ThinkingStyle {
    /// `thinking: {type: adaptive}` and `output_config.effort`.
    Adaptive,
    /// `thinking: {type: enabled, budget_tokens}`.
    Budget,
    /// It cannot.
    None,
}

/// What `reasoning_effort: none` becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ThinkingOff {
    /// `thinking: {type: between_tools}`.
    BetweenTools,
    /// `thinking: {type: disabled}`.
    Disabled,
    /// It cannot be turned off: the lowest effort.
    LowestEffort,
    /// It does not think unless it is told to.
    Unsaid,
}

/// Which of `temperature`, `top_p` and `top_k` a model takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sampling {
    All,
    None,
    /// > `temperature` and `top_p` cannot both be specified for this model.
    OneOfTwo,
}

/// Models older than all rows of [`TABLE`]: they cannot think.
const OLDEST: Capabilities = Capabilities {
    thinking: ThinkingStyle::None,
    always_thinks: false,
    off: ThinkingOff::Unsaid,
    has_forced_choice: true,
    sampling: Sampling::All,
    has_late_system: false,
    binds_thinking: false,
    has_structured_output: false,
    has_xhigh: false,
    default_max_tokens: 4_096,
    largest_max_tokens: 4_096,
};

const V3_5: Capabilities = Capabilities {
    default_max_tokens: 8_192,
    largest_max_tokens: 8_192,
    ..OLDEST
};
const V3_7: Capabilities = Capabilities {
    thinking: ThinkingStyle::Budget,
    default_max_tokens: 32_000,
    largest_max_tokens: 64_000,
    ..OLDEST
};
const OPUS_4: Capabilities = Capabilities {
    largest_max_tokens: 32_000,
    ..V3_7
};
const OPUS_4_1: Capabilities = Capabilities {
    sampling: Sampling::OneOfTwo,
    has_structured_output: true,
    ..OPUS_4
};
const V4_5: Capabilities = Capabilities {
    largest_max_tokens: 64_000,
    ..OPUS_4_1
};
const V4_6: Capabilities = Capabilities {
    thinking: ThinkingStyle::Adaptive,
    off: ThinkingOff::Disabled,
    largest_max_tokens: 128_000,
    ..V4_5
};
const V4_7: Capabilities = Capabilities {
    sampling: Sampling::None,
    has_xhigh: true,
    ..V4_6
};
const V4_8: Capabilities = Capabilities {
    has_late_system: true,
    ..V4_7
};
/// From 5.0 on thinking is on by default, and counts towards the limit.
const V5: Capabilities = V4_8;
/// Sources differ about system messages in the middle: without them nothing is refused.
const SONNET_5: Capabilities = Capabilities {
    has_late_system: false,
    ..V5
};
const ALWAYS_THINKS: Capabilities = Capabilities {
    always_thinks: true,
    off: ThinkingOff::LowestEffort,
    ..V5
};
/// > Forced tool use is not supported.
const ALWAYS_THINKS_UNFORCED: Capabilities = Capabilities {
    has_forced_choice: false,
    binds_thinking: true,
    ..ALWAYS_THINKS
};
const SONNET_5_5: Capabilities = Capabilities {
    off: ThinkingOff::BetweenTools,
    ..ALWAYS_THINKS_UNFORCED
};
const HAIKU_5_5: Capabilities = Capabilities {
    always_thinks: false,
    off: ThinkingOff::Disabled,
    has_forced_choice: true,
    ..ALWAYS_THINKS_UNFORCED
};
/// A Claude about which the name says nothing: what none of the newest refuses.
const UNKNOWN_CLAUDE: Capabilities = Capabilities {
    always_thinks: false,
    has_late_system: false,
    ..ALWAYS_THINKS_UNFORCED
};
/// Another server's model.
const OTHER_SERVER: Capabilities = Capabilities {
    sampling: Sampling::All,
    default_max_tokens: 8_192,
    largest_max_tokens: u64::MAX,
    ..V4_6
};

/// The family (`None`: any), the first version, and what is true from there on. The last row that
/// fits counts.
const TABLE: [(Option<Family>, (u32, u32), Capabilities); 19] = [
    (None, (0, 0), OLDEST),
    (None, (3, 5), V3_5),
    (None, (3, 7), V3_7),
    (Some(Family::Opus), (4, 0), OPUS_4),
    (None, (4, 1), OPUS_4_1),
    (None, (4, 5), V4_5),
    (None, (4, 6), V4_6),
    (None, (4, 7), V4_7),
    (None, (4, 8), V4_8),
    (None, (5, 0), V5),
    (Some(Family::Sonnet), (5, 0), SONNET_5),
    (Some(Family::Fable), (5, 0), ALWAYS_THINKS),
    (Some(Family::Mythos), (5, 0), ALWAYS_THINKS),
    (Some(Family::Fable), (5, 1), ALWAYS_THINKS_UNFORCED),
    (Some(Family::Mythos), (5, 1), ALWAYS_THINKS_UNFORCED),
    (Some(Family::Opus), (5, 5), ALWAYS_THINKS_UNFORCED),
    (Some(Family::Sonnet), (5, 5), SONNET_5_5),
    (Some(Family::Haiku), (5, 5), HAIKU_5_5),
    // A family that does not exist yet.
    (None, (6, 0), UNKNOWN_CLAUDE),
];

impl Model {
    pub(super) fn named(name: &str) -> Self {
        let mut is_claude = false;
        let mut family = None;
        let mut major = None;
        let mut minor = None;
        let mut is_at_version = false;
        for word in name.split(|it: char| !it.is_ascii_alphanumeric()) {
            let is = |text: &str| word.eq_ignore_ascii_case(text);
            // Dates have eight digits.
            let number = match word.len() {
                1 | 2 if is_claude => word.parse::<u32>().ok(),
                _ => None,
            };
            match number {
                Some(number) if major.is_none() => major = Some(number),
                Some(number) if minor.is_none() && is_at_version => minor = Some(number),
                _ => {}
            }
            is_at_version = number.is_some();
            is_claude |= is("claude");
            family = family.or_else(|| {
                let known = FAMILIES.iter().find(|(word, _)| is(word));
                known.map(|(_, family)| *family)
            });
        }
        Self {
            is_claude,
            family,
            version: major.map(|major| (major, minor.unwrap_or(0))),
        }
    }

    pub(super) fn capabilities(self) -> &'static Capabilities {
        if !self.is_claude {
            return &OTHER_SERVER;
        }
        let fits = |family: Option<Family>| family.is_none() || family == self.family;
        let newest_of_family = TABLE
            .iter()
            .rev()
            .find(|(family, ..)| family.is_some() && *family == self.family);
        let row = match self.version {
            // A family's newest row goes on beyond the versions that exist.
            None | Some((6.., _)) => newest_of_family,
            Some(version) => TABLE
                .iter()
                .rev()
                .find(|(family, since, _)| fits(*family) && *since <= version),
        };
        row.map_or(&UNKNOWN_CLAUDE, |(.., capabilities)| capabilities)
    }
}

impl Capabilities {
    /// OpenAI's word for effort in Anthropic's; `None`: there is none.
    ///
    /// `max` is there from 4.6 on, `xhigh` from 4.7 on: `output_config_param.py` of the Python package
    /// 2.14.0 has the words, <https://openrouter.ai/docs/guides/evaluate-and-optimize/model-migrations/claude-4-7>
    /// the versions.
    pub(super) fn effort(&self, word: &str) -> Option<&'static str> {
        Some(match word {
            "minimal" | "low" => LOWEST_EFFORT,
            "medium" => "medium",
            "high" => "high",
            "xhigh" if self.has_xhigh => "xhigh",
            "xhigh" | "max" => "max",
            _ => return None,
        })
    }
}

pub(super) const LOWEST_EFFORT: &str = "low";

const FAMILIES: [(&str, Family); 5] = [
    ("fable", Family::Fable),
    ("haiku", Family::Haiku),
    ("mythos", Family::Mythos),
    ("opus", Family::Opus),
    ("sonnet", Family::Sonnet),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_families_and_versions() {
        use Family::{Fable, Haiku, Mythos, Opus, Sonnet};
        for (name, family, version) in [
            ("claude-3-5-sonnet-20241022", Some(Sonnet), Some((3, 5))),
            ("claude-3-opus-20240229", Some(Opus), Some((3, 0))),
            ("claude-3-7-sonnet-latest", Some(Sonnet), Some((3, 7))),
            ("claude-sonnet-4-20250514", Some(Sonnet), Some((4, 0))),
            ("claude-sonnet-4-5@20250929", Some(Sonnet), Some((4, 5))),
            ("claude-opus-4.6", Some(Opus), Some((4, 6))),
            ("anthropic.claude-opus-4-7", Some(Opus), Some((4, 7))),
            (
                "us.anthropic.claude-haiku-4-5-20251001-v1:0",
                Some(Haiku),
                Some((4, 5)),
            ),
            ("claude-opus-5", Some(Opus), Some((5, 0))),
            ("claude-fable-5-2", Some(Fable), Some((5, 2))),
            ("claude-mythos-preview", Some(Mythos), None),
            ("claude-2.1", None, Some((2, 1))),
            ("claude-latest", None, None),
            ("my-model-3", None, None),
            ("", None, None),
        ] {
            let model = Model::named(name);
            assert_eq!((model.family, model.version), (family, version), "{name}");
        }
    }

    #[test]
    fn the_table_tells_models_apart() {
        let of = |name: &str| *Model::named(name).capabilities();
        for (name, expected) in [
            ("claude-2.1", OLDEST),
            ("claude-3-opus-20240229", OLDEST),
            ("claude-3-5-haiku-latest", V3_5),
            ("claude-sonnet-4-20250514", V3_7),
            ("claude-opus-4-20250514", OPUS_4),
            ("claude-opus-4-1", OPUS_4_1),
            ("claude-haiku-4-5", V4_5),
            ("claude-sonnet-4-6", V4_6),
            ("claude-opus-4-7", V4_7),
            ("claude-opus-4-8", V4_8),
            ("claude-opus-5", V5),
            ("claude-sonnet-5@20260101", SONNET_5),
            ("claude-fable-5", ALWAYS_THINKS),
            ("claude-fable-5-2", ALWAYS_THINKS_UNFORCED),
            ("claude-mythos-5-1", ALWAYS_THINKS_UNFORCED),
            ("claude-opus-5-5", ALWAYS_THINKS_UNFORCED),
            ("claude-sonnet-5-5", SONNET_5_5),
            ("claude-haiku-5-5", HAIKU_5_5),
            ("claude-haiku-5-7", HAIKU_5_5),
            ("claude-sonnet-6", SONNET_5_5),
            ("claude-sonnet-latest", SONNET_5_5),
            ("claude-epic-7", UNKNOWN_CLAUDE),
            ("claude-latest", UNKNOWN_CLAUDE),
            ("deepseek-v4-flash", OTHER_SERVER),
        ] {
            assert_eq!(of(name), expected, "{name}");
        }
    }
}
