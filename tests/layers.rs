//! The modules of the crate use each other as `src/lib.rs` draws it, and in no circle.
#![cfg(not(target_family = "wasm"))]
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// What no module may use although `lib.rs` has it above, and why.
const FORBIDDEN: [(&str, &str, &str); 3] = [
    (
        "exchange",
        "config",
        "the core reads no configuration: it has a gateway",
    ),
    (
        "render",
        "exchange",
        "what both have to know stands in contract",
    ),
    ("filter", "config::file", "the filter has a gateway"),
];

/// Circles that are left. One that is gone has to be removed here.
const CIRCLES: [(&str, &str); 1] = [
    // What is wrong with another gateway's file is that it has to be imported, and what is imported is
    // checked.
    ("check", "import"),
];

/// Each top-level module, and the place of its group in `lib.rs`.
type Groups = BTreeMap<String, usize>;

/// By user and used module the first place in the sources.
type Uses = BTreeMap<(String, String), String>;

#[test]
fn a_module_uses_only_its_own_group_and_those_above() {
    let (groups, uses) = (groups(), uses());
    assert!(groups.len() > 30 && uses.len() > 80, "{groups:?} {uses:?}");
    let mut wrong = Vec::new();
    for ((user, used), place) in &uses {
        if groups[user] < groups[used] {
            wrong.push(format!(
                "{place}: {user} uses {used}, which stands below it"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_modules_use_each_other_in_a_circle() {
    let mut uses: Vec<(String, String)> = uses().into_keys().collect();
    for (user, used) in CIRCLES {
        let known = (user.to_owned(), used.to_owned());
        let count = uses.len();
        uses.retain(|it| *it != known);
        assert!(uses.len() < count, "{user} does not use {used} any more");
    }
    // What uses nothing that is left, or is used by nothing, is in no circle.
    loop {
        let users: BTreeSet<String> = uses.iter().map(|(user, _)| user.clone()).collect();
        let used: BTreeSet<String> = uses.iter().map(|(_, used)| used.clone()).collect();
        let count = uses.len();
        uses.retain(|(one, other)| users.contains(other) && used.contains(one));
        if uses.len() == count {
            break;
        }
    }
    assert!(uses.is_empty(), "these are in circles: {uses:?}");
}

#[test]
fn modules_that_must_not_know_each_other_do_not() {
    let groups = groups();
    for (user, used, why) in FORBIDDEN {
        assert!(groups.contains_key(user), "{user}");
        for (path, text) in sources() {
            if module_of(&path) == user {
                let name = format!("crate::{used}");
                let found = text.lines().find(|line| {
                    let mut places = line.match_indices(&name);
                    places.any(|(at, _)| {
                        let next = line.get(at + name.len()..).unwrap().chars().next();
                        !next.is_some_and(|it| it.is_alphanumeric() || it == '_')
                    })
                });
                assert_eq!(found, None, "{}: {why}", path.display());
            }
        }
    }
}

#[test]
fn only_one_file_calls_the_host() {
    for (path, text) in sources() {
        if path.ends_with("filter/host.rs") {
            continue;
        }
        for name in ["hostcalls", "unsafe {", "unsafe extern", "extern \"C\""] {
            assert!(!text.contains(name), "{}: {name}", path.display());
        }
    }
}

/// The groups of `mod` lines in `lib.rs`: a blank line ends one.
fn groups() -> Groups {
    let text = fs::read_to_string(root().join("lib.rs")).unwrap();
    let mut groups = Groups::new();
    let mut group = 0;
    // What only tests have comes last.
    let text = text.split("#[cfg(test)]").next().unwrap();
    for line in text.lines() {
        match line.strip_prefix("pub mod ").or(line.strip_prefix("mod ")) {
            Some(name) => _ = groups.insert(name.trim_end_matches(';').to_owned(), group),
            None if line.is_empty() => group += 1,
            None => {}
        }
    }
    groups
}

fn uses() -> Uses {
    let names = groups();
    let mut uses = Uses::new();
    for (path, text) in sources() {
        let user = module_of(&path);
        for used in used_in(&text) {
            if used != user && names.contains_key(&user) && names.contains_key(&used) {
                let place = path.display().to_string();
                uses.entry((user.clone(), used)).or_insert(place);
            }
        }
    }
    uses
}

/// What stands behind `crate::`, in `use` lines and elsewhere.
fn used_in(text: &str) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    for (at, start) in text.match_indices("crate::") {
        let rest = text.get(at + start.len()..).unwrap();
        let words = |text: &str| -> String {
            let is_word = |it: &char| it.is_ascii_alphanumeric() || *it == '_';
            text.chars().take_while(is_word).collect()
        };
        match rest.strip_prefix('{') {
            Some(list) => {
                let list = list.split_once(';').map_or(list, |(list, _)| list);
                let mut depth = 0;
                for item in list.split_inclusive(['{', '}', ',']) {
                    if depth == 0 {
                        used.insert(words(item.trim_start()));
                    }
                    depth += item.matches('{').count();
                    depth = depth.saturating_sub(item.matches('}').count());
                }
            }
            None => _ = used.insert(words(rest)),
        }
    }
    used
}

/// Every source file of the library, without comments and tests.
fn sources() -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    collect(&root(), &mut files);
    files.sort();
    assert!(files.len() > 100, "{}", files.len());
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        let end = text.find("mod tests {").unwrap_or(text.len());
        let text = text.get(..end).unwrap();
        let is_code = |line: &&str| !line.trim_start().starts_with("//");
        let lines: Vec<&str> = text.lines().filter(is_code).collect();
        (path, lines.join("\n"))
    };
    files.into_iter().map(read).collect()
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|it| it == "rs") && !path.ends_with("tests.rs") {
            files.push(path);
        }
    }
}

/// The top-level module that a file belongs to.
fn module_of(path: &Path) -> String {
    let path = path.strip_prefix(root()).unwrap();
    let first = path.components().next().unwrap().as_os_str();
    first.to_str().unwrap().trim_end_matches(".rs").to_owned()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}
