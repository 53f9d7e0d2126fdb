//! The sources of a configuration, each overriding the one before: defaults, a TOML file, `SEAWALL_*` variables, flags.

use super::api;
use super::auth;
use super::check;
use super::dependency;
use super::draft::{Draft, FILE_BYTES_MAX};
use super::environment::is_ours;
use super::error::{ConfigError, ConfigFault};
use super::flag;
use super::origin::{ValueOrigin, read_text};
use super::plaintext;
use super::prepare;
use super::raw::{Lines, RawValue, TableReader, nearest, raw};
use super::relay;
use super::relay_check;
use super::secret_check;
use super::secret_file::SecretFileFault;
use super::sections::Config;
use super::table::{self, SECTIONS};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use toml::de::{DeTable, DeValue};

#[derive(Clone, Debug)]
pub struct ConfigSources {
    pub file: FileSource,
    /// The environment; names that do not start with `SEAWALL_` are ignored.
    pub variables: Vec<(OsString, OsString)>,
    /// In the order given.
    pub flags: Vec<FlagArgument>,
}

impl ConfigSources {
    /// True exactly when no file, variable or flag says anything, so all values are defaults.
    pub fn are_absent(&self) -> bool {
        let file = match &self.file {
            FileSource::Named(_) => true,
            FileSource::IfPresent(path) => path.exists(),
        };
        !file && self.flags.is_empty() && !self.variables.iter().any(|(name, _)| is_ours(name))
    }
}

#[derive(Clone, Debug)]
pub enum FileSource {
    /// The operator named the file, so it must exist.
    Named(PathBuf),
    IfPresent(PathBuf),
}

/// A flag that sets a setting.
#[derive(Clone, Debug)]
pub struct FlagArgument {
    /// With its dashes, as in the table: `--listen`.
    pub name: &'static str,
    /// `true` for a flag without a value.
    pub value: String,
}

/// Reads all sources and checks the result. On failure the error names every mistake.
pub fn load(sources: &ConfigSources) -> Result<Config, ConfigError> {
    Draft::read(sources).finish()
}

/// Reads a text as the content of a file at `path`, without variables and flags. Files that the text names are read.
pub fn load_text(path: &Path, text: &str) -> Result<Config, ConfigError> {
    let mut draft = Draft::default();
    draft.read_document(path, text);
    draft.finish()
}

impl Draft {
    pub(super) fn read(sources: &ConfigSources) -> Draft {
        let mut draft = Draft { variables: sources.variables.clone(), ..Draft::default() };
        draft.read_file(&sources.file);
        draft.read_credentials(&sources.variables);
        draft.read_variables(&sources.variables);
        for flag in &sources.flags {
            if let Some(setting) = table::by_flag(flag.name) {
                draft.set(setting, &RawValue::Plain(flag.value.clone()), ValueOrigin::Flag(flag.name));
            }
        }
        draft
    }

    pub(super) fn finish(mut self) -> Result<Config, ConfigError> {
        check::contradictions(&self.config, &mut self.report);
        let implied = prepare::implied_dependencies(&self.config, &mut self.report);
        let made = relay_check::made_dependencies(&self.config.relays, &self.tables, &mut self.report);
        self.tables.extend(made);
        self.config.dependencies = dependency::resolve(self.tables, &implied, &mut self.report);
        relay_check::check(&self.config, &mut self.report);
        prepare::check_auth(&self.config, &mut self.report);
        plaintext::check(&self.config, &mut self.report);
        prepare::check_folder(&self.config, &mut self.report);
        check::read_identity(&mut self.config, &mut self.report);
        self.config.warnings = prepare::warnings(&self.config.dependencies, &self.config);
        self.config.warnings.extend(plaintext::warnings(&self.config));
        self.config.warnings.extend(relay_check::warnings(&self.config));
        self.config.warnings.extend(secret_check::check(&self.config, &mut self.report));
        let problems = self.report.problems;
        if problems.is_empty() {
            Ok(self.config)
        } else {
            Err(ConfigError { problems, log_format: self.config.log.format })
        }
    }

