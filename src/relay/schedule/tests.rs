//! The schedule in a model of the store, with backends that fail, processes that crash and notices that are lost.

use super::*;
use crate::random::Random;
use crate::relay::share::SeatShares;
use proptest::prelude::*;
use std::collections::BTreeMap;

const ROUTE: RoutePlace = RoutePlace(0);

fn channel(name: &str) -> ChannelName {
    ChannelName::parse(name).expect("a channel")
}

fn at(ms: u64) -> Moment {
    Moment::from_micros(ms * 1_000)
}

fn open(_: RoutePlace) -> bool {
    true
}

#[test]
fn channel_is_with_one_sender_and_comes_back_if_more_came_meanwhile() {
    let mut schedule = RelaySchedule::new([2]);
    let one = channel("one");
    schedule.noticed(one.clone(), ROUTE);
    schedule.noticed(one.clone(), ROUTE);
    assert_eq!(schedule.next(at(0), open), Some((ROUTE, one.clone())));
    schedule.noticed(one.clone(), ROUTE);
    schedule.due(one.clone(), ROUTE);
    assert_eq!(schedule.next(at(0), open), None, "it is with a sender");
    schedule.settled(&one, AfterSettling::Rest, Some(ROUTE));
    assert_eq!(schedule.next(at(0), open), Some((ROUTE, one.clone())), "something came meanwhile");
    schedule.settled(&one, AfterSettling::Rest, Some(ROUTE));
    schedule.freed(ROUTE);
    schedule.freed(ROUTE);
    assert_eq!((schedule.next(at(0), open), schedule.sent(), schedule.taken(ROUTE)), (None, 0, 0));
}

#[test]
fn channel_that_waits_for_a_time_is_not_hurried_by_a_notice() {
    let mut schedule = RelaySchedule::new([1]);
    let one = channel("one");
    schedule.noticed(one.clone(), ROUTE);
    schedule.next(at(0), open).expect("ready");
    schedule.settled(&one, AfterSettling::Later(at(500)), Some(ROUTE));
    schedule.freed(ROUTE);
    schedule.noticed(one.clone(), ROUTE);
    assert_eq!((schedule.next(at(499), open), schedule.wakes()), (None, Some(at(500))));
    assert!(schedule.next(at(500), open).is_some());
    schedule.settled(&one, AfterSettling::Later(at(900)), Some(ROUTE));
    schedule.freed(ROUTE);
    schedule.due(one.clone(), ROUTE);
    assert_eq!(schedule.next(at(501), open), Some((ROUTE, one)), "the store says that it is due");
    assert_eq!(schedule.wakes(), None);
}

#[test]
fn route_that_is_closed_or_full_leaves_the_others_alone() {
    let mut schedule = RelaySchedule::new([1, 1]);
    let (slow, quick) = (RoutePlace(0), RoutePlace(1));
    for name in ["a1", "a2"] {
        schedule.noticed(channel(name), slow);
    }
    for name in ["b1", "b2"] {
        schedule.noticed(channel(name), quick);
    }
    assert_eq!(schedule.next(at(0), |route| route == quick), Some((quick, channel("b1"))));
    assert_eq!(schedule.next(at(0), |route| route == quick), None, "its seat is taken");
    assert_eq!(schedule.next(at(0), open), Some((slow, channel("a1"))));
    schedule.settled(&channel("b1"), AfterSettling::Rest, Some(quick));
    assert_eq!(schedule.next(at(0), open), None, "a response may still be read");
    schedule.freed(quick);
    assert_eq!(schedule.next(at(0), open), Some((quick, channel("b2"))));
    schedule.forget(slow);
    schedule.freed(slow);
    assert_eq!(schedule.next(at(0), open), None, "the store knows a2");
}

