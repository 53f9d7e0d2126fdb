//! The server API: what it stores and sends, its keys, its problems, and its description, `docs/openapi.json`.

use crate::support::backend::{Backend, KEY, PERSONAL, READER, address_of, is_problem, setup};
use crate::support::token::{SECRET, claims, token, unix_s};
use crate::support::wait::{SOON, until};
use crate::support::{Client, Gateway, RawClient};
use jsonschema::{Draft, Validator};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::net::TcpStream;

#[test]
fn publication_reaches_subscribers_and_is_stored_once() {
    let gateway = setup().start();
    let mut client = Client::connect(&gateway);
    client.subscribe("room.7");
    let mut backend = Backend::of(&gateway);
    let body = json!({"channel": "room.7", "key": "order-1", "data": {"text": "paid"}});
    let stored = backend.publish(&body);
    assert_eq!(
        (&stored["offset"], &stored["duplicate"], &stored["key"]),
        (&json!(1), &json!(false), &json!("order-1"))
    );
    let received = client.next_push("publication");
    assert_eq!(received["user"], "$api:shop");
    assert_eq!((&received["data"], &received["offset"]), (&json!({"text": "paid"}), &json!(1)));

    let repeated = backend.publish(&body);
    assert_eq!(
        (&repeated["offset"], &repeated["duplicate"]),
        (&json!(1), &json!(true)),
        "on the same connection"
    );
    let other = json!({"channel": "room.7", "key": "order-1", "data": "other"});
    is_problem(&backend.post("/v1/publish", &other), 409, "key_conflict");

    // As a user, whose keys are others.
    let as_user = json!({"channel": "room.7", "key": "order-1", "user": "ann", "data": 2});
    assert_eq!(backend.publish(&as_user)["offset"], 2);
    assert_eq!(client.next_push("publication")["user"], "ann");
    let edit = json!({"channel": "room.7", "data": 3, "edits": 2});
    assert_eq!(backend.publish(&edit)["offset"], 3, "the key may moderate");
    assert_eq!(client.next_push("publication")["edits"], 2);
    is_problem(&backend.post("/v1/publish", &json!({"channel": "room.7", "deletes": 99})), 404, "not_found");
}

#[test]
fn key_of_the_header_makes_a_repeated_request_harmless_after_a_crash() {
    let gateway = setup().start();
    let batch =
        json!({"items": [{"channel": "a", "data": 1}, {"channels": ["b", "a"], "data": 2}]}).to_string();
    let lines = ["Idempotency-Key: night-7"];
    let first = Backend::of(&gateway).post_with("/v1/batch", &batch, &lines).json();
    assert_eq!((&first["stored"], &first["duplicates"], &first["failed"]), (&json!(3), &json!(0), &json!(0)));
    let offsets = |answer: &Value| -> Vec<(String, u64)> {
        let results = answer["results"].as_array().expect("results").iter();
        let place = |one: &Value| {
            (one["channel"].as_str().expect("a name").into(), one["offset"].as_u64().expect("one"))
        };
        results.map(place).collect()
    };
    assert_eq!(offsets(&first), [("a".into(), 1), ("b".into(), 1), ("a".into(), 2)]);
    let gateway = gateway.kill9().start();
    let again = Backend::of(&gateway).post_with("/v1/batch", &batch, &lines).json();
    assert_eq!((&again["stored"], &again["duplicates"]), (&json!(0), &json!(3)));
    assert_eq!(offsets(&again), offsets(&first));

    let text = json!({"channel": "a", "data": 1}).to_string();
    let single = Backend::of(&gateway).post_with("/v1/publish", &text, &["Idempotency-Key: one"]);
    assert_eq!(single.json()["key"], "one");
    let wrong: [&[&str]; 3] =
        [&["Idempotency-Key: a b"], &["Idempotency-Key: é"], &["Idempotency-Key: a", "Idempotency-Key: b"]];
    for lines in wrong {
        is_problem(&Backend::of(&gateway).post_with("/v1/publish", &text, lines), 400, "malformed");
    }
}

