//! The check of the access to all files with a secret.

use super::dependency::DependencyTarget;
use super::error::{ConfigFault, ConfigWarning, ProblemList};
use super::origin::ValueOrigin;
use super::relay_secret::RelaySecret;
use super::secret_file::{FileAccess, SecretFile, SecretFileFault};
use super::sections::Config;
use super::table;
use super::url::HIDDEN;
use super::value::ShownValue;
use crate::auth::key::KeyMaterial;

/// A list of secrets, or of places where they are.
const RELAY_SECRETS: &str = "relay.secrets";

/// Checks the access to every file with a secret. A file that cannot be read is reported when it is read.
pub(super) fn check(config: &Config, report: &mut ProblemList) -> Vec<ConfigWarning> {
    let mut warnings = Vec::new();
    for SecretFile { key, origin, path } in files(config, report) {
        let Ok(metadata) = path.metadata() else { continue };
        match FileAccess::of(&metadata.permissions()) {
            FileAccess::Restricted => {}
            FileAccess::Readable => {
                let shown = path.display();
                let text = format!("every user of this machine can read {shown}: run chmod 640 {shown}");
                warnings.push(ConfigWarning { origin, key, text });
            }
            FileAccess::Writable => {
                report.add(origin, key, ConfigFault::SecretFile(SecretFileFault::WritableByOthers { path }))
            }
        }
    }
    warnings.extend(own_file(config));
    warnings
}

/// Warns of a configuration file that holds a secret and that others can read or write. It is no error, unlike for a file that
/// holds nothing else: that others can write a configuration says more than that they can choose a secret.
fn own_file(config: &Config) -> Option<ConfigWarning> {
    let path = config.origins.file()?;
    let access = FileAccess::of(&path.metadata().ok()?.permissions());
    let can = match access {
        FileAccess::Restricted => return None,
        FileAccess::Readable => "read",
        FileAccess::Writable => "write",
    };
    let (key, origin) = inline(config)?;
    let shown = path.display();
    let named = if key == RELAY_SECRETS { "\"file:PATH\"".to_owned() } else { format!("{key}_file") };
    let text = format!(
        "{shown} holds this secret, and other users of this machine can {can} it: run chmod 640 {shown}, or move the secret into a \
         file of its own and name that ({named})"
    );
    Some(ConfigWarning { origin, key, text })
}

/// The first secret that is in the configuration file itself.
fn inline(config: &Config) -> Option<(String, ValueOrigin)> {
    let settings = table::all().filter(|setting| setting.holds_secret()).filter_map(|setting| {
        let origin = config.origins.of(setting.name);
        let is_secret = match setting.show(config) {
            ShownValue::Hidden => true,
            ShownValue::Value(text) => text.contains(HIDDEN),
            ShownValue::Unset => false,
        };
        (is_secret && !config.origins.is_from_secret_file(setting.name))
            .then(|| (setting.name.to_owned(), origin.clone()))
    });
    let tokens = config.auth.keys.iter().filter_map(|key| match (&key.config.material, &key.file) {
        (KeyMaterial::Secret(_), None) => Some(("auth.keys.secret".to_owned(), key.origin.clone())),
        (KeyMaterial::Secret(_), Some(_)) | (KeyMaterial::PublicPem(_), _) => None,
    });
    let backends = config.api.keys.iter().filter(|key| key.file.is_none());
    let backends = backends.map(|key| ("api.keys.secret".to_owned(), key.origin.clone()));
    let dependencies = config.dependencies.iter().filter_map(|dependency| match &dependency.target {
        DependencyTarget::Url(url) if url.to_string().contains(HIDDEN) => {
            Some(("dependency.url".to_owned(), dependency.url_origin.clone()?))
        }
        DependencyTarget::Url(_) | DependencyTarget::Address(_) => None,
    });
    let relays = config.relays.iter().filter(|relay| relay.secrets.contains(&RelaySecret::Inline));
    let relays = relays.map(|relay| (RELAY_SECRETS.to_owned(), relay.origin.clone()));
    let mut all = settings.chain(tokens).chain(backends).chain(relays).chain(dependencies);
    all.find(|(_, origin)| matches!(origin, ValueOrigin::File { .. }))
}

