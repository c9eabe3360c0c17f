//! Changes of the configuration while Envoy runs: read, checked, and handed over file by file.
//!
//! ```text
//! gateway.yaml ─► check ─► parts ─► clusters, old and new ─► routes for the old and the new plugin in the
//!                                   listener ─► that plugin ─► the new routes ─► later: the new clusters
//! ```
//!
//! So no request finds a route without its cluster, or a selection without its route: the plugin in the
//! listener, which selects, and the routes, which follow, are not replaced in one moment. A cluster that
//! is gone stays for a while: requests that are on their way to it may need another attempt there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::super::admin::Admin;
use super::super::{System, complain, is_standard_input, read};
use super::files::Directory;
use super::secrets::{Secrets, Wanted};
use super::watch::Watch;
use crate::check::{self, Keys};
use crate::config::Text;
use crate::endpoint::Address;
use crate::render::Source;
use crate::render::envoy::parts::{self, File, Parts};
use crate::render::envoy::{Machine, Table};

/// What stays as it was when Envoy was started.
#[derive(Clone, Debug)]
pub struct Fixed {
    /// The configuration.
    pub file: PathBuf,
    /// Where to listen instead of what it says.
    pub listen: Option<Address>,
    /// The machine.
    pub machine: Machine,
    /// The variables in Envoy's environment by which the module authenticates, and the literals that
    /// have become variables.
    pub variables: BTreeSet<String>,
    /// Those literals, as digests.
    pub literals: BTreeMap<String, String>,
}

/// A configuration as Envoy reads it, and the files that it was made of.
pub struct Rendered {
    parts: Parts,
    files: BTreeSet<PathBuf>,
    secrets: Vec<Wanted>,
    /// The keys beside the backends and the routes, as written.
    settings: Value,
}

impl Fixed {
    /// Renders a configuration for files in this directory.
    ///
    /// # Errors
    ///
    /// One line: what cannot be changed without a restart, or which file cannot be read.
    pub fn render(&self, mut source: Source, directory: &Directory) -> Result<Rendered, String> {
        if let Some(listen) = &self.listen {
            source.listen_at(listen.clone());
        }
        let literals = source.variables().iter().map(|it| {
            let digest = digest(it.value.expose().as_bytes());
            (it.name.clone(), digest)
        });
        let changed: BTreeSet<String> = literals
            .filter(|(name, digest)| self.literals.get(name) != Some(digest))
            .map(|(name, _)| name)
            .collect();
        let is_known = |name: &str| self.variables.contains(name) && !changed.contains(name);
        source.inject_unknown(&is_known, &System);
        // What cannot be handed over otherwise: the module needs it when it starts.
        let mut names = source.variable_names().iter();
        if let Some(name) = names.find(|name| !is_known(name)) {
            let variables = source.variables().iter();
            let mut ours = variables
                .filter(|it| it.name == *name)
                .map(|it| it.at.to_string());
            let what = ours
                .next()
                .unwrap_or_else(|| format!("the variable {name}"));
            return Err(format!(
                "{what} needs a restart: Envoy keeps the environment with which it was started"
            ));
        }
        source.keep_plugins_apart(&self.variables);
        let mut parts = Parts::new(&source, &self.machine, directory.path());
        let mut files: BTreeSet<PathBuf> = source.files().map(PathBuf::from).collect();
        if !is_standard_input(&self.file) {
            files.insert(self.file.clone());
        }
        for cluster in parts.clusters.values_mut() {
            copy_roots(cluster, &self.machine.roots, directory)?;
        }
        Ok(Rendered {
            parts,
            files,
            secrets: source.injected().map(Wanted::from).collect(),
            settings: source.settings(),
        })
    }
}

impl Rendered {
    /// The secrets that are not in Envoy's environment.
    pub fn secrets(&self) -> Vec<Wanted> {
        self.secrets.clone()
    }

    /// Writes all files, for an Envoy that is going to start. Gives its bootstrap configuration.
    pub fn write(&self, directory: &Directory) -> io::Result<PathBuf> {
        let files = [
            (
                File::Clusters,
                parts::clusters(self.parts.clusters.values(), 0),
            ),
            (File::Routes, parts::routes(&self.parts.table, 0)),
            (File::Chooser, parts::chooser(&self.parts.chooser, 0)),
        ];
        for (file, content) in files {
            directory.replace(&file.path(directory.path()), content.to_string().as_bytes())?;
        }
        let bootstrap = directory.path().join("envoy.json");
        directory.replace(&bootstrap, self.parts.bootstrap.to_string().as_bytes())?;
        Ok(bootstrap)
    }
}

