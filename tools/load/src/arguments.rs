//! The command line.

use crate::tls::Resuming;
use clap::{Args, Parser, Subcommand, ValueEnum};
use ipnet::Ipv4Net;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

const NOTES: &str = "\
One JSON line per run goes to stdout. Exit codes: 0 all as expected, 1 something was not (see `errors`), 2 wrong arguments.

Start the server with SEAWALL_LIMITS_PUBLISHES_PER_S=0 and SEAWALL_LIMITS_COMMANDS_PER_S=0, because one connection here
publishes for many people; for `signal` also with SEAWALL_LIMITS_SIGNALS_PER_S=0, for `tokens` with
SEAWALL_LIMITS_STREAM_APPENDS_PER_S=0, and SEAWALL_LIMITS_PENDING for the streams of one producer; for `relay` and `slow-backend` with
SEAWALL_LIMITS_PENDING=8192. `echo` needs --echo. See docs/measuring.md for more.";

const RELAY_NOTES: &str = "\
The gateway needs a route with the pattern `load-*`, the address http://ADDR/ of --backend,
timeout_ms = 60000 and any secret, an empty store, and the limits of `seawall-load --help`.
Without --answers the route needs `answers = false`, and each question is answered with 204 at
once; with it, with one word of text/plain. Signatures are not checked, because their cost would
be measured as well.

Without --rate, a channel gets its next question when an earlier one is done, so times include the
wait in its queue: use the rate only. With --rate, times count from the moment at which a question
was to be sent:
  publish_to_commit   until `published` was read, which is a little after the commit
  publish_to_request  until a thread of the backend has read the last byte of the request
  commit_to_request   from the first of these to the second, or 0 if the request was read first
                      (`requests_before_replies`): a lower bound of the time since the commit, as
                      publish_to_request is an upper one
  publish_to_text     until the channel's reader has text of the answer
  publish_to_end      until it has the end of the answer";

const SLOW_BACKEND_NOTES: &str = "\
The gateway needs a route with the pattern `ask-*`, `answers = false`, the address http://ADDR/ of
--backend, timeout_ms = 60000 and any secret, an empty store, and the limits of
`seawall-load --help`.

--warmup and --duration are those of each slice. In a slice with questions, the backend keeps each
request for --hold seconds, but not longer than the slice. Then it answers all of them with 204,
and the next slice begins when every question was asked once. In a slice without, the same
publications go to channels without a route.

Times count from the moment at which an ordinary publication was to be sent, until `published` is
read (commit) and until the subscriber has the publication (echo). A ratio is that of the slices
of one pair.";

