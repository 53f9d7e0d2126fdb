//! `POST /v1/commands`: streams that are written over HTTP, as readers see them, and requests that must be refused.

use crate::support::backend::{Backend, KEY, PERSONAL, READER, address_of, is_problem, with_api};
use crate::support::commands::CommandBody;
use crate::support::stream::{self, CHANNEL, View};
use crate::support::wait::{SOON, until};
use crate::support::{Client, Gateway, RawClient, Setup};
use serde_json::{Value, json};
use std::net::TcpStream;
use std::process::Command;

const TEXT: &str = "aé漢😀\u{0}\"\\\n\u{301}👩\u{200d}🚀 end";

fn setup() -> Setup {
    with_api(stream::setup())
}

fn reader(gateway: &Gateway) -> Client {
    let mut reader = stream::user(gateway, "ann", &["subscribe"]);
    reader.subscribe(CHANNEL);
    reader
}

fn begin(key: &str) -> Value {
    json!({"id": 1, "publish": {"channel": CHANNEL, "key": key, "data": {}, "stream": {"for": "ann"}}})
}

fn append(offset: u64, text: &str) -> Value {
    json!({"append": {"channel": CHANNEL, "offset": offset, "text": text}})
}

fn end(offset: u64) -> Value {
    json!({"id": 9, "end": {"channel": CHANNEL, "offset": offset, "state": "completed"}})
}

/// The answer to a single command.
#[track_caller]
fn ask(gateway: &Gateway, command: &Value) -> crate::support::raw::Response {
    let response = Backend::of(gateway).post("/v1/commands", command);
    assert_eq!(response.header("connection"), Some("close"), "{response:?}");
    response
}

#[track_caller]
fn begun(gateway: &Gateway, key: &str) -> u64 {
    let response = ask(gateway, &begin(key));
    assert_eq!(response.status, 200, "{response:?}");
    response.json()["published"]["offset"].as_u64().expect("an offset")
}

/// Waits until the body of a broken request was noticed.
fn no_body_is_open(gateway: &Gateway) {
    until(SOON, "no body is open", || gateway.metric("seawall_api_open_bodies") == 0.0);
}

#[test]
fn stream_is_written_in_one_body_and_replies_come_while_it_arrives() {
    let gateway = setup().start();
    let mut reader = reader(&gateway);
    let mut body = CommandBody::open(&gateway);
    body.send(&[begin("run")]);
    let head = body.head();
    assert_eq!((head.status, head.header("content-type")), (200, Some("application/x-ndjson")));
    let published = body.reply("published");
    assert_eq!((&published["offset"], &published["stream"]), (&json!(1), &json!({"gen": 1, "next": 0})));
    assert_eq!(reader.next_push("publication")["user"], "$api:shop");
    let mut view = View::of(1);
    let mut at = 0;
    for character in TEXT.chars() {
        let text = character.to_string();
        body.send(&[json!({"append": {"channel": CHANNEL, "offset": 1, "gen": 1, "at": at, "text": text}})]);
        at += text.len() as u64;
    }
    let mut appended = 0;
    while appended < at {
        let next = body.reply("appended")["next"].as_u64().expect("a position");
        assert!(next > appended, "{next} after {appended}");
        appended = next;
    }
    view.read(&mut reader, "all of the text", |view| view.next == at);
    assert_eq!(view.text, TEXT);
    let event = json!({"type": "usage", "data": {"tokens": 7}});
    let show = json!({"id": 5, "stream": {"channel": CHANNEL, "offset": 1}});
    body.send(&[
        json!({"id": 2, "append": {"channel": CHANNEL, "offset": 1, "event": event}}),
        json!({"id": 3, "append": {"channel": CHANNEL, "offset": 1, "at": 99, "text": "x"}}),
        json!({"id": 4, "publish": {"channel": CHANNEL, "data": "between"}}),
    ]);
    // Each reply comes as soon as it is known.
    let mut replied = || loop {
        let line = body.next().expect("a line");
        if let Some(id) = line["id"].as_u64() {
            return (id, line);
        }
    };
    let replies = std::collections::BTreeMap::from([replied(), replied(), replied()]);
    assert_eq!(
        (
            &replies[&2]["appended"]["next"],
            &replies[&3]["error"]["code"],
            &replies[&4]["published"]["offset"]
        ),
        (&json!(at + 1), &json!("gap"), &json!(2))
    );
    body.send(&[show]);
    assert_eq!(body.reply("stream")["text"], TEXT);
    body.send(&[end(1)]);
    let ended = body.reply("ended");
    assert_eq!((&ended["edit"], &ended["state"]), (&json!(3), &json!("completed")));
    body.send(&[json!({"id": 6, "history": {"channel": CHANNEL}})]);
    assert_eq!(body.reply("history")["publications"].as_array().map(Vec::len), Some(3));
    body.end();
    assert_eq!(body.rest(), Vec::<Value>::new());
    let end = view.read_to_end(&mut reader, "completed");
    assert_eq!(end["data"], json!({"text": TEXT, "begun": {}}));
    gateway.shows("seawall_api_commands_refused_total", 1.0);
}

