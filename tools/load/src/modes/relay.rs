//! Questions to a backend: how many a second are taken, and when each arrives.
//!
//! The backend is part of this program, so one clock measures both sides. Each question must arrive exactly once and in the order of its
//! channel, and with answers its reader must get the word and one end.

use super::{FIRST_ID, drive, run_number};
use crate::arguments::{Common, Relay};
use crate::backend::{Backend, Reply};
use crate::crowd::{Crowd, Mode, Turn, channel_name, is_channel};
use crate::faults::excerpt;
use crate::frame;
use crate::member::Role;
use crate::message::{self, Message};
use crate::pacer;
use crate::process::Process;
use crate::questions::{Answering, Misfit, Question, Questions};
use crate::report::{Report, Times};
use crate::window::{Edge, Measured, Window};
use mio::Waker;
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The wait for the first question of each channel: the gateway may take the backend for down until its next probe.
const FIRST_PATIENCE: Duration = Duration::from_secs(30);
/// The wait for requests that nothing asked for, at the end.
const LINGER: Duration = Duration::from_secs(1);

/// When questions are sent.
enum Pace {
    /// A channel has this many that are not done.
    Depth(u32),
    /// One after each period, to the channels in turn.
    Every(Duration),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Until all members are ready.
    Connecting,
    /// One question in each channel, since then.
    First(Instant),
    /// Questions at the pace. The next one of an open loop is due then, in this channel.
    Running(Instant, usize),
    /// No more are sent.
    Settling,
    /// All are done, since then.
    Lingering(Instant),
}

#[derive(Debug)]
struct RelayTimes {
    commit: Times,
    request_after_commit: Times,
    request: Times,
    text: Times,
    end: Times,
}

struct Asking {
    window: Window,
    backend: Backend,
    waker: Arc<Waker>,
    pace: Pace,
    bytes: usize,
    publishers: usize,
    questions: Questions,
    step: Step,
    ready: usize,
    /// When the window opened.
    opened: Option<Instant>,
    /// The questions that were done in the window.
    counted: u64,
    requests_first: u64,
    times: RelayTimes,
    measured: Measured,
}

/// Asks until the window closes, and waits until every question is done.
pub(crate) fn run(common: &Common, arguments: &Relay, process: Option<Process>) -> Result<Report, String> {
    let channels = arguments.channels;
    let publishers = arguments.publishers.min(channels) as usize;
    let answering = if arguments.answers { Answering::Word } else { Answering::Nothing };
    let (reply, readers) = match answering {
        Answering::Nothing => (Reply::Nothing, 0),
        Answering::Word => (Reply::Word, channels),
    };
    let roles = (0..publishers).map(|_| Role::Publisher).chain((0..readers).map(Role::Subscriber));
    let mut crowd = Crowd::new(common, roles)?;
    let waker = Arc::new(crowd.waker()?);
    let new = Times::new;
    let mut mode = Asking {
        window: Window::new(process, common.warmup, common.duration),
        backend: Backend::start(arguments.backend, reply, Arc::clone(&waker))?,
        waker,
        pace: match arguments.rate {
            Some(rate) => Pace::Every(Duration::from_secs_f64(1.0 / rate)),
            None => Pace::Depth(arguments.depth),
        },
        bytes: arguments.payload as usize,
        publishers,
        questions: Questions::new("load-", channels, run_number(), answering),
        step: Step::Connecting,
        ready: 0,
        opened: None,
        counted: 0,
        requests_first: 0,
        times: RelayTimes {
            commit: new(),
            request_after_commit: new(),
            request: new(),
            text: new(),
            end: new(),
        },
        measured: Measured::default(),
    };
    crowd.dialer.enqueue(0..crowd.members.len());
    drive(&mut crowd, &mut mode)?;
    let parameters = json!({
        "channels": channels, "publishers": publishers, "rate": arguments.rate, "payload": arguments.payload,
        "depth": arguments.rate.is_none().then_some(arguments.depth), "answers": arguments.answers,
    });
    let Asking { times, questions, .. } = &mode;
    let report = Report::new("relay", common, parameters, &crowd)
        .operations("question", mode.counted, mode.measured)
        .latency("publish_to_commit", &times.commit)
        .latency("commit_to_request", &times.request_after_commit)
        .latency("publish_to_request", &times.request)
        .value("requests_before_replies", mode.requests_first)
        .value("all", questions.sent);
    Ok(match answering {
        Answering::Nothing => report,
        Answering::Word => {
            report.latency("publish_to_text", &times.text).latency("publish_to_end", &times.end)
        }
    })
}

impl Asking {
    /// Publishes a question, which was to be sent at `intended`.
    fn ask(&mut self, crowd: &mut Crowd, channel: usize, intended: Instant) {
        let (n, data) = self.questions.add(channel, intended, self.bytes);
        let id = FIRST_ID + n * self.questions.channels() as u64 + channel as u64;
        let name = channel_name(channel as u32);
        let command = format!("{{\"id\":{id},\"publish\":{{\"channel\":\"{name}\",\"data\":{data}}}}}");
        crowd.send(channel % self.publishers, frame::TEXT, command.as_bytes());
    }

    /// Takes the requests that have arrived.
    fn take(&mut self, crowd: &mut Crowd) {
        while let Some(arrival) = self.backend.next() {
            match arrival.request {
                Ok(asked) => match self.questions.asked(&asked, arrival.at) {
                    Ok(channel) => self.moved(crowd, channel),
                    Err((kind, text)) => crowd.faults.add(kind, || text),
                },
                Err(reason) => crowd.faults.add("request", || reason),
            }
        }
    }

