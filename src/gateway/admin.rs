//! The admin listener before its threads: its address and its token.
//!
//! An address that nobody asked for must not keep a second gateway from starting on a machine, so with the default a
//! failure costs the listener and a warning. What was asked for is had, or the gateway does not start.

mod token;

use super::config::Config;
use super::config::source::Origin;
use crate::clock::Now;
use crate::job::Outlook;
use crate::metrics::scrape::Metrics;
use crate::metrics::vitals::Vitals;
use crate::wire::request::HeadLimits;
use crate::worker::admin::Admin;
use crate::worker::watch::Desk;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;

/// A listener that is bound, or why there is none.
pub(super) enum Prepared {
    /// It is bound, and the token is known.
    Ready {
        /// Bound, and not served yet.
        listener: TcpListener,
        /// Where: port 0 has become one.
        address: SocketAddr,
        /// What operators show.
        token: Vec<u8>,
        /// Where an operator finds that.
        kept: Kept,
    },
    /// Nobody wants one.
    Off,
    /// Nobody asked for one, and it cannot be had.
    Missing,
}

/// Where an operator finds the token.
pub(super) enum Kept {
    /// The operator has it.
    Setting,
    /// In this file.
    File(PathBuf),
}

impl Kept {
    /// For people.
    pub(super) fn describe(&self) -> String {
        match self {
            Kept::Setting => "admin.token".into(),
            Kept::File(path) => path.display().to_string(),
        }
    }
}

/// The token that a gateway of this configuration takes, for those who ask it; none is made.
pub(super) fn token_of(config: &Config) -> Result<(Vec<u8>, Kept), String> {
    if let Some(token) = &config.admin.token {
        return Ok((token.bytes().to_vec(), Kept::Setting));
    }
    let (token, file) = token::known(&config.store.data)?;
    Ok((token, Kept::File(file)))
}

impl Prepared {
    /// Binds the address and finds the token, which is made where there is none.
    pub(super) fn new(config: &Config) -> Result<Prepared, String> {
        let Some(listen) = config.admin.listen else { return Ok(Prepared::Off) };
        match Prepared::ready(config, listen) {
            Ok(ready) => Ok(ready),
            Err(why) if *config.origins.of("admin.listen") == Origin::Default => {
                tracing::warn!(why, "no admin listener; set admin.listen to another address, or to \"off\"");
                Ok(Prepared::Missing)
            }
            Err(why) => Err(why),
        }
    }

    fn ready(config: &Config, listen: SocketAddr) -> Result<Prepared, String> {
        let failed = |error| {
            format!(
                "cannot listen on {listen} (admin.listen): {error}; set another address, or \"off\" for no admin listener"
            )
        };
        let listener = TcpListener::bind(listen).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let (token, kept) = match &config.admin.token {
            Some(token) => (token.bytes().to_vec(), Kept::Setting),
            None => {
                let (token, file) = token::find(&config.store.data)?;
                (token, Kept::File(file))
            }
        };
        if !address.ip().to_canonical().is_loopback() {
            tracing::warn!(
                %address,
                "the admin listener is not on loopback and speaks plain HTTP: who can listen in on the way can read the token; \
                 put TLS before it, or keep it to a network of operators"
            );
        }
        Ok(Prepared::Ready { listener, address, token, kept })
    }

    /// What a person is told of it first; never the token.
    pub(super) fn describe(&self) -> String {
        match self {
            Prepared::Ready { address, kept: Kept::Setting, .. } => {
                format!("http://{address}/ (token: admin.token)")
            }
            Prepared::Ready { address, kept: Kept::File(path), .. } => {
                format!("http://{address}/ (token in {})", path.display())
            }
            Prepared::Off => "off".into(),
            Prepared::Missing => "none: see the log".into(),
        }
    }

    /// Starts its threads.
    pub(super) fn start(
        self,
        config: &Config,
        (desk, bell): (Desk, Arc<dyn Fn() + Send + Sync>),
        clock: impl Fn() -> Now + Send + Sync + 'static,
        outlook: &Arc<Outlook>,
        (vitals, metrics, instance): (&Arc<Vitals>, &Arc<Metrics>, &Arc<str>),
    ) -> io::Result<()> {
        let (listener, token) = match self {
            Prepared::Ready { listener, token, .. } => (listener, token),
            Prepared::Off | Prepared::Missing => return Ok(()),
        };
        let admin = Admin {
            token,
            desk,
            bell,
            clock,
            outlook: Arc::clone(outlook),
            vitals: Arc::clone(vitals),
            metrics: Arc::clone(metrics),
            instance: Arc::clone(instance),
            head_limits: HeadLimits::from(&config.limits),
            request_ms: config.limits.head_ms,
        };
        admin.start(listener)
    }
}
