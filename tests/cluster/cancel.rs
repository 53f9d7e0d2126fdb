//! A cancel in each state of an answer, whatever its backend does, at the instance that relays it and at another: the answer ends, and once.

use crate::cluster::rig::Rig;
use crate::support::backend::{KEY, address_of, with_api};
use crate::support::relay::{ASSISTANT, RelayBackend, SECRET, view};
use crate::support::stream::{self, View};
use crate::support::wait::{LATE, SOON, until};
use crate::support::{Client, Gateway, has_named_binary};
use serde_json::{Value, json};
use std::thread;
use std::time::{Duration, Instant};

/// The promise, with `streams.cancel_ms` at its default of 5 s.
const ENDED_WITHIN: Duration = Duration::from_secs(6);
/// An additional time for a busy machine. An optimised gateway (`SEAWALL_TEST_BINARY`) on a quiet one has none.
const ALLOWANCE: Duration = SOON;

/// The state of an answer when it is cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CancelState {
    /// `accepted`: the backend has asked for another time.
    Accepted,
    /// `accepted`: the backend has the request, and has not begun a response.
    InFlight,
    /// `processing`: the backend has taken the question, and answers later.
    Taken,
    /// `processing`: a response has begun, and has no text.
    Begun,
    Streaming,
    /// The response broke off after some text.
    Paused,
    /// After another cancel.
    Cancelling,
}

/// The behaviour of the backend from before the cancel on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BackendFault {
    /// It ends the answer.
    None,
    /// It goes on writing.
    Deaf,
    /// The process is stopped: connections stay open, and nothing is answered.
    Frozen,
    /// The process was killed: connections are refused.
    Gone,
}

/// The instance that gets the cancel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CancelledAt {
    /// The one that sent the question to the backend.
    Relaying,
    Other,
}

const STATES: [CancelState; 7] = [
    CancelState::Accepted,
    CancelState::InFlight,
    CancelState::Taken,
    CancelState::Begun,
    CancelState::Streaming,
    CancelState::Paused,
    CancelState::Cancelling,
];
const FAULTS: [BackendFault; 4] =
    [BackendFault::None, BackendFault::Deaf, BackendFault::Frozen, BackendFault::Gone];
const PLACES: [CancelledAt; 2] = [CancelledAt::Relaying, CancelledAt::Other];

impl CancelState {
    /// The question, which has the backend bring its answer into this state.
    fn question(self) -> Value {
        match self {
            CancelState::Accepted => json!({"mode": "busy", "seconds": 300}),
            CancelState::InFlight => json!({"mode": "never"}),
            CancelState::Taken | CancelState::Cancelling => json!({"mode": "accepted"}),
            CancelState::Begun => json!({"mode": "silent"}),
            CancelState::Streaming => json!({"mode": "endless", "ms": 200}),
            CancelState::Paused => json!({"mode": "breaks", "text": "so far"}),
        }
    }

    /// True if a reader sees it. The other states of a backend are seen by it alone.
    fn is_reached(self, view: &View) -> bool {
        match self {
            CancelState::Accepted | CancelState::InFlight => true,
            CancelState::Taken | CancelState::Begun | CancelState::Cancelling => view.state == "processing",
            CancelState::Streaming => !view.text.is_empty(),
            CancelState::Paused => view.state == "paused",
        }
    }

    /// True if a response is open, which the gateway closes.
    fn has_response(self) -> bool {
        matches!(self, CancelState::Begun | CancelState::Streaming)
    }
}

impl BackendFault {
    fn route(self) -> String {
        format!("{self:?}").to_lowercase()
    }

    fn of(self, backends: &[RelayBackend; 4]) -> &RelayBackend {
        &backends[self as usize]
    }

    fn is_alive(self) -> bool {
        matches!(self, BackendFault::None | BackendFault::Deaf)
    }
}

/// One answer, in a channel of its own.
struct CancelCase {
    state: CancelState,
    fault: BackendFault,
    at: CancelledAt,
    channel: String,
    answer: u64,
    /// The gateways, by their places, that relay the question and get the cancel.
    relaying: usize,
    cancelled_at: usize,
    /// An earlier cancel was acknowledged.
    cancelled: Option<Instant>,
}

/// The end of a case, as readers saw it.
struct SeenEnd {
    /// Its place in the list.
    case: usize,
    at: Instant,
    state: Value,
}

impl CancelCase {
    fn all() -> Vec<CancelCase> {
        let of = |state, fault: BackendFault, at| CancelCase {
            state,
            fault,
            at,
            channel: format!("{}.{state:?}.{at:?}", fault.route()),
            answer: 0,
            relaying: 0,
            cancelled_at: 0,
            cancelled: None,
        };
        let cases = STATES.iter().flat_map(|state| FAULTS.iter().map(move |fault| (*state, *fault)));
        cases.flat_map(|(state, fault)| PLACES.map(|at| of(state, fault, at))).collect()
    }

