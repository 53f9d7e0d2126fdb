//! A run: what it stands on, the crowds that are at work, and how it comes to an end and to a verdict.

pub mod crash;
pub mod drain;
pub mod faults;
mod schedule;
pub mod storm;
mod verdict;

use crate::arguments::{Common, Store};
use crate::clock::{self, Micros, comes_true, rest};
use crate::crowd::{Crowd, Kind, Order, Plan, Seen};
use crate::ledger::check::Log;
use crate::ledger::{Excuse, Journal, Ledger, Window};
use crate::servers::{Postgres, Redis};
use crate::stand::reader::Reader;
use crate::stand::{Ended, Life, Place, Program};
use crossbeam_channel::{Sender, bounded};
use seawall_fault::Proxy;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tempfile::TempDir;

/// Between two clients of a crowd that comes at leisure.
const COME_APART: Micros = 700;
/// All of it must have come within this.
const COME_WITHIN: Duration = Duration::from_secs(120);
/// Everything must be whole again within this, once the last fault is over.
const QUIET_WITHIN: Duration = Duration::from_secs(60);
/// A gateway that nobody uses must end within this.
const END_WITHIN: Duration = Duration::from_secs(40);

/// A crowd on its thread.
pub struct Worker {
    /// What it shows.
    pub seen: Arc<Seen>,
    orders: Sender<Order>,
    thread: JoinHandle<io::Result<Ledger>>,
}

impl Worker {
    fn start(plan: Plan, journal: Journal, place: usize) -> Result<Worker, String> {
        let seen = Arc::new(Seen::default());
        let (orders, received) = bounded(1_024);
        let crowd =
            Crowd::new(plan, journal, Arc::clone(&seen)).map_err(|error| format!("no epoll: {error}"))?;
        let body = move || {
            if place > 0 {
                step_back();
            }
            crowd.run(&received)
        };
        let thread = std::thread::Builder::new().name("crowd".into()).spawn(body);
        Ok(Worker { seen, orders, thread: thread.map_err(|error| format!("no thread: {error}"))? })
    }

    /// Tells it something.
    pub fn tell(&self, order: Order) {
        // One whose thread has ended is found when it is joined.
        let _ = self.orders.send(order);
    }

    /// How many clients are settled.
    pub fn settled(&self) -> u64 {
        Seen::read(&self.seen.settled)
    }
}

/// A storm comes from other machines. Here its clients share the cores with what is measured, so they get what that leaves.
fn step_back() {
    let own = rustix::thread::gettid();
    if let Err(error) = rustix::process::setpriority_process(Some(own), 19) {
        say(&format!("the newcomers' thread keeps its priority: {error}"));
    }
}

/// A run.
pub struct Run {
    /// The number of the run, in every key.
    pub number: u32,
    /// The gateways' places.
    pub places: Vec<Place>,
    /// All processes so far.
    pub lives: Vec<Life>,
    /// The crowds.
    pub workers: Vec<Worker>,
    /// What is excused, and when.
    pub windows: Vec<Window>,
    /// The database.
    pub postgres: Option<Postgres>,
    /// The bus.
    pub redis: Option<Redis>,
    /// The ways of each place to the database and to the bus.
    pub ways: Vec<(Proxy, Proxy)>,
    channels: u16,
    common: Common,
    folder: TempDir,
}

/// What a run stands on.
pub struct Setting {
    /// How many gateways.
    pub gateways: u8,
    /// Channels that are used.
    pub channels: u16,
    /// With proxies everywhere.
    pub with_proxies: bool,
    /// With a database that syncs.
    pub syncs: bool,
}

impl Run {
    /// Starts servers and makes places; no gateway runs yet.
    pub fn new(common: &Common, program: &Program, setting: &Setting) -> Result<Run, String> {
        let folder = tempfile::Builder::new().prefix("seawall-ledger-").tempdir();
        let folder = folder.map_err(|error| format!("no temporary folder: {error}"))?;
        let mut run = Run {
            number: fastrand::u32(..),
            places: Vec::new(),
            lives: Vec::new(),
            workers: Vec::new(),
            windows: Vec::new(),
            postgres: None,
            redis: None,
            ways: Vec::new(),
            channels: setting.channels,
            common: common.clone(),
            folder,
        };
        if common.store == Store::Postgres {
            say("starting PostgreSQL and Redis");
            let fsync = if setting.syncs { "on" } else { "off" };
            run.postgres = Some(Postgres::start_with(&[("fsync", fsync), ("max_connections", "100")]));
            run.redis = Some(Redis::start());
        }
        for slot in 0..setting.gateways {
            let place = run.place(slot, program, setting)?;
            run.places.push(place);
        }
        Ok(run)
    }

