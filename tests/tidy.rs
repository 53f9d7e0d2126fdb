//! Reads the source and fails where a reviewer would otherwise have to notice.
//!
//! The architecture is the table in `src/lib.rs`; the first test here reads that table and every import.
//! Each rule is a function of a path and a text, so each is shown to find a planted violation. A finding
//! names file and line and says what to do.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::process::Command;

/// Lines of a source file, its tests not counted: past this it holds more than one idea.
const LINES_MAX: usize = 450;

#[derive(Debug, PartialEq, Eq)]
struct Finding {
    path: String,
    line: usize,
    what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.what)
    }
}

fn finding(path: &str, line: usize, what: impl Into<String>) -> Finding {
    Finding { path: path.into(), line, what: what.into() }
}

// --- reading source -----------------------------------------------------------------------------------

/// A source text in two views of the same length and lines: the code without its comments and literals,
/// and the comments without the code.
struct Views {
    code: String,
    comments: String,
}

fn views(text: &str) -> Views {
    let bytes = text.as_bytes();
    let mut code = vec![b' '; bytes.len()];
    let mut comments = code.clone();
    let mut at = 0;
    while at < bytes.len() {
        let end = match &bytes[at..] {
            [b'/', b'/', ..] => {
                let end = find(bytes, at, b"\n");
                comments[at..end].copy_from_slice(&bytes[at..end]);
                end
            }
            [b'/', b'*', ..] => {
                let end = (find(bytes, at, b"*/") + 2).min(bytes.len());
                comments[at..end].copy_from_slice(&bytes[at..end]);
                end
            }
            [b'"', ..] => skip_string(bytes, at),
            [b'r', b'"' | b'#', ..] if at == 0 || !is_word(bytes[at - 1]) => {
                skip_raw_string(bytes, at).unwrap_or(at + 1)
            }
            [b'\'', b'\\', ..] => find(bytes, at + 3, b"'") + 1,
            [b'\'', b, b'\'', ..] if *b != b'\'' => at + 3,
            [b, ..] => {
                code[at] = *b;
                at + 1
            }
            [] => break,
        };
        at = end.min(bytes.len());
    }
    for (index, byte) in bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n') {
        code[index] = *byte;
        comments[index] = *byte;
    }
    Views { code: text_of(code), comments: text_of(comments) }
}

fn text_of(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}

fn find(bytes: &[u8], from: usize, needle: &[u8]) -> usize {
    let from = from.min(bytes.len());
    bytes[from..].windows(needle.len()).position(|w| w == needle).map_or(bytes.len(), |at| from + at)
}

fn skip_string(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

fn skip_raw_string(bytes: &[u8], start: usize) -> Option<usize> {
    let hashes = bytes[start + 1..].iter().take_while(|b| **b == b'#').count();
    if bytes.get(start + 1 + hashes) != Some(&b'"') {
        return None;
    }
    let mut end = vec![b'"'];
    end.resize(1 + hashes, b'#');
    Some(find(bytes, start + 2 + hashes, &end) + end.len())
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// The text with everything under a top-level `#[cfg(test)]`, or all of a `tests.rs`, blanked; lines keep their numbers.
fn without_tests(path: &str, text: &str) -> String {
    if path.ends_with("/tests.rs") {
        return String::new();
    }
    let mut out = String::with_capacity(text.len());
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line != "#[cfg(test)]" {
            out.push_str(line);
            out.push('\n');
            continue;
        }
        out.push('\n');
        let mut item = lines.next();
        while let Some(line) = item {
            out.push('\n');
            let one_line = line.ends_with(';') && !line.starts_with(' ');
            if one_line || line == "}" {
                break;
            }
            item = lines.next();
        }
    }
    out
}

/// Places of a whole word (or words) in code, as line numbers from 1.
fn lines_with<'a>(code: &'a str, needle: &'a str) -> impl Iterator<Item = usize> + 'a {
    code.lines().enumerate().filter(move |(_, line)| has_word(line, needle)).map(|(index, _)| index + 1)
}

fn has_word(line: &str, needle: &str) -> bool {
    let bytes = line.as_bytes();
    line.match_indices(needle).any(|(at, _)| {
        let end = at + needle.len();
        let first = needle.as_bytes().first().copied().is_some_and(is_word);
        let last = needle.as_bytes().last().copied().is_some_and(is_word);
        let before = !first || at == 0 || !is_word(bytes[at - 1]);
        let after = !last || end == bytes.len() || !is_word(bytes[end]);
        before && after
    })
}

// --- floors -------------------------------------------------------------------------------------------

/// The floor of each top-level module.
type Floors = BTreeMap<String, u8>;

/// Reads the table in the doc of `src/lib.rs`.
fn floors(lib: &str) -> Floors {
    let mut floors = Floors::new();
    for line in lib.lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let ["//!", floor, modules, ..] = cells[..] else { continue };
        let Ok(floor) = floor.parse() else { continue };
        floors.extend(modules.split('`').skip(1).step_by(2).map(|name| (name.to_string(), floor)));
    }
    floors
}

