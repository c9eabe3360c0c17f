//! What a model's name says: where it is asked, and how it is told to think.

use std::borrow::Cow;

use crate::failure::quotable;
use crate::percent;
use crate::provider::dialect::Unsupported;

/// A model's name, fit to be one segment of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::provider) struct Model<'a> {
    /// Without `models/`.
    name: &'a str,
    /// Percent-encoded where needed.
    segment: Cow<'a, str>,
}

/// How a model is told how much to think.
///
/// Source: <https://ai.google.dev/gemini-api/docs/thinking>, read 2026-11-21.
/// > Use the thinkingLevel parameter with Gemini 3 models. … Gemini 2.5 series models don't support
/// > thinkingLevel; use thinkingBudget instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Thinking {
    /// `thinkingBudget`. Unit: tokens.
    Budget {
        /// Whether 0 is allowed.
        can_be_off: bool,
    },
    /// `thinkingLevel`; it cannot be turned off.
    Level {
        /// Whether `MINIMAL` is one of the levels.
        has_minimal: bool,
        /// Whether `XHIGH` is one of the levels.
        has_xhigh: bool,
    },
    /// It does not think.
    Never,
}

impl<'a> Model<'a> {
    /// Checks a name, with or without `models/` before it.
    ///
    /// # Errors
    ///
    /// When the name would leave its segment of the path, or change the method after it.
    pub(in crate::provider) fn new(name: &'a str) -> Result<Self, Unsupported> {
        let name = name.strip_prefix("models/").unwrap_or(name);
        let segment = percent::encode_segment(name, b"").ok_or_else(|| Unsupported {
            param: "model".to_owned(),
            message: format!("{:?} is not a name of a Gemini model", quotable(name)),
        })?;
        Ok(Self { name, segment })
    }

    /// `/models/NAME:METHOD`.
    pub(in crate::provider) fn path(&self, method: &str) -> String {
        ["/models/", &self.segment, ":", method].concat()
    }

    /// `models/NAME`, as a body names it.
    pub(in crate::provider) fn resource(&self) -> String {
        format!("models/{}", self.name)
    }

    /// How it is told to think.
    pub(super) fn thinking(&self) -> Thinking {
        let is_lite = self.name.contains("lite");
        let is_flash = self.name.contains("flash");
        // > Hydrogen supports LOW, MEDIUM, HIGH (default), and XHIGH.
        // https://docs.cloud.google.com/gemini-enterprise-agent-platform/models/guides/gemini-4-hydrogen,
        // stored copy of November 2026. Neon has it, and carbon refuses it, by users' reports.
        let has_xhigh = ["neon", "hydrogen"].iter().any(|it| self.name.contains(it));
        match self.version() {
            Some((2, 5)) => Thinking::Budget {
                can_be_off: is_flash,
            },
            Some((..=2, _)) => Thinking::Never,
            // https://docs.cloud.google.com/vertex-ai/generative-ai/docs/thinking, read 2026-11-21:
            // Flash from 3.7 on, and Pro, have LOW, MEDIUM and HIGH.
            Some(version) => Thinking::Level {
                has_minimal: is_lite || (is_flash && version < (3, 7)),
                has_xhigh,
            },
            None => Thinking::Level {
                has_minimal: is_lite,
                has_xhigh,
            },
        }
    }

    /// Whether it belongs to the generation that insists on signatures, and takes pictures in a
    /// function's result.
    pub(super) fn is_third_generation(&self) -> bool {
        self.version().is_none_or(|(major, _)| major > 2)
    }

    /// Whether it takes `presencePenalty` and `frequencyPenalty`.
    ///
    /// > Penalty is not enabled for this model
    ///
    /// Reported in <https://github.com/google-gemini/cookbook/issues/1290> (July 2026): from 2.5 on.
    pub(super) fn has_penalties(&self) -> bool {
        self.version().is_some_and(|version| version < (2, 5))
    }

    /// Whether it gives several answers to one request: until Gemini 3.
    pub(super) fn has_candidates(&self) -> bool {
        !self.is_third_generation()
    }

    /// `gemini-2.5-pro` is `(2, 5)`; `None` where the name has no version.
    fn version(&self) -> Option<(u32, u32)> {
        let version = self.name.strip_prefix("gemini-")?.split('-').next()?;
        let (major, minor) = version.split_once('.').unwrap_or((version, "0"));
        Some((major.parse().ok()?, minor.parse().unwrap_or(0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_in_its_segment() {
        for (name, path) in [
            ("gemini-2.5-pro", "/models/gemini-2.5-pro:m"),
            ("models/gemini-2.5-pro", "/models/gemini-2.5-pro:m"),
            ("a b@1", "/models/a%20b%401:m"),
            ("é", "/models/%C3%A9:m"),
            ("..a", "/models/..a:m"),
        ] {
            assert_eq!(Model::new(name).unwrap().path("m"), path);
        }
        for name in [
            "",
            ".",
            "..",
            "models/",
            "models/..",
            "a/b",
            "../x",
            "a?b",
            "a#b",
            "a%2fb",
            "a:b",
            "a\\b",
            "a\nb",
            "a;b",
            "models/models/a",
        ] {
            assert_eq!(Model::new(name).unwrap_err().param, "model", "{name:?}");
        }
    }

    #[test]
    fn a_generation_thinks_in_its_own_way() {
        let budget = |can_be_off| Thinking::Budget { can_be_off };
        let level = |has_minimal| Thinking::Level {
            has_minimal,
            has_xhigh: false,
        };
        for (name, thinking) in [
            ("gemini-1.5-pro", Thinking::Never),
            ("gemini-2.0-flash", Thinking::Never),
            ("gemini-2.5-flash", budget(true)),
            ("gemini-2.5-flash-lite", budget(true)),
            ("gemini-2.5-pro", budget(false)),
            ("gemini-3-flash-preview", level(true)),
            ("gemini-3.1-flash-lite", level(true)),
            ("gemini-3.1-pro-preview", level(false)),
            ("gemini-3.6-flash", level(true)),
            ("gemini-3.8-flash", level(false)),
            ("gemini-flash-latest", level(false)),
            ("gemma", level(false)),
        ] {
            let model = Model::new(name).unwrap();
            assert_eq!(model.thinking(), thinking, "{name}");
            let has_levels = matches!(thinking, Thinking::Level { .. });
            assert_eq!(model.is_third_generation(), has_levels, "{name}");
        }
    }
}
