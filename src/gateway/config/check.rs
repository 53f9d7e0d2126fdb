//! Contradictions: values that are within their bounds but cannot be used together.

use super::alert_check;
use super::auth::{INTROSPECTION_URL, IntrospectionConfig, JWKS_URL};
use super::certificate::{TlsIdentity, Unusable};
use super::error::{ApiFault, ConfigFault, ProblemList};
use super::sections::{Config, ProxyProtocol};
use crate::drain::{CLOSING_MIN, Plan};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub(super) const CERTIFICATE: &str = "tls.certificate";
const KEY: &str = "tls.key";

/// Reports every contradiction between values that were not rejected themselves.
pub(super) fn contradictions(config: &Config, report: &mut ProblemList) {
    let mut check = ContradictionCheck { config, report };
    check.limits();
    check.proxies();
    check.stores();
    check.api();
    check.drain();
    check.auth_off();
    check.issuer();
    check.introspection();
    alert_check::check(config, report);
}

/// A setting and its value.
type Bounded = (&'static str, u64);

struct ContradictionCheck<'a> {
    config: &'a Config,
    report: &'a mut ProblemList,
}

impl ContradictionCheck<'_> {
    fn fault(&mut self, setting: &'static str, fault: ConfigFault) {
        self.report.add(self.config.origins.of(setting).clone(), setting, fault);
    }

    /// Reports `larger` if it is below `smaller`; each is a setting and its value. Returns the one that bounds whatever must be at
    /// least `larger`, so that a chain of limits is reported at once.
    fn order(&mut self, larger: Bounded, smaller: Bounded, reason: &'static str) -> Bounded {
        let ((setting, value), (other, other_value)) = (larger, smaller);
        let accepted = self.report.accepted(&[setting, other]);
        if value < other_value && accepted {
            let least = format!("{other} = {other_value} ({})", self.config.origins.of(other));
            self.fault(setting, ConfigFault::TooSmall { value, least, reason });
        }
        if value < other_value || !self.report.accepted(&[setting]) { smaller } else { larger }
    }

    fn limits(&mut self) {
        let limits = &self.config.limits;
        let frame = ("limits.frame_bytes", limits.frame_bytes.into());
        let message = ("limits.message_bytes", limits.message_bytes.into());
        let head = ("limits.head_bytes", limits.head_bytes.into());
        let uri = ("limits.uri_bytes", limits.uri_bytes.into());
        let outbox = ("limits.outbox_bytes", limits.outbox_bytes.into());
        let hard = ("limits.outbox_bytes_hard", limits.outbox_bytes_hard.into());
        let total = ("limits.outbox_bytes_total", limits.outbox_bytes_total);
        let inbound = ("limits.inbound_bytes_total", limits.inbound_bytes_total);
        let message = self.order(message, frame, "a message may be a single frame");
        self.order(inbound, message, "the total includes every single message");
        self.order(head, uri, "the request target is part of the head");
        let outbox = self.order(outbox, message, "a publication must fit in an outbox");
        let hard = self.order(hard, outbox, "a subscriber must lag before its connection stops being read");
        self.order(total, hard, "the total includes every single outbox");
    }

    fn proxies(&mut self) {
        let server = &self.config.server;
        let required = server.proxy_protocol == ProxyProtocol::Required;
        if required && server.trusted_proxies.is_empty() && self.report.accepted(&["server.trusted_proxies"])
        {
            self.fault("server.proxy_protocol", ConfigFault::NoTrustedProxy);
        }
    }

    fn api(&mut self) {
        let api = &self.config.api;
        let is_accepted = self.report.accepted(&["api.keys", "api.audience"]);
        if api.listen.is_some() && api.keys.is_empty() && api.audience.is_none() && is_accepted {
            self.fault("api.listen", ConfigFault::Api(ApiFault::NoKey));
        }
        if api.tls && self.config.tls.certificate.is_none() && self.report.accepted(&[CERTIFICATE, "api.tls"])
        {
            self.fault("api.tls", ConfigFault::NeedsSetting { setting: CERTIFICATE });
        }
        let sources = ["auth.keys", "auth.secret", "auth.jwks_url", "api.audience"];
        if api.audience.is_none() || !self.report.accepted(&sources) {
            return;
        }
        if self.config.auth.key_configs().is_empty() && self.config.auth.jwks.url.is_none() {
            self.fault("api.audience", ConfigFault::Api(ApiFault::NoTokenKey));
        }
    }

    fn stores(&mut self) {
        if !self.report.accepted(&["store.url"]) {
            return;
        }
        if self.config.store.postgres().is_some() {
            // A listing of all settings has the default, which has no effect there.
            let free = self.config.store.free_bytes_min;
            if free != 0 && free != Config::default().store.free_bytes_min {
                self.fault("store.free_bytes_min", ConfigFault::DiskOfServer);
            }
            return;
        }
        if self.config.bus.url.is_some() {
            self.fault("bus.url", ConfigFault::BusWithoutSharedStore);
        }
        if self.config.server.takeover {
            self.fault("server.takeover", ConfigFault::TakeoverOfEmbeddedStore);
        }
    }

    /// The phases of a drain follow each other: accept, spread, close, exit.
    fn drain(&mut self) {
        if !self.report.accepted(&["drain.accept_ms", "drain.spread_ms", "drain.close_ms", "drain.exit_ms"]) {
            return;
        }
        let Plan { accept, spread, close, exit, returns: _ } = self.config.drain;
        let spread_end = (accept + spread).max(accept + Duration::from_millis(1));
        if close < spread_end {
            let (value, least) =
                (ms(close), format!("{} (drain.accept_ms + drain.spread_ms)", ms(spread_end)));
            let reason = "no connection is closed before the last slot";
            self.fault("drain.close_ms", ConfigFault::TooSmall { value, least, reason });
        }
        let exit_least = close + CLOSING_MIN;
        if exit < exit_least {
            let (value, least) = (ms(exit), format!("{} (drain.close_ms + 1000)", ms(exit_least)));
            let reason = "pending requests are answered and the store is closed in between";
            self.fault("drain.exit_ms", ConfigFault::TooSmall { value, least, reason });
        }
    }

    fn auth_off(&mut self) {
        let switches = ["auth.keys", "auth.secret", INTROSPECTION_URL, JWKS_URL];
        if self.config.auth.is_on() || !self.report.accepted(&switches) {
            return;
        }
        let listen = self.config.server.listen;
        if !listen.ip().to_canonical().is_loopback() && self.report.accepted(&["server.listen"]) {
            self.fault("server.listen", ConfigFault::OpenToNetwork { listen: listen.to_string() });
        }
        if self.config.server.origins.iter().any(|origin| origin == "*")
            && self.report.accepted(&["server.origins"])
        {
            self.fault("server.origins", ConfigFault::OpenToPages);
        }
        if self.config.auth.audience.is_some() {
            self.fault("auth.audience", ConfigFault::AuthOff);
        }
        if self.config.auth.issuer.is_some() {
            self.fault("auth.issuer", ConfigFault::AuthOff);
        }
    }

    /// One key set may sign the tokens of several issuers or tenants.
    fn issuer(&mut self) {
        let auth = &self.config.auth;
        if auth.jwks.url.is_some()
            && auth.issuer.is_none()
            && self.report.accepted(&["auth.issuer", JWKS_URL])
        {
            let expected = "the `iss` of the tokens, because auth.jwks_url may sign those of several issuers";
            self.fault("auth.issuer", ConfigFault::Missing { expected: expected.into() });
        }
    }

    fn introspection(&mut self) {
        let auth = &self.config.auth;
        let IntrospectionConfig { url, client_id, client_secret, user, channels, token_pattern, .. } =
            &auth.introspection;
        if url.is_none() && self.report.accepted(&[INTROSPECTION_URL]) {
            let dependents = [
                ("auth.client_id", client_id.is_some()),
                ("auth.client_secret", client_secret.is_some()),
                ("auth.introspection_user", user.is_some()),
                ("auth.introspection_channels", channels.is_some()),
                ("auth.token_pattern", token_pattern.is_some()),
            ];
            for (setting, _) in dependents.into_iter().filter(|(_, is_set)| *is_set) {
                self.fault(setting, ConfigFault::NeedsSetting { setting: INTROSPECTION_URL });
            }
        } else if client_id.is_some()
            && client_secret.is_none()
            && self.report.accepted(&["auth.client_secret"])
        {
            self.fault("auth.client_id", ConfigFault::NeedsSetting { setting: "auth.client_secret" });
        }
        let refresh = ("auth.jwks_refresh_ms", ms(auth.jwks.refresh));
        let pause = ("auth.jwks_pause_ms", ms(auth.jwks.pause));
        self.order(refresh, pause, "an unknown kid can only bring the next fetch forward");
    }
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Reads the certificate and its key, if both are set, so that their mistakes are reported with all others.
pub(super) fn read_identity(config: &mut Config, report: &mut ProblemList) {
    if config.tls.identity.is_some() || !report.accepted(&[CERTIFICATE, KEY]) {
        return;
    }
    let outcome = match (&config.tls.certificate, &config.tls.key) {
        (None, None) if config.tls.hsts_max_age_s > 0 => {
            Err(("tls.hsts_max_age_s", ConfigFault::NeedsSetting { setting: CERTIFICATE }))
        }
        (None, None) => return,
        (Some(_), None) => Err((CERTIFICATE, ConfigFault::NeedsSetting { setting: KEY })),
        (None, Some(_)) => Err((KEY, ConfigFault::NeedsSetting { setting: CERTIFICATE })),
        (Some(certificate), Some(key)) => {
            #[allow(
                clippy::disallowed_methods,
                reason = "a configuration is read at the start and on request"
            )]
            let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
            TlsIdentity::read(certificate, key, now).map_err(|unusable| match unusable {
                Unusable::Certificate(fault) => (CERTIFICATE, ConfigFault::Certificate(fault)),
                Unusable::Key(fault) => (KEY, ConfigFault::Certificate(fault)),
            })
        }
    };
    match outcome {
        Ok(identity) => config.tls.identity = Some(identity),
        Err((setting, fault)) => report.add(config.origins.of(setting).clone(), setting, fault),
    }
}
