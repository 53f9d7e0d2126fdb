//! A setting: its name, what it means, and its place in [`Config`].

use super::Config;
use super::error::Fault;
use super::parse::Raw;
use super::place::{Bounds, Place, Shown};
use super::renewal::Takes;
use super::source::Origin;
use super::url::Url;

/// One setting. Everything that knows of settings reads it from here: file, variables, flags, listing,
/// reference.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Section and key: `limits.frame_bytes`.
    pub name: &'static str,
    /// What it decides, in a line or two of Markdown.
    pub doc: &'static str,
    /// The flag that sets it as well, with its dashes.
    pub flag: Option<&'static str>,
    /// When a change of it counts; `None`: not said, which a test finds.
    pub takes: Option<Takes>,
    pub(super) place: Place,
}

impl Setting {
    pub(super) const fn of(name: &'static str, place: Place) -> Setting {
        Setting { name, doc: "", flag: None, takes: None, place }
    }

    /// A number of `[limits]`.
    pub(super) const fn small(name: &'static str, field: fn(&mut Config) -> &mut u32) -> Setting {
        Setting::of(name, Place::U32(Bounds::to(u32::MAX as u64), field))
    }

    /// A large number of `[limits]`.
    pub(super) const fn large(name: &'static str, field: fn(&mut Config) -> &mut u64) -> Setting {
        Setting::of(name, Place::U64(Bounds::to(u64::MAX), field))
    }

    /// Sets the bounds of a number.
    pub(super) const fn bounds(self, min: u64, max: u64) -> Setting {
        self.bounded(Bounds::to(max).from(min))
    }

    /// Sets the bounds of a number that may also be 0, and what 0 then means.
    pub(super) const fn bounds_or_zero(self, min: u64, max: u64, zero: &'static str) -> Setting {
        self.bounded(Bounds::to(max).from(min).or_zero(zero))
    }

    const fn bounded(mut self, bounds: Bounds) -> Setting {
        self.place = self.place.bounded(bounds);
        self
    }

    pub(super) const fn doc(mut self, doc: &'static str) -> Setting {
        self.doc = doc;
        self
    }

    pub(super) const fn flag(mut self, flag: &'static str) -> Setting {
        self.flag = Some(flag);
        self
    }

    /// `limits` of `limits.frame_bytes`.
    pub fn section(&self) -> &'static str {
        self.name.split_once('.').map_or("", |(section, _)| section)
    }

    /// `frame_bytes` of `limits.frame_bytes`.
    pub fn key(&self) -> &'static str {
        self.name.split_once('.').map_or(self.name, |(_, key)| key)
    }

    /// `SEAWALL_LIMITS_FRAME_BYTES` of `limits.frame_bytes`.
    pub fn variable(&self) -> String {
        format!("SEAWALL_{}_{}", self.section(), self.key()).to_ascii_uppercase()
    }

    /// What it accepts, to be read after "must be".
    pub fn expected(&self) -> String {
        self.place.expected()
    }

    /// Writes a value, or says why not and leaves the old one.
    pub(super) fn write(&self, config: &mut Config, raw: &Raw, origin: &Origin) -> Result<(), Fault> {
        self.place
            .write(config, raw, origin)
            .ok_or_else(|| Fault::NotAccepted { value: self.repeated(raw), expected: self.expected_of(raw) })
    }

    /// A refused value as a message repeats it.
    fn repeated(&self, raw: &Raw) -> String {
        match (self.place, raw.text()) {
            (Place::SharedSecret | Place::Bearer(_) | Place::Secret(_), _) => raw.hidden(),
            (Place::Url(..), Some(text)) => Url::hint(text),
            _ => raw.shown(),
        }
    }

    /// [`Setting::expected`], and the type where it is the type that is wrong.
    fn expected_of(&self, raw: &Raw) -> String {
        if self.place.is_number() && raw.integer().is_none() {
            format!("a whole number: {}", self.expected())
        } else {
            self.expected()
        }
    }

    /// The value it has. (The field is reached by a mutable reference, so the caller brings a copy.)
    pub(super) fn show(&self, config: &mut Config) -> Shown {
        self.place.show(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::config::table;
    use proptest::prelude::*;

    fn raws() -> impl Strategy<Value = Raw> {
        let text = prop_oneof![
            any::<String>(),
            "[0-9]{1,12}",
            "[a-z.]{1,12}",
            "(10|172)\\.[0-9]{1,3}\\.0\\.0/[0-9]{1,2}",
            "https://[a-z]{1,9}(:[0-9]{1,5})?",
            "127.0.0.1:[0-9]{1,5}",
            Just("true".to_owned()),
            Just("json".to_owned()),
            Just("required".to_owned()),
        ];
        let leaf = prop_oneof![
            any::<i64>().prop_map(|value| Raw::Integer(value.into())),
            (0_i128..200_000).prop_map(Raw::Integer),
            any::<bool>().prop_map(Raw::Switch),
            text.clone().prop_map(Raw::Text),
            text.prop_map(Raw::Plain),
        ];
        leaf.prop_recursive(1, 4, 4, |item| prop::collection::vec(item, 0..4).prop_map(Raw::List))
    }

    /// A listed value as the file's reader would bring it.
    fn read_back(shown: &str) -> Raw {
        let file = format!("value = {shown}");
        let table = toml::de::DeTable::parse(&file).expect("a listed value is TOML");
        let value = table.get_ref().get("value").expect("it was written");
        super::super::file::raw(value.get_ref())
    }

    proptest! {
        #[test]
        fn a_refused_value_changes_nothing_and_an_accepted_one_survives_its_listing(raw in raws()) {
            for setting in table::all() {
                let mut config = Config::default();
                let before = setting.show(&mut config);
                let written = setting.write(&mut config, &raw, &Origin::Default);
                let after = setting.show(&mut config);
                match (written, &after) {
                    (Err(_), _) => prop_assert_eq!(&after, &before),
                    (Ok(()), Shown::Value(value)) => {
                        let mut again = Config::default();
                        let accepted = setting.write(&mut again, &read_back(value), &Origin::Default);
                        prop_assert!(accepted.is_ok(), "{} = {}", setting.name, value);
                        prop_assert_eq!(setting.show(&mut again), after);
                    }
                    (Ok(()), Shown::Unset | Shown::Hidden) => {}
                }
            }
        }

        #[test]
        fn a_number_is_accepted_exactly_in_its_bounds(value in any::<i64>(), small in -1_i64..100_000) {
            let expected = |value: i64| (125..=16 << 20).contains(&value);
            let setting = table::by_name("limits.frame_bytes").expect("it is there");
            for value in [value, small, 124, 125, 16 << 20, (16 << 20) + 1] {
                let mut config = Config::default();
                let written = setting.write(&mut config, &Raw::Integer(value.into()), &Origin::Default);
                prop_assert_eq!(written.is_ok(), expected(value));
            }
        }
    }
}
