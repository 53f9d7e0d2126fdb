//! A body that is read while it arrives, with its replies going out meanwhile.

use super::duplex::Duplex;
use super::judge::LineOrder;
use super::problem;
use super::replies::{Replies, Reply};
use super::request::CommandsRequest;
use super::sender::{CommandSender, Dispatched};
use crate::api::server::{ApiServer, draining};
use crate::clock::Now;
use crate::job::Queues;
use crate::limits::REPLY_TIMEOUT;
use crate::net::deadline::now;
use crate::net::served::ServedStream;
use crate::wire::api::problem::{ApiProblem, ProblemCode};
use crate::wire::api::streamed::{BodyLines, BodyProgress, BodyReader};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The pause before a command is offered again to a queue that was full.
const TRY_AGAIN: Duration = Duration::from_millis(2);
/// The time between two looks at the key, which may have been withdrawn, and at the configuration.
const CHECK_PERIOD: Duration = Duration::from_secs(1);
/// The time for a peer to take the replies that are too many for it, once the process ends.
const STALL_TIMEOUT: Duration = Duration::from_secs(1);
/// Commands in one turn, so that replies go out meanwhile.
const COMMANDS_PER_TURN: usize = 64;

/// The part of a body that came with the head, and the framing of all of it.
pub(super) struct Arrived {
    pub(super) reader: BodyReader,
    pub(super) received: Vec<u8>,
}

/// A body in progress.
pub(super) struct OpenBody<'a, 's, C> {
    server: &'a ApiServer<C>,
    request: &'a CommandsRequest<'a>,
    /// While they are held, the store takes jobs.
    queues: Arc<Queues>,
    duplex: Duplex<'a, 's>,
    sender: CommandSender<'a, C>,
    replies: Replies,
    reader: BodyReader,
    received: Vec<u8>,
    lines: BodyLines,
    progress: BodyProgress,
    stage: BodyStage,
    /// A command for which there was no room.
    held: Option<LineOrder>,
    idle: Duration,
    /// When the last line came. The body is not silent while it is not read.
    heard: Instant,
    /// When the peer took the last bytes of replies, or had none to take.
    taken: Instant,
    checked: Instant,
}

/// Says if more of a body is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BodyStage {
    Reading,
    /// The process ends, since this time: what was sent is answered.
    Leaving(Instant),
}

/// The end of a body.
enum BodyEnd {
    /// All commands are answered.
    Proper,
    /// The peer left, or takes nothing: whatever it produced has lost its producer.
    Lost,
    Fault(ApiProblem),
}

/// The result of looking for the next command.
enum NextOrder {
    Given(LineOrder),
    /// It was answered.
    Refused,
    None,
}

/// Says if a turn has done anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BodyTurn {
    Worked,
    Idle,
}

impl<'a, 's, C: Fn() -> Now> OpenBody<'a, 's, C> {
    /// Carries out the commands of a body. Returns the rest of the response, for a connection that may block again.
    pub(super) fn serve(
        server: &'a ApiServer<C>,
        stream: &'a mut ServedStream<'s>,
        request: &'a CommandsRequest<'a>,
        queues: Arc<Queues>,
        arrived: Arrived,
        replies: Replies,
    ) -> Result<Vec<u8>, Option<ApiProblem>> {
        let (duplex, waker) = Duplex::new(stream, request.seat.stream()).map_err(|error| {
            tracing::error!(%error, "body could not be read");
            None
        })?;
        let producer = server.callers.producers().open_waking(waker);
        let sender = CommandSender::new(server, Arc::clone(&request.key), request.policy, producer);
        let (Arrived { reader, received }, begun) = (arrived, now());
        let mut body = OpenBody {
            server,
            request,
            queues,
            duplex,
            sender,
            replies,
            reader,
            received,
            lines: BodyLines::default(),
            progress: BodyProgress::Partial,
            stage: BodyStage::Reading,
            held: None,
            idle: request.policy.idle,
            heard: begun,
            taken: begun,
            checked: begun,
        };
        match body.run() {
            BodyEnd::Proper => {
                body.sender.leave();
                Ok(body.replies.end())
            }
            BodyEnd::Lost => Err(None),
            BodyEnd::Fault(problem) if body.replies.has_no_head() => Err(Some(problem)),
            BodyEnd::Fault(problem) => {
                body.replies.add(Reply::Failed { id: None, problem });
                Ok(body.replies.end())
            }
        }
    }

