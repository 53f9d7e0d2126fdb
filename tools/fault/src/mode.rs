//! How a proxy behaves, and the words for it.

use std::fmt;
use std::num::{NonZeroU32, NonZeroU64};
use std::time::Duration;

/// One of the two ways through a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the server.
    Requests,
    /// From the server to the client.
    Answers,
}

/// How slow [`Mode::Slow`] is, for each connection and direction alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Bytes a second; no bound without one.
    pub bytes_per_s: Option<NonZeroU64>,
    /// How long each byte is held before it goes on.
    pub latency: Duration,
}

/// What [`Mode::Garble`] does to answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Garble {
    /// The same seed garbles the same bytes of the same connection, counted from the proxy's start.
    pub seed: u64,
    /// One bit of every run of so many bytes at the most is flipped.
    pub every: NonZeroU32,
}

/// How a proxy behaves until told otherwise.
///
/// "Held" bytes wait, at most 64 KiB a direction and then in the kernel's buffers, and go on when the mode ends;
/// the end of a stream waits like its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Everything is passed on.
    Pass,
    /// Nobody listens: new connections are refused by the kernel. Open ones go on.
    Refuse,
    /// Nobody answers: the kernel drops what dials, as a host does that is gone. Open connections go on. Dialing that
    /// lasts is heard when the mode ends, with the kernel's next try.
    Unanswered,
    /// Open connections end in order (FIN) now, new ones as soon as they are accepted.
    Cut,
    /// Open connections are reset (RST) now, new ones as soon as they are accepted.
    Reset,
    /// Connections are accepted and stay open, and every byte is held. The server is not dialed meanwhile.
    Stall,
    /// This direction is held, the other passes.
    HalfOpen(Direction),
    /// Everything is passed on late.
    Slow(Pace),
    /// The first connection that passes so many bytes of answers from now on is reset then, in the middle of an
    /// answer; after that everything passes.
    ResetOnce(u64),
    /// Every connection is reset after so many bytes of answers, counted from now or its start.
    ResetEach(u64),
    /// Bits of answers are flipped.
    Garble(Garble),
    /// New connections are accepted and never answered, not even after the mode ends; what they send is taken and
    /// lost. Open ones go on.
    BlackHole,
}

/// What becomes of a connection that the mode found at its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Welcome {
    Serve,
    Wait,
    Swallow,
    Cut,
    Reset,
}

impl Mode {
    /// Whether bytes of this direction wait.
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

    /// Bytes of answers until a reset.
    pub(crate) fn answers_max(self) -> Option<u64> {
        match self {
            Mode::ResetOnce(bytes) | Mode::ResetEach(bytes) => Some(bytes),
            Mode::Pass | Mode::Refuse | Mode::Cut | Mode::Reset | Mode::Stall | Mode::HalfOpen(_) => None,
            Mode::Slow(_) | Mode::Garble(_) | Mode::BlackHole | Mode::Unanswered => None,
        }
    }

    pub(crate) fn welcome(self) -> Welcome {
        match self {
            Mode::Stall => Welcome::Wait,
            Mode::BlackHole => Welcome::Swallow,
            Mode::Cut => Welcome::Cut,
            Mode::Reset => Welcome::Reset,
            Mode::Pass | Mode::Refuse | Mode::Unanswered | Mode::HalfOpen(_) | Mode::Slow(_) => {
                Welcome::Serve
            }
            Mode::ResetOnce(_) | Mode::ResetEach(_) | Mode::Garble(_) => Welcome::Serve,
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
    /// The words that [`Order`](crate::Order) reads.
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
