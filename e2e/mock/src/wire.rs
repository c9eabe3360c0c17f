//! Connections as bytes: what hyper does not tell, and how to end a connection rudely.
//!
//! hyper drops a `content-length` that stands beside a `transfer-encoding`, merges repeated
//! `content-length` headers, and groups headers of one name. The tests want to know what really
//! came over the wire, so [`Watched`] keeps a copy of each HTTP/1.1 request head as it passes. It
//! knows where a head begins because it is told when the body before it has ended; a client that
//! pipelines is therefore seen through hyper's eyes only.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Notify;

/// One accepted connection, after its handshake.
#[derive(Debug)]
pub struct Connection {
    /// Counts from 1, over all listeners of the provider.
    pub id: u64,
    /// Came through the TLS listener.
    pub tls: bool,
    /// The name that the client asked for; `None` without TLS, or for an address.
    pub sni: Option<String>,
    /// The protocol that the handshake chose.
    pub alpn: Option<String>,
    /// Ending the connection, shared with the [`Socket`] beneath it.
    pub ending: Arc<Ending>,
    head: Mutex<Head>,
    flushes: AtomicU64,
    flush_waiters: Mutex<Vec<Waker>>,
}

impl Connection {
    /// A connection that expects its first request.
    pub fn new(
        id: u64,
        tls: bool,
        sni: Option<String>,
        alpn: Option<String>,
        ending: Arc<Ending>,
    ) -> Self {
        Self {
            id,
            tls,
            sni,
            alpn,
            ending,
            head: Mutex::new(Head::Expected(Vec::new())),
            flushes: AtomicU64::new(0),
            flush_waiters: Mutex::default(),
        }
    }

    /// The head that came last, as sent, once; `None` if it was not seen whole.
    pub fn take_head(&self) -> Option<Vec<u8>> {
        match std::mem::replace(&mut *self.lock(), Head::Unexpected) {
            Head::Seen(bytes) => Some(bytes),
            Head::Expected(_) | Head::Unexpected => None,
        }
    }

    /// What has come of a head that could not be parsed, for the record.
    pub fn take_broken_head(&self) -> Vec<u8> {
        match std::mem::replace(&mut *self.lock(), Head::Unexpected) {
            Head::Expected(bytes) | Head::Seen(bytes) => bytes,
            Head::Unexpected => Vec::new(),
        }
    }

    /// The request's body has ended: what comes next is a head.
    pub fn expect_head(&self) {
        *self.lock() = Head::Expected(Vec::new());
    }

    /// How often everything written so far went to the socket.
    pub fn flushes(&self) -> u64 {
        self.flushes.load(Ordering::Acquire)
    }

    /// Ready when everything written so far went to the socket at least once since `flushes` said
    /// `seen`.
    pub fn poll_flushed(&self, cx: &Context<'_>, seen: u64) -> Poll<()> {
        // Registered before the count is read, so that no flush is missed.
        self.flush_waiters().push(cx.waker().clone());
        if self.flushes() == seen {
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    }

    fn flushed(&self) {
        self.flushes.fetch_add(1, Ordering::AcqRel);
        let waiters = std::mem::take(&mut *self.flush_waiters());
        waiters.into_iter().for_each(Waker::wake);
    }

    fn flush_waiters(&self) -> MutexGuard<'_, Vec<Waker>> {
        self.flush_waiters
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Head> {
        self.head.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What [`Watched`] makes of the bytes that it reads next.
#[derive(Debug)]
enum Head {
    /// They belong to a head, of which this much has come.
    Expected(Vec<u8>),
    /// They belong to a body; this head has not been taken yet.
    Seen(Vec<u8>),
    /// They belong to a body, or the head was too large to keep.
    Unexpected,
}

impl Head {
    fn push(&mut self, bytes: &[u8]) {
        let Self::Expected(head) = self else { return };
        // The end may straddle two reads.
        let from = head.len().saturating_sub(END_OF_HEAD.len() - 1);
        head.extend_from_slice(bytes);
        let end = head
            .get(from..)
            .and_then(|tail| memchr::memmem::find(tail, END_OF_HEAD))
            .map(|at| from + at + END_OF_HEAD.len());
        if let Some(end) = end {
            head.truncate(end);
            *self = Self::Seen(std::mem::take(head));
        } else if head.len() > MAX_HEAD_BYTES {
            *self = Self::Unexpected;
        }
    }
}

/// How a connection is to end, if not by itself.
#[derive(Debug, Default)]
pub struct Ending {
    close: Notify,
    reset: AtomicBool,
}

impl Ending {
    /// Ends the connection now, as a crash would: neither a last chunk nor `close_notify`.
    pub fn close(&self) {
        self.close.notify_one();
    }

    /// The socket will send RST instead of FIN when it is closed.
    pub fn reset_when_closed(&self) {
        self.reset.store(true, Ordering::Release);
    }

    /// Completes after [`Ending::close`].
    pub async fn closed(&self) {
        self.close.notified().await;
    }
}

/// A stream of plain HTTP bytes, watched on its way to hyper.
#[derive(Debug)]
pub struct Watched<S> {
    stream: S,
    connection: Arc<Connection>,
}

impl<S> Watched<S> {
    /// Watches `stream`, which carries `connection`.
    pub fn new(stream: S, connection: Arc<Connection>) -> Self {
        Self { stream, connection }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        if let Some(read) = buf.filled().get(before..).filter(|read| !read.is_empty()) {
            self.connection.lock().push(read);
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(cx);
        if let Poll::Ready(Ok(())) = polled {
            self.connection.flushed();
        }
        polled
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

/// A TCP socket that can be told to end with RST.
#[derive(Debug)]
pub struct Socket {
    stream: TcpStream,
    ending: Arc<Ending>,
}

impl Socket {
    /// Takes over an accepted socket.
    ///
    /// # Errors
    ///
    /// If the peer has gone already.
    pub fn new(stream: TcpStream, ending: Arc<Ending>) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self { stream, ending })
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if self.ending.reset.load(Ordering::Acquire) {
            // A socket that has gone already needs no RST.
            let _gone = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

const END_OF_HEAD: &[u8] = b"\r\n\r\n";

const MAX_HEAD_BYTES: usize = 1 << 20;
