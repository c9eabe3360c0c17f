//! Which model is asked for: names with `*`, aliases, and the rule that decides.

use std::rc::Rc;

use crate::operation::ModelMember;
use crate::sorted;

/// A name in which `*` stands for any text, also none. Letters count as they are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob(Rc<str>);

impl Glob {
    /// The glob that `pattern` writes.
    pub fn new(pattern: &str) -> Self {
        Self(Rc::from(pattern))
    }

    /// Whether `name` is one that it describes.
    ///
    /// ```
    /// use llm_proxy::model::Glob;
    /// assert!(Glob::new("claude-*").matches("claude-3-5-sonnet"));
    /// assert!(!Glob::new("claude-*").matches("gpt-4o"));
    /// ```
    pub fn matches(&self, name: &str) -> bool {
        let Some((head, tail)) = self.0.split_once('*') else {
            return *self.0 == *name;
        };
        let Some(mut rest) = name.strip_prefix(head) else {
            return false;
        };
        // Between two stars the first place where a part fits is as good as any other.
        let Some((middle, last)) = tail.rsplit_once('*') else {
            return rest.ends_with(tail);
        };
        for part in middle.split('*') {
            match rest.split_once(part) {
                Some((_, after)) => rest = after,
                None => return false,
            }
        }
        rest.ends_with(last)
    }

    /// Whether this describes every name that `other` describes.
    pub fn covers(&self, other: &Self) -> bool {
        // No part of this one between its stars has a star, so one in `other` stands where any text
        // may.
        self.matches(&other.0)
    }

    /// The pattern as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// From a client's model name to the provider's.
pub type Aliases = ByModel<Rc<str>>;

/// Values by the names of models: exact ones, and the beginnings of names before a `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ByModel<V> {
    /// In order of precedence: exact names, then prefixes from the longest to `*`.
    entries: Vec<(Alias, V)>,
}

impl<V> Default for ByModel<V> {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Alias {
    Exact(String),
    Prefix(String),
}

impl<V> ByModel<V> {
    /// Orders the entries. A name that ends in `*` is a prefix.
    pub fn new(entries: impl IntoIterator<Item = (String, V)>) -> Self {
        let alias = |name: String| match name.strip_suffix('*') {
            Some(prefix) => Alias::Prefix(prefix.to_owned()),
            None => Alias::Exact(name),
        };
        let mut entries: Vec<_> = entries
            .into_iter()
            .map(|(name, value)| (alias(name), value))
            .collect();
        sorted::sort_by_key(&mut entries, |(alias, _)| match alias {
            Alias::Exact(_) => (0, 0),
            Alias::Prefix(prefix) => (1, usize::MAX - prefix.len()),
        });
        Self { entries }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The names that are not prefixes.
    pub fn exact_names(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().filter_map(|(alias, _)| match alias {
            Alias::Exact(name) => Some(name.as_str()),
            Alias::Prefix(_) => None,
        })
    }

    /// The value for `model`, of an alias the provider's name, if there is one.
    pub fn resolve(&self, model: &str) -> Option<&V> {
        let fits = |alias: &Alias| match alias {
            Alias::Exact(name) => name == model,
            Alias::Prefix(prefix) => model.starts_with(prefix),
        };
        self.entries
            .iter()
            .find(|(alias, _)| fits(alias))
            .map(|(_, value)| value)
    }
}

impl Aliases {
    /// The entries as they are written, in order of precedence.
    pub fn written(&self) -> impl Iterator<Item = (String, &str)> {
        self.entries.iter().map(|(alias, model)| {
            let name = match alias {
                Alias::Exact(name) => name.clone(),
                Alias::Prefix(prefix) => format!("{prefix}*"),
            };
            (name, &**model)
        })
    }

    /// The models that they stand for.
    pub fn models(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|(_, model)| &**model)
    }
}

/// What a route makes of the client's model, before the backend's rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Renaming {
    /// Applied to the client's name.
    pub aliases: Option<Rc<Aliases>>,
    /// What is cut off after that, where a name begins with it: the name of a backend and a `/`.
    pub prefix: Option<Rc<str>>,
}

impl Renaming {
    /// Whether every name stays as it is.
    pub fn is_empty(&self) -> bool {
        self.prefix.is_none() && self.aliases.as_ref().is_none_or(|it| it.is_empty())
    }

    /// The name that takes the place of the client's; `None`: it stays.
    pub fn rename(&self, model: &str) -> Option<Rc<str>> {
        let aliases = self.aliases.as_ref();
        let alias = aliases.and_then(|aliases| aliases.resolve(model));
        let name = alias.map_or(model, |alias| alias);
        let rest = self
            .prefix
            .as_ref()
            .and_then(|prefix| name.strip_prefix(&**prefix));
        match rest.filter(|rest| !rest.trim().is_empty()) {
            Some(rest) => Some(Rc::from(rest)),
            None => alias.map(Rc::clone),
        }
    }
}

