//! The relay with a backend that is a process: each question is delivered, in order, and each answer ends.

use crate::support::backend::{KEY, with_api};
use crate::support::commands::CommandBody;
use crate::support::relay::{self, ASSISTANT, RelayBackend, SECRET, ask, ended, ended_in_log};
use crate::support::stream::{self, View};
use crate::support::wait::{SOON, until};
use crate::support::{Client, Gateway, Operator};
use rustix::process::Signal;
use serde_json::{Value, json};

const THREAD: &str = "thread.1";
/// Characters of one to four bytes, in pieces that are cut inside of some.
const WORDS: [&str; 5] = ["a", "é漢", "😀\"\\", "\n\u{301}", "👩\u{200d}🚀 end"];

/// A user that asks and reads.
#[track_caller]
fn asker(gateway: &Gateway) -> Client {
    let mut asker = stream::user(gateway, "ann", &["subscribe", "publish"]);
    asker.subscribe(THREAD);
    asker
}

fn view(answer: u64) -> View {
    relay::view(THREAD, answer)
}

/// Checks that each attempt has a number and a generation above those of the one before, so that their texts cannot mix. A claim that the
/// store answered too late leaves a number out.
#[track_caller]
fn rise(requests: &[Value]) {
    let number = |value: &Value| value.as_u64().unwrap_or_else(|| panic!("no number in {requests:?}"));
    let numbers = |request: &Value| (number(&request["attempt"]), number(&request["answer"]["gen"]));
    for pair in requests.windows(2) {
        let [(attempt, generation), (next_attempt, next_generation)] = [&pair[0], &pair[1]].map(numbers);
        assert!(attempt < next_attempt && generation < next_generation, "{pair:?}");
    }
}

/// The answer that the last request asked for, with these members more.
fn about(backend: &RelayBackend, more: &Value) -> Value {
    let mut members = backend.requests().last().expect("a request")["answer"].clone();
    members.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    members
}

fn answer_with(backend: &RelayBackend, pieces: &[&str]) {
    backend.mode(json!({"mode": "text", "pieces": pieces}));
}

#[test]
fn text_of_a_response_is_the_answer() {
    let backend = RelayBackend::start();
    let gateway = backend.setup("claims = [\"tenant\", \"plan\"]").start();
    answer_with(&backend, &WORDS);
    let mut asker = asker(&gateway);
    let (question, answer) = ask(&mut asker, THREAD, "hello?");
    assert_eq!((question, answer), (1, 2), "the answer begins in the same transaction");
    let mut view = view(answer);
    assert_eq!(ended(&mut asker, &mut view, "completed"), WORDS.concat());
    let end = view.end.expect("just read");
    assert_eq!(end["data"], json!({"text": WORDS.concat(), "begun": {"answers": question}}));
    assert_eq!((&end["user"], &end["edits"]), (&json!(ASSISTANT), &json!(answer)));
    let request = backend.kept_order(THREAD, &[1]).remove(0);
    assert_eq!(request["question"], "hello?");
    assert_eq!(request["user"], "ann");
    assert_eq!(
        (&request["answer"]["channel"], &request["answer"]["offset"]),
        (&json!(THREAD), &json!(answer))
    );
    // A repeat of the question stores and sends nothing.
    assert_eq!(ask(&mut asker, THREAD, "hello?"), (question, answer));
    let (next, _) = ask(&mut asker, THREAD, "and now?");
    assert_eq!(next, 4, "question, answer, its end");
    backend.has_requests(2);
    backend.kept_order(THREAD, &[1, 4]);
}

