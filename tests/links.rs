//! Every relative link of the documentation leads to a file or heading of this repository.
#![cfg(not(target_family = "wasm"))]
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn every_relative_link_leads_to_a_file_or_heading() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut broken = Vec::new();
    let mut seen = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for link in links(&text) {
            seen += 1;
            if let Err(problem) = follow(&page, &link) {
                let page = page.strip_prefix(root).unwrap().display();
                broken.push(format!("{page}: ({link}): {problem}"));
            }
        }
    }
    assert!(seen > 80, "only {seen} links were found");
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn every_page_that_the_sources_name_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = vec![root.join("Makefile"), root.join("Cargo.toml")];
    for directory in ["src", "tests", "envoy"] {
        collect(&root.join(directory), &["rs", "yaml", "json"], &mut files);
    }
    let mut missing = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        for (at, _) in text.match_indices("docs/") {
            let (before, rest) = text.split_at(at);
            // Part of a URL or of another path.
            if before.ends_with(|it: char| it.is_alphanumeric() || "/.-}".contains(it)) {
                continue;
            }
            let is_name = |it: char| it.is_ascii_lowercase() || "/-".contains(it);
            let name = rest.split(|it| !is_name(it)).next().unwrap();
            let is_page = rest.strip_prefix(name).unwrap().starts_with(".md");
            if is_page && !root.join(format!("{name}.md")).is_file() {
                missing.push(format!("{}: {name}.md", file.display()));
            }
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

#[test]
fn the_readme_stays_short_and_leads_to_every_page() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    let lines = readme.lines().count();
    assert!(lines < 200, "{lines} lines: move details to docs/");
    let linked: Vec<PathBuf> = links(&readme).iter().map(|it| root.join(it)).collect();
    for page in pages() {
        assert!(
            linked.contains(&page) || page == root.join("README.md"),
            "README.md has no link to {}",
            page.display()
        );
    }
}

#[test]
fn links_and_headings_are_found_as_a_reader_sees_them() {
    let text = "see [a](b.md#c), [`d`](e/f.md) and <https://g.example>\n```\n[no](link)\n```\n";
    assert_eq!(links(text), ["b.md#c", "e/f.md"]);
    let text = "# One, *two*\n## `a_b` and c-d\n```sh\n# no heading\n```\n## One, two\n";
    assert_eq!(headings(text), ["one-two", "a_b-and-c-d", "one-two-1"]);
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    assert!(follow(&page, "no-such-page.md").is_err());
    assert!(follow(&page, "docs/pools.md#no-such-heading").is_err());
}

/// The pages of the documentation.
fn pages() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let names = ["README.md", "CHANGELOG.md", "envoy/README.md"];
    let mut pages: Vec<_> = names.iter().map(|name| root.join(name)).collect();
    collect(&root.join("docs"), &["md"], &mut pages);
    pages
}

/// Adds the files below a directory whose names end in one of these extensions.
fn collect(directory: &Path, extensions: &[&str], files: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(directory).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        let extension = path.extension().and_then(|it| it.to_str());
        if path.is_dir() {
            collect(&path, extensions, files);
        } else if extension.is_some_and(|it| extensions.contains(&it)) {
            files.push(path);
        }
    }
}

/// The targets of the relative links of a page.
fn links(text: &str) -> Vec<String> {
    let mut links = Vec::new();
    for line in prose(text) {
        for (at, opening) in line.match_indices("](") {
            let (_, rest) = line.split_at(at + opening.len());
            let target = rest.split_once(')').map_or(rest, |(target, _)| target);
            if !target.contains("://") {
                links.push(target.to_owned());
            }
        }
    }
    links
}

/// Looks for the file and the heading of a link.
fn follow(page: &Path, link: &str) -> Result<(), String> {
    let (path, heading) = link.split_once('#').unwrap_or((link, ""));
    let target = match path {
        "" => page.to_owned(),
        path => page.parent().expect("the page's directory").join(path),
    };
    if !target.exists() {
        return Err("no such file".to_owned());
    }
    if heading.is_empty() {
        return Ok(());
    }
    let text = fs::read_to_string(&target).map_err(|error| error.to_string())?;
    if headings(&text).iter().any(|it| it == heading) {
        Ok(())
    } else {
        Err("no such heading".to_owned())
    }
}

/// The anchors of a page's headings, as GitHub makes them: in lower case, without punctuation, with
/// `-` for a space, and with a number from the second of the same text on.
fn headings(text: &str) -> Vec<String> {
    let mut counts: HashMap<String, usize> = HashMap::new();
    let mut anchors = Vec::new();
    for line in prose(text).filter(|line| line.starts_with('#')) {
        let title = line.trim_start_matches('#').trim().to_lowercase();
        let anchor: String = title
            .chars()
            .filter(|it| it.is_alphanumeric() || " -_".contains(*it))
            .map(|it| if it == ' ' { '-' } else { it })
            .collect();
        let count = counts.entry(anchor.clone()).or_default();
        anchors.push(match *count {
            0 => anchor,
            count => format!("{anchor}-{count}"),
        });
        *count += 1;
    }
    anchors
}

/// The lines of a page outside of its code blocks.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut is_code = false;
    text.lines().filter(move |line| {
        let is_fence = line.trim_start().starts_with("```");
        if is_fence {
            is_code = !is_code;
        }
        !is_code && !is_fence
    })
}
