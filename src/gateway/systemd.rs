//! Reports to a supervisor by the protocol of sd_notify(3): datagrams to the socket that `NOTIFY_SOCKET` names.
//!
//! Without that variable nothing is sent. The watchdog is fed only while every reactor turns. If one hangs, systemd ends the
//! process: clients can recover from that, but not from a gateway that is silent.

use super::output::counted;
use crate::clock::Now;
use crate::job::Outlook;
use crate::metrics::vitals::Vitals;
use std::fmt::Write;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

/// Time between two reports, if there is news.
const PERIOD: Duration = Duration::from_millis(250);

/// The socket of the supervisor; `None` without one.
#[derive(Clone)]
pub(super) struct Notifier(Option<Arc<(UnixDatagram, SocketAddr)>>);

impl Notifier {
    /// Opens the socket that the environment names.
    pub(super) fn from_environment() -> Notifier {
        let Some(name) = std::env::var_os("NOTIFY_SOCKET") else { return Notifier(None) };
        match open(name.as_encoded_bytes()) {
            Ok(opened) => Notifier(Some(Arc::new(opened))),
            Err(error) => {
                tracing::warn!(%error, "NOTIFY_SOCKET unusable, supervisor not notified");
                Notifier(None)
            }
        }
    }

    pub(super) fn ready(&self) {
        self.send("READY=1");
    }

    /// Reports that a reload has begun; [`Notifier::ready`] ends it.
    pub(super) fn reloading(&self) {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let us = now.tv_sec.saturating_mul(1_000_000).saturating_add(now.tv_nsec / 1_000);
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={us}"));
    }

    pub(super) fn stopping(&self) {
        self.send("STOPPING=1");
    }

    fn send(&self, text: &str) {
        if let Some(opened) = &self.0 {
            let (socket, address) = &**opened;
            // If the supervisor is gone or does not read, nothing else can be done.
            let _ = socket.send_to_addr(text.as_bytes(), address);
        }
    }

    /// Starts the thread `systemd`, which reports the status and feeds the watchdog, if there is a supervisor.
    pub(super) fn watch(
        &self,
        clock: impl Fn() -> Now + Send + 'static,
        vitals: &Arc<Vitals>,
        outlook: &Arc<Outlook>,
    ) -> io::Result<()> {
        if self.0.is_none() {
            return Ok(());
        }
        let watchdog = watchdog_period(|name| std::env::var(name).ok(), std::process::id());
        let (notifier, vitals, outlook) = (self.clone(), Arc::clone(vitals), Arc::clone(outlook));
        let body = move || {
            let mut last = LastReport::default();
            // Nothing is ever sent: receiving is a pause that ends with the process.
            let (_keep, never) = crossbeam_channel::bounded::<()>(0);
            loop {
                let now = clock();
                let silent = vitals.silent(now.at).map(|(reactor, silence)| (reactor, silence.as_secs()));
                let status = Status {
                    stopping: vitals.stopping(),
                    silent,
                    connections: vitals.connections(),
                    health: outlook.snapshot().level.as_str(),
                };
                if let Some(text) = last.next(&status, now, watchdog) {
                    notifier.send(&text);
                }
                let _ = never.recv_timeout(PERIOD.min(watchdog.unwrap_or(PERIOD)));
            }
        };
        std::thread::Builder::new().name("systemd".into()).spawn(body).map(|_| ())
    }
}

fn open(name: &[u8]) -> io::Result<(UnixDatagram, SocketAddr)> {
    let address = match name.split_first() {
        Some((b'@', abstract_name)) => SocketAddr::from_abstract_name(abstract_name)?,
        _ => {
            use std::os::unix::ffi::OsStrExt;
            SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(name))?
        }
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    Ok((socket, address))
}

