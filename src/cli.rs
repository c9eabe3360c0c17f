//! The `llm-proxy` command: arguments, messages, exit codes. Native only.
//!
//! What a command prints as its result goes to standard output; everything else, one line each, to
//! standard error.

mod admin;
mod announce;
mod check;
mod envoy;
mod health;
mod import;
mod memory;
mod reach;
mod render;
mod run;

use std::ffi::OsString;
use std::fmt::Display;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory, Parser, Subcommand};

use crate::check::Keys;
use crate::config::{Environment, MAX_TEXT_BYTES, Text, schema};
use crate::endpoint::Address;
use crate::render::Source;

/// Makes Envoy an LLM gateway: one gateway.yaml in, one OpenAI-compatible endpoint out.
#[derive(Debug, Parser)]
#[command(name = "llm-proxy", version, after_help = EXIT_CODES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Report everything that is wrong with configurations
    #[command(after_help = "Examples:
  llm-proxy check gateway.yaml
  OPENAI_API_KEY=sk-... llm-proxy check --env gateway.yaml
  llm-proxy check --format json gateways/*.yaml

A variable that is not set is a warning, with --env an error.")]
    Check(check::Check),
    /// Write the configuration of a proxy
    #[command(
        subcommand,
        after_help = "Example:\n  llm-proxy render envoy gateway.yaml --output envoy.yaml

Keys are not needed to render: whatever authenticates is read in the proxy's environment."
    )]
    Render(render::Home),
    /// Start Envoy as the gateway
    #[command(after_help = "Examples:
  OPENAI_API_KEY=sk-... llm-proxy run gateway.yaml
  llm-proxy run gateway.yaml --envoy /opt/envoy/bin/envoy -- --log-level debug

Envoy is what --envoy names, else $ENVOY_BIN or $ENVOY_PATH, else envoy on the PATH, else the one of
func-e on the PATH, which downloads it the first time.")]
    Run(Run),
    /// Write a gateway.yaml from the configuration of another gateway
    #[command(after_help = "Example:
  llm-proxy import litellm.yaml > gateway.yaml

Reads agentgateway (binds, llm, gateways), kgateway and agentgateway on Kubernetes, APISIX and API7 Gateway
(ai-proxy, ai-proxy-multi; JSON of the Admin API, or YAML), LiteLLM (model_list), and Envoy AI Gateway. The
format is found by content. Choices are comments in the result; what has no equivalent is reported.")]
    Import(import::Import),
    /// Report whether the gateway of this machine is ready, by the exit code
    #[command(after_help = "Example:
  llm-proxy health gateway.yaml && echo ready")]
    Health(health::Health),
    /// Print the completions of a shell
    #[command(after_help = "Example:
  llm-proxy completions bash > ~/.local/share/bash-completion/completions/llm-proxy")]
    Completions {
        /// The shell
        #[arg(value_name = "SHELL")]
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    #[command(after_help = "Example:
  llm-proxy man | man -l -")]
    Man,
    /// Print the JSON Schema of a configuration, for editors
    #[command(after_help = "Example:
  llm-proxy schema > gateway.schema.json

An editor with the YAML language server completes and checks a configuration that starts with
  # yaml-language-server: $schema=gateway.schema.json")]
    Schema,
}

#[derive(Debug, clap::Args)]
struct Run {
    /// The configuration
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The Envoy to start [default: $ENVOY_BIN, or envoy or func-e on the PATH]
    #[arg(long, value_name = "PATH")]
    envoy: Option<PathBuf>,
    /// The module [default: $LLM_PROXY_WASM, or llm_proxy.wasm beside this command, or the one
    /// inside, or what `make wasm` builds]
    #[arg(long, value_name = "PATH")]
    wasm: Option<PathBuf>,
    /// Where to listen, instead of what the configuration says
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = Address::parse)]
    listen: Option<Address>,
    /// How long the listener takes new connections after SIGTERM or SIGINT, while /ready is 503
    /// [default: 5s; 0 on a terminal]
    #[arg(long, value_name = "TIME", value_parser = run::time)]
    drain_delay: Option<Duration>,
    /// How long running requests may go on after that, before they are cut
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = run::time)]
    drain: Duration,
    /// Further arguments for Envoy
    #[arg(last = true, value_name = "ENVOY ARGUMENT")]
    arguments: Vec<OsString>,
}

/// Runs the command that the process was started as.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let code = if error.use_stderr() { USAGE } else { OK };
            // Nobody is left to tell when this cannot be printed.
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    let done = match arguments.command {
        Command::Check(arguments) => check::check(&arguments),
        Command::Render(home) => render::render(&home),
        Command::Run(arguments) => run::run(&arguments),
        Command::Import(arguments) => import::import(&arguments),
        Command::Health(arguments) => health::health(&arguments),
        Command::Completions { shell } => print(&completions(shell)),
        Command::Man => manual(),
        Command::Schema => print(&schema::text()),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            if !failure.message.is_empty() {
                complain(&failure.message);
            }
            ExitCode::from(failure.code)
        }
    }
}

fn completions(shell: clap_complete::Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "llm-proxy", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// One page with the options of every command.
fn manual() -> Done {
    let mut page = Vec::new();
    let command = Arguments::command();
    let rendered = clap_mangen::Man::new(command.clone()).render(&mut page);
    let mut rendered = rendered.map_err(|error| error.to_string());
    for inner in command.get_subcommands() {
        let man = clap_mangen::Man::new(inner.clone());
        page.extend(format!(".SH \"LLM-PROXY {}\"\n", inner.get_name().to_uppercase()).bytes());
        let parts = man
            .render_description_section(&mut page)
            .and_then(|()| man.render_options_section(&mut page));
        rendered = rendered.and(parts.map_err(|error| error.to_string()));
    }
    rendered.map_err(|why| Failure::new(INTERNAL, why))?;
    print(&String::from_utf8_lossy(&page))
}

/// Why a command could not do its work.
#[derive(Debug)]
struct Failure {
    /// The exit code.
    code: u8,
    /// One line per thing that is wrong.
    message: String,
}

impl Failure {
    fn new(code: u8, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }

    /// What has been reported already.
    fn silent(code: u8) -> Self {
        Self::new(code, "")
    }
}

/// The exit code of a command that did its work, or why it could not.
type Done = Result<u8, Failure>;

fn read(file: &Path) -> Result<String, Failure> {
    let read = match is_standard_input(file) {
        true => read_text(std::io::stdin()),
        false => std::fs::File::open(file).and_then(read_text),
    };
    read.map_err(|error| Failure::new(NO_INPUT, format!("{}: {error}", shown(file))))
}

/// Reads what may have no end.
fn read_text(from: impl std::io::Read) -> std::io::Result<String> {
    let most = u64::try_from(MAX_TEXT_BYTES).unwrap_or(u64::MAX);
    let mut text = String::new();
    let read = from.take(most).read_to_string(&mut text);
    match read? == MAX_TEXT_BYTES {
        true => Err(std::io::Error::other(format!(
            "longer than {} MiB",
            most >> 20
        ))),
        false => Ok(text),
    }
}

fn is_standard_input(file: &Path) -> bool {
    file.as_os_str() == "-"
}

/// The name of a file in messages.
fn shown(file: &Path) -> String {
    match is_standard_input(file) {
        true => "standard input".to_owned(),
        false => file.display().to_string(),
    }
}

/// Reads a configuration, and reports everything that is wrong with it or hardly meant.
fn load(file: &Path, keys: Keys) -> Result<(Source, Text<'static>), Failure> {
    let text = Text::new(read(file)?);
    let checked = crate::check::check(&text, &System, keys);
    check::report(file, &text, &checked.diagnostics);
    let source = checked.source.ok_or(Failure::silent(USAGE))?;
    Ok((source, text))
}

fn counted(number: usize, what: &str) -> String {
    match number {
        1 => format!("1 {what}"),
        _ => format!("{number} {what}s"),
    }
}

/// Where this command runs: its environment, its files.
struct System;

impl Environment for System {
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn file(&self, path: &str) -> Result<String, String> {
        let text = std::fs::File::open(path).and_then(read_text);
        text.map_err(|error| error.to_string())
    }
}

fn print(text: &str) -> Done {
    let mut output = std::io::stdout().lock();
    match output
        .write_all(text.as_bytes())
        .and_then(|()| output.flush())
    {
        Ok(()) => Ok(OK),
        // `llm-proxy schema | head` is no failure.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(OK),
        Err(error) => Err(Failure::new(
            NOT_WRITTEN,
            format!("standard output: {error}"),
        )),
    }
}

fn complain(message: &(impl Display + ?Sized)) {
    // Nobody is left to tell when this cannot be printed.
    let _ = writeln!(std::io::stderr(), "{message}");
}

// Exit codes as in BSD's `sysexits.h`.
const OK: u8 = 0;
const USAGE: u8 = 64;
const NO_INPUT: u8 = 66;
const UNAVAILABLE: u8 = 69;
const INTERNAL: u8 = 70;
const NOT_WRITTEN: u8 = 73;

const EXIT_CODES: &str = "Example:
  llm-proxy run gateway.yaml

Exit codes: 0 done; 64 the arguments or the configuration are wrong; 66 a file cannot be read;
69 Envoy or the module is not there, health: not ready; 73 the output cannot be written; run: Envoy's own.";
