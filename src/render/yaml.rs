//! JSON values as YAML that every reader understands alike.
//!
//! Kubernetes' tools read YAML 1.1, where `on`, `no`, `y`, `12:30` and `2024-10-21` are no text; others
//! read YAML 1.2, where they are. So a text is written plain only where it is one to both.
//!
//! Source: <https://yaml.org/type/>, <https://yaml.org/spec/1.2.2/>.

use serde_json::{Map, Value};

/// One document, without its `---`.
pub fn document(value: &Value) -> String {
    let mut text = String::new();
    match value {
        Value::Object(members) if !members.is_empty() => mapping(members, 0, &mut text),
        Value::Array(items) if !items.is_empty() => sequence(items, 0, &mut text),
        other => {
            text.push_str(&scalar(other, 0));
            text.push('\n');
        }
    }
    text
}

fn mapping(members: &Map<String, Value>, indent: usize, text: &mut String) {
    for (number, (key, value)) in members.iter().enumerate() {
        // The first stands behind what opened the line.
        if number > 0 || !text.ends_with("- ") {
            text.push_str(&" ".repeat(indent));
        }
        text.push_str(&flow(key));
        text.push(':');
        match value {
            Value::Object(members) if !members.is_empty() => {
                text.push('\n');
                mapping(members, indent + 2, text);
            }
            Value::Array(items) if !items.is_empty() => {
                text.push('\n');
                sequence(items, indent, text);
            }
            other => {
                text.push(' ');
                text.push_str(&scalar(other, indent + 2));
                text.push('\n');
            }
        }
    }
}

fn sequence(items: &[Value], indent: usize, text: &mut String) {
    for (number, item) in items.iter().enumerate() {
        if number > 0 || !text.ends_with("- ") {
            text.push_str(&" ".repeat(indent));
        }
        text.push_str("- ");
        match item {
            Value::Object(members) if !members.is_empty() => mapping(members, indent + 2, text),
            Value::Array(items) if !items.is_empty() => sequence(items, indent + 2, text),
            other => {
                text.push_str(&scalar(other, indent + 2));
                text.push('\n');
            }
        }
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
        assert_eq!(document(&value), expected);
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
            let value = json!({"k": text, text: [text, {"k": text}]});
            let written = document(&value);
            let read: Value = serde_yaml::from_str(&written).unwrap();
            assert_eq!(read, value, "{written}");
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
            assert!(document(&json!(text)).starts_with('\''), "{text}");
        }
    }
}
