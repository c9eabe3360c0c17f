//! One request and its reply: record, refuse, follow the script, or answer as the provider would.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version, header};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use hyper::{Request, Response};
use tokio::sync::mpsc;

use crate::answer::{self, Call, Files};
use crate::profile::{Head, Kind, Profile, Profiles, Refusal};
use crate::record::{self, Entry, Handle, Recorder};
use crate::reply::{Outgoing, Piece, Reset};
use crate::says::Says;
use crate::script::{Chunk, Reply, Script};
use crate::tokens::{self, Tokens};
use crate::wire::Connection;

/// What all requests share.
#[derive(Debug)]
pub struct State {
    /// What arrived.
    pub recorder: Arc<Recorder>,
    /// What the tests prescribe.
    pub script: Script,
    /// What the tests want a model to say.
    pub says: Says,
    /// Who answers.
    pub profiles: Profiles,
    /// What was uploaded.
    pub files: Files,
    /// Who can buy access tokens, and those that were given.
    pub tokens: Tokens,
    /// Accepts what no reply may excuse: for measuring a proxy that sends what it should not.
    pub lenient: bool,
}

/// Serves one request; `raw_head` is its head as sent, if it was seen.
///
/// # Errors
///
/// When the client went away, or the script wants it to look as if the provider had.
pub async fn serve(
    state: Arc<State>,
    connection: Arc<Connection>,
    raw_head: Option<Vec<u8>>,
    request: Request<Incoming>,
) -> Result<Response<Outgoing>, Reset> {
    let received = Received::new(&request, raw_head.as_deref());
    let entry = state.recorder.begin(|| received.record(&connection));
    let profile = state.profiles.find(&received.authority);
    let head = received.head();
    let answers = !matches!(head.method, "HEAD");
    let sender = Sender {
        http2: request.version() == Version::HTTP_2,
        answers,
        connection,
    };
    let envelope = match profile.refuse_envelope(&head, &sender.connection) {
        Err(refusal) if !state.lenient => Some(refusal),
        _ => None,
    };
    if let Some(refusal) = &envelope {
        // Recorded now, so that it is known even if the body never ends.
        entry
            .handle()
            .update(|record| record.refused = Some(reason(refusal)));
    }
    let scripted = |whole| match envelope {
        Some(_) => None,
        None => state
            .script
            .take(head.method, head.authority, &received.target, whole),
    };
    let incoming = request.into_body();
    if let Some(reply) = scripted(false) {
        entry.handle().update(|record| record.scripted = true);
        let handle = entry.handle().clone();
        let connection = sender.connection.clone();
        // Whether the rest arrives is on record; nobody waits for it.
        tokio::spawn(async move {
            let _rest = receive(incoming, &handle, &connection).await;
        });
        return follow(state, reply, entry, sender).await;
    }
    let body = receive(incoming, entry.handle(), &sender.connection).await?;
    let accepted = match (profile.dialect, &envelope) {
        (Some(dialect), None) => Some(
            state
                .tokens
                .refuse(&profile, &head)
                .and_then(|()| dialect.accept(&profile, &head, &body)),
        ),
        _ => None,
    };
    let bought = match (profile.tokens, &envelope) {
        (Some(server), None) => Some(state.tokens.look(server, &head, &body)),
        _ => None,
    };
    if !matches!(accepted, Some(Err(_)))
        && !matches!(bought, Some(Err(_)))
        && let Some(reply) = scripted(true)
    {
        entry.handle().update(|record| record.scripted = true);
        return follow(state, reply, entry, sender).await;
    }
    if let Some(bought) = &bought
        && let Err(why) = bought
    {
        let why = format!("{} {}", why.status, why.description);
        entry.handle().update(|record| record.refused = Some(why));
    }
    let result = match (envelope, accepted) {
        (None, None) if bought.is_some() => Ok(state
            .tokens
            .answer(bought.unwrap_or(Ok(tokens::Holder::Machine)))),
        (Some(refusal), _) | (None, Some(Err(refusal))) => Err(refusal),
        (None, Some(Ok(accepted))) => Ok(accepted.answer(head.authority, &state.says)),
        (None, None) => respond(&state, &profile, head, &body, entry.handle().id()),
    };
    let (status, mut headers, body) = match result {
        Ok(answer) => (
            answer.status,
            provider_headers(&profile, &entry),
            Ok(answer),
        ),
        Err(refusal) => {
            entry
                .handle()
                .update(|record| record.refused = Some(reason(&refusal)));
            let mut headers = provider_headers(&profile, &entry);
            if let Kind::Method(methods) = refusal.kind
                && let Ok(value) = HeaderValue::from_str(&methods.join(", "))
            {
                headers.insert(header::ALLOW, value);
            }
            (refusal.status, headers, Err(profile.error_body(&refusal)))
        }
    };
    let (content_type, body) = match body {
        Ok(answer) => (answer.content_type, answer.body),
        Err(error) => (
            Some("application/json"),
            answer::Body::Whole(Bytes::from(error.to_string())),
        ),
    };
    if let Some(content_type) = content_type {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    if status == 204 {
        headers.insert(
            header::ALLOW,
            HeaderValue::from_static("GET, POST, DELETE, OPTIONS"),
        );
    }
    let body = match body {
        answer::Body::Whole(bytes) => Content::Whole(bytes),
        answer::Body::Events(events) => Content::Pieces(
            events
                .into_iter()
                .map(|bytes| Chunk {
                    bytes,
                    ..Chunk::default()
                })
                .collect(),
            Piece::End(crate::script::End::Complete),
        ),
    };
    Ok(sender.send(state, status, headers, body, entry))
}

/// What the provider makes of a request whose envelope is in order.
fn respond(
    state: &State,
    profile: &Profile,
    head: Head<'_>,
    body: &[u8],
    request_id: u64,
) -> Result<answer::Answer, Refusal> {
    let Some(operation) = profile.operation(&head)? else {
        return Ok(answer::Answer {
            status: 204,
            content_type: None,
            body: answer::Body::Whole(Bytes::new()),
        });
    };
    profile.refuse_key(&head)?;
    answer::answer(
        &operation,
        Call {
            profile,
            head,
            body,
            says: &state.says,
        },
        &state.files,
        request_id,
    )
}

/// Answers as scripted.
async fn follow(
    state: Arc<State>,
    reply: Reply,
    mut entry: Entry,
    sender: Sender,
) -> Result<Response<Outgoing>, Reset> {
    pause(&state.script, reply.delay_ms, reply.wait_for.as_deref()).await;
    if reply.hang_before_headers {
        std::future::pending::<()>().await;
    }
    if reply.reset_before_headers {
        entry.finish();
        sender.connection.ending.reset_when_closed();
        return Err(Reset);
    }
    let headers = header_map(&reply.headers).unwrap_or_default();
    let content = match reply.whole_body() {
        Some(bytes) => Content::Whole(bytes),
        None => {
            let trailers = header_map(&reply.trailers).unwrap_or_default();
            let end = match trailers.is_empty() {
                true => Piece::End(reply.end),
                false => Piece::Trailers(trailers),
            };
            Content::Pieces(reply.pieces(), end)
        }
    };
    Ok(sender.send(state, reply.status, headers, content, entry))
}

async fn pause(script: &Script, delay_ms: u64, gate: Option<&str>) {
    if delay_ms > 0 {
        tokio::time::sleep(Duration::from_millis(delay_ms)).await;
    }
    if let Some(gate) = gate {
        script.wait(gate).await;
    }
}

/// Takes in the whole body.
async fn receive(
    mut body: Incoming,
    handle: &Handle,
    connection: &Connection,
) -> Result<Bytes, Reset> {
    let mut pieces = Vec::new();
    while !body.is_end_stream() {
        let Some(frame) = body.frame().await else {
            break;
        };
        // An error says that the client went away, or that its framing was wrong.
        match frame.map_err(|_gone| Reset)?.into_data() {
            Ok(data) => {
                handle.push_body(&data);
                pieces.push(data);
            }
            Err(frame) => {
                let trailers = frame.into_trailers().unwrap_or_default();
                let text =
                    |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
                let trailers = trailers
                    .iter()
                    .map(|(name, value)| (name.to_string(), text(value)));
                let trailers: Vec<_> = trailers.collect();
                handle.update(|record| record.trailers = trailers);
            }
        }
    }
    connection.expect_head();
    handle.update(|record| record.body_complete = true);
    Ok(match <[Bytes; 1]>::try_from(pieces) {
        Ok([only]) => only,
        Err(pieces) => pieces.concat().into(),
    })
}

/// The headers of a scripted reply.
///
/// # Errors
///
/// If a name or a value cannot be a header's.
pub fn header_map(headers: &[(String, String)]) -> Result<HeaderMap, http::Error> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(HeaderName::try_from(name)?, HeaderValue::try_from(value)?);
    }
    Ok(map)
}

