//! A reply's body on its way out: whole, or piece by piece with an end of the script's choosing.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;

use crate::record::Entry;
use crate::script::End;
use crate::wire::Connection;

/// What is sent next.
#[derive(Debug)]
pub enum Piece {
    /// A frame of its own.
    Data(Bytes),
    /// Nothing more.
    End(End),
    /// Fields after the body, and nothing more.
    Trailers(HeaderMap),
}

/// The body of a reply.
#[derive(Debug)]
pub struct Outgoing {
    content: Content,
    entry: Entry,
    connection: Arc<Connection>,
}

#[derive(Debug)]
enum Content {
    Pieces {
        next: mpsc::Receiver<Piece>,
        /// What was sent last is on the wire when [`Connection::flushes`] is no longer this.
        sent_at: Option<u64>,
        http2: bool,
    },
    Whole(Option<Bytes>),
    /// Nothing more comes: the connection has been told to end, or is left to hang.
    Silent,
}

impl Outgoing {
    /// A body that is sent at once, with its length.
    pub fn whole(bytes: Bytes, mut entry: Entry, connection: Arc<Connection>) -> Self {
        if bytes.is_empty() {
            entry.finish();
        }
        let content = Content::Whole(Some(bytes).filter(|bytes| !bytes.is_empty()));
        Self {
            content,
            entry,
            connection,
        }
    }

    /// A body whose pieces are sent one by one, each after the one before is on the wire.
    pub fn pieces(
        next: mpsc::Receiver<Piece>,
        http2: bool,
        entry: Entry,
        connection: Arc<Connection>,
    ) -> Self {
        // The first thing to reach the wire is the headers.
        let sent_at = Some(connection.flushes());
        Self {
            content: Content::Pieces {
                next,
                sent_at,
                http2,
            },
            entry,
            connection,
        }
    }

    fn end(&mut self, end: End, http2: bool) -> Poll<Option<Result<Frame<Bytes>, Reset>>> {
        match end {
            End::Complete => {
                self.entry.finish();
                self.content = Content::Whole(None);
                Poll::Ready(None)
            }
            End::Hang => {
                self.content = Content::Silent;
                Poll::Pending
            }
            End::Reset if http2 => {
                self.entry.finish();
                Poll::Ready(Some(Err(Reset)))
            }
            End::Close | End::Reset => {
                self.entry.finish();
                if end == End::Reset {
                    self.connection.ending.reset_when_closed();
                }
                self.connection.ending.close();
                self.content = Content::Silent;
                Poll::Pending
            }
        }
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Reset;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Reset>>> {
        let this = self.get_mut();
        let (piece, http2) = match &mut this.content {
            Content::Silent => return Poll::Pending,
            Content::Pieces {
                next,
                sent_at,
                http2,
            } => {
                if let Some(seen) = *sent_at {
                    ready!(this.connection.poll_flushed(cx, seen));
                    *sent_at = None;
                }
                // A producer that went away without saying how to end was cut short.
                let piece = ready!(next.poll_recv(cx)).unwrap_or(Piece::End(End::Close));
                if let Piece::Data(_) = piece {
                    *sent_at = Some(this.connection.flushes());
                }
                (piece, *http2)
            }
            Content::Whole(bytes) => match bytes.take() {
                Some(bytes) => {
                    this.entry.finish();
                    (Piece::Data(bytes), false)
                }
                None => return Poll::Ready(None),
            },
        };
        match piece {
            Piece::Data(bytes) => {
                this.entry
                    .handle()
                    .update(|request| request.chunks_sent += 1);
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Piece::End(end) => this.end(end, http2),
            Piece::Trailers(trailers) => {
                this.entry.finish();
                this.content = Content::Whole(None);
                Poll::Ready(Some(Ok(Frame::trailers(trailers))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.content, Content::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Whole(bytes) => SizeHint::with_exact(
                bytes
                    .as_ref()
                    .map_or(0, |bytes| u64::try_from(bytes.len()).unwrap_or(u64::MAX)),
            ),
            Content::Silent | Content::Pieces { .. } => SizeHint::default(),
        }
    }
}

/// Ends the stream (HTTP/2) or the connection (HTTP/1.1) instead of a reply or in its middle.
#[derive(Clone, Copy, Debug)]
pub struct Reset;

impl fmt::Display for Reset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the script resets this request")
    }
}

impl Error for Reset {}
