//! One server of Redis as a bus: PING, its role, a key written, read and deleted, and a publication that must come back.
//!
//! PING shows only that the server answers PING. Publications can be lost all the same: a subscriber's output buffer overflows,
//! a proxy does not pass on pub/sub, a permission is missing. So each look subscribes on a second connection, and publishes to
//! that subscription.
//!
//! The crate `redis` is the codec.

use crate::health::finding::Fault;
use crate::net::dial::Dialer;
use crate::net::redis::cluster::unexpected_node;
use crate::net::redis::{RedisConnection, RedisTarget, is_text, trouble_of};
use crate::net::trouble::Trouble;
use crate::wire::lease::TAG;
use crate::wire::slot::Partition;
use ::redis::{ServerError, Value, cmd};
use std::time::Instant;

/// How long a look's key lives. It outlives the look only if that dies between two commands.
const KEY_LIFE_MS: u32 = 60_000;
/// Every this many looks the server is asked if it evicts.
const LOOKS_OF_EVICTION: u64 = 12;

/// The connections kept between two looks.
#[derive(Debug)]
pub(super) struct RedisSession {
    commands: RedisConnection,
    subscription: RedisConnection,
    looks: u64,
    /// The warning that the server of the bus evicts.
    evicts: Option<String>,
}

/// The names that a look uses.
#[derive(Clone, Debug)]
pub(super) struct RedisNames {
    instance: String,
    /// `None`: it is not the Redis of the bus.
    prefix: Option<String>,
}

/// The names at one server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ServerNames {
    key: String,
    channel: String,
    /// A hash next to those of the registry, where those are.
    hash: Option<String>,
    words: [&'static str; 3],
}

impl RedisNames {
    pub(super) fn of(instance: &str) -> RedisNames {
        RedisNames { instance: instance.to_owned(), prefix: None }
    }

    /// Next to those of the bus with this prefix.
    pub(super) fn of_bus(instance: &str, prefix: &str) -> RedisNames {
        RedisNames { instance: instance.to_owned(), prefix: Some(prefix.to_owned()) }
    }

    /// Those at a single server.
    pub(super) fn plain(&self) -> ServerNames {
        let RedisNames { instance, prefix } = self;
        let key = format!("seawall:probe:{instance}");
        let channel = prefix.as_ref().map(|prefix| format!("{prefix}:c:$probe:{instance}"));
        let hash = prefix.as_ref().map(|prefix| format!("{prefix}:{TAG}:probe:{instance}"));
        let words = ["SUBSCRIBE", "PUBLISH", "message"];
        ServerNames { channel: channel.unwrap_or_else(|| key.clone()), key, hash, words }
    }

    /// Those at the master of a partition.
    pub(super) fn of_partition(&self, partition: Partition) -> ServerNames {
        let (RedisNames { instance, prefix }, tag) = (self, partition.tag());
        let key = format!("seawall:probe:{{{tag}}}:{instance}");
        let channel = prefix.as_ref().map(|prefix| format!("{prefix}:{{{tag}}}:c:$probe:{instance}"));
        let hash = self.plain().hash.filter(|_| partition == Partition::FIRST);
        let words = ["SSUBSCRIBE", "SPUBLISH", "smessage"];
        ServerNames { channel: channel.unwrap_or_else(|| key.clone()), key, hash, words }
    }
}

/// One look. Returns the connections for the next one.
pub(super) fn look(
    dialer: &mut Dialer,
    target: &RedisTarget,
    names: &ServerNames,
    kept: Option<Box<RedisSession>>,
    deadline: Instant,
) -> Result<(Option<String>, Box<RedisSession>), Trouble> {
    let ServerNames { key, channel, hash, words: [subscribe, ..] } = names;
    let mut session = match kept {
        Some(mut session) => {
            session.commands.begin(deadline);
            session.subscription.begin(deadline);
            session
        }
        None => {
            let mut commands = RedisConnection::open(dialer, target, deadline)?;
            if names.is_plain() {
                check_mode(&mut commands)?;
            }
            commands.call(&[cmd("PING")])?;
            let subscription = RedisConnection::open(dialer, target, deadline)?;
            Box::new(RedisSession { commands, subscription, looks: 0, evicts: None })
        }
    };
    session.looks = session.looks.wrapping_add(1);
    let token = format!("{}-{}", std::process::id(), session.looks);
    exercise(&mut session.commands, key, &token)?;
    // On a kept connection too: an open subscription goes on when the right to subscribe is revoked.
    session.subscription.call(&[cmd(subscribe).arg(channel).take()])?;
    let heard = publish(&mut session.commands, names, &token)?;
    expect(&mut session.subscription, names, &token, heard)?;
    if names.is_of_bus() && session.looks % LOOKS_OF_EVICTION == 1 {
        session.evicts = ask_eviction(&mut session.commands)?;
    }
    let refusal = match hash {
        Some(hash) => use_hash(&mut session.commands, hash, &token)?,
        None => None,
    };
    Ok((refusal.or_else(|| session.evicts.clone()), session))
}

