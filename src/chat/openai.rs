//! OpenAI's side of the conversation: what clients send, and what they are sent.
//!
//! Source: <https://platform.openai.com/docs/api-reference/chat>, read 2026-11-21.
//!
//! # Differences from OpenAI
//!
//! * `functions`, `function_call` and the role `function`, deprecated since 2023, are refused by
//!   name: `tools` say the same.
//! * `cache_control` is taken on messages, parts and tools, for dialects that have it.
//! * `reasoning_content` and `reasoning_signature` are taken on assistant messages and given on
//!   replies, so that a client that sends a message back as it came keeps the model's thinking. Both
//!   are opaque text. Calls keep theirs in `extra_content.google.thought_signature`, where Google's
//!   own compatible API has it: <https://ai.google.dev/gemini-api/docs/openai>, read 2026-11-21.
//! * `annotations` of an assistant message, which replies bring and nobody asks for, are not sent on;
//!   nor are `index` of a call and `name` of a tool message, which say nothing new.

mod reply;
mod request;
mod stream;
mod wire;

pub use reply::{Stamp, write_reply, write_reply_within};
pub use request::{InvalidRequest, read};
pub use stream::ChunkWriter;
