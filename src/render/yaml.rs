//! JSON values as YAML that every reader understands alike.
//!
//! Kubernetes' tools read YAML 1.1, where `on`, `no`, `y`, `12:30` and `2024-10-21` are no text; others
//! read YAML 1.2, where they are. So a text is written plain only where it is one to both.
//!
//! Source: <https://yaml.org/type/>, <https://yaml.org/spec/1.2.2/>.

use serde_json::{Map, Value};

/// How mappings and sequences are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Each member and each item begins a line.
    Block,
    /// Below the members of the document, what fits is on one line, as people write manifests; of
    /// several mappings each has its own.
    Compact,
}

/// One document, without its `---`.
pub fn document(value: &Value, layout: Layout) -> String {
    let mut writer = Writer {
        text: String::new(),
        layout,
    };
    match value {
        Value::Object(members) if !members.is_empty() => writer.mapping(members, 0),
        Value::Array(items) if !items.is_empty() => writer.sequence(items, 0),
        other => writer.end_line(&scalar(other, 0)),
    }
    writer.text
}

struct Writer {
    text: String,
    layout: Layout,
}

impl Writer {
    fn mapping(&mut self, members: &Map<String, Value>, indent: usize) {
        for (number, (key, value)) in members.iter().enumerate() {
            self.begin_line(number, indent);
            let key = flow(key);
            self.text.push_str(&key);
            self.text.push(':');
            let is_top = indent == 0;
            if let Some(line) = self.one_line(value, indent + key.len() + 2, is_top) {
                self.text.push(' ');
                self.end_line(&line);
                continue;
            }
            match value {
                Value::Object(members) if !members.is_empty() => {
                    self.text.push('\n');
                    self.mapping(members, indent + 2);
                }
                Value::Array(items) if !items.is_empty() => {
                    self.text.push('\n');
                    self.sequence(items, indent);
                }
                other => {
                    self.text.push(' ');
                    self.end_line(&scalar(other, indent + 2));
                }
            }
        }
    }

    fn sequence(&mut self, items: &[Value], indent: usize) {
        for (number, item) in items.iter().enumerate() {
            self.begin_line(number, indent);
            self.text.push_str("- ");
            if let Some(line) = self.one_line(item, indent + 2, false) {
                self.end_line(&line);
                continue;
            }
            match item {
                Value::Object(members) if !members.is_empty() => self.mapping(members, indent + 2),
                Value::Array(items) if !items.is_empty() => self.sequence(items, indent + 2),
                other => self.end_line(&scalar(other, indent + 2)),
            }
        }
    }

    fn begin_line(&mut self, number: usize, indent: usize) {
        // The first stands behind what opened the line.
        if number > 0 || !self.text.ends_with("- ") {
            self.text.push_str(&" ".repeat(indent));
        }
    }

    fn end_line(&mut self, end: &str) {
        self.text.push_str(end);
        self.text.push('\n');
    }

    /// A mapping or a sequence behind `column` characters of a line, if it is to be on that.
    fn one_line(&self, value: &Value, column: usize, is_top: bool) -> Option<String> {
        let has_members = match value {
            Value::Object(members) => !members.is_empty(),
            Value::Array(items) => !items.is_empty(),
            _ => false,
        };
        if self.layout == Layout::Block || is_top || !has_members {
            return None;
        }
        let line = in_flow(value)?;
        (column + line.chars().count() <= MAX_COLUMNS).then_some(line)
    }
}

