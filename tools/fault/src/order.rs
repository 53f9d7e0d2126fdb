//! Parses the line protocol.

use crate::mode::{Direction, Garble, Mode, Pace};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// The orders, for `--help` and for the error about an unknown one.
pub const ORDERS: &str = "\
pass                 pass everything on
refuse               close the listener; open connections continue
unanswered           answer no connection request, like a host that is gone; open connections continue
cut                  close every connection in order, new ones at once
cut now              close the open ones, once; the mode stays
reset                reset every connection, new ones at once
reset now            reset the open ones, once; the mode stays
reset-once BYTES     reset the first connection after BYTES bytes of answers, then pass
reset-each BYTES     reset every connection after BYTES bytes of answers
stall                accept, keep open, hold every byte until the mode ends
half-open DIRECTION  hold `requests` or `answers`, pass the other
slow RATE MS         pass RATE bytes per second (0: unlimited), each byte MS milliseconds late
garble SEED EVERY    flip one bit in every run of EVERY bytes of answers, chosen by SEED
black-hole           accept new connections and never answer them; open ones continue
stats                print the counters
quit                 print the counters and exit";

/// An order, parsed from one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Switch to this mode.
    Set(Mode),
    /// Close the open connections in order.
    CutNow,
    /// Reset the open connections.
    ResetNow,
    /// Print the counters.
    Stats,
    /// Exit.
    Quit,
}

impl FromStr for Order {
    type Err = String;

    fn from_str(line: &str) -> Result<Order, String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        Ok(match words[..] {
            ["pass"] => Order::Set(Mode::Pass),
            ["refuse"] => Order::Set(Mode::Refuse),
            ["unanswered"] => Order::Set(Mode::Unanswered),
            ["cut"] => Order::Set(Mode::Cut),
            ["cut", "now"] => Order::CutNow,
            ["reset"] => Order::Set(Mode::Reset),
            ["reset", "now"] => Order::ResetNow,
            ["reset-once", bytes] => Order::Set(Mode::ResetOnce(number("BYTES", bytes)?)),
            ["reset-each", bytes] => Order::Set(Mode::ResetEach(number("BYTES", bytes)?)),
            ["stall"] => Order::Set(Mode::Stall),
            ["half-open", "requests"] => Order::Set(Mode::HalfOpen(Direction::Requests)),
            ["half-open", "answers"] => Order::Set(Mode::HalfOpen(Direction::Answers)),
            ["slow", rate, late] => Order::Set(Mode::Slow(Pace {
                bytes_per_s: std::num::NonZeroU64::new(number("RATE", rate)?),
                latency: Duration::from_millis(number("MS", late)?),
            })),
            ["garble", seed, every] => {
                let seed = number("SEED", seed)?;
                Order::Set(Mode::Garble(Garble { seed, every: number("EVERY", every)? }))
            }
            ["black-hole"] => Order::Set(Mode::BlackHole),
            ["stats"] => Order::Stats,
            ["quit"] => Order::Quit,
            _ => return Err(format!("`{}` is not an order. The orders are:\n{ORDERS}", line.trim())),
        })
    }
}

/// Parses a whole number below 2³², so that no time or count computed from it overflows.
fn number<T: TryFrom<u32>>(name: &str, text: &str) -> Result<T, String> {
    let number = text.parse::<u32>().ok().and_then(|number| T::try_from(number).ok());
    number.ok_or_else(|| {
        let least = if name == "EVERY" { 1 } else { 0 };
        format!("{name} is `{text}`: write a whole number from {least} to {}", u32::MAX)
    })
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Order::Set(mode) => mode.fmt(f),
            Order::CutNow => f.write_str("cut now"),
            Order::ResetNow => f.write_str("reset now"),
            Order::Stats => f.write_str("stats"),
            Order::Quit => f.write_str("quit"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_order_is_parsed_as_it_is_written() {
        for line in [
            "pass",
            "refuse",
            "unanswered",
            "cut",
            "cut now",
            "reset",
            "reset now",
            "reset-once 10",
            "reset-each 0",
            "stall",
            "half-open requests",
            "half-open answers",
            "slow 0 50",
            "slow 1000 0",
            "garble 7 64",
            "black-hole",
            "stats",
            "quit",
        ] {
            assert_eq!(line.parse::<Order>().expect(line).to_string(), line);
            let word = line.split(' ').next().expect("a word");
            assert!(
                ORDERS.lines().any(|help| help.split(' ').next() == Some(word)),
                "{word} is not in the help"
            );
        }
    }

    #[test]
    fn error_for_a_bad_line_says_what_to_write() {
        for (line, part) in [
            ("stahl", "half-open DIRECTION"),
            ("half-open both", "half-open DIRECTION"),
            ("slow x 1", "RATE is `x`: write a whole number from 0 to 4294967295"),
            ("garble 1 0", "EVERY is `0`: write a whole number from 1"),
            ("reset-once 4294967296", "BYTES"),
            ("", "pass"),
        ] {
            let error = line.parse::<Order>().expect_err(line);
            assert!(error.contains(part), "{line}: {error}");
        }
    }
}
