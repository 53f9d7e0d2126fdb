//! Each rule finds a planted violation, and leaves alone what only looks like one.

use super::circles::{check_circles, paths};
use super::finding::Finding;
use super::floors::{Floors, check_floors, floors};
use super::phrases::check_phrases;
use super::rules::*;
use super::types::check_types;
use std::path::Path;

fn some_floors() -> Floors {
    floors("//! | 5 | `reactor`, `worker` | engines |\n//! | 2 | `hub` | x |\n//! | 0 | `id`, `limits` | y |")
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
fn an_unresolved_merge() {
    let text = format!("a\n{} HEAD\nb\n=======\nc\n{} main\n", "<".repeat(7), ">".repeat(7));
    assert_eq!(lines(&check_conflicts("a.md", &text)), [2, 6]);
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

fn files(texts: &[(&str, &str)]) -> Vec<(String, String)> {
    texts.iter().map(|(path, text)| (path.to_string(), text.to_string())).collect()
}

#[test]
fn a_circle_of_files() {
    let child_and_parent = [
        ("src/lib.rs", "pub mod a;"),
        ("src/a/mod.rs", "//! x\nmod b;\nmod c;\nuse self::{b::B,\n    c::C};\nstruct A;"),
        ("src/a/b.rs", "use crate::a::A as Other;\nstruct B;"),
        ("src/a/c.rs", "use std::io;\nstruct C;"),
    ];
    let found = check_circles(&files(&child_and_parent), &[]);
    assert_eq!(lines(&found), [4], "{found:?}");
    assert!(found[0].what.contains("src/a/mod.rs -> src/a/b.rs -> src/a/mod.rs"), "{found:?}");
    let longer = [
        ("src/a.rs", "fn f() { crate::b::g() }"),
        ("src/b.rs", "use super::c::{D, E};"),
        ("src/c.rs", "// x\n#[cfg(test)]\nuse crate::b;\nuse crate::a;"),
    ];
    assert_eq!(check_circles(&files(&longer), &[]).len(), 1);
    let holds_its_children = [
        ("src/a/mod.rs", "mod b;\nstruct A;\n#[cfg(test)]\nmod tests;"),
        ("src/a/b.rs", "use super::A;\npub(in crate::a) struct B;"),
        ("src/a/tests.rs", "use super::b;\nuse super::*;"),
    ];
    assert_eq!(check_circles(&files(&holds_its_children), &[]), []);
}

#[test]
fn a_circle_around_a_spread_type() {
    let spread = [("a", "A")];
    let over_its_children = |import| {
        files(&[
            ("src/a/mod.rs", "mod b;\nuse b::B;\npub struct A(B);"),
            ("src/a/b.rs", import),
            ("src/c.rs", "use crate::a::A;"),
        ])
    };
    assert_eq!(check_circles(&over_its_children("use super::A;"), &spread), []);
    assert_eq!(check_circles(&over_its_children("use super::{A, C};"), &spread).len(), 1);
    assert_eq!(
        check_circles(&over_its_children("use crate::c;"), &spread).len(),
        1,
        "by way of another file"
    );
}

#[test]
fn a_use_tree_is_read_whole() {
    let read = paths("use a::{b, c::{self, d as e}, *};\nlet x = f::g(h);");
    let read: Vec<(usize, String)> = read.into_iter().map(|(line, path)| (line, path.join("::"))).collect();
    let expected = ["a::b", "a::c::self", "a::c::d", "a"].map(|path| (1, path.to_string()));
    assert_eq!(read[..4], expected);
    assert_eq!(read[4..], [(2, "f::g".to_string())]);
}

#[test]
fn a_type_name_used_twice() {
    let twice =
        files(&[("src/a.rs", "pub struct A;\nenum B {}"), ("src/b.rs", "//! x\npub(super) enum A {}")]);
    assert_eq!(lines(&check_types(&twice, &[])), [2]);
    assert_eq!(check_types(&twice, &[("A", "a reason")]), []);
    assert_eq!(
        check_types(&twice, &[("A", "a reason"), ("B", "none")]).len(),
        1,
        "a list that is longer than it need be"
    );
}

#[test]
fn a_phrase_that_needs_translating() {
    let text = "/// What is asked.\n/// What is asked?\nso long as it waits so long\nuser `nobody`\nThe Witnesses\nmendable\n";
    assert_eq!(lines(&check_phrases("a.rs", text, &[])), [1, 3, 5]);
    assert_eq!(lines(&check_phrases("b/a.rs", text, &[("a.rs", "The Witnesses", "a name")])), [1, 3]);
}