impl ServerNames {
    fn is_plain(&self) -> bool {
        self.words.contains(&"SUBSCRIBE")
    }

    fn is_of_bus(&self) -> bool {
        self.channel != self.key
    }
}

/// A node of a cluster answers here, but refuses keys of other nodes and passes every message on to all.
fn check_mode(over: &mut RedisConnection) -> Result<(), Trouble> {
    let answers = over.ask(&[cmd("HELLO")])?;
    let trouble = match answers.first() {
        Some(Ok(hello)) => unexpected_node(hello, over.peer()),
        // A server that does not know or allow the command is taken for a single one.
        Some(Err(error)) => Some(trouble_of(error)).filter(|trouble| trouble.fault != Fault::Schema),
        None => None,
    };
    trouble.map_or(Ok(()), Err)
}

/// Does with a hash what the registry does. A refusal is a warning: publications do not need the registry.
fn use_hash(over: &mut RedisConnection, hash: &str, token: &str) -> Result<Option<String>, Trouble> {
    const FIELD: &str = "probe";
    let commands = [
        cmd("HSET").arg(hash).arg(FIELD).arg(token).take(),
        cmd("EXPIRE").arg(hash).arg(KEY_LIFE_MS / 1_000).take(),
        cmd("HGET").arg(hash).arg(FIELD).take(),
        cmd("HGETALL").arg(hash).take(),
        cmd("HDEL").arg(hash).arg(FIELD).take(),
    ];
    let answers = over.ask(&commands)?;
    let refused = answers.iter().find_map(|answer| answer.as_ref().err()).map(trouble_of);
    Ok(refused.map(|trouble| {
        format!(
            "{}: other instances do not see this one's lease; see the ACL in docs/dependencies.md",
            trouble.text
        )
    }))
}

/// Asks if the server removes keys when it is full. A user without the right to ask learns nothing.
fn ask_eviction(over: &mut RedisConnection) -> Result<Option<String>, Trouble> {
    let answers = over.ask(&[cmd("INFO").arg("memory").take()])?;
    Ok(match answers.first() {
        Some(Ok(Value::BulkString(info))) => eviction(&String::from_utf8_lossy(info)),
        Some(_) | None => None,
    })
}

/// The warning for what `INFO memory` says. Without a bound on memory nothing is evicted.
fn eviction(info: &str) -> Option<String> {
    let value = |name| info.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let (bound, policy) = (value("maxmemory:")?, value("maxmemory_policy:")?);
    (bound != "0" && policy != "noeviction").then(|| {
        format!("maxmemory-policy is {policy}: a full server removes what instances know of each other; set noeviction")
    })
}

/// PING, the role, and a key written, read and deleted, in one round trip.
fn exercise(over: &mut RedisConnection, key: &str, token: &str) -> Result<(), Trouble> {
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
    // A role that may not be queried is no fault: the write shows what matters.
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

/// Publishes, and returns the number of subscribers that the server counts.
fn publish(over: &mut RedisConnection, names: &ServerNames, token: &str) -> Result<i64, Trouble> {
    let ServerNames { channel, words: [_, publish, _], .. } = names;
    let answers = over.call(&[cmd(publish).arg(channel).arg(token).take()])?;
    match answers.first() {
        Some(Value::Int(count)) => Ok(*count),
        _ => Err(Trouble::new(Fault::Protocol, "PUBLISH is answered with something else than a number")),
    }
}

/// Waits for the publication with this token; older ones may arrive before it.
fn expect(over: &mut RedisConnection, names: &ServerNames, token: &str, heard: i64) -> Result<(), Trouble> {
    let ServerNames { channel, words: [_, _, message], .. } = names;
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
            Value::ServerError(error) => return Err(trouble_of(&error)),
            Value::Array(parts) => {
                if let [kind, name, text] = parts.as_slice()
                    && is_text(kind, message)
                    && is_text(name, channel)
                    && is_text(text, token)
                {
                    return Ok(());
                }
            }
            _ => {
                return Err(Trouble::new(
                    Fault::Protocol,
                    "a subscription receives something other than messages",
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
        Err(error) => Err(trouble_of(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_that_may_evict_is_warned_of() {
        let info = |bound: &str, policy: &str| {
            format!("# Memory\r\nused_memory:9\r\nmaxmemory:{bound}\r\nmaxmemory_policy:{policy}\r\n")
        };
        let warning = eviction(&info("1048576", "allkeys-lru")).expect("a warning");
        assert!(warning.starts_with("maxmemory-policy is allkeys-lru: "), "{warning}");
        for info in [info("1048576", "noeviction"), info("0", "allkeys-lru"), String::new()] {
            assert_eq!(eviction(&info), None, "{info}");
        }
    }
}