/// A value on one line; `None`: it is several mappings, or a block of lines.
fn in_flow(value: &Value) -> Option<String> {
    let quoted = |text: &str| match text.contains([',', '[', ']', '{', '}', ':', '?', '\'', '"']) {
        true => Value::from(text).to_string(),
        false => flow(text),
    };
    match value {
        Value::Object(members) => {
            let members = members
                .iter()
                .map(|(key, value)| Some(format!("{}: {}", quoted(key), in_flow(value)?)));
            let members: Option<Vec<String>> = members.collect();
            Some(format!("{{{}}}", members?.join(", ")))
        }
        Value::Array(items) => {
            let is_scalar = |item: &Value| !item.is_object() && !item.is_array();
            if items.len() > 1 && !items.iter().all(is_scalar) {
                return None;
            }
            let items: Option<Vec<String>> = items.iter().map(in_flow).collect();
            Some(format!("[{}]", items?.join(", ")))
        }
        Value::String(text) if is_block(text) => None,
        Value::String(text) if text.chars().all(is_printable) => Some(quoted(text)),
        Value::String(text) => Some(flow(text)),
        other => Some(other.to_string()),
    }
}

/// What stands on one line, or a block of lines that are indented.
fn scalar(value: &Value, indent: usize) -> String {
    match value {
        Value::String(text) if is_block(text) => {
            let indent = " ".repeat(indent);
            let mut block = "|".to_owned();
            for line in text.lines() {
                block.push('\n');
                if !line.is_empty() {
                    block.push_str(&indent);
                    block.push_str(line);
                }
            }
            block
        }
        Value::String(text) => flow(text),
        // JSON's `{}`, `[]`, numbers, `true` and `null` are YAML's.
        other => other.to_string(),
    }
}

/// Text on one line: plain, or quoted.
fn flow(text: &str) -> String {
    if is_plain(text) {
        return text.to_owned();
    }
    if !text.is_empty() && text.chars().all(is_printable) {
        return format!("'{}'", text.replace('\'', "''"));
    }
    // As in JSON, and what ends a line in YAML 1.1 or is not printable as a number.
    let quoted = Value::from(text).to_string();
    let mut escaped = String::with_capacity(quoted.len());
    for c in quoted.chars() {
        match is_printable(c) {
            true => escaped.push(c),
            false => escaped.push_str(&format!("\\u{:04x}", u32::from(c))),
        }
    }
    escaped
}

/// Whether a character can stand as it is, and does not end a line.
fn is_printable(c: char) -> bool {
    !c.is_control() && !"\u{2028}\u{2029}\u{feff}".contains(c)
}

/// Whether text is text, and the same, to every reader without quotes.
fn is_plain(text: &str) -> bool {
    let is_word = |c: char| c.is_ascii_alphanumeric() || "_-./$@{}".contains(c);
    let Some(first) = text.chars().next() else {
        return false;
    };
    let inner = |c: char| is_word(c) || " \\:()[]'\"=+*,;&|<>?!%~^".contains(c);
    let starts_well = first.is_ascii_alphabetic() || "/_$:\\".contains(first);
    let ends_well = text.chars().last().is_some_and(|c| is_word(c) || c == '?');
    let is_text = starts_well
        && ends_well
        && text.chars().all(inner)
        && !text.contains(": ")
        && !WORDS.contains(&text.to_ascii_lowercase().as_str());
    // 60s, 0.250s, 1024Ki, 127.0.0.1: nothing but a text ends so, or has so many dots.
    let is_quantity = first.is_ascii_digit()
        && (text.ends_with(['s', 'm', 'h', 'i']) || text.matches('.').count() == 3)
        && text
            .chars()
            .all(|c| c.is_ascii_digit() || ".smhKMi".contains(c));
    is_text || is_quantity
}

/// Whether text is several whole lines that a block can carry as they are.
fn is_block(text: &str) -> bool {
    text.ends_with('\n')
        && !text.ends_with("\n\n")
        && text.trim_end_matches('\n').contains('\n')
        && !text.starts_with([' ', '\n'])
        && text.chars().all(|c| c == '\n' || is_printable(c))
}

/// How long a line may be that has more than one member.
const MAX_COLUMNS: usize = 100;

