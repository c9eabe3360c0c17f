//! The files of one gateway, which last as long as it runs.

use std::collections::BTreeSet;
use std::env;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::super::{Failure, NOT_WRITTEN};

/// A directory that only this user can read. It is removed with this value.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    is_owner: bool,
}

impl Directory {
    /// Makes one.
    pub fn create() -> Result<Self, Failure> {
        let path = env::temp_dir().join(format!("llm-proxy-{}", std::process::id()));
        // That of an earlier process with this number; somebody else's is not removed, and refused.
        let _ = fs::remove_dir_all(&path);
        let made = DirBuilder::new().mode(0o700).create(&path);
        made.map_err(|error| Failure::new(NOT_WRITTEN, format!("{}: {error}", path.display())))?;
        Ok(Self {
            path,
            is_owner: true,
        })
    }

    /// The same directory, for a value that ends before this one.
    pub fn reference(&self) -> Self {
        Self {
            path: self.path.clone(),
            is_owner: false,
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file below it, in one step: whoever reads it sees the old content or the new one.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn replace(&self, file: &Path, content: &[u8]) -> io::Result<()> {
        if let Some(parent) = file.parent() {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(parent)?;
        }
        let mut name = OsString::from(".");
        name.push(file.file_name().unwrap_or_default());
        let next = file.with_file_name(name);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        options.open(&next)?.write_all(content)?;
        fs::rename(next, file)
    }

    /// Removes all other files of a directory below it.
    pub fn keep_only(&self, directory: &str, files: &BTreeSet<PathBuf>) {
        let found = fs::read_dir(self.path.join(directory)).into_iter();
        for file in found.flatten().flatten() {
            if !files.contains(&file.path()) {
                // What cannot be removed is removed at the end.
                let _ = fs::remove_file(file.path());
            }
        }
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if self.is_owner {
            // Nobody is left to tell when this cannot be done.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}