/// Headers such as a provider's edge adds; a proxy must pass some and cut others.
fn provider_headers(profile: &Profile, entry: &Entry) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("x-request-id", HeaderValue::from(entry.handle().id()));
    headers.insert(
        "x-ratelimit-remaining-requests",
        HeaderValue::from_static("9999"),
    );
    if profile.tls_only {
        headers.insert(
            header::SET_COOKIE,
            HeaderValue::from_static("__cf_bm=mock; path=/; HttpOnly; Secure"),
        );
    }
    headers
}

fn reason(refusal: &Refusal) -> String {
    format!("{} {}", refusal.status, refusal.message)
}

/// A reply's body before it is on its way.
enum Content {
    Pieces(Vec<Chunk>, Piece),
    Whole(Bytes),
}

/// How a reply goes out.
struct Sender {
    http2: bool,
    /// A reply to this method may have a body.
    answers: bool,
    connection: Arc<Connection>,
}

impl Sender {
    fn send(
        self,
        state: Arc<State>,
        status: u16,
        headers: HeaderMap,
        content: Content,
        entry: Entry,
    ) -> Response<Outgoing> {
        entry.handle().update(|record| record.status = Some(status));
        // Bodies of these are never asked for, and would look as if the client had gone.
        let bodiless = !self.answers || matches!(status, 204 | 304);
        let body = match content {
            _ if bodiless => Outgoing::whole(Bytes::new(), entry, self.connection),
            Content::Whole(bytes) => Outgoing::whole(bytes, entry, self.connection),
            Content::Pieces(chunks, end) => {
                let (sender, receiver) = mpsc::channel(1);
                tokio::spawn(async move {
                    for chunk in chunks {
                        tokio::select! {
                            () = sender.closed() => return,
                            () = pause(&state.script, chunk.delay_ms, chunk.wait_for.as_deref()) => {}
                        }
                        if sender.send(Piece::Data(chunk.bytes)).await.is_err() {
                            return;
                        }
                    }
                    // Nobody listens: the client has gone.
                    let _gone = sender.send(end).await;
                });
                Outgoing::pieces(receiver, self.http2, entry, self.connection)
            }
        };
        let mut response = Response::new(body);
        *response.status_mut() =
            StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        *response.headers_mut() = headers;
        response
    }
}

