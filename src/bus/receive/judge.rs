//! The judgement of delivery: is everything subscribed to, and do canaries come back?

use super::super::config::LinkSettings;
use super::super::redial::LinkState;
use super::{BusReceiver, SILENCE_MAX};
use crate::follow::survey::Delivering;
use crate::health::definition::Use;
use crate::health::delivery::Subscribed;
use crate::health::finding::{Cause, Evidence, Fault, Finding};
use crate::metrics::store::bump;
use crate::net::trouble::Trouble;
use std::sync::atomic::Ordering;
use std::time::Duration;

impl BusReceiver {
    /// Notes when everything wanted is subscribed to on a new connection.
    pub(super) fn check_complete(&mut self) {
        let LinkState::Up(subscriber) = &mut self.link else { return };
        if !subscriber.complete && subscriber.canaries && self.follows.is_complete() {
            subscriber.complete = true;
            if self.redial.works() {
                tracing::info!(channels = self.follows.count(), "bus resubscribed");
            }
            // Publications missed meanwhile are read from the store.
            self.survey.want();
            self.config.monitor.set_subscribed(Subscribed::Yes);
        }
    }

    /// Judges whether delivery works, and reports a change to the watch thread.
    pub(super) fn judge(&mut self) {
        let LinkSettings { monitor, counters, gauges, evidence, .. } = &self.config;
        self.under_way.retain(|(canary, sent)| {
            let (back, took) = (canary.is_everywhere(), sent.elapsed());
            if back {
                monitor.came_back(canary.number());
                counters.canary_us.store(took.as_micros() as u64, Ordering::Relaxed);
                bump(&counters.canaries);
                if let Some(evidence) = evidence {
                    evidence.tell(Evidence::Call(Use::Subscription, Ok(()), took));
                }
            }
            !back && took < SILENCE_MAX
        });
        let complete = matches!(&self.link, LinkState::Up(subscriber) if subscriber.complete);
        let (verdict, lost) = (monitor.verdict(), complete && monitor.is_lost());
        let before = self.delivering;
        self.delivering = if complete && verdict.is_ok() { Delivering::Yes } else { Delivering::No };
        gauges.delivering.store(u64::from(self.delivering == Delivering::Yes), Ordering::Relaxed);
        let hurried = self.delivering == Delivering::No || !monitor.is_proven();
        self.ends.hurried.store(hurried, Ordering::Relaxed);
        if before == Delivering::Yes && self.delivering == Delivering::No {
            let waiting = self.follows.release();
            self.answer(waiting);
        }
        if std::mem::replace(&mut self.was_well, verdict.is_ok()) != verdict.is_ok() {
            if verdict.is_ok() {
                self.survey.want();
            }
            self.report(verdict);
        }
        if lost {
            // A proxy may have reconnected without our subscriptions, or lead to another server than before.
            self.config.monitor.doubt();
            self.lose(Trouble::new(Fault::Delivery, "a canary was sent over the bus and did not come back"));
        }
    }

    pub(super) fn report(&self, result: Result<(), Cause>) {
        if let Some(evidence) = &self.config.evidence {
            let result = result.map(|()| None);
            evidence.tell(Evidence::Connection(Finding { latency: Duration::ZERO, result }));
        }
    }
}
