//! The pass of the canary: a secret of this process, which only a connection from its own address may use.
//!
//! The canary is a client of this process that shows whether the others could be served. It must pass whatever they pass, and nothing
//! that it does may count as theirs, so the gateway must know it, and no other client may take its place.

use super::permission::Permissions;
use crate::id::{ChannelName, UserName};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

/// Bytes of the secret.
pub const PASS_BYTES: usize = 32;

/// The token, the user and the rights of the canary.
pub struct CanaryPass {
    token: Box<str>,
    /// The address that it connects to, and therefore comes from.
    address: IpAddr,
    pub user: UserName,
    pub permissions: Arc<Permissions>,
    pub channel: ChannelName,
}

impl CanaryPass {
    pub fn new(secret: &[u8; PASS_BYTES], address: IpAddr, channel: ChannelName) -> CanaryPass {
        CanaryPass {
            token: URL_SAFE_NO_PAD.encode(secret).into(),
            address: address.to_canonical(),
            user: UserName::canary(),
            permissions: Arc::new(Permissions::of_canary(&channel)),
            channel,
        }
    }

    /// The secret, as it is sent.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// True exactly if a client at `address` that sends `token` is the canary. The time that it takes says nothing about the secret.
    pub fn admits(&self, token: &str, address: IpAddr) -> bool {
        address.to_canonical() == self.address
            && verify_slices_are_equal(token.as_bytes(), self.token.as_bytes()).is_ok()
    }
}

impl fmt::Debug for CanaryPass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CanaryPass({} from {})", self.channel, self.address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::permission::Right;

    #[test]
    fn pass_admits_its_token_from_its_address_to_its_channel_alone() {
        let own = IpAddr::from([127, 0, 0, 1]);
        let pass = CanaryPass::new(&[7; PASS_BYTES], own, ChannelName::of_canary("gw-1"));
        assert!(pass.admits(pass.token(), own));
        assert!(pass.admits(pass.token(), "::ffff:127.0.0.1".parse().expect("an address")));
        assert!(!pass.admits(pass.token(), IpAddr::from([192, 0, 2, 1])));
        assert!(!pass.admits("", own) && !pass.admits(&pass.token()[1..], own));
        for (channel, expected) in
            [(ChannelName::of_canary("gw-1"), true), (ChannelName::of_canary("gw-2"), false)]
        {
            for right in [Right::Subscribe, Right::Publish, Right::Create] {
                assert_eq!(pass.permissions.allow(right, &channel), expected, "{right:?} on {channel}");
            }
        }
        assert!(!format!("{pass:?}").contains(pass.token()));
        for others in [Permissions::everything(), all_listed()] {
            assert!(!Right::ALL.into_iter().any(|right| others.allow(right, &pass.channel)));
        }
    }

    fn all_listed() -> Permissions {
        let claim = r#"[{"pattern":"*","rights":["subscribe","publish"]},{"pattern":"$user:*","rights":["subscribe","publish"]}]"#;
        Permissions::from_claim(claim).expect("a claim")
    }

    #[test]
    fn no_token_can_list_the_channel_of_a_canary() {
        for pattern in ["$seawall.canary.gw-1", "$seawall.canary.*", "$seawall*"] {
            let claim = format!(r#"[{{"pattern":"{pattern}","rights":["subscribe"]}}]"#);
            assert!(Permissions::from_claim(&claim).is_err(), "{pattern}");
        }
    }
}
