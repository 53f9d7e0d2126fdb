//! Questions and answers: two processes with the real ledger and the real decisions of the relay, one store, and a backend that
//! answers, fails and dies. Checks the promises of `docs/streams.md` (S1 to S6) for answers, and those of `docs/relay.md` (R1 to R4).

use super::answer_backend::{AnswerBackend, Mood};
use super::answer_checks::AnswerChecks;
use super::answer_instance::{AnswerInstance, AnswerOrder, Line, StoreFaults};
use super::answer_reading::IDLE;
use super::answer_relay::{AnswerRelay, RelayStage};
use super::answer_rows::ProcessNumber;
use super::answer_store::AnswerStore;
use super::answer_text::RunStage;
use super::trace::Trace;
use super::world::Phase;
use fastrand::Rng;
use seawall::clock::{Moment, Now};
use seawall::id::pattern::ChannelPattern;
use seawall::id::{ChannelName, Offset, UserName};
use seawall::job::CancelAuthority;
use seawall::job::stream::StreamOrder;
use seawall::relay::route::{AnswerMode, ChannelOrder, RelayRoute, RelayedKind, RelayedKinds, RouteTable};
use seawall::stream::StreamSettings;
use seawall::wire::stream::StreamId;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

const INSTANCES: usize = 2;
const STEPS: u32 = 900;
const CHANNELS: [&str; 4] = ["thread.1", "thread.2", "serial.1", "room.1"];
/// With everything at work again, each question is settled and each answer has ended within this: a wait of the relay, a claim of a
/// process that is gone, the end that the ledger makes without the relay, and the looks at the store.
const SETTLED_WITHIN: Duration = Duration::from_secs(60 + 30 + 90 + 40);
const GIVE_UP: Duration = Duration::from_secs(25);

/// A process, and the time until which it is stopped.
struct Process {
    instance: AnswerInstance,
    relay: AnswerRelay,
    stopped_until: Moment,
    is_draining: bool,
}

/// A question of which its user does not know that it is stored.
#[derive(Clone, Debug)]
struct Wish {
    channel: ChannelName,
    user: UserName,
    key: String,
}

pub struct AnswerWorld {
    now: Now,
    rng: Rng,
    trace: Rc<Trace>,
    store: AnswerStore,
    processes: Vec<Process>,
    backend: AnswerBackend,
    faults: StoreFaults,
    wishes: Vec<Wish>,
    /// All that were stored.
    questions: Vec<(ChannelName, Offset)>,
    sent: BTreeMap<ChannelName, u64>,
    checks: AnswerChecks,
    keys: u64,
    numbers: u64,
}

pub fn settings() -> StreamSettings {
    StreamSettings {
        idle: IDLE,
        orphan: Duration::from_secs(4),
        cancel: Duration::from_secs(3),
        life: Duration::from_secs(40),
        open_per_channel: 8,
        message_bytes: 4_000,
        ..StreamSettings::default()
    }
}

fn assistant() -> UserName {
    UserName::parse("assistant").expect("a user")
}

fn route(name: &str, pattern: &str, order: ChannelOrder, answers: AnswerMode) -> RelayRoute {
    RelayRoute {
        name: name.into(),
        pattern: ChannelPattern::parse(pattern).expect("a pattern"),
        url: "http://backend/".into(),
        user: assistant(),
        answers,
        kinds: RelayedKinds::NONE.with(RelayedKind::Original),
        skip_users: Vec::new(),
        claims: Vec::new(),
        publish: Vec::new(),
        dependency: None,
        secrets: Vec::new(),
        timeout: Duration::from_secs(2),
        concurrency: 3,
        order,
        give_up: GIVE_UP,
        answer: Duration::from_secs(6),
    }
}

impl Process {
    fn new(number: u64, table: &RouteTable, now: Now) -> Process {
        Process {
            instance: AnswerInstance::new(ProcessNumber(number), settings(), now),
            relay: AnswerRelay::new(table, now),
            stopped_until: now.at,
            is_draining: false,
        }
    }
}

