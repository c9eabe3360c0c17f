//! The load: connections that ask, read the whole answer, and ask again.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::dialect::Dialect;
use crate::provider;
use crate::workload::{Answer, Workload};

/// In whose words a request is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Words {
    /// OpenAI's.
    Client,
    /// The provider's.
    Provider,
}

/// Sends so many requests, over as many connections as the workload has, and reads the answers.
pub async fn run(to: SocketAddr, workload: &Workload, words: Words, requests: usize) -> Result<()> {
    let left = Arc::new(AtomicUsize::new(requests));
    let mut connections = JoinSet::new();
    for _ in 0..workload.connections.min(requests) {
        let left = Arc::clone(&left);
        let request = request(workload, words)?;
        connections.spawn(async move {
            let mut sender = connect(to).await?;
            let take_one = |left: usize| left.checked_sub(1);
            while left
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take_one)
                .is_ok()
            {
                ask(&mut sender, request.clone()).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(connection) = connections.join_next().await {
        connection??;
    }
    Ok(())
}

/// Sends one request, of which the provider keeps a record, and returns the answer.
pub async fn run_recorded(to: SocketAddr, workload: &Workload, words: Words) -> Result<Bytes> {
    let mut request = request(workload, words)?;
    request
        .headers_mut()
        .insert(provider::RECORD, "yes".parse()?);
    let mut sender = connect(to).await?;
    sender.ready().await?;
    let answer = sender.send_request(request).await?;
    let status = answer.status();
    let body = answer.into_body().collect().await?.to_bytes();
    ensure!(
        status == StatusCode::OK,
        "Envoy answered {status}: {}",
        String::from_utf8_lossy(&body)
    );
    Ok(body)
}

async fn connect(to: SocketAddr) -> Result<SendRequest<Full<Bytes>>> {
    let stream = TcpStream::connect(to)
        .await
        .context("connecting to Envoy")?;
    stream.set_nodelay(true)?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    // It ends with its sender.
    tokio::spawn(connection);
    Ok(sender)
}

async fn ask(sender: &mut SendRequest<Full<Bytes>>, request: Request<Full<Bytes>>) -> Result<()> {
    sender.ready().await?;
    let answer = sender.send_request(request).await?;
    let status = answer.status();
    let mut body = answer.into_body();
    while let Some(frame) = body.frame().await {
        frame?;
    }
    ensure!(status == StatusCode::OK, "Envoy answered {status}");
    Ok(())
}

/// A chat request with the headers of the OpenAI SDK for Python.
fn request(workload: &Workload, words: Words) -> Result<Request<Full<Bytes>>> {
    let is_stream = workload.answer == Answer::Stream;
    let (dialect, body) = match words {
        Words::Client => (Dialect::OpenAi, &workload.body),
        Words::Provider => (workload.dialect, &workload.native),
    };
    let mut request = Request::post(dialect.path(is_stream));
    for (name, value) in [
        ("host", workload.gateway_host()),
        ("accept-encoding", "gzip, deflate"),
        ("accept", "application/json"),
        ("content-type", "application/json"),
        ("user-agent", "OpenAI/Python 2.8.0"),
        ("x-stainless-lang", "python"),
        ("x-stainless-package-version", "2.8.0"),
        ("x-stainless-os", "Linux"),
        ("x-stainless-arch", "x64"),
        ("x-stainless-runtime", "CPython"),
        ("x-stainless-runtime-version", "3.11.2"),
        ("authorization", CREDENTIAL),
        ("x-stainless-async", "false"),
        ("x-stainless-retry-count", "0"),
        ("x-stainless-read-timeout", "600"),
    ] {
        request = request.header(name, value);
    }
    if is_stream {
        request = request.header(provider::STREAM, "yes");
    }
    Ok(request.body(Full::new(body.clone()))?)
}

/// What the client calls itself by; the module must not let it pass.
pub const CREDENTIAL: &str = "Bearer sk-client-0123456789abcdef0123456789abcdef";