    fn place(&mut self, slot: u8, program: &Program, setting: &Setting) -> Result<Place, String> {
        let mut place = Place::new(slot, program, self.folder.path())?;
        if let (Some(postgres), Some(redis)) = (&self.postgres, &self.redis) {
            let (mut store, mut bus) = (postgres.address(), redis.address());
            if setting.with_proxies {
                let proxy = |to| Proxy::start(to).map_err(|error| format!("no proxy: {error}"));
                let ways = (proxy(store)?, proxy(bus)?);
                (store, bus) = (ways.0.address(), ways.1.address());
                self.ways.push(ways);
            }
            place.set("STORE_URL", format!("{}?sslmode=disable", postgres.url_through(store)));
            place.set("BUS_URL", format!("redis://{bus}"));
        }
        if setting.with_proxies { place.with_proxy() } else { Ok(place) }
    }

    /// A crowd of so many clients, each of its kind, over all channels in turn; the first crowd's ledger is written to
    /// the file that was asked for.
    pub fn gather(&mut self, count: u32, kind: impl Fn(u32) -> Kind, payload: usize) -> Result<(), String> {
        let channels = u32::from(self.channels);
        let clients = (0..count).map(|at| (kind(at), (at % channels) as u16)).collect();
        let journal = match &self.common.out {
            Some(path) if self.workers.is_empty() => {
                Journal::to(path).map_err(|error| format!("{}: {error}", path.display()))?
            }
            Some(_) | None => Journal::default(),
        };
        let base = if self.workers.is_empty() { 0 } else { 20_000 };
        let plan = Plan { run: self.number, clients, base, payload };
        self.workers.push(Worker::start(plan, journal, self.workers.len())?);
        Ok(())
    }

    /// Gathers a crowd, starts the first gateway and waits until everybody has come there at leisure.
    pub fn gather_and_settle(
        &mut self,
        connections: u32,
        kind: impl Fn(u32) -> Kind,
        payload: usize,
    ) -> Result<(), String> {
        self.gather(connections, kind, payload)?;
        self.start(0)?;
        self.tell(&Order::Come { from: 0, to: connections, over: u64::from(connections) * COME_APART });
        self.settle(0, u64::from(connections), COME_WITHIN).map(drop)
    }

    /// Tells all crowds.
    pub fn tell(&self, order: &Order) {
        self.workers.iter().for_each(|worker| worker.tell(order.clone()));
    }

    /// Starts a gateway at a place, after the crowds know of it, and leads clients there.
    pub fn start(&mut self, slot: u8) -> Result<(), String> {
        let Some(place) = self.places.get_mut(usize::from(slot)) else { return Ok(()) };
        let (life, address) = (self.lives.len() as u16, place.address());
        self.workers.iter().for_each(|worker| worker.tell(Order::Life { slot, life, address }));
        place.start(&mut self.lives)?;
        self.tell(&Order::Rotation { slot, open: true });
        Ok(())
    }

    /// Waits until so many clients of a crowd are settled; how long that took.
    pub fn settle(&self, worker: usize, wanted: u64, within: Duration) -> Result<Micros, String> {
        let Some(worker) = self.workers.get(worker) else { return Ok(0) };
        let began = clock::now();
        let mut shown = began;
        let came = comes_true(within, || {
            if clock::now() > shown + clock::SECOND {
                shown = clock::now();
                say(&format!("{} of {wanted} connected", worker.settled()));
            }
            worker.settled() >= wanted || worker.thread.is_finished()
        });
        if came && worker.settled() >= wanted {
            return Ok(clock::now() - began);
        }
        Err(format!("{} of {wanted} clients are connected after {within:?}", worker.settled()))
    }

    /// Something is excused from now on, until [`Run::excuse_ends`].
    pub fn excuse(&mut self, slot: Option<u8>, excuse: Excuse) -> usize {
        self.windows.push(Window { from: clock::now(), to: Micros::MAX / 2, slot, excuse });
        self.windows.len() - 1
    }

    /// What was excused is so no more.
    pub fn excuse_ends(&mut self, window: usize) {
        if let Some(window) = self.windows.get_mut(window) {
            window.to = clock::now();
        }
    }