impl AnswerWorld {
    pub fn new(seed: u64, trace: Rc<Trace>) -> AnswerWorld {
        let now = Now { at: Moment::from_micros(3_600_000_000), unix_ms: 1_763_770_000_000 };
        let table = RouteTable::new(vec![
            route("threads", "thread.*", ChannelOrder::Taken, AnswerMode::Stored),
            route("serial", "serial.*", ChannelOrder::Answered, AnswerMode::Stored),
            route("rooms", "room.*", ChannelOrder::Taken, AnswerMode::None),
        ]);
        AnswerWorld {
            now,
            rng: Rng::with_seed(seed),
            trace,
            processes: (0..INSTANCES as u64).map(|number| Process::new(number, &table, now)).collect(),
            store: AnswerStore::new(table, settings()),
            backend: AnswerBackend::new(),
            faults: StoreFaults::default(),
            wishes: Vec::new(),
            questions: Vec::new(),
            sent: BTreeMap::new(),
            checks: AnswerChecks::new(INSTANCES),
            keys: 0,
            numbers: INSTANCES as u64,
        }
    }

    pub fn run(&mut self) {
        for _ in 0..STEPS {
            self.trouble();
            self.people();
            self.step(Phase::Faults);
        }
        self.settle();
    }

    /// Draws the faults of a step.
    fn trouble(&mut self) {
        let at = self.rng.usize(..INSTANCES);
        match self.rng.u16(..1_500) {
            0..3 => self.crash(at),
            3..6 => {
                let stop = [500, 4_000, 12_000, 40_000][self.rng.usize(..4)];
                self.trace.note(self.now, || format!("process {at} is stopped for {stop} ms"));
                self.processes[at].stopped_until = self.now.at + Duration::from_millis(stop);
            }
            6..8 => self.processes[at].is_draining = true,
            8..30 => self.faults.failing = [0, 0, 0, 10, 40, 100][self.rng.usize(..6)],
            30..45 => self.backend.mood = [Mood::Good, Mood::Bad, Mood::Bad, Mood::Dead][self.rng.usize(..4)],
            _ => {}
        }
    }

    /// The process is killed, and another one starts.
    fn crash(&mut self, at: usize) {
        self.trace.note(self.now, || format!("process {at} is killed"));
        let process = &mut self.processes[at];
        process.instance.crash(&mut self.store, self.now, &mut self.rng);
        process.relay.crash(&mut self.backend);
        self.numbers += 1;
        *process = Process::new(self.numbers, &self.store.table, self.now);
        self.backend.runs.iter_mut().for_each(|run| run.lose(at));
        self.checks.lose_reader(at);
    }

    /// A process that is not stopped.
    fn serving(&mut self) -> Option<usize> {
        let at = self.rng.usize(..INSTANCES);
        (self.processes[at].stopped_until <= self.now.at).then_some(at)
    }

    /// Users ask, cancel and delete.
    fn people(&mut self) {
        if self.rng.u8(..30) == 0 {
            self.keys += 1;
            let channel = ChannelName::parse(CHANNELS[self.rng.usize(..CHANNELS.len())]).expect("valid");
            let user = UserName::parse(["ann", "bob"][self.rng.usize(..2)]).expect("valid");
            self.wishes.push(Wish { channel, user, key: self.keys.to_string() });
        }
        let Some(at) = self.serving() else { return };
        let (now, line) = (self.now, self.faults.draw(&mut self.rng));
        if self.rng.u8(..4) == 0
            && let Some(wish) = self.wishes.first().cloned()
        {
            let instance = &mut self.processes[at].instance;
            let asked = instance.ask(&mut self.store, (&wish.channel, &wish.user, &wish.key), now, line);
            if let Some(offset) = asked {
                self.wishes.remove(0);
                self.trace.note(now, || format!("question {offset} of {} at {at}", wish.channel));
                self.questions.push((wish.channel, offset));
            } else {
                self.wishes.rotate_left(1);
            }
        }
        if self.questions.is_empty() {
            return;
        }
        let newest = self.questions.len() - 1 - self.rng.usize(..self.questions.len().min(4));
        let (channel, question) = self.questions[newest].clone();
        match self.rng.u16(..200) {
            0..4 => self.cancel(at, &channel, question, line),
            4 => {
                self.trace.note(now, || format!("{question} of {channel} is deleted at {at}"));
                let instance = &mut self.processes[at].instance;
                instance.delete(&mut self.store, (&channel, question), now, line);
            }
            _ => {}
        }
    }

