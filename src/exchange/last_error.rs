//! The last error that a provider of a pool has sent, for a request whose last attempt gets no reply.
//!
//! Envoy answers such a request itself, and knows only that there was no connection or no reply. An
//! attempt that fails with a reply therefore keeps its error, as the client would have got it, where the
//! module in the listener finds it. Only failures cost anything.

use super::{BodyChange, Step};
use crate::api::ClientApi;
use crate::failure::{Failure, plain_message};
use crate::headers::{HeaderEdit, Headers};
use crate::pairs;
use crate::refusal::LocalReply;
use crate::sorted;

/// An error in the shape of the client's API, as far as it is known.
pub struct LastError {
    api: &'static dyn ClientApi,
    reply: LocalReply,
    /// Whether Envoy makes another attempt when it has this error.
    pub is_retried: bool,
}

impl LastError {
    /// An error of which the headers are there. `status`: the one for the client.
    pub fn new(
        api: &'static dyn ClientApi,
        status: u16,
        headers: &Headers<'_>,
        is_retried: bool,
    ) -> Self {
        let mut reply = LocalReply::json(status, String::new()).with_headers_of(headers);
        // The one by which clients wait comes first: what is too long ends the list.
        sorted::sort_by_key(&mut reply.headers, |(name, _)| {
            !matches!(name.as_str(), "content-type" | RETRY_AFTER)
        });
        let mut room = MAX_HEADER_BYTES;
        reply.headers.retain(|(name, value)| {
            let rest = room.checked_sub(name.len() + value.len());
            room = rest.unwrap_or(0);
            rest.is_some()
        });
        Self {
            api,
            reply,
            is_retried,
        }
    }

    /// Adds the body that the step passes to the client, and what the body has told.
    pub fn add(&mut self, step: &Step) {
        if let BodyChange::Replace(body) = &step.body {
            self.reply.body = match body.len() <= MAX_BODY_BYTES {
                true => String::from_utf8_lossy(body).into_owned(),
                false => shortened(self.api, self.reply.status, body),
            };
        }
        let retry_after = step
            .headers
            .iter()
            .filter_map(|it| it.value_of(RETRY_AFTER));
        let retry_after = retry_after.map(|it| (RETRY_AFTER.to_owned(), it.to_owned()));
        self.reply.headers.extend(retry_after);
    }

    /// The same where the body has ended with trailers, and the client gets this reply.
    pub fn add_reply(&mut self, reply: &LocalReply) {
        let body = BodyChange::Replace(reply.body.as_bytes().to_vec());
        self.add(&Step {
            body,
            ..Step::default()
        });
    }

    /// The bytes to keep.
    pub fn encode(mut self) -> Vec<u8> {
        if self.reply.body.is_empty() {
            self.reply.body = without_message(self.api, self.reply.status);
        }
        let status = self.reply.status.to_string();
        let own = [(STATUS, status.as_str()), (BODY, &self.reply.body)];
        let headers = self.reply.headers.iter();
        let headers = headers.map(|(name, value)| (name.as_str(), value.as_str()));
        let pairs: Vec<(&str, &str)> = own.into_iter().chain(headers).collect();
        pairs::encode(&pairs)
    }
}

/// The header edits and the body that put the kept error in the place of Envoy's; `None` where the bytes
/// are not ours.
pub fn instead(kept: &[u8]) -> Option<(Vec<HeaderEdit>, String)> {
    let kept = Headers::new(pairs::decode(kept)?);
    let status = kept.text(STATUS)?.to_owned();
    let body = kept.text(BODY)?.to_owned();
    let mut edits = vec![HeaderEdit::set(STATUS, status)];
    for (name, value) in kept.iter().filter(|(name, _)| !name.starts_with(b":")) {
        let text = |bytes: &[u8]| std::str::from_utf8(bytes).ok().map(str::to_owned);
        if let (Some(name), Some(value)) = (text(name), text(value)) {
            edits.push(HeaderEdit::set(name, value));
        }
    }
    Some((edits, body))
}

/// An error with the beginning of the message of one that is too long.
fn shortened(api: &dyn ClientApi, status: u16, body: &[u8]) -> String {
    let parsed: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    let error = parsed.as_ref().and_then(|body| body.get("error"));
    let text = |key| error?.get(key)?.as_str();
    let Some(message) = text("message") else {
        return without_message(api, status);
    };
    let message: String = message.chars().take(MAX_MESSAGE_CHARS).collect();
    let short = |key| text(key).filter(|it| it.len() <= MAX_WORD_BYTES);
    let failure = Failure::new(status, message)
        .with_kind(short("type").map(Into::into))
        .with_code(short("code").map(Into::into));
    api.error(&failure)
}

/// An error of which no message is known.
fn without_message(api: &dyn ClientApi, status: u16) -> String {
    api.error(&Failure::new(status, plain_message(status, b"")))
}

const STATUS: &str = ":status";
const BODY: &str = ":body";
const RETRY_AFTER: &str = "retry-after";

/// How much of an error is kept for each request whose attempts fail. Unit: bytes.
const MAX_BODY_BYTES: usize = 4 << 10;
const MAX_HEADER_BYTES: usize = 2 << 10;
const MAX_WORD_BYTES: usize = 64;
/// A character takes 6 bytes of JSON at most.
const MAX_MESSAGE_CHARS: usize = 600;
