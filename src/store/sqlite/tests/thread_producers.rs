//! Producers that are threads, against the thread that writes.

use super::stream_support::{begin, piece, user};
use super::threads::{KEEP_ALL, Rig, rig};
use crate::id::Offset;
use crate::job::mailbox::{MailboxItem, ThreadProducer, Unsent};
use crate::job::stream::{ProducerNotice, StreamJob, StreamOrder, StreamQueue, StreamWork};
use crate::job::{Append, Broadcast, CancelAuthority, Completion, Ticket};
use crate::wire::stream::{
    BeginStream, Generation, Position, StreamEnd, StreamId, StreamMark, StreamOptions, StreamOutcome,
};
use std::sync::Arc;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(20);

#[allow(clippy::disallowed_methods, reason = "a test waits on a clock")]
fn soon() -> Instant {
    Instant::now() + PATIENCE
}

fn open(rig: &Rig) -> ThreadProducer {
    let queue = StreamQueue { work: rig.streams.clone(), bytes: Arc::clone(&rig.stream_bytes) };
    rig.callers.producers().start(queue, 64 << 10, Arc::default());
    rig.callers.producers().open()
}

fn began(rig: &Rig, producer: &ThreadProducer) -> StreamId {
    let ticket = producer.append_ticket(None).expect("free");
    let stream = BeginStream { options: StreamOptions::default(), producer: producer.id() };
    let append = Append { ticket, stream: Some(Box::new(stream)), ..begin("c", None, "{}") };
    rig.append.send(append).expect("the writer lives");
    match producer.receive(soon()) {
        Some(MailboxItem::Answer { completion: Completion::Appended { outcome, .. }, .. }) => {
            super::stream_support::id("c", outcome.expect("stored").offset.0)
        }
        other => panic!("{other:?}"),
    }
}

fn send(producer: &ThreadProducer, id: &StreamId, ticket: Option<Ticket>, order: StreamOrder) {
    let job = StreamJob { producer: producer.id(), ticket, id: id.clone(), user: user("bot"), order };
    let sent = producer.send(StreamWork::Job(job), soon());
    assert!(!matches!(sent, Err(Unsent::Full(_) | Unsent::Ends)));
}

fn end() -> StreamOrder {
    StreamOrder::End { generation: None, at: None, end: StreamEnd::Completed, data: None }
}

#[test]
fn thread_appends_is_acknowledged_cancelled_and_ends_its_stream() {
    let rig = rig(1, KEEP_ALL);
    let producer = open(&rig);
    let id = began(&rig, &producer);
    for text in ["Hel", "lo"] {
        send(&producer, &id, None, piece(text));
    }
    let acknowledged = |producer: &ThreadProducer, upto: u32| loop {
        match producer.receive(soon()) {
            Some(MailboxItem::Notice(ProducerNotice::Appended { next, .. })) if next.0 < upto => {}
            Some(MailboxItem::Notice(ProducerNotice::Appended { next, .. })) => break next,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(acknowledged(&producer, 5), Position(5));
    let cancelling = rig.callers.producers().open();
    let ticket = cancelling.ticket();
    send(&cancelling, &id, ticket, StreamOrder::Cancel { authority: CancelAuthority::Moderator });
    match cancelling.receive(soon()) {
        // On a slow machine the gateway may have ended it by then.
        Some(MailboxItem::Outcome {
            outcome: StreamOutcome::Cancelling | StreamOutcome::Ended { .. },
            ..
        }) => {}
        other => panic!("{other:?}"),
    }
    loop {
        match producer.receive(soon()) {
            Some(MailboxItem::Notice(ProducerNotice::Cancel { id: of, generation, .. })) => {
                assert_eq!((of, generation), (id.clone(), Generation(1)));
                break;
            }
            Some(MailboxItem::Notice(_)) => {}
            other => panic!("{other:?}"),
        }
    }
    let ticket = producer.ticket();
    send(&producer, &id, ticket, end());
    loop {
        match producer.receive(soon()) {
            Some(MailboxItem::Outcome { outcome: StreamOutcome::Ended { edit, .. }, .. }) => {
                assert_eq!(edit, Offset(2));
                break;
            }
            // The gateway may have been first to end it, as a cancel has it.
            Some(MailboxItem::Outcome { outcome: StreamOutcome::Refused(_), .. }) => break,
            Some(MailboxItem::Notice(_)) => {}
            other => panic!("{other:?}"),
        }
    }
    drop((producer, cancelling));
    rig.close();
}

#[test]
fn stream_of_a_thread_that_ends_has_lost_its_producer() {
    let rig = rig(1, KEEP_ALL);
    let producer = open(&rig);
    began(&rig, &producer);
    drop(producer);
    let interrupted = StreamMark::Ended(StreamEnd::Interrupted);
    let is_end = |live: Broadcast| match live {
        Broadcast::Published(published) => published.iter().any(|one| one.stream == interrupted),
        _ => false,
    };
    while !is_end(rig.inboxes[0].live.recv_timeout(PATIENCE).expect("an announcement")) {}
    rig.close();
}
