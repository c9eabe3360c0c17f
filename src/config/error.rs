//! What is wrong with a configuration, all of it at once.

use std::cmp::Ordering;
use std::fmt;

/// Where in a configuration something stands: `backends[1].config.endpoint`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyPath(String);

impl KeyPath {
    /// The whole document.
    pub fn root() -> Self {
        Self::default()
    }

    /// The member `key` of what stands here. A key that is not a plain word is quoted.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        let mut path = self.0.clone();
        if key.is_empty() || !key.chars().all(plain) {
            path.push_str(&format!("[{key:?}]"));
        } else {
            if !path.is_empty() {
                path.push('.');
            }
            path.push_str(key);
        }
        Self(path)
    }

    /// The element `index` (0-based) of what stands here.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        Self(format!("{}[{index}]", self.0))
    }

    /// Whether `other` is this place, or stands within it.
    pub fn contains(&self, other: &Self) -> bool {
        let rest = other.0.strip_prefix(&self.0);
        rest.is_some_and(|rest| self.is_root() || rest.is_empty() || rest.starts_with(['.', '[']))
    }

    /// This place, and everything that contains it, from within.
    pub fn ancestors(&self) -> impl Iterator<Item = Self> + '_ {
        let ends = self.0.char_indices().rev();
        let ends = ends.filter_map(|(at, c)| matches!(c, '.' | '[').then_some(at));
        let ends = std::iter::once(self.0.len()).chain(ends).chain([0]);
        ends.filter_map(|end| Some(Self(self.0.get(..end)?.to_owned())))
    }

    /// Whether this is the whole document.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A place in a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// From 1.
    pub line: usize,
    /// From 1. Unit: characters.
    pub column: usize,
}

/// What of a key is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The key itself: it has no meaning here.
    Key,
    /// Its value.
    Value,
}

/// One thing that is wrong, and where. Caused by the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// Where.
    pub at: KeyPath,
    /// What of it.
    pub subject: Subject,
    /// Where in the text, if there is one with places.
    pub position: Option<Position>,
    /// What is wrong and what is allowed: one line, lower case, no final period.
    pub message: String,
    /// The environment variable that is not set, where that is all that is wrong.
    pub unset: Option<String>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.at.is_root() {
            return f.write_str(&self.message);
        }
        write!(f, "{}: {}", self.at, self.message)
    }
}

/// How many errors are noted. A file with thousands is no configuration, and each is compared with the
/// others.
const MAX_ERRORS: usize = 200;

/// Everything that is wrong, in the order in which it was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigErrors(Vec<ConfigError>);

impl ConfigErrors {
    /// Notes one more.
    pub fn push(&mut self, at: &KeyPath, message: impl Into<String>) {
        self.add(at, Subject::Value, None, message.into());
    }

    /// Notes a key that must not be there.
    pub fn push_key(&mut self, at: &KeyPath, message: impl Into<String>) {
        self.add(at, Subject::Key, None, message.into());
    }

    /// Notes one more, whose place in the text is known.
    pub fn push_at(&mut self, position: Position, at: &KeyPath, message: impl Into<String>) {
        self.add(at, Subject::Value, Some(position), message.into());
    }

    fn add(&mut self, at: &KeyPath, subject: Subject, position: Option<Position>, message: String) {
        self.note(ConfigError {
            at: at.clone(),
            subject,
            position,
            message,
            unset: None,
        });
    }

    fn note(&mut self, error: ConfigError) {
        match self.0.len().cmp(&MAX_ERRORS) {
            Ordering::Less => self.0.push(error),
            Ordering::Equal => self.0.push(ConfigError {
                at: KeyPath::root(),
                subject: Subject::Value,
                position: None,
                message: "more is wrong; fix these first".to_owned(),
                unset: None,
            }),
            Ordering::Greater => {}
        }
    }

    /// Notes that an environment variable is not set.
    pub fn push_unset(&mut self, at: &KeyPath, name: String) {
        self.note(ConfigError {
            at: at.clone(),
            subject: Subject::Value,
            position: None,
            message: format!("environment variable {name} is not set"),
            unset: Some(name),
        });
    }

    /// Notes where in the text each of them stands. `place` gives it.
    pub fn locate(&mut self, place: impl Fn(&ConfigError) -> Option<Position>) {
        for error in &mut self.0 {
            error.position = error.position.or_else(|| place(error));
        }
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether something is wrong at this place, or with what contains it.
    pub fn concern(&self, at: &KeyPath) -> bool {
        self.0.iter().any(|error| error.at.contains(at))
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &ConfigError> {
        self.0.iter()
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, error) in self.0.iter().enumerate() {
            if number > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_contains_itself_and_what_stands_within() {
        let root = KeyPath::root();
        let backend = root.key("backends").index(1);
        let config = backend.key("config");
        assert!(root.contains(&config));
        assert!(backend.contains(&config));
        assert!(config.contains(&config));
        assert!(!config.contains(&backend));
        assert!(!backend.contains(&root.key("backends").index(10)));
        assert!(!root.key("back").contains(&backend));
    }

    #[test]
    fn a_key_that_is_no_plain_word_is_quoted() {
        let at = KeyPath::root().key("headers").key("a b").key("c-d_1");
        assert_eq!(at.to_string(), r#"headers["a b"].c-d_1"#);
    }
}
