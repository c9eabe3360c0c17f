//! How much memory an Envoy of this machine may take.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::thread;

use crate::render::envoy::DEFAULT_HEAP_LIMIT;

/// What bounds the memory of a process that is started here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Of the machine, or of the cgroup where that has less. Unit: bytes.
    pub total: u64,
    /// Whether it is the cgroup's.
    pub is_cgroup_limit: bool,
}

impl Memory {
    /// Reads it from Linux's files below `root`; elsewhere nothing is known.
    ///
    /// Source: <https://docs.kernel.org/admin-guide/cgroup-v2.html>, and `v1/memory.html` beside it. The
    /// files are those that Envoy's own monitor reads.
    pub fn find(root: &Path) -> Option<Self> {
        let read = |path: &str| fs::read_to_string(root.join(path)).ok();
        let machine = read("proc/meminfo")
            .as_deref()
            .and_then(|text| text.lines().find_map(|line| line.strip_prefix("MemTotal:")))
            .and_then(|text| text.trim().strip_suffix(" kB")?.parse::<u64>().ok())
            .and_then(|kibibytes| kibibytes.checked_mul(1 << 10))?;
        let cgroup = read("sys/fs/cgroup/memory.max")
            .or_else(|| read("sys/fs/cgroup/memory/memory.limit_in_bytes"));
        // "max", or a number beyond any machine, is no limit.
        let cgroup = cgroup.and_then(|text| text.trim().parse().ok());
        Some(match cgroup.filter(|limit| *limit < machine) {
            Some(total) => Self {
                total,
                is_cgroup_limit: true,
            },
            None => Self {
                total: machine,
                is_cgroup_limit: false,
            },
        })
    }

    /// What is left for Envoy's heap: nine tenths, without the VMs of all workers, and at least half
    /// of it all, since a VM takes 1 GiB only in an attack.
    pub fn heap_limit(self, workers: u64) -> u64 {
        let rest = (self.total / 10 * 9).saturating_sub(workers.saturating_mul(VM_BYTES));
        rest.max(self.total / 2)
    }
}

/// The heap limit, and whether the cgroup has a limit, for an Envoy with these arguments.
pub fn limits(arguments: &[OsString]) -> (u64, bool) {
    match Memory::find(Path::new("/")) {
        Some(memory) => (
            memory.heap_limit(workers(arguments)),
            memory.is_cgroup_limit,
        ),
        None => (DEFAULT_HEAP_LIMIT, false),
    }
}

/// How many workers Envoy starts: as `--concurrency` gives it, else one for each processor.
fn workers(arguments: &[OsString]) -> u64 {
    let mut given = arguments.iter().map(|it| it.to_string_lossy());
    let given = given
        .by_ref()
        .find_map(|argument| argument.strip_prefix("--concurrency").map(str::to_owned));
    let position = arguments.iter().position(|it| it == "--concurrency");
    let following = position.and_then(|at| arguments.get(at + 1));
    let given = match (given.as_deref(), following) {
        (Some(""), Some(number)) => number.to_string_lossy().parse().ok(),
        (Some(text), _) => text.strip_prefix('=').and_then(|text| text.parse().ok()),
        (None, _) => None,
    };
    let processors = || thread::available_parallelism().map_or(1, |it| it.get() as u64);
    given
        .filter(|workers| *workers > 0)
        .unwrap_or_else(processors)
}

/// Where Envoy ends a VM.
const VM_BYTES: u64 = 1 << 30;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smaller_of_machine_and_cgroup_counts() {
        const GIB: u64 = 1 << 30;
        for (number, (v2, v1, expected)) in [
            (None, None, (8 * GIB, false)),
            (Some("max\n"), None, (8 * GIB, false)),
            (Some("2147483648\n"), None, (2 * GIB, true)),
            (None, Some("1073741824\n"), (GIB, true)),
            (None, Some("9223372036854771712\n"), (8 * GIB, false)),
        ]
        .into_iter()
        .enumerate()
        {
            let name = format!("llm-proxy-memory-{}-{number}", std::process::id());
            let root = std::env::temp_dir().join(name);
            let write = |path: &str, text: &str| {
                let path = root.join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            };
            write(
                "proc/meminfo",
                "MemTotal:        8388608 kB\nMemFree: 1 kB\n",
            );
            if let Some(text) = v2 {
                write("sys/fs/cgroup/memory.max", text);
            }
            if let Some(text) = v1 {
                write("sys/fs/cgroup/memory/memory.limit_in_bytes", text);
            }
            let found = Memory::find(&root).map(|it| (it.total, it.is_cgroup_limit));
            fs::remove_dir_all(&root).unwrap();
            assert_eq!(found, Some(expected));
        }
    }

    #[test]
    fn the_heap_is_what_the_vms_leave_and_half_at_least() {
        let memory = |gibibytes: u64| Memory {
            total: (gibibytes * 10) << 30,
            is_cgroup_limit: false,
        };
        assert_eq!(memory(2).heap_limit(4), 14 << 30);
        assert_eq!(memory(1).heap_limit(8), 5 << 30);
    }

    #[test]
    fn workers_are_those_that_envoy_will_have() {
        let workers = |arguments: &[&str]| {
            let arguments: Vec<OsString> = arguments.iter().map(Into::into).collect();
            super::workers(&arguments)
        };
        assert_eq!(workers(&["-l", "debug", "--concurrency", "3"]), 3);
        assert_eq!(workers(&["--concurrency=5"]), 5);
        assert!(workers(&[]) >= 1);
        assert!(workers(&["--concurrency"]) >= 1);
    }
}