/// Load for a WebSocket chat gateway, with every reply checked.
#[derive(Debug, Parser)]
#[command(name = "seawall-load", version, after_help = NOTES, disable_help_subcommand = true)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every mode.
#[derive(Args, Clone, Debug)]
pub(crate) struct Common {
    /// Server URL as the server prints it: ws://, or wss:// for TLS; the certificate is not verified
    #[arg(long, global = true, value_name = "URL", default_value = "ws://127.0.0.1:8080", value_parser = target)]
    pub(crate) target: Target,
    /// Resume earlier TLS sessions
    #[arg(long, global = true, value_enum, default_value_t = Resuming::On)]
    pub(crate) resuming: Resuming,
    /// PID of the server, to read its CPU time and memory
    #[arg(long, global = true, value_name = "PID")]
    pub(crate) pid: Option<u32>,
    /// Network to take source addresses from, round robin [default: 127.0.1.0/24 if the target is on loopback]
    #[arg(long, global = true, value_name = "NET")]
    pub(crate) source: Option<Ipv4Net>,
    /// Seconds of load before the measurement window
    #[arg(long, global = true, value_name = "S", default_value = "1", value_parser = seconds)]
    pub(crate) warmup: Duration,
    /// Length of the measurement window, in seconds
    #[arg(long, global = true, value_name = "S", default_value = "3", value_parser = seconds)]
    pub(crate) duration: Duration,
    /// Handshakes in progress at once
    #[arg(long, global = true, value_name = "C", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) concurrency: u32,
    /// Seconds without progress after which a run is abandoned
    #[arg(long, global = true, value_name = "S", default_value = "10", value_parser = seconds)]
    pub(crate) patience: Duration,
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Command {
    /// Handshakes up to `connected`: CPU and latency of each
    Connect(Connect),
    /// Memory of idle subscribed connections
    Idle(Idle),
    /// Echo, closed loop: each reply triggers the next message
    Echo(Echo),
    /// Chat, open loop: latency from the intended send time, with every subscriber's offsets checked
    Chat(Chat),
    /// One channel, closed loop: CPU per delivery
    Fanout(Fanout),
    /// Durable publishes, one in flight per publisher
    Publish(Publish),
    /// Like `fanout`, with signals, which are not stored
    Signal(Fanout),
    /// Publications over the server API, one request in flight per connection
    Api(Api),
    /// Many users who enter one roster at once: its watchers' frames, and publishes meanwhile
    Roster(Roster),
    /// All connections lost at once and reconnected
    Storm(Storm),
    /// Streams, open loop: latency from the intended send time of each token, with every reader's text checked
    Tokens(Tokens),
    /// Questions to a backend, which is part of this program: each exactly once and in order, rate and times
    #[command(after_long_help = RELAY_NOTES)]
    Relay(Relay),
    /// Ordinary publications while a backend keeps its requests for seconds, and without, in turn: the ratio of their times
    #[command(after_long_help = SLOW_BACKEND_NOTES)]
    SlowBackend(SlowBackend),
}

/// `connect`
#[derive(Args, Clone, Debug)]
pub(crate) struct Connect {
    /// Handshakes to measure, after a fifth as many for warm-up
    #[arg(long, value_name = "N", default_value_t = 4_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) connections: u32,
}

/// `idle`
#[derive(Args, Clone, Debug)]
pub(crate) struct Idle {
    /// Connections to measure, after 100 for warm-up
    #[arg(long, value_name = "N", default_value_t = 15_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) connections: u32,
    /// Channels to spread the connections over
    #[arg(long, value_name = "K", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) channels: u32,
    /// Seconds to hold the connections after measuring
    #[arg(long, value_name = "S", default_value = "0", value_parser = seconds)]
    pub(crate) hold: Duration,
    /// Then hold them until standard input ends
    #[arg(long)]
    pub(crate) until_eof: bool,
}

/// `tokens`
#[derive(Args, Clone, Debug)]
pub(crate) struct Tokens {
    /// Streams at once
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) streams: u32,
    /// Streams in one channel
    #[arg(long, value_name = "C", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=16))]
    pub(crate) per_channel: u32,
    /// Tokens per second of each stream
    #[arg(long, value_name = "R", default_value_t = 50.0, value_parser = rate)]
    pub(crate) rate: f64,
    /// Producing connections, which share the streams
    #[arg(long, value_name = "P", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) producers: u32,
    /// Readers of each channel
    #[arg(long, value_name = "S", default_value_t = 1, value_parser = clap::value_parser!(u32).range(0..))]
    pub(crate) readers: u32,
}

/// `relay`
#[derive(Args, Clone, Debug)]
pub(crate) struct Relay {
    /// Address at which the backend listens
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8070")]
    pub(crate) backend: SocketAddr,
    /// The route has `answers = true`: answer with one word, and read each answer in its channel
    #[arg(long)]
    pub(crate) answers: bool,
    /// Channels
    #[arg(long, value_name = "K", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) channels: u32,
    /// Publishing connections, which share the channels
    #[arg(long, value_name = "P", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) publishers: u32,
    /// Questions per second, over all channels; without it as many as are taken
    #[arg(long, value_name = "R", value_parser = rate)]
    pub(crate) rate: Option<f64>,
    /// Questions of a channel that are not done, without --rate
    #[arg(long, value_name = "D", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=8))]
    pub(crate) depth: u32,
    /// Data bytes per question
    #[arg(long, value_name = "B", default_value_t = 64, value_parser = clap::value_parser!(u32).range(64..=60_000))]
    pub(crate) payload: u32,
}

