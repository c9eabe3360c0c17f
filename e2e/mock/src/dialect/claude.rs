//! What each Claude refuses, by its family and version.
//!
//! Source, read 2026-11-28: <https://platform.claude.com/docs/en/about-claude/models/overview>, the
//! pages about what is new in each model and the migration guides beside it, the `anthropic` package
//! 2.14.0, and the messages of the API as users have reported them. This table is written without a
//! look at the gateway's own.

use serde_json::{Map, Value};

use super::{Checked, list, wrong};

/// A model, as far as the rules go by it.
#[derive(Clone, Copy, Debug)]
pub struct Claude<'n> {
    name: &'n str,
    version: (u32, u32),
}

impl<'n> Claude<'n> {
    /// `None`: not one of Anthropic's, or without a version, of which nothing is known.
    pub fn named(name: &'n str) -> Option<Self> {
        let rest = name.strip_prefix("claude-")?;
        let mut numbers = rest
            .split(['-', '@', '.'])
            .map(|word| match word.len() {
                1 | 2 => word.parse().ok(),
                _ => None,
            })
            .skip_while(Option::is_none);
        let major = numbers.next().flatten()?;
        let minor = numbers.next().flatten().unwrap_or(0);
        Some(Self {
            name,
            version: (major, minor),
        })
    }

    fn is(self, family: &str) -> bool {
        self.name.contains(family)
    }

    /// Fable and Mythos think always, and so does Opus from 5.5 on.
    fn always_thinks(self) -> bool {
        let is_large = self.is("fable") || self.is("mythos");
        (is_large && self.version >= (5, 0)) || (self.is("opus") && self.version >= (5, 5))
    }

    fn has_forced_choice(self) -> bool {
        let is_large = self.is("fable") || self.is("mythos");
        let is_middle = self.is("opus") || self.is("sonnet");
        !((is_large && self.version >= (5, 1)) || (is_middle && self.version >= (5, 5)))
    }

    fn has_late_system(self) -> bool {
        self.version >= (4, 8) && !(self.is("sonnet") && self.version < (5, 5))
    }

    fn largest_max_tokens(self) -> u64 {
        match self.version {
            (..=2, _) | (3, ..=4) => 4_096,
            (3, 5 | 6) => 8_192,
            (4, 0 | 1) if self.is("opus") => 32_000,
            (..=3, _) | (4, ..=6) => 64_000,
            _ => 128_000,
        }
    }

    /// What the API has against a body for this model.
    ///
    /// # Errors
    ///
    /// 400.
    pub fn refuse(self, members: &Map<String, Value>) -> Checked {
        self.refuse_sampling(members)?;
        self.refuse_thinking(members)?;
        let max_tokens = members.get("max_tokens").and_then(Value::as_u64);
        if max_tokens.is_some_and(|it| it > self.largest_max_tokens()) {
            return Err(wrong("max_tokens", "is above the maximum of this model"));
        }
        let choice = members
            .get("tool_choice")
            .and_then(|it| it.get("type")?.as_str());
        if matches!(choice, Some("any" | "tool")) && !self.has_forced_choice() {
            return Err(wrong(
                "tool_choice",
                "Forced tool use is not supported for this model",
            ));
        }
        self.refuse_messages(members)
    }

    fn refuse_sampling(self, members: &Map<String, Value>) -> Checked {
        let number = |name: &str| members.get(name).and_then(Value::as_f64);
        let is_set = |name: &str| number(name).is_some_and(|it| it != 1.0);
        for name in ["temperature", "top_p", "top_k"] {
            if self.version >= (4, 7) && is_set(name) {
                return Err(wrong(name, "is deprecated for this model"));
            }
        }
        if self.version >= (4, 1) && is_set("temperature") && is_set("top_p") {
            let what = "`temperature` and `top_p` cannot both be specified for this model";
            return Err(wrong("temperature", what));
        }
        let thinking = members
            .get("thinking")
            .and_then(|it| it.get("type")?.as_str());
        if matches!(thinking, Some("enabled" | "adaptive")) {
            if is_set("temperature") {
                let what = "may only be set to 1 when thinking is enabled or in adaptive mode";
                return Err(wrong("temperature", what));
            }
            if number("top_p").is_some_and(|it| it < 0.95) || members.contains_key("top_k") {
                return Err(wrong(
                    "top_p",
                    "must be at least 0.95, without top_k, when thinking",
                ));
            }
        }
        Ok(())
    }

    fn refuse_thinking(self, members: &Map<String, Value>) -> Checked {
        let kind = members
            .get("thinking")
            .and_then(|it| it.get("type")?.as_str());
        let is_right = match kind {
            None => true,
            Some("adaptive") => self.version >= (4, 6),
            Some("between_tools") => self.is("sonnet") && self.version >= (5, 5),
            Some("disabled") => {
                !(self.always_thinks() || self.is("sonnet") && self.version >= (5, 5))
            }
            Some("enabled") => ((3, 7)..(4, 7)).contains(&self.version),
            Some(_) => false,
        };
        if !is_right {
            return Err(wrong("thinking.type", "is not supported for this model"));
        }
        let output = members.get("output_config");
        let effort = output.and_then(|it| it.get("effort")?.as_str());
        if effort.is_some() && self.version < (4, 5) {
            return Err(wrong(
                "output_config.effort",
                "is not supported for this model",
            ));
        }
        if effort == Some("xhigh") && self.version < (4, 7) {
            return Err(wrong(
                "output_config.effort",
                "xhigh is not supported for this model",
            ));
        }
        if output.is_some_and(|it| it.get("format").is_some()) && self.version < (4, 1) {
            return Err(wrong(
                "output_config.format",
                "is not supported for this model",
            ));
        }
        Ok(())
    }

