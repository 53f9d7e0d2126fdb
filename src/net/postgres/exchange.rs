//! Requests to the server and its answers, one statement at a time.

use super::answer::{Answer, AnswerStep};
use super::connection::{Connection, SessionPhase};
use super::failure::{Failure, ServerError};
use super::row::Row;
use crate::health::finding::Fault;
use crate::net::line::ReadWait;
use crate::net::trouble::Trouble;
use bytes::BytesMut;
use postgres_protocol::IsNull;
use postgres_protocol::message::backend::Message;
use postgres_protocol::message::frontend::{self, BindError};
use postgres_types::{ToSql, Type};
use std::error::Error;
use std::io::{Read as _, Write as _};

/// A value and the type of its parameter.
pub(crate) type Param<'a> = (&'a (dyn ToSql + Sync), Type);

/// The initial capacity for a request: many are shorter.
const STATEMENT_BYTES: usize = 1024;

impl Connection {
    /// Runs one statement. Parameters and answer travel in one round trip, and no prepared statement stays on the server, because
    /// a pooler may run the next one on another server process.
    pub(crate) fn query(&mut self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, Failure> {
        let mut out = BytesMut::with_capacity(STATEMENT_BYTES);
        encode(sql, params, &mut out).map_err(|error| Failure::Server(ServerError::of_value(&error)))?;
        self.exchange(&out)
    }

    /// Runs statements without parameters; the values in the answer are text. It commits unless the statements say otherwise.
    pub(crate) fn simple(&mut self, sql: &str) -> Result<Vec<Row>, Failure> {
        let mut out = BytesMut::with_capacity(STATEMENT_BYTES);
        frontend::query(sql, &mut out).map_err(|error| Failure::Server(ServerError::of_value(&error)))?;
        self.exchange(&out)
    }

    /// Reads messages that the server sent between calls. Fails with the server's reason if it ended the connection.
    pub(crate) fn listen(&mut self) -> Result<(), Failure> {
        self.line.set_waits(ReadWait::Never);
        let heard = loop {
            match self.receive() {
                Ok(Message::ErrorResponse(body)) => break Err(Failure::Server(ServerError::of(&body))),
                Ok(_) => {}
                Err(trouble) if trouble.fault == Fault::Timeout => break Ok(()),
                Err(trouble) => break Err(trouble.into()),
            }
        };
        self.line.set_waits(ReadWait::ToDeadline);
        heard
    }

    fn exchange(&mut self, out: &[u8]) -> Result<Vec<Row>, Failure> {
        self.phase = SessionPhase::Calling;
        if let Err(trouble) = self.send(out) {
            // A server that ended the connection may have sent its reason.
            return Err(self
                .listen()
                .err()
                .filter(|failure| matches!(failure, Failure::Server(_)))
                .unwrap_or(trouble.into()));
        }
        let mut answer = Answer::default();
        loop {
            let step = answer.take(self.receive()?).map_err(|what| self.garbled(&what))?;
            match step {
                AnswerStep::Open => {}
                AnswerStep::Complete(rows) => {
                    self.phase = SessionPhase::Idle;
                    return Ok(rows);
                }
                AnswerStep::Failed(error) => {
                    self.phase = SessionPhase::Idle;
                    return Err(Failure::Server(error));
                }
                AnswerStep::Ended(error) => return Err(Failure::Server(error)),
            }
        }
    }

    pub(super) fn send(&mut self, out: &[u8]) -> Result<(), Trouble> {
        let sent = self.line.write_all(out).and_then(|()| self.line.flush());
        sent.map_err(|error| self.line.trouble_or(error))
    }

    pub(super) fn receive(&mut self) -> Result<Message, Trouble> {
        loop {
            if let Some(message) = self.received.take().map_err(|what| self.garbled(&what))? {
                return Ok(message);
            }
            self.received
                .fill(|buffer| self.line.read(buffer))
                .map_err(|error| self.line.trouble_or(error))?;
        }
    }

    pub(super) fn garbled(&self, what: &str) -> Trouble {
        let text = format!("{} does not answer as PostgreSQL does: {what}", self.line.peer());
        Trouble::new(Fault::Protocol, text)
    }
}

fn encode(sql: &str, params: &[Param<'_>], out: &mut BytesMut) -> Result<(), Box<dyn Error + Send + Sync>> {
    const BINARY: [i16; 1] = [1];
    let put = |(value, kind): &Param<'_>, out: &mut BytesMut| {
        value.to_sql_checked(kind, out).map(|is_null| match is_null {
            postgres_types::IsNull::Yes => IsNull::Yes,
            postgres_types::IsNull::No => IsNull::No,
        })
    };
    frontend::parse("", sql, params.iter().map(|(_, kind)| kind.oid()), out)?;
    frontend::bind("", "", BINARY, params, put, BINARY, out).map_err(|error| match error {
        BindError::Conversion(error) => error,
        BindError::Serialization(error) => error.into(),
    })?;
    frontend::describe(b'P', "", out)?;
    frontend::execute("", 0, out)?;
    frontend::sync(out);
    Ok(())
}
