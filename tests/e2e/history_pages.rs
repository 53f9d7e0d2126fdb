//! Pages of a channel's log: ascending, bounded, from either end.

use crate::support::{Client, Gateway, Setup};
use serde_json::{Value, json};

fn filled(count: u64) -> (Gateway, Client) {
    let gateway = Setup::new().unlimited().start();
    let mut client = Client::connect(&gateway);
    let ids: Vec<u64> =
        (1..=count).map(|n| client.send(json!({"publish": {"channel": "c", "data": n}}))).collect();
    for id in ids {
        assert!(client.reply(id).get("published").is_some());
    }
    (gateway, client)
}

fn page(client: &mut Client, mut arguments: Value) -> (Vec<u64>, Value) {
    arguments["channel"] = json!("c");
    let page = client.ask(json!({"history": arguments}), "history");
    let offsets = page["publications"].as_array().unwrap().iter();
    (offsets.map(|publication| publication["offset"].as_u64().unwrap()).collect(), page)
}

fn span(from: u64, to: u64) -> Vec<u64> {
    (from..=to).collect()
}

#[test]
fn pages_are_ascending_from_either_end() {
    let (_gateway, mut client) = filled(50);
    assert_eq!(page(&mut client, json!({"after": 0, "limit": 10})).0, span(1, 10));
    assert_eq!(page(&mut client, json!({"after": 45, "limit": 10})).0, span(46, 50));
    assert_eq!(page(&mut client, json!({"before": 51, "limit": 10})).0, span(41, 50));
    assert_eq!(page(&mut client, json!({"before": 4, "limit": 10})).0, span(1, 3));
    assert_eq!(page(&mut client, json!({"limit": 5})).0, span(46, 50));
    assert_eq!(page(&mut client, json!({"after": 50})).0, span(1, 0));
    assert_eq!(page(&mut client, json!({"before": 1})).0, span(1, 0));
    let (_, whole) = page(&mut client, json!({"after": 0, "limit": 1}));
    assert_eq!((&whole["head"], &whole["floor"]), (&json!(50), &json!(1)));
    let first = &whole["publications"][0];
    assert_eq!((&first["data"], &first["user"]), (&json!(1), &json!("anonymous")));
    assert!(first["time"].as_u64().is_some_and(|time| time > 1_700_000_000_000), "{first}");
}

#[test]
fn limit_of_a_page_is_clamped() {
    let (_gateway, mut client) = filled(310);
    assert_eq!(page(&mut client, json!({"after": 0, "limit": 100_000})).0.len(), 300);
    assert_eq!(page(&mut client, json!({"after": 0, "limit": 0})).0, [1]);
}

#[test]
fn channel_without_publications_has_an_empty_page() {
    let (_gateway, mut client) = filled(0);
    let (offsets, page) = page(&mut client, json!({}));
    assert_eq!(offsets, span(1, 0));
    assert_eq!((&page["head"], &page["floor"]), (&json!(0), &json!(1)));
}

#[test]
fn page_is_bounded_in_bytes_and_never_empty_before_the_head() {
    let gateway = Setup::new().unlimited().start();
    let mut client = Client::connect(&gateway);
    let text = "x".repeat(60_000);
    for _ in 0..8 {
        client.publish("c", json!(text));
    }
    let mut after = 0;
    let mut pages = 0;
    while after < 8 {
        let (offsets, page) = page(&mut client, json!({"after": after, "limit": 300}));
        let bytes = page.to_string().len();
        assert!(bytes < (256 << 10) + 1024, "{bytes}");
        assert_eq!(offsets.first(), Some(&(after + 1)));
        after = *offsets.last().unwrap();
        pages += 1;
    }
    assert!(pages >= 2);
}

#[test]
fn both_ends_at_once_or_a_bad_bound_is_malformed() {
    let (_gateway, mut client) = filled(1);
    for arguments in [
        json!({"channel": "c", "before": 1, "after": 1}),
        json!({"channel": "c", "before": -1}),
        json!({"channel": "c", "after": 1.5}),
        json!({"channel": "c", "limit": "ten"}),
        json!({"channel": "c", "after": 1u64 << 60}),
        json!({"limit": 1}),
    ] {
        client.refused(json!({"history": arguments}), "malformed");
    }
}
