//! The personal channel of a user, `$user:NAME`: what is published there reaches the user on all devices.
//!
//! The name must fit a channel's alphabet, and two users must never share a channel. Bytes outside `[A-Za-z0-9_.-]` become `:HH`,
//! two upper-case hexadecimal digits. A name that gets too long is replaced by `::` and its SHA-256 in base64url (RFC 4648,
//! section 5) without padding. In a name that is written out, two digits follow each `:`, so the two forms never meet.

use super::short_text::ShortText;
use crate::id::{CHANNEL_BYTES_MAX, PERSONAL_PREFIX, UserName};
use base64::display::Base64Display;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use std::fmt::{self, Write as _};

/// The name of a personal channel. It is in place, because each `connected` has one.
pub type PersonalChannel = ShortText<CHANNEL_BYTES_MAX>;

/// The name of the user's personal channel.
pub fn channel_of(user: &UserName) -> PersonalChannel {
    let mut name = PersonalChannel::of(PERSONAL_PREFIX);
    if write_out(user, &mut name).is_err() {
        name = PersonalChannel::of(PERSONAL_PREFIX);
        let digest = Sha256::digest(user.as_str());
        // 45 more bytes, which always fit.
        let _ = write!(name, "::{}", Base64Display::new(&digest, &URL_SAFE_NO_PAD));
    }
    name
}

/// Appends the user's name in the alphabet of channels; an error if that gets too long.
fn write_out(user: &UserName, name: &mut PersonalChannel) -> fmt::Result {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '.' | '-');
    for part in user.as_str().split_inclusive(|letter| !is_plain(letter)) {
        let plain = part.trim_end_matches(|letter| !is_plain(letter));
        name.write_str(plain)?;
        for byte in part.bytes().skip(plain.len()) {
            write!(name, ":{byte:02X}")?;
        }
    }
    Ok(())
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
            assert_eq!(channel_of(&user(name)).as_str(), channel.as_str().expect("a string"), "{name}");
        }
    }

    #[test]
    fn user_whose_name_imitates_a_hash_has_another_channel() {
        let long = |n: u32| user(&format!("{n:0>128}"));
        let imitated = (0..100_000)
            .map(long)
            .find(|long| channel_of(long).as_str().contains("::40"))
            .expect("one in 4,096");
        let channel = channel_of(&imitated);
        let hash = channel.as_str().rsplit("::40").next().expect("the rest of the hash");
        assert_ne!(channel_of(&user(&format!("@{hash}"))), channel);
    }

    proptest! {
        #[test]
        fn each_user_has_one_channel_and_no_two_users_the_same(names in prop::collection::vec("\\PC{1,40}", 2..20)) {
            let mut users = HashMap::new();
            for name in names.iter().filter(|name| UserName::parse(name).is_ok()) {
                let channel = channel_of(&user(name));
                prop_assert!(ChannelName::parse(channel.as_str()).is_ok(), "{channel:?}");
                let other = users.insert(channel.as_str().to_owned(), name.clone());
                prop_assert!(other.is_none_or(|other| other == *name));
            }
        }
    }
}
