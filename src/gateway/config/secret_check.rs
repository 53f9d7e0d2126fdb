//! The check of the access to all files with a secret.

use super::error::{ConfigFault, ConfigWarning, ProblemList};
use super::secret_file::{FileAccess, SecretFile, SecretFileFault};
use super::sections::Config;
use crate::auth::key::KeyMaterial;

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
    warnings
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
