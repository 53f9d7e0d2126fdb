//! One process: its engines and its auth worker. A crash takes all of it.

use super::auth::Auth;
use super::drain::{Drain, PLAN};
use super::shell::Shell;
use fastrand::Rng;
use seawall::clock::Now;
use seawall::engine::{Addresses, Echo, FollowMode, Hosts, LinkTokens, ProxyHeader, Setup};
use seawall::health::report::Report;
use seawall::health::snapshot::Snapshot;
use seawall::id::{InstanceName, ReactorId};
use seawall::job::Outlook;
use seawall::limits::Limits;
use seawall::metrics::scrape::{MetricSources, Metrics};
use seawall::metrics::vitals::Vitals;
use seawall::session::{AuthMode, Policy};
use std::sync::Arc;

const REACTORS: u16 = 2;

pub struct Instance {
    /// The number of its life: answers for an earlier one are dropped.
    pub life: u32,
    pub up: bool,
    pub shells: Vec<Shell>,
    pub auth: Auth,
    /// Set once it has begun to drain.
    pub drain: Option<Drain>,
    pub setup: Arc<Setup>,
    name: InstanceName,
    limits: Limits,
    kind: Kind,
}

/// The features of all processes of a run.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    pub auth: AuthMode,
    pub addresses: Addresses,
    pub follows: FollowMode,
}

impl Kind {
    pub fn draw(rng: &mut Rng) -> Kind {
        Kind {
            auth: if rng.bool() { AuthMode::Required } else { AuthMode::Off },
            addresses: if rng.bool() { Addresses::Counted } else { Addresses::Uncounted },
            follows: if rng.bool() { FollowMode::ByBus } else { FollowMode::Alone },
        }
    }
}

impl Instance {
    pub fn new(name: &str, limits: &Limits, kind: Kind, now: Now) -> Instance {
        let name = InstanceName(Arc::from(name));
        let setup = setup(&name, limits, kind, now);
        let (shells, auth) = (Vec::new(), Auth::default());
        Instance { life: 0, up: false, shells, auth, drain: None, setup, name, limits: limits.clone(), kind }
    }

    pub fn start(&mut self, now: Now, rng: &mut Rng) {
        self.up = true;
        self.life += 1;
        self.auth = Auth::default();
        self.drain = None;
        self.setup = setup(&self.name, &self.limits, self.kind, now);
        self.shells = (0..REACTORS)
            .map(|index| Shell::new(ReactorId(index), &self.setup, now, self.kind.follows, rng.u64(..)))
            .collect();
    }

    /// All its memory is gone; its connections are reset.
    pub fn crash(&mut self) {
        self.up = false;
        self.drain = None;
        self.shells.drain(..).for_each(|shell| shell.reset());
    }
}

pub fn setup(name: &InstanceName, limits: &Limits, kind: Kind, now: Now) -> Arc<Setup> {
    let vitals = Vitals::new(usize::from(REACTORS), 1_000, 2_000, u64::MAX, now.at);
    vitals.drain.revise(PLAN);
    let report = Report { status: 200, body: "{}".into() };
    let sources = MetricSources {
        watch: Arc::default(),
        bus: None,
        cluster: Arc::default(),
        api: None,
        log_dropped: || 0,
    };
    Arc::new(Setup {
        policy: Policy::new(limits, kind.auth, name.clone()),
        origins: Vec::new(),
        hosts: Hosts::Any,
        trusted_proxies: Vec::new(),
        proxy_header: ProxyHeader::Off,
        echo: Echo::Off,
        link_tokens: LinkTokens::Accepted,
        hsts: None,
        addresses: kind.addresses,
        reactors: usize::from(REACTORS),
        vitals: Arc::new(vitals),
        outlook: Arc::new(Outlook::new(Arc::new(Snapshot::ok()), report)),
        metrics: Arc::new(Metrics::new(usize::from(REACTORS), Arc::clone(&name.0), sources)),
    })
}

/// No rates, and little room for slow readers.
pub fn limits_of_streams() -> Limits {
    Limits {
        publishes_per_s: 0,
        publish_bytes_per_s: 0,
        commands_per_s: 0,
        read_bytes_per_s: 0,
        outbox_bytes: 1 << 10,
        outbox_bytes_hard: 64 << 10,
        pending: 64,
        ..Limits::default()
    }
}

/// Small bounds, so that each is hit; short times, so that many rounds fit in a run.
pub fn limits(rng: &mut Rng) -> Limits {
    let outbox_bytes = [1 << 10, 6 << 10, 96 << 10][rng.usize(..3)];
    Limits {
        subscriptions: 6,
        pending: 8,
        publishes_per_s: 20,
        publishes_burst: 40,
        signals_per_s: 100,
        signals_burst: 60,
        commands_per_s: 100,
        commands_burst: 60,
        outbox_bytes,
        outbox_bytes_hard: 4 * outbox_bytes,
        outbox_bytes_total: [80 << 10, 1 << 30][rng.usize(..2)],
        tail_bytes_total: [0, 3_000, 200_000][rng.usize(..3)],
        channels: 10,
        connect_ms: 5_000,
        stall_ms: 8_000,
        ping_ms: 5_000,
        pong_ms: 4_000,
        ..Limits::default()
    }
}
