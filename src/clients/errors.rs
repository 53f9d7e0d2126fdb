//! The thread `client-errors`: groups the errors that clients report, logs new groups, and answers.

use crate::client_error::{TakenReport, WorthLogging};
use crate::clock::Now;
use crate::job::client_errors::ReportJob;
use crate::job::wake::wake;
use crate::job::{Completion, Mailbox};
use crate::limits::REPLY_TIMEOUT;
use crate::metrics::client_errors::ErrorBoard;
use crossbeam_channel::Receiver;
use std::io;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

/// Older reports are left to the reactor, which answers them as not read, and they come again. The answer of a younger one has the rest of
/// [`REPLY_TIMEOUT`] to reach the reactor: if the reactor gave it up meanwhile, its errors would come again as well, and count twice.
const TAKEN_WITHIN: Duration = Duration::from_millis(3_500);
const _: () = assert!(TAKEN_WITHIN.as_millis() + 1_000 <= REPLY_TIMEOUT.as_millis());
/// Characters of a message in the log.
const MESSAGE_CHARS: usize = 200;

/// Starts the thread, which ends when the senders of the queue are gone.
pub fn start(
    jobs: Receiver<Box<ReportJob>>,
    board: ErrorBoard,
    mailboxes: Arc<[Mailbox]>,
    clock: impl Fn() -> Now + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    let run = move || {
        for job in jobs {
            let ReportJob { ticket, reporter, client, errors, dropped, asked } = *job;
            let mut groups = board.lock();
            // An operator may read the groups until here.
            let now = clock();
            if now.at.since(asked) >= TAKEN_WITHIN {
                continue;
            }
            let TakenReport { outcome, logs } =
                groups.take(reporter, client.as_str(), (&errors, dropped), now);
            drop(groups);
            if let Some(mailbox) = mailboxes.get(usize::from(ticket.reactor.0)) {
                mailbox.answer(Completion::ReportTaken { ticket, outcome });
                wake(mailbox);
            }
            logs.into_iter().for_each(|log| write(&board, log));
        }
    };
    Builder::new().name("client-errors".into()).spawn(run)
}

fn write(board: &ErrorBoard, WorthLogging { fingerprint, count }: WorthLogging) {
    let groups = board.lock();
    let Some(group) = groups.get(fingerprint) else { return };
    let text: String = group.newest.message.chars().take(MESSAGE_CHARS).collect();
    let release = group.releases.last().map_or("", |release| release).to_owned();
    let (name, (users, more)) = (group.name.clone(), group.users());
    drop(groups);
    // Not `message`, which is the name of the event's own text.
    let users = format!("{users}{}", if more { "+" } else { "" });
    tracing::warn!(%fingerprint, count, users, %name, text, release, "client error");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client_error::Reporter;
    use crate::clock::Moment;
    use crate::job::Ticket;
    use crate::job::client_errors::reports;
    use crate::session::ClientText;
    use crate::wire::command::ReportedError;

    /// The groups after a report that waited this long.
    fn groups_after(wait: Duration) -> usize {
        let asked = Moment::from_micros(1_000_000);
        let (queue, jobs) = reports();
        let job = ReportJob {
            ticket: Ticket::UNANSWERED,
            reporter: Reporter::user("ann"),
            client: ClientText::default(),
            errors: vec![ReportedError { name: "E".into(), count: 1, ..ReportedError::default() }],
            dropped: 0,
            asked,
        };
        queue.send(Box::new(job)).expect("there is room");
        drop(queue);
        let board = ErrorBoard::default();
        let clock = move || Now { at: asked + wait, unix_ms: 0 };
        let thread = start(jobs, board.clone(), Arc::from([]), clock).expect("a thread");
        thread.join().expect("no panic");
        board.lock().groups().len()
    }

    #[test]
    fn report_whose_answer_may_come_after_that_of_the_reactor_is_not_counted() {
        assert_eq!(groups_after(TAKEN_WITHIN - Duration::from_micros(1)), 1);
        assert_eq!(groups_after(TAKEN_WITHIN), 0, "it comes again");
    }
}
