//! Identities without a token of an issuer: that of every user if auth is off, and that of the canary.

use crate::auth::canary_pass::CanaryPass;
use crate::auth::known::Person;
use crate::auth::permission::Permissions;
use crate::auth::trust::TrustEdition;
use crate::id::{OrderId, TokenStamp, UserName};
use crate::job::Identity;
use std::sync::Arc;

pub(super) fn anonymous() -> Person {
    let permissions = Arc::new(Permissions::everything());
    Person {
        user: UserName::anonymous(),
        permissions,
        expires_unix_ms: None,
        publishes_per_s: 0,
        info: None,
        forwarded: None,
        origin: None,
        stamp: TokenStamp::default(),
    }
}

/// The rights that the token of a person grants.
pub(super) fn of(person: Person) -> Identity {
    let Person { user, permissions, expires_unix_ms, publishes_per_s, info, forwarded, origin, stamp } =
        person;
    let identity = Identity::new(user, permissions);
    Identity { expires_unix_ms, publishes_per_s, info, forwarded, origin, stamp, ..identity }
}

/// The identity of the canary. It is no user, so nothing counts or registers it.
pub(super) fn of_canary(pass: &CanaryPass, edition: TrustEdition, as_of: OrderId) -> Identity {
    let identity = Identity::new(pass.user.clone(), Arc::clone(&pass.permissions));
    Identity { edition, as_of, ..identity }
}
