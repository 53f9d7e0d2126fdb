//! `seawall token`: makes a token for a first try, a key pair for an issuer, and explains a token that is refused.

mod arguments;
mod check;
mod new_key;
mod sign;

pub(super) use arguments::TokenArguments;

use super::config::Config;
use super::output::{self, WRONG_CONFIGURATION};
use arguments::TokenRefusal;
use std::io::{self, Read as _};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

impl TokenArguments {
    /// Making a key needs no configuration.
    pub(super) fn without_configuration(&self) -> Option<ExitCode> {
        let (algorithm, out) = self.new_key.zip(self.out.as_ref())?;
        Some(finish(new_key::write(algorithm, out).map_err(TokenRefusal::Failed)))
    }

    pub(super) fn run(&self, config: &Config) -> ExitCode {
        if !config.auth.is_on() {
            return finish(Err(TokenRefusal::Wrong(
                "auth is off, so clients need no token: set auth.secret or [[auth.keys]] first (seawall token --new-key HS256 \
                 --out NAME makes a key)"
                    .into(),
            )));
        }
        match &self.sub {
            Some(user) => finish(sign::token(self, user, &config.auth, now_unix_ms() / 1_000)),
            None => match read_token() {
                Ok(token) => {
                    let report = check::report(&token, &config.auth, now_unix_ms());
                    let printed = output::print(&report.text);
                    if report.accepted { printed } else { ExitCode::FAILURE }
                }
                Err(error) => {
                    finish(Err(TokenRefusal::Failed(format!("cannot read a token from stdin: {error}"))))
                }
            },
        }
    }
}

fn finish(outcome: Result<String, TokenRefusal>) -> ExitCode {
    match outcome {
        Ok(text) => output::print(&text),
        Err(TokenRefusal::Wrong(message)) => {
            output::fail(&message);
            ExitCode::from(WRONG_CONFIGURATION)
        }
        Err(TokenRefusal::Failed(message)) => {
            output::fail(&message);
            ExitCode::FAILURE
        }
    }
}

/// A longer text than any token is cut: its length is reported like that of a token that is too long.
fn read_token() -> io::Result<String> {
    let mut text = String::new();
    io::stdin().take(crate::auth::token::TOKEN_BYTES_MAX as u64 + 64).read_to_string(&mut text)?;
    Ok(text.trim().to_owned())
}

#[allow(clippy::disallowed_methods, reason = "a command has no reactor that passes the time")]
fn now_unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
