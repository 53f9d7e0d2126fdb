//! Edits and deletes are publications of their own that refer to an earlier one.

use crate::support::{Client, Gateway};
use serde_json::{Value, json};

fn history(client: &mut Client) -> Vec<Value> {
    let page = client.ask(json!({"history": {"channel": "c"}}), "history");
    page["publications"].as_array().unwrap().clone()
}

#[test]
fn edit_uses_an_offset_and_names_the_original() {
    let gateway = Gateway::start();
    let mut client = Client::connect(&gateway);
    client.subscribe("c");
    client.publish("c", json!("teh"));
    let edit = client.ask(json!({"publish": {"channel": "c", "edits": 1, "data": "the"}}), "published");
    assert_eq!(edit["offset"], 2);
    assert_eq!(client.next_push("publication").get("edits"), None);
    let push = client.next_push("publication");
    assert_eq!((&push["edits"], &push["data"], &push["offset"]), (&json!(1), &json!("the"), &json!(2)));
    let kept = history(&mut client);
    assert_eq!((&kept[0]["data"], &kept[1]["edits"]), (&json!("teh"), &json!(1)));
}

#[test]
fn delete_erases_the_data_of_the_original_everywhere() {
    let gateway = Gateway::start();
    let mut client = Client::connect(&gateway);
    client.subscribe("c");
    client.publish("c", json!("secret"));
    let delete = client.ask(json!({"publish": {"channel": "c", "deletes": 1, "data": null}}), "published");
    assert_eq!(delete["offset"], 2);
    client.next_push("publication");
    let push = client.next_push("publication");
    assert_eq!((&push["deletes"], &push["data"]), (&json!(1), &Value::Null));
    let kept = history(&mut client);
    assert_eq!((&kept[0]["data"], &kept[0]["deleted_by"]), (&Value::Null, &json!(2)));
    let epoch = delete["epoch"].clone();
    let mut late = Client::connect(&gateway);
    late.ask(json!({"subscribe": {"channel": "c", "recover": {"epoch": epoch, "offset": 0}}}), "subscribed");
    let replayed = late.next_push("publication");
    assert_eq!(
        (&replayed["offset"], &replayed["data"]),
        (&json!(1), &Value::Null),
        "the replay has no data either"
    );
    assert_eq!(replayed["deleted_by"], 2);
}

#[test]
fn edit_or_delete_of_an_absent_publication_is_not_found() {
    let gateway = Gateway::start();
    let mut client = Client::connect(&gateway);
    client.publish("c", json!(1));
    client.refused(json!({"publish": {"channel": "c", "edits": 7, "data": 2}}), "not_found");
    client.refused(json!({"publish": {"channel": "c", "deletes": 7, "data": null}}), "not_found");
    client.refused(json!({"publish": {"channel": "c", "edits": 0, "data": 2}}), "malformed");
    client.refused(json!({"publish": {"channel": "c", "edits": 1, "deletes": 1, "data": 2}}), "malformed");
    client.ask(json!({"publish": {"channel": "c", "deletes": 1, "data": null}}), "published");
    client.refused(json!({"publish": {"channel": "c", "edits": 1, "data": 2}}), "not_found");
    client.refused(json!({"publish": {"channel": "c", "edits": 2, "data": 2}}), "not_found");
    assert_eq!(client.publish("c", json!(3)), 3, "a refusal uses no offset");
}

#[test]
fn edit_with_the_same_key_is_stored_once() {
    let gateway = Gateway::start();
    let mut client = Client::connect(&gateway);
    client.publish("c", json!(1));
    let edit = json!({"publish": {"channel": "c", "key": "e", "edits": 1, "data": 2}});
    assert_eq!(client.ask(edit.clone(), "published")["duplicate"], false);
    let again = client.ask(edit, "published");
    assert_eq!((&again["duplicate"], &again["offset"]), (&json!(true), &json!(2)));
}
