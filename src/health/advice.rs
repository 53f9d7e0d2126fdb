//! The first thing an operator should look at, for each kind of dependency and each kind of fault.

use super::definition::DependencyKind;
use super::finding::Fault;

/// One sentence of advice; the runbooks say more.
pub fn look_at(kind: DependencyKind, fault: Fault) -> &'static str {
    match kind {
        DependencyKind::Postgres => postgres(fault),
        DependencyKind::Redis => redis(fault),
        DependencyKind::Http => http(fault),
        DependencyKind::Clickhouse => clickhouse(fault),
        DependencyKind::Tcp | DependencyKind::Gateway => network(fault),
    }
}

fn postgres(fault: Fault) -> &'static str {
    match fault {
        Fault::Refused => {
            "See whether PostgreSQL runs on that host and port, and what listen_addresses says."
        }
        Fault::Timeout => {
            "See whether the server is stopped or overloaded, and pg_stat_activity for locks and commits that wait."
        }
        Fault::Credentials => "See the user and password of the address, and the server's pg_hba.conf.",
        Fault::Standby => {
            "Point the address at the primary, or see why a failover left this server a standby."
        }
        Fault::ReadOnly => "See default_transaction_read_only of the server, the database and the role.",
        Fault::DiskFull => {
            "Free space on the volume of the data directory and of pg_wal; look for a replication slot that holds WAL."
        }
        Fault::MemoryFull => "See the server's memory, work_mem and max_locks_per_transaction.",
        Fault::ConnectionLimit => {
            "See pg_stat_activity for who holds the connections; raise max_connections or put a pooler in front."
        }
        Fault::NotReady => {
            "Wait for its recovery and read the server's log; it is starting, stopping or recovering."
        }
        Fault::Schema => {
            "See that the database exists, that the migrations ran, and that the role may create, read and write the tables."
        }
        Fault::Version | Fault::Encoding | Fault::WentBack => network(fault),
        Fault::Reset => {
            "Read the server's log for a crash or a terminated backend, and look at the proxy between."
        }
        Fault::Internal => "Read the server's log around this time.",
        Fault::Unreachable | Fault::Protocol | Fault::Tls => network(fault),
        Fault::Delivery | Fault::Status | Fault::Field => network(fault),
    }
}

fn redis(fault: Fault) -> &'static str {
    match fault {
        Fault::Refused => {
            "See whether Redis runs on that host and port, and what bind and protected-mode say."
        }
        Fault::Timeout => {
            "See whether the server is stopped, or busy with a slow command (SLOWLOG GET) or a save."
        }
        Fault::Credentials => "See the user and password of the address, requirepass and ACL LIST.",
        Fault::Standby => {
            "Point the address at the master, or see why a failover left this server a replica."
        }
        Fault::ReadOnly => {
            "See the server's log for failed saves (stop-writes-on-bgsave-error) and min-replicas-to-write."
        }
        Fault::DiskFull => "Free space on the volume that Redis saves to.",
        Fault::MemoryFull => {
            "See INFO memory: raise maxmemory, or find who fills it. A cache may need an eviction policy; the bus works with noeviction."
        }
        Fault::ConnectionLimit => "See CLIENT LIST for who holds the connections, and maxclients.",
        Fault::NotReady => {
            "Wait until its data is loaded; INFO persistence shows how far it is. In a cluster, CLUSTER INFO shows slots without a master."
        }
        Fault::Schema => {
            "See ACL LIST: the user needs the commands ping, role, set, get, del, publish and subscribe, and keys and channels seawall:*. Sentinels must know the master by the name in the address (SENTINEL MASTERS), and nodes of a Redis Cluster need redis+cluster://."
        }
        Fault::Delivery => {
            "See client-output-buffer-limit pubsub, CLIENT LIST TYPE pubsub, and whether a proxy between passes pub/sub on."
        }
        Fault::Reset => {
            "Read the server's log for a crash, see CLIENT KILL and timeout, and look at the proxy between."
        }
        Fault::Internal => "Read the server's log around this time.",
        Fault::Unreachable | Fault::Protocol | Fault::Tls | Fault::Status | Fault::Field => network(fault),
        Fault::Version | Fault::Encoding | Fault::WentBack => network(fault),
    }
}

fn http(fault: Fault) -> &'static str {
    match fault {
        Fault::Status => "Ask the same address with curl -i, and read that service's log.",
        Fault::Field => "Ask the same address with curl, and compare the field with what is expected of it.",
        Fault::Credentials => "See the key or the password in the address.",
        Fault::Timeout => "See whether that service is stopped or overloaded.",
        other => network(other),
    }
}

fn clickhouse(fault: Fault) -> &'static str {
    match fault {
        Fault::Credentials => "See the user and password of the address, and users.xml.",
        Fault::Status | Fault::Field | Fault::Internal => {
            "Read the log of clickhouse-server around this time, and system.errors."
        }
        Fault::Timeout => "See whether the server is stopped or overloaded: system.processes.",
        Fault::Protocol => {
            "See that the port is the one of the HTTP interface (8123, 8443 with TLS), not of the native one."
        }
        other => network(other),
    }
}

fn network(fault: Fault) -> &'static str {
    match fault {
        Fault::Refused => "See whether the service runs, and whether it listens on that host and port.",
        Fault::Unreachable => "See the name in DNS, the route, the firewall and the source address.",
        Fault::Reset => "Read the service's log for a crash, and look at the proxy between.",
        Fault::Timeout => {
            "See whether the service is stopped, and whether a firewall drops packets on the way."
        }
        Fault::Protocol => "See that the address and port are those of this kind of service.",
        Fault::Tls => "See the certificate's names, dates and issuer, and ca_file.",
        Fault::Credentials => "See the user and password of the address.",
        Fault::Standby | Fault::ReadOnly => "Point the address at the server that takes writes.",
        Fault::DiskFull => "Free space on its disk.",
        Fault::MemoryFull => "See its memory and its limit.",
        Fault::ConnectionLimit => "See who holds its connections.",
        Fault::NotReady => "Wait until it has started, and read its log.",
        Fault::Schema => "See that what we need there exists and that we may use it.",
        Fault::Version => "See which program last changed its tables.",
        Fault::WentBack => "See whether a failover or a restore has lost commits.",
        Fault::Encoding => "See the encoding it was created with.",
        Fault::Delivery => "See whether a proxy between passes on what is published.",
        Fault::Status | Fault::Field | Fault::Internal => "Read its log around this time.",
    }
}
