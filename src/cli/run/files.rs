//! Files that last as long as the gateway.

use std::env;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::super::{Failure, NOT_WRITTEN};

/// Where the module is: in a file of its own, or in one that lasts as long as this value.
pub enum Module {
    /// In a file that was there.
    Elsewhere(PathBuf),
    /// In one that was written for this gateway.
    Here(TemporaryFile),
}

impl Module {
    /// The file.
    pub fn path(&self) -> &Path {
        match self {
            Self::Elsewhere(path) => path,
            Self::Here(file) => file.path(),
        }
    }
}

/// A file that lasts as long as this value.
pub struct TemporaryFile(PathBuf);

impl TemporaryFile {
    /// Writes a file that only this user can read.
    pub fn create(extension: &str, content: &[u8]) -> Result<Self, Failure> {
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

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        // What cannot be removed has no key in it.
        let _ = fs::remove_file(&self.0);
    }
}
