//! `POST /v1/commands`: the commands of a backend that produces streams, one per line of a request body, and their replies, one per line
//! of the response.
//!
//! One thread serves such a request from both ends: it reads the body while it arrives, and writes replies meanwhile. It never waits for
//! one of the two: the [duplex] connection does not block, and a command for which there is no room is held while nothing
//! more is read. A body with a single command and a `Content-Length` is answered with its outcome as the status instead.

mod duplex;
mod judge;
mod open;
mod outcomes;
mod problem;
mod replies;
mod request;
mod sender;

use super::exchange::{ApiHead, ContentType, DeclaredBody, Exchange};
use super::publish::BUSY_RETRY_MS;
use super::server::ApiServer;
use crate::auth::api_key::ApiKey;
use crate::clock::Now;
use crate::job::places::Places;
use crate::net::deadline::now;
use crate::wire::api::problem::{ApiProblem, ProblemCode};
use crate::wire::api::streamed::{BodyLines, BodyProgress, BodyReader, LINE_BYTES_MAX};
use crate::wire::request::Version;
use open::{Arrived, OpenBody};
use replies::{Replies, ReplyChoice};
pub(super) use request::CommandsRequest;
use sender::CommandSender;
use std::sync::Arc;

/// The end of a request whose commands were read.
pub(super) enum CommandsEnd {
    /// The body of an answer.
    Answer(Vec<u8>),
    /// The answer is sent, as far as the peer took it.
    Sent,
}

/// Decides from the head whether there is a body of commands.
pub(super) fn accepts(head: &ApiHead) -> Result<(), ApiProblem> {
    let refused = |code, detail: &'static str| Err(ApiProblem::lasting(code, detail));
    match (head.body, head.content) {
        (DeclaredBody::None, _) => {
            refused(ProblemCode::Malformed, "the body is empty; send one command per line")
        }
        (DeclaredBody::Unknown, _) => {
            refused(ProblemCode::Malformed, "chunked is the only Transfer-Encoding that is taken")
        }
        (_, ContentType::Other) => {
            refused(ProblemCode::UnsupportedType, "send the header Content-Type: application/x-ndjson")
        }
        (DeclaredBody::Chunked | DeclaredBody::Bytes(_), ContentType::Json | ContentType::Lines) => Ok(()),
    }
}

impl<C: Fn() -> Now> ApiServer<C> {
    /// Carries out the commands of a body. It is the last request of its connection.
    pub(super) fn commands(
        &self,
        exchange: &mut Exchange<'_, C>,
        request: CommandsRequest<'_>,
    ) -> Result<CommandsEnd, Option<ApiProblem>> {
        let choice = ReplyChoice::of(&request.head.query)?;
        let queues = self.queues()?;
        let head = request.head;
        let reader = match head.body {
            DeclaredBody::Bytes(length) if length <= LINE_BYTES_MAX => {
                let body = exchange.body(head, length)?;
                let mut lines = BodyLines::of(body);
                let first = lines.next(BodyProgress::Complete).map_err(problem::of_body)?;
                if let (Some(line), true) = (&first, lines.content.trim_ascii().is_empty()) {
                    return Ok(CommandsEnd::Answer(self.one_command(&request, line, choice)?));
                }
                let mut content = first.map_or_else(Vec::new, |line| [&line[..], b"\n"].concat());
                content.append(&mut lines.content);
                Arrived { reader: BodyReader::counted(content.len()), received: content }
            }
            DeclaredBody::Bytes(length) => {
                exchange.invite(head);
                Arrived { reader: BodyReader::counted(length), received: exchange.take_rest(head) }
            }
            DeclaredBody::Chunked | DeclaredBody::Unknown | DeclaredBody::None => {
                exchange.invite(head);
                Arrived { reader: BodyReader::chunked(), received: exchange.take_rest(head) }
            }
        };
        if head.version == Version::Http10 {
            let detail = "several commands in one request need HTTP/1.1";
            return Err(Some(ApiProblem::lasting(ProblemCode::Malformed, detail)));
        }
        let places = &self.shared.open_bodies;
        let taken = Places::take(places, request.key.party(), 1, now());
        let Some(open) = taken else { return Err(Some(no_room(&request.key, places.share()))) };
        let replies = Replies::new(choice);
        let served = OpenBody::serve(self, exchange.stream(), &request, queues, reader, replies);
        let served = served.map(|rest| exchange.send(&rest));
        if self.queues().is_err() {
            // The process waits for the end of the connection, within which the peer gets the end of the response.
            exchange.hold(open);
        }
        served.map(|_| CommandsEnd::Sent)
    }

    /// Carries out the only command of a request, and returns its reply.
    fn one_command(
        &self,
        request: &CommandsRequest<'_>,
        line: &[u8],
        choice: ReplyChoice,
    ) -> Result<Vec<u8>, ApiProblem> {
        let producer = self.callers.producers().open();
        let mut sender = CommandSender::new(self, Arc::clone(&request.key), request.policy, producer);
        let reply = sender.carry_out(line)?;
        sender.leave();
        Ok(match choice {
            ReplyChoice::All => reply,
            ReplyChoice::Errors => Vec::new(),
        })
    }
}

fn no_room(key: &ApiKey, share: usize) -> ApiProblem {
    let detail = format!(
        "the key {:?} has {share} bodies of commands open, its share of half of api.connections; end one, or use a WebSocket",
        key.name()
    );
    ApiProblem::passing(ProblemCode::Overloaded, detail, BUSY_RETRY_MS)
}
