//! The admin listener before its threads start: its address and its token.
//!
//! The default address must not keep a second gateway from starting on the same machine. So if it is in use, the gateway warns
//! and runs without an admin listener; an address that the operator set must be available, or it refuses to start.

use super::config::Config;
use super::config::origin::ValueOrigin;
use super::threads::OperatorLinks;
use super::token;
use crate::admin::Admin;
use crate::admin::console::Console;
use crate::admin::console::rules::PageRules;
use crate::admin::relay_links::RelayLinks;
use crate::clock::Now;
use crate::job::admin::AdminRequests;
use crate::job::delivery::Monitor;
use crate::job::directory::UserDirectory;
use crate::job::orders::OrderBoard;
use crate::job::presence::PresenceQueue;
use crate::job::registry::ClusterBoard;
use crate::job::relay::{RelayQueue, Routes};
use crate::job::{Mailbox, Outlook};
use crate::metrics::scrape::Metrics;
use crate::metrics::vitals::Vitals;
use crate::wire::request::HeadLimits;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use zeroize::Zeroizing;

/// A bound listener, or the reason that there is none.
pub(super) enum PreparedAdmin {
    Ready {
        /// Bound, but not served yet.
        listener: TcpListener,
        /// The bound address; never port 0.
        address: SocketAddr,
        token: Zeroizing<Vec<u8>>,
        place: TokenPlace,
    },
    Off,
    /// The default address could not be bound.
    Unavailable {
        reason: String,
    },
}

/// The values that the listener shares with the rest of the process.
pub(super) struct AdminShared {
    pub(super) requests: AdminRequests,
    pub(super) threads: OperatorLinks,
    pub(super) outlook: Arc<Outlook>,
    pub(super) vitals: Arc<Vitals>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) instance: Arc<str>,
    pub(super) mailboxes: Arc<[Mailbox]>,
    pub(super) monitor: Arc<Monitor>,
    pub(super) presence: PresenceQueue,
    pub(super) cluster: Arc<ClusterBoard>,
    pub(super) users: UserDirectory,
    pub(super) orders: Arc<OrderBoard>,
    /// The routes of the relay, and its queue to the store.
    pub(super) relay: (Arc<Routes>, RelayQueue),
}

/// The place where an operator finds the token.
pub(super) enum TokenPlace {
    /// `admin.token`.
    Setting,
    File(PathBuf),
}

impl TokenPlace {
    pub(super) fn describe(&self) -> String {
        match self {
            TokenPlace::Setting => "admin.token".into(),
            TokenPlace::File(path) => path.display().to_string(),
        }
    }
}

/// The token of a running gateway with this configuration; never creates one.
pub(super) fn token_of(config: &Config) -> Result<(Zeroizing<Vec<u8>>, TokenPlace), String> {
    if let Some(token) = &config.admin.token {
        return Ok((Zeroizing::new(token.bytes().to_vec()), TokenPlace::Setting));
    }
    let (token, file) = token::known(&config.store.data)?;
    Ok((token, TokenPlace::File(file)))
}

impl PreparedAdmin {
    /// Binds the address and reads the token, which is created if there is none.
    pub(super) fn new(config: &Config) -> Result<PreparedAdmin, String> {
        let Some(listen) = config.admin.listen else { return Ok(PreparedAdmin::Off) };
        match PreparedAdmin::ready(config, listen) {
            Ok(ready) => Ok(ready),
            Err(reason) if *config.origins.of("admin.listen") == ValueOrigin::Default => {
                Ok(PreparedAdmin::Unavailable { reason })
            }
            Err(reason) => Err(reason),
        }
    }

    fn ready(config: &Config, listen: SocketAddr) -> Result<PreparedAdmin, String> {
        let failed = |error| {
            format!(
                "cannot listen on {listen} (admin.listen): {error}; set it to another address, or to \"off\" for none"
            )
        };
        let listener = TcpListener::bind(listen).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let (token, place) = match &config.admin.token {
            Some(token) => (Zeroizing::new(token.bytes().to_vec()), TokenPlace::Setting),
            None => {
                let (token, file) = token::find_or_create(&config.store.data)?;
                (token, TokenPlace::File(file))
            }
        };
        if !address.ip().to_canonical().is_loopback() {
            tracing::warn!(
                %address,
                risk = "plain HTTP: anyone who can observe the network can read the token",
                hint = "put TLS in front of it, or restrict it to a network of operators",
                "admin listener not on loopback"
            );
        }
        Ok(PreparedAdmin::Ready { listener, address, token, place })
    }

    /// The address, and the file of the token; `None` for what there is not.
    pub(super) fn place(&self) -> (Option<SocketAddr>, Option<&Path>) {
        match self {
            PreparedAdmin::Ready { address, place: TokenPlace::File(file), .. } => {
                (Some(*address), Some(file))
            }
            PreparedAdmin::Ready { address, place: TokenPlace::Setting, .. } => (Some(*address), None),
            PreparedAdmin::Off | PreparedAdmin::Unavailable { .. } => (None, None),
        }
    }

    /// The address and the place of the token, for the start banner; never the token.
    pub(super) fn describe(&self) -> String {
        match self {
            PreparedAdmin::Ready { address, place: TokenPlace::Setting, .. } => {
                format!("http://{address}/ (token: admin.token)")
            }
            PreparedAdmin::Ready { address, place: TokenPlace::File(path), .. } => {
                format!("http://{address}/ (token in {})", path.display())
            }
            PreparedAdmin::Off => "off".into(),
            PreparedAdmin::Unavailable { .. } => "unavailable: see the log".into(),
        }
    }

    /// Starts the threads.
    pub(super) fn start(
        self,
        config: &Config,
        clock: impl Fn() -> Now + Send + Sync + 'static,
        shared: AdminShared,
    ) -> io::Result<()> {
        let (listener, address, token) = match self {
            PreparedAdmin::Ready { listener, address, token, .. } => (listener, address, token),
            PreparedAdmin::Off => return Ok(()),
            PreparedAdmin::Unavailable { reason } => {
                tracing::warn!(reason, "admin listener unavailable");
                return Ok(());
            }
        };
        let AdminShared {
            requests,
            threads,
            outlook,
            vitals,
            metrics,
            instance,
            mailboxes,
            monitor,
            presence,
            cluster,
            users,
            orders,
            relay,
        } = shared;
        let admin = Admin {
            token,
            requests,
            waker: threads.wake_main,
            clock,
            outlook,
            vitals,
            metrics,
            instance,
            mailboxes,
            monitor,
            presence,
            cluster,
            users,
            orders,
            alert_requests: threads.alerts,
            slo_requests: threads.slo_requests,
            relay: RelayLinks {
                routes: relay.0,
                store: relay.1,
                producers: threads.producers,
                source: config.server.source_address,
            },
            head_limits: HeadLimits::from(&config.limits),
            request_ms: config.limits.head_ms,
            console: Console::new(PageRules::new(address, &config.admin.hosts, config.admin.url.as_deref())),
        };
        admin.start(listener)
    }
}
