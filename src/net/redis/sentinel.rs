//! The master behind Sentinels: they are asked where it is at each dial, and it must agree.
//!
//! A Sentinel that was cut off names the old master, and during a failover all of them do. So the server that one names must say
//! by `ROLE` that it is a master, or the next Sentinel is asked. Nothing subscribes to `+switch-master`: a connection to the wrong
//! server ends, or its canary is lost, and the next dial asks again.

use super::address::{SEARCH_TIMEOUT, Sentinels};
use super::connection::{RedisConnection, is_text};
use super::server::{RedisLogin, RedisServer};
use crate::health::finding::Fault;
use crate::net::deadline::now;
use crate::net::dial::Dialer;
use crate::net::peer::PeerAddress;
use crate::net::trouble::Trouble;
use ::redis::{Value, cmd};
use std::sync::atomic::Ordering;
use std::time::Instant;

/// The longest host name that a Sentinel may give, in bytes (RFC 1035, section 2.3.4).
const HOST_BYTES_MAX: usize = 255;

/// Asks the Sentinels in turn until the deadline, and connects to the first server that is named by one and says that it is a master.
/// The next call goes on where the deadline ended this one.
pub(super) fn open_master(
    dialer: &mut Dialer,
    sentinels: &Sentinels,
    login: &RedisLogin,
    deadline: Instant,
) -> Result<RedisConnection, Trouble> {
    let Sentinels { servers, first, .. } = sentinels;
    let begin = first.load(Ordering::Relaxed) % servers.len().max(1);
    let mut refused: Vec<PeerAddress> = Vec::new();
    let mut trouble = Trouble::new(Fault::Timeout, "no Sentinel was asked in time");
    for place in (begin..servers.len()).chain(0..begin) {
        let Some(server) = servers.get(place) else { continue };
        if now() >= deadline {
            first.store(place, Ordering::Relaxed);
            break;
        }
        match ask(dialer, server, sentinels, deadline) {
            // The trouble that is kept says why.
            Ok(master) if refused.contains(&master.peer) => {}
            Ok(master) => match connect(dialer, &master, server, login, deadline) {
                Ok(connection) => {
                    first.store(place, Ordering::Relaxed);
                    return Ok(connection);
                }
                Err(error) => {
                    refused.push(master.peer);
                    trouble = error;
                }
            },
            // The trouble of a master says more than that of another Sentinel.
            Err(_) if !refused.is_empty() => {}
            Err(error) => trouble = error,
        }
    }
    Err(trouble)
}

/// The address of the master that one Sentinel names.
fn ask(
    dialer: &mut Dialer,
    server: &RedisServer,
    sentinels: &Sentinels,
    deadline: Instant,
) -> Result<RedisServer, Trouble> {
    let until = deadline.min(now() + SEARCH_TIMEOUT);
    let question = cmd("SENTINEL").arg("get-master-addr-by-name").arg(&sentinels.master).take();
    let answers = RedisConnection::connect(dialer, server, &sentinels.login, until)
        .and_then(|mut connection| connection.call(&[question]))
        .map_err(|trouble| Trouble::new(trouble.fault, format!("Sentinel: {}", trouble.text)))?;
    let Sentinels { master, .. } = sentinels;
    match answers.first() {
        Some(Value::Nil) => Err(Trouble::new(
            Fault::Schema,
            format!("the Sentinel at {} knows no master named {master:?}", server.peer),
        )),
        Some(Value::Array(parts)) => named(parts, server).ok_or_else(|| strange(server)),
        _ => Err(strange(server)),
    }
}

fn strange(server: &RedisServer) -> Trouble {
    Trouble::new(Fault::Protocol, format!("{} does not answer as a Sentinel does", server.peer))
}

/// The server in a Sentinel's answer: host and port.
fn named(parts: &[Value], sentinel: &RedisServer) -> Option<RedisServer> {
    let [Value::BulkString(host), Value::BulkString(port)] = parts else { return None };
    let host = std::str::from_utf8(host).ok().filter(|host| (1..=HOST_BYTES_MAX).contains(&host.len()))?;
    let port = std::str::from_utf8(port).ok()?.parse().ok()?;
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let tls = sentinel.tls.is_some().then(|| host.clone());
    Some(RedisServer { peer: PeerAddress::Tcp { host, port }, tls })
}

/// Connects to a server and requires it to be a master.
fn connect(
    dialer: &mut Dialer,
    master: &RedisServer,
    sentinel: &RedisServer,
    login: &RedisLogin,
    deadline: Instant,
) -> Result<RedisConnection, Trouble> {
    let mut connection = RedisConnection::connect(dialer, master, login, deadline)?;
    let answers = connection.call(&[cmd("ROLE")])?;
    match answers.first() {
        Some(Value::Array(parts)) if parts.first().is_some_and(|part| is_text(part, "master")) => {
            Ok(connection)
        }
        _ => Err(Trouble::new(
            Fault::Standby,
            format!(
                "the Sentinel at {} names {} as the master, but that server is a replica (ROLE)",
                sentinel.peer, master.peer
            ),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::definition::DependencyKind;
    use crate::net::redis::address::RedisPlace;
    use crate::net::target::Target;
    use std::net::TcpListener;
    use std::time::Duration;

    #[test]
    fn search_among_silent_sentinels_ends_soon_and_the_next_one_goes_on() {
        // The kernel accepts, and no program answers.
        let silent: Vec<TcpListener> =
            (0..6).map(|_| TcpListener::bind("127.0.0.1:0").expect("a port")).collect();
        let hosts: Vec<String> =
            silent.iter().map(|one| one.local_addr().expect("bound").to_string()).collect();
        let address = format!("redis+sentinel://{}/main", hosts.join(","));
        let target = Target::parse(DependencyKind::Redis, &address).expect("valid");
        let redis = target.redis().expect("Redis");
        let RedisPlace::Sentinels(sentinels) = &redis.place else { panic!("Sentinels") };
        let (mut dialer, mut searches) = (target.dialer(), Vec::new());
        // A busy machine may be late, but hardly each time.
        let is_right = (0..6).any(|_| {
            let (begun, first) = (now(), sentinels.first.load(Ordering::Relaxed));
            let deadline = begun + redis.search_max();
            open_master(&mut dialer, sentinels, &redis.login, deadline).expect_err("none answers");
            let asked = (silent.len() + sentinels.first.load(Ordering::Relaxed) - first) % silent.len();
            searches.push((asked, now().duration_since(begun)));
            let both = searches.last_chunk::<2>();
            both.is_some_and(|both| {
                both.iter().all(|(asked, took)| *asked == 2 && *took < Duration::from_millis(1_900))
            })
        });
        assert!(is_right, "not in time, or not two after two: {searches:?}");
    }
}
