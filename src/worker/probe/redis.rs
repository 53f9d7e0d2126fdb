//! Redis as a bus: PING, its role, a key written, read and deleted, and a publication that must come back.
//!
//! PING alone says that the server answers PING. Publications can be lost behind it: a subscriber's output buffer overflows, a proxy
//! passes no pub/sub on, a right is missing. So each look publishes to a subscription of its own on a second connection.
//!
//! The crate `redis` is the codec.

use super::target::RedisTarget;
use crate::health::finding::Fault;
use crate::worker::line::Dialer;
use crate::worker::line::trouble::Trouble;
use crate::worker::redis::{Connection, is_text, told};
use ::redis::{ServerError, Value, cmd};
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
            session.commands.begin(deadline);
            session.subscription.begin(deadline);
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
    exercise(&mut session.commands, &name, &token)?;
    let heard = publish(&mut session.commands, &name, &token)?;
    expect(&mut session.subscription, &name, &token, heard)?;
    Ok((None, session))
}

/// PING, the role, and a key's life, in one round trip.
fn exercise(over: &mut Connection, key: &str, token: &str) -> Result<(), Trouble> {
    let commands = [
        cmd("PING"),
        cmd("ROLE"),
        cmd("SET").arg(key).arg(token).arg("PX").arg(KEY_LIFE_MS).take(),
        cmd("GET").arg(key).take(),
        cmd("DEL").arg(key).take(),
    ];
    let answers = over.ask(&commands)?;
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
fn publish(over: &mut Connection, channel: &str, token: &str) -> Result<i64, Trouble> {
    let answers = over.call(&[cmd("PUBLISH").arg(channel).arg(token).take()])?;
    match answers.first() {
        Some(Value::Int(count)) => Ok(*count),
        _ => Err(Trouble::new(Fault::Protocol, "PUBLISH is answered with something else than a number")),
    }
}

/// Waits for the publication with this token; older ones may still come before it.
fn expect(over: &mut Connection, channel: &str, token: &str, heard: i64) -> Result<(), Trouble> {
    loop {
        let value = match over.receive() {
            Ok(value) => value,
            Err(Trouble { fault: Fault::Timeout, .. }) => {
                let text = format!(
                    "{} answers, but a publication to our own subscription did not arrive (PUBLISH counted {heard} subscribers)",
                    over.peer()
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
