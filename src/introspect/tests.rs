use super::*;
use crate::auth::permission::Right;
use crate::auth::token::{Algorithm, KeyConfig, KeyMaterial, VerifierConfig};
use crate::id::{ChannelName, ReactorId};
use crate::job::{Inbox, inbox};
use crate::limits::AUTH_QUEUE;
use crate::rate::Rate;
use crossbeam_channel::{Sender, bounded};
use serde_json::{Value, json};
use std::net::Ipv4Addr;

const SECRET: &[u8] = b"a secret of the test suite alone";
const CONNECT: Occasion = Occasion::Connect;
const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const PATIENCE: Duration = Duration::from_secs(10);

fn verifier() -> Verifier {
    let material = KeyMaterial::Secret(SECRET.to_vec().into());
    let keys = vec![KeyConfig { kid: None, algorithm: Algorithm::Hs256, material }];
    let config = VerifierConfig { keys, ..VerifierConfig::default() };
    Verifier::new(config).expect("a good key")
}

fn token(claims: &Value) -> Box<str> {
    let key = jsonwebtoken::EncodingKey::from_secret(SECRET);
    let header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::HS256);
    jsonwebtoken::encode(&header, claims, &key).expect("signs").into_boxed_str()
}

fn of(user: &str) -> Box<str> {
    token(&json!({"sub": user}))
}

fn name(user: &str) -> UserName {
    UserName::parse(user).expect("a user name")
}

#[allow(clippy::disallowed_methods, reason = "a test reads the clock")]
fn clock() -> Clock {
    let origin = std::time::Instant::now();
    Arc::new(move || {
        let since_1970 = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let unix_ms = since_1970.map_or(0, |since| since.as_millis() as u64);
        Now { at: Moment::ZERO + origin.elapsed(), unix_ms }
    })
}

/// A running worker, and the reactors' ends of its queues.
struct Bench {
    jobs: Sender<AuthJob>,
    reactors: Vec<(Inbox, mio::Poll)>,
    counters: Arc<AuthCounters>,
    running: RunningAuth,
}

impl Bench {
    fn new(verifier: Option<Verifier>, census: Census) -> Bench {
        let mut mailboxes = Vec::new();
        let mut reactors = Vec::new();
        for _ in 0..2 {
            let poll = mio::Poll::new().expect("a poll");
            let waker = mio::Waker::new(poll.registry(), mio::Token(0)).expect("a waker");
            let (mailbox, inbox) = inbox(waker);
            mailboxes.push(mailbox);
            reactors.push((inbox, poll));
        }
        let (jobs, queue) = bounded(AUTH_QUEUE);
        let counters = Arc::new(AuthCounters::default());
        let trust = verifier.map(|verifier| TokenTrust {
            verifier,
            service: None,
            issuer_keys: Arc::default(),
            edition: TrustEdition::default(),
        });
        let (orders, _) = OrderBoard::alone(Arc::from([]));
        orders.begin(&[], &[], OrderId(0));
        let mailboxes = Arc::from(mailboxes);
        let ends = AuthEnds {
            mailboxes,
            jobs: queue,
            counters: Arc::clone(&counters),
            orders,
            registry: None,
            canary: None,
        };
        let running = start(trust, census, clock(), ends).expect("a thread");
        Bench { jobs, reactors, counters, running }
    }

    fn send(&self, job: AuthJob) {
        self.jobs.send(job).expect("the worker lives");
    }

    fn answer(&self, reactor: usize) -> Completion {
        self.reactors[reactor].0.answers.recv_timeout(PATIENCE).expect("an answer in time")
    }

    fn check(&self, token: Box<str>, occasion: Occasion) -> Result<Identity, Denied> {
        let asked = ticket(0, 7);
        self.send(AuthJob::CheckToken { ticket: asked, token, occasion, address: ADDRESS });
        match self.answer(0) {
            Completion::TokenChecked { ticket, outcome, .. } if ticket == asked => outcome,
            other => panic!("{other:?}"),
        }
    }

    fn arrive(&self, address: &str) -> Result<(), AddressDenied> {
        let asked = ticket(1, 9);
        self.send(AuthJob::AdmitAddress { ticket: asked, address: address.parse().expect("an address") });
        match self.answer(1) {
            Completion::AddressChecked { ticket, outcome, .. } if ticket == asked => outcome,
            other => panic!("{other:?}"),
        }
    }

    /// Ends the worker, so that its counts are final.
    fn end(self) -> Arc<AuthCounters> {
        drop(self.jobs);
        self.running.join().expect("no panic");
        self.counters
    }
}

fn ticket(reactor: u16, request: u64) -> Ticket {
    Ticket { reactor: ReactorId(reactor), request }
}

fn total(cell: &AtomicU64) -> u64 {
    cell.load(Ordering::Relaxed)
}

#[test]
fn good_token_yields_its_user_and_bad_token_its_fault() {
    let bench = Bench::new(Some(verifier()), Census::new(0, 0, None));
    let channels = json!([{"pattern": "lobby", "rights": ["publish"]}]);
    let good = bench.check(token(&json!({"sub": "ann", "channels": channels})), CONNECT);
    let identity = good.expect("granted");
    assert_eq!(identity.user, name("ann"));
    assert!(identity.permissions.allow(Right::Publish, &ChannelName::parse("lobby").expect("a name")));
    let expired = bench.check(token(&json!({"sub": "ann", "exp": 1})), CONNECT);
    assert_eq!(expired.expect_err("refused"), Denied::Token(TokenFault::Expired));
    let counters = bench.end();
    assert_eq!(total(&counters.tokens_checked), 2);
    let counted: Vec<_> = counters.token_faults().filter(|(_, total)| *total > 0).collect();
    assert_eq!(counted, [(TokenFault::Expired, 1)]);
}

