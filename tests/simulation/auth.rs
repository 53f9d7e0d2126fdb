//! The auth worker of one instance: it checks tokens and counts the connections of users and addresses.

use seawall::auth::permission::Permissions;
use seawall::auth::token::TokenFault;
use seawall::clock::Moment;
use seawall::id::UserName;
use seawall::job::{AuthJob, Completion, Counted, Denied, Identity, Occasion};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Connections that one user may have.
const CONNECTIONS_MAX: u32 = 8;

#[derive(Debug, Default)]
pub struct Auth {
    pub queue: Vec<(Moment, AuthJob)>,
    counted: BTreeMap<String, u32>,
    addresses: u32,
}

impl Auth {
    /// Does a job; a granted token ends at `expires_unix_ms`. Returns the completion, if there is one, and its reactor.
    pub fn work(&mut self, admit: AuthJob, expires_unix_ms: Option<u64>) -> Option<(u16, Completion)> {
        match admit {
            AuthJob::CheckToken { ticket, token, occasion, .. } => {
                let outcome = self.check(&token, &occasion).map(|(user, counted)| Identity {
                    expires_unix_ms,
                    counted,
                    ..Identity::new(user, Arc::new(Permissions::everything()))
                });
                Some((ticket.reactor.0, Completion::TokenChecked { ticket, outcome }))
            }
            AuthJob::ReleaseUser { user } => {
                let count = self.counted.get_mut(user.as_str()).filter(|count| **count > 0);
                *count.unwrap_or_else(|| panic!("{user} was released more often than counted")) -= 1;
                None
            }
            AuthJob::AdmitAddress { ticket, address } => {
                self.addresses += 1;
                Some((ticket.reactor.0, Completion::AddressChecked { ticket, address, outcome: Ok(()) }))
            }
            AuthJob::LookUpUsers(_) | AuthJob::ReportAllUsers => None,
            AuthJob::ReleaseAddress { .. } => {
                self.addresses = self.addresses.checked_sub(1).expect("released more often than counted");
                None
            }
        }
    }

    fn check(&mut self, token: &str, occasion: &Occasion) -> Result<(UserName, Counted), Denied> {
        let Some(name) = token.strip_prefix("user-") else {
            return Err(Denied::Token(TokenFault::Missing));
        };
        let user = UserName::parse(name).expect("a user of the simulation");
        let counted = match occasion {
            Occasion::Connect => {
                let count = self.counted.entry(name.into()).or_default();
                if *count >= CONNECTIONS_MAX {
                    return Err(Denied::TooManyOfUser);
                }
                *count += 1;
                Counted::Yes
            }
            Occasion::Refresh(earlier) | Occasion::Recheck(earlier) if *earlier != user => {
                return Err(Denied::OtherUser);
            }
            Occasion::Refresh(_) | Occasion::Recheck(_) => Counted::No,
        };
        Ok((user, counted))
    }

    /// Connections counted now, by user and by address.
    pub fn counted(&self) -> u32 {
        self.counted.values().sum::<u32>() + self.addresses
    }
}
