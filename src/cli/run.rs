//! `llm-proxy run`: renders, starts Envoy, and looks after it until it ends.

mod files;
mod process;
mod reload;
mod secrets;
mod shutdown;
mod watch;

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use self::files::Directory;
use self::process::Envoy;
use self::reload::{Fixed, Reloads};
use self::secrets::Secrets;
use self::shutdown::{Limits, Shutdown};
use super::admin::Admin;
use super::announce::{self, Announcement};
use super::{
    Done, Failure, INTERNAL, NO_INPUT, NOT_WRITTEN, Run, UNAVAILABLE, complain, envoy, load,
    memory, reach,
};
use crate::check::Keys;
use crate::config::value::parse_time;
use crate::endpoint::Address;
use crate::render::envoy::Machine;

/// Runs Envoy until it ends, and gives its exit code.
pub fn run(arguments: &Run) -> Done {
    let file = &arguments.file;
    let (mut source, _) = load(file, Keys::Needed)?;
    if let Some(listen) = &arguments.listen {
        source.listen_at(listen.clone());
    }
    let program = envoy::find(arguments.envoy.as_deref())?.0;
    let directory = Directory::create()?;
    let module = match envoy::find_module(arguments.wasm.as_deref())? {
        envoy::Module::File(path) => path,
        envoy::Module::Embedded(bytes) => {
            let path = directory.path().join("llm_proxy.wasm");
            written(directory.replace(&path, bytes), &path)?;
            path
        }
    };
    let (heap_limit, has_cgroup_limit) = memory::limits(&arguments.arguments);
    let literals = source.variables().iter();
    let fixed = Fixed {
        file: file.clone(),
        listen: arguments.listen.clone(),
        machine: Machine {
            is_whole: true,
            module: module.display().to_string(),
            roots: envoy::find_roots(),
            secrets: Secrets::directory_below(directory.path())
                .display()
                .to_string(),
            heap_limit,
            has_cgroup_limit,
        },
        variables: source.variable_names().clone(),
        literals: literals
            .clone()
            .map(|it| {
                (
                    it.name.clone(),
                    reload::digest(it.value.expose().as_bytes()),
                )
            })
            .collect(),
    };
    let environment: Vec<(String, String)> = literals
        .map(|it| (it.name.clone(), it.value.expose().to_string()))
        .collect();
    let listen = source.gateway().listen.clone();
    let admin = source.gateway().admin.clone();
    refuse_taken(&listen)?;

    // From before the start: a signal that arrives in between ends Envoy, too.
    let signals = process::signals().map_err(|error| internal(&error))?;
    complain(&format!(
        "llm-proxy: starting Envoy; clients use http://{listen}/v1"
    ));
    announce::summary(&source);
    reach::warn_of_unreachable(&source);
    let rendered = fixed.render(source, &directory);
    let rendered = rendered.map_err(|why| Failure::new(NO_INPUT, why))?;
    let mut secrets = Secrets::new(directory.reference());
    written(secrets.want(rendered.secrets()), directory.path())?;
    let configuration = written(rendered.write(&directory), directory.path())?;
    let mut command = Command::new(&program);
    command
        .arg("--config-path")
        .arg(&configuration)
        .args(defaults(&arguments.arguments))
        .args(&arguments.arguments)
        .envs(environment);
    let mut restarts = Restarts::default();
    let mut reloads = None;
    let mut ready = Some((rendered, secrets));
    loop {
        let mut envoy = Envoy::start(&mut command, &program)?;
        // The files are looked after once there is an Envoy, and also by the next one.
        if let Some((rendered, secrets)) = ready.take() {
            let admin = Admin::new(&admin);
            let fixed = fixed.clone();
            reloads = Some(Reloads::start(fixed, rendered, secrets, &directory, admin));
        }
        let announcement = Announcement::start(&admin, &listen);
        let mut shutdown = Shutdown::new(Admin::new(&admin), limits(arguments));
        let status = envoy.wait(&signals, &mut shutdown, reloads.as_ref());
        let status = status.map_err(|error| internal(&error))?;
        drop(announcement);
        if let Some(lacks) = envoy.lacks() {
            let message = format!("{}: {lacks}", program.display());
            return Err(Failure::new(UNAVAILABLE, message));
        }
        let crash = status.signal().filter(|_| !shutdown.has_begun());
        let Some(signal) = crash else {
            return Ok(exit_code(status));
        };
        if !restarts.is_allowed(Instant::now()) {
            complain(&format!(
                "llm-proxy: Envoy was ended by signal {signal}, more than {MAX_RESTARTS} times within \
                 {} s: giving up",
                RESTART_WINDOW.as_secs(),
            ));
            return Ok(exit_code(status));
        }
        complain(&format!(
            "llm-proxy: Envoy was ended by signal {signal}; starting it again"
        ));
    }
}