#[test]
fn outcome_of_a_single_command_is_the_status() {
    let gateway = setup().start();
    assert_eq!(begun(&gateway, "run"), 1);
    let again = ask(&gateway, &begin("run")).json();
    assert_eq!((&again["published"]["duplicate"], &again["published"]["offset"]), (&json!(true), &json!(1)));
    let appended = ask(&gateway, &append(1, "Hello"));
    assert_eq!((appended.status, appended.header("content-type")), (200, Some("application/x-ndjson")));
    assert_eq!(appended.json(), json!({"appended": {"channel": CHANNEL, "offset": 1, "gen": 1, "next": 5}}));
    let about = |command: &str, members: Value| {
        let mut arguments = json!({"channel": CHANNEL, "offset": 1});
        members
            .as_object()
            .expect("members")
            .iter()
            .for_each(|(name, value)| arguments[name] = value.clone());
        json!({"id": 7, command: arguments})
    };
    let gap = is_problem(&ask(&gateway, &about("append", json!({"at": 9, "text": "x"}))), 409, "gap");
    assert_eq!((&gap["channel"], &gap["offset"], &gap["next"]), (&json!(CHANNEL), &json!(1), &json!(5)));
    is_problem(&ask(&gateway, &about("append", json!({"at": 0, "text": "Hullo"}))), 409, "diverged");
    let restarted = ask(&gateway, &about("restart", json!({}))).json();
    assert_eq!(restarted["restarted"]["gen"], 2);
    let stale = is_problem(&ask(&gateway, &about("append", json!({"gen": 1, "text": "x"}))), 409, "stale");
    assert_eq!(stale["gen"], 2);
    assert_eq!(ask(&gateway, &append(1, "Bye")).json()["appended"]["next"], 3);
    assert_eq!(ask(&gateway, &end(1)).json()["ended"]["edit"], 2);
    assert_eq!(ask(&gateway, &end(1)).json()["ended"]["duplicate"], true);
    let ended = is_problem(&ask(&gateway, &append(1, "x")), 409, "ended");
    assert_eq!((&ended["state"], &ended["edit"]), (&json!("completed"), &json!(2)));
    is_problem(&ask(&gateway, &append(99, "x")), 404, "not_found");
    is_problem(
        &ask(&gateway, &json!({"id": 1, "publish": {"channel": CHANNEL, "key": "run", "data": 2}})),
        409,
        "key_conflict",
    );
    is_problem(&ask(&gateway, &json!({"id": 1, "dance": {}})), 400, "unknown_command");
    is_problem(&ask(&gateway, &json!({"append": {"channel": CHANNEL, "text": "x"}})), 400, "malformed");
    let with = |key: &str, command: &Value| Backend::with(&gateway, key).post("/v1/commands", command);
    is_problem(&with(READER, &append(1, "x")), 403, "forbidden");
    is_problem(&with(PERSONAL, &begin("run")), 403, "forbidden");
    is_problem(&with("wrong", &append(1, "x")), 401, "unauthorized");
    let page =
        Backend::of(&gateway).post_with("/v1/commands", &append(1, "x").to_string(), &["Origin: http://a"]);
    is_problem(&page, 403, "forbidden");
    // As a user: the author of the begin, and of what is written.
    let mut named = begin("named");
    named["publish"]["user"] = json!("helper");
    let offset = ask(&gateway, &named).json()["published"]["offset"].as_u64().expect("an offset");
    is_problem(&ask(&gateway, &append(offset, "x")), 403, "forbidden");
    let mut written = append(offset, "x");
    written["append"]["user"] = json!("helper");
    assert_eq!(ask(&gateway, &written).json()["appended"]["next"], 1);
    let quiet = Backend::of(&gateway).post("/v1/commands?replies=errors", &begin("quiet"));
    assert_eq!((quiet.status, quiet.body.as_str()), (200, ""));
}

