//! What is wrong with a configuration, all of it at once.

use std::borrow::Cow;
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
        self.step(&step(key))
    }

    /// What stands here by this `step`.
    #[must_use]
    pub fn step(&self, step: &str) -> Self {
        let mut path = self.0.clone();
        if !path.is_empty() && !step.starts_with('[') {
            path.push('.');
        }
        path.push_str(step);
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

    /// The steps from the whole document to this place, as `step` and `[3]` have them.
    pub fn steps(&self) -> impl Iterator<Item = &str> {
        let mut rest = self.0.as_str();
        std::iter::from_fn(move || {
            rest = rest.strip_prefix('.').unwrap_or(rest);
            let end = match rest.strip_prefix("[\"") {
                Some(quoted) => "[\"".len() + end_of_quoted(quoted),
                None if rest.starts_with('[') => rest.find(']')? + 1,
                None => rest.find(['.', '[']).unwrap_or(rest.len()),
            };
            let (step, behind) = rest.split_at_checked(end)?;
            rest = behind;
            (!step.is_empty()).then_some(step)
        })
    }

    /// What contains this place; the whole document is in nothing.
    pub fn parent(&self) -> Option<Self> {
        let last = self.steps().last()?;
        let parent = self.0.strip_suffix(last)?;
        Some(Self(parent.strip_suffix('.').unwrap_or(parent).to_owned()))
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

/// A key as it stands in a path: what is not a plain word is quoted, in brackets.
pub fn step(key: &str) -> Cow<'_, str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    match key.is_empty() || !key.chars().all(plain) {
        true => Cow::Owned(format!("[{key:?}]")),
        false => Cow::Borrowed(key),
    }
}

/// Where a quoted key ends, its quotation mark and bracket included.
fn end_of_quoted(text: &str) -> usize {
    let mut is_escaped = false;
    let end = text.bytes().position(|byte| {
        let is_end = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        is_end
    });
    end.map_or(text.len(), |end| end + "\"]".len())
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
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.at.is_root() {
            return f.write_str(&self.message);
        }
        write!(f, "{}: {}", self.at, self.message)
    }
}

impl ConfigError {
    /// An environment variable that is not set.
    pub fn unset(at: &KeyPath, name: &str) -> Self {
        Self {
            at: at.clone(),
            subject: Subject::Value,
            position: None,
            message: format!("environment variable {name} is not set"),
        }
    }
}

/// How many errors are noted. A file with thousands is no configuration, and each is compared with the
/// others.
pub const MAX_ERRORS: usize = 200;

/// Everything that is wrong, in the order in which it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors {
    list: Vec<ConfigError>,
    /// How many are noted; one more says that there are more.
    most: usize,
}

impl Default for ConfigErrors {
    fn default() -> Self {
        Self {
            list: Vec::new(),
            most: MAX_ERRORS,
        }
    }
}

impl ConfigErrors {
    /// The same with this many, of which those beyond are not noted.
    #[must_use]
    pub fn up_to(mut self, most: usize) -> Self {
        self.most = most;
        if self.list.len() > most {
            self.list.truncate(most);
            self.list.push(more());
        }
        self
    }

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
        });
    }

    /// Notes one more, unless there are too many.
    pub fn note(&mut self, error: ConfigError) {
        match self.list.len().cmp(&self.most) {
            Ordering::Less => self.list.push(error),
            Ordering::Equal => self.list.push(more()),
            Ordering::Greater => {}
        }
    }

    /// Notes where in the text each of them stands. `place` gives it.
    pub fn locate(&mut self, place: impl Fn(&ConfigError) -> Option<Position>) {
        for error in &mut self.list {
            error.position = error.position.or_else(|| place(error));
        }
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Whether no more is noted: what is read from now on changes nothing.
    pub fn are_full(&self) -> bool {
        self.list.len() > self.most
    }

    /// Whether something is wrong at this place, or with what contains it.
    pub fn concern(&self, at: &KeyPath) -> bool {
        self.list.iter().any(|error| error.at.contains(at))
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &ConfigError> {
        self.list.iter()
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, error) in self.list.iter().enumerate() {
            if number > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

fn more() -> ConfigError {
    ConfigError {
        at: KeyPath::root(),
        subject: Subject::Value,
        position: None,
        message: "more is wrong; fix these first".to_owned(),
    }
}

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

    #[test]
    fn a_path_has_its_steps_whatever_the_keys_are() {
        for keys in [
            &["a", "b-c", "d"][..],
            &["", "a.b", "x[0]", "\"]", "\\", "\\\"].", "é"],
        ] {
            let at = keys
                .iter()
                .fold(KeyPath::root(), |at, key| at.key(key).index(7));
            let steps: Vec<&str> = at.steps().collect();
            let expected = keys.iter().flat_map(|key| [step(key), "[7]".into()]);
            assert_eq!(steps, expected.collect::<Vec<_>>(), "{at}");
            let mut parents = std::iter::successors(Some(at.clone()), KeyPath::parent);
            assert_eq!(parents.by_ref().count(), 2 * keys.len() + 1, "{at}");
            assert_eq!(at.parent().map(|it| it.index(7)), Some(at));
        }
        assert_eq!(KeyPath::root().parent(), None);
    }
}
