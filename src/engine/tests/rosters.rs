//! Rosters: events of connections, and frames for watchers.

use super::*;
use crate::job::presence::PresenceJob;
use crate::roster::{Departure, PushAudience, ReactorSet, RosterEvent, RosterPush, WatchNumber, WatchOf};
use crate::wire::command::WatchDetail;

const ENTER: &str = r#"{"id":2,"subscribe":{"channel":"c","present":{},"watch":"members"}}"#;

impl Stage {
    /// The events since the last call.
    fn events(&mut self) -> Vec<RosterEvent> {
        let event = |job| match job {
            PresenceJob::Event(event) => event,
            PresenceJob::Page { .. } => panic!("a page"),
        };
        self.presence.drain(..).map(event).collect()
    }

    /// A client that is present and watches, and its events.
    fn watcher(&mut self) -> (Client, Vec<RosterEvent>) {
        let client = self.chat(&[CONNECT, ENTER]);
        self.turn_until(|stage| {
            if let Some(Read::Page(request)) = stage.reads.as_mut().and_then(VecDeque::pop_front) {
                let completion = Completion::Page { ticket: request.ticket, outcome: Ok(page(0)) };
                stage.answers.push_back(completion);
            }
            stage.has(client, "synced")
        });
        self.turn();
        (client, self.events())
    }

    fn push(&mut self, audience: PushAudience, text: &str) {
        self.push_answer(audience, WatchNumber::default(), text);
    }

    /// A snapshot that was asked for with this number.
    fn push_answer(&mut self, audience: PushAudience, number: WatchNumber, text: &str) {
        let channel = ChannelName::parse("c").expect("a name");
        let (reactors, frame) = (ReactorSet::default(), Arc::from(text.as_bytes()));
        let answers = Arc::from([WatchOf { reactor: ReactorId(0), number }]);
        let push = RosterPush { channel, audience, reactors, answers, frame };
        self.broadcasts.push_back(Broadcast::Rosters(Arc::from([push])));
        self.turn();
        self.turn();
    }
}

fn is_watch(event: &RosterEvent) -> bool {
    matches!(event, RosterEvent::Watch { detail: WatchDetail::Members, .. })
}

/// The number of the last watch.
fn watch_number(events: &[RosterEvent]) -> WatchNumber {
    let number = |event: &RosterEvent| match event {
        RosterEvent::Watch { number, .. } => Some(*number),
        _ => None,
    };
    events.iter().rev().find_map(number).expect("a watch")
}

#[test]
fn difference_goes_to_watchers_that_have_the_frame_before_it() {
    let mut stage = Stage::new(AuthMode::Off);
    let (first, events) = stage.watcher();
    assert!(matches!(&events[..], [RosterEvent::Present { .. }, watch] if is_watch(watch)), "{events:?}");
    stage.push(PushAudience::Current, "too early;");
    assert!(!stage.has(first, "too early"));
    stage.push_answer(PushAudience::Waiting, watch_number(&events), "snapshot one;");
    stage.push(PushAudience::Current, "difference;");
    let (second, events) = stage.watcher();
    assert!(events.iter().any(is_watch), "the second one needs a snapshot: {events:?}");
    stage.push(PushAudience::Current, "another;");
    stage.push_answer(PushAudience::Waiting, watch_number(&events), "snapshot two;");
    stage.push(PushAudience::Current, "last;");
    assert!(stage.received(first).ends_with("snapshot one;difference;another;last;"));
    assert!(stage.received(second).ends_with("snapshot two;last;"), "{}", stage.received(second));
}

#[test]
fn missed_frames_lead_to_snapshots() {
    let mut stage = Stage::new(AuthMode::Off);
    let (client, first) = stage.watcher();
    stage.push_answer(PushAudience::Waiting, watch_number(&first), "snapshot;");
    stage.engine.handle_missed_rosters();
    stage.turn();
    let events = stage.events();
    assert!(matches!(&events[..], [watch] if is_watch(watch)), "{events:?}");
    stage.push(PushAudience::Current, "unknown;");
    stage.push_answer(PushAudience::Waiting, watch_number(&first), "too old;");
    assert!(!stage.has(client, "unknown") && !stage.has(client, "too old"));
    stage.push_answer(PushAudience::Waiting, watch_number(&events), "new;");
    assert!(stage.received(client).ends_with("snapshot;new;"));
}

