//! Events of which only the text differs.
//!
//! Each event of a stream tells everything anew: the model, the ids, who speaks, and how many tokens
//! there were so far. Nearly every one is like the one before it but for its text and its counts,
//! and that is found out far sooner than it is read: it says what the one before it said, with
//! another text.

use std::borrow::Cow;
use std::ops::Range;

use super::reply::Response;
use crate::json;

/// What an event began that says nothing but a text, and maybe the usage.
pub(super) struct Row {
    choice: u64,
    /// The event that came last.
    event: String,
    /// Where its text stands, with the quotes.
    ///
    /// text.end <= counts <= event.len()
    text: Range<usize>,
    /// From where on numbers may differ: what stands there says nothing but the usage.
    counts: usize,
    /// Whether the usage of the last event has not been said.
    is_usage_new: bool,
}

impl Row {
    /// The row that an event begins. `response` is what was read of `event`.
    pub(super) fn of(event: &str, response: &Response<'_>) -> Option<Self> {
        if event.len() > MAX_EVENT_BYTES {
            return None;
        }
        let (choice, text) = response.only_text()?;
        let text = text.quoted();
        let start = place(text.text(), event.as_bytes())?.checked_sub(1)?;
        let text = start..start + text.text().len() + 2;
        let after = event.get(text.end..)?;
        let counts = after.find(USAGE).unwrap_or(after.len());
        // Neither an escape nor the number of a choice may differ.
        let tail = after.get(counts..)?;
        if tail.contains('\\') || [CANDIDATES, INDEX].iter().any(|it| tail.contains(it)) {
            return None;
        }
        Some(Self {
            choice,
            event: event.to_owned(),
            counts: text.end + counts,
            text,
            is_usage_new: false,
        })
    }

    /// The text of the next event, and of which choice it is more, if the event is in the row.
    pub(super) fn next<'a>(&mut self, event: &'a str) -> Option<(u64, Cow<'a, str>)> {
        if event.len() > MAX_EVENT_BYTES {
            return None;
        }
        let last = self.event.as_bytes();
        let before = last.get(..self.text.start)?;
        if common_len(before, event.as_bytes()) != before.len() {
            return None;
        }
        let end = before.len() + string_len(event.as_bytes().get(before.len()..)?)?;
        let text = json::decode_text(event.get(before.len()..end)?)?;
        let after = event.as_bytes().get(end..)?;
        let (literal, counts) = last
            .get(self.text.end..)?
            .split_at_checked(self.counts - self.text.end)?;
        if common_len(literal, after) != literal.len()
            || !differs_in_numbers(counts, after.get(literal.len()..)?)
        {
            return None;
        }
        self.counts = end + literal.len();
        self.text.end = end;
        self.event.clear();
        self.event.push_str(event);
        self.is_usage_new = true;
        Some((self.choice, text))
    }

    /// The last event, if its usage has not been said.
    pub(super) fn unsaid(&self) -> Option<&str> {
        self.is_usage_new.then_some(&*self.event)
    }
}

/// Where a part of a text begins.
fn place(part: &[u8], whole: &[u8]) -> Option<usize> {
    let place = part.as_ptr().addr().checked_sub(whole.as_ptr().addr())?;
    let found = whole.get(place..place + part.len())?;
    std::ptr::eq(found, part).then_some(place)
}

/// How many bytes a JSON string at the front has, with its quotes.
fn string_len(text: &[u8]) -> Option<usize> {
    let mut is_escaped = false;
    let inner = text.strip_prefix(b"\"")?;
    let end = inner.iter().position(|&byte| {
        let ends = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        ends
    })?;
    Some(end + 2)
}