/// The thread that reloads. It ends with this value.
#[derive(Debug)]
pub struct Reloads {
    requests: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Reloads {
    /// Watches the files of a configuration that an Envoy was started with.
    pub fn start(
        fixed: Fixed,
        rendered: Rendered,
        secrets: Secrets,
        directory: &Directory,
        admin: Admin,
    ) -> Self {
        let (requests, receiver) = mpsc::channel();
        let mut reloader = Reloader {
            fixed,
            directory: directory.reference(),
            admin,
            watch: Watch::default(),
            applied: rendered,
            secrets,
            retired: BTreeMap::new(),
            version: 0,
        };
        reloader.watch();
        let thread = thread::spawn(move || reloader.run(&receiver));
        Self {
            requests: Some(requests),
            thread: Some(thread),
        }
    }

    /// Reads the configuration again, whether it has changed or not.
    pub fn request(&self) {
        if let Some(requests) = &self.requests {
            // The thread ends after this value.
            let _ = requests.send(());
        }
    }

    /// Reloads no more. A reload that has begun is finished.
    pub fn stop(&mut self) {
        self.requests = None;
        if let Some(thread) = self.thread.take() {
            // What has panicked has said so.
            let _ = thread.join();
        }
    }
}

impl Drop for Reloads {
    fn drop(&mut self) {
        self.stop();
    }
}

struct Reloader {
    fixed: Fixed,
    directory: Directory,
    admin: Admin,
    watch: Watch,
    applied: Rendered,
    secrets: Secrets,
    /// Clusters that are gone, and since when.
    retired: BTreeMap<String, (Value, Instant)>,
    /// Of the files.
    version: u64,
}

/// What Envoy did with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taken {
    Applied,
    Refused,
    /// It does not answer: it is starting, or ending. It reads the files when it starts.
    Unknown,
}

