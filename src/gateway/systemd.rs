//! What a supervisor is told, by the protocol of sd_notify(3): datagrams to the socket that `NOTIFY_SOCKET` names.
//!
//! Without that variable all of this does nothing. The watchdog is fed only while every reactor turns: one that hangs
//! makes systemd end the process, which a client can live with and a silent gateway it cannot.

use crate::clock::Now;
use crate::job::Outlook;
use crate::metrics::vitals::Vitals;
use std::fmt::Write;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

/// Between two looks at what there is to tell.
const PERIOD: Duration = Duration::from_millis(250);

/// The way to whoever started the process, if it wants to know.
#[derive(Clone)]
pub(super) struct Notifier(Option<Arc<(UnixDatagram, SocketAddr)>>);

impl Notifier {
    /// By the variables of this process.
    pub(super) fn from_environment() -> Notifier {
        let Some(name) = std::env::var_os("NOTIFY_SOCKET") else { return Notifier(None) };
        match open(name.as_encoded_bytes()) {
            Ok(opened) => Notifier(Some(Arc::new(opened))),
            Err(error) => {
                tracing::warn!(%error, "NOTIFY_SOCKET cannot be used: the supervisor is told nothing");
                Notifier(None)
            }
        }
    }

    /// It serves.
    pub(super) fn ready(&self) {
        self.tell("READY=1");
    }

    /// It reads its configuration again; [`Notifier::ready`] ends that.
    pub(super) fn reloading(&self) {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let us = now.tv_sec.saturating_mul(1_000_000).saturating_add(now.tv_nsec / 1_000);
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={us}"));
    }

    /// It leaves.
    pub(super) fn stopping(&self) {
        self.tell("STOPPING=1");
    }

    fn tell(&self, text: &str) {
        if let Some(opened) = &self.0 {
            let (socket, address) = &**opened;
            // A supervisor that is gone, or does not read: there is nobody else to tell.
            let _ = socket.send_to_addr(text.as_bytes(), address);
        }
    }

    /// Starts the thread `systemd`, which tells how it stands and feeds the watchdog; none where nobody listens.
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
            let mut told = Told::default();
            // Nobody sends: it is a pause that ends with the process.
            let (_keep, never) = crossbeam_channel::bounded::<()>(0);
            loop {
                let now = clock();
                let silent = vitals.silent(now.at).map(|(reactor, silence)| (reactor, silence.as_secs()));
                let stands = Stands {
                    stopping: vitals.stopping(),
                    silent,
                    connections: vitals.connections(),
                    health: outlook.snapshot().level.as_str(),
                };
                if let Some(text) = told.next(&stands, now, watchdog) {
                    notifier.tell(&text);
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

/// A third of what the supervisor waits for, so that two may be lost; `None` when it waits for nothing of this process.
fn watchdog_period(variable: impl Fn(&str) -> Option<String>, pid: u32) -> Option<Duration> {
    let us: u64 = variable("WATCHDOG_USEC")?.parse().ok().filter(|us| *us > 0)?;
    let is_ours = variable("WATCHDOG_PID").is_none_or(|of| of.parse() == Ok(pid));
    is_ours.then(|| Duration::from_micros(us / 3))
}

/// How it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stands {
    stopping: bool,
    /// A reactor that made no turn, and for how many seconds.
    silent: Option<(usize, u64)>,
    connections: u64,
    health: &'static str,
}

/// What was told last.
#[derive(Debug, Default)]
struct Told {
    stands: Option<Stands>,
    fed: Option<crate::clock::Moment>,
}

impl Told {
    /// What there is to tell now.
    fn next(&mut self, stands: &Stands, now: Now, watchdog: Option<Duration>) -> Option<String> {
        let mut lines = String::new();
        let was_stopping = self.stands.as_ref().is_some_and(|before| before.stopping);
        if stands.stopping && !was_stopping {
            lines.push_str("STOPPING=1\n");
        }
        if self.stands.as_ref() != Some(stands) {
            let Stands { connections, health, .. } = stands;
            let _infallible = match (stands.stopping, stands.silent) {
                (true, _) => writeln!(lines, "STATUS=leaving; {connections} connections left"),
                (false, Some((reactor, seconds))) => {
                    writeln!(
                        lines,
                        "STATUS=reactor {reactor} made no turn for {seconds} s; {connections} connections"
                    )
                }
                (false, None) => {
                    writeln!(lines, "STATUS=serving; {connections} connections; health {health}")
                }
            };
            self.stands = Some(stands.clone());
        }
        // A process that leaves has another deadline, and its reactors end before it.
        let is_well = stands.silent.is_none() || stands.stopping;
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

    const WELL: Stands = Stands { stopping: false, silent: None, connections: 3, health: "ok" };
    const PERIOD: Option<Duration> = Some(Duration::from_secs(3));

    #[test]
    fn the_watchdog_is_fed_once_a_period_and_never_while_a_reactor_is_silent() {
        let mut told = Told::default();
        let first = told.next(&WELL, at(0), PERIOD).expect("news");
        assert_eq!(first, "STATUS=serving; 3 connections; health ok\nWATCHDOG=1\n");
        assert_eq!(told.next(&WELL, at(2_999), PERIOD), None);
        assert_eq!(told.next(&WELL, at(3_000), PERIOD).as_deref(), Some("WATCHDOG=1\n"));
        let silent = Stands { silent: Some((1, 5)), ..WELL };
        let said = told.next(&silent, at(60_000), PERIOD).expect("news");
        assert_eq!(said, "STATUS=reactor 1 made no turn for 5 s; 3 connections\n");
        assert_eq!(told.next(&silent, at(120_000), PERIOD), None);
        assert!(told.next(&WELL, at(120_250), PERIOD).is_some_and(|text| text.contains("WATCHDOG=1")));
    }

    #[test]
    fn stopping_is_said_once_and_feeds_on() {
        let mut told = Told::default();
        let leaving = Stands { stopping: true, silent: Some((0, 9)), ..WELL };
        let said = told.next(&leaving, at(0), PERIOD).expect("news");
        assert_eq!(said, "STOPPING=1\nSTATUS=leaving; 3 connections left\nWATCHDOG=1\n");
        assert_eq!(told.next(&leaving, at(10), PERIOD), None);
    }

    #[test]
    fn the_watchdog_is_that_of_this_process_and_a_third_of_its_time() {
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