#[test]
fn lost_event_has_everything_repeated_in_slices_once_there_is_room() {
    let mut stage = Stage::new(AuthMode::Off);
    let clients: Vec<Client> = (0..6).map(|_| stage.watcher().0).collect();
    stage.push_answer(PushAudience::Waiting, WatchNumber(1), "snapshot;");
    (stage.presence_room, stage.roster_share) = (0, 0);
    stage.leave(clients[0]);
    stage.turn();
    (stage.presence_room, stage.roster_share) = (usize::MAX, 0);
    for _ in 0..100 {
        stage.turn();
    }
    assert_eq!(stage.events(), [], "there is no room");
    assert!(!stage.engine.patience().is_zero(), "a full queue is looked at now and then");
    stage.roster_share = 2;
    let mut events = Vec::new();
    stage.turn_until(|stage| {
        let new = stage.events();
        assert!(new.len() <= 2, "{new:?}");
        events.extend(new);
        events.iter().any(is_watch)
    });
    let [RosterEvent::Recounting { .. }, repeated @ .., RosterEvent::Recounted { .. }, watch] = &events[..]
    else {
        panic!("{events:?}")
    };
    assert!(is_watch(watch));
    assert!(repeated.iter().all(|event| matches!(event, RosterEvent::Present { .. })), "{events:?}");
    assert_eq!(repeated.len(), 5);
    for _ in 0..100 {
        stage.turn();
    }
    assert_eq!(stage.events(), [], "once");
}

#[test]
fn event_lost_in_a_recount_has_another_one_follow_it() {
    let mut stage = Stage::new(AuthMode::Off);
    for _ in 0..6 {
        stage.watcher();
    }
    stage.roster_share = 4;
    stage.broadcasts.push_back(Broadcast::Recount);
    // The first slice fits, and a part of the second.
    stage.presence_room = 5;
    stage.turn_until(|stage| stage.presence_room == 0);
    stage.presence_room = usize::MAX;
    stage.turn_until(
        |stage| matches!(stage.presence.back(), Some(PresenceJob::Event(event)) if is_watch(event)),
    );
    let is_end = |event: &RosterEvent| matches!(event, RosterEvent::Recounted { .. });
    let is_begin = |event: &RosterEvent| matches!(event, RosterEvent::Recounting { .. });
    let events = stage.events();
    assert_eq!(events.iter().filter(|event| is_end(event)).count(), 1, "{events:?}");
    let last = events.iter().rposition(is_begin).expect("a beginning");
    assert!(last > 0 && is_end(&events[events.len() - 2]), "{events:?}");
    let repeated = events[last..].iter().filter(|event| matches!(event, RosterEvent::Present { .. }));
    assert_eq!(repeated.count(), 6, "{events:?}");
}

#[test]
fn lost_watch_is_repeated_alone() {
    let mut stage = Stage::new(AuthMode::Off);
    let client = stage.chat(&[CONNECT]);
    stage.turn_until(|stage| stage.has(client, "connected"));
    stage.presence_room = 0;
    stage.say(client, r#"{"id":2,"subscribe":{"channel":"c","watch":"members"}}"#);
    let read = stage.asked();
    stage.answer(Completion::Page { ticket: read.ticket, outcome: Ok(page(0)) });
    stage.turn();
    stage.presence_room = usize::MAX;
    stage.turn_until(|stage| !stage.presence.is_empty());
    let events = stage.events();
    assert!(matches!(&events[..], [watch] if is_watch(watch)), "{events:?}");
    stage.push_answer(PushAudience::Waiting, watch_number(&events), "snapshot;");
    assert!(stage.has(client, "snapshot;"));
}

#[test]
fn end_of_a_connection_says_how_it_left() {
    let departures = |events: Vec<RosterEvent>| -> Vec<Departure> {
        let departure = |event| match event {
            RosterEvent::Absent { departure, .. } => Some(departure),
            _ => None,
        };
        events.into_iter().filter_map(departure).collect()
    };
    let mut stage = Stage::new(AuthMode::Off);
    let (lost, _) = stage.watcher();
    stage.leave(lost);
    stage.turn();
    stage.turn();
    let events = stage.events();
    assert!(events.iter().any(|event| matches!(event, RosterEvent::Unwatch { .. })), "{events:?}");
    assert_eq!(departures(events), [Departure::Lost]);
    let (closed, _) = stage.watcher();
    stage.send(closed, &[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xE8]);
    stage.turn();
    stage.turn();
    assert_eq!(departures(stage.events()), [Departure::Deliberate]);
    let (absent, _) = stage.watcher();
    stage.say(absent, r#"{"id":3,"absent":{"channel":"c"}}"#);
    stage.say(absent, r#"{"id":4,"unsubscribe":{"channel":"c"}}"#);
    stage.turn();
    stage.turn();
    let events = stage.events();
    assert_eq!(departures(events), [Departure::Deliberate], "once");
}
