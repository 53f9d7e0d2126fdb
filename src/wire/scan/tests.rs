use super::*;
use proptest::prelude::*;
use serde_json::value::RawValue;

fn scan(text: &str) -> Result<(Raw<'_>, u32), Broken> {
    let mut scanner = Scanner::new(text);
    let raw = scanner.value()?;
    scanner.end()?;
    Ok((raw, scanner.deepest()))
}

/// serde_json's result for the same text, without interpreting strings and numbers.
fn oracle(text: &str) -> Option<&str> {
    serde_json::from_str::<&RawValue>(text).ok().map(RawValue::get)
}

/// Text that is nearly JSON, which random characters would never be.
fn nearly_json() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"a\"",
        "\"\\u12\"",
        "\"\\ud800\"",
        "\"\\n\"",
        "\"",
        "\\",
        "0",
        "-",
        "01",
        "1.5e+3",
        "1e",
        ".5",
        "true",
        "nul",
        "null",
        " ",
        "\n",
        "\u{feff}",
        "é",
        "\u{1}",
        "{\"a\":",
        "[[",
    ]);
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        any::<String>().prop_map(Into::into),
    ];
    leaf.prop_recursive(80, 200, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            prop::collection::btree_map(any::<String>(), inner, 0..4)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

fn depth_of(value: &serde_json::Value) -> u32 {
    match value {
        serde_json::Value::Array(items) => 1 + items.iter().map(depth_of).max().unwrap_or(0),
        serde_json::Value::Object(map) => 1 + map.values().map(depth_of).max().unwrap_or(0),
        _ => 0,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn scanner_and_serde_json_agree_on_what_is_json(text in nearly_json()) {
        prop_assert_eq!(scan(&text).ok().map(|(raw, _)| raw.text), oracle(&text), "{}", text);
    }

    #[test]
    fn arbitrary_text_does_not_panic(text in any::<String>()) {
        prop_assert_eq!(scan(&text).ok().map(|(raw, _)| raw.text), oracle(&text));
    }
}

proptest! {
    #[test]
    fn value_is_scanned_whole_and_its_depth_counted(value in any_json(), pretty in any::<bool>()) {
        let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
        let text = text.unwrap();
        let (raw, deepest) = scan(&text).unwrap();
        prop_assert_eq!(raw.text, &text);
        prop_assert_eq!(deepest, depth_of(&value));
        for end in (0..text.len()).filter(|end| text.is_char_boundary(*end)) {
            let cut = &text[..end];
            prop_assert_eq!(scan(cut).is_ok(), oracle(cut).is_some(), "{}", cut);
        }
    }
}

#[test]
fn nesting_of_any_depth_is_counted() {
    for depth in [1usize, 63, 64, 65, 127, 128, 129, 100_000] {
        let arrays = "[".repeat(depth) + &"]".repeat(depth);
        assert_eq!(scan(&arrays).unwrap().1 as usize, depth);
        let objects = r#"{"a":"#.repeat(depth) + "1" + &"}".repeat(depth);
        assert_eq!(scan(&objects).unwrap().1 as usize, depth);
        assert!(scan(&"[".repeat(depth)).is_err());
        let mixed = r#"[{"a":"#.repeat(depth) + "1" + &"}]".repeat(depth);
        assert_eq!(scan(&mixed).unwrap().1 as usize, 2 * depth);
        let crossed = r#"[{"a":"#.repeat(depth) + "1" + &"]}".repeat(depth);
        assert!(scan(&crossed).is_err());
    }
}

#[test]
fn only_digits_up_to_the_browser_maximum_are_integers() {
    let integer = |text| scan(text).unwrap().0.integer();
    assert_eq!(integer("0"), Ok(0));
    assert_eq!(integer("9007199254740991"), Ok(INTEGER_MAX));
    for text in ["9007199254740992", "99999999999999999999999"] {
        assert_eq!(integer(text), Err(IntegerFault::TooBig), "{text}");
    }
    for text in ["-1", "-0", "1.0", "1e3", "\"1\"", "null"] {
        assert_eq!(integer(text), Err(IntegerFault::Form), "{text}");
    }
}

#[test]
fn half_a_surrogate_pair_is_json_but_not_text() {
    assert_eq!(scan(r#""\ud83d\ude00""#).unwrap().0.string().as_deref(), Some("😀"));
    assert_eq!(scan(r#""\ud83d""#).unwrap().0.string(), None);
}

#[test]
fn broken_json_reports_its_position() {
    assert_eq!(scan(r#"{"a":}"#).unwrap_err().to_string(), "not JSON: expected a value at byte 5");
    assert_eq!(scan("[1] x").unwrap_err().to_string(), "not JSON: expected the end at byte 4");
}

#[test]
fn bytes_escapes_and_numbers_match_serde_json() {
    let ascii = || (0u8..=0x7f).map(char::from);
    let bytes = ascii().map(|byte| format!("\"{byte}\""));
    let escapes = ascii().map(|byte| format!("\"\\{byte}\""));
    let hex = ascii()
        .flat_map(|byte| (0..5).map(move |at| format!("\"\\u{}{byte}{}\"", &"0000"[..at.min(4)], "f")));
    let counts = (0..6).map(|count| format!("\"\\u{}\"", "a".repeat(count)));
    let alone = ascii().map(String::from);
    let numbers =
        ["-", "-0", "00", "0.", "0.0", ".1", "1e", "1e+", "1E-2", "1e2.0", "+1", "0x1", "1_0", "-01", "1."];
    let words = ["tru", "truex", "True", "nul", "nullnull", "NaN", "Infinity", "undefined", "false "];
    let words = numbers.into_iter().chain(words).map(str::to_owned);
    for text in bytes.chain(escapes).chain(hex).chain(counts).chain(alone).chain(words) {
        assert_eq!(scan(&text).ok().map(|(raw, _)| raw.text), oracle(&text), "{text:?}");
    }
}
