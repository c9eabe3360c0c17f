//! `llm-proxy health`: whether the gateway of this machine is ready. Also what `run` waits for.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use super::{Done, Failure, OK, UNAVAILABLE, USAGE, read, shown};
use crate::config::{self};
use crate::endpoint::Address;

/// The arguments.
#[derive(Debug, clap::Args)]
pub struct Health {
    /// The configuration that the gateway runs, which may have another admin address
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
}

/// Asks Envoy's admin interface.
pub fn health(arguments: &Health) -> Done {
    let mut admin = config::defaults::ADMIN.to_owned();
    if let Some(file) = &arguments.file {
        let written = config::parse_file(&read(file)?)
            .map_err(|errors| Failure::new(USAGE, format!("{}: {errors}", shown(file))))?;
        admin = written.admin.unwrap_or(admin);
    }
    let address = Address::parse(&admin).map_err(|why| Failure::new(USAGE, why))?;
    match is_ready(&address) {
        true => Ok(OK),
        false => Err(Failure::new(
            UNAVAILABLE,
            format!("the gateway at {admin} is not ready"),
        )),
    }
}

/// Whether the Envoy with this admin interface takes requests.
pub fn is_ready(admin: &Address) -> bool {
    ready(admin).unwrap_or(false)
}

fn ready(admin: &Address) -> std::io::Result<bool> {
    let address: SocketAddr = admin
        .to_string()
        .parse()
        .map_err(|_| std::io::ErrorKind::InvalidInput)?;
    let mut connection = TcpStream::connect_timeout(&address, PATIENCE)?;
    connection.set_read_timeout(Some(PATIENCE))?;
    let request = format!("GET /ready HTTP/1.1\r\nhost: {admin}\r\nconnection: close\r\n\r\n");
    connection.write_all(request.as_bytes())?;
    let mut reply = Vec::new();
    connection.take(MAX_REPLY_BYTES).read_to_end(&mut reply)?;
    Ok(reply.starts_with(b"HTTP/1.1 200 "))
}

const PATIENCE: Duration = Duration::from_secs(2);
const MAX_REPLY_BYTES: u64 = 64 << 10;
