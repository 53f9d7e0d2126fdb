//! A configuration while its sources are read, one after the other.

use super::dependency::DependencyTable;
use super::error::{ConfigFault, ProblemList};
use super::origin::ValueOrigin;
use super::raw::RawValue;
use super::secret_file::{self, SecretFile, SecretFileFault};
use super::sections::Config;
use super::setting::Setting;
use std::ffi::OsString;
use std::path::PathBuf;

/// A file that sets everything is under 10 KiB; a larger file is the wrong file.
pub(super) const FILE_BYTES_MAX: usize = 1 << 20;

/// A configuration that is being read.
#[derive(Default)]
pub(super) struct Draft {
    pub(super) config: Config,
    pub(super) report: ProblemList,
    /// `[[dependency]]`, not yet resolved.
    pub(super) tables: Vec<DependencyTable>,
    /// The environment, which may hold secrets of `[[relay]]`.
    pub(super) variables: Vec<(OsString, OsString)>,
}

impl Draft {
    pub(super) fn set(&mut self, setting: &'static Setting, raw: &RawValue, origin: ValueOrigin) {
        match setting.write(&mut self.config, raw) {
            Ok(()) => self.config.origins.note(setting.name, origin),
            Err(fault) => {
                self.report.refuse(setting.name);
                self.report.add(origin, setting.name, fault);
            }
        }
    }

    /// Sets a setting to the content of the file that `named` names.
    pub(super) fn set_from_file(
        &mut self,
        setting: &'static Setting,
        named: &RawValue,
        key: String,
        origin: ValueOrigin,
    ) {
        let content = match named.text() {
            Some("") => return,
            Some(path) => {
                let path = PathBuf::from(path);
                let file = SecretFile { key: key.clone(), origin: origin.clone(), path: path.clone() };
                self.report.secret_files.push(file);
                secret_file::read(&path, FILE_BYTES_MAX).map_err(ConfigFault::unreadable(&path)).and_then(
                    |text| match text.is_empty() {
                        true => Err(ConfigFault::SecretFile(SecretFileFault::Empty { path })),
                        false => Ok(RawValue::Plain(String::clone(&text))),
                    },
                )
            }
            None => {
                Err(ConfigFault::NotAccepted { value: named.shown(), expected: "the path of a file".into() })
            }
        };
        match content {
            Ok(raw) => {
                self.set(setting, &raw, origin);
                self.config.origins.note_secret_file(setting.name);
            }
            Err(fault) => {
                self.report.refuse(setting.name);
                self.report.add(origin, key, fault);
            }
        }
    }
}