#[test]
fn body_that_breaks_off_is_a_lost_producer_and_one_that_ends_is_not() {
    let patient = setup().env("SEAWALL_STREAMS_IDLE_MS", "600000");
    let gateway = patient.env("SEAWALL_STREAMS_ORPHAN_MS", "2000").start();
    let (kept, lost) = (begun(&gateway, "kept"), begun(&gateway, "lost"));
    let mut reader = reader(&gateway);
    let mut body = CommandBody::open(&gateway);
    body.send(&[append(lost, "before")]);
    body.head();
    assert_eq!(body.reply("appended")["next"], 6);
    let mut proper = CommandBody::open_with(&gateway, "?replies=errors", KEY);
    proper.send(&[append(kept, "before "), append(kept, "after")]);
    proper.head();
    proper.end();
    let last = proper.rest();
    assert_eq!(last.len(), 1, "one position for each stream: {last:?}");
    assert_eq!((&last[0]["appended"]["offset"], &last[0]["appended"]["next"]), (&json!(kept), &json!(12)));
    // In the middle of a chunk, and of a command.
    body.raw.write(b"ff\r\n{\"append\":");
    drop(body);
    let mut view = View::of(lost);
    let ended = view.read_to_end(&mut reader, "interrupted");
    assert_eq!(
        (&ended["data"]["cause"], &ended["data"]["text"]),
        (&json!("producer_lost"), &json!("before"))
    );
    assert_eq!(ask(&gateway, &append(kept, "!")).json()["appended"]["next"], 13, "it is open");
    assert_eq!(ask(&gateway, &end(kept)).status, 200);
}

#[test]
fn user_who_cancels_is_heard_in_the_response() {
    let gateway = setup().start();
    assert_eq!(begun(&gateway, "run"), 1);
    let mut body = CommandBody::open_with(&gateway, "?replies=errors", KEY);
    body.send(&[append(1, "Hel")]);
    body.head();
    let mut user = stream::user(&gateway, "ann", &["subscribe"]);
    user.subscribe(CHANNEL);
    let mut view = View::of(1);
    view.read(&mut user, "its text", |view| view.text == "Hel");
    user.ask(json!({"cancel": {"channel": CHANNEL, "offset": 1}}), "cancelling");
    let cancel = body.reply("cancel");
    assert_eq!((&cancel["offset"], &cancel["user"]), (&json!(1), &json!("ann")), "{cancel}");
    body.send(&[json!({"id": 2, "end": {"channel": CHANNEL, "offset": 1, "state": "cancelled"}})]);
    view.read_to_end(&mut user, "cancelled");
    body.end();
    body.rest();
}