#[test]
fn commands_of_a_response_write_the_answer_and_publish() {
    let backend = RelayBackend::start();
    let gateway = backend.setup("publish = [\"log.*\"]").start();
    backend.mode(json!({"mode": "lines", "lines": [
        {"append": {"event": {"type": "started"}}},
        "",
        {"append": {"text": "wrong"}},
        {"restart": {}},
        {"append": {"text": "Hé"}},
        {"append": {"text": "llo"}},
        {"publish": {"channel": "log.1", "data": {"seen": 1}}},
        {"publish": {"data": "aside"}},
        {"end": {"state": "completed", "data": {"report": true}}},
    ]}));
    let mut asker = asker(&gateway);
    asker.subscribe("log.1");
    let (_, answer) = ask(&mut asker, THREAD, "hello?");
    let mut view = view(answer);
    view.read(&mut asker, "the end", |view| view.end.is_some());
    assert_eq!(view.end.as_ref().expect("just read")["data"], json!({"report": true}));
    let history = |asker: &mut Client, channel: &str| -> Vec<Value> {
        let page = asker.ask(json!({"history": {"channel": channel}}), "history");
        page["publications"].as_array().expect("a page").clone()
    };
    let log = history(&mut asker, "log.1");
    let id = backend.requests()[0]["id"].as_str().expect("an id").to_owned();
    assert_eq!((&log[0]["data"], &log[0]["user"]), (&json!({"seen": 1}), &json!(ASSISTANT)));
    assert_eq!(log[0]["key"], format!("{id}_7"));
    let aside = history(&mut asker, THREAD).into_iter().find(|it| it["data"] == "aside").expect("published");
    assert_eq!(aside["key"], format!("{id}_8"));
    // Publications of the assistant are not relayed: they would come before the next question.
    answer_with(&backend, &["next"]);
    let (next, answer) = ask(&mut asker, THREAD, "next?");
    ended(&mut asker, &mut relay::view(THREAD, answer), "completed");
    backend.kept_order(THREAD, &[1, next]);
    assert_eq!(backend.requests().len(), 2, "{:?}", backend.requests());
}

#[test]
fn response_of_one_object_ends_the_answer_and_garbage_fails_it() {
    let backend = RelayBackend::start();
    let gateway = backend.setup("").start();
    backend.mode(json!({"mode": "one", "command": {"end": {"state": "failed", "data": {"why": "no"}}}}));
    let mut asker = asker(&gateway);
    let (_, answer) = ask(&mut asker, THREAD, "one");
    let mut one = view(answer);
    one.read(&mut asker, "the end", |view| view.end.is_some());
    let end = one.end.expect("just read");
    assert_eq!((&end["stream"], &end["data"]), (&json!("failed"), &json!({"why": "no"})));
    backend.mode(json!({"mode": "lines", "lines": [{"append": {"text": "so far"}}, "garbage"]}));
    let (_, answer) = ask(&mut asker, THREAD, "two");
    let mut two = view(answer);
    assert_eq!(ended(&mut asker, &mut two, "failed"), "so far");
    gateway.logs("relay response rejected");
}

#[test]
fn answer_may_come_later_over_a_websocket() {
    let backend = RelayBackend::start();
    let gateway = backend.setup("").start();
    backend.mode(json!({"mode": "accepted"}));
    let mut asker = asker(&gateway);
    let (_, answer) = ask(&mut asker, THREAD, "hello?");
    let mut view = view(answer);
    view.read(&mut asker, "the backend has it", |view| view.state == "processing");
    let mut bot = stream::user(&gateway, ASSISTANT, &["publish", "stream"]);
    let about = |more| about(&backend, &more);
    bot.ask_again(&json!({"append": about(json!({"at": 0, "text": "later"}))}), "appended");
    bot.ask_again(&json!({"end": about(json!({"at": 5, "state": "completed"}))}), "ended");
    assert_eq!(ended(&mut asker, &mut view, "completed"), "later");
}

#[test]
fn answer_may_come_later_over_the_server_api() {
    let backend = RelayBackend::start();
    let gateway = with_api(backend.setup("")).start();
    backend.mode(json!({"mode": "accepted"}));
    let mut asker = asker(&gateway);
    let about = |mut more: Value| {
        more["user"] = json!(ASSISTANT);
        about(&backend, &more)
    };
    for replies in ["", "?replies=errors"] {
        let (_, answer) = ask(&mut asker, THREAD, &format!("hello{replies}"));
        let mut view = view(answer);
        view.read(&mut asker, "the backend has it", |view| view.state == "processing");
        let mut body = CommandBody::open_with(&gateway, replies, KEY);
        body.send(&["la", "ter"].map(|text| json!({"append": about(json!({"text": text}))})));
        body.end();
        body.head();
        let lines = body.rest();
        assert!(lines.iter().all(|line| line.get("error").is_none()), "{lines:?}");
        assert_eq!(lines.last().expect("a line")["appended"]["next"], 5, "{lines:?}");
        let mut body = CommandBody::open_with(&gateway, replies, KEY);
        body.send(&[
            json!({"append": about(json!({"text": "!"}))}),
            json!({"id": 1, "end": about(json!({"at": 6, "state": "completed"}))}),
        ]);
        body.end();
        body.head();
        let lines = body.rest();
        assert!(lines.iter().all(|line| line.get("error").is_none()), "{lines:?}");
        assert_eq!(ended(&mut asker, &mut view, "completed"), "later!");
    }
}

