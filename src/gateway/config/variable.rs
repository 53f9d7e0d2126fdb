//! `SEAWALL_SECTION_KEY`: the environment.
//!
//! The name is split at its first underscore after `SEAWALL_`, since keys have underscores and sections have
//! none. An unknown name is an error: a limit that is silently not set is worse than a refused start. Only
//! what Kubernetes and Docker put into every container beside a service named `seawall` is let pass.

use super::Draft;
use super::error::Fault;
use super::nearest::nearest;
use super::parse::Raw;
use super::source::Origin;
use super::table;
use std::ffi::OsString;

const PREFIX: &str = "SEAWALL_";

/// Reads all variables that are ours.
pub(super) fn read(draft: &mut Draft, variables: &[(OsString, OsString)]) {
    let mut ours: Vec<(String, &OsString)> = variables
        .iter()
        .map(|(name, value)| (name.to_string_lossy().into_owned(), value))
        .filter(|(name, _)| name.starts_with(PREFIX))
        .collect();
    ours.sort();
    for (name, value) in ours {
        if !is_service_link(&name) {
            one(draft, name, value);
        }
    }
}

fn one(draft: &mut Draft, variable: String, value: &OsString) {
    let Some(setting) = table::all().find(|setting| setting.variable() == variable) else {
        let fault = match variable.as_str() {
            "SEAWALL_AUTH_KEYS" => Fault::OnlyInFile,
            _ => unknown(&variable),
        };
        return draft.report(Origin::Variable(variable), "", fault);
    };
    match value.to_str() {
        Some(text) => draft.take(setting, &Raw::Plain(text.to_owned()), Origin::Variable(variable)),
        None => {
            draft.refused.insert(setting.name);
            draft.report(Origin::Variable(variable), setting.name, Fault::NotUtf8);
        }
    }
}

fn unknown(variable: &str) -> Fault {
    let names: Vec<String> = table::all().map(|setting| setting.variable()).collect();
    let own = |name: &str| name.strip_prefix(PREFIX).unwrap_or(name).to_owned();
    let short: Vec<String> = names.iter().map(|name| own(name)).collect();
    let found = nearest(&own(variable), short.iter().map(String::as_str));
    Fault::Unknown { nearest: found.map(|name| format!("{PREFIX}{name}")) }
}

/// Whether this is a variable of Kubernetes' or Docker's service links (`SEAWALL_SERVICE_HOST`,
/// `SEAWALL_PORT_8080_TCP_ADDR`, `SEAWALL_ADMIN_SERVICE_PORT_HTTP`): no setting looks like one.
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
    fn no_setting_looks_like_a_service_link() {
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

    #[test]
    fn a_section_has_no_underscore_so_every_name_splits_in_one_way() {
        assert!(table::SECTIONS.iter().all(|(section, _)| !section.contains('_')));
    }
}