#[test]
fn connections_of_a_user_are_bounded_and_leave_frees_a_place() {
    let bench = Bench::new(Some(verifier()), Census::new(1, 0, None));
    assert!(bench.check(of("ann"), CONNECT).is_ok());
    assert_eq!(bench.check(of("ann"), CONNECT).expect_err("one"), Denied::TooManyOfUser);
    assert!(bench.check(of("bob"), CONNECT).is_ok());
    bench.send(AuthJob::ReleaseUser { user: name("ann") });
    assert!(bench.check(of("ann"), CONNECT).is_ok());
    let counters = bench.end();
    assert_eq!((total(&counters.too_many_of_user), total(&counters.users)), (1, 2));
}

#[test]
fn refresh_needs_the_same_user_and_is_not_counted_again() {
    let bench = Bench::new(Some(verifier()), Census::new(2, 0, None));
    assert!(bench.check(of("ann"), CONNECT).is_ok());
    for _ in 0..3 {
        assert!(bench.check(of("ann"), Occasion::Refresh(name("ann"))).is_ok());
    }
    let other = bench.check(of("bob"), Occasion::Refresh(name("ann")));
    assert_eq!(other.expect_err("another user"), Denied::OtherUser);
    assert!(bench.check(of("ann"), CONNECT).is_ok(), "one place of two was taken");
    assert_eq!(bench.check(of("ann"), CONNECT).expect_err("two"), Denied::TooManyOfUser);
    let counters = bench.end();
    assert_eq!((total(&counters.other_user), total(&counters.users)), (1, 1));
}

#[test]
fn addresses_are_counted_and_retry_is_in_whole_milliseconds() {
    let bench = Bench::new(None, Census::new(0, 1, Rate::new(1, 2)));
    assert_eq!(bench.arrive("192.0.2.1"), Ok(()));
    assert_eq!(bench.arrive("192.0.2.1"), Err(AddressDenied::TooMany));
    // A busy machine may grant one more for each second that it takes.
    for _ in 0..60 {
        bench.send(AuthJob::ReleaseAddress { address: "192.0.2.1".parse().expect("an address") });
        if let Err(AddressDenied::TooFast { retry_ms }) = bench.arrive("192.0.2.1") {
            assert!((1..=1_000).contains(&retry_ms), "{retry_ms}");
            assert_eq!(total(&bench.end().addresses_too_fast), 1);
            return;
        }
    }
    panic!("sixty arrivals were granted after a burst of two");
}

#[test]
fn answer_goes_to_its_reactor_and_wakes_it() {
    let mut bench = Bench::new(Some(verifier()), Census::new(0, 0, None));
    bench.send(AuthJob::CheckToken {
        ticket: ticket(1, 5),
        token: of("ann"),
        occasion: CONNECT,
        address: ADDRESS,
    });
    let mut events = mio::Events::with_capacity(4);
    bench.reactors[1].1.poll(&mut events, Some(PATIENCE)).expect("polls");
    assert!(!events.is_empty(), "woken before patience ran out");
    let answer = bench.answer(1);
    assert!(matches!(answer, Completion::TokenChecked { ticket, .. } if ticket.request == 5));
    bench.reactors[0].1.poll(&mut events, Some(Duration::ZERO)).expect("polls");
    assert!(events.is_empty(), "nothing for the other");
    assert!(bench.reactors[0].0.answers.is_empty());
}

#[test]
fn more_than_a_batch_is_answered_in_order() {
    let bench = Bench::new(Some(verifier()), Census::new(0, 0, None));
    let jobs = CHECKS_MAX as u64 * 3 + 1;
    for request in 0..jobs {
        bench.send(AuthJob::CheckToken {
            ticket: ticket(0, request),
            token: of("ann"),
            occasion: CONNECT,
            address: ADDRESS,
        });
    }
    for request in 0..jobs {
        let answer = bench.answer(0);
        assert!(matches!(answer, Completion::TokenChecked { ticket, .. } if ticket.request == request));
    }
}

#[test]
fn ticket_of_an_unknown_reactor_is_dropped() {
    let bench = Bench::new(Some(verifier()), Census::new(0, 0, None));
    bench.send(AuthJob::CheckToken {
        ticket: ticket(9, 1),
        token: of("ann"),
        occasion: CONNECT,
        address: ADDRESS,
    });
    assert!(bench.check(of("ann"), CONNECT).is_ok());
}

#[test]
fn panic_in_a_check_is_one_malformed_token() {
    let counters = Arc::new(AuthCounters::default());
    let fault = |fault| Judged::Settled(Err(fault));
    assert_eq!(unwinding(&counters, || panic!("as a library might")), fault(TokenFault::Malformed));
    assert_eq!(unwinding(&counters, || fault(TokenFault::Expired)), fault(TokenFault::Expired));
    assert_eq!(total(&counters.panics), 1);
}

#[test]
fn without_a_verifier_all_users_are_anonymous_and_uncounted() {
    let bench = Bench::new(None, Census::new(1, 0, None));
    for _ in 0..3 {
        let identity = bench.check("whatever".into(), CONNECT).expect("granted");
        assert_eq!(identity.user, UserName::anonymous());
    }
    assert_eq!(total(&bench.end().users), 0);
}

#[test]
fn waits_are_rounded_up() {
    assert_eq!(whole_milliseconds(Duration::from_micros(1)), 1);
    assert_eq!(whole_milliseconds(Duration::from_millis(50)), 50);
    assert_eq!(whole_milliseconds(Duration::MAX), u32::MAX);
}