#[test]
fn batch_keeps_the_order_of_a_channel_and_reports_each_item() {
    let gateway = setup().start();
    let mut backend = Backend::of(&gateway);
    let items: Vec<Value> =
        (0..1_000).map(|n| json!({"channel": format!("c{}", n % 7), "data": n})).collect();
    let answer = backend.post("/v1/batch", &json!({"items": items})).json();
    assert_eq!(answer["stored"], 1_000, "{}", answer["failed"]);
    for (n, result) in answer["results"].as_array().expect("results").iter().enumerate() {
        assert_eq!(
            (&result["channel"], &result["offset"]),
            (&json!(format!("c{}", n % 7)), &json!(n / 7 + 1))
        );
    }
    let page = backend.get("/v1/channels/c3/history?after=0&limit=300").json();
    let data: Vec<u64> = page["publications"]
        .as_array()
        .expect("a page")
        .iter()
        .map(|one| one["data"].as_u64().expect("one"))
        .collect();
    assert_eq!(data, (0..1_000).filter(|n| n % 7 == 3).collect::<Vec<u64>>());

    let mixed = json!({"items": [{"channel": "c0", "data": 1}, {"channel": "c0", "deletes": 9_999}]});
    let answer = backend.post("/v1/batch", &mixed).json();
    assert_eq!((&answer["stored"], &answer["failed"]), (&json!(1), &json!(1)));
    assert_eq!(answer["results"][1]["error"]["code"], "not_found");
    let too_many = json!({"channels": vec!["x"; 1_001], "data": 1});
    is_problem(&backend.post("/v1/broadcast", &too_many), 413, "too_large");
    let broadcast = backend.post("/v1/broadcast", &json!({"channels": ["x", "y"], "data": 1})).json();
    assert_eq!(broadcast["stored"], 2);
    gateway.shows("seawall_api_items_total", 1_004.0);
}

#[test]
fn user_is_reached_on_all_devices_and_signals_are_not_stored() {
    let gateway = setup().env("SEAWALL_AUTH_SECRET", SECRET).start();
    let device = || {
        let mut client =
            Client::open(&gateway).with_connect(json!({"token": token(&claims("ann@example.com"))}));
        let personal = client.connected["personal"].as_str().expect("a name").to_owned();
        client.subscribe(&personal);
        client
    };
    let (mut phone, mut laptop) = (device(), device());
    let mut backend = Backend::of(&gateway);
    let mut answer = Value::Null;
    // With a key, and again if the user is not found within the quarter of a second that an answer waits on a busy machine.
    until(SOON, "the user is online", || {
        let body = json!({"key": "k", "data": "hello"});
        answer = backend.post("/v1/users/ann%40example.com/publish", &body).json();
        answer["online"] == true
    });
    assert_eq!(answer["channel"], "$user:ann:40example.com");
    for client in [&mut phone, &mut laptop] {
        assert_eq!(client.next_push("publication")["data"], "hello");
    }
    until(SOON, "the user is found", || {
        let sent = backend.post("/v1/users/ann%40example.com/signal", &json!({"data": {"ring": true}}));
        assert_eq!(sent.status, 202, "{sent:?}");
        sent.json() == json!({"online": true})
    });
    for client in [&mut phone, &mut laptop] {
        assert_eq!(client.next_push("signal")["data"], json!({"ring": true}));
    }
    let mut found = Value::Null;
    until(SOON, "every instance answers", || {
        found = backend.get("/v1/users/ann%40example.com").json();
        found["complete"] == true
    });
    assert_eq!(found["connections"], 2, "{found}");
    assert_eq!(found["instances"][0]["connections"], 2);
    until(SOON, "the users are counted", || {
        backend.get("/v1/cluster?users=exact").json()["users"] == json!({"exact": 1, "complete": true})
    });
    until(SOON, "a user is known to be away", || {
        backend.post("/v1/users/eve/signal", &json!({"data": 1})).json() == json!({"online": false})
    });
    let position = backend.get("/v1/channels/%24user%3Aann%3A40example.com").json();
    assert_eq!((&position["head"], &position["floor"]), (&json!(1), &json!(1)));
    assert_eq!(backend.get("/v1/channels/nowhere").json()["head"], 0);
}

