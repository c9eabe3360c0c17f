//! A release: what people download.
//!
//! ```text
//!   llm_proxy.wasm  llm_proxy.wasm.sha256        the module
//!   image/ image.tar  artifact/ artifact.tar     the module as OCI images
//!   envoy/                                       the schema, the examples and what is rendered
//!   README.md  docs/  LICENSE  CHANGELOG.md
//! ```
//!
//! The rendered examples are those of the repository, which its tests keep fresh; only the module
//! is at another place.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::module::Module;
use crate::oci;

/// The files of a release by their paths, all but the images.
///
/// # Errors
///
/// If something is not there, or is of another version than the module.
pub fn files(module: &Module, repository: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let bytes = module.bytes();
    let sum = format!("{}  {MODULE}\n", oci::sha256(bytes));
    let mut files = BTreeMap::from([
        (MODULE.to_owned(), bytes.to_vec()),
        (format!("{MODULE}.sha256"), sum.into_bytes()),
    ]);
    for name in ["LICENSE", "CHANGELOG.md", "README.md"] {
        files.insert(name.to_owned(), text(&repository.join(name))?.into_bytes());
    }
    for directory in ["docs", "docs/providers"] {
        for (name, text) in documents(&repository.join(directory))? {
            files.insert(format!("{directory}/{name}"), text.into_bytes());
        }
    }
    for directory in ["envoy", "envoy/kubernetes"] {
        for (name, text) in documents(&repository.join(directory))? {
            let path = format!("{directory}/{name}");
            ensure_version(&text, module.version()).context(path.clone())?;
            files.insert(path, text.replace(BUILT_MODULE, MODULE).into_bytes());
        }
    }
    Ok(files)
}

/// The texts of a directory, by their names, without those of its subdirectories.
fn documents(directory: &Path) -> Result<BTreeMap<String, String>> {
    let shown = || directory.display().to_string();
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory).with_context(shown)? {
        let path = entry.with_context(shown)?.path();
        let name = path.file_name().and_then(OsStr::to_str);
        if let Some(name) = name.filter(|_| path.is_file()) {
            found.insert(name.to_owned(), text(&path)?);
        }
    }
    Ok(found)
}

/// Everything that is rendered says by which version.
fn ensure_version(text: &str, version: &str) -> Result<()> {
    let by = text
        .strip_prefix("# rendered by llm-proxy ")
        .and_then(|rest| rest.split(' ').next());
    ensure!(
        by.is_none_or(|by| by == version),
        "rendered by {}, but the module is {version}: refresh it with `UPDATE=1 cargo test`",
        by.unwrap_or_default(),
    );
    Ok(())
}

fn text(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| path.display().to_string())
}

/// The module's name, as `llm-proxy` looks for it beside itself.
const MODULE: &str = "llm_proxy.wasm";

/// Where the examples look for it.
const BUILT_MODULE: &str = "target/module/release/llm_proxy.wasm";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_version_has_rendered_is_refused() {
        let text = "# rendered by llm-proxy 0.1.0 from envoy/a.gateway.yaml; do not edit\n";
        assert!(ensure_version(text, "0.1.0").is_ok());
        assert!(ensure_version("# written by hand\n", "0.1.0").is_ok());
        let error = ensure_version(text, "0.2.0").unwrap_err().to_string();
        assert!(error.starts_with("rendered by 0.1.0, but the module is 0.2.0"));
    }
}
