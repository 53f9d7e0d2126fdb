//! The command line.

use crate::tls::Resuming;
use clap::{Args, Parser, Subcommand, ValueEnum};
use ipnet::Ipv4Net;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

const NOTES: &str = "\
One JSON line a run goes to stdout. Exit codes: 0 all as expected, 1 something was not (see `errors`), 2 wrong arguments.

Start the server with SEAWALL_LIMITS_PUBLISHES_PER_S=0 and SEAWALL_LIMITS_COMMANDS_PER_S=0: one connection speaks for many
people here. `echo` needs --echo. docs/measuring.md tells more.";

/// Load for a WebSocket chat gateway, with every reply checked.
#[derive(Debug, Parser)]
#[command(name = "seawall-load", version, after_help = NOTES, disable_help_subcommand = true)]
pub(crate) struct Arguments {
    /// What every mode takes.
    #[command(flatten)]
    pub(crate) common: Common,
    /// What to do.
    #[command(subcommand)]
    pub(crate) mode: Mode,
}

/// What every mode takes.
#[derive(Args, Clone, Debug)]
pub(crate) struct Common {
    /// The server, as it prints it itself: ws://, or wss:// for TLS, whose certificate is not checked
    #[arg(long, global = true, value_name = "URL", default_value = "ws://127.0.0.1:8080", value_parser = target)]
    pub(crate) target: Target,
    /// Whether TLS connections resume earlier ones
    #[arg(long, global = true, value_enum, default_value_t = Resuming::On)]
    pub(crate) resuming: Resuming,
    /// Process of the server, whose CPU and memory are read
    #[arg(long, global = true, value_name = "PID")]
    pub(crate) pid: Option<u32>,
    /// Network to take source addresses from, in turn [default: 127.0.1.0/24 if the target is on loopback]
    #[arg(long, global = true, value_name = "NET")]
    pub(crate) source: Option<Ipv4Net>,
    /// Seconds of load before the measured window
    #[arg(long, global = true, value_name = "S", default_value = "1", value_parser = seconds)]
    pub(crate) warmup: Duration,
    /// Seconds of the measured window
    #[arg(long, global = true, value_name = "S", default_value = "3", value_parser = seconds)]
    pub(crate) duration: Duration,
    /// Handshakes under way at once
    #[arg(long, global = true, value_name = "C", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) concurrency: u32,
    /// Seconds without any progress after which a run is given up
    #[arg(long, global = true, value_name = "S", default_value = "10", value_parser = seconds)]
    pub(crate) patience: Duration,
}

/// The modes.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Mode {
    /// Handshakes until `connected`: CPU and latency of each
    Connect(Connect),
    /// Memory of connections that are subscribed and silent
    Idle(Idle),
    /// Echo, closed loop: each reply sends the next message
    Echo(Echo),
    /// Chat, open loop: latency from the intended moment, offsets of each subscriber checked
    Chat(Chat),
    /// One channel, closed loop: CPU of a delivery
    Fanout(Fanout),
    /// Durable publishes, one in flight a publisher
    Publish(Publish),
    /// The same as `fanout` with signals, which are not stored
    Signal(Fanout),
    /// All connections lost at once, and all back
    Storm(Storm),
}

/// `connect`
#[derive(Args, Clone, Debug)]
pub(crate) struct Connect {
    /// Handshakes measured; a fifth as many go before
    #[arg(long, value_name = "N", default_value_t = 4_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) connections: u32,
}

/// `idle`
#[derive(Args, Clone, Debug)]
pub(crate) struct Idle {
    /// Connections measured; 100 go before
    #[arg(long, value_name = "N", default_value_t = 15_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) connections: u32,
    /// Channels they are spread over
    #[arg(long, value_name = "K", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) channels: u32,
    /// Seconds to stay after that
    #[arg(long, value_name = "S", default_value = "0", value_parser = seconds)]
    pub(crate) hold: Duration,
}

/// `echo`
#[derive(Args, Clone, Debug)]
pub(crate) struct Echo {
    /// Connections
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) connections: u32,
    /// Messages under way on each
    #[arg(long, value_name = "D", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub(crate) depth: u32,
    /// Bytes of each
    #[arg(long, value_name = "B", default_value_t = 64, value_parser = clap::value_parser!(u32).range(8..=65_536))]
    pub(crate) payload: u32,
    /// Stop after so many echoes in place of `--duration`: for counting instructions
    #[arg(long, value_name = "N")]
    pub(crate) count: Option<u64>,
    /// What kind of message
    #[arg(long, value_enum, default_value_t = Kind::Text)]
    pub(crate) kind: Kind,
}

/// Kinds of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// UTF-8
    Text,
    /// Bytes
    Binary,
}

/// `chat`
#[derive(Args, Clone, Debug)]
pub(crate) struct Chat {
    /// Publishing connections, spread over the channels
    #[arg(long, value_name = "P", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) publishers: u32,
    /// Publishes a second, all together
    #[arg(long, value_name = "R", default_value_t = 500.0, value_parser = rate)]
    pub(crate) rate: f64,
    /// Channels
    #[arg(long, value_name = "K", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) channels: u32,
    /// Subscribers of each
    #[arg(long, value_name = "S", default_value_t = 20, value_parser = clap::value_parser!(u32).range(0..))]
    pub(crate) subscribers: u32,
    /// Bytes of each publication's data
    #[arg(long, value_name = "B", default_value_t = 64, value_parser = clap::value_parser!(u32).range(32..=60_000))]
    pub(crate) payload: u32,
    /// Connections a second that leave, half by a close frame, and are back within a second; at the end all leave
    #[arg(long, value_name = "PER_S", default_value_t = 0.0, value_parser = churn)]
    pub(crate) churn: f64,
    /// One more JSON line for each S seconds of the measured window
    #[arg(long, value_name = "S", value_parser = period)]
    pub(crate) interval: Option<Duration>,
}