    fn cancel(&mut self, at: usize, channel: &ChannelName, question: Offset, line: Line) {
        let id = StreamId { channel: channel.clone(), offset: question.next() };
        if !self.store.streams.contains_key(&id) {
            return;
        }
        self.trace.note(self.now, || format!("{question} of {channel} is cancelled at {at}"));
        let user = self.store.streams[&id].stream.options.asker.clone().expect("an asker");
        self.checks.cancelled.insert(id.clone());
        let order = StreamOrder::Cancel { authority: CancelAuthority::Reader };
        let instance = &mut self.processes[at].instance;
        let (connection, ticket) = (instance.number(), Some(instance.number()));
        instance.order(AnswerOrder { connection, ticket, id, user, order }, &self.store, self.now, line);
    }

    fn step(&mut self, phase: Phase) {
        let pause = match (phase, self.rng.u8(..20)) {
            (Phase::Faults, 0) => self.rng.u64(500..4_000),
            (Phase::Faults, _) => self.rng.u64(3..60),
            (Phase::Calm, _) => self.rng.u64(20..200),
        };
        self.now.at = self.now.at + Duration::from_millis(pause);
        self.now.unix_ms += pause;
        for at in 0..INSTANCES {
            self.turn(at);
        }
        self.write();
        self.checks.check(&self.store, &self.backend);
    }

    fn turn(&mut self, at: usize) {
        let (now, process) = (self.now, &mut self.processes[at]);
        if process.stopped_until > now.at {
            return;
        }
        process.instance.turn(&mut self.store, self.faults, now, &mut self.rng);
        if std::mem::take(&mut process.is_draining) {
            process.relay.drain(&mut process.instance);
        }
        process.relay.turn(&mut RelayStage {
            now,
            store: &self.store,
            faults: self.faults,
            instance: &mut process.instance,
            backend: &mut self.backend,
            rng: &mut self.rng,
            trace: &self.trace,
            sent: &mut self.sent,
        });
        assert!(process.instance.bytes() <= settings().memory_bytes, "S6");
        for news in std::mem::take(&mut process.instance.news) {
            self.trace.note(now, || format!("news at {at}: {:?} {:?}", news.id, news.generation));
            self.checks.hear(at, &news, &self.store, &mut self.rng);
        }
    }

    /// The runs of the backend write.
    fn write(&mut self) {
        let (now, user) = (self.now, assistant());
        let is_up = |process: &&mut Process| process.stopped_until <= now.at;
        let mut instances: Vec<Option<&mut AnswerInstance>> = self
            .processes
            .iter_mut()
            .map(|process| Some(process).filter(is_up).map(|process| &mut process.instance))
            .collect();
        let acknowledged = &mut self.checks.acknowledged;
        let (store, faults, instances) = (&self.store, self.faults, &mut instances[..]);
        let mut stage = RunStage { now, store, instances, faults, acknowledged, user: &user };
        for run in &mut self.backend.runs {
            run.act(&mut stage, &mut self.rng);
        }
    }

    fn settle(&mut self) {
        self.trace.note(self.now, || "calm".into());
        self.faults = StoreFaults::default();
        self.backend.mood = Mood::Good;
        for at in 0..INSTANCES {
            self.processes[at].stopped_until = self.now.at;
            if self.processes[at].relay.is_draining() {
                self.crash(at);
            }
        }
        let begun = self.now;
        while let Some(left) = self.checks.left(&self.store) {
            self.step(Phase::Calm);
            self.checks.check_deadlines(&self.store, begun.unix_ms, self.now.unix_ms);
            assert!(self.now.at.since(begun.at) < SETTLED_WITHIN, "R1, S4: {left}");
        }
        self.checks.finish(&self.store, &self.backend, &self.questions);
    }
}
