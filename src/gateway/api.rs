//! The server API before its threads start, and its part of a reload.

use super::config::Config;
use super::config::prepare::{backend_verifier, key_set_mark};
use super::watch::ProbeShares;
use crate::api::{Api, ApiPolicy, BackendKeySet, RunningApi, TokenCheck};
use crate::auth::api_key::ApiKeys;
use crate::backends::RunningRelay;
use crate::clock::Now;
use crate::job::callers::Callers;
use crate::job::directory::UserDirectory;
use crate::job::issuer_keys::IssuerKeys;
use crate::job::mailbox::ThreadMailboxes;
use crate::job::orders::OrderBoard;
use crate::job::registry::ClusterBoard;
use crate::job::{Mailbox, Outlook, Queues};
use crate::metrics::api::ApiCounters;
use crate::metrics::streams::StreamCounters;
use crate::metrics::vitals::Vitals;
use crate::session::StreamsMode;
use crate::wire::api::body::ApiBounds;
use crate::wire::request::HeadLimits;
use rustls::ServerConfig;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

/// A bound listener, or none.
pub(super) enum PreparedApi {
    Ready {
        /// Bound, but not served yet.
        listener: TcpListener,
        /// Never port 0.
        address: SocketAddr,
        scheme: &'static str,
        counters: Arc<ApiCounters>,
        /// The key set that the auth worker fetches.
        issuer_keys: Arc<IssuerKeys>,
    },
    Off,
}

/// The values that the API shares with the rest of the process.
pub(super) struct ApiParts {
    pub(super) queues: Queues,
    /// With as many seats as [`PreparedApi::seats`] says.
    pub(super) callers: Arc<Callers>,
    pub(super) mailboxes: Arc<[Mailbox]>,
    pub(super) outlook: Arc<Outlook>,
    /// TLS as on the listener of clients; `None` without a certificate.
    pub(super) secured: Option<Arc<ServerConfig>>,
    pub(super) cluster: Arc<ClusterBoard>,
    pub(super) users: UserDirectory,
    pub(super) orders: Arc<OrderBoard>,
    pub(super) vitals: Arc<Vitals>,
}

impl PreparedApi {
    /// Binds the address.
    pub(super) fn new(config: &Config, shared: &ProbeShares) -> Result<PreparedApi, String> {
        let Some(listen) = config.api.listen else { return Ok(PreparedApi::Off) };
        let failed = |error| {
            format!(
                "cannot listen on {listen} (api.listen): {error}; set it to another address, or to \"off\""
            )
        };
        let listener = TcpListener::bind(listen).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let scheme = if config.api.tls { "https" } else { "http" };
        let (counters, issuer_keys) = (Arc::default(), Arc::clone(&shared.issuer_keys));
        Ok(PreparedApi::Ready { listener, address, scheme, counters, issuer_keys })
    }

    /// The number of threads that wait for answers of the store.
    pub(super) fn seats(&self, config: &Config) -> usize {
        match self {
            PreparedApi::Ready { .. } => config.api.connections as usize,
            PreparedApi::Off => 0,
        }
    }

    pub(super) fn counters(&self) -> Option<Arc<ApiCounters>> {
        match self {
            PreparedApi::Ready { counters, .. } => Some(Arc::clone(counters)),
            PreparedApi::Off => None,
        }
    }

    /// The address, for the start banner.
    pub(super) fn describe(&self) -> Option<String> {
        match self {
            PreparedApi::Ready { address, scheme, .. } => Some(format!("{scheme}://{address}/v1/")),
            PreparedApi::Off => None,
        }
    }

    /// Starts the threads.
    pub(super) fn start(
        self,
        config: &Config,
        parts: ApiParts,
        clock: impl Fn() -> Now + Send + Sync + 'static,
    ) -> io::Result<Option<RunningApi>> {
        let PreparedApi::Ready { listener, counters, issuer_keys, .. } = self else { return Ok(None) };
        let ApiParts { queues, callers, mailboxes, outlook, secured, cluster, users, orders, vitals } = parts;
        let policy = policy(config, secured.as_ref(), &issuer_keys).map_err(io::Error::other)?;
        let api = Api {
            policy,
            connections: config.api.connections as usize,
            in_flight: config.api.in_flight as usize,
            queues,
            callers,
            mailboxes,
            outlook,
            cluster,
            users,
            orders,
            vitals,
            counters,
            clock,
        };
        api.start(listener).map(Some)
    }
}

/// The threads that are no reactors and send work to the store. They end with the process.
pub(super) struct ApiSide {
    /// The server API.
    pub(super) api: Option<RunningApi>,
    /// Producers of streams.
    pub(super) producers: Arc<ThreadMailboxes>,
    pub(super) relay: RunningRelay,
}

impl ApiSide {
    /// Takes no more work. Requests in progress keep the store until they are answered.
    pub(super) fn stop(self) {
        // It ends what it reads through the producers.
        self.relay.stop();
        if let Some(api) = &self.api {
            api.stop();
        }
        self.producers.stop();
    }
}

/// The threads that wait for the store, and its producers of streams.
pub(super) fn callers(
    api: &PreparedApi,
    config: &Config,
    queues: &Queues,
    counters: &StreamCounters,
) -> (Arc<Callers>, Arc<ThreadMailboxes>) {
    let callers = Arc::new(Callers::new(api.seats(config)));
    let producers = Arc::clone(callers.producers());
    let window = config.streams.window_bytes as usize;
    producers.start(queues.streams.clone(), window, Arc::clone(&counters.notices_dropped));
    producers.read_from(queues.read.clone());
    (callers, producers)
}

/// The settings that a reload may change. `secured`: TLS as on the listener of clients.
pub(super) fn policy(
    config: &Config,
    secured: Option<&Arc<ServerConfig>>,
    issuer_keys: &Arc<IssuerKeys>,
) -> Result<ApiPolicy, String> {
    let (api, limits) = (&config.api, &config.limits);
    Ok(ApiPolicy {
        keys: ApiKeys::new(api.keys.iter().map(|key| key.key.clone()).collect()),
        tokens: token_check(config, issuer_keys)?,
        secured: secured.filter(|_| api.tls).map(Arc::clone),
        bounds: ApiBounds {
            per_request: api.per_request as usize,
            data_bytes: limits.frame_bytes as usize,
            json_depth: limits.json_depth,
        },
        body_bytes: api.body_bytes as usize,
        head_limits: HeadLimits::from(limits),
        head_timeout: Duration::from_millis(limits.head_ms.into()),
        streams: if config.streams.enabled { StreamsMode::On } else { StreamsMode::Off },
        idle: config.streams.idle,
    })
}

/// The check of tokens for `api.audience`. Another configuration forgets the earlier tokens.
fn token_check(config: &Config, issuer_keys: &Arc<IssuerKeys>) -> Result<Option<Arc<TokenCheck>>, String> {
    let Some(audience) = &config.api.audience else { return Ok(None) };
    let verifier = backend_verifier(&config.auth, audience).map_err(|fault| format!("auth.keys: {fault}"))?;
    let mut salt = [0; 16];
    getrandom::fill(&mut salt).map_err(|error| format!("the system gives no random numbers: {error}"))?;
    let keys = |mark| BackendKeySet { mark, keys: Arc::clone(issuer_keys) };
    Ok(Some(Arc::new(TokenCheck::new(verifier, key_set_mark(&config.auth).map(keys), salt))))
}
