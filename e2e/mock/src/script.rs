//! What the tests prescribe: replies and gates.
//!
//! A gate is a name that replies wait for until a test opens it. So a test proves that a chunk
//! arrived before the next one was sent without measuring time.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Deserializer, de};
use tokio::sync::watch;

/// One scripted reply, as posted to `/replies`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reply {
    /// Which requests it answers; absent: any.
    #[serde(default, rename = "for")]
    pub matches: Matches,
    /// How many requests it answers.
    #[serde(default)]
    pub times: Times,
    /// Absent: 200.
    #[serde(default = "ok")]
    pub status: u16,
    /// Exactly these, apart from `date` and the framing of the body.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    /// A body of one piece.
    #[serde(default)]
    pub body: Option<String>,
    /// The same, for bytes.
    #[serde(default)]
    pub body_base64: Option<Base64>,
    /// A body of pieces, each sent on its own.
    #[serde(default)]
    pub chunks: Option<Vec<Chunk>>,
    /// HTTP/2: what follows the body.
    #[serde(default)]
    pub trailers: Vec<(String, String)>,
    /// What happens after the body.
    #[serde(default)]
    pub end: End,
    /// Never answers.
    #[serde(default)]
    pub hang_before_headers: bool,
    /// Ends the connection (HTTP/1.1: RST) or the stream (HTTP/2) instead of an answer.
    #[serde(default)]
    pub reset_before_headers: bool,
    /// Answers when the head has arrived, without waiting for the request's body.
    #[serde(default)]
    pub early: bool,
    /// Waits before the headers.
    #[serde(default)]
    pub delay_ms: u64,
    /// Waits for this gate before the headers.
    #[serde(default)]
    pub wait_for: Option<String>,
}

impl Reply {
    /// The pieces of the body, in the order in which they are sent.
    pub fn pieces(&self) -> Vec<Chunk> {
        let whole = |bytes| Chunk {
            bytes,
            ..Chunk::default()
        };
        match (&self.chunks, &self.body_base64, &self.body) {
            (Some(chunks), _, _) => chunks.clone(),
            (None, Some(Base64(bytes)), _) => vec![whole(bytes.clone())],
            (None, None, Some(text)) => vec![whole(Bytes::copy_from_slice(text.as_bytes()))],
            (None, None, None) => Vec::new(),
        }
    }

    /// The body when it can be sent at once, with its exact length.
    pub fn whole_body(&self) -> Option<Bytes> {
        if self.chunks.is_some() || self.end != End::Complete || !self.trailers.is_empty() {
            return None;
        }
        Some(
            self.pieces()
                .into_iter()
                .next()
                .map(|chunk| chunk.bytes)
                .unwrap_or_default(),
        )
    }
}

/// The requests that a reply is for. What is absent matches everything.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Matches {
    /// The request's authority, with or without its port.
    #[serde(default)]
    pub authority: Option<String>,
    /// What the request's path starts with.
    #[serde(default)]
    pub path_prefix: Option<String>,
    /// The request's method.
    #[serde(default)]
    pub method: Option<String>,
}

impl Matches {
    fn matches(&self, method: &str, authority: &str, path: &str) -> bool {
        let host = crate::profile::host(authority);
        self.authority.as_ref().is_none_or(|wanted| {
            wanted.eq_ignore_ascii_case(authority) || wanted.eq_ignore_ascii_case(host)
        }) && self
            .path_prefix
            .as_ref()
            .is_none_or(|prefix| path.starts_with(prefix.as_str()))
            && self
                .method
                .as_ref()
                .is_none_or(|wanted| wanted.eq_ignore_ascii_case(method))
    }
}

/// A number of requests, or `"always"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// So many more requests.
    AtMost(u64),
    /// Until the replies are cleared.
    Always,
}

impl Default for Times {
    fn default() -> Self {
        Self::AtMost(1)
    }
}

impl<'de> Deserialize<'de> for Times {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Count(u64),
            Word(String),
        }
        match Form::deserialize(deserializer)? {
            Form::Count(count) if count > 0 => Ok(Self::AtMost(count)),
            Form::Word(word) if word == "always" => Ok(Self::Always),
            _ => Err(de::Error::custom(
                "`times` is a number above 0, or \"always\"",
            )),
        }
    }
}

