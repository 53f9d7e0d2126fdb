//! Flags: names that are on for some clients, so that a feature reaches a share of the users first and can be switched off.
//!
//! The rules stay here; a client learns only the names that are on. A user is in the same bucket of a flag at every instance and at
//! every time, so raising a percentage switches no user off. A configuration without flags costs a comparison a turn and one a connect.

mod gate;

pub use gate::{ClientGate, GateFault};

/// The flags of one configuration.
pub const FLAGS_MAX: usize = 32;
/// The users that one flag names.
pub const FLAG_USERS_MAX: usize = 64;
/// The gates of one flag.
pub const FLAG_GATES_MAX: usize = 8;
const NAME_BYTES_MAX: usize = 40;
/// Buckets of a flag: hundredths of a percent.
const BUCKETS: u64 = 10_000;
const BUCKETS_PER_PERCENT: u16 = 100;

/// Flags of the browser library, which are on unless the configuration says otherwise.
pub const BUILT_IN: [&str; 6] = [
    "seawall.durable",
    "seawall.hurry",
    "seawall.move",
    "seawall.previous",
    "seawall.probe",
    "seawall.report",
];
/// The beginning of their names.
pub const BUILT_IN_PREFIX: &str = "seawall.";

/// One flag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flag {
    pub name: Box<str>,
    /// The share of users for whom it is on, in percent: 0 to 100.
    pub rollout: u8,
    /// Users for whom it is on in any case.
    pub users: Vec<Box<str>>,
    /// The clients for which it may be on; empty: all.
    pub clients: Vec<ClientGate>,
}

impl Flag {
    /// The rule of names, for messages.
    pub const NAME_RULE: &str = "1 to 40 of a-z, 0-9, '_' and '.'";

    pub fn is_name(text: &str) -> bool {
        let allowed =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'.');
        (1..=NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(allowed)
    }

    fn built_in(name: &str) -> Flag {
        Flag { name: name.into(), rollout: 100, users: Vec::new(), clients: Vec::new() }
    }

    /// True exactly if it is on for this user with this client.
    pub fn is_on(&self, key: FlagKey<'_>, client: &str) -> bool {
        if !self.clients.is_empty() && !self.clients.iter().any(|gate| gate.admits(client)) {
            return false;
        }
        match key {
            FlagKey::User(user) => {
                self.users.iter().any(|named| **named == *user)
                    || bucket(&self.name, user) < u16::from(self.rollout) * BUCKETS_PER_PERCENT
            }
            FlagKey::Anonymous => self.rollout >= 100,
        }
    }
}

/// The key that a share of the users is chosen by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlagKey<'a> {
    User(&'a str),
    /// All anonymous clients have one name, so a share of them cannot be chosen: a flag is on at 100 percent.
    Anonymous,
}

/// The bucket of a key, 0 to 9,999: FNV-1a over the name, a zero byte and the key, mixed as in MurmurHash3, because FNV's high bits are
/// weak. The browser library and other instances agree by `tests/vectors/flags.json`.
pub fn bucket(name: &str, key: &str) -> u16 {
    let bytes = name.bytes().chain([0]).chain(key.bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let hash = (hash ^ hash >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let hash = (hash ^ hash >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    let top = (hash ^ hash >> 33) >> 32;
    ((top * BUCKETS) >> 32) as u16
}

/// A flag, and whether an operator has switched it off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SwitchedFlag {
    pub flag: Flag,
    pub switch: Switch,
}

/// An operator's switch of one flag at one instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Switch {
    /// Off for every client, until the next reload.
    Off,
    AsConfigured,
}

/// Flags that are on for one client. Its bits are the places in the [`Flags`] with the same revision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlagSet {
    pub revision: u64,
    bits: u64,
}

const _: () = assert!(FLAGS_MAX + BUILT_IN.len() <= u64::BITS as usize, "each flag has a bit");

