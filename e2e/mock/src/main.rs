//! `mock-provider`: a scripted LLM provider.
//!
//! It stands for every provider at once: the authority of a request says which one answers, over
//! TLS with a certificate for whatever name was asked for. It refuses what the real one refuses,
//! records what arrived, and answers as the test prescribes or, without a prescription, as the
//! provider would.
//!
//! ```text
//!            ┌ server ─► wire ─► exchange ─┬─► profile ─► operation    who is asked; refused?
//!   main ────┤                             ├─► dialect                who speaks another than OpenAI's
//!            │                             ├─► script ─► reply         prescribed, byte by byte
//!            │                             ├─► says                    prescribed, in any dialect
//!            └ control ─► record, script, says   └─► answer ─► payload       by itself
//! ```
//!
//! It knows nothing of the gateway under test, and it estimates nothing: ids, times and token
//! counts are the same whenever the request is the same.
//!
//! # Limits
//!
//! * A client that pipelines HTTP/1.1 requests is recorded as hyper sees it: headers of one name
//!   stand together, and a length beside chunks is not noticed.
//! * HTTP/2 requests that hyper refuses (a `connection` header, say) are answered by hyper with a
//!   reset of the stream, and only their connection is recorded.
//! * A request's body is held in memory while it is answered, whatever its length.
//! * A reply given at once counts as finished when it was handed to the connection.
//! * Nothing is compressed, and a key is right unless it looks wrong.

mod server;
mod tls;
mod wire;

mod answer;
mod dialect;
mod exchange;
mod operation;
mod payload;
mod profile;
mod reply;
mod says;
mod script;
mod tokens;

mod control;
mod record;

#[cfg(test)]
mod tests;

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

/// A scripted LLM provider for tests, and for trying the gateway without an API key.
///
/// Prints one line of JSON with its addresses when it listens, and runs until SIGTERM or SIGINT.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Example:\n  mock-provider --plain 127.0.0.1:8000\n  \
        curl http://127.0.0.1:8000/v1/chat/completions -H 'content-type: application/json' \\\n    \
        -d '{\"model\": \"any\", \"messages\": [{\"role\": \"user\", \"content\": \"Hello\"}]}'"
)]
struct Arguments {
    /// Address for plain HTTP/1.1, and HTTP/2 with prior knowledge
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    plain: SocketAddr,
    /// Address for TLS, with HTTP/2 by ALPN
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    tls: SocketAddr,
    /// Address of the control API
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    control: SocketAddr,
    /// Where to write the certificate that clients must trust (PEM)
    #[arg(long, value_name = "FILE")]
    ca_out: Option<PathBuf>,
    /// Name for which a certificate of another name is presented; may be repeated
    #[arg(
        long = "wrong-name",
        value_name = "NAME",
        env = "MOCK_PROVIDER_WRONG_NAMES",
        value_delimiter = ','
    )]
    wrong_names: Vec<String>,
    /// Bytes kept of each request's body
    #[arg(long, value_name = "BYTES", default_value_t = 64 << 20)]
    record_bytes: usize,
    /// Requests kept; the oldest go first
    #[arg(long, value_name = "COUNT", default_value_t = 10_000)]
    record_requests: usize,
    /// Keep no requests at all, for benchmarks
    #[arg(long, conflicts_with_all = ["record_bytes", "record_requests"])]
    no_record: bool,
    /// Serve also what should never have left a proxy, for benchmarks of a proxy without the gateway
    #[arg(long)]
    lenient: bool,
}

impl From<Arguments> for server::Options {
    fn from(arguments: Arguments) -> Self {
        Self {
            plain: arguments.plain,
            tls: arguments.tls,
            control: arguments.control,
            ca_out: arguments.ca_out,
            wrong_names: arguments.wrong_names,
            limits: record::Limits {
                requests: if arguments.no_record {
                    0
                } else {
                    arguments.record_requests
                },
                body_bytes: arguments.record_bytes,
            },
            lenient: arguments.lenient,
        }
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    // Before anything is printed: whoever reads the line may send a signal at once.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let server = server::Server::start(arguments.into()).await?;
    let addresses = json!({
        "plain": server.plain.to_string(),
        "tls": server.tls.to_string(),
        "control": server.control.to_string(),
    });
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{addresses}")?;
    stdout.flush()?;
    drop(stdout);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