#[test]
fn response_that_breaks_off_is_a_lost_producer() {
    let backend = RelayBackend::start();
    let gateway = backend.setup("").env("SEAWALL_STREAMS_ORPHAN_MS", "1000").start();
    backend.mode(json!({"mode": "breaks", "text": "so far"}));
    let mut asker = asker(&gateway);
    let (_, answer) = ask(&mut asker, THREAD, "hello?");
    let mut view = view(answer);
    ended(&mut asker, &mut view, "interrupted");
    let end = view.end.expect("just read");
    assert_eq!((&end["data"]["text"], &end["data"]["cause"]), (&json!("so far"), &json!("producer_lost")));
    assert_eq!(backend.requests().len(), 1, "what was taken is not sent again");
}

#[test]
fn refused_question_is_a_dead_letter_and_its_answer_fails() {
    let backend = RelayBackend::start();
    let gateway = backend.setup("").start();
    backend.mode(json!({"mode": "status", "status": 400}));
    let mut asker = asker(&gateway);
    let (_, answer) = ask(&mut asker, THREAD, "bad");
    let mut first = view(answer);
    first.read(&mut asker, "the end", |view| view.end.is_some());
    let end = first.end.expect("just read");
    assert_eq!((&end["stream"], &end["data"]["cause"]), (&json!("failed"), &json!("refused")));
    answer_with(&backend, &["fine"]);
    let (question, answer) = ask(&mut asker, THREAD, "good");
    ended(&mut asker, &mut view(answer), "completed");
    backend.kept_order(THREAD, &[1, question]);
}

#[test]
fn question_that_no_backend_takes_in_time_is_given_up() {
    let backend = RelayBackend::start();
    let gateway = backend.setup("give_up_ms = 1000").start();
    backend.mode(json!({"mode": "status", "status": 503}));
    let mut asker = asker(&gateway);
    let (_, answer) = ask(&mut asker, THREAD, "hello?");
    let mut view = view(answer);
    view.read(&mut asker, "the end", |view| view.end.is_some());
    let end = view.end.expect("just read");
    assert_eq!((&end["stream"], &end["data"]["cause"]), (&json!("failed"), &json!("not_delivered")));
    // A busy machine may have sent none in that time.
    assert!(backend.requests().iter().all(|it| it["offset"] == 1), "{:?}", backend.requests());
}

#[test]
fn backend_that_fails_gets_each_question_again_with_its_id_and_the_next_generation() {
    let backend = RelayBackend::start();
    let gateway = backend.setup("").start();
    backend.mode(json!({"mode": "busy", "seconds": 0}));
    let mut asker = asker(&gateway);
    let (question, answer) = ask(&mut asker, THREAD, "hello?");
    backend.has_requests(2);
    answer_with(&backend, &["at last"]);
    let mut view = view(answer);
    assert_eq!(ended(&mut asker, &mut view, "completed"), "at last");
    let requests = backend.kept_order(THREAD, &[question]);
    rise(&requests);
}

#[test]
fn gone_backend_pauses_its_route_until_a_reload() {
    let backend = RelayBackend::start();
    let other = format!(
        "[[relay]]\nname = \"other\"\npattern = \"other.*\"\nurl = \"http://127.0.0.1:{}/seawall\"\nsecrets = [\"{SECRET}\"]\n\
         user = \"{ASSISTANT}\"\ntimeout_ms = 60000\n",
        backend.port()
    );
    let gateway = backend.setup(&other).start();
    backend.mode(json!({"mode": "status", "status": 410}));
    let mut asker = asker(&gateway);
    let (first, answer) = ask(&mut asker, THREAD, "one");
    gateway.logs("relay route paused");
    answer_with(&backend, &["back"]);
    let (second, _) = ask(&mut asker, THREAD, "two");
    // A request of another route comes after all that this one would have sent.
    let (_, others) = ask(&mut asker, "other.1", "three");
    ended_in_log(&mut asker, "other.1", others);
    assert_eq!(backend.kept_order(THREAD, &[first]).len(), 1, "nothing is sent meanwhile");
    gateway.signal(Signal::HUP);
    ended(&mut asker, &mut view(answer), "completed");
    backend.has_requests(4);
    backend.kept_order(THREAD, &[first, second]);
}

