//! Starting the watch thread and the probe threads.

use super::looker::looker;
use super::news::WatchNews;
use super::own::{Own, OwnSources};
use super::reviser::Reviser;
use super::thread::Watch;
use crate::clock::Now;
use crate::health::board::{Board, DependencyId};
use crate::health::finding::Evidence;
use crate::job::Outlook;
use crate::job::admin::AdminRequest;
use crate::job::admin::AdminRequests;
use crate::job::probing::Probing;
use crate::limits::WATCH_QUEUE;
use crossbeam_channel::{Receiver, Sender, bounded};
use std::io;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

/// The parts of a watch.
pub struct WatchSetup<C> {
    /// All dependencies.
    pub board: Board,
    /// Their probes, in the order of the board.
    pub probes: Vec<Box<dyn Probing>>,
    /// The gateway itself: see [`super::own_board`].
    pub own: Board,
    /// The gateway's own figures. The reactors behind its mailboxes are notified of a new snapshot.
    pub sources: OwnSources,
    /// Evidence from workers, which is judged without waiting for the next probe.
    pub evidence: Receiver<(DependencyId, Evidence)>,
    pub clock: C,
    pub outlook: Arc<Outlook>,
}

/// A watch whose threads run.
#[derive(Debug)]
pub struct RunningWatch {
    news: Sender<WatchNews>,
    requests: Sender<AdminRequest>,
    watch: JoinHandle<()>,
}

impl RunningWatch {
    /// A sender for operators' requests.
    pub fn requests(&self) -> AdminRequests {
        AdminRequests::new(self.requests.clone())
    }

    /// A sender for changes of the configuration.
    pub fn reviser(&self) -> Reviser {
        Reviser::new(self.news.clone())
    }

    /// Ends the watch thread. A look in progress ends at its own deadline, and its result is dropped.
    pub fn stop(self) -> std::thread::Result<()> {
        // Full: the thread is at work and takes this as soon as there is room.
        let _ = self.news.send(WatchNews::Stop);
        self.watch.join()
    }
}

impl<C: Fn() -> Now + Send + 'static> WatchSetup<C> {
    /// Starts `watch` and a `probe-NAME` for each dependency.
    pub fn start(self) -> io::Result<RunningWatch> {
        let WatchSetup { board, probes, own, sources, evidence, clock, outlook } = self;
        let (news, inbox) = bounded(WATCH_QUEUE);
        let (requests, requests_in) = bounded(WATCH_QUEUE);
        let mut lookers = Vec::new();
        for (probe, dependency) in probes.into_iter().zip(board.dependencies()) {
            let name = &dependency.definition().name;
            let looker = looker(probe, name, news.clone())?;
            lookers.extend(board.id(name).map(|id| (id, looker)));
        }
        let watch = Watch {
            board,
            lookers,
            requests: requests_in,
            evidence,
            clock,
            outlook,
            mailboxes: Arc::clone(&sources.mailboxes),
            counters: Arc::clone(&sources.metrics.watch),
            own: Own::new(own, sources),
        };
        let watch = Builder::new().name("watch".into()).spawn(move || watch.run(&inbox))?;
        Ok(RunningWatch { news, requests, watch })
    }
}
