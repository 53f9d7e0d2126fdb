//! The floor: what the machine itself costs.
//!
//! Three programs that do nothing but what cannot be left out. A figure of Seawall's means something only beside
//! the same figure of one of these, taken in the same minute on the same machine.
//!
//! - `/echo`: a canned upgrade, then each frame unmasked and sent back, all replies of one read in one send;
//! - `/ws`: canned answers, one frame a publication, sent to every subscriber; nothing is stored;
//! - `commit`: the rows of a publication, committed in batches by a loop that serves nobody, to SQLite or PostgreSQL.

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

/// The least program an epoll loop can be, and the barest commit loop.
#[derive(Debug, Parser)]
#[command(name = "seawall-floor", version, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: Serve,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Commit publications in batches and print one JSON line
    Commit(Commit),
}

/// How to serve.
#[derive(Args, Debug)]
struct Serve {
    /// Address of the listener; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8090")]
    listen: SocketAddr,
    /// Put what a channel got in one turn into one send a subscriber
    #[arg(long)]
    concat: bool,
}

/// How to commit.
#[derive(Args, Debug)]
struct Commit {
    /// The SQLite file; it must not exist yet
    #[arg(long, value_name = "PATH", required_unless_present = "postgres", conflicts_with = "postgres")]
    store: Option<PathBuf>,
    /// An empty PostgreSQL database in place of a file, as `postgres://user:password@host/database`
    #[arg(long, value_name = "URL")]
    postgres: Option<String>,
    /// Connections to PostgreSQL that commit at the same time, each its own channels
    #[arg(long, value_name = "N", default_value_t = 1, requires = "postgres", value_parser = clap::value_parser!(u32).range(1..=64))]
    writers: u32,
    /// Rows in one transaction
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    batch: u32,
    /// Channels the rows are spread over
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    channels: u32,
    /// Bytes of each row's data
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(2..=65_536))]
    payload: u32,
    /// Seconds of the same before those that count
    #[arg(long, value_name = "S", default_value_t = 0.0, requires = "postgres")]
    warmup: f64,
    /// Seconds to go on
    #[arg(long, value_name = "S", default_value_t = 3.0)]
    duration: f64,
}

/// What is sent to a subscriber at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sends {
    /// One send a publication.
    Each,
    /// One send a turn.
    Concatenated,
}

fn main() -> ExitCode {
    let Arguments { command, serve } = Arguments::parse();
    let outcome = match command {
        Some(Command::Commit(commit)) => commit::run(&commit),
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
    fn it_serves_without_a_command() {
        let parsed = Arguments::try_parse_from(["seawall-floor", "--listen", "127.0.0.1:0", "--concat"]);
        let parsed = parsed.expect("good arguments");
        assert!(parsed.command.is_none() && parsed.serve.concat);
    }
}
