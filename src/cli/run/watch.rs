//! Which files have changed, by their places and times.
//!
//! The files are looked at again and again instead of being reported by the system: that also works for
//! files on a network, and for those that Kubernetes mounts, where a link to a directory is replaced.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Files, as they were when they were last looked at.
#[derive(Debug, Default)]
pub struct Watch {
    files: BTreeMap<PathBuf, State>,
}

#[derive(Debug, Default)]
struct State {
    /// As it was when it was reported.
    reported: Option<Stamp>,
    /// As it was last.
    seen: Option<Stamp>,
}

/// What differs from one content of a file to the next. A link counts as what it leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    /// `None`: there is no such file.
    fn of(path: &Path) -> Option<Self> {
        let found = fs::metadata(path).ok()?;
        Some(Self {
            device: found.dev(),
            inode: found.ino(),
            size: found.size(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        })
    }
}

impl Watch {
    /// Watches these files, and no others. Those that are new count as they are now.
    pub fn set(&mut self, paths: impl IntoIterator<Item = PathBuf>) {
        let mut files = BTreeMap::new();
        for path in paths {
            let state = self.files.remove(&path).unwrap_or_else(|| {
                let stamp = Stamp::of(&path);
                State {
                    reported: stamp,
                    seen: stamp,
                }
            });
            files.insert(path, state);
        }
        self.files = files;
    }

    /// The files that have changed since they were last reported, and have stayed as they are since this
    /// was last called: a file that is being written is not read in the middle.
    pub fn changed(&mut self) -> Vec<PathBuf> {
        let mut changed = Vec::new();
        for (path, state) in &mut self.files {
            let now = Stamp::of(path);
            if now == state.seen && now != state.reported {
                state.reported = now;
                changed.push(path.clone());
            }
            state.seen = now;
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const NONE: [&str; 0] = [];

    #[test]
    fn a_change_is_reported_once_when_it_has_settled() {
        let directory =
            std::env::temp_dir().join(format!("llm-proxy-watch-{}", std::process::id()));
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(directory.join("one")).unwrap();
        fs::create_dir_all(directory.join("two")).unwrap();
        let write = |name: &str, text: &str| fs::write(directory.join(name), text).unwrap();
        write("one/file", "a");
        write("two/file", "b");
        write("plain", "a");
        // As Kubernetes mounts a ConfigMap.
        symlink("one", directory.join("data")).unwrap();
        symlink("data/file", directory.join("file")).unwrap();
        let (plain, linked) = (directory.join("plain"), directory.join("file"));
        let mut watch = Watch::default();
        watch.set([plain.clone(), linked.clone()]);
        assert_eq!(texts(&watch.changed()), NONE);
        write("plain", "ab");
        assert_eq!(texts(&watch.changed()), NONE, "it may still be written");
        assert_eq!(watch.changed(), vec![plain.clone()]);
        assert_eq!(texts(&watch.changed()), NONE);
        symlink("two", directory.join("next")).unwrap();
        fs::rename(directory.join("next"), directory.join("data")).unwrap();
        watch.changed();
        assert_eq!(watch.changed(), vec![linked.clone()]);
        fs::remove_file(&plain).unwrap();
        watch.changed();
        assert_eq!(
            watch.changed(),
            vec![plain.clone()],
            "one that is gone has changed"
        );
        write("plain", "ab");
        watch.set([plain.clone(), linked]);
        watch.changed();
        assert_eq!(watch.changed(), [plain]);
        fs::remove_dir_all(&directory).unwrap();
    }

    fn texts(paths: &[PathBuf]) -> Vec<String> {
        paths.iter().map(|it| it.display().to_string()).collect()
    }
}
