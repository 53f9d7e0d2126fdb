//! A running store, SQLite or PostgreSQL, as reactors see it: jobs in, completions out.

use crate::servers::Postgres;
use crate::support::wait::LATE;
use crossbeam_channel::{Receiver, Sender, bounded};
use seawall::hub::Contradiction;
use seawall::id::{ChannelName, Key, Offset, ReactorId, UserName};
use seawall::job::callers::Callers;
use seawall::job::orders::OrderBoard;
use seawall::job::relay::{RelayNotice, RelayNotices, RelayQueue, Routes};
use seawall::job::stream::{ProducerNotice, StreamWork};
use seawall::job::{
    Append, AppendChange, AppendError, Appended, Authority, Completion, Creation, Form, Inbox, Page,
    PageRequest, Read, ReadError, Span, StreamRequest, Ticket, inbox,
};
use seawall::metrics::store::StoreCounters;
use seawall::metrics::streams::StreamCounters;
use seawall::relay::route::RouteTable;
pub use seawall::store::postgres::PostgresConfig;
use seawall::store::postgres::PostgresStore;
use seawall::store::sqlite::{self as store, SqliteConfig, SqliteRoom, SqliteStore};
use seawall::store::{OrderEnds, RelayEnds, Retention, StoreEnds, StreamEnds};
use seawall::stream::StreamSettings;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The promised bound is five seconds; the rest is for a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(45);

/// The store gives a call up after a little more than this time.
pub const GIVES_UP: Duration = Duration::from_millis(2_500);

pub const KEEP_ALL: Retention = Retention { publications: 0, age: None };

pub type Outcome = Result<Appended, AppendError>;

/// A store with running threads, and the lanes of one reactor.
pub struct Rig {
    pub counters: Arc<StoreCounters>,
    append: Sender<Append>,
    read: Sender<Read>,
    /// Commands about streams.
    pub streams: Sender<StreamWork>,
    /// Messages to producers that came before an answer, each with the connection.
    pub notices: Vec<(u64, ProducerNotice)>,
    pub of_streams: Arc<StreamCounters>,
    pub inbox: Inbox,
    requests: u64,
    early: HashMap<u64, Completion>,
    /// The relay of the process, without a route.
    pub relay: RelayQueue,
    pub relayed: Receiver<RelayNotice>,
    pub routes: Arc<Routes>,
    /// The orders of the process.
    pub orders: Arc<OrderBoard>,
    running: Running,
    _poll: mio::Poll,
    _folder: Option<TempDir>,
}

enum Running {
    Sqlite(store::RunningSqlite),
    Postgres(seawall::store::postgres::RunningPostgres),
}

impl Rig {
    pub fn sqlite(retention: Retention, channels_max: u64) -> Rig {
        let folder = tempfile::tempdir().expect("a folder");
        let config = SqliteConfig {
            data: folder.path().to_owned(),
            retention,
            channels_max,
            edits_max: 100,
            room: SqliteRoom::default(),
            readers: 2,
            streams: StreamSettings::default(),
        };
        let store = SqliteStore::open(config).expect("a store");
        let rig = Rig::start(|ends| Running::Sqlite(store.start(ends).expect("threads start")));
        Rig { _folder: Some(folder), ..rig }
    }

    pub fn postgres(server: &Postgres, retention: Retention, channels_max: u64) -> Rig {
        Rig::postgres_with(config(server.url(), retention, channels_max))
    }

    pub fn postgres_with(config: PostgresConfig) -> Rig {
        Rig::relaying(config, RouteTable::default())
    }

    /// The same with these routes.
    pub fn relaying(config: PostgresConfig, routes: RouteTable) -> Rig {
        let store = PostgresStore::open(config).expect("the URL is read");
        let rig = Rig::start(|ends| Running::Postgres(store.start(ends).expect("threads start")));
        rig.routes.replace(routes);
        rig
    }

    fn start(start: impl FnOnce(StoreEnds) -> Running) -> Rig {
        let poll = mio::Poll::new().expect("a poll");
        let (mailbox, inbox) = inbox(mio::Waker::new(poll.registry(), mio::Token(0)).expect("a waker"));
        let (append, appends) = bounded(8_192);
        let (read, reads) = bounded(8_192);
        let (streams, work) = bounded(8_192);
        let of_streams = Arc::new(StreamCounters::default());
        let counters = Arc::new(StoreCounters::default());
        let ends = OrderEnds::alone();
        let orders = Arc::clone(&ends.board);
        let ((relay, requests), (sender, relayed)) = (RelayQueue::new(), RelayNotices::new());
        let routes = Arc::new(Routes::default());
        let running = start(StoreEnds {
            shared_counts: None,
            mailboxes: Arc::from([mailbox]),
            callers: Arc::new(Callers::new(0)),
            appends,
            reads,
            relay: RelayEnds { requests, notices: sender, routes: Arc::clone(&routes) },
            streams: StreamEnds::new(work, Arc::default(), &of_streams),
            counters: Arc::clone(&counters),
            orders: ends,
        });
        Rig {
            counters,
            append,
            read,
            streams,
            notices: Vec::new(),
            of_streams,
            inbox,
            requests: 0,
            early: HashMap::new(),
            relay,
            relayed,
            routes,
            orders,
            running,
            _poll: poll,
            _folder: None,
        }
    }

