//! A dependency of each kind with the way to it, and what a gateway is told of it.

use super::table::{Pace, Row, Weight};
use crate::dependencies::stand::{self, Behind};
use crate::servers::postgres::Occupied;
use crate::servers::{Answer, Http as HttpServer, Postgres, Redis as RedisServer};
use crate::support::Setup;
use seawall_fault::Proxy;

/// Threads of a gateway's store that have a connection: two append, two read, one deletes what is old.
const WORKERS: usize = 5;

/// Which dependency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// `store.url`: PostgreSQL.
    Store,
    Redis,
    Http,
    Tcp,
    Clickhouse,
}

pub enum Server {
    Postgres(Postgres),
    Redis(RedisServer),
    /// Stands in for whatever accepts TCP or speaks HTTP.
    Http(HttpServer),
}

/// A dependency that fails on command, and comes back.
pub struct Ground {
    pub of: Of,
    pub server: Server,
    pub proxy: Proxy,
    pub occupied: Option<Occupied>,
}

impl Ground {
    #[track_caller]
    pub fn new(of: Of) -> Ground {
        let (server, proxy) = match of {
            Of::Store => {
                let Behind { server, proxy } = stand::postgres();
                (Server::Postgres(server), proxy)
            }
            Of::Redis => {
                let Behind { server, proxy } = stand::redis();
                (Server::Redis(server), proxy)
            }
            Of::Http | Of::Tcp | Of::Clickhouse => {
                let Behind { server, proxy } = stand::http();
                (Server::Http(server), proxy)
            }
        };
        let ground = Ground { of, server, proxy, occupied: None };
        ground.answer_well();
        ground
    }

    /// What an HTTP service answers while nothing is wrong with it.
    pub fn answer_well(&self) {
        let Server::Http(http) = &self.server else { return };
        match self.of {
            Of::Clickhouse => {
                http.answer("/ping", Answer::json(200, "Ok.\n"));
                http.answer("/", Answer::json(200, "1\n"));
            }
            Of::Store | Of::Redis | Of::Http | Of::Tcp => {
                http.answer("", Answer::json(200, r#"{"checks":{"db":"ok"}}"#));
            }
        }
    }

    /// The name that people are told.
    pub fn name(&self) -> &'static str {
        match self.of {
            Of::Store => "store",
            Of::Redis | Of::Http | Of::Tcp | Of::Clickhouse => "service",
        }
    }

    /// What people lose.
    pub fn lost(&self) -> &'static [&'static str] {
        match self.of {
            Of::Store => &["publish", "history"],
            Of::Redis | Of::Http | Of::Tcp | Of::Clickhouse => &["replies"],
        }
    }

    /// A gateway that stands on it.
    pub fn setup(&self, row: &Row) -> Setup {
        let address = self.proxy.address();
        let pace = match row.pace {
            Pace::Usual => "",
            Pace::Quick => "interval_ms = 300\ntimeout_ms = 500\n",
        };
        let weight = match row.weight {
            Weight::Critical => "critical",
            Weight::Optional => "optional",
        };
        let service = |rest: &str| {
            format!(
                "[[dependency]]\nname = \"service\"\nlost = [\"replies\"]\nsentence = \"Replies are paused.\"\n\
                 criticality = \"{weight}\"\n{rest}\n{pace}"
            )
        };
        let setup = Setup::new().limit("publishes_per_s", 0);
        match (self.of, &self.server) {
            (_, Server::Postgres(server)) => setup
                .env("SEAWALL_STORE_URL", &server.url_through(address))
                .toml(&format!("[[dependency]]\nname = \"store\"\n{pace}")),
            (_, Server::Redis(server)) => {
                setup.toml(&service(&format!("kind = \"redis\"\nurl = \"{}\"", server.url_through(address))))
            }
            (Of::Tcp, Server::Http(_)) => {
                setup.toml(&service(&format!("kind = \"tcp\"\naddress = \"{address}\"")))
            }
            (Of::Clickhouse, Server::Http(_)) => {
                setup.toml(&service(&format!("kind = \"clickhouse\"\nurl = \"http://{address}/\"")))
            }
            (Of::Http | Of::Redis | Of::Store, Server::Http(_)) => setup.toml(&service(&format!(
                "kind = \"http\"\nurl = \"http://{address}/health\"\nfield = \"checks.db=ok\""
            ))),
        }
    }

    /// Whether a gateway has all the connections that it makes.
    pub fn is_taken_up(&self) -> bool {
        let Server::Postgres(server) = &self.server else { return true };
        let count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'seawall'";
        server.sql(count).parse::<usize>().is_ok_and(|count| count >= WORKERS)
    }

    /// Where all that was stored can be read without the way that failed: another instance.
    pub fn other_instance(&self) -> Option<Setup> {
        match &self.server {
            Server::Postgres(server) => Some(Setup::new().env("SEAWALL_STORE_URL", &server.url())),
            Server::Redis(_) | Server::Http(_) => None,
        }
    }
}