/// What a backend does about `model`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModelRule {
    /// Written always.
    pub always: Option<Rc<str>>,
    /// Written where the client names none.
    pub default: Option<Rc<str>>,
    /// Applied to the client's name.
    pub aliases: Aliases,
    /// The only models that may be asked for; `None`: any.
    pub serves: Option<Vec<Glob>>,
    /// Whether the configuration has `serves`, and not only the type, whose families say which member
    /// of a pool is better for a request.
    pub restricts_to_served: bool,
    /// Whether `default` is written in place of a model that is not among these, too: in a pool.
    pub replaces_unserved: bool,
}

/// What the client's body says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked<'a> {
    /// No member, `null`, or a blank string.
    Nothing,
    /// A name.
    Model(&'a str),
    /// A value that is no string.
    NotText,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// The body stays as it is.
    Keep,
    /// This model is written.
    Write(Rc<str>),
    /// The request cannot be sent.
    Refuse(Unusable),
}

/// Why a request's model cannot be used. Caused by the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// There is none, and no default.
    Missing,
    /// It is not a string.
    NotText,
    /// The backend does not serve it.
    NotServed,
}

/// Members of a body by which some servers take other models than that of `model`: alternatives, and
/// settings that are stored under a name.
///
/// Sources, read 2026-11-28: <https://openrouter.ai/docs/guides/routing/model-fallbacks> (`models`; `route`
/// and `preset` from memory), <https://docs.litellm.ai/docs/proxy/client_side_fallbacks> (`fallbacks`, and the
/// others from memory), <https://docs.mistral.ai/api> (`agent_id`),
/// <https://console.groq.com/docs/compound> (`compound_custom`), SGLang's `lora_path` (from memory).
pub static OTHER_MODELS: [&str; 9] = [
    "agent_id",
    "compound_custom",
    "content_policy_fallbacks",
    "context_window_fallbacks",
    "fallbacks",
    "lora_path",
    "models",
    "preset",
    "route",
];

impl ModelRule {
    /// Whether the client's model always stays as it is.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether the configuration leaves the model to the client only within limits: a request whose
    /// model cannot be read must not get past them.
    pub fn is_restricted(&self) -> bool {
        self.always.is_some() || !self.aliases.is_empty() || self.restricts_to_served
    }