/// `fanout` and `signal`
#[derive(Args, Clone, Debug)]
pub(crate) struct Fanout {
    /// Subscribers of the channel
    #[arg(long, value_name = "S", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) subscribers: u32,
    /// Publications under way at once: each is until all subscribers have it
    #[arg(long, value_name = "F", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) flight: u32,
    /// Bytes of each one's data
    #[arg(long, value_name = "B", default_value_t = 64, value_parser = clap::value_parser!(u32).range(32..=60_000))]
    pub(crate) payload: u32,
    /// Stop after so many publications in place of `--duration`: for counting instructions
    #[arg(long, value_name = "N")]
    pub(crate) count: Option<u64>,
}

/// `publish`
#[derive(Args, Clone, Debug)]
pub(crate) struct Publish {
    /// Publishing connections
    #[arg(long, value_name = "P", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) publishers: u32,
    /// Channels they are spread over
    #[arg(long, value_name = "K", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) channels: u32,
    /// Bytes of each publication's data
    #[arg(long, value_name = "B", default_value_t = 64, value_parser = clap::value_parser!(u32).range(32..=60_000))]
    pub(crate) payload: u32,
}

/// `storm`
#[derive(Args, Clone, Debug)]
pub(crate) struct Storm {
    /// Connections
    #[arg(long, value_name = "N", default_value_t = 8_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) connections: u32,
    /// Channels they are spread over
    #[arg(long, value_name = "K", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) channels: u32,
    /// Milliseconds that the first attempts are spread over
    #[arg(long, value_name = "MS", default_value_t = 0)]
    pub(crate) spread_ms: u32,
}

/// Where the server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// Its address.
    pub(crate) address: SocketAddr,
    /// How it is spoken to.
    pub(crate) scheme: Scheme,
}

/// How a server is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// `ws`
    Plain,
    /// `wss`
    Tls,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::Plain => "ws",
            Scheme::Tls => "wss",
        };
        write!(f, "{scheme}://{}", self.address)
    }
}

/// `ws://ADDR` or `wss://ADDR`, with or without a path, as the server prints it.
fn target(text: &str) -> Result<Target, String> {
    let plain = text.strip_prefix("ws://").map(|rest| (Scheme::Plain, rest));
    let (scheme, rest) = plain
        .or(text.strip_prefix("wss://").map(|rest| (Scheme::Tls, rest)))
        .ok_or("wanted: ws://ADDRESS:PORT or wss://ADDRESS:PORT")?;
    let address = rest.split_once('/').map_or(rest, |(address, _)| address);
    address
        .parse()
        .map(|address| Target { address, scheme })
        .map_err(|_| "wanted: ws:// with an IP address and a port, like ws://127.0.0.1:8080".to_owned())
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "wanted: seconds, like 3 or 0.5")?;
    Duration::try_from_secs_f64(seconds).map_err(|_| "wanted: seconds, not negative".to_owned())
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.01..=1e6).contains(&rate) => Ok(rate),
        Ok(_) | Err(_) => Err("wanted: a rate from 0.01 to 1000000 a second".to_owned()),
    }
}

fn churn(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.0..=1e4).contains(&rate) => Ok(rate),
        Ok(_) | Err(_) => Err("wanted: connections a second, 0 (none) to 10000".to_owned()),
    }
}

fn period(text: &str) -> Result<Duration, String> {
    match seconds(text) {
        Ok(period) if period >= Duration::from_millis(100) => Ok(period),
        Ok(_) | Err(_) => Err("wanted: seconds, at least 0.1".to_owned()),
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
    fn a_target_is_what_the_server_prints() {
        let wanted = |scheme| Ok(Target { address: ([127, 0, 0, 1], 9000).into(), scheme });
        assert_eq!(target("ws://127.0.0.1:9000/ws"), wanted(Scheme::Plain));
        assert_eq!(target("ws://127.0.0.1:9000"), wanted(Scheme::Plain));
        assert_eq!(target("wss://127.0.0.1:9000/ws"), wanted(Scheme::Tls));
        assert!(target("http://127.0.0.1:9000").is_err() && target("ws://localhost").is_err());
    }

    #[test]
    fn options_of_all_modes_stand_before_or_after_the_mode() {
        let parsed = Arguments::try_parse_from(
            "seawall-load --duration 0.5 fanout --flight 8 --target ws://127.0.0.1:1".split(' '),
        )
        .expect("good arguments");
        assert_eq!(
            (parsed.common.duration, parsed.common.target.address.port()),
            (Duration::from_millis(500), 1)
        );
        assert!(matches!(parsed.mode, Mode::Fanout(Fanout { flight: 8, .. })));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for wrong in [
            "connect --warmup -1",
            "echo --payload 1",
            "chat --rate 0",
            "chat --churn -1",
            "chat --interval 0",
            "fanout --flight 65",
            "idle --source x",
        ] {
            let arguments = std::iter::once("seawall-load").chain(wrong.split(' '));
            assert!(Arguments::try_parse_from(arguments).is_err(), "{wrong}");
        }
    }
}
