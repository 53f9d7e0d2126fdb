//! The floors: their table, and the imports that must point down.

use super::finding::{Finding, finding};
use super::source::{is_word, views, without_tests};
use std::collections::BTreeMap;

/// The floor of each top-level module.
pub type Floors = BTreeMap<String, u8>;

/// Reads the table in the doc of `src/lib.rs`.
pub fn floors(lib: &str) -> Floors {
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
pub fn module_of(path: &str) -> Option<&str> {
    let inside = path.strip_prefix("src/")?;
    let first = inside.split('/').next()?;
    let name = first.strip_suffix(".rs").unwrap_or(first);
    (!matches!(first, "lib.rs" | "main.rs")).then_some(name)
}

/// Top-level modules a file names, with the line.
pub fn imports(path: &str, code: &str) -> Vec<(usize, String)> {
    let mut found = roots(code, "crate::");
    let inside = path.trim_start_matches("src/").trim_end_matches(".rs").trim_end_matches("/mod");
    let to_the_root = "super::".repeat(inside.split('/').count());
    found.extend(roots(code, &to_the_root));
    found
}

pub fn roots(code: &str, prefix: &str) -> Vec<(usize, String)> {
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

pub fn head(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// The first name of each member of `{a::b, c::{d, e}}`, its opening brace already gone.
pub fn group_heads(group: &str) -> Vec<String> {
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
pub fn check_floors(floors: &Floors, path: &str, text: &str) -> Vec<Finding> {
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
