//! The replies of a request on their way to the peer: lines in chunks of a response.

use crate::id::CommandId;
use crate::wire::api::problem::{ApiProblem, ProblemCode};
use crate::wire::json;
use crate::wire::push;
use crate::wire::server_frame;
use crate::wire::stream::{Generation, Position, StreamId, StreamOutcome};
use std::collections::BTreeMap;
use std::io::Write as _;

/// Bytes that wait for the peer, above which nothing more is read or received.
const WAITING_BYTES_MANY: usize = 64 << 10;
/// Streams whose last position is kept until the end.
const STREAMS_MAX: usize = 256;
/// The head of the response. A proxy that gathers it would hold the replies back.
const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\
    Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nX-Accel-Buffering: no\r\nConnection: close\r\n\r\n";

/// The replies that a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReplyChoice {
    All,
    /// Errors and cancels as they come, and at the end the last position of each stream.
    Errors,
}

impl ReplyChoice {
    /// Reads the query.
    pub(super) fn of(query: &str) -> Result<ReplyChoice, ApiProblem> {
        match query {
            "" | "replies=all" => Ok(ReplyChoice::All),
            "replies=errors" => Ok(ReplyChoice::Errors),
            _ => {
                let detail = "the query takes replies=all or replies=errors only";
                Err(ApiProblem::lasting(ProblemCode::Malformed, detail))
            }
        }
    }
}

/// One reply, or a message to the producer.
#[derive(Debug)]
pub(super) enum Reply {
    Done(Vec<u8>),
    /// Everything below `next` is committed.
    Appended {
        id: Option<CommandId>,
        stream: StreamId,
        generation: Generation,
        next: Position,
    },
    Failed {
        id: Option<CommandId>,
        problem: ApiProblem,
    },
    /// A user asked for the end of a stream.
    Cancel(Vec<u8>),
}

impl Reply {
    /// The reply to a single command: a line, or the problem.
    pub(super) fn into_line(self) -> Result<Vec<u8>, ApiProblem> {
        match self {
            Reply::Failed { problem, .. } => Err(problem),
            reply => {
                let mut out = reply.text();
                out.push(b'\n');
                Ok(out)
            }
        }
    }

    /// The problem; a reply that is none does not come here.
    pub(super) fn into_problem(self) -> ApiProblem {
        match self {
            Reply::Failed { problem, .. } => problem,
            Reply::Done(_) | Reply::Appended { .. } | Reply::Cancel(_) => {
                ApiProblem::lasting(ProblemCode::Malformed, "the line is no command")
            }
        }
    }

    fn text(self) -> Vec<u8> {
        match self {
            Reply::Done(text) | Reply::Cancel(text) => text,
            Reply::Appended { id: Some(id), stream, generation, next } => {
                let outcome = StreamOutcome::Appended { generation, next };
                line(|out| push::stream_answered(out, id, &stream, &outcome))
            }
            Reply::Appended { id: None, stream, generation, next } => {
                line(|out| push::appended(out, &stream, generation, next))
            }
            Reply::Failed { id, problem } => {
                let mut out = Vec::with_capacity(192);
                json::object(&mut out, |out| {
                    if let Some(id) = id {
                        json::integer(out, "id", id.0);
                    }
                    problem.error(out);
                });
                out
            }
        }
    }
}

/// Says if the peer has been sent the head of the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ResponseStage {
    /// A problem can still be the status.
    Before,
    Begun,
}

/// The response so far.
#[derive(Debug)]
pub(super) struct Replies {
    choice: ReplyChoice,
    stage: ResponseStage,
    /// Lines that are in no chunk yet.
    lines: Vec<u8>,
    /// Bytes for the socket.
    out: Vec<u8>,
    /// The first of them that it has not taken.
    taken: usize,
    /// Where each stream is, for the end.
    reached: BTreeMap<StreamId, (Generation, Position)>,
}

impl Replies {
    pub(super) fn new(choice: ReplyChoice) -> Replies {
        let (lines, out, reached) = (Vec::new(), Vec::new(), BTreeMap::new());
        Replies { choice, stage: ResponseStage::Before, lines, out, taken: 0, reached }
    }

    /// True while a problem can be answered as the status.
    pub(super) fn has_no_head(&self) -> bool {
        self.stage == ResponseStage::Before
    }

    /// Begins the response: the commands are carried out, and each outcome is a line.
    pub(super) fn begin(&mut self) {
        if self.stage == ResponseStage::Before {
            self.stage = ResponseStage::Begun;
            self.out.extend_from_slice(HEAD);
        }
    }

    /// False if so much waits for the peer that nothing more should be done for it.
    pub(super) fn has_room(&self) -> bool {
        self.lines.len() + self.out.len() - self.taken < WAITING_BYTES_MANY
    }