#[test]
fn key_does_what_it_may_and_a_reload_changes_it() {
    let gateway = setup().start();
    let publish = json!({"channel": "room.7", "data": 1});
    let refused = |key: &'static str, path: &str, body: &Value| Backend::with(&gateway, key).post(path, body);
    is_problem(
        &refused("wrong-0123456789012345678901234567890123456", "/v1/publish", &publish),
        401,
        "unauthorized",
    );
    is_problem(&refused(READER, "/v1/publish", &publish), 403, "forbidden");
    is_problem(&refused(PERSONAL, "/v1/publish", &publish), 403, "forbidden");
    let as_user = json!({"data": 1, "user": "bob"});
    is_problem(&refused(PERSONAL, "/v1/users/ann/publish", &as_user), 403, "forbidden");
    assert_eq!(refused(PERSONAL, "/v1/users/ann/publish", &json!({"data": 1})).status, 200);
    let mut reader = Backend::with(&gateway, READER);
    let position = reader.get("/v1/channels/room.7");
    assert_eq!((position.status, position.json().get("users")), (200, None), "it may not see the roster");
    is_problem(&reader.get("/v1/channels/lobby"), 403, "forbidden");
    is_problem(&reader.get("/v1/channels/%24user%3Aann/history"), 403, "forbidden");
    let mut bare = RawClient::from(TcpStream::connect(address_of(&gateway)).expect("it listens"));
    bare.write(format!("GET /v1/channels/room.7?key={READER} HTTP/1.1\r\nHost: api\r\n\r\n").as_bytes());
    let response = bare.response();
    is_problem(&response, 401, "unauthorized");
    assert!(response.header("www-authenticate").is_some_and(|value| value.starts_with("Bearer")));
    gateway.shows("seawall_api_unauthorized_total", 2.0);
    until(SOON, "it is logged", || gateway.output().contains("API key refused"));
    assert_eq!(gateway.output().matches("API key refused").count(), 1, "once a minute and address");

    // The key is removed: the open connection is refused.
    let file = gateway.setup().folder().join("seawall.toml");
    let text = std::fs::read_to_string(&file).expect("the configuration");
    std::fs::write(&file, text.replace(READER, "another-012345678901234567890123456789012345"))
        .expect("written");
    gateway.signal(Signal::HUP);
    until(SOON, "it is reloaded", || gateway.output().contains("api.keys"));
    until(SOON, "the old key is refused", || reader.get("/v1/channels/room.7").status == 401);
}

#[test]
fn wrong_request_gets_a_problem_and_the_connection_stays_right() {
    let gateway = setup().start();
    let mut backend = Backend::of(&gateway);
    for (body, says) in [
        ("", "empty"),
        ("{", "not JSON"),
        ("[]", "must be an object"),
        (r#"{"channel":"a"}"#, "data is missing"),
        (r#"{"channel":"a","data":1,"colour":"red"}"#, "colour"),
        (r#"{"channel":"a","data":1,"user":"$api:x"}"#, "must not begin"),
        ("{\"channel\":\"a\",\"data\":\"\u{0}\"}", "not JSON"),
    ] {
        let problem = is_problem(&backend.post_with("/v1/publish", body, &[]), 400, "malformed");
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains(says)), "{body}: {problem}");
    }
    is_problem(&backend.get("/v1/nowhere"), 404, "not_found");
    let response = backend.get("/v1/publish");
    is_problem(&response, 405, "method_not_allowed");
    assert_eq!(response.header("allow"), Some("POST"));
    is_problem(&backend.get("/v1/channels/a/history?after=1&before=2"), 400, "malformed");
    assert_eq!(backend.publish(&json!({"channel": "a", "data": 1}))["offset"], 1, "the same connection");

    let send = |lines: &str, body: &str| {
        let mut backend = Backend::of(&gateway);
        let head =
            format!("POST /v1/publish HTTP/1.1\r\nHost: api\r\nAuthorization: Bearer {KEY}\r\n{lines}\r\n");
        backend.raw.write(format!("{head}{body}").as_bytes());
        let response = backend.raw.response();
        assert_eq!(response.header("connection"), Some("close"), "{lines}");
        response
    };
    is_problem(&send("Content-Length: 2\r\n", "{}"), 415, "unsupported_type");
    let json_type = "Content-Type: application/json\r\n";
    is_problem(
        &send(&format!("{json_type}Transfer-Encoding: chunked\r\n"), "2\r\n{}\r\n0\r\n\r\n"),
        411,
        "length_required",
    );
    is_problem(&send(&format!("{json_type}Content-Length: 99999999999999999999\r\n"), ""), 413, "too_large");
    is_problem(
        &send(&format!("{json_type}Content-Length: 2\r\nOrigin: http://a\r\n"), "{}"),
        403,
        "forbidden",
    );
    let mut pipelined = Backend::of(&gateway);
    let two =
        format!("GET /v1/channels/a HTTP/1.1\r\nHost: api\r\nAuthorization: Bearer {KEY}\r\n\r\n").repeat(2);
    pipelined.raw.write(two.as_bytes());
    assert_eq!((pipelined.raw.response().status, pipelined.raw.response().status), (200, 200));
    let mut waits = Backend::of(&gateway);
    let body = r#"{"channel":"a","data":2}"#;
    waits.raw.write(
        format!(
            "POST /v1/publish HTTP/1.1\r\nHost: api\r\nAuthorization: Bearer {KEY}\r\n{json_type}Content-Length: {}\r\nExpect: 100-continue\r\n\r\n",
            body.len()
        )
        .as_bytes(),
    );
    assert_eq!(waits.raw.head().status, 100);
    waits.raw.write(body.as_bytes());
    assert_eq!(waits.raw.response().json()["offset"], 2);
}

/// A block of `docs/api.md` in this language.
fn documented(language: &str, at: usize) -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/api.md");
    let text = std::fs::read_to_string(path).expect("the guide");
    let rest = text.split(&format!("```{language}\n")).nth(at + 1).expect("a block");
    rest.split_once("```").expect("its end").0.to_owned()
}