    /// Waits until every writer of the store is connected and stores.
    pub fn ready(mut self) -> Rig {
        let deadline = Instant::now() + PATIENCE;
        while !self.is_connected() || self.append(plain("ready", "1")).is_err() {
            assert!(Instant::now() < deadline, "{LATE}: the store comes up");
            std::thread::sleep(Duration::from_millis(20));
        }
        self
    }

    /// Returns true if pages are read and every writer is connected. Stores nothing: it edits publications that do not
    /// exist, in many channels, because the writers share the channels.
    pub fn is_connected(&mut self) -> bool {
        let change = AppendChange::Edit(Offset(1), Authority::Author);
        let edit = |n| Append { change, ..plain(&format!("absent{n}"), "1") };
        let sent: Vec<u64> = (0..16).map(|n| self.send(edit(n))).collect();
        let outcomes: Vec<Outcome> = sent.into_iter().map(|request| self.outcome(request)).collect();
        outcomes.iter().all(|outcome| *outcome == Err(AppendError::NotFound))
            && self.heads(&["absent"]).is_ok()
    }

    /// A ticket for the next request, and its number.
    pub fn ticket(&mut self) -> (Ticket, u64) {
        self.requests += 1;
        (Ticket { reactor: ReactorId(0), request: self.requests }, self.requests)
    }

    /// Sends a read of open streams and returns its request number.
    pub fn read_streams(&mut self, request: StreamRequest) -> u64 {
        let (ticket, number) = self.ticket();
        self.read.send(Read::Stream(StreamRequest { ticket, ..request })).expect("readers live");
        number
    }

    /// Takes the messages to producers that have come.
    pub fn hear(&mut self) {
        while let Ok(completion) = self.inbox.answers.try_recv() {
            match completion {
                Completion::Producers(notices) => self.notices.extend(notices),
                Completion::Stream { ticket, .. } | Completion::Appended { ticket, .. } => {
                    self.early.insert(ticket.request, completion);
                }
                other => panic!("{other:?}"),
            }
        }
    }

    /// Sends an append and returns its request number.
    pub fn send(&mut self, job: Append) -> u64 {
        self.requests += 1;
        let ticket = Ticket { reactor: ReactorId(0), request: self.requests };
        self.append.send(Append { ticket, ..job }).expect("the store lives");
        self.requests
    }

    pub fn completion(&mut self, request: u64) -> Completion {
        loop {
            if let Some(completion) = self.early.remove(&request) {
                return completion;
            }
            let completion = self.inbox.answers.recv_timeout(PATIENCE).expect("an answer");
            if let Completion::Producers(notices) = completion {
                self.notices.extend(notices);
                continue;
            }
            let ticket = match &completion {
                Completion::Appended { ticket, .. }
                | Completion::Page { ticket, .. }
                | Completion::Heads { ticket, .. }
                | Completion::Followed { ticket }
                | Completion::TokenChecked { ticket, .. }
                | Completion::AddressChecked { ticket, .. }
                | Completion::Presence { ticket, .. }
                | Completion::Stream { ticket, .. }
                | Completion::StreamRead { ticket, .. }
                | Completion::StreamEnded { ticket, .. }
                | Completion::ReportTaken { ticket, .. } => *ticket,
                Completion::Producers(_) => unreachable!("taken above"),
            };
            self.early.insert(ticket.request, completion);
        }
    }

    pub fn outcome(&mut self, request: u64) -> Outcome {
        match self.completion(request) {
            Completion::Appended { outcome, .. } => outcome,
            other => panic!("{other:?}"),
        }
    }

    /// The next answer to any append, or `None` if there is none within `patience`.
    pub fn next(&mut self, patience: Duration) -> Option<(u64, Outcome)> {
        let early = self.early.keys().next().copied().and_then(|request| self.early.remove(&request));
        match early.or_else(|| self.inbox.answers.recv_timeout(patience).ok())? {
            Completion::Appended { ticket, outcome } => Some((ticket.request, outcome)),
            other => panic!("{other:?}"),
        }
    }

    pub fn append(&mut self, job: Append) -> Outcome {
        let request = self.send(job);
        self.outcome(request)
    }

