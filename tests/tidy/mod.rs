//! Reads the source and fails where a reviewer would otherwise have to notice.
//!
//! The architecture is the table in `src/lib.rs`; the first test here reads that table and every import.
//! Each rule is a function of a path and a text, so each is shown to find a planted violation. A finding
//! names file and line and says what to do.

mod circles;
mod finding;
mod finds;
mod floors;
mod phrases;
mod rules;
mod source;
mod types;

use circles::{SPREAD_TYPES, check_circles};
use finding::Finding;
use floors::{Floors, check_floors, floors};
use phrases::{EXCEPTIONS, check_phrases};
use rules::{
    check_comments, check_conflicts, check_links, check_machine_paths, check_names, check_shape, check_words,
};
use std::path::Path;
use std::process::Command;
use types::{SHARED_NAMES, check_types};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Tracked files, or every file when this is no git checkout.
fn tracked() -> Vec<String> {
    // A file in a worktree, a folder in a clone.
    if !root().join(".git").exists() {
        return walk(root());
    }
    let listed = Command::new("git").arg("-C").arg(root()).args(["ls-files", "-z"]).output();
    let listed = listed.unwrap_or_else(|error| panic!("git lists the files of a checkout: {error}"));
    // Every file would include those of packages and builds.
    assert!(listed.status.success() && !listed.stdout.is_empty(), "git ls-files: {listed:?}");
    let paths = String::from_utf8_lossy(&listed.stdout);
    let is_file = |path: &&str| !path.is_empty() && root().join(path).is_file();
    paths.split('\0').filter(is_file).map(String::from).collect()
}

fn walk(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let skipped = ["target", "node_modules", ".git", "data"].iter().any(|skip| name == *skip);
            match entry.path() {
                path if path.is_dir() && !skipped => folders.push(path),
                path if path.is_file() => found.push(relative(&path)),
                _ => {}
            }
        }
    }
    found
}

fn relative(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).to_string_lossy().into_owned()
}

fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(root().join(path)).ok()
}

/// The files under `src/`, found on disk so that one not yet added to git counts as well.
fn modules() -> Vec<(String, String)> {
    let mut paths = walk(&root().join("src"));
    paths.retain(|path| path.ends_with(".rs"));
    paths.sort();
    paths.into_iter().filter_map(|path| read(&path).map(|text| (path, text))).collect()
}

fn report(findings: Vec<Finding>) {
    let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
    assert!(lines.is_empty(), "\n{}\n", lines.join("\n"));
}

fn table() -> Floors {
    floors(&read("src/lib.rs").expect("src/lib.rs is text"))
}

#[test]
fn imports_point_down() {
    let floors = table();
    assert!(floors.len() > 10, "the table in src/lib.rs was not understood: {floors:?}");
    report(modules().iter().flat_map(|(path, text)| check_floors(&floors, path, text)).collect());
}

#[test]
fn files_import_each_other_in_no_circle() {
    report(check_circles(&modules(), SPREAD_TYPES));
}

#[test]
fn one_name_is_one_type() {
    report(check_types(&modules(), SHARED_NAMES));
}

/// Texts that people read, in any language of the repository.
#[test]
fn texts_are_plain_english() {
    const EXTENSIONS: [&str; 16] = [
        "rs", "md", "ts", "tsx", "mjs", "js", "html", "css", "py", "toml", "yaml", "yml", "conf", "cfg",
        "service", "sh",
    ];
    let is_text = |path: &String| {
        let extension = Path::new(path).extension().and_then(|extension| extension.to_str());
        let made = ["/dist/", "corpus/", "package-lock", "tests/tidy/", "english"];
        extension.is_none_or(|extension| EXTENSIONS.contains(&extension))
            && !made.iter().any(|part| path.contains(part))
            && !path.starts_with("LICENSE")
    };
    let texts = tracked().into_iter().filter(is_text).filter_map(|path| read(&path).map(|text| (path, text)));
    report(texts.flat_map(|(path, text)| check_phrases(&path, &text, EXCEPTIONS)).collect());
}

#[test]
fn files_have_a_header_and_one_idea() {
    report(modules().iter().flat_map(|(path, text)| check_shape(path, text)).collect());
}

#[test]
fn nothing_that_the_architecture_forbids() {
    let floors = table();
    report(modules().iter().flat_map(|(path, text)| check_words(&floors, path, text)).collect());
    assert!(!root().join("build.rs").exists(), "build.rs: the build runs no program of ours");
}

#[test]
fn names_name_something() {
    report(modules().iter().flat_map(|(path, text)| check_names(path, text)).collect());
}

#[test]
fn comments_give_reasons_not_history() {
    let rust = tracked().into_iter().filter(|path| path.ends_with(".rs"));
    let texts = rust.filter_map(|path| read(&path).map(|text| (path, text)));
    report(texts.flat_map(|(path, text)| check_comments(&path, &text)).collect());
}

#[test]
fn links_between_documents_arrive() {
    let pages = tracked().into_iter().filter(|path| path.ends_with(".md"));
    let texts = pages.filter_map(|path| read(&path).map(|text| (path, text)));
    report(texts.flat_map(|(path, text)| check_links(&path, &text, |to| root().join(to).exists())).collect());
}

#[test]
fn no_merge_is_unresolved() {
    let texts = tracked().into_iter().filter_map(|path| read(&path).map(|text| (path, text)));
    report(texts.flat_map(|(path, text)| check_conflicts(&path, &text)).collect());
}

#[test]
fn no_path_of_one_machine() {
    let texts = tracked().into_iter().filter_map(|path| read(&path).map(|text| (path, text)));
    report(texts.flat_map(|(path, text)| check_machine_paths(&path, &text)).collect());
}
