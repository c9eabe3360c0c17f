//! Thinking on its way through a client that knows one text and one signature.
//!
//! > Thinking blocks must be passed back unmodified.
//!
//! <https://platform.claude.com/docs/en/build-with-claude/thinking>, read 2026-11-21.
//!
//! A reply may have several thinking blocks, redacted ones, and text and calls between them. The
//! client gets their texts in a row as `reasoning_content`, and as `reasoning_signature` what is
//! needed to put everything in its place again:
//!
//! * one block at the start, not redacted: `anthropic:` and its signature;
//! * else `anthropic:` and a JSON list, in order, of `{"length", "signature"}` (of so many bytes of
//!   the thinking), `{"redacted"}`, `{"text"}` (so many bytes of the content) and `{"calls"}` (so
//!   many calls), up to the last thinking.
//!
//! The prefix keeps signatures of other providers apart, which would be refused here.

use std::borrow::Cow;

use serde::Serialize;

use crate::chat::Choice;
use crate::chat::tape::Kind;
use crate::json::{self, Items, Piece, Quoted, Raw, Writer, object};

/// Collects the blocks of a stream.
#[derive(Debug, Default)]
pub(super) struct Thinking {
    blocks: Vec<Block>,
    /// How much is kept of signatures and of what is redacted. Unit: bytes.
    kept: usize,
}

/// The most blocks of a stream, and the most that is kept of them until its end. Unit: blocks, bytes.
const MAX_BLOCKS: usize = 4096;
const MAX_KEPT_BYTES: usize = 1 << 20;

/// One of the four kinds in the list above. Unit of the lengths: bytes of UTF-8.
#[derive(Debug, Default, Serialize)]
struct Block {
    #[serde(skip_serializing_if = "Option::is_none")]
    length: Option<usize>,
    #[serde(skip_serializing_if = "String::is_empty")]
    signature: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    redacted: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    calls: Option<usize>,
}

/// The text and the signature that a client sends do not belong together.
#[derive(Debug)]
pub(super) struct Mismatch;

impl Thinking {
    /// Whether it has become too large to be kept until the stream's end.
    pub(super) fn is_too_large(&self) -> bool {
        self.blocks.len() > MAX_BLOCKS || self.kept > MAX_KEPT_BYTES
    }

    /// What it keeps. Unit: bytes.
    pub(super) fn kept_bytes(&self) -> usize {
        self.kept + self.blocks.len() * size_of::<Block>()
    }

    pub(super) fn begin(&mut self) {
        self.blocks.push(Block {
            length: Some(0),
            ..Block::default()
        });
    }

    /// More text of the block that began last.
    pub(super) fn add_text(&mut self, text: &str) {
        if let Some(Block {
            length: Some(length),
            ..
        }) = self.blocks.last_mut()
        {
            *length += text.len();
        }
    }

    /// More of the signature of the block that began last.
    pub(super) fn add_signature(&mut self, signature: &str) {
        if let Some(block) = self.blocks.last_mut()
            && block.length.is_some()
        {
            self.kept += signature.len();
            block.signature.push_str(signature);
        }
    }

    pub(super) fn add_redacted(&mut self, data: &str) {
        self.kept += data.len();
        self.blocks.push(Block {
            redacted: Some(data.to_owned()),
            ..Block::default()
        });
    }

    /// More of the content.
    pub(super) fn pass_text(&mut self, content: &str) {
        if let Some(Block {
            text: Some(length), ..
        }) = self.blocks.last_mut()
        {
            *length += content.len();
            return;
        }
        self.blocks.push(Block {
            text: Some(content.len()),
            ..Block::default()
        });
    }

    /// One more call.
    pub(super) fn pass_call(&mut self) {
        if let Some(Block {
            calls: Some(count), ..
        }) = self.blocks.last_mut()
        {
            *count += 1;
            return;
        }
        self.blocks.push(Block {
            calls: Some(1),
            ..Block::default()
        });
    }

    /// What goes to the client; `None` where nothing was signed.
    pub(super) fn signature(&self) -> Option<String> {
        let is_signed = |it: &Block| it.redacted.is_some() || !it.signature.is_empty();
        let last = self.blocks.iter().rposition(is_signed)?;
        let text = match self.blocks.get(..=last)? {
            [only] if only.redacted.is_none() => only.signature.clone(),
            // Strings and numbers alone: serialisation has nothing to fail on.
            all => serde_json::to_string(all).unwrap_or_default(),
        };
        Some(format!("{PREFIX}{text}"))
    }
}

