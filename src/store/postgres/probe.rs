//! The probe of the store: it does what publishing, reading and deleting do, over a connection of its own.
//!
//! A look opens its connection as the workers do, with their checks of the server and of the schema's version. It publishes to
//! the gateway's [own channel](super::probe_channel), reads that back, and removes the publication before. So it fails whenever
//! publications fail for a reason that they all share: a missing table, function or right, a newer schema, a lock.
//!
//! It does not notice a full disk as long as its row finds room on its page. Appends meet that first and report it by SQLSTATE.

use super::connection::{ConnectionRole, ServerTarget};
use super::fault::{CallFault, Unfit, cause, silence};
use super::link::Link;
use super::probe_channel::ProbeChannel;
use super::schema::{self, ConnectRefusal, Durability, FitServer};
use super::timing::monotonic;
use crate::health::finding::{Cause, Finding};
use crate::job::probing::{KeptConnection, Probing};
use crate::net::dial::Dialer;
use crate::net::postgres::{AddressError, Connection, SATURATION, Saturation, Startup};
use crate::store::wall_clock::WallClock;
use postgres_types::Type;
use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Reads the publication back, and runs the functions of readers and of retention. Those find nothing to delete except the
/// publications of earlier looks. The two statements in front need the rights with which an append creates a channel. The canary
/// has a row of its own, whose number never grows, so that no instance waits for it on the bus.
const READ_AND_CUT: &str = "WITH listed AS (
        INSERT INTO seawall.channels (name) VALUES ($1) ON CONFLICT (name) DO NOTHING
    ), counted AS (
        UPDATE seawall.meta SET value = value WHERE name = ''
    )
    SELECT p.head >= $2 AND h.head >= $2,
        (SELECT count(removed) FROM seawall.cut_number(ARRAY[$1], 1, 512)),
        (SELECT removed FROM seawall.cut_aged(-1, 1)),
        (SELECT forgotten FROM seawall.sweep_keys(9223372036854775807, '', '', -1, 1)),
        (SELECT removed FROM seawall.remove_empty(9223372036854775807, -1, 1, 1)),
        (SELECT count(origin) FROM seawall.canary(pg_catalog.hashtext($1), $1, 0))";

/// The result of a look at a database without our tables, or with older ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unmigrated {
    /// It fails: this process has migrated the database.
    Fails,
    /// It warns: the first start will migrate the database.
    Warns,
}

/// Probes the store in PostgreSQL. It belongs to one thread.
pub struct StoreProbe {
    dialer: Dialer,
    startup: Startup,
    channel: ProbeChannel,
    unmigrated: Unmigrated,
    kept: KeptConnection<Box<Link>>,
}

impl fmt::Debug for StoreProbe {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("StoreProbe").field("channel", &self.channel).finish_non_exhaustive()
    }
}

impl StoreProbe {
    /// Opens nothing yet. `url` is `store.url`, connections leave from `source`, and `instance` names this process.
    pub fn new(
        url: &str,
        source: Option<IpAddr>,
        instance: &str,
        unmigrated: Unmigrated,
    ) -> Result<StoreProbe, AddressError> {
        let target = ServerTarget::parse(url, source)?;
        let startup = Startup {
            application_name: "seawall-probe".into(),
            share_min: Duration::ZERO,
            ..target.for_role(ConnectionRole::Probe)
        };
        Ok(StoreProbe {
            dialer: target.dialer(),
            startup,
            channel: ProbeChannel::of(instance),
            unmigrated,
            kept: KeptConnection::default(),
        })
    }
}

impl Probing for StoreProbe {
    fn look(&mut self, timeout: Duration) -> Finding {
        let begun = monotonic();
        let deadline = begun + timeout;
        let StoreProbe { dialer, startup, channel, unmigrated, kept } = self;
        let result = kept.look(|link| {
            let mut link = match link {
                Some(link) => link,
                None => Box::new(open(dialer, startup, deadline)?),
            };
            link.end_calls_by(deadline);
            let warning = exercise(&mut link, channel, *unmigrated).map_err(|refusal| refusal.cause())?;
            Ok((warning, Some(link)))
        });
        Finding { latency: monotonic().saturating_duration_since(begun), result }
    }

    fn forget(&mut self) {
        self.kept.forget();
    }
}

fn open(dialer: &mut Dialer, startup: &Startup, deadline: Instant) -> Result<Link, Cause> {
    let timeout = deadline.saturating_duration_since(monotonic());
    match Connection::open(dialer, startup, deadline) {
        Ok(connection) => Ok(Link::new(connection)),
        Err(failure) if failure.is_silence() => Err(silence("a new connection", timeout)),
        Err(failure) => Err(cause(&failure)),
    }
}

fn exercise(
    link: &mut Link,
    channel: &ProbeChannel,
    unmigrated: Unmigrated,
) -> Result<Option<String>, ConnectRefusal> {
    link.listen()?;
    let FitServer { warning, schema: found } = schema::examine(link, Durability::Needed)?;
    let needed = schema::VERSION;
    let unfit = match found.map(|found| found.version) {
        None => Some(Unfit::NoSchema),
        Some(found) if found < needed => Some(Unfit::Older { found, needed }),
        Some(_) => None,
    };
    let mut warnings: Vec<String> = warning.into_iter().collect();
    match (unfit, unmigrated) {
        (Some(unfit), Unmigrated::Fails) => {
            // A right that the migration lacks is the better cause.
            schema::may_create(link)?;
            return Err(ConnectRefusal::Unfit(unfit));
        }
        (Some(unfit), Unmigrated::Warns) => {
            schema::may_create(link)?;
            warnings.push(unfit.to_string());
        }
        (None, _) => warnings.extend(use_all(link, channel)?.warning()),
    }
    Ok((!warnings.is_empty()).then(|| warnings.join("; ")))
}

/// Publishes, reads and deletes.
fn use_all(link: &mut Link, channel: &ProbeChannel) -> Result<Saturation, CallFault> {
    let offset = channel.publish(WallClock::System.unix_ms(), |sql, params| link.query(sql, params))?;
    let sql = format!(
        "{READ_AND_CUT}, {SATURATION} FROM seawall.page($1, $2 - 1, 9223372036854775807, false, 1, 1024) p,
         seawall.heads(ARRAY[$1]) h"
    );
    let rows = link.query(&sql, &[(&channel.name(), Type::TEXT), (&offset, Type::INT8)])?;
    let row = rows.first().ok_or_else(CallFault::incomplete)?;
    let text = |at: usize| row.try_get::<String>(at).unwrap_or_default();
    match row.try_get(0) {
        Ok(true) => Ok(Saturation::of(&text(6), &text(7))),
        Ok(false) | Err(_) => Err(CallFault::incomplete()),
    }
}