/// Whether two JSON texts are the same but for whole numbers. `a` is valid and has no escapes.
///
/// Digits in strings may differ as well.
fn differs_in_numbers(mut a: &[u8], mut b: &[u8]) -> bool {
    loop {
        let common = common_len(a, b);
        // Back to where the number begins in which they differ.
        let same = a.get(..common).unwrap_or_default();
        let start = common
            - same
                .iter()
                .rev()
                .take_while(|it| it.is_ascii_digit())
                .count();
        let (Some((number_a, rest_a)), Some((number_b, rest_b))) =
            (split_number(a, start), split_number(b, start))
        else {
            return false;
        };
        if rest_a.is_empty() && rest_b.is_empty() && number_a.is_empty() == number_b.is_empty() {
            return is_number(number_b) || number_b.is_empty();
        }
        if number_a.is_empty() || !is_number(number_b) {
            return false;
        }
        (a, b) = (rest_a, rest_b);
    }
}

/// The digits at a place, and what follows them.
fn split_number(text: &[u8], start: usize) -> Option<(&[u8], &[u8])> {
    let text = text.get(start..)?;
    let digits = text.iter().take_while(|it| it.is_ascii_digit()).count();
    text.split_at_checked(digits)
}

/// Whether digits are a number as JSON has it, which surely fits an `u64`.
fn is_number(digits: &[u8]) -> bool {
    match digits {
        [] | [b'0', _, ..] => false,
        _ => digits.len() < MAX_DIGITS,
    }
}

/// How many bytes at the front are the same.
fn common_len(a: &[u8], b: &[u8]) -> usize {
    let (words_a, _) = a.as_chunks::<8>();
    let (words_b, _) = b.as_chunks::<8>();
    let mut len = 0;
    for (a, b) in words_a.iter().zip(words_b) {
        let differing = u64::from_le_bytes(*a) ^ u64::from_le_bytes(*b);
        if differing != 0 {
            return len + (differing.trailing_zeros() / 8) as usize;
        }
        len += 8;
    }
    let rest = a.iter().zip(b).skip(len);
    len + rest.take_while(|(a, b)| a == b).count()
}

const USAGE: &str = "\"usageMetadata\"";
const CANDIDATES: &str = "\"candidates\"";
const INDEX: &str = "\"index\"";

/// Of the largest `u64`.
const MAX_DIGITS: usize = 20;

/// What is longer is rare, and not worth its memory.
const MAX_EVENT_BYTES: usize = 16 << 10;

#[cfg(test)]
#[allow(clippy::string_slice, reason = "a test fails by panicking")]
mod tests {
    use super::super::stream::Decoder;
    use crate::chat::Delta;
    use crate::provider::dialect::EventDecoder;
    use crate::sse;

    const EVENT: &str = r#"{"candidates": [{"content": {"parts": [{"text": " a"}],"role": "model"},"index": 0}],"usageMetadata": {"promptTokenCount": 512,"candidatesTokenCount": 19,"totalTokenCount": 531,"promptTokensDetails": [{"modality": "TEXT","tokenCount": 512}]},"modelVersion": "gemini-2.5-flash","responseId": "FXzcaMjL4"}"#;

