//! The slots of a Redis Cluster, as its nodes report them.
//!
//! Several nodes are asked, and the report of the highest epoch counts: a node that was cut off reports masters of the past. Where
//! the report comes from does not matter: every node knows all.

use super::address::{RedisTarget, SEARCH_TIMEOUT, SILENT_MAX};
use super::connection::{RedisConnection, is_text, trouble_of};
use crate::follow::slot_map::{NodeAddress, SlotMap, SlotRange, SlotView, TooManyMasters, nodes_to_ask};
use crate::health::finding::Fault;
use crate::limits::BUS_MASTERS_MAX;
use crate::net::deadline::now;
use crate::net::dial::Dialer;
use crate::net::trouble::Trouble;
use crate::wire::slot::{Partition, SLOTS};
use ::redis::{ServerError, Value, cmd};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// A node that was silent is asked after the others, and within this time only if no other one answers.
const SILENT_REST: Duration = Duration::from_secs(5);
/// The nodes whose reports are compared.
const VIEWS_MAX: usize = 3;
/// The longest host name that a node may report, in bytes (RFC 1035, section 2.3.4).
const HOST_BYTES_MAX: usize = 255;

/// Reads the slots, over connections that it keeps.
#[derive(Debug)]
pub(crate) struct SlotReader {
    kept: BTreeMap<NodeAddress, RedisConnection>,
    /// The nodes that did not answer in time, and when they were asked.
    silent: BTreeMap<NodeAddress, Instant>,
}

impl SlotReader {
    /// Opens nothing yet.
    pub(crate) const fn new() -> SlotReader {
        SlotReader { kept: BTreeMap::new(), silent: BTreeMap::new() }
    }

    /// Asks up to three nodes of the cluster, and waits for at most two that are silent: the next call goes on with others. `known` is
    /// the last map.
    ///
    /// # Errors
    ///
    /// The trouble of the node asked last; or no node has slots, or too many masters have.
    pub(crate) fn read(
        &mut self,
        dialer: &mut Dialer,
        target: &RedisTarget,
        known: &SlotMap,
        deadline: Instant,
    ) -> Result<SlotMap, Trouble> {
        let mut nodes = nodes_to_ask(known, &target.cluster_nodes().unwrap_or_default());
        self.silent.retain(|node, _| nodes.contains(node));
        nodes.sort_by_key(|node| self.silent.get(node).copied());
        let (mut views, count, mut waited) = (Vec::new(), nodes.len(), 0);
        let mut trouble = Trouble::new(Fault::Timeout, "no node was asked in time");
        let mut before = std::mem::take(&mut self.kept);
        for node in nodes {
            if views.len() >= VIEWS_MAX || waited >= SILENT_MAX || now() >= deadline {
                break;
            }
            let rests = self.silent.get(&node).is_some_and(|asked| now() < *asked + SILENT_REST);
            if rests && !views.is_empty() {
                break;
            }
            let until = deadline.min(now() + SEARCH_TIMEOUT);
            match ask(dialer, target, &node, before.remove(&node), until) {
                Ok((connection, view)) => {
                    self.silent.remove(&node);
                    self.kept.insert(node, connection);
                    views.push(view);
                }
                Err(error) => {
                    if error.fault == Fault::Timeout {
                        waited += 1;
                        self.silent.insert(node, now());
                    }
                    trouble = error;
                }
            }
        }
        let Some(view) = SlotView::newest(views) else {
            let text = format!("no node of {count} tells the slots of the cluster: {}", trouble.text);
            return Err(Trouble::new(trouble.fault, text));
        };
        SlotMap::of(&view.ranges).map_err(|TooManyMasters(count)| {
            let text = format!("the cluster has {count} masters; {BUS_MASTERS_MAX} are the most");
            Trouble::new(Fault::Schema, text)
        })
    }
}