fn files(config: &Config, report: &ProblemList) -> Vec<SecretFile> {
    let of_keys = config.auth.keys.iter().filter_map(|key| match (&key.config.material, &key.file) {
        (KeyMaterial::Secret(_), Some(path)) => Some(SecretFile {
            key: "auth.keys.secret_file".into(),
            origin: key.origin.clone(),
            path: path.clone(),
        }),
        (KeyMaterial::Secret(_), None) | (KeyMaterial::PublicPem(_), _) => None,
    });
    let of_tls = config.tls.key.iter().map(|path| SecretFile {
        key: "tls.key".into(),
        origin: config.origins.of("tls.key").clone(),
        path: path.clone(),
    });
    report.secret_files.iter().cloned().chain(of_keys).chain(of_tls).collect()
}

#[cfg(test)]
mod tests {
    use super::super::sources::{ConfigSources, FileSource, load};
    use std::fs::{Permissions, set_permissions, write};
    use std::os::unix::fs::PermissionsExt as _;

    const SECRET: &str = "hunter2-hunter2-hunter2-hunter2-hunter2";

    #[test]
    fn configuration_with_a_secret_that_others_can_read_or_write_is_warned_of() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, secret) = (folder.path().join("seawall.toml"), folder.path().join("secret"));
        write(&secret, SECRET).expect("written");
        set_permissions(&secret, Permissions::from_mode(0o600)).expect("own");
        let documents = [
            (format!("[auth]\nsecret = \"{SECRET}\"\n"), Some("auth.secret")),
            (format!("[admin]\ntoken = \"{SECRET}\"\n"), Some("admin.token")),
            (
                format!("[[auth.keys]]\nalgorithm = \"HS256\"\nsecret = \"{SECRET}\"\n"),
                Some("auth.keys.secret"),
            ),
            (format!("[store]\nurl = \"postgres://chat:{SECRET}@127.0.0.1/chat\"\n"), Some("store.url")),
            ("[store]\nurl = \"postgres://chat@127.0.0.1/chat\"\n".to_owned(), None),
            (format!("[auth]\nsecret_file = {secret:?}\n"), None),
            ("[limits]\nsubscriptions = 9\n".to_owned(), None),
            (
                format!(
                    "[[dependency]]\nname = \"shop\"\nkind = \"redis\"\nurl = \"redis://:{SECRET}@127.0.0.1\"\n"
                ),
                Some("dependency.url"),
            ),
            (
                "[[dependency]]\nname = \"shop\"\nkind = \"redis\"\nurl = \"redis://127.0.0.1\"\n".to_owned(),
                None,
            ),
        ];
        for (document, key) in documents {
            write(&path, &document).expect("written");
            for (mode, can) in [(0o600, None), (0o640, None), (0o644, Some("read")), (0o660, Some("write"))] {
                set_permissions(&path, Permissions::from_mode(mode)).expect("own");
                let sources = ConfigSources {
                    file: FileSource::Named(path.clone()),
                    variables: Vec::new(),
                    flags: Vec::new(),
                };
                let config = load(&sources).unwrap_or_else(|error| panic!("{document}: {error}"));
                let warnings: String = config.warnings.iter().map(|warning| format!("{warning}\n")).collect();
                let remedy = format!("run chmod 640 {}", path.display());
                assert_eq!(
                    warnings.contains(&remedy),
                    key.is_some() && can.is_some(),
                    "{mode:o} {document}: {warnings}"
                );
                if let (Some(key), Some(can)) = (key, can) {
                    assert!(warnings.contains(&format!(" {key}: ")), "{warnings}");
                    assert!(warnings.contains(&format!("can {can} it")), "{warnings}");
                }
                assert!(!warnings.contains("hunter2"), "{warnings}");
            }
        }
    }
}