#[test]
fn response_that_is_read_and_the_next_question_of_its_channel_take_a_seat_each() {
    let mut schedule = RelaySchedule::new([2]);
    let one = channel("one");
    schedule.noticed(one.clone(), ROUTE);
    schedule.next(at(0), open).expect("ready");
    assert!(schedule.take_over(&one));
    assert!(!schedule.take_over(&one), "both seats are taken");
    assert_eq!((schedule.taken(ROUTE), schedule.sent()), (2, 1));
    assert!(!schedule.take_over(&channel("other")), "it is with no sender");
}

#[test]
fn more_channels_than_the_bound_are_left_to_the_poll() {
    let mut schedule = RelaySchedule::new([1]);
    for number in 0..=WAITING_MAX {
        schedule.noticed(channel(&format!("c{number}")), ROUTE);
    }
    assert_eq!(schedule.channels.len(), WAITING_MAX);
}

fn user(name: &str) -> UserName {
    UserName::parse(name).expect("a user")
}

/// Takes the next channel, and returns its name.
fn next(schedule: &mut RelaySchedule) -> Option<String> {
    schedule.next(at(0), open).map(|(_, channel)| channel.as_str().to_owned())
}

#[test]
fn channels_of_users_without_room_are_held_back_and_users_have_turns() {
    let mut schedule = RelaySchedule::new([8]);
    for (name, author) in [("a1", "ann"), ("a2", "ann"), ("a3", "ann"), ("b1", "bob"), ("b2", "bob")] {
        schedule.noticed(channel(name), ROUTE);
        assert_eq!(next(&mut schedule).as_deref(), Some(name));
        schedule.hold(&channel(name), user(author), Some(ROUTE));
        schedule.freed(ROUTE);
        schedule.due(channel(name), ROUTE);
        schedule.noticed(channel(name), ROUTE);
    }
    assert_eq!(next(&mut schedule), None, "neither a notice nor the poll hurries them");
    schedule.let_go(ROUTE, |_| false);
    assert_eq!(next(&mut schedule), None);
    let mut let_go = Vec::new();
    for _ in 0..5 {
        schedule.let_go(ROUTE, |_| true);
        let_go.extend(next(&mut schedule));
    }
    assert_eq!(let_go, ["a1", "b1", "a2", "b2", "a3"]);
    schedule.let_go(ROUTE, |_| true);
    assert_eq!((next(&mut schedule), schedule.routes[0].held.count), (None, 0));
    assert!(schedule.routes[0].held.of_users.is_empty() && schedule.routes[0].held.turns.is_empty());
}

#[test]
fn channel_that_is_held_back_moves_with_a_reload() {
    let (old, new) = (RoutePlace(0), RoutePlace(1));
    let held = || {
        let mut schedule = RelaySchedule::new([2, 2]);
        for name in ["one", "two"] {
            schedule.noticed(channel(name), old);
            schedule.next(at(0), open).expect("ready");
            schedule.hold(&channel(name), user("ann"), Some(old));
            schedule.freed(old);
        }
        schedule
    };
    let mut schedule = held();
    schedule.noticed(channel("one"), new);
    assert_eq!(schedule.next(at(0), open), Some((new, channel("one"))));
    schedule.let_go(old, |_| true);
    assert_eq!(schedule.next(at(0), open), Some((old, channel("two"))));
    schedule.let_go(old, |_| true);
    assert_eq!(schedule.next(at(0), open), None);
    let mut schedule = held();
    schedule.forget(old);
    assert!(schedule.channels.is_empty() && schedule.routes[0].held.count == 0);
    schedule.due(channel("one"), old);
    assert!(schedule.next(at(0), open).is_some(), "the poll finds it");
}