fn ask(
    dialer: &mut Dialer,
    target: &RedisTarget,
    node: &NodeAddress,
    kept: Option<RedisConnection>,
    until: Instant,
) -> Result<(RedisConnection, SlotView), Trouble> {
    let questions = [cmd("CLUSTER").arg("INFO").take(), cmd("CLUSTER").arg("SLOTS").take()];
    let again = kept.and_then(|mut kept| {
        kept.begin(until);
        kept.ask(&questions).ok().map(|answers| (kept, answers))
    });
    let (connection, answers) = match again {
        Some(answered) => answered,
        // A kept connection may have ended meanwhile.
        None => {
            let mut connection = RedisConnection::open(dialer, &target.at(node), until)?;
            let answers = connection.ask(&questions)?;
            (connection, answers)
        }
    };
    let view = view(&answers, node)?;
    if view.ranges.is_empty() {
        let text =
            format!("{node} knows no slots: join it to the cluster (CLUSTER MEET), or name other nodes");
        return Err(Trouble::new(Fault::NotReady, text));
    }
    Ok((connection, view))
}

/// Reads the answers of a node to `CLUSTER INFO` and `CLUSTER SLOTS`.
fn view(answers: &[Result<Value, ServerError>], node: &NodeAddress) -> Result<SlotView, Trouble> {
    let strange =
        || Trouble::new(Fault::Protocol, format!("{node} does not answer as a node of a cluster does"));
    let [info, slots] = answers else { return Err(strange()) };
    let answer = |answer: &Result<Value, ServerError>| match answer {
        Ok(value) => Ok(value.clone()),
        Err(error) if error.details().is_some_and(|text| text.contains("cluster support disabled")) => {
            let text = format!("{node} is a single Redis and no node of a cluster: write redis:// for it");
            Err(Trouble::new(Fault::Schema, text))
        }
        Err(error) => Err(trouble_of(error)),
    };
    let (info, slots) = (answer(info)?, answer(slots)?);
    let epoch = match &info {
        Value::BulkString(text) => epoch(&String::from_utf8_lossy(text)),
        _ => None,
    };
    let Value::Array(ranges) = slots else { return Err(strange()) };
    let ranges: Option<Vec<SlotRange>> = ranges.iter().map(|parts| range(parts, node)).collect();
    Ok(SlotView { epoch: epoch.ok_or_else(strange)?, ranges: ranges.ok_or_else(strange)? })
}

fn epoch(info: &str) -> Option<u64> {
    info.lines().find_map(|line| line.strip_prefix("cluster_current_epoch:"))?.trim().parse().ok()
}

/// `[first, last, [host, port, …], …]`: a range, its master, its replicas.
fn range(parts: &Value, asked: &NodeAddress) -> Option<SlotRange> {
    let Value::Array(parts) = parts else { return None };
    let [Value::Int(first), Value::Int(last), Value::Array(master), ..] = parts.as_slice() else {
        return None;
    };
    let slot = |number: i64| u16::try_from(number).ok().filter(|slot| *slot < SLOTS);
    let [host, Value::Int(port), ..] = master.as_slice() else { return None };
    let host = match host {
        // The node does not know its own address, and means the one that it was asked at.
        Value::Nil => asked.host.to_string(),
        Value::BulkString(bytes) if bytes.is_empty() => asked.host.to_string(),
        Value::BulkString(bytes) => host_of(bytes)?,
        _ => return None,
    };
    let master = NodeAddress { host: host.into(), port: u16::try_from(*port).ok().filter(|port| *port > 0)? };
    Some(SlotRange { first: slot(*first)?, last: slot(*last)?, master })
}

fn host_of(bytes: &[u8]) -> Option<String> {
    let host = std::str::from_utf8(bytes).ok().filter(|host| host.len() <= HOST_BYTES_MAX)?;
    // Redis reports `?` for a node whose host name it does not know yet.
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:".contains(&byte);
    host.bytes().all(is_plain).then(|| if host.contains(':') { format!("[{host}]") } else { host.to_owned() })
}

/// An answer that names another node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Redirect {
    pub(crate) kind: RedirectKind,
    pub(crate) partition: Partition,
    pub(crate) to: NodeAddress,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RedirectKind {
    /// The slot is served there from now on.
    Moved,
    /// This key is there, behind `ASKING`: the slot is being moved.
    Ask,
}

