//! What arrived: every request and every connection, kept for the tests to read.
//!
//! A request is recorded when its head has arrived and changes while its body and its reply pass, so
//! that a test also sees the requests that were given up half-way.
//!
//! Memory: at most [`Limits::requests`] requests, at most [`Limits::body_bytes`] of each body and
//! [`TOTAL_BODY_BYTES`] of all; the oldest go first.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::watch;

/// How much is kept.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Requests kept; 0 records none.
    pub requests: usize,
    /// Bytes kept of each request's body.
    pub body_bytes: usize,
}

/// One request, as it came and as far as it got.
#[derive(Debug, Default)]
pub struct Request {
    /// Counts from 1 and never repeats, also after the list was cleared.
    pub id: u64,
    /// The [`crate::wire::Connection::id`] that it came on.
    pub connection: u64,
    /// Came through the TLS listener.
    pub tls: bool,
    /// The name asked for in the handshake.
    pub sni: Option<String>,
    /// The protocol chosen in the handshake.
    pub alpn: Option<String>,
    /// `HTTP/1.1` or `HTTP/2.0`.
    pub version: String,
    /// As sent.
    pub method: String,
    /// `host` or `:authority`, port included if it was sent.
    pub authority: String,
    /// Path and query, as sent.
    pub path: String,
    /// Names in lower case, in the order received; HTTP/2 pseudo-headers are not among them.
    pub headers: Vec<(String, String)>,
    /// What came behind the body, as above.
    pub trailers: Vec<(String, String)>,
    /// The body, up to the limit.
    pub body: Vec<Bytes>,
    /// Length of the body received, also of what is not kept.
    pub body_bytes: usize,
    /// The whole body arrived.
    pub body_complete: bool,
    /// `body` is shorter than what was received.
    pub body_truncated: bool,
    /// Status and reason, if the provider would not have it.
    pub refused: Option<String>,
    /// A scripted reply answered.
    pub scripted: bool,
    /// The reply's status, once it was sent.
    pub status: Option<u16>,
    /// Frames of the reply's body that were sent.
    pub chunks_sent: u64,
    /// The client went away before the reply was finished.
    pub disconnected: bool,
    /// Nothing will happen to this request any more.
    pub ended: bool,
}

impl Request {
    /// The record as the control API shows it.
    pub fn to_json(&self, with_body: bool) -> Value {
        let mut value = json!({
            "id": self.id,
            "connection": self.connection,
            "tls": self.tls,
            "sni": self.sni,
            "alpn": self.alpn,
            "version": self.version,
            "method": self.method,
            "authority": self.authority,
            "path": self.path,
            "headers": self.headers,
            "trailers": self.trailers,
            "body_bytes": self.body_bytes,
            "body_complete": self.body_complete,
            "body_truncated": self.body_truncated,
            "refused": self.refused,
            "scripted": self.scripted,
            "status": self.status,
            "chunks_sent": self.chunks_sent,
            "disconnected": self.disconnected,
            "ended": self.ended,
        });
        if let Some(members) = value.as_object_mut().filter(|_| with_body) {
            members.insert(
                "body_base64".into(),
                STANDARD.encode(self.body.concat()).into(),
            );
        }
        value
    }

    fn kept_bytes(&self) -> usize {
        self.body.iter().map(Bytes::len).sum()
    }
}

/// One connection to the provider's listeners.
#[derive(Debug)]
struct Connection {
    id: u64,
    tls: bool,
    sni: Option<String>,
    alpn: Option<String>,
    /// Why the handshake or the protocol failed.
    error: Option<String>,
    open: bool,
}

