//! The line of the text that is concerned, with a caret, and without credentials.

use std::collections::BTreeSet;
use std::ops::Range;

use super::Diagnostic;
use crate::config::yaml::{Places, Scalar};
use crate::config::{KeyPath, Subject, Text, file};

/// A text of which lines are shown.
#[derive(Debug)]
pub struct Excerpts<'t> {
    /// A carriage return alone ends a line in YAML, too: what is covered is found by the number of its line.
    lines: Vec<String>,
    /// `None`: the text is no YAML.
    places: Option<&'t Places>,
    /// Every key of a configuration.
    known: BTreeSet<&'static str>,
}

impl<'t> Excerpts<'t> {
    /// Looks at a text.
    pub fn of(text: &'t Text<'_>) -> Self {
        let lines = text.as_str().replace("\r\n", "\n").replace('\r', "\n");
        Self {
            lines: lines.lines().map(str::to_owned).collect(),
            places: text.places(),
            known: KEYS.iter().flat_map(|keys| keys.iter().copied()).collect(),
        }
    }

    /// Two lines: that of the text, and a caret below what is concerned. `None`: the place is not known,
    /// or the line may have a credential that cannot be told from the rest.
    pub fn of_diagnostic(&self, diagnostic: &Diagnostic) -> Option<String> {
        let position = diagnostic.position?;
        let line = self.lines.get(position.line.checked_sub(1)?)?;
        if line.len() > MAX_LINE_BYTES {
            return None;
        }
        let column = position.column.checked_sub(1)?;
        let first = column.saturating_sub(WIDTH * 2 / 3);
        let mut window = Window {
            shown: line.chars().skip(first).take(WIDTH).collect(),
            line,
            number: position.line,
            first,
        };
        let mut end = position.column;
        match &self.places {
            Some(places) => {
                let scalars = places.scalars_on(position.line);
                let scalars: Vec<Scalar<'_>> = scalars.filter(|it| window.shows(it)).collect();
                for scalar in scalars {
                    if scalar.start == position
                        && diagnostic.subject == Subject::Value
                        && scalar.end.line == scalar.start.line
                    {
                        end = scalar.end.column.saturating_sub(1);
                    }
                    if self.is_secret(&scalar.path()) {
                        window.mask(&scalar);
                    }
                }
                if diagnostic.subject == Subject::Key {
                    let rest = window.shown.get(column - first..).unwrap_or_default();
                    let length = rest.iter().position(|c| *c == ':').unwrap_or(1);
                    end = position.column + length.saturating_sub(1);
                }
            }
            None if may_have_secret(line) => return None,
            None => {}
        }
        let visible = |c: &char| if c.is_control() { ' ' } else { *c };
        let shown: String = window.shown.iter().map(visible).collect();
        let shown = shown.trim_end();
        let carets = "^".repeat((end.saturating_sub(position.column) + 1).min(WIDTH));
        let carets: String = carets.chars().take(WIDTH - (column - first)).collect();
        let number = position.line.to_string();
        let gutter = " ".repeat(number.len());
        let indent = " ".repeat(column - first);
        Some(format!(
            "  {number} | {shown}\n  {gutter} | {indent}{carets}"
        ))
    }

    /// Whether a value here may be a credential: by its key, or since nobody knows what the key means.
    fn is_secret(&self, at: &KeyPath) -> bool {
        let path = at.to_string();
        let mut words = path.split(['.', '[', ']', '"']).filter(|it| !it.is_empty());
        // Below these everything has a name of its own.
        let is_open = |word: &str| matches!(word, "defaults" | "modelAliases" | "overrides");
        words.any(|word| match word {
            "authHeader" => false,
            word if SECRETS.contains(&word) => true,
            word if word.bytes().all(|b| b.is_ascii_digit()) => false,
            word => !self.known.contains(word) && !path.split(['.', '[']).any(is_open),
        })
    }
}

/// The part of a line that is shown.
struct Window<'l> {
    shown: Vec<char>,
    line: &'l str,
    /// The line's, from 1.
    number: usize,
    /// The 0-based column of the first character.
    first: usize,
}

impl Window<'_> {
    /// The 0-based columns of a scalar on this line; the end is behind the last.
    fn columns(&self, scalar: &Scalar<'_>) -> Range<usize> {
        let start = match scalar.start.line == self.number {
            true => scalar.start.column.saturating_sub(1),
            false => 0,
        };
        let end = match scalar.end.line == self.number {
            true => scalar.end.column.saturating_sub(1),
            false => self.line.chars().count(),
        };
        start..end
    }

    fn shows(&self, scalar: &Scalar<'_>) -> bool {
        let columns = self.columns(scalar);
        columns.start < self.first + self.shown.len() && columns.end >= self.first
    }

    /// Hides the part of a scalar on this line, unless it is a variable.
    fn mask(&mut self, scalar: &Scalar<'_>) {
        let columns = self.columns(scalar);
        let mut value = self.line.chars().skip(columns.start);
        let is_variable = value.find(|c| !"\"'".contains(*c)) == Some('$');
        if is_variable || columns.len() < MIN_SECRET {
            return;
        }
        let last = self.shown.len();
        let from = columns.start.saturating_sub(self.first).min(last);
        let to = columns.end.saturating_sub(self.first).min(last);
        if let Some(value) = self.shown.get_mut(from..to) {
            value.fill('*');
        }
    }
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

/// A longer line is no text of a person.
const MAX_LINE_BYTES: usize = 64 << 10;