/// Reads `MOVED 3999 host:port` and `ASK 3999 host:port`. The host may be missing; it is that of `asked` then.
pub(crate) fn redirect(error: &ServerError, asked: &str) -> Option<Redirect> {
    let kind = match error.code() {
        "MOVED" => RedirectKind::Moved,
        "ASK" => RedirectKind::Ask,
        _ => return None,
    };
    let (slot, to) = error.details()?.split_once(' ')?;
    let (host, port) = to.rsplit_once(':')?;
    let host = match host {
        "" => asked.rsplit_once(':')?.0.to_owned(),
        host => host_of(host.trim_matches(['[', ']']).as_bytes())?,
    };
    let slot = slot.parse().ok().filter(|slot| *slot < SLOTS)?;
    let port = port.parse().ok().filter(|port| *port > 0)?;
    let to = NodeAddress { host: host.into(), port };
    Some(Redirect { kind, partition: Partition::of_slot(slot), to })
}

/// The trouble of a server that is a node of a cluster while the address says that it is not, as `HELLO` shows.
pub(crate) fn unexpected_node(hello: &Value, peer: &str) -> Option<Trouble> {
    let Value::Array(parts) = hello else { return None };
    let is_node = parts.chunks_exact(2).any(|pair| match pair {
        [name, value] => is_text(name, "mode") && is_text(value, "cluster"),
        _ => false,
    });
    is_node.then(|| {
        let text =
            format!("{peer} is a node of a Redis Cluster: write redis+cluster:// with nodes of the cluster");
        Trouble::new(Fault::Schema, text)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::definition::DependencyKind;
    use crate::net::target::Target;
    use ::redis::Parser;
    use std::io::{Read, Write};
    use std::net::TcpListener;

    fn asked() -> NodeAddress {
        NodeAddress { host: "h0".into(), port: 6_379 }
    }

    fn read(text: &str) -> Result<Value, ServerError> {
        match Parser::new().parse_value(text.as_bytes()).expect("a value") {
            Value::ServerError(error) => Err(error),
            value => Ok(value),
        }
    }

    const INFO: &str = "$56\r\ncluster_state:ok\r\ncluster_current_epoch:7\r\ncluster_x:1\r\n\r\n";

    /// A node that answers every question with no slots but one range.
    fn answering_node() -> TcpListener {
        let node = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let clients = node.try_clone().expect("a descriptor");
        std::thread::spawn(move || {
            for mut client in clients.incoming().flatten() {
                let mut asked = [0; 1_024];
                while client.read(&mut asked).is_ok_and(|bytes| bytes > 0) {
                    let slots = "*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$2\r\nh1\r\n:7001\r\n";
                    let _ = client.write_all(format!("{INFO}{slots}").as_bytes());
                }
            }
        });
        node
    }

    #[test]
    fn two_silent_nodes_are_waited_for_and_the_next_reading_goes_on_with_others() {
        // Their kernel accepts, and they say nothing.
        let silent: Vec<TcpListener> =
            (0..4).map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port")).collect();
        let answering = answering_node();
        let nodes = silent.iter().chain([&answering]);
        let names: Vec<String> =
            nodes.map(|node| node.local_addr().expect("an address").to_string()).collect();
        let url = format!("redis+cluster://{}", names.join(","));
        let target = Target::parse(DependencyKind::Redis, &url).expect("an address");
        let server = target.redis().expect("Redis");
        assert_eq!(server.search_max(), SEARCH_TIMEOUT * 2, "whatever the number of nodes");
        let read = || {
            let (mut dialer, mut reader) = (target.dialer(), SlotReader::new());
            [(); 4].map(|()| {
                let begun = now();
                let until = begun + Duration::from_secs(9);
                let read = reader.read(&mut dialer, server, &SlotMap::empty(), until);
                let took = begun.elapsed();
                (read.is_ok(), took < SEARCH_TIMEOUT, took < SEARCH_TIMEOUT * 3)
            })
        };
        // The last one asks no silent node again. A busy machine may be late, but hardly three times.
        let [silent, answered] = [(false, false, true), (true, true, true)];
        let mut tries = Vec::new();
        let is_right = (0..3).any(|_| {
            tries.push(read());
            tries.last() == Some(&[silent, silent, answered, answered])
        });
        assert!(is_right, "not in time, or another order: {tries:?}");
    }

    #[test]
    fn slots_are_read_with_masters_and_without_replicas() {
        let slots = read(
            "*3\r\n*4\r\n:0\r\n:99\r\n*3\r\n$2\r\nh1\r\n:7001\r\n$2\r\nid\r\n*3\r\n$2\r\nh9\r\n:7009\r\n$2\r\nid\r\n\
             *3\r\n:100\r\n:100\r\n*2\r\n$-1\r\n:7002\r\n*3\r\n:101\r\n:16383\r\n*2\r\n$3\r\n::1\r\n:7003\r\n",
        );
        let view = view(&[read(INFO), slots], &asked()).expect("a view");
        assert_eq!(view.epoch, 7);
        let masters: Vec<String> = view.ranges.iter().map(|range| range.master.to_string()).collect();
        assert_eq!(masters, ["h1:7001", "h0:7002", "[::1]:7003"]);
        assert_eq!((view.ranges[1].first, view.ranges[2].last), (100, 16_383));
    }

    #[test]
    fn strange_slots_and_a_single_server_are_named() {
        for slots in [
            ":1\r\n",
            "*1\r\n:1\r\n",
            "*1\r\n*3\r\n:0\r\n:16384\r\n*2\r\n$1\r\nh\r\n:1\r\n",
            "*1\r\n*3\r\n:0\r\n:1\r\n*2\r\n$1\r\n?\r\n:1\r\n",
            "*1\r\n*3\r\n:0\r\n:1\r\n*2\r\n$1\r\nh\r\n:0\r\n",
        ] {
            let trouble = view(&[read(INFO), read(slots)], &asked()).expect_err(slots);
            assert_eq!(trouble.fault, Fault::Protocol, "{slots}");
        }
        let off = || read("-ERR This instance has cluster support disabled\r\n");
        let trouble = view(&[off(), off()], &asked()).expect_err("a single server");
        assert!(trouble.text.contains("h0:6379 is a single Redis"), "{}", trouble.text);
    }

    #[test]
    fn redirect_names_partition_and_node() {
        let of = |text: &str| redirect(&read(text).expect_err("an error"), "h0:6379");
        let moved = of("-MOVED 3999 h1:7001\r\n").expect("a redirect");
        assert_eq!((moved.kind, moved.partition.index()), (RedirectKind::Moved, 62));
        assert_eq!(moved.to.to_string(), "h1:7001");
        assert_eq!(of("-ASK 0 ::1:7001\r\n").expect("a redirect").to.to_string(), "[::1]:7001");
        assert_eq!(of("-MOVED 1 :7001\r\n").expect("a redirect").to.to_string(), "h0:7001");
        for other in
            ["-ERR no\r\n", "-MOVED\r\n", "-MOVED 16384 h:1\r\n", "-MOVED 1 h:0\r\n", "-MOVED 1 h\r\n"]
        {
            assert_eq!(of(other), None, "{other}");
        }
    }

    #[test]
    fn node_of_a_cluster_is_recognized_by_its_mode() {
        let hello = |mode: &str| {
            let text =
                format!("*4\r\n$6\r\nserver\r\n$5\r\nredis\r\n$4\r\nmode\r\n${}\r\n{mode}\r\n", mode.len());
            read(&text).expect("no error")
        };
        assert!(
            unexpected_node(&hello("cluster"), "h:1").expect("trouble").text.contains("redis+cluster://")
        );
        assert_eq!(unexpected_node(&hello("standalone"), "h:1"), None);
        assert_eq!(unexpected_node(&Value::Nil, "h:1"), None);
    }
}
