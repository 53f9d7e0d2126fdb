//! A scripted auth service: it knows certain tokens, publishes certain keys, and counts calls.

use crate::servers::{Answer, Http};
use crate::support::token::{ISSUER, unix_s};
use crate::support::wait::{SOON, until};
use crate::support::{Client, Closed, Gateway, Setup};
use seawall_fault::Proxy;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

pub const INTROSPECT: &str = "/introspect";
pub const JWKS: &str = "/jwks";

/// The answers by token, shared with the script.
type Tokens = Arc<Mutex<HashMap<String, Answer>>>;

pub struct Issuer {
    pub server: Http,
    pub proxy: Proxy,
    tokens: Tokens,
}

/// The members of an active answer, for a user with every right.
pub fn active(user: &str) -> Value {
    json!({
        "active": true,
        "sub": user,
        "exp": unix_s() + 3600,
        "channels": [{"pattern": "*", "rights": ["subscribe", "publish"]}],
    })
}

impl Issuer {
    /// Starts without a token or a published key.
    #[track_caller]
    pub fn start() -> Issuer {
        let server = Http::start();
        let proxy = Proxy::start(server.address()).expect("the proxy starts");
        let issuer = Issuer { server, proxy, tokens: Tokens::default() };
        issuer.answer_tokens();
        issuer.publishes(&[]);
        issuer
    }

    /// Answers introspection with what was set for each token, or with inactive.
    pub fn answer_tokens(&self) {
        let known = Arc::clone(&self.tokens);
        let script = move |request: &crate::servers::http::Request| {
            let token = request.body.split('&').find_map(|pair| pair.strip_prefix("token="));
            let known = known.lock().expect("no holder panics");
            let answer = token.and_then(|token| known.get(token).cloned());
            answer.unwrap_or_else(|| Answer::json(200, r#"{"active":false}"#))
        };
        self.server.answer(INTROSPECT, Answer::by(script));
    }

    /// Sets the answer for a token. The token must have only letters that a form does not escape.
    pub fn says(&self, token: &str, answer: Answer) {
        self.tokens.lock().expect("no holder panics").insert(token.into(), answer);
    }

    pub fn knows(&self, token: &str, user: &str) {
        self.says(token, Answer::json(200, &active(user).to_string()));
    }

    pub fn publishes(&self, keys: &[Value]) {
        self.server.answer(JWKS, Answer::json(200, &json!({ "keys": keys }).to_string()));
    }

    /// The number of introspections of this token.
    pub fn asked(&self, token: &str) -> usize {
        let sought = format!("token={token}&");
        self.server.requests().iter().filter(|request| request.body.starts_with(&sought)).count()
    }

    pub fn fetched(&self) -> usize {
        self.server.requests().iter().filter(|request| request.path == JWKS).count()
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.proxy.address())
    }

    /// Configures a gateway that introspects tokens here. A busy machine may take as long to answer as is possible to wait.
    pub fn introspected(&self) -> Setup {
        let setup = Setup::new().env("SEAWALL_AUTH_INTROSPECTION_URL", &self.url(INTROSPECT));
        setup.env("SEAWALL_AUTH_TIMEOUT_MS", "3000")
    }

    /// Configures a gateway that uses the keys published here.
    pub fn trusted(&self) -> Setup {
        let setup = Setup::new().env("SEAWALL_AUTH_JWKS_URL", &self.url(JWKS));
        setup.env("SEAWALL_AUTH_ISSUER", ISSUER).env("SEAWALL_AUTH_TIMEOUT_MS", "3000")
    }
}

pub fn connect(gateway: &Gateway, token: &str) -> Client {
    Client::open(gateway).with_connect(json!({"token": token}))
}

pub fn refused(gateway: &Gateway, token: &str) -> Closed {
    let mut client = Client::open(gateway);
    client.send(json!({"connect": {"token": token}}));
    client.expect_close()
}

/// Waits until the log, which a thread of its own writes, contains `words`.
#[track_caller]
pub fn logged(gateway: &Gateway, words: &str) {
    until(SOON, &format!("the log contains {words:?}"), || gateway.output().contains(words));
}

/// The state of the dependency `auth` in the public report.
pub fn state(gateway: &Gateway) -> String {
    let report = gateway.fetch("/health/dependencies").body;
    let report: Value = serde_json::from_str(&report).expect("JSON");
    report["checks"]["auth"][0]["state"].as_str().unwrap_or_else(|| panic!("no auth in {report}")).to_owned()
}
