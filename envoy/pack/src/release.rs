//! A release: what people download.
//!
//! ```text
//!   llm_proxy.wasm  llm_proxy.wasm.sha256        the module
//!   image/ image.tar  artifact/ artifact.tar     the module as OCI images
//!   envoy/gateway.schema.json                    the schema, where the examples look for it
//!   envoy/*.gateway.yaml  envoy/*.envoy.yaml     the examples, and what is rendered from them
//!   envoy/kubernetes/*.yaml                      the same for Istio and Envoy Gateway
//!   LICENSE  CHANGELOG.md
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::module::Module;
use crate::oci;

/// The files by their paths from the release's directory, all but the images.
///
/// # Errors
///
/// If something is not there, or if the command is not of the module's version.
pub fn files(
    module: &Module,
    command: &Path,
    examples: &Path,
) -> Result<BTreeMap<String, Vec<u8>>> {
    let said = run(command, &["--version".as_ref()])?;
    let version = module.version();
    ensure!(
        said == format!("llm-proxy {version}\n").as_bytes(),
        "the module is of version {version}, the command says {:?}: build both",
        String::from_utf8_lossy(&said).trim_end(),
    );

    let mut files = BTreeMap::new();
    let bytes = module.bytes();
    let sum = format!("{}  {MODULE}\n", oci::sha256(bytes));
    files.insert(MODULE.to_owned(), bytes.to_vec());
    files.insert(format!("{MODULE}.sha256"), sum.into_bytes());
    for name in ["LICENSE", "CHANGELOG.md"] {
        files.insert(name.to_owned(), contents(name.as_ref())?);
    }
    let schema = run(command, &["schema".as_ref()])?;
    files.insert("envoy/gateway.schema.json".to_owned(), schema);
    for (name, path) in yaml(&examples.join("kubernetes"), "")? {
        files.insert(format!("envoy/kubernetes/{name}.yaml"), contents(&path)?);
    }
    for (name, path) in yaml(examples, ".gateway")? {
        let arguments = ["render", "envoy", "--wasm", MODULE].map(AsRef::as_ref);
        let rendered = run(command, &[&arguments, &[path.as_path()][..]].concat())?;
        files.insert(format!("envoy/{name}.envoy.yaml"), rendered);
        files.insert(format!("envoy/{name}.gateway.yaml"), contents(&path)?);
    }
    Ok(files)
}

/// The files `NAME{suffix}.yaml` of a directory, by their names.
fn yaml(directory: &Path, suffix: &str) -> Result<BTreeMap<String, PathBuf>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory).with_context(|| directory.display().to_string())? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.and_then(|name| name.strip_suffix(".yaml")?.strip_suffix(suffix));
        if let Some(name) = name {
            found.insert(name.to_owned(), path);
        }
    }
    ensure!(!found.is_empty(), "no examples in {}", directory.display());
    Ok(found)
}

fn contents(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| path.display().to_string())
}

/// What the command prints when it has no variables: nothing of this machine.
fn run(command: &Path, arguments: &[&Path]) -> Result<Vec<u8>> {
    let done = Command::new(command)
        .args(arguments)
        .env_clear()
        .output()
        .with_context(|| command.display().to_string())?;
    if !done.status.success() {
        let said = String::from_utf8_lossy(&done.stderr);
        bail!("{} {arguments:?}: {said}", command.display());
    }
    Ok(done.stdout)
}

/// The module's name, as `llm-proxy` looks for it beside itself.
const MODULE: &str = "llm_proxy.wasm";
