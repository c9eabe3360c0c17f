//! The `llm-proxy` command: arguments, messages, exit codes. Native only.
//!
//! What a command prints as its result goes to standard output; everything else, one line each, to
//! standard error.

mod envoy;
mod import;
mod memory;
mod render;
mod run;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt::Display;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::{ConfigError, ConfigErrors, Environment, Position, schema};
use crate::render::Source;
use crate::route;

/// Makes Envoy an LLM gateway: one gateway.yaml in, one OpenAI-compatible endpoint out.
#[derive(Debug, Parser)]
#[command(name = "llm-proxy", version, after_help = EXIT_CODES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say everything that is wrong with a configuration
    #[command(after_help = "Example:\n  OPENAI_API_KEY=sk-... llm-proxy check gateway.yaml")]
    Check {
        /// The configuration
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
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
    /// The module [default: $LLM_PROXY_WASM, or llm_proxy.wasm beside this command, or what
    /// `make wasm` builds]
    #[arg(long, value_name = "PATH")]
    wasm: Option<PathBuf>,
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
        Command::Check { file } => check(&file),
        Command::Render(home) => render::render(&home),
        Command::Run(arguments) => run::run(&arguments),
        Command::Import(arguments) => import::import(&arguments),
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

fn check(file: &Path) -> Done {
    let source = Source::parse(&read(file)?, &System).map_err(|errors| invalid(file, &errors))?;
    warn_about(&source);
    let gateway = source.gateway();
    let backends = counted(gateway.backends.len(), "backend");
    let pools = match gateway.pools.len() {
        0 => String::new(),
        pools => format!(", {}", counted(pools, "pool")),
    };
    let routes = counted(gateway.routes.len(), "route");
    print(&format!(
        "{} is valid: {backends}{pools}, {routes}\n",
        file.display(),
    ))
}

fn read(file: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(file)
        .map_err(|error| Failure::new(NO_INPUT, format!("{}: {error}", file.display())))
}

/// One line per error: its key path, and where in the file that is.
fn invalid(file: &Path, errors: &ConfigErrors) -> Failure {
    let line = |error: &ConfigError| {
        let place = match error.position {
            Some(Position { line, column }) => format!("{}:{line}:{column}", file.display()),
            None => file.display().to_string(),
        };
        match (error.at.is_root(), error.position) {
            (true, _) => format!("{place}: {}", error.message),
            (false, Some(_)) => format!("{} ({place}): {}", error.at, error.message),
            (false, None) => error.to_string(),
        }
    };
    let lines: Vec<String> = errors.iter().map(line).collect();
    Failure::new(USAGE, lines.join("\n"))
}

/// What is allowed but hardly meant.
fn warn_about(source: &Source) {
    let gateway = source.gateway();
    let places = gateway.routes.iter().enumerate();
    let places: BTreeMap<&str, usize> = places.map(|(at, it)| (it.name.as_str(), at)).collect();
    let place = |route: &route::Route| places.get(route.name.as_str()).copied().unwrap_or_default();
    for (later, earlier) in route::unreachable(&gateway.routes) {
        complain(&format!(
            "warning: routes[{}]: {:?} never matches: {:?} comes first and matches all of it",
            place(later),
            later.name.as_str(),
            earlier.name.as_str(),
        ));
    }
    let insecure = gateway.backends.iter().filter(|it| it.tls.insecure);
    let insecure: BTreeSet<&str> = insecure.map(|it| it.name.as_str()).collect();
    for (index, name) in source.names() {
        if !source.is_used(name) {
            complain(&format!(
                "warning: backends[{index}]: no route leads to {name:?}"
            ));
        }
        if insecure.contains(name) {
            complain(&format!(
                "warning: backends[{index}].config.tls.insecure: whoever answers gets the key; \
                 for experiments only"
            ));
        }
    }
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
        std::fs::read_to_string(path).map_err(|error| error.to_string())
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
69 Envoy or the module is not there; 73 the output cannot be written; run: Envoy's own.";
