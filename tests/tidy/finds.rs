//! Each rule finds a planted violation, and leaves alone what only looks like one.

use super::finding::Finding;
use super::floors::{Floors, check_floors, floors};
use super::rules::*;
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
fn a_path_of_one_machine() {
    let text = format!(
        "cd {}main\nhttps://a.b{}c\n{}\n",
        concat!("/wo", "rk/"),
        concat!("/wo", "rk/"),
        concat!("HOME=/ro", "ot")
    );
    assert_eq!(lines(&check_machine_paths("a.md", &text)), [1, 3]);
}
