//! A thread that sends: it claims a channel, makes an attempt, settles it, and reads the response.

use super::attempt::{Attempted, NextClaim, RelayAttempt};
use super::reading::ResponseBody;
use super::shared::{Mode, RelayShared};
use crate::id::{ChannelName, UserName};
use crate::job::mailbox::ThreadProducer;
use crate::job::relay::{
    ClaimOutcome, Claimed, Fence, LEASE, RelayAnswer, RelayOutcome, RelayWork, SettleOutcome,
};
use crate::metrics::relay::RouteMeter;
use crate::net::deadline::now;
use crate::relay::route::RelayRoute;
use crate::relay::schedule::RoutePlace;
use crate::relay::share::SeatShares;
use crossbeam_channel::{Receiver, Sender};
use parking_lot::Mutex;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::Builder;
use std::time::{Duration, Instant};

/// The wait for the answer to one request to the store.
const STORE_TIMEOUT: Duration = Duration::from_secs(5);
/// The pause before the store is asked again.
const STORE_AGAIN: Duration = Duration::from_millis(200);
/// Publications of one channel in a row, before other channels have their turn.
const STREAK_MAX: u32 = 16;
/// A sender has no deep calls, and there may be hundreds of them.
const STACK_BYTES: usize = 512 << 10;

/// A claim, and the time at which it was asked for.
pub(super) struct AskedClaim {
    pub(super) claimed: Box<Claimed>,
    pub(super) asked: Instant,
}

/// Work for one sender. It has a seat of the route.
pub(super) struct SenderJob {
    pub(super) place: RoutePlace,
    pub(super) route: Arc<RelayRoute>,
    pub(super) meter: Arc<RouteMeter>,
    pub(super) shares: Arc<Mutex<SeatShares>>,
    pub(super) channel: ChannelName,
    /// A claim of the channel, if there is one already.
    pub(super) claim: Option<AskedClaim>,
}

/// News of a sender.
pub(super) enum SenderReport {
    /// The channel is with no sender any more.
    Settled { channel: ChannelName, next: NextStep },
    /// The sender reads a response, and the channel's next publication is claimed.
    Next { claim: AskedClaim, place: RoutePlace },
    /// The sender gives its seat back.
    Freed { place: RoutePlace },
}

/// The next step for a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NextStep {
    Rest,
    Ready,
    After(Duration),
    /// It waits for its turn among the channels whose next publication is of this user.
    Hold(UserName),
}

/// A seat of the author of a publication, while it is sent and its response is read.
struct UserSeat<'a> {
    shares: &'a Mutex<SeatShares>,
    user: UserName,
}

impl<'a> UserSeat<'a> {
    /// `None`: the user has no room.
    fn take(shares: &'a Mutex<SeatShares>, user: &UserName) -> Option<UserSeat<'a>> {
        shares.lock().take(user).then(|| UserSeat { shares, user: user.clone() })
    }
}

impl Drop for UserSeat<'_> {
    fn drop(&mut self) {
        self.shares.lock().leave(&self.user);
    }
}

/// Starts a sender. It ends when the sender of its jobs is gone, or a job is `None`.
pub(super) fn start(
    shared: &Arc<RelayShared>,
    route: &str,
    jobs: Receiver<Option<SenderJob>>,
    reports: Sender<SenderReport>,
) -> io::Result<()> {
    let shared = Arc::clone(shared);
    let run = move || {
        let orders = shared.mailboxes.open();
        let sender = RelaySender { shared, orders, reports };
        while let Ok(Some(job)) = jobs.recv() {
            sender.guarded(job);
        }
    };
    let name = format!("relay-{}", route.chars().take(8).collect::<String>());
    Builder::new().name(name).stack_size(STACK_BYTES).spawn(run).map(|_| ())
}

struct RelaySender {
    shared: Arc<RelayShared>,
    /// For orders about answers; it is the producer of none.
    orders: ThreadProducer,
    reports: Sender<SenderReport>,
}

impl RelaySender {
    /// A defect in the work must not take a seat for ever. The claim ends by itself, and the channel is found by the poll.
    fn guarded(&self, job: SenderJob) {
        let (place, channel, meter) = (job.place, job.channel.clone(), Arc::clone(&job.meter));
        meter.inflight.fetch_add(1, Ordering::Relaxed);
        if catch_unwind(AssertUnwindSafe(|| self.work(job))).is_err() {
            self.shared.claims.lock().remove(&channel);
            self.report(SenderReport::Settled { channel, next: NextStep::Rest });
        }
        meter.inflight.fetch_sub(1, Ordering::Relaxed);
        self.report(SenderReport::Freed { place });
    }