/// The top-level module a file under `src/` belongs to; `None` for `lib.rs` and `main.rs`.
fn module_of(path: &str) -> Option<&str> {
    let inside = path.strip_prefix("src/")?;
    let first = inside.split('/').next()?;
    let name = first.strip_suffix(".rs").unwrap_or(first);
    (!matches!(first, "lib.rs" | "main.rs")).then_some(name)
}

/// Top-level modules a file names, with the line.
fn imports(path: &str, code: &str) -> Vec<(usize, String)> {
    let mut found = roots(code, "crate::");
    let inside = path.trim_start_matches("src/").trim_end_matches(".rs").trim_end_matches("/mod");
    let to_the_root = "super::".repeat(inside.split('/').count());
    found.extend(roots(code, &to_the_root));
    found
}

fn roots(code: &str, prefix: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices(prefix) {
        if at > 0 && (is_word(code.as_bytes()[at - 1]) || code[..at].ends_with("::")) {
            continue;
        }
        let line = code[..at].matches('\n').count() + 1;
        let rest = &code[at + prefix.len()..];
        match rest.strip_prefix('{') {
            Some(group) => found.extend(group_heads(group).into_iter().map(|name| (line, name))),
            None => found.push((line, head(rest))),
        }
    }
    found.retain(|(_, name)| !name.is_empty() && name != "super");
    found
}

fn head(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// The first name of each member of `{a::b, c::{d, e}}`, its opening brace already gone.
fn group_heads(group: &str) -> Vec<String> {
    let mut heads = Vec::new();
    let mut depth = 0;
    let mut member = String::new();
    for c in group.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => heads.push(std::mem::take(&mut member)),
            _ if depth == 0 => member.push(c),
            _ => {}
        }
    }
    heads.push(member);
    heads.iter().map(|member| head(member.trim())).collect()
}

/// A module imports strictly lower floors and its own folder. The vocabulary of floor 0 may use itself.
fn check_floors(floors: &Floors, path: &str, text: &str) -> Vec<Finding> {
    let Some(own) = module_of(path) else { return Vec::new() };
    let Some(&floor) = floors.get(own) else {
        return vec![finding(path, 1, format!("`{own}` has no floor: add it to the table in src/lib.rs"))];
    };
    let code = views(&without_tests(path, text)).code;
    let mut findings = Vec::new();
    for (line, name) in imports(path, &code) {
        if name == own {
            continue;
        }
        match floors.get(&name) {
            Some(&other) if other < floor || (other == 0 && floor == 0) => {}
            Some(other) => findings.push(finding(
                path,
                line,
                format!(
                    "`{own}` (floor {floor}) imports `{name}` (floor {other}): pass the value down, or move the type to a lower floor"
                ),
            )),
            None if name.starts_with(char::is_lowercase) => findings.push(finding(
                path,
                line,
                format!("`{name}` has no floor: add it to the table in src/lib.rs"),
            )),
            None => {}
        }
    }
    findings
}

