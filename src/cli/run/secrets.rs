//! Secrets that Envoy does not have in its environment: read from files, or new since it was started.
//!
//! Each is a file in the private directory, which Envoy reads again when it is replaced. What authenticates
//! is in these files alone, and in no message.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::super::complain;
use super::files::Directory;
use crate::render::envoy::secrets::{Content, file, no_resource, resource};
use crate::render::{InjectedSecret, Origin};

/// A secret that the configuration needs.
#[derive(Clone)]
pub struct Wanted {
    header: String,
    backend: String,
    source: Source,
}

/// There is no `Debug`: it has secrets.
#[derive(Clone)]
enum Source {
    File(PathBuf),
    Value(String),
}

impl From<&InjectedSecret> for Wanted {
    fn from(secret: &InjectedSecret) -> Self {
        Self {
            header: secret.header.clone(),
            backend: secret.backend.clone(),
            source: match &secret.origin {
                Origin::File(path) => Source::File(path.into()),
                Origin::Value(value) => Source::Value(value.expose().to_string()),
            },
        }
    }
}

impl Wanted {
    /// The file that it is in, where it is in one.
    pub fn file(&self) -> Option<&Path> {
        match &self.source {
            Source::File(path) => Some(path),
            Source::Value(_) => None,
        }
    }

    fn read(&self) -> Result<String, String> {
        let text = match &self.source {
            Source::File(path) => {
                fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?
            }
            Source::Value(value) => value.clone(),
        };
        let value = text.trim();
        let why = match value {
            "" => "it is empty",
            _ if value.bytes().all(|b| matches!(b, 0x20..=0x7e)) => return Ok(value.to_owned()),
            _ => "it has a character that cannot stand in a header",
        };
        let place = self.file().unwrap_or(Path::new("the key"));
        Err(format!("{}: {why}", place.display()))
    }
}

/// The secrets of a gateway, as Envoy has them.
pub struct Secrets {
    directory: Directory,
    wanted: Vec<Wanted>,
    /// By header what was written last; `None`: that there is none.
    written: BTreeMap<String, Option<String>>,
}

impl Secrets {
    /// None yet, in a directory.
    pub fn new(directory: Directory) -> Self {
        Self {
            directory,
            wanted: Vec::new(),
            written: BTreeMap::new(),
        }
    }

    /// The directory of the files, below that of all files.
    pub fn directory_below(directory: &Path) -> PathBuf {
        directory.join(DIRECTORY)
    }

    /// From now on these are wanted. What was wanted before stays until [`Secrets::forget`].
    pub fn want(&mut self, wanted: Vec<Wanted>) -> io::Result<Vec<String>> {
        self.wanted = wanted;
        self.refresh()
    }

    /// Reads all files again, and gives the backends whose secrets have changed.
    ///
    /// # Errors
    ///
    /// A file of the private directory cannot be written.
    pub fn refresh(&mut self) -> io::Result<Vec<String>> {
        let mut changed = Vec::new();
        for wanted in &self.wanted {
            let backend = &wanted.backend;
            let before = self.written.get(&wanted.header);
            match (wanted.read(), before) {
                (Ok(value), Some(Some(before))) if value == *before => {}
                (Ok(value), before) => {
                    if before.is_some() && !changed.contains(backend) {
                        changed.push(backend.clone());
                    }
                    let content = resource(&wanted.header, Content::Value(&value));
                    self.write(&wanted.header, &content.to_string())?;
                    self.written.insert(wanted.header.clone(), Some(value));
                }
                (Err(why), Some(Some(_))) => complain(&format!(
                    "llm-proxy: warning: {why}; backend {backend} keeps the key that was read last"
                )),
                (Err(why), _) => {
                    complain(&format!(
                        "llm-proxy: warning: {why}; until there is a key, requests to backend {backend} get 503"
                    ));
                    self.write(&wanted.header, &no_resource().to_string())?;
                    self.written.insert(wanted.header.clone(), None);
                }
            }
        }
        Ok(changed)
    }

    /// Removes what is not wanted any more.
    pub fn forget(&mut self) {
        let is_wanted = |header: &String| self.wanted.iter().any(|it| it.header == *header);
        self.written.retain(|header, _| is_wanted(header));
        let directory = self.directory.path().join(DIRECTORY);
        let files = self.written.keys().map(|header| file(&directory, header));
        self.directory.keep_only(DIRECTORY, &files.collect());
    }

    fn write(&self, header: &str, content: &str) -> io::Result<()> {
        let directory = Self::directory_below(self.directory.path());
        self.directory
            .replace(&file(&directory, header), content.as_bytes())
    }
}

const DIRECTORY: &str = "secrets";