#[test]
fn gateway_killed_in_a_request_sends_it_again_with_the_next_generation() {
    let backend = RelayBackend::start();
    let gateway = backend.setup("").start();
    backend.mode(json!({"mode": "never"}));
    let mut one = asker(&gateway);
    let (question, answer) = ask(&mut one, THREAD, "hello?");
    backend.has_requests(1);
    let killed = gateway.kill9();
    answer_with(&backend, &["after all"]);
    let gateway = killed.start();
    let mut asker = asker(&gateway);
    let page = asker.ask(json!({"history": {"channel": THREAD}}), "history");
    assert_eq!(page["publications"][0]["offset"], question);
    let end = ended_in_log(&mut asker, THREAD, answer);
    assert_eq!((&end["stream"], &end["data"]["text"]), (&json!("completed"), &json!("after all")));
    let requests = backend.kept_order(THREAD, &[question]);
    assert!(requests.len() > 1, "{requests:?}");
    rise(&requests);
}

#[test]
fn outage_of_a_backend_shows_as_lost_replies_and_delays_them() {
    let backend = RelayBackend::start();
    let dependency = format!(
        "[[dependency]]\nname = \"assistant\"\nkind = \"tcp\"\naddress = \"127.0.0.1:{}\"\ncriticality = \"optional\"\n\
         lost = [\"replies\"]\ninterval_ms = 200\nfailures = 1\nsuccesses = 1\n",
        backend.port()
    );
    let gateway = backend.setup(&dependency).with_admin().start();
    // The figures are counted every ten seconds.
    let shown = Operator::of(&gateway).get("/health/dependencies/assistant").json();
    assert_eq!(
        (&shown["routes"][0]["route"], &shown["routes"][0]["paused"]),
        (&json!("assistant"), &json!(false))
    );
    answer_with(&backend, &["well"]);
    let mut asker = asker(&gateway);
    let (_, answer) = ask(&mut asker, THREAD, "before");
    ended(&mut asker, &mut view(answer), "completed");
    backend.kill();
    let status = asker.next_status("degraded", SOON);
    assert_eq!(status["lost"], json!(["replies"]));
    let asked: Vec<(u64, u64)> =
        (0..3).map(|number| ask(&mut asker, THREAD, &format!("meanwhile {number}"))).collect();
    backend.restart();
    asker.next_status("ok", SOON);
    for (_, answer) in &asked {
        assert_eq!(ended_in_log(&mut asker, THREAD, *answer)["stream"], "completed");
    }
    let offsets: Vec<u64> = [1].into_iter().chain(asked.iter().map(|(question, _)| *question)).collect();
    backend.kept_order(THREAD, &offsets);
}

#[test]
fn cancel_ends_an_answer_in_each_state() {
    let backend = RelayBackend::start();
    let gateway = backend.setup("").env("SEAWALL_STREAMS_CANCEL_MS", "1000").start();
    let mut asker = asker(&gateway);
    let cancel = |asker: &mut Client, answer: u64| {
        let id = asker.send(json!({"cancel": {"channel": THREAD, "offset": answer}}));
        let reply = asker.reply(id);
        assert!(reply.get("cancelling").is_some() || reply.get("ended").is_some(), "{reply}");
    };
    let cancels = |backend: &RelayBackend| -> Vec<Value> {
        backend.ledger().into_iter().filter(|line| line["type"] == "answer.cancelled").collect()
    };
    // The backend has it, and has not answered.
    backend.mode(json!({"mode": "accepted"}));
    let (question, answer) = ask(&mut asker, THREAD, "processing");
    let mut view = view(answer);
    view.read(&mut asker, "the backend has it", |view| view.state == "processing");
    cancel(&mut asker, answer);
    ended(&mut asker, &mut view, "cancelled");
    until(SOON, "the backend is notified", || !cancels(&backend).is_empty());
    let notified = cancels(&backend).remove(0);
    assert_eq!((&notified["question"], &notified["is_signed"]), (&json!(question), &json!(true)));
    assert_eq!(notified["answer"], backend.requests()[0]["answer"]);
    assert_eq!(notified["answer"]["offset"], answer);
    // The response is being read.
    backend.mode(json!({"mode": "endless"}));
    let (question, answer) = ask(&mut asker, THREAD, "streaming");
    let mut view = relay::view(THREAD, answer);
    view.read(&mut asker, "text", |view| view.text.len() > 10);
    cancel(&mut asker, answer);
    ended(&mut asker, &mut view, "cancelled");
    until(SOON, "the response is closed", || {
        backend.ledger().iter().any(|line| line["type"] == "closed" && line["offset"] == question)
    });
    // No backend has it.
    backend.mode(json!({"mode": "status", "status": 503}));
    let (_, answer) = ask(&mut asker, THREAD, "accepted");
    cancel(&mut asker, answer);
    let mut view = relay::view(THREAD, answer);
    ended(&mut asker, &mut view, "cancelled");
    answer_with(&backend, &["next"]);
    let (next, answer) = ask(&mut asker, THREAD, "next");
    let mut view = relay::view(THREAD, answer);
    assert_eq!(ended(&mut asker, &mut view, "completed"), "next");
    assert_eq!(backend.requests().last().expect("a request")["offset"], next);
}