    fn name(&self) -> String {
        format!("{:?}, backend {:?}, cancelled at {:?}", self.state, self.fault, self.at)
    }

    fn cancel(&self) -> Value {
        json!({"cancel": {"channel": self.channel, "offset": self.answer}})
    }

    fn view(&self) -> View {
        view(&self.channel, self.answer)
    }
}

/// The path tells the requests of one gateway from those of the other.
fn start(rig: &Rig, backends: &[RelayBackend; 4], name: &str) -> Gateway {
    let mut setup = with_api(stream::with_streams(rig.setup(name)).with_slow_store());
    // No other end may come first, however busy the machine is.
    for key in ["IDLE_MS", "ORPHAN_MS", "LIFE_MS"] {
        setup = setup.env(&format!("SEAWALL_STREAMS_{key}"), "3600000");
    }
    for (fault, backend) in FAULTS.iter().zip(backends) {
        let (route, port) = (fault.route(), backend.port());
        setup = setup.toml(&format!(
            "[[relay]]\nname = \"{route}\"\npattern = \"{route}.*\"\nurl = \"http://127.0.0.1:{port}/{name}\"\nsecrets = [\"{SECRET}\"]\n\
             user = \"{ASSISTANT}\"\ntimeout_ms = 60000\nanswer_ms = 3600000\n"
        ));
    }
    setup.start()
}

fn asker(gateway: &Gateway, cases: &[CancelCase]) -> Client {
    let mut asker = stream::user(gateway, "ann", &["subscribe", "publish"]);
    cases.iter().for_each(|case| drop(asker.subscribe(&case.channel)));
    asker
}

/// Reads until each answer that this gateway relays is in its state.
fn reach(gateway: usize, client: &mut Client, views: &mut [View], cases: &[CancelCase]) {
    let deadline = Instant::now() + SOON;
    loop {
        let mut own = cases.iter().zip(&*views).filter(|(case, _)| case.relaying == gateway);
        let waiting = own.find(|(case, view)| !case.state.is_reached(view));
        let Some((case, view)) = waiting else { return };
        let push = client.next_any_push_by(deadline);
        let push = push.unwrap_or_else(|| panic!("{LATE}: {}: {view:?}", case.name()));
        views.iter_mut().for_each(|view| view.take(&push));
    }
}

/// Checks the reply to a cancel. A store that is slow has it sent again.
fn is_acknowledged(client: &mut Client, case: &CancelCase, mut reply: Value) {
    until(SOON, &format!("{}: the cancel is acknowledged", case.name()), || {
        let is_later = reply["error"]["retry_ms"].is_number();
        if is_later {
            reply = client.command(case.cancel());
        }
        !is_later
    });
    let is_known = reply.get("cancelling").is_some() || reply["ended"]["state"] == "cancelled";
    assert!(is_known, "{}: {reply}", case.name());
}

/// Sends the cancels that are for this gateway, and reads up to the end of all answers.
fn cancel(
    gateway: usize,
    client: &mut Client,
    views: &mut [View],
    cases: &[CancelCase],
) -> (Vec<(usize, Instant)>, Vec<SeenEnd>) {
    let own = cases.iter().enumerate().filter(|(_, case)| case.cancelled_at == gateway);
    let sent: Vec<(usize, u64)> = own.map(|(place, case)| (place, client.send(case.cancel()))).collect();
    let mut acknowledged = Vec::new();
    for (place, id) in sent {
        let reply = client.reply(id);
        is_acknowledged(client, &cases[place], reply);
        acknowledged.push((place, Instant::now()));
    }
    let deadline = Instant::now() + ENDED_WITHIN + ALLOWANCE;
    let mut ends = Vec::new();
    while ends.len() < cases.len() {
        for (case, view) in views.iter().enumerate() {
            if let Some(end) = &view.end
                && ends.iter().all(|end: &SeenEnd| end.case != case)
            {
                ends.push(SeenEnd { case, at: Instant::now(), state: end["stream"].clone() });
            }
        }
        let Some(push) = client.next_any_push_by(deadline) else { break };
        views.iter_mut().for_each(|view| view.take(&push));
    }
    (acknowledged, ends)
}

/// Asks all questions, and finds out which gateway relays each.
fn ask_all(cases: &mut [CancelCase], askers: &mut [Client; 2], backends: &[RelayBackend; 4]) {
    for (number, case) in cases.iter_mut().enumerate() {
        let data = case.state.question();
        let publish = json!({"publish": {"channel": case.channel, "key": "q", "data": data}});
        let published = askers[number % 2].ask_again(&publish, "published");
        case.answer = published["answer"].as_u64().expect("an answer");
    }
    for case in cases {
        let mut request = None;
        until(SOON, &format!("{}: its backend is asked", case.name()), || {
            let requests = case.fault.of(backends).requests();
            request = requests.into_iter().find(|request| request["channel"] == case.channel);
            request.is_some()
        });
        case.relaying = usize::from(request.expect("just found")["path"] == "/two");
        let is_relaying = case.at == CancelledAt::Relaying;
        case.cancelled_at = if is_relaying { case.relaying } else { 1 - case.relaying };
    }
}

