//! The thread that judges the objectives, made of the configuration.

use super::alerts;
use super::config::Config;
use crate::engine::Setup;
use crate::job::alerts::{AlertEnds, NotifyEnds};
use crate::job::shared_counts::SharedWays;
use crate::job::slo::SloRequest;
use crate::objectives::{self, AlertParts, ObjectiveParts, ReportPlan, RunningObjectives};
use crate::reactor::Clock;
use crate::registry::RegistryParts;
use crate::slo::scoreboard::Scoreboard;
use crossbeam_channel::Receiver;
use std::sync::Arc;

/// The ways of the thread that judges to the channels of alerts, to other instances, and from operators.
type ObjectiveEnds = (AlertEnds, Vec<NotifyEnds>, Option<SharedWays>, Receiver<SloRequest>);

/// Starts the thread that judges the objectives, unless they are off.
pub(super) fn start(
    config: &Config,
    setup: &Setup,
    registry: &RegistryParts,
    (ends, channels, shared, questions): ObjectiveEnds,
    clock: Clock,
) -> std::io::Result<Option<RunningObjectives>> {
    setup.metrics.streams.answers.expect_within(config.slo.prompt);
    if !config.slo.enabled {
        return Ok(None);
    }
    // The configuration accepts no objective whose tiers nothing could reach.
    let board = Scoreboard::new(&config.objectives()).map_err(|(name, fault)| {
        std::io::Error::other(format!("slo.{name}: nothing could reach its tier {}", fault.name))
    })?;
    alerts::start(config, channels, move || clock.read())?;
    let (shared, shared_alerts) = shared.unzip();
    let alerts = AlertParts {
        ends,
        shared: shared_alerts,
        outlook: Arc::clone(&setup.outlook),
        instances: Arc::clone(&registry.board),
        cluster: config.store.postgres().map(|_| Arc::clone(&registry.board)),
    };
    let parts = ObjectiveParts {
        board,
        metrics: Arc::clone(&setup.metrics),
        instance: Arc::clone(&setup.policy.instance.0),
        folder: config.store.data.clone(),
        alerts,
        shared,
        reports: ReportPlan {
            zone: config.slo.timezone.clone(),
            at: config.slo.report_at,
            objectives: config.objectives(),
        },
        questions,
    };
    objectives::start(parts, move || clock.read()).map(Some)
}
