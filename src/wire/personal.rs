//! The personal channel of a user, `$user:NAME`: what is published there reaches the user on all devices.
//!
//! The name must fit a channel's alphabet, and two users must never share a channel. Bytes outside `[A-Za-z0-9_.-]` become `:HH`,
//! two upper-case hexadecimal digits. A name that gets too long is replaced by `::` and its SHA-256 in base64url (RFC 4648,
//! section 5) without padding. In a name that is written out, two digits follow each `:`, so the two forms never meet.

use crate::id::{CHANNEL_BYTES_MAX, PERSONAL_PREFIX, UserName};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

const DIGITS: &[u8; 16] = b"0123456789ABCDEF";

/// The name of the user's personal channel.
pub fn channel_of(user: &UserName) -> String {
    let mut name = String::with_capacity(CHANNEL_BYTES_MAX);
    name.push_str(PERSONAL_PREFIX);
    for byte in user.as_str().bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-') {
            name.push(byte.into());
        } else {
            name.push(':');
            name.extend([byte >> 4, byte & 15].map(|digit| char::from(DIGITS[usize::from(digit)])));
        }
    }
    if name.len() <= CHANNEL_BYTES_MAX {
        return name;
    }
    name.truncate(PERSONAL_PREFIX.len());
    name.push_str("::");
    URL_SAFE_NO_PAD.encode_string(Sha256::digest(user.as_str()), &mut name);
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ChannelName;
    use proptest::prelude::*;
    use serde_json::Value;
    use std::collections::HashMap;

    fn user(name: &str) -> UserName {
        UserName::parse(name).expect("a user name")
    }

    #[test]
    fn personal_channels_are_those_of_the_shared_vectors() {
        let vectors: Value =
            serde_json::from_str(include_str!("../../tests/vectors/personal.json")).expect("JSON");
        let vectors = vectors["personal"].as_object().expect("an object");
        assert!(vectors.len() >= 8, "{} vectors", vectors.len());
        for (name, channel) in vectors {
            assert_eq!(channel_of(&user(name)), channel.as_str().expect("a string"), "{name}");
        }
    }

    #[test]
    fn user_whose_name_imitates_a_hash_has_another_channel() {
        let long = |n: u32| user(&format!("{n:0>128}"));
        let imitated =
            (0..100_000).map(long).find(|long| channel_of(long).contains("::40")).expect("one in 4,096");
        let channel = channel_of(&imitated);
        let hash = channel.rsplit("::40").next().expect("the rest of the hash");
        assert_ne!(channel_of(&user(&format!("@{hash}"))), channel);
    }

    proptest! {
        #[test]
        fn each_user_has_one_channel_and_no_two_users_the_same(names in prop::collection::vec("\\PC{1,40}", 2..20)) {
            let mut users = HashMap::new();
            for name in names.iter().filter(|name| UserName::parse(name).is_ok()) {
                let channel = channel_of(&user(name));
                prop_assert!(ChannelName::parse(&channel).is_ok(), "{channel}");
                let other = users.insert(channel, name.clone());
                prop_assert!(other.is_none_or(|other| other == *name));
            }
        }
    }
}