    /// Adds a reply, as far as the request asks for it.
    pub(super) fn add(&mut self, reply: Reply) {
        self.begin();
        let text = match (self.choice, reply) {
            (ReplyChoice::Errors, Reply::Done(_)) => return,
            (ReplyChoice::Errors, Reply::Appended { stream, generation, next, .. }) => {
                self.reached.insert(stream, (generation, next));
                if self.reached.len() <= STREAMS_MAX {
                    return;
                }
                match self.reached.pop_first() {
                    Some((stream, (generation, next))) => {
                        Reply::Appended { id: None, stream, generation, next }.text()
                    }
                    None => return,
                }
            }
            (ReplyChoice::All | ReplyChoice::Errors, reply) => reply.text(),
        };
        self.lines.extend_from_slice(&text);
        self.lines.push(b'\n');
    }

    /// The bytes for the socket: all lines so far in one chunk.
    pub(super) fn waiting(&mut self) -> &[u8] {
        if !self.lines.is_empty() {
            // Writing to a Vec cannot fail.
            let _ = write!(self.out, "{:x}\r\n", self.lines.len());
            self.out.append(&mut self.lines);
            self.out.extend_from_slice(b"\r\n");
        }
        self.out.get(self.taken..).unwrap_or_default()
    }

    /// Notes that the socket has taken this many.
    pub(super) fn took(&mut self, bytes: usize) {
        self.taken += bytes;
        if self.taken >= self.out.len() {
            (self.out, self.taken) = (Vec::new(), 0);
        }
    }

    /// Ends the response, and returns what the peer has not been sent.
    pub(super) fn end(mut self) -> Vec<u8> {
        self.begin();
        for (stream, (generation, next)) in std::mem::take(&mut self.reached) {
            let text = Reply::Appended { id: None, stream, generation, next }.text();
            self.lines.extend_from_slice(&text);
            self.lines.push(b'\n');
        }
        self.waiting();
        self.out.extend_from_slice(b"0\r\n\r\n");
        self.out.split_off(self.taken.min(self.out.len()))
    }
}

/// The payload of a frame, as a line.
pub(super) fn line(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut frame = Vec::with_capacity(192);
    write(&mut frame);
    server_frame::text(&frame).unwrap_or_default().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{ChannelName, Offset};
    use crate::wire::api::streamed::{BodyProgress, BodyReader};

    fn appended(offset: u64, next: u32) -> Reply {
        let stream = StreamId { channel: ChannelName::parse("c").expect("valid"), offset: Offset(offset) };
        Reply::Appended { id: None, stream, generation: Generation(1), next: Position(next) }
    }

    /// The lines of a response.
    fn lines(response: &[u8]) -> Vec<serde_json::Value> {
        let mut body = response.strip_prefix(HEAD).expect("a head").to_vec();
        let mut content = Vec::new();
        assert_eq!(BodyReader::chunked().read(&mut body, &mut content), Ok(BodyProgress::Complete));
        assert!(body.is_empty());
        let text = String::from_utf8(content).expect("UTF-8");
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    #[test]
    fn response_is_chunks_of_lines_whatever_the_socket_takes() {
        for most in [1, 7, 1_000] {
            let (mut replies, mut sent) = (Replies::new(ReplyChoice::All), Vec::new());
            assert!(replies.has_no_head());
            for next in 1..20 {
                replies.add(appended(1, next));
                let taken: Vec<u8> = replies.waiting().iter().copied().take(most).collect();
                replies.took(taken.len());
                sent.extend(taken);
            }
            sent.extend(replies.end());
            let positions: Vec<u64> =
                lines(&sent).iter().map(|line| line["appended"]["next"].as_u64().expect("next")).collect();
            assert_eq!(positions, (1..20).collect::<Vec<u64>>(), "{most}");
        }
    }

    #[test]
    fn errors_alone_leave_one_position_for_each_stream() {
        let mut replies = Replies::new(ReplyChoice::Errors);
        replies.add(Reply::Done(b"{}".to_vec()));
        for (offset, next) in [(1, 1), (2, 5), (1, 3)] {
            replies.add(appended(offset, next));
        }
        let problem = ApiProblem::lasting(ProblemCode::Gap, "at is above the end");
        replies.add(Reply::Failed { id: Some(CommandId(7)), problem });
        let lines = lines(&replies.end());
        assert_eq!((lines.len(), &lines[0]["id"], &lines[0]["error"]["code"]), (3, &7.into(), &"gap".into()));
        let place =
            |at: usize| (lines[at]["appended"]["offset"].as_u64(), lines[at]["appended"]["next"].as_u64());
        assert_eq!([place(1), place(2)], [(Some(1), Some(3)), (Some(2), Some(5))]);
    }

    #[test]
    fn query_names_the_replies() {
        assert_eq!(ReplyChoice::of(""), Ok(ReplyChoice::All));
        assert_eq!(ReplyChoice::of("replies=errors"), Ok(ReplyChoice::Errors));
        for wrong in ["replies", "replies=none", "replies=errors&replies=all", "key=x"] {
            assert!(ReplyChoice::of(wrong).is_err(), "{wrong}");
        }
    }
}