/// `slow-backend`
#[derive(Args, Clone, Debug)]
pub(crate) struct SlowBackend {
    /// Address at which the backend listens
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8070")]
    pub(crate) backend: SocketAddr,
    /// Seconds for which the backend keeps a request
    #[arg(long, value_name = "S", default_value = "10", value_parser = seconds)]
    pub(crate) hold: Duration,
    /// Pairs of a slice with questions and one without; every other pair has them in reverse
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) pairs: u32,
    /// Channels of ordinary publications, each with a publisher and a subscriber
    #[arg(long, value_name = "K", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) channels: u32,
    /// Ordinary publications per second, over all channels
    #[arg(long, value_name = "R", default_value_t = 300.0, value_parser = rate)]
    pub(crate) rate: f64,
    /// Channels of questions: each gets one at the begin of a slice
    #[arg(long, value_name = "K", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) asked: u32,
    /// Further questions per second, over all of them
    #[arg(long, value_name = "R", default_value_t = 20.0, value_parser = rate)]
    pub(crate) asks: f64,
}

/// `echo`
#[derive(Args, Clone, Debug)]
pub(crate) struct Echo {
    /// Connections
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) connections: u32,
    /// Messages in flight per connection
    #[arg(long, value_name = "D", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub(crate) depth: u32,
    /// Bytes per message
    #[arg(long, value_name = "B", default_value_t = 64, value_parser = clap::value_parser!(u32).range(8..=65_536))]
    pub(crate) payload: u32,
    /// Stop after N echoes instead of after `--duration`; for counting instructions
    #[arg(long, value_name = "N")]
    pub(crate) count: Option<u64>,
    /// Message type
    #[arg(long, value_enum, default_value_t = Kind::Text)]
    pub(crate) kind: Kind,
}

/// WebSocket message types.
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
    /// Publishes per second, over all publishers
    #[arg(long, value_name = "R", default_value_t = 500.0, value_parser = rate)]
    pub(crate) rate: f64,
    /// Channels
    #[arg(long, value_name = "K", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) channels: u32,
    /// Subscribers per channel
    #[arg(long, value_name = "S", default_value_t = 20, value_parser = clap::value_parser!(u32).range(0..))]
    pub(crate) subscribers: u32,
    /// Data bytes per publication
    #[arg(long, value_name = "B", default_value_t = 64, value_parser = clap::value_parser!(u32).range(32..=60_000))]
    pub(crate) payload: u32,
    /// Connections per second that leave (half with a close frame) and return within a second; at the end all leave
    #[arg(long, value_name = "PER_S", default_value_t = 0.0, value_parser = churn)]
    pub(crate) churn: f64,
    /// Also print one JSON line per S seconds of the measurement window
    #[arg(long, value_name = "S", value_parser = period)]
    pub(crate) interval: Option<Duration>,
}

/// `fanout` and `signal`
#[derive(Args, Clone, Debug)]
pub(crate) struct Fanout {
    /// Subscribers of the channel
    #[arg(long, value_name = "S", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) subscribers: u32,
    /// Publications in flight at once; one is in flight until every subscriber has it
    #[arg(long, value_name = "F", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) flight: u32,
    /// Data bytes per publication
    #[arg(long, value_name = "B", default_value_t = 64, value_parser = clap::value_parser!(u32).range(32..=60_000))]
    pub(crate) payload: u32,
    /// Stop after N publications instead of after `--duration`; for counting instructions
    #[arg(long, value_name = "N")]
    pub(crate) count: Option<u64>,
}

/// `publish`
#[derive(Args, Clone, Debug)]
pub(crate) struct Publish {
    /// Publishing connections
    #[arg(long, value_name = "P", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) publishers: u32,
    /// Channels to spread the publishers over
    #[arg(long, value_name = "K", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) channels: u32,
    /// Data bytes per publication
    #[arg(long, value_name = "B", default_value_t = 64, value_parser = clap::value_parser!(u32).range(32..=60_000))]
    pub(crate) payload: u32,
}

/// `api`
#[derive(Args, Clone, Debug)]
pub(crate) struct Api {
    /// Address of the server API
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8082")]
    pub(crate) api: SocketAddr,
    /// The secret of a key with the right `publish` on `backend-*`
    #[arg(long, value_name = "KEY")]
    pub(crate) secret: String,
    /// Connections
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=1_024))]
    pub(crate) connections: u32,
    /// Publications per request; 1 sends single ones
    #[arg(long, value_name = "B", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) batch: u32,
    /// Channels to spread the publications over
    #[arg(long, value_name = "K", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) channels: u32,
    /// Data bytes per publication
    #[arg(long, value_name = "B", default_value_t = 64, value_parser = clap::value_parser!(u32).range(32..=60_000))]
    pub(crate) payload: u32,
}

