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
            let now = clock();
            // It was answered as not read, and comes again.
            if now.at.since(asked) >= REPLY_TIMEOUT {
                continue;
            }
            let TakenReport { outcome, logs } =
                board.lock().take(reporter, client.as_str(), (&errors, dropped), now);
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