/// Writes the same of a whole reply, where something was signed.
pub(super) fn write_signature(
    json: &mut Writer,
    choice: Choice<'_>,
    key: &mut dyn FnMut(&mut Writer),
) {
    let is_signed = |(kind, text): (Kind, &[u8])| match kind {
        Kind::Redacted => true,
        Kind::BlockSignature => !text.is_empty(),
        _ => false,
    };
    let entries = choice.entries().enumerate();
    let Some((last, _)) = entries.filter(|(_, it)| is_signed(*it)).last() else {
        return;
    };
    let mut entries = choice.entries().take(last + 1).peekable();
    key(json);
    json.open_string();
    json.piece(Piece::Plain(PREFIX));
    if last == 1
        && let (Some((Kind::Reasoning, _)), Some((Kind::BlockSignature, signature))) =
            (entries.next(), entries.next())
    {
        json.piece(Piece::Quoted(Quoted::checked(signature)));
        return json.close_string();
    }
    let mut entries = choice.entries().take(last + 1).peekable();
    let mut before = "[";
    // A text within a list within a string.
    let text_of = |json: &mut Writer, name: &str, text: &[u8]| {
        json.piece(Piece::Plain(name));
        json.piece(Piece::Plain(Raw::checked(text).get()));
        json.piece(Piece::Plain("\""));
    };
    while let Some((kind, text)) = entries.next() {
        let (name, mut count) = match kind {
            Kind::Call => ("calls", 1),
            Kind::Reasoning => ("length", Quoted::checked(text).decoded_len()),
            Kind::Redacted => ("redacted", 0),
            Kind::Text => ("text", Quoted::checked(text).decoded_len()),
            _ => continue,
        };
        json.piece(Piece::Plain(before));
        before = ",";
        if kind == Kind::Redacted {
            text_of(json, "{\"redacted\":\"", text);
            json.piece(Piece::Plain("}"));
            continue;
        }
        // Texts and calls in a row are counted as one.
        while let Some((next, more)) = entries.next_if(|(next, _)| match kind {
            Kind::Call => matches!(next, Kind::Call | Kind::CallName | Kind::CallInput),
            Kind::Text => *next == Kind::Text,
            _ => false,
        }) {
            count += match next {
                Kind::Call => 1,
                Kind::Text => Quoted::checked(more).decoded_len(),
                _ => 0,
            };
        }
        json.piece(Piece::Plain(&format!("{{\"{name}\":{count}")));
        if let Some((_, signature)) =
            entries.next_if(|(next, text)| *next == Kind::BlockSignature && !text.is_empty())
        {
            text_of(json, ",\"signature\":\"", signature);
        }
        json.piece(Piece::Plain("}"));
    }
    json.piece(Piece::Plain("]"));
    json.close_string();
}

/// What stands in an assistant's turn up to its last thinking.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step<'a> {
    /// So many calls.
    Calls(usize),
    Redacted(Cow<'a, str>),
    /// So many bytes of the content.
    Text(usize),
    Thinking {
        text: &'a str,
        signature: Cow<'a, str>,
    },
}

impl Step<'_> {
    /// Writes the block of a step that is thinking; the others are written by who has them.
    pub(super) fn write(&self, json: &mut Writer) {
        match self {
            Self::Calls(_) | Self::Text(_) => {}
            Self::Redacted(data) => json.object(|json| {
                json.key("type").string("redacted_thinking");
                json.key("data").string(data);
            }),
            Self::Thinking { text, signature } => json.object(|json| {
                json.key("type").string("thinking");
                json.key("thinking").string(text);
                json.key("signature").string(signature);
            }),
        }
    }
}

object! {
    /// A [`Block`] that came back.
    SentBlock<'a> {
        length: u64 = b"length",
        signature: Cow<'a, str> = b"signature",
        redacted: Cow<'a, str> = b"redacted",
        text: u64 = b"text",
        calls: u64 = b"calls",
    }
}

/// The steps of a turn, which are made of its signature one by one.
#[derive(Debug)]
pub(super) struct Steps<'a> {
    text: &'a str,
    blocks: Blocks<'a>,
}

#[derive(Debug)]
enum Blocks<'a> {
    None,
    /// One at the start, with this signature.
    One(&'a str),
    Several(Items<'a, SentBlock<'a>>),
}

/// Whether a signature is one of Anthropic's.
pub(super) fn is_own(signature: &str) -> bool {
    signature.starts_with(PREFIX)
}

/// Reads what a client sends back. Thinking without a signature of Anthropic's is left out: it is
/// another provider's, or was never signed, and would be refused.
///
/// Unsigned thinking after the last signed one is left out as well.
pub(super) fn steps<'a>(
    text: Option<&'a str>,
    signature: Option<&'a str>,
) -> Result<Steps<'a>, Mismatch> {
    let blocks = match signature.and_then(|it| it.strip_prefix(PREFIX)) {
        None => Blocks::None,
        Some(list) if list.starts_with('[') => {
            Blocks::Several(json::read(list.as_bytes()).map_err(|_| Mismatch)?)
        }
        Some(signature) => Blocks::One(signature),
    };
    let text = text.unwrap_or_default();
    Ok(Steps { text, blocks })
}

