//! The command line.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

const NOTES: &str = "\
Exit codes: 0 if all bars held, 1 if one did not or the run did not finish, 2 for wrong arguments.

Starts its own gateways, databases and proxies on free loopback ports, and stops them at the end. docs/ledger.md says what is
checked and how to read the report.";

/// Checks the promises of a chat gateway while it is restarted, killed and disconnected.
#[derive(Debug, Parser)]
#[command(name = "seawall-ledger", version, after_help = NOTES, disable_help_subcommand = true)]
pub struct Arguments {
    /// Options of every scenario.
    #[command(flatten)]
    pub common: Common,
    #[command(subcommand)]
    pub scenario: Scenario,
}

/// Options of every scenario.
#[derive(Args, Clone, Debug)]
pub struct Common {
    /// The gateway's binary [default: $SEAWALL_TEST_BINARY, or next to this program]
    #[arg(long, global = true, value_name = "FILE")]
    pub gateway: Option<PathBuf>,
    /// The gateways' store
    #[arg(long, global = true, value_enum, default_value_t = Store::Postgres)]
    pub store: Store,
    /// Write every event to this file, as JSON lines
    #[arg(long, global = true, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Write the report to this file, as JSON
    #[arg(long, global = true, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Seed of everything random
    #[arg(long, global = true, value_name = "S", default_value_t = 1)]
    pub seed: u64,
    /// Keep the gateways' logs and data, and print where they are
    #[arg(long, global = true)]
    pub keep: bool,
}

/// The gateways' store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Store {
    /// SQLite: one gateway at a time
    Sqlite,
    /// PostgreSQL, with Redis as the bus: two gateways
    Postgres,
}

/// The scenarios.
#[derive(Clone, Debug, Subcommand)]
pub enum Scenario {
    /// Faults on a seeded schedule
    Faults(Faults),
    /// Faults on a seeded schedule, with many gateways and users
    Cluster(Cluster),
    /// A gateway is asked to shut down while all clients are connected
    Drain(Drain),
    /// A gateway is killed and restarted while all clients are connected
    Crash(Crash),
    /// Many clients connect at once to a gateway that serves others
    Storm(Storm),
}

/// `faults`
#[derive(Args, Clone, Debug)]
pub struct Faults {
    /// Minutes of faults
    #[arg(long, value_name = "M", default_value_t = 30.0)]
    pub minutes: f64,
    /// Clients
    #[arg(long, value_name = "N", default_value_t = 120, value_parser = clap::value_parser!(u32).range(10..=800))]
    pub clients: u32,
    /// Channels to spread the clients over
    #[arg(long, value_name = "K", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub channels: u16,
    /// Publishes per second, over all clients
    #[arg(long, value_name = "R", default_value_t = 60.0)]
    pub publishes_per_s: f64,
    /// Print the schedule and exit
    #[arg(long)]
    pub print: bool,
}

/// `cluster`
#[derive(Args, Clone, Debug)]
pub struct Cluster {
    /// Minutes of faults
    #[arg(long, value_name = "M", default_value_t = 30.0)]
    pub minutes: f64,
    /// Gateways
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u8).range(2..=16))]
    pub instances: u8,
    /// Clients
    #[arg(long, value_name = "N", default_value_t = 15_000, value_parser = clap::value_parser!(u32).range(20..=18_000))]
    pub clients: u32,
    /// Publishes per second, over all clients
    #[arg(long, value_name = "R", default_value_t = 200.0)]
    pub publishes_per_s: f64,
    /// Print the schedule and exit
    #[arg(long)]
    pub print: bool,
}

/// `drain`
#[derive(Args, Clone, Debug)]
pub struct Drain {
    /// Connections
    #[arg(long, value_name = "N", default_value_t = 15_000, value_parser = clap::value_parser!(u32).range(10..=19_000))]
    pub connections: u32,
    /// Channels to spread the connections over
    #[arg(long, value_name = "K", default_value_t = 500, value_parser = clap::value_parser!(u16).range(1..))]
    pub channels: u16,
    /// Publishes per second, over all clients
    #[arg(long, value_name = "R", default_value_t = 500.0)]
    pub publishes_per_s: f64,
    /// Percentage of clients that ignore `drain`
    #[arg(long, value_name = "P", default_value_t = 10, value_parser = clap::value_parser!(u32).range(0..=100))]
    pub naive: u32,
    /// Seconds of load before the drain
    #[arg(long, value_name = "S", default_value_t = 5.0)]
    pub before: f64,
    /// Divide the default times of the drain by this number
    #[arg(long, value_name = "F", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=20))]
    pub faster: u32,
}

/// `crash`
#[derive(Args, Clone, Debug)]
pub struct Crash {
    /// Connections
    #[arg(long, value_name = "N", default_value_t = 15_000, value_parser = clap::value_parser!(u32).range(10..=19_000))]
    pub connections: u32,
    /// Channels to spread the connections over
    #[arg(long, value_name = "K", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..))]
    pub channels: u16,
    /// Publishes per second, over all clients
    #[arg(long, value_name = "R", default_value_t = 50.0)]
    pub publishes_per_s: f64,
}

/// `storm`
#[derive(Args, Clone, Debug)]
pub struct Storm {
    /// Connections of the storm
    #[arg(long, value_name = "N", default_value_t = 15_000, value_parser = clap::value_parser!(u32).range(10..=19_000))]
    pub connections: u32,
    /// Connections established before
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(10..=4_000))]
    pub connected: u32,
    /// Channels to spread the connections over
    #[arg(long, value_name = "K", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..))]
    pub channels: u16,
    /// Publishes per second, over all clients
    #[arg(long, value_name = "R", default_value_t = 100.0)]
    pub publishes_per_s: f64,
    /// Number of storms; the newcomers leave in between
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=50))]
    pub storms: u32,
    /// Seconds of calm before each storm, to compare it with
    #[arg(long, value_name = "S", default_value_t = 10.0)]
    pub calm: f64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_arguments_are_consistent() {
        Arguments::command().debug_assert();
        let line = "seawall-ledger drain --connections 100 --store sqlite --seed 7";
        let parsed = Arguments::try_parse_from(line.split(' ')).expect("good arguments");
        assert_eq!((parsed.common.store, parsed.common.seed), (Store::Sqlite, 7));
        assert!(Arguments::try_parse_from(["seawall-ledger", "drain", "--connections", "1"]).is_err());
    }
}