/// A third of the supervisor's timeout, so that two reports may be lost; `None` if it does not watch this process.
fn watchdog_period(variable: impl Fn(&str) -> Option<String>, pid: u32) -> Option<Duration> {
    let us: u64 = variable("WATCHDOG_USEC")?.parse().ok().filter(|us| *us > 0)?;
    let is_ours = variable("WATCHDOG_PID").is_none_or(|of| of.parse() == Ok(pid));
    is_ours.then(|| Duration::from_micros(us / 3))
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Status {
    stopping: bool,
    /// A reactor that makes no turn, and for how many seconds.
    silent: Option<(usize, u64)>,
    connections: u64,
    health: &'static str,
}

/// The last report.
#[derive(Debug, Default)]
struct LastReport {
    status: Option<Status>,
    /// The last time the watchdog was fed.
    fed: Option<crate::clock::Moment>,
}

impl LastReport {
    /// The next report; `None` if there is no news.
    fn next(&mut self, status: &Status, now: Now, watchdog: Option<Duration>) -> Option<String> {
        let mut lines = String::new();
        let was_stopping = self.status.as_ref().is_some_and(|before| before.stopping);
        if status.stopping && !was_stopping {
            lines.push_str("STOPPING=1\n");
        }
        if self.status.as_ref() != Some(status) {
            let (connections, health) = (counted(status.connections, "connection"), status.health);
            let _infallible = match (status.stopping, status.silent) {
                (true, _) => writeln!(lines, "STATUS=draining; {connections} left"),
                (false, Some((reactor, seconds))) => {
                    writeln!(lines, "STATUS=reactor {reactor} made no turn for {seconds} s; {connections}")
                }
                (false, None) => {
                    writeln!(lines, "STATUS=serving; {connections}; health {health}")
                }
            };
            self.status = Some(status.clone());
        }
        // A draining process has its own deadline, and its reactors end before it.
        let is_well = status.silent.is_none() || status.stopping;
        let is_hungry = watchdog.is_some_and(|period| self.fed.is_none_or(|fed| now.at.since(fed) >= period));
        if is_well && is_hungry {
            self.fed = Some(now.at);
            lines.push_str("WATCHDOG=1\n");
        }
        (!lines.is_empty()).then_some(lines)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Moment;

    fn at(ms: u64) -> Now {
        Now { at: Moment::from_micros(ms * 1_000), unix_ms: 0 }
    }

    const WELL: Status = Status { stopping: false, silent: None, connections: 3, health: "ok" };
    const PERIOD: Option<Duration> = Some(Duration::from_secs(3));

    #[test]
    fn watchdog_is_fed_once_a_period_and_never_while_a_reactor_hangs() {
        let mut last = LastReport::default();
        let first = last.next(&WELL, at(0), PERIOD).expect("news");
        assert_eq!(first, "STATUS=serving; 3 connections; health ok\nWATCHDOG=1\n");
        assert_eq!(last.next(&WELL, at(2_999), PERIOD), None);
        assert_eq!(last.next(&WELL, at(3_000), PERIOD).as_deref(), Some("WATCHDOG=1\n"));
        let silent = Status { silent: Some((1, 5)), ..WELL };
        let said = last.next(&silent, at(60_000), PERIOD).expect("news");
        assert_eq!(said, "STATUS=reactor 1 made no turn for 5 s; 3 connections\n");
        assert_eq!(last.next(&silent, at(120_000), PERIOD), None);
        assert!(last.next(&WELL, at(120_250), PERIOD).is_some_and(|text| text.contains("WATCHDOG=1")));
    }

    #[test]
    fn stopping_is_reported_once_and_the_watchdog_stays_fed() {
        let mut last = LastReport::default();
        let leaving = Status { stopping: true, silent: Some((0, 9)), ..WELL };
        let said = last.next(&leaving, at(0), PERIOD).expect("news");
        assert_eq!(said, "STOPPING=1\nSTATUS=draining; 3 connections left\nWATCHDOG=1\n");
        assert_eq!(last.next(&leaving, at(10), PERIOD), None);
    }

    #[test]
    fn watchdog_period_is_a_third_and_only_for_this_process() {
        let of = |us: &'static str, pid: Option<&'static str>| {
            watchdog_period(
                |name| match name {
                    "WATCHDOG_USEC" => Some(us.into()),
                    "WATCHDOG_PID" => pid.map(str::to_owned),
                    _ => None,
                },
                42,
            )
        };
        assert_eq!(of("9000000", Some("42")), Some(Duration::from_secs(3)));
        assert_eq!(of("9000000", None), Some(Duration::from_secs(3)));
        assert_eq!(of("9000000", Some("43")), None);
        assert_eq!(of("0", None), None);
        assert_eq!(watchdog_period(|_| None, 42), None);
    }
}
