//! Redis as a bus: PING, its role, a key written, read and deleted, and a publication that must come back.
//!
//! PING alone says that the server answers PING. Publications can be lost behind it: a subscriber's output buffer overflows, a proxy
//! passes no pub/sub on, a right is missing. So each look publishes to a subscription of its own on a second connection.
//!
//! The crate `redis` is the codec.

use super::target::RedisTarget;
use crate::health::finding::Fault;
use crate::worker::line::trouble::Trouble;
use crate::worker::line::{Dialer, Line};
use ::redis::{Parser, ServerError, Value, cmd};
use std::io::Write as _;
use std::time::Instant;

/// A key of a look outlives it only if the look dies between two commands.
const KEY_LIFE_MS: u32 = 60_000;

/// What is kept between two looks.
#[derive(Debug)]
pub(super) struct Session {
    commands: Connection,
    subscription: Connection,
    looks: u64,
}

/// One look; the connections are given back for the next.
pub(super) fn look(
    dialer: &mut Dialer,
    target: &RedisTarget,
    instance: &str,
    kept: Option<Box<Session>>,
    deadline: Instant,
) -> Result<(Option<String>, Box<Session>), Trouble> {
    let name = format!("seawall:probe:{instance}");
    let mut session = match kept {
        Some(mut session) => {
            session.commands.line.begin(deadline);
            session.subscription.line.begin(deadline);
            session
        }
        None => {
            let mut commands = Connection::open(dialer, target, deadline)?;
            commands.call(&[cmd("PING")])?;
            let mut subscription = Connection::open(dialer, target, deadline)?;
            subscription.call(&[cmd("SUBSCRIBE").arg(&name).take()])?;
            Box::new(Session { commands, subscription, looks: 0 })
        }
    };
    session.looks = session.looks.wrapping_add(1);
    let token = format!("{}-{}", std::process::id(), session.looks);
    session.commands.exercise(&name, &token)?;
    let heard = session.commands.publish(&name, &token)?;
    session.subscription.expect(&name, &token, heard)?;
    Ok((None, session))
}

struct Connection {
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
    fn open(dialer: &mut Dialer, target: &RedisTarget, deadline: Instant) -> Result<Connection, Trouble> {
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
    fn call(&mut self, commands: &[::redis::Cmd]) -> Result<Vec<Value>, Trouble> {
        self.ask(commands)?.into_iter().map(|answer| answer.map_err(|error| told(&error))).collect()
    }

    fn ask(&mut self, commands: &[::redis::Cmd]) -> Result<Vec<Result<Value, ServerError>>, Trouble> {
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

    fn receive(&mut self) -> Result<Value, Trouble> {
        self.parser.parse_value(&mut self.line).map_err(|error| self.line.trouble_or(error))
    }

    /// PING, the role, and a key's life, in one round trip.
    fn exercise(&mut self, key: &str, token: &str) -> Result<(), Trouble> {
        let commands = [
            cmd("PING"),
            cmd("ROLE"),
            cmd("SET").arg(key).arg(token).arg("PX").arg(KEY_LIFE_MS).take(),
            cmd("GET").arg(key).take(),
            cmd("DEL").arg(key).take(),
        ];
        let answers = self.ask(&commands)?;
        let [ping, role, set, get, del] = answers.as_slice() else {
            return Err(Trouble::new(Fault::Protocol, "answers are missing"));
        };
        demand("PING", ping, |value| matches!(value, Value::SimpleString(text) if text == "PONG"))?;
        // A role that may not be asked is no fault: the write shows what matters.
        if let Ok(Value::Array(parts)) = role
            && parts.first().is_some_and(|part| is_text(part, "slave"))
        {
            let text = "the server is a replica (ROLE): what is written there is lost";
            return Err(Trouble::new(Fault::Standby, text));
        }
        demand("SET", set, |value| matches!(value, Value::Okay))?;
        demand("GET", get, |value| is_text(value, token))?;
        demand("DEL", del, |value| matches!(value, Value::Int(1)))
    }

    /// The number of subscribers the server counts.
    fn publish(&mut self, channel: &str, token: &str) -> Result<i64, Trouble> {
        let answers = self.call(&[cmd("PUBLISH").arg(channel).arg(token).take()])?;
        match answers.first() {
            Some(Value::Int(count)) => Ok(*count),
            _ => Err(Trouble::new(Fault::Protocol, "PUBLISH is answered with something else than a number")),
        }
    }

    /// Waits for the publication with this token; older ones may still come before it.
    fn expect(&mut self, channel: &str, token: &str, heard: i64) -> Result<(), Trouble> {
        loop {
            let value = match self.receive() {
                Ok(value) => value,
                Err(Trouble { fault: Fault::Timeout, .. }) => {
                    let text = format!(
                        "{} answers, but a publication to our own subscription did not arrive (PUBLISH counted {heard} subscribers)",
                        self.line.peer()
                    );
                    return Err(Trouble::new(Fault::Delivery, text));
                }
                Err(trouble) => return Err(trouble),
            };
            match value {
                Value::ServerError(error) => return Err(told(&error)),
                Value::Array(parts) => {
                    if let [kind, name, text] = parts.as_slice()
                        && is_text(kind, "message")
                        && is_text(name, channel)
                        && is_text(text, token)
                    {
                        return Ok(());
                    }
                }
                _ => {
                    return Err(Trouble::new(
                        Fault::Protocol,
                        "a subscription receives something else than messages",
                    ));
                }
            }
        }
    }
}

fn is_text(value: &Value, text: &str) -> bool {
    match value {
        Value::BulkString(bytes) => bytes == text.as_bytes(),
        Value::SimpleString(found) => found == text,
        _ => false,
    }
}

fn demand(
    command: &str,
    answer: &Result<Value, ServerError>,
    is_right: impl Fn(&Value) -> bool,
) -> Result<(), Trouble> {
    match answer {
        Ok(value) if is_right(value) => Ok(()),
        Ok(_) => Err(Trouble::new(
            Fault::Protocol,
            format!("{command} is answered with something else than it should be"),
        )),
        Err(error) => Err(told(error)),
    }
}

/// Errors by their first word.
fn told(error: &ServerError) -> Trouble {
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