    fn read_file(&mut self, file: &FileSource) {
        let (FileSource::Named(path) | FileSource::IfPresent(path)) = file;
        match (read_text(path, FILE_BYTES_MAX), file) {
            (Ok(text), _) => self.read_document(path, &text),
            (Err(error), FileSource::IfPresent(_)) if error.kind() == io::ErrorKind::NotFound => {}
            (Err(error), _) => {
                let origin = ValueOrigin::File { path: Arc::from(path.as_path()), line: 0 };
                self.report.add(origin, "", ConfigFault::Unreadable { path: path.clone(), error });
            }
        }
    }

    fn read_document(&mut self, path: &Path, text: &str) {
        self.config.origins.note_file(path);
        let lines = Lines::new(path, text);
        let (document, errors) = DeTable::parse_recoverable(text);
        let mut lines_reported = BTreeSet::new();
        for error in &errors {
            let start = error.span().map_or(0, |span| span.start);
            let origin = lines.origin(start);
            // The second error of a line is mostly the parser recovering from the first.
            if lines_reported.insert(origin.to_string()) {
                let (message, column) = (error.message().to_owned(), lines.column(start));
                self.report.add(origin, "", ConfigFault::Syntax { message, column });
            }
        }
        // The tables of a broken file are guesses of the parser, so they are not checked.
        if errors.is_empty() {
            for (name, value) in document.get_ref() {
                self.read_section(&lines, name.get_ref(), lines.origin(name.span().start), value.get_ref());
            }
        }
        // The parser sorts tables by name; an operator reads the file from top to bottom.
        self.report.problems.sort_by_key(|problem| match problem.origin {
            ValueOrigin::File { line, .. } => line,
            ValueOrigin::Default | ValueOrigin::Variable(_) | ValueOrigin::Flag(_) => 0,
        });
    }

    fn read_section(&mut self, lines: &Lines<'_>, section: &str, origin: ValueOrigin, value: &DeValue<'_>) {
        if section == "dependency" {
            return self.read_dependencies(lines, &origin, value);
        }
        if section == "flag" {
            return self.read_flags(lines, &origin, value);
        }
        if section == "relay" {
            return self.read_relays(lines, &origin, value);
        }
        if SECTIONS.iter().all(|(known, _)| *known != section) {
            let nearest = nearest_section(section, value);
            return self.report.add(origin, section, ConfigFault::Unknown { nearest });
        }
        let Some(table) = value.as_table() else {
            return self.report.add(origin, section, ConfigFault::NotASection);
        };
        for (key, value) in table {
            let origin = lines.origin(key.span().start);
            let name = format!("{section}.{}", key.get_ref());
            match table::by_name(&name) {
                Some(setting) => self.set(setting, &raw(value.get_ref()), origin),
                None if name == "auth.keys" => self.read_keys(lines, &origin, value.get_ref()),
                None if name == "api.keys" => self.read_api_keys(lines, &origin, value.get_ref()),
                None => match table::by_file_name(&name) {
                    Some(setting) if table.contains_key(setting.key) => {
                        self.report.add(
                            origin,
                            setting.name,
                            ConfigFault::SecretFile(SecretFileFault::TwoValues { key: name }),
                        );
                    }
                    Some(setting) => self.set_from_file(setting, &raw(value.get_ref()), name, origin),
                    None => {
                        let nearest = nearest_key(&name, section);
                        self.report.add(origin, name, ConfigFault::Unknown { nearest });
                    }
                },
            }
        }
    }

    fn read_dependencies(&mut self, lines: &Lines<'_>, origin: &ValueOrigin, value: &DeValue<'_>) {
        for (table, origin) in self.tables(lines, "dependency", origin, value) {
            let report = &mut self.report;
            let mut reader = TableReader { report, table, lines, list: "dependency", origin, problems: 0 };
            self.tables.extend(dependency::read(&mut reader));
        }
    }

    fn read_flags(&mut self, lines: &Lines<'_>, origin: &ValueOrigin, value: &DeValue<'_>) {
        for (table, origin) in self.tables(lines, "flag", origin, value) {
            let report = &mut self.report;
            let mut reader = TableReader { report, table, lines, list: "flag", origin, problems: 0 };
            self.config.flags.extend(flag::read(&mut reader, &self.config.flags));
        }
    }

