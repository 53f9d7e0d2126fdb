//! Redis in each of its states.

use crate::servers::{Redis, Reply};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

#[test]
fn stopped_or_killed_server_refuses_connections_and_restarts_empty_on_its_port() {
    let mut redis = Redis::start();
    assert!(redis.command(&["SET", "a", "1"]).is_ok());
    assert_eq!(redis.command(&["GET", "a"]), Reply::Text("1".into()));
    redis.stop();
    assert_eq!(redis.try_command(&["PING"]).expect_err("down").kind(), ErrorKind::ConnectionRefused);
    redis.start_again();
    redis.kill9();
    assert!(!redis.is_running());
    redis.start_again();
    assert_eq!(redis.command(&["GET", "a"]), Reply::Nothing);
    assert!(redis.url().ends_with(&format!("{}/0", redis.address())));
}

#[test]
fn panicking_test_leaves_no_server() {
    let (sender, receiver) = std::sync::mpsc::channel();
    let test = std::thread::spawn(move || {
        let redis = Redis::start();
        redis.sigstop();
        sender.send(redis.address()).expect("the test waits");
        std::panic::resume_unwind(Box::new("as an assertion would"));
    });
    let address = receiver.recv().expect("it started");
    assert!(test.join().is_err());
    assert_eq!(TcpStream::connect(address).expect_err("gone").kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn frozen_server_accepts_bytes_and_answers_only_after_it_continues() {
    let redis = Redis::start();
    redis.sigstop();
    let mut stream = TcpStream::connect(redis.address()).expect("the kernel accepts");
    stream.write_all(b"PING\r\n").expect("the kernel buffers the bytes");
    stream.set_read_timeout(Some(Duration::from_millis(200))).expect("a timeout");
    let kind = stream.read_exact(&mut [0]).expect_err("silence").kind();
    assert!(matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut), "{kind}");
    redis.sigcont();
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
    let mut answer = [0; 7];
    stream.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"+PONG\r\n");
}

#[test]
fn server_without_memory_refuses_only_writes() {
    let redis = Redis::start();
    redis.out_of_memory();
    assert!(redis.command(&["SET", "a", "1"]).is_error("OOM"));
    assert_eq!(redis.command(&["PING"]), Reply::Status("PONG".into()));
    redis.enough_memory();
    assert!(redis.command(&["SET", "a", "1"]).is_ok());
}

#[test]
fn replica_without_its_primary_refuses_writes_and_optionally_reads() {
    let redis = Redis::start();
    redis.read_only();
    assert!(redis.command(&["SET", "a", "1"]).is_error("READONLY"));
    assert_eq!(redis.command(&["GET", "a"]), Reply::Nothing);
    redis.without_primary();
    assert!(redis.command(&["GET", "a"]).is_error("MASTERDOWN"));
    redis.read_write();
    assert!(redis.command(&["SET", "a", "1"]).is_ok());
}

#[test]
fn loading_server_says_so_until_it_is_done() {
    let mut redis = Redis::start();
    redis.restart_loading(100);
    assert!(redis.command(&["GET", "loading:0"]).is_error("LOADING"));
    let done = std::iter::repeat_with(|| redis.command(&["GET", "loading:0"]));
    let mut answers = done.take(2_000).skip_while(|reply| reply.is_error("LOADING"));
    assert_eq!(answers.next(), Some(Reply::Text("x".repeat(64))));
}

#[test]
fn pub_sub_is_refused_while_ping_is_answered() {
    let redis = Redis::start();
    redis.deny_channels();
    assert!(redis.command(&["PUBLISH", "a", "1"]).is_error("NOPERM"));
    assert_eq!(redis.command(&["PING"]), Reply::Status("PONG".into()));
    redis.allow_channels();
    assert_eq!(redis.command(&["PUBLISH", "a", "1"]), Reply::Number(0));
    let mut subscriber = TcpStream::connect(redis.address()).expect("it listens");
    subscriber.write_all(b"SUBSCRIBE a\r\n").expect("taken");
    subscriber.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
    let mut first = [0; 8];
    subscriber.read_exact(&mut first).expect("subscribed");
    assert_eq!(redis.end_subscriptions(), 1);
    subscriber.read_to_end(&mut Vec::new()).expect("an orderly end");
}

#[test]
fn paused_server_is_silent_for_that_time() {
    let redis = Redis::start();
    let asked = std::time::Instant::now();
    redis.pause(300);
    assert_eq!(redis.command(&["GET", "a"]), Reply::Nothing);
    assert!(asked.elapsed() >= Duration::from_millis(200), "{:?}", asked.elapsed());
}
