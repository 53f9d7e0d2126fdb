//! The relay while everything around it fails: what was promised of each question and each answer is read from the ledger of the backend
//! and from the store, after all faults are over.

use crate::cluster::rig::Rig;
use crate::support::relay::{RelayBackend, SECRET};
use crate::support::wait::{LATE, comes_true, until};
use crate::support::{Client, Gateway, stream};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// A claim of a killed instance ends after thirty seconds, a stream that it wrote after some more. The rest is for a busy machine.
const ALL_END: Duration = Duration::from_secs(240);

/// The size of a run.
struct Size {
    channels: usize,
    /// In each channel.
    questions: usize,
    /// The pause between two faults.
    calm: Duration,
}

/// The faults, in turn.
#[derive(Clone, Copy)]
enum Fault {
    GatewayKilled(usize),
    BackendKilled,
    BackendStopped,
}

const FAULTS: [Fault; 4] =
    [Fault::GatewayKilled(0), Fault::BackendKilled, Fault::GatewayKilled(1), Fault::BackendStopped];

/// The way in which a question is answered, and the whole text of its answer.
fn wish(number: usize) -> (Value, String) {
    let pieces: Vec<String> =
        (0..5).map(|piece| format!("{number}.{piece} \"é\u{1f469}\u{200d}\u{1f680}\"\n")).collect();
    let text = pieces.concat();
    let wish = match number % 7 {
        0 | 1 => json!({"mode": "text", "pieces": pieces, "ms": 20}),
        2 => {
            let lines: Vec<Value> = pieces.iter().map(|text| json!({"append": {"text": text}})).collect();
            let end = json!({"end": {"state": "completed"}});
            let lines = [lines, vec![end]].concat();
            json!({"mode": "lines", "lines": lines, "ms": 5})
        }
        3 => json!({"mode": "breaks", "text": text}),
        4 => json!({"mode": "flaky", "part": 0.5}),
        5 => json!({"mode": "accepted"}),
        _ => json!({"mode": "text", "pieces": [text]}),
    };
    (wish, text)
}

struct Scene {
    rig: Rig,
    backend: RelayBackend,
    gateways: [Option<Gateway>; 2],
}

impl Scene {
    fn start() -> Scene {
        let (rig, backend) = (Rig::start(), RelayBackend::start());
        backend.mode(json!({"mode": "as_asked"}));
        let gateways = ["one", "two"].map(|name| {
            let setup = stream::with_streams(rig.setup(name)).with_slow_store();
            let setup = setup.env("SEAWALL_STREAMS_ORPHAN_MS", "1000").env("SEAWALL_STREAMS_IDLE_MS", "5000");
            // A stopped backend answers nothing, so a request must end.
            let route = format!(
                "[[relay]]\nname = \"assistant\"\npattern = \"thread.*\"\nurl = \"http://127.0.0.1:{}/seawall\"\n\
                 secrets = [\"{SECRET}\"]\nuser = \"assistant\"\ntimeout_ms = 2000\nanswer_ms = 3000\n",
                backend.port()
            );
            Some(setup.toml(&route).start())
        });
        Scene { rig, backend, gateways }
    }

    fn asker(&self, gateway: usize) -> Client {
        let gateway = self.gateways[gateway].as_ref().expect("it runs");
        stream::user(gateway, "ann", &["subscribe", "publish"])
    }

    /// Makes one fault. Whatever was killed or stopped runs again afterwards.
    fn fail(&mut self, fault: Fault) {
        match fault {
            Fault::GatewayKilled(which) => {
                let killed = self.gateways[which].take().expect("it runs");
                self.gateways[which] = Some(killed.kill9().start());
            }
            Fault::BackendKilled => {
                self.backend.kill();
                self.backend.restart();
            }
            Fault::BackendStopped => {
                let before = self.unreached();
                self.backend.freeze();
                // If nothing is under way, no request times out.
                comes_true(Duration::from_secs(5), || self.unreached() > before);
                self.backend.thaw();
            }
        }
    }

    /// The requests that were not answered in time.
    fn unreached(&self) -> f64 {
        let metrics = self.gateways.iter().flatten().flat_map(Gateway::metrics);
        let unreached =
            |name: &str| name.starts_with("seawall_relay_requests_total") && name.contains("unreached");
        metrics.filter(|(name, _)| unreached(name)).map(|(_, value)| value).sum()
    }

    /// One number from the store.
    fn count(&self, query: &str) -> u64 {
        self.rig.store.sql(query).trim().parse().expect("a number")
    }

    /// The ends of all answers by channel and the offset of the question: state and data. `None`: it has none.
    fn ends(&self) -> HashMap<(String, u64), Option<(u64, Value)>> {
        let rows = self.rig.store.sql(
            "SELECT coalesce(json_agg(json_build_array(c.name, b.data, e.stream, e.data)), '[]')
             FROM seawall.publications b JOIN seawall.channels c ON c.id = b.channel
             LEFT JOIN seawall.publications e ON e.channel = b.channel AND e.target = b.\"offset\" AND e.stream >= 2
             WHERE b.stream = 1",
        );
        let rows: Vec<(String, String, Option<u64>, Option<String>)> =
            serde_json::from_str(&rows).expect("rows");
        let json = |text: &str| -> Value { serde_json::from_str(text).expect("JSON") };
        rows.into_iter()
            .map(|(channel, begun, state, data)| {
                let question = json(&begun)["answers"].as_u64().expect("an answer");
                ((channel, question), state.zip(data.as_deref().map(json)))
            })
            .collect()
    }
}

