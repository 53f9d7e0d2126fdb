//! The permissions of a user on channels.
//!
//! A token lists patterns and the rights on the channels that match. Rights only add up: no entry takes a right away,
//! so the order of the patterns does not matter.

use crate::id::ChannelName;
use crate::id::pattern::{ChannelPattern, PATTERNS_MAX, PatternFault};
use crate::wire::push::RightsText;
use serde::Deserialize;
use serde_json::value::RawValue;

/// A right on a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// `subscribe`: receive publications, recover, and read `history`.
    Subscribe,
    /// `publish`: send publications and signals.
    Publish,
    /// `moderate`: edit and delete publications of other users.
    Moderate,
    /// `create`: publish to a channel that does not exist yet. A token that nowhere lists it grants it wherever it grants
    /// `publish`.
    Create,
    /// `present`: be on the channel's roster.
    Present,
    /// `presence`: see the channel's roster.
    Presence,
    /// `stream`: begin streams, which also needs `publish`, and write to the user's own.
    Stream,
}

impl Right {
    pub const ALL: [Right; 7] = [
        Right::Subscribe,
        Right::Publish,
        Right::Moderate,
        Right::Create,
        Right::Present,
        Right::Presence,
        Right::Stream,
    ];

    /// The name in a token.
    pub const fn name(self) -> &'static str {
        match self {
            Right::Subscribe => "subscribe",
            Right::Publish => "publish",
            Right::Moderate => "moderate",
            Right::Create => "create",
            Right::Present => "present",
            Right::Presence => "presence",
            Right::Stream => "stream",
        }
    }

    /// Parses the name of a right; `None` if unknown, because a later version may define more.
    pub fn parse(name: &str) -> Option<Right> {
        Right::ALL.into_iter().find(|right| right.name() == name)
    }

    const fn bit(self) -> u8 {
        match self {
            Right::Subscribe => 1,
            Right::Publish => 2,
            Right::Moderate => 4,
            Right::Create => 8,
            Right::Present => 16,
            Right::Presence => 32,
            Right::Stream => 64,
        }
    }
}

/// The rights that a user has on one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights(u8);

impl Rights {
    pub const fn with(self, right: Right) -> Rights {
        Rights(self.0 | right.bit())
    }

    /// The names as a list in JSON.
    pub fn text(self) -> RightsText {
        let mut names = String::new();
        for right in Right::ALL {
            if self.0 & right.bit() != 0 {
                names.push_str(if names.is_empty() { "[\"" } else { ",\"" });
                names.push_str(right.name());
                names.push('"');
            }
        }
        names.push_str(if names.is_empty() { "[]" } else { "]" });
        RightsText::of(&names)
    }
}

/// The reason why the claim `channels` is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimFault {
    /// The claim is not a list of objects with a `pattern` (a string) and `rights` (a list of strings).
    Shape,
    /// The claim has more than [`PATTERNS_MAX`] entries.
    TooMany,
    /// A pattern is longer than [`PATTERN_BYTES_MAX`](crate::id::pattern::PATTERN_BYTES_MAX).
    PatternTooLong,
    /// A pattern is neither a channel name, nor the beginning of one followed by `*`, nor `*`.
    Pattern,
}

impl From<PatternFault> for ClaimFault {
    fn from(fault: PatternFault) -> ClaimFault {
        match fault {
            PatternFault::TooLong => ClaimFault::PatternTooLong,
            PatternFault::Form => ClaimFault::Pattern,
        }
    }
}

/// The rights that one token grants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permissions(Grants);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Grants {
    Everything,
    Listed(Box<[Grant]>, Creators),
}

/// Where a token grants `create`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Creators {
    /// Wherever it grants `publish`: it nowhere lists `create`, which older tokens do not know.
    Publishers,
    /// Where it lists `create`.
    Listed,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Grant {
    pattern: ChannelPattern,
    rights: u8,
}

/// Channel patterns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patterns(Box<[ChannelPattern]>);