/// Runs a documented program next to a gateway, with its address and key in place of the examples.
fn run_documented(gateway: &Gateway, program: &str, text: &str) -> Value {
    let folder = gateway.setup().folder();
    std::fs::write(folder.join("shop.key"), KEY).expect("written");
    let text = text.replace("127.0.0.1:8082", &address_of(gateway).to_string());
    let output = std::process::Command::new(program)
        .args(["-c", &text])
        .current_dir(folder)
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stdout)))
}

#[test]
fn commands_of_the_guide_work() {
    let gateway = setup().start();
    let stored = run_documented(&gateway, "sh", &documented("sh", 0));
    assert_eq!((&stored["offset"], &stored["key"]), (&json!(1), &json!("order-4711-paid")));
    let python = documented("python", 0)
        + &format!(
            "\nitems = [dict(channel=\"room.7\", key=f\"k{{n}}\", data=n) for n in range(3)]\nprint(json.dumps([publish(items, \"{KEY}\"), publish(items, \"{KEY}\")]))\n"
        );
    let results = run_documented(&gateway, "python3", &python);
    let offsets = |list: &Value| -> Vec<Value> {
        list.as_array().expect("results").iter().map(|one| one["offset"].clone()).collect()
    };
    assert_eq!(offsets(&results[0]), [2, 3, 4]);
    assert_eq!(offsets(&results[1]), [2, 3, 4], "a repetition finds what is stored");
    let ended = run_documented(&gateway, "sh", &documented("sh", 4));
    assert_eq!(
        (&ended["ended"]["state"], &ended["ended"]["edit"]),
        (&json!("completed"), &json!(2)),
        "{ended}"
    );
    let begin = json!({"id": 1, "publish": {"channel": "thread.7", "data": {}, "stream": {"for": "u1"}}});
    let offset = Backend::of(&gateway).post("/v1/commands", &begin).json()["published"]["offset"].clone();
    let python = documented("python", 1)
        + &format!(
            "\nprint(json.dumps(send(answer({offset}, [\"né\", \" token\"]), \"{KEY}\", \"127.0.0.1:8082\")))\n"
        );
    let replies = run_documented(&gateway, "python3", &python);
    assert!(
        replies.as_array().expect("a list").iter().all(|reply| reply.get("error").is_none()),
        "{replies}"
    );
    let page = Backend::of(&gateway).get("/v1/channels/thread.7/history").json();
    assert_eq!(page["publications"][3]["data"]["text"], "né token");
    let order = run_documented(&gateway, "sh", &documented("sh", 2));
    assert_eq!(order["kind"], "disconnect", "{order}");
    until(SOON, "it is carried out", || {
        Backend::of(&gateway).get(&format!("/v1/orders/{}", order["order"])).json()["complete"] == true
    });
}

