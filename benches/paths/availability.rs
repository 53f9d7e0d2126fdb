//! The cost of dependencies for a handshake: the verdict if all are available, and a refusal if not.

use super::Path;
use arc_swap::{ArcSwap, Cache};
use seawall::clock::{Moment, Now};
use seawall::health::board::Board;
use seawall::health::definition::{Criticality, Definition, DependencyKind, EndedBy, Gate};
use seawall::health::finding::{Cause, Fault, Finding};
use seawall::health::snapshot::{AdmissionMode, Availability, Snapshot};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

const START: Moment = Moment::from_micros(3_600_000_000);

/// Reads the snapshot and its verdict, as every handshake does.
pub struct AvailabilityVerdict {
    snapshot: Cache<Arc<ArcSwap<Snapshot>>, Arc<Snapshot>>,
}

impl Path for AvailabilityVerdict {
    fn prepare() -> AvailabilityVerdict {
        let shared = Arc::new(ArcSwap::from_pointee(Snapshot::ok()));
        AvailabilityVerdict { snapshot: Cache::new(shared) }
    }

    fn once(&mut self) {
        assert!(matches!(black_box(&mut self.snapshot).load().availability, Availability::Admit));
    }
}

/// Refuses one client during an outage: draws its wait and writes its `bye` and close frame.
pub struct Refusal {
    snapshot: Arc<Snapshot>,
    out: Vec<u8>,
}

impl Path for Refusal {
    fn prepare() -> Refusal {
        let definition = Definition {
            name: "store".into(),
            kind: DependencyKind::Postgres,
            address: "db:5432".into(),
            criticality: Criticality::Critical,
            gate: Gate::Handshake,
            ended_by: EndedBy::Probes,
            lost: Vec::new(),
            sentence: "".into(),
            interval: Duration::from_secs(2),
            timeout: Duration::from_secs(1),
            failures: 1,
            successes: 1,
        };
        let now = Now { at: START, unix_ms: 1 };
        let mut board = Board::new(vec![definition], AdmissionMode::Enforce, now);
        let due = board.due(START).expect("the first look is due at once");
        let result = Err(Cause::new(Fault::Refused, "refused", "whether it runs"));
        board.observe(&due, Finding { latency: Duration::ZERO, result }, now, 1);
        Refusal { snapshot: Arc::clone(board.snapshot()), out: Vec::with_capacity(512) }
    }

    fn once(&mut self) {
        let Availability::Refuse(template) = &black_box(&self.snapshot).availability else {
            panic!("it is down")
        };
        self.out.clear();
        let retry_ms = template.retry_ms(START + Duration::from_secs(10), black_box(0.5));
        template.write(&mut self.out, retry_ms);
        assert!(black_box(&self.out).len() > 100);
    }
}