fn written<T>(result: io::Result<T>, path: &Path) -> Result<T, Failure> {
    result.map_err(|error| Failure::new(NOT_WRITTEN, format!("{}: {error}", path.display())))
}

/// Reads a time of `--drain` and `--drain-delay`, which may be 0.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    if matches!(text, "0" | "0s") {
        return Ok(Duration::ZERO);
    }
    parse_time(text).ok_or_else(|| format!("{text:?} is not a time such as 0, 500ms, 30s or 5m"))
}

/// On a terminal somebody waits for the end, and no load balancer has to notice it.
fn limits(arguments: &Run) -> Limits {
    let is_on_terminal = io::stderr().is_terminal();
    let delay = if is_on_terminal {
        Duration::ZERO
    } else {
        DRAIN_DELAY
    };
    Limits {
        delay: arguments.drain_delay.unwrap_or(delay),
        drain: arguments.drain,
    }
}

/// Refuses an address at which another process listens. Envoys share a port without a word: each of
/// them would get a part of the connections.
fn refuse_taken(listen: &Address) -> Result<(), Failure> {
    let address: Option<SocketAddr> = listen.to_string().parse().ok();
    // What else keeps Envoy from listening, it reports itself.
    match address.map(|it| TcpStream::connect_timeout(&it, PROBE)) {
        Some(Ok(_)) => {
            let message = format!(
                "{listen}: another process listens there, perhaps another gateway; end it, or choose \
                 another address by listen or --listen"
            );
            Err(Failure::new(UNAVAILABLE, message))
        }
        Some(Err(_)) | None => Ok(()),
    }
}

/// When Envoy was started again. Every crash costs all streams, so a fault that comes back at once must
/// not hide behind restarts.
#[derive(Debug, Default)]
struct Restarts(VecDeque<Instant>);

impl Restarts {
    /// Whether one more restart is allowed at this time; it is counted.
    fn is_allowed(&mut self, now: Instant) -> bool {
        while (self.0.front()).is_some_and(|first| now.duration_since(*first) >= RESTART_WINDOW) {
            self.0.pop_front();
        }
        let is_allowed = self.0.len() < MAX_RESTARTS;
        if is_allowed {
            self.0.push_back(now);
        }
        is_allowed
    }
}

/// Arguments for Envoy which nobody gave: quiet, and beside any other Envoy of this machine.
fn defaults(given: &[OsString]) -> Vec<&'static str> {
    let is_given = |names: [&str; 2]| {
        let name_of = |argument: &OsString| {
            let argument = argument.to_string_lossy();
            let name = argument
                .split_once('=')
                .map_or(&*argument, |(name, _)| name);
            names.contains(&name)
        };
        given.iter().any(name_of)
    };
    let mut defaults = Vec::new();
    if !is_given(["--log-level", "-l"]) {
        defaults.extend(["--log-level", "warning"]);
    }
    if !is_given(["--disable-hot-restart", "--base-id"]) {
        defaults.push("--disable-hot-restart");
    }
    defaults
}

/// As a shell has it: what ended by a signal has 128 and its number.
fn exit_code(status: ExitStatus) -> u8 {
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok())
        .unwrap_or(INTERNAL)
}

fn internal(error: &io::Error) -> Failure {
    Failure::new(INTERNAL, error.to_string())
}

const MAX_RESTARTS: usize = 3;
const RESTART_WINDOW: Duration = Duration::from_secs(60);

/// On this machine it takes no time.
const PROBE: Duration = Duration::from_secs(1);

/// Load balancers ask `/ready` every few seconds.
const DRAIN_DELAY: Duration = Duration::from_secs(5);
