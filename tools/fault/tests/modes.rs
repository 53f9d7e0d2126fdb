//! Tests each mode between real sockets.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may panic and reads the clock")]

use seawall_fault::{Direction, Garble, HeldPort, Mode, Pace, Proxy};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::num::{NonZeroU32, NonZeroU64};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(10);
/// Long enough to see anything that would arrive at once, on a machine that is not too busy.
const QUIET: Duration = Duration::from_millis(150);

/// A server that echoes every byte and reports how each of its connections ended.
struct Echo {
    address: SocketAddr,
    ends: Receiver<Result<(), ErrorKind>>,
    dials: Receiver<()>,
}

impl Echo {
    fn start() -> Echo {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let ((end, ends), (dial, dials)) = (channel(), channel());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // The receiver may be gone at the end of the test.
                let _ = dial.send(());
                let end = end.clone();
                std::thread::spawn(move || end.send(echo(stream)));
            }
        });
        Echo { address, ends, dials }
    }

    fn expect_dial(&self) {
        self.dials.recv_timeout(SOON).expect("the server is dialed");
    }
}

fn echo(mut stream: TcpStream) -> Result<(), ErrorKind> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => stream.write_all(&buffer[..count]).map_err(|error| error.kind())?,
            Err(error) => return Err(error.kind()),
        }
    }
}

fn proxied() -> (Echo, Proxy) {
    let echo = Echo::start();
    let proxy = Proxy::start(echo.address).unwrap();
    (echo, proxy)
}

fn dial(proxy: &Proxy) -> TcpStream {
    let stream = TcpStream::connect(proxy.address()).expect("the proxy listens");
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream.set_write_timeout(Some(SOON)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

fn send(mut stream: &TcpStream, bytes: &[u8]) {
    stream.write_all(bytes).expect("the proxy takes bytes");
}

fn receive(mut stream: &TcpStream, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    stream.read_exact(&mut bytes).expect("bytes in time");
    bytes
}

#[track_caller]
fn expect_echo(stream: &TcpStream, text: &str) {
    send(stream, text.as_bytes());
    assert_eq!(String::from_utf8(receive(stream, text.len())).unwrap(), text);
}

#[track_caller]
fn expect_silence(mut stream: &TcpStream) {
    stream.set_read_timeout(Some(QUIET)).unwrap();
    // Not `read`, because SIGSTOP and SIGCONT interrupt a read with a timeout (signal(7)).
    let kind = stream.read_exact(&mut [0]).expect_err("nothing may come").kind();
    assert!(matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut), "{kind}");
    stream.set_read_timeout(Some(SOON)).unwrap();
}

#[track_caller]
fn expect_end(mut stream: &TcpStream) {
    assert_eq!(stream.read_exact(&mut [0]).expect_err("an end in order").kind(), ErrorKind::UnexpectedEof);
}

#[track_caller]
fn expect_reset(mut stream: &TcpStream) {
    assert_eq!(stream.read_exact(&mut [0]).expect_err("a reset").kind(), ErrorKind::ConnectionReset);
}

#[track_caller]
fn until(mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !holds() {
        assert!(Instant::now() < deadline, "the condition did not become true in time");
        std::thread::yield_now();
    }
}

#[test]
fn pass_changes_nothing_and_forwards_the_end_to_both_sides() {
    let (echo, proxy) = proxied();
    let stream = dial(&proxy);
    expect_echo(&stream, "hello");
    let mut writer = stream.try_clone().unwrap();
    let all: Vec<u8> = (0..3_000_000u32).map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1]).collect();
    let sent = all.clone();
    let sending = std::thread::spawn(move || writer.write_all(&sent).unwrap());
    assert!(receive(&stream, all.len()) == all, "three megabytes come back unchanged");
    sending.join().unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    expect_end(&stream);
    assert_eq!(echo.ends.recv_timeout(SOON), Ok(Ok(())));
    until(|| proxy.stats().open == 0);
    let stats = proxy.stats();
    assert_eq!((stats.accepted, stats.ended), (1, 1), "{stats}");
    assert_eq!((stats.request_bytes, stats.answer_bytes), (3_000_005, 3_000_005), "{stats}");
}

