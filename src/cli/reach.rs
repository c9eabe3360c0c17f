//! Whether the providers can be reached: a look beside the start, which delays nothing.
//!
//! It resolves the host of each backend, connects, and where the endpoint has TLS it sends the first message
//! of a handshake. A server that answers it is one that speaks TLS; nothing is verified, and no key is sent.
//!
//! Source: RFC 8446, sections 4.1.2 and 5.1.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use super::complain;
use crate::render::Source;

/// Looks at every backend beside the caller, and warns of those that do not answer within [`PATIENCE`].
pub fn warn_of_unreachable(source: &Source) {
    let mut places: BTreeMap<Place, Vec<String>> = BTreeMap::new();
    for backend in source.backends() {
        let endpoint = &backend.endpoint;
        let address = backend.address.as_ref().unwrap_or(&endpoint.address);
        let place = Place {
            host: address.host.clone(),
            port: address.port,
            server_name: endpoint.is_tls.then(|| endpoint.address.host.clone()),
        };
        places
            .entry(place)
            .or_default()
            .push(backend.name.to_string());
    }
    let looks: Vec<Look> = places
        .into_iter()
        .take(MAX_PLACES)
        .map(|(place, names)| {
            let (sender, receiver) = mpsc::channel();
            let wanted = place.clone();
            thread::spawn(move || sender.send(wanted.look()));
            Look {
                place,
                names,
                receiver,
            }
        })
        .collect();
    thread::spawn(move || {
        let start = Instant::now();
        for Look {
            place,
            names,
            receiver,
        } in looks
        {
            let left = PATIENCE.saturating_sub(start.elapsed());
            let found = receiver.recv_timeout(left);
            let why = match found {
                Ok(Ok(())) => continue,
                Ok(Err(why)) => why,
                Err(_) => format!("no answer within {} s", PATIENCE.as_secs()),
            };
            complain(&format!(
                "llm-proxy: warning: backend {}: {}:{}: {why}",
                names.join(", "),
                place.host,
                place.port,
            ));
        }
    });
}

/// A look at a place that has begun.
struct Look {
    place: Place,
    /// The backends there.
    names: Vec<String>,
    /// What it finds.
    receiver: Receiver<Result<(), String>>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    host: String,
    port: u16,
    /// The name in the handshake; `None`: plain HTTP.
    server_name: Option<String>,
}

impl Place {
    fn look(&self) -> Result<(), String> {
        let addresses = (self.host.as_str(), self.port).to_socket_addrs();
        let addresses = addresses.map_err(|error| format!("the name does not resolve: {error}"))?;
        let mut last = "the name has no address".to_owned();
        for address in addresses {
            match TcpStream::connect_timeout(&address, PATIENCE) {
                Ok(connection) => {
                    return match &self.server_name {
                        Some(name) => answers_handshake(connection, name),
                        None => Ok(()),
                    };
                }
                Err(error) => last = format!("cannot connect to {}: {error}", address.ip()),
            }
        }
        Err(last)
    }
}

fn answers_handshake(mut connection: TcpStream, name: &str) -> Result<(), String> {
    let mut answer = [0; 1];
    let mut exchange = || -> io::Result<()> {
        connection.set_read_timeout(Some(PATIENCE))?;
        connection.write_all(&client_hello(name))?;
        connection.read_exact(&mut answer)
    };
    match (exchange(), answer) {
        (Ok(()), [HANDSHAKE]) => Ok(()),
        (Ok(()), [ALERT]) => Err("refuses the TLS handshake".to_owned()),
        (Ok(()), _) => {
            Err("does not speak TLS; for plain HTTP write http:// in endpoint".to_owned())
        }
        (Err(error), _) => Err(format!("does not answer the TLS handshake: {error}")),
    }
}

/// The first message of a handshake, which offers TLS 1.3 and 1.2.
fn client_hello(name: &str) -> Vec<u8> {
    let mut extensions = Vec::new();
    // An address stands in no server name: RFC 6066, section 3.
    if name.parse::<std::net::IpAddr>().is_err() {
        let entry = [&[0][..], &sized(name.as_bytes())].concat();
        extension(0, &sized(&entry), &mut extensions);
    }
    // x25519, secp256r1 and secp384r1; no share of them, which the server then asks for.
    extension(10, &sized(&[0, 29, 0, 23, 0, 24]), &mut extensions);
    extension(51, &sized(&[]), &mut extensions);
    let signatures = [4, 3, 8, 4, 4, 1, 5, 3, 8, 5, 5, 1, 8, 6, 6, 1];
    extension(13, &sized(&signatures), &mut extensions);
    extension(43, &[4, 3, 4, 3, 3], &mut extensions);
    let suites = [
        0x13, 0x01, 0x13, 0x02, 0x13, 0x03, 0xc0, 0x2b, 0xc0, 0x2c, 0xc0, 0x2f, 0xc0, 0x30, 0xcc,
        0xa8, 0xcc, 0xa9,
    ];
    let mut body = vec![3, 3];
    // Nothing is agreed on: what is random in a real handshake need not be.
    body.extend([0x5a; 32]);
    body.push(0);
    body.extend(sized(&suites));
    body.extend([1, 0]);
    body.extend(sized(&extensions));
    let message = [&[1, 0][..], &sized(&body)].concat();
    [&[HANDSHAKE, 3, 1][..], &sized(&message)].concat()
}

fn extension(kind: u8, content: &[u8], extensions: &mut Vec<u8>) {
    extensions.extend([0, kind]);
    extensions.extend(sized(content));
}

/// Bytes behind their number, in two bytes.
fn sized(content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap_or(u16::MAX);
    [&length.to_be_bytes()[..], content].concat()
}

const HANDSHAKE: u8 = 22;
const ALERT: u8 = 21;
const PATIENCE: Duration = Duration::from_secs(2);
const MAX_PLACES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hello_has_the_lengths_of_its_parts() {
        for name in ["a.example", "127.0.0.1"] {
            let hello = client_hello(name);
            let number = |at: usize| usize::from(hello[at]) * 256 + usize::from(hello[at + 1]);
            assert_eq!(number(3) + 5, hello.len());
            assert_eq!(number(7) + 9, hello.len());
            let text = String::from_utf8_lossy(&hello).into_owned();
            assert_eq!(text.contains("a.example"), name == "a.example");
        }
    }

    #[test]
    fn what_does_not_answer_is_told_with_its_reason() {
        let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = server.local_addr().unwrap().port();
        thread::spawn(move || {
            for reply in [
                &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
                &[22, 3, 3],
                &[21, 3, 3],
            ] {
                let (mut connection, _) = server.accept().unwrap();
                let mut hello = [0; 5];
                connection.read_exact(&mut hello).unwrap();
                connection.write_all(reply).unwrap();
            }
        });
        let place = |host: &str, port, name: Option<&str>| Place {
            host: host.to_owned(),
            port,
            server_name: name.map(str::to_owned),
        };
        let local = place("127.0.0.1", port, Some("a.example"));
        let plain = local.look().unwrap_err();
        assert!(plain.starts_with("does not speak TLS"), "{plain}");
        assert_eq!(local.look(), Ok(()));
        assert_eq!(local.look(), Err("refuses the TLS handshake".to_owned()));
        // Reserved so that it never resolves: RFC 6761, section 6.4.
        let unknown = place("nowhere.invalid", 443, None).look().unwrap_err();
        assert!(
            unknown.starts_with("the name does not resolve"),
            "{unknown}"
        );
    }
}
