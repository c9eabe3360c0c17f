//! Finds where a body names models beside its `model`: where the gateway restricts the models, such a
//! request is refused.
//!
//! Hosted tools and plugins run models of their own: `{"type": "image_generation", "model": …}` in
//! `tools`, `{"id": "fusion", "analysis_models": […]}` in `plugins`, a deployment for embeddings in
//! `data_sources`. They are many, and there will be more, so it is the name of the member that counts:
//! `model`, `models`, or what ends in `_model` or `_models`. Members with such names directly in the body
//! count, too (`draft_model`), but for [`OTHER_MODELS`](crate::model::OTHER_MODELS), which
//! [`BodyEdit`](super::body::BodyEdit) knows with the rules of the configuration.
//!
//! What is deeper is not looked at: there stand the JSON Schemas of functions, whose properties have any
//! name.
//!
//! Sources, read 2026-11-28: <https://platform.openai.com/docs/api-reference/responses/create> (`tools`),
//! <https://openrouter.ai/docs/guides/features/plugins>,
//! <https://learn.microsoft.com/azure/ai-foundry/openai/references/azure-search> (`embedding_dependency`).

use crate::json::{self, Outline, Token, decode_string};

/// Finds them in one body, as it arrives.
#[derive(Debug, Default)]
pub struct ModelChoices {
    /// How many objects and arrays are open.
    depth: usize,
    /// The depth up to which keys are looked at, in the member that is open.
    deepest: usize,
    /// The raw key that is being read, with its first quotation mark.
    key: Vec<u8>,
    /// The first name that was found.
    found: Option<String>,
}

impl ModelChoices {
    /// The name of a member that chooses a model.
    pub fn found(&self) -> Option<&str> {
        self.found.as_deref()
    }

    fn key_ends(&mut self) {
        self.key.push(b'"');
        let Some(name) = decode_string(&self.key) else {
            return;
        };
        let name = name.to_ascii_lowercase();
        let is_nested = self.depth > BODY;
        if !is_nested {
            let area = AREAS.iter().find(|(area, _)| *area == name);
            self.deepest = area.map_or(BODY, |(_, deepest)| *deepest);
        }
        let is_model = matches!(&*name, "model" | "models" | "deployment_name") && is_nested;
        if is_model || name.ends_with("_model") || name.ends_with("_models") {
            self.found.get_or_insert(name);
        }
    }
}

impl Outline for ModelChoices {
    fn token(&mut self, token: Token, _: u64) {
        match token {
            Token::OpenArray | Token::OpenObject => self.depth += 1,
            Token::Close => self.depth = self.depth.saturating_sub(1),
            Token::KeyStart => self.key = vec![b'"'],
            Token::Comma => {}
        }
    }

    fn key(&mut self, text: &[u8], ends: bool) {
        if self.depth > self.deepest.max(BODY) {
            return;
        }
        // What is longer ends in something else, or is nobody's.
        let room = MAX_KEY_BYTES.saturating_sub(self.key.len());
        self.key.extend_from_slice(text.get(..room).unwrap_or(text));
        if ends {
            self.key_ends();
        }
    }

    fn value(&mut self, _: json::Kind, _: u64) {}

    fn text(&mut self, _: &[u8], _: bool) {}
}

/// Two at once.
pub struct Both<'a>(pub &'a mut dyn Outline, pub &'a mut dyn Outline);

impl Outline for Both<'_> {
    fn token(&mut self, token: Token, at: u64) {
        self.0.token(token, at);
        self.1.token(token, at);
    }

    fn key(&mut self, text: &[u8], ends: bool) {
        self.0.key(text, ends);
        self.1.key(text, ends);
    }

    fn value(&mut self, kind: json::Kind, at: u64) {
        self.0.value(kind, at);
        self.1.value(kind, at);
    }

    fn text(&mut self, text: &[u8], ends: bool) {
        self.0.text(text, ends);
        self.1.text(text, ends);
    }
}

/// Members whose values have tools, and the depth of the deepest keys that are looked at: that of the
/// body is 1.
const AREAS: [(&str, usize); 3] = [("data_sources", 5), ("plugins", 5), ("tools", 4)];

const BODY: usize = 1;

/// Unit: bytes, escapes included.
const MAX_KEY_BYTES: usize = 512;
