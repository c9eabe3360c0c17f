//! Thinking on its way through a client that knows one text and one signature.
//!
//! > Thinking blocks must be passed back unmodified.
//!
//! <https://platform.claude.com/docs/en/build-with-claude/thinking>, read 2026-11-21.
//!
//! A reply may have several thinking blocks, and redacted ones. The client gets their texts in a row
//! as `reasoning_content`, and as `reasoning_signature` what is needed to cut them apart again:
//!
//! * one block, not redacted: `anthropic:` and its signature;
//! * else `anthropic:` and a JSON list, in order, of `{"length", "signature"}` (of so many bytes of
//!   the text) and `{"redacted"}`.
//!
//! The prefix keeps signatures of other providers apart, which would be refused here.

use serde::{Deserialize, Serialize};

use crate::json::Writer;

/// Collects the blocks of a reply.
#[derive(Debug, Default)]
pub(super) struct Thinking {
    blocks: Vec<Block>,
}

/// Unit of `length`: bytes of UTF-8.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Block {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    length: Option<usize>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    signature: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    redacted: Option<String>,
}

/// The text and the signature that a client sends do not belong together.
#[derive(Debug)]
pub(super) struct Mismatch;

impl Thinking {
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
        if let Some(block) = self.blocks.last_mut() {
            block.signature.push_str(signature);
        }
    }

    pub(super) fn add_redacted(&mut self, data: &str) {
        self.blocks.push(Block {
            redacted: Some(data.to_owned()),
            ..Block::default()
        });
    }

    /// What goes to the client; `None` where nothing was signed.
    pub(super) fn signature(&self) -> Option<String> {
        let is_signed = |it: &Block| it.redacted.is_some() || !it.signature.is_empty();
        if !self.blocks.iter().any(is_signed) {
            return None;
        }
        let text = match self.blocks.as_slice() {
            [only] if only.redacted.is_none() => only.signature.clone(),
            // Strings and numbers alone: serialisation has nothing to fail on.
            all => serde_json::to_string(all).unwrap_or_default(),
        };
        Some(format!("{PREFIX}{text}"))
    }
}

/// Writes the blocks that a client sends back. Thinking without a signature of Anthropic's is left
/// out: it is another provider's, or was never signed, and would be refused.
pub(super) fn write(
    json: &mut Writer,
    text: Option<&str>,
    signature: Option<&str>,
) -> Result<(), Mismatch> {
    let Some(signature) = signature.and_then(|it| it.strip_prefix(PREFIX)) else {
        return Ok(());
    };
    let mut text = text.unwrap_or_default();
    if !signature.starts_with('[') {
        write_block(json, text, signature);
        return Ok(());
    }
    let blocks: Vec<Block> = serde_json::from_str(signature).map_err(|_| Mismatch)?;
    let lengths = blocks.iter().filter_map(|block| block.length);
    let total = lengths.fold(0_usize, usize::saturating_add);
    if total != text.len() {
        return Err(Mismatch);
    }
    for block in &blocks {
        if let Some(data) = &block.redacted {
            json.object(|json| {
                json.key("type").string("redacted_thinking");
                json.key("data").string(data);
            });
        } else {
            let length = block.length.unwrap_or_default();
            let (own, rest) = text.split_at_checked(length).ok_or(Mismatch)?;
            text = rest;
            if !block.signature.is_empty() {
                write_block(json, own, &block.signature);
            }
        }
    }
    Ok(())
}

fn write_block(json: &mut Writer, text: &str, signature: &str) {
    json.object(|json| {
        json.key("type").string("thinking");
        json.key("thinking").string(text);
        json.key("signature").string(signature);
    });
}

const PREFIX: &str = "anthropic:";

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str, signature: &str) -> Option<String> {
        let mut json = Writer::default();
        json.open_array();
        write(&mut json, Some(text), Some(signature)).ok()?;
        json.close_array();
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
        assert_eq!(written("éabc", &signature), None);
        assert_eq!(written("aéb", &signature), None);
        assert_eq!(written("x", "anthropic:[1]"), None);
    }

    #[test]
    fn foreign_thinking_is_left_out() {
        assert_eq!(Thinking::default().signature(), None);
        assert_eq!(written("a", "someone:S").as_deref(), Some("[]"));
        assert_eq!(written("a", "").as_deref(), Some("[]"));
    }
}
