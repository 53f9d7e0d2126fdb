//! The claim `channels` of a token, and a channel to judge by it.
//!
//! The input is the name of a channel, a line feed and the claim. Checked property: each right is granted exactly where a
//! naive reader of the claim grants it.

use super::reader::Members;
use seawall::auth::permission::{Permissions, Right};
use seawall::id::ChannelName;
use seawall::id::pattern::PATTERNS_MAX;
use serde_json::value::RawValue;

/// Checks the property above.
pub fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Some((name, claim)) = text.split_once('\n') else { return };
    let (Ok(channel), Ok(permissions)) = (ChannelName::parse(name), Permissions::from_claim(claim)) else {
        return;
    };
    let entries: Vec<Box<RawValue>> = serde_json::from_str(claim).expect("a list was read");
    let read = |entry: Box<RawValue>| Members::read(entry.get().as_bytes()).expect("an object was read");
    let entries: Vec<Members> = entries.into_iter().map(read).collect();
    assert!(entries.len() <= PATTERNS_MAX);
    for right in Right::ALL {
        let expected = entries.iter().any(|entry| grants(entry, right, name));
        assert_eq!(permissions.allow(right, &channel), expected, "{} on {name}", right.name());
    }
    let lists_create = entries.iter().any(|entry| lists(entry, Right::Create));
    let expected = !lists_create || entries.iter().any(|entry| grants(entry, Right::Create, name));
    assert_eq!(permissions.may_create(&channel), expected, "create on {name}");
    assert!(permissions.bytes() <= claim.len() * 40, "{} bytes", permissions.bytes());
}

fn grants(entry: &Members, right: Right, name: &str) -> bool {
    let pattern = entry.text("pattern").expect("a pattern was read");
    let fits = match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == pattern,
    };
    fits && lists(entry, right)
}

fn lists(entry: &Members, right: Right) -> bool {
    let rights = entry.list("rights").expect("rights were read");
    rights
        .iter()
        .any(|each| serde_json::from_str::<String>(each.get()).is_ok_and(|name| name == right.name()))
}