    /// Nobody publishes any more: waits until every publication is resolved and everybody has everything. What is left
    /// over is a finding of the check.
    pub fn come_to_rest(&self) -> Result<Micros, String> {
        self.tell(&Order::Rate(0.0));
        let began = clock::now();
        let mut still = None;
        let is_quiet = || {
            self.workers.iter().all(|worker| {
                Seen::read(&worker.seen.unresolved) == 0 && Seen::read(&worker.seen.lacking) == 0
            })
        };
        let came = comes_true(QUIET_WITHIN, || {
            if !is_quiet() {
                still = None;
                return false;
            }
            // Its numbers are a quarter of a second old, and what was said last may be on its way.
            clock::now() > *still.get_or_insert_with(clock::now) + 3 * clock::SECOND / 2
        });
        if came {
            return Ok(still.unwrap_or(began).saturating_sub(began));
        }
        let left =
            |number: fn(&Seen) -> u64| self.workers.iter().map(|worker| number(&worker.seen)).sum::<u64>();
        Err(format!(
            "{QUIET_WITHIN:?} after the last publish {} publications are unresolved, and {} clients lack something",
            left(|seen| Seen::read(&seen.unresolved)),
            left(|seen| Seen::read(&seen.lacking)),
        ))
    }

    /// Everybody leaves, every gateway is ended in order, and the store is read back through a fresh one.
    pub fn finish(&mut self) -> Result<(Ledger, Vec<Log>), String> {
        say("everybody leaves");
        self.tell(&Order::Finish);
        let mut whole: Option<Ledger> = None;
        for worker in self.workers.drain(..) {
            let ledger = worker.thread.join().map_err(|_| "a crowd's thread panicked".to_owned())?;
            let ledger = ledger.map_err(|error| format!("a crowd ended early: {error}"))?;
            match &mut whole {
                Some(whole) => whole.absorb(ledger),
                None => whole = Some(ledger),
            }
        }
        for place in &self.places {
            place.read_final_page(&mut self.lives)?;
        }
        say("ending the gateways");
        for place in &mut self.places {
            if let Some(life) = place.life() {
                let page = self.lives.get(usize::from(life)).and_then(|life| life.page.clone());
                place.drain(&mut self.lives, END_WITHIN)?;
                if let Some(life) = self.lives.get_mut(usize::from(life)) {
                    (life.page, life.is_page_final) = (page, true);
                }
            }
        }
        say("reading the store back");
        let logs = self.read_back()?;
        whole.map(|ledger| (ledger, logs)).ok_or_else(|| "there was no crowd".to_owned())
    }

    /// A fresh gateway on the same store.
    fn read_back(&mut self) -> Result<Vec<Log>, String> {
        let number = self.number;
        let channels = 0..self.channels;
        let Some(place) = self.places.first_mut() else { return Ok(Vec::new()) };
        place.set("LIMITS_COMMANDS_PER_S", 0);
        let mut lives = self.lives.clone();
        place.start(&mut lives)?;
        let mut reader = Reader::connect(place.direct(), number)?;
        let logs = channels.map(|channel| reader.log(channel)).collect();
        drop(reader);
        place.kill9(&mut lives);
        logs
    }

    /// Every process that was asked to end did so in order.
    pub fn exits(&self) -> Vec<&Life> {
        self.lives.iter().filter(|life| matches!(life.ended, Ended::InOrder { .. })).collect()
    }

    /// Keeps the folder if that was asked for; where it is.
    pub fn keep(self) -> Option<PathBuf> {
        self.common.keep.then(|| self.folder.keep())
    }
}

/// One line of progress.
pub fn say(text: &str) {
    eprintln!("{:8.3} s  {text}", clock::seconds(clock::now()));
}

/// Publishes for a while and shows how it goes.
pub fn watch(run: &Run, length: Duration) {
    let until = clock::now() + clock::micros(length);
    while clock::now() < until {
        rest(Duration::from_secs(5).min(Duration::from_micros(until - clock::now())));
        let sum =
            |number: fn(&Seen) -> u64| run.workers.iter().map(|worker| number(&worker.seen)).sum::<u64>();
        say(&format!(
            "{} settled, {} lack something, {} stored, {} unresolved",
            sum(|seen| Seen::read(&seen.settled)),
            sum(|seen| Seen::read(&seen.lacking)),
            sum(|seen| Seen::read(&seen.stored)),
            sum(|seen| Seen::read(&seen.unresolved)),
        ));
    }
}