#[test]
fn refuse_rejects_only_new_connections_and_keeps_the_port() {
    let (_echo, proxy) = proxied();
    let stream = dial(&proxy);
    expect_echo(&stream, "a");
    for _ in 0..3 {
        proxy.set(Mode::Refuse);
        let refused = TcpStream::connect(proxy.address()).expect_err("no listener");
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        expect_echo(&stream, "open ones continue");
        proxy.set(Mode::Pass);
        expect_echo(&dial(&proxy), "b");
    }
}

#[test]
fn dial_during_unanswered_waits_until_the_mode_ends() {
    let (_echo, proxy) = proxied();
    let open = dial(&proxy);
    expect_echo(&open, "a");
    for _ in 0..2 {
        proxy.set(Mode::Unanswered);
        for _ in 0..3 {
            let silent = TcpStream::connect_timeout(&proxy.address(), QUIET).expect_err("no answer");
            assert_eq!(silent.kind(), ErrorKind::TimedOut);
        }
        expect_echo(&open, "open ones continue");
        let address = proxy.address();
        let waiting = std::thread::spawn(move || TcpStream::connect_timeout(&address, SOON));
        proxy.set(Mode::Pass);
        expect_echo(&dial(&proxy), "new ones pass");
        // For a moment between two modes there is no listener.
        match waiting.join().unwrap() {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionRefused),
        }
    }
}

#[test]
fn processes_started_meanwhile_keep_no_port() {
    let (_echo, proxy) = proxied();
    let over = Arc::new(AtomicBool::new(false));
    let starting = [(); 4].map(|()| {
        let over = Arc::clone(&over);
        std::thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                // Until the child executes its program, it shares all our sockets.
                Command::new("true").status().unwrap();
            }
        })
    });
    for _ in 0..300 {
        for mode in [Mode::Unanswered, Mode::Pass, Mode::Refuse, Mode::Unanswered, Mode::Refuse, Mode::Pass] {
            proxy.set(mode);
        }
    }
    over.store(true, Ordering::Relaxed);
    starting.into_iter().for_each(|thread| thread.join().unwrap());
    expect_echo(&dial(&proxy), "the proxy still listens");
}

#[test]
fn cut_once_closes_the_open_connections_in_order() {
    let (echo, proxy) = proxied();
    let streams = [dial(&proxy), dial(&proxy)];
    streams.iter().for_each(|stream| expect_echo(stream, "a"));
    proxy.cut();
    streams.iter().for_each(expect_end);
    assert_eq!([echo.ends.recv_timeout(SOON), echo.ends.recv_timeout(SOON)], [Ok(Ok(())), Ok(Ok(()))]);
    expect_echo(&dial(&proxy), "new ones pass");
    assert_eq!(proxy.stats().cut, 2);
}

#[test]
fn cut_is_in_order_even_with_bytes_in_transit() {
    let (_echo, proxy) = proxied();
    let stream = dial(&proxy);
    expect_echo(&stream, "a");
    proxy.set(Mode::Stall);
    // More than the proxy holds; the rest is in the kernel's buffers.
    send(&stream, &vec![0; 300_000]);
    proxy.cut();
    expect_end(&stream);
}

#[test]
fn reset_once_resets_both_sides_of_the_open_connections() {
    let (echo, proxy) = proxied();
    let stream = dial(&proxy);
    expect_echo(&stream, "a");
    proxy.reset();
    expect_reset(&stream);
    assert_eq!(echo.ends.recv_timeout(SOON), Ok(Err(ErrorKind::ConnectionReset)));
    expect_echo(&dial(&proxy), "new ones pass");
    assert_eq!(proxy.stats().reset, 1);
}

#[test]
fn cut_and_reset_as_modes_apply_to_new_connections() {
    let (_echo, proxy) = proxied();
    let stream = dial(&proxy);
    expect_echo(&stream, "a");
    proxy.set(Mode::Cut);
    expect_end(&stream);
    expect_end(&dial(&proxy));
    proxy.set(Mode::Reset);
    // The reset may arrive before the connection is used.
    let met = TcpStream::connect(proxy.address()).and_then(|mut stream| stream.read(&mut [0]));
    assert_eq!(met.expect_err("a reset").kind(), ErrorKind::ConnectionReset);
    proxy.set(Mode::Pass);
    expect_echo(&dial(&proxy), "b");
}

