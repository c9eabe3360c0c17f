//! Custom tools, which take a text instead of JSON.
//!
//! Source: <https://platform.openai.com/docs/guides/function-calling#custom-tools>, and `openai` 3.57.0,
//! `chat_completion_custom_tool_param.py` and `chat_completion_message_custom_tool_call.py`.
//!
//! No other API has them: they go out as functions with one string, `input` (`chat.rs`), and the calls of
//! a reply become calls of custom tools again. A grammar, which would limit the text, cannot be sent.

use std::borrow::Cow;

use crate::json::{self, Quoted, object};

object! {
    Arguments<'a> {
        input: Quoted<'a> = b"input",
    }
}

/// The text of a call whose arguments are `arguments`: their `input`, or all of them where a model has
/// made something else.
pub(in crate::api) fn input(arguments: &str) -> Cow<'_, str> {
    let read = json::read::<Arguments<'_>>(arguments.as_bytes()).ok();
    let input = read.and_then(|it| it.input?.decode());
    input.unwrap_or(Cow::Borrowed(arguments))
}

/// The same of arguments that come in pieces.
#[derive(Debug, Default)]
pub(in crate::api) struct Input {
    state: State,
    /// What has come and says nothing yet: at most [`MAX_HELD_BYTES`].
    held: String,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum State {
    /// `{"input":"`
    #[default]
    Before,
    Inside,
    After,
    /// It is something else, and passes as it is.
    Other,
}

/// White space before the text may be endless.
const MAX_HELD_BYTES: usize = 256;

impl Input {
    /// Takes a piece of the arguments, and appends what it says of the text.
    pub(in crate::api) fn push(&mut self, piece: &str, out: &mut String) {
        self.held.push_str(piece);
        if self.state == State::Before {
            match text_start(&self.held) {
                Some(Some(start)) => {
                    self.state = State::Inside;
                    self.held.drain(..start);
                }
                None if self.held.len() <= MAX_HELD_BYTES => return,
                Some(None) | None => self.state = State::Other,
            }
        }
        match self.state {
            State::Before => {}
            State::Other => out.push_str(&std::mem::take(&mut self.held)),
            State::After => self.held.clear(),
            State::Inside => {
                let (complete, ends) = complete(&self.held);
                let text = self.held.get(..complete).unwrap_or_default();
                let decoded = Quoted::checked(text.as_bytes()).decode();
                out.push_str(&decoded.unwrap_or_default());
                self.held.drain(..complete);
                if ends {
                    self.state = State::After;
                    self.held.clear();
                }
            }
        }
    }
}

/// Where the text begins; `None`: what is there may still become its beginning, `Some(None)`: it will
/// not.
fn text_start(held: &str) -> Option<Option<usize>> {
    let mut rest = held;
    for token in ["{", "\"input\"", ":", "\""] {
        rest = rest.trim_ascii_start();
        match rest.strip_prefix(token) {
            Some(after) => rest = after,
            None if token.starts_with(rest) => return None,
            None => return Some(None),
        }
    }
    Some(Some(held.len() - rest.len()))
}

/// How much of the text consists of whole characters and escapes, and whether it ends there.
fn complete(text: &str) -> (usize, bool) {
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        at += match byte {
            b'"' => return (at, true),
            b'\\' => match escape_length(bytes.get(at..).unwrap_or_default()) {
                Some(length) => length,
                None => return (at, false),
            },
            _ => 1,
        };
    }
    (at, false)
}

/// The length of the escape at the front, with the second half of a pair; `None`: it has not all come.
fn escape_length(bytes: &[u8]) -> Option<usize> {
    let unicode = |at: usize| {
        let digits = bytes.get(at + 2..at + 6)?;
        let digits = std::str::from_utf8(digits).ok()?;
        Some(u32::from_str_radix(digits, 16).unwrap_or_default())
    };
    if *bytes.get(1)? != b'u' {
        return Some(2);
    }
    match unicode(0)? {
        0xd800..0xdc00 => {
            unicode(6)?;
            Some(12)
        }
        _ => Some(6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_the_same_in_any_pieces() {
        for (arguments, expected) in [
            (
                r#"{"input":"a\n\"b\" \\ \ud83e\udd80 é"}"#,
                "a\n\"b\" \\ 🦀 é",
            ),
            (r#" { "input" : "" , "x": "y" } "#, ""),
            (r#"{"inputs":"a"}"#, r#"{"inputs":"a"}"#),
            ("{}", "{}"),
            (r#"["a"]"#, r#"["a"]"#),
        ] {
            assert_eq!(input(arguments), expected);
            for length in 1..=arguments.len() {
                let (mut state, mut out) = (Input::default(), String::new());
                let mut rest = arguments;
                while !rest.is_empty() {
                    let end = (length..).find(|at| *at >= rest.len() || rest.is_char_boundary(*at));
                    let (piece, after) = rest.split_at(end.unwrap().min(rest.len()));
                    state.push(piece, &mut out);
                    rest = after;
                }
                assert_eq!(out, expected, "{arguments} by {length}");
            }
        }
        let (mut state, mut out) = (Input::default(), String::new());
        (0..1000).for_each(|_| state.push("  ", &mut out));
        assert!(state.held.len() <= MAX_HELD_BYTES && out.len() > 1000);
    }
}