impl<'a> Steps<'a> {
    /// The steps, in order, up to one that does not fit the text.
    pub(super) fn iter(&self) -> impl Iterator<Item = Result<Step<'a>, Mismatch>> {
        let (one, several) = match &self.blocks {
            Blocks::None => (None, None),
            Blocks::One(signature) => (Some(*signature), None),
            Blocks::Several(blocks) => (None, Some(blocks.iter())),
        };
        let one = one.map(|signature| Step::Thinking {
            text: self.text,
            signature: Cow::Borrowed(signature),
        });
        let mut text = self.text;
        let several = several.into_iter().flatten();
        let several = several.filter_map(move |block| step(block, &mut text).transpose());
        one.map(Ok).into_iter().chain(several)
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }
}

/// The step that a block says, if it says one. `text` is the thinking that no block had before.
fn step<'a>(block: SentBlock<'a>, text: &mut &'a str) -> Result<Option<Step<'a>>, Mismatch> {
    let count = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
    if let Some(data) = block.redacted {
        return Ok(Some(Step::Redacted(data)));
    }
    if let Some(length) = block.text {
        return Ok(Some(Step::Text(count(length))));
    }
    if let Some(calls) = block.calls {
        return Ok(Some(Step::Calls(count(calls))));
    }
    let length = count(block.length.unwrap_or_default());
    let (own, rest) = text.split_at_checked(length).ok_or(Mismatch)?;
    *text = rest;
    let signature = block.signature.filter(|it| !it.is_empty());
    Ok(signature.map(|signature| Step::Thinking {
        text: own,
        signature,
    }))
}

const PREFIX: &str = "anthropic:";

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str, signature: &str) -> Option<String> {
        let steps = steps(Some(text), Some(signature)).ok()?;
        let steps: Vec<_> = steps.iter().collect::<Result<_, _>>().ok()?;
        let mut json = Writer::default();
        json.array(|json| steps.iter().for_each(|step| step.write(json)));
        String::from_utf8(json.into_bytes()).ok()
    }

    #[test]
    fn one_block_comes_back() {
        let mut thinking = Thinking::default();
        thinking.begin();
        thinking.add_text("hm");
        thinking.add_signature("S=");
        let signature = thinking.signature().unwrap();
        assert_eq!(signature, "anthropic:S=");
        let expected = r#"[{"type":"thinking","thinking":"hm","signature":"S="}]"#;
        assert_eq!(written("hm", &signature).as_deref(), Some(expected));
    }

    #[test]
    fn several_blocks_come_back_apart() {
        let mut thinking = Thinking::default();
        for text in ["é", "ab"] {
            thinking.begin();
            thinking.add_text(text);
            thinking.add_signature(&format!("S{text}"));
            thinking.add_redacted("R");
        }
        let signature = thinking.signature().unwrap();
        let expected = concat!(
            r#"[{"type":"thinking","thinking":"é","signature":"Sé"},"#,
            r#"{"type":"redacted_thinking","data":"R"},"#,
            r#"{"type":"thinking","thinking":"ab","signature":"Sab"},"#,
            r#"{"type":"redacted_thinking","data":"R"}]"#,
        );
        assert_eq!(written("éab", &signature).as_deref(), Some(expected));
        assert_eq!(written("é", &signature), None);
        assert_eq!(written("aéb", &signature), None);
        assert_eq!(written("x", "anthropic:[1]"), None);
    }

    #[test]
    fn what_stands_between_is_kept_in_its_place() {
        let mut thinking = Thinking::default();
        thinking.begin();
        thinking.add_text("a");
        thinking.add_signature("A");
        thinking.pass_text("x");
        thinking.pass_text("y");
        thinking.pass_call();
        thinking.pass_call();
        thinking.begin();
        thinking.add_signature("B");
        thinking.pass_text("z");
        let signature = thinking.signature().unwrap();
        let step = |text, signature| Step::Thinking {
            text,
            signature: Cow::Borrowed(signature),
        };
        let expected = [step("a", "A"), Step::Text(2), Step::Calls(2), step("", "B")];
        let steps = steps(Some("a"), Some(&signature)).unwrap();
        let steps: Vec<_> = steps.iter().map(Result::unwrap).collect();
        assert_eq!(steps, expected);
    }

    #[test]
    fn foreign_thinking_is_left_out() {
        assert_eq!(Thinking::default().signature(), None);
        assert_eq!(written("a", "someone:S").as_deref(), Some("[]"));
        assert_eq!(written("a", "").as_deref(), Some("[]"));
    }
}