#[test]
fn stall_holds_every_byte_until_the_mode_ends() {
    let (echo, proxy) = proxied();
    let open = dial(&proxy);
    expect_echo(&open, "a");
    echo.expect_dial();
    proxy.set(Mode::Stall);
    let new = dial(&proxy);
    send(&open, b"held");
    send(&new, b"also");
    new.shutdown(Shutdown::Write).unwrap();
    expect_silence(&open);
    expect_silence(&new);
    assert!(echo.dials.try_recv().is_err(), "the server is not dialed meanwhile");
    proxy.set(Mode::Pass);
    assert_eq!(receive(&open, 4), b"held");
    assert_eq!(receive(&new, 4), b"also");
    expect_end(&new);
}

#[test]
fn half_open_holds_one_direction() {
    let (echo, proxy) = proxied();
    let stream = dial(&proxy);
    expect_echo(&stream, "a");
    proxy.set(Mode::HalfOpen(Direction::Answers));
    let before = proxy.stats();
    send(&stream, b"bc");
    until(|| proxy.stats().request_bytes == before.request_bytes + 2);
    expect_silence(&stream);
    assert_eq!(proxy.stats().answer_bytes, before.answer_bytes);
    proxy.set(Mode::HalfOpen(Direction::Requests));
    assert_eq!(receive(&stream, 2), b"bc", "answers pass now");
    send(&stream, b"d");
    expect_silence(&stream);
    assert_eq!(proxy.stats().request_bytes, before.request_bytes + 2);
    proxy.set(Mode::Pass);
    assert_eq!(receive(&stream, 1), b"d");
    drop(echo);
}

#[test]
fn slow_delays_and_limits_the_rate() {
    let (_echo, proxy) = proxied();
    let stream = dial(&proxy);
    expect_echo(&stream, "a");
    proxy.set(Mode::Slow(Pace { bytes_per_s: None, latency: Duration::from_millis(60) }));
    let asked = Instant::now();
    expect_echo(&stream, "late");
    assert!(asked.elapsed() >= Duration::from_millis(120), "{:?}", asked.elapsed());
    proxy.set(Mode::Slow(Pace { bytes_per_s: NonZeroU64::new(2_000), latency: Duration::ZERO }));
    let asked = Instant::now();
    expect_echo(&stream, &"x".repeat(600));
    let took = asked.elapsed();
    assert!(took >= Duration::from_millis(280), "600 bytes at 2000 per second: {took:?}");
    assert!(took < Duration::from_secs(3), "600 bytes at 2000 per second: {took:?}");
}

#[test]
fn reset_once_by_bytes_resets_one_connection_within_an_answer() {
    let (_echo, proxy) = proxied();
    let (one, two) = (dial(&proxy), dial(&proxy));
    expect_echo(&one, "a");
    expect_echo(&two, "a");
    proxy.set(Mode::ResetOnce(3));
    send(&one, b"0123456789");
    assert_eq!(receive(&one, 3), b"012");
    expect_reset(&one);
    expect_echo(&two, "the others pass");
    expect_echo(&dial(&proxy), "and new ones");
    assert_eq!(proxy.stats().reset, 1);
}

#[test]
fn reset_each_resets_every_connection_within_an_answer() {
    let (_echo, proxy) = proxied();
    let open = dial(&proxy);
    expect_echo(&open, "a");
    proxy.set(Mode::ResetEach(2));
    for stream in [open, dial(&proxy), dial(&proxy)] {
        send(&stream, b"0123456789");
        assert_eq!(receive(&stream, 2), b"01");
        expect_reset(&stream);
    }
    proxy.set(Mode::ResetEach(0));
    let stream = dial(&proxy);
    expect_silence(&stream);
    send(&stream, b"x");
    expect_reset(&stream);
}