impl FlagSet {
    /// The places of its flags.
    pub fn places(self) -> impl Iterator<Item = usize> {
        (0..u64::BITS as usize).filter(move |place| self.bits >> place & 1 == 1)
    }
}

/// The flags of an instance: those of its configuration, and those of the browser library.
#[derive(Clone, Debug)]
pub struct Flags {
    /// Rises with every change at this instance.
    revision: u64,
    /// In the order of their names.
    all: Vec<SwitchedFlag>,
    configured: usize,
    switched_off: usize,
}

impl Default for Flags {
    fn default() -> Flags {
        Flags::new(Vec::new())
    }
}

impl Flags {
    /// The flags of a configuration, which has at most [`FLAGS_MAX`], each with another name.
    pub fn new(configured: Vec<Flag>) -> Flags {
        let built_in = BUILT_IN.iter().filter(|name| configured.iter().all(|flag| *flag.name != ***name));
        let flags = configured.iter().cloned().chain(built_in.map(|name| Flag::built_in(name)));
        let mut all: Vec<SwitchedFlag> =
            flags.map(|flag| SwitchedFlag { flag, switch: Switch::AsConfigured }).collect();
        all.sort_by(|one, other| one.flag.name.cmp(&other.flag.name));
        Flags { revision: 0, all, configured: configured.len(), switched_off: 0 }
    }

