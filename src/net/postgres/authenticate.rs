//! Password authentication: cleartext, MD5, or SCRAM-SHA-256, which over TLS is bound to the server's certificate.

use super::address::{PostgresAddress, Requirement};
use super::connection::Connection;
use super::failure::{Failure, ServerError};
use crate::health::finding::Fault;
use crate::net::binding::end_point;
use crate::net::trouble::Trouble;
use bytes::BytesMut;
use fallible_iterator::FallibleIterator as _;
use postgres_protocol::authentication::{md5_hash, sasl};
use postgres_protocol::message::backend::{AuthenticationSaslBody, Message};
use postgres_protocol::message::frontend;
use std::io;

impl Connection {
    /// Authenticates, until the server accepts or rejects the session.
    pub(super) fn authenticate(&mut self, address: &PostgresAddress) -> Result<(), Failure> {
        let mut must_bind = address.binding == Requirement::Demand;
        let password = || {
            let text = "the server wants a password, and the address has none";
            address.password.as_deref().ok_or_else(|| Trouble::new(Fault::Credentials, text))
        };
        loop {
            match self.receive()? {
                Message::ErrorResponse(body) => return Err(Failure::Server(ServerError::of(&body))),
                Message::AuthenticationOk
                | Message::AuthenticationCleartextPassword
                | Message::AuthenticationMd5Password(_)
                    if must_bind =>
                {
                    return Err(self.no_binding().into());
                }
                Message::AuthenticationOk => return Ok(()),
                Message::AuthenticationCleartextPassword => {
                    let password = password()?;
                    self.say(|out| frontend::password_message(password, out))?;
                }
                Message::AuthenticationMd5Password(body) => {
                    let user = address.user.as_deref().unwrap_or_default();
                    let hash = md5_hash(user.as_bytes(), password()?, body.salt());
                    self.say(|out| frontend::password_message(hash.as_bytes(), out))?;
                }
                Message::AuthenticationSasl(body) => {
                    self.scram(password()?, address.binding, &body)?;
                    must_bind = false;
                }
                Message::NoticeResponse(_) => {}
                _ => {
                    let text =
                        format!("{} asks for a way to authenticate that is not known here", self.line.peer());
                    return Err(Trouble::new(Fault::Credentials, text).into());
                }
            }
        }
    }

    /// SCRAM-SHA-256 (RFC 7677), which also proves that the server knows the password.
    fn scram(
        &mut self,
        password: &[u8],
        wanted: Requirement,
        offered: &AuthenticationSaslBody,
    ) -> Result<(), Failure> {
        let is_offered = offered.mechanisms().any(|name| Ok(name == sasl::SCRAM_SHA_256_PLUS));
        let is_offered = is_offered.map_err(|error| self.garbled(&error.to_string()))?;
        let hash = match wanted {
            Requirement::Never => None,
            Requirement::Prefer | Requirement::Demand => self.line.certificate().and_then(end_point),
        };
        let (mechanism, binding) = match hash {
            Some(hash) if is_offered => {
                (sasl::SCRAM_SHA_256_PLUS, sasl::ChannelBinding::tls_server_end_point(hash))
            }
            Some(_) => (sasl::SCRAM_SHA_256, sasl::ChannelBinding::unrequested()),
            None => (sasl::SCRAM_SHA_256, sasl::ChannelBinding::unsupported()),
        };
        if wanted == Requirement::Demand && mechanism != sasl::SCRAM_SHA_256_PLUS {
            return Err(self.no_binding().into());
        }
        let mut scram = sasl::ScramSha256::new(password, binding);
        self.say(|out| frontend::sasl_initial_response(mechanism, scram.message(), out))?;
        loop {
            match self.receive()? {
                Message::AuthenticationSaslContinue(body) => {
                    scram.update(body.data()).map_err(|error| self.credentials(&error))?;
                    self.say(|out| frontend::sasl_response(scram.message(), out))?;
                }
                Message::AuthenticationSaslFinal(body) => {
                    return scram.finish(body.data()).map_err(|error| self.credentials(&error).into());
                }
                Message::ErrorResponse(body) => return Err(Failure::Server(ServerError::of(&body))),
                _ => return Err(self.garbled("no part of an authentication").into()),
            }
        }
    }

    fn say(&mut self, write: impl FnOnce(&mut BytesMut) -> io::Result<()>) -> Result<(), Trouble> {
        let mut out = BytesMut::new();
        write(&mut out).map_err(|error| Trouble::new(Fault::Internal, error.to_string()))?;
        self.send(&out)
    }

    fn no_binding(&self) -> Trouble {
        let text = format!(
            "{} offers no channel binding, and the address says channel_binding=require",
            self.line.peer()
        );
        Trouble::new(Fault::Credentials, text)
    }

    fn credentials(&self, error: &io::Error) -> Trouble {
        Trouble::new(
            Fault::Credentials,
            format!("{} failed the exchange of passwords: {error}", self.line.peer()),
        )
    }
}