// --- one file -----------------------------------------------------------------------------------------

fn check_shape(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let is_tests = path.ends_with("/tests.rs");
    if !text.starts_with("//!") && !is_tests {
        findings.push(finding(path, 1, "begin the file with a `//!` that says what it is and why"));
    }
    let kept = text.lines().position(|line| line == "#[cfg(test)]").unwrap_or(text.lines().count());
    if kept > LINES_MAX && !is_tests {
        findings.push(finding(
            path,
            LINES_MAX + 1,
            format!(
                "{kept} lines before the tests, {LINES_MAX} are allowed: split the file where its ideas part"
            ),
        ));
    }
    findings
}

fn check_words(floors: &Floors, path: &str, text: &str) -> Vec<Finding> {
    let code = views(&without_tests(path, text)).code;
    let mut rules: Vec<(&str, &str)> = vec![
        ("unsafe", "no unsafe: use a safe crate"),
        ("async fn", "no async: a worker waits, a reactor polls"),
        ("async move", "no async: a worker waits, a reactor polls"),
        ("unbounded(", "every queue has a bound: use `bounded` and answer when it is full"),
        ("thread::sleep", "wait for a condition with a deadline"),
    ];
    let below_four = module_of(path).and_then(|name| floors.get(name)).is_some_and(|floor| *floor < 4);
    if below_four {
        rules.extend([
            ("Instant::now", "take `now` as an argument: this floor reads no clock"),
            ("SystemTime::now", "take `now` as an argument: this floor reads no clock"),
            ("rand", "take the random number as an argument"),
            ("getrandom", "take the random number as an argument"),
            ("fastrand", "take the random number as an argument"),
        ]);
    }
    if path.starts_with("src/reactor") {
        rules.push(("Mutex", "no lock in a reactor: send a message, or load an `ArcSwap`"));
        rules.push(("RwLock", "no lock in a reactor: send a message, or load an `ArcSwap`"));
    }
    let mut findings = Vec::new();
    for (needle, advice) in rules {
        findings.extend(
            lines_with(&code, needle).map(|line| finding(path, line, format!("`{needle}`: {advice}"))),
        );
    }
    findings
}

fn check_names(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let vague = ["utils", "util", "helpers", "helper", "common", "misc"];
    let stem = path.rsplit('/').find(|part| *part != "mod.rs").unwrap_or(path).trim_end_matches(".rs");
    if vague.contains(&stem) {
        findings.push(finding(path, 1, format!("`{stem}` names nothing: name the file for its idea")));
    }
    let code = views(text).code;
    for (index, line) in code.lines().enumerate() {
        if line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word.ends_with("Manager")) {
            findings.push(finding(path, index + 1, "`Manager`: say what it does with what"));
        }
        // The standard library's own pair: `get` and `get_mut`.
        if line.contains("fn get_") && !line.contains("fn get_mut") {
            findings.push(finding(path, index + 1, "`get_`: name the value that is returned"));
        }
        if vague.iter().any(|name| has_word(line, &format!("mod {name}"))) {
            findings.push(finding(path, index + 1, "name the module for its idea"));
        }
    }
    findings
}

/// Comments that speak of the file's past or future instead of its reasons.
fn check_comments(path: &str, text: &str) -> Vec<Finding> {
    let comments = if path.ends_with(".rs") { views(text).comments } else { text.to_string() };
    let marks = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
    marks
        .iter()
        .flat_map(|mark| {
            lines_with(&comments, mark)
                .map(|line| finding(path, line, format!("`{mark}`: do it or drop it")))
                .collect::<Vec<_>>()
        })
        .collect()
}

// --- all tracked text ---------------------------------------------------------------------------------

