//! A dependency of each kind behind a proxy, and the gateway configuration for it.

use super::table::{Pace, Row, Weight};
use crate::dependencies::proxied::{self, Proxied};
use crate::servers::postgres::Occupied;
use crate::servers::{Answer, Http as HttpServer, Postgres, Redis as RedisServer};
use crate::support::Setup;
use seawall_fault::Proxy;

/// Threads of a gateway's store that hold a connection: two append, two read, one deletes expired publications, one shares counts,
/// and one notes that the instance lives.
const WORKERS: usize = 7;

/// The kind of a dependency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
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
    /// Answers anything that speaks HTTP or accepts TCP.
    Http(HttpServer),
}

/// A dependency that fails on command and can be repaired.
pub struct Target {
    pub kind: Kind,
    pub server: Server,
    pub proxy: Proxy,
    pub occupied: Option<Occupied>,
}

impl Target {
    #[track_caller]
    pub fn new(kind: Kind) -> Target {
        let (server, proxy) = match kind {
            Kind::Store => {
                let Proxied { server, proxy } = proxied::postgres();
                (Server::Postgres(server), proxy)
            }
            Kind::Redis => {
                let Proxied { server, proxy } = proxied::redis();
                (Server::Redis(server), proxy)
            }
            Kind::Http | Kind::Tcp | Kind::Clickhouse => {
                let Proxied { server, proxy } = proxied::http();
                (Server::Http(server), proxy)
            }
        };
        let target = Target { kind, server, proxy, occupied: None };
        target.answer_well();
        target
    }

    /// Sets the answers of a healthy HTTP service.
    pub fn answer_well(&self) {
        let Server::Http(http) = &self.server else { return };
        match self.kind {
            Kind::Clickhouse => {
                http.answer("/ping", Answer::json(200, "Ok.\n"));
                http.answer("/", Answer::json(200, "1\n"));
            }
            Kind::Store | Kind::Redis | Kind::Http | Kind::Tcp => {
                http.answer("", Answer::json(200, r#"{"checks":{"db":"ok"}}"#));
            }
        }
    }

    /// The name that clients see.
    pub fn name(&self) -> &'static str {
        match self.kind {
            Kind::Store => "store",
            Kind::Redis | Kind::Http | Kind::Tcp | Kind::Clickhouse => "service",
        }
    }

    /// The features that clients lose during an outage, as `status` names them.
    pub fn lost(&self) -> &'static [&'static str] {
        match self.kind {
            Kind::Store => &["publish", "history"],
            Kind::Redis | Kind::Http | Kind::Tcp | Kind::Clickhouse => &["replies"],
        }
    }

    /// The configuration of a gateway that depends on it.
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
        match (self.kind, &self.server) {
            (_, Server::Postgres(server)) => setup
                .env("SEAWALL_STORE_URL", &server.url_through(address))
                .toml(&format!("[[dependency]]\nname = \"store\"\n{pace}")),
            (_, Server::Redis(server)) => {
                setup.toml(&service(&format!("kind = \"redis\"\nurl = \"{}\"", server.url_through(address))))
            }
            (Kind::Tcp, Server::Http(_)) => {
                setup.toml(&service(&format!("kind = \"tcp\"\naddress = \"{address}\"")))
            }
            (Kind::Clickhouse, Server::Http(_)) => {
                setup.toml(&service(&format!("kind = \"clickhouse\"\nurl = \"http://{address}/\"")))
            }
            (Kind::Http | Kind::Redis | Kind::Store, Server::Http(_)) => setup.toml(&service(&format!(
                "kind = \"http\"\nurl = \"http://{address}/health\"\nfield = \"checks.db=ok\""
            ))),
        }
    }

    /// Returns true when the gateway has opened all its connections.
    pub fn is_fully_connected(&self) -> bool {
        let Server::Postgres(server) = &self.server else { return true };
        let count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'seawall'";
        server.sql(count).parse::<usize>().is_ok_and(|count| count >= WORKERS)
    }

    /// Another instance, which reads all that was stored without the failing path.
    pub fn other_instance(&self) -> Option<Setup> {
        match &self.server {
            Server::Postgres(server) => Some(Setup::new().env("SEAWALL_STORE_URL", &server.url())),
            Server::Redis(_) | Server::Http(_) => None,
        }
    }
}