/// Asks everything, with one fault after the other, and checks the promises at the end.
fn keeps_its_promises(size: &Size) {
    let mut scene = Scene::start();
    let mut askers = [0, 1].map(|gateway| Some(scene.asker(gateway)));
    let (mut faults, mut last) = (FAULTS.iter().cycle(), Instant::now());
    let mut asked: Vec<(String, u64, usize)> = Vec::new();
    for number in 0..size.questions * size.channels {
        let channel = format!("thread.{}", number % size.channels);
        let (wish, _) = wish(number);
        let publish = json!({"publish": {"channel": channel, "key": format!("q{number}"), "data": wish}});
        let asker = askers[number % 2].get_or_insert_with(|| scene.asker(number % 2));
        let mut published = Value::Null;
        until(ALL_END, "the question is stored", || {
            let mut reply = asker.command(publish.clone());
            let code = reply["error"]["code"].as_str().map(str::to_owned);
            // Overloaded: the channel has many open answers, because its claim is that of a killed instance.
            let is_later = |code: &str| ["overloaded", "unavailable", "unconfirmed"].contains(&code);
            assert!(code.as_deref().is_none_or(is_later), "{reply}");
            published = reply["published"].take();
            code.is_none()
        });
        assert!(published["answer"].is_number(), "{published}");
        asked.push((channel, published["offset"].as_u64().expect("an offset"), number));
        if last.elapsed() >= size.calm {
            scene.fail(*faults.next().expect("endless"));
            // A client of a gateway that was killed has nothing more to say.
            askers = [None, None];
            last = Instant::now();
        }
    }
    // The last fault may have come long before the last question, so each kind comes once more.
    FAULTS.iter().for_each(|fault| scene.fail(*fault));
    let began = Instant::now();
    scene.rig.every_stream_ends(ALL_END);
    println!("{} questions, all answers ended {:?} after the last fault", asked.len(), began.elapsed());

    // R1 to R3: each at least once, first deliveries in order, one id, and the same question each time.
    let requests = scene.backend.requests();
    for channel in (0..size.channels).map(|channel| format!("thread.{channel}")) {
        let offsets: Vec<u64> =
            asked.iter().filter(|(asked, ..)| *asked == channel).map(|(_, offset, _)| *offset).collect();
        let sent = scene.backend.kept_order(&channel, &offsets);
        for request in &sent {
            let same = sent.iter().find(|it| it["offset"] == request["offset"]).expect("itself");
            for member in ["/question", "/user", "/claims", "/answer/offset", "/answer/channel"] {
                assert_eq!(same.pointer(member), request.pointer(member), "{member} of a repeat");
            }
        }
    }
    // R4, S4, S5: each question has one answer, in an end state, with the text of one run.
    let ends = scene.ends();
    assert_eq!(ends.len(), asked.len(), "one answer for each question");
    let mut states: HashMap<u64, usize> = HashMap::new();
    for (channel, offset, number) in &asked {
        let (state, data) = ends[&(channel.clone(), *offset)].as_ref().expect("an end");
        let (wish, text) = wish(*number);
        let shown = data["text"].as_str().expect("a text");
        let is_whole = shown == text;
        assert!(text.starts_with(shown), "question {number}: {shown:?} is no beginning of {text:?}");
        // 2 completed, 5 interrupted: no backend here refuses, and no user cancels.
        match (*state, wish["mode"].as_str().expect("a mode")) {
            (2, "text" | "lines") => assert!(is_whole, "question {number}: {shown:?} instead of {text:?}"),
            (5, _) => {}
            (state, mode) => panic!("question {number} ({mode}) ended in state {state}: {data}"),
        }
        *states.entry(*state).or_default() += 1;
    }
    let dead = scene.count("SELECT count(*) FROM seawall.relay_dead");
    assert_eq!(dead, 0, "nothing was refused or given up");
    println!("{} requests, states {states:?}", requests.len());
    assert!(states.get(&2).is_some_and(|completed| *completed * 7 > asked.len()), "{LATE}: {states:?}");
}

#[test]
fn every_question_is_delivered_and_every_answer_ends_whatever_fails() {
    keeps_its_promises(&Size { channels: 12, questions: 6, calm: Duration::from_millis(700) });
}

/// The same for minutes: `cargo test --test servers -- --ignored --nocapture ten_thousand_questions`.
#[test]
#[ignore = "takes minutes"]
fn ten_thousand_questions_are_delivered_and_answered_whatever_fails() {
    keeps_its_promises(&Size { channels: 100, questions: 100, calm: Duration::from_secs(10) });
}