/// Paths of somebody's machine: they mean nothing to a reader elsewhere.
fn check_machine_paths(path: &str, text: &str) -> Vec<Finding> {
    let needles =
        [concat!("/wo", "rk/"), concat!("/tm", "p/w/"), concat!("/tm", "p/t/"), concat!("/ro", "ot")];
    let mut findings = Vec::new();
    for (index, line) in text.lines().enumerate() {
        for needle in needles {
            let own = line.match_indices(needle).any(|(at, _)| {
                let before = line[..at].chars().next_back();
                let after = line[at + needle.len()..].chars().next();
                let starts = !before.is_some_and(|c| c.is_alphanumeric() || "._-/}".contains(c));
                starts && (needle.ends_with('/') || !after.is_some_and(char::is_alphanumeric))
            });
            if own {
                findings.push(finding(
                    path,
                    index + 1,
                    format!("`{needle}` is a path of one machine: use a relative one"),
                ));
            }
        }
    }
    findings
}

/// Relative links of a Markdown text whose target does not exist; `exists` takes a path from the root.
fn check_links(path: &str, text: &str, exists: impl Fn(&Path) -> bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut fenced = false;
    for (index, line) in text.lines().enumerate() {
        fenced ^= line.trim_start().starts_with("```");
        if fenced {
            continue;
        }
        for (at, _) in line.match_indices("](") {
            let rest = &line[at + 2..];
            let Some(end) = rest.find(')') else { continue };
            let target = rest[..end].split(['#', ' ']).next().unwrap_or_default();
            let elsewhere = target.is_empty() || target.contains("://") || target.starts_with("mailto:");
            let folder = Path::new(path).parent().unwrap_or(Path::new(""));
            if !elsewhere && !exists(&folder.join(target)) {
                findings.push(finding(
                    path,
                    index + 1,
                    format!("`{target}` does not exist: correct the link or write the file"),
                ));
            }
        }
    }
    findings
}