    /// The models that can be named: the client's names, without those that stand for many.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let fixed = [self.always.as_deref(), self.default.as_deref()];
        let aliases = self.aliases.exact_names();
        let served = self.serves.iter().flatten().map(Glob::as_str);
        let served = served.filter(|name| !name.contains('*'));
        let mut names: Vec<&str> = fixed
            .into_iter()
            .flatten()
            .chain(aliases)
            .chain(served)
            .collect();
        names.sort_unstable();
        names.dedup();
        names.into_iter()
    }

    /// The names that a request may have where not every one is served: patterns in which `*` stands
    /// for any text.
    pub fn patterns(&self) -> impl Iterator<Item = String> {
        let aliases = self.aliases.written().map(|(name, _)| name);
        let served = self.serves.iter().flatten();
        aliases.chain(served.map(|glob| glob.as_str().to_owned()))
    }

    /// Decides.
    pub fn choose(&self, asked: Asked<'_>, member: ModelMember) -> Choice {
        let absent = asked == Asked::Nothing;
        if let Some(model) = &self.always
            && !(absent && member == ModelMember::Incidental)
        {
            return Choice::Write(Rc::clone(model));
        }
        match asked {
            Asked::Nothing => match (&self.default, member) {
                (_, ModelMember::Incidental) => Choice::Keep,
                (Some(model), _) => Choice::Write(Rc::clone(model)),
                // The provider's own default could be one that is not served.
                (None, ModelMember::Optional) if !self.restricts_to_served => Choice::Keep,
                (None, _) => Choice::Refuse(Unusable::Missing),
            },
            Asked::NotText => Choice::Refuse(Unusable::NotText),
            Asked::Model(name) => match self.aliases.resolve(name) {
                Some(model) => Choice::Write(Rc::clone(model)),
                None if self.serves(name) => Choice::Keep,
                None => match &self.default {
                    Some(model) if self.replaces_unserved => Choice::Write(Rc::clone(model)),
                    _ => Choice::Refuse(Unusable::NotServed),
                },
            },
        }
    }

    /// Whether a request can be answered whatever model it asks for, in a pool.
    pub fn takes_any(&self) -> bool {
        self.always.is_some() || self.default.is_some() || self.serves.is_none()
    }

    /// Whether a request for this model, or for none, can be answered, in a pool.
    pub fn takes(&self, model: Option<&str>) -> bool {
        let knows = |model| self.aliases.resolve(model).is_some() || self.serves(model);
        self.takes_any() || model.is_some_and(knows)
    }

    fn serves(&self, model: &str) -> bool {
        let globs = self.serves.as_ref();
        globs.is_none_or(|globs| globs.iter().any(|glob| glob.matches(model)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text() {
        for (glob, name, expected) in [
            ("gpt-4o", "gpt-4o", true),
            ("gpt-4o", "gpt-4o-mini", false),
            ("gpt-*", "gpt-", true),
            ("gpt-*", "GPT-4", false),
            ("*", "", true),
            ("*-mini", "gpt-4o-mini", true),
            ("a*a", "a", false),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "acb", false),
            ("a*b*b", "ab", false),
            ("**", "x", true),
            ("a**b", "ab", true),
        ] {
            assert_eq!(Glob::new(glob).matches(name), expected, "{glob} {name}");
        }
    }

    #[test]
    fn a_pattern_covers_what_it_describes_whatever_stands_for_the_stars() {
        for (glob, other, expected) in [
            ("claude-*", "claude-3*", true),
            ("claude-*", "claude-*", true),
            ("claude-*", "claude*", false),
            ("*", "*", true),
            ("a*c", "a*b*c", true),
            ("a*b*c", "a*c", false),
            ("gpt-4o", "gpt-*", false),
            ("*-mini", "gpt*-mini", true),
        ] {
            let covers = Glob::new(glob).covers(&Glob::new(other));
            assert_eq!(covers, expected, "{glob} {other}");
        }
    }

    #[test]
    fn a_route_renames_before_it_cuts_the_backends_name_off() {
        let renaming = Renaming {
            aliases: Some(Rc::new(Aliases::new([(
                "smart".to_owned(),
                Rc::from("a/claude"),
            )]))),
            prefix: Some(Rc::from("a/")),
        };
        for (asked, expected) in [
            ("smart", Some("claude")),
            ("a/claude", Some("claude")),
            ("a/b/c", Some("b/c")),
            ("meta-llama/Llama", None),
            ("ab/c", None),
            ("a/", None),
            ("a", None),
        ] {
            assert_eq!(renaming.rename(asked).as_deref(), expected, "{asked}");
        }
        assert_eq!(Renaming::default().rename("smart"), None);
    }

    #[test]
    fn the_longest_alias_wins_and_exact_names_come_first() {
        let entry = |name: &str, model: &str| (name.to_owned(), Rc::from(model));
        let aliases = Aliases::new([
            entry("*", "any"),
            entry("gpt-*", "family"),
            entry("gpt-4o*", "longer"),
            entry("gpt-4o", "exact"),
        ]);
        for (asked, expected) in [
            ("gpt-4o", "exact"),
            ("gpt-4o-mini", "longer"),
            ("gpt-3", "family"),
            ("x", "any"),
        ] {
            assert_eq!(
                aliases.resolve(asked).map(|it| &**it),
                Some(expected),
                "{asked}"
            );
        }
        assert_eq!(Aliases::default().resolve("x"), None);
    }

    #[test]
    fn the_rule_decides_by_precedence() {
        use Asked::{Model, NotText, Nothing};
        use ModelMember::{Incidental, Optional, Required};
        let write = |model: &str| Choice::Write(Rc::from(model));
        let empty = ModelRule::default();
        let fill = ModelRule {
            default: Some(Rc::from("d")),
            ..ModelRule::default()
        };
        let force = ModelRule {
            always: Some(Rc::from("m")),
            ..fill.clone()
        };
        let alias = ModelRule {
            aliases: Aliases::new([("a".to_owned(), Rc::from("b"))]),
            serves: Some(vec![Glob::new("s*")]),
            ..fill.clone()
        };
        let served = ModelRule {
            serves: Some(vec![Glob::new("s*")]),
            restricts_to_served: true,
            ..empty.clone()
        };
        for (rule, asked, member, expected) in [
            (&empty, Nothing, Required, Choice::Refuse(Unusable::Missing)),
            (&empty, Nothing, Optional, Choice::Keep),
            (&empty, Model("x"), Required, Choice::Keep),
            (
                &empty,
                NotText,
                Incidental,
                Choice::Refuse(Unusable::NotText),
            ),
            (&fill, Nothing, Required, write("d")),
            (&fill, Nothing, Optional, write("d")),
            (&fill, Nothing, Incidental, Choice::Keep),
            (&fill, Model("x"), Required, Choice::Keep),
            (&force, Nothing, Required, write("m")),
            (&force, Nothing, Incidental, Choice::Keep),
            (&force, Model("x"), Incidental, write("m")),
            (&force, NotText, Required, write("m")),
            (
                &served,
                Nothing,
                Optional,
                Choice::Refuse(Unusable::Missing),
            ),
            (&served, Nothing, Incidental, Choice::Keep),
            (&alias, Model("a"), Required, write("b")),
            (&alias, Model("s1"), Required, Choice::Keep),
            (
                &alias,
                Model("t"),
                Required,
                Choice::Refuse(Unusable::NotServed),
            ),
        ] {
            assert_eq!(rule.choose(asked, member), expected, "{asked:?} {member:?}");
        }
    }
}