#[test]
fn garble_flips_the_same_bits_for_the_same_seed() {
    let garble = Mode::Garble(Garble { seed: 9, every: NonZeroU32::new(50).unwrap() });
    let garbled = || {
        let (_echo, proxy) = proxied();
        proxy.set(garble);
        let stream = dial(&proxy);
        send(&stream, &[0; 1_000]);
        let answer = receive(&stream, 1_000);
        assert_eq!(
            proxy.stats().garbled,
            answer.iter().map(|byte| u64::from(byte.count_ones())).sum::<u64>()
        );
        answer
    };
    let answer = garbled();
    assert!(answer.chunks(50).all(|run| run.iter().any(|byte| *byte != 0)), "{answer:?}");
    assert_eq!(answer, garbled());
}

#[test]
fn black_hole_swallows_new_connections_for_good_and_keeps_open_ones() {
    let (echo, proxy) = proxied();
    let open = dial(&proxy);
    expect_echo(&open, "a");
    echo.expect_dial();
    proxy.set(Mode::BlackHole);
    let lost = dial(&proxy);
    // More than the kernel's buffers hold: it is read and discarded.
    send(&lost, &vec![0; 8 << 20]);
    expect_silence(&lost);
    expect_echo(&open, "open ones continue");
    proxy.set(Mode::Pass);
    expect_silence(&lost);
    assert!(echo.dials.try_recv().is_err(), "the server is never dialed");
    let new = dial(&proxy);
    expect_echo(&new, "new ones pass");
    drop(lost);
    until(|| proxy.stats().ended == 1);
    assert_eq!(proxy.stats().swallowed, 1);
}

#[test]
fn continuous_sender_does_not_delay_orders() {
    let (_echo, proxy) = proxied();
    for mode in [Mode::BlackHole, Mode::Pass] {
        proxy.set(mode);
        let flood = dial(&proxy);
        let mut writer = flood.try_clone().unwrap();
        let flooding = std::thread::spawn(move || while writer.write_all(&[0; 64 << 10]).is_ok() {});
        let mut reader = flood;
        let draining =
            std::thread::spawn(move || while matches!(reader.read(&mut [0; 64 << 10]), Ok(1..)) {});
        for _ in 0..50 {
            let asked = Instant::now();
            proxy.set(mode);
            assert!(asked.elapsed() < Duration::from_secs(2), "{mode}: {:?}", asked.elapsed());
        }
        proxy.reset();
        flooding.join().unwrap();
        draining.join().unwrap();
    }
}

#[test]
fn unreachable_server_causes_a_reset_and_is_found_when_it_returns() {
    let port = HeldPort::loopback().unwrap();
    let proxy = Proxy::start(port.address()).unwrap();
    let met = TcpStream::connect(proxy.address()).and_then(|mut stream| stream.read(&mut [0]));
    assert_eq!(met.expect_err("a reset").kind(), ErrorKind::ConnectionReset);
    until(|| proxy.stats().unreachable == 1);
    let listener = port.listen().unwrap();
    std::thread::spawn(move || echo(listener.accept().unwrap().0));
    expect_echo(&dial(&proxy), "there");
}

#[test]
fn connections_over_the_bound_are_reset() {
    let (_echo, proxy) = proxied();
    proxy.set(Mode::BlackHole);
    let held: Vec<TcpStream> = (0..1_024).map(|_| dial(&proxy)).collect();
    until(|| proxy.stats().open == 1_024);
    let met = TcpStream::connect(proxy.address()).and_then(|mut stream| stream.read(&mut [0]));
    assert_eq!(met.expect_err("a reset").kind(), ErrorKind::ConnectionReset);
    assert_eq!(proxy.stats().over_bound, 1);
    drop(held);
    until(|| proxy.stats().open == 0);
}

#[test]
fn dropped_proxy_leaves_no_connection_and_no_listener() {
    let (echo, proxy) = proxied();
    let stream = dial(&proxy);
    expect_echo(&stream, "a");
    let address = proxy.address();
    drop(proxy);
    expect_reset(&stream);
    assert_eq!(echo.ends.recv_timeout(SOON), Ok(Err(ErrorKind::ConnectionReset)));
    assert_eq!(TcpStream::connect(address).expect_err("gone").kind(), ErrorKind::ConnectionRefused);
}