    fn run(&mut self) -> BodyEnd {
        loop {
            match self.turn(now()) {
                Ok(BodyTurn::Worked) => {}
                Ok(BodyTurn::Idle) if self.is_over() => {
                    return match self.stage {
                        BodyStage::Reading => BodyEnd::Proper,
                        BodyStage::Leaving(_) => BodyEnd::Fault(draining()),
                    };
                }
                Ok(BodyTurn::Idle) => {
                    let most = self.wait(now());
                    self.duplex.wait(most);
                }
                Err(end) => return end,
            }
        }
    }

    /// Does everything that does not have to wait.
    fn turn(&mut self, now: Instant) -> Result<BodyTurn, BodyEnd> {
        self.look_at_drain(now)?;
        self.check(now)?;
        let received = self.receive(now);
        let read = self.read()?;
        let sent = self.commands(now)?;
        let written = self.write(now)?;
        let worked = [received, read, sent, written].contains(&BodyTurn::Worked);
        self.check_silence(now)?;
        Ok(if worked { BodyTurn::Worked } else { BodyTurn::Idle })
    }

    /// Reads no more once the process ends. What was read and not sent is dropped: the peer repeats what has no answer.
    fn look_at_drain(&mut self, now: Instant) -> Result<(), BodyEnd> {
        match self.stage {
            BodyStage::Reading if self.server.queues().is_err() => {
                self.stage = BodyStage::Leaving(now);
                self.progress = BodyProgress::Complete;
                (self.lines, self.received, self.held) = (BodyLines::default(), Vec::new(), None);
                Ok(())
            }
            BodyStage::Leaving(since) if now >= self.leave_by(since) => {
                Err(if self.replies.has_room() { BodyEnd::Fault(draining()) } else { BodyEnd::Lost })
            }
            BodyStage::Reading | BodyStage::Leaving(_) => Ok(()),
        }
    }

    /// The time by which a body ends that has to since this time. Each command has its reply by then, if the peer takes replies.
    fn leave_by(&self, since: Instant) -> Instant {
        since + if self.replies.has_room() { REPLY_TIMEOUT } else { STALL_TIMEOUT }
    }

    /// True when all commands are answered, and the replies are with the peer or go out with the end.
    fn is_over(&self) -> bool {
        let is_read = self.progress == BodyProgress::Complete && self.lines.content.is_empty();
        is_read && self.held.is_none() && self.sender.is_answered()
    }

    /// The time for which nothing has to be done unless something comes.
    fn wait(&self, now: Instant) -> Duration {
        let until = |moment: Instant| moment.saturating_duration_since(now);
        let (check, silence) = (until(self.checked + CHECK_PERIOD), until(self.heard + self.idle));
        let reply = self.sender.due().map_or(CHECK_PERIOD, until);
        let leave = match self.stage {
            BodyStage::Reading => CHECK_PERIOD,
            BodyStage::Leaving(since) => until(self.leave_by(since)),
        };
        let most = check.min(silence).min(reply).min(leave).max(Duration::from_millis(1));
        // A full window and a full mailbox end with a wake-up, a full queue does not.
        let is_waiting = self.held.is_some() || !self.sender.is_settled();
        if is_waiting && !self.sender.is_held() { most.min(TRY_AGAIN) } else { most }
    }

    /// Looks at the key again, from time to time.
    fn check(&mut self, now: Instant) -> Result<(), BodyEnd> {
        if now < self.checked + CHECK_PERIOD {
            return Ok(());
        }
        self.checked = now;
        let policy = self.server.shared.policy.load_full();
        match self.server.authenticated(self.request.head, &policy, self.request.peer.ip()) {
            Ok(key) => self.sender.revise(key, &policy),
            // It cannot be judged at the moment.
            Err(problem) if problem.retry_ms.is_some() => {}
            Err(problem) => return Err(BodyEnd::Fault(problem)),
        }
        self.idle = policy.idle;
        Ok(())
    }

    /// Takes what came for this thread, unless the peer has much to take already.
    fn receive(&mut self, now: Instant) -> BodyTurn {
        let mut turn = BodyTurn::Idle;
        while self.replies.has_room() {
            let Some(item) = self.sender.receive() else { break };
            turn = BodyTurn::Worked;
            if let Some(reply) = self.sender.take(item) {
                self.replies.add(reply);
            }
        }
        while let Some(reply) = self.sender.expired(now) {
            turn = BodyTurn::Worked;
            self.replies.add(reply);
        }
        self.sender.send_owed();
        turn
    }