#[test]
fn two_producers_of_one_stream_cannot_mix_their_texts() {
    let gateway = setup().start();
    let offset = begun(&gateway, "run");
    let piece = |id: u64, at: usize, text: &str| json!({"id": id, "append": {"channel": CHANNEL, "offset": offset, "at": at, "text": text}});
    let mut bodies = [CommandBody::open(&gateway), CommandBody::open(&gateway)];
    let words = [["one ", "two ", "three"], ["one ", "zwei ", "drei"]];
    let mut refused = 0;
    let mut next = 0;
    for at in 0..3 {
        for (body, words) in bodies.iter_mut().zip(&words) {
            let place: usize = words[..at].iter().map(|word| word.len()).sum();
            body.send(&[piece(at as u64 + 1, place, words[at])]);
            if at == 0 {
                body.head();
            }
            loop {
                let line = body.next().expect("a line");
                if line["id"] == at as u64 + 1 {
                    match line.get("error") {
                        Some(error) => {
                            assert!(
                                ["diverged", "gap"].contains(&error["code"].as_str().expect("a code")),
                                "{line}"
                            );
                            refused += 1;
                        }
                        None => next = line["appended"]["next"].as_u64().expect("a position"),
                    }
                    break;
                }
            }
        }
    }
    assert_eq!((refused, next), (2, "one two three".len() as u64));
    let mut reader = reader(&gateway);
    assert_eq!(ask(&gateway, &end(offset)).status, 200);
    let end = View::of(offset).read_to_end(&mut reader, "completed");
    assert_eq!(end["data"]["text"], "one two three");
}

#[test]
fn producer_continues_at_next_after_the_gateway_was_killed() {
    let mut gateway = setup().start();
    let text: String = (0..300).map(|number| format!("token {number} é ")).collect();
    let (mut next, mut rounds) = (0_usize, 0);
    while next < text.len() {
        let mut body = CommandBody::open(&gateway);
        body.send(&[begin("run")]);
        body.head();
        let published = body.reply("published");
        let stored = published["stream"]["next"].as_u64().expect("a position") as usize;
        assert!(stored >= next, "{stored} of {next} that were acknowledged");
        next = stored;
        // The rest is sent from there, even if it was sent before.
        let upto = text.ceil_char_boundary((next + text.len() / 3 + 1).min(text.len()));
        let pieces: Vec<Value> = text[next..upto]
            .split_inclusive(' ')
            .map(|word| {
                let piece = json!({"append": {"channel": CHANNEL, "offset": 1, "at": next, "text": word}});
                next += word.len();
                piece
            })
            .collect();
        body.send(&pieces);
        next = body.reply("appended")["next"].as_u64().expect("a position") as usize;
        if rounds < 2 {
            gateway = gateway.kill9().start();
        } else {
            body.end();
            next =
                body.rest().last().and_then(|line| line["appended"]["next"].as_u64()).unwrap_or(0) as usize;
            next = next.max(upto);
        }
        rounds += 1;
    }
    assert!(rounds >= 3, "{rounds}");
    let mut reader = reader(&gateway);
    assert_eq!(ask(&gateway, &end(1)).status, 200);
    assert_eq!(View::of(1).read_to_end(&mut reader, "completed")["data"]["text"], text);
}

#[test]
fn peer_that_reads_no_replies_is_not_read_and_loses_nothing() {
    const LINES: usize = 150_000;
    let gateway = setup().start();
    let mut body = CommandBody::open(&gateway);
    let mut writing = body.raw.stream.tcp().try_clone().expect("a second handle");
    let writer = std::thread::spawn(move || {
        for from in (0..LINES).step_by(500) {
            let lines: String =
                (from..from + 500).map(|id| format!("{{\"id\":{},\"dance\":{{}}}}\n", id + 1)).collect();
            let chunk = format!("{:x}\r\n{lines}\r\n", lines.len());
            // The bound of the handle is for a silent gateway; it is not silent, but waits for the reader.
            let mut rest = chunk.as_bytes();
            while !rest.is_empty() {
                match std::io::Write::write(&mut writing, rest) {
                    Ok(count) => rest = &rest[count..],
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                    Err(error) => panic!("{error}"),
                }
            }
        }
        std::io::Write::write_all(&mut writing, b"0\r\n\r\n").expect("written");
    });
    // Its count does not move any more, although not all is read.
    let (mut count, mut looks) = (-1.0, 0);
    until(SOON, "nothing more is read", || {
        let now = gateway.metric("seawall_api_commands_total");
        looks = if std::mem::replace(&mut count, now) == now && now > 0.0 { looks + 1 } else { 0 };
        looks >= 10
    });
    assert!(count < LINES as f64, "{count} commands were read");
    let mut user = stream::user(&gateway, "ann", &["publish"]);
    user.ask(json!({"publish": {"channel": CHANNEL, "data": 1}}), "published");
    body.head();
    for id in 1..=LINES {
        let line = body.next().expect("a line");
        assert_eq!((&line["id"], &line["error"]["code"]), (&json!(id), &json!("unknown_command")));
    }
    assert_eq!(body.next(), None);
    writer.join().expect("no panic");
}

