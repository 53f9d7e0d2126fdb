//! The configuration in the environment: `SEAWALL_*` variables, and the credentials that systemd hands to a unit.

use super::draft::Draft;
use super::error::{ApiFault, ConfigFault};
use super::origin::ValueOrigin;
use super::raw::{RawValue, nearest};
use super::secret_file::SecretFileFault;
use super::setting::Setting;
use super::table;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::Path;

const PREFIX: &str = "SEAWALL_";
/// The folder of the unit's credentials, set by systemd.
pub(super) const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

/// True exactly when a variable is Seawall's.
pub(super) fn is_ours(name: &OsString) -> bool {
    name.as_encoded_bytes().starts_with(PREFIX.as_bytes())
}

impl Draft {
    /// Reads the credentials that systemd hands to the unit: files with the names of settings.
    pub(super) fn read_credentials(&mut self, variables: &[(OsString, OsString)]) {
        let Some((_, folder)) = variables.iter().find(|(name, _)| name == CREDENTIALS) else { return };
        for setting in table::all().filter(|setting| setting.holds_secret()) {
            let path = Path::new(folder).join(setting.name);
            if path.exists() {
                let origin = ValueOrigin::Variable(CREDENTIALS.into());
                let named = RawValue::Plain(path.to_string_lossy().into_owned());
                self.set_from_file(setting, &named, setting.name.into(), origin);
            }
        }
    }

    /// Reads the variables in the order of their names. An unknown `SEAWALL_` name is an error, because a limit that is
    /// silently not set is worse than a refused start; only service links are ignored.
    pub(super) fn read_variables(&mut self, variables: &[(OsString, OsString)]) {
        let mut ours: Vec<(String, &OsString)> = variables
            .iter()
            .map(|(name, value)| (name.to_string_lossy().into_owned(), value))
            .filter(|(name, _)| name.starts_with(PREFIX) && !is_service_link(name))
            .collect();
        ours.sort();
        let is_given = |(_, value): &&(String, &OsString)| !value.is_empty();
        let given: BTreeSet<String> = ours.iter().filter(is_given).map(|(name, _)| name.clone()).collect();
        for (name, value) in ours {
            let origin = ValueOrigin::Variable(name.clone());
            match (table::all().find(|setting| setting.variable() == name), value.to_str()) {
                (Some(setting), Some(text)) => self.set(setting, &RawValue::Plain(text.to_owned()), origin),
                (Some(setting), None) => {
                    self.report.refuse(setting.name);
                    self.report.add(origin, setting.name, ConfigFault::NotUtf8);
                }
                (None, _) if name == "SEAWALL_AUTH_KEYS" => {
                    self.report.add(origin, "", ConfigFault::OnlyInFile)
                }
                (None, _) if name == "SEAWALL_API_KEYS" => {
                    self.report.add(origin, "", ConfigFault::Api(ApiFault::OnlyInFile))
                }
                (None, path) => match (table::by_file_variable(&name), path) {
                    (Some(setting), _) if given.contains(&setting.variable()) => {
                        self.report.add(
                            origin,
                            setting.name,
                            ConfigFault::SecretFile(SecretFileFault::TwoValues { key: name }),
                        );
                    }
                    (Some(setting), Some(path)) => {
                        self.set_from_file(setting, &RawValue::Plain(path.to_owned()), name, origin);
                    }
                    (Some(setting), None) => self.report.add(origin, setting.name, ConfigFault::NotUtf8),
                    (None, _) => {
                        let fault = ConfigFault::Unknown { nearest: nearest_variable(&name) };
                        self.report.add(origin, "", fault);
                    }
                },
            }
        }
    }
}

/// The closest variable, else the variable of the setting whose key the name is: `SEAWALL_LISTEN` lacks its section.
fn nearest_variable(name: &str) -> Option<String> {
    let short = |name: &str| name.strip_prefix(PREFIX).unwrap_or(name).to_owned();
    let names: Vec<String> = table::all().map(|setting| short(&setting.variable())).collect();
    let key = short(name);
    nearest(&key, names.iter().map(String::as_str)).map(|found| format!("{PREFIX}{found}")).or_else(|| {
        let same_key = |setting: &&Setting| setting.key.eq_ignore_ascii_case(&key);
        table::all().find(same_key).map(Setting::variable)
    })
}

/// True exactly when Kubernetes or Docker sets such a variable for a service named `seawall` (`SEAWALL_SERVICE_HOST`,
/// `SEAWALL_PORT_8080_TCP_ADDR`, `SEAWALL_ADMIN_SERVICE_PORT_HTTP`). No setting has such a name.
fn is_service_link(variable: &str) -> bool {
    let parts: Vec<&str> = variable.split('_').collect();
    let service = parts.windows(2).any(|pair| matches!(pair, ["SERVICE", "HOST" | "PORT"]));
    let port = parts.windows(3).any(|three| {
        matches!(three, ["PORT", number, "TCP" | "UDP" | "SCTP"] if number.bytes().all(|byte| byte.is_ascii_digit()))
    });
    service || port || parts.last() == Some(&"PORT")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn service_links_are_recognised_and_no_setting_looks_like_one() {
        assert!(table::all().all(|setting| !is_service_link(&setting.variable())));
        for link in [
            "SEAWALL_SERVICE_HOST",
            "SEAWALL_SERVICE_PORT_HTTP",
            "SEAWALL_PORT",
            "SEAWALL_PORT_8080_TCP",
            "SEAWALL_PORT_8080_TCP_ADDR",
            "SEAWALL_ADMIN_SERVICE_HOST",
        ] {
            assert!(is_service_link(link), "{link}");
        }
    }
}
