//! What is made of the table of settings for people, and the tests that keep it so.
//!
//! `UPDATE=1 cargo test --lib reference` writes the table in `docs/configuration.md` and
//! `seawall.example.toml` anew; without it a difference is a failure.

use super::dependency;
use super::key::FIELDS;
use super::place::Shown;
use super::print::listing;
use super::ready_made::READY_MADE;
use super::renewal::Takes;
use super::source::{FileSource, Sources};
use super::table::{SECTIONS, all, of_section};
use super::{Config, load};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

const BEGIN: &str = "<!-- The table of settings begins. UPDATE=1 cargo test --lib reference -->\n";
const END: &str = "<!-- The table of settings ends. -->\n";

fn in_repository(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn reference() -> String {
    let mut config = Config::default();
    let mut text = String::new();
    for (section, about) in SECTIONS {
        let _infallible = write!(text, "### `[{section}]`\n\n{about}\n\n");
        text += "| key | default | accepted | what it decides | a change counts |\n|---|---|---|---|---|\n";
        for setting in of_section(section) {
            let default = match setting.show(&mut config) {
                Shown::Value(value) => format!("`{value}`"),
                Shown::Unset | Shown::Hidden => "none".to_owned(),
            };
            let flag = setting.flag.map(|flag| format!(" Flag: `{flag}`.")).unwrap_or_default();
            let takes = match setting.takes {
                Some(Takes::Reload) => "at a reload",
                Some(Takes::Restart) => "after a restart",
                None => "",
            };
            let (key, accepted, doc) = (setting.key(), setting.expected(), setting.doc);
            let _infallible = writeln!(text, "| `{key}` | {default} | {accepted} | {doc}{flag} | {takes} |");
        }
        text += "\n";
    }
    text +=
        "### `[[auth.keys]]`\n\nOne table for each key; in a file only.\n\n| key | what it is |\n|---|---|\n";
    for (field, doc) in FIELDS {
        let _infallible = writeln!(text, "| `{field}` | {doc} |");
    }
    text +=
        "\n### `[[dependency]]`\n\nOne table for each; in a file only.\n\n| key | what it is |\n|---|---|\n";
    for (field, doc) in dependency::FIELDS {
        let _infallible = writeln!(text, "| `{field}` | {doc} |");
    }
    text += "\nReady-made names, each with what it means where its table says nothing else:\n\n";
    text += "| name | kind | criticality | lost | sentence |\n|---|---|---|---|---|\n";
    for ready in READY_MADE {
        let (name, kind, criticality) = (ready.name, ready.kind.as_str(), ready.criticality.as_str());
        let (lost, sentence) = (ready.lost.join("`, `"), ready.sentence);
        let _infallible = writeln!(text, "| `{name}` | `{kind}` | {criticality} | `{lost}` | {sentence} |");
    }
    text
}

fn example() -> String {
    let mut config = Config::default();
    let mut text = String::from(
        "# Seawall: every setting with its default. Remove a # to change one.\n\
         # What each means, and how variables and flags override it: docs/configuration.md.\n",
    );
    for (section, about) in SECTIONS {
        let _infallible = write!(text, "\n# {about}\n[{section}]\n");
        for setting in of_section(section) {
            let value = match setting.show(&mut config) {
                Shown::Value(value) => value,
                Shown::Unset | Shown::Hidden => "\"\"".to_owned(),
            };
            let (key, doc, accepted) = (setting.key(), setting.doc, setting.expected());
            let _infallible = write!(text, "\n# {doc}\n# Accepted: {accepted}.\n#{key} = {value}\n");
        }
        if section == "auth" {
            text +=
                "\n# A key, as often as needed. With one, auth is on and any address may be listened on.\n";
            text += "# [[auth.keys]]\n# kid = \"2026-a\"\n# algorithm = \"EdDSA\"\n";
            text += "# public_key_file = \"/etc/seawall/2026-a.pem\"\n";
        }
    }
    text += "\n# What it stands on beside its own process, as often as needed. `store` and `bus` need no table.\n";
    text += "# [[dependency]]\n# name = \"assistant\"\n# kind = \"http\"\n";
    text += "# url = \"https://assistant.example.com/health\"\n# criticality = \"optional\"\n";
    text += "# lost = [\"replies\"]\n# sentence = \"Assistant replies are paused.\"\n";
    text
}

fn compare_or_update(path: &Path, expected: &str) {
    if std::env::var_os("UPDATE").is_some() {
        fs::write(path, expected).expect("the file can be written");
    }
    let found = fs::read_to_string(path).expect("the file is there");
    assert!(found == expected, "{} is behind: UPDATE=1 cargo test --lib reference", path.display());
}

fn load_file(path: &Path) -> Config {
    let sources = Sources { file: FileSource::Named(path.into()), variables: Vec::new(), flags: Vec::new() };
    load(&sources).unwrap_or_else(|error| panic!("{error}"))
}

/// The listing without its remarks.
fn values(config: &Config) -> Vec<String> {
    listing(config)
        .lines()
        .map(|line| line.split("  #").next().unwrap_or(line).trim_end().to_owned())
        .skip(3)
        .collect()
}

#[test]
fn the_reference_is_the_table_of_settings() {
    let path = in_repository("docs/configuration.md");
    let page = fs::read_to_string(&path).expect("the page is there");
    let (before, rest) = page.split_once(BEGIN).expect("the page has its begin mark");
    let (_, after) = rest.split_once(END).expect("the page has its end mark");
    compare_or_update(&path, &format!("{before}{BEGIN}\n{}\n{END}{after}", reference()));
}

#[test]
fn the_example_is_every_setting_with_its_default() {
    let path = in_repository("seawall.example.toml");
    compare_or_update(&path, &example());
    assert_eq!(values(&load_file(&path)), values(&Config::default()));
}

#[test]
fn the_example_is_still_the_default_with_every_setting_in_force() {
    let in_force: String = example()
        .lines()
        .filter(|line| !line.contains("secret = "))
        .map(|line| {
            let setting = line.strip_prefix('#').filter(|rest| !rest.starts_with(' '));
            format!("{}\n", setting.unwrap_or(line))
        })
        .collect();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("example.toml");
    fs::write(&path, in_force).expect("written");
    assert_eq!(values(&load_file(&path)), values(&Config::default()));
}

#[test]
fn every_setting_is_documented_in_a_listed_section_under_a_name_of_its_own() {
    let mut names: Vec<&str> = all().map(|setting| setting.name).collect();
    assert!(all().all(|setting| setting.doc.ends_with('.') && !setting.doc.contains('|')));
    assert!(all().all(|setting| SECTIONS.iter().any(|(section, _)| *section == setting.section())));
    names.sort_unstable();
    let count = names.len();
    names.dedup();
    assert_eq!(names.len(), count);
}

#[test]
fn every_setting_says_when_a_change_of_it_counts() {
    let unsaid: Vec<&str> = all().filter(|setting| setting.takes.is_none()).map(|it| it.name).collect();
    assert!(unsaid.is_empty(), "neither at_reload() nor at_restart(): {unsaid:?}");
}
