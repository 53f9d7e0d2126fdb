//! A producer on one side, and the queue of the streams on the other.

use super::*;
use crate::id::{ChannelName, Epoch, Offset, UserName};
use crate::job::places::Places;
use crate::job::stream::{StreamFault, StreamJob, StreamOrder};
use crate::job::{Appended, Attempt};
use crate::limits::STREAM_QUEUE_BYTES;
use crate::wire::stream::{BegunStream, Generation, Piece, Position};
use crossbeam_channel::{Receiver, bounded};
use std::thread::spawn;

const SOON: Duration = Duration::from_secs(20);

fn mailboxes(places: usize) -> (Arc<ThreadMailboxes>, Receiver<StreamWork>, StreamQueue) {
    let (work, sent) = bounded(places);
    let (mailboxes, queue) = (Arc::<ThreadMailboxes>::default(), StreamQueue { work, bytes: Arc::default() });
    mailboxes.start(queue.clone(), 4_096, Arc::default());
    (mailboxes, sent, queue)
}

fn id(offset: u64) -> StreamId {
    StreamId { channel: ChannelName::parse("c").expect("valid"), offset: Offset(offset) }
}

fn appended(offset: u64, next: u32) -> ProducerNotice {
    ProducerNotice::Appended { id: id(offset), generation: Generation(1), next: Position(next) }
}

fn gap(next: u32) -> ProducerNotice {
    ProducerNotice::Refused { id: id(1), fault: StreamFault::Gap { next: Position(next) } }
}

fn append(producer: &ThreadProducer, text: &str) -> StreamWork {
    let (generation, piece) = (Some(Generation(2)), Piece::Text(text.to_owned().into()));
    let order = StreamOrder::Append { generation, at: None, piece };
    let user = UserName::parse("bot").expect("valid");
    StreamWork::Job(StreamJob { producer: producer.id(), ticket: None, id: id(1), user, order })
}

fn notices(producer: &ThreadProducer) -> Vec<ProducerNotice> {
    std::iter::from_fn(|| producer.try_receive())
        .map(|item| match item {
            MailboxItem::Notice(notice) => notice,
            other => panic!("{other:?}"),
        })
        .collect()
}

fn outcome(ticket: Ticket) -> Completion {
    Completion::Stream { ticket, outcome: StreamOutcome::Cancelling }
}

#[test]
fn appended_of_one_stream_merge_and_the_first_refusal_stays() {
    let (mailboxes, _sent, _queue) = mailboxes(8);
    let (producer, other) = (mailboxes.open(), mailboxes.open());
    let given = [appended(1, 5), gap(3), appended(2, 1), appended(1, 9), gap(4)];
    for notice in given {
        mailboxes.notify(producer.id(), notice);
    }
    assert_eq!(notices(&producer), [appended(1, 9), gap(3), appended(2, 1)]);
    mailboxes.notify(producer.id(), appended(1, 12));
    assert_eq!(notices(&producer), [appended(1, 12)], "what was received merges no more");
    assert!(notices(&other).is_empty());
}

#[test]
fn answers_reach_the_thread_that_waits_once_each() {
    let (mailboxes, _sent, _queue) = mailboxes(8);
    let producer = mailboxes.open();
    let (first, second) = (producer.ticket().expect("free"), producer.ticket().expect("free"));
    let answering = {
        let mailboxes = Arc::clone(&mailboxes);
        spawn(move || {
            for ticket in [second, second, first] {
                mailboxes.answer(ticket, outcome(ticket));
            }
        })
    };
    let mut come = Vec::new();
    for _ in 0..2 {
        match producer.receive(now() + SOON) {
            Some(MailboxItem::Outcome { ticket, .. }) => come.push(ticket),
            other => panic!("{other:?}"),
        }
    }
    answering.join().expect("no panic");
    assert_eq!(come, [second, first]);
    assert!(producer.try_receive().is_none());
    let withdrawn = producer.ticket().expect("free");
    producer.withdraw(withdrawn);
    mailboxes.answer(withdrawn, outcome(withdrawn));
    assert!(producer.receive(now()).is_none());
    let taken = (0..).map_while(|_| producer.ticket()).take(2 * TICKETS_MAX).count();
    assert_eq!(taken, TICKETS_MAX, "each that is not answered has one");
}

