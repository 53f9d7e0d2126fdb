//! The judgement of one line: a job for the store, or a problem.

use super::problem;
use crate::api::publish::change;
use crate::auth::api_key::{ApiKey, ApiRight};
use crate::id::{ChannelName, CommandId, Key, ProducerId, UserName};
use crate::job::stream::{BeginStream, StreamJob, StreamOrder};
use crate::job::{Append, CancelAuthority, Creation, Form, PageRequest, Read, StreamRequest, Ticket};
use crate::limits::HISTORY_PAGE_BYTES_MAX;
use crate::session::{StreamRefusal, StreamsMode};
use crate::wire::api::body::ApiBounds;
use crate::wire::api::problem::{ApiProblem, ProblemCode};
use crate::wire::command::{self, AppendPiece, Command, CommandBounds, CommandFrame, EndStream, Publish};
use crate::wire::stream::StreamId;

/// The facts by which a line is judged.
pub(super) struct LineJudge<'a> {
    pub(super) key: &'a ApiKey,
    pub(super) bounds: ApiBounds,
    pub(super) streams: StreamsMode,
    /// The producer of the streams that the line begins or writes.
    pub(super) producer: ProducerId,
}

/// A command that the key may give.
#[derive(Debug)]
pub(super) struct LineOrder {
    /// `None` only for an append.
    pub(super) id: Option<CommandId>,
    pub(super) asked: AskedObject,
    pub(super) job: OrderJob,
    pub(super) answers: AppendAnswers,
}

/// The appends that are answered one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AppendAnswers {
    /// The ones with an id; the others in sums.
    WithId,
    Each,
}

/// The object of a command, for its reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum AskedObject {
    Publish { channel: ChannelName, key: Option<Key>, user: UserName },
    Write(StreamId),
    Show(StreamId),
    History(ChannelName),
}

/// The job, with a ticket to be filled in.
#[derive(Debug)]
pub(super) enum OrderJob {
    Append(Box<Append>),
    Stream(Box<StreamJob>),
    Read(Box<Read>),
}

/// A line that is refused, with the id of its command if it could be read.
pub(super) type RefusedLine = (Option<CommandId>, ApiProblem);

