//! Where an auth service is, and the two questions it is asked: what of this token, and what are your keys.
//!
//! No text of a failure repeats anything of an answer: a service may echo the token it was asked about.

use crate::auth::key_set::KeySet;
use crate::health::finding::Fault;
use crate::worker::browser::{Answer, BODY_BYTES_MAX, Browser};
use crate::worker::line::Peer;
use crate::worker::line::trouble::Trouble;
use crate::worker::probe::target::{TargetError, http};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::time::Instant;
use url::form_urlencoded::byte_serialize;

/// See the module. Its `Debug` form shows no secret.
#[derive(Clone)]
pub struct Endpoint {
    url: String,
    peer: Peer,
    authorization: Option<String>,
    secrets: Vec<String>,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Endpoint({})", self.peer)
    }
}

/// How we show who asks.
#[derive(Clone)]
pub enum Login {
    /// As the address says, if it does.
    AsAddressed,
    /// Client and secret, as RFC 6749 section 2.3.1 wants it.
    Basic {
        /// `client_id`
        client: String,
        /// `client_secret`
        secret: String,
    },
    /// A token of our own.
    Bearer(String),
}

/// Why a question was not answered.
#[derive(Debug)]
pub(in crate::worker) struct Unanswered {
    pub(in crate::worker) trouble: Trouble,
    pub(in crate::worker) blame: Blame,
}

/// Whose fault it is. A stranger's token must not speak against the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::worker) enum Blame {
    Service,
    /// It did not like this one request.
    Request,
}

impl From<Trouble> for Unanswered {
    fn from(trouble: Trouble) -> Unanswered {
        Unanswered { trouble, blame: Blame::Service }
    }
}

impl Endpoint {
    /// Reads an address. No name is resolved and nothing is opened.
    pub fn parse(address: &str, login: Login) -> Result<Endpoint, TargetError> {
        let (target, mut secrets) = http(address)?;
        let basic =
            |user: &str, password: &str| format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
        let escaped = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
        let authorization = match login {
            Login::AsAddressed if target.user.is_empty() && target.password.is_empty() => None,
            Login::AsAddressed => Some(basic(&target.user, &target.password)),
            Login::Basic { client, secret } => {
                let authorization = basic(&escaped(&client), &escaped(&secret));
                secrets.push(secret);
                Some(authorization)
            }
            Login::Bearer(token) => {
                let authorization = format!("Bearer {token}");
                secrets.push(token);
                Some(authorization)
            }
        };
        Ok(Endpoint { url: target.url.to_string(), peer: target.peer, authorization, secrets })
    }

    /// What no cause may show.
    pub(in crate::worker) fn secrets(&self) -> &[String] {
        &self.secrets
    }

    /// Host and port.
    pub(in crate::worker) fn address(&self) -> String {
        self.peer.to_string()
    }

    /// Asks about a token (RFC 7662 section 2.1). The body is not yet understood.
    pub(in crate::worker) fn introspect(
        &self,
        browser: &Browser,
        token: &str,
        deadline: Instant,
    ) -> Result<Vec<u8>, Unanswered> {
        let token: String = byte_serialize(token.as_bytes()).collect();
        let form = format!("token={token}&token_type_hint=access_token");
        let answer = browser.post_form(&self.url, &self.headers(), &form, &self.peer, deadline)?;
        match answer.status {
            // The client's own words may be what it does not like: too long, or not of its form.
            400 | 413 | 414 | 422 => {
                let trouble = self.trouble(Fault::Status, format!("answers with status {}", answer.status));
                Err(Unanswered { trouble, blame: Blame::Request })
            }
            _ => Ok(self.body(answer)?),
        }
    }

    /// Fetches the key set.
    pub(in crate::worker) fn key_set(&self, browser: &Browser, deadline: Instant) -> Result<KeySet, Trouble> {
        let body = self.body(browser.fetch(&self.url, &self.headers(), &self.peer, deadline)?)?;
        KeySet::parse(&body).map_err(|fault| {
            self.trouble(Fault::Field, format!("does not serve a key set: {}", fault.text()))
        })
    }

    pub(in crate::worker) fn trouble(&self, fault: Fault, what: impl std::fmt::Display) -> Trouble {
        Trouble::new(fault, format!("{} {what}", self.peer))
    }

    fn headers(&self) -> Vec<(&'static str, String)> {
        let authorization = self.authorization.clone().map(|value| ("authorization", value));
        std::iter::once(("accept", "application/json".to_owned())).chain(authorization).collect()
    }

    fn body(&self, answer: Answer) -> Result<Vec<u8>, Trouble> {
        match answer {
            Answer { status: 200, body, is_cut: false } => Ok(body),
            Answer { status: 200, .. } => {
                Err(self.trouble(Fault::Protocol, format!("answers with more than {BODY_BYTES_MAX} bytes")))
            }
            Answer { status: status @ (401 | 403), .. } => Err(self.trouble(
                Fault::Credentials,
                format!("answers with status {status}: it does not accept our credentials"),
            )),
            Answer { status, .. } => {
                Err(self.trouble(Fault::Status, format!("answers with status {status}, expected is 200")))
            }
        }
    }
}