#[test]
fn open_bodies_leave_connections_to_other_requests() {
    let patient = setup().env("SEAWALL_STREAMS_IDLE_MS", "600000");
    let gateway = patient.env("SEAWALL_API_CONNECTIONS", "8").start();
    // With three keys, each has half of the half.
    let _bodies = [CommandBody::open(&gateway), CommandBody::open(&gateway)];
    until(SOON, "they are open", || gateway.metric("seawall_api_open_bodies") == 2.0);
    let mut third = CommandBody::open(&gateway);
    let refused = third.raw.response();
    let problem = is_problem(&refused, 503, "overloaded");
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("api.connections")), "{problem}");
    assert_eq!(begun(&gateway, "run"), 1, "a single command needs no such place");
}

#[test]
fn silent_bodies_end() {
    // Long enough that its line is sent before that, also on a busy machine.
    let gateway = setup().env("SEAWALL_STREAMS_IDLE_MS", "10000").start();
    let mut silent = CommandBody::open(&gateway);
    let mut with_line = CommandBody::open(&gateway);
    with_line.send(&[append(1, "a")]);
    with_line.head();
    // The one without a line has a status, the other one an error.
    is_problem(&silent.raw.response(), 408, "request_timeout");
    let lines = with_line.rest();
    assert_eq!(lines.last().expect("a line")["error"]["code"], "request_timeout", "{lines:?}");
    no_body_is_open(&gateway);
}

/// A request whose body is not sent by the helpers.
fn request(lines: &str, body: &str) -> String {
    format!(
        "POST /v1/commands HTTP/1.1\r\nHost: api\r\nAuthorization: Bearer {KEY}\r\nContent-Type: application/x-ndjson\r\n{lines}\r\n{body}"
    )
}

