//! TLS in a reactor that is turned by hand.

use super::super::connection::Connection;
use super::super::tls::tests::{client, pair};
use super::super::tls::{Phase, Tls};
use super::Stage;
use crate::session::AuthMode;
use mio::Events;
use rustls::version::TLS13;
use std::io::Write as _;
use std::net::TcpStream;

/// Handshakes that have begun.
fn begun(stage: &mut Stage) -> usize {
    let phases = stage.reactor.slots.iter().filter_map(|(_, connection)| connection.tls.as_ref());
    phases.filter(|tls| tls.phase() != Phase::New).count()
}

#[test]
fn a_crowd_of_newcomers_is_spread_over_turns() {
    const CROWD: usize = 200;
    let pair = pair(&[&TLS13]);
    let mut stage = Stage::with_tls(AuthMode::Off, Some(pair.server.clone()));
    stage.events = Events::with_capacity(1_024);
    let mut crowd: Vec<TcpStream> =
        (0..CROWD).map(|_| TcpStream::connect(stage.address).expect("listening")).collect();
    stage.turn_until(|stage| stage.reactor.slots.len() == CROWD);
    // All speak before the next turn.
    for socket in &mut crowd {
        let mut hello = Vec::new();
        client(&pair).write_tls(&mut hello).expect("memory");
        socket.write_all(&hello).expect("room");
    }
    let (mut most, mut before) = (0, begun(&mut stage));
    assert_eq!(before, 0);
    stage.turn_until(|stage| {
        let now = begun(stage);
        most = most.max(now - before);
        before = now;
        now == CROWD
    });
    assert!(most < CROWD / 2, "{most} of {CROWD} in one turn");
}

#[test]
fn tls_costs_a_plain_connection_no_memory() {
    // A socket, an outbox, a stage; the box of TLS has the place that a smaller stall left.
    let others = size_of::<Option<Box<Tls>>>() + size_of::<Option<super::super::connection::Stall>>();
    assert_eq!(others, size_of::<Option<crate::clock::Moment>>());
    assert!(size_of::<Connection>() <= 488, "{}", size_of::<Connection>());
}