    #[inline]
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// True exactly if clients are not notified of flags: none is configured, and none is switched off.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.configured + self.switched_off == 0
    }

    /// The flags in the order of their names, those of the library included.
    pub fn all(&self) -> &[SwitchedFlag] {
        &self.all
    }

    /// The next revision, with the flags of a configuration and all switches ended; `None` if nothing changes.
    pub fn revised(&self, configured: &Flags) -> Option<Flags> {
        let next = Flags { revision: self.revision + 1, ..configured.clone() };
        // A flag of the library that is configured as it is by default changes nothing but that clients are notified.
        let is_same = self.all == next.all && self.configured == next.configured;
        (!is_same).then_some(next)
    }

    /// The next revision, with one flag switched; `None` if there is no such flag.
    pub fn with(&self, name: &str, switch: Switch) -> Option<Flags> {
        let mut next = Flags { revision: self.revision + 1, ..self.clone() };
        next.all.iter_mut().find(|one| *one.flag.name == *name)?.switch = switch;
        next.switched_off = next.all.iter().filter(|one| one.switch == Switch::Off).count();
        Some(next)
    }

    /// The flags that are on for this user with this client.
    pub fn on(&self, key: FlagKey<'_>, client: &str) -> FlagSet {
        let is_on = |one: &SwitchedFlag| one.switch == Switch::AsConfigured && one.flag.is_on(key, client);
        let bits = self.all.iter().enumerate().filter(|(_, one)| is_on(one)).map(|(place, _)| 1 << place);
        FlagSet { revision: self.revision, bits: bits.sum() }
    }

    /// The names of a set, in order. The set must be of this revision.
    pub fn names(&self, set: FlagSet) -> impl Iterator<Item = &str> {
        set.places().filter_map(|place| self.all.get(place)).map(|one| &*one.flag.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flag(name: &str, rollout: u8) -> Flag {
        Flag { rollout, ..Flag::built_in(name) }
    }

    fn users() -> impl Iterator<Item = String> {
        (0..50_000).map(|number| format!("user-{number}"))
    }

    #[test]
    fn buckets_are_even_and_those_of_two_flags_are_independent() {
        let count = |name: &str, below: u16| users().filter(|user| bucket(name, user) < below).count();
        for name in ["markdown", "voice", "seawall.move"] {
            let quarter = count(name, 2_500);
            assert!((12_250..12_750).contains(&quarter), "{name}: {quarter}");
        }
        let both = users().filter(|user| bucket("markdown", user) < 2_500 && bucket("voice", user) < 2_500);
        let both = both.count();
        assert!((2_900..3_350).contains(&both), "{both} of 3,125");
    }

    #[test]
    fn raising_a_rollout_switches_no_user_off() {
        for user in users().take(2_000) {
            let key = FlagKey::User(&user);
            let on: Vec<bool> = (0..=100).map(|rollout| flag("markdown", rollout).is_on(key, "")).collect();
            assert!(on.is_sorted(), "{user}: {on:?}");
            assert_eq!((on[0], on[100]), (false, true));
        }
    }

    #[test]
    fn named_user_has_it_in_any_case_and_an_anonymous_client_at_all_or_nothing() {
        let mut markdown = flag("markdown", 0);
        markdown.users = vec!["ada".into()];
        assert!(markdown.is_on(FlagKey::User("ada"), ""));
        assert!(!markdown.is_on(FlagKey::User("grace"), ""));
        assert!(!flag("markdown", 99).is_on(FlagKey::Anonymous, ""));
        assert!(flag("markdown", 100).is_on(FlagKey::Anonymous, ""));
    }

    #[test]
    fn gate_keeps_other_clients_out_even_named_users() {
        let mut markdown = flag("markdown", 100);
        markdown.users = vec!["ada".into()];
        markdown.clients = vec![ClientGate::parse("web >=1.4.0").expect("a gate")];
        assert!(markdown.is_on(FlagKey::User("ada"), "seawall-js/0.2.0 web/1.4.0"));
        assert!(!markdown.is_on(FlagKey::User("ada"), "seawall-js/0.2.0 web/1.3.9"));
    }

    #[test]
    fn built_in_flags_are_on_until_configured_or_switched_off() {
        let flags = Flags::new(vec![flag("markdown", 100), flag("seawall.move", 0)]);
        let on = |flags: &Flags| {
            let names: Vec<&str> = flags.names(flags.on(FlagKey::Anonymous, "")).collect();
            names.join(" ")
        };
        assert_eq!(
            on(&flags),
            "markdown seawall.durable seawall.hurry seawall.previous seawall.probe seawall.report"
        );
        let off = flags.with("markdown", Switch::Off).expect("known");
        assert_eq!(on(&off), "seawall.durable seawall.hurry seawall.previous seawall.probe seawall.report");
        let again = off.with("markdown", Switch::AsConfigured).expect("known");
        assert_eq!((again.all(), again.revision()), (flags.all(), 2));
        assert!(flags.with("other", Switch::Off).is_none());
        assert!(Flags::default().is_empty());
        let none = Flags::default().with("seawall.probe", Switch::Off).expect("built in");
        assert!(!none.is_empty());
        assert!(none.revised(&Flags::default()).expect("a switch ends").is_empty());
    }

    #[test]
    fn configuration_with_the_same_flags_is_no_change() {
        let flags = Flags::new(vec![flag("markdown", 100)]);
        assert!(flags.revised(&Flags::new(vec![flag("markdown", 100)])).is_none());
        assert!(flags.revised(&Flags::new(vec![flag("markdown", 99)])).is_some());
        let explicit = Flags::new(vec![flag("seawall.move", 100)]);
        assert!(Flags::default().revised(&explicit).is_some_and(|flags| !flags.is_empty()));
    }

    #[test]
    fn most_flags_that_are_allowed_have_a_place_each() {
        let flags = Flags::new((0..FLAGS_MAX).map(|number| flag(&format!("f{number:02}"), 100)).collect());
        let set = flags.on(FlagKey::User("ada"), "");
        assert_eq!(flags.names(set).count(), FLAGS_MAX + BUILT_IN.len());
        assert_eq!(flags.names(set).last(), Some("seawall.report"));
    }

    #[test]
    fn name_outside_its_length_or_alphabet_is_refused() {
        assert!(Flag::is_name("a.b_9") && Flag::is_name(&"x".repeat(40)));
        for name in ["", "A", "a-b", "a b", "é"] {
            assert!(!Flag::is_name(name), "{name}");
        }
        assert!(!Flag::is_name(&"x".repeat(41)));
    }
}
