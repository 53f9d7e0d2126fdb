//! The interface between the watch thread and the probes it schedules.

use crate::health::finding::{Cause, Fault, Finding};
use std::fmt;
use std::time::Duration;

/// The number of looks per connection.
pub const LOOKS_PER_CONNECTION: u32 = 10;

/// One dependency as its looker thread sees it.
pub trait Probing: fmt::Debug + Send {
    /// Probes once and returns by `timeout`.
    fn look(&mut self, timeout: Duration) -> Finding;

    /// Closes the kept connection, so that the next look opens one.
    fn forget(&mut self);
}

/// A connection that is kept from one look to the next, and replaced at every [`LOOKS_PER_CONNECTION`]th look.
#[derive(Debug)]
pub struct KeptConnection<C> {
    connection: Option<C>,
    looks: u32,
}

impl<C> Default for KeptConnection<C> {
    fn default() -> KeptConnection<C> {
        KeptConnection { connection: None, looks: 0 }
    }
}

impl<C> KeptConnection<C> {
    /// Closes the connection.
    pub fn forget(&mut self) {
        self.connection = None;
    }

    /// Looks with `once`, which takes the kept connection, or opens one if there is none, and returns it together with its
    /// warning. A connection is kept only after success. One that ended between two looks is no fault: then a new one decides.
    pub fn look(
        &mut self,
        mut once: impl FnMut(Option<C>) -> Result<(Option<String>, Option<C>), Cause>,
    ) -> Result<Option<String>, Cause> {
        let mut before = None;
        if self.looks.is_multiple_of(LOOKS_PER_CONNECTION) {
            before = self.connection.take();
        }
        self.looks = self.looks.wrapping_add(1);
        let kept = self.connection.take();
        let was_kept = kept.is_some();
        let result = match once(kept) {
            Err(Cause { fault: Fault::Reset | Fault::NotReady, .. }) if was_kept => once(None),
            // Other clients hold all other connections: the kept one goes on, and this look uses it.
            Err(Cause { fault: Fault::ConnectionLimit, text, .. }) if before.is_some() => {
                once(before).map(|(warning, kept)| {
                    let limit = format!("no further connection is taken: {text}");
                    (Some(warning.map_or(limit.clone(), |warning| format!("{limit}; {warning}"))), kept)
                })
            }
            other => other,
        };
        result.map(|(warning, kept)| {
            self.connection = kept;
            warning
        })
    }
}

/// The finding for a probe that panicked.
pub fn broken() -> Finding {
    let text = "the look itself failed: this is a fault of seawall";
    let cause = Cause::new(Fault::Internal, text, "Report it with what was printed above.");
    Finding { latency: Duration::ZERO, result: Err(cause) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fails(fault: Fault) -> Result<(Option<String>, Option<u32>), Cause> {
        Err(Cause::new(fault, "no", ""))
    }

    #[test]
    fn connection_is_replaced_now_and_then_and_kept_if_no_other_is_accepted() {
        let mut kept = KeptConnection::default();
        let mut opened = 0;
        for _ in 0..25 {
            let once = |connection: Option<u32>| {
                let connection = connection.unwrap_or_else(|| {
                    opened += 1;
                    opened
                });
                Ok((None, Some(connection)))
            };
            assert_eq!(kept.look(once), Ok(None));
        }
        assert_eq!((opened, kept.connection), (3, Some(3)));
        kept.looks = LOOKS_PER_CONNECTION;
        let once = |connection| match connection {
            None => fails(Fault::ConnectionLimit),
            kept => Ok((Some("slow".into()), kept)),
        };
        let warning = kept.look(once).expect("the old connection works");
        assert_eq!(warning.as_deref(), Some("no further connection is taken: no; slow"));
        kept.forget();
        assert!(kept.look(once).is_err());
    }

    #[test]
    fn connection_lost_between_two_looks_is_no_fault_but_a_failed_new_one_is() {
        let mut kept = KeptConnection { connection: Some(1), looks: 1 };
        let once = |connection| match connection {
            Some(1) => fails(Fault::Reset),
            _ => Ok((None, Some(2))),
        };
        assert_eq!((kept.look(once), kept.connection), (Ok(None), Some(2)));
        assert!(kept.look(|_| fails(Fault::Timeout)).is_err());
        assert_eq!(kept.connection, None, "a failed look closes its connection");
        assert!(kept.look(|_| fails(Fault::Reset)).is_err());
    }
}