impl Permissions {
    /// Reading and writing one channel, and nothing else.
    pub fn of_canary(channel: &ChannelName) -> Permissions {
        let pattern = ChannelPattern::of(channel);
        let rights = Right::Subscribe.bit() | Right::Publish.bit() | Right::Create.bit();
        Permissions(Grants::Listed(Box::new([Grant { pattern, rights }]), Creators::Listed))
    }
}

impl Patterns {
    /// Reads the patterns, which follow the rules of those in a token.
    pub fn parse(patterns: &[String]) -> Result<Patterns, ClaimFault> {
        if patterns.len() > PATTERNS_MAX {
            return Err(ClaimFault::TooMany);
        }
        let read = patterns.iter().map(|pattern| ChannelPattern::parse(pattern));
        read.collect::<Result<_, _>>().map(Patterns).map_err(ClaimFault::from)
    }

    /// True if one of them matches the channel.
    pub fn match_any(&self, channel: &ChannelName) -> bool {
        self.0.iter().any(|pattern| pattern.matches(channel))
    }
}

impl Grant {
    fn read(json: &RawValue) -> Result<Grant, ClaimFault> {
        // The library would accept a list as an object, value by value.
        if !json.get().starts_with('{') {
            return Err(ClaimFault::Shape);
        }
        let entry: ClaimEntry = serde_json::from_str(json.get()).map_err(|_| ClaimFault::Shape)?;
        let known = entry.rights.iter().filter_map(|name| Right::parse(name));
        let rights = known.fold(0, |bits, right| bits | right.bit());
        Ok(Grant { pattern: ChannelPattern::parse(&entry.pattern)?, rights })
    }
}

/// One entry of the claim. Unknown keys are ignored, because a later version may add some.
#[derive(Deserialize)]
struct ClaimEntry {
    pattern: String,
    rights: Vec<String>,
}

impl Permissions {
    /// The approximate heap size, for caches that bound it.
    pub fn bytes(&self) -> usize {
        match &self.0 {
            Grants::Everything => 0,
            Grants::Listed(grants, _) => {
                grants.iter().map(|grant| size_of::<Grant>() + grant.pattern.heap_bytes()).sum()
            }
        }
    }

    /// All rights on every channel that is not personal, which every user has if auth is off. Allocates nothing.
    pub const fn everything() -> Permissions {
        Permissions(Grants::Everything)
    }

    /// No rights on any channel, which a token without the claim `channels` grants.
    pub fn nothing() -> Permissions {
        Permissions(Grants::Listed(Box::default(), Creators::Publishers))
    }

    /// Reads the claim `channels` from JSON: `[{"pattern":"room.*","rights":["subscribe","publish"]}]`.
    ///
    /// Unknown rights are ignored, so that one token works with an older and a newer gateway.
    pub fn from_claim(json: &str) -> Result<Permissions, ClaimFault> {
        let entries: Vec<&RawValue> = serde_json::from_str(json).map_err(|_| ClaimFault::Shape)?;
        if entries.len() > PATTERNS_MAX {
            return Err(ClaimFault::TooMany);
        }
        let grants: Result<Box<[Grant]>, ClaimFault> = entries.into_iter().map(Grant::read).collect();
        let grants = grants?;
        let lists_create = grants.iter().any(|grant| grant.rights & Right::Create.bit() != 0);
        let creators = if lists_create { Creators::Listed } else { Creators::Publishers };
        Ok(Permissions(Grants::Listed(grants, creators)))
    }

    /// Returns whether a member who may publish to `channel` may create it.
    pub fn may_create(&self, channel: &ChannelName) -> bool {
        match &self.0 {
            Grants::Everything | Grants::Listed(_, Creators::Publishers) => true,
            Grants::Listed(_, Creators::Listed) => self.allow(Right::Create, channel),
        }
    }