    /// A question of the channel may be done.
    fn moved(&mut self, crowd: &mut Crowd, channel: usize) {
        crowd.move_on();
        while let Some(question) = self.questions.take_done(channel) {
            self.counted += u64::from(self.window.is_open());
            // Also if it is done after the window has closed: else the slowest would be missing.
            if self.opened.is_some_and(|opened| question.sent >= opened) {
                self.time(&question);
            }
            if let (Step::Running(..), Pace::Depth(_)) = (self.step, &self.pace) {
                self.ask(crowd, channel, crowd.now);
            }
        }
    }

    /// Adds the times of a question that was to be sent in the window.
    fn time(&mut self, question: &Question) {
        let Question { sent, committed, asked, shown, ended, .. } = *question;
        let times = &mut self.times;
        if let Some((committed, asked)) = committed.zip(asked) {
            self.requests_first += u64::from(asked < committed);
            times.request_after_commit.add(asked.saturating_duration_since(committed));
        }
        let since = [
            (&mut times.commit, committed),
            (&mut times.request, asked),
            (&mut times.text, shown),
            (&mut times.end, ended),
        ];
        for (times, at) in since {
            if let Some(at) = at {
                times.add(at.saturating_duration_since(sent));
            }
        }
    }

    /// A message; `None` if it is not one expected, else its channel if a question may be done.
    fn expected(
        &mut self,
        now: Instant,
        member: usize,
        message: &Message<'_>,
    ) -> Option<Result<Option<usize>, Misfit>> {
        let Some(reader) = member.checked_sub(self.publishers) else {
            let Message::Published { id, channel: name, offset, duplicate: false, .. } = message else {
                return None;
            };
            let number = usize::try_from(id.checked_sub(FIRST_ID)?).ok()?;
            let (channel, n) = (number % self.questions.channels(), number / self.questions.channels());
            if !is_channel(name, channel as u32) || channel % self.publishers != member {
                return None;
            }
            return Some(self.questions.committed(channel, n as u64, *offset, now).map(|()| Some(channel)));
        };
        let is_own = |name: &str| is_channel(name, reader as u32);
        match message {
            // A question, or the begin of its answer.
            Message::Publication { channel, .. } if is_own(channel) => Some(Ok(None)),
            Message::StreamState { channel, .. } if is_own(channel) => Some(Ok(None)),
            Message::Stream { channel, offset, at, text, .. } if is_own(channel) => {
                Some(self.questions.shown(reader, *offset, (*at, text), now).map(|()| None))
            }
            Message::StreamEnd { channel, begin, data } if is_own(channel) => {
                Some(self.questions.ended(reader, *begin, data, now).map(|()| Some(reader)))
            }
            _ => None,
        }
    }

    /// The first questions are done.
    fn begin(&mut self, crowd: &mut Crowd) {
        self.window.start(crowd.now);
        self.step = Step::Running(crowd.now, 0);
        match self.pace {
            Pace::Depth(depth) => (0..depth).for_each(|_| self.ask_all(crowd)),
            Pace::Every(period) => {
                if let Err(reason) = pacer::start(Arc::clone(&self.waker), crowd.now, period) {
                    crowd.faults.add("pacer", || reason);
                }
            }
        }
    }

    fn ask_all(&mut self, crowd: &mut Crowd) {
        (0..self.questions.channels()).for_each(|channel| self.ask(crowd, channel, crowd.now));
    }

    /// Sends the questions of an open loop that are due.
    fn ask_due(&mut self, crowd: &mut Crowd) {
        let Pace::Every(period) = self.pace else { return };
        while let Step::Running(due, channel) = self.step
            && due <= crowd.now
        {
            self.step = Step::Running(due + period, (channel + 1) % self.questions.channels());
            self.ask(crowd, channel, due);
        }
    }
}

impl Mode for Asking {
    fn ready(&mut self, crowd: &mut Crowd, _member: usize) {
        self.ready += 1;
        if self.ready == crowd.members.len() {
            self.step = Step::First(crowd.now);
            self.ask_all(crowd);
        }
    }

    fn message(&mut self, crowd: &mut Crowd, member: usize, payload: &[u8]) {
        let Some(message) = message::read(payload) else {
            return crowd.faults.add("unreadable", || excerpt(payload));
        };
        // The backend noted a question before it answered, so its answer is known by then.
        self.take(crowd);
        match self.expected(crowd.now, member, &message) {
            Some(Ok(Some(channel))) => self.moved(crowd, channel),
            Some(Ok(None)) => crowd.move_on(),
            Some(Err((kind, text))) => crowd.faults.add(kind, || text),
            None => crowd.other(member, &message, payload),
        }
    }

    fn turn(&mut self, crowd: &mut Crowd) -> Turn {
        self.take(crowd);
        if !crowd.faults.none() {
            return Turn::Over;
        }
        match self.step {
            Step::Connecting => {}
            Step::First(_) if self.questions.open() == 0 => self.begin(crowd),
            Step::First(since) => {
                if crowd.now.saturating_duration_since(since) < FIRST_PATIENCE {
                    crowd.move_on();
                }
            }
            Step::Running(..) => match self.window.turn(crowd.now) {
                Edge::None => self.ask_due(crowd),
                Edge::Opened => {
                    self.opened = Some(crowd.now);
                    self.ask_due(crowd);
                }
                Edge::Shut(measured) => {
                    self.measured = measured;
                    self.step = Step::Settling;
                }
            },
            Step::Settling if self.questions.open() > 0 => {}
            Step::Settling => self.step = Step::Lingering(crowd.now),
            Step::Lingering(since) if crowd.now.saturating_duration_since(since) >= LINGER => {
                return Turn::Over;
            }
            Step::Lingering(_) => crowd.move_on(),
        }
        Turn::On
    }

    fn progress(&self) -> String {
        self.questions.progress()
    }
}