#[test]
fn channel_that_a_reload_gives_to_another_route_waits_there_after_its_request() {
    let (one, old, new) = (channel("one"), RoutePlace(0), RoutePlace(1));
    for after in [AfterSettling::Rest, AfterSettling::Ready, AfterSettling::Later(at(500))] {
        let mut schedule = RelaySchedule::new([1, 1]);
        schedule.noticed(one.clone(), old);
        assert_eq!(schedule.next(at(0), open), Some((old, one.clone())));
        // The reload: no seat of the old route, and something more to send.
        schedule.seat(old, 0);
        schedule.forget(old);
        schedule.due(one.clone(), new);
        schedule.settled(&one, after, Some(new));
        schedule.freed(old);
        assert_eq!(schedule.next(at(500), open), Some((new, one.clone())), "after {after:?}");
        schedule.settled(&one, AfterSettling::Ready, None);
        assert!(schedule.channels.is_empty(), "without a route there is nothing to send");
    }
}

#[test]
fn channel_that_waits_under_a_route_that_it_has_no_more_moves_to_its_new_one() {
    let (one, old, new) = (channel("one"), RoutePlace(0), RoutePlace(1));
    for notice in [RelaySchedule::noticed, RelaySchedule::due] {
        let mut schedule = RelaySchedule::new([1, 1]);
        schedule.noticed(one.clone(), old);
        notice(&mut schedule, one.clone(), new);
        assert_eq!(schedule.next(at(0), open), Some((new, one.clone())), "it was ready");
        assert_eq!(schedule.next(at(0), open), None, "and waits in one place");
        schedule.settled(&one, AfterSettling::Later(at(500)), Some(old));
        schedule.freed(new);
        notice(&mut schedule, one.clone(), new);
        assert_eq!(schedule.next(at(0), open), Some((new, one.clone())), "it waited for a time");
        assert_eq!(schedule.wakes(), None);
    }
}

/// A channel's row, and what its backend got.
#[derive(Debug, Default)]
struct Row {
    head: u64,
    cursor: u64,
    fence: u64,
    next_ms: u64,
    taken_until: u64,
    /// Offsets in the order of their requests.
    requests: Vec<u64>,
}

/// A request under way: it ends at `ends`.
#[derive(Debug)]
struct Underway {
    channel: ChannelName,
    offset: u64,
    author: UserName,
    fence: u64,
    ends: u64,
}

#[derive(Debug)]
struct Process {
    schedule: RelaySchedule,
    shares: SeatShares,
    requests: Vec<Underway>,
}

impl Process {
    fn new() -> Process {
        let mut shares = SeatShares::default();
        shares.resize(SEATS);
        Process { schedule: RelaySchedule::new([SEATS]), shares, requests: Vec::new() }
    }

    /// A sender is free.
    fn freed(&mut self) {
        self.schedule.freed(ROUTE);
        self.let_go();
    }

    fn let_go(&mut self) {
        self.schedule.let_go(ROUTE, |user| self.shares.has_room(user));
    }
}

const SEATS: u16 = 3;

/// The author of a publication: most are of one user.
fn author(channel: &ChannelName, offset: u64) -> UserName {
    user(match (channel.as_str(), offset % 4) {
        ("e", 1) => "bob",
        ("d", 2) => "cat",
        _ => "ann",
    })
}

const LEASE_MS: u64 = 300;

struct World {
    random: Random,
    now: u64,
    rows: BTreeMap<ChannelName, Row>,
    processes: [Process; 2],
}

impl World {
    fn chance(&mut self, percent: u64) -> bool {
        self.random.u64() % 100 < percent
    }

    fn step(&mut self) {
        self.now += 1 + self.random.u64() % 40;
        let which = (self.random.u64() % 2) as usize;
        match self.random.u64() % 100 {
            0..30 => self.publish(which),
            30..33 => self.processes[which] = Process::new(),
            33..50 => self.poll(which),
            _ => self.run(which),
        }
    }

    fn publish(&mut self, which: usize) {
        let name = channel(["a", "b", "c", "d", "e"][(self.random.u64() % 5) as usize]);
        self.rows.entry(name.clone()).or_default().head += 1;
        if !self.chance(40) {
            self.processes[which].schedule.noticed(name, ROUTE);
        }
    }

