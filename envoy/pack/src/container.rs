//! An image with the command and a stock Envoy, made without an engine: `docker load` and `podman load` take it.
//!
//! The files of the system and of Envoy come from a directory, which `rootfs.sh` fills from Debian's packages and
//! PyPI. The form is Docker's, since OCI's configuration has no health check.
//!
//! Source: <https://github.com/moby/docker-image-spec/blob/main/spec.md>, read 2026-11-28.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::module::Module;
use crate::oci;

/// The archive.
///
/// # Errors
///
/// When a file of the directory cannot be read.
pub fn image(
    module: &Module,
    command: &Path,
    root: &Path,
    revision: Option<&str>,
) -> Result<Vec<u8>> {
    ensure!(
        root.join("usr/bin/envoy").is_file(),
        "{} has no usr/bin/envoy: fill it by rootfs.sh",
        root.display(),
    );
    let system = system(root)?;
    let own = own(command)?;
    let mut labels = BTreeMap::from([
        ("org.opencontainers.image.title", "llm-proxy"),
        ("org.opencontainers.image.version", module.version()),
        ("org.opencontainers.image.licenses", "Apache-2.0"),
    ]);
    labels.extend(revision.map(|it| ("org.opencontainers.image.revision", it)));
    let digests: Vec<String> = [&system, &own]
        .map(|layer| format!("sha256:{}", oci::sha256(layer)))
        .into();
    // Nanoseconds.
    let seconds = |number: u64| number * 1_000_000_000;
    let config = json!({
        "architecture": "amd64",
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": {
            "User": "65532:65532",
            "Env": ["PATH=/usr/bin"],
            "Entrypoint": ["/usr/bin/llm-proxy"],
            "Cmd": ["run", CONFIGURATION, "--listen", "0.0.0.0:10000"],
            "ExposedPorts": {"10000/tcp": {}},
            "WorkingDir": "/",
            "Labels": labels,
            "Healthcheck": {
                "Test": ["CMD", "/usr/bin/llm-proxy", "health", CONFIGURATION],
                "Interval": seconds(10),
                "Timeout": seconds(3),
                "StartPeriod": seconds(30),
                "Retries": 3,
            },
        },
        "rootfs": {"type": "layers", "diff_ids": digests},
    });
    let config = config.to_string().into_bytes();
    let config_name = format!("{}.json", oci::sha256(&config));
    let layers = [("system/layer.tar", &system), ("llm-proxy/layer.tar", &own)];
    let manifest = json!([{
        "Config": config_name,
        "RepoTags": [format!("llm-proxy:{}", module.version())],
        "Layers": layers.map(|(name, _)| name),
    }]);
    let manifest = manifest.to_string().into_bytes();
    let mut archive = tar::Builder::new(Vec::new());
    let regular = tar::EntryType::Regular;
    for (name, content) in layers {
        oci::append(&mut archive, name, regular, 0o644, content)?;
    }
    oci::append(&mut archive, &config_name, regular, 0o644, &config)?;
    oci::append(&mut archive, "manifest.json", regular, 0o644, &manifest)?;
    Ok(archive.into_inner()?)
}

/// The command, and where its configuration is expected.
fn own(command: &Path) -> Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    let program = fs::read(command).with_context(|| command.display().to_string())?;
    let directory = tar::EntryType::Directory;
    oci::append(&mut archive, "etc/llm-proxy/", directory, 0o755, &[])?;
    oci::append(
        &mut archive,
        "usr/bin/llm-proxy",
        tar::EntryType::Regular,
        0o755,
        &program,
    )?;
    Ok(archive.into_inner()?)
}

/// Every file of a directory, in the order of their names, root's and of no time.
fn system(root: &Path) -> Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut waiting = vec![PathBuf::new()];
    while let Some(relative) = waiting.pop() {
        let path = root.join(&relative);
        let shown = || path.display().to_string();
        let about = fs::symlink_metadata(&path).with_context(shown)?;
        let name = relative.to_str().with_context(shown)?;
        let mode = about.permissions().mode() & 0o1777;
        if about.is_symlink() {
            let target = fs::read_link(&path).with_context(shown)?;
            oci::append_link(&mut archive, name, &target)?;
        } else if about.is_dir() {
            if !name.is_empty() {
                let name = format!("{name}/");
                oci::append(&mut archive, &name, tar::EntryType::Directory, mode, &[])?;
            }
            let entries = fs::read_dir(&path).with_context(shown)?;
            let entries = entries.map(|entry| Ok(relative.join(entry?.file_name())));
            let mut entries: Vec<PathBuf> = entries.collect::<Result<_>>()?;
            // The last is taken first.
            entries.sort();
            entries.reverse();
            waiting.extend(entries);
        } else {
            let content = fs::read(&path).with_context(shown)?;
            oci::append(&mut archive, name, tar::EntryType::Regular, mode, &content)?;
        }
    }
    Ok(archive.into_inner()?)
}

const CONFIGURATION: &str = "/etc/llm-proxy/gateway.yaml";
