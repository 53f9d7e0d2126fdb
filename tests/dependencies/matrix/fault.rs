//! The ways in which a dependency fails, and how each ends.

use super::ground::{Ground, Of, Server};
use crate::servers::{Answer, Http, Postgres, Redis, Reply};
use crate::support::SOON;
use crate::support::until;
use seawall_fault::{Direction, Garble, Mode, Pace};
use std::num::NonZeroU32;
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    // Of the server.
    Killed,
    Stopped,
    Frozen,
    // Of the way.
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
    // Of PostgreSQL, and `Standby` of Redis as well.
    ReadOnly,
    Standby,
    ConnectionsTaken,
    /// The role may open no further connection.
    RoleFull,
    CommitsHang,
    // Of Redis.
    MemoryFull,
    DeafChannels,
    Paused,
    Loading,
    // Of an HTTP service.
    Fails,
    FieldWrong,
    Hangs,
    HalfAnswer,
}
use Fault::*;

/// Places of PostgreSQL that are left to others: `max_connections` less those for superusers.
const PLACES: usize = 50 - 3;

fn slow(latency_ms: u64) -> Mode {
    Mode::Slow(Pace { bytes_per_s: None, latency: Duration::from_millis(latency_ms) })
}

impl Fault {
    /// How the proxy behaves meanwhile, and whether connections that are open end with that.
    fn on_the_way(self) -> Option<(Mode, bool)> {
        Some(match self {
            Refused => (Mode::Refuse, true),
            Cut => (Mode::Cut, false),
            Reset => (Mode::Reset, false),
            // Less than any greeting.
            ResetMidAnswer => (Mode::ResetEach(5), true),
            ResetOnce => (Mode::ResetOnce(5), false),
            Stalled => (Mode::Stall, false),
            // A look of four round trips stays well under its timeout of 500 ms.
            Slow => (slow(20), false),
            TooSlow => (slow(1_500), false),
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

impl Ground {
    #[track_caller]
    pub fn strike(&mut self, fault: Fault) {
        if let Some((mode, ends)) = fault.on_the_way() {
            self.proxy.set(mode);
            if ends {
                self.proxy.cut();
            }
            return;
        }
        let free = PLACES.saturating_sub(self.connections());
        match &mut self.server {
            Server::Postgres(server) if fault == ConnectionsTaken => {
                self.occupied = Some(server.occupy(free));
            }
            Server::Postgres(server) => strike_postgres(server, fault),
            Server::Redis(server) => strike_redis(server, fault),
            Server::Http(server) => strike_http(server, fault, self.of),
        }
    }

    /// Connections of clients, as PostgreSQL counts them; settled, as far as can be seen.
    fn connections(&self) -> usize {
        let Server::Postgres(server) = &self.server else { return 0 };
        if !matches!(server.try_sql("SELECT 1"), Ok(one) if one == "1") {
            return 0;
        }
        let count = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
        server.sql(count).parse().expect("a number")
    }

    /// Returns when the service answers again.
    #[track_caller]
    pub fn mend(&mut self, fault: Fault) {
        self.occupied = None;
        if fault.on_the_way().is_some() {
            return self.proxy.set(Mode::Pass);
        }
        match &mut self.server {
            Server::Postgres(server) => mend_postgres(server, fault),
            Server::Redis(server) => mend_redis(server, fault),
            Server::Http(server) => {
                if fault == Stopped {
                    server.start_again();
                }
                self.answer_well();
            }
        }
    }
}

fn strike_postgres(server: &mut Postgres, fault: Fault) {
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
        other => panic!("{other:?} is none of PostgreSQL"),
    }
}

fn mend_postgres(server: &mut Postgres, fault: Fault) {
    match fault {
        Killed | Stopped => server.start_again(),
        Frozen => server.sigcont(),
        ReadOnly => server.read_write(),
        CommitsHang => server.let_commits_go(),
        RoleFull => drop(server.sql("ALTER ROLE seawall CONNECTION LIMIT -1")),
        Standby => server.promote(),
        ConnectionsTaken => {}
        other => panic!("{other:?} is none of PostgreSQL"),
    }
}

/// A pause ends by itself: it stops the command that would end it as well.
const PAUSE_MS: u64 = 3_500;

fn strike_redis(server: &mut Redis, fault: Fault) {
    match fault {
        Killed => server.kill9(),
        Frozen => server.sigstop(),
        MemoryFull => server.out_of_memory(),
        Standby => server.read_only(),
        DeafChannels => server.deny_channels(),
        Paused => server.pause(PAUSE_MS),
        Loading => {
            server.kill9();
            server.start_loading(400);
        }
        other => panic!("{other:?} is none of Redis"),
    }
}

fn mend_redis(server: &mut Redis, fault: Fault) {
    match fault {
        Killed => server.start_again(),
        Frozen => server.sigcont(),
        MemoryFull => server.enough_memory(),
        Standby => server.read_write(),
        DeafChannels => server.allow_channels(),
        Paused | Loading => until(SOON, "it answers", || {
            server.try_command(&["PING"]).is_ok_and(|reply| reply == Reply::Status("PONG".into()))
        }),
        other => panic!("{other:?} is none of Redis"),
    }
}

fn strike_http(server: &mut Http, fault: Fault, of: Of) {
    let answer = match fault {
        Stopped => return server.stop(),
        Fails => Answer::json(503, r#"{"checks":{"db":"ok"}}"#),
        FieldWrong => Answer::json(200, r#"{"checks":{"db":"no"}}"#),
        Hangs => Answer::Hang,
        HalfAnswer => Answer::HalfThenReset { body: r#"{"checks":{"db":"ok"}}"#.into() },
        other => panic!("{other:?} is none of HTTP"),
    };
    let path = if of == Of::Clickhouse { "/" } else { "" };
    server.answer(path, answer);
}
