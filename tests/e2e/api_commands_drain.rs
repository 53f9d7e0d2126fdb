//! `POST /v1/commands` with a body that is open while the gateway drains, plain and over TLS.

use crate::support::backend::{Backend, KEY, address_of, is_problem, with_api};
use crate::support::commands::CommandBody;
use crate::support::line::trust;
use crate::support::stream::{self, CHANNEL, View};
use crate::support::wait::{SOON, until};
use crate::support::{Certificate, Gateway, Setup};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// A drain whose end is far away: nothing but the body may hold it up.
const EXIT: Duration = Duration::from_secs(120);

/// A gateway that keeps streams whose producers take long to come back.
fn setup() -> Setup {
    let patient = with_api(stream::setup()).env("SEAWALL_STREAMS_IDLE_MS", "600000");
    let patient = patient.env("SEAWALL_STREAMS_ORPHAN_MS", "600000").env("SEAWALL_STREAMS_ROLLUP_MS", "200");
    patient.drain("exit", EXIT.as_millis() as u64)
}

fn secured() -> (Setup, Certificate) {
    let certificate = Certificate::new();
    (setup().tls(certificate.clone()).env("SEAWALL_API_TLS", "true"), certificate)
}

fn trusts(gateway: &Gateway, certificate: &Certificate) {
    trust(address_of(gateway), Some(Arc::new(certificate.client())));
}

fn begin() -> Value {
    json!({"id": 1, "publish": {"channel": CHANNEL, "key": "run", "data": {}, "stream": {"for": "ann"}}})
}

fn piece(at: usize, text: &str) -> Value {
    json!({"append": {"channel": CHANNEL, "offset": 1, "gen": 1, "at": at, "text": text}})
}

fn end(at: usize) -> Value {
    json!({"id": 9, "end": {"channel": CHANNEL, "offset": 1, "gen": 1, "at": at, "state": "completed"}})
}

/// Begins the stream, or takes it up again. Returns where to continue.
#[track_caller]
fn begun(body: &mut CommandBody) -> usize {
    body.send(&[begin()]);
    assert_eq!(body.head().status, 200);
    body.reply("published")["stream"]["next"].as_u64().expect("a position") as usize
}

/// Appends text without an id while the gateway is ended, and checks the end of the response. Returns the last position that was
/// acknowledged, and whether the store answered in time.
#[track_caller]
fn drained(gateway: &mut Gateway, body: &mut CommandBody, words: &[&str]) -> (usize, bool) {
    let mut at = 0;
    let pieces: Vec<Value> = words
        .iter()
        .map(|word| {
            let piece = piece(at, word);
            at += word.len();
            piece
        })
        .collect();
    // The first is committed at once, the others a window later: the gateway begins to end before that.
    body.send(&pieces[..1]);
    let first = words[0].len() as f64;
    until(SOON, "the first is committed", || gateway.metric("seawall_stream_bytes_total") >= first);
    body.send(&pieces[1..]);
    gateway.signal(Signal::TERM);
    let lines = body.rest();
    assert_eq!(gateway.ends_within(EXIT), Some(0), "{}", gateway.output());
    let errors: Vec<&Value> = lines.iter().filter_map(|line| line.get("error")).collect();
    let [slow @ .., end] = &errors[..] else { panic!("an error ends it: {lines:?}") };
    assert_eq!((&end["code"], end["retry_ms"].is_u64()), (&json!("draining"), true), "{lines:?}");
    // The store of a busy machine may take longer than the gateway waits for it.
    assert!(slow.iter().all(|error| error["code"] == "unconfirmed"), "{lines:?}");
    let reached = lines.iter().filter_map(|line| line.pointer("/appended/next")?.as_u64()).max();
    (reached.unwrap_or(0) as usize, slow.is_empty())
}

#[test]
fn open_body_ends_with_draining_and_the_next_instance_has_all_that_was_acknowledged() {
    const WORDS: [&str; 4] = ["one ", "zwö ", "三 ", "end"];
    for (query, is_secured) in
        [("", false), ("?replies=errors", false), ("", true), ("?replies=errors", true)]
    {
        let (setup, certificate) = if is_secured { secured() } else { (self::setup(), Certificate::new()) };
        let mut gateway = setup.start();
        if is_secured {
            trusts(&gateway, &certificate);
        }
        assert_eq!(Backend::of(&gateway).post("/v1/commands", &begin()).status, 200);
        let mut body = CommandBody::open_with(&gateway, query, KEY);
        body.send(&[json!({"append": {"channel": CHANNEL, "offset": 1, "gen": 1}})]);
        assert_eq!(body.head().status, 200, "the first line was read");
        let (acknowledged, is_answered) = drained(&mut gateway, &mut body, &WORDS);
        drop(body);
        let text = WORDS.concat();
        let gateway = gateway.kill9().start();
        if is_secured {
            trusts(&gateway, &certificate);
        }
        let mut reader = stream::user(&gateway, "ann", &["subscribe"]);
        reader.subscribe(CHANNEL);
        let mut body = CommandBody::open(&gateway);
        let next = begun(&mut body);
        assert!(
            next >= acknowledged && next <= text.len(),
            "{next} of {acknowledged} that were acknowledged"
        );
        assert!(!is_answered || next == acknowledged, "{next} is stored, {acknowledged} was acknowledged");
        assert!(text.is_char_boundary(next), "{next}");
        body.send(&[piece(next, &text[next..]), end(text.len())]);
        body.reply("ended");
        body.end();
        body.rest();
        let end = View::of(1).read_to_end(&mut reader, "completed");
        assert_eq!(end["data"]["text"], *text);
        if is_secured {
            trust(address_of(&gateway), None);
        }
    }
}

#[test]
fn body_without_a_line_is_refused_by_a_gateway_that_ends() {
    let mut gateway = setup().start();
    let mut body = CommandBody::open(&gateway);
    until(SOON, "it is open", || gateway.metric("seawall_api_open_bodies") == 1.0);
    gateway.signal(Signal::TERM);
    is_problem(&body.raw.response(), 503, "draining");
    assert_eq!(gateway.ends_within(EXIT), Some(0), "{}", gateway.output());
}

#[test]
fn peer_that_reads_no_replies_does_not_hold_up_the_end() {
    const READS: usize = 400;
    let mut gateway = setup().start();
    let large = json!({"id": 1, "publish": {"channel": CHANNEL, "key": "large", "data": "x".repeat(50_000)}});
    assert_eq!(Backend::of(&gateway).post("/v1/commands", &large).status, 200);
    let mut body = CommandBody::open(&gateway);
    // More replies than the buffers of the connection take.
    let reads: Vec<Value> =
        (1..=READS).map(|id| json!({"id": id, "history": {"channel": CHANNEL}})).collect();
    body.send(&reads);
    let (mut count, mut looks) = (-1.0, 0);
    until(SOON, "nothing more is read", || {
        let now = gateway.metric("seawall_api_commands_total");
        looks = if std::mem::replace(&mut count, now) == now && now > 1.0 { looks + 1 } else { 0 };
        looks >= 10
    });
    assert!(count < READS as f64, "{count} commands were read");
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.ends_within(SOON), Some(0), "{}", gateway.output());
}
