//! `[tls]`: the certificate that the listener shows, read and checked with the rest of the configuration.

use super::Draft;
use super::certificate::{Identity, Unusable};
use super::error::Fault;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// See the module. The listener is encrypted exactly when there is an identity.
#[derive(Clone, Debug, Default)]
pub struct TlsConfig {
    /// PEM file of the certificate, and of those that signed it.
    pub certificate: Option<PathBuf>,
    /// PEM file of its private key.
    pub key: Option<PathBuf>,
    /// What the two files hold. There is one exactly when both are set.
    pub identity: Option<Identity>,
}

/// The setting of the certificate's file.
pub(super) const CERTIFICATE: &str = "tls.certificate";
const KEY: &str = "tls.key";

/// Reads the files, so that whatever is wrong with them is reported with everything else.
pub(super) fn read(draft: &mut Draft) {
    if draft.config.tls.identity.is_some() {
        return;
    }
    if draft.refused.contains(CERTIFICATE) || draft.refused.contains(KEY) {
        return;
    }
    let outcome = match (&draft.config.tls.certificate, &draft.config.tls.key) {
        (None, None) => return,
        (Some(_), None) => Err((CERTIFICATE, Fault::NeedsSetting { setting: KEY })),
        (None, Some(_)) => Err((KEY, Fault::NeedsSetting { setting: CERTIFICATE })),
        (Some(certificate), Some(key)) => identity(certificate, key),
    };
    match outcome {
        Ok(identity) => draft.config.tls.identity = Some(identity),
        Err((setting, fault)) => {
            let origin = draft.config.origins.of(setting).clone();
            draft.report(origin, setting, fault);
        }
    }
}

fn identity(certificate: &Path, key: &Path) -> Result<Identity, (&'static str, Fault)> {
    #[allow(clippy::disallowed_methods, reason = "a configuration is read at the start and on request")]
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    Identity::read(certificate, key, now).map_err(|unusable| match unusable {
        Unusable::Certificate(fault) => (CERTIFICATE, fault),
        Unusable::Key(fault) => (KEY, fault),
    })
}