/// What is no text to one reader or the other, in lower case.
const WORDS: [&str; 10] = [
    "false", "n", "no", "null", "off", "on", "true", "y", "yes", "nan",
];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn blocks_are_as_a_person_writes_them() {
        let value = json!({
            "a": {"b": [], "c": {}, "d": null, "e": 1.5, "f": true},
            "list": [{"x": 1, "y": [1, 2]}, [3, [4]], "plain", {}],
            "text": "first: 1\nsecond:\n  third\n",
            "*": "on",
        });
        let expected = "\
a:
  b: []
  c: {}
  d: null
  e: 1.5
  f: true
list:
- x: 1
  'y':
  - 1
  - 2
- - 3
  - - 4
- plain
- {}
text: |
  first: 1
  second:
    third
'*': 'on'
";
        assert_eq!(document(&value, Layout::Block), expected);
    }

    #[test]
    fn what_fits_on_a_line_is_on_one() {
        let value = json!({
            "kind": "Example",
            "metadata": {"name": "a", "labels": {"app": "x", "part": "y"}},
            "spec": {
                "targets": [{"kind": "Gateway", "name": "a"}],
                "routes": [{"path": "/a", "key": "${A}"}, {"path": "b:c", "to": {}}],
                "long": {"one": "x".repeat(60), "other": "y".repeat(60)},
                "text": {"lines": "a\nb\n"},
                "methods": ["GET", "POST"],
            },
        });
        let expected = format!(
            "\
kind: Example
metadata:
  name: a
  labels: {{app: x, part: 'y'}}
spec:
  targets: [{{kind: Gateway, name: a}}]
  routes:
  - {{path: /a, key: \"${{A}}\"}}
  - {{path: \"b:c\", to: {{}}}}
  long:
    one: {}
    other: {}
  text:
    lines: |
      a
      b
  methods: [GET, POST]
",
            "x".repeat(60),
            "y".repeat(60)
        );
        assert_eq!(document(&value, Layout::Compact), expected);
    }

    #[test]
    fn whatever_is_written_is_read_back() {
        let texts = [
            "",
            " ",
            "a",
            "a b",
            "a: b",
            "a #b",
            "a:",
            "#a",
            "- a",
            "-",
            "yes",
            "NO",
            "~",
            "=",
            "<<",
            "1",
            "1e3",
            "0x1f",
            "1_000",
            "12:30:45",
            "2024-10-21",
            ".5",
            "+1",
            "-.inf",
            "60s",
            "0.250s",
            "127.0.0.1",
            "1.2",
            "5m",
            "33792Ki",
            "10.0.0.1",
            "[::1]:80",
            "${KEY}",
            "$KEY",
            "x${KEY}",
            "{a: b}",
            "[a]",
            "*",
            "&a",
            "!a",
            "|",
            ">",
            "%a",
            "@a",
            "`a`",
            "'a'",
            "\"a\"",
            "a\\b",
            "a\nb",
            "a\nb\n",
            "a\n\n",
            "\na\n",
            " a\nb\n",
            "a\r\nb\n",
            "\ta\nb\n",
            "é",
            "\u{85}",
            "\u{2028}",
            "\u{feff}",
            "\u{7}",
            "😀",
            "a\u{2028}b\nc\n",
            "api.mistral.ai",
            "outbound|443||api.mistral.ai",
            "type.googleapis.com/a.B",
            "%CEL(a == '' ? b : c)%",
            "a, b",
            "null",
            "True",
            "a\u{a0}b",
            "---",
            "...",
            "a\n---\nb\n",
        ];
        for text in texts {
            let value = json!({"k": text, text: [text, {"k": text}], "x": {"y": {text: text}}});
            for layout in [Layout::Block, Layout::Compact] {
                let written = document(&value, layout);
                let read: Value = serde_yaml::from_str(&written).unwrap();
                assert_eq!(read, value, "{written}");
            }
        }
    }

    #[test]
    fn what_is_no_text_to_an_older_reader_is_quoted() {
        for text in [
            "y",
            "No",
            "ON",
            "off",
            "1_0",
            "12:30:45",
            "2024-10-21",
            "=",
            "<<",
            "0o17",
            "~",
        ] {
            assert!(
                document(&json!(text), Layout::Block).starts_with('\''),
                "{text}"
            );
        }
    }
}
