//! Name resolution with a deadline.
//!
//! `getaddrinfo` has no deadline: with a dead name server it blocks for many seconds. So it runs on a thread of its own, and
//! the caller waits only until the deadline. There is at most one such thread per resolver: a later look waits for the same
//! answer.

use super::deadline::{left, now};
use super::trouble::Trouble;
use crate::health::finding::Fault;
use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::time::Instant;

/// The resolver of one probe.
#[derive(Debug, Default)]
pub(crate) struct Resolver {
    pending: Option<PendingName>,
}

#[derive(Debug)]
struct PendingName {
    host: String,
    answer: Receiver<std::io::Result<Vec<IpAddr>>>,
}

impl Resolver {
    /// All addresses of a name, or the address itself; never an empty list.
    pub(crate) fn resolve(
        &mut self,
        host: &str,
        port: u16,
        deadline: Instant,
    ) -> Result<Vec<SocketAddr>, Trouble> {
        if let Ok(address) = host.trim_matches(['[', ']']).parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        let pending = match self.pending.take() {
            Some(pending) if pending.host == host => pending,
            Some(pending) if pending.answer.is_empty() => {
                self.pending = Some(pending);
                return Err(Trouble::new(
                    Fault::Unreachable,
                    format!("the name {host} waits for an earlier one to resolve"),
                ));
            }
            Some(_) | None => ask(host)?,
        };
        match pending.answer.recv_timeout(left(deadline, now())) {
            Ok(Ok(addresses)) if !addresses.is_empty() => {
                Ok(addresses.into_iter().map(|address| SocketAddr::new(address, port)).collect())
            }
            Ok(Ok(_)) => Err(Trouble::new(Fault::Unreachable, format!("the name {host} has no address"))),
            Ok(Err(error)) => {
                Err(Trouble::new(Fault::Unreachable, format!("the name {host} does not resolve: {error}")))
            }
            Err(RecvTimeoutError::Timeout) => {
                self.pending = Some(pending);
                Err(Trouble::new(
                    Fault::Unreachable,
                    format!("the name {host} did not resolve in time: the name server is silent"),
                ))
            }
            Err(RecvTimeoutError::Disconnected) => Err(Trouble::new(
                Fault::Internal,
                format!("resolving the name {host} ended without an answer"),
            )),
        }
    }
}

fn ask(host: &str) -> Result<PendingName, Trouble> {
    let (sender, answer) = bounded(1);
    let name = host.to_string();
    let work = move || {
        let found = (name.as_str(), 0).to_socket_addrs().map(|found| found.map(|at| at.ip()).collect());
        // The receiver is gone when no look waits any more.
        let _ = sender.send(found);
    };
    let spawned = std::thread::Builder::new().name("resolve".into()).spawn(work);
    spawned
        .map_err(|error| Trouble::new(Fault::Internal, format!("no thread to resolve {host}: {error}")))?;
    Ok(PendingName { host: host.into(), answer })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn address_needs_no_thread_and_name_gets_its_port() {
        let mut resolver = Resolver::default();
        let deadline = now() + Duration::from_secs(5);
        let found = resolver.resolve("[::1]", 7, deadline).expect("it is an address");
        assert_eq!(found, ["[::1]:7".parse().expect("an address")]);
        let found = resolver.resolve("localhost", 7, deadline).expect("every machine knows it");
        assert!(found.iter().all(|address| address.port() == 7 && address.ip().is_loopback()));
    }

    #[test]
    fn silent_name_server_costs_one_thread_and_not_the_deadline() {
        let (keep, answer) = bounded(1);
        let mut resolver = Resolver { pending: Some(PendingName { host: "db".into(), answer }) };
        for _ in 0..3 {
            let trouble = resolver.resolve("db", 1, now() + Duration::from_millis(5)).expect_err("silent");
            assert_eq!(trouble.fault, Fault::Unreachable);
        }
        keep.send(Ok(vec!["10.0.0.1".parse().expect("an address")])).expect("one place");
        assert!(resolver.resolve("db", 1, now() + Duration::from_secs(1)).is_ok());
    }
}
