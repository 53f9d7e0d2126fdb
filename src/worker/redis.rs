//! A connection to Redis over a line, with the crate `redis` as the codec.

use super::line::trouble::Trouble;
use super::line::{Dialer, Line};
use super::probe::target::RedisTarget;
use crate::health::finding::Fault;
use ::redis::{Parser, ServerError, Value, cmd};
use std::io::Write as _;
use std::time::Instant;

/// See the module.
pub(in crate::worker) struct Connection {
    line: Line,
    parser: Parser,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Connection").field("line", &self.line).finish_non_exhaustive()
    }
}

impl Connection {
    /// Connects, with TLS where the address wants it, authenticates and selects the database.
    pub(in crate::worker) fn open(
        dialer: &mut Dialer,
        target: &RedisTarget,
        deadline: Instant,
    ) -> Result<Connection, Trouble> {
        let mut line = dialer.dial(&target.peer, deadline)?;
        if let Some(name) = &target.tls {
            line = line.secure(&dialer.trust, name)?;
        }
        let mut connection = Connection { line, parser: Parser::new() };
        let mut greeting = Vec::new();
        if let Some(password) = &target.password {
            let mut auth = cmd("AUTH");
            if let Some(user) = &target.user {
                auth.arg(user);
            }
            greeting.push(auth.arg(password).take());
        }
        if target.database != 0 {
            greeting.push(cmd("SELECT").arg(target.database).take());
        }
        connection.call(&greeting)?;
        Ok(connection)
    }

    /// Sends the commands at once and reads all their answers; the first error counts.
    pub(in crate::worker) fn call(&mut self, commands: &[::redis::Cmd]) -> Result<Vec<Value>, Trouble> {
        self.ask(commands)?.into_iter().map(|answer| answer.map_err(|error| told(&error))).collect()
    }

    pub(in crate::worker) fn ask(
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

    pub(in crate::worker) fn receive(&mut self) -> Result<Value, Trouble> {
        self.parser.parse_value(&mut self.line).map_err(|error| self.line.trouble_or(error))
    }

    /// Begins another look or batch on a kept connection.
    pub(in crate::worker) fn begin(&mut self, deadline: Instant) {
        self.line.begin(deadline);
    }

    pub(in crate::worker) fn peer(&self) -> &str {
        self.line.peer()
    }
}

/// Whether a value is this text.
pub(in crate::worker) fn is_text(value: &Value, text: &str) -> bool {
    match value {
        Value::BulkString(bytes) => bytes == text.as_bytes(),
        Value::SimpleString(found) => found == text,
        _ => false,
    }
}

/// Errors by their first word.
pub(in crate::worker) fn told(error: &ServerError) -> Trouble {
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
