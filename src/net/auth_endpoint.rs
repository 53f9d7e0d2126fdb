//! An endpoint of an auth service, and the two requests made to it: introspecting a token and fetching the key set.
//!
//! No error repeats any part of an answer, because a service may echo the token.

use super::address::{TargetError, http};
use super::http_client::{BODY_BYTES_MAX, HttpAnswer, HttpClient, basic};
use super::peer::PeerAddress;
use super::trouble::Trouble;
use crate::auth::key_set::KeySet;
use crate::health::finding::Fault;
use std::time::Instant;
use url::form_urlencoded::byte_serialize;
use zeroize::Zeroizing;

/// An endpoint with its credentials. Its `Debug` form shows no secret.
#[derive(Clone)]
pub struct Endpoint {
    url: String,
    peer: PeerAddress,
    is_exposed: bool,
    authorization: Option<Zeroizing<String>>,
    secrets: Vec<Zeroizing<String>>,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Endpoint({})", self.peer)
    }
}

/// The credentials for an endpoint.
#[derive(Clone)]
pub enum Login {
    /// The user and password in the address, if any.
    AsAddressed,
    /// Client and secret, as in RFC 6749 section 2.3.1.
    Basic {
        /// `client_id`
        client: String,
        /// `client_secret`
        secret: String,
    },
    /// A bearer token.
    Bearer(String),
}

/// The reason why a request was not answered.
#[derive(Debug)]
pub(crate) struct FailedRequest {
    pub(crate) trouble: Trouble,
    pub(crate) blame: Blame,
}

/// Whose fault it is. A client's token must not count against the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blame {
    Service,
    /// The service rejected this one request.
    Request,
}

impl From<Trouble> for FailedRequest {
    fn from(trouble: Trouble) -> FailedRequest {
        FailedRequest { trouble, blame: Blame::Service }
    }
}

impl Endpoint {
    /// Reads an address. Resolves no name and opens nothing.
    pub fn parse(address: &str, login: Login) -> Result<Endpoint, TargetError> {
        let (target, mut secrets) = http(address)?;
        let escaped = |text: &str| Zeroizing::new(byte_serialize(text.as_bytes()).collect::<String>());
        let authorization = match login {
            Login::AsAddressed if target.user.is_empty() && target.password.is_empty() => None,
            Login::AsAddressed => Some(basic(&target.user, &target.password)),
            Login::Basic { client, secret } => {
                let authorization = basic(&escaped(&client), &escaped(&secret));
                secrets.push(Zeroizing::new(secret));
                Some(authorization)
            }
            Login::Bearer(token) => {
                let authorization = Zeroizing::new(format!("Bearer {token}"));
                secrets.push(Zeroizing::new(token));
                Some(authorization)
            }
        };
        let is_exposed = target.is_exposed();
        Ok(Endpoint { url: target.url.to_string(), peer: target.peer, is_exposed, authorization, secrets })
    }

    /// See [`Target::is_exposed`](super::target::Target::is_exposed).
    pub fn is_exposed(&self) -> bool {
        self.is_exposed
    }

    /// Strings that no cause may show.
    pub(crate) fn secrets(&self) -> &[Zeroizing<String>] {
        &self.secrets
    }

    /// Host and port.
    pub(crate) fn address(&self) -> String {
        self.peer.to_string()
    }

    /// Asks about a token (RFC 7662 section 2.1). Returns the body unparsed.
    pub(crate) fn introspect(
        &self,
        browser: &HttpClient,
        token: &str,
        deadline: Instant,
    ) -> Result<Vec<u8>, FailedRequest> {
        let token: String = byte_serialize(token.as_bytes()).collect();
        let form = format!("token={token}&token_type_hint=access_token");
        let answer = browser.post_form(&self.url, &self.headers(), &form, &self.peer, deadline)?;
        match answer.status {
            // The client's token may be what the service rejects: too long, or malformed.
            400 | 413 | 414 | 422 => {
                let trouble = self.trouble(Fault::Status, format!("answers with status {}", answer.status));
                Err(FailedRequest { trouble, blame: Blame::Request })
            }
            _ => Ok(self.body(answer)?),
        }
    }

    /// Fetches the key set.
    pub(crate) fn key_set(&self, browser: &HttpClient, deadline: Instant) -> Result<KeySet, Trouble> {
        let body = self.body(browser.fetch(&self.url, &self.headers(), &self.peer, deadline)?)?;
        KeySet::parse(&body).map_err(|fault| {
            self.trouble(Fault::Field, format!("does not serve a key set: {}", fault.text()))
        })
    }

    pub(crate) fn trouble(&self, fault: Fault, what: impl std::fmt::Display) -> Trouble {
        Trouble::new(fault, format!("{} {what}", self.peer))
    }

    fn headers(&self) -> Vec<(&'static str, Zeroizing<String>)> {
        let authorization = self.authorization.clone().map(|value| ("authorization", value));
        std::iter::once(("accept", Zeroizing::new("application/json".to_owned())))
            .chain(authorization)
            .collect()
    }

    fn body(&self, answer: HttpAnswer) -> Result<Vec<u8>, Trouble> {
        match answer {
            HttpAnswer { status: 200, body, is_cut: false, .. } => Ok(body),
            HttpAnswer { status: 200, .. } => {
                Err(self.trouble(Fault::Protocol, format!("answers with more than {BODY_BYTES_MAX} bytes")))
            }
            HttpAnswer { status: status @ (401 | 403), .. } => Err(self.trouble(
                Fault::Credentials,
                format!("answers with status {status}: it does not accept our credentials"),
            )),
            HttpAnswer { status, .. } => {
                Err(self.trouble(Fault::Status, format!("answers with status {status}, expected is 200")))
            }
        }
    }
}