/// A request's head, as it came.
struct Received {
    version: &'static str,
    method: String,
    authority: String,
    target: String,
    headers: Vec<(String, String)>,
}

impl Received {
    fn new(request: &Request<Incoming>, raw_head: Option<&[u8]>) -> Self {
        let method = request.method().as_str();
        let seen = raw_head.and_then(|head| parse_head(head, method));
        let (target, headers) = seen.unwrap_or_else(|| {
            let headers = request
                .headers()
                .iter()
                .map(|(name, value)| (name.as_str().to_owned(), lossy(value.as_bytes())))
                .collect();
            let target = request.uri().path_and_query().map(ToString::to_string);
            (target.unwrap_or_default(), headers)
        });
        let authority = request
            .uri()
            .authority()
            .map(ToString::to_string)
            .or_else(|| {
                headers
                    .iter()
                    .find(|header| header.0 == "host")
                    .map(|header| header.1.clone())
            });
        Self {
            version: if request.version() == Version::HTTP_2 {
                "HTTP/2.0"
            } else {
                "HTTP/1.1"
            },
            method: method.to_owned(),
            authority: authority.unwrap_or_default(),
            target,
            headers,
        }
    }

    fn head(&self) -> Head<'_> {
        let (path, query) = match self.target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (self.target.as_str(), None),
        };
        Head {
            method: &self.method,
            authority: &self.authority,
            path,
            query,
            headers: &self.headers,
        }
    }

    fn record(&self, connection: &Connection) -> record::Request {
        record::Request {
            connection: connection.id,
            tls: connection.tls,
            sni: connection.sni.clone(),
            alpn: connection.alpn.clone(),
            version: self.version.to_owned(),
            method: self.method.clone(),
            authority: self.authority.clone(),
            path: self.target.clone(),
            headers: self.headers.clone(),
            ..record::Request::default()
        }
    }
}

/// A request that hyper would not parse, so that a test sees why it has failed.
pub fn record_malformed(state: &State, connection: &Connection, error: &str) {
    let head = connection.take_broken_head();
    let text = lossy(&head);
    let mut line = text.lines().next().unwrap_or_default().split(' ');
    let mut entry = state.recorder.begin(|| record::Request {
        connection: connection.id,
        tls: connection.tls,
        sni: connection.sni.clone(),
        alpn: connection.alpn.clone(),
        version: "HTTP/1.1".to_owned(),
        method: line.next().unwrap_or_default().to_owned(),
        path: line.next().unwrap_or_default().to_owned(),
        headers: parse_headers(&head),
        refused: Some(format!("400 malformed: {error}")),
        ..record::Request::default()
    });
    entry.finish();
}

/// The target and the headers of a request's head, if it is that of a `method` request.
fn parse_head(head: &[u8], method: &str) -> Option<(String, Vec<(String, String)>)> {
    let line = lossy(head.split(|&byte| byte == b'\n').next()?);
    let target = line
        .strip_prefix(method)?
        .strip_prefix(' ')?
        .split(' ')
        .next()?;
    // An absolute target (RFC 9112, section 3.2.2) is left to hyper.
    target
        .starts_with(['/', '*'])
        .then(|| (target.to_owned(), parse_headers(head)))
}

fn parse_headers(head: &[u8]) -> Vec<(String, String)> {
    head.split(|&byte| byte == b'\n')
        .skip(1)
        .filter_map(|line| {
            let colon = line.iter().position(|&byte| byte == b':')?;
            let (name, value) = line.split_at_checked(colon)?;
            let value = value.get(1..)?.trim_ascii();
            Some((lossy(name).to_ascii_lowercase(), lossy(value)))
        })
        .collect()
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