/// `roster`
#[derive(Args, Clone, Debug)]
pub(crate) struct Roster {
    /// The server's `auth.secret`, because each member is another user
    #[arg(long, value_name = "KEY")]
    pub(crate) secret: String,
    /// Users who enter
    #[arg(long, value_name = "N", default_value_t = 15_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) members: u32,
    /// Milliseconds over which they do
    #[arg(long, value_name = "MS", default_value_t = 2_000)]
    pub(crate) over_ms: u32,
    /// Watchers of the members
    #[arg(long, value_name = "W", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) watchers: u32,
    /// Publishing connections, each with a channel of its own
    #[arg(long, value_name = "P", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) publishers: u32,
    /// Publishes per second, over all publishers
    #[arg(long, value_name = "R", default_value_t = 500.0, value_parser = rate)]
    pub(crate) rate: f64,
}

/// `storm`
#[derive(Args, Clone, Debug)]
pub(crate) struct Storm {
    /// Connections
    #[arg(long, value_name = "N", default_value_t = 8_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) connections: u32,
    /// Channels to spread the connections over
    #[arg(long, value_name = "K", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) channels: u32,
    /// Milliseconds over which the first attempts are spread
    #[arg(long, value_name = "MS", default_value_t = 0)]
    pub(crate) spread_ms: u32,
}

/// The server to load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    pub(crate) scheme: Scheme,
}

/// The URL scheme of the target.
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

/// Parses `ws://ADDR` or `wss://ADDR`, with or without a path, as the server prints it.
fn target(text: &str) -> Result<Target, String> {
    let plain = text.strip_prefix("ws://").map(|rest| (Scheme::Plain, rest));
    let (scheme, rest) = plain
        .or(text.strip_prefix("wss://").map(|rest| (Scheme::Tls, rest)))
        .ok_or("expected ws://ADDRESS:PORT or wss://ADDRESS:PORT")?;
    let address = rest.split_once('/').map_or(rest, |(address, _)| address);
    address
        .parse()
        .map(|address| Target { address, scheme })
        .map_err(|_| "expected an IP address and a port, like ws://127.0.0.1:8080".to_owned())
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "expected seconds, like 3 or 0.5")?;
    Duration::try_from_secs_f64(seconds).map_err(|_| "expected seconds, zero or more".to_owned())
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.01..=1e6).contains(&rate) => Ok(rate),
        Ok(_) | Err(_) => Err("expected a rate from 0.01 to 1000000 per second".to_owned()),
    }
}

fn churn(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.0..=1e4).contains(&rate) => Ok(rate),
        Ok(_) | Err(_) => Err("expected connections per second, 0 (none) to 10000".to_owned()),
    }
}

fn period(text: &str) -> Result<Duration, String> {
    match seconds(text) {
        Ok(period) if period >= Duration::from_millis(100) => Ok(period),
        Ok(_) | Err(_) => Err("expected seconds, at least 0.1".to_owned()),
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
    fn target_is_parsed_as_the_server_prints_it() {
        let wanted = |scheme| Ok(Target { address: ([127, 0, 0, 1], 9000).into(), scheme });
        assert_eq!(target("ws://127.0.0.1:9000/ws"), wanted(Scheme::Plain));
        assert_eq!(target("ws://127.0.0.1:9000"), wanted(Scheme::Plain));
        assert_eq!(target("wss://127.0.0.1:9000/ws"), wanted(Scheme::Tls));
        assert!(target("http://127.0.0.1:9000").is_err() && target("ws://localhost").is_err());
    }

    #[test]
    fn common_options_are_accepted_before_and_after_the_mode() {
        let parsed = Arguments::try_parse_from(
            "seawall-load --duration 0.5 fanout --flight 8 --target ws://127.0.0.1:1".split(' '),
        )
        .expect("good arguments");
        assert_eq!(
            (parsed.common.duration, parsed.common.target.address.port()),
            (Duration::from_millis(500), 1)
        );
        assert!(matches!(parsed.command, Command::Fanout(Fanout { flight: 8, .. })));
    }

    #[test]
    fn values_out_of_range_are_rejected() {
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