impl LineJudge<'_> {
    /// Reads a line and checks what its command needs.
    pub(super) fn order(&self, line: &[u8]) -> Result<LineOrder, RefusedLine> {
        let text = std::str::from_utf8(line)
            .map_err(|_| (None, ApiProblem::lasting(ProblemCode::Malformed, "the line is not UTF-8")))?;
        let bounds = CommandBounds { json_depth: self.bounds.json_depth, subscriptions: 0 };
        let CommandFrame { id, command } =
            command::parse(text, bounds).map_err(|rejected| (rejected.id, problem::of_line(rejected)))?;
        let named = command::named_author(text).map_err(|rejected| (id, problem::of_line(rejected)))?;
        self.command(id, named, command).map_err(|problem| (id, problem))
    }

    fn command(
        &self,
        id: Option<CommandId>,
        named: Option<UserName>,
        command: Command<'_>,
    ) -> Result<LineOrder, ApiProblem> {
        match command {
            Command::Publish(publish) => self.publish(id, named, publish),
            Command::Append(append) => {
                let AppendPiece { channel, offset, generation, at, piece } = *append;
                let order = StreamOrder::Append { generation, at, piece };
                self.write(id, named, StreamId { channel, offset }, order)
            }
            Command::Restart { channel, offset } => {
                self.write(id, named, StreamId { channel, offset }, StreamOrder::Restart)
            }
            Command::End(end) => {
                let EndStream { channel, offset, generation, at, end, data } = end;
                let order = StreamOrder::End { generation, at, end, data: data.map(Box::from) };
                self.write(id, named, StreamId { channel, offset }, order)
            }
            Command::CancelStream { channel, offset } => {
                let authority = match self.key.has(ApiRight::Moderate) {
                    true => CancelAuthority::Moderator,
                    false => CancelAuthority::Reader,
                };
                self.write(id, named, StreamId { channel, offset }, StreamOrder::Cancel { authority })
            }
            Command::ReadStream { channel, offset, known } => {
                self.check(ApiRight::History, &channel)?;
                let stream = StreamId { channel: channel.clone(), offset };
                let ticket = Ticket::UNANSWERED;
                let read = Read::Stream(StreamRequest { ticket, channel, offset: Some(offset), known });
                Ok(LineOrder {
                    id,
                    asked: AskedObject::Show(stream),
                    job: OrderJob::Read(Box::new(read)),
                    answers: AppendAnswers::WithId,
                })
            }
            Command::History { channel, range, limit } => {
                self.check(ApiRight::History, &channel)?;
                let (asked, ticket) = (AskedObject::History(channel.clone()), Ticket::UNANSWERED);
                let (span, bytes_max, form) = (range.into(), HISTORY_PAGE_BYTES_MAX, Form::Json);
                let read = Read::Page(PageRequest { ticket, channel, span, limit, bytes_max, form });
                Ok(LineOrder {
                    id,
                    asked,
                    job: OrderJob::Read(Box::new(read)),
                    answers: AppendAnswers::WithId,
                })
            }
            Command::Connect(_)
            | Command::Refresh { .. }
            | Command::Subscribe(_)
            | Command::Unsubscribe { .. }
            | Command::Signal { .. }
            | Command::Present { .. }
            | Command::Absent { .. }
            | Command::Presence { .. }
            | Command::Report(_) => {
                let detail = "this is a command of connections; here are publish, append, restart, end, cancel, stream and history";
                Err(ApiProblem::lasting(ProblemCode::UnknownCommand, detail))
            }
        }
    }

    fn publish(
        &self,
        id: Option<CommandId>,
        named: Option<UserName>,
        publish: Publish<'_>,
    ) -> Result<LineOrder, ApiProblem> {
        let Publish { channel, key, content, stream } = publish;
        self.check(ApiRight::Publish, &channel)?;
        if stream.is_some() {
            self.check(ApiRight::Stream, &channel)?;
            if self.streams == StreamsMode::Off {
                let refusal = StreamRefusal::Off;
                return Err(ApiProblem::lasting(ProblemCode::of(refusal.code()), refusal.message()));
            }
        }
        let (data, bound) = (content.data(), self.bounds.data_bytes);
        if data.len() > bound {
            let detail = format!("data has {} bytes; limits.frame_bytes is {bound}", data.len());
            return Err(ApiProblem::lasting(ProblemCode::TooLarge, detail));
        }
        let user = self.author(named)?;
        let asked = AskedObject::Publish { channel: channel.clone(), key: key.clone(), user: user.clone() };
        let producer = self.producer;
        let append = Append {
            ticket: Ticket::UNANSWERED,
            channel,
            user,
            key,
            change: change(self.key, &content),
            creation: Creation::Free,
            data: Box::from(data),
            stream: stream.map(|options| Box::new(BeginStream { options: *options, producer })),
            claims: None,
        };
        Ok(LineOrder { id, asked, job: OrderJob::Append(Box::new(append)), answers: AppendAnswers::WithId })
    }

    fn write(
        &self,
        id: Option<CommandId>,
        named: Option<UserName>,
        stream: StreamId,
        order: StreamOrder,
    ) -> Result<LineOrder, ApiProblem> {
        self.check(ApiRight::Stream, &stream.channel)
            .map_err(|problem| problem.of_stream(stream.clone(), None))?;
        let (asked, user) = (AskedObject::Write(stream.clone()), self.author(named)?);
        let job = StreamJob { producer: self.producer, ticket: None, id: stream, user, order };
        Ok(LineOrder { id, asked, job: OrderJob::Stream(Box::new(job)), answers: AppendAnswers::WithId })
    }

    fn check(&self, right: ApiRight, channel: &ChannelName) -> Result<(), ApiProblem> {
        let name = self.key.name();
        let detail = match (self.key.has(right), self.key.covers(channel)) {
            (true, true) => return Ok(()),
            (false, _) => format!("the key {name:?} lacks the right {}", right.name()),
            (true, false) => format!("the key {name:?} has no pattern that matches {channel}"),
        };
        Err(ApiProblem::lasting(ProblemCode::Forbidden, detail))
    }

    fn author(&self, named: Option<UserName>) -> Result<UserName, ApiProblem> {
        self.key.author(named).ok_or_else(|| {
            let name = self.key.name();
            let detail = format!(
                "the key {name:?} may not name an author; set as_user = true for it, or leave user out"
            );
            ApiProblem::lasting(ProblemCode::Forbidden, detail)
        })
    }
}

#[cfg(test)]
mod tests;