    /// A system message in the list follows the user; thinking stands at the front of a tool loop.
    fn refuse_messages(self, members: &Map<String, Value>) -> Checked {
        let Some(messages) = members.get("messages") else {
            return Ok(());
        };
        let messages = list(messages, "messages")?;
        let role = |index: usize| messages.get(index).and_then(|it| it.get("role")?.as_str());
        for index in 0..messages.len() {
            if role(index) != Some("system") {
                continue;
            }
            let after_user = index.checked_sub(1).and_then(role) == Some("user");
            let before_assistant = matches!(role(index + 1), None | Some("assistant"));
            if !(self.has_late_system() && after_user && before_assistant) {
                return Err(wrong(
                    &format!("messages.{index}"),
                    "a system message is not expected here",
                ));
            }
        }
        let thinking = members
            .get("thinking")
            .and_then(|it| it.get("type")?.as_str());
        let is_loop = messages.last().is_some_and(|last| {
            let content = last.get("content").and_then(Value::as_array);
            content.is_some_and(|it| it.iter().any(|block| block["type"] == "tool_result"))
        });
        let turn = messages.iter().rev().find(|it| it["role"] == "assistant");
        let first = turn.and_then(|it| it.get("content")?.get(0)?.get("type")?.as_str());
        if thinking == Some("enabled") && is_loop && first == Some("tool_use") {
            return Err(wrong(
                "messages",
                "Expected `thinking` or `redacted_thinking`, but found `tool_use`",
            ));
        }
        Ok(())
    }
}

/// The white space that a prefilled answer must not end with.
///
/// # Errors
///
/// 400.
pub fn refuse_prefill(messages: &[Value]) -> Checked {
    let Some(last) = messages.last().filter(|it| it["role"] == "assistant") else {
        return Ok(());
    };
    let text = match last.get("content") {
        Some(Value::Array(blocks)) => blocks.last().and_then(|it| it.get("text")?.as_str()),
        content => content.and_then(Value::as_str),
    };
    match text.is_some_and(|it| it.ends_with(char::is_whitespace)) {
        true => Err(wrong(
            "messages",
            "final assistant content cannot end with trailing whitespace",
        )),
        false => Ok(()),
    }
}

/// A schema of an answer, or of a strict tool.
///
/// # Errors
///
/// 400.
pub fn refuse_schema(schema: &Value, at: &str) -> Checked {
    let Some(members) = schema.as_object() else {
        return Err(wrong(at, "Input should be a valid dictionary"));
    };
    const KNOWN: [&str; 14] = [
        "$defs",
        "$ref",
        "additionalProperties",
        "allOf",
        "anyOf",
        "const",
        "description",
        "enum",
        "format",
        "items",
        "minItems",
        "properties",
        "required",
        "title",
    ];
    for (name, value) in members {
        match name.as_str() {
            "type" if value.is_string() => {}
            "minItems" if !matches!(value.as_u64(), Some(0 | 1)) => {
                return Err(wrong(at, "minItems: only 0 and 1 are supported"));
            }
            "$defs" | "properties" => {
                for (name, schema) in value.as_object().into_iter().flatten() {
                    refuse_schema(schema, &format!("{at}.{name}"))?;
                }
            }
            "items" => refuse_schema(value, &format!("{at}.items"))?,
            "anyOf" | "allOf" => {
                for schema in list(value, at)? {
                    refuse_schema(schema, &format!("{at}.{name}"))?;
                }
            }
            name if KNOWN.contains(&name) => {}
            name => {
                return Err(wrong(
                    at,
                    &format!("For this type, property '{name}' is not supported"),
                ));
            }
        }
    }
    let is_object = members.get("type").is_some_and(|it| it == "object");
    if is_object && members.get("additionalProperties") != Some(&Value::Bool(false)) {
        return Err(wrong(
            at,
            "For 'object' type, 'additionalProperties' must be explicitly set to false",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_claude_refuses_what_its_version_does_not_take() {
        let tool = json!({"tool_choice": {"type": "any"}});
        let off = json!({"thinking": {"type": "disabled"}});
        let warm = json!({"temperature": 0.2});
        let both = json!({"temperature": 0.2, "top_p": 0.5});
        let late = json!({"messages": [{"role": "user", "content": "a"}, {"role": "system", "content": "b"}]});
        for (model, members, is_taken) in [
            ("claude-opus-5-5", &tool, false),
            ("claude-haiku-5-5", &tool, true),
            ("claude-opus-5", &tool, true),
            ("claude-fable-5-2", &off, false),
            ("claude-sonnet-5-5@20260901", &off, false),
            ("claude-haiku-5-5", &off, true),
            ("claude-opus-4-7", &warm, false),
            ("claude-sonnet-4-6", &warm, true),
            ("claude-sonnet-4-6", &both, false),
            ("claude-3-7-sonnet-latest", &both, true),
            ("claude-opus-5-5", &late, true),
            ("claude-sonnet-4-6", &late, false),
        ] {
            let claude = Claude::named(model).unwrap();
            let seen = claude.refuse(members.as_object().unwrap());
            assert_eq!(seen.is_ok(), is_taken, "{model} {members}: {seen:?}");
        }
        assert!(Claude::named("claude-latest").is_none());
    }

    #[test]
    fn a_schema_must_be_closed_and_plain() {
        let closed = json!({"type": "object", "properties": {}, "additionalProperties": false});
        assert!(refuse_schema(&closed, "schema").is_ok());
        for schema in [
            json!({"type": "object", "properties": {}}),
            json!({"type": "integer", "minimum": 1}),
            json!({"oneOf": []}),
            json!({"type": "array", "items": {"type": ["string", "null"]}}),
        ] {
            assert!(refuse_schema(&schema, "schema").is_err(), "{schema}");
        }
    }
}