    /// What a stream says, but for the usage, of which the last is given by itself; and whether the
    /// last event was in a row.
    fn said(events: &[&str], has_rows: bool) -> (Vec<String>, String, bool) {
        let mut decoder = Decoder::default();
        let (mut all, mut usage, mut is_in_a_row) = (Vec::new(), String::new(), false);
        let mut say = |delta: Delta<'_>| match delta {
            Delta::Usage(it) => usage = format!("{it:?}"),
            delta => all.push(format!("{delta:?}")),
        };
        let mut outcome = Ok(());
        for data in events {
            if !has_rows {
                decoder.row = None;
            }
            outcome =
                outcome.and_then(|()| decoder.event(&sse::Event { name: "", data }, &mut say));
            is_in_a_row = decoder
                .row
                .as_ref()
                .is_some_and(|row| row.unsaid().is_some());
        }
        outcome = outcome.and_then(|()| decoder.finish(&mut say));
        all.push(format!("{outcome:?} {}", decoder.may_be_complete()));
        (all, usage, is_in_a_row)
    }

    fn check(first: &str, second: &str) -> bool {
        let end = EVENT.replace(r#""index""#, r#""finishReason": "STOP","index""#);
        for events in [
            &[first, second][..],
            &[first, second, &end],
            &[first, EVENT, second],
        ] {
            let (all, usage, _) = said(events, true);
            let (expected, expected_usage, _) = said(events, false);
            assert_eq!(all, expected, "{events:#?}");
            // After an error nobody asks.
            if all.last().is_some_and(|it| it.starts_with("Ok")) {
                assert_eq!(usage, expected_usage, "{events:#?}");
            }
        }
        said(&[first, second], true).2
    }

    #[test]
    fn an_event_in_a_row_says_what_it_says_alone() {
        let with = |from: &str, to: &str| EVENT.replace(from, to);
        for (second, is_in_a_row) in [
            (EVENT.to_owned(), true),
            (with(" a", ""), true),
            (with(" a", "Hello, über 🦀"), true),
            (with(" a", r#"\n\"\\"#), true),
            (with(" a", r"\ud83e\udd80 \u003c"), true),
            (with(": 19", ": 1234"), true),
            (with(": 19", ": 2"), true),
            (with(": 19", ": 0"), true),
            (with("512", "7").replace("531", "26"), true),
            (with("2.5", "3.0"), true),
            (with("2.5", "3.05"), false),
            (with(" a", r"\ud800"), false),
            (with(" a", r"\x"), false),
            (with(" a", "\n"), false),
            (with(" a", r#"b","thought": true,"x":""#), false),
            (with(": 19", ": 019"), false),
            (with(": 19", ": 00"), false),
            (with(": 19", ": "), false),
            (with(": 19", ": -19"), false),
            (with(": 19", ": 19.5"), false),
            (with(": 19", ": 1 9"), false),
            (with(": 19", ": 18446744073709551616"), false),
            (with(r#""index": 0"#, r#""index": 1"#), false),
            (
                with(r#""index": 0"#, r#""finishReason": "STOP","index": 0"#),
                false,
            ),
            (with("model\"", "user\""), false),
            (with("\"}", "\"} "), false),
            (with("4\"}", "4\"}x"), false),
            (with("4\"}", "4\""), false),
            (with("4\"}", "4"), false),
            (with("usage", "message"), false),
            (with(r#"Id": "FXzcaMjL4"}"#, r#"Id": "FXzcaMjL44"}"#), true),
            (String::new(), false),
            (r#"{"error":{"code":500,"message":"m"}}"#.to_owned(), false),
        ] {
            assert_eq!(check(EVENT, &second), is_in_a_row, "{second}");
        }
    }

    #[test]
    fn what_says_more_than_a_text_begins_no_row() {
        let with = |from: &str, to: &str| EVENT.replace(from, to);
        for first in [
            with(r#"{"text""#, r#"{"thought": true,"text""#),
            with(r#"{"text""#, r#"{"thoughtSignature": "s","text""#),
            with(r#"{"text""#, r#"{"text": "b"},{"text""#),
            with(r#""index""#, r#""finishReason": "STOP","index""#),
            with(r#""index": 0}"#, r#""index": 0},{"index": 1}"#),
            with(
                "\"responseId",
                r#""promptFeedback": {"blockReason": "X1"},"responseId"#,
            ),
            with("\"responseId", r#""candidates": [],"responseId"#),
            with("FX", r"\u0041"),
            with("model\"}", "usageMetadata\"}"),
            EVENT.replace(" a", &"long".repeat(5000)),
        ] {
            for second in [
                &first,
                EVENT,
                &first.replace("X1", "X2"),
                &first.replace("41", "42"),
            ] {
                assert!(!check(&first, second), "{first}");
            }
        }
    }

    /// One byte after the other becomes another one.
    #[test]
    fn no_byte_makes_a_difference() {
        for at in 0..EVENT.len() {
            for byte in ["", "0", "9", "-", "\"", "\\"] {
                let (before, after) = EVENT.split_at(at);
                for dropped in 0..2 {
                    let second = format!("{before}{byte}{}", &after[dropped..]);
                    check(EVENT, &second);
                }
            }
        }
    }
}
