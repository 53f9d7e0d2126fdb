use super::*;

const BOUNDS: ApiBounds = ApiBounds { per_request: 3, data_bytes: 16, json_depth: 6 };

fn name(text: &str) -> ChannelName {
    ChannelName::parse(text).expect("a channel name")
}

fn detail<T: std::fmt::Debug>(read: Result<T, ApiProblem>) -> String {
    let problem = read.expect_err("a problem");
    assert!(matches!(problem.code, ProblemCode::Malformed | ProblemCode::TooLarge), "{problem:?}");
    problem.detail.into_owned()
}

#[test]
fn publication_keeps_its_data_byte_for_byte() {
    let text = r#" {"data": {"a" :1.0e0}, "channel":"room.7","key":"k-1","user":"ann"} "#;
    let item = publish(text, None, BOUNDS).expect("good");
    assert_eq!(item.channel, name("room.7"));
    assert_eq!(item.content, Content::Original(r#"{"a" :1.0e0}"#));
    assert_eq!((item.key, item.user), (Key::parse("k-1").ok(), UserName::parse("ann").ok()));
    let edit = publish(r#"{"channel":"a","edits":3,"data":null}"#, None, BOUNDS).expect("good");
    assert_eq!(edit.content, Content::Edit(Offset(3), "null"));
    let erase = publish(r#"{"deletes":3}"#, Some(name("$user:ann")), BOUNDS).expect("good");
    assert_eq!((erase.content, erase.channel), (Content::Delete(Offset(3), "null"), name("$user:ann")));
}

#[test]
fn wrong_publication_is_refused_with_the_name_of_the_field() {
    for (text, says) in [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[]", "the body must be an object, got an array"),
        (r#"{"channel":"a","data":1} x"#, "not JSON: expected the end"),
        (r#"{"channel":"a"}"#, "data is missing"),
        (r#"{"data":1}"#, "channel is missing"),
        (r#"{"channel":1,"data":1}"#, "channel must be a string, got a number"),
        (r#"{"channel":"a b","data":1}"#, "channel must be a channel name"),
        (r#"{"channel":"$status","data":1}"#, "channel must be a channel name"),
        (r#"{"channel":"a","data":1,"kye":"x"}"#, "unknown member \"kye\""),
        (r#"{"channel":"a","data":1,"data":2}"#, "data is given twice"),
        (r#"{"channel":"a","data":1,"key":"a b"}"#, "key must be 1 to 64 visible ASCII"),
        (r#"{"channel":"a","data":1,"user":""}"#, "user must be 1 to 128 bytes"),
        (r#"{"channel":"a","data":1,"user":"$api:x"}"#, "must not begin with '$'"),
        (r#"{"channel":"a","data":1,"edits":0}"#, "edits must be a whole number from 1"),
        (r#"{"channel":"a","data":1,"edits":1.0}"#, "edits must be a whole number from 1"),
        (r#"{"channel":"a","data":1,"edits":"1"}"#, "edits must be a whole number, got a string"),
        (r#"{"channel":"a","data":1,"edits":1,"deletes":1}"#, "accepts edits or deletes, not both"),
        (r#"{"channels":["a"],"data":1}"#, "channels is for batch and broadcast"),
        (r#"{"channel":"a","data":"123456789012345"}"#, "data has 17 bytes; at most 16"),
        (r#"{"channel":"a","data":[[[[[[1]]]]]]}"#, "nests more than 6 deep"),
    ] {
        let said = detail(publish(text, None, BOUNDS));
        assert!(said.contains(says), "{text}: {said}");
    }
    let twice = publish(r#"{"channel":"a","data":1}"#, Some(name("b")), BOUNDS);
    assert!(detail(twice).contains("that of the path"));
}

#[test]
fn batch_has_an_item_for_each_channel_in_order() {
    let text = r#"{"items":[{"channel":"a","data":1},{"channels":["b","c"],"data":2,"key":"k"}]}"#;
    let items = batch(text, BOUNDS).expect("good");
    let described: Vec<_> = items.iter().map(|item| (item.channel.as_str(), item.content.data())).collect();
    assert_eq!(described, [("a", "1"), ("b", "2"), ("c", "2")]);
    assert!(items[1].key == items[2].key && items[1].key.is_some());
}

#[test]
fn wrong_batch_is_refused_with_the_place_of_the_item() {
    for (text, says) in [
        (r#"{}"#, "items is missing or empty"),
        (r#"{"items":[]}"#, "items is missing or empty"),
        (r#"{"items":1}"#, "not JSON: expected an array"),
        (r#"{"items":[1]}"#, "items[0] must be an object, got a number"),
        (r#"{"item":[]}"#, "unknown member \"item\"; known are items"),
        (r#"{"items":[{"channel":"a","data":1}],"items":[]}"#, "items is given twice"),
        (r#"{"items":[{"channel":"a","data":1},{"channel":"a"}]}"#, "items[1].data is missing"),
        (
            r#"{"items":[{"channel":"a","data":1},{"channel":"a","date":1}]}"#,
            "items[1] has the unknown member",
        ),
        (r#"{"items":[{"channel":"a","channels":["b"],"data":1}]}"#, "exclude each other"),
        (r#"{"items":[{"channels":["b","c d"],"data":1}]}"#, "items[0].channels[1] must be a channel name"),
        (r#"{"items":[{"channels":[],"data":1}]}"#, "items[0].channels is empty"),
        (r#"{"items":[{"channels":"b","data":1}]}"#, "must be a list of channel names, got a string"),
        (r#"{"items":[{"channels":["b"],"edits":1,"data":1}]}"#, "items[0].edits needs channel"),
        (
            r#"{"items":[{"channels":["a","b","c","d"],"data":1}]}"#,
            "more than 3 publications (api.per_request)",
        ),
    ] {
        let said = detail(batch(text, BOUNDS));
        assert!(said.contains(says), "{text}: {said}");
    }
    let many = format!(r#"{{"items":[{}]}}"#, [r#"{"channel":"a","data":1}"#; 4].join(","));
    assert!(detail(batch(&many, BOUNDS)).contains("more than 3"));
}

#[test]
fn broadcast_needs_channels_and_signal_takes_no_key() {
    let items = broadcast(r#"{"channels":["a","b"],"data":1}"#, BOUNDS).expect("good");
    assert_eq!(items.len(), 2);
    assert!(detail(broadcast(r#"{"channel":"a","data":1}"#, BOUNDS)).contains("channels is missing"));
    let sent = signal(r#"{"channel":"a","data":{"typing":true}}"#, None, BOUNDS).expect("good");
    assert_eq!((sent.channel, sent.data), (name("a"), r#"{"typing":true}"#));
    assert!(
        detail(signal(r#"{"channel":"a","data":1,"key":"k"}"#, None, BOUNDS))
            .contains("unknown member \"key\"")
    );
    assert!(detail(signal(r#"{"channel":"a"}"#, None, BOUNDS)).contains("data is missing"));
}
