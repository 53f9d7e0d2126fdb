//! The progress of an order, for the application or operator that gave it.

use super::order_log::LoggedOrder;
use crate::wire::json;
use std::sync::Arc;

/// One instance's part of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceProgress {
    pub name: Arc<str>,
    /// It has carried the order out.
    pub done: bool,
    /// The sessions that it closed, if it said so.
    pub closed: Option<u64>,
    /// It is expected to carry the order out soon.
    pub is_awaited: bool,
}

/// The knowledge of the instances that an order concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstanceListing {
    /// All are known.
    Current,
    /// Others may have begun since they were read.
    Outdated,
}

/// The progress of an order at the instances that have not said goodbye.
#[derive(Clone, Debug)]
pub struct OrderReport {
    pub order: Arc<LoggedOrder>,
    /// The own instance first, then the others by name.
    pub instances: Vec<InstanceProgress>,
    pub listing: InstanceListing,
}

impl OrderReport {
    /// True exactly when all instances have carried it out.
    pub fn is_complete(&self) -> bool {
        self.listing == InstanceListing::Current && self.instances.iter().all(|instance| instance.done)
    }

    /// True if waiting may make it complete.
    pub fn is_awaited(&self) -> bool {
        self.listing == InstanceListing::Outdated || self.instances.iter().any(|instance| instance.is_awaited)
    }

    /// The sessions that are known to be closed.
    pub fn closed(&self) -> u64 {
        self.instances.iter().filter_map(|instance| instance.closed).sum()
    }

    /// Appends the report as a JSON object.
    pub fn write(&self, out: &mut Vec<u8>) {
        json::object(out, |out| {
            json::integer(out, "order", self.order.id.0);
            json::text(out, "kind", self.order.order.kind().word());
            json::key(out, "arguments");
            json::object(out, |out| self.order.order.members(out));
            json::integer(out, "made", self.order.made_unix_ms);
            json::text(out, "by", &self.order.by);
            json::truth(out, "complete", self.is_complete());
            json::integer(out, "closed", self.closed());
            json::key(out, "instances");
            out.push(b'[');
            for (at, instance) in self.instances.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                json::object(out, |out| {
                    json::text(out, "name", &instance.name);
                    json::truth(out, "done", instance.done);
                    if let Some(closed) = instance.closed {
                        json::integer(out, "closed", closed);
                    }
                });
            }
            out.push(b']');
        });
    }
}
