//! What is wrong with a configuration, all of it at once.

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

/// One thing that is wrong, and where. Caused by the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// Where.
    pub at: KeyPath,
    /// What is wrong and what is allowed: one line, lower case, no final period.
    pub message: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.at.is_root() {
            return f.write_str(&self.message);
        }
        write!(f, "{}: {}", self.at, self.message)
    }
}

/// Everything that is wrong, in the order in which it was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigErrors(Vec<ConfigError>);

impl ConfigErrors {
    /// Notes one more.
    pub fn push(&mut self, at: &KeyPath, message: impl Into<String>) {
        self.0.push(ConfigError {
            at: at.clone(),
            message: message.into(),
        });
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