/// The description.
fn description() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/openapi.json");
    serde_json::from_str(&std::fs::read_to_string(path).expect("the description")).expect("JSON")
}

/// A schema of the description that admits no further members.
fn validator(document: &Value, schema: &Value) -> Validator {
    fn close(value: &mut Value) {
        match value {
            Value::Object(members) => {
                if members.contains_key("properties") {
                    members.insert("additionalProperties".into(), Value::Bool(false));
                }
                members.values_mut().for_each(close);
            }
            Value::Array(items) => items.iter_mut().for_each(close),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let mut root = json!({"components": document["components"], "allOf": [schema]});
    close(&mut root);
    jsonschema::options().with_draft(Draft::Draft202012).build(&root).expect("a schema")
}

#[test]
fn description_is_valid_openapi() {
    // As the OpenAPI Initiative publishes it (Apache License 2.0).
    let schema = include_str!("../support_schema/openapi-3.1.json");
    let schema: Value = serde_json::from_str(schema).expect("JSON");
    let schema = jsonschema::options().with_draft(Draft::Draft202012).build(&schema).expect("a schema");
    let faults: Vec<String> = schema.iter_errors(&description()).map(|fault| fault.to_string()).collect();
    assert!(faults.is_empty(), "{faults:?}");
    let mut wrong = description();
    wrong["paths"]["/v1/publish"]["post"]["responses"]["200"]["description"] = Value::Null;
    assert!(!schema.is_valid(&wrong), "the schema looks at answers");
}

#[test]
fn every_documented_request_gets_a_documented_answer() {
    let gateway = setup().start();
    let mut backend = Backend::of(&gateway);
    let document = description();
    let served = backend.get("/v1/openapi.json").json();
    assert_eq!(served, document);
    assert_eq!(backend.post("/v1/users/bob/disconnect", &json!({})).json()["order"], 1);
    let mut checked = 0;
    for (template, methods) in document["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            let named = |name: &str| {
                operation["parameters"].as_array().and_then(|all| {
                    all.iter().find(|one| one["name"] == name).and_then(|one| one["example"].as_str())
                })
            };
            let path = template
                .replace("{order}", "1")
                .replace("{channel}", named("channel").unwrap_or_default())
                .replace("{user}", &named("user").unwrap_or_default().replace('@', "%40"));
            let of_type = |contents: &Value| -> Value {
                let json = &contents["application/json"];
                if json.is_null() { contents["application/x-ndjson"].clone() } else { json.clone() }
            };
            let content = &of_type(&operation["requestBody"]["content"]);
            let response = match method.as_str() {
                "post" | "put" => {
                    let request = validator(&document, &content["schema"]);
                    assert!(request.is_valid(&content["example"]), "{path}: the example is no request");
                    let mut body = content["example"].clone();
                    if body["until"].is_u64() {
                        // That of the example is past one day.
                        body["until"] = json!((unix_s() + 3_600) * 1_000);
                    }
                    backend.send(&method.to_uppercase(), &path, &body.to_string(), &[])
                }
                "get" => backend.get(&path),
                "delete" => backend.delete(&path),
                other => panic!("{other} of {path}"),
            };
            if response.header("connection") == Some("close") {
                backend = Backend::of(&gateway);
            }
            let documented = &of_type(&operation["responses"][response.status.to_string()]["content"]);
            assert!(documented.is_object(), "{path}: {response:?}");
            let answer = response.json();
            for (value, of) in [(&answer, "the answer"), (&documented["example"], "the example")] {
                if !value.is_null() {
                    let faults: Vec<String> = validator(&document, &documented["schema"])
                        .iter_errors(value)
                        .map(|fault| fault.to_string())
                        .collect();
                    assert!(
                        template == "/v1/openapi.json" || faults.is_empty(),
                        "{of} of {path}: {faults:?}\n{value}"
                    );
                }
            }
            for (status, response) in operation["responses"].as_object().expect("responses") {
                let problem = &response["content"]["application/problem+json"];
                if problem.is_object() {
                    assert!(
                        validator(&document, &problem["schema"]).is_valid(&problem["example"]),
                        "{path} {status}"
                    );
                    assert_eq!(problem["example"]["status"].to_string(), *status);
                }
            }
            checked += 1;
        }
    }
    assert_eq!(checked, 22);
}
