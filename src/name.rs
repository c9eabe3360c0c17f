//! Checked names of the things that a configuration declares.

use std::fmt;
use std::rc::Rc;

/// The name of a backend: 1 to 64 of `a-z A-Z 0-9 . _ -`, the first a letter or a digit.
///
/// It becomes part of cluster names, metadata and a header value, so it is kept plain.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackendName(Rc<str>);

impl BackendName {
    /// Checks a name.
    ///
    /// ```
    /// use llm_proxy::name::BackendName;
    /// assert!(BackendName::new("openai-backend").is_ok());
    /// assert!(BackendName::new("open ai").is_err());
    /// ```
    ///
    /// # Errors
    ///
    /// When the name is empty, too long, or has another character.
    pub fn new(name: &str) -> Result<Self, InvalidName> {
        checked(name).map(Self)
    }

    /// The name as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as shared text, for a header edit.
    pub fn to_shared(&self) -> Rc<str> {
        Rc::clone(&self.0)
    }
}

impl fmt::Display for BackendName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of a route: the same alphabet as [`BackendName`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteName(Rc<str>);

impl RouteName {
    /// Checks a name.
    ///
    /// # Errors
    ///
    /// When the name is empty, too long, or has another character.
    pub fn new(name: &str) -> Result<Self, InvalidName> {
        checked(name).map(Self)
    }

    /// The name as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RouteName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn checked(name: &str) -> Result<Rc<str>, InvalidName> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let starts_well = name
        .chars()
        .next()
        .is_some_and(|c| c.is_ascii_alphanumeric());
    if !starts_well || name.len() > MAX_NAME_BYTES || !name.chars().all(plain) {
        return Err(InvalidName(name.to_owned()));
    }
    Ok(Rc::from(name))
}

/// A name that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidName(String);

impl fmt::Display for InvalidName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "name {:?} is not 1 to {MAX_NAME_BYTES} letters, digits, '.', '_' or '-', \
             starting with a letter or digit",
            self.0
        )
    }
}

impl std::error::Error for InvalidName {}

/// The longest name.
pub const MAX_NAME_BYTES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_names_are_kept_and_others_refused() {
        for name in ["a", "openai-backend", "llama-3.3_70b", &"x".repeat(64)] {
            assert_eq!(BackendName::new(name).unwrap().as_str(), name);
        }
        for name in ["", "-a", ".a", "a b", "a/b", "a\n", "ü", &"x".repeat(65)] {
            assert!(BackendName::new(name).is_err(), "{name:?}");
            assert!(RouteName::new(name).is_err(), "{name:?}");
        }
    }
}