/// Checks that a case has one end in the log, and that its backend knows.
fn ended_once(case: &CancelCase, asker: &mut Client, backends: &[RelayBackend; 4]) {
    let page = asker.ask_again(&json!({"history": {"channel": case.channel}}), "history");
    let publications = page["publications"].as_array().expect("a page");
    let ends = publications.iter().filter(|it| it["edits"] == case.answer).count();
    assert_eq!((ends, publications.len()), (1, 3), "{}: {page}", case.name());
    if case.fault.is_alive() {
        knows_of_the_cancel(case.fault.of(backends), case);
    }
}

#[test]
fn cancel_ends_an_answer_once_in_each_state_whatever_its_backend_does_at_each_instance() {
    let rig = Rig::start();
    let backends = FAULTS.map(|_| RelayBackend::start());
    let gateways = ["one", "two"].map(|name| start(&rig, &backends, name));
    let api = address_of(&gateways[0]).to_string();
    for fault in FAULTS {
        let cancelled = if fault == BackendFault::None { "ends" } else { "goes_on" };
        let mode = json!({"mode": "as_asked", "cancelled": cancelled, "api": api, "key": KEY});
        fault.of(&backends).mode(mode);
    }
    let mut cases = CancelCase::all();
    let mut askers = gateways.each_ref().map(|gateway| asker(gateway, &cases));
    ask_all(&mut cases, &mut askers, &backends);
    let mut views = [(); 2].map(|()| cases.iter().map(CancelCase::view).collect::<Vec<View>>());
    for (gateway, (client, views)) in askers.iter_mut().zip(&mut views).enumerate() {
        reach(gateway, client, views, &cases);
    }
    BackendFault::Frozen.of(&backends).freeze();
    BackendFault::Gone.of(&backends).kill();
    for case in cases.iter_mut().filter(|case| case.state == CancelState::Cancelling) {
        let reply = askers[0].command(case.cancel());
        is_acknowledged(&mut askers[0], case, reply);
        case.cancelled = Some(Instant::now());
    }
    let seen: Vec<_> = thread::scope(|scope| {
        let cases = &cases;
        let both = askers.iter_mut().zip(&mut views).enumerate();
        let both =
            both.map(|(gateway, (client, views))| scope.spawn(move || cancel(gateway, client, views, cases)));
        let both: Vec<_> = both.collect();
        both.into_iter().map(|reader| reader.join().expect("it does not panic")).collect()
    });
    let acknowledged: Vec<(usize, Instant)> = seen.iter().flat_map(|(all, _)| all.clone()).collect();
    let most = if has_named_binary() { ENDED_WITHIN } else { ENDED_WITHIN + ALLOWANCE };
    for (place, case) in cases.iter().enumerate() {
        let name = case.name();
        let (_, last) = acknowledged.iter().find(|(of, _)| *of == place).expect("it was sent");
        let begun = case.cancelled.unwrap_or(*last);
        for (reader, (_, ends)) in seen.iter().enumerate() {
            let end = ends.iter().find(|end| end.case == place);
            let end = end.unwrap_or_else(|| panic!("{LATE}: {name}: no end at reader {reader}"));
            // By the backend or by the gateway: no other end is wanted by anyone before its deadline.
            assert_eq!(end.state, "cancelled", "{name}");
            let took = end.at.saturating_duration_since(begun);
            assert!(took <= most, "{LATE}: {name}: {took:?}");
        }
        ended_once(case, &mut askers[0], &backends);
    }
    rig.every_stream_ends(SOON);
}

/// Waits until a backend that is alive has the cancel, its own attempt to end the answer or to go on has its reply, and its response is closed.
fn knows_of_the_cancel(backend: &RelayBackend, case: &CancelCase) {
    let has = |holds: &dyn Fn(&Value) -> bool| backend.ledger().iter().any(holds);
    until(SOON, &format!("{}: the backend is notified", case.name()), || {
        has(&|line| {
            let answer = &line["answer"];
            let is_this = answer["channel"] == case.channel && answer["offset"] == case.answer;
            line["type"] == "answer.cancelled" && is_this && line["is_signed"] == true
        })
    });
    until(SOON, &format!("{}: nothing more is taken", case.name()), || {
        has(&|line| {
            let is_over = line["type"] == "refused" || line["type"] == "ended";
            is_over && line["channel"] == case.channel && line["state"] == "cancelled"
        })
    });
    if case.state.has_response() {
        until(SOON, &format!("{}: its response is closed", case.name()), || {
            has(&|line| line["type"] == "closed" && line["channel"] == case.channel)
        });
    }
}