impl Reloader {
    fn run(&mut self, requests: &Receiver<()>) {
        loop {
            match requests.recv_timeout(POLL) {
                Ok(()) => {
                    // What has changed as well is read with it.
                    self.watch.changed();
                    self.reload();
                }
                Err(RecvTimeoutError::Timeout) => {
                    let changed = self.watch.changed();
                    let is_secret = |path: &PathBuf| {
                        let mut secrets = self.applied.secrets.iter();
                        secrets.any(|it| it.file() == Some(path.as_path()))
                    };
                    if changed.iter().any(|path| !is_secret(path)) {
                        self.reload();
                    } else if !changed.is_empty() {
                        self.reread_secrets();
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.forget_retired(Instant::now());
        }
    }

    fn watch(&mut self) {
        self.watch.set(self.applied.files.iter().cloned());
    }

    /// Reads the configuration and takes it, if nothing is wrong with it.
    fn reload(&mut self) {
        let file = self.fixed.file.display().to_string();
        match self.try_reload() {
            Ok(changes) if changes.is_empty() => {
                complain(&format!(
                    "llm-proxy: {file} was read again: nothing has changed"
                ));
            }
            Ok(changes) => complain(&format!("llm-proxy: reloaded: {}", changes.join(", "))),
            Err(why) => {
                let why = if why.is_empty() {
                    format!("{file} is wrong")
                } else {
                    why
                };
                complain(&format!(
                    "llm-proxy: not reloaded: {why}; what was there serves on"
                ));
            }
        }
    }

    /// Hands changed keys over, which concerns nothing else.
    fn reread_secrets(&mut self) {
        match self.secrets.refresh() {
            Ok(backends) => {
                let keys: Vec<String> = backends.iter().map(|it| rotated(it)).collect();
                if !keys.is_empty() {
                    complain(&format!("llm-proxy: reloaded: {}", keys.join(", ")));
                }
            }
            Err(error) => complain(&format!("llm-proxy: not reloaded: {error}")),
        }
    }

    fn try_reload(&mut self) -> Result<Vec<String>, String> {
        if is_standard_input(&self.fixed.file) {
            return Err("the configuration was read from standard input".to_owned());
        }
        let text = Text::new(read(&self.fixed.file).map_err(|failure| failure.message)?);
        let checked = check::check(&text, &System, Keys::Needed);
        super::super::check::report(&self.fixed.file, &text, &checked.diagnostics);
        let source = checked.source.ok_or_else(String::new)?;
        let next = self.fixed.render(source, &self.directory)?;
        let mut changes = changes(&self.applied.parts, &next.parts);
        // Before the clusters that need them.
        let secrets = self.secrets.want(next.secrets());
        let secrets = secrets.map_err(|error| error.to_string())?;
        if !changes.is_empty() {
            self.apply(&next)?;
        }
        changes.extend(secrets.iter().map(|it| rotated(it)));
        if self.applied.parts.bootstrap != next.parts.bootstrap {
            changes.push(needs_restart(&self.applied.settings, &next.settings));
        }
        // What needs a restart is compared with what Envoy was started with.
        let bootstrap = std::mem::take(&mut self.applied.parts.bootstrap);
        let settings = std::mem::take(&mut self.applied.settings);
        self.applied = next;
        self.applied.parts.bootstrap = bootstrap;
        self.applied.settings = settings;
        self.watch();
        Ok(changes)
    }

    /// Hands the parts over, in an order in which every request finds its way.
    fn apply(&mut self, next: &Rendered) -> Result<(), String> {
        let now = Instant::now();
        let old = self.applied.parts.clone();
        let retired = self.retired.clone();
        self.retired
            .retain(|name, _| !next.parts.clusters.contains_key(name));
        for (name, cluster) in &old.clusters {
            if !next.parts.clusters.contains_key(name) {
                self.retired.insert(name.clone(), (cluster.clone(), now));
            }
        }
        if old.clusters != next.parts.clusters
            && self.put_clusters(&next.parts.clusters) == Taken::Refused
        {
            self.retired = retired;
            self.put_clusters(&old.clusters);
            return Err("Envoy refuses it, for the reason above".to_owned());
        }
        if old.chooser != next.parts.chooser {
            let both = Table::both(&next.parts.table, &old.table);
            let is_taken = self.put(File::Routes, |version| parts::routes(&both, version))
                != Taken::Refused
                && self.put(File::Chooser, |version| {
                    parts::chooser(&next.parts.chooser, version)
                }) != Taken::Refused;
            if !is_taken {
                self.put(File::Chooser, |version| {
                    parts::chooser(&old.chooser, version)
                });
                self.put(File::Routes, |version| parts::routes(&old.table, version));
                self.put_clusters(&old.clusters);
                return Err("Envoy refuses it, for the reason above".to_owned());
            }
            // The main thread has it; the workers get it within their next events.
            thread::sleep(WORKERS);
        }
        if old.chooser != next.parts.chooser || old.table != next.parts.table {
            self.put(File::Routes, |version| {
                parts::routes(&next.parts.table, version)
            });
        }
        Ok(())
    }

    fn put_clusters(&mut self, clusters: &BTreeMap<String, Value>) -> Taken {
        let retired: Vec<Value> = self.retired.values().map(|(it, _)| it.clone()).collect();
        self.put(File::Clusters, |version| {
            parts::clusters(clusters.values().chain(&retired), version)
        })
    }

    /// Replaces a file, and waits until Envoy has read it.
    fn put(&mut self, file: File, content: impl Fn(u64) -> Value) -> Taken {
        self.version += 1;
        let before = self.progress(file);
        let content = content(self.version).to_string();
        let path = file.path(self.directory.path());
        if let Err(error) = self.directory.replace(&path, content.as_bytes()) {
            complain(&format!("llm-proxy: {}: {error}", path.display()));
            return Taken::Refused;
        }
        let Some(before) = before else {
            return Taken::Unknown;
        };
        let version = format!("\"{}\"", self.version);
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            match self.progress(file) {
                Some(now) if now.refused > before.refused => return Taken::Refused,
                Some(now) if now.version == version && now.warming == 0 => return Taken::Applied,
                Some(_) => thread::sleep(PROGRESS),
                None => return Taken::Unknown,
            }
        }
        Taken::Unknown
    }

    fn progress(&self, file: File) -> Option<Progress> {
        let prefix = file.statistics();
        let filter =
            format!("{prefix}.(version_text|update_rejected)|cluster_manager.warming_clusters");
        Some(Progress::read(&self.admin.stats(&filter).ok()?))
    }

    /// Removes what no request can need any more.
    fn forget_retired(&mut self, now: Instant) {
        let count = self.retired.len();
        self.retired
            .retain(|_, (_, since)| now.duration_since(*since) < RETIREMENT);
        if self.retired.len() < count {
            let clusters = self.applied.parts.clusters.clone();
            self.put_clusters(&clusters);
            let retired = self.retired.values().map(|(cluster, _)| cluster);
            let used = clusters.values().chain(retired).filter_map(roots);
            self.directory.keep_only(ROOTS, &used.collect());
            if self.retired.is_empty() {
                self.secrets.forget();
            }
        }
    }
}

/// How far Envoy has got with a file.
#[derive(Debug, Default, PartialEq, Eq)]
struct Progress {
    version: String,
    refused: u64,
    warming: u64,
}

impl Progress {
    fn read(stats: &str) -> Self {
        let mut progress = Self::default();
        for (name, value) in stats.lines().filter_map(|line| line.split_once(": ")) {
            match name.rsplit('.').next() {
                Some("version_text") => progress.version = value.to_owned(),
                Some("update_rejected") => progress.refused = value.parse().unwrap_or_default(),
                Some("warming_clusters") => progress.warming = value.parse().unwrap_or_default(),
                _ => {}
            }
        }
        progress
    }
}

fn rotated(backend: &str) -> String {
    format!("key of backend {backend} changed")
}

/// What a person wants to know of a change.
fn changes(old: &Parts, new: &Parts) -> Vec<String> {
    let mut changes = Vec::new();
    let names: BTreeSet<&String> = old.clusters.keys().chain(new.clusters.keys()).collect();
    let mut pools = BTreeSet::new();
    for name in names {
        let what = match (old.clusters.get(name), new.clusters.get(name)) {
            (Some(old), Some(new)) if old == new => continue,
            (Some(_), Some(_)) => "changed",
            (None, _) => "added",
            (_, None) => "removed",
        };
        match name.split_once('/') {
            // The server of access tokens; the answer to probes.
            Some(("llm-token" | "llm-proxy", _)) => {}
            // A pool has a cluster for each order of its members.
            Some((pool, _)) => _ = pools.insert(pool),
            None => changes.push(format!("backend {name} {what}")),
        }
    }
    let is_in = |parts: &Parts, pool: &str| {
        let mut names = parts.clusters.keys().filter_map(|it| it.split_once('/'));
        names.any(|(name, _)| name == pool)
    };
    for pool in pools {
        let what = match (is_in(old, pool), is_in(new, pool)) {
            (true, false) => "removed",
            (false, true) => "added",
            _ => "changed",
        };
        changes.push(format!("pool {pool} {what}"));
    }
    if old.table != new.table || (changes.is_empty() && old.chooser != new.chooser) {
        changes.push("routes changed".to_owned());
    }
    changes
}

/// Which keys of the configuration Envoy reads only when it starts.
fn needs_restart(old: &Value, new: &Value) -> String {
    let empty = serde_json::Map::new();
    let (old, new) = (old.as_object(), new.as_object());
    let (old, new) = (old.unwrap_or(&empty), new.unwrap_or(&empty));
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let changed = names
        .into_iter()
        .filter(|name| old.get(*name) != new.get(*name));
    let changed: Vec<&str> = changed.map(String::as_str).collect();
    match changed.is_empty() {
        true => "something in it needs a restart".to_owned(),
        false => format!("a restart is needed for {}", changed.join(", ")),
    }
}

/// Lets a cluster trust a copy of its CA file, whose name depends on the content: so a change of the file is
/// a change of the cluster.
fn copy_roots(cluster: &mut Value, system: &str, directory: &Directory) -> Result<(), String> {
    let Some(Value::String(file)) = cluster.pointer_mut(ROOTS_OF_CLUSTER) else {
        return Ok(());
    };
    if file == system {
        return Ok(());
    }
    let content = fs::read(&*file).map_err(|error| format!("{file}: {error}"))?;
    let name = format!("{}.pem", digest(&content));
    let copy = directory.path().join(ROOTS).join(name);
    if !copy.exists() {
        let written = directory.replace(&copy, &content);
        written.map_err(|error| format!("{}: {error}", copy.display()))?;
    }
    *file = copy.display().to_string();
    Ok(())
}

fn roots(cluster: &Value) -> Option<PathBuf> {
    let file = cluster.pointer(ROOTS_OF_CLUSTER)?.as_str()?;
    Some(Path::new(file).to_owned())
}

/// The SHA-256 of bytes, in hexadecimal digits.
pub fn digest(bytes: &[u8]) -> String {
    let bytes = Sha256::digest(bytes);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

const ROOTS_OF_CLUSTER: &str =
    "/transport_socket/typed_config/common_tls_context/validation_context/trusted_ca/filename";

/// The directory of the copies of CA files.
const ROOTS: &str = "ca";

/// How often the files are looked at.
const POLL: Duration = Duration::from_millis(150);

/// How often Envoy is looked at while it takes a file.
const PROGRESS: Duration = Duration::from_millis(20);

/// For a cluster whose name has to be resolved first.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long the workers may take after the main thread.
const WORKERS: Duration = Duration::from_millis(150);

/// How long a cluster stays after it is gone.
const RETIREMENT: Duration = Duration::from_secs(60);