    /// The rights that a token lists for `channel`. `None` if auth is off, which grants all.
    pub fn listed(&self, channel: &ChannelName) -> Option<Rights> {
        match &self.0 {
            Grants::Everything => None,
            Grants::Listed(grants, creators) => {
                let matching = grants.iter().filter(|grant| grant.pattern.matches(channel));
                let rights = Rights(matching.fold(0, |bits, grant| bits | grant.rights));
                let creates = *creators == Creators::Publishers && rights.0 & Right::Publish.bit() != 0;
                Some(if creates { rights.with(Right::Create) } else { rights })
            }
        }
    }

    /// Returns whether `right` is listed for `channel`. Searches the patterns and allocates nothing.
    pub fn allow(&self, right: Right, channel: &ChannelName) -> bool {
        match &self.0 {
            Grants::Everything => !channel.is_personal(),
            Grants::Listed(grants, _) => {
                grants.iter().any(|grant| grant.rights & right.bit() != 0 && grant.pattern.matches(channel))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    const RIGHTS: [Right; 3] = [Right::Subscribe, Right::Publish, Right::Moderate];

    fn channel(name: &str) -> ChannelName {
        ChannelName::parse(name).expect("a channel name")
    }

    fn one(pattern: &str) -> Result<Permissions, ClaimFault> {
        Permissions::from_claim(&json!([{"pattern": pattern, "rights": ["publish"]}]).to_string())
    }

    #[test]
    fn rights_on_a_channel_are_those_of_all_its_patterns() {
        let claim = |rights: &str| json!([{"pattern": "room.*", "rights": ["subscribe"]}, {"pattern": "room.1", "rights": [rights]}]);
        let texts = |claim: serde_json::Value| {
            let permissions = Permissions::from_claim(&claim.to_string()).expect("a claim");
            ["room.1", "room.2", "other"]
                .map(|name| permissions.listed(&channel(name)).expect("a list").text().as_str().to_owned())
        };
        // A token that nowhere lists `create` grants it together with `publish`.
        assert_eq!(
            texts(claim("publish")),
            [r#"["subscribe","publish","create"]"#, r#"["subscribe"]"#, "[]"]
        );
        assert_eq!(texts(claim("create")), [r#"["subscribe","create"]"#, r#"["subscribe"]"#, "[]"]);
        let all = Right::ALL.into_iter().fold(Rights(0), Rights::with).text();
        assert!(all.as_str().ends_with(r#""stream"]"#), "no name is cut: {}", all.as_str());
        assert_eq!(Permissions::everything().listed(&channel("room.1")), None);
    }

    #[test]
    fn pattern_is_a_name_a_prefix_or_a_star() {
        let table = [
            ("room.1", "room.1", true),
            ("room.1", "room.11", false),
            ("room.1", "room", false),
            ("room.*", "room.1", true),
            ("room.*", "room.", true),
            ("room.*", "room", false),
            ("room.*", "Room.1", false),
            ("r*", "room", true),
            ("*", "anything:at-all", true),
            ("*", "$user:ann", false),
            ("u*", "$user:ann", false),
            ("$user:ann", "$user:ann", true),
            ("$user:ann", "$user:ann2", false),
            ("$user:a*", "$user:ann", true),
            ("$user:*", "$user:ann", true),
            ("$user:*", "user:ann", false),
        ];
        for (pattern, name, expected) in table {
            let permissions = one(pattern).expect("a pattern");
            assert_eq!(permissions.allow(Right::Publish, &channel(name)), expected, "{pattern} on {name}");
            assert!(!permissions.allow(Right::Subscribe, &channel(name)), "only what is listed is granted");
        }
    }

    #[test]
    fn create_comes_with_publish_unless_the_token_lists_it() {
        let read = |claim| Permissions::from_claim(claim).expect("valid");
        let older = read(r#"[{"pattern":"a*","rights":["publish"]}]"#);
        assert!(older.may_create(&channel("a1")));
        let newer = read(r#"[{"pattern":"a*","rights":["publish"]},{"pattern":"ab*","rights":["create"]}]"#);
        assert!(newer.may_create(&channel("ab")) && !newer.may_create(&channel("a1")));
        assert!(
            newer.allow(Right::Publish, &channel("a1"))
                && Permissions::everything().may_create(&channel("x"))
        );
    }

    #[test]
    fn ambiguous_pattern_is_rejected() {
        for pattern in
            ["", "a*b", "**", "*a", "a b", "$status", "$*", "$user*", "$user:", "$user:**", "é*", "a?"]
        {
            assert_eq!(one(pattern), Err(ClaimFault::Pattern), "{pattern}");
        }
        assert_eq!(one(&"x".repeat(129)), Err(ClaimFault::PatternTooLong));
        assert!(one(&format!("{}*", "x".repeat(127))).is_ok());
        assert_eq!(one(&format!("{}*", "x".repeat(128))), Err(ClaimFault::PatternTooLong));
    }

    #[test]
    fn unknown_rights_and_keys_are_ignored_but_wrong_types_are_rejected() {
        let mixed = r#"[{"pattern":"a","rights":["fly","subscribe","fly"],"since":[1]}]"#;
        let permissions = Permissions::from_claim(mixed).expect("unknown rights are ignored");
        assert!(permissions.allow(Right::Subscribe, &channel("a")));
        assert!(!permissions.allow(Right::Publish, &channel("a")));
        for wrong in [
            "null",
            "{}",
            "\"*\"",
            "[\"*\"]",
            "[{}]",
            r#"[["a",["publish"]]]"#,
            r#"[{"pattern":"a"}]"#,
            r#"[{"rights":["publish"]}]"#,
            r#"[{"pattern":1,"rights":["publish"]}]"#,
            r#"[{"pattern":"a","rights":"publish"}]"#,
            r#"[{"pattern":"a","rights":[1]}]"#,
            r#"[{"pattern":"a","rights":null}]"#,
        ] {
            assert_eq!(Permissions::from_claim(wrong), Err(ClaimFault::Shape), "{wrong}");
        }
    }

    #[test]
    fn number_of_patterns_is_bounded() {
        let entries = |count: usize| json!(vec![json!({"pattern": "a*", "rights": []}); count]).to_string();
        assert!(Permissions::from_claim(&entries(PATTERNS_MAX)).is_ok());
        assert_eq!(Permissions::from_claim(&entries(PATTERNS_MAX + 1)), Err(ClaimFault::TooMany));
    }

    #[test]
    fn everything_grants_all_rights_and_nothing_grants_none() {
        for right in RIGHTS {
            assert!(Permissions::everything().allow(right, &channel("a")));
            assert!(!Permissions::everything().allow(right, &channel("$user:ann")));
            assert!(!Permissions::nothing().allow(right, &channel("a")));
        }
    }

    /// The same decision by a naive implementation: every rule by itself, byte by byte.
    fn naive(rules: &[(String, Vec<&'static str>)], right: &str, name: &str) -> bool {
        rules.iter().any(|(pattern, rights)| {
            let fits = if pattern.ends_with('*') {
                let fixed = pattern.len() - 1;
                name.len() >= fixed && name.bytes().take(fixed).eq(pattern.bytes().take(fixed))
            } else {
                name == pattern
            };
            fits && rights.contains(&right)
        })
    }

    proptest! {
        #[test]
        fn permissions_agree_with_a_naive_matcher(
            rules in prop::collection::vec(
                ("[ab.]{0,3}\\*|[ab.]{1,3}", prop::sample::subsequence(vec!["subscribe", "publish", "moderate"], 0..=3)),
                0..6,
            ),
            name in "[ab.]{1,4}",
        ) {
            let claim: Vec<_> = rules.iter().map(|(p, r)| json!({"pattern": p, "rights": r})).collect();
            let permissions = Permissions::from_claim(&json!(claim).to_string()).expect("valid");
            for (right, word) in RIGHTS.into_iter().zip(["subscribe", "publish", "moderate"]) {
                prop_assert_eq!(permissions.allow(right, &channel(&name)), naive(&rules, word, &name));
            }
        }
    }
}
