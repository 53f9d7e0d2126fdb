//! The faults of a dependency, and how each is repaired.

use super::target::{Kind, Server, Target};
use crate::servers::{Answer, Http, Postgres, Redis, Reply};
use crate::support::SOON;
use crate::support::until;
use seawall_fault::{Direction, Garble, Mode, Pace};
use std::num::NonZeroU32;
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    // Faults of the server.
    Killed,
    Stopped,
    Frozen,
    // Faults of the path to it.
    Refused,
    Cut,
    Reset,
    ResetOnce,
    ResetMidAnswer,
    Stalled,
    Slow,
    TooSlow,
    Garbled,
    RequestsHeld,
    AnswersHeld,
    BlackHole,
    Unanswered,
    // Faults of PostgreSQL; `Standby` also of Redis.
    ReadOnly,
    Standby,
    ConnectionsTaken,
    /// The role may open no more connections.
    RoleFull,
    CommitsHang,
    // Faults of Redis.
    MemoryFull,
    DeafChannels,
    Paused,
    Loading,
    // Faults of an HTTP service.
    Fails,
    FieldWrong,
    Hangs,
    HalfAnswer,
}
use Fault::*;

/// The connections of PostgreSQL for ordinary roles: `max_connections` less those reserved for superusers.
const CONNECTIONS_MAX: usize = 50 - 3;

fn slow(latency_ms: u64) -> Mode {
    Mode::Slow(Pace { bytes_per_s: None, latency: Duration::from_millis(latency_ms) })
}

impl Fault {
    /// The proxy's mode during this fault, and whether open connections end when it begins.
    fn on_the_path(self) -> Option<(Mode, bool)> {
        Some(match self {
            Refused => (Mode::Refuse, true),
            Cut => (Mode::Cut, false),
            Reset => (Mode::Reset, false),
            // Fewer bytes than any greeting.
            ResetMidAnswer => (Mode::ResetEach(5), true),
            ResetOnce => (Mode::ResetOnce(5), false),
            Stalled => (Mode::Stall, false),
            // A probe of six round trips stays well under its timeout of 500 ms.
            Slow => (slow(10), false),
            // Longer than a call of a worker may take, so that one direction alone exceeds it.
            TooSlow => (slow(3_000), false),
            Garbled => (Mode::Garble(Garble { seed: 7, every: NonZeroU32::MIN.saturating_add(3) }), false),
            RequestsHeld => (Mode::HalfOpen(Direction::Requests), false),
            AnswersHeld => (Mode::HalfOpen(Direction::Answers), false),
            BlackHole => (Mode::BlackHole, true),
            Unanswered => (Mode::Unanswered, true),
            Killed | Stopped | Frozen | ReadOnly | Standby => return None,
            ConnectionsTaken | RoleFull | CommitsHang => return None,
            MemoryFull | DeafChannels | Paused | Loading => return None,
            Fails | FieldWrong | Hangs | HalfAnswer => return None,
        })
    }
}

impl Target {
    #[track_caller]
    pub fn inject(&mut self, fault: Fault) {
        if let Some((mode, ends)) = fault.on_the_path() {
            self.proxy.set(mode);
            if ends {
                self.proxy.cut();
            }
            return;
        }
        let free = CONNECTIONS_MAX.saturating_sub(self.connections());
        match &mut self.server {
            Server::Postgres(server) if fault == ConnectionsTaken => {
                self.occupied = Some(server.occupy(free));
            }
            Server::Postgres(server) => break_postgres(server, fault),
            Server::Redis(server) => break_redis(server, fault),
            Server::Http(server) => break_http(server, fault, self.kind),
        }
    }

    /// The number of client connections that PostgreSQL counts, or 0 if it cannot be asked.
    fn connections(&self) -> usize {
        let Server::Postgres(server) = &self.server else { return 0 };
        if !matches!(server.try_sql("SELECT 1"), Ok(one) if one == "1") {
            return 0;
        }
        let count = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
        server.sql(count).parse().expect("a number")
    }

    /// Repairs the fault, and returns when the service answers again.
    #[track_caller]
    pub fn repair(&mut self, fault: Fault) {
        self.occupied = None;
        if fault.on_the_path().is_some() {
            return self.proxy.set(Mode::Pass);
        }
        match &mut self.server {
            Server::Postgres(server) => repair_postgres(server, fault),
            Server::Redis(server) => repair_redis(server, fault),
            Server::Http(server) => {
                if fault == Stopped {
                    server.start_again();
                }
                self.answer_well();
            }
        }
    }
}

fn break_postgres(server: &mut Postgres, fault: Fault) {
    match fault {
        Killed => server.kill9(),
        Stopped => server.stop(),
        Frozen => server.sigstop(),
        ReadOnly => server.read_only(),
        CommitsHang => server.hang_commits(),
        RoleFull => drop(server.sql("ALTER ROLE seawall CONNECTION LIMIT 0")),
        Standby => {
            server.stop();
            server.become_standby();
            server.start_again();
        }
        other => panic!("{other:?} is not a fault of PostgreSQL"),
    }
}

fn repair_postgres(server: &mut Postgres, fault: Fault) {
    match fault {
        Killed | Stopped => server.start_again(),
        Frozen => server.sigcont(),
        ReadOnly => server.read_write(),
        CommitsHang => server.let_commits_go(),
        RoleFull => drop(server.sql("ALTER ROLE seawall CONNECTION LIMIT -1")),
        Standby => server.promote(),
        ConnectionsTaken => {}
        other => panic!("{other:?} is not a fault of PostgreSQL"),
    }
}

/// A pause ends by itself, because it also blocks the command that would end it.
const PAUSE_MS: u64 = 3_500;

fn break_redis(server: &mut Redis, fault: Fault) {
    match fault {
        Killed => server.kill9(),
        Frozen => server.sigstop(),
        MemoryFull => server.out_of_memory(),
        Standby => server.read_only(),
        DeafChannels => server.deny_channels(),
        Paused => server.pause(PAUSE_MS),
        Loading => server.restart_loading(400),
        other => panic!("{other:?} is not a fault of Redis"),
    }
}

fn repair_redis(server: &mut Redis, fault: Fault) {
    match fault {
        Killed => server.start_again(),
        Frozen => server.sigcont(),
        MemoryFull => server.enough_memory(),
        Standby => server.read_write(),
        DeafChannels => server.allow_channels(),
        Paused | Loading => until(SOON, "it answers", || {
            server.try_command(&["PING"]).is_ok_and(|reply| reply == Reply::Status("PONG".into()))
        }),
        other => panic!("{other:?} is not a fault of Redis"),
    }
}

fn break_http(server: &mut Http, fault: Fault, kind: Kind) {
    let answer = match fault {
        Stopped => return server.stop(),
        Fails => Answer::json(503, r#"{"checks":{"db":"ok"}}"#),
        FieldWrong => Answer::json(200, r#"{"checks":{"db":"no"}}"#),
        Hangs => Answer::Hang,
        HalfAnswer => Answer::HalfThenReset { body: r#"{"checks":{"db":"ok"}}"#.into() },
        other => panic!("{other:?} is not a fault of HTTP"),
    };
    let path = if kind == Kind::Clickhouse { "/" } else { "" };
    server.answer(path, answer);
}