// --- the tree -----------------------------------------------------------------------------------------

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Tracked files, or every file when this is no git checkout.
fn tracked() -> Vec<String> {
    let listed = Command::new("git").arg("-C").arg(root()).args(["ls-files", "-z"]).output();
    match listed {
        Ok(output) if output.status.success() && !output.stdout.is_empty() => text_of(output.stdout)
            .split('\0')
            .filter(|path| !path.is_empty() && root().join(path).is_file())
            .map(String::from)
            .collect(),
        _ => walk(root()),
    }
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
fn source() -> Vec<(String, String)> {
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
    report(source().iter().flat_map(|(path, text)| check_floors(&floors, path, text)).collect());
}

#[test]
fn files_have_a_header_and_one_idea() {
    report(source().iter().flat_map(|(path, text)| check_shape(path, text)).collect());
}

#[test]
fn nothing_that_the_architecture_forbids() {
    let floors = table();
    report(source().iter().flat_map(|(path, text)| check_words(&floors, path, text)).collect());
    assert!(!root().join("build.rs").exists(), "build.rs: the build runs no program of ours");
}

#[test]
fn names_name_something() {
    report(source().iter().flat_map(|(path, text)| check_names(path, text)).collect());
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
fn no_path_of_one_machine() {
    let texts = tracked().into_iter().filter_map(|path| read(&path).map(|text| (path, text)));
    report(texts.flat_map(|(path, text)| check_machine_paths(&path, &text)).collect());
}

// --- each rule finds what it looks for ----------------------------------------------------------------

mod finds {
    use super::*;

    fn some_floors() -> Floors {
        floors(
            "//! | 5 | `reactor`, `worker` | engines |\n//! | 2 | `hub` | x |\n//! | 0 | `id`, `limits` | y |",
        )
    }

    fn lines(findings: &[Finding]) -> Vec<usize> {
        findings.iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn an_import_of_a_higher_or_sibling_floor() {
        let text = "//! x\nuse crate::id::A;\nuse crate::reactor::B;\nfn f() { crate::worker::g() }\n";
        assert_eq!(lines(&check_floors(&some_floors(), "src/hub/mod.rs", text)), [3, 4]);
        let sibling = "use crate::{id::{A, B}, worker};\nuse super::super::worker;\nuse super::own;\n";
        assert_eq!(lines(&check_floors(&some_floors(), "src/reactor/turn.rs", sibling)), [1, 2]);
        assert_eq!(lines(&check_floors(&some_floors(), "src/nowhere.rs", "")), [1]);
        assert_eq!(lines(&check_floors(&some_floors(), "src/hub/a.rs", "use crate::unknown::A;")), [1]);
    }

    #[test]
    fn no_import_in_a_comment_a_string_or_a_test() {
        let text = "// crate::worker\nconst A: &str = \"crate::worker\";\nconst B: &str = r#\"\"crate::worker\"#;\nuse crate::limits;\nlet c = '\"';\n#[cfg(test)]\nmod tests {\n    use crate::worker;\n}\nuse crate::reactor;\n";
        assert_eq!(lines(&check_floors(&some_floors(), "src/hub/mod.rs", text)), [10]);
    }

    #[test]
    fn a_long_file_or_one_without_a_header() {
        let long = format!("//! x\n{}", "fn f() {}\n".repeat(LINES_MAX));
        assert_eq!(check_shape("src/a.rs", &long).len(), 1);
        let tests = format!("//! x\n#[cfg(test)]\n{}", "fn f() {}\n".repeat(LINES_MAX));
        assert_eq!(check_shape("src/a.rs", &tests), []);
        assert_eq!(lines(&check_shape("src/a.rs", "use x;\n")), [1]);
    }

    #[test]
    fn a_forbidden_word_where_it_is_forbidden() {
        let floors = some_floors();
        for word in ["unsafe {", "async fn f", "unbounded()", "std::thread::sleep(d)"] {
            assert_eq!(check_words(&floors, "src/worker/a.rs", word).len(), 1, "{word}");
        }
        for word in ["Instant::now()", "SystemTime::now()", "rand::random()", "fastrand::u8(..)"] {
            assert_eq!(check_words(&floors, "src/hub/a.rs", word).len(), 1, "{word}");
            assert_eq!(check_words(&floors, "src/worker/a.rs", word), [], "{word}");
        }
        for word in ["std::sync::Mutex", "RwLock<u8>"] {
            assert_eq!(check_words(&floors, "src/reactor/a.rs", word).len(), 1, "{word}");
        }
        assert_eq!(check_words(&floors, "src/hub/a.rs", "operand strand /* unsafe */ \"unsafe\""), []);
    }

    #[test]
    fn a_name_that_names_nothing() {
        assert_eq!(check_names("src/wire/utils.rs", "").len(), 1);
        assert_eq!(check_names("src/helpers/mod.rs", "").len(), 1);
        assert_eq!(lines(&check_names("src/a.rs", "\nstruct SessionManager;\n")), [2]);
        assert_eq!(lines(&check_names("src/a.rs", "pub fn get_offset() {}\nmod common;")), [1, 2]);
    }

    #[test]
    fn a_comment_that_is_a_wish() {
        let wish = format!("fn f() {{}}\n// {}: later\n", concat!("TO", "DO"));
        assert_eq!(lines(&check_comments("src/a.rs", &wish)), [2]);
        assert_eq!(check_comments("src/a.rs", "const TODOS: u8 = 1; // XXXL\n"), []);
    }

    #[test]
    fn a_link_to_nowhere() {
        let text = "[a](b.md) [c](https://x.y) [d](#e)\n[f](../g.md#h)\n```\n[i](j)\n```\n";
        let found = check_links("docs/a.md", text, |path| path == Path::new("docs/b.md"));
        assert_eq!(lines(&found), [2]);
    }

    #[test]
    fn a_path_of_one_machine() {
        let text = format!(
            "cd {}main\nhttps://a.b{}c\n{}\n",
            concat!("/wo", "rk/"),
            concat!("/wo", "rk/"),
            concat!("HOME=/ro", "ot")
        );
        assert_eq!(lines(&check_machine_paths("a.md", &text)), [1, 3]);
    }
}
