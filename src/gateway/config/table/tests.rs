//! The table of settings: each row fits its field, and what is accepted survives its listing.

use super::super::raw::{RawValue, raw};
use super::super::sections::Config;
use super::super::value::ShownValue;
use super::*;
use crate::limits::Limits;
use proptest::prelude::*;

#[test]
fn every_row_has_the_default_of_its_field() {
    for setting in all() {
        match setting.show(&Config::default()) {
            ShownValue::Value(value) => assert_eq!(value, setting.default, "{}", setting.name),
            ShownValue::Unset => assert_eq!(setting.default, "none", "{}", setting.name),
            ShownValue::Hidden => panic!("{} has a secret default", setting.name),
        }
    }
}

#[test]
fn every_field_of_limits_has_a_row() {
    let shown = format!("{:#?}", Limits::default());
    let fields: Vec<_> =
        shown.lines().filter_map(|line| line.strip_prefix("    ")?.split_once(':')).collect();
    let rows: Vec<_> = of_section("limits").map(|setting| setting.key).collect();
    assert_eq!(rows, fields.iter().map(|(field, _)| *field).collect::<Vec<_>>());
}

#[test]
fn every_row_has_a_unique_name_a_listed_section_and_a_help_sentence() {
    let mut names: Vec<&str> = all().map(|setting| setting.name).collect();
    assert!(all().all(|setting| setting.help.ends_with('.') && !setting.help.contains('|')));
    assert!(all().all(|setting| SECTIONS.iter().any(|(section, _)| *section == setting.section)));
    names.sort_unstable();
    let count = names.len();
    names.dedup();
    assert_eq!(names.len(), count);
}

fn raws() -> impl Strategy<Value = RawValue> {
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
        any::<i64>().prop_map(|value| RawValue::Integer(value.into())),
        (0_i128..200_000).prop_map(RawValue::Integer),
        any::<bool>().prop_map(RawValue::Switch),
        text.clone().prop_map(RawValue::Text),
        text.prop_map(RawValue::Plain),
    ];
    leaf.prop_recursive(1, 4, 4, |item| prop::collection::vec(item, 0..4).prop_map(RawValue::List))
}

/// A listed value as the file's reader would read it.
fn read_back(shown: &str) -> RawValue {
    let file = format!("value = {shown}");
    let table = toml::de::DeTable::parse(&file).expect("a listed value is TOML");
    let value = table.get_ref().get("value").expect("it was written");
    raw(value.get_ref())
}

proptest! {
    #[test]
    fn rejected_value_changes_nothing_and_accepted_value_survives_its_listing(raw in raws()) {
        for setting in all() {
            let mut config = Config::default();
            let before = setting.show(&config);
            let written = setting.write(&mut config, &raw);
            let after = setting.show(&config);
            match (written, &after) {
                (Err(_), _) => prop_assert_eq!(&after, &before),
                (Ok(()), ShownValue::Value(value)) => {
                    let mut again = Config::default();
                    let accepted = setting.write(&mut again, &read_back(value));
                    prop_assert!(accepted.is_ok(), "{} = {}", setting.name, value);
                    prop_assert_eq!(setting.show(&again), after);
                }
                (Ok(()), ShownValue::Unset | ShownValue::Hidden) => {}
            }
        }
    }

    #[test]
    fn number_is_accepted_exactly_within_its_bounds(value in any::<i64>(), small in -1_i64..100_000) {
        let expected = |value: i64| (125..=16 << 20).contains(&value);
        let setting = by_name("limits.frame_bytes").expect("it is there");
        for value in [value, small, 124, 125, 16 << 20, (16 << 20) + 1] {
            let mut config = Config::default();
            let written = setting.write(&mut config, &RawValue::Integer(value.into()));
            prop_assert_eq!(written.is_ok(), expected(value));
        }
    }
}
