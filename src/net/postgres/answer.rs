//! Messages out of the bytes of a server, and the answer to a request out of its messages. No socket and no clock.

use super::failure::ServerError;
use super::row::{self, Row};
use bytes::BytesMut;
use postgres_protocol::message::backend::{Header, Message};
use std::io;

/// The size of one read.
const READ_BYTES: usize = 16 * 1024;

/// The bytes that have arrived and belong to no message yet.
#[derive(Debug)]
pub struct Incoming {
    bytes: BytesMut,
    message_bytes_max: usize,
}

impl Incoming {
    /// Messages are refused above `message_bytes_max` bytes.
    pub fn new(message_bytes_max: usize) -> Incoming {
        Incoming { bytes: BytesMut::new(), message_bytes_max }
    }

    /// Takes the next message, if it has arrived completely. The error says what no server sends.
    pub fn take(&mut self) -> Result<Option<Message>, String> {
        // The codec reserves the announced length: four bytes of garbage could announce two gigabytes.
        if let Some(header) = Header::parse(&self.bytes).map_err(|error| error.to_string())? {
            let is_possible =
                usize::try_from(header.len()).is_ok_and(|bytes| bytes <= self.message_bytes_max);
            if !is_possible || !header.tag().is_ascii_alphanumeric() {
                return Err("the header of a message is impossible".into());
            }
        }
        Message::parse(&mut self.bytes).map_err(|error| error.to_string())
    }

    /// Appends what one read brings.
    pub fn fill(&mut self, read: impl FnOnce(&mut [u8]) -> io::Result<usize>) -> io::Result<()> {
        let filled = self.bytes.len();
        self.bytes.resize(filled + READ_BYTES, 0);
        let read = read(self.bytes.get_mut(filled..).unwrap_or_default());
        self.bytes.truncate(filled + read.as_ref().map_or(0, |count| *count));
        read.map(|_| ())
    }
}

/// The answer to one request, as far as it has arrived.
#[derive(Debug, Default)]
pub struct Answer {
    columns: row::Columns,
    rows: Vec<Row>,
    error: Option<ServerError>,
}

/// The state of an answer after one more message.
#[derive(Debug)]
pub enum AnswerStep {
    /// More follows.
    Open,
    /// All rows have arrived.
    Complete(Vec<Row>),
    /// The statement failed; the connection waits for the next request.
    Failed(ServerError),
    /// The server ends the connection.
    Ended(ServerError),
}

impl Answer {
    /// Takes the next message. The error says what no server sends.
    pub fn take(&mut self, message: Message) -> Result<AnswerStep, String> {
        match message {
            Message::DataRow(body) => {
                self.rows.push(Row::new(&self.columns, body).map_err(|error| error.to_string())?);
            }
            Message::RowDescription(body) => {
                self.columns = row::columns(&body).map_err(|error| error.to_string())?;
            }
            Message::ErrorResponse(body) => {
                let error = ServerError::of(&body);
                if !error.is_of_statement() {
                    return Ok(AnswerStep::Ended(error));
                }
                self.error = Some(error);
            }
            Message::ReadyForQuery(_) => {
                let rows = std::mem::take(&mut self.rows);
                return Ok(self.error.take().map_or(AnswerStep::Complete(rows), AnswerStep::Failed));
            }
            // Notices, and confirmations without content.
            _ => {}
        }
        Ok(AnswerStep::Open)
    }
}