    fn poll(&mut self, which: usize) {
        let now = self.now;
        let due = self
            .rows
            .iter()
            .filter(|(_, row)| row.cursor < row.head && row.next_ms <= now && row.taken_until <= now);
        for name in due.map(|(name, _)| name.clone()).collect::<Vec<_>>() {
            self.processes[which].schedule.due(name, ROUTE);
        }
    }

    fn run(&mut self, which: usize) {
        while let Some((_, name)) = self.processes[which].schedule.next(at(self.now), open) {
            self.claim(which, name);
        }
        let now = self.now;
        while let Some(place) = self.processes[which].requests.iter().position(|request| request.ends <= now)
        {
            let request = self.processes[which].requests.swap_remove(place);
            self.settle(which, request);
        }
        let process = &self.processes[which];
        assert!(process.schedule.taken(ROUTE) <= 3 && process.requests.len() <= 3);
        let of_ann = process.requests.iter().filter(|request| request.author.as_str() == "ann").count();
        assert!(of_ann <= 2, "one user has all seats");
        let mut names: Vec<_> = process.requests.iter().map(|request| &request.channel).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), process.requests.len(), "one request of a channel at a time");
    }

    fn claim(&mut self, which: usize, name: ChannelName) {
        let now = self.now;
        let row = self.rows.entry(name.clone()).or_default();
        if row.cursor >= row.head || row.taken_until > now || row.next_ms > now {
            let process = &mut self.processes[which];
            process.schedule.settled(&name, AfterSettling::Rest, Some(ROUTE));
            return process.freed();
        }
        row.fence += 1;
        let author = author(&name, row.cursor + 1);
        let process = &mut self.processes[which];
        if !process.shares.take(&author) {
            process.schedule.hold(&name, author, Some(ROUTE));
            process.let_go();
            return process.freed();
        }
        row.taken_until = now + LEASE_MS;
        row.requests.push(row.cursor + 1);
        // A request may take longer than the lease: then another process claims the channel meanwhile.
        let ends = now + self.random.u64() % (LEASE_MS * 3 / 2);
        let (offset, fence) = (row.cursor + 1, row.fence);
        self.processes[which].requests.push(Underway { channel: name, offset, author, fence, ends });
    }

    fn settle(&mut self, which: usize, request: Underway) {
        let is_taken = self.chance(60);
        let (now, wait) = (self.now, self.random.u64() % 200);
        let process = &mut self.processes[which];
        process.shares.leave(&request.author);
        process.freed();
        let row = self.rows.get_mut(&request.channel).expect("a row");
        if row.fence != request.fence {
            return process.schedule.settled(&request.channel, AfterSettling::Rest, Some(ROUTE));
        }
        row.taken_until = 0;
        if is_taken {
            assert_eq!(row.cursor + 1, request.offset, "the cursor moves by one");
            row.cursor = request.offset;
            return process.schedule.settled(&request.channel, AfterSettling::Ready, Some(ROUTE));
        }
        row.next_ms = now + wait;
        process.schedule.settled(&request.channel, later(at(now), Duration::from_millis(wait)), Some(ROUTE));
    }
}

proptest! {
    #[test]
    fn each_publication_is_sent_and_first_requests_are_in_order(seed in any::<u64>()) {
        let random = Random::seeded(seed);
        let processes = [Process::new(), Process::new()];
        let mut world = World { random, now: 0, rows: BTreeMap::new(), processes };
        for _ in 0..600 {
            world.step();
        }
        // Without new publications and crashes everything is sent.
        for _ in 0..4_000 {
            world.now += 50;
            for which in 0..2 {
                world.poll(which);
                world.run(which);
            }
            if world.rows.values().all(|row| row.cursor == row.head) {
                break;
            }
        }
        for (name, row) in &world.rows {
            prop_assert_eq!(row.cursor, row.head, "{} is done", name);
            let mut first = Vec::new();
            for offset in &row.requests {
                if !first.contains(offset) {
                    first.push(*offset);
                }
            }
            prop_assert_eq!(first, (1..=row.head).collect::<Vec<_>>(), "first requests of {}", name);
        }
    }
}
