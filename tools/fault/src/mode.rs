//! The modes of a proxy and their text form.

use std::fmt;
use std::num::{NonZeroU32, NonZeroU64};
use std::time::Duration;

/// A direction of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the server.
    Requests,
    /// From the server to the client.
    Answers,
}

/// The limits of [`Mode::Slow`], applied to each connection and direction separately.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Bytes per second; unlimited if `None`.
    pub bytes_per_s: Option<NonZeroU64>,
    /// How long each byte is held before it is passed on.
    pub latency: Duration,
}

/// The effect of [`Mode::Garble`] on answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Garble {
    /// The same seed garbles the same bytes of the same connection, in the order of connections since the proxy's start.
    pub seed: u64,
    /// One bit is flipped in every run of at most this many bytes.
    pub every: NonZeroU32,
}

/// The behaviour of a proxy until it is changed.
///
/// "Held" bytes wait, at most 64 KiB per direction and then in the kernel's buffers, and are passed on when the mode
/// ends. The end of a stream is held like its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Everything is passed on.
    Pass,
    /// The port is closed: the kernel refuses new connections. Open ones continue.
    Refuse,
    /// The kernel drops connection requests, as if the host were gone. Open connections continue. A client that is still
    /// dialing when the mode ends connects with its kernel's next retry.
    Unanswered,
    /// Open connections are closed in order (FIN) now, and new ones as soon as they are accepted.
    Cut,
    /// Open connections are reset (RST) now, and new ones as soon as they are accepted.
    Reset,
    /// Connections are accepted and stay open, and every byte is held. The server is not dialed meanwhile.
    Stall,
    /// This direction is held; the other passes.
    HalfOpen(Direction),
    /// Everything is passed on with a delay or at a limited rate.
    Slow(Pace),
    /// The first connection that passes this many bytes of answers from now on is reset, in the middle of an answer.
    /// After that everything passes.
    ResetOnce(u64),
    /// Every connection is reset after this many bytes of answers, counted from now or from its start.
    ResetEach(u64),
    /// Bits of answers are flipped.
    Garble(Garble),
    /// New connections are accepted and never answered, even after the mode ends; what they send is read and discarded.
    /// Open ones continue.
    BlackHole,
}

/// The initial treatment of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Treatment {
    Serve,
    Wait,
    Swallow,
    Cut,
    Reset,
}

impl Mode {
    /// True if bytes of this direction are held.
    pub(crate) fn holds(self, direction: Direction) -> bool {
        match self {
            Mode::Stall => true,
            Mode::HalfOpen(held) => held == direction,
            Mode::Pass | Mode::Refuse | Mode::Unanswered | Mode::Cut | Mode::Reset | Mode::BlackHole => false,
            Mode::Slow(_) | Mode::ResetOnce(_) | Mode::ResetEach(_) | Mode::Garble(_) => false,
        }
    }

    pub(crate) fn pace(self) -> Option<Pace> {
        if let Mode::Slow(pace) = self { Some(pace) } else { None }
    }

    pub(crate) fn garble(self) -> Option<Garble> {
        if let Mode::Garble(garble) = self { Some(garble) } else { None }
    }

    /// Bytes of answers before a reset.
    pub(crate) fn answers_max(self) -> Option<u64> {
        match self {
            Mode::ResetOnce(bytes) | Mode::ResetEach(bytes) => Some(bytes),
            Mode::Pass | Mode::Refuse | Mode::Cut | Mode::Reset | Mode::Stall | Mode::HalfOpen(_) => None,
            Mode::Slow(_) | Mode::Garble(_) | Mode::BlackHole | Mode::Unanswered => None,
        }
    }

    pub(crate) fn treatment(self) -> Treatment {
        match self {
            Mode::Stall => Treatment::Wait,
            Mode::BlackHole => Treatment::Swallow,
            Mode::Cut => Treatment::Cut,
            Mode::Reset => Treatment::Reset,
            Mode::Pass | Mode::Refuse | Mode::Unanswered | Mode::HalfOpen(_) | Mode::Slow(_) => {
                Treatment::Serve
            }
            Mode::ResetOnce(_) | Mode::ResetEach(_) | Mode::Garble(_) => Treatment::Serve,
        }
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Direction::Requests => "requests",
            Direction::Answers => "answers",
        })
    }
}

impl fmt::Display for Mode {
    /// Writes the words that [`Order`](crate::Order) parses.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mode::Pass => f.write_str("pass"),
            Mode::Refuse => f.write_str("refuse"),
            Mode::Unanswered => f.write_str("unanswered"),
            Mode::Cut => f.write_str("cut"),
            Mode::Reset => f.write_str("reset"),
            Mode::Stall => f.write_str("stall"),
            Mode::HalfOpen(direction) => write!(f, "half-open {direction}"),
            Mode::Slow(pace) => {
                let rate = pace.bytes_per_s.map_or(0, NonZeroU64::get);
                write!(f, "slow {rate} {}", pace.latency.as_millis())
            }
            Mode::ResetOnce(bytes) => write!(f, "reset-once {bytes}"),
            Mode::ResetEach(bytes) => write!(f, "reset-each {bytes}"),
            Mode::Garble(garble) => write!(f, "garble {} {}", garble.seed, garble.every),
            Mode::BlackHole => f.write_str("black-hole"),
        }
    }
}
