//! The listeners, and what becomes of each connection.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::server::Acceptor;
use tokio_rustls::{LazyConfigAcceptor, server::TlsStream};

use crate::answer::Files;
use crate::exchange::{self, State};
use crate::profile::Profiles;
use crate::record::{Limits, Recorder};
use crate::says::Says;
use crate::script::Script;
use crate::tokens::Tokens;
use crate::wire::{Connection, Ending, Socket, Watched};
use crate::{control, tls};

/// What a server is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where plain HTTP/1.1 and HTTP/2 (prior knowledge) are spoken.
    pub plain: SocketAddr,
    /// Where TLS is spoken.
    pub tls: SocketAddr,
    /// Where the control API is.
    pub control: SocketAddr,
    /// Where the certificate to trust is written.
    pub ca_out: Option<PathBuf>,
    /// Names for which a certificate of another name is presented.
    pub wrong_names: Vec<String>,
    /// How much is recorded.
    pub limits: Limits,
    /// See [`State::lenient`].
    pub lenient: bool,
}

/// A running server; it runs for as long as its runtime does.
#[derive(Clone, Debug)]
pub struct Server {
    /// Where plain HTTP is spoken.
    pub plain: SocketAddr,
    /// Where TLS is spoken.
    pub tls: SocketAddr,
    /// Where the control API is.
    pub control: SocketAddr,
}

impl Server {
    /// Listens, and serves from then on.
    ///
    /// # Errors
    ///
    /// If an address is taken or the certificate cannot be written.
    pub async fn start(options: Options) -> anyhow::Result<Self> {
        let authority = Arc::new(tls::Authority::new(options.wrong_names)?);
        let ca_pem: Arc<str> = authority.pem().into();
        if let Some(path) = &options.ca_out {
            std::fs::write(path, ca_pem.as_bytes())
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        let tls_config = tls::server_config(authority)?;
        let state = Arc::new(State {
            recorder: Arc::new(Recorder::new(options.limits)),
            script: Script::new(),
            says: Says::default(),
            profiles: Profiles::new(),
            files: Files::default(),
            tokens: Tokens::default(),
            lenient: options.lenient,
        });
        let (plain, plain_at) = listen(options.plain).await?;
        let (tls, tls_at) = listen(options.tls).await?;
        let (control, control_at) = listen(options.control).await?;

        let shared = state.clone();
        accept(plain, move |stream| {
            plain_connection(stream, shared.clone())
        });
        let shared = state.clone();
        accept(tls, move |stream| {
            tls_connection(stream, tls_config.clone(), shared.clone())
        });
        accept(control, move |stream| {
            control_connection(stream, ca_pem.clone(), state.clone())
        });
        Ok(Self {
            plain: plain_at,
            tls: tls_at,
            control: control_at,
        })
    }
}

async fn listen(address: SocketAddr) -> anyhow::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}"))?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// Serves each connection in a task of its own.
fn accept<F>(listener: TcpListener, serve: impl Fn(TcpStream) -> F + Send + 'static)
where
    F: Future<Output = ()> + Send + 'static,
{
    tokio::spawn(async move {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => drop(tokio::spawn(serve(stream))),
                // Too many open files: some will be closed.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    });
}

async fn plain_connection(stream: TcpStream, state: Arc<State>) {
    let id = state.recorder.connect(false);
    let ending = Arc::new(Ending::default());
    let error = match Socket::new(stream, ending.clone()) {
        Ok(socket) => {
            let connection = Arc::new(Connection::new(id, false, None, None, ending));
            http_connection(socket, connection, state.clone()).await
        }
        Err(error) => Some(error.to_string()),
    };
    state.recorder.disconnect(id, error);
}

async fn tls_connection(stream: TcpStream, config: Arc<ServerConfig>, state: Arc<State>) {
    let id = state.recorder.connect(true);
    let ending = Arc::new(Ending::default());
    let error = match handshake(stream, config, id, &state, ending.clone()).await {
        Ok(stream) => {
            let (_, session) = stream.get_ref();
            let sni = session.server_name().map(str::to_owned);
            let alpn = session
                .alpn_protocol()
                .map(|protocol| String::from_utf8_lossy(protocol).into_owned());
            state.recorder.handshake(id, sni.clone(), alpn.clone());
            let connection = Arc::new(Connection::new(id, true, sni, alpn, ending));
            http_connection(stream, connection, state.clone()).await
        }
        Err(error) => Some(error.to_string()),
    };
    state.recorder.disconnect(id, error);
}

/// In two steps, so that the name asked for is on record even if the client then gives up.
async fn handshake(
    stream: TcpStream,
    config: Arc<ServerConfig>,
    id: u64,
    state: &State,
    ending: Arc<Ending>,
) -> io::Result<TlsStream<Socket>> {
    let socket = Socket::new(stream, ending)?;
    let start = LazyConfigAcceptor::new(Acceptor::default(), socket).await?;
    let sni = start.client_hello().server_name().map(str::to_owned);
    state.recorder.handshake(id, sni, None);
    start.into_stream(config).await
}

/// Speaks HTTP until the connection ends; returns why, if it was an error.
async fn http_connection<S>(
    stream: S,
    connection: Arc<Connection>,
    state: Arc<State>,
) -> Option<String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let io = TokioIo::new(Watched::new(stream, connection.clone()));
    let service = service_fn(|request| {
        // Here, before anything else is read: what comes next belongs to another head.
        let raw_head = connection.take_head();
        exchange::serve(state.clone(), connection.clone(), raw_head, request)
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http2()
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_header_list_size(MAX_HEADER_LIST_BYTES);
    let serving = builder.serve_connection(io, service);
    let served = tokio::select! {
        served = serving => served,
        () = async {
            connection.ending.closed().await;
            // HTTP/2 writes from another task than the one that asked for the end.
            tokio::time::sleep(Duration::from_millis(10)).await;
        } => return None,
    };
    let error = served.err()?;
    if error
        .downcast_ref::<hyper::Error>()
        .is_some_and(hyper::Error::is_parse)
    {
        exchange::record_malformed(&state, &connection, &error.to_string());
    }
    Some(error.to_string())
}

async fn control_connection(stream: TcpStream, ca_pem: Arc<str>, state: Arc<State>) {
    // A client that goes away without waiting for its answer is its own affair.
    let _gone = auto::Builder::new(TokioExecutor::new())
        .http1_only()
        .serve_connection(
            TokioIo::new(stream),
            service_fn(|request| control::serve(state.clone(), ca_pem.clone(), request)),
        )
        .await;
}

const STREAM_WINDOW_BYTES: u32 = 4 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
const MAX_HEADER_LIST_BYTES: u32 = 1 << 20;