    /// Reads, unless a command waits or there is enough to do.
    fn read(&mut self) -> Result<BodyTurn, BodyEnd> {
        let is_wanted = self.progress == BodyProgress::Partial && self.held.is_none();
        if !is_wanted || self.lines.has_much() || !self.replies.has_room() {
            return Ok(BodyTurn::Idle);
        }
        let came = if self.received.is_empty() {
            self.duplex.read(&mut self.received).map_err(|_| BodyEnd::Lost)?
        } else {
            // The beginning of a chunk's size, or what came with the head.
            self.received.len() + self.duplex.read(&mut self.received).map_err(|_| BodyEnd::Lost)?
        };
        let before = self.received.len();
        let read = self.reader.read(&mut self.received, &mut self.lines.content);
        self.progress = read.map_err(|fault| BodyEnd::Fault(problem::of_body(fault)))?;
        let is_work = came > 0 && self.received.len() < before || self.progress == BodyProgress::Complete;
        Ok(if is_work { BodyTurn::Worked } else { BodyTurn::Idle })
    }

    /// Sends the commands of the lines that are complete, until there is no room for one.
    fn commands(&mut self, now: Instant) -> Result<BodyTurn, BodyEnd> {
        let mut turn = BodyTurn::Idle;
        for _ in 0..COMMANDS_PER_TURN {
            if !self.replies.has_room() {
                break;
            }
            let order = match self.held.take() {
                Some(order) => order,
                None => match self.next_order(now)? {
                    NextOrder::Given(order) => order,
                    NextOrder::Refused => {
                        turn = BodyTurn::Worked;
                        continue;
                    }
                    NextOrder::None => break,
                },
            };
            match self.sender.dispatch(&self.queues, order) {
                Dispatched::Sent => turn = BodyTurn::Worked,
                Dispatched::Full(order) => {
                    self.held = Some(order);
                    break;
                }
                Dispatched::Ends => return Err(BodyEnd::Fault(draining())),
            }
        }
        Ok(turn)
    }

    /// The command of the next line, or after the last line one that has the appends without an id answered.
    fn next_order(&mut self, now: Instant) -> Result<NextOrder, BodyEnd> {
        let line = self.lines.next(self.progress).map_err(|fault| BodyEnd::Fault(problem::of_body(fault)))?;
        let Some(line) = line else {
            let is_read = self.progress == BodyProgress::Complete;
            let order = if is_read { self.sender.confirmation() } else { None };
            return Ok(order.map_or(NextOrder::None, NextOrder::Given));
        };
        self.heard = now;
        self.replies.begin();
        Ok(match self.sender.order(&line) {
            Ok(order) => NextOrder::Given(order),
            Err(reply) => {
                self.replies.add(reply);
                NextOrder::Refused
            }
        })
    }

    fn write(&mut self, now: Instant) -> Result<BodyTurn, BodyEnd> {
        let waiting = self.replies.waiting();
        let is_empty = waiting.is_empty();
        let sent = self.duplex.write(waiting).ok_or(BodyEnd::Lost)?;
        self.replies.took(sent);
        if is_empty || sent > 0 {
            self.taken = now;
        }
        Ok(if sent > 0 { BodyTurn::Worked } else { BodyTurn::Idle })
    }

    /// Ends a body that is silent for too long, and one whose peer takes no replies.
    fn check_silence(&mut self, now: Instant) -> Result<(), BodyEnd> {
        if now.saturating_duration_since(self.taken) >= self.idle {
            return Err(BodyEnd::Lost);
        }
        let is_read =
            self.progress == BodyProgress::Partial && self.held.is_none() && self.replies.has_room();
        if !is_read {
            self.heard = now;
        } else if now.saturating_duration_since(self.heard) >= self.idle {
            let ms = self.idle.as_millis();
            let detail = format!(
                "no line came for {ms} ms (streams.idle_ms); send an append without text as a sign of life"
            );
            return Err(BodyEnd::Fault(ApiProblem::lasting(ProblemCode::RequestTimeout, detail)));
        }
        Ok(())
    }
}