    fn read_relays(&mut self, lines: &Lines<'_>, origin: &ValueOrigin, value: &DeValue<'_>) {
        for (table, origin) in self.tables(lines, "relay", origin, value) {
            let report = &mut self.report;
            let mut reader = TableReader { report, table, lines, list: "relay", origin, problems: 0 };
            let relay = relay::read(&mut reader, &self.variables, &self.config.relays);
            self.config.relays.extend(relay);
        }
    }

    fn read_keys(&mut self, lines: &Lines<'_>, origin: &ValueOrigin, value: &DeValue<'_>) {
        for (table, origin) in self.tables(lines, "auth.keys", origin, value) {
            let report = &mut self.report;
            let mut reader = TableReader { report, table, lines, list: "auth.keys", origin, problems: 0 };
            let key = auth::read_key(&mut reader, &self.config.auth.keys);
            self.config.auth.keys.extend(key);
        }
    }

    fn read_api_keys(&mut self, lines: &Lines<'_>, origin: &ValueOrigin, value: &DeValue<'_>) {
        for (table, origin) in self.tables(lines, "api.keys", origin, value) {
            let report = &mut self.report;
            let mut reader = TableReader { report, table, lines, list: "api.keys", origin, problems: 0 };
            let key = api::read_key(&mut reader, &self.config.api.keys);
            self.config.api.keys.extend(key);
        }
    }

    /// The tables of a list, each with its line. Every value that is not a table is reported.
    fn tables<'a>(
        &mut self,
        lines: &Lines<'_>,
        list: &'static str,
        origin: &ValueOrigin,
        value: &'a DeValue<'a>,
    ) -> Vec<(&'a DeTable<'a>, ValueOrigin)> {
        let mut not_a_table = |value: &DeValue<'_>| {
            let expected = format!("a list of tables: write [[{list}]]");
            self.report.refuse(list);
            let fault = ConfigFault::NotAccepted { value: raw(value).hidden(), expected };
            self.report.add(origin.clone(), list, fault);
        };
        let Some(entries) = value.as_array() else {
            not_a_table(value);
            return Vec::new();
        };
        let mut tables = Vec::new();
        for entry in entries.iter() {
            match entry.get_ref().as_table() {
                Some(table) => tables.push((table, lines.origin(entry.span().start))),
                None => not_a_table(entry.get_ref()),
            }
        }
        tables
    }
}

/// A section of a similar name; for a key outside any section, the section it belongs to.
fn nearest_section(name: &str, value: &DeValue<'_>) -> Option<String> {
    if value.is_table() {
        return nearest(name, SECTIONS.iter().map(|(section, _)| *section)).map(|found| format!("[{found}]"));
    }
    if value.is_array() {
        return nearest(name, ["dependency", "flag", "relay"].into_iter())
            .map(|found| format!("[[{found}]]"));
    }
    table::all().find(|setting| setting.key == name).map(|setting| setting.name.to_owned())
}

