//! A run: its servers, places and crowds, and the steps from start to verdict.

pub mod cluster;
pub mod crash;
pub mod drain;
pub mod faults;
mod inject;
mod memory;
mod schedule;
pub mod storm;
mod verdict;

use crate::arguments::{Common, Store};
use crate::clock::{self, Micros, rest, wait_until};
use crate::crowd::role::{token, unix_s};
use crate::crowd::{Crowd, Order, Plan, Role, Seen};
use crate::gateway::reader::Reader;
use crate::gateway::{Ended, Life, Place, Program};
use crate::ledger::check::Log;
use crate::ledger::{Excuse, Journal, Ledger, Window};
use crate::servers::{Postgres, Redis};
use crossbeam_channel::{Sender, bounded};
use memory::Sampler;
use seawall_fault::Proxy;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tempfile::TempDir;

/// The interval between clients that connect at an easy pace.
const CONNECT_INTERVAL: Micros = 700;
/// The time limit for all of them to connect.
const CONNECT_WITHIN: Duration = Duration::from_secs(120);
/// The time limit for full recovery after the last fault.
const QUIET_WITHIN: Duration = Duration::from_secs(60);
/// The time limit for a gateway without clients to shut down.
const END_WITHIN: Duration = Duration::from_secs(40);

/// The user who reads the store back: no client has it.
const READER: u32 = u32::MAX;

/// A crowd on its own thread.
pub struct Worker {
    /// Its live counters.
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

    /// Sends an order.
    pub fn send(&self, order: Order) {
        // A thread that has ended is noticed when it is joined.
        let _ = self.orders.send(order);
    }

    /// The number of settled clients.
    pub fn settled(&self) -> u64 {
        Seen::read(&self.seen.settled)
    }
}

/// Lowers the thread's priority. In reality a storm comes from other machines; here its clients share the cores with the
/// gateway that is measured, so they get only what it leaves.
fn step_back() {
    let own = rustix::thread::gettid();
    if let Err(error) = rustix::process::setpriority_process(Some(own), 19) {
        say(&format!("the newcomers' thread keeps its priority: {error}"));
    }
}

pub struct Run {
    /// The number of the run, part of every key.
    pub number: u32,
    /// The gateways' places.
    pub places: Vec<Place>,
    /// All gateway processes so far.
    pub lives: Vec<Life>,
    pub workers: Vec<Worker>,
    /// The excused effects, with their times.
    pub windows: Vec<Window>,
    pub postgres: Option<Postgres>,
    pub redis: Option<Redis>,
    /// The proxies from each place to the database and to the bus.
    pub proxies: Vec<(Proxy, Proxy)>,
    /// Samples the memory of the gateways, if the scenario judges it.
    pub sampler: Option<Sampler>,
    channels: u16,
    common: Common,
    folder: TempDir,
}

/// The network paths with a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proxies {
    None,
    /// Those from gateways to the database and the bus.
    Servers,
    /// Also those from clients to gateways.
    All,
}

/// The servers of a run.
pub struct Setting {
    /// The number of gateways.
    pub gateways: u8,
    /// The number of channels in use.
    pub channels: u16,
    pub proxies: Proxies,
    /// True for a database with `fsync`.
    pub syncs: bool,
}

