//! The line of the text that is concerned, with a caret, and without credentials.

use std::collections::BTreeSet;

use super::Diagnostic;
use crate::config::yaml::{self, Places};
use crate::config::{KeyPath, Position, Subject, file};

/// A text, read once, of which lines are shown.
#[derive(Debug)]
pub struct Excerpts {
    /// A carriage return alone ends a line in YAML, too: what is covered is found by the number of its line.
    lines: Vec<String>,
    /// `None`: the text is no YAML.
    places: Option<Places>,
}

impl Excerpts {
    /// Reads a text.
    pub fn of(text: &str) -> Self {
        let lines = text.replace("\r\n", "\n").replace('\r', "\n");
        Self {
            lines: lines.lines().map(str::to_owned).collect(),
            places: yaml::parse(text).ok().map(|document| document.places),
        }
    }

    /// Two lines: that of the text, and a caret below what is concerned. `None`: the place is not known,
    /// or the line may have a credential that cannot be told from the rest.
    pub fn of_diagnostic(&self, diagnostic: &Diagnostic) -> Option<String> {
        let position = diagnostic.position?;
        let line = self.lines.get(position.line.checked_sub(1)?)?;
        let mut shown: Vec<char> = line.chars().collect();
        let mut end = position.column;
        match &self.places {
            Some(places) => {
                let scalars = places.scalars();
                for (at, start, behind) in scalars.filter(|(_, start, behind)| {
                    (start.line..=behind.line).contains(&position.line)
                }) {
                    if start == position
                        && diagnostic.subject == Subject::Value
                        && behind.line == start.line
                    {
                        end = behind.column.saturating_sub(1);
                    }
                    if is_secret(at) {
                        mask(&mut shown, position.line, start, behind);
                    }
                }
                if diagnostic.subject == Subject::Key {
                    let rest = shown
                        .get(position.column.saturating_sub(1)..)
                        .unwrap_or_default();
                    let length = rest.iter().position(|c| *c == ':').unwrap_or(1);
                    end = position.column + length.saturating_sub(1);
                }
            }
            None if may_have_secret(line) => return None,
            None => {}
        }
        let visible = |c: &char| if c.is_control() { ' ' } else { *c };
        let shown: Vec<char> = shown.iter().map(visible).collect();
        let column = position.column.checked_sub(1)?;
        let first = column.saturating_sub(WIDTH * 2 / 3);
        let window: String = shown.iter().skip(first).take(WIDTH).collect();
        let window = window.trim_end();
        let carets = "^".repeat(end.saturating_sub(position.column) + 1);
        let carets: String = carets.chars().take(WIDTH - (column - first)).collect();
        let number = position.line.to_string();
        let gutter = " ".repeat(number.len());
        let indent = " ".repeat(column - first);
        Some(format!(
            "  {number} | {window}\n  {gutter} | {indent}{carets}"
        ))
    }
}

/// Hides the part of a scalar on this line, which it touches, unless it is a variable.
fn mask(shown: &mut [char], line: usize, start: Position, behind: Position) {
    let from = if line == start.line {
        start.column - 1
    } else {
        0
    };
    let to = match line == behind.line {
        true => behind.column.saturating_sub(1),
        false => shown.len(),
    };
    let Some(value) = shown.get_mut(from..to.min(shown.len()).max(from)) else {
        return;
    };
    let is_variable = value.iter().find(|c| !"\"'".contains(**c)) == Some(&'$');
    if !is_variable && value.len() >= MIN_SECRET {
        value.fill('*');
    }
}

/// Whether a value here may be a credential: by its key, or since nobody knows what the key means.
fn is_secret(at: &KeyPath) -> bool {
    let path = at.to_string();
    let mut words = path.split(['.', '[', ']', '"']).filter(|it| !it.is_empty());
    let known: BTreeSet<&str> = KEYS.iter().flat_map(|keys| keys.iter().copied()).collect();
    // Below these everything has a name of its own.
    let is_open = |word: &str| matches!(word, "defaults" | "modelAliases" | "overrides");
    words.any(|word| match word {
        "authHeader" => false,
        word if SECRETS.contains(&word) => true,
        word if word.bytes().all(|b| b.is_ascii_digit()) => false,
        word => !known.contains(word) && !path.split(['.', '[']).any(is_open),
    })
}

/// Whether a line that could not be read may have a credential.
fn may_have_secret(line: &str) -> bool {
    let lower = line.to_ascii_lowercase();
    let words = [
        "account", "auth", "bearer", "header", "key", "pass", "secret", "sk-", "token",
    ];
    let has_word = words.iter().any(|word| lower.contains(word));
    let value = line.split_once(':').map_or("", |(_, value)| value);
    let is_variable = value
        .trim_start_matches([' ', '"', '\'', '{'])
        .starts_with('$');
    has_word && !is_variable && !value.contains("${")
}

/// Keys whose values authenticate.
const SECRETS: [&str; 6] = [
    "apiKey",
    "auth",
    "header",
    "headers",
    "query",
    "serviceAccount",
];

/// Every key of a configuration.
const KEYS: [&[&str]; 8] = [
    file::Gateway::KEYS,
    file::Backend::KEYS,
    file::Member::KEYS,
    file::BackendConfig::KEYS,
    file::AuthHeader::KEYS,
    file::Auth::KEYS,
    file::Tls::KEYS,
    file::Route::KEYS,
];

/// What is shorter is a number, a unit or a word, and no key. Unit: characters.
const MIN_SECRET: usize = 8;

/// Unit: characters.
const WIDTH: usize = 100;
