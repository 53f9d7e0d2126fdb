//! A connection to Redis: a line with the crate `redis` as the codec.

use super::server::{RedisLogin, RedisServer};
use crate::health::finding::Fault;
use crate::net::dial::Dialer;
use crate::net::line::{Line, ReadWait};
use crate::net::trouble::Trouble;
use ::redis::{Parser, ServerError, Value, cmd};
use std::io::Write as _;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

pub(crate) struct RedisConnection {
    line: Line,
    parser: Parser,
}

impl std::fmt::Debug for RedisConnection {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("RedisConnection").field("line", &self.line).finish_non_exhaustive()
    }
}

impl RedisConnection {
    /// Connects, with TLS if the address asks for it, and authenticates.
    pub(super) fn connect(
        dialer: &mut Dialer,
        server: &RedisServer,
        login: &RedisLogin,
        deadline: Instant,
    ) -> Result<RedisConnection, Trouble> {
        let mut line = dialer.dial(&server.peer, deadline)?;
        if let Some(name) = &server.tls {
            line = line.secure(&dialer.trust, name)?;
        }
        let mut connection = RedisConnection { line, parser: Parser::new() };
        if let Some(password) = &login.password {
            let mut auth = cmd("AUTH");
            if let Some(user) = &login.user {
                auth.arg(user);
            }
            connection.call(&[auth.arg(password.as_str()).take()])?;
        }
        Ok(connection)
    }

    /// Makes the commands that follow use this database. 0 is the database of every new connection.
    pub(super) fn select(&mut self, database: u32) -> Result<(), Trouble> {
        if database == 0 {
            return Ok(());
        }
        self.call(&[cmd("SELECT").arg(database).take()]).map(drop)
    }

    /// Sends the commands at once and reads all answers; the first error is the result.
    pub(crate) fn call(&mut self, commands: &[::redis::Cmd]) -> Result<Vec<Value>, Trouble> {
        self.ask(commands)?.into_iter().map(|answer| answer.map_err(|error| trouble_of(&error))).collect()
    }

    pub(crate) fn ask(
        &mut self,
        commands: &[::redis::Cmd],
    ) -> Result<Vec<Result<Value, ServerError>>, Trouble> {
        let bytes: Vec<u8> = commands.iter().flat_map(::redis::Cmd::get_packed_command).collect();
        self.line
            .write_all(&bytes)
            .and_then(|()| self.line.flush())
            .map_err(|error| self.line.trouble_or(error))?;
        commands
            .iter()
            .map(|_| match self.receive()? {
                Value::ServerError(error) => Ok(Err(error)),
                value => Ok(Ok(value)),
            })
            .collect()
    }

    pub(crate) fn receive(&mut self) -> Result<Value, Trouble> {
        self.parser.parse_value(&mut self.line).map_err(|error| self.line.trouble_or(error))
    }

    /// The next value, if it has arrived completely. A partial value is kept for the next call.
    pub(crate) fn take(&mut self, deadline: Instant) -> Result<Option<Value>, Trouble> {
        self.line.begin(deadline);
        self.line.set_waits(ReadWait::Never);
        let taken = self.receive();
        self.line.set_waits(ReadWait::ToDeadline);
        match taken {
            Ok(value) => Ok(Some(value)),
            Err(Trouble { fault: Fault::Timeout, .. }) => Ok(None),
            Err(trouble) => Err(trouble),
        }
    }

    /// Sends without waiting for answers.
    pub(crate) fn say(&mut self, bytes: &[u8], deadline: Instant) -> Result<(), Trouble> {
        self.line.begin(deadline);
        self.line
            .write_all(bytes)
            .and_then(|()| self.line.flush())
            .map_err(|error| self.line.trouble_or(error))
    }

    /// Begins another look or batch on a kept connection.
    pub(crate) fn begin(&mut self, deadline: Instant) {
        self.line.begin(deadline);
    }

    /// Sets how much may be read after each `begin`.
    pub(crate) fn set_bytes_max(&mut self, bytes_max: usize) {
        self.line.set_bytes_max(bytes_max);
    }

    /// True if as much was read since the last `begin` as may be.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.line.is_exhausted()
    }

    pub(crate) fn peer(&self) -> &str {
        self.line.peer()
    }
}

impl AsFd for RedisConnection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.line.as_fd()
    }
}

/// True if the value is this text.
pub(crate) fn is_text(value: &Value, text: &str) -> bool {
    match value {
        Value::BulkString(bytes) => bytes == text.as_bytes(),
        Value::SimpleString(found) => found == text,
        _ => false,
    }
}

/// The trouble that a server's error means, judged by its first word.
pub(crate) fn trouble_of(error: &ServerError) -> Trouble {
    let (code, details) = (error.code(), error.details().unwrap_or_default());
    let fault = match code {
        "LOADING" | "BUSY" | "TRYAGAIN" | "CLUSTERDOWN" => Fault::NotReady,
        "READONLY" | "MASTERDOWN" => Fault::Standby,
        "NOREPLICAS" | "MISCONF" => Fault::ReadOnly,
        "OOM" => Fault::MemoryFull,
        "WRONGPASS" | "NOAUTH" | "DENIED" => Fault::Credentials,
        "NOPERM" => Fault::Schema,
        _ if details.contains("max number of clients") => Fault::ConnectionLimit,
        _ if details.contains("AUTH") || details.contains("password") => Fault::Credentials,
        _ if details.contains("unknown command") || details.contains("DB index") => Fault::Schema,
        _ => Fault::Internal,
    };
    Trouble::new(fault, format!("Redis reports {code}: {details}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{self, Read};

    /// Yields a byte, and would block the next time.
    struct Drops<'a>(&'a [u8], bool);

    impl Read for Drops<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.1 = !self.1;
            match (self.1, self.0.split_first(), buffer.first_mut()) {
                (true, Some((byte, rest)), Some(place)) => {
                    *place = *byte;
                    self.0 = rest;
                    Ok(1)
                }
                (true, ..) => Ok(0),
                (false, ..) => Err(io::ErrorKind::WouldBlock.into()),
            }
        }
    }

    #[test]
    fn value_that_arrives_byte_by_byte_is_read_completely() {
        let bytes = b"*3\r\n$7\r\nmessage\r\n$2\r\nc1\r\n$5\r\na\r\nbc\r\n*1\r\n:7\r\n";
        let (mut parser, mut drops, mut values) = (Parser::new(), Drops(bytes, false), Vec::new());
        for _ in 0..bytes.len() * 3 {
            if let Ok(value) = parser.parse_value(&mut drops) {
                values.push(value);
            }
        }
        let text = |text: &[u8]| Value::BulkString(text.to_vec());
        let message = Value::Array(vec![text(b"message"), text(b"c1"), text(b"a\r\nbc")]);
        assert_eq!(values, [message, Value::Array(vec![Value::Int(7)])]);
    }
}
