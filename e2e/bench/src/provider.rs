//! A provider that costs little: it reads the whole request and gives a fixed answer.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Either, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::dialect::Dialect;
use crate::workload::{CHUNKS, PACE_MS};

/// The running provider; it ends with the runtime.
pub struct Provider {
    address: SocketAddr,
    recorded: Recorded,
}

/// A request as it arrived.
#[derive(Debug)]
pub struct Record {
    /// The path, with its query.
    pub path: String,
    /// The headers, `host` among them.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

impl Provider {
    /// Listens on a free port of the loopback interface.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let recorded = Recorded::default();
        let records = Arc::clone(&recorded);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // A socket that is already gone has no answer to delay.
                stream.set_nodelay(true).ok();
                let records = Arc::clone(&records);
                let service = service_fn(move |request| answer(request, Arc::clone(&records)));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Ok(Self { address, recorded })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes the record of the last request that asked for one.
    pub fn take_record(&self) -> Option<Record> {
        let mut recorded = self.recorded.lock().unwrap_or_else(PoisonError::into_inner);
        recorded.take()
    }
}

type Recorded = Arc<Mutex<Option<Record>>>;

async fn answer(
    request: Request<Incoming>,
    recorded: Recorded,
) -> Result<Response<Either<Full<Bytes>, PacedStream>>, hyper::Error> {
    let (head, mut body) = request.into_parts();
    let is_stream = head.headers.contains_key(STREAM);
    let dialect = Dialect::of_path(head.uri.path());
    if head.headers.contains_key(RECORD) {
        let record = Record {
            path: head.uri.to_string(),
            headers: head.headers,
            body: body.collect().await?.to_bytes(),
        };
        let mut recorded = recorded.lock().unwrap_or_else(PoisonError::into_inner);
        *recorded = Some(record);
    } else {
        while let Some(frame) = body.frame().await {
            frame?;
        }
    }

    let (content_type, body) = match is_stream {
        true => (
            "text/event-stream; charset=utf-8",
            Either::Right(PacedStream::new(dialect)),
        ),
        false => (
            "application/json",
            Either::Left(Full::from(dialect.completion().as_bytes())),
        ),
    };
    let mut answer = Response::new(body);
    for (name, value) in HEADERS.into_iter().chain([("content-type", content_type)]) {
        let value = HeaderValue::from_static(value);
        answer.headers_mut().insert(name, value);
    }
    Ok(answer)
}

/// The events of a streamed answer, each as its own chunk, and time between them.
struct PacedStream {
    dialect: Dialect,
    ticks: Interval,
    sent: usize,
}

impl PacedStream {
    fn new(dialect: Dialect) -> Self {
        let mut ticks = interval(Duration::from_millis(PACE_MS));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            dialect,
            ticks,
            sent: 0,
        }
    }
}

impl Body for PacedStream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.sent == CHUNKS {
            return Poll::Ready(None);
        }
        ready!(self.ticks.poll_tick(context));
        let event = self.dialect.event(self.sent);
        self.sent += 1;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(event.as_bytes())))))
    }
}

/// The header by which a request asks for a stream. In the body it would have to be looked for.
pub const STREAM: &str = "x-bench-stream";

/// The header by which a request asks to be recorded.
pub const RECORD: &str = "x-bench-record";

/// What OpenAI sends along. The others send about as much.
const HEADERS: [(&str, &str); 12] = [
    ("openai-organization", "example"),
    ("openai-processing-ms", "412"),
    ("openai-version", "2020-10-01"),
    ("server", "provider"),
    (
        "strict-transport-security",
        "max-age=31536000; includeSubDomains; preload",
    ),
    ("x-content-type-options", "nosniff"),
    ("x-ratelimit-limit-requests", "10000"),
    ("x-ratelimit-limit-tokens", "200000"),
    ("x-ratelimit-remaining-requests", "9999"),
    ("x-ratelimit-remaining-tokens", "199812"),
    ("x-ratelimit-reset-requests", "8.64s"),
    ("x-request-id", "req_0123456789abcdef0123456789abcdef"),
];