impl Run {
    /// Starts servers and creates places. No gateway runs yet.
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
            proxies: Vec::new(),
            sampler: None,
            channels: setting.channels,
            common: common.clone(),
            folder,
        };
        if common.store == Store::Postgres {
            say("starting PostgreSQL and Redis");
            let fsync = if setting.syncs { "on" } else { "off" };
            run.postgres = Some(Postgres::start_with(&[("fsync", fsync), ("max_connections", "200")]));
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
            if setting.proxies != Proxies::None {
                let proxy = |to| Proxy::start(to).map_err(|error| format!("no proxy: {error}"));
                let proxies = (proxy(store)?, proxy(bus)?);
                (store, bus) = (proxies.0.address(), proxies.1.address());
                self.proxies.push(proxies);
            }
            place.set("STORE_URL", format!("{}?sslmode=disable", postgres.url_through(store)));
            place.set("BUS_URL", format!("redis://{bus}"));
        }
        if setting.proxies == Proxies::All { place.with_proxy() } else { Ok(place) }
    }

    /// Creates a crowd of `count` clients, spread over all channels. The first crowd writes its journal to the file given by
    /// `--out`.
    pub fn gather<R: Into<Role>>(
        &mut self,
        count: u32,
        role: impl Fn(u32) -> R,
        payload: usize,
    ) -> Result<(), String> {
        let channels = u32::from(self.channels);
        let clients = (0..count).map(|at| (role(at).into(), (at % channels) as u16)).collect();
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

    /// Creates a crowd, starts the first gateway and waits until all clients have connected at an easy pace.
    pub fn gather_and_settle<R: Into<Role>>(
        &mut self,
        connections: u32,
        role: impl Fn(u32) -> R,
        payload: usize,
    ) -> Result<(), String> {
        self.gather(connections, role, payload)?;
        self.start(0)?;
        self.send(&Order::Connect {
            from: 0,
            to: connections,
            over: u64::from(connections) * CONNECT_INTERVAL,
        });
        self.settle(0, u64::from(connections), CONNECT_WITHIN).map(drop)
    }

    /// The number of channels in use.
    pub fn channels(&self) -> u16 {
        self.channels
    }

    /// Sends an order to all crowds.
    pub fn send(&self, order: &Order) {
        self.workers.iter().for_each(|worker| worker.send(order.clone()));
    }

    /// Starts a gateway at a place, announces it to the crowds, and adds it to the rotation.
    pub fn start(&mut self, slot: u8) -> Result<(), String> {
        let Some(place) = self.places.get_mut(usize::from(slot)) else { return Ok(()) };
        let (life, address) = (self.lives.len() as u16, place.address());
        self.workers.iter().for_each(|worker| worker.send(Order::Life { slot, life, address }));
        place.start(&mut self.lives)?;
        if let (Some(sampler), Some(pid)) = (&self.sampler, place.pid()) {
            sampler.watch(life, pid);
        }
        self.send(&Order::Rotation { slot, open: true });
        Ok(())
    }

    /// Waits until `wanted` clients of a crowd are settled. Returns the time it took.
    pub fn settle(&self, worker: usize, wanted: u64, within: Duration) -> Result<Micros, String> {
        let Some(worker) = self.workers.get(worker) else { return Ok(0) };
        let began = clock::now();
        let mut shown = began;
        let came = wait_until(within, || {
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

    /// Excuses these effects from now until [`Run::excuse_ends`].
    pub fn excuse(&mut self, slot: Option<u8>, excuse: Excuse) -> usize {
        self.windows.push(Window { from: clock::now(), to: Micros::MAX / 2, slot, excuse });
        self.windows.len() - 1
    }

    /// Ends an excuse.
    pub fn excuse_ends(&mut self, window: usize) {
        if let Some(window) = self.windows.get_mut(window) {
            window.to = clock::now();
        }
    }

    /// Stops publishing and waits until every publication is resolved and all clients have everything. Anything left is
    /// reported by [`check`].
    pub fn wait_until_complete(&self) -> Result<Micros, String> {
        self.send(&Order::Rate(0.0));
        let began = clock::now();
        let mut still = None;
        let is_quiet = || {
            self.workers.iter().all(|worker| {
                Seen::read(&worker.seen.unresolved) == 0 && Seen::read(&worker.seen.lacking) == 0
            })
        };
        let came = wait_until(QUIET_WITHIN, || {
            if !is_quiet() {
                still = None;
                return false;
            }
            // The numbers are up to a quarter of a second old, and the last messages may still be on their way.
            clock::now() > *still.get_or_insert_with(clock::now) + 3 * clock::SECOND / 2
        });
        if came {
            return Ok(still.unwrap_or(began).saturating_sub(began));
        }
        let left =
            |number: fn(&Seen) -> u64| self.workers.iter().map(|worker| number(&worker.seen)).sum::<u64>();
        Err(format!(
            "{QUIET_WITHIN:?} after the last publish, {} publications are unresolved and {} clients lack something",
            left(|seen| Seen::read(&seen.unresolved)),
            left(|seen| Seen::read(&seen.lacking)),
        ))
    }

    /// Disconnects all clients, shuts every gateway down, and reads the store back through a fresh gateway.
    pub fn finish(&mut self) -> Result<(Ledger, Vec<Log>), String> {
        say("disconnecting all clients");
        self.send(&Order::Finish);
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
        say("shutting down the gateways");
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

    /// Reads all logs through a fresh gateway on the same store.
    fn read_back(&mut self) -> Result<Vec<Log>, String> {
        let number = self.number;
        let channels = 0..self.channels;
        let Some(place) = self.places.first_mut() else { return Ok(Vec::new()) };
        place.set("LIMITS_COMMANDS_PER_S", 0);
        place.set("LIMITS_READ_BYTES_PER_S", 0);
        let mut lives = self.lives.clone();
        place.start(&mut lives)?;
        let arguments = if place.has_auth() {
            format!("{{\"token\":\"{}\"}}", token(READER, unix_s()))
        } else {
            "{}".to_owned()
        };
        let mut reader = Reader::connect(place.direct(), number, &arguments)?;
        let logs = channels.map(|channel| reader.log(channel)).collect();
        drop(reader);
        place.kill9(&mut lives);
        logs
    }

    /// The processes that were asked to shut down.
    pub fn exits(&self) -> Vec<&Life> {
        self.lives.iter().filter(|life| matches!(life.ended, Ended::InOrder { .. })).collect()
    }

    /// Keeps the folder if `--keep` is set, and returns its path.
    pub fn keep(self) -> Option<PathBuf> {
        self.common.keep.then(|| self.folder.keep())
    }
}

/// Prints a line of progress.
pub fn say(text: &str) {
    eprintln!("{:8.3} s  {text}", clock::seconds(clock::now()));
}

/// Publishes for a while and prints progress.
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