/// The closest key of the same section, else the same key of another section.
fn nearest_key(name: &str, section: &str) -> Option<String> {
    let key = name.split_once('.').map_or(name, |(_, key)| key);
    let keys = table::of_section(section)
        .map(|setting| setting.key)
        .chain(matches!(section, "auth" | "api").then_some("keys"));
    nearest(key, keys)
        .map(|found| format!("{section}.{found}"))
        .or_else(|| table::all().find(|setting| setting.key == key).map(|setting| setting.name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::super::environment::CREDENTIALS;
    use super::super::setting::Setting;
    use super::*;

    fn variables(pairs: &[(String, &Path)]) -> ConfigSources {
        let variables = pairs.iter().map(|(name, value)| (name.into(), value.into())).collect();
        ConfigSources { file: FileSource::IfPresent("no/such".into()), variables, flags: Vec::new() }
    }

    /// The settings that hold a secret, each with a value.
    fn secrets() -> impl Iterator<Item = (&'static Setting, &'static str)> {
        table::all().filter(|setting| setting.holds_secret()).map(|setting| {
            let value = match setting.name {
                "store.url" => "postgres://chat:hunter2@127.0.0.1/chat",
                "bus.url" => "redis://:hunter2@127.0.0.1",
                "auth.introspection_url" | "auth.jwks_url" => "https://chat:hunter2@127.0.0.1/",
                "alert.slack_url" | "alert.webhook_url" | "alert.heartbeat_url" => {
                    "https://127.0.0.1/hunter2"
                }
                "alert.pagerduty_url" => "https://127.0.0.1/enqueue",
                "alert.webhook_secret" => "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
                "auth.secret" | "auth.client_secret" | "admin.token" | "alert.pagerduty_key" => {
                    "hunter2-hunter2-hunter2-hunter2-hunter2"
                }
                other => panic!("{other} holds a secret: give it a value here"),
            };
            (setting, value)
        })
    }

    #[test]
    fn secret_is_read_from_a_file_that_the_configuration_a_variable_or_systemd_names() {
        let folder = tempfile::tempdir().expect("a folder");
        for (setting, value) in secrets() {
            let path = folder.path().join(setting.name);
            std::fs::write(&path, format!("{value}\n")).expect("written");
            let mut direct = Draft::default();
            direct.set(setting, &RawValue::Plain(value.into()), ValueOrigin::Default);
            let toml = format!("[{}]\n{}_file = {:?}\n", setting.section, setting.key, path);
            let mut by_file = Draft::default();
            by_file.read_document(Path::new("seawall.toml"), &toml);
            let name = format!("{}_FILE", setting.variable());
            let by_variable = Draft::read(&variables(&[(name.clone(), &path)]));
            let by_systemd = Draft::read(&variables(&[(CREDENTIALS.into(), folder.path())]));
            for (how, draft) in [("file", by_file), ("variable", by_variable), ("systemd", by_systemd)] {
                assert!(draft.report.problems.is_empty(), "{how} {:?}", draft.report.problems);
                assert!((setting.same)(&draft.config, &direct.config), "{how}: {}", setting.name);
            }
            let both = variables(&[(name, &path), (setting.variable(), Path::new(value))]);
            let problems = Draft::read(&both).report.problems;
            assert!(
                matches!(&problems[..], [one] if one.to_string().contains("set as well")),
                "{problems:?}"
            );
            std::fs::remove_file(&path).expect("removed");
        }
    }

    /// A configuration whose secret is in the file `path`, for every setting that takes one.
    fn documents(path: &Path) -> Vec<String> {
        let shown = path.display();
        let of_settings = secrets()
            .map(|(setting, _)| format!("[{}]\n{}_file = \"{shown}\"\n", setting.section, setting.key));
        let others = [
            format!("[tls]\ncertificate = \"{shown}\"\nkey = \"{shown}\"\n"),
            format!("[[auth.keys]]\nalgorithm = \"HS256\"\nsecret_file = \"{shown}\"\n"),
            format!("[[dependency]]\nname = \"other\"\nkind = \"http\"\nurl_file = \"{shown}\"\n"),
        ];
        of_settings.chain(others).collect()
    }

    #[test]
    fn file_with_a_secret_that_others_can_write_is_refused_and_one_that_others_can_read_is_warned_of() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("secret");
        std::fs::write(&path, "hunter2-hunter2-hunter2-hunter2-hunter2").expect("written");
        for (mode, is_refused, is_warned_of) in [
            (0o400, false, false),
            (0o640, false, false),
            (0o644, false, true),
            (0o660, true, false),
            (0o606, true, false),
        ] {
            std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(mode)).expect("own");
            for document in documents(&path) {
                let mut draft = Draft::default();
                draft.read_document(Path::new("seawall.toml"), &document);
                let warnings = secret_check::check(&draft.config, &mut draft.report);
                let faults = draft.report.problems.iter().map(ToString::to_string).collect::<String>();
                let warnings = warnings.iter().map(ToString::to_string).collect::<String>();
                let chmod = format!("run chmod 640 {}", path.display());
                assert_eq!(faults.contains(&chmod), is_refused, "{mode:o} {document}: {faults}");
                assert_eq!(warnings.contains(&chmod), is_warned_of, "{mode:o} {document}: {warnings}");
                assert!(!faults.contains("hunter2") && !warnings.contains("hunter2"), "{faults}{warnings}");
            }
        }
    }

    #[test]
    fn section_name_has_no_underscore_so_a_variable_splits_in_one_way() {
        assert!(SECTIONS.iter().all(|(section, _)| !section.contains('_')));
    }
}
