//! The relay on PostgreSQL.
//!
//! `store-relay` does the requests of the relay over a connection of its own, which it opens with the first one. It takes all that wait
//! into one commit. It reads without locks, decides, and writes in one statement where nothing has changed meanwhile
//! (`sql/14_claims.sql`); what has changed is read again. So a claim that is lost to another instance costs nothing else.

mod claims;
mod dead;
mod group;
mod reads;
mod reap;
#[cfg(test)]
mod tests;
mod worker;

use super::batch::SettledAppend;
use super::connection::StoreConnection;
use super::route::Waiting;
use crate::id::{ChannelName, Offset};
use crate::job::{Appended, Attempt};
use crate::relay::route::RouteTable;
use crate::store::RelayEnds;
use crate::store::relay::{answering_route, published_answer, route_of};
use crate::store::thread::spawn;
use crate::wire::publication::Published;
use crate::wire::stream::StreamMark;
use crossbeam_channel::Receiver;
use reads::DuePlace;
use std::convert::Infallible;
use std::io;
use std::thread::JoinHandle;
use worker::RelayWorker;

pub(super) use reap::RelayReaper;

/// Starts the thread. It ends when `over` is disconnected.
pub(super) fn start(
    connection: StoreConnection,
    ends: RelayEnds,
    over: Receiver<Infallible>,
) -> io::Result<JoinHandle<()>> {
    // The process, as the one that has claims: another number after each start.
    let by = fastrand::i64(1..);
    let worker = RelayWorker { connection, ends, by, due_after: DuePlace::default(), over };
    spawn("store-relay".into(), move || worker.run())
}

/// The publications of a batch that are to be relayed.
#[derive(Debug, Default)]
pub(super) struct Relayed {
    /// Their channels.
    pub(super) channels: Vec<ChannelName>,
    /// The begins of their answers.
    pub(super) answers: Vec<Published>,
}

impl Relayed {
    /// The ones that this batch has stored, or an earlier attempt of it that was never answered.
    pub(super) fn of(batch: &[Waiting], settled: &[SettledAppend], routes: Option<&RouteTable>) -> Relayed {
        let mut relayed = Relayed::default();
        if routes.is_none() {
            return relayed;
        }
        for (waiting, settled) in batch.iter().zip(settled) {
            let Ok(Appended { offset, time_ms, attempt, answer, .. }) = settled.outcome else { continue };
            let is_new = attempt == Attempt::First || waiting.doubtful;
            let job = &waiting.job;
            if !is_new || settled.mark != StreamMark::None || route_of(routes, job).is_none() {
                continue;
            }
            if relayed.channels.last() != Some(&job.channel) {
                relayed.channels.push(job.channel.clone());
            }
            if let (Some(answer), Some(route)) = (answer, answering_route(routes, job)) {
                let offsets: (Offset, Offset) = (offset, answer);
                relayed.answers.push(published_answer(&job.channel, offsets, &route.user, time_ms));
            }
        }
        relayed
    }
}
