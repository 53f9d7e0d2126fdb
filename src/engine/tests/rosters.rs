//! Rosters: events of connections, and frames for watchers.

use super::*;
use crate::job::presence::PresenceJob;
use crate::roster::{Departure, PushAudience, ReactorSet, RosterEvent, RosterPush};
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
        let channel = ChannelName::parse("c").expect("a name");
        let (reactors, frame) = (ReactorSet::default(), Arc::from(text.as_bytes()));
        let push = RosterPush { channel, audience, reactors, frame };
        self.broadcasts.push_back(Broadcast::Rosters(Arc::from([push])));
        self.turn();
        self.turn();
    }
}

fn is_watch(event: &RosterEvent) -> bool {
    matches!(event, RosterEvent::Watch { detail: WatchDetail::Members, .. })
}

#[test]
fn difference_goes_to_watchers_that_have_the_frame_before_it() {
    let mut stage = Stage::new(AuthMode::Off);
    let (first, events) = stage.watcher();
    assert!(matches!(&events[..], [RosterEvent::Present { .. }, watch] if is_watch(watch)), "{events:?}");
    stage.push(PushAudience::Current, "too early;");
    assert!(!stage.has(first, "too early"));
    stage.push(PushAudience::Waiting, "snapshot one;");
    stage.push(PushAudience::Current, "difference;");
    let (second, events) = stage.watcher();
    assert!(events.iter().any(is_watch), "the second one needs a snapshot: {events:?}");
    stage.push(PushAudience::Current, "another;");
    stage.push(PushAudience::Waiting, "snapshot two;");
    stage.push(PushAudience::Current, "last;");
    assert!(stage.received(first).ends_with("snapshot one;difference;another;last;"));
    assert!(stage.received(second).ends_with("snapshot two;last;"), "{}", stage.received(second));
}

#[test]
fn missed_frames_and_recounts_lead_to_snapshots_and_repetition() {
    let mut stage = Stage::new(AuthMode::Off);
    let (client, _) = stage.watcher();
    stage.push(PushAudience::Waiting, "snapshot;");
    stage.engine.handle_missed_rosters();
    stage.turn();
    let events = stage.events();
    assert!(matches!(&events[..], [watch] if is_watch(watch)), "{events:?}");
    stage.push(PushAudience::Current, "unknown;");
    assert!(!stage.has(client, "unknown"));
    stage.broadcasts.push_back(Broadcast::Recount);
    stage.turn();
    stage.turn();
    let events = stage.events();
    let [RosterEvent::Present { .. }, watch, RosterEvent::Recounted { .. }] = &events[..] else {
        panic!("{events:?}")
    };
    assert!(is_watch(watch));
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
