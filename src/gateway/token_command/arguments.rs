//! The arguments of the command, and the reasons why it prints nothing.

use crate::auth::key::Algorithm;
use clap::{ArgGroup, Args};
use std::path::PathBuf;

/// One of: a token to print, a key to make, a token to check.
#[derive(Args, Debug)]
#[command(group(ArgGroup::new("action").required(true).args(["sub", "new_key", "check"])))]
pub(in crate::gateway) struct TokenArguments {
    /// Print a token for this user
    #[arg(long, value_name = "USER")]
    pub(super) sub: Option<String>,
    /// A pattern and the rights on the channels that match: 'room.*=subscribe,publish'; may be repeated
    #[arg(long, value_name = "PATTERN=RIGHTS", requires = "sub")]
    pub(super) channel: Vec<String>,
    /// How long the token is valid: 90s, 15m, 1h or 7d
    #[arg(long, value_name = "TIME", default_value = "1h", requires = "sub")]
    pub(super) ttl: String,
    /// The key to sign with, if several are configured
    #[arg(long, value_name = "KID", requires = "sub")]
    pub(super) kid: Option<String>,
    /// A PEM file with the private key to sign with, in place of a configured HS256 secret
    #[arg(long, value_name = "FILE", requires = "sub", value_hint = clap::ValueHint::FilePath)]
    pub(super) key: Option<PathBuf>,
    /// Make a key for tokens: HS256, RS256, ES256 or EdDSA
    #[arg(long, value_name = "ALGORITHM", requires = "out", value_parser = algorithm)]
    pub(super) new_key: Option<Algorithm>,
    /// The beginning of the names of the key's files, which must not exist
    #[arg(long, value_name = "NAME", requires = "new_key", value_hint = clap::ValueHint::FilePath)]
    pub(super) out: Option<PathBuf>,
    /// Read a token from stdin and say what it grants, or why it is refused; exit with 1 if it is
    #[arg(long)]
    pub(super) check: bool,
}

fn algorithm(text: &str) -> Result<Algorithm, String> {
    let names = Algorithm::ALL.map(Algorithm::name);
    let found = Algorithm::ALL.into_iter().find(|one| one.name().eq_ignore_ascii_case(text));
    found.ok_or_else(|| format!("must be {}", names.join(", ")))
}

/// The reason why the command prints no token or key.
pub(super) enum TokenRefusal {
    /// The arguments or the configuration are wrong.
    Wrong(String),
    Failed(String),
}