#[test]
fn bodies_that_two_readers_may_take_differently_are_refused_and_nothing_after_a_request_is_read() {
    let gateway = setup().start();
    let chunked = "Transfer-Encoding: chunked\r\n";
    let publish = "{\"id\":1,\"publish\":{\"channel\":\"c\",\"data\":1}}\n";
    let chunk = format!("{:x}\r\n{publish}\r\n", publish.len());
    let hidden = request("Content-Length: 44\r\n", publish);
    let counted = |length: usize| format!("Content-Length: {length}\r\n");
    let long = "x".repeat(100_000);
    for (status, text) in [
        (400, request(&format!("{chunked}{}", counted(44)), &chunk)),
        (400, request(&format!("{}{chunked}", counted(44)), publish)),
        (400, request(&format!("{}{}", counted(44), counted(4)), publish)),
        (400, request("Transfer-Encoding: gzip, chunked\r\n", &chunk)),
        (400, request("Transfer-Encoding: identity\r\n", publish)),
        (400, request("Transfer-Encoding: xchunked\r\n", &chunk)),
        (400, request(&format!("{chunked}{chunked}"), &chunk)),
        (400, request("Transfer-Encoding: chunked, chunked\r\n", &chunk)),
        (400, request("Transfer-Encoding : chunked\r\n", &chunk)),
        (400, request(chunked, "x\r\n")),
        (400, request(chunked, &chunk.replace("\r\n", "\n"))),
        (400, request(chunked, &format!("+{chunk}"))),
        (400, request(chunked, &format!(" {chunk}"))),
        (400, request(chunked, "fffffffff\r\n")),
        (400, request(chunked, "0\r\nX: y\n\r\n")),
        (400, request(chunked, &format!("0\r\n{}\r\n", "X: y\r\n".repeat(700)))),
        (400, request(chunked, &format!("1;{}\r\n", "x".repeat(200)))),
        (413, request(chunked, &format!("{:x}\r\n{long}\r\n", long.len()))),
        (
            415,
            request(&format!("{}Content-Type: text/plain\r\n", counted(44)), publish)
                .replace("Content-Type: application/x-ndjson\r\n", ""),
        ),
        (405, request(chunked, "0\r\n\r\n").replace("POST", "PUT")),
        (400, request(chunked, &chunk).replace("/v1/commands", "/v1/commands?replies=none")),
        (411, request(chunked, &chunk).replace("/v1/commands", "/v1/publish").replace("x-ndjson", "json")),
    ] {
        let mut raw = RawClient::from(TcpStream::connect(address_of(&gateway)).expect("it listens"));
        // It may have refused the head, and closed the connection, before it gets the rest.
        let _ = raw.try_write(format!("{text}{hidden}").as_bytes());
        let response = raw.response();
        assert_eq!(response.status, status, "{response:?}\n{text}");
        assert_eq!(response.header("connection"), Some("close"), "{text}");
        assert!(raw.drain().is_empty(), "nothing after it: {text}");
    }
    // A second request behind a good body, and an expectation before it.
    for (lines, body) in
        [(counted(publish.len()), publish.to_owned()), (chunked.into(), format!("{chunk}0\r\n\r\n"))]
    {
        let mut raw = RawClient::from(TcpStream::connect(address_of(&gateway)).expect("it listens"));
        raw.write(format!("{}{hidden}", request(&lines, &body)).as_bytes());
        let answer = String::from_utf8(raw.drain()).expect("text");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert_eq!(answer.matches("published").count(), 1, "{answer}");
    }
    let mut raw = RawClient::from(TcpStream::connect(address_of(&gateway)).expect("it listens"));
    raw.write(request(&format!("{chunked}Expect: 100-continue\r\n"), "").as_bytes());
    assert_eq!(raw.head().status, 100);
    raw.write(format!("{chunk}0\r\n\r\n").as_bytes());
    assert_eq!(raw.head().status, 200);
    assert!(String::from_utf8_lossy(&raw.drain()).contains("published"));
    let stored = Backend::of(&gateway).get("/v1/channels/c").json();
    assert_eq!(stored["head"], 3, "only the good ones are stored");
    no_body_is_open(&gateway);
}

#[test]
fn commands_of_the_design_work_with_curl() {
    let gateway = setup().start();
    let script = r#"
api() { curl -sSN -H "authorization: Bearer $KEY" -H 'content-type: application/x-ndjson' http://127.0.0.1:8082/v1/commands "$@"; }
my_llm() { printf 'Hello\nworld\n'; }
api -d '{"id":1,"publish":{"channel":"c","key":"run_81","data":{},"stream":{"for":"u1"}}}'
my_llm | jq --unbuffered -Rc '{append:{channel:"c",offset:1,text:(.+"\n")}}' | api -X POST -T -
api -d '{"id":2,"end":{"channel":"c","offset":1,"state":"completed"}}'
api --fail -d '{"id":3,"end":{"channel":"c","offset":9,"state":"completed"}}' 2>/dev/null || echo "{\"curl\":$?}"
"#;
    let script = script.replace("127.0.0.1:8082", &address_of(&gateway).to_string());
    let output = Command::new("sh").args(["-c", &script]).env("KEY", KEY).output().expect("sh");
    let text = String::from_utf8(output.stdout).expect("text");
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    assert_eq!(lines[0]["published"]["stream"], json!({"gen": 1, "next": 0}), "{text}");
    assert_eq!(lines[lines.len() - 3]["appended"]["next"], 12, "{text}");
    assert_eq!(lines[lines.len() - 2]["ended"]["state"], "completed", "{text}");
    assert_eq!(lines[lines.len() - 1]["curl"], 22, "{text}");
    let page = Backend::of(&gateway).get("/v1/channels/c/history").json();
    assert_eq!(page["publications"][1]["data"]["text"], "Hello\nworld\n");
}
