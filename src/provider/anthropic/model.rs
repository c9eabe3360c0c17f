//! What a model can do, as far as its name says.
//!
//! Names put the version after the family (`claude-sonnet-4-5-20250929`) or before it
//! (`claude-3-7-sonnet-20250219`). A name without one is taken for a new model.

/// The version in a model's name; `None` where there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Model(Option<(u32, u32)>);

/// How a model is asked to think.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ThinkingStyle {
    /// `thinking: {type: adaptive}` and `output_config.effort`.
    Adaptive,
    /// `thinking: {type: enabled, budget_tokens}`.
    Budget,
    /// It cannot.
    None,
}

impl Model {
    pub(super) fn named(name: &str) -> Self {
        let mut words = name.split(|it: char| !it.is_ascii_alphanumeric());
        // Dates have eight digits.
        let version = |word: &str| (word.len() <= 2).then(|| word.parse().ok()).flatten();
        let is_claude = words.any(|word| word.eq_ignore_ascii_case("claude"));
        let mut numbers = words.map(version).skip_while(Option::is_none);
        match numbers.next().flatten().filter(|_| is_claude) {
            Some(major) => Self(Some((major, numbers.next().flatten().unwrap_or(0)))),
            None => Self(None),
        }
    }

    /// > Extended thinking is deprecated on the Claude 4.6 models. Claude 4.7 and later models do not
    /// > support it. On Claude 4.5 and earlier models that support thinking, extended thinking is the
    /// > only available thinking mode.
    ///
    /// <https://platform.claude.com/docs/en/build-with-claude/thinking-troubleshooting>, read
    /// 2026-11-21. The first that could think is Claude 3.7.
    pub(super) fn thinking(self) -> ThinkingStyle {
        match self.0 {
            Some(version) if version < (3, 7) => ThinkingStyle::None,
            Some(version) if version < (4, 6) => ThinkingStyle::Budget,
            _ => ThinkingStyle::Adaptive,
        }
    }

    /// OpenAI's word for effort in Anthropic's; `None`: there is none.
    ///
    /// > `max`: Available on Claude Opus 4.6, Claude Sonnet 4.6 and later. `xhigh`: Available on
    /// > Claude Opus 4.7 and later.
    ///
    /// <https://platform.claude.com/docs/en/build-with-claude/effort>, read 2026-11-21.
    pub(super) fn effort(self, word: &str) -> Option<&'static str> {
        Some(match word {
            "minimal" | "low" => "low",
            "medium" => "medium",
            "high" => "high",
            "xhigh" if self.0.is_some_and(|version| version < (4, 7)) => "max",
            "xhigh" => "xhigh",
            "max" => "max",
            _ => return None,
        })
    }

    /// Whether it refuses `temperature`, `top_p` and `top_k`, whatever their value.
    ///
    /// <https://platform.claude.com/docs/en/about-claude/models/migration-guide>, read 2026-11-21.
    pub(super) fn refuses_sampling(self) -> bool {
        self.0.is_some_and(|version| version >= (4, 7))
    }

    /// Whether `output_config.format` and `strict` tools are known to be missing.
    ///
    /// <https://platform.claude.com/docs/en/build-with-claude/structured-outputs>, read 2026-11-21:
    /// Claude 4.5 and later, and before that Opus 4.1.
    pub(super) fn lacks_structured_output(self) -> bool {
        self.0.is_some_and(|version| version < (4, 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_versions() {
        for (name, version) in [
            ("claude-3-5-sonnet-20241022", Some((3, 5))),
            ("claude-3-opus-20240229", Some((3, 0))),
            ("claude-3-7-sonnet-latest", Some((3, 7))),
            ("claude-sonnet-4-20250514", Some((4, 0))),
            ("claude-sonnet-4-5@20250929", Some((4, 5))),
            ("claude-opus-4.6", Some((4, 6))),
            ("anthropic.claude-opus-4-7", Some((4, 7))),
            ("claude-opus-5", Some((5, 0))),
            ("claude-2.1", Some((2, 1))),
            ("claude-latest", None),
            ("my-model-3", None),
            ("", None),
        ] {
            assert_eq!(Model::named(name), Model(version), "{name}");
        }
    }
}
