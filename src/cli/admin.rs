//! Envoy's admin interface: what `health` and `run` ask of it.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::endpoint::Address;

/// The admin interface of an Envoy of this machine.
#[derive(Clone, Debug)]
pub struct Admin(Address);

/// What it answers.
#[derive(Debug, PartialEq, Eq)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// The body.
    pub body: String,
}

impl Admin {
    /// The interface at an address.
    pub fn new(address: &Address) -> Self {
        Self(address.clone())
    }

    /// Whether Envoy takes requests.
    pub fn is_ready(&self) -> bool {
        self.call("GET", "/ready").is_ok_and(|it| it.status == 200)
    }

    /// Changes something; whether Envoy has done it.
    pub fn post(&self, path: &str) -> bool {
        self.call("POST", path).is_ok_and(|it| it.status == 200)
    }

    /// The statistics whose names match a regular expression, as `name: value` lines.
    ///
    /// # Errors
    ///
    /// Envoy does not answer.
    pub fn stats(&self, filter: &str) -> io::Result<String> {
        Ok(self.call("GET", &format!("/stats?filter={filter}"))?.body)
    }

    /// The sum of the gauges and counters whose names match; `None`: Envoy does not answer.
    pub fn sum(&self, filter: &str) -> Option<u64> {
        let stats = self.stats(filter).ok()?;
        let values = stats.lines().filter_map(|line| line.rsplit_once(": "));
        Some(
            values
                .filter_map(|(_, value)| value.parse::<u64>().ok())
                .sum(),
        )
    }

    fn call(&self, method: &str, path: &str) -> io::Result<Reply> {
        let address: SocketAddr = self
            .0
            .to_string()
            .parse()
            .map_err(|_| io::ErrorKind::InvalidInput)?;
        let mut connection = TcpStream::connect_timeout(&address, PATIENCE)?;
        connection.set_read_timeout(Some(PATIENCE))?;
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
            self.0
        );
        connection.write_all(request.as_bytes())?;
        let mut reply = Vec::new();
        connection.take(MAX_REPLY_BYTES).read_to_end(&mut reply)?;
        Reply::parse(&reply).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }
}

impl Reply {
    /// Reads a whole reply of HTTP/1.1.
    fn parse(reply: &[u8]) -> Option<Self> {
        let end = reply.windows(4).position(|it| it == b"\r\n\r\n")?;
        let (head, body) = reply.split_at_checked(end)?;
        let head = String::from_utf8_lossy(head).to_ascii_lowercase();
        let body = body.strip_prefix(b"\r\n\r\n")?;
        let status = head.strip_prefix("http/1.1 ")?.get(..3)?.parse().ok()?;
        let body = match head.contains("transfer-encoding: chunked") {
            true => dechunked(body),
            false => body.to_vec(),
        };
        let body = String::from_utf8_lossy(&body).into_owned();
        Some(Self { status, body })
    }
}

/// The content of chunks, up to the first that is not whole.
fn dechunked(mut body: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    while let Some(end) = body.windows(2).position(|it| it == b"\r\n") {
        let Some((size, rest)) = body.split_at_checked(end) else {
            break;
        };
        let size = usize::from_str_radix(&String::from_utf8_lossy(size), 16);
        let chunk = rest.get(2..).unwrap_or_default();
        let Some((chunk, rest)) = size.ok().and_then(|size| chunk.split_at_checked(size)) else {
            break;
        };
        content.extend_from_slice(chunk);
        body = rest.get(2..).unwrap_or_default();
    }
    content
}

const PATIENCE: Duration = Duration::from_secs(2);
const MAX_REPLY_BYTES: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_read_whole_or_in_chunks() {
        let whole = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 9\r\n\r\nDRAINING\n";
        let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
            2\r\na:\r\n3\r\n 1\n\r\n0\r\n\r\n";
        for (text, status, body) in [
            (&whole[..], 503, "DRAINING\n"),
            (&chunked[..], 200, "a: 1\n"),
        ] {
            let body = body.to_owned();
            assert_eq!(Reply::parse(text), Some(Reply { status, body }));
        }
        assert_eq!(Reply::parse(b"HTTP/1.1 200"), None);
        assert_eq!(dechunked(b"5\r\nabc"), b"");
    }
}