    /// Appends, which must succeed, and returns the offset.
    #[track_caller]
    pub fn offset(&mut self, job: Append) -> u64 {
        let begun = Instant::now();
        let outcome = self.append(job);
        // A call that PostgreSQL does not answer in time is given up.
        let fault = if begun.elapsed() < GIVES_UP { "not stored" } else { LATE };
        outcome.unwrap_or_else(|error| panic!("{fault}: {error:?}")).offset.0
    }

    pub fn page(&mut self, request: PageRequest) -> Result<Page, ReadError> {
        self.requests += 1;
        let ticket = Ticket { reactor: ReactorId(0), request: self.requests };
        self.read.send(Read::Page(PageRequest { ticket, ..request })).expect("readers live");
        match self.completion(self.requests) {
            Completion::Page { outcome, .. } => outcome,
            other => panic!("{other:?}"),
        }
    }

    pub fn heads(&mut self, names: &[&str]) -> Result<Vec<(u64, u64)>, ReadError> {
        self.heads_since(names.iter().map(|text| (name(text), Offset::ZERO)).collect())
    }

    /// Heads of channels that are known to have had these.
    pub fn heads_since(
        &mut self,
        channels: Vec<(ChannelName, Offset)>,
    ) -> Result<Vec<(u64, u64)>, ReadError> {
        self.requests += 1;
        let ticket = Ticket { reactor: ReactorId(0), request: self.requests };
        self.read.send(Read::Heads { ticket, channels }).expect("readers live");
        match self.completion(self.requests) {
            Completion::Heads { outcome, .. } => {
                outcome.map(|all| all.iter().map(|(_, at)| (at.head.0, at.floor.0)).collect())
            }
            other => panic!("{other:?}"),
        }
    }

    /// Reports that a log lost publications, as a reactor does.
    pub fn contradict(&mut self, contradiction: Contradiction) {
        self.read.send(Read::Contradicted(Box::new(contradiction))).expect("readers live");
    }

    /// All publications of a channel, read page by page.
    pub fn all(&mut self, channel: &str) -> Vec<serde_json::Value> {
        let (mut all, mut after) = (Vec::new(), Offset::ZERO);
        loop {
            let deadline = Instant::now() + PATIENCE;
            let page = loop {
                match self.page(request(channel, Span::After(after))) {
                    Ok(page) => break page,
                    Err(error) => assert!(Instant::now() < deadline, "{LATE}: {error:?}"),
                }
            };
            if page.count == 0 {
                return all;
            }
            after = page.last;
            all.extend(publications(&page));
        }
    }

    /// Returns true if the store's epoch was replaced while it ran.
    pub fn has_lost_its_epoch(&self) -> bool {
        match &self.running {
            Running::Sqlite(_) => false,
            Running::Postgres(running) => running.replaced_epoch().is_some(),
        }
    }

    pub fn close(self) {
        drop((self.append, self.read, self.streams));
        match self.running {
            Running::Sqlite(running) => running.join(),
            Running::Postgres(running) => running.join(),
        }
    }
}

pub fn config(url: String, retention: Retention, channels_max: u64) -> PostgresConfig {
    PostgresConfig {
        url,
        retention,
        bytes_max: 0,
        channels_max,
        edits_max: 100,
        writers: 2,
        readers: 2,
        source: None,
        member: None,
        instance: "test-1".into(),
        evidence: None,
        outlook: None,
        streams: StreamSettings::default(),
    }
}

pub fn name(text: &str) -> ChannelName {
    ChannelName::parse(text).expect("a channel name")
}

pub fn append(channel: &str, user: &str, key: Option<&str>, data: &str) -> Append {
    Append {
        ticket: Ticket { reactor: ReactorId(0), request: 0 },
        channel: name(channel),
        user: UserName::parse(user).expect("a user name"),
        key: key.map(|key| Key::parse(key).expect("a key")),
        change: AppendChange::Original,
        creation: Creation::Free,
        stream: None,
        claims: None,
        data: data.into(),
    }
}

/// An append without a key by `ann`.
pub fn plain(channel: &str, data: &str) -> Append {
    append(channel, "ann", None, data)
}

pub fn keyed(channel: &str, key: &str) -> Append {
    append(channel, "ann", Some(key), "1")
}

pub fn request(channel: &str, span: Span) -> PageRequest {
    PageRequest {
        ticket: Ticket { reactor: ReactorId(0), request: 0 },
        channel: name(channel),
        span,
        limit: 300,
        bytes_max: 256 << 10,
        form: Form::Json,
    }
}

pub fn publications(page: &Page) -> Vec<serde_json::Value> {
    let body = std::str::from_utf8(&page.body).expect("UTF-8");
    serde_json::from_str(&format!("[{body}]")).expect("JSON")
}

pub fn offsets(all: &[serde_json::Value]) -> Vec<u64> {
    all.iter().map(|value| value["offset"].as_u64().expect("an offset")).collect()
}