    fn work(&self, job: SenderJob) {
        let SenderJob { place, route, meter, shares, channel, claim } = job;
        let mut seat: Option<UserSeat<'_>> = None;
        let mut next = match claim {
            Some(claim) => Ok(claim),
            None => self.claim(&channel),
        };
        let mut streak = 0;
        let step = loop {
            let AskedClaim { claimed, asked } = match next {
                Ok(claim) => claim,
                Err(step) => break step,
            };
            streak += 1;
            if self.shared.is(Mode::Draining) || claimed.route != route.name {
                self.settle(&channel, claimed.fence, RelayOutcome::Release);
                break NextStep::Ready;
            }
            // The next publication of the same user keeps its seat: another sender would take it meanwhile.
            let user = &claimed.question.user;
            seat = seat.filter(|seat| seat.user == *user).or_else(|| UserSeat::take(&shares, user));
            if streak > STREAK_MAX || seat.is_none() {
                self.settle(&channel, claimed.fence, RelayOutcome::Release);
                break NextStep::Hold(user.clone());
            }
            let Attempted { outcome, body, next: wish } = self.attempt(&route, &meter, &claimed, asked);
            next = self.settled(&channel, claimed.fence, outcome, wish);
            let Some(body) = body else { continue };
            if body.is_quick() {
                body.read(&self.shared, &route, &meter);
                continue;
            }
            self.report(match next {
                Ok(claim) => SenderReport::Next { claim, place },
                Err(next) => SenderReport::Settled { channel, next },
            });
            return body.read(&self.shared, &route, &meter);
        };
        // The report may let a channel of the user go.
        drop(seat);
        self.report(SenderReport::Settled { channel, next: step });
    }

    fn attempt(
        &self,
        route: &RelayRoute,
        meter: &RouteMeter,
        claimed: &Claimed,
        asked: Instant,
    ) -> Attempted {
        self.shared.claims.lock().insert(claimed.channel.clone(), claimed.fence);
        let (shared, orders, random) = (&*self.shared, &self.orders, fastrand::f32());
        RelayAttempt { shared, route, meter, orders, claimed, asked, random }.make()
    }

    fn claim(&self, channel: &ChannelName) -> Result<AskedClaim, NextStep> {
        let asked = now();
        let work = RelayWork::Claim { channel: channel.clone() };
        match self.shared.ask(work, STORE_TIMEOUT) {
            RelayAnswer::Claim(outcome) => claimed(outcome, asked),
            _ => Err(NextStep::After(Duration::from_secs(1))),
        }
    }

    /// Settles an attempt, and returns what is next for the channel.
    ///
    /// The response is read also if the claim was lost meanwhile: if another attempt was made, its generation of the answer keeps
    /// this one's pieces out, and its keys are those of this one's publications. If none was made, there is no other response.
    fn settled(
        &self,
        channel: &ChannelName,
        fence: Fence,
        outcome: RelayOutcome,
        wish: NextClaim,
    ) -> Result<AskedClaim, NextStep> {
        // The answer that is lost may have been that of the first try.
        let asked = now();
        let settled = self.settle(channel, fence, outcome);
        self.shared.claims.lock().remove(channel);
        match (settled, wish) {
            (Some(SettleOutcome::Settled(next)), NextClaim::Now) => claimed(next, asked),
            (Some(SettleOutcome::Settled(_)), NextClaim::After(delay)) => Err(NextStep::After(delay)),
            (Some(SettleOutcome::Settled(_)), NextClaim::Resumed) | (Some(SettleOutcome::Lost) | None, _) => {
                Err(NextStep::Rest)
            }
        }
    }

    /// `None`: the store did not answer, and the claim has ended meanwhile.
    fn settle(&self, channel: &ChannelName, fence: Fence, outcome: RelayOutcome) -> Option<SettleOutcome> {
        let until = now() + LEASE;
        loop {
            let work = RelayWork::Settle { channel: channel.clone(), fence, outcome };
            if let RelayAnswer::Settle(outcome) = self.shared.ask(work, STORE_TIMEOUT) {
                return Some(outcome);
            }
            if now() + STORE_AGAIN >= until || self.shared.is(Mode::Stopping) {
                return None;
            }
            self.shared.pause(STORE_AGAIN);
        }
    }

    fn report(&self, report: SenderReport) {
        // The relay is gone when the process ends.
        let _ = self.reports.send(report);
    }
}

fn claimed(outcome: ClaimOutcome, asked: Instant) -> Result<AskedClaim, NextStep> {
    match outcome {
        ClaimOutcome::Claimed(claimed) => Ok(AskedClaim { claimed, asked }),
        ClaimOutcome::Nothing | ClaimOutcome::Taken | ClaimOutcome::Waits | ClaimOutcome::Unrouted => {
            Err(NextStep::Rest)
        }
        ClaimOutcome::NotYet { delay } => Err(NextStep::After(delay)),
    }
}

impl ResponseBody {
    /// True if it is dropped at once.
    fn is_quick(&self) -> bool {
        self.form == crate::relay::answer::BodyForm::Nothing
    }
}
