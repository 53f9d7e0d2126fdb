use super::*;

#[test]
fn channel_name_outside_its_length_or_alphabet_is_refused() {
    assert!(ChannelName::parse("room.1:a-B_9").is_ok());
    assert!(ChannelName::parse(&"x".repeat(128)).is_ok());
    assert_eq!(ChannelName::parse(""), Err(NameFault::Empty));
    assert_eq!(ChannelName::parse(&"x".repeat(129)), Err(NameFault::TooLong));
    assert_eq!(ChannelName::parse("a b"), Err(NameFault::Alphabet));
    assert_eq!(ChannelName::parse("é"), Err(NameFault::Alphabet));
    assert_eq!(ChannelName::parse("$status"), Err(NameFault::Reserved));
    assert_eq!(ChannelName::parse("$user:"), Err(NameFault::Empty));
    assert_eq!(ChannelName::parse("$user:$"), Err(NameFault::Alphabet));
    for refused in [ChannelName::parse, ChannelName::parse_any] {
        assert_eq!(refused("$seawall.canary."), Err(NameFault::Reserved));
        assert_eq!(refused("$seawall.canary.a b"), Err(NameFault::Reserved));
    }
    let canary = ChannelName::of_canary("gö 1");
    assert_eq!(canary.as_str(), "$seawall.canary.g__1");
    assert_eq!(ChannelName::parse(canary.as_str()), Err(NameFault::Reserved));
    assert_eq!(ChannelName::parse_any(canary.as_str()), Ok(canary));
    assert!(ChannelName::parse_any(ChannelName::of_canary(&"x".repeat(200)).as_str()).is_ok());
    assert!(ChannelName::parse("$user:ann:40x").is_ok_and(|name| name.is_personal()));
    assert!(!ChannelName::parse("user:ann").expect("a name").is_personal());
}

#[test]
fn rules_for_people_have_the_bounds() {
    assert!(ChannelName::RULE.starts_with(&format!("1 to {CHANNEL_BYTES_MAX} bytes")));
    assert!(UserName::RULE.starts_with(&format!("1 to {USER_BYTES_MAX} bytes")));
}

#[test]
fn epoch_parses_exactly_what_it_writes() {
    for value in [0, 1, 35, 36, 1_234_567, u32::MAX] {
        let epoch = Epoch(value);
        assert_eq!(Epoch::parse(&epoch.to_string()), Some(epoch));
    }
    for text in ["", "K3F9", "00", "01", "zzzzzzz", "12345678", "-1", "+1", "é"] {
        assert_eq!(Epoch::parse(text), None, "{text}");
    }
}

#[test]
fn incarnation_parses_exactly_what_it_writes() {
    for (origin, count, text) in
        [(0, 1, "0.1"), (35, 36, "z.10"), (u64::MAX, u32::MAX, "3w5e11264sgsf.1z141z3")]
    {
        let incarnation = Incarnation { origin, count };
        assert_eq!(incarnation.to_string(), text);
        assert_eq!(Incarnation::parse(text), Some(incarnation));
    }
    for text in
        ["", ".", "1", "1.0", "01.1", "1.01", "A.1", "+1.1", "1.1.1", "3w5e11264sgsg.1", "1.1z141z4", "1.1 "]
    {
        assert_eq!(Incarnation::parse(text), None, "{text}");
    }
}

#[test]
fn key_outside_visible_ascii_or_too_long_is_refused() {
    assert!(Key::parse("01J9ZK~!").is_ok());
    assert_eq!(Key::parse("a b"), Err(NameFault::Alphabet));
    assert_eq!(Key::parse("a\u{0}"), Err(NameFault::Alphabet));
    assert_eq!(Key::parse(&"k".repeat(65)), Err(NameFault::TooLong));
}