/// Everything recorded.
#[derive(Debug)]
pub struct Recorder {
    limits: Limits,
    log: Mutex<Log>,
    changes: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Log {
    /// Ids are consecutive: ids are given here, and only the front is ever removed.
    requests: VecDeque<Request>,
    connections: VecDeque<Connection>,
    last_request: u64,
    last_connection: u64,
    /// Of all `requests`.
    body_bytes: usize,
}

impl Log {
    fn request_mut(&mut self, id: u64) -> Option<&mut Request> {
        let first = self.requests.front()?.id;
        self.requests
            .get_mut(usize::try_from(id.checked_sub(first)?).ok()?)
    }
}

impl Recorder {
    /// An empty record.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            log: Mutex::default(),
            changes: watch::Sender::new(()),
        }
    }

    /// Records a request whose head has arrived; its `id` is given here.
    pub fn begin(self: &Arc<Self>, request: impl FnOnce() -> Request) -> Entry {
        let mut log = self.lock();
        log.last_request += 1;
        let id = log.last_request;
        if self.limits.requests > 0 {
            if log.requests.len() >= self.limits.requests
                && let Some(oldest) = log.requests.pop_front()
            {
                log.body_bytes -= oldest.kept_bytes();
            }
            log.requests.push_back(Request { id, ..request() });
            drop(log);
            self.changes.send_replace(());
        }
        Entry {
            handle: Handle {
                recorder: self.clone(),
                id,
            },
            finished: false,
        }
    }

    /// Records a connection and gives it its id.
    pub fn connect(&self, tls: bool) -> u64 {
        let mut log = self.lock();
        log.last_connection += 1;
        let id = log.last_connection;
        if log.connections.len() >= MAX_CONNECTIONS {
            log.connections.pop_front();
        }
        log.connections.push_back(Connection {
            id,
            tls,
            sni: None,
            alpn: None,
            error: None,
            open: true,
        });
        drop(log);
        self.changes.send_replace(());
        id
    }

    /// What the handshake of connection `id` said.
    pub fn handshake(&self, id: u64, sni: Option<String>, alpn: Option<String>) {
        self.update_connection(id, |connection| {
            connection.sni = sni;
            connection.alpn = alpn;
        });
    }

    /// Connection `id` has ended, perhaps because of `error`.
    pub fn disconnect(&self, id: u64, error: Option<String>) {
        self.update_connection(id, |connection| {
            connection.open = false;
            connection.error = error;
        });
    }

    /// Forgets requests and connections; ids go on, and open connections stay listed.
    pub fn clear(&self) {
        let mut log = self.lock();
        log.requests.clear();
        log.body_bytes = 0;
        log.connections.retain(|connection| connection.open);
        drop(log);
        self.changes.send_replace(());
    }

    /// The requests as JSON, oldest first, as soon as there are `at_least` so many.
    pub async fn requests(&self, at_least: usize, with_bodies: bool) -> Value {
        self.when(|log| {
            (log.requests.len() >= at_least).then(|| {
                log.requests
                    .iter()
                    .map(|request| request.to_json(with_bodies))
                    .collect()
            })
        })
        .await
    }

    /// Request `id` as JSON, as soon as `until` holds; `None` when there is no such request.
    pub async fn request(&self, id: u64, until: impl Fn(&Request) -> bool) -> Option<Value> {
        self.when(|log| match log.request_mut(id) {
            Some(request) => until(request).then(|| Some(request.to_json(true))),
            None => Some(None),
        })
        .await
    }

    /// The connections as JSON, oldest first, with how many there were.
    pub fn connections(&self) -> Value {
        let log = self.lock();
        let list: Vec<Value> = log
            .connections
            .iter()
            .map(|connection| {
                json!({
                    "id": connection.id,
                    "tls": connection.tls,
                    "sni": connection.sni,
                    "alpn": connection.alpn,
                    "error": connection.error,
                    "open": connection.open,
                })
            })
            .collect();
        json!({
            "total": log.last_connection,
            "open": log.connections.iter().filter(|connection| connection.open).count(),
            "requests_total": log.last_request,
            "connections": list,
        })
    }

    /// Looks again after each change until `look` finds what it waits for.
    async fn when<T>(&self, look: impl Fn(&mut Log) -> Option<T>) -> T {
        let mut changes = self.changes.subscribe();
        loop {
            if let Some(found) = look(&mut self.lock()) {
                return found;
            }
            if changes.changed().await.is_err() {
                // The sender is `self.changes`, which outlives this borrow.
                std::future::pending::<()>().await;
            }
        }
    }

    fn update_connection(&self, id: u64, change: impl FnOnce(&mut Connection)) {
        let mut log = self.lock();
        if let Some(found) = log
            .connections
            .iter_mut()
            .rfind(|connection| connection.id == id)
        {
            change(found);
        }
        drop(log);
        self.changes.send_replace(());
    }

    fn lock(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Changes one request's record, if it is still kept.
#[derive(Clone, Debug)]
pub struct Handle {
    recorder: Arc<Recorder>,
    id: u64,
}

impl Handle {
    /// Counts requests from 1, whether or not they are kept.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Changes the record.
    pub fn update(&self, change: impl FnOnce(&mut Request)) {
        if self.recorder.limits.requests == 0 {
            return;
        }
        if let Some(request) = self.recorder.lock().request_mut(self.id) {
            change(request);
        }
        self.recorder.changes.send_replace(());
    }

    /// Adds a piece of the request's body.
    pub fn push_body(&self, piece: &Bytes) {
        if self.recorder.limits.requests == 0 {
            return;
        }
        let mut log = self.recorder.lock();
        let log = &mut *log;
        let Some(request) = log.request_mut(self.id) else {
            return;
        };
        let room = self
            .recorder
            .limits
            .body_bytes
            .saturating_sub(request.body_bytes);
        request.body_bytes += piece.len();
        request.body_truncated |= piece.len() > room;
        let kept = piece.slice(..piece.len().min(room));
        if kept.is_empty() {
            return;
        }
        let kept_bytes = kept.len();
        request.body.push(kept);
        log.body_bytes += kept_bytes;
        let mut oldest = log.requests.iter_mut();
        while log.body_bytes > TOTAL_BODY_BYTES
            && let Some(request) = oldest.next()
        {
            log.body_bytes -= request.kept_bytes();
            request.body_truncated |= !request.body.is_empty();
            request.body = Vec::new();
        }
    }
}

/// The right to say how a request ended.
///
/// Dropped before [`Entry::finish`], it records that the client went away: hyper drops what serves
/// a request when the request's stream or connection ends.
#[derive(Debug)]
pub struct Entry {
    handle: Handle,
    finished: bool,
}

impl Entry {
    /// The record of this request.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// The reply was given to the connection whole, or ended as the script says.
    pub fn finish(&mut self) {
        if !std::mem::replace(&mut self.finished, true) {
            self.handle.update(|request| request.ended = true);
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if !self.finished {
            self.handle.update(|request| {
                request.disconnected = true;
                request.ended = true;
            });
        }
    }
}

/// Body bytes kept of all requests together.
pub const TOTAL_BODY_BYTES: usize = 512 << 20;

const MAX_CONNECTIONS: usize = 10_000;