#[test]
fn thread_sends_nothing_while_the_window_the_queue_or_its_mailbox_is_full() {
    let (mailboxes, sent, queue) = mailboxes(8);
    let producer = mailboxes.open();
    for _ in 0..4 {
        producer.try_send(append(&producer, "a")).expect("there is room");
    }
    let full = |sent| matches!(sent, Err(Unsent::Full(StreamWork::Job(_))));
    assert!(full(producer.try_send(append(&producer, "b"))), "half of the queue is for connections");
    assert!(queue.send(append(&producer, "c")).is_ok());
    let waiting = spawn(move || {
        producer.send(append(&producer, "d"), now() + SOON).map_err(|_| "it was not sent").expect("room");
        producer
    });
    for text in ["a", "a", "a", "a", "c", "d"] {
        match sent.recv_timeout(SOON).expect("work") {
            StreamWork::Job(StreamJob {
                order: StreamOrder::Append { piece: Piece::Text(given), .. },
                ..
            }) => assert_eq!(&*given, text),
            other => panic!("{other:?}"),
        }
    }
    let producer = waiting.join().expect("no panic");
    mailboxes.notify(producer.id(), ProducerNotice::Pause);
    assert!(
        full(producer.try_send(append(&producer, "e"))) && full(producer.send(append(&producer, "e"), now()))
    );
    mailboxes.notify(producer.id(), ProducerNotice::Resume);
    assert!(producer.try_send(append(&producer, "e")).is_ok() && producer.try_receive().is_none());
    queue.bytes.store(STREAM_QUEUE_BYTES / 2, Ordering::Relaxed);
    assert!(full(producer.try_send(append(&producer, "f"))), "likewise the bytes");
    queue.bytes.store(0, Ordering::Relaxed);
    for offset in 0..ITEMS_MAX as u64 + 7 {
        mailboxes.notify(producer.id(), appended(offset, 1));
    }
    assert!(full(producer.send(append(&producer, "f"), now() + SOON)), "it must receive first");
    let dropped = mailboxes.queue.load().as_ref().map(|queue| queue.dropped.load(Ordering::Relaxed));
    assert_eq!((notices(&producer).len(), dropped), (ITEMS_MAX, Some(7)));
    assert!(producer.try_send(append(&producer, "f")).is_ok());
}

#[test]
fn end_of_the_thread_detaches_it_and_again_when_a_late_begin_is_answered() {
    let (mailboxes, sent, _queue) = mailboxes(8);
    let producer = mailboxes.open();
    let me = producer.id();
    let places = Places::new(8, Arc::default());
    let take = || Places::take(&places, &Arc::from("a"), 1, now());
    let command = producer.ticket().expect("free");
    let [begin, lost] = [(); 2].map(|()| producer.append_ticket(take()).expect("free"));
    drop(producer);
    let detached = || match sent.recv_timeout(SOON).expect("work") {
        StreamWork::Detach { producer } => producer,
        other => panic!("{other:?}"),
    };
    assert_eq!((detached(), places.in_use()), (me, 2));
    mailboxes.answer(command, outcome(command));
    let begun = BegunStream { generation: Generation(1), next: Position(0), ended: None };
    let outcome = Ok(Appended {
        epoch: Epoch(1),
        offset: Offset(1),
        time_ms: 0,
        attempt: Attempt::First,
        stream: Some(begun),
        answer: None,
    });
    mailboxes.answer(begin, Completion::Appended { ticket: begin, outcome });
    assert_eq!((detached(), places.in_use()), (me, 1));
    assert_eq!(mailboxes.boxes.lock().len(), 1, "one append is not answered");
    mailboxes.forget_lost(now());
    assert_eq!(places.in_use(), 1, "it may still come");
    mailboxes.forget_lost(now() + LOST_AFTER);
    assert_eq!((places.in_use(), mailboxes.boxes.lock().len()), (0, 0));
    mailboxes.answer(lost, super::tests::outcome(lost));
    assert!(sent.try_recv().is_err());
}

#[test]
fn thread_that_sends_a_window_of_text_waits_for_its_commit() {
    let (mailboxes, sent, _queue) = mailboxes(64);
    let producer = mailboxes.open();
    let text = "x".repeat(1_500);
    let full = |sent| matches!(sent, Err(Unsent::Full(StreamWork::Job(_))));
    for _ in 0..2 {
        producer.try_send(append(&producer, &text)).expect("the window has room");
    }
    for _ in 0..2 {
        assert!(full(producer.try_send(append(&producer, &text))) && producer.is_held());
    }
    let mut work = sent.try_iter().skip(2);
    let Some(StreamWork::Job(StreamJob { ticket: Some(ticket), order, .. })) = work.next() else {
        panic!("a question")
    };
    assert_eq!(order.generation(), Some(Generation(2)), "an answer takes nothing without it");
    assert!(work.next().is_none(), "it asks once");
    let waiting = spawn(move || {
        producer.send(append(&producer, &text), now() + SOON).map_err(|_| "it was not sent").expect("room");
        producer
    });
    let outcome = StreamOutcome::Appended { generation: Generation(2), next: Position(3_000) };
    mailboxes.answer(ticket, Completion::Stream { ticket, outcome });
    let producer = waiting.join().expect("no panic");
    assert!(producer.try_receive().is_none(), "the answer is no item");
    assert!(!producer.is_held() && sent.try_recv().is_ok());
}

#[test]
fn producer_that_leaves_properly_is_not_lost() {
    let (mailboxes, sent, _queue) = mailboxes(8);
    let producer = mailboxes.open();
    let me = producer.id();
    producer.leave();
    let Ok(StreamWork::Leave { producer }) = sent.try_recv() else { panic!("it leaves") };
    assert!(producer == me && mailboxes.boxes.lock().is_empty());
}

#[test]
fn stop_ends_what_waits() {
    let (mailboxes, _sent, _queue) = mailboxes(8);
    let producer = mailboxes.open();
    mailboxes.notify(producer.id(), ProducerNotice::Pause);
    let waiting = spawn(move || {
        let sent = producer.send(append(&producer, "a"), now() + SOON);
        (matches!(sent, Err(Unsent::Ends)), producer.receive(now() + SOON).is_none())
    });
    mailboxes.stop();
    assert_eq!(waiting.join().expect("no panic"), (true, true));
}
