//! Server-sent events: bytes in, events out.

/// One event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// The `event` field; empty where there is none.
    pub name: &'a str,
    /// The `data` lines, joined by a line feed.
    pub data: &'a str,
}