/// One piece of a body.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(try_from = "ChunkForm")]
pub struct Chunk {
    /// What is sent.
    pub bytes: Bytes,
    /// Waits before it is sent.
    pub delay_ms: u64,
    /// Waits for this gate before it is sent.
    pub wait_for: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChunkForm {
    data: Option<String>,
    base64: Option<Base64>,
    #[serde(default)]
    delay_ms: u64,
    wait_for: Option<String>,
}

impl TryFrom<ChunkForm> for Chunk {
    type Error = &'static str;

    fn try_from(form: ChunkForm) -> Result<Self, Self::Error> {
        let bytes = match (form.data, form.base64) {
            (Some(text), None) => Bytes::from(text),
            (None, Some(Base64(bytes))) => bytes,
            _ => return Err("a chunk has either `data` or `base64`"),
        };
        Ok(Self {
            bytes,
            delay_ms: form.delay_ms,
            wait_for: form.wait_for,
        })
    }
}

/// Bytes written as Base64.
#[derive(Clone, Debug)]
pub struct Base64(pub Bytes);

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD
            .decode(text)
            .map(|bytes| Self(bytes.into()))
            .map_err(de::Error::custom)
    }
}

/// What happens after the last piece of a body.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum End {
    /// The connection is closed as if the provider had crashed.
    Close,
    /// The body ends as it should.
    #[default]
    Complete,
    /// Nothing more comes, for as long as the client stays.
    Hang,
    /// HTTP/1.1: the connection is reset; HTTP/2: the stream is.
    Reset,
}

/// The replies that wait for their requests, and the gates.
pub struct Script {
    replies: Mutex<Vec<Reply>>,
    gates: Mutex<HashMap<String, watch::Sender<bool>>>,
}

impl Script {
    /// No replies, and every gate closed.
    pub fn new() -> Self {
        Self {
            replies: Mutex::default(),
            gates: Mutex::default(),
        }
    }

    /// Puts replies behind those that are there.
    pub fn append(&self, replies: Vec<Reply>) {
        self.replies().extend(replies);
    }

    /// Forgets all replies that have not been used.
    pub fn clear(&self) {
        self.replies().clear();
    }

    /// How many replies have not been used up.
    pub fn remaining(&self) -> usize {
        self.replies().len()
    }

    /// The first reply for this request; it counts as used.
    ///
    /// Before the request is `whole` only an early reply is taken: a request that is given up
    /// half-way uses none.
    pub fn take(&self, method: &str, authority: &str, path: &str, whole: bool) -> Option<Reply> {
        let mut replies = self.replies();
        let at = replies
            .iter()
            .position(|reply| reply.matches.matches(method, authority, path))?;
        let reply = replies.get_mut(at).filter(|reply| whole || reply.early)?;
        match &mut reply.times {
            Times::Always => Some(reply.clone()),
            Times::AtMost(left) if *left > 1 => {
                *left -= 1;
                Some(reply.clone())
            }
            Times::AtMost(_) => Some(replies.remove(at)),
        }
    }

    /// Opens a gate; it stays open until [`Script::reset`].
    pub fn open(&self, gate: &str) {
        self.gates()
            .entry(gate.to_owned())
            .or_default()
            .send_replace(true);
    }

    /// Completes when the gate is open, or when [`Script::reset`] lets everybody go.
    pub async fn wait(&self, gate: &str) {
        let mut opened = self.gates().entry(gate.to_owned()).or_default().subscribe();
        // An error says that the gate was removed.
        let _removed = opened.wait_for(|open| *open).await;
    }

    /// Forgets replies and gates; whoever waits at a gate passes.
    pub fn reset(&self) {
        self.clear();
        self.gates().clear();
    }

    fn replies(&self) -> MutexGuard<'_, Vec<Reply>> {
        self.replies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn gates(&self) -> MutexGuard<'_, HashMap<String, watch::Sender<bool>>> {
        self.gates.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Script")
            .field("remaining", &self.remaining())
            .finish_non_exhaustive()
    }
}

fn ok() -> u16 {
    200
}