#[test]
fn serial_route_sends_the_next_question_once_the_answer_has_ended() {
    let backend = RelayBackend::start();
    let gateway = backend.setup("serial = true").start();
    backend.mode(json!({"mode": "accepted"}));
    let mut asker = asker(&gateway);
    let (first, answer) = ask(&mut asker, THREAD, "one");
    let (second, _) = ask(&mut asker, THREAD, "two");
    let mut view = view(answer);
    view.read(&mut asker, "the backend has it", |view| view.state == "processing");
    let end = about(&backend, &json!({"at": 0, "state": "completed"}));
    // A later question of another channel comes after all that this one would have sent.
    ask(&mut asker, "thread.2", "three");
    backend.has_requests(2);
    assert_eq!(backend.kept_order(THREAD, &[first]).len(), 1);
    let mut bot = stream::user(&gateway, ASSISTANT, &["publish", "stream"]);
    bot.ask_again(&json!({"end": end}), "ended");
    backend.has_requests(3);
    backend.kept_order(THREAD, &[first, second]);
}

#[test]
fn slow_backend_delays_neither_a_commit_nor_another_channel() {
    let backend = RelayBackend::start();
    let gateway = backend.setup("concurrency = 4").start();
    backend.mode(json!({"mode": "never"}));
    let mut asker = asker(&gateway);
    ask(&mut asker, THREAD, "slow");
    backend.has_requests(1);
    answer_with(&backend, &["quick"]);
    let (second, _) = ask(&mut asker, THREAD, "behind the slow one");
    assert!(second > 1, "it is stored, and waits in the log");
    asker.subscribe("thread.2");
    let (question, answer) = ask(&mut asker, "thread.2", "quick");
    let mut view = relay::view("thread.2", answer);
    assert_eq!(ended(&mut asker, &mut view, "completed"), "quick");
    backend.kept_order("thread.2", &[question]);
    assert_eq!(backend.kept_order(THREAD, &[1]).len(), 1);
}

#[test]
fn user_whose_questions_fill_the_route_leaves_seats_to_others() {
    let backend = RelayBackend::start();
    let gateway = backend.setup("concurrency = 8").start();
    backend.mode(json!({"mode": "never"}));
    let mut ann = asker(&gateway);
    for number in 0..40 {
        ask(&mut ann, &format!("thread.{number}"), "slow");
    }
    let of = |user: &str| backend.requests().iter().filter(|request| request["user"] == user).count();
    until(SOON, "ann has her share", || of("ann") == 4);
    answer_with(&backend, &["quick"]);
    let mut bob = stream::user(&gateway, "bob", &["subscribe", "publish"]);
    bob.subscribe("thread.bob");
    let (_, answer) = ask(&mut bob, "thread.bob", "quick");
    let mut view = relay::view("thread.bob", answer);
    assert_eq!(ended(&mut bob, &mut view, "completed"), "quick");
    assert_eq!(of("ann"), 4, "as many as are free");
    // The backend ends what hangs: ann's other questions follow.
    backend.kill();
    backend.restart();
    until(SOON, "all are delivered", || {
        let requests = backend.requests();
        (0..40).all(|number| requests.iter().any(|request| request["channel"] == format!("thread.{number}")))
    });
}
