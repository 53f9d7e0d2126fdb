//! The servers that a row needs, its faults and repairs, and the calls that it makes.

use super::table::{Calls, Row, Step};
use crate::auth_service::issuer::{INTROSPECT, Issuer, JWKS, active};
use crate::bus::rig::delivers;
use crate::servers::http::Request;
use crate::servers::{Answer, Postgres, Redis};
use crate::support::token::{asymmetric, claims, signed};
use crate::support::{Client, Gateway, SOON, Setup, until};
use jsonwebtoken::Algorithm;
use jsonwebtoken::jwk::Jwk;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU64, Ordering};

/// The token of the clients that are connected throughout.
const RESIDENT: &str = "resident";
/// Beginnings of tokens: no service knows those of a probe.
const MADE_UP: &str = "seawall-probe";

/// The servers of one row.
pub struct Rig {
    calls: Calls,
    store: Option<Postgres>,
    redis: Option<Redis>,
    issuer: Option<Issuer>,
    /// The calls so far, for names that were not used before.
    made: AtomicU64,
}

impl Rig {
    pub fn start(calls: Calls) -> Rig {
        let (store, redis, issuer) = match calls {
            Calls::Publish => (Some(Postgres::start()), None, None),
            Calls::PublishAndSubscribe => (Some(Postgres::start()), Some(Redis::start()), None),
            Calls::Introspect | Calls::UnknownKey => (None, None, Some(Issuer::start())),
        };
        let rig = Rig { calls, store, redis, issuer, made: AtomicU64::new(0) };
        if rig.issuer.is_some() {
            rig.answer_all_tokens();
            rig.publish_keys(&["known"]);
        }
        rig
    }

    /// Starts a gateway, and waits until all it depends on works.
    pub fn gateway(&self) -> Gateway {
        let setup = match self.calls {
            Calls::Publish | Calls::PublishAndSubscribe => Setup::new(),
            Calls::Introspect => self.issuer().introspected(),
            Calls::UnknownKey => self.issuer().trusted().env("SEAWALL_AUTH_JWKS_PAUSE_MS", "100"),
        };
        let setup = match &self.store {
            Some(store) => setup.env("SEAWALL_STORE_URL", &store.url()),
            None => setup,
        };
        let setup = match &self.redis {
            Some(redis) => setup.env("SEAWALL_BUS_URL", &redis.url()),
            None => setup,
        };
        let gateway = setup.unlimited().limit("subscriptions", 1_000).start();
        let is_well = || {
            let report = gateway.fetch("/health/dependencies").json();
            report["checks"][self.dependency()][0]["state"] == json!("ok")
        };
        until(SOON, "it is probed", is_well);
        if self.redis.is_some() {
            delivers(&gateway);
        }
        gateway
    }

    /// The name of the dependency that the row breaks.
    pub fn dependency(&self) -> &'static str {
        match self.calls {
            Calls::Publish => "store",
            Calls::PublishAndSubscribe => "bus",
            Calls::Introspect | Calls::UnknownKey => "auth",
        }
    }

    /// The `status` of clients during the outage.
    pub fn level(&self) -> &'static str {
        match self.calls {
            Calls::Publish | Calls::Introspect | Calls::UnknownKey => "down",
            Calls::PublishAndSubscribe => "degraded",
        }
    }

    /// A client that connects before the fault.
    pub fn resident(&self, gateway: &Gateway) -> Client {
        match self.calls {
            Calls::Publish | Calls::PublishAndSubscribe => Client::connect(gateway),
            Calls::Introspect => Client::open(gateway).with_connect(json!({"token": RESIDENT})),
            Calls::UnknownKey => Client::open(gateway).with_connect(json!({"token": key_token("known")})),
        }
    }

    /// Makes one call. True if what it needs of the broken dependency worked.
    pub fn call(&self, gateway: &Gateway, resident: &mut Client) -> bool {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let channel = if number.is_multiple_of(2) { "old".into() } else { format!("new-{number}") };
        match self.calls {
            Calls::Publish => published(resident, &channel),
            Calls::PublishAndSubscribe => {
                // The bus carries only speed: without it both succeed.
                assert!(published(resident, &channel));
                resident.command(json!({"subscribe": {"channel": format!("new-{number}")}}));
                gateway.metric("seawall_bus_delivering") > 0.0
            }
            Calls::Introspect => is_admitted(gateway, &format!("newcomer-{number}")),
            Calls::UnknownKey => is_admitted(gateway, &key_token("next")),
        }
    }

    pub fn apply(&self, step: Step, dump: Option<&str>) {
        match step {
            Step::Sql(text) => drop(self.postgres().sql(text)),
            Step::Restore => self.postgres().restore(dump.expect("it was dumped")),
            Step::Permit(rules) => {
                let redis = self.redis.as_ref().expect("a row of the bus");
                let words = [&["ACL", "SETUSER", "default"], rules].concat();
                let reply = redis.command(&words);
                assert!(reply.is_ok(), "{words:?}: {reply:?}");
            }
            Step::Answer(change) => change(self),
        }
    }

    pub fn dump(&self, row: &Row) -> Option<String> {
        matches!(row.repair, Step::Restore).then(|| self.postgres().dump())
    }

    /// Answers only the tokens that probes make up.
    pub fn answer_only_made_up_tokens(&self) {
        self.introspect(|| Answer::json(500, "no"));
    }

    pub fn answer_garbage_to_real_tokens(&self) {
        self.introspect(|| Answer::json(200, r#"{"name":"ann"}"#));
    }

    pub fn answer_all_tokens(&self) {
        self.introspect(|| Answer::json(200, &active("ann").to_string()));
    }

    fn introspect(&self, answer: impl Fn() -> Answer + Send + Sync + 'static) {
        let script = move |request: &Request| match request.body.contains(MADE_UP) {
            true => Answer::json(200, r#"{"active":false}"#),
            false => answer(),
        };
        self.issuer().server.answer(INTROSPECT, Answer::by(script));
    }

    pub fn garble_key_set(&self) {
        self.issuer().server.answer(JWKS, Answer::json(200, "<html>"));
    }

    pub fn publish_next_key(&self) {
        self.publish_keys(&["known", "next"]);
    }

    fn publish_keys(&self, kids: &[&str]) {
        self.issuer().publishes(&kids.iter().map(|kid| jwk(kid)).collect::<Vec<_>>());
    }

    fn postgres(&self) -> &Postgres {
        self.store.as_ref().expect("a row of the store")
    }

    fn issuer(&self) -> &Issuer {
        self.issuer.as_ref().expect("a row of the auth service")
    }
}

fn published(client: &mut Client, channel: &str) -> bool {
    client.command(json!({"publish": {"channel": channel, "data": 1}})).get("published").is_some()
}

fn is_admitted(gateway: &Gateway, token: &str) -> bool {
    let mut client = Client::open(gateway);
    let id = client.send(json!({"connect": {"token": token}}));
    client.try_reply(id).is_some_and(|reply| reply.get("connected").is_some())
}

fn key_token(kid: &str) -> String {
    signed(&claims("ann"), Algorithm::ES256, Some(kid), &asymmetric(Algorithm::ES256).0)
}

fn jwk(kid: &str) -> Value {
    let mut jwk = Jwk::from_encoding_key(&asymmetric(Algorithm::ES256).0, Algorithm::ES256).expect("a key");
    jwk.common.key_id = Some(kid.into());
    serde_json::to_value(jwk).expect("JSON")
}
