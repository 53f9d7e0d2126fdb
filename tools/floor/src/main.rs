//! The floor: the cost of the machine itself.
//!
//! Three minimal programs that do only what cannot be left out. A figure of Seawall means something only in comparison
//! with the same figure of one of these, taken in the same minute on the same machine.
//!
//! - `/echo`: a canned upgrade, then each frame is unmasked and sent back, with all replies of one read in one send;
//! - `/ws`: canned answers and one frame per publication, sent to every subscriber; nothing is stored;
//! - `commit`: the rows of publications, committed in batches to SQLite or PostgreSQL without serving clients.

mod command;
mod commit;
mod connection;
mod database;
mod frame;
mod server;
mod upgrade;

use clap::{Args, Parser, Subcommand};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

/// A minimal epoll server, and a minimal commit loop
#[derive(Debug, Parser)]
#[command(name = "seawall-floor", version, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Action>,
    #[command(flatten)]
    serve: Serve,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Commit publications in batches and print one JSON line
    Commit(Commit),
}

/// Options of the server.
#[derive(Args, Debug)]
struct Serve {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8090")]
    listen: SocketAddr,
    /// Send what a channel got in one turn as one send per subscriber
    #[arg(long)]
    concat: bool,
}

/// Options of the commit loop.
#[derive(Args, Debug)]
struct Commit {
    /// The SQLite file; it must not exist yet
    #[arg(long, value_name = "PATH", required_unless_present = "postgres", conflicts_with = "postgres")]
    store: Option<PathBuf>,
    /// An empty PostgreSQL database instead of a file, as `postgres://user:password@host/database`
    #[arg(long, value_name = "URL")]
    postgres: Option<String>,
    /// Connections to PostgreSQL that commit in parallel, each to its own channels
    #[arg(long, value_name = "N", default_value_t = 1, requires = "postgres", value_parser = clap::value_parser!(u32).range(1..=64))]
    writers: u32,
    /// Rows per transaction
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    batch: u32,
    /// Channels to spread the rows over
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    channels: u32,
    /// Data bytes per row
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(2..=65_536))]
    payload: u32,
    /// Seconds of warm-up before the measured time
    #[arg(long, value_name = "S", default_value_t = 0.0, requires = "postgres")]
    warmup: f64,
    /// Seconds to measure
    #[arg(long, value_name = "S", default_value_t = 3.0)]
    duration: f64,
}

/// How publications are sent to a subscriber.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sends {
    /// One send per publication.
    Each,
    /// One send per turn.
    Concatenated,
}

fn main() -> ExitCode {
    let Arguments { command, serve } = Arguments::parse();
    let outcome = match command {
        Some(Action::Commit(commit)) => commit::run(&commit),
        None => {
            let sends = if serve.concat { Sends::Concatenated } else { Sends::Each };
            server::run(serve.listen, sends).map_err(|error| format!("{}: {error}", serve.listen))
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("seawall-floor: {message}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_arguments_are_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn program_serves_when_no_subcommand_is_given() {
        let parsed = Arguments::try_parse_from(["seawall-floor", "--listen", "127.0.0.1:0", "--concat"]);
        let parsed = parsed.expect("good arguments");
        assert!(parsed.command.is_none() && parsed.serve.concat);
    }
}
