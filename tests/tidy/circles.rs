//! Circles between files: a file and what it imports must be readable in some order.
//!
//! `use` trees and paths that begin with `crate`, `self`, `super` or a child module are resolved to files. A `mod` declaration
//! is no import: a parent may hold children that import it, as long as it imports none of them.

use super::finding::{Finding, finding};
use super::source::{is_word, views, without_tests};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A module's path from the crate's root.
type Module = Vec<String>;
/// The modules that each module imports, each with the line of the first import.
type Imports = BTreeMap<Module, BTreeMap<Module, usize>>;

/// Types of a `mod.rs` that its child files may import, each with its module. The `impl` of such a type is spread over the
/// children: an engine and its shell are one state each, which no part of a turn can do without, and one file would be too long.
/// Nothing else of that `mod.rs` may be imported by its children.
pub const SPREAD_TYPES: &[(&str, &str)] = &[("engine", "Engine"), ("reactor", "Reactor")];

/// One finding for each shortest circle. `files` are paths under `src/` with their texts.
pub fn check_circles(files: &[(String, String)], spread: &[(&str, &str)]) -> Vec<Finding> {
    let modules: BTreeMap<Module, &str> = files
        .iter()
        .filter_map(|(path, _)| module_of_file(path).map(|module| (module, path.as_str())))
        .collect();
    let mut imports = Imports::new();
    for (path, text) in files {
        if let Some(module) = module_of_file(path) {
            let code = views(&without_tests(path, text)).code;
            imports.insert(module.clone(), imported(&modules, &module, &code, spread));
        }
    }
    let mut seen = BTreeSet::new();
    let mut findings = Vec::new();
    for module in imports.keys() {
        let Some(circle) = shortest_circle(&imports, module) else { continue };
        if !seen.insert(circle.iter().cloned().collect::<BTreeSet<_>>()) {
            continue;
        }
        let names: Vec<&str> = circle.iter().chain(circle.first()).map(|each| modules[each]).collect();
        let next = circle.get(1).unwrap_or(module);
        findings.push(finding(
            modules[module],
            imports[module].get(next).copied().unwrap_or(1),
            format!("circle {}: move what they share into a file of its own", names.join(" -> ")),
        ));
    }
    findings
}

/// The module of a file; `None` for `main.rs` and files of tests.
fn module_of_file(path: &str) -> Option<Module> {
    let inside = path.strip_prefix("src/")?.strip_suffix(".rs")?;
    let mut parts: Module = inside.split('/').map(String::from).collect();
    if parts.last().is_some_and(|last| last == "mod") {
        parts.pop();
    }
    match inside {
        "main" => None,
        "lib" => Some(Module::new()),
        _ if parts.iter().any(|part| part == "tests") => None,
        _ => Some(parts),
    }
}

fn imported(
    modules: &BTreeMap<Module, &str>,
    own: &Module,
    code: &str,
    spread: &[(&str, &str)],
) -> BTreeMap<Module, usize> {
    let is_child = |name: &str| {
        let mut child = own.clone();
        child.push(name.to_string());
        modules.contains_key(&child)
    };
    let mut found = BTreeMap::new();
    for (line, path) in paths(code) {
        let Some(first) = path.first() else { continue };
        let mut target = match first.as_str() {
            "crate" => Module::new(),
            "self" => own.clone(),
            "super" => {
                let up = path.iter().take_while(|part| *part == "super").count();
                own[..own.len().saturating_sub(up)].to_vec()
            }
            name if is_child(name) => own.clone(),
            _ => continue,
        };
        target
            .extend(path.iter().filter(|part| !matches!(part.as_str(), "crate" | "self" | "super")).cloned());
        let is_own_spread_type = |(module, name): &(&str, &str)| {
            own.first().is_some_and(|first| first == module) && target.iter().eq([*module, *name])
        };
        if spread.iter().any(is_own_spread_type) {
            continue;
        }
        while !target.is_empty() && !modules.contains_key(&target) {
            target.pop();
        }
        if target != *own && !target.is_empty() {
            found.entry(target).or_insert(line);
        }
    }
    found
}

/// Every path in the code, with its line; `use` trees are expanded.
pub fn paths(code: &str) -> Vec<(usize, Vec<String>)> {
    let bytes = code.as_bytes();
    let mut found = Vec::new();
    let (mut at, mut line) = (0, 1);
    while at < bytes.len() {
        let starts =
            is_word(bytes[at]) && (at == 0 || !is_word(bytes[at - 1]) && !code[..at].ends_with("::"));
        if starts && code[at..].starts_with("use ") {
            let end = code[at..].find(';').map_or(code.len(), |length| at + length);
            expand(&code[at + 4..end], &[], &mut |path| found.push((line, path)));
            line += code[at..end].matches('\n').count();
            at = end;
            continue;
        }
        if starts {
            let end = at
                + code[at..]
                    .find(|c: char| !c.is_alphanumeric() && c != '_' && c != ':')
                    .unwrap_or(code.len() - at);
            let path = &code[at..end];
            let is_visibility = code[..at].ends_with("(in ");
            if path.contains("::") && !is_visibility {
                found.push((line, path.split("::").map(String::from).collect()));
            }
        }
        line += usize::from(bytes[at] == b'\n');
        at += 1;
    }
    found
}

/// The paths of a `use` tree such as `a::{b, c::{self, d}}`.
fn expand(tree: &str, before: &[String], take: &mut impl FnMut(Vec<String>)) {
    let (path, group) = match tree.find('{') {
        Some(at) => (&tree[..at], tree[at + 1..].rfind('}').map(|end| &tree[at + 1..at + 1 + end])),
        None => (tree.split(" as ").next().unwrap_or(tree), None),
    };
    let mut parts = before.to_vec();
    parts.extend(
        path.split("::").map(str::trim).filter(|part| !part.is_empty() && *part != "*").map(String::from),
    );
    let Some(group) = group else { return take(parts) };
    let (mut depth, mut start) = (0, 0);
    for (at, c) in group.char_indices().chain([(group.len(), ',')]) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                if !group[start..at].trim().is_empty() {
                    expand(&group[start..at], &parts, take);
                }
                start = at + 1;
            }
            _ => {}
        }
    }
}

/// The shortest way from a module back to itself.
fn shortest_circle(imports: &Imports, start: &Module) -> Option<Vec<Module>> {
    let mut ways = VecDeque::from([vec![start.clone()]]);
    let mut visited = BTreeSet::new();
    while let Some(way) = ways.pop_front() {
        for next in imports.get(way.last()?).into_iter().flat_map(BTreeMap::keys) {
            if next == start {
                return Some(way);
            }
            if visited.insert(next.clone()) {
                let mut longer = way.clone();
                longer.push(next.clone());
                ways.push_back(longer);
            }
        }
    }
    None
}
